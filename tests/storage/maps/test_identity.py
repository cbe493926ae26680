"""What finds finished work again: a key that changes makes every store compute all of it anew."""

from functools import partial

import pytest
from shard_functions import double, multiples

from synpref_dagster.curation.contamination import shards as contamination
from synpref_dagster.curation.contamination.rules import BenchmarkPrompt, DecontaminationConfig
from synpref_dagster.curation.pool.shards import pairs_by_shard, revise_screening
from synpref_dagster.reward.shards import score_candidates
from synpref_dagster.storage import (
    DatasetRef,
    InProcessExecutor,
    ModelRef,
    Shard,
    map_shards,
    map_variants,
)
from synpref_dagster.storage.maps import shards, variants
from synpref_dagster.storage.maps.apart import map_apart

POOL, REVIEW = DatasetRef("pool", 9, "f0"), DatasetRef("review", 3, "f1")
PROMPTS = [BenchmarkPrompt(benchmark="boats", item_id="1", prompt="boats sail far north")]


class StoppedError(Exception):
    """All keys are known, and nothing was read."""


@pytest.fixture
def keys_of(monkeypatch):
    """Gives the key of the step and of the task on its only shard; nothing is worked on."""
    keys = []

    def noting(function):
        def noted(*args, **kwargs):
            keys.append(function(*args, **kwargs))
            return keys[-1]

        return noted

    def stop(*_):
        raise StoppedError

    def one_shard(inputs, **_):
        return [tuple(Shard(f"content of {ref.fingerprint}", 3, 90) for ref in inputs)]

    for module in (shards, variants):
        monkeypatch.setattr(module, "side_by_side", one_shard)
        monkeypatch.setattr(module, "step_key", noting(module.step_key))
        monkeypatch.setattr(module, "task_key", noting(module.task_key))
        monkeypatch.setattr(module, "clean_up", stop)

    def run(call, uri):
        keys.clear()
        with pytest.raises(StoppedError):
            call(uri=str(uri))
        return list(keys)

    return run


def mapped(**kwargs):
    return partial(map_shards, double, POOL, version="2", **kwargs)


# The literals were written by the code before `identified_by`: stores out there are full of them.
MAPS = {
    "no_parameters": (
        mapped(),
        "3a7406c270346d6441962a35f6ab07ba",
        "ddf85b551b63b55d26d404a3db44abdc",
    ),
    "a_parameter": (
        mapped(params={"drop_level": 2}),
        "a771d81a5d39ff993506ca1ffd06e157",
        "6443b632b17b4ef38be98f84939162bb",
    ),
    "identity_only": (
        mapped(identified_by={"key": {"judge": "a"}}),
        "a353fcbaef55489bda570668e42eeadb",
        "84e6543d015f32aae3095d6e4538c1c6",
    ),
    "both": (
        mapped(params={"unsure_band": 0.1}, identified_by={"labelled": "f1"}),
        "c3c052bafc8d39b88c07370acc900f14",
        "3c57041c41847ccae1ab54fc737309d8",
    ),
    "a_reference": (
        mapped(params={"labels": {"people": REVIEW}}),
        "3e4af1d3b8df2860c9b4ef1b65f0daa4",
        "bcb0533fbb111c0751c69f37217d4fe4",
    ),
    "routed_apart": (
        partial(
            map_apart,
            double,
            POOL,
            None,
            version="2",
            identified_by={"labeller": {"labeller": "classifier"}},
            beside=[REVIEW],
        ),
        "9c024ace0fa8c2b248e2248cf63376b5",
        "04d8bf9e5446e0cf277fd7a4794f720a",
    ),
    "a_variant": (
        partial(
            map_variants,
            multiples,
            POOL,
            version="2",
            variants={"it": {"factor": 2}},
            identified_by={"it": {"index": "f1"}},
        ),
        "6733088548c32d26bdb0c656602e05ec",
        "d4e1a693902dd14041d11220ec6db904",
    ),
    "revise_screening": (
        partial(revise_screening, POOL, hits=REVIEW, personal_data=None, drop_level=2),
        "a372019a5d2f4e017e9b1349da18fd9a",
        "0cf0d54cce277a1ea9df00e5e42f1111",
    ),
    "review_of_personal_data": (
        partial(revise_screening, POOL, hits=None, personal_data=REVIEW, drop_level=2),
        "5a79f6ee8b269b7c0bd99403fdebd6cd",
        "03fcc5b87723b0562c34dab2f94f08e3",
    ),
    "pairs_by_shard": (
        partial(pairs_by_shard, POOL, {b"\1" * 16}),
        "a6c4a94859f0e584005fcbf27aadd5b3",
        "270bf31e502e5e6cb9322792e16604e7",
    ),
    "score_candidates": (
        partial(score_candidates, POOL, ModelRef("m", "f1")),
        "47564732b267e3d708949fcbd9bf8e46",
        "cd12e8d17d591b57fc9849ba7f940be7",
    ),
    "look_for_benchmarks": (
        partial(
            contamination.look_for_benchmarks,
            POOL,
            REVIEW,
            config=DecontaminationConfig(min_words=3, max_words=3),
            executor=InProcessExecutor(),
        ),
        "66b66bc944f03207d577ea7a51ab298c",
        "9fd0b8a2d9e840c6233dc55050cfff02",
    ),
}


@pytest.mark.parametrize("name", MAPS)
def test_work_is_found_under_the_keys_of_stores_written_before(
    keys_of, name, tmp_path, monkeypatch
):
    monkeypatch.setattr(contamination, "prompts_by_benchmark", lambda _: {"boats": PROMPTS})
    call, step, task = MAPS[name]
    assert keys_of(call, tmp_path) == [step, task]


def test_where_a_reference_lies_does_not_change_the_work(keys_of, tmp_path):
    here, there = (mapped(params={"m": ModelRef(uri, "f1")}) for uri in ("here", "there"))
    assert keys_of(here, tmp_path) == keys_of(there, tmp_path)


@pytest.mark.parametrize(
    "call",
    [
        mapped(params={"a": 1, "b": 2}, identified_by={"b": 2}),
        partial(
            map_variants, multiples, POOL, version="2", variants={"it": {"b": 2}},
            identified_by={"it": {"b": 2}},
        ),
    ],
)  # fmt: skip
def test_a_name_that_is_an_argument_and_an_identity_is_refused(call, tmp_path):
    with pytest.raises(ValueError, match=r"^\['b'\] stand in params and in identified_by: .*$"):
        call(uri=str(tmp_path))
