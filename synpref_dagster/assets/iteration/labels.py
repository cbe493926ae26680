"""Box 4, the labels of an iteration: people and judges are asked about the retrieved pairs.

The profile's policy decides who goes first. `objective_first` is the paper's order: people take the
objective pairs, judges the rest. `judge_disagreement` asks the judges about all and sends people
where the judges are least sure.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import dagster as dg
import pandas as pd

from synpref_dagster.assets.asking import ask_judges, leak_spec, no_exemplar_leak
from synpref_dagster.assets.iteration.keys import iteration_key, iteration_options
from synpref_dagster.assets.iteration.retrieval import retrieved_pairs
from synpref_dagster.assets.response_notes import with_response_checks
from synpref_dagster.assets.step import campaign_step
from synpref_dagster.assets.views import (
    beside_texts,
    embedded_pairs,
    gold_exemplars,
    stage_one_views,
)
from synpref_dagster.curation.verification.people import choose_for_people
from synpref_dagster.pairs.progress import BeforePeople, tell
from synpref_dagster.pairs.record import PreferencePair, id_array, is_among
from synpref_dagster.people.consensus import labels_by_rule
from synpref_dagster.resources.campaign import POOL, Campaign
from synpref_dagster.resources.embedding import PairEmbedding
from synpref_dagster.resources.judges import JudgePanel
from synpref_dagster.resources.people import Reviewers
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.storage import DatasetRef, SelectionRef


def build_labelling(
    number: int,
    *,
    rests_on: Mapping[str, dg.AssetKey],
    policy: str,
    people: Sequence[dg.AssetKey],
) -> list[dg.AssetsDefinition]:
    """Retrieval, verdicts and votes of one iteration, resting on what was before it.

    Args:
        number: of the iteration.
        rests_on: gold, silver, reward_model and gold_confidence of the iteration before.
        policy: who is asked first, people or judges.
        people: the external assets that stand for the people behind `human_verdicts`.
    """
    retrieved = dg.AssetIn(iteration_key(number, "retrieved_pairs"))
    votes = {"judge_votes": dg.AssetIn(iteration_key(number, "judge_votes"))}
    verdicts = {"human_verdicts": dg.AssetIn(iteration_key(number, "human_verdicts"))}
    people_first = policy == "objective_first"
    table = {"python", "parquet"}
    return [
        dg.asset(
            **iteration_options(number, "retrieved_pairs", kinds=table, pool="gpu", version="2"),
            ins={name: dg.AssetIn(key) for name, key in rests_on.items()},
        )(retrieved_pairs),
        dg.asset(
            **iteration_options(number, "human_verdicts", kinds=table, version="2"),
            ins={"retrieved": retrieved, **({} if people_first else votes)},
            deps=people,
            output_required=False,
        )(human_verdicts),
        dg.asset(
            **iteration_options(number, "judge_votes", kinds=table, pool="judge_api"),
            ins={
                "retrieved": retrieved,
                "gold": dg.AssetIn(rests_on["gold"]),
                **(verdicts if people_first else {}),
            },
            check_specs=[leak_spec(iteration_key(number, "judge_votes").path)],
        )(judge_votes),
    ]


def human_verdicts(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    judges: JudgePanel,
    reviewers: Reviewers,
    tracking: MlflowTracking,
    attribute_labels: DatasetRef,
    retrieved: DatasetRef,
    **labelled: Any,
) -> Iterator[dg.MaterializeResult]:
    """What people say about the part of the retrieved pairs that the policy gives them.

    While verdicts are missing it ends without a result, and what rests on it is skipped.
    """
    settings = campaign.profile.iterations
    with campaign_step(context, campaign, tracking, {"retrieved": retrieved}) as step:

        @cache
        def chosen() -> list[bytes]:
            found = campaign.frame(retrieved)
            described = campaign.rows(attribute_labels, found["pair_id"])
            pulled = found.merge(described, on="pair_id", validate="one_to_one")
            panel = labelled.get("judge_votes")
            labels = None if panel is None else campaign.frame(panel["labels"])
            return _for_people(campaign, reviewers, pulled, labels=labels)

        def pairs() -> list[PreferencePair]:
            return campaign.pairs(campaign.named_in(retrieved, POOL), chosen())

        def about() -> pd.DataFrame:
            seen = beside_texts(campaign, retrieved, attribute_labels, chosen())
            return with_response_checks(step, judges, pairs, seen)

        answers = reviewers.ask(step.name, pairs, about)
        if answers is None:
            tell(context.log, BeforePeople(num_pairs=len(reviewers.for_people(pairs()))))
            return
        ledger = step.dataset(
            answers.ledger,
            inputs=[retrieved, attribute_labels, answers.fingerprint, *labelled.values()],
            params=settings.model_dump(),
        )
        labels = labels_by_rule(campaign.frame(ledger), rule=campaign.profile.people.consensus)
        yield step.result(
            ledger,
            metrics={
                "num_verdicts": ledger.num_rows,
                "num_pairs": len(labels),
                "num_undecidable": int((labels["label"] == 0).sum()),
                "source_label_accuracy": float((labels["label"] > 0).mean()),
            },
        )


def _for_people(
    campaign: Campaign, reviewers: Reviewers, pulled: pd.DataFrame, *, labels: pd.DataFrame | None
) -> list[bytes]:
    """The retrieved pairs that the policy gives to people, of those that they can answer for."""
    settings = campaign.profile.iterations
    answerable = reviewers.answerable(id_array(pulled["content_id"].tolist()))
    if answerable is not None:
        pulled = pulled[answerable]
    return list(
        choose_for_people(
            pulled,
            labels,
            policy=settings.human_policy,
            num_pairs=settings.num_human,
            seed=campaign.seed,
        )
    )


def judge_votes(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    judges: JudgePanel,
    tracking: MlflowTracking,
    attribute_labels: DatasetRef,
    pair_embeddings: DatasetRef,
    embedding: PairEmbedding,
    retrieved: DatasetRef,
    gold: SelectionRef,
    **labelled: Any,
) -> dg.MaterializeResult:
    """The panel's labels of the retrieved pairs, guided by their nearest gold exemplars."""
    views = stage_one_views(campaign, attribute_labels, pair_embeddings)
    with campaign_step(context, campaign, tracking, {"retrieved": retrieved}) as step:
        by_people = _verdict_ids(campaign, labelled.get("human_verdicts"))
        pulled = campaign.frame(retrieved, ["pair_id"])["pair_id"]
        panel = ask_judges(
            step,
            judges,
            pool=views["pool"],
            targets=lambda: embedded_pairs(
                campaign, views, list(pulled[~is_among(pulled, by_people)])
            ),
            gold=lambda: gold_exemplars(
                campaign, views, campaign.frame(gold.kept), embedding=embedding
            ),
            inputs=[retrieved, gold, attribute_labels, pair_embeddings, *labelled.values()],
        )
        labels = campaign.frame(panel["labels"])
        return step.result(
            panel,
            metrics={
                "num_labelled": int((labels["label"] != 0).sum()),
                "num_abstained": int((labels["label"] == 0).sum()),
                "mean_confidence": float(labels["confidence"].mean()),
            },
            checks=[no_exemplar_leak(step, panel)],
        )


def _verdict_ids(campaign: Campaign, ledger: DatasetRef | None) -> set[bytes]:
    return set() if ledger is None else set(campaign.frame(ledger, ["pair_id"])["pair_id"])
