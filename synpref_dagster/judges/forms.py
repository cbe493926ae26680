"""The form in which an endpoint takes a request: its schema mode, and fields it does not take.

Servers refuse fields that others insist on: `seed` at Google, `max_tokens` at newer OpenAI models
(`max_completion_tokens` there), `temperature` at those that reason, a strict schema at many. What
one refused is tried without; the form in which it answered is remembered.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from synpref_dagster.judges.errors import Told

SchemaMode = Literal["json_schema", "json_object", "text"]
SCHEMA_MODES: tuple[SchemaMode, ...] = ("json_schema", "json_object", "text")
SCHEMA_WORDS = re.compile(
    r"response_format|json_schema|json_object|schema|guided|structured", re.IGNORECASE
)
SCHEMA_STATUS = (400, 404, 415, 422, 500, 501)
FIELD_STATUS = (400, 404, 415, 422)
DROPPED = ""  # in the place of another name
OTHER_NAMES: Mapping[str, str] = {"max_tokens": "max_completion_tokens"}
"""Fields that have a newer name. They are never left out: without them a reply has no end."""
WRONG_VALUE = re.compile(r"_value$|too_|^less_than|^greater_than|^invalid_type$")
"""Codes that take a field and not its value: a limit on tokens has its right name then."""
DROPPABLE = frozenset({"seed", "temperature"})
"""Fields of ours without which a judge still answers; those of the profile's `extra` are not."""
TRIED = DROPPABLE | OTHER_NAMES.keys()


@dataclass(frozen=True, slots=True)
class RequestForm:
    """How requests are written for an endpoint."""

    mode: SchemaMode = "json_schema"
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Field -> its name there, or `DROPPED`."""

    def fields(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Fields as this endpoint takes them."""
        return {
            self.renamed.get(name, name): value
            for name, value in values.items()
            if self.renamed.get(name) != DROPPED
        }

    def without(self, error: Told, sent: Mapping[str, Any]) -> "RequestForm | None":
        """The form to try after an error, None when the error is not about a field of ours.

        Args:
            error: what the endpoint says.
            sent: the request that it refused.
        """
        if error.status in SCHEMA_STATUS and self.mode != "text" and _is_about_schema(error):
            return replace(self, mode=SCHEMA_MODES[SCHEMA_MODES.index(self.mode) + 1])
        if error.status not in FIELD_STATUS:
            return None
        known = DROPPABLE if any(map(WRONG_VALUE.search, error.codes)) else TRIED
        wanted = known & set(sent) - set(self.renamed)
        name = error.field(wanted)
        if name is None:
            return None
        return replace(self, renamed={**self.renamed, name: OTHER_NAMES.get(name, DROPPED)})

    def told(self, before: "RequestForm") -> str:
        """What is new in this form, for a log."""
        new = [
            f"{name} is sent as {other}" if other else f"{name} is left out"
            for name, other in sorted(self.renamed.items())
            if before.renamed.get(name) != other
        ]
        if self.mode != before.mode:
            new.append(f"the schema is asked for as {self.mode}, not {before.mode}")
        return ", ".join(new)


def _is_about_schema(error: Told) -> bool:
    return bool(SCHEMA_WORDS.search(" ".join([*error.places, error.text])))
