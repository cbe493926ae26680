"""Who cast a recorded vote: the same person in every file of a source, and nobody's name.

A file knows a worker by an id that must not travel. Readers give its hash, so that two files of one
source agree on the person; numbers take its place before anything is written. Two sources never
share a person: an id means nothing outside its source.
"""

from hashlib import blake2b

KEY_BYTES = 16


def annotator_key(worker: str) -> str:
    """What stands for a worker until the numbering; equal ids give equal keys in every file."""
    return blake2b(worker.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).hexdigest()


class AnnotatorNumbers:
    """Numbers the annotators of each source by first appearance, over all its files.

    >>> numbers = AnnotatorNumbers()
    >>> [numbers.name("chats", key) for key in ("x", "y", "x")], numbers.name("web", "x")
    (['chats/annotator_0', 'chats/annotator_1', 'chats/annotator_0'], 'web/annotator_0')
    """

    def __init__(self) -> None:
        self._numbers: dict[str, dict[str, int]] = {}

    def name(self, source: str, key: str) -> str:
        """`SOURCE/annotator_N` of the annotator known by a key in a source."""
        known = self._numbers.setdefault(source, {})
        return f"{source}/annotator_{known.setdefault(key, len(known))}"
