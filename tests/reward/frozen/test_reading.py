import os
import shutil
import signal
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from synpref_dagster.benchmarks.candidates import build_candidates
from synpref_dagster.benchmarks.items import BenchmarkItem
from synpref_dagster.pairs import progress
from synpref_dagster.pairs.progress import heard_by
from synpref_dagster.pairs.record import pairs_to_table
from synpref_dagster.reward.frozen import reading, store
from synpref_dagster.reward.frozen.config import FrozenConfig
from synpref_dagster.reward.frozen.features import FrozenBackbone
from synpref_dagster.reward.frozen.model import train_frozen_reward_model
from synpref_dagster.reward.frozen.places import source_of
from synpref_dagster.reward.frozen.preparing import prepare_backbone
from synpref_dagster.reward.frozen.reading import (
    CHARACTERS_PER_FILE,
    RESPONSES_PER_FILE,
    Reading,
    _parts,
    opened_reader,
)
from synpref_dagster.reward.frozen.shards import read_shard
from synpref_dagster.reward.frozen.store import response_keys
from synpref_dagster.reward.shards import opened_scorer, score_candidates, score_shard
from synpref_dagster.storage import ModelRef


def test_each_response_is_read_once_also_by_another_process_and_another_night(reader_of, pairs):
    reader = reader_of()
    conversations = [pair.conversation for pair in pairs[:20]]
    responses = [pair.chosen for pair in pairs[:20]]
    first = reader.features(conversations * 2, responses * 2)
    assert reader.num_read == len({(id(c), r) for c, r in zip(conversations, responses,
                                                              strict=True)})  # fmt: skip
    later = reader_of()
    more = later.features([*conversations, pairs[30].conversation], [*responses, pairs[30].chosen])
    assert later.num_read == 1
    assert later.num_known == reader.num_read
    assert np.array_equal(more[:20], first[:20])
    assert np.array_equal(first[:20], first[20:])


def test_reading_ahead_keeps_what_is_asked_for_later(reader_of, pairs):
    reader_of().read([pairs[0].conversation] * 2, [pairs[0].chosen, pairs[0].rejected])
    later = reader_of()
    later.features([pairs[0].conversation], [pairs[0].rejected])
    assert later.num_read == 0
    assert later.counts() == {}  # the weights were not even loaded


def test_who_listens_hears_how_far_a_long_reading_is_and_nothing_of_a_short_one(
    reader_of, pairs, monkeypatch
):
    reader, told = reader_of(), []
    with heard_by(told.append):
        reader.read([pairs[0].conversation], [pairs[0].chosen])
        assert told == []
        monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
        reader.backbone.tokens_per_pack = 16
        reader.read([pair.conversation for pair in pairs[1:11]], [p.chosen for p in pairs[1:11]])
    done = [each.done for each in told]
    assert len(done) > 2
    assert done == sorted(done)
    assert (done[-1], told[-1].total) == (10, 10)


def test_what_is_given_away_keeps_no_features(reader_of, pairs, home):
    reader = reader_of(keeps=False)
    reader.features([pairs[0].conversation], [pairs[0].chosen])
    assert not (home / "features").exists()


def test_no_responses_have_no_features(reader_of):
    assert reader_of().features([], []).shape == (0, 4 * 32)


def parts_of(conversations, responses):
    return list(_parts([[{"role": "user", "content": each}] for each in conversations], responses))


def test_responses_of_one_conversation_stay_in_one_part_wherever_they_stand():
    num = 3 * RESPONSES_PER_FILE
    parts = parts_of([str(number // 3) for number in range(num)], ["x"] * num)
    assert [row for part in parts for row in part] == list(range(num))
    assert all(len(part) % 3 == 0 for part in parts)
    assert all(len(part) <= RESPONSES_PER_FILE + 2 for part in parts)
    # Both sides of pairs, as scoring gives them: equal conversations that are not one object.
    apart = parts_of([str(number % 400) for number in range(800)], ["x"] * 800)
    assert [sorted({row % 400 for row in part}) for part in apart] == [
        list(range(256)), list(range(256, 400)),
    ]  # fmt: skip


def test_long_responses_fill_a_part_sooner_and_one_conversation_is_parted_at_last():
    long = "x" * (CHARACTERS_PER_FILE // 4)
    assert [len(part) for part in parts_of("abcdefgh", [long] * 8)] == [4, 4]
    num = 5 * RESPONSES_PER_FILE
    parts = parts_of(["a"] * num, ["x"] * num)
    assert [len(part) for part in parts] == [2 * RESPONSES_PER_FILE] * 2 + [RESPONSES_PER_FILE]


@pytest.mark.parametrize(
    "change",
    [{"backbone": "b"}, {"layers": (2, 1)}, {"max_length_tokens": 9}, {"dtype": "bfloat16"}],
)
def test_features_read_otherwise_lie_elsewhere(change):
    plain = {"backbone": "a", "layers": (1, 2), "max_length_tokens": 8, "dtype": "float32"}
    assert Reading(**{**plain, **change}).name != Reading(**plain).name


def one(pair):
    return [pair.conversation], [pair.chosen]


@pytest.mark.parametrize("fewer", [{"layers": (2,)}, {"layers": (3, 2)}, {"name": "other"}])
def test_who_reads_less_of_a_backbone_or_under_another_name_finds_what_was_read(
    reader_of, pairs, fewer
):
    first = reader_of().features(*one(pairs[0]))
    later = reader_of(**fewer)
    found = later.features(*one(pairs[0]))
    assert (later.num_read, later.num_known) == (0, 1)
    by_layer = dict(zip((2, 3), np.split(first, 2, axis=1), strict=True))
    expected = np.concatenate([by_layer[layer] for layer in later.reading.layers], axis=1)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    "change", [{"layers": (1, 2)}, {"max_length_tokens": 9}, {"dtype": "bfloat16"}]
)
def test_what_was_read_otherwise_is_read_anew(reader_of, pairs, change):
    reader_of().read(*one(pairs[0]))
    later = reader_of(**change)
    later.read(*one(pairs[0]))
    assert (later.num_read, later.num_known) == (1, 0)


def test_features_of_other_weights_are_never_taken(reader_of, pairs, own_backbone, tmp_path):
    reader_of().read(*one(pairs[0]))
    other = shutil.copytree(own_backbone.hub_id, tmp_path / "weights")
    row = replace(own_backbone, hub_id=str(other))
    same = prepare_backbone(row, tmp_path / "b").folder.name
    weights = load_file(other / "model.safetensors")
    weights["model.norm.weight"] += 1
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    changed = prepare_backbone(row, tmp_path / "b").folder  # in one process, at one place
    assert changed.name != same
    assert source_of(changed) != source_of(reader_of().folder)


def test_a_damaged_word_of_what_was_read_shares_nothing_and_breaks_nothing(reader_of, pairs, home):
    reader_of().read(*one(pairs[0]))
    [about] = (home / "features").glob("*/reading.json")
    about.write_text(about.read_text().replace("[2, 3]", "[1, 3]"))
    assert Reading.of_folder(about.parent) is None
    less = reader_of(layers=(3,))
    less.read(*one(pairs[0]))
    assert less.num_read == 1
    again = reader_of()
    again.read(*one(pairs[0]))
    assert again.num_read == 0


def test_a_killed_reading_goes_on_behind_its_last_whole_file(reader_of, pairs, monkeypatch):
    monkeypatch.setattr(reading, "RESPONSES_PER_FILE", 4)
    some = pairs[:20]
    texts = [pair.conversation for pair in some], [pair.chosen for pair in some]
    child = os.fork()
    if child == 0:  # dies with the numbers of the third file in place and not their keys
        places, put = [], store.put_in_place

        def put_or_die(part, target):
            places.append(target)
            if len(places) == 6:
                os.kill(os.getpid(), signal.SIGKILL)
            put(part, target)

        store.put_in_place = put_or_die
        reader_of().read(*texts)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    later = reader_of()
    found = later.features(*texts)
    assert (later.num_known, later.num_read) == (8, 12)
    keys = [np.load(file) for file in later._store.folder.glob("*.keys")]
    assert sorted(np.concatenate(keys).tolist()) == sorted(set(response_keys(*texts)))
    alone = reader_of(keeps=False).features(*texts)
    assert found == pytest.approx(alone, abs=1e-5)


@pytest.fixture
def forwarded(monkeypatch):
    """How often each (conversation, response) was forwarded by any backbone."""
    counts, read = Counter(), FrozenBackbone.features

    def counting(self, conversations, responses, **named):
        counts.update(response_keys(conversations, responses))
        return read(self, conversations, responses, **named)

    monkeypatch.setattr(FrozenBackbone, "features", counting)
    return counts


def both_sides(pairs):
    conversations = [pair.conversation for pair in pairs] * 2
    return response_keys(conversations, [p.chosen for p in pairs] + [p.rejected for p in pairs])


def run(reader_of, home, pool, gold, items):
    """A campaign's work that reads, as a new process: pool, stages, rewards, releases, suites."""
    opened_reader.cache_clear()
    opened_scorer.cache_clear()
    reader, table = reader_of(), pairs_to_table(pool)
    read_shard(table.select(["pair_id"]), table, reading=reader.reading, home=home)
    models = []
    for name, layers, row in (("best", (2, 3), "own"), ("small", (2,), "a"), ("large", (3,), "b")):
        folder = home / "models" / name / str(len(pool))
        config = FrozenConfig(layers=layers, max_length_tokens=256)
        head = reader_of(layers=layers, name=row)
        train_frozen_reward_model(pool, gold, reader=head, config=config, output_dir=folder)
        models.append(ModelRef(uri=str(folder), fingerprint=f"{name}{len(pool)}"))
    score_shard(table.select(["pair_id"]), table, models={"best": models[0]})
    candidates = build_candidates(items, uri=str(home / "candidates"), suite="s", chunk=7)
    for model in models:
        score_candidates(candidates, model, uri=str(home / "scores" / model.fingerprint))


def test_no_response_is_forwarded_twice_by_a_campaign_and_the_night_after_it(
    reader_of, home, pairs, gold, pair_maker, forwarded
):
    pool, items = pairs[:40], benchmark_items(pair_maker)
    run(reader_of, home, pool, gold, items)
    asked = {*both_sides([*pool, *gold]), *suite_keys(items)}
    assert set(forwarded) == asked
    assert set(forwarded.values()) == {1}
    forwarded.clear()
    new = replace(pool[0], rejected="word1 word29 word1")
    run(reader_of, home, [*pool, new], gold, items)
    assert forwarded == Counter(response_keys([new.conversation], [new.rejected]))


def benchmark_items(pair_maker):
    """Best-of-five items: each a conversation with candidates, of which the first is right."""
    return [
        BenchmarkItem(
            benchmark="mine",
            item_id=str(number),
            group="",
            conversation=pair.conversation,
            candidates=(pair.chosen, pair.rejected, *(f"word{n} word{number}" for n in range(3))),
            labels=(1, 0, 0, 0, 0),
        )
        for number, pair in enumerate(pair_maker(6, seed=5))
    ]


def suite_keys(items):
    rows = [(item.conversation, response) for item in items for response in item.candidates]
    return response_keys(*zip(*rows, strict=True))
