"""All row formats by name, and how a format is recognised: a new reader is one row here."""

from collections.abc import Iterable, Mapping
from typing import Any

from synpref_dagster.sources.formats.arena import ARENA_CONVERSATIONS, ARENA_LISTS
from synpref_dagster.sources.formats.crowd_votes import CROWD_VOTES
from synpref_dagster.sources.formats.fields import RowFormat
from synpref_dagster.sources.formats.helpsteer import HELPSTEER_PREFERENCE, HELPSTEER_RATINGS
from synpref_dagster.sources.formats.nectar import NECTAR_RANKS
from synpref_dagster.sources.formats.nemo_rl import RANKED_COMPLETIONS
from synpref_dagster.sources.formats.oasst import OASST_MESSAGES, OASST_TREES
from synpref_dagster.sources.formats.pandalm import PANDALM
from synpref_dagster.sources.formats.transcripts import HH_TRANSCRIPTS
from synpref_dagster.sources.formats.trl import (
    EXPLICIT_CONVERSATIONAL,
    EXPLICIT_PLAIN,
    IMPLICIT_CONVERSATIONAL,
    IMPLICIT_PLAIN,
)
from synpref_dagster.sources.formats.two_responses import (
    OFFSETBIAS,
    PKU_SAFERLHF,
    SHP,
    TWO_ANSWERS,
    TWO_OUTPUTS,
    WEBGPT,
)
from synpref_dagster.sources.formats.ultrafeedback import SCORED_MESSAGES, ULTRAFEEDBACK_RATINGS
from synpref_dagster.sources.formats.wildguard import WILDGUARDMIX

# The first match wins: transcripts are plain texts too, so they come before them, and messages
# with scores before messages without.
FORMATS: Mapping[str, RowFormat] = {
    row_format.name: row_format
    for row_format in (
        CROWD_VOTES,
        ARENA_CONVERSATIONS,
        ARENA_LISTS,
        HELPSTEER_PREFERENCE,
        HELPSTEER_RATINGS,
        NECTAR_RANKS,
        RANKED_COMPLETIONS,
        OASST_MESSAGES,
        OASST_TREES,
        OFFSETBIAS,
        PANDALM,
        PKU_SAFERLHF,
        SHP,
        ULTRAFEEDBACK_RATINGS,
        WEBGPT,
        WILDGUARDMIX,
        SCORED_MESSAGES,
        EXPLICIT_CONVERSATIONAL,
        EXPLICIT_PLAIN,
        IMPLICIT_CONVERSATIONAL,
        HH_TRANSCRIPTS,
        IMPLICIT_PLAIN,
        TWO_ANSWERS,
        TWO_OUTPUTS,
    )
}


def detect_format(columns: Iterable[str], first_row: Mapping[str, Any]) -> str:
    """Name of the format whose layout the first row has.

    Raises ValueError naming the columns found and the formats known.

    >>> detect_format(["prompt", "chosen", "rejected"],
    ...               {"prompt": "2+2?", "chosen": "4", "rejected": "5"})
    'explicit_plain'
    """
    for name, row_format in FORMATS.items():
        if row_format.matches(first_row):
            return name
    found = ", ".join(f"{name} ({_kind(first_row.get(name))})" for name in columns)
    known = "; ".join(f"{name} ({row_format.layout})" for name, row_format in FORMATS.items())
    raise ValueError(
        f"no known preference format has the columns {found or '(none)'}. Known formats: {known}. "
        "Rename columns with the option columns={known name: name in the data}, or set the format."
    )


def _kind(value: object) -> str:
    if isinstance(value, list):
        return f"list of {_kind(value[0])}" if value else "empty list"
    if isinstance(value, Mapping):
        return f"object with {', '.join(map(str, value))}"[:80]
    return {"str": "text", "NoneType": "null"}.get(type(value).__name__, type(value).__name__)
