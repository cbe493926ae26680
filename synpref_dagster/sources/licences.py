"""What the licences named for sources ask of whoever passes pairs on.

The reading is of the licence's name alone: it warns of what the name says. Whether a use is allowed
is for the person who uses the data. A licence that nobody named is unknown; none is ever guessed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from synpref_dagster.sources.public_sets import PUBLIC_SETS

UNKNOWN = "unknown"
NON_COMMERCIAL = "non-commercial"
SHARE_ALIKE = "share-alike"
NO_DERIVATIVES = "no-derivatives"
OWN_TERMS = "own-terms"
RESTRICTIONS = {
    UNKNOWN: "no licence is named: without one you may have no right to use or pass on these pairs",
    NON_COMMERCIAL: "no commercial use",
    SHARE_ALIKE: "what you derive from it must be passed on under the same licence",
    NO_DERIVATIVES: "nothing derived from it may be passed on, which a relabelled selection may be",
    OWN_TERMS: "terms of its own, to be read before use",
}
"""Restriction -> what it asks, in a sentence for people."""

_UNNAMED = re.compile(r"^\W*$|\bunknown\b|\bnone\b|\bother\b|\bsee-the\b|\bnot-(?:named|stated)\b")
_WORDS = {
    NON_COMMERCIAL: re.compile(r"\bnc\b|non-?commercial"),
    SHARE_ALIKE: re.compile(r"\bsa\b|share-?alike|\bodbl\b|\bgpl"),
    NO_DERIVATIVES: re.compile(r"\bnd\b|no-?deriv"),
    OWN_TERMS: re.compile(r"\bterms\b|community-licen[cs]e|\bgated\b"),
}
_PAGES = {
    "apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "bsd-3-clause": "https://opensource.org/license/bsd-3-clause",
    "cc0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "mit": "https://opensource.org/license/mit",
    "odc-by": "https://opendatacommons.org/licenses/by/1-0/",
}
_CREATIVE_COMMONS = re.compile(r"^cc-(by(?:-nc)?(?:-sa|-nd)?)-([1-4]\.\d)$")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A source that may not be exported under the profile's list."""

    source: str
    licence: str
    num_pairs: int


def restrictions(licence: str) -> list[str]:
    """What a licence's name says of limits, as keys of `RESTRICTIONS`.

    >>> restrictions("CC-BY-NC-4.0"), restrictions("MIT"), restrictions("none named")
    (['non-commercial'], [], ['unknown'])
    """
    text = normalised(licence)
    found = [name for name, words in _WORDS.items() if words.search(text)]
    return ([UNKNOWN] if _UNNAMED.search(text) else []) + sorted(found)


def is_known(licence: str) -> bool:
    """Whether a licence is named at all."""
    return UNKNOWN not in restrictions(licence)


def normalised(licence: str) -> str:
    """A licence's name for comparison.

    >>> normalised("CC BY 4.0"), normalised(" Apache-2.0 ")
    ('cc-by-4.0', 'apache-2.0')
    """
    return re.sub(r"\s+", "-", licence.strip().lower())


def licence_page(licence: str) -> str | None:
    """Where the text of a licence is, for the common ones; None for all others."""
    text = normalised(licence)
    commons = _CREATIVE_COMMONS.match(text)
    if commons:
        return f"https://creativecommons.org/licenses/{commons[1]}/{commons[2]}/"
    return _PAGES.get(text)


def documented_licence(hub_id: str | None) -> str | None:
    """The licence that our table of public sets has for a hub data set, None when it has none."""
    named = {each.hub_id: each.licence for each in PUBLIC_SETS}
    found = named.get(hub_id or "")
    return found if found is not None and is_known(found) else None


def refusals(
    counts: Sequence[tuple[str, str, int]], allowed: Sequence[str] | None
) -> list[Refusal]:
    """Sources with pairs in an export whose licence is not in the list.

    Args:
        counts: (source, licence, pairs in the export).
        allowed: names of licences; None allows all, an empty list none.
    """
    if allowed is None:
        return []
    known = {normalised(each) for each in allowed}
    return [Refusal(*row) for row in counts if row[2] and normalised(row[1]) not in known]
