"""The key index: in portions, over nights and out of core it says what a look at all pairs says."""

import numpy as np
import pyarrow as pa
import pytest
from oracles import marks_in_memory

from synpref_dagster.curation.pool import key_index
from synpref_dagster.curation.pool.key_index import IndexSizes, key_ranges, run_blocks
from synpref_dagster.curation.pool.marks import RISKS
from synpref_dagster.curation.pool.screening import screen_structure
from synpref_dagster.curation.pool.selection import select_clean
from synpref_dagster.pairs.record import PreferencePair, pairs_to_table
from synpref_dagster.storage import iter_tables, read_manifest, read_table, write_dataset

# Some tens of pairs are cut into runs, files and ranges as millions are.
SIZES = IndexSizes(run=40, file=8, range=16)


def mark_pool(pool, *, uri):
    return key_index.mark_pool(pool, uri=str(uri), sizes=SIZES)


def pair(ask, chosen, rejected, source="s"):
    return PreferencePair(
        conversation=({"role": "user", "content": f"question {ask}"},),
        chosen=chosen,
        rejected=rejected,
        source=source,
        origin="human",
    )


def random_shards(seed, num_shards=9):
    """Shards of few questions and answers: repetitions, twins, cycles and unfit pairs abound."""
    rng = np.random.default_rng(seed)
    shards = []
    for _ in range(num_shards):
        drawn = rng.integers(0, [12, 5, 5], (int(rng.integers(0, 14)), 3))
        shards.append([pair(ask, f"answer {a}", f"answer {b}") for ask, a, b in drawn.tolist()])
    return shards


def screened_table(pairs):
    screened = screen_structure(pairs_to_table(pairs))
    # Some answers are spoken against on other grounds, without being unfit.
    place = screened.schema.get_field_index("screen_reason")
    reasons = [
        "contaminated" if reason is None and each.chosen == "answer 4" else reason
        for reason, each in zip(screened["screen_reason"].to_pylist(), pairs, strict=True)
    ]
    return screened.set_column(place, "screen_reason", pa.array(reasons, pa.string()))


def write_pool(uri, shards):
    tables = [screened_table(pairs) for pairs in shards]
    return write_dataset(str(uri), tables, step=f"{len(shards)}")


def as_rows(marks, screened):
    """{row of the pool: (first place, risk)} from marks by shard."""
    start, found = 0, {}
    for table, shard in zip(iter_tables(marks), read_manifest(screened).shards, strict=True):
        for row in table.to_pylist():
            found[start + row["row"]] = (row["first_place"], RISKS[row["risk"]])
        start += shard.num_rows
    return found


@pytest.mark.parametrize("seed", range(6))
def test_the_marks_are_those_of_the_whole_pool_in_memory(tmp_path, seed):
    pool = write_pool(tmp_path / "pool", random_shards(seed))
    found = mark_pool(pool, uri=str(tmp_path / "index"))
    expected = {
        row["row"]: (row["first_place"], RISKS[row["risk"]])
        for row in marks_in_memory(read_table(pool)).to_pylist()
    }
    assert as_rows(found.marks, pool) == expected
    assert {risk for _, risk in expected.values()} >= {"", "contradictory_label"}


@pytest.mark.parametrize("seed", range(6))
def test_nights_leave_the_marks_that_one_night_would(tmp_path, seed):
    shards = random_shards(seed)
    for num_shards in (2, 3, 6, 9):
        pool = write_pool(tmp_path / "pool", shards[:num_shards])
        grown = mark_pool(pool, uri=str(tmp_path / "index"))
    afresh = mark_pool(pool, uri=str(tmp_path / "other"))
    assert grown.marks.fingerprint == afresh.marks.fingerprint
    assert (grown.num_known_shards, grown.num_new_shards) == (6, 3)
    assert (afresh.num_known_shards, afresh.num_new_shards) == (0, 9)


def test_of_known_shards_only_the_conversations_of_new_pairs_are_judged_again(tmp_path):
    known = [[pair(ask, "a", "b") for ask in range(start, start + 10)] for start in (0, 10, 20)]
    new = [pair(7, "b", "a"), pair(12, "a", "b"), pair(90, "a", "b")]
    mark_pool(write_pool(tmp_path / "pool", known), uri=str(tmp_path / "index"))
    before = sorted((tmp_path / "index" / "marks" / "shards").iterdir())
    pool = write_pool(tmp_path / "pool", [*known, new])
    found = mark_pool(pool, uri=str(tmp_path / "index"))
    assert (found.num_new_shards, found.num_known_shards, found.num_known_pairs_read) == (1, 3, 2)
    assert as_rows(found.marks, pool) == {
        7: (None, "contradictory_label"),
        30: (None, "contradictory_label"),
        31: (12, ""),
    }
    # One known shard says something new, and the new one: two files are written.
    assert len(sorted((tmp_path / "index" / "marks" / "shards").iterdir())) - len(before) == 2


def test_nothing_new_judges_nothing(tmp_path):
    pool = write_pool(tmp_path / "pool", random_shards(0))
    first = mark_pool(pool, uri=str(tmp_path / "index"))
    again = mark_pool(pool, uri=str(tmp_path / "index"))
    assert again.marks == first.marks
    assert (again.num_new_shards, again.num_known_pairs_read) == (0, 0)


def test_a_pool_that_lost_or_changed_a_shard_is_judged_on_all_keys(tmp_path):
    shards = random_shards(3)
    mark_pool(write_pool(tmp_path / "pool", shards), uri=str(tmp_path / "index"))
    for number, changed in enumerate(([*shards[:3], *shards[4:]], shards[:5], shards[::-1])):
        pool = write_pool(tmp_path / "pool", changed)
        found = mark_pool(pool, uri=str(tmp_path / "index"))
        afresh = mark_pool(pool, uri=str(tmp_path / f"other_{number}"))
        assert found.num_known_shards == 0
        assert found.marks.fingerprint == afresh.marks.fingerprint


def test_a_cycle_that_grows_too_large_is_risky_no_longer(tmp_path):
    def ring(names):
        return [pair(0, a, b) for a, b in zip(names, names[1:] + names[:1], strict=True)]

    known = [ring(["a", "b", "c"])]
    first = write_pool(tmp_path / "pool", known)
    found = mark_pool(first, uri=str(tmp_path / "index"))
    assert set(as_rows(found.marks, first).values()) == {(None, "preference_cycle")}
    second = write_pool(tmp_path / "pool", [*known, ring(["a", *"defghijk"])])
    found = mark_pool(second, uri=str(tmp_path / "index"))
    assert set(as_rows(found.marks, second).values()) == {(None, "large_preference_cycle")}
    # An edge of the ring is contradicted: what is left of it is no cycle, and says so no more.
    third = write_pool(tmp_path / "pool", [*known, [pair(0, "b", "a")]])
    found = mark_pool(third, uri=str(tmp_path / "index"))
    contradicted = (None, "contradictory_label")
    assert as_rows(found.marks, third) == {0: contradicted, 3: contradicted}


def test_what_is_left_of_a_ring_is_marked_no_longer_on_the_next_night(tmp_path):
    known = [[pair(0, "a", "b"), pair(0, "b", "c"), pair(0, "c", "a")]]
    mark_pool(write_pool(tmp_path / "pool", known), uri=str(tmp_path / "index"))
    pool = write_pool(tmp_path / "pool", [*known, [pair(0, "b", "a")]])
    found = mark_pool(pool, uri=str(tmp_path / "index"))
    assert found.num_known_shards == 1
    assert [table.num_rows for table in iter_tables(found.marks)] == [1, 1]


def test_an_empty_pool_has_no_marks(tmp_path):
    pool = write_pool(tmp_path / "pool", [[]])
    assert mark_pool(pool, uri=str(tmp_path / "index")).marks.num_rows == 0


def test_a_killed_run_goes_on_with_the_runs_it_finished(tmp_path, monkeypatch):
    pool = write_pool(tmp_path / "pool", random_shards(1))
    afresh = mark_pool(pool, uri=str(tmp_path / "other")).marks

    def killed(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(key_index, "revise_dataset", killed)
    with pytest.raises(KeyboardInterrupt):
        mark_pool(pool, uri=str(tmp_path / "index"))
    written = {file: file.stat().st_mtime_ns for file in tmp_path.glob("index/runs/*/shards/*")}
    monkeypatch.undo()
    assert mark_pool(pool, uri=str(tmp_path / "index")).marks.fingerprint == afresh.fingerprint
    assert written == {file: file.stat().st_mtime_ns for file in written}


@pytest.mark.parametrize("num_shards", [0, 1, 2, 7, 8, 13, 100])
def test_added_shards_leave_nearly_all_blocks_as_they_are(num_shards):
    before = run_blocks([10] * num_shards, max_keys=80)
    assert [shard for block in before for shard in block] == list(range(num_shards))
    assert all(10 * len(block) <= 80 for block in before)
    after = run_blocks([10] * (num_shards + 1), max_keys=80)
    assert len(set(before) - set(after)) <= 3


def test_a_shard_that_is_too_large_for_a_run_is_a_run():
    assert run_blocks([500, 10, 10], max_keys=80) == [range(1), range(1, 2), range(2, 3)]


def test_ranges_cover_all_words_evenly():
    assert key_ranges(0, per_range=10) == [(0, 1 << 64)]
    ranges = key_ranges(1_000, per_range=300)
    assert len(ranges) == 4
    assert ranges[0] == (0, 1 << 62)
    assert ranges[-1][1] == 1 << 64


def test_selection_by_shard_is_the_selection_of_the_pool(tmp_path):
    pool = write_pool(tmp_path / "pool", random_shards(5))
    marks = mark_pool(pool, uri=str(tmp_path / "index")).marks
    whole = read_table(pool)
    expected = select_clean(whole, marks_in_memory(whole))
    parts = [
        select_clean(screened, marked)
        for screened, marked in zip(iter_tables(pool), iter_tables(marks), strict=True)
    ]
    for name in ("kept", "dropped"):
        found = pa.concat_tables([part[name] for part in parts])
        assert found.combine_chunks().equals(expected[name].combine_chunks())
    tally = pa.concat_tables([part["tally"] for part in parts])
    assert sum(tally["num_pairs"].to_pylist()) == whole.num_rows


def test_a_lost_file_of_marks_heals(tmp_path):
    shards = random_shards(2)
    pool = write_pool(tmp_path / "pool", shards[:8])
    mark_pool(pool, uri=str(tmp_path / "index"))
    for file in list((tmp_path / "index" / "marks" / "shards").iterdir())[:1]:
        file.unlink()
    assert mark_pool(pool, uri=tmp_path / "index").num_known_shards == 0
    for file in list((tmp_path / "index" / "marks" / "shards").iterdir())[:1]:
        file.unlink()
    grown = write_pool(tmp_path / "pool", shards)
    found = mark_pool(grown, uri=tmp_path / "index")
    assert found.num_known_shards == 0
    assert read_table(found.marks).num_rows > 0


def test_marks_of_another_version_are_made_again(tmp_path, monkeypatch):
    shards = random_shards(2)
    mark_pool(write_pool(tmp_path / "pool", shards[:8]), uri=tmp_path / "index")
    monkeypatch.setattr(key_index, "VERSION", "another")
    found = mark_pool(write_pool(tmp_path / "pool", shards), uri=tmp_path / "index")
    assert found.num_known_shards == 0
