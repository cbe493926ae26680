import numpy as np
import pytest

from synpref_dagster.reward.frozen.reading import RESPONSES_PER_FILE, Reading, _parts


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
    ahead = reader_of()
    told = []
    ahead.read([pairs[0].conversation] * 2, [pairs[0].chosen, pairs[0].rejected],
               on_read=told.append)  # fmt: skip
    assert [(each.done, each.total) for each in told] == [(2, 2)]
    later = reader_of()
    later.features([pairs[0].conversation], [pairs[0].rejected])
    assert later.num_read == 0
    assert later.counts() == {}  # the weights were not even loaded


def test_what_is_given_away_keeps_no_features(reader_of, pairs, home):
    reader = reader_of(keeps=False)
    reader.features([pairs[0].conversation], [pairs[0].chosen])
    assert not (home / "features").exists()


def test_no_responses_have_no_features(reader_of):
    assert reader_of().features([], []).shape == (0, 4 * 32)


def test_responses_of_one_conversation_stay_in_one_part():
    keys = [bytes([0, number % 256, number // 256]) for number in range(3 * RESPONSES_PER_FILE)]
    conversations = [number // 3 for number in range(len(keys))]
    parts = list(_parts(keys, conversations))
    assert [key for part in parts for key in part] == keys
    assert all(len(part) % 3 == 0 for part in parts)
    assert all(len(part) <= RESPONSES_PER_FILE + 2 for part in parts)


@pytest.mark.parametrize(
    "change",
    [{"backbone": "b"}, {"layers": (2, 1)}, {"max_length_tokens": 9}, {"dtype": "bfloat16"}],
)
def test_features_read_otherwise_lie_elsewhere(change):
    plain = {"backbone": "a", "layers": (1, 2), "max_length_tokens": 8, "dtype": "float32"}
    assert Reading(**{**plain, **change}).name != Reading(**plain).name
