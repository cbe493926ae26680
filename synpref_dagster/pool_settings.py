"""What a profile may say of reports on its pool, of risky pairs and of exports."""

from typing import Literal, Self

from pydantic import Field, model_validator

from synpref_dagster.sections import Section


class PersonalDataSettings(Section):
    """The scan for personal data (App. D.3)."""

    action: Literal["report", "drop", "off"] = "report"
    """`report` scans and changes nothing; `drop` also drops pairs of `drop_level` and above from
    the clean pool; `off` leaves the scan out of the campaign."""
    drop_level: int = Field(default=2, ge=1, le=3)
    """Lowest level that is dropped (App. D.3: levels 2 and 3 were looked at again)."""
    num_sampled: int = Field(default=200, ge=0)
    """Pairs without a finding that LLM judges score beside all those with one."""


class StrictPassSettings(Section):
    """The stricter second look, at what stage 1 may see: gold allows no overlap (App. D.1)."""

    enabled: bool = True
    """Whether pairs that share words with a benchmark in any turn or response go to stage 2."""
    min_words: int = Field(default=7, ge=2)
    """Shared words that make a hit. The paper takes 5 and lets judges clear common phrases."""
    max_words: int = 13
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


class ExportSettings(Section):
    """What may leave the house."""

    allowed_licences: tuple[str, ...] | None = None
    """Licences an exported source may have, spelled as in the sources; None allows any."""
