"""Profiles: what a campaign can be told, from `settings/profiles/*.toml` and the environment.

A profile is data, not code: the same graph runs with each. `SYNPREF_PROFILE` picks one by name or
path, `SYNPREF_SEED` its seed, `SYNPREF_KEY_PREFIX` its key prefix, `SYNPREF_STORE` where it
writes, `SYNPREF_REAL_DATA` where the public files of the `real` profile lie. Unknown keys are
errors, so that a typo never goes unseen.
"""

import os
import re
import tomllib
from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from synpref_dagster.settings.addresses import Words, checked_path
from synpref_dagster.settings.embedding import BILLED, EmbeddingSettings, TfidfEmbedding
from synpref_dagster.settings.judges import DEFAULT_STORE, JudgeSettings
from synpref_dagster.settings.leaving import Destination, destinations, refuse_leaving
from synpref_dagster.settings.models import (
    PAPER_SIZES,
    BackboneSettings,
    FrozenSettings,
    ReleaseSettings,
    RewardModelSettings,
)
from synpref_dagster.settings.names import checked_name, checked_prefix
from synpref_dagster.settings.places import is_working_folder, relative_to_file, whole
from synpref_dagster.settings.pool import ExportSettings, PoolSettings
from synpref_dagster.settings.section import Section
from synpref_dagster.settings.shards import ShardSettings
from synpref_dagster.settings.stages import (
    EvidenceSettings,
    FilterSettings,
    GateSettings,
    IterationSettings,
    PeopleSettings,
    SeedSettings,
)

DEFAULT_PROFILE = "demo"
PREFIX_TAG = "synpref/key_prefix"
MAX_SEED = (1 << 32) - 1
"""The largest that every library takes."""


class Profile(Section):
    """A whole campaign."""

    name: Annotated[str, AfterValidator(partial(checked_name, "profile"))]
    """Names the campaign's folder, its experiment in MLflow and its registered models."""
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    """Every random choice derives from it."""
    key_prefix: Annotated[str, AfterValidator(checked_prefix)] = ""
    """First part of the keys of its assets in Dagster, where several campaigns share an instance;
    nothing in the store is called by it."""
    simulated: tuple[Words, ...] = ()
    """Sentences the report prints: what in this campaign is not the real thing."""
    next_steps: tuple[Words, ...] = ()
    """Lines to type next, printed at the end."""
    pool: PoolSettings
    seed_set: SeedSettings
    iterations: IterationSettings
    people: PeopleSettings = PeopleSettings()
    judges: JudgeSettings = JudgeSettings()
    backbones: tuple[BackboneSettings, ...] = ()
    """The sizes of this profile; none: the eight of the paper."""
    embedding: EmbeddingSettings = TfidfEmbedding()
    reward_model: RewardModelSettings
    release: ReleaseSettings
    filtering: FilterSettings = FilterSettings()
    gates: GateSettings = GateSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    export: ExportSettings = ExportSettings()
    shards: ShardSettings = ShardSettings()
    executor: Literal["in_process", "multiprocess"] = "in_process"
    """Whether Dagster runs the steps in one process, or each in a process of its own."""

    @model_validator(mode="after")
    def _sizes_are_those_of_the_profile(self) -> Self:
        known, own = self.sizes(), [row.name for row in self.backbones]
        if repeated := {name for name in own if own.count(name) > 1}:
            raise ValueError(f"backbones: {sorted(repeated)} stand there twice")
        asked = {
            f"{section}.model_size": getattr(getattr(self, section), "model_size", None) or known[0]
            for section in ("reward_model", "embedding")
        }
        if self.evidence.variants.model_size is not None:
            asked["evidence.variants.model_size"] = self.evidence.variants.model_size
        for size in getattr(self.release, "backbones", ()):
            asked[f"release.backbones.{size}"] = size
        for setting, size in asked.items():
            if size not in known:
                raise ValueError(f"{setting}: {size!r} is none of the sizes {', '.join(known)}")
        for section in ("reward_model", "release"):
            backend = getattr(self, section).backend
            strangers = [size for size in known if size not in PAPER_SIZES]
            if backend == "stand_in" and strangers:
                raise ValueError(
                    f"{section}.backend 'stand_in' makes miniatures of the paper's eight, not of "
                    f"{', '.join(strangers)}: choose 'frozen' or 'hub', or take the rows out"
                )
        return self

    @model_validator(mode="after")
    def _one_backbone_is_frozen(self) -> Self:
        named = getattr(self.embedding, "model_size", None)
        is_frozen = isinstance(self.reward_model, FrozenSettings)
        if named and is_frozen:
            raise ValueError(
                "embedding.model_size is set, but the stages' models are heads on a frozen "
                "backbone: nobody obeys it. Take it out: the same features are used"
            )
        if self.embedding.kind == "backbone" and not named and not is_frozen:
            raise ValueError(
                "embedding.kind 'backbone' reads the frozen backbone of the stages' models, and "
                f"reward_model.backend is {self.reward_model.backend!r}: name one in "
                "embedding.model_size"
            )
        if self.judges.kind == "features" and self.frozen_settings() is None:
            raise ValueError(
                "judges.kind 'features' looks at the features of a frozen backbone, and no part of "
                "this profile reads one: set reward_model.backend to 'frozen' or embedding.kind to "
                "'backbone'"
            )
        return self

    @model_validator(mode="after")
    def _bills_are_told_apart(self) -> Self:
        if self.embedding.kind == "endpoint" and BILLED in {j.name for j in self.judges.endpoints}:
            raise ValueError(
                f"a judge is called {BILLED!r}, as what the embedding endpoint stands on the bill: "
                "give the judge another name"
            )
        return self

    @model_validator(mode="after")
    def _texts_stay_where_they_may(self) -> Self:
        if self.export.trusted_hosts and not self.pool.staying():
            raise ValueError(
                "export.trusted_hosts is set, but every source may leave: nobody obeys it. Take it "
                "out, or set may_leave = false for a source"
            )
        self.refuse_leaving(
            [
                Destination("SYNPREF_STORE", self.store_root()),
                Destination("SYNPREF_MLFLOW_URI", mlflow_uri()),
            ]
        )
        mlflow_public_url()  # an address that is none is better known now than in a link
        return self

    def refuse_leaving(self, places: Sequence[Destination], *, also: Sequence[str] = ()) -> None:
        """Refuse these places, and those of the profile, where its sources may not be sent there.

        Args:
            places: where something is sent, besides what the profile's sections name.
            also: sources that may not leave whatever the profile says of them.

        Raises:
            ValueError: a source has `may_leave = false`, and a place is on another machine.
        """
        sections = destinations(self.judges, self.people, self.shards, embedding=self.embedding)
        staying = {*self.pool.staying(), *also}
        refuse_leaving(staying, [*sections, *places], trusted=self.export.trusted_hosts)

    def sizes(self) -> tuple[str, ...]:
        """Partition keys of the releases: its own backbones, else the eight of the paper."""
        return tuple(row.name for row in self.backbones) or PAPER_SIZES

    def frozen_settings(self) -> FrozenSettings | None:
        """How the campaign's frozen backbone is read: by all that read one; None: nobody does."""
        if isinstance(self.reward_model, FrozenSettings):
            return self.reward_model
        named = getattr(self.embedding, "model_size", None)
        return FrozenSettings(backend="frozen", model_size=named) if named else None

    def campaign_name(self) -> str:
        """What batches of people and MLflow call this campaign."""
        return f"{self.name}-seed-{self.seed}"

    def run_tags(self) -> dict[str, str]:
        """Tags of its runs in Dagster, by which campaigns that share an instance are told apart."""
        prefix = {PREFIX_TAG: self.key_prefix} if self.key_prefix else {}
        return {"synpref/profile": self.name, "synpref/seed": str(self.seed), **prefix}

    def store_root(self) -> str:
        """Folder or s3:// prefix everything of this campaign is written under."""
        return f"{store_base()}/{self.name}/seed-{self.seed}"


def load_profile(
    name: str | None = None, *, seed: int | None = None, text: str | None = None
) -> Profile:
    """The profile `name` (a packaged one or a .toml path), with environment overrides applied.

    Paths in a file start from the folder of that file, see `places`.

    Args:
        name: a packaged profile or a path; default `wanted_profile()`.
        seed: overrides the profile's seed; default `SYNPREF_SEED`, else the profile's.
        text: what the file at `name` would say, in place of what it says.

    Raises:
        ValueError: no such profile, or its content is not a legal profile.
    """
    wanted = name or wanted_profile()
    values = _profile_values(wanted) if text is None else _values_of_text(wanted, text, extended=())
    if seed is None:
        seed = _seed_of_environment()
    if seed is not None:
        values["seed"] = seed
    if (prefix := os.environ.get("SYNPREF_KEY_PREFIX")) is not None:
        try:
            values["key_prefix"] = checked_prefix(prefix)
        except ValueError as error:
            raise ValueError(f"SYNPREF_KEY_PREFIX: {error}") from None
    return Profile.model_validate(values)


def _seed_of_environment() -> int | None:
    told = os.environ.get("SYNPREF_SEED")
    if not told:
        return None
    try:
        seed = int(told)
    except ValueError:
        seed = -1
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"SYNPREF_SEED is {told!r}: give a whole number from 0 to {MAX_SEED}")
    return seed


def wanted_profile() -> str:
    """Name or path of the profile that the environment asks for: `SYNPREF_PROFILE`, else `demo`."""
    return os.environ.get("SYNPREF_PROFILE") or DEFAULT_PROFILE


def store_base() -> str:
    """Folder or s3:// prefix of all campaigns: `SYNPREF_STORE`, by default below this folder.

    Raises:
        ValueError: it cannot be one.
    """
    base = os.environ.get("SYNPREF_STORE") or DEFAULT_STORE
    try:
        return checked_path(base).rstrip("/")
    except ValueError as error:
        raise ValueError(f"SYNPREF_STORE: {error}") from None


def packaged_profiles() -> list[str]:
    """Names of the profiles that ship with the package."""
    folder = files("synpref_dagster.settings") / "profiles"
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    )


def real_data_folder() -> str:
    """Where the public files of the `real` profile lie: `SYNPREF_REAL_DATA` or `../shared/data`."""
    return os.environ.get("SYNPREF_REAL_DATA") or "../shared/data"


def mlflow_uri() -> str:
    """Where MLflow keeps its runs: `SYNPREF_MLFLOW_URI`, else SQLite beside the campaigns."""
    default = f"sqlite:///{Path(DEFAULT_STORE, 'mlflow.db').resolve()}"
    return os.environ.get("SYNPREF_MLFLOW_URI") or default


def mlflow_public_url() -> str:
    """Where people open MLflow's pages: `SYNPREF_MLFLOW_PUBLIC_URL`, else empty.

    Raises:
        ValueError: it is no address of a page.
    """
    address = os.environ.get("SYNPREF_MLFLOW_PUBLIC_URL", "")
    if address and not re.match(r"https?://[^/\s]+\S*$", address):
        raise ValueError(
            "SYNPREF_MLFLOW_PUBLIC_URL is no address of a page: give one like "
            "https://mlflow.example.com"
        )
    return address


def mlflow_artifact_root() -> str:
    """Where a new experiment keeps its plots: beside the SQLite file, else the default store."""
    database = mlflow_uri().removeprefix("sqlite:///")
    folder = Path(DEFAULT_STORE) if database == mlflow_uri() else Path(database).parent
    return str(Path(folder, "mlflow_artifacts").resolve())


def _profile_values(wanted: str, *, extended: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a profile says, on top of the one that it `extends`."""
    if _identity(wanted) in map(_identity, extended):
        raise ValueError(f"profiles extend each other: {' -> '.join((*extended, wanted))}")
    return _values_of_text(wanted, _profile_text(wanted), extended=extended)


def _values_of_text(wanted: str, text: str, *, extended: tuple[str, ...]) -> dict[str, Any]:
    """What the text of a profile says; in a file, paths start from the folder of that file."""
    folder = Path(wanted).parent if is_file_name(wanted) else Path()
    values = relative_to_file(tomllib.loads(_expand(text, folder)), folder)
    if (base := values.pop("extends", None)) is None:
        return values
    if not isinstance(base, str):
        raise ValueError(f"profile {wanted!r}: extends is {base!r}: name one profile")
    if is_file_name(base):
        base = str(folder / base)
    return _merged(_profile_values(base, extended=(*extended, wanted)), values)


def _merged(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Tables are merged key by key; everything else, lists too, takes the place of the base's.

    So does a table that names another backend: settings of one are none of the other's.
    """
    both = {
        key: _merged(base[key], value)
        for key, value in values.items()
        if isinstance(value, dict) and isinstance(base.get(key), dict)
        if value.get("backend") in (None, base[key].get("backend"))
    }
    return {**base, **values, **both}


def _profile_text(wanted: str) -> str:
    if is_file_name(wanted):
        path = Path(wanted)
        if not path.is_file():
            raise ValueError(f"profile file {wanted!r} does not exist")
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"profile file {wanted!r} is no UTF-8 text: {error}") from error
    if wanted not in packaged_profiles():
        raise ValueError(
            f"profile {wanted!r} is unknown; use one of {', '.join(packaged_profiles())} "
            "or the path of a .toml file"
        )
    packaged = files("synpref_dagster.settings") / "profiles" / f"{wanted}.toml"
    return packaged.read_text(encoding="utf-8")


def smollm2_place() -> str:
    """Backbone of profile `real`: folder or hub id in `SYNPREF_SMOLLM2`, else the hub's."""
    return os.environ.get("SYNPREF_SMOLLM2") or "HuggingFaceTB/SmolLM2-135M-Instruct"


def is_file_name(wanted: str) -> bool:
    """Whether a profile is named by its file, and not one of those that are packaged."""
    return wanted.endswith(".toml")


def _identity(wanted: str) -> str:
    return os.path.realpath(wanted) if is_file_name(wanted) else wanted


def _expand(text: str, folder: Path) -> str:
    """The text with the two variables filled in, which start from the working folder."""
    known = {"SYNPREF_REAL_DATA": real_data_folder(), "SYNPREF_SMOLLM2": smollm2_place()}
    if not is_working_folder(folder):
        known = {
            name: whole(place, may_be_on_hub=name == "SYNPREF_SMOLLM2")
            for name, place in known.items()
        }
    for name, place in known.items():
        text = text.replace(f"${{{name}}}", place)
    return text
