"""`judge`: what a panel of judges says about the pairs of a file, and what it cost.

Replies are in the cache that campaigns use as soon as they are paid: a call that was killed, or is
repeated, asks only what is missing.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.storage.atomic import beside, put_in_place
from synpref_dagster.storage.processes import alone_with
from synpref_dagster.tools.on_pairs.given import (
    Given,
    GivenPairs,
    given_pairs,
    refuse_lost,
    write_aside,
    write_lines,
)
from synpref_dagster.tools.on_pairs.panel import (
    ACCOUNT,
    Asking,
    Listener,
    asked_by,
    embedded,
    opened_panel,
    refuse_unobeyed,
)
from synpref_dagster.tools.outputs import QUARANTINE
from synpref_dagster.tools.rows import AUTO, Input, Reading

if TYPE_CHECKING:
    import pandas as pd

    from synpref_dagster.curation.judging.labelling import EmbeddedPairs, Panel
    from synpref_dagster.curation.judging.verdicts import PanelResult

PARQUET, JSON_LINES = ".parquet", ".jsonl"
VOTE = pa.struct(
    [
        ("judge", pa.string()),
        ("vote", pa.int8()),
        ("score", pa.float32()),
        ("num_verdicts", pa.int32()),
        ("num_abstained", pa.int32()),
    ]
)
SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("row", pa.int64()),
        ("pair_id", pa.string()),
        ("label", pa.int8()),
        ("confidence", pa.float32()),
        ("num_for", pa.int32()),
        ("num_against", pa.int32()),
        ("reason", pa.string()),
        ("votes", pa.list_(VOTE)),
    ]
)
"""Labels, votes and scores are relative to the file's: +1 agrees with the chosen response."""
MEASURES = (
    "agreement", "decided", "abstention_rate", "swap_consistency", "first_position_share",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeReport:
    """What a panel said."""

    output: Path
    quarantine: Path | None
    """Rows that became no pair; None without any."""
    reading: Reading
    num_repeated: int
    """Pairs that stand in the file more than once: asked about once, and told at each place."""
    result: "PanelResult"
    """Every verdict, vote and label, each pair once."""
    quality: "pd.DataFrame"
    """judge, measure, value, low, high, n: against the file's labels; `panel` is all together."""
    weighing: "pd.DataFrame"
    """Who voted, with what weight, and why."""
    facts: Mapping[str, Mapping[str, Any]]
    """LLM judge -> questions asked and found in the cache, calls, retries, US dollars of this call
    to them; empty for judges that are free."""
    account: str
    """Whose caps hold: the campaign, or the account that was named."""
    spent_usd: float
    """What the account has spent and may have spent, whenever."""
    max_usd: float | None
    notes: Sequence[str] = ()
    """What judges said on the way: retries, refusals, money that an old cache knew of."""

    @property
    def usd(self) -> float:
        """What this call paid, in US dollars."""
        return sum(float(each["usd"]) for each in self.facts.values())

    def table(self) -> pa.Table:
        """One row per pair of the file, in order: `SCHEMA`."""
        if self.output.suffix == PARQUET:
            return pq.read_table(self.output)
        with self.output.open(encoding="utf-8") as lines:
            return pa.Table.from_pylist([json.loads(line) for line in lines], schema=SCHEMA)


def judge(  # noqa: PLR0913 - who is asked about what, on whose account, and where it goes
    file: Given,
    output: str | Path,
    *,
    settings: str | Path | Mapping[str, Any] | None = None,
    profile: str | None = None,
    gold: Given | None = None,
    account: str = ACCOUNT,
    layout: str = AUTO,
    columns: Mapping[str, str] | None = None,
    seed: int | None = None,
    force: bool = False,
    listener: Listener | None = None,
) -> JudgeReport:
    """Ask a panel of judges about every pair, with the protocol of campaigns.

    Args:
        file: pairs in any layout that sources may have, or a list of them.
        output: a `.parquet` or `.jsonl` file, a row per pair.
        settings: `[judges]` of a profile, as a table or the path of a TOML file with it.
        profile: name or path of a profile instead: its judges, on its campaign's account.
        gold: pairs whose label is known: shown as examples, and what judges are weighed on.
        account: whose money it is where no profile is named; its calls share the caps.
        layout: name of a format of pairs; seen by itself by default.
        columns: known name -> name in the data.
        seed: of orders and samples; 0, or the profile's, by default.
        force: replace an output that is there.
        listener: called with how many replies of each judge are there, and at what price.

    Raises:
        ValueError: a file or setting is none, or the output is there; in one line.
        JudgeError: a judge cannot be asked further (money, key, endpoint, a batch under way); what
            was answered is kept.
    """
    target = Path(output)
    refuse_lost(target, [file, gold, settings])
    if target.suffix not in (PARQUET, JSON_LINES):
        raise ValueError(f"{target}: labels are written as {PARQUET} or {JSON_LINES}; name one")
    if target.exists() and not force:
        raise ValueError(f"{target} is there already: name another output, or give --force")
    asking = asked_by(settings, profile, account=account, seed=seed)
    how = Input(path="", layout=layout, columns=columns or {}, seed=asking.seed)
    given = given_pairs(file, how)
    if not given.pairs:
        raise ValueError(f"no pair to ask about: {given.reading.num_rows:,} rows were read")
    shown = given_pairs(gold, how).pairs if gold is not None else []
    refuse_unobeyed(asking.settings, shown)
    with alone_with(str(target.resolve())):
        return _judged(asking, given, shown, target=target, listener=listener or (lambda _: None))


def _judged(
    asking: Asking,
    given: GivenPairs,
    shown: list[PreferencePair],
    *,
    target: Path,
    listener: Listener,
) -> JudgeReport:
    from synpref_dagster.curation.judging.labelling import label_with_exemplars
    from synpref_dagster.curation.judging.weighing import WeighingRule, voting_panel, weigh_judges

    pairs = list({pair.pair_id: pair for pair in given.pairs}.values())
    rule = WeighingRule(
        floor=asking.settings.min_gold_agreement,
        voting=asking.settings.panel,
        num_pairs=asking.settings.num_screened,
    )
    with opened_panel(asking, [*pairs, *shown], listener) as (everybody, books):
        targets, gold = embedded(pairs, shown, seed=asking.seed)
        signs = [1] * len(shown)
        weighing = weigh_judges(everybody, gold, signs, rule=rule)
        panel = voting_panel(everybody, weighing)
        result = label_with_exemplars(
            targets, gold, signs, panel=panel, choice="retrieved" if shown else "none"
        ).panel
        facts = {each.name: each.facts() for each in books.judges}
        spent = books.spent(asking.account)
    _write(target, given, result)
    return JudgeReport(
        output=target,
        quarantine=write_aside(given, target.with_suffix(f".{QUARANTINE}")),
        reading=given.reading,
        num_repeated=len(given.pairs) - len(pairs),
        result=result,
        quality=_quality(targets, result, facts, panel=panel),
        weighing=weighing,
        facts=facts,
        account=asking.account,
        spent_usd=spent,
        max_usd=asking.settings.max_usd,
        notes=tuple(books.notes),
    )


def _quality(
    targets: "EmbeddedPairs",
    result: "PanelResult",
    facts: Mapping[str, Mapping[str, Any]],
    *,
    panel: "Panel",
) -> "pd.DataFrame":
    """The measures over all pairs, of each judge and of the panel."""
    from synpref_dagster.curation.judging.quality import ALL, audit_facts, judge_quality

    nothing = {"objectivity": "", "task_category": ""}
    about = audit_facts(
        replace(targets, attributes=[nothing] * len(targets.pairs)),
        {name: float(each["usd"]) for name, each in facts.items()},
    )
    found = judge_quality(
        result.verdicts, result.votes, result.labels, facts=replace(about, weights=panel.weights)
    )
    wanted = found[(found["slice"] == ALL) & found["measure"].isin(MEASURES)]
    return wanted.drop(columns="slice").reset_index(drop=True)


def _write(target: Path, given: GivenPairs, result: "PanelResult") -> None:
    labels = result.labels.set_index("pair_id").to_dict("index")
    votes: dict[bytes, list[dict[str, Any]]] = {}
    for row in result.votes.to_dict("records"):
        votes.setdefault(row.pop("pair_id"), []).append(row)
    rows = [
        {
            "file": name,
            "row": row,
            "pair_id": pair.pair_id.hex(),
            **labels[pair.pair_id],
            "votes": votes[pair.pair_id],
        }
        for (name, row), pair in zip(given.where, given.pairs, strict=True)
    ]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    if target.suffix == JSON_LINES:
        write_lines(target, table.to_pylist())
        return
    part = beside(target)
    pq.write_table(table, part, compression="zstd")
    put_in_place(part, target)
