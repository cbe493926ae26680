"""Other benchmarks: only what nobody looked for is looked for, and history leaves no trace."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from synpref_dagster.curation.contamination.rules import DecontaminationConfig, build_index
from synpref_dagster.curation.contamination.shards import (
    contaminated_pairs,
    counts_by_benchmark,
    look_for_benchmarks,
)
from synpref_dagster.curation.pool.shards import screen_pool
from synpref_dagster.pairs.record import PreferencePair, pairs_to_table, table_from_frame
from synpref_dagster.storage import InProcessExecutor, read_frame, write_dataset

CONFIG = DecontaminationConfig(min_words=3, max_words=3)
SUITES = {
    "apples": ["red apples fall down", "short one"],
    "boats": ["boats sail far north", "apples fall down hills"],
    "cats": ["cats sleep all day"],
}
ASKED = [
    ["red apples fall down today", "who knows"],
    ["apples fall down hills", "boats sail far", "nothing here"],
    ["cats sleep all night", "short one", "same same same"],
]


def pair(text, rejected="no"):
    return PreferencePair(
        conversation=({"role": "user", "content": text},), chosen="yes", rejected=rejected,
        source="s", origin="human",
    )  # fmt: skip


def raw_pool(folder, asked=ASKED):
    tables = [pairs_to_table([pair(text) for text in texts]) for texts in asked]
    return write_dataset(str(folder), tables, step=f"raw-{len(asked)}")


def prompts_of(folder, *names, suites=SUITES):
    rows = [(name, str(n), text) for name in names for n, text in enumerate(suites[name])]
    frame = pd.DataFrame(rows, columns=["benchmark", "item_id", "prompt"])
    return write_dataset(str(folder), table_from_frame(frame), step="-".join(names)[:99] or "none")


@pytest.fixture
def screen(tmp_path):
    raw = raw_pool(tmp_path / "raw")

    def run(*names, raw=raw, store="store", **kwargs):
        return screen_pool(
            raw,
            prompts_of(tmp_path / "prompts", *names, **kwargs),
            uri=str(tmp_path / store),
            version="1",
            config=CONFIG,
            executor=InProcessExecutor(),
        )

    return run


def looked_for(screening):
    return counts_by_benchmark(screening.looked)["shards_looked_at_by_benchmark"]


def test_a_new_benchmark_is_the_only_one_looked_for(screen):
    assert looked_for(screen("apples", "cats")) == {"apples": 3, "cats": 3}
    both = screen("apples", "boats", "cats")
    assert looked_for(both) == {"apples": 0, "boats": 3, "cats": 0}
    assert (both.num_shards_computed, both.num_shards_reused) == (3, 0)


def test_a_benchmark_that_changed_is_looked_for_again_and_no_other(screen):
    screen("apples", "cats")
    changed = screen("apples", "cats", suites={**SUITES, "cats": ["who knows cats"]})
    assert looked_for(changed) == {"apples": 0, "cats": 3}


def test_a_benchmark_that_goes_reads_no_text(screen, tmp_path):
    screen("apples", "boats", "cats")
    never_there = screen("boats", store="other")
    shutil.rmtree(tmp_path / "raw" / "shards")
    fewer = screen("boats")
    assert (fewer.num_shards_computed, fewer.num_shards_reused) == (0, 3)
    assert fewer.screened.ref.fingerprint == never_there.screened.ref.fingerprint


def test_a_new_shard_is_searched_for_all_and_an_old_one_for_what_is_new(screen, tmp_path):
    few = raw_pool(tmp_path / "few", ASKED[:2])
    screen("apples", raw=few)
    grown = screen("apples", "boats")
    assert looked_for(grown) == {"apples": 1, "boats": 3}
    assert (grown.num_shards_computed, grown.num_shards_reused) == (3, 0)


@pytest.mark.parametrize(
    "history",
    [
        [("apples",), ("apples", "boats"), ("apples", "boats", "cats")],
        [("cats",), (), ("boats", "cats"), ("cats", "boats", "apples")],
        [("cats", "boats", "apples")],
    ],
)
def test_the_outcome_does_not_depend_on_the_order_in_which_benchmarks_came(screen, history):
    together = screen("apples", "boats", "cats", store="together").screened.ref
    for names in history:
        last = screen(*names).screened.ref
    assert last.fingerprint == together.fingerprint


def test_of_several_benchmarks_the_first_by_name_is_the_evidence(screen):
    frame = read_frame(screen("cats", "boats", "apples").screened.ref)
    columns = ["screen_reason", "screen_detail", "gram"]
    found = frame.loc[frame["screen_reason"].notna(), columns].to_numpy().tolist()
    assert found == [
        ["contaminated", "word_gram of apples 0", "red apples fall"],
        ["contaminated", "word_gram of apples 0", "apples fall down"],  # boats has all of it
        ["contaminated", "word_gram of boats 0", "boats sail far"],
        ["contaminated", "word_gram of cats 0", "cats sleep all"],
        ["contaminated", "exact_prompt of apples 1", "short one"],
    ]


def test_what_is_no_pair_is_not_contaminated_as_well(screen, tmp_path):
    broken = pairs_to_table([pair("cats sleep all day", rejected="yes")])
    raw = write_dataset(str(tmp_path / "broken"), [broken], step="broken")
    [row] = read_frame(screen("cats", raw=raw).screened.ref).to_dict("records")
    assert row["screen_reason"] == "identical_responses"
    assert pd.isna(row["benchmark"])


def test_without_benchmarks_only_the_structure_is_checked(screen):
    none = screen()
    assert looked_for(none) == {}
    assert (none.num_shards_computed, none.num_shards_reused) == (3, 0)
    assert read_frame(none.screened.ref)["screen_reason"].isna().all()
    assert screen().num_shards_computed == 0


def test_a_pass_builds_each_index_once_however_many_benchmarks_there_are(screen, monkeypatch):
    built = []

    def counted(prompts, config):
        built.append(prompts[0].benchmark)
        return build_index(prompts, config)

    monkeypatch.setattr("synpref_dagster.curation.contamination.shards.build_index", counted)
    suites = {f"suite_{number:03}": [f"words of suite {number}"] for number in range(100)}
    found = looked_for(screen(*suites, suites=suites))
    assert set(found.values()) == {3}
    assert sorted(built) == sorted(suites)


def test_a_new_benchmark_builds_no_index_of_a_known_one(screen, monkeypatch):
    screen("apples", "cats")
    built = []
    monkeypatch.setattr(
        "synpref_dagster.curation.contamination.shards.build_index",
        lambda prompts, config: built.append(prompts[0].benchmark) or build_index(prompts, config),
    )
    screen("apples", "boats", "cats")
    assert built == ["boats"]


@pytest.fixture
def looked(tmp_path):
    raw = raw_pool(tmp_path / "raw")
    prompts = prompts_of(tmp_path / "prompts", "boats", "cats")
    found = look_for_benchmarks(
        raw, prompts, uri=str(tmp_path / "look"), config=CONFIG, executor=InProcessExecutor()
    )
    return raw, list(found.refs.values())


def selection(folder, asked):
    tables = [pairs_to_table([pair(t) for t in texts]).select(["pair_id"]) for texts in asked]
    return write_dataset(str(folder), tables, step="clean")


def test_a_second_look_finds_what_the_first_let_through(looked, tmp_path):
    raw, hits = looked
    clean = selection(tmp_path / "clean", [["who knows"], ["nothing here", "boats sail far"], []])
    assert contaminated_pairs(clean, raw, hits) == [pair("boats sail far").pair_id]
    assert contaminated_pairs(clean, raw, hits[1:]) == []
    assert len(contaminated_pairs(raw, raw, hits)) == 4


def test_a_pair_at_which_nobody_looked_is_an_error(looked, tmp_path):
    raw, hits = looked
    stray = selection(tmp_path / "stray", [["who knows"], ["cats sleep all day"], []])
    with pytest.raises(ValueError, match="1 of 1 clean pairs are not in the raw shard"):
        contaminated_pairs(stray, raw, hits)


def test_evidence_lies_beside_the_shards_of_the_pool(looked):
    _, hits = looked
    assert [len(read_frame(each)) for each in hits] == [3, 1]
    assert {Path(each.uri).name for each in hits} == {"boats", "cats"}
