"""`synpref compare`: what training sets are worth, over several campaigns and settings at once."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from synpref_dagster.cli.report import VARIANTS, VERDICTS, shown, table_of, wide
from synpref_dagster.settings.profile import Profile

if TYPE_CHECKING:
    import pandas as pd

ORIGINAL, LONGER = "original", "longer_is_better"
EVIDENCE = "curation_variants"
SCORES = "benchmark_scores"


def compare_campaigns(
    console: Console, campaigns: Mapping[str, Sequence[Profile]], *, output: Path | None
) -> list[str]:
    """Print one set of tables per setting.

    Args:
        console: where to.
        campaigns: setting -> its campaigns, one per split or seed.
        output: a file for all rows as JSON lines, too.

    Returns:
        Campaigns that have no evidence yet, by name.
    """
    from synpref_dagster.curation.evidence.variants import compared

    console, missing, lines = wide(console), [], []
    for setting, profiles in campaigns.items():
        found = {profile.campaign_name(): _by_pair(profile) for profile in profiles}
        missing += [name for name, table in found.items() if table is None]
        splits = [table for table in found.values() if table is not None]
        if not splits:
            continue
        rows = compared(splits, over=(LONGER, ORIGINAL))
        _print_setting(console, setting, rows, num_splits=len(splits))
        lines += [{"setting": setting, **row} for row in rows.to_dict("records")]
        for profile in profiles:
            _print_benchmarks(console, profile)
    if output is not None:
        output.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return missing


def _by_pair(profile: Profile) -> "pd.DataFrame | None":
    from synpref_dagster.cli.explain.records import CampaignRecords
    from synpref_dagster.storage import read_frame

    found = CampaignRecords(profile, profile.store_root()).ref(EVIDENCE)
    return read_frame(found["by_pair"]) if isinstance(found, dict) else None


def _print_setting(
    console: Console, setting: str, rows: "pd.DataFrame", *, num_splits: int
) -> None:
    console.rule(f"{setting}: {num_splits} split{'s' if num_splits > 1 else ''} pooled")
    cells = {
        (row["source"], row["slice"], row["variant"], row["over"]): row
        for row in rows.to_dict("records")
    }
    for source in dict.fromkeys(rows["source"]):
        counts = [cells[source, where, LONGER, ""]["n"] for where in ("all", "against_length")]
        columns = ("trained on", "all pairs", "where length misleads", "gain over original labels")
        title = f"{setting}: {source or 'all sources'}, {counts[0]:,} pairs, {counts[1]:,} against"
        table = table_of(f"{title} length", *columns)
        for variant, title in VARIANTS.items():
            if (source, "all", variant, "") not in cells:
                continue
            gain = cells.get((source, "all", variant, ORIGINAL))
            table.add_row(
                title,
                _shown(cells[source, "all", variant, ""]),
                _shown(cells[source, "against_length", variant, ""]),
                "-" if gain is None else f"{_shown(gain)} {_verdict(gain)}",
            )
        console.print(table)


def _print_benchmarks(console: Console, profile: Profile) -> None:
    """The releases of one campaign on the benchmarks, where any was scored."""
    from synpref_dagster.cli.explain.records import CampaignRecords
    from synpref_dagster.storage import read_frame

    records = CampaignRecords(profile, profile.store_root())
    for size in profile.sizes():
        found = records.ref(f"{SCORES}/{size}")
        rows = read_frame(found["results"]).to_dict("records") if isinstance(found, dict) else []
        if not rows:
            continue
        title = f"{profile.campaign_name()}: {size} on benchmarks"
        table = table_of(title, "benchmark", "items", "right", "longer is better", "chance")
        for row in rows:
            right = f"{row['headline']:.3f} [{row['low']:.3f} {row['high']:.3f}]".replace("0.", ".")
            nothing = (row.get("longer"), row.get("chance"))
            free = ("-" if each is None else f"{each:.3f}".lstrip("0") for each in nothing)
            table.add_row(row["benchmark"], f"{row['num_items']:,}", right, *free)
        console.print(table)


def _shown(found: Mapping[str, Any]) -> str:
    return shown(None if found["n"] == 0 else found).partition(" n=")[0]


def _verdict(gain: Mapping[str, Any]) -> str:
    """Whether the whole interval of a gain is above zero, below it, or has zero inside."""
    outcome = "held" if gain["low"] > 0 else "not held" if gain["high"] <= 0 else "not decided"
    return VERDICTS[outcome]
