"""An edited rule is an edited version: which code stands behind each asset's version."""

import importlib.util
import sys
from pathlib import Path
from textwrap import dedent

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def script(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


call_graph = script("call_graph")
code_versions = script("code_versions")

ASSET = '''
from tiny import rules
from tiny.models import Model

def kept(model: Model):
    """Pairs that are kept."""
    from tiny.late import rounded
    return rounded(rules.keep(model.margin()))

def shown():
    return rules.VERSION
'''
RULES = '''
VERSION = "1"
FLOOR = 0.5  # of the margin

def keep(margin: float):
    """Whether it is high enough."""
    return margin > FLOOR

def unused():
    return 1

def stored(version=VERSION):
    return looked_at()

def looked_at():
    return 2
'''
MODELS = """
class Base:
    def margin(self):
        return self._half() * 2

class Model(Base):
    def _half(self):
        return 1

    def never_called(self):
        return 0
"""
LATE = "def rounded(x):\n    return round(x, 2)\n"


@pytest.fixture
def package(tmp_path):
    files = {"assets/__init__": "", "assets/box": ASSET, "rules": RULES, "models": MODELS}
    for name, text in {**files, "late": LATE, "__init__": ""}.items():
        path = tmp_path / "tiny" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    return tmp_path / "tiny"


def code(package, *, version="1"):
    entries = [("kept", "assets/box:kept", version), ("shown", "assets/box:shown", "1")]
    return code_versions.Code(call_graph.CallGraph(package), entries)


def edit(package, module, old, new):
    path = package / f"{module}.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def found(before, now):
    return {each.asset: each.functions for each in code_versions.edits(before.table, now)}


def test_what_an_asset_reaches_is_found_through_imports_constants_classes_and_late_imports(package):
    assert code(package).behind["kept"] == {
        "assets/box:kept",
        "late:rounded",
        "models:Base",
        "models:Base.margin",
        "models:Model",
        "models:Model._half",
        "rules:FLOOR",
        "rules:keep",
    }


@pytest.mark.parametrize(
    ("module", "old", "new", "edited"),
    [
        ("rules", "margin > FLOOR", "margin >= FLOOR", "rules:keep"),
        ("rules", "FLOOR = 0.5", "FLOOR = 0.6", "rules:FLOOR"),
        ("models", "return 1", "return 1.5", "models:Model._half"),
        ("models", "() * 2", "() * 3", "models:Base.margin"),
        ("late", "round(x, 2)", "round(x, 3)", "late:rounded"),
        ("assets/box", "rounded(rules.keep(model.margin()))", "True", "assets/box:kept"),
    ],
)
def test_an_edited_rule_is_open_until_the_version_is_raised(package, module, old, new, edited):
    before = code(package)
    edit(package, module, old, new)
    assert found(before, code(package)) == {"kept": (edited,)}
    assert found(before, code(package, version="2")) == {}


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("rules", "Whether it is high enough.", "Whether the margin is high enough."),
        ("rules", "# of the margin", "# what a margin has to pass"),
        ("rules", "return margin > FLOOR", "return (\n        margin > FLOOR\n    )"),
        ("rules", "margin: float", "margin: int"),
        ("rules", "return 1\n", "return 3\n"),
        ("models", "return 0", "return 9"),
    ],
    ids=["docstring", "comment", "formatting", "annotation", "not reached", "method not called"],
)
def test_what_changes_no_outcome_is_not_open(package, module, old, new):
    before = code(package)
    edit(package, module, old, new)
    assert found(before, code(package)) == {}


READERS = """
from tiny.registry import TABLE, reader, enter

@reader("a")
def read_a(row):
    return "by a decorator"

class Reader:
    def __init_subclass__(cls):
        TABLE[cls.__name__] = cls

def read_b(row):
    return "by a call"

def read_c(row):
    return "by an assignment"

def read_d(row):
    return "by nobody"

enter("b", read_b)
TABLE["c"] = read_c
"""
REGISTRY = """
TABLE = {}

def reader(name):
    def entered(function):
        TABLE[name] = function
        return function
    return entered

def enter(name, function):
    TABLE[name] = function

def find(name):
    return TABLE[name]
"""
SUBCLASS = """
from tiny.readers import Reader

class Odd(Reader):
    def __init__(self):
        self.said = "by its base class"
"""


@pytest.mark.parametrize("by", ["a decorator", "a call", "an assignment", "its base class"])
def test_what_enters_itself_in_a_registry_is_reached_with_it(package, by):
    for name, text in {"readers": READERS, "registry": REGISTRY, "odd": SUBCLASS}.items():
        (package / f"{name}.py").write_text(text)
    edit(package, "assets/box", "from tiny import rules", "from tiny import registry, rules")
    edit(package, "assets/box", "return rules.VERSION", "return registry.find('a')")
    before = code(package)
    edit(package, "odd" if by == "its base class" else "readers", f'"by {by}"', '"otherwise"')
    assert [*found(before, code(package))] == ["shown"]
    assert "readers:read_d" not in before.behind["shown"]
    assert not {each for each in before.behind["kept"] if each.startswith(("readers", "odd"))}


def test_a_file_that_is_read_by_its_name_is_code_as_well(package):
    (package / "names.csv").write_text("name\nann\n")
    edit(package, "rules", 'VERSION = "1"', 'VERSION = "names.csv"')
    before = code(package)
    (package / "names.csv").write_text("name\nbob\n")
    assert found(before, code(package)) == {"shown": (".:names.csv",)}


def test_a_rule_that_moves_as_it_is_is_not_open_and_one_that_is_edited_on_the_way_is(package):
    before = code(package)
    (package / "late.py").rename(package / "elsewhere.py")
    edit(package, "assets/box", "tiny.late", "tiny.elsewhere")
    assert found(before, code(package)) == {}
    edit(package, "elsewhere", "round(x, 2)", "round(x, 1)")
    assert found(before, code(package)) == {"kept": ("elsewhere:rounded",)}


def test_a_version_beside_a_rule_covers_what_is_stored_under_it(package):
    """As that of a map over shards, which is found by it and not by the asset's."""
    edit(package, "assets/box", "return rules.VERSION", "return rules.stored()")
    before = code(package)
    edit(package, "rules", "return 2", "return 4")
    assert found(before, code(package)) == {"shown": ("rules:looked_at",)}
    edit(package, "rules", 'VERSION = "1"', 'VERSION = "2"')
    assert found(before, code(package)) == {}


def test_the_message_names_the_function_whose_version_and_both_commands(package):
    before = code(package)
    edit(package, "rules", "margin > FLOOR", "margin >= FLOOR")
    said = code_versions.message(code_versions.edits(before.table, code(package)))
    assert "  rules:keep\n    behind the version of kept (1)\n" in said
    assert "python scripts/code_versions.py --update" in said
    assert 'python scripts/code_versions.py --unchanged "WHY" [--of ASSET ...]' in said


@pytest.fixture(scope="module")
def now():
    return code_versions.Code.of_the_project()


def test_no_rule_was_edited_without_its_version(now):
    before = code_versions.Table.read()
    found = code_versions.edits(before, now)
    assert not found, code_versions.message(found)
    assert (before.versions, before.functions) == (now.table.versions, now.table.functions), (
        "tests/assets/code_hashes.json is of other code: python scripts/code_versions.py --update"
    )


@pytest.mark.parametrize(
    ("asset", "module"),
    [
        ("raw_pool", "sources/formats/nectar"),
        ("raw_pool", "pairs/record"),
        ("clean_pool", "curation/pool/cleaning"),
        ("iteration/judge_votes", "curation/judging/votes"),
        ("iteration/reward_model", "reward/training/losses"),
        ("pool_rewards", "reward/attention/tree_attention"),
        ("consistency_filtered_subset", "curation/filtering/decision"),
        ("benchmark_scores", "benchmarks/best_of_n"),
        ("curation_variants", "curation/evidence/claims"),
        ("leaderboard", "benchmarks:published.csv"),
        ("backbone_features", "reward/frozen/reading"),
    ],
)
def test_rules_stand_behind_the_assets_of_their_box(now, asset, module):
    assert any(each.partition(":")[0] == module or each == module for each in now.behind[asset])


def test_what_no_outcome_depends_on_stands_behind_nothing(now):
    assert not [each for each in now.table.functions if each.startswith(("storage/", "settings/"))]
