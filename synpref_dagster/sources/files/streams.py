"""Streams of bytes: decompressed, brought to UTF-8, and looked into without being used up.

Whatever is wrong with the bytes becomes a `BrokenStreamError`, behind all that could be read; that
a store does not answer stays what it is.
"""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, cast

import pyarrow as pa

CHUNK_BYTES = 1 << 16
ARROW_BYTES = 1 << 13
"""What Arrow decompresses at a time: of a broken stream the last such piece is lost."""
_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class BrokenStreamError(Exception):
    """A stream that breaks off or is damaged here; `problem` is the reason of the row for it."""

    def __init__(self, problem: str, detail: str) -> None:
        super().__init__(detail)
        self.problem = problem


def is_damage(error: BaseException) -> bool:
    """Whether an error says that bytes are wrong, and not that they could not be fetched."""
    if isinstance(error, EOFError | zlib.error | lzma.LZMAError | gzip.BadGzipFile):
        return True
    # Arrow and bz2 say it by an OSError without the number that the system gives.
    arrows = isinstance(error, pa.ArrowException)
    return arrows or (type(error) is OSError and error.errno is None)


class RawStream(io.RawIOBase):
    """What a function gives, piece by piece, as a stream; damage as a `BrokenStreamError`."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._rest = b""

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes, at least one before the end."""
        try:
            found = self._rest or self._read(len(buffer))
        except (EOFError, zlib.error, lzma.LZMAError, pa.ArrowException, OSError) as error:
            if not is_damage(error):
                raise
            broken_off = isinstance(error, EOFError) or "Truncated" in str(error)
            problem = "truncated_file" if broken_off else "damaged_file"
            raise BrokenStreamError(problem, str(error)) from error
        given, self._rest = found[: len(buffer)], found[len(buffer) :]
        buffer[: len(given)] = given
        return len(given)


class PeekedStream(io.RawIOBase):
    """A stream whose first bytes can be looked at, as many as wanted, and are read all the same."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._head = bytearray()
        self._ended = False
        self.broken: BrokenStreamError | None = None
        """What ends the stream, where what was looked at shows it."""
        self.is_whole = False
        """Whether what `ahead` gave last is all there is."""

    def ahead(self, size: int) -> bytes:
        """The first `size` bytes that are not read yet; fewer only where there are no more."""
        while len(self._head) < size and not self.is_whole:
            try:
                found = self._stream.read(size - len(self._head)) or b""
            except BrokenStreamError as error:
                self.broken, found = error, b""
            self._head += found
            self.is_whole = not found
        return bytes(self._head[:size])

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes, first those that were looked at."""
        found = bytes(self._head[: len(buffer)])
        del self._head[: len(found)]
        if not found and not self._ended:
            found = self._next(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def _next(self, size: int) -> bytes:
        try:
            if self.broken:
                raise self.broken
            return self._stream.read(size) or b""
        except BrokenStreamError:
            self._ended = True  # It is said once, and then there is no more.
            raise


def decompressed(file: BinaryIO, kind: str) -> RawStream:
    """The content of a compressed file, all members one after the other.

    Args:
        file: read from its beginning.
        kind: a name in `containers.COMPRESSED`.
    """
    if kind == "gzip":
        return RawStream(gzip.GzipFile(fileobj=file).read1)
    if kind == "bz2":
        return RawStream(_Members(file, bz2.BZ2Decompressor).read)
    if kind == "xz":
        return RawStream(_Members(file, lzma.LZMADecompressor).read)
    opened = pa.CompressedInputStream(pa.PythonFile(cast(Any, file), mode="r"), kind)
    return RawStream(lambda size: cast(bytes, opened.read(min(size, ARROW_BYTES))))


class _Members:
    """Compressed members one after the other; what is no member behind one is damage.

    The readers of `bz2` and `lzma` drop in silence what they do not know behind a member.
    """

    def __init__(self, file: BinaryIO, new: Callable[[], Any]) -> None:
        self._file = file
        self._new = new
        self._member = new()

    def read(self, size: int) -> bytes:
        while True:
            fed = b""
            if self._member.eof:
                fed = self._member.unused_data.lstrip(b"\0")
                while not fed:
                    if not (more := self._file.read(CHUNK_BYTES)):
                        return b""
                    fed = more.lstrip(b"\0")
                self._member = self._new()
            elif self._member.needs_input and not (fed := self._file.read(CHUNK_BYTES)):
                raise EOFError("Compressed file ended before the end-of-stream marker was reached")
            if found := self._member.decompress(fed, size):
                return cast(bytes, found)


def encoding_of(head: bytes) -> str | None:
    r"""UTF-16 or UTF-32 by the mark at the beginning, or by how JSON and tables begin without one.

    >>> encoding_of("{\"a\"".encode("utf-16-le")), encoding_of(b'{"a"')
    ('utf-16-le', None)
    """
    marked = next((name for mark, name in _ENCODINGS if head.startswith(mark)), None)
    if marked or len(head) < 2:
        return marked
    # Both begin with plain characters, of which the wide encodings leave bytes empty (RFC 4627).
    empty = [byte == 0 for byte in head[:4]]
    wide = {
        "utf-16-le": [False, True, False, True],
        "utf-16-be": [True, False, True, False],
        "utf-32-le": [False, True, True, True],
        "utf-32-be": [True, True, True, False],
    }
    found = next((n for n, places in wide.items() if places[: len(empty)] == empty), None)
    printable = all(byte == 0 or byte in b"\t\r\n" or 32 <= byte < 127 for byte in head[:4])
    return found if printable else None


def with_line_feeds(stream: Any) -> RawStream:
    """The text of an old Macintosh, whose lines end in carriage returns alone, as everybody's."""
    return RawStream(lambda size: (stream.read(size) or b"").replace(b"\r", b"\n"))


def as_utf8(stream: Any, encoding: str) -> RawStream:
    """A stream of text in UTF-8; a lone surrogate stays one, which costs only its row."""
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    ended = False

    def read(size: int) -> bytes:
        nonlocal ended
        while not ended:
            found = stream.read(size)
            ended = not found
            try:
                text = decoder.decode(found or b"", final=ended)
            except UnicodeDecodeError as error:
                ended = True
                problem = "truncated_file" if not found else "damaged_file"
                raise BrokenStreamError(problem, str(error)) from error
            if text:
                return text.encode("utf-8", "surrogatepass")
        return b""

    return RawStream(read)
