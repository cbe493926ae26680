"""Every row of a source ends as a pair, in quarantine or outside the selection."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synpref_dagster.pairs.record import PAIR_SCHEMA
from synpref_dagster.sources.reading import format_of, read_source
from synpref_dagster.sources.records import QUARANTINE_SCHEMA, VERDICT_SCHEMA, SourceSpec

GOOD = {"prompt": "2+2?", "chosen": "4", "rejected": "5"}
HARMLESS = "hh_rlhf_harmless_base_test/harmless-base/test.jsonl.gz"


def spec_of(path: Path | str, **changes) -> SourceSpec:
    fields = {"name": "demo", "path": str(path), "origin": "human", "licence": "CC0-1.0"}
    return SourceSpec(**{**fields, **changes})


def read_all(spec: SourceSpec, *, seed: int = 0, **arguments):
    batches = list(read_source(spec, seed=seed, **arguments))
    for batch in batches:
        outcomes = len(batch.pairs) + len(batch.quarantined) + batch.num_outside
        assert batch.num_rows == outcomes
    pairs = [pair for batch in batches for pair in batch.pairs]
    return pairs, [row for batch in batches for row in batch.quarantined]


def write_lines(path: Path, lines: list[bytes]) -> Path:
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def as_lines(*rows: object) -> list[bytes]:
    return [json.dumps(row).encode() for row in rows]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"prompt": "a", "chosen": ', "not_json"),
        (b"[" * 100_000, "not_json"),
        (b'{"prompt": "a", "chosen": 1' + b"0" * 5_000 + b"}", "not_json"),
        (b'["prompt"]', "not_an_object"),
        (b"null", "not_an_object"),
        (b'{"prompt": "a\xff", "chosen": "b", "rejected": "c"}', "not_utf8"),
        (b'{"prompt": "a", "chosen": "b", "chosen": "d", "rejected": "c"}', "duplicate_key"),
        (b'{"prompt": "a", "chosen": "b"}', "missing_column"),
        (b'{"prompt": "a", "chosen": "b", "rejected": null}', "empty_response"),
        (b'{"prompt": "a", "chosen": "b", "rejected": " \\n"}', "empty_response"),
        (b'{"prompt": "a", "chosen": "b", "rejected": true}', "not_text"),
        (b'{"prompt": null, "chosen": "b", "rejected": "c"}', "empty_turn"),
        (b'{"prompt": {"a": [null]}, "chosen": "b", "rejected": "c"}', "not_text"),
        (b'{"prompt": "a", "chosen": "b\\ud800", "rejected": "c"}', "not_encodable"),
        (b'{"prompt": "a\\u0000", "chosen": "b", "rejected": "c"}', "null_byte"),
        (b'{"prompt": "a", "chosen": "b", "rejected": "b "}', "identical_responses"),
    ],
)
def test_a_bad_line_is_quarantined_with_its_reason_and_its_neighbours_are_read(
    tmp_path, line, reason
):
    path = write_lines(tmp_path / "rows.jsonl", [*as_lines(GOOD), line, *as_lines(GOOD)])
    pairs, quarantined = read_all(spec_of(path))
    assert [pair.meta["row"] for pair in pairs] == [0, 2]
    assert [(row.source, row.row, row.reason) for row in quarantined] == [("demo", 1, reason)]
    assert quarantined[0].raw
    assert len(quarantined[0].raw) <= 2_000


def test_a_ten_megabyte_field_is_over_the_byte_limit(tmp_path):
    large = {**GOOD, "chosen": "x" * 10_000_000}
    path = write_lines(tmp_path / "rows.jsonl", as_lines(large, GOOD))
    pairs, quarantined = read_all(spec_of(path))
    assert len(pairs) == 1
    assert [(row.row, row.reason) for row in quarantined] == [(0, "over_byte_limit")]
    assert len(quarantined[0].raw) == 2_000


def test_the_byte_limit_is_an_option(tmp_path):
    path = write_lines(tmp_path / "rows.jsonl", as_lines(GOOD))
    pairs, _ = read_all(spec_of(path, options={"max_text_bytes": 4}))
    assert len(pairs) == 1
    _, quarantined = read_all(spec_of(path, options={"max_text_bytes": 3}))
    assert [row.reason for row in quarantined] == ["over_byte_limit"]


def test_a_line_longer_than_the_limit_is_skipped_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("synpref_dagster.sources.files.rows.MAX_LINE_BYTES", 100)
    path = write_lines(tmp_path / "rows.jsonl", [b'"' + b"x" * 450 + b'"', *as_lines(GOOD)])
    pairs, quarantined = read_all(spec_of(path))
    assert [pair.meta["row"] for pair in pairs] == [1]
    assert [(row.row, row.reason) for row in quarantined] == [(0, "over_byte_limit")]


def test_a_truncated_gzip_gives_the_rows_so_far_and_one_row_that_says_so(tmp_path):
    # Numbers that do not compress, so that the first half of the file holds about half the rows.
    rows = [{**GOOD, "chosen": str(7**number)} for number in range(1, 400)]
    whole = gzip.compress(b"\n".join(as_lines(*rows)))
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(whole[: len(whole) // 2])
    pairs, quarantined = read_all(spec_of(path))
    assert [pair.chosen for pair in pairs] == [row["chosen"] for row in rows[: len(pairs)]]
    assert 0 < len(pairs) < len(rows)
    assert [(row.row, row.reason) for row in quarantined] == [(len(pairs), "truncated_file")]


def test_a_damaged_gzip_ends_in_a_row_that_says_so(tmp_path):
    rows = [{**GOOD, "chosen": str(7**number)} for number in range(1, 400)]
    whole = bytearray(gzip.compress(b"\n".join(as_lines(*rows))))
    whole[len(whole) // 2] ^= 0xFF
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(whole)
    pairs, quarantined = read_all(spec_of(path, format="explicit_plain"))
    assert len(pairs) > 100
    assert quarantined[-1].reason == "damaged_file"


def test_a_torn_parquet_file_is_one_quarantined_row(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist([GOOD] * 10), path)
    path.write_bytes(path.read_bytes()[:-20])
    pairs, quarantined = read_all(spec_of(path))
    assert not pairs
    assert [(row.row, row.reason) for row in quarantined] == [(0, "damaged_file")]


def test_parquet_text_that_is_no_utf8_is_quarantined_alone(tmp_path):
    good, bad = pa.array([b"4", b"\xff\xfe", b"4"]), pa.array(["5"] * 3)
    chosen = pa.Array.from_buffers(pa.string(), 3, good.buffers())
    table = pa.table({"prompt": pa.array(["2+2?"] * 3), "chosen": chosen, "rejected": bad})
    path = tmp_path / "rows.parquet"
    pq.write_table(table, path)
    pairs, quarantined = read_all(spec_of(path))
    assert [pair.meta["row"] for pair in pairs] == [0, 2]
    assert [(row.row, row.reason) for row in quarantined] == [(1, "not_utf8")]


def test_a_date_that_python_cannot_hold_costs_one_row_only(tmp_path):
    table = pa.Table.from_pylist([GOOD] * 3)
    moments = pa.array([0, 2**62, 0], pa.int64()).cast(pa.timestamp("ms"))
    path = tmp_path / "rows.parquet"
    pq.write_table(table.append_column("asked_at", moments), path)
    pairs, quarantined = read_all(spec_of(path))
    assert [pair.meta["row"] for pair in pairs] == [0, 2]
    assert [(row.row, row.reason) for row in quarantined] == [(1, "unreadable_value")]


def test_json_lines_gzip_and_parquet_give_the_same_pairs(tmp_path):
    rows = [{**GOOD, "chosen": f"four {number}"} for number in range(30)]
    plain = write_lines(tmp_path / "rows.jsonl", as_lines(*rows))
    compressed = tmp_path / "rows.gz"
    compressed.write_bytes(gzip.compress(plain.read_bytes()))
    columnar = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows), columnar)
    expected, _ = read_all(spec_of(plain))
    assert len(expected) == 30
    assert read_all(spec_of(compressed))[0] == expected
    assert read_all(spec_of(columnar))[0] == expected


def test_blank_lines_are_no_rows_and_keep_line_numbers(tmp_path):
    path = write_lines(tmp_path / "rows.jsonl", [b"", *as_lines(GOOD), b"  ", *as_lines(GOOD), b""])
    pairs, quarantined = read_all(spec_of(path))
    assert [pair.meta["row"] for pair in pairs] == [1, 3]
    assert not quarantined


def test_a_byte_order_mark_is_ignored(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + as_lines(GOOD)[0])
    assert len(read_all(spec_of(path))[0]) == 1


def test_a_source_without_a_readable_row_is_all_quarantine(tmp_path):
    path = write_lines(tmp_path / "rows.jsonl", [b"{", b"{"])
    pairs, quarantined = read_all(spec_of(path))
    assert (len(pairs), len(quarantined)) == (0, 2)
    (tmp_path / "empty.jsonl").write_bytes(b"")
    assert read_all(spec_of(tmp_path / "empty.jsonl")) == ([], [])


def test_a_broken_first_row_does_not_hide_the_format(tmp_path):
    broken = {"prompt": None, "chosen": None, "rejected": 7}
    path = write_lines(tmp_path / "rows.jsonl", as_lines(broken, GOOD))
    pairs, quarantined = read_all(spec_of(path))
    assert (len(pairs), [row.reason for row in quarantined]) == (1, ["not_text"])


def test_batches_are_consecutive_and_do_not_change_the_result(tmp_path):
    rows = [{**GOOD, "chosen": f"four {number}"} for number in range(25)]
    path = write_lines(
        tmp_path / "rows.jsonl", [*as_lines(*rows[:12]), b"{", *as_lines(*rows[12:])]
    )
    spec = spec_of(path)
    sizes = [batch.num_rows for batch in read_source(spec, seed=0, batch_rows=10)]
    assert sizes == [10, 10, 6]
    assert read_all(spec, batch_rows=10) == read_all(spec)


def test_batches_become_tables_with_the_shared_schemas(tmp_path):
    path = write_lines(tmp_path / "rows.jsonl", [*as_lines(GOOD), b'{"raw": "\xed\xa0\x80"}'])
    (batch,) = read_source(spec_of(path), seed=0)
    assert batch.pairs_table().schema == PAIR_SCHEMA
    assert batch.pairs_table().num_rows == 1
    assert batch.quarantine_table().schema == QUARANTINE_SCHEMA
    assert batch.quarantine_table().num_rows == 1
    assert batch.verdict_table().schema == VERDICT_SCHEMA


def test_a_header_among_rows_is_no_row_in_any_kind_of_file(tmp_path):
    table = "prompt,chosen,rejected\n2+2?,4,5\n"
    (tmp_path / "x.csv").write_text(table + "\ufeff" + table)
    path = write_lines(tmp_path / "x.jsonl", as_lines(GOOD, {name: name for name in GOOD}, GOOD))
    for file in (path, tmp_path / "x.csv"):
        pairs, quarantined = read_all(spec_of(file))
        assert [pair.chosen for pair in pairs] == ["4", "4"]
        assert [(row.row, row.reason) for row in quarantined] == [(1, "repeated_header")]


def test_columns_can_be_renamed(tmp_path):
    row = {"question": "2+2?", "prompt": "ignored", "good": "4", "bad": "5"}
    path = write_lines(tmp_path / "rows.jsonl", as_lines(row))
    columns = {"prompt": "question", "chosen": "good", "rejected": "bad"}
    (pair,), _ = read_all(spec_of(path, options={"columns": columns}))
    assert pair.conversation == ({"role": "user", "content": "2+2?"},)
    assert (pair.chosen, pair.rejected) == ("4", "5")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": "/no/such/file.jsonl"}, "no file at '/no/such/file.jsonl'"),
        ({"format": "csv"}, "unknown format 'csv'"),
        ({"options": {"flip_share": 0.1}}, "format explicit_plain has no option flip_share"),
        ({"options": {"max_text_bytes": "1 MB"}}, "max_text_bytes '1 MB' must be 1 or more"),
        ({"options": {"columns": "prompt"}}, "columns 'prompt' must map"),
        (
            {"options": {"columns": {"prompt": "rejected"}}},
            r"columns prompt \(text\), chosen \(text\)\. ",
        ),
    ],
)
def test_a_wrong_specification_is_refused_with_what_to_do(tmp_path, changes, message):
    path = write_lines(tmp_path / "rows.jsonl", as_lines(GOOD))
    with pytest.raises(ValueError, match=message):
        read_all(spec_of(path, **changes) if "path" not in changes else spec_of(**changes))


def test_a_hub_data_set_goes_through_the_same_readers(tmp_path):
    pytest.importorskip("datasets")
    folder = tmp_path / "hub"
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist([GOOD, {**GOOD, "rejected": ""}]), folder / "a.parquet")
    spec = SourceSpec(
        name="hub", hub_id=str(folder), revision="main", origin="synthetic", licence="MIT"
    )
    pairs, quarantined = read_all(spec)
    assert [(pair.source, pair.origin) for pair in pairs] == [("hub", "synthetic")]
    assert [(row.row, row.reason) for row in quarantined] == [(1, "empty_response")]


def test_a_folder_of_a_hub_data_set_is_read_alone(tmp_path):
    pytest.importorskip("datasets")
    for folder, chosen in (("ratings", "4"), ("preference", "four")):
        (tmp_path / "hub" / folder).mkdir(parents=True)
        table = pa.Table.from_pylist([{**GOOD, "chosen": chosen}])
        pq.write_table(table, tmp_path / "hub" / folder / "a.parquet")
    spec = SourceSpec(
        name="hub",
        hub_id=str(tmp_path / "hub"),
        revision="main",
        origin="human",
        licence="MIT",
        options={"data_dir": "preference"},
    )
    pairs, _ = read_all(spec)
    assert [pair.chosen for pair in pairs] == ["four"]


def test_the_harmless_test_set_is_read_row_by_row(real_data):
    pairs, quarantined = read_all(spec_of(real_data / HARMLESS))
    assert len(pairs) + len(quarantined) == 2_312
    assert len(pairs) == 2_299
    rows = {}
    for row in quarantined:
        found = [row.reason, *row.detail.removeprefix("also ").split(", ")]
        for reason in filter(None, found):
            rows.setdefault(reason, []).append(row.row)
    assert rows["empty_response"] == [86, 516, 925, 1103]
    assert rows["prompt_not_shared"] == [1254, 1688, 1950, 1952, 2036]
    # The five above and four more: a row may qualify for two reasons.
    assert rows["roles_not_alternating"] == [667, 763, 1254, 1319, 1688, 1849, 1950, 1952, 2036]
    first = Counter(row.reason for row in quarantined)
    assert first == {"prompt_not_shared": 5, "empty_response": 4, "roles_not_alternating": 4}


@pytest.mark.servers
def test_a_compressed_source_is_read_from_an_object_store(s3_server):
    from synpref_dagster.storage.uris import storage_options, to_path

    uri = f"s3://{s3_server.bucket}/sources/rows.jsonl.gz"
    rows = [{**GOOD, "chosen": f"four {number}"} for number in range(30)]
    to_path(uri).write_bytes(gzip.compress(b"\n".join([*as_lines(*rows), b"{"])))
    pairs, quarantined = read_all(spec_of(uri), storage_options=storage_options("s3"))
    assert [pair.chosen for pair in pairs] == [row["chosen"] for row in rows]
    assert [(row.row, row.reason) for row in quarantined] == [(30, "not_json")]
    with pytest.raises(ValueError, match="no file at 's3://"):
        read_all(spec_of(f"{uri}.bak"), storage_options=storage_options("s3"))


TWO_TURNS = "<|im_end|>\n<|im_start|>user\nMore?<|im_end|>\n<|im_start|>assistant\nNo"
STORED = '[{"role": "user", "content": "What is it?"}]'
TURN = {"role": "user", "content": "q"}
LABELLED = "Human: Hi\n\nAssistant: Hello\n\nHuman: What is it?\n\nAssistant:"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"prompt": STORED, "input": "A passage."}, "unread_context"),
        ({"input": STORED}, "unread_context"),
        ({"prompt": f'{{"system": "French", "messages": {STORED}}}'}, "messages_stored_as_text"),
        ({"prompt": f'{{"images": ["a.png"], "messages": {STORED}}}'}, "messages_stored_as_text"),
        ({"history": [["Hi", "Hello"]], "prompt": LABELLED}, "rendered_chat"),
        ({"chosen": f"Good.\n{TWO_TURNS}"}, "rendered_chat"),
        ({"chosen": "Good. <end_of_turn>\n<start_of_turn>user\nNo"}, "rendered_chat"),
        ({"chosen": "Good.\n<|user|>\nMore?\n<|assistant|>\nNo"}, "rendered_chat"),
        ({"chosen": "Good. </s><s>[INST] More? [/INST] No"}, "rendered_chat"),
        ({"prompt": "<s>[SYSTEM_PROMPT]Be nice.[/SYSTEM_PROMPT][INST]Hi[/INST]"}, "rendered_chat"),
        ({"prompt": "<s>[AVAILABLE_TOOLS] [1][/AVAILABLE_TOOLS][INST]Hi[/INST]"}, "rendered_chat"),
        ({"prompt": "<SPECIAL_11>User\nHi\n<SPECIAL_11>Assistant\n"}, "rendered_chat"),
        ({"prompt": "<s><|User|>:Hi<eoh>\n<|Bot|>:"}, "rendered_chat"),
        ({"prompt": "<new:bos>user\nHi<new:eos>"}, "rendered_chat"),
        ({"chosen": "Assistant: Good"}, "rendered_chat"),
        ({"chosen": "<|START_RESPONSE|>Hello<|END_RESPONSE|>"}, "rendered_chat"),
        ({"chosen": "[/INST] Good", "rejected": "[/INST] Bad"}, "rendered_chat"),
        ({"prompt": f"{json.dumps(TURN)}\n{json.dumps(TURN)}"}, "messages_stored_as_text"),
        ({"prompt": [{**TURN, "Attachments": ["x"]}]}, "multimodal_unsupported"),
        ({"prompt": [{**TURN, "toolCalls": [1]}]}, "tool_calls_unsupported"),
        ({"prompt": [{**TURN, "reasoningContent": "hm"}]}, "reasoning_unsupported"),
    ],
)  # fmt: skip
def test_what_hides_in_a_row_is_never_taken_for_text(tmp_path, changes, reason):
    row = {"prompt": "What is it?", "chosen": "Good answer.", "rejected": "Bad answer.", **changes}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    [batch] = read_source(spec_of(tmp_path / "rows.jsonl"), seed=0)
    assert [each.reason for each in batch.quarantined] == [reason]
    assert batch.pairs == ()


@pytest.mark.parametrize("name", ["source", "dialog_type", "comment", "translation"])
def test_a_sentence_beside_two_texts_is_refused_whatever_its_column_is_called(tmp_path, name):
    row = {name: "Guten Morgen, wie geht es?", "chosen": "Good day, A?", "rejected": "Good day, B?"}
    if name == "translation":
        row[name] = {"de": "Guten Morgen"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    with pytest.raises(ValueError, match=f"without guessing the prompt: column '{name}'"):
        list(read_source(spec_of(tmp_path / "rows.jsonl"), seed=0))


def test_scores_count_also_where_the_messages_are_stored_as_text(tmp_path):
    def side(text):
        return json.dumps(
            [{"role": "user", "content": "q"}, {"role": "assistant", "content": text}]
        )

    rows = [
        {"chosen": side("a"), "rejected": side("b"), "score_chosen": good, "score_rejected": 3.0}
        for good in (5.0, 3.0, 1.0)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    [batch] = read_source(spec_of(tmp_path / "rows.jsonl"), seed=0)
    assert len(batch.pairs) == 1
    assert [each.reason for each in batch.quarantined] == ["tied", "label_against_score"]


def test_the_format_of_a_source_is_told_without_reading_it(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", [b"broken", *as_lines(GOOD)])
    assert format_of(spec_of(path)) == "explicit_plain"
    assert format_of(spec_of(write_lines(tmp_path / "b.jsonl", [b"[1]", b"{"]))) is None
