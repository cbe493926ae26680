"""The sources side by side on the report page, on Dagster's pages and on the data card.

How right labels are is nowhere known of a pool of one's own: it is estimated from what people
said about some pairs, and the table says so.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from synpref_dagster.publishing.report.tables import NOT_MEASURED, Cell, FigureTable, share

TITLE = "By source"
RIGHT = "right labels, estimated"
KNOWN = "truth known"
SAME_VOTES = "the votes that play people are the truth, too: no independent check"
LENGTH = {"longer_before": "longer preferred", "longer_after": "longer preferred after"}
ASKED = {"judges": "judges agree", "votes": "recorded votes agree"}
READ_TITLES = {
    "num_rows": "rows",
    "num_unfolded": "unfolded",
    "num_outside": "left out",
    "num_quarantined": "quarantined",
    "num_pairs": "pairs",
}
CLEANING_TITLES = {
    "num_duplicates": "duplicates",
    "num_dropped": "dropped",
    "num_clean": "clean",
    "num_contradictory": "contradictory",
}
COUNTS = {
    **READ_TITLES,
    **CLEANING_TITLES,
    "num_kept": "kept",
    "num_flipped": "flipped",
    "num_discarded": "discarded",
}
ADDS_UP = (
    "Every row adds up: rows + unfolded = left out + quarantined + pairs; pairs = duplicates + "
    "dropped + clean; clean = kept + flipped + discarded."
)
REASONS = {"num_quarantined": "quarantined_as", "num_dropped": "dropped_as"}
BY = {"people": "", "reward model": ", through the reward model"}
Row = Mapping[str, Any]


def source_tables(
    rows: Sequence[Row] | None, truth: Mapping[str, Any] | None = None
) -> list[FigureTable]:
    """The table of a report's `by_source`; none where there is nothing to show.

    Args:
        rows: see `curation.evidence.sources.as_report`.
        truth: of a report; its pairs by source, where it is known of any.
    """
    if not rows:
        return []
    shown = [{**_cells(row), **_truth(row, truth or {})} for row in rows]
    columns = list(shown[0])
    table = FigureTable(
        title=TITLE,
        columns=columns,
        rows=[
            (str(row["source"]), [cells[name] for name in columns])
            for row, cells in zip(rows, shown, strict=True)
        ],
    )
    return [table]


def table_cells(rows: Sequence[Row]) -> list[dict[str, str | int]]:
    """The same table for a page that shows plain cells: numbers, and texts where more is said."""
    found: list[dict[str, str | int]] = []
    for row in rows:
        counts = {title: int(row[name]) for name, title in COUNTS.items() if name in row}
        texts = {
            name: f"{cell.text} ({cell.note})" if cell.note else cell.text
            for name, cell in _cells(row).items()
            if name not in counts
        }
        reasons = {f"{COUNTS[name]} as": _by_reason(row[told]) for name, told in REASONS.items()}
        found.append({"source": str(row["source"]), **counts, **texts, **reasons})
    return found


def _cells(row: Row) -> dict[str, Cell]:
    """Title -> cell, in the order of the page; the pool's part alone where nothing is decided."""
    cells = {
        title: Cell(text=f"{row[name]:,}", note=_by_reason(row.get(REASONS.get(name, ""), {})))
        for name, title in COUNTS.items()
        if name in row
    }
    if "label_accuracy" in row:
        cells[RIGHT] = _estimate(row["label_accuracy"])
    shares = {**ASKED, **LENGTH}
    return cells | {title: _share(row[name]) for name, title in shares.items() if name in row}


def _truth(row: Row, truth: Mapping[str, Any]) -> dict[str, Cell]:
    if not truth:
        return {}
    known = truth["by_source"].get(row["source"])
    if not known:
        return {KNOWN: Cell(text=NOT_MEASURED)}
    decided = f"{known['num_by_people']:,} decided by people"
    votes = f"; {SAME_VOTES}" if truth["votes_play_people"] else ""
    return {KNOWN: Cell(text=f"{known['num_known']:,}", note=f"{decided}{votes}")}


def _share(found: Row) -> Cell:
    if not found["n"]:
        return Cell(text=NOT_MEASURED)
    return Cell(text=share(found["value"]), note=f"n = {found['n']:,}")


def _estimate(found: Row) -> Cell:
    if not found["n"]:
        return Cell(text=NOT_MEASURED, note="nobody was asked")
    part = "" if found["covers"] > 0.995 else f" about {share(found['covers'])} of it"
    note = (
        f"{share(found['low'])} to {share(found['high'])}, "
        f"{found['n']:,} gold pairs{part}{BY[found['by']]}"
    )
    return Cell(text=share(found["value"]), note=note)


def _by_reason(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {reason.replace('_', ' ')}" for reason, number in reasons.items())
