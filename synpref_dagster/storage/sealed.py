"""Small JSON files that carry a hash of what they say, so that a flipped bit is noticed.

The seal is one more key of the document, and so is the place that the file was written for, so that
files which changed places are noticed too. Files of earlier versions have neither and are read as
before; earlier versions ignore them.
"""

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

SEAL = "#blake2b"
"""Key of the seal; no document has keys of its own that begin with #."""
PLACE = "#place"


class DamagedError(ValueError):
    """A file holds other bytes than were written; starting again does not mend it by itself."""


def sealed(document: Mapping[str, Any], *, place: str = "") -> dict[str, Any]:
    """The document with its seal, and with the name of its place where one is given.

    >>> sealed({"rows": 3})
    {'rows': 3, '#blake2b': '47b702429120a0b9ee229045e2b9cd07'}
    """
    placed = {**document, PLACE: place} if place else dict(document)
    return {**placed, SEAL: _hash(json.loads(json.dumps(placed)))}


def unsealed(text: str | bytes, *, place: str = "") -> Any:
    """The JSON value of a text, without its seal.

    Args:
        text: what was written.
        place: where it was found; a document that was sealed for another place is damaged.

    Raises:
        ValueError: the text is no JSON.
        DamagedError: it says something else than was sealed, or belongs to another place.
    """
    document = json.loads(text)
    if not isinstance(document, dict) or SEAL not in document:
        return document
    seal = document.pop(SEAL)
    if seal != _hash(document):
        raise DamagedError("its content does not agree with its own hash")
    written_for = document.pop(PLACE, place)
    if place and written_for != place:
        raise DamagedError(f"it was written for {written_for}")
    return document


def _hash(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=16).hexdigest()
