"""Every container gives the same rows back, or is refused in one line that names it."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import sqlite3
import tarfile
import zipfile

import pandas as pd
import pyarrow as pa
import pyarrow.orc as orc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st
from upath import UPath

from synpref_dagster.sources.files.containers import HEAD_BYTES, kind_of, refused_kind, torn_kind
from synpref_dagster.sources.files.rows import read_rows
from synpref_dagster.sources.reading import read_source
from synpref_dagster.sources.records import SourceSpec

ROWS = [{"prompt": f"{n}+{n}?", "chosen": str(2 * n), "rejected": "Ω 5"} for n in range(1, 8)]


def spec_of(path, **options):
    return SourceSpec(name="x", path=str(path), origin="human", licence="x", options=options)


def found(path, **options):
    return [row.problem or row.value for row in read_rows(spec_of(path, **options))]


def as_lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def by_arrow(kind):
    def compress(content):
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, kind) as stream:
            stream.write(content)
        return sink.getvalue().to_pybytes()

    return compress


def as_table(rows, **options):
    return pd.DataFrame(rows).to_csv(index=False, **options).encode()


def as_parquet(rows):
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def as_arrow(rows, new=pa.ipc.new_stream):
    sink, table = io.BytesIO(), pa.Table.from_pylist(rows)
    with new(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return sink.getvalue()


def by_pandas(rows, orient):
    return pd.DataFrame(rows).to_json(orient=orient).encode()


COMPRESSIONS = {
    "plain": bytes, "gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress,
    "zstd": by_arrow("zstd"), "lz4": by_arrow("lz4"),
}  # fmt: skip
TEXTS = {
    "lines": as_lines,
    "array": lambda rows: json.dumps(rows).encode(),
    "indented array": lambda rows: json.dumps(rows, indent=2).encode(),
    "indented objects": lambda rows: "\n".join(json.dumps(r, indent=2) for r in rows).encode(),
    "data": lambda rows: json.dumps({"version": 1, "data": rows}).encode(),
    "indented data": lambda rows: json.dumps({"data": rows}, indent=1).encode(),
    "train": lambda rows: json.dumps({"train": rows}).encode(),
    "columns of pandas": lambda rows: by_pandas(rows, "columns"),
    "rows of pandas": lambda rows: by_pandas(rows, "index"),
    "cells of pandas": lambda rows: by_pandas(rows, "split"),
    "table of pandas": lambda rows: by_pandas(rows, "table").replace(b'"index":', b'"i":'),
    "lists by column": lambda rows: json.dumps(pd.DataFrame(rows).to_dict("list")).encode(),
    "comma": as_table,
    "semicolon": lambda rows: as_table(rows, sep=";"),
    "tab": lambda rows: as_table(rows, sep="\t"),
    "told by Excel": lambda rows: b"sep=;\r\n" + as_table(rows, sep=";", lineterminator="\r\n"),
    "index of pandas": lambda rows: pd.DataFrame(rows).to_csv().encode(),
    "old Macintosh": lambda rows: as_lines(rows).replace(b"\n", b"\r"),
}
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
TABULAR = {"comma", "semicolon", "tab", "told by Excel", "index of pandas"}


def without_index(rows):
    return [{k: v for k, v in row.items() if k != "i"} for row in rows]


@pytest.mark.parametrize("layout", TEXTS)
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_rows_come_back_from_every_layout_in_every_compression(tmp_path, layout, compression):
    path = tmp_path / ("x.csv" if layout in TABULAR else "x")  # no other name says what it is
    path.write_bytes(COMPRESSIONS[compression](TEXTS[layout](ROWS)))
    assert without_index(found(path)) == ROWS


@pytest.mark.parametrize("layout", TEXTS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_rows_come_back_in_every_encoding_with_or_without_its_mark(tmp_path, layout, encoding):
    path = tmp_path / "x.jsonl"
    path.write_bytes(gzip.compress(TEXTS[layout](ROWS).decode().encode(encoding)))
    assert without_index(found(path)) == ROWS


@pytest.mark.parametrize("new", [pa.ipc.new_stream, pa.ipc.new_file])
def test_arrow_is_read_whatever_it_is_called(tmp_path, new):
    (tmp_path / "x.json").write_bytes(as_arrow(ROWS, new))
    assert found(tmp_path / "x.json") == ROWS
    (tmp_path / "x.csv").write_bytes(as_parquet(ROWS))
    assert found(tmp_path / "x.csv") == ROWS


@pytest.mark.parametrize("compression", ["gzip", "bz2", "xz", "zstd", "lz4"])
def test_members_put_one_behind_the_other_are_read_whole(tmp_path, compression):
    compress = COMPRESSIONS[compression]
    path = tmp_path / "x"
    path.write_bytes(b"".join(compress(as_lines([row])) for row in ROWS) + compress(b""))
    assert found(path) == ROWS
    path.write_bytes(path.read_bytes() + b"no member")
    assert found(path)[-1] in ("damaged_file", "truncated_file")  # nothing passes in silence


rows_drawn = st.lists(
    st.fixed_dictionaries(
        {name: st.text(max_size=30) for name in ("prompt", "chosen", "rejected")}
    ),
    min_size=1,
    max_size=12,
)
WRITERS = {
    **{f"lines {name}": lambda rows, c=c: c(as_lines(rows)) for name, c in COMPRESSIONS.items()},
    **{
        f"array {name}": lambda rows, c=c: c(json.dumps(rows).encode())
        for name, c in COMPRESSIONS.items()
    },
    **{
        f"lines {name}": lambda rows, n=name: json.dumps(rows).encode(n)
        for name in ("utf-16", "utf-16-le", "utf-16-be", "utf-32")
    },
    "parquet": as_parquet,
    "arrow": as_arrow,
}


@given(rows=rows_drawn, writer=st.sampled_from(sorted(WRITERS)))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_any_rows_come_back_from_any_container(rows, writer):
    path = "memory://containers/any"
    UPath(path).write_bytes(WRITERS[writer](rows))
    assert found(path) == rows


@given(
    rows=rows_drawn,
    writer=st.sampled_from(sorted(set(WRITERS) - {"lines plain"})),
    cut=st.integers(0, 10**6),
)
@settings(max_examples=250, deadline=None, derandomize=True)
def test_a_file_cut_anywhere_gives_the_rows_so_far_and_one_that_says_so(rows, writer, cut):
    whole = WRITERS[writer](rows)
    path = "memory://containers/cut"
    UPath(path).write_bytes(whole[: cut % len(whole)])
    if UPath(path).read_bytes() == b"\x00":
        return  # Of no kind that anybody could name; refused, as every such file.
    read = found(path)
    if cut % len(whole) == 0 or UPath(path).read_bytes() == b"\xff\xfe":
        assert read == []
        return
    *so_far, last = read
    assert so_far == rows[: len(so_far)]
    assert last in ("truncated_file", "damaged_file", "not_json")


def zipped(name):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr(name, as_lines(ROWS))
    return sink.getvalue()


def tarred(mode, layout=tarfile.GNU_FORMAT):
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode=mode, format=layout) as archive:
        member = tarfile.TarInfo("rows.jsonl")
        member.size = len(as_lines(ROWS))
        archive.addfile(member, io.BytesIO(as_lines(ROWS)))
    return sink.getvalue()


def as_orc():
    sink = io.BytesIO()
    orc.write_table(pa.Table.from_pylist(ROWS), sink)
    return sink.getvalue()


def as_database():
    database = sqlite3.connect(":memory:")
    database.execute("create table rows (prompt text)")
    return database.serialize()


REFUSED = {
    "a zip archive": [zipped("rows.jsonl"), b"PK\x05\x06" + bytes(18)],
    "an Excel or other Office file": [zipped("[Content_Types].xml"), zipped("xl/workbook.xml")],
    "a PyTorch file": [zipped("model/data.pkl"), zipped("archive/byteorder")],
    "a NumPy archive": [zipped("arr_0.npy"), zipped("some arrays/a-b.npy")],
    "a tar archive": [tarred("w"), tarred("w", tarfile.PAX_FORMAT)],
    "a tar archive within gzip": [tarred("w:gz")],
    "a tar archive within bz2": [tarred("w:bz2")],
    "a 7z archive": [b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(24)],
    "a RAR archive": [b"Rar!\x1a\x07\x00", b"Rar!\x1a\x07\x01\x00"],
    "an SQLite database": [as_database()],
    "a Python pickle": [pickle.dumps(ROWS), pickle.dumps(ROWS, 2), pickle.dumps(ROWS, 0)],
    "a Python pickle within gzip": [gzip.compress(pickle.dumps(ROWS))],
    "an ORC file": [as_orc()],
    "an Avro file": [b"Obj\x01\x04\x14avro.codec"],
    "an HTML page": [b"<!DOCTYPE html>\n<html>", b"\n <HTML lang='en'>", b"<!-- x --><html>"],
    "an XML document or an error page": [
        b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", b"<rss version='2'>",
    ],
    "a git-LFS pointer": [b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"],
    "a git-annex pointer": [b"/annex/objects/MD5E-s9--0.jsonl\n", b"../.git/annex/objects/x"],
    "a PDF document": [b"%PDF-1.7\n%\xe2\xe3"],
    "a YAML document": [b"---\n- prompt: a\n"],
    "gzip data within gzip": [gzip.compress(gzip.compress(as_lines(ROWS)))],
    "xz data within zstd": [by_arrow("zstd")(lzma.compress(as_lines(ROWS)))],
    "Parquet data within gzip": [gzip.compress(as_parquet(ROWS))],
    "JSON lists": [b'[["a", "b"], ["c", "d"]]', b'["a", "b"]\n["c", "d"]\n'],
    "neither JSON nor a table": [b"Entry not found\n", b"404: Not Found", bytes(range(256))],
    "the parts train, test": [
        json.dumps({"train": ROWS, "test": ROWS}).encode(),
        json.dumps({"train": ROWS, "test": ROWS}, indent=1).encode(),
    ],
    "beside the table 'pairs'": [json.dumps({"prompt": "a?", "pairs": ROWS}).encode()],
    "which may be rows or columns": [json.dumps({"a": ROWS[0], "b": ROWS[1]}).encode()],
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_read_is_refused_in_one_line_that_names_file_and_container(tmp_path, what):
    for number, content in enumerate(REFUSED[what]):
        path = tmp_path / f"rows-{number}.jsonl"  # the name says nothing
        path.write_bytes(content)
        with pytest.raises(ValueError, match=what) as refusal:
            found(path)
        assert str(refusal.value).startswith(f"source 'x': {path} ")
        assert "\n" not in str(refusal.value)


def test_a_part_of_a_document_is_chosen_by_the_split(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(json.dumps({"train": ROWS[:4], "test": ROWS[4:]}).encode())
    assert found(path, split="test") == ROWS[4:]
    with pytest.raises(ValueError, match=r"no part 'dev'.*it has train, test"):
        found(path, split="dev")
    path.write_bytes(as_lines(ROWS))
    with pytest.raises(ValueError, match="has no splits: take the option split out"):
        found(path, split="test")


MESSAGES = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
VOTES = [{"worker": "w", "value": "a"}]


@pytest.mark.parametrize(
    "row",
    [
        {"chosen": MESSAGES, "rejected": MESSAGES},
        {"prompt": "a", "votes": VOTES, "response_a": "b", "response_b": "c"},
        {"prompt": {"text": "a", "replies": []}, "message_tree_id": "m"},
        {"chosen": MESSAGES[1], "rejected": MESSAGES[1]},
        {"instruction": "a", "completions": [{"response": "b", "overall_score": 1}]},
        {"prompt": "a", "chosen": "b", "rejected": "c", "items": []},
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_a_lone_row_stays_a_row(tmp_path, row, indent):
    (tmp_path / "x.json").write_text(json.dumps(row, indent=indent))
    assert found(tmp_path / "x.json") == [row]


def test_a_document_of_no_rows_has_none(tmp_path):
    for number, text in enumerate(("[]", " [ ] \n", '{"data": []}', '{"version": 1, "rows": []}')):
        (tmp_path / f"{number}.json").write_text(text)
        assert found(tmp_path / f"{number}.json") == []


def test_a_document_that_is_too_long_is_refused_and_an_array_of_any_length_read(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("synpref_dagster.sources.files.json_arrays.MAX_ELEMENT_CHARS", 400_000)
    rows = [{**row, "chosen": "x" * 300_000} for row in ROWS]
    (tmp_path / "x.json").write_text(json.dumps({"data": rows}, indent=1))
    with pytest.raises(ValueError, match="one JSON object of 64 MiB or more: write its rows as"):
        found(tmp_path / "x.json")
    (tmp_path / "x.json").write_text(json.dumps(rows, indent=1))
    assert found(tmp_path / "x.json") == rows


def test_a_broken_line_is_no_document(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"prompt": "a", "chos\n' + as_lines(ROWS))
    assert found(path) == ["not_json", *ROWS]
    path.write_bytes(b'{"prompt": "a", "chos')
    assert found(path) == ["not_json"]


def test_lines_in_utf_16_lose_only_the_row_that_is_broken(tmp_path):
    whole, omega = as_lines(ROWS).decode().encode("utf-16-le"), "Ω".encode("utf-16-le")
    (tmp_path / "x.txt").write_bytes(whole.replace(omega, b"\x00\xd8", 1))
    assert found(tmp_path / "x.txt") == ["not_utf8", *ROWS[1:]]


def test_an_arrow_stream_without_its_end_says_so(tmp_path):
    whole = as_arrow(ROWS)
    (tmp_path / "x.arrow").write_bytes(whole[:-8])
    assert found(tmp_path / "x.arrow") == [*ROWS, "truncated_file"]


def test_offsets_that_point_nowhere_cost_their_rows_and_no_crash(tmp_path):
    whole = as_arrow([{"a": "first text"}, {"a": "second"}])
    offsets = b"\x00\x00\x00\x00\x0a\x00\x00\x00\x10\x00\x00\x00"
    assert whole.count(offsets) == 1
    broken = whole.replace(offsets, offsets[:8] + b"\xff\xff\xff\x7f")
    (tmp_path / "x.arrow").write_bytes(broken)
    assert found(tmp_path / "x.arrow") == [{"a": "first text"}, "unreadable_value"]


class Unplugged(io.BytesIO):
    """A file of which the first bytes come, and no more."""

    def read(self, size=-1):
        if self.tell() == 0 and size == HEAD_BYTES:
            return super().read(size)
        raise TimeoutError(110, "timed out")

    read1 = read


@pytest.mark.parametrize("name", ["gzip", "bz2", "xz", "zstd", "parquet", "arrow", "plain"])
def test_a_store_that_does_not_answer_is_no_damage(tmp_path, monkeypatch, name):
    path = tmp_path / "x"
    content = WRITERS[name if name in WRITERS else f"lines {name}"](ROWS)
    path.write_bytes(content)
    monkeypatch.setattr(type(path), "open", lambda *_, **__: Unplugged(content))
    with pytest.raises(TimeoutError):
        found(path)


def test_a_long_first_line_is_looked_at_in_pieces(tmp_path):
    long = {**ROWS[0], "chosen": "x" * 300_000}
    for name, compress in COMPRESSIONS.items():
        (tmp_path / name).write_bytes(compress(as_lines([long, ROWS[1]])))
        assert found(tmp_path / name) == [long, ROWS[1]]


def test_pairs_come_out_of_a_table_with_an_index_and_semicolons(tmp_path):
    path = tmp_path / "export.txt"
    path.write_bytes(b"\xef\xbb\xbf" + pd.DataFrame(ROWS).to_csv(sep=";").encode())
    [batch] = read_source(spec_of(path), seed=0)
    assert [pair.chosen for pair in batch.pairs] == [row["chosen"] for row in ROWS]


def test_text_that_only_begins_like_a_container_is_text():
    for text in (b"BZh is a header,b\n", b"PARENT,prompt\n", b"ORC,prompt\n", b"id,PK\n", b"mzx,b"):
        assert (kind_of(text), refused_kind(text), torn_kind(text)) == (None, None, None)
