"""Mapping over shards: resumable at every shard, incremental, equal on every executor."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from shard_functions import (
    HELD_FROM,
    add_numbers,
    build_numbers,
    double,
    fail_at_seventeen,
    numbers,
    sometimes_text,
    split_even,
)

from synpref_dagster.storage import (
    InProcessExecutor,
    ProcessPoolShardExecutor,
    build_dataset,
    find_manifest,
    map_shards,
    read_manifest,
    read_table,
    verify,
)

SCRIPT = Path(__file__).with_name("shard_functions.py")


@pytest.fixture
def source(tmp_path):
    return build_numbers(str(tmp_path / "in"))


def run_double(source, uri, **kwargs):
    return map_shards(double, source, uri=str(uri), version="1", params={}, **kwargs)


def run_split(source, uri, **kwargs):
    return map_shards(
        split_even,
        source,
        uri=str(uri),
        version="1",
        params={"modulus": 4},
        outputs=["kept", "dropped"],
        **kwargs,
    )


def values(ref):
    return read_table(ref)["n"].to_pylist()


def markers(uri):
    return sorted((Path(uri) / "tasks").glob("*.json"))


def test_one_output_shard_per_input_shard_in_order(source, tmp_path):
    result = run_double(source, tmp_path / "out")
    assert values(result.ref) == [2 * n for n in range(40)]
    assert [s.num_rows for s in read_manifest(result.ref).shards] == [5] * 8
    assert (result.num_shards_computed, result.num_shards_reused) == (8, 0)


def test_named_outputs_are_data_sets_of_their_own(source, tmp_path):
    outputs = run_split(source, tmp_path / "out").outputs
    assert values(outputs["kept"]) == list(range(0, 40, 4))
    assert outputs["kept"].num_rows + outputs["dropped"].num_rows == source.num_rows
    assert set(read_table(outputs["dropped"])["reason"].to_pylist()) == {"no_multiple"}
    assert outputs["kept"].uri == f"{tmp_path}/out/kept"


def test_an_output_that_is_empty_everywhere_keeps_its_schema(source, tmp_path):
    result = map_shards(
        split_even,
        source,
        uri=str(tmp_path / "out"),
        version="1",
        params={"modulus": 1},
        outputs=["kept", "dropped"],
    )
    assert result.outputs["dropped"].num_rows == 0
    assert read_table(result.outputs["dropped"]).schema.names == ["n", "reason"]


def test_a_repeat_computes_nothing(source, tmp_path):
    first = run_split(source, tmp_path / "out")
    again = run_split(source, tmp_path / "out")
    assert again.outputs == first.outputs
    assert (again.num_shards_computed, again.num_shards_reused) == (0, 8)


def test_a_grown_input_costs_only_what_is_new(source, tmp_path):
    run_double(source, tmp_path / "out")
    grown = build_numbers(str(tmp_path / "in"), num_shards=10)
    result = run_double(grown, tmp_path / "out")
    assert (result.num_shards_computed, result.num_shards_reused) == (2, 8)
    assert values(result.ref) == [2 * n for n in range(50)]


def test_another_version_or_parameter_computes_everything(source, tmp_path):
    uri = str(tmp_path / "out")
    run_double(source, uri)
    other = map_shards(double, source, uri=uri, version="2", params={})
    third = map_shards(double, source, uri=uri, version="2", params={"seconds": 0.001})
    assert other.num_shards_computed == third.num_shards_computed == 8


def test_the_process_pool_writes_the_same_bytes(source, tmp_path):
    here = run_split(source, tmp_path / "here", executor=InProcessExecutor())
    there = run_split(source, tmp_path / "there", executor=ProcessPoolShardExecutor(2))
    for name, ref in here.outputs.items():
        assert there.outputs[name].fingerprint == ref.fingerprint
    assert there.num_shards_computed == 8


def test_shards_of_equal_content_are_worked_on_once(tmp_path):
    table = next(numbers(1))
    twins = build_dataset(str(tmp_path / "in"), step="s1", compute=lambda: [table, table])
    result = run_double(twins, tmp_path / "out")
    assert values(result.ref) == [0, 2, 4, 6, 8] * 2
    assert (result.num_shards_computed, result.num_shards_reused) == (1, 1)


def test_what_was_finished_before_an_error_is_reused(source, tmp_path):
    def run():
        return map_shards(
            fail_at_seventeen, source, uri=str(tmp_path / "out"), version="1", params={}
        )

    with pytest.raises(ArithmeticError) as error:
        run()
    assert "while working on shard" in error.value.__notes__[0]
    assert len(markers(tmp_path / "out")) == 3
    assert find_manifest(str(tmp_path / "out")) is None


@pytest.mark.parametrize("executor", ["process", "pool"])
def test_a_killed_run_continues_where_it_stopped(tmp_path, executor):
    command = [sys.executable, str(SCRIPT), str(tmp_path / "killed"), executor]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), HELD_FROM: "5"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as process:
        for _ in range(3):
            process.stdout.readline()
        os.killpg(process.pid, signal.SIGKILL)
        # Workers of the pool die a little later than the process that is waited for, and what they
        # were writing belongs to them until then.
        while _is_alive(process.pid):
            time.sleep(0.01)

    uri = str(tmp_path / "killed" / "out")
    assert find_manifest(uri) is None
    num_finished = len(markers(uri))
    assert 3 <= num_finished <= 5
    source = build_numbers(str(tmp_path / "killed" / "in"))
    resumed = map_shards(double, source, uri=uri, version="1")
    assert resumed.num_shards_reused == num_finished
    assert resumed.num_shards_computed == 8 - num_finished
    assert resumed.ref.fingerprint == run_double(source, tmp_path / "straight").ref.fingerprint
    assert list(Path(uri).rglob("*.tmp")) == []


def _is_alive(group):
    """Whether a process of a group still runs."""
    return any(
        int(facts[2]) == group and facts[0] not in "ZX"
        for each in Path("/proc").glob("[0-9]*/stat")
        if (facts := _text(each).rpartition(")")[2].split())
    )


def _text(path):
    try:
        return path.read_text()
    except OSError:
        return ""  # it ended while the list was read


def test_a_torn_marker_counts_as_unfinished(source, tmp_path):
    first = run_double(source, tmp_path / "out")
    _forget_publication(tmp_path / "out")
    torn = markers(tmp_path / "out")[0]
    torn.write_bytes(torn.read_bytes()[:-10])
    again = run_double(source, tmp_path / "out")
    assert (again.num_shards_computed, again.ref) == (1, first.ref)


def test_a_torn_output_shard_is_computed_again(source, tmp_path):
    first = run_double(source, tmp_path / "out")
    torn = sorted((tmp_path / "out" / "shards").iterdir())[0]
    torn.write_bytes(b"PAR1")
    again = run_double(source, tmp_path / "out")
    assert (again.num_shards_computed, again.ref) == (1, first.ref)
    verify(again.ref)


def test_a_marker_of_other_outputs_counts_as_unfinished(source, tmp_path):
    run_split(source, tmp_path / "out")
    _forget_publication(tmp_path / "out" / "kept")
    for path in markers(tmp_path / "out"):
        document = json.loads(path.read_text())
        path.write_text(json.dumps({"kept": document["kept"]}))
    assert run_split(source, tmp_path / "out").num_shards_computed == 8


def test_progress_counts_up_to_all_shards(source, tmp_path):
    seen = []
    run_double(source, tmp_path / "out", on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 8) for n in range(1, 9)]


def test_outputs_that_differ_from_the_declared_ones_are_refused(source, tmp_path):
    with pytest.raises(ValueError, match=r"gave the tables \['dropped', 'kept'\]"):
        map_shards(
            split_even, source, uri=str(tmp_path / "out"), version="1", params={"modulus": 2}
        )


def test_shards_of_different_schemas_publish_nothing(source, tmp_path):
    with pytest.raises(ValueError, match="differ in their columns"):
        map_shards(sometimes_text, source, uri=str(tmp_path / "out"), version="1", params={})
    assert find_manifest(str(tmp_path / "out")) is None


@pytest.mark.parametrize("names", [[], ["../kept"], ["kept", "kept"], ["tasks"], ["Kept"]])
def test_bad_output_names_are_refused(source, tmp_path, names):
    with pytest.raises(ValueError, match="as outputs"):
        map_shards(double, source, uri=str(tmp_path / "out"), version="1", params={}, outputs=names)


def test_several_outputs_have_no_single_reference(source, tmp_path):
    with pytest.raises(ValueError, match=r"take one of `.outputs`"):
        _ = run_split(source, tmp_path / "out").ref


def _forget_publication(folder):
    (folder / "manifest.json").unlink()
    for path in (folder / "steps").iterdir():
        path.unlink()
    for place in (folder, folder.parent):  # Of several outputs it lies above them.
        (place / "known_tasks.json").unlink(missing_ok=True)


def test_data_sets_side_by_side_meet_shard_by_shard(source, tmp_path):
    doubled = run_double(source, tmp_path / "doubled").ref

    def add_up(uri):
        return map_shards(
            add_numbers, source, beside=[doubled], uri=str(uri), version="1", params={}
        )

    added = add_up(tmp_path / "out")
    assert values(added.ref) == [3 * n for n in range(40)]
    assert add_up(tmp_path / "out").num_shards_computed == 0


def test_a_change_beside_a_shard_repeats_that_shard_only(source, tmp_path):
    def add_up(other):
        return map_shards(
            add_numbers, source, beside=[other], uri=str(tmp_path / "out"), version="1", params={}
        )

    add_up(build_numbers(str(tmp_path / "a")))
    *parts, last = numbers()
    other = build_dataset(str(tmp_path / "b"), step="b", compute=lambda: [*parts, double(last)])
    again = add_up(other)
    assert (again.num_shards_computed, again.num_shards_reused) == (1, 7)
    assert values(again.ref)[-5:] == [3 * n for n in range(35, 40)]


def test_data_sets_with_other_numbers_of_shards_cannot_go_side_by_side(source, tmp_path):
    one = build_numbers(str(tmp_path / "one"), 1)
    with pytest.raises(ValueError, match=r"has 1 shards, but .* has 8"):
        map_shards(
            add_numbers, source, beside=[one], uri=str(tmp_path / "out"), version="1", params={}
        )


def test_facts_are_kept_in_the_manifest_and_change_no_fingerprint(source, tmp_path):
    plain = run_double(source, tmp_path / "out").ref
    told = run_double(source, tmp_path / "out", meta={"fitted_on": "x"}).ref
    assert told == plain
    assert read_manifest(told).meta == {"fitted_on": "x"}
