"""A file that is no UTF-8 says in which line, and what it looks like."""

import gzip

import pytest

from synpref_dagster.sources.files.encodings import first_bad_line
from synpref_dagster.sources.records import SourceSpec

TEXT = "prompt,chosen,rejected\nq,yes,no\nq,caf\u00e9,no\n"


def bad_line(path, content):
    path.write_bytes(content)
    spec = SourceSpec(name="x", path=str(path), origin="human", licence="")
    return first_bad_line(spec)


@pytest.mark.parametrize("packed", [False, True])
def test_line_byte_and_remedy_are_named_also_within_gzip(tmp_path, packed):
    content = TEXT.encode("latin-1")
    path = tmp_path / ("x.csv.gz" if packed else "x.csv")
    assert bad_line(path, gzip.compress(content) if packed else content) == (
        "it is no UTF-8: line 3 has the byte 0xe9 at place 6, as Latin-1 text has; convert it "
        "if it is: iconv -f ISO-8859-1 -t UTF-8"
    )


def test_letters_that_only_windows_has_are_told_from_latin_1(tmp_path):
    assert "0x93 at place 3, as Windows-1252 text" in bad_line(tmp_path / "x", b"q,\x93yes\x94\n")


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("gb18030", "\u4f60\u597d\u4e16\u754c"),
        ("shift_jis", "\u4e16\u754c"),
        ("euc_kr", "\uc138\uacc4"),
        ("koi8_r", "\u043f\u0440\u0438\u0432\u0435\u0442"),
        ("cp1251", "\u043f\u0440\u0438\u0432\u0435\u0442"),
    ],
)
def test_other_scripts_are_not_called_latin(tmp_path, encoding, text):
    said = bad_line(tmp_path / "x", f"q,{text}\n".encode(encoding))
    remedy = "; convert it from the encoding that it was written in: iconv -f ENCODING -t UTF-8"
    assert said.endswith(remedy)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_what_is_read_has_no_bad_line(tmp_path, encoding):
    assert bad_line(tmp_path / "x.csv", TEXT.encode(encoding)) is None


def test_utf_16_that_nothing_marks_is_called_that(tmp_path):
    content = "ärger,b\n".encode("utf-16-le")  # it begins with no letter that all encodings share
    assert "as UTF-16 without its mark has" in bad_line(tmp_path / "x.csv", content)
