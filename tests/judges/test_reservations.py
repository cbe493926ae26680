"""Money set aside beside the replies: seen by all processes, kept until it is settled."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import pytest
from hypothesis import given, settings, strategies as st

from synpref_dagster.curation.judging.prompts import PAIRWISE
from synpref_dagster.judges.batches.ledger import TABLE, BatchLedger
from synpref_dagster.judges.budget import Budget
from synpref_dagster.judges.cache import NOTHING_RESERVED, TABLES, Payer, ReplyCache
from synpref_dagster.judges.requests import BatchPendingError, JudgeReply, JudgeRequest
from synpref_dagster.judges.reservations import Reservations

SEED = Payer(campaign="c", asset="seed", judge="judge")
AUDIT = Payer(campaign="c", asset="audit", judge="other")
ROW = {"key": "k", "endpoint": "e", "model": "m", "prompt": "p", "sample": 0, "mode": "text"}


def always(_):
    return True


def request(number=0):
    return JudgeRequest(
        endpoint="http://one/v1",
        model="m",
        messages=[{"role": "user", "content": "hello"}],
        prompt=PAIRWISE,
        sampling={},
        sample=number,
    )


def reply(usd):
    return JudgeReply(text="{}", finish_reason="stop", mode="text", prompt_tokens=1, usd=usd)


@pytest.fixture
def cache(tmp_path):
    found = ReplyCache(tmp_path / "replies.sqlite")
    yield found
    found.close()


def test_what_is_set_aside_is_seen_by_another_process_and_outlives_its_own(cache):
    assert Reservations(cache).reserve(SEED, 0.5, fits=always) is not None
    other = ReplyCache(cache.path)
    assert Reservations(other).committed("c") == {"judge": 0.5}
    assert Reservations(other).committed("d") == {}
    other.close()


def test_a_reply_takes_the_place_of_what_was_set_aside_for_it(cache):
    held = Reservations(cache)
    number = held.reserve(SEED, 0.5, fits=always)
    cache.add(request(), reply(0.125), SEED, reservation=number)
    assert held.committed("c") == {"judge": 0.125}
    assert held.possible("c").empty


def test_two_processes_that_were_answered_the_same_both_pay(cache):
    held = Reservations(cache)
    for text_usd in (0.25, 0.125):
        number = held.reserve(SEED, 0.5, fits=always)
        cache.add(request(), reply(text_usd), SEED, reservation=number)
    assert held.committed("c") == {"judge": 0.375}
    assert cache.find([request().key])[request().key].usd == 0.25
    assert cache.spent("c")["num_calls"].tolist() == [2]


def test_money_given_back_may_be_spent_again(cache):
    held = Reservations(cache)
    held.release(held.reserve(SEED, 0.5, fits=always))
    held.release(NOTHING_RESERVED)
    assert held.committed("c") == {}


def test_paid_possible_and_promised_count_together_under_a_cap(cache):
    held, budget = Reservations(cache), Budget(max_usd=1.0, max_usd_by_judge={"judge": 0.875})
    cache.add(request(), reply(0.25), SEED)
    BatchLedger(cache).add("b", [{**ROW, **asdict(SEED), "most_usd": 0.25}])
    held.reserve(SEED, 0.25, fits=always)
    assert held.committed("c") == {"judge": 0.75}

    def fits(payer, usd):
        return held.reserve(payer, usd, fits=lambda sums: budget.fits(payer.judge, usd, sums))

    assert fits(SEED, 0.1875) is None  # its own cap
    assert fits(AUDIT, 0.3125) is None  # the campaign's cap
    assert fits(SEED, 0.125) is not None
    assert fits(AUDIT, 0.125) is not None
    assert fits(AUDIT, 0.0001) is None


def test_a_batch_takes_over_what_was_set_aside_for_it_and_no_more(cache):
    held, ledger = Reservations(cache), BatchLedger(cache)
    number = held.reserve(SEED, 0.75, fits=always)
    ledger.add("one", [{**ROW, **asdict(SEED), "most_usd": 0.25}], reservation=number)
    assert ledger.promised("c") == {"judge": 0.25}
    assert held.committed("c") == {"judge": 0.75}
    held.release(number)
    assert held.committed("c") == {"judge": 0.25}


def test_a_free_call_writes_nothing(cache):
    held = Reservations(cache)
    assert held.reserve(SEED, 0.0, fits=lambda _: False) == NOTHING_RESERVED
    assert held.possible("c").empty


def test_only_calls_that_cannot_be_under_way_are_forgiven(cache):
    held = Reservations(cache)
    held.reserve(SEED, 0.5, fits=always)
    held.reserve(AUDIT, 0.25, fits=always)
    held.reserve(Payer(campaign="d", asset="seed", judge="judge"), 0.25, fits=always)
    with cache.transaction() as connection:
        connection.execute("UPDATE reservations SET created_at = 100.0 WHERE asset = 'seed'")
    assert held.forgive("c", before=101.0) == (1, 0.5)
    assert held.forgive("c", before=101.0) == (0, 0.0)
    assert held.committed("c") == {"other": 0.25}
    assert held.committed("d") == {"judge": 0.25}


def test_many_at_once_set_aside_no_more_than_the_cap(tmp_path):
    caches = [ReplyCache(tmp_path / "replies.sqlite") for _ in range(4)]
    budget = Budget(max_usd=1.0)

    def reserve(number):
        held = Reservations(caches[number % 4])
        return held.reserve(SEED, 0.125, fits=lambda sums: budget.fits("judge", 0.125, sums))

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(reserve, range(40)))
    assert sum(each is not None for each in found) == 8
    assert Reservations(caches[0]).committed("c") == {"judge": 1.0}
    for each in caches:
        each.close()


def test_a_cache_from_before_is_taken_over_in_place_with_its_replies_and_its_bill(tmp_path):
    path = tmp_path / "old.sqlite"
    start = TABLES.index("CREATE TABLE IF NOT EXISTS reservations")
    end = TABLES.index("CREATE TABLE IF NOT EXISTS schema_modes")
    with sqlite3.connect(path) as connection:
        connection.executescript(TABLES[:start] + TABLES[end:])
        connection.execute("INSERT INTO spending VALUES ('c', 'judge', 'seed', 1, 10, 2, 0.5)")
        connection.execute(
            "INSERT INTO replies VALUES (?, 'c', 'seed', 'judge', 'http://one/v1', 'm', 'p', 0, "
            "'{}', 'stop', 'text', 0, 10, 2, 0.5, 0.1, 0.0)",
            (request().key,),
        )
    cache = ReplyCache(path)
    held = Reservations(cache)
    held.reserve(SEED, 0.25, fits=always)
    assert held.committed("c") == {"judge": 0.75}
    assert cache.find([request().key])[request().key].usd == 0.5
    cache.close()


def steps_of_a_reservation(cache):
    """Instructions that SQLite runs for one reservation."""
    held, steps = Reservations(cache), []
    connection = cache._connection
    connection.set_progress_handler(lambda: steps.append(1), 1)
    held.reserve(SEED, 0.125, fits=always, key="new")
    connection.set_progress_handler(None, 1)
    return len(steps)


def test_a_reservation_costs_the_same_however_much_is_open(cache):
    held, ledger = Reservations(cache), BatchLedger(cache)
    held.reserve(SEED, 0.125, fits=always)
    ledger.add("b", [{**ROW, **asdict(SEED), "most_usd": 0.125}])
    few = steps_of_a_reservation(cache)
    rows = [{**ROW, **asdict(SEED), "key": f"{n}", "most_usd": 0.125} for n in range(3000)]
    ledger.add("many", rows)
    with cache.transaction() as connection:
        connection.executemany(
            "INSERT INTO reservations (campaign, asset, judge, usd, created_at) "
            "VALUES ('c', 'seed', 'judge', 0.125, 0)",
            [()] * 3000,
        )
    assert held.committed("c") == {"judge": 6003 * 0.125}
    assert steps_of_a_reservation(cache) <= few + 50  # a walk over the rows takes thousands


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["reserve", "release", "end", "book", "batch", "close", "rename", "forgive"]
        ),
        st.integers(0, 5),
        st.sampled_from([SEED, AUDIT]),
    ),
    max_size=25,
)


def happen(held, ledger, event, number, payer):
    rows = [{**ROW, **asdict(payer), "key": f"k{each}", "most_usd": 0.25} for each in range(number)]
    if event == "reserve":
        held.reserve(payer, number / 8, fits=always)
    elif event == "release":
        held.release(number)
    elif event == "end":
        held.end(number)
    elif event == "book":
        held.cache.add(request(number), reply(0.125), payer, reservation=number)
    elif event == "batch":
        ledger.add(f"b{number}", rows)
    elif event == "close":
        ledger.close(f"b{number}", answered=["k0"], failed=["k1"], uncertain=["k1"])
    elif event == "rename":
        ledger.rename(f"b{number}", f"B{number}")
    else:
        ledger.forgive("c", before=9e9)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(events=EVENTS)
def test_the_kept_total_is_the_sum_of_what_is_open_whatever_two_processes_do(
    tmp_path_factory, events
):
    path = tmp_path_factory.mktemp("cache") / "replies.sqlite"
    caches = ReplyCache(path), ReplyCache(path)
    BatchLedger(caches[0])
    for number, (event, *about) in enumerate(events):
        each = caches[number % 2]
        happen(Reservations(each), BatchLedger(each), event, *about)
    summed = caches[0].table(
        "SELECT judge, SUM(usd) AS usd FROM (SELECT judge, usd FROM spending UNION ALL "
        "SELECT judge, usd FROM reservations UNION ALL "
        "SELECT judge, most_usd FROM batches WHERE state = 'pending') GROUP BY judge"
    )
    kept = Reservations(caches[1]).committed("c")
    assert {name: usd for name, usd in kept.items() if usd} == {
        name: usd for name, usd in zip(summed["judge"], summed["usd"], strict=True) if usd
    }
    for each in caches:
        each.close()


def test_what_was_open_before_totals_were_kept_is_in_them(tmp_path):
    path = tmp_path / "old.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE reservations (id INTEGER PRIMARY KEY AUTOINCREMENT, campaign TEXT NOT "
            "NULL, asset TEXT NOT NULL, judge TEXT NOT NULL, usd REAL NOT NULL, created_at REAL "
            "NOT NULL)"
        )
        connection.execute(TABLES[: TABLES.index(";")])
        connection.execute("INSERT INTO reservations VALUES (7, 'c', 'seed', 'judge', 0.5, 0)")
        old = TABLE.replace("used INTEGER NOT NULL DEFAULT 0,", "").replace(
            "created_at REAL NOT NULL DEFAULT 0,", ""
        )
        connection.execute(old)
        about = "'c', 'seed', 'judge', 'e', 'm', 'p', 0, 'text'"
        connection.execute(f"INSERT INTO batches VALUES ('b', 'k', {about}, 'pending', 0.25)")
        connection.execute(f"INSERT INTO batches VALUES ('b', 'l', {about}, 'answered', 0.25)")
    cache = ReplyCache(path)
    held = Reservations(cache)
    assert held.committed("c") == {"judge": 0.75}
    held.release(7)
    assert held.committed("c") == {"judge": 0.25}
    cache.close()


def test_a_question_in_a_batch_under_way_is_set_aside_for_by_nobody(cache):
    held, ledger = Reservations(cache), BatchLedger(cache)
    ledger.add("b", [{**ROW, **asdict(AUDIT), "most_usd": 0.25}])
    with pytest.raises(BatchPendingError):
        held.reserve(SEED, 0.25, fits=always, key="k")
    ledger.close("b", rest="unanswered")
    assert held.reserve(SEED, 0.25, fits=always, key="k")
