"""The shape of the house: what may import what, how big things get, what modules say first."""

import ast
import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "synpref_dagster"
MODULES = sorted(PACKAGE.rglob("*.py"))
DOMAIN = ["curation", "reward", "benchmarks", "sources", "storage", "synthetic", "review"]
HEAVY = {"torch", "transformers", "datasets", "mlflow", "ray", "sklearn", "openai", "matplotlib"}
LIBRARIES_OF_ONE_MODULE = {
    "cycles": {"scipy"},
    "near_duplicates": {"scipy"},
    "personal_data_guards": {"stdnum"},
}
"""What one module of curation imports besides the columns, late."""
MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 300
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


@pytest.mark.parametrize("path", domain_modules("reward", "benchmarks"), ids=module_id)
def test_engine_and_benchmarks_know_only_the_record_and_its_accuracy(path):
    ours = {name for name in imported_names(path) if name.startswith("synpref_dagster.")}
    own = f"synpref_dagster.{path.relative_to(PACKAGE).parts[0]}"
    known = tuple(f"synpref_dagster.curation.{name}" for name in ("pairs", "accuracy"))
    assert {n for n in ours if not n.startswith((own, *known))} == set()


@pytest.mark.parametrize("path", domain_modules("curation"), ids=module_id)
def test_curation_imports_only_itself_and_columns(path):
    allowed = {*sys.stdlib_module_names, "numpy", "pandas", "pyarrow"}
    allowed |= LIBRARIES_OF_ONE_MODULE.get(path.stem, set())
    names = {
        name
        for name in imported_names(path)
        if name.partition(".")[0] not in allowed and not name.startswith("synpref_dagster.curation")
    }
    assert names == set()


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_only_build_imports_assets(path):
    place = path.relative_to(PACKAGE).parts[0]
    if place not in ("build.py", "assets"):
        assert not [n for n in imported_names(path) if n.startswith("synpref_dagster.assets")]


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_heavy_libraries_load_late_outside_the_engine_and_the_edge(path):
    if path.relative_to(PACKAGE).parts[0] not in ("reward", "resources"):
        roots = {n.partition(".")[0] for n in imported_names(path, top_level_only=True)}
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


def test_importing_the_data_layer_loads_no_engine():
    program = (
        "import sys, synpref_dagster.storage, synpref_dagster.curation.pairs; "
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "[]"


def test_both_command_lines_see_one_code_location():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    [entry] = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    assert entry["python_module"] == {
        "module_name": project["code_location_target_module"],
        "location_name": project["code_location_name"],
    }


def test_constraints_pin_every_dependency_and_name_no_place():
    text = (ROOT / "constraints.txt").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {line.partition("==")[0] for line in text.splitlines() if "==" in line}
    requirements = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    names = {re.match(r"[A-Za-z0-9_.-]+", r)[0].lower().replace("_", "-") for r in requirements}
    assert names - pinned - {"torch"} == set()
    assert not re.search(r"://|^--|@ ", text, re.MULTILINE)
    assert not re.search(r"^(torch|nvidia-\S+|cuda-\S+|triton)==", text, re.MULTILINE)


def test_ranges_and_pins_agree_on_torch():
    text = (ROOT / "constraints.txt").read_text()
    assert re.search(r"^# torch==2\.13\.\d+$", text, re.MULTILINE)
