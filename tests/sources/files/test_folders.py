"""The files of a folder that are data, those that are none, and what `datasets` saved."""

import json

import pytest
from upath import UPath

from synpref_dagster.sources.files.folders import files_below, is_no_data, source_files
from synpref_dagster.sources.files.rows import read_rows
from synpref_dagster.sources.records import SourceSpec

ROWS = [{"prompt": f"{n}?", "chosen": "a", "rejected": "b"} for n in range(7)]


def write(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")


def names(folder, found):
    return [path.removeprefix(f"{folder}/") for path in found]


@pytest.mark.parametrize(
    "name",
    [
        "LICENSE",
        "LICENCE.txt",
        "license-mit",
        "COPYING",
        "NOTICE",
        "README",
        "README.md",
        "Readme_zh.txt",
        "CITATION.cff",
        "dataset_infos.json",
        "SHA256SUMS",
        "md5sums.txt",
        "rows.jsonl.md5",
        "load.py",
        "rows.jsonl.part",
        "Thumbs.db",
        ".gitattributes",
        "_SUCCESS",
        "CHANGELOG.md",
        "notes.md",
    ],
)
def test_files_beside_the_data_are_known_by_name(name):
    assert is_no_data(name)


@pytest.mark.parametrize(
    "name",
    [
        "rows.jsonl",
        "readme.jsonl",
        "license.csv",
        "notice.parquet",
        "authors.json.gz",
        "changes.tsv",
        "part-00000",
        "security_pairs.txt",
        "notice_board.jsonl",
        "data",
        "rows.txt",
        "citations.jsonl.zst",
        "state.json",
    ],
)
def test_whatever_may_be_data_is_read(name):
    assert not is_no_data(name)


def test_a_folder_gives_its_data_by_name_and_says_what_it_passed_over(tmp_path):
    write(tmp_path, "b.jsonl", "a.csv", "sub/c", "LICENSE", "sub/README.md", ".cache/x.json",
          "__MACOSX/b.jsonl", "license/d.jsonl")  # fmt: skip
    found = source_files(str(tmp_path))
    assert names(tmp_path, found.data) == ["a.csv", "b.jsonl", "license/d.jsonl", "sub/c"]
    assert names(tmp_path, found.skipped) == [
        ".cache/x.json", "LICENSE", "__MACOSX/b.jsonl", "sub/README.md",
    ]  # fmt: skip
    # A file that is named itself is what its owner says.
    assert source_files(str(tmp_path / "LICENSE")).data == [str(tmp_path / "LICENSE")]
    assert source_files(None).data == [None]


def test_linked_folders_are_followed_once_and_dangling_links_refused(tmp_path):
    write(tmp_path, "real/a.jsonl", "source/b.jsonl")
    (tmp_path / "source" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "source")
    found = names(tmp_path / "source", source_files(str(tmp_path / "source")).data)
    assert found == ["b.jsonl", "link/a.jsonl"]
    (tmp_path / "source" / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"gone\.jsonl is a link to a file that is not there"):
        source_files(str(tmp_path / "source"))
    assert [path.name for path in files_below(tmp_path / "source")] == [
        "b.jsonl", "gone.jsonl", "a.jsonl",
    ]  # fmt: skip


def rows_of(path, **options):
    spec = SourceSpec(name="x", path=path, origin="human", licence="x", options=options)
    files = source_files(path, split=options.get("split")).data
    return [
        row.value
        for file in files
        for row in read_rows(
            SourceSpec(name="x", path=file, origin="human", licence="x", options=spec.options)
        )
    ]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    datasets = pytest.importorskip("datasets")
    base = tmp_path_factory.mktemp("saved")
    rows = datasets.Dataset.from_list(ROWS)
    rows.save_to_disk(base / "plain", num_shards=3)
    parts = {"train": rows.select(range(5)), "test": rows.select(range(5, 7))}
    datasets.DatasetDict(parts).save_to_disk(base / "parts")
    datasets.DatasetDict(train=rows).save_to_disk(base / "one")
    return base


def test_what_datasets_saved_is_read_whole_and_nothing_beside_it(saved):
    (saved / "plain" / "cache-0123.arrow").write_bytes(b"of a map that is long over")
    assert rows_of(str(saved / "plain")) == ROWS
    assert rows_of(str(saved / "one")) == ROWS
    skipped = names(saved / "plain", source_files(str(saved / "plain")).skipped)
    assert skipped == ["cache-0123.arrow", "dataset_info.json", "state.json"]


def test_of_several_splits_one_is_chosen(saved):
    with pytest.raises(ValueError, match="parts holds the splits train, test: choose one by"):
        source_files(str(saved / "parts"))
    assert rows_of(str(saved / "parts"), split="train") == ROWS[:5]
    assert rows_of(str(saved / "parts"), split="test") == ROWS[5:]
    with pytest.raises(ValueError, match="no split 'dev'; it has train, test"):
        source_files(str(saved / "parts"), split="dev")
    with pytest.raises(ValueError, match=r"no dataset_dict\.json, so no split 'dev'"):
        source_files(str(saved / "plain"), split="dev")


def test_a_saved_file_that_is_missing_is_refused(tmp_path):
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}
    (tmp_path / "state.json").write_text(json.dumps(state))
    with pytest.raises(ValueError, match=r"lists data-00000-of-00001\.arrow, which is not there"):
        source_files(str(tmp_path))


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("state.json", '{"_data_files": [{"name": "x"}]}', "does not name its files"),
        ("state.json", '{"_data_files": [{"filename": null}]}', "does not name its files"),
        ("state.json", '{"_data_files": ["x"]}', "does not name its files"),
        ("state.json", '{"_data_files": null}', "does not name its files"),
        ("state.json", "[" * 200_000, "is nested too deeply"),
        ("state.json", "{", "is no JSON"),
        ("dataset_dict.json", '{"splits": [["train"]]}', "names no splits"),
        ("dataset_dict.json", "[" * 200_000, "is nested too deeply"),
    ],
)
def test_a_broken_list_of_saved_files_is_refused_by_its_name(tmp_path, file, text, problem):
    (tmp_path / file).write_text(text)
    with pytest.raises(ValueError, match=f"{file} {problem}.*save the data set again") as caught:
        source_files(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["null", "[]", "{}", '{"step": 7}'])
def test_a_file_of_the_same_name_that_lists_no_files_is_data(tmp_path, text):
    (tmp_path / "state.json").write_text(text)
    assert names(tmp_path, source_files(str(tmp_path)).data) == ["state.json"]


def test_a_delta_table_is_refused(tmp_path):
    write(tmp_path, "part-0.parquet", "_delta_log/0.json")
    with pytest.raises(ValueError, match="is a Delta table"):
        source_files(str(tmp_path))


def test_a_folder_in_another_store_is_listed_alike():
    root = UPath("memory://folders/source")
    for name in ("b.jsonl", "a.jsonl", "README.md", ".cache/x.jsonl"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"{}")
    found = source_files(str(root))
    assert [path.rpartition("/")[2] for path in found.data] == ["a.jsonl", "b.jsonl"]
    assert len(found.skipped) == 2
