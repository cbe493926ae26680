"""What every asset that asks the judges shares: the panel's labels, votes and exemplars, kept.

The table `screening` (a stored name, which stays) says who votes and what a vote counts: with a
floor in the profile, judges that agree too little with people on gold do not vote; with
`panel = "weighted"` a vote counts what the judge proved worth there. What LLM judges cost is in the
asset's metadata and in MLflow.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeAlias, TypeVar

import dagster as dg
import pandas as pd

from synpref_dagster.assets.step import Result, Step, shard_counts
from synpref_dagster.curation.judging.labelling import (
    EmbeddedPairs,
    ExemplarChoice,
    Panel,
    exemplar_fingerprint,
    label_with_exemplars,
    leaked_exemplars,
)
from synpref_dagster.curation.judging.weighing import (
    ONE_VOTE,
    voting_panel,
    weigh_judges,
    weighed_panel,
)
from synpref_dagster.judges.batches.service import AllSent
from synpref_dagster.judges.budget import BudgetExhaustedError
from synpref_dagster.judges.endpoint import EndpointJudge
from synpref_dagster.judges.requests import BatchPendingError, JudgeError
from synpref_dagster.judges.shards import (
    PANEL_SCHEMAS,
    PanelWork,
    bill_of,
    judge_shard,
    leaked_shard,
    panel_frames,
    worth_of,
)
from synpref_dagster.pairs.progress import ChunksDone, tell
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.resources.judges import PART, JudgePanel, WaitingForBatches, attribute_account
from synpref_dagster.storage import DatasetRef, map_shards

PANEL_PARTS = ["labels", "votes", "verdicts", "exemplars", "targets", "screening", "bill"]
"""Stored names; `screening` holds how judges were weighed."""
Exemplars: TypeAlias = tuple[EmbeddedPairs, list[int]]
PAID_FOR = "judges_paid_for"
T = TypeVar("T")


class MoneyMissing(dg.Failure):
    """The cap does not reach for what a step wants to ask; a report may go without."""


def ask_judges(
    step: Step,
    judges: JudgePanel,
    *,
    pool: DatasetRef,
    targets: Callable[[], EmbeddedPairs],
    gold: Callable[[], Exemplars],
    inputs: Sequence[Result | str],
    choice: ExemplarChoice = "retrieved",
    folder: str | None = None,
    weigh: bool = True,
) -> dict[str, DatasetRef]:
    """Label targets with gold exemplars; every verdict, vote and exemplar shown is kept.

    The judges' views are fitted on the texts of `pool`, never on its labels. `targets` and `gold`
    are called only when there is no finished result to reuse. Judges below the profile's floor are
    not asked; without `weigh`, as in an audit, they are, but their votes count nothing.
    """
    account = f"{step.name}{PART}{folder}" if folder else step.name
    rule = judges.weighing_rule()

    def compute() -> dict[str, pd.DataFrame]:
        with judges_asked():
            asked, (shown, labels) = targets(), gold()
            everybody = judges.panel(pool, asset=account)
            weighing = weigh_judges(everybody, shown, labels, rule=rule)
            panel = (voting_panel if weigh else weighed_panel)(everybody, weighing)
            before = worth_of(panel)
            answer = label_with_exemplars(asked, shown, labels, panel=panel, choice=choice)
        step.note({}, judge_facts(everybody, account))
        frames = panel_frames(asked, shown, answer)
        return {**frames, "screening": weighing, "bill": bill_of(panel, before)}

    params = {**judges.params(), "choice": choice, "screened": weigh and rule.floor is not None}
    parts = step.parts(compute, PANEL_PARTS, inputs=[pool, *inputs], params=params, folder=folder)
    _note_panel(step, judges, parts["screening"], account=account)
    return parts


@dataclass(frozen=True, kw_only=True)
class ShardTargets:
    """Pairs of a pool that judges are asked about, shard by shard."""

    asked: DatasetRef
    """pair_id of the pairs in question."""
    texts: DatasetRef
    """The raw shards that they come from, side by side."""
    embed: Callable[[list[PreferencePair]], EmbeddedPairs]
    """Gives the pairs of a shard their attributes and vectors."""
    embedded_by: Mapping[str, Any]
    """What `embed` depends on besides the pairs."""


def ask_judges_by_shard(
    step: Step,
    judges: JudgePanel,
    *,
    pool: DatasetRef,
    targets: ShardTargets,
    gold: Exemplars,
) -> dict[str, DatasetRef]:
    """`ask_judges` for more targets than memory holds: the same parts, one shard after the other.

    A shard is judged again when its pairs changed, or what judges can be shown, who they are, or
    how they are weighed; else it is found again, and nobody asks for its replies.
    """
    (shown, labels), campaign = gold, step.campaign
    everybody = cache(lambda: judges.panel(pool, asset=step.name))
    about = {"pool": pool.fingerprint, "shown": exemplar_fingerprint(shown, labels)}
    with judges_asked():
        weighing = step.dataset(
            lambda: weigh_judges(everybody(), shown, labels, rule=judges.weighing_rule()),
            inputs=list(about.values()),
            params=judges.params(),
            part="screening",
        )
        panel = cache(lambda: voting_panel(everybody(), campaign.frame(weighing)))
        work = PanelWork(panel=panel, shown=shown, shown_labels=labels, embed=targets.embed)
        about["screening"] = weighing.fingerprint
        judged = map_shards(
            partial(judge_shard, work=work),
            targets.asked,
            beside=[targets.texts],
            uri=campaign.uri("data", step.name),
            version=step.version,
            identified_by={"key": {**about, "judges": judges.params(), **targets.embedded_by}},
            executor=AllSent(),
            outputs=list(PANEL_SCHEMAS),
            on_progress=partial(tell_shards, step),
        )
    step.note(shard_counts(judged, "shards"))
    if everybody.cache_info().currsize:
        step.note({}, judge_facts(everybody(), step.name))
    _note_panel(step, judges, weighing, account=step.name)
    return {**judged.outputs, "screening": weighing}


def tell_shards(step: Step, done: int, total: int) -> None:
    """Tell whoever watches how many shards of a step the judges are through with."""
    tell(step.context.log, ChunksDone(what="judges", done=done, total=total))


@contextmanager
def judges_asked() -> Iterator[None]:
    """Turn what stops a judge into a failure of the step: permanent, or worth another attempt."""
    try:
        yield
    except BatchPendingError as error:
        raise WaitingForBatches(str(error)) from error
    except BudgetExhaustedError as error:
        raise MoneyMissing(str(error), allow_retries=False) from error
    except JudgeError as error:
        raise dg.Failure(str(error), allow_retries=not error.permanent) from error


def every_panel(asks: Iterable[Callable[[], T]]) -> list[T]:
    """The answers to several rounds of questions; all are sent before the step waits for any.

    Raises:
        WaitingForBatches: at least one round is made in batches.
    """
    answers: list[T] = []
    waiting: WaitingForBatches | None = None
    for ask in asks:
        try:
            answers.append(ask())
        except WaitingForBatches as failure:
            waiting = waiting or failure
    if waiting is not None:
        raise waiting
    return answers


def spending(judges: JudgePanel, asset: str) -> dict[str, float]:
    """Metric name -> US dollars that each LLM judge cost for an asset so far.

    What calls without an answer may have cost on top has names of its own, where there are any.
    """
    metrics = {"judge_usd": judges.usd(asset), "judge_possible_usd": judges.possible_usd(asset)}
    return {
        f"{metric}/{name}{_suffix(asset)}": value
        for metric, by_judge in metrics.items()
        for name, value in by_judge.items()
    }


def judge_facts(panel: Panel, account: str) -> dict[str, dg.MetadataValue]:
    """How each LLM judge's work went: calls, cached replies, retries, failures, schema mode."""
    facts = {each.name: each.facts() for each in panel.judges if isinstance(each, EndpointJudge)}
    return {f"judges{_suffix(account)}": dg.MetadataValue.json(facts)} if facts else {}


def no_exemplar_leak(step: Step, panel: dict[str, DatasetRef]) -> dg.AssetCheckResult:
    """No target was labelled with its own gold label or one of its own conversation."""
    ids = step.campaign.frame(panel["targets"])
    conversations = dict(zip(ids["pair_id"], ids["conversation_id"], strict=True))
    leaked = leaked_exemplars(step.campaign.frame(panel["exemplars"]), conversations)
    return _leak_result(len(leaked), panel)


def no_leak_in_any_shard(step: Step, panel: dict[str, DatasetRef]) -> dg.AssetCheckResult:
    """`no_exemplar_leak` of what `ask_judges_by_shard` kept; a shard is looked at once."""
    leaked = map_shards(
        leaked_shard,
        panel["exemplars"],
        beside=[panel["targets"]],
        uri=step.campaign.uri("data", step.name, "leaked"),
        version="1",
    )
    return _leak_result(leaked.ref.num_rows, panel)


def paid_spec(asset: str) -> dg.AssetCheckSpec:
    """The check that `paid_for` answers; it never blocks, for a report is no label."""
    return dg.AssetCheckSpec(
        PAID_FOR,
        asset=dg.AssetKey(asset),
        description="The judges' budget reached for this report, after all labels.",
    )


def paid_for(missing: MoneyMissing | None = None) -> dg.AssetCheckResult:
    """Whether a report could ask its judges; a warning that says which money is missing."""
    return dg.AssetCheckResult(
        check_name=PAID_FOR,
        passed=missing is None,
        severity=dg.AssetCheckSeverity.WARN,
        description=str(missing.description) if missing else "nothing is missing",
    )


def leak_spec(asset: str | Sequence[str]) -> dg.AssetCheckSpec:
    """The blocking check that `no_exemplar_leak` answers."""
    return dg.AssetCheckSpec(
        "no_exemplar_leak",
        asset=dg.AssetKey(asset),
        blocking=True,
        description="A judge never sees the target's own gold label, nor its conversation.",
    )


def _leak_result(num_leaked: int, panel: dict[str, DatasetRef]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name="no_exemplar_leak",
        passed=num_leaked == 0,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{num_leaked} of {panel['exemplars'].num_rows:,} exemplars shown leak",
    )


def _note_panel(step: Step, judges: JudgePanel, weighing: DatasetRef, *, account: str) -> None:
    """Who votes, and what asking cost."""
    step.note({}, _who_votes(step.campaign.frame(weighing)))
    step.note(spending(judges, account))
    # What describing the targets cost, where they came without attributes.
    described = spending(judges, attribute_account(step.name))
    step.note({name: usd for name, usd in described.items() if usd})


def _who_votes(weighing: pd.DataFrame) -> dict[str, Any]:
    """What metadata say about a panel in which not everybody has one vote."""
    left_out = weighing[~weighing["kept"].astype(bool)]
    facts: dict[str, Any] = {}
    if len(left_out):
        facts["judges_left_out"] = left_out[["judge", "reason", "value"]].to_dict("records")
    if (weighing["weighting"] != ONE_VOTE).any():
        shown = ["judge", "weight", "weighting", "value", "low", "n"]
        facts["judge_weights"] = weighing[shown].to_dict("records")
    return facts


def _suffix(account: str) -> str:
    part = account.partition(PART)[2]
    return f"/{part}" if part else ""
