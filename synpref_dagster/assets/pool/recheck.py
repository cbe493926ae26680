"""Judges look at contamination hits if the profile asks; cleared pairs return.

A cleared pair stays in the pool with its recheck beside it. It goes to stage 2 alone: gold allows
no overlap with a benchmark at all (App. D.1).
"""

from dataclasses import asdict
from typing import Any

import pandas as pd

from synpref_dagster.assets.asking import judges_asked, spending
from synpref_dagster.assets.step import Step
from synpref_dagster.curation.contamination.recheck import (
    cleared_pairs,
    contaminated_ids,
    recheck,
    recheck_counts,
    suspicions,
)
from synpref_dagster.curation.contamination.rules import prompts_from_rows
from synpref_dagster.curation.judging.prompts import CONTAMINATION
from synpref_dagster.judges.questions import opinions
from synpref_dagster.pairs.record import table_to_pairs
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.judges import PART, JudgePanel
from synpref_dagster.storage import DatasetRef, iter_tables, select_rows

FACT = "contamination_review"


def rechecked_hits(
    step: Step,
    judges: JudgePanel,
    screened: DatasetRef,
    *,
    texts: DatasetRef,
    prompts: DatasetRef,
) -> DatasetRef | None:
    """What judges say about every contaminated pair; None unless the profile wants it.

    Args:
        step: the asset that cleans.
        judges: LLM judges.
        screened: what screening found.
        texts: the raw pool.
        prompts: the benchmarks' prompts.

    Raises:
        ValueError: the profile wants it, but has no LLM judges.
    """
    campaign, settings = step.campaign, step.campaign.profile.pool
    if not settings.recheck_contamination:
        return None
    if not judges.uses_endpoints:
        raise ValueError(
            "pool.recheck_contamination asks LLM judges, but judges.kind is "
            f"{judges.settings.kind!r}: set it to 'endpoints', or recheck_contamination to false"
        )
    account = f"{step.name}{PART}{FACT}"

    def compute() -> pd.DataFrame:
        wanted = contaminated_ids(iter_tables(screened, ["pair_id", "screen_reason"]))
        asked = suspicions(
            list(table_to_pairs(select_rows(texts, wanted))),
            prompts_from_rows(campaign.frame(prompts)),
            ngram_words=settings.ngram_words,
        )
        return recheck(asked, opinions(judges.endpoint_judges(account), asked))

    with judges_asked():
        rechecked = step.dataset(
            compute,
            inputs=[screened, texts, prompts],
            params={**judges.identity(CONTAMINATION), "ngram_words": settings.ngram_words},
            part=FACT,
        )
    step.note({**spending(judges, account), **recheck_counts(campaign.frame(rechecked))})
    return rechecked


def recheck_fact(rechecked: DatasetRef | None) -> dict[str, Any]:
    """What the manifest of the clean pool keeps, so that a recheck is found again."""
    return {FACT: asdict(rechecked)} if rechecked else {}


def cleared_in(campaign: Campaign, clean: DatasetRef) -> set[bytes]:
    """The pairs of a clean pool that judges cleared of a contamination hit."""
    fact = campaign.facts(clean).get(FACT)
    return cleared_pairs(campaign.frame(DatasetRef(**fact))) if fact else set()
