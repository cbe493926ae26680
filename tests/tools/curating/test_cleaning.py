"""What is kept of files is what the clean pool of a campaign keeps of them; every row is told."""

import pandas as pd
import pyarrow as pa
import pytest

from synpref_dagster.tools.curating import cleaning
from synpref_dagster.tools.curating.cleaning import clean, decontaminate, dedup


def kept_rows(report):
    return report.table()["row"].to_pylist()


def reasons(report):
    left = report.left_out()
    return dict(zip(left["row"], left["reason"], strict=True))


def adds_up(report):
    read = report.reading
    told = report.num_kept + sum(report.dropped.values()) + sum(read.quarantined.values())
    return read.num_rows + read.num_unfolded == told + read.num_outside


def test_every_row_is_kept_or_told_with_its_reason(write_lines, rows, looked_for, tmp_path):
    file = write_lines("pairs.jsonl", rows)
    texts = tmp_path / "texts.txt"
    texts.write_text(f"{looked_for}\n\n")
    report = clean(file, tmp_path / "out.parquet", against=[texts])
    assert kept_rows(report) == [1, 3, 5]
    assert reasons(report) == {0: "contaminated", 2: "duplicate", 4: "identical_responses"}
    assert report.table()["risk"].to_pylist() == ["contradictory_label"] * 2 + [""]
    left = report.left_out().set_index("row")
    assert left.loc[2, "detail"] == "repeats row 1 of pairs.jsonl"
    assert (left.loc[0, "benchmark"], left.loc[0, "item_id"]) == ("texts.txt", "0")
    assert left.loc[0, "gram"] in looked_for
    assert report.notes == (f"{texts}: 1 rows without a text are not looked for",)
    assert (report.marked, report.contaminated) == ({"contradictory_label": 2}, {"texts.txt": 1})
    assert adds_up(report)


def test_dedup_and_decontaminate_drop_for_their_own_reason_only(
    write_lines, rows, looked_for, tmp_path
):
    file = write_lines("pairs.jsonl", rows)
    texts = write_lines("texts.jsonl", [{"text": looked_for}])
    assert kept_rows(dedup(file, tmp_path / "a.jsonl")) == [0, 1, 3, 5]
    report = decontaminate(file, texts, tmp_path / "b.jsonl")
    assert kept_rows(report) == [1, 2, 3, 5]
    assert reasons(report) == {0: "contaminated", 4: "identical_responses"}
    assert adds_up(report)


def test_what_is_kept_is_read_again_as_the_same_pairs(write_lines, rows, tmp_path):
    first = clean(write_lines("pairs.jsonl", rows), tmp_path / "out.jsonl")
    again = clean(tmp_path / "out.jsonl", tmp_path / "again.parquet")
    assert again.table()["pair_id"].equals(first.table()["pair_id"])
    assert (again.dropped, again.reading.quarantined) == ({}, {})


def test_the_first_of_several_files_keeps_a_pair_that_all_hold(write_lines, rows, tmp_path):
    one = write_lines("a/pairs.jsonl", rows[1:2])
    two = write_lines("b/pairs.jsonl", [rows[5], rows[1]])
    report = dedup([one, two], tmp_path / "out.parquet")
    assert [(row["file"], row["row"]) for row in report.table().to_pylist()] == [
        (str(one), 0),
        (str(two), 0),
    ]
    assert report.left_out()["detail"].tolist() == [f"repeats row 0 of {one}"]
    folder = dedup(tmp_path / "b", tmp_path / "folder.parquet")
    assert folder.table()["file"].to_pylist() == ["pairs.jsonl"] * 2


def test_the_same_call_gives_the_same_bytes_and_leaves_no_work(write_lines, rows, tmp_path):
    file = write_lines("pairs.jsonl", rows)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        clean(file, tmp_path / name / "out.parquet")
    for name in ("out.parquet", "out.quarantine.jsonl"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert sorted(each.name for each in (tmp_path / "a").iterdir()) == [
        "out.parquet",
        "out.quarantine.jsonl",
    ]


def test_a_killed_cleaning_goes_on_with_what_was_read(write_lines, rows, tmp_path, monkeypatch):
    file, output = write_lines("pairs.jsonl", rows), tmp_path / "out.jsonl"
    files_read = []
    plain = cleaning.read_files

    def counted(*arguments, **named):
        named["on_progress"] = lambda done, total: files_read.append(done)
        return plain(*arguments, **named)

    monkeypatch.setattr(cleaning, "read_files", counted)

    def killer(stage):
        if stage == "comparing pairs":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        clean(file, output, stage=killer)
    assert not output.exists()
    assert kept_rows(clean(file, output)) == [0, 1, 3, 5]
    assert files_read == [1]


def test_data_in_memory_need_no_file(rows):
    for data in (rows, pd.DataFrame(rows), pa.Table.from_pylist(rows)):
        report = dedup(data)
        assert (report.output, report.quarantine) == (None, None)
        assert kept_rows(report) == [0, 1, 3, 5]
        assert reasons(report) == {2: "duplicate", 4: "identical_responses"}
    assert dedup(rows[5:]).left_out().empty


def test_everywhere_looks_into_responses_and_fewer_words_find_more(rows, write_lines):
    told = [{**rows[5], "rejected": "the quick brown fox jumps"}]
    texts = write_lines("texts.jsonl", [{"prompt": "a quick brown fox jumps over"}])
    assert decontaminate(told, texts, words=4, everywhere=True).dropped == {"contaminated": 1}
    assert decontaminate(told, texts, words=4).dropped == {}
    assert decontaminate(told, texts, words=5, everywhere=True).dropped == {}


def test_a_file_without_a_pair_gives_an_empty_output(write_lines, tmp_path):
    file = write_lines("pairs.jsonl", ['{"prompt": "Hi"', '{"prompt": "Hi", "chosen": "a"}'])
    report = clean(file, tmp_path / "out.jsonl", layout="explicit_plain")
    assert (report.num_kept, (tmp_path / "out.jsonl").read_text()) == (0, "")
    assert adds_up(report)
    assert len((tmp_path / "out.quarantine.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("files", "named", "words"),
    [
        (["gone.jsonl"], {}, "no file at 'gone.jsonl'"),
        (["pairs.jsonl", "pairs.jsonl"], {}, "pairs.jsonl is named twice"),
        (["pairs.jsonl"], {"layout": "x"}, "unknown format 'x'"),
        (["pairs.jsonl"], {"words": 0}, "min_words 0"),
        (["pairs.jsonl"], {"against": ["gone"]}, "gone: no such file or folder"),
        (["pairs.jsonl"], {"against": ["empty.txt"]}, "empty.txt holds nothing to look for"),
        (["pairs.jsonl"], {"against": ["other.jsonl"]}, "its columns are a; give it"),
        (["pairs.jsonl"], {"against": ["mine=gone.jsonl"]}, "mine: no file or folder"),
        (["pairs.jsonl"], {"against": ["folder"]}, "no benchmark found below folder"),
        (["other.jsonl"], {}, "other.jsonl: "),
        (["folder"], {}, "no file below folder"),
        (["pairs.jsonl"], {"output": "there.jsonl"}, "there.jsonl is there already"),
        (["pairs.jsonl"], {"output": "pairs.jsonl"}, "is the input, which would be lost"),
        (["pairs.jsonl"], {"output": "out.csv"}, "pairs are written as .parquet or .jsonl"),
    ],
)
def test_what_cannot_be_cleaned_is_refused_in_a_line(
    files, named, words, write_lines, rows, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_lines("pairs.jsonl", rows)
    write_lines("other.jsonl", [{"a": 1}])
    write_lines("there.jsonl", [])
    write_lines("empty.txt", [" "])
    (tmp_path / "folder").mkdir()
    given = {"output": "out.jsonl", **named}
    with pytest.raises(ValueError, match=r"(?s).") as refused:
        clean(files, **given)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 700
    assert not [*tmp_path.glob(".*.work")]
