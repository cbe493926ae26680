"""What every table of a profile is built on."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, model_validator

Needs = Mapping[str, tuple[object, ...]]
MOST = 1_000_000_000
"""Of pairs, steps, words or dollars: more is a slip of the hand."""
SET: tuple[object, ...] = ()
"""Instead of the values of `Needs`: any value but the default."""


class Section(BaseModel):
    """One table of a profile; immutable, unknown keys refused, and settings that nobody obeys."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    obeyed_where: ClassVar[Mapping[str, Needs]] = {}
    """Setting -> its neighbours and the values with which they make that somebody obeys it; one of
    the neighbours is enough. Anywhere else the setting must be at its default."""

    @model_validator(mode="before")
    @classmethod
    def _truth_is_no_number(cls, table: Any) -> Any:
        for name, value in table.items() if isinstance(table, Mapping) else ():
            found = [part for part in _parts(value) if isinstance(part, bool)]
            if found and name in cls.model_fields and _is_number(cls.model_fields[name].annotation):
                raise ValueError(f"{name} is {_value(found[0])}, which is no number")
        return table

    @model_validator(mode="after")
    def _every_setting_is_obeyed(self) -> Self:
        for name, needs in self.obeyed_where.items():
            if self._is_set(name) and not any(map(self._holds, needs, needs.values())):
                found = " and ".join(map(self._told, needs, needs.values()))
                wanted = " or ".join(map(_wanted, needs, needs.values()))
                raise ValueError(
                    f"{name} is set, but {found}: nobody obeys it. Take it out, or set {wanted}"
                )
        return self

    def _is_set(self, name: str) -> bool:
        default = type(self).model_fields[name].get_default(call_default_factory=True)
        return bool(getattr(self, name) != default)

    def _holds(self, name: str, values: tuple[object, ...]) -> bool:
        return getattr(self, name) in values if values else self._is_set(name)

    def _told(self, name: str, values: tuple[object, ...]) -> str:
        return f"{name} is {_value(getattr(self, name))}" if values else f"{name} is not set"


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple) else [value]


def _is_number(kind: object) -> bool:
    """Whether a type is a number, or takes one or several."""
    return kind in (int, float) or any(map(_is_number, get_args(kind)))


def _wanted(name: str, values: tuple[object, ...]) -> str:
    return f"{name} to {' or '.join(map(_value, values))}" if values else name


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
