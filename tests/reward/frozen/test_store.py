import numpy as np
import pytest

from synpref_dagster.reward.frozen.store import FeatureStore, response_keys

KEYS = [bytes([number] * 15) + b"\0" for number in (3, 1, 2)]
ROWS = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "features", num_features=2)


def again(store):
    return FeatureStore(store.folder, num_features=2)


def test_an_empty_store_knows_nothing(store):
    assert store.knows(KEYS).tolist() == [False] * 3
    with pytest.raises(KeyError, match="3 responses were not read yet"):
        store.find(KEYS)


def test_what_was_added_is_found_in_any_order_by_any_process(store):
    store.add(KEYS[:2], ROWS[:2])
    store.add(KEYS[2:], ROWS[2:])
    for each in (store, again(store)):
        assert each.knows([*KEYS, b"9" * 16]).tolist() == [True, True, True, False]
        assert each.find(KEYS[::-1]).tolist() == ROWS[::-1].tolist()


def test_a_response_that_two_processes_read_is_there_twice_and_found_once(store):
    store.add(KEYS[:2], ROWS[:2])
    again(store).add(KEYS[1:], ROWS[1:])
    assert again(store).find(KEYS).tolist() == ROWS.tolist()


def test_nothing_to_add_leaves_no_file(store):
    store.add([], np.zeros((0, 2), dtype=np.float32))
    assert not store.folder.exists()


def test_features_of_another_shape_are_refused(store):
    with pytest.raises(ValueError, match=r"features \(3, 3\) of 3 responses: \(3, 2\) are wanted"):
        store.add(KEYS, np.zeros((3, 3), dtype=np.float32))


@pytest.mark.parametrize("suffix", [".npy", ".keys"])
@pytest.mark.parametrize("harm", ["flip", "cut", "empty"])
def test_a_damaged_file_counts_as_not_there_and_is_named(store, suffix, harm, caplog):
    store.add(KEYS, ROWS)
    [file] = store.folder.glob(f"*{suffix}")
    content = file.read_bytes()
    flipped = content[:-1] + bytes([content[-1] ^ 1])
    file.write_bytes({"flip": flipped, "cut": content[:-3], "empty": b""}[harm])
    harmed = again(store)
    assert harmed.knows(KEYS).tolist() == [False] * 3
    assert file.stem in caplog.text
    harmed.add(KEYS, ROWS)  # read again, it takes its old place
    assert again(store).find(KEYS).tolist() == ROWS.tolist()


def test_what_a_killed_writer_left_is_no_file(store):
    store.add(KEYS, ROWS)
    [keys] = store.folder.glob("*.keys")
    keys.rename(keys.with_name(keys.name + ".part"))
    assert again(store).knows(KEYS).tolist() == [False] * 3


def test_a_response_is_known_by_its_conversation_and_text_alone():
    asked = [{"role": "user", "content": "a"}]
    other = [{"role": "user", "content": "b"}]
    one, two, three = response_keys([asked, other, asked], ["x", "x", "y"])
    assert len({one, two, three}) == 3
    assert response_keys([list(asked)], ["x"]) == [one]
