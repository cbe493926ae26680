"""What a look at files finds: sources that can be read, and what is passed over with a reason."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class FoundLicence:
    """A licence, and the file that says so; without one it is unknown."""

    name: str = UNKNOWN
    said_by: str = ""
    """The file, or in words why it is unknown."""


@dataclass(frozen=True, kw_only=True)
class FoundSource:
    """Something that reads as preference pairs: a file, a folder of files, a hub data set."""

    name: str = ""
    place: str
    """Path or hub id."""
    is_on_hub: bool = False
    revision: str | None = None
    format: str
    options: Mapping[str, Any] = field(default_factory=dict)
    origin: Literal["human", "synthetic"] = "human"
    origin_is_guessed: bool = False
    licence: FoundLicence = FoundLicence()
    num_files: int = 1
    num_rows: int = 0
    num_pairs: int = 0
    is_counted: bool = True
    """Whether all rows were read; else the numbers are those of the first ones."""
    num_voted: int = 0
    """Pairs about which votes of people ship with the data."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why rows became no pair -> how many."""
    unread: tuple[str, ...] = ()
    """Columns that nobody reads."""
    debates: Counter[str] = field(default_factory=Counter)
    """Part of the source, where rows name one -> pairs."""
    digests: frozenset[bytes] = frozenset()
    """One per file: the same where the same rows are read from it, in whatever container."""
    contents: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64), compare=False)
    """(n,) first eight bytes of the different contents of its pairs, whatever their labels."""
    prompts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64), compare=False)
    """The same of its conversations."""
    bad_line: str = ""
    """The first line that is no UTF-8, in words."""

    def alike(self) -> tuple[Any, ...]:
        """What files have in common that may be one source."""
        return self.format, repr(dict(self.options)), self.origin, self.licence.name

    def with_more(self, other: "FoundSource") -> "FoundSource":
        """Both as one source."""
        return replace(
            self,
            num_files=self.num_files + other.num_files,
            num_rows=self.num_rows + other.num_rows,
            num_pairs=self.num_pairs + other.num_pairs,
            num_voted=self.num_voted + other.num_voted,
            is_counted=self.is_counted and other.is_counted,
            reasons=self.reasons + other.reasons,
            debates=self.debates + other.debates,
            unread=tuple(dict.fromkeys((*self.unread, *other.unread))),
            digests=self.digests | other.digests,
            contents=np.union1d(self.contents, other.contents),
            prompts=np.union1d(self.prompts, other.prompts),
            bad_line=self.bad_line or other.bad_line,
        )


@dataclass(frozen=True)
class PassedOver:
    """A file that is no source, and why."""

    place: str
    why: str
    blocks: bool = True
    """Whether reading the folder around it as one source would meet it."""


@dataclass(frozen=True)
class Found:
    """All that a look found."""

    sources: tuple[FoundSource, ...] = ()
    passed: tuple[PassedOver, ...] = ()

    def __add__(self, other: "Found") -> "Found":
        return Found(self.sources + other.sources, self.passed + other.passed)
