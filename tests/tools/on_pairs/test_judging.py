"""A panel says of each pair what its judges said; each reply is paid for once, under the cap."""

import fake_judge_server as fake
import pytest
import reading_judge

from synpref_dagster.judges.budget import BudgetExhaustedError
from synpref_dagster.judges.cache import ReplyCache
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.tools.on_pairs.judging import judge

NUM = 6


@pytest.fixture(autouse=True)
def _own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path / "store"))


def pairs(num=NUM):
    """The chosen response of the first is wrong, of all others right."""
    return [
        PreferencePair(
            conversation=({"role": "user", "content": f"What is {n} + {n}?"},),
            chosen=f"It is {2 * n + (n == 0)}.",
            rejected=f"It is {2 * n + (n != 0)}.",
            source="any",
            origin="human",
        )
        for n in range(num)
    ]


def table(url, *names, **changes):
    endpoints = [
        {"name": name, "base_url": url, "model": name, "usd_per_million_input": 100.0, **changes}
        for name in names
    ]
    return {"judges": {"kind": "endpoints", "num_samples": 2, "endpoints": endpoints}}


def by_sum(body):
    """`right` adds up, `first` always prefers the first candidate, `mute` says nothing."""
    _, user = (message["content"] for message in body["messages"])
    if body["model"] == "mute":
        return fake.Reply(None)
    if body["model"] == "first":
        return fake.verdict("candidate_1")
    texts = {name: text for name, _, text in reading_judge.BLOCK.findall(user)}
    number = int(texts["conversation"].split(" + ")[0].split()[-1])
    return fake.verdict("candidate_1" if str(2 * number) in texts["candidate_1"] else "candidate_2")


def test_votes_abstentions_agreement_and_cost_are_those_of_the_judges(tmp_path, write_lines):
    rows = [
        {
            "prompt": pair.conversation[0]["content"],
            "chosen": pair.chosen,
            "rejected": pair.rejected,
        }
        for pair in pairs()
    ]
    file = write_lines("p.jsonl", [*rows, rows[1], {"prompt": "x", "chosen": "y", "rejected": "y"}])
    with fake.serve(by_sum) as server:
        panel = table(server.url, "right", "first", "mute")
        report = judge(file, tmp_path / "out.jsonl", settings=panel)
    found = report.table().to_pylist()
    assert [row["row"] for row in found] == [*range(NUM), NUM]
    assert [row["label"] for row in found] == [-1, 1, 1, 1, 1, 1, 1]
    assert found[1]["pair_id"] == pairs()[1].pair_id.hex() == found[NUM]["pair_id"]
    votes = {each["judge"]: (each["vote"], each["num_abstained"]) for each in found[2]["votes"]}
    assert votes == {"right": (1, 0), "first": (0, 0), "mute": (0, 2)}
    quality = report.quality.set_index(["judge", "measure"])["value"]
    assert quality["right", "agreement"] == quality["panel", "agreement"] == 5 / 6
    assert quality["first", "first_position_share"] == 1.0
    assert (quality["first", "decided"], quality["mute", "abstention_rate"]) == (0.0, 1.0)
    assert (report.num_repeated, report.reading.quarantined) == (1, {"identical_responses": 1})
    paid = sum(each["num_calls"] for each in report.facts.values()) * 100 * 100 / 1e6
    assert report.usd == pytest.approx(paid)
    assert report.spent_usd == pytest.approx(paid)


def test_what_was_paid_is_not_paid_again_whoever_asks_how_much_of_the_file(tmp_path):
    with fake.serve(by_sum) as server:
        first = judge(pairs(4), tmp_path / "a.parquet", settings=table(server.url, "right"))
        asked = server.num_calls
        again = judge(pairs(4), tmp_path / "b.parquet", settings=table(server.url, "right"))
        assert (asked, server.num_calls) == (8, 8)
        more = judge(pairs(5), tmp_path / "c.parquet", settings=table(server.url, "right"))
        assert server.num_calls == 10
    assert (again.usd, more.facts["right"]["num_cached"]) == (0.0, 8)
    assert again.table().equals(first.table())
    assert more.spent_usd == pytest.approx(10 * 100 * 100 / 1e6)


def test_a_cap_holds_over_all_calls_of_an_account_and_what_was_paid_is_kept(tmp_path):
    def capped(server, usd):
        settings = table(server.url, "right", max_tokens=10)
        return {"judges": {**settings["judges"], "max_usd": usd}}

    with fake.serve(by_sum) as server:
        judge(pairs(2), tmp_path / "a.jsonl", settings=capped(server, 50.0))  # 4 calls, $0.04
        for _ in range(2):
            with pytest.raises(BudgetExhaustedError):
                judge(pairs(), tmp_path / "b.jsonl", settings=capped(server, 0.05))
        assert (server.num_calls, (tmp_path / "b.jsonl").exists()) == (4, False)
        other = judge(
            pairs(3), tmp_path / "c.jsonl", settings=capped(server, 50.0), account="other"
        )
        assert (server.num_calls, other.spent_usd) == (6, pytest.approx(0.02))
        report = judge(pairs(), tmp_path / "b.jsonl", settings=capped(server, 50.0))
    assert (report.facts["right"]["num_calls"], report.facts["right"]["num_cached"]) == (6, 6)
    assert (report.spent_usd, report.max_usd) == (pytest.approx(0.1), 50.0)


def test_a_profiles_judges_are_asked_on_its_campaigns_account(tmp_path):
    with fake.serve(by_sum) as server:
        text = (
            'extends = "smoke"\nname = "mine"\n[judges]\nkind = "endpoints"\nnum_samples = 2\n'
            f'[[judges.endpoints]]\nname = "right"\nmodel = "right"\nbase_url = "{server.url}"\n'
            "usd_per_million_input = 100.0\n"
        )
        (tmp_path / "mine.toml").write_text(text)
        report = judge(pairs(2), tmp_path / "a.jsonl", profile=str(tmp_path / "mine.toml"))
    assert report.account == "mine-seed-0"
    cache = ReplyCache(tmp_path / "store" / "judge_replies.sqlite")
    [row] = cache.spent("mine-seed-0").to_dict("records")
    cache.close()
    assert (row["asset"], row["num_calls"]) == ("judge", 4)


def test_gold_is_shown_as_examples_and_weighs_judges(tmp_path):
    gold = pairs(12)[6:]  # all right
    with fake.serve(by_sum) as server:
        settings = table(server.url, "right", "first")["judges"]
        report = judge(
            pairs(3), tmp_path / "a.jsonl", gold=gold,
            settings={**settings, "min_gold_agreement": 0.6, "num_exemplars": 2},
        )  # fmt: skip
        shown = [body["messages"][1]["content"] for body in server.bodies]
    assert all("People preferred" in text for text in shown)
    assert report.weighing[["judge", "kept"]].to_numpy().tolist() == [
        ["right", True], ["first", False],
    ]  # fmt: skip
    assert [row["label"] for row in report.table().to_pylist()] == [-1, 1, 1]


def test_judges_that_are_free_learn_from_gold(tmp_path):
    report = judge(
        pairs(4), tmp_path / "a.jsonl", gold=pairs(30)[4:], settings={"num_exemplars": 4}
    )
    assert (report.facts, report.usd) == ({}, 0.0)
    assert report.table().num_rows == 4


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({}, "name who judges"),
        ({"settings": {}, "profile": "smoke"}, "name who judges"),
        ({"settings": {}}, "kind 'exemplar' learn from gold"),
        ({"settings": {"kind": "features"}}, "frozen backbone of a campaign"),
        ({"settings": {"kind": "endpoints"}}, "judges: judges.kind is 'endpoints': name one"),
        ({"settings": {"judges": {}, "pool": {}}}, "settings hold pool beside"),
        ({"settings": {"colour": 1}}, "judges.colour: Extra inputs"),
        ({"settings": "gone.toml"}, "gone.toml: No such file"),
        ({"profile": "nobody"}, "nobody"),
        ({"settings": "WEIGHTED"}, "panel 'weighted' is weighed on gold"),
        ({"settings": "ONE", "account": "a b"}, "account"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(tmp_path, how, words):
    one = table("http://localhost:9/v1", "one")["judges"]
    tables = {"WEIGHTED": {**one, "panel": "weighted"}, "ONE": one}
    named = how.get("settings")
    told = {**how, "settings": tables.get(named, named) if isinstance(named, str) else named}
    with pytest.raises(ValueError, match=words) as refused:
        judge(pairs(), tmp_path / "a.jsonl", **told)
    assert "\n" not in str(refused.value)


def test_outputs_that_cannot_be_are_refused(tmp_path):
    (tmp_path / "there.jsonl").write_text("mine\n")
    with pytest.raises(ValueError, match="no pair to ask about: 0 rows"):
        judge([], tmp_path / "a.jsonl", settings={})
    for name, words in {"a.csv": "are written as", "there.jsonl": "is there already"}.items():
        with pytest.raises(ValueError, match=words):
            judge(pairs(), tmp_path / name, settings={})
    assert (tmp_path / "there.jsonl").read_text() == "mine\n"
