"""Settings of the stages: seed, iterations, people, filtering, gates, evidence."""

from typing import Literal

from pydantic import Field

from synpref_dagster.settings.section import Section


class SeedSettings(Section):
    """The gold and silver seed (Sec. 3.2: 80K pairs)."""

    num_gold: int
    num_silver: int
    validation_share: float = 0.3
    """Share of gold conversations that validate every model and train none."""
    max_risky_share: float = Field(default=0.25, ge=0, le=1)
    """Most pairs that people see first because they are risky; the others come by objectivity."""


class IterationSettings(Section):
    """The human-in-the-loop iterations (Sec. 3.2: eight of them)."""

    num_iterations: int
    max_retrieved: int
    num_human: int
    human_policy: Literal["objective_first", "judge_disagreement"] = "judge_disagreement"
    low_margin: float = Field(default=0.05, ge=0, le=0.5)
    """A pair is risky when the model's probability of its label is this close to one half."""


class PeopleSettings(Section):
    """The people who verify pairs, and when a campaign goes on without some of them."""

    backend: Literal["recorded", "page", "label_studio"] = "recorded"
    """`recorded` answers from files at once; the others put batches before people and wait."""
    ledger_url: str | None = None
    """Review database; default `SYNPREF_REVIEW_LEDGER`, else SQLite beside the campaigns."""
    double_share: float = Field(default=0.2, ge=0, le=1)
    """Share of every batch that two people see."""
    adjudicate: bool = True
    """Whether disagreements go to an adjudicator (review page only)."""
    consensus: Literal["majority", "dawid_skene"] = "majority"
    """What several verdicts make of a pair: the strict majority, or Dawid and Skene's model, which
    weighs people by how often they are right (extra `crowd`)."""
    deadline_hours: float | None = None
    """After so many hours a batch with `min_share` of its pairs answered is finished."""
    min_share: float = Field(default=0.9, ge=0, le=1)
    """Answered share that is enough after the deadline."""
    alpha_floor: float | None = None
    """Krippendorff's alpha below which no gold is built; None for no gate."""
    min_pairs_for_alpha: int = 20
    """Doubly annotated pairs that the gate needs to judge by."""
    pre_verify: bool = True
    """Whether LLM judges, where there are any, say beforehand what they think of each response
    alone; people find it behind a fold."""
    label_studio_url: str | None = None
    """Address of the Label Studio server; its token comes from `LABEL_STUDIO_TOKEN`."""


class FilterSettings(Section):
    """Stage 2 (Sec. 3.3) and the flip guard."""

    unsure_band: float = 0.0
    recycle: Literal["strict", "all", "none"] = "strict"
    guard_floor: float = 0.6
    cross_fit_folds: int = 2


class GateSettings(Section):
    """What a release must reach to become the champion."""

    min_gold_accuracy: float = 0.5
    """The lower bound of its accuracy on gold must exceed this."""


class EvidenceSettings(Section):
    """What the evidence assets may spend."""

    num_judged: int = 600
    """Pairs on which judges are audited with no, random and retrieved exemplars."""
    thresholds: dict[str, float] = Field(default_factory=dict)
    """Claim name -> the number it needs to hold; see `curation.evidence.claims.CLAIMS`."""
