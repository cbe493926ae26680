"""An edited rule is an edited version: which code stands behind each asset's `code_version`.

A stored result is found again by the version of the code that made it. Whoever edits a rule and
leaves the version as it is gets the old rule's results, without a word. The table
`tests/assets/code_hashes.json` holds what every asset reaches (`call_graph`), by hash; the test
`tests/assets/test_code_versions.py` compares it with the code.

    python scripts/code_versions.py                    says what is open, and behind what it stands
    python scripts/code_versions.py --update           versions are raised where they have to be
    python scripts/code_versions.py --unchanged WHY    outcomes are what they were
"""

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from call_graph import CallGraph

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "tests" / "assets" / "code_hashes.json"
COMMAND = "python scripts/code_versions.py"
VERSION_NAME = re.compile(r"(?:.*_)?VERSION")
ITERATION = re.compile(r"iteration_\d+/")
NO_OUTCOME = (
    # What stored results do not depend on: where they lie, how they are shown and tracked, how a
    # judge's reply or a person's answer gets here. Settings enter a result's identity by value.
    "assets/columns", "assets/step", "definitions/", "pairs/progress", "publishing/plot",
    "judges/batches/", "judges/budget", "judges/cache", "judges/calls", "judges/client",
    "judges/errors", "judges/forecast", "judges/purse", "judges/reservations",
    "people/accounts", "people/desk", "people/label_studio", "people/ledger/", "people/page/",
    "resources/campaign", "resources/executors", "resources/ray_cluster", "resources/tracking/",
    "settings/", "storage/",
)  # fmt: skip
MAX_NAMED = 12


@dataclass(frozen=True)
class Table:
    """Versions of assets, and what the code behind them was when they were written down."""

    versions: dict[str, str]
    """Asset -> its `code_version`."""
    functions: dict[str, str]
    """Definition -> hash of what it does."""
    outcomes_unchanged: dict[str, str] = field(default_factory=dict)
    """Definition -> why its last edit needed no version."""

    @classmethod
    def read(cls) -> "Table":
        """The one that lies beside the tests."""
        return cls(**json.loads(TABLE.read_text(encoding="utf-8")))


class Code:
    """What stands behind every asset now."""

    def __init__(self, graph: CallGraph, entries: Iterable[tuple[str, str, str]]) -> None:
        """Read the code.

        Args:
            graph: of the package.
            entries: an asset's name, its function in the graph, its version.
        """
        self.graph = graph
        self.behind: dict[str, set[str]] = {}
        versions: dict[str, str] = {}
        roots: defaultdict[str, set[str]] = defaultdict(set)
        for name, root, version in entries:
            versions.setdefault(name, version)
            roots[name].add(root)
        for name, own in roots.items():
            self.behind[name] = graph.reached(own, stops=NO_OUTCOME)
        known = sorted(set().union(*self.behind.values()))
        self.table = Table(versions, {each: graph.definitions[each].hash for each in known})

    @classmethod
    def of_the_project(cls) -> "Code":
        """That of all assets a profile may have; those of an iteration once, without number."""
        from synpref_dagster.definitions.build import build_defs
        from synpref_dagster.settings.profile import Profile, load_profile

        graph, demo = CallGraph(ROOT / "synpref_dagster"), load_profile("demo")
        frozen = {**demo.model_dump(), "reward_model": {"backend": "frozen"}}
        profiles = [demo, Profile.model_validate(frozen)]
        return cls(graph, chain(*(_entries(build_defs(each), graph) for each in profiles)))

    def covered_by(self, constants: Sequence[str]) -> set[str]:
        """What is stored under versions of their own: all that those reach who speak of them."""
        speaking = [
            each
            for constant in constants
            for each in self.graph.speaking_of(constant, among=self.table.functions)
        ]
        return {*constants, *self.graph.reached(speaking, stops=NO_OUTCOME)}


@dataclass(frozen=True)
class Edit:
    """Edited definitions behind an asset whose version is what it was."""

    asset: str
    version: str
    functions: tuple[str, ...]


def edits(before: Table, code: Code) -> list[Edit]:
    """Assets with edited code behind them and no raised version, neither theirs nor of that code.

    A definition that moved as it is, or is new, or gone, is no edit: whoever calls it is edited.
    """
    edited = {each for name in before.functions for each in _edited(name, before, code.table)}
    raised = [each for each in edited if VERSION_NAME.fullmatch(each.partition(":")[2])]
    edited -= code.covered_by(raised) if raised else set()
    return [
        Edit(asset, version, tuple(sorted(edited & code.behind[asset])))
        for asset, version in code.table.versions.items()
        if before.versions.get(asset) == version and edited & code.behind[asset]
    ]


def message(found: Sequence[Edit]) -> str:
    """What was edited, whose version it stands behind, and the two ways on."""
    behind: defaultdict[str, list[str]] = defaultdict(list)
    for edit in found:
        for each in edit.functions:
            behind[each].append(f"{edit.asset} ({edit.version})")
    lines = ["edited, behind a version that is what it was:"]
    for name, assets in sorted(behind.items()):
        more = f" and {len(assets) - MAX_NAMED} more" if len(assets) > MAX_NAMED else ""
        lines.append(f"  {name}")
        lines.append(f"    behind the version of {', '.join(assets[:MAX_NAMED])}{more}")
    return "\n".join(
        [
            *lines,
            "Does any of them give another outcome than before? Then raise the `code_version` of "
            "those assets, or the VERSION beside the function, and run:",
            f"  {COMMAND} --update",
            "If outcomes are what they were, for all that remain or those after --of, say why:",
            f'  {COMMAND} --unchanged "WHY" [--of ASSET ...]',
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Compares or updates; 1 when something is edited without a raised version or a reason."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--update", action="store_true", help="write the table")
    parser.add_argument("--unchanged", metavar="WHY", help="why outcomes are what they were")
    parser.add_argument("--of", nargs="+", default=[], metavar="ASSET", help="of these only")
    told = parser.parse_args(arguments)
    code, before = Code.of_the_project(), Table.read()
    found = edits(before, code)
    excused = [each for each in found if told.unchanged and (not told.of or each.asset in told.of)]
    if remaining := [each for each in found if each not in excused]:
        print(message(remaining))
        return 1
    if told.update or told.unchanged:
        why = {name: told.unchanged for each in excused for name in each.functions}
        _write(code.table, {**_still_true(before, code.table), **why})
    elif (before.versions, before.functions) != (code.table.versions, code.table.functions):
        print(f"no version is open; the table is not of this code: run {COMMAND} --update")
        return 1
    print(f"{len(code.behind)} assets, {len(code.table.functions)} definitions: nothing is open")
    return 0


def _entries(defs: Any, graph: CallGraph) -> Iterator[tuple[str, str, str]]:
    """Name, function and version of every asset that is computed."""
    for node in sorted(defs.resolve_asset_graph().asset_nodes, key=lambda each: each.key):
        definition = node.assets_def
        if definition.is_executable:
            function = definition.op.compute_fn.decorated_fn
            root = graph.of_function(function.__module__, function.__qualname__)
            name = ITERATION.sub("iteration/", node.key.to_user_string())
            yield name, root, str(definition.get_asset_spec(node.key).code_version)


def _edited(name: str, before: Table, now: Table) -> list[str]:
    """A definition if it is edited, by its name now: one that is gone may be in another module."""
    was = before.functions[name]
    if name in now.functions:
        return [name] if now.functions[name] != was else []
    own = name.partition(":")[2]
    moved = [
        each
        for each in now.functions
        if each.partition(":")[2] == own and each not in before.functions
    ]
    return moved if all(now.functions[each] != was for each in moved) else []


def _still_true(before: Table, now: Table) -> dict[str, str]:
    """Earlier reasons, of definitions that have not been edited since."""
    return {
        name: why
        for name, why in before.outcomes_unchanged.items()
        if before.functions.get(name) == now.functions.get(name)
    }


def _write(table: Table, outcomes_unchanged: Mapping[str, str]) -> None:
    told = {
        "versions": table.versions,
        "outcomes_unchanged": outcomes_unchanged,
        "functions": table.functions,
    }
    TABLE.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
