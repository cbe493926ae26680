"""Small JSON files that carry a hash of what they say, so that a flipped bit is noticed.

The seal is one more key of the document. Files of earlier versions have none and are read as
before; earlier versions ignore it.
"""

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

SEAL = "#blake2b"
"""Key of the seal; no document has keys of its own that begin with #."""


class DamagedError(ValueError):
    """A file holds other bytes than were written; starting again does not mend it by itself."""


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with its seal.

    >>> sealed({"rows": 3})
    {'rows': 3, '#blake2b': '47b702429120a0b9ee229045e2b9cd07'}
    """
    return {**document, SEAL: _hash(json.loads(json.dumps(document)))}


def unsealed(text: str | bytes) -> Any:
    """The JSON value of a text, without its seal.

    Raises:
        ValueError: the text is no JSON.
        DamagedError: it says something else than was sealed.
    """
    document = json.loads(text)
    if not isinstance(document, dict) or SEAL not in document:
        return document
    seal = document.pop(SEAL)
    if seal != _hash(document):
        raise DamagedError("its content does not agree with its own hash")
    return document


def _hash(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=16).hexdigest()
