"""Profiles: everything a campaign can be told, read from `profiles/*.toml` and the environment.

A profile is data, not code: the same graph runs with each. `SYNPREF_PROFILE` picks one by name or
path, `SYNPREF_SEED` its seed, `SYNPREF_STORE` where it writes, `SYNPREF_REAL_DATA` where the
public files of the `real` profile lie. Unknown keys are errors, so that a typo never goes unseen.
"""

import os
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from synpref_dagster.judge_settings import DEFAULT_STORE, JudgeSettings
from synpref_dagster.pool_settings import (
    ExportSettings,
    NearDuplicateSettings,
    PersonalDataSettings,
    StrictPassSettings,
)
from synpref_dagster.sections import Section
from synpref_dagster.shard_settings import ShardSettings

DEFAULT_PROFILE = "demo"


class WorldSettings(Section):
    """Size of the synthetic world; used when `pool.kind` is `synthetic_world`."""

    num_unverified: int = 3000
    num_wild: int = 5000
    num_test: int = 1000
    benchmark_sizes: Literal["default", "smoke"] = "default"
    """Sizes of the mini benchmarks; `smoke` is for tests."""


class SourceSettings(Section):
    """One source of the pool: a local or s3:// path, or a hub data set with its revision."""

    name: str
    path: str | None = None
    hub_id: str | None = None
    revision: str | None = None
    format: str = "auto"
    origin: Literal["human", "synthetic"]
    licence: str = "unknown"
    citation: str = ""
    """How its authors ask to be cited; goes into ATTRIBUTION.md of every export."""
    options: dict[str, Any] = Field(default_factory=dict)


class PoolSettings(Section):
    """Where pairs, people's verdicts and benchmarks come from."""

    kind: Literal["synthetic_world", "sources"]
    world: WorldSettings = WorldSettings()
    sources: tuple[SourceSettings, ...] = ()
    allow_missing_files: bool = False
    """Whether files that were read before may be gone, and their pairs with them."""
    benchmarks: dict[str, str] = Field(default_factory=dict)
    """Benchmark name -> path or hub id; empty for the synthetic world, which brings its own."""
    benchmark_subsets: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Subsets at hand where a benchmark is only partly there; the report names them."""
    custom_benchmarks: dict[str, str] = Field(default_factory=dict)
    """Name -> JSON lines of your own, scored and shown beside the seven; see benchmarks/custom."""
    recorded_verdicts: Literal["world", "sources"] = "world"
    """Who plays the people: the world's recorded verdicts, or the votes that ship with sources."""
    test_debates: tuple[str, ...] = ()
    """Held-out conversations' debates (crowd-vote sources): the clean test set."""
    ngram_words: int = 13
    """Words of an n-gram that counts as contamination (App. D.1: 13)."""
    recheck_contamination: bool = False
    """Whether LLM judges may clear false alarms of the decontamination; needs judge endpoints."""
    strict_pass: StrictPassSettings = StrictPassSettings()
    max_risky_share: float = Field(default=0.1, ge=0)
    """Most risky pairs of other origin in stage 1, as a share of the human-labelled ones."""
    pii: PersonalDataSettings = PersonalDataSettings()
    near_duplicates: NearDuplicateSettings = NearDuplicateSettings()

    @property
    def has_test_set(self) -> bool:
        """Whether a clean test set lies beside people's gold."""
        return self.kind == "synthetic_world" or bool(self.test_debates)

    def reports_left_out(self) -> list[str]:
        """Reports on the pool that a campaign does not make; they can be made by hand."""
        in_campaign = {
            "pii_report": self.pii.action != "off",
            "near_duplicates": self.near_duplicates.in_campaign,
        }
        return [name for name, included in in_campaign.items() if not included]


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


class RewardModelSettings(Section):
    """How the stage-1 and stage-2 reward models are trained."""

    backend: Literal["stand_in", "linear", "hub"]
    model_size: str = "qwen3-0.6b"
    learning_rate: float | None = None
    batch_pairs: int | None = None
    num_steps: int | None = None
    num_final_steps: int | None = None
    evaluate_every_steps: int = 50
    num_processes: int = 1
    """Workers under `torchrun`, one per GPU; 1 trains in the step's own process."""


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
    """Claim name -> the number it needs to hold; see `curation.claims.CLAIMS`."""


class Profile(Section):
    """A whole campaign."""

    name: str
    seed: int = 0
    simulated: tuple[str, ...] = ()
    """Sentences the report prints: what in this campaign is not the real thing."""
    next_steps: tuple[str, ...] = ()
    """Lines to type next, printed at the end."""
    pool: PoolSettings
    seed_set: SeedSettings
    iterations: IterationSettings
    people: PeopleSettings = PeopleSettings()
    judges: JudgeSettings = JudgeSettings()
    reward_model: RewardModelSettings
    release: RewardModelSettings
    filtering: FilterSettings = FilterSettings()
    gates: GateSettings = GateSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    export: ExportSettings = ExportSettings()
    shards: ShardSettings = ShardSettings()
    executor: Literal["in_process", "multiprocess"] = "in_process"

    def campaign_name(self) -> str:
        """What batches of people and MLflow call this campaign."""
        return f"{self.name}-seed-{self.seed}"

    def run_tags(self) -> dict[str, str]:
        """Tags of its runs in Dagster, where campaigns of several profiles share one history."""
        return {"synpref/profile": self.name, "synpref/seed": str(self.seed)}

    def store_root(self) -> str:
        """Folder or s3:// prefix everything of this campaign is written under."""
        base = os.environ.get("SYNPREF_STORE", DEFAULT_STORE).rstrip("/")
        return f"{base}/{self.name}/seed-{self.seed}"


def load_profile(name: str | None = None, *, seed: int | None = None) -> Profile:
    """The profile `name` (a packaged one or a .toml path), with environment overrides applied.

    Args:
        name: a packaged profile or a path; default `SYNPREF_PROFILE`, else `demo`.
        seed: overrides the profile's seed; default `SYNPREF_SEED`, else the profile's.

    Raises:
        ValueError: no such profile, or its content is not a legal profile.
    """
    wanted = name or os.environ.get("SYNPREF_PROFILE") or DEFAULT_PROFILE
    text = _profile_text(wanted)
    values = tomllib.loads(_expand(text))
    if seed is None and (from_environment := os.environ.get("SYNPREF_SEED")):
        seed = int(from_environment)
    if seed is not None:
        values["seed"] = seed
    return Profile.model_validate(values)


def packaged_profiles() -> list[str]:
    """Names of the profiles that ship with the package."""
    folder = files("synpref_dagster") / "profiles"
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    )


def real_data_folder() -> str:
    """Where the public files of the `real` profile lie: `SYNPREF_REAL_DATA` or `../shared/data`."""
    return os.environ.get("SYNPREF_REAL_DATA", "../shared/data")


def mlflow_uri() -> str:
    """Where MLflow keeps its runs: `SYNPREF_MLFLOW_URI`, else SQLite beside the campaigns."""
    default = f"sqlite:///{Path(DEFAULT_STORE, 'mlflow.db').resolve()}"
    return os.environ.get("SYNPREF_MLFLOW_URI", default)


def mlflow_artifact_root() -> str:
    """Where a new experiment keeps its plots: beside the SQLite file, else the default store."""
    database = mlflow_uri().removeprefix("sqlite:///")
    folder = Path(DEFAULT_STORE) if database == mlflow_uri() else Path(database).parent
    return str(Path(folder, "mlflow_artifacts").resolve())


def _profile_text(wanted: str) -> str:
    if wanted.endswith(".toml"):
        path = Path(wanted)
        if not path.is_file():
            raise ValueError(f"profile file {wanted!r} does not exist")
        return path.read_text(encoding="utf-8")
    if wanted not in packaged_profiles():
        raise ValueError(
            f"profile {wanted!r} is unknown; use one of {', '.join(packaged_profiles())} "
            "or the path of a .toml file"
        )
    packaged = files("synpref_dagster") / "profiles" / f"{wanted}.toml"
    return packaged.read_text(encoding="utf-8")


def _expand(text: str) -> str:
    return text.replace("${SYNPREF_REAL_DATA}", real_data_folder())
