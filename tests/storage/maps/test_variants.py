"""Several maps in one pass: each found for itself, a shard read once for all that it lacks."""

from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from shard_functions import build_numbers, multiples

from synpref_dagster.storage import (
    ProcessPoolShardExecutor,
    map_shards,
    map_variants,
    read_manifest,
    read_table,
    write_dataset,
)

TWO, THREE = {"factor": 2}, {"factor": 3}


@pytest.fixture
def source(tmp_path):
    return build_numbers(str(tmp_path / "in"))


class CountingExecutor:
    """Works here, and counts tasks."""

    def __init__(self):
        self.num_tasks = 0

    def run(self, job, tasks):
        for task in tasks:
            self.num_tasks += 1
            yield task, job(task)


def run(source, uri, variants, **kwargs):
    return map_variants(multiples, source, uri=str(uri), version="1", variants=variants, **kwargs)


def values(result, name):
    return read_table(result.refs[name])["n"].to_pylist()


def costs(result):
    return {
        name: (each.num_shards_computed, each.num_shards_reused)
        for name, each in result.variants.items()
    }


def test_each_variant_is_a_data_set_with_as_many_shards_as_the_input(source, tmp_path):
    result = run(source, tmp_path / "out", {"two": TWO, "three": THREE})
    assert list(result.variants) == ["two", "three"]
    assert values(result, "two") == [2 * n for n in range(40)]
    assert values(result, "three") == [3 * n for n in range(40)]
    assert [s.num_rows for s in read_manifest(result.refs["two"]).shards] == [5] * 8


def test_a_shard_is_read_once_for_all_that_it_lacks(source, tmp_path):
    executor = CountingExecutor()
    result = run(source, tmp_path / "out", {"two": TWO, "three": THREE}, executor=executor)
    assert executor.num_tasks == result.num_shards_computed == 8
    assert costs(result) == {"two": (8, 0), "three": (8, 0)}


def test_a_new_variant_is_the_only_one_worked_on(source, tmp_path):
    first = run(source, tmp_path / "out", {"two": TWO})
    both = run(source, tmp_path / "out", {"three": THREE, "two": TWO})
    assert costs(both) == {"three": (8, 0), "two": (0, 8)}
    assert both.refs["two"] == first.refs["two"]


def test_leaving_one_out_or_taking_it_back_works_on_nothing(source, tmp_path):
    both = run(source, tmp_path / "out", {"two": TWO, "three": THREE})
    executor = CountingExecutor()
    fewer = run(source, tmp_path / "out", {"two": TWO}, executor=executor)
    again = run(source, tmp_path / "out", {"two": TWO, "three": THREE}, executor=executor)
    assert executor.num_tasks == fewer.num_shards_computed == again.num_shards_computed == 0
    assert again.refs == both.refs
    assert (again.num_shards_reused, costs(fewer)) == (8, {"two": (0, 8)})


def test_other_parameters_under_the_same_name_are_other_work(source, tmp_path):
    run(source, tmp_path / "out", {"it": TWO})
    changed = run(source, tmp_path / "out", {"it": THREE})
    assert (costs(changed), values(changed, "it")[:3]) == ({"it": (8, 0)}, [0, 3, 6])
    back = run(source, tmp_path / "out", {"it": TWO})
    assert (costs(back), values(back, "it")[:3]) == ({"it": (0, 8)}, [0, 2, 4])


def test_new_shards_are_worked_on_for_every_variant_and_old_ones_for_what_they_lack(tmp_path):
    few, more = (build_numbers(str(tmp_path / str(n)), num_shards=n) for n in (3, 5))
    run(few, tmp_path / "out", {"two": TWO})
    grown = run(more, tmp_path / "out", {"two": TWO, "three": THREE})
    assert costs(grown) == {"two": (2, 3), "three": (5, 0)}
    assert (grown.num_shards_computed, grown.num_shards_reused) == (5, 0)


def test_a_killed_run_continues_where_it_stopped(source, tmp_path):
    class Killed(Exception):
        pass

    class ShortLived(CountingExecutor):
        def run(self, job, tasks):
            for number, done in enumerate(super().run(job, tasks)):
                if number == 3:
                    raise Killed
                yield done

    with pytest.raises(Killed):
        run(source, tmp_path / "out", {"two": TWO, "three": THREE}, executor=ShortLived())
    result = run(source, tmp_path / "out", {"two": TWO, "three": THREE})
    assert (result.num_shards_computed, result.num_shards_reused) == (4, 4)
    assert values(result, "three") == [3 * n for n in range(40)]


def test_a_pool_of_processes_gives_the_same(source, tmp_path):
    variants = {"two": TWO, "three": THREE}
    here = run(source, tmp_path / "here", variants)
    there = run(source, tmp_path / "there", variants, executor=ProcessPoolShardExecutor(2))
    for name in variants:
        assert here.refs[name].fingerprint == there.refs[name].fingerprint


def test_data_sets_go_along_shard_by_shard(source, tmp_path):
    twice = run(source, tmp_path / "twice", {"it": TWO}).refs["it"]
    result = run(source, tmp_path / "out", {"two": TWO}, beside=[twice])
    assert values(result, "two") == [4 * n for n in range(40)]


def test_what_lies_beside_an_empty_shard_is_no_reason_to_work_again(tmp_path):
    few = write_dataset(str(tmp_path / "few"), [numbers(1), numbers(), numbers()], step="few")
    work = partial(
        map_variants, beside_lengths, few, uri=str(tmp_path / "out"), version="1",
        variants={"it": {}}, empty_alone=True,
    )  # fmt: skip
    for step, lengths, num_computed in (("a", (3, 4, 5), 2), ("b", (3, 6, 7), 0), ("c", (8, 6), 1)):
        sizes = [*lengths, 9][:3]
        beside = [numbers(*range(size)) for size in sizes]
        found = work(beside=[write_dataset(str(tmp_path / step), beside, step=step)])
        assert found.num_shards_computed == num_computed
        assert values(found, "it") == [sizes[0], 0, 0]


def numbers(*listed):
    return pa.table({"n": pa.array(listed, pa.int64())})


def beside_lengths(_, other, *, variants):
    return dict.fromkeys(variants, numbers(other.num_rows))


def test_the_outputs_go_beside_the_shards_of_the_input(source, tmp_path):
    result = run(source, tmp_path / "out", {"two": TWO})
    other = map_shards(
        keep_second, source, beside=[result.refs["two"]], uri=str(tmp_path / "next"),
        version="1", params={},
    )  # fmt: skip
    assert read_table(other.ref)["n"].to_pylist() == [2 * n for n in range(40)]


def keep_second(_, other):
    return other


@pytest.mark.parametrize("name", ["../up", "Upper", "with space", "tasks/x", ""])
def test_no_name_leads_out_of_the_folder(source, tmp_path, name):
    result = run(source, tmp_path / "out", {name: TWO})
    assert values(result, name)[:2] == [0, 2]
    folder = Path(result.refs[name].uri)
    assert folder.parent == tmp_path / "out"
    assert folder.name.isalnum()


def test_a_function_that_gives_other_variants_than_asked_for_is_an_error(source, tmp_path):
    with pytest.raises(ValueError, match=r"gave the variants \['wrong'\]") as error:
        map_variants(
            lambda table, variants: {"wrong": table},
            source, uri=str(tmp_path / "out"), version="1", variants={"two": TWO},
        )  # fmt: skip
    assert "while working on shard" in error.value.__notes__[0]


def test_without_variants_nothing_is_read(source, tmp_path):
    result = run(source, tmp_path / "out", {})
    assert (result.refs, result.num_shards_computed, result.num_shards_reused) == ({}, 0, 8)
