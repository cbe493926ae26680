"""The shape of the house: what may import what, how big things get, what modules say first."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "synpref_dagster"
MODULES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = sorted({path.parent for path in MODULES})
DOMAIN = [
    "benchmarks", "curation", "judges", "pairs", "people", "preview", "publishing", "reward",
    "settings", "sources", "storage", "synthetic",
]  # fmt: skip
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
HEAVY = {*PROJECT["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-module-level-imports"]}
LATE_IN_CURATION = {  # libraries that a folder of the curation may import, late
    "curation/personal_data": {"phonenumbers", "stdnum"},
    "curation/pool": {"scipy"},
    "curation/retrieval": {"faiss", "scipy", "sklearn"},
}
ABOUT_A_HEAVY_LIBRARY = (  # from end to end: whoever needs one of these modules loads it late
    "definitions/preload", "people/label_studio", "people/ledger/database", "people/page/page",
    "people/page/patience", "resources/ray_cluster", "resources/torchrun/worker",
    "reward/attention/", "reward/checkpoints", "reward/frozen/", "reward/linear/", "reward/scoring",
    "reward/stand_ins", "reward/training/",
)  # fmt: skip
ABOUT_MORE_THAN_A_MODULE = {  # tests without a module of their name, and what they are about
    "assets/test_checks": "the checks of all assets",
    "assets/test_code_versions": "the code behind all versions",
    "assets/test_graph": "how the assets hang together",
    "benchmarks/test_protocol_properties": "what holds for every protocol",
    "cli/explain/test_events": "the event modules together",
    "cli/explain/test_explain": "the command on a whole campaign",
    "curation/pool/test_recipe": "the names in the page of the folder",
    "curation/test_determinism": "what every rule promises",
    "curation/judging/test_recorded_judges": "the whole protocol, on verdicts of real judges",
    "people/ledger/test_postgres": "the ledger on a real Postgres",
    "people/page/test_accessibility": "the whole page, in a browser",
    "people/page/test_browser": "the whole page, in a browser",
    "people/page/test_load": "the whole page, under load",
    "publishing/report/test_browser": "the whole page, in a browser",
    "reward/test_real_weights": "the engine on a real language model",
    "reward/test_served_reward_model": "releases behind a real server",
    "settings/test_bounds": "all sections of a profile",
    "settings/test_every_field_is_read": "all sections of a profile",
    "settings/test_obeyed": "all sections of a profile",
    "sources/test_fuzzing": "all formats, on any rows",
    "storage/maps/test_identity": "what all maps are identified by",
    "storage/test_s3": "the whole storage, on a real S3 server",
    "storage/test_s3_faults": "the whole storage, on a faulty S3 server",
}
RESOURCE_CLASSES = {
    "ConfigurableIOManager", "ConfigurableIOManagerFactory", "ConfigurableResource", "IOManager",
    "LocalRay", "UPathIOManager",
}  # fmt: skip
MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 400
MAX_ENTRIES = 17
MAX_ENTRIES_AT_TOP = 19
LARGEST_FAMILY = 2
FORBIDDEN_NAMES = {"utils", "helpers", "common", "core", "base", "types"}


def module_id(path):
    return str(path.relative_to(ROOT))


def imported_names(path, *, top_level_only=False):
    """Full dotted names a module imports, `from a import b` as `a.b`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def domain_modules(*packages):
    return [path for package in packages for path in sorted((PACKAGE / package).rglob("*.py"))]


@pytest.mark.parametrize("path", domain_modules(*DOMAIN), ids=module_id)
def test_domain_packages_know_no_dagster_and_no_mlflow(path):
    roots = {name.partition(".")[0] for name in imported_names(path)}
    assert not roots & {"dagster", "mlflow", "s3fs"}


@pytest.mark.parametrize("path", domain_modules("curation"), ids=module_id)
def test_curation_imports_only_itself_columns_and_the_ground(path):
    allowed = {*sys.stdlib_module_names, "numpy", "pandas", "pyarrow"}
    place = str(path.parent.relative_to(PACKAGE))
    ours = ("curation", "pairs", *(["storage"] if maps_over_shards(path) else []))
    names = {
        name
        for name in imported_names(path)
        if name.partition(".")[0] not in allowed | LATE_IN_CURATION.get(place, set())
        and not name.startswith(tuple(f"synpref_dagster.{each}" for each in ours))
    }
    assert names == set()


def maps_over_shards(path):
    """Whether a file of the curation may know data sets; rules know rows only."""
    return path.stem in ("shards", "key_index") or path.stem.endswith("_shards")


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_only_the_definitions_import_assets(path):
    place = path.relative_to(PACKAGE).parts[0]
    if place not in ("definitions", "assets"):
        assert not [n for n in imported_names(path) if n.startswith("synpref_dagster.assets")]


def class_bases(path):
    """Names of what the classes of a module derive from, without module and type argument."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for base in node.bases if isinstance(node, ast.ClassDef) else []:
            yield ast.unparse(base).partition("[")[0].rpartition(".")[2]


def importers_outside(module, folder):
    """The modules of the package outside a folder that import a module."""
    name = f"synpref_dagster.{'.'.join(module.relative_to(PACKAGE).with_suffix('').parts)}"
    return [
        path
        for path in MODULES
        if not path.is_relative_to(folder)
        and any(found == name or found.startswith(f"{name}.") for found in imported_names(path))
    ]


@pytest.mark.parametrize(
    "path", [p for p in domain_modules("resources") if p.stem != "__init__"], ids=module_id
)
def test_resources_are_dagsters_or_theirs_alone(path):
    roots = {name.partition(".")[0] for name in imported_names(path)}
    # What a step logs, and where versions are kept, is of MLflow, which is no domain's business.
    if not RESOURCE_CLASSES & {*class_bases(path)} and not (
        path.parent.name == "tracking" and "mlflow" in roots
    ):
        assert importers_outside(path, PACKAGE / "resources") == []


def module_of(test):
    """Where the module lies that a test file is named after."""
    place = test.relative_to(ROOT / "tests")
    return PACKAGE / place.parent / place.name.removeprefix("test_")


def test_every_test_lies_where_its_module_lies():
    tests = {
        test.relative_to(ROOT / "tests").with_suffix("").as_posix(): test
        for test in (ROOT / "tests").rglob("test_*.py")
    }
    mirrored = {
        name: test
        for name, test in tests.items()
        if "/" in name and not name.startswith(("campaigns/", "e2e/"))
    }
    lost = {name for name, test in mirrored.items() if not module_of(test).is_file()}
    assert lost - {*ABOUT_MORE_THAN_A_MODULE} == set()
    assert {*ABOUT_MORE_THAN_A_MODULE} - {*mirrored} == set()


def entries(folder):
    return sorted(p.name for p in folder.iterdir() if p.name != "__pycache__")


@pytest.mark.parametrize("folder", FOLDERS, ids=module_id)
def test_a_room_is_seen_at_a_glance(folder):
    names = entries(folder)
    assert len(names) <= (MAX_ENTRIES_AT_TOP if folder == PACKAGE else MAX_ENTRIES)
    families = Counter(name.split("_")[0] for name in names if "_" in name.strip("_"))
    assert [word for word, number in families.items() if number > LARGEST_FAMILY] == []


@pytest.mark.parametrize("folder", FOLDERS, ids=module_id)
def test_a_room_says_what_belongs_in_it_and_what_does_not(folder):
    says = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
    assert folder == PACKAGE or "What does not belong here: " in says


def test_the_package_has_rooms_and_no_loose_files():
    assert [p.name for p in sorted(PACKAGE.iterdir()) if p.is_file()] == ["__init__.py", "py.typed"]


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_heavy_libraries_load_where_they_are_used(path):
    roots = {n.partition(".")[0] for n in imported_names(path, top_level_only=True)}
    if not path.relative_to(PACKAGE).as_posix().startswith(ABOUT_A_HEAVY_LIBRARY):
        assert not roots & HEAVY


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_functions_fit_on_a_screen_and_files_stay_small(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MAX_FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < MAX_FUNCTION_LINES, node.name


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_modules_introduce_themselves(path):
    assert path.stem not in FORBIDDEN_NAMES
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_asset_modules_keep_their_annotations_real():
    # Dagster reads annotations at definition time; as strings they cannot be resolved.
    for path in domain_modules("assets"):
        assert "__future__.annotations" not in set(imported_names(path)), path


def loaded_by(program, *, of):
    """Which of some modules a new process has loaded at its end, and how it ended."""
    report = (
        f"import atexit, sys\natexit.register(lambda: print(sorted({of!r} & set(sys.modules))))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", f"{report}\n{program}"], cwd=ROOT, capture_output=True, text=True
    )
    return ast.literal_eval(ended.stdout.splitlines()[-1]), ended.returncode


def test_importing_the_data_layer_loads_no_engine():
    program = "import synpref_dagster.storage, synpref_dagster.pairs.record"
    assert loaded_by(program, of=HEAVY) == ([], 0)


def test_the_definitions_load_nothing_heavy():
    program = (
        "from synpref_dagster.definitions.build import build_defs\n"
        "for profile in ('smoke', 'paper', 'paper_small'): build_defs(profile)"
    )
    assert loaded_by(program, of=HEAVY) == ([], 0)


def test_steps_inherit_what_they_use_and_nothing_that_a_fork_breaks():
    program = (
        "import threading\nfrom synpref_dagster.definitions.build import PRELOAD\n"
        "for name in PRELOAD: __import__(name)\nassert threading.active_count() == 1"
    )
    loaded, status = loaded_by(program, of=HEAVY | {"polars"})
    assert status == 0
    assert {"PIL", "matplotlib", "scipy", "sklearn", "torch", "transformers"} <= {*loaded}
    assert not {"mlflow", "polars", "ray"} & {*loaded}


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["--help"], 0), (["run", "--profile", "demmo"], 2)],
    ids=["help", "typo"],
)
def test_help_and_refusals_load_no_campaign(arguments, status):
    program = (
        f"from synpref_dagster.cli.app import main\nsys.argv = ['synpref', *{arguments!r}]\nmain()"
    )
    assert loaded_by(program, of=HEAVY | {"dagster", "pandas", "pyarrow"}) == ([], status)


def test_both_command_lines_see_one_code_location():
    project = PROJECT["tool"]["dg"]["project"]
    [entry] = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    assert entry["python_module"] == {
        "module_name": project["code_location_target_module"],
        "location_name": project["code_location_name"],
    }


def test_constraints_pin_every_dependency_and_name_no_place():
    text = (ROOT / "constraints.txt").read_text()
    project = PROJECT["project"]
    pinned = {line.partition("==")[0] for line in text.splitlines() if "==" in line}
    requirements = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    names = {re.match(r"[A-Za-z0-9_.-]+", r)[0].lower().replace("_", "-") for r in requirements}
    assert names - pinned - {"torch"} == set()
    assert not re.search(r"://|^--|@ ", text, re.MULTILINE)
    assert not re.search(r"^(torch|nvidia-\S+|cuda-\S+|triton)==", text, re.MULTILINE)


def test_ranges_and_pins_agree_on_torch():
    text = (ROOT / "constraints.txt").read_text()
    assert re.search(r"^# torch==2\.13\.\d+$", text, re.MULTILINE)


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_nobody_asks_arrow_for_rows_of_no_chunk(path):
    # Arrow 25 crashes there, process and all: `rows_where` asks where it is safe.
    calls = [
        node.attr
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "indices_nonzero"
    ]
    allowed = path.relative_to(PACKAGE).as_posix() == "pairs/columns.py"
    assert calls == (["indices_nonzero"] if allowed else [])
