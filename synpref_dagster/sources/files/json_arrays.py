"""Files that are one JSON array of objects, read element by element: memory stays at one element.

An array cannot be picked up again behind a broken element, so that is its last row; what follows
a complete array is read as JSON lines. Objects that stand one behind the other, over several lines
each, are read alike.
"""

import codecs
import io
import json
import re
from collections.abc import Iterator

from synpref_dagster.sources.files.raw_rows import DuplicateKeyError, RawRow, json_object, unread
from synpref_dagster.sources.files.streams import BrokenStreamError

CHUNK_BYTES = 1 << 20
MAX_ELEMENT_CHARS = 64 * 1024 * 1024
"""Longest element taken into memory."""
_BLANK = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder(object_pairs_hook=json_object)


def starts_array(head: bytes) -> bool:
    """Whether a file begins like an array of objects; a line of its own may be a list, too.

    >>> starts_array(b'[{"a": 1}]'), starts_array(b"[1, 2]"), starts_array(b'{"a": 1}')
    (True, False, False)
    """
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    return text.startswith(b"[") and text[1:].lstrip()[:1] in (b"{", b"]", b"")


class JsonArray:
    """One pass over an array; `rest` holds what was read beyond its end."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream = stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("strict")
        self._text = ""
        self._ended = False
        self.rest = b""

    def rows(self) -> Iterator[RawRow]:
        """The elements, and one last row that says so when the array breaks off."""
        yield from self._told(self._elements())

    def objects(self) -> Iterator[RawRow]:
        """The same of objects without an array around them, one behind the other."""
        yield from self._told(self._bare())

    def _elements(self) -> Iterator[RawRow]:
        self._expect("[")
        if self._next_is("]"):
            return self._finish()
        number = 0
        while True:
            yield self._element(number)
            number += 1
            if not self._next_is(","):
                self._expect("]")
                return self._finish()

    def _bare(self) -> Iterator[RawRow]:
        number = 0
        self._skip_blanks()
        while self._text:
            yield self._element(number)
            number += 1
            self._skip_blanks()

    def _told(self, elements: Iterator[RawRow]) -> Iterator[RawRow]:
        number = 0
        try:
            for row in elements:
                yield row
                number += 1
        except DuplicateKeyError as error:
            yield self._broken(number, "duplicate_key", f"key {error.args[0]!r}")
        except UnicodeDecodeError as error:
            yield self._broken(number, "not_utf8", str(error))
        except BrokenStreamError as error:
            yield self._broken(number, error.problem, str(error))
        except (ValueError, RecursionError) as error:
            yield self._broken(number, "not_json", str(error))

    def _element(self, number: int) -> RawRow:
        self._skip_blanks()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text)
                # A number may go on in the next chunk.
                if isinstance(value, dict) or end < len(self._text) or not self._fill():
                    break
            except json.JSONDecodeError:
                if len(self._text) > MAX_ELEMENT_CHARS:
                    raise BrokenStreamError("over_byte_limit", "64 MiB or more") from None
                if not self._fill():
                    raise
        raw, self._text = self._text[:end], self._text[end:]
        if not isinstance(value, dict):
            return unread(
                number,
                raw.encode("utf-8", "surrogatepass"),
                problem="not_an_object",
                detail=f"{type(value).__name__}; an array of JSON objects",
            )
        return RawRow(number, value, raw)

    def _next_is(self, mark: str) -> bool:
        self._skip_blanks()
        if not self._text:
            raise BrokenStreamError("truncated_file", "the array breaks off")
        found = self._text[0] == mark
        if found:
            self._text = self._text[1:]
        return found

    def _expect(self, mark: str) -> None:
        if not self._next_is(mark):
            raise ValueError(f"expected {mark} but found {self._text[:20]!r}")

    def _skip_blanks(self) -> None:
        while True:
            found = _BLANK.match(self._text)
            self._text = self._text[found.end() if found else 0 :]
            if self._text or not self._fill():
                return

    def _fill(self) -> bool:
        if self._ended:
            return False
        # Growing reads: a long element is decoded again after each, so there must be few.
        chunk = self._stream.read1(max(CHUNK_BYTES, len(self._text)))
        self._ended = not chunk
        self._text += self._decode.decode(chunk, final=self._ended)
        return not self._ended

    def _finish(self) -> None:
        rest = self._text.encode() + self._decode.getstate()[0]
        # To the end of its last line, which may have been read in part.
        self.rest = rest + self._stream.readline(-1) if rest.strip() else b""

    def _broken(self, number: int, problem: str, detail: str) -> RawRow:
        raw = self._text[:2_000].encode("utf-8", "surrogatepass")
        # The rest cannot be told apart into rows: read to its end, so that nobody else tries.
        self._text = ""
        try:
            while self._stream.read1(CHUNK_BYTES):
                pass
        except BrokenStreamError:
            pass
        return unread(number, raw, problem=problem, detail=f"{detail}; nothing behind it is read")
