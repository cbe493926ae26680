"""Settings of the stages: seed, iterations, people, filtering, gates, evidence."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from synpref_dagster.settings.addresses import Called, LedgerAddress, WebAddress
from synpref_dagster.settings.section import MOST, SET, Needs, Section

ASKED: Needs = {"backend": ("page", "label_studio")}
CLAIM_NAMES = (
    "labels_improve",
    "filtered_beats_original",
    "not_a_size_effect",
    "corrected_beats_original",
    "corrected_beats_filtered",
    "kept_is_right",
    "flipped_is_right",
    "both_keep_better_than_one",
    "both_flip_better_than_one",
    "gold_keeps_better_than_best",
    "retrieved_beats_random",
    "random_beats_none",
    "iterations_improve",
)
"""The claims that `curation.evidence.claims.CLAIMS` spells out."""


class SeedSettings(Section):
    """The gold and silver seed (Sec. 3.2: 80K pairs)."""

    num_gold: int = Field(ge=1, le=MOST)
    """Pairs of the seed that people verify."""
    num_silver: int = Field(ge=1, le=MOST)
    """Pairs of the seed that judges label."""
    validation_share: float = Field(default=0.3, gt=0, lt=1)
    """Share of gold conversations that validate every model and train none."""
    max_risky_share: float = Field(default=0.25, ge=0, le=1)
    """Most pairs that people see first because they are risky; the others come by objectivity."""


class IterationSettings(Section):
    """The human-in-the-loop iterations (Sec. 3.2: eight of them)."""

    num_iterations: int = Field(ge=0, le=100)
    """How often a model is trained, and pairs like those it got wrong are labelled."""
    max_retrieved: int = Field(ge=1, le=MOST)
    """Most pairs that an iteration retrieves."""
    num_human: int = Field(ge=0, le=MOST)
    """Pairs of an iteration that people see; judges label the others."""
    human_policy: Literal["objective_first", "judge_disagreement"] = "judge_disagreement"
    """Which of them people see: objective and uncontroversial ones, or those on which judges
    differ."""
    low_margin: float = Field(default=0.05, ge=0, le=0.5)
    """A pair is risky when the model's probability of its label is this close to one half."""


class PeopleSettings(Section):
    """The people who verify pairs, and when a campaign goes on without some of them."""

    obeyed_where: ClassVar[Mapping[str, Needs]] = {
        **dict.fromkeys(
            ("ledger_url", "double_share", "deadline_hours", "alpha_floor", "recorded_first"), ASKED
        ),
        "adjudicate": {"backend": ("page",)},
        "pre_verify": {"backend": ("page",)},
        "label_studio_url": {"backend": ("label_studio",)},
        "min_share": {"deadline_hours": SET},
        "min_pairs_for_alpha": {"alpha_floor": SET},
    }

    backend: Literal["recorded", "page", "label_studio"] = "recorded"
    """`recorded` answers from files at once; the others put batches before people and wait."""
    recorded_first: bool = False
    """Whether votes that ship with the sources answer where there are some, so that people are
    asked about the other pairs only."""
    ledger_url: LedgerAddress | None = None
    """Review database; default `SYNPREF_REVIEW_LEDGER`, else SQLite beside the campaigns."""
    double_share: float = Field(default=0.2, ge=0, le=1)
    """Share of every batch that two people see."""
    adjudicate: bool = True
    """Whether disagreements go to an adjudicator (review page only)."""
    consensus: Literal["majority", "dawid_skene"] = "majority"
    """What several verdicts make of a pair: the strict majority, or Dawid and Skene's model, which
    weighs people by how often they are right (extra `crowd`)."""
    deadline_hours: float | None = Field(default=None, ge=0, le=87_600)
    """After so many hours a batch with `min_share` of its pairs answered is finished."""
    min_share: float = Field(default=0.9, ge=0, le=1)
    """Answered share that is enough after the deadline."""
    alpha_floor: float | None = Field(default=None, ge=-1, le=1)
    """Krippendorff's alpha below which no gold is built; None for no gate."""
    min_pairs_for_alpha: int = Field(default=20, ge=1, le=MOST)
    """Doubly annotated pairs that the gate needs to judge by."""
    pre_verify: bool = True
    """Whether LLM judges, where there are any, say beforehand what they think of each response
    alone; people find it behind a fold."""
    label_studio_url: WebAddress | None = None
    """Address of the Label Studio server; its token comes from `LABEL_STUDIO_TOKEN`."""

    @model_validator(mode="after")
    def _label_studio_is_somewhere(self) -> Self:
        if self.backend == "label_studio" and not self.label_studio_url:
            raise ValueError(
                "backend is 'label_studio': say where, label_studio_url = 'http://...'"
            )
        return self


class FilterSettings(Section):
    """Stage 2 (Sec. 3.3) and the flip guard."""

    unsure_band: float = Field(default=0.0, ge=0, le=0.5)
    """Judges are asked again where the best model gives a label a probability up to one half plus
    this."""
    recycle: Literal["strict", "all", "none"] = "strict"
    """What is turned round: pairs that all witnesses doubt and the guard lets pass; every discarded
    one that people could decide, as in the paper; or what people themselves turned, alone."""
    guard_floor: float = Field(default=0.6, ge=0, le=1)
    """Nothing is flipped unless the share of right flips on gold has a lower bound this high."""
    cross_fit_folds: int = Field(default=2, ge=2, le=100)
    """Parts of gold, each judged by a model that did not train on it."""
    allow_weak_models: bool = False
    """Whether reward models that are no better than chance on gold may filter all the same."""


class GateSettings(Section):
    """What a release must reach to become the champion."""

    min_gold_accuracy: float = Field(default=0.5, ge=0, le=1)
    """The lower bound of its accuracy on gold must exceed this."""


TrainingSet = Literal[
    "original",
    "original_equal_size",
    "filtered",
    "filtered_corrected",
    "gold_silver",
    "final",
    "truth",
]
"""The training sets of `curation.release.training_sets.training_variants`."""


class VariantSettings(Section):
    """The evidence that trains one model per training set, and nothing else differs."""

    obeyed_where: ClassVar[Mapping[str, Needs]] = {"model_size": {"trained_like": ("releases",)}}

    trained_like: Literal["stages", "releases"] = "stages"
    """Under `[reward_model]`, or under `[release]`."""
    model_size: Called | None = None
    """Size that is trained like a release; None: the first of the profile."""
    training_sets: tuple[TrainingSet, ...] = ()
    """Those that are compared; none named: all."""
    num_pairs: int | None = Field(default=None, ge=1, le=MOST)
    """Pairs of each, drawn so that sets share pairs where they can; None: all that it has."""


class EvidenceSettings(Section):
    """What the evidence assets may spend."""

    num_judged: int = Field(default=600, ge=1, le=MOST)
    """Pairs on which judges are audited with no, random and retrieved exemplars."""
    thresholds: dict[str, Annotated[float, Field(ge=-1, le=1)]] = Field(default_factory=dict)
    """Claim name -> the number it needs to hold; see `curation.evidence.claims.CLAIMS`."""
    variants: VariantSettings = VariantSettings()

    @field_validator("thresholds")
    @classmethod
    def _claims_are_known(cls, thresholds: dict[str, float]) -> dict[str, float]:
        for name in thresholds:
            if name not in CLAIM_NAMES:
                raise ValueError(f"no claim is called {name!r}: choose {', '.join(CLAIM_NAMES)}")
        return thresholds
