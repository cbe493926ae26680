"""Settings of the pool: its sources, its synthetic world, and what is done with it."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from synpref_dagster.settings.addresses import (
    Called,
    FormatName,
    HubId,
    PlacePath,
    Revision,
    Table,
    Words,
)
from synpref_dagster.settings.benchmarks import check_benchmarks, checked_own_benchmark
from synpref_dagster.settings.leaving import checked_host
from synpref_dagster.settings.names import checked_name
from synpref_dagster.settings.section import MOST, SET, Needs, Section

LOOKED: Needs = {"enabled": (True,)}
MOST_MADE = 10_000_000
"""Pairs of the synthetic world: it is made in memory."""
READ: Needs = {"kind": ("sources",)}
CROWD_VOTES = "crowd_votes"  # the format whose rows know a debate, and several votes


class PersonalDataSettings(Section):
    """The scan for personal data (App. D.3)."""

    obeyed_where: ClassVar[Mapping[str, Needs]] = {"drop_level": {"action": ("drop",)}}

    action: Literal["report", "drop", "off"] = "report"
    """`report` scans and changes nothing; `drop` also drops pairs of `drop_level` and above from
    the clean pool; `off` leaves the scan out of the campaign."""
    drop_level: int = Field(default=2, ge=1, le=3)
    """Lowest level that is dropped (App. D.3: levels 2 and 3 were looked at again)."""
    num_sampled: int = Field(default=200, ge=0, le=MOST)
    """Pairs without a finding that LLM judges score beside all those with one."""


class StrictPassSettings(Section):
    """The stricter second look, at what stage 1 may see: gold allows no overlap (App. D.1)."""

    obeyed_where: ClassVar[Mapping[str, Needs]] = dict.fromkeys(
        ("min_words", "max_words", "judges_clear"), LOOKED
    )

    enabled: bool = True
    """Whether pairs that share words with a benchmark in any turn or response go to stage 2."""
    min_words: int = Field(default=7, ge=2, le=1000)
    """Shared words that make a hit. The paper takes 5 and lets judges clear common phrases."""
    max_words: int = Field(default=13, ge=2, le=1000)
    """Longest stretch shown as evidence, in words."""
    judges_clear: bool = False
    """Whether LLM judges may clear false alarms; needs judge endpoints. Else every hit counts."""

    @model_validator(mode="after")
    def _range_is_one(self) -> Self:
        if self.max_words < self.min_words:
            raise ValueError(
                f"pool.strict_pass: max_words {self.max_words} is below min_words {self.min_words}"
            )
        return self


class NearDuplicateSettings(Section):
    """The report on near-duplicates; it changes nothing."""

    in_campaign: bool = False
    """Whether a campaign makes the report; without, materialise `near_duplicates` by hand."""
    min_similarity: float = Field(default=0.8, ge=0.5, le=1)
    """Jaccard similarity of the word 5-grams of two pairs from which on they are reported."""


class LabelNoiseSettings(Section):
    """Noise put into the labels of crowd-vote sources, to see what curation makes of it."""

    flip_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the labels that are turned round."""
    longer_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the labels that say that the longer response is better, whatever people said."""


class ExportSettings(Section):
    """What may leave the house."""

    allowed_licences: tuple[Called, ...] | None = None
    """Licences an exported source may have, spelled as in the sources; None allows any."""
    trusted_hosts: tuple[Annotated[str, AfterValidator(checked_host)], ...] = ()
    """Hosts besides this machine that sources with `may_leave = false` may be sent to."""


class WorldSettings(Section):
    """Size of the synthetic world; used when `pool.kind` is `synthetic_world`."""

    num_unverified: int = Field(default=3000, ge=1, le=MOST_MADE)
    """Pairs that people labelled."""
    num_wild: int = Field(default=5000, ge=1, le=MOST_MADE)
    """Pairs that models or rules labelled."""
    num_test: int = Field(default=1000, ge=1, le=MOST_MADE)
    """Pairs of the clean test set."""
    benchmark_sizes: Literal["default", "smoke"] = "default"
    """Sizes of the mini benchmarks; `smoke` is for tests."""


class SourceSettings(Section):
    """One source of the pool: a local or s3:// path, or a hub data set with its revision."""

    obeyed_where: ClassVar[Mapping[str, Needs]] = {"revision": {"hub_id": SET}}

    name: Annotated[str, AfterValidator(partial(checked_name, "source", spaces=False))]
    """What tables and cards call it."""
    path: PlacePath | None = None
    """File, folder or `s3://` address."""
    hub_id: HubId | None = None
    """Data set of the hub, instead of a path."""
    revision: Revision | None = None
    """Commit, tag or branch of the data set on the hub."""
    format: FormatName = "auto"
    """Layout of the rows (sources.md); `auto` recognises it by the first readable row."""
    origin: Literal["human", "synthetic"]
    """Who set the labels: people, or models and rules."""
    licence: Words = "unknown"
    """Under which its rows may be used; `unknown` where nobody says."""
    citation: Words = ""
    """How its authors ask to be cited; goes into ATTRIBUTION.md of every export."""
    may_leave: bool = True
    """Whether its texts, and what is made of them, may be sent to other machines (leaving.md)."""
    options: Table = Field(default_factory=dict)
    """Of the format, and `columns`, `ignore_columns`, `max_text_bytes`, `split`, `config_name`,
    `data_dir` (sources.md)."""

    @model_validator(mode="after")
    def _is_in_one_place(self) -> Self:
        if (self.path is None) == (self.hub_id is None):
            raise ValueError(f"source {self.name!r}: give exactly one of path and hub_id")
        if self.hub_id is not None and self.revision is None:
            raise ValueError(f"source {self.name!r}: pin hub data set {self.hub_id!r} by revision")
        return self


class PoolSettings(Section):
    """Where pairs, people's verdicts and benchmarks come from."""

    obeyed_where: ClassVar[Mapping[str, Needs]] = {
        **dict.fromkeys(
            (
                *("sources", "allow_missing_files", "recorded_verdicts", "test_debates"),
                *("test_splits", "label_noise"),
            ),
            READ,
        ),
        "world": {"kind": ("synthetic_world",)},
    }

    kind: Literal["synthetic_world", "sources"]
    """Where pairs come from: the embedded world, or files and data sets."""
    world: WorldSettings = WorldSettings()
    sources: tuple[SourceSettings, ...] = ()
    """The sources, in reading order: of two equal pairs the first one is kept."""
    allow_missing_files: bool = False
    """Whether files that were read before may be gone, and their pairs with them."""
    benchmarks: dict[str, PlacePath] = Field(default_factory=dict)
    """Benchmark name -> path or hub id; empty for the synthetic world, which brings its own."""
    benchmark_subsets: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Subsets at hand where a benchmark is only partly there; the report names them."""
    custom_benchmarks: dict[str, PlacePath] = Field(default_factory=dict)
    """Name -> JSON lines of your own, scored and shown beside the seven; see benchmarks/custom."""
    recorded_verdicts: Literal["world", "sources"] = "world"
    """Who plays the people: the world's recorded verdicts, or the votes that ship with sources.
    `kind` decides it alone; this says it in words, and kept its place for earlier campaigns."""
    test_debates: tuple[Called, ...] = ()
    """Debates of crowd-vote sources that the pool does not read: the clean test set."""
    test_splits: tuple[tuple[Called, ...], ...] = ()
    """Several such lists, in place of `test_debates`: seed 0 holds out the first, 1 the second."""
    label_noise: LabelNoiseSettings = LabelNoiseSettings()
    ngram_words: int = Field(default=13, ge=1, le=1000)
    """Words of an n-gram that counts as contamination (App. D.1: 13)."""
    recheck_contamination: bool = False
    """Whether LLM judges may clear false alarms of the decontamination; needs judge endpoints."""
    strict_pass: StrictPassSettings = StrictPassSettings()
    max_risky_share: float = Field(default=0.1, ge=0, le=1000)
    """Most risky pairs of other origin in stage 1, as a share of the human-labelled ones; 2 allows
    twice as many as there are of these."""
    pii: PersonalDataSettings = PersonalDataSettings()
    near_duplicates: NearDuplicateSettings = NearDuplicateSettings()

    @model_validator(mode="after")
    def _has_what_it_names(self) -> Self:
        if self.kind == "sources" and not self.sources:
            raise ValueError("kind is 'sources': name one or more [[pool.sources]]")
        names = [source.name for source in self.sources]
        if len(set(names)) < len(names):
            raise ValueError(f"sources need different names, got {', '.join(names)}")
        self._check_crowd_votes()
        check_benchmarks(self.benchmarks, self.benchmark_subsets)
        for name in self.custom_benchmarks:
            checked_own_benchmark(name)
        return self

    def _check_crowd_votes(self) -> None:
        if self.test_debates and self.test_splits:
            raise ValueError("give test_debates or test_splits, not both")
        if not all(self.test_splits):
            raise ValueError("test_splits holds an empty list: name the debates of each split")
        asked = {
            "test_debates": self.test_debates,
            "test_splits": self.test_splits,
            "label_noise": self.label_noise != LabelNoiseSettings(),
        }
        if not any(source.format == CROWD_VOTES for source in self.sources):
            for name in (name for name, is_asked in asked.items() if is_asked):
                raise ValueError(
                    f"{name} is about sources of format {CROWD_VOTES!r}, and none is of it: "
                    "set the format of the source with the votes"
                )

    @property
    def has_test_set(self) -> bool:
        """Whether a clean test set lies beside people's gold."""
        return self.kind == "synthetic_world" or bool(self.test_debates or self.test_splits)

    def staying(self) -> list[str]:
        """Names of the sources whose texts may not leave this machine."""
        return [source.name for source in self.sources if not source.may_leave]

    def reports_left_out(self) -> list[str]:
        """Reports on the pool that a campaign does not make; they can be made by hand."""
        in_campaign = {
            "pii_report": self.pii.action != "off",
            "near_duplicates": self.near_duplicates.in_campaign,
        }
        return [name for name, included in in_campaign.items() if not included]
