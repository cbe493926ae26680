"""Box 3: the seed. People verify gold, judges label silver with gold exemplars (Sec. 3.2)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.assets.asking import ask_judges, leak_spec, no_exemplar_leak
from synpref_dagster.assets.iteration.keys import IDS
from synpref_dagster.assets.response_notes import with_response_checks
from synpref_dagster.assets.step import box, campaign_step, conservation, conservation_spec
from synpref_dagster.assets.views import (
    beside_texts,
    embedded_pairs,
    gold_exemplars,
    stage_one_views,
)
from synpref_dagster.curation.pool.screening import count_reasons
from synpref_dagster.curation.verification.gold_silver import first_gold, silver_from_labels
from synpref_dagster.curation.verification.people import pick_seed
from synpref_dagster.pairs.columns import from_numbers
from synpref_dagster.pairs.ids import rows_by_content
from synpref_dagster.pairs.progress import BeforePeople, tell
from synpref_dagster.people.consensus import labels_by_rule
from synpref_dagster.publishing.plots import bar_plot
from synpref_dagster.resources.campaign import POOL, Campaign
from synpref_dagster.resources.embedding import PairEmbedding
from synpref_dagster.resources.judges import JudgePanel
from synpref_dagster.resources.people import Reviewers
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.storage import DatasetRef, SelectionRef, to_frame

GROUP = "3_seed"
SEEN_BY_SEED = ["task_category", "objectivity", "controversiality"]
"""What decides besides risk who is picked."""
People = Mapping[dg.AssetKey, Sequence[dg.AssetKey]]
"""Asset that waits for people -> the external assets that stand for them."""


@dg.asset(**box(GROUP, kinds={"python", "parquet"}, code_version="3"))
def seed_candidates(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    reviewers: Reviewers,
    tracking: MlflowTracking,
    unverified_pool: DatasetRef,
    attribute_labels: DatasetRef,
) -> dg.MaterializeResult:
    """Pairs for the seed: risky, objective and uncontroversial ones first, over all categories.

    `asked` says who labels a pair: `people` (gold) or `judges` (silver); `risk` why to look twice.
    """
    settings = campaign.profile.seed_set
    with campaign_step(context, campaign, tracking, {"attributes": attribute_labels}) as step:
        candidates = step.dataset(
            lambda: seed_from_tables(
                campaign.table(unverified_pool, [*IDS, "risky"]),
                campaign.table(attribute_labels, ["pair_id", *SEEN_BY_SEED]),
                answerable=reviewers.answerable,
                pick=partial(
                    pick_seed,
                    num_gold=settings.num_gold,
                    num_silver=settings.num_silver,
                    seed=campaign.seed,
                    max_risky_share=settings.max_risky_share,
                ),
            ),
            inputs=[unverified_pool, attribute_labels, *reviewers.recorded_fingerprint()],
            params=settings.model_dump(),
        )
        frame = campaign.frame(candidates, ["asked", "task_category", "risky"])
        by_category = frame["task_category"].value_counts()
        return step.result(
            candidates,
            metrics={
                "num_for_people": int((frame["asked"] == "people").sum()),
                "num_for_judges": int((frame["asked"] == "judges").sum()),
                "num_risky_for_people": int(frame["risky"][frame["asked"] == "people"].sum()),
            },
            plot=bar_plot(
                {str(name): int(count) for name, count in by_category.items()},
                title="Seed candidates by category",
                value_label="pairs",
                percent=False,
            ),
        )


def seed_from_tables(
    pool: pa.Table,
    attributes: pa.Table,
    *,
    answerable: Callable[[pa.ChunkedArray], np.ndarray | None],
    pick: Callable[..., pd.DataFrame],
) -> pd.DataFrame:
    """What `pick_seed` picks from a pool, which is never held as a frame of ids.

    Pairs go by numbers, which are in the order of their ids, and get these back when they are
    picked: a pool of people's pairs may have millions, and a seed has thousands.

    Args:
        pool: pair_id, content_id, conversation_id, risky.
        attributes: pair_id, and `SEEN_BY_SEED` of every pair of the pool.
        answerable: which of some contents people can answer for; None for all.
        pick: `pick_seed` but for the candidates and who can be asked about them.
    """
    rows = from_numbers(rows_by_content(pool))
    distinct = pool.take(rows)
    ids, known = (each["pair_id"].combine_chunks().storage for each in (distinct, attributes))
    about = attributes.select(SEEN_BY_SEED).take(pc.index_in(ids, value_set=known))
    numbers = np.arange(distinct.num_rows)
    can = answerable(distinct["content_id"])
    picked = pick(
        to_frame(about.append_column("risky", distinct["risky"])).assign(
            **dict.fromkeys(IDS, numbers)
        ),
        answerable=None if can is None else set(numbers[can].tolist()),
    )
    named = to_frame(distinct.select(IDS).take(from_numbers(picked["pair_id"].to_numpy())))
    return picked.assign(**{name: named[name].to_numpy() for name in IDS})


def build_verified_seed(people: People) -> dg.AssetsDefinition:
    """The gold seed, resting on the people who answer for it where there are any."""
    return dg.asset(
        **box(GROUP, kinds={"python", "parquet"}, code_version="2"),
        check_specs=conservation_spec("human_verified_seed"),
        deps=people.get(dg.AssetKey("human_verified_seed"), []),
        output_required=False,
    )(human_verified_seed)


def human_verified_seed(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    judges: JudgePanel,
    reviewers: Reviewers,
    tracking: MlflowTracking,
    attribute_labels: DatasetRef,
    seed_candidates: DatasetRef,
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Gold seed: the consensus of people, split by conversation into training and validation.

    Dropped are pairs that people could not decide; no judge is asked about them afterwards. While
    verdicts are missing it ends without a result, and what rests on it is skipped.
    """
    settings, rule = campaign.profile.seed_set, campaign.profile.people.consensus
    with campaign_step(context, campaign, tracking, {"candidates": seed_candidates}) as step:
        pool = campaign.named_in(attribute_labels, POOL)
        asked = _asked(campaign, seed_candidates, "people")
        pairs = partial(campaign.pairs, pool, list(asked["pair_id"]))

        def about() -> pd.DataFrame:
            seen = beside_texts(campaign, seed_candidates, attribute_labels, asked["pair_id"])
            return with_response_checks(step, judges, pairs, seen)

        answers = reviewers.ask(step.name, pairs, about)
        if answers is None:
            tell(context.log, BeforePeople(num_pairs=len(reviewers.for_people(pairs()))))
            yield conservation(0, {"before_people": 0})
            return
        ledger = step.dataset(
            answers.ledger, inputs=[seed_candidates, answers.fingerprint], part="ledger"
        )
        _refuse_no_votes(campaign, ledger, num_asked=len(asked))
        gold = step.selection(
            lambda: first_gold(
                labels_by_rule(campaign.frame(ledger), rule=rule),
                asked,
                validation_share=settings.validation_share,
                seed=campaign.seed,
            ),
            inputs=[ledger],
            params={**settings.model_dump(), "consensus": rule},
            meta={"ledger": campaign.as_fact(ledger), POOL: campaign.as_fact(pool)},
        )
        frame = campaign.frame(gold.kept)
        parts = {"gold": gold.kept.num_rows, "dropped": gold.dropped.num_rows}
        step.tracked.log_campaign_metrics({"gold/num_pairs": parts["gold"]}, step=0)
        yield step.result(
            gold,
            metrics={
                "num_verdicts": ledger.num_rows,
                "num_gold": gold.kept.num_rows,
                "num_validation": int((frame["split"] == "validation").sum()),
                "num_undecidable": gold.dropped.num_rows,
                "source_label_accuracy": float((frame["label"] > 0).mean()),
            },
            checks=[conservation(len(asked), parts)],
        )


@dg.asset(
    **box(GROUP, kinds={"python", "parquet"}, pool="judge_api"),
    check_specs=[*conservation_spec("silver_seed"), leak_spec("silver_seed")],
)
def silver_seed(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    judges: JudgePanel,
    tracking: MlflowTracking,
    attribute_labels: DatasetRef,
    pair_embeddings: DatasetRef,
    embedding: PairEmbedding,
    seed_candidates: DatasetRef,
    human_verified_seed: SelectionRef,
) -> dg.MaterializeResult:
    """Silver seed: labels of the judges, guided by the most similar gold exemplars."""
    views = stage_one_views(campaign, attribute_labels, pair_embeddings)
    with campaign_step(context, campaign, tracking, {"gold": human_verified_seed}) as step:
        asked = _asked(campaign, seed_candidates, "judges")
        gold = campaign.frame(human_verified_seed.kept)
        panel = ask_judges(
            step,
            judges,
            pool=views["pool"],
            targets=lambda: embedded_pairs(campaign, views, list(asked["pair_id"])),
            gold=lambda: gold_exemplars(campaign, views, gold, embedding=embedding),
            inputs=[seed_candidates, human_verified_seed, attribute_labels, pair_embeddings],
        )
        silver = step.selection(
            lambda: silver_from_labels(
                campaign.frame(panel["labels"]), asked, gold=gold, iteration=0
            ),
            inputs=[panel, human_verified_seed],
            meta={POOL: campaign.as_fact(views["pool"])},
        )
        reasons = count_reasons(campaign.frame(silver.dropped))
        return step.result(
            silver,
            metrics={"num_silver": silver.kept.num_rows, "num_dropped": silver.dropped.num_rows},
            facts={"dropped_by_reason": reasons},
            checks=[
                conservation(
                    len(asked),
                    {"silver": silver.kept.num_rows, "dropped": silver.dropped.num_rows},
                ),
                no_exemplar_leak(step, panel),
            ],
        )


def _refuse_no_votes(campaign: Campaign, ledger: DatasetRef, *, num_asked: int) -> None:
    if ledger.num_rows or campaign.profile.people.backend != "recorded":
        return
    raise dg.Failure(
        f"0 of {num_asked} seed candidates have a recorded verdict: these sources carry no votes. "
        "Set people.backend = 'page' (people answer on the review page), or give a source with "
        "votes (docs/sources.md)",
        allow_retries=False,
    )


def _asked(campaign: Campaign, candidates: DatasetRef, who: str) -> pd.DataFrame:
    frame = campaign.frame(candidates, ["pair_id", "content_id", "conversation_id", "asked"])
    return frame[frame["asked"] == who].drop(columns="asked").reset_index(drop=True)
