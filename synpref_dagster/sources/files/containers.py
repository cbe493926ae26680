"""What a file is by its first bytes, whatever it is called: read, unpacked, or refused by name."""

import re
import tarfile

HEAD_BYTES = 1024
"""First bytes of a file that are enough to know it."""
COMPRESSED = {
    "gzip": (b"\x1f\x8b",),
    "zstd": (b"\x28\xb5\x2f\xfd",),
    "bz2": (b"BZh",),
    "xz": (b"\xfd7zXZ\x00",),
    "lz4": (b"\x04\x22\x4d\x18",),
}
"""Compressed streams that are read, and how each begins."""
COLUMNAR = {"Parquet": (b"PAR1",), "Arrow": (b"ARROW1\x00\x00", b"\xff\xff\xff\xff")}
_READ = {**COMPRESSED, **COLUMNAR}
_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
_BZ2 = re.compile(rb"BZh($|[1-9](1AY&SY|\x17rE8P\x90|.{0,5}$))", re.DOTALL)

UNPACK = "unpack it"
EXPORT = "export its rows as JSON lines, CSV or Parquet"
SAVE = "save its table as CSV"
AWAY = "take it out of the source"
FETCH = "a download often gives one in place of the data: fetch the data themselves"
_REFUSED = tuple(
    (re.compile(pattern, re.DOTALL), name, advice)
    for pattern, name, advice in (
        (rb"PK\x03\x04.{26}(\[Content_Types\]|_rels/|docProps/|xl/|word/)",
         "an Excel or other Office file", SAVE),
        (rb"PK\x03\x04.{26}mimetype", "an OpenDocument or EPUB file", SAVE),
        (rb"PK\x03\x04.{26}[^/]{0,200}/?(data\.pkl|\.format_version|byteorder)",
         "a PyTorch file", EXPORT),
        (rb"PK\x03\x04.{26}[\w./ -]{1,200}\.npy", "a NumPy archive", EXPORT),
        (rb"PK(\x03\x04|\x05\x06|\x07\x08|00PK)", "a zip archive", UNPACK),
        (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
        (rb"Rar!\x1a\x07", "a RAR archive", UNPACK),
        (rb"\x1f[\x9d\xa0]", "a file of the old Unix compress", UNPACK),
        (rb"\x5d\x00\x00[\x00-\xff]{2}|LZIP\x01", "an old LZMA stream", UNPACK),
        (rb"\xff\x06\x00\x00sNaPpY|\x89LZO\x00|bvx[-12n]", "a Snappy, LZO or LZFSE stream", UNPACK),
        (rb"!<arch>\n", "an ar archive", UNPACK),
        (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or other Office file", SAVE),
        (rb"SQLite format 3\x00", "an SQLite database", EXPORT),
        (rb".{8}DUCK", "a DuckDB database", EXPORT),
        (rb"\x80[\x02-\x05]|\([ld]p\d+\n|ccopy_reg\n", "a Python pickle", EXPORT),
        (rb".{5}\x00\x00\x00\{\s*\"", "a safetensors file", EXPORT),
        (rb"ORC[\x00-\x1f\x80-\xff]", "an ORC file", EXPORT),
        (rb"Obj\x01", "an Avro file", EXPORT),
        (rb"PARE[\x00-\x1f\x80-\xff]", "an encrypted Parquet file", "decrypt it"),
        (rb"FEA1[\x00-\x1f\x80-\xff]", "a Feather file of version 1", EXPORT),
        (rb"\x89HDF\r\n", "an HDF5 file", EXPORT),
        (rb"\x93NUMPY", "a NumPy array", EXPORT),
        (rb"RD[AX][23]\n", "an R data file", EXPORT),
        (rb"<stata_dta>|\$FL[23]", "a Stata or SPSS file", EXPORT),
        (rb"%PDF-", "a PDF document", EXPORT),
        (rb"\{\\rtf", "an RTF document", EXPORT),
        (rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|RIFF.{4}W(AVE|EBP)|II\*\x00|.{4}ftyp",
         "an image, a sound or a film", AWAY),
        (rb"\x7fELF|\xcf\xfa\xed\xfe|\xca\xfe\xba\xbe|\x00asm|GGUF[\x00-\x1f]",
         "a program or a model", AWAY),
        (rb"version https://(git-lfs|hawser)\.github\.com/", "a git-LFS pointer, not the data",
         "fetch them with `git lfs pull`"),
        (rb"# xet version", "a Xet pointer, not the data", "fetch them with `git xet`"),
        (rb"(\.\./|/|\.git/)*annex/objects/", "a git-annex pointer, not the data",
         "fetch them with `git annex get`"),
        (rb"(?i:(\xef\xbb\xbf)?\s*(<!--.*?-->\s*)?<(!doctype html|html|head|body|script|title))",
         "an HTML page", FETCH),
        (rb"(?i:(\xef\xbb\xbf)?\s*<(\?xml|[a-z][\w:]*[ >/]))",
         "an XML document or an error page", FETCH),
        (rb"(\xef\xbb\xbf)?(%YAML|---\r?\n)", "a YAML document", EXPORT),
    )
)  # fmt: skip
"""How what cannot be read begins, what it is, and what to do about it."""


def kind_of(head: bytes) -> str | None:
    r"""Name in `COMPRESSED` or `COLUMNAR` of what begins with these bytes; None for anything else.

    >>> kind_of(b"\x1f\x8b\x08"), kind_of(b"PAR1"), kind_of(b'{"prompt": "PAR1"}')
    ('gzip', 'Parquet', None)
    """
    if _SKIPPABLE.match(head):
        return "zstd"
    found = (name for name, magics in _READ.items() if head.startswith(magics))
    kind = next(found, None)
    return None if kind == "bz2" and not _BZ2.match(head) else kind


def torn_kind(whole: bytes) -> str | None:
    r"""Name of what a whole file of a few bytes would have become, had it not broken off.

    >>> torn_kind(b"\x28\xb5"), torn_kind(b"{")
    ('zstd', None)
    """
    for name, magics in _READ.items():
        if whole and any(len(whole) < len(each) and each.startswith(whole) for each in magics):
            return name
    return None


def refused_kind(head: bytes) -> tuple[str, str] | None:
    """What a file is that cannot be read, and what to do about it; None for what may be text.

    >>> refused_kind(b"%PDF-1.7")
    ('a PDF document', 'export its rows as JSON lines, CSV or Parquet')
    """
    for pattern, name, advice in _REFUSED:
        if pattern.match(head):
            return name, advice
    return ("a tar archive", UNPACK) if _is_tar(head) else None


def _is_tar(head: bytes) -> bool:
    block = head[: tarfile.BLOCKSIZE]
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True
