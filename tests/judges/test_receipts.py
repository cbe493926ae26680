"""A reply cache that is gone, emptied or an older copy gives no campaign a new budget."""

import json
import shutil
import sqlite3
import time

import pytest

from synpref_dagster.judges import receipts as receipts_module
from synpref_dagster.judges.budget import Budget
from synpref_dagster.judges.cache import DamagedCacheError, Payer, ReplyCache
from synpref_dagster.judges.receipts import LOST, NAME, Receipts, paid_before
from synpref_dagster.judges.reservations import Reservations

PAYER = Payer(campaign="c", asset="seed", judge="judge")
ROW = {
    "campaign": "c", "asset": "seed", "judge": "judge", "endpoint": "e", "model": "m",
    "prompt": "p", "sample": 0, "text": "{}", "finish_reason": "stop", "mode": "text",
    "refused": False, "prompt_tokens": 1, "completion_tokens": 1, "seconds": 0.0,
}  # fmt: skip


class Place:
    """A campaign's store and its reply cache."""

    def __init__(self, folder):
        self.store = str(folder / "store")
        self.path = folder / "replies.sqlite"
        self.opened = []

    def cache(self, path=None):
        self.opened.append(ReplyCache(path or self.path))
        return self.opened[-1]

    def receipts(self, cache):
        return Receipts(self.store, cache, campaign="c")

    def remove(self):
        for each in self.opened:
            each.close()
        for path in self.path.parent.glob("replies.sqlite*"):
            path.unlink()


@pytest.fixture
def place(tmp_path):
    found = Place(tmp_path)
    yield found
    for each in found.opened:
        each.close()


def spend(cache, usd, key="k"):
    cache.add_row({**ROW, "key": key, "usd": usd})


def committed(cache):
    return Reservations(cache).committed("c")


def test_a_cache_that_was_removed_gives_no_new_budget_until_people_forgive_it(place):
    cache = place.cache()
    spend(cache, 0.5)
    Reservations(cache).reserve(PAYER, 0.25, fits=lambda _: True)
    place.receipts(cache).keep(at_once=True)
    place.remove()

    cache = place.cache()
    assert committed(cache) == {}
    assert place.receipts(cache).carry_over() == 0.75
    assert committed(cache) == {"judge": 0.75}
    assert not Budget(max_usd=1.0).fits("judge", 0.5, committed(cache))
    possible = Reservations(cache).possible("c")
    assert possible[["asset", "usd"]].to_numpy().tolist() == [[LOST, 0.75]]

    assert Reservations(cache).forgive("c", before=1.0) == (1, 0.75)
    place.receipts(cache).forgive()
    assert place.receipts(cache).carry_over() == 0.0
    assert committed(cache) == {}
    assert paid_before(place.store) == 0.0


def test_what_was_carried_over_counts_once_however_often_the_cache_is_opened(place):
    cache = place.cache()
    spend(cache, 0.5)
    place.receipts(cache).keep(at_once=True)
    place.remove()
    for number in range(1, 4):
        cache = place.cache()
        place.receipts(cache).carry_over()
        spend(cache, 0.25, key=str(number))
        place.receipts(cache).keep(at_once=True)
        assert committed(cache) == {"judge": 0.5 + number * 0.25}
    assert paid_before(place.store) == 1.25


def test_a_campaign_that_goes_back_to_an_earlier_cache_finds_both_bills(place, tmp_path):
    first, second = place.cache(), place.cache(tmp_path / "other.sqlite")
    for cache, usd in ((first, 0.5), (second, 0.25), (first, 0.125)):
        place.receipts(cache).carry_over()
        spend(cache, usd, key=f"{usd}")
        place.receipts(cache).keep(at_once=True)
    assert committed(first) == {"judge": 0.875}
    place.receipts(second).carry_over()
    assert committed(second) == {"judge": 0.875}


def test_an_older_copy_of_the_cache_lacks_what_was_spent_since(place, tmp_path):
    cache = place.cache()
    spend(cache, 0.5)
    place.receipts(cache).keep(at_once=True)
    cache.close()
    shutil.copy(place.path, tmp_path / "copy")
    cache = place.cache()
    spend(cache, 0.25, key="later")
    place.receipts(cache).keep(at_once=True)
    place.remove()
    shutil.copy(tmp_path / "copy", place.path)

    cache = place.cache()
    place.receipts(cache).carry_over()
    assert committed(cache) == {"judge": 0.75}
    spend(cache, 0.25, key="again")
    place.receipts(cache).keep(at_once=True)
    assert place.receipts(cache).carry_over() == 0.0
    assert committed(cache) == {"judge": 1.0}


def test_a_cache_without_a_bill_and_other_campaigns_lose_nothing(place):
    cache = place.cache()
    spend(cache, 0.5)
    assert place.receipts(cache).carry_over() == 0.0
    place.receipts(cache).keep(at_once=True)
    other = Receipts(f"{place.store}/other", cache, campaign="d")
    other.keep(at_once=True)
    assert other.carry_over() == 0.0
    assert paid_before(f"{place.store}/other") == 0.0


def test_the_bill_is_written_every_some_seconds(place):
    cache = place.cache()
    receipts = place.receipts(cache)
    for number in range(3):
        spend(cache, 0.5, key=str(number))
        receipts.keep()
    assert paid_before(place.store) == 0.5
    receipts.keep(at_once=True)
    assert paid_before(place.store) == 1.5


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"a": {"j": ["x", 0]}}', "half {"])
def test_a_bill_that_cannot_be_read_is_named_in_one_line(place, tmp_path, text):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / NAME).write_text(text)
    with pytest.raises(ValueError, match=r"judge_bill.json cannot be read: .*delete") as caught:
        place.receipts(place.cache()).carry_over()
    assert "\n" not in str(caught.value)


def test_a_bill_from_another_process_stays_in_it(place, tmp_path):
    cache = place.cache()
    spend(cache, 0.5)
    place.receipts(cache).keep(at_once=True)
    other = place.cache(tmp_path / "other.sqlite")
    spend(other, 0.25)
    place.receipts(other).keep(at_once=True)
    known = json.loads((tmp_path / "store" / NAME).read_text())
    assert known == {cache.identity: {"judge": [0.5, 0.0]}, other.identity: {"judge": [0.25, 0.0]}}


def test_damage_in_the_middle_of_a_cache_is_named_when_it_is_met(place):
    cache = place.cache()
    for number in range(300):
        spend(cache, 0.0, key=f"{number:064d}")
    cache.close()
    content = bytearray(place.path.read_bytes())
    for page in range(3, len(content) // 4096):
        content[page * 4096 : page * 4096 + 512] = b"\xff" * 512
    place.path.write_bytes(content)

    def read_all():
        cache = place.cache()
        return cache.find([f"{number:064d}" for number in range(300)]), committed(cache)

    named = r"replies.sqlite cannot be (opened|read): .* copy"
    with pytest.raises(DamagedCacheError, match=named) as caught:
        read_all()
    assert "\n" not in str(caught.value)


def test_a_database_of_something_else_is_left_alone(place):
    with sqlite3.connect(place.path) as connection:
        connection.execute("CREATE TABLE runs (id INTEGER)")
    before = place.path.read_bytes()
    with pytest.raises(DamagedCacheError, match="tables of something else"):
        place.cache()
    assert place.path.read_bytes() == before


def test_a_cache_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(DamagedCacheError, match="folder cannot be opened"):
        ReplyCache(tmp_path / "folder")


def test_a_clock_that_is_set_back_does_not_keep_a_bill_from_being_written(place, monkeypatch):
    cache = place.cache()
    receipts = place.receipts(cache)
    spend(cache, 1.0)
    receipts.keep()
    later = receipts_module.monotonic() + receipts_module.SECONDS_BETWEEN
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr(receipts_module, "monotonic", lambda: later)
    spend(cache, 2.0, key="another")
    receipts.keep()
    assert paid_before(place.store) == 3.0
