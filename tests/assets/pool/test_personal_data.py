"""Personal data in a pool of a few rows: its report, and what the profile makes of it."""

import json

import fake_judge_server as fake
import pyarrow as pa
import pytest
from two_sources import CARD, CHATS, EMAIL, POOL, WEB

from synpref_dagster.curation.personal_data.sample import nearest_unflagged
from synpref_dagster.pairs.record import PreferencePair, id_array
from synpref_dagster.settings.judges import JudgeEndpoint, JudgeSettings
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.storage import read_frame


def shown(materialization):
    """Everything a person or a log would see of a materialisation."""
    return " ".join(
        str(getattr(value, "value", value)) for value in materialization.metadata.values()
    )


def test_the_report_counts_by_source_and_kind_and_shows_no_data(place):
    [found] = [place.run(["raw_pool", "pii_report"])["pii_report"]]
    metadata = found.metadata
    assert metadata["num_flagged"].value == 2
    assert metadata["num_findings"].value == 3
    assert metadata["num_judged"].value == 0
    assert metadata["scored_by"].value == "patterns only: no judge scored these pairs"
    assert metadata["pairs_by_level"].value == {
        "level 0": 0, "level 1": 1, "level 2": 0, "level 3": 1,
    }  # fmt: skip
    table = metadata["pairs_by_source_and_kind"].value.splitlines()
    assert [cell.strip() for cell in table[0].strip("|").split("|")] == [
        "source", "num_pairs", "num_flagged", "payment_card", "email",
    ]  # fmt: skip
    assert [cell.strip() for cell in table[2].strip("|").split("|")] == [
        "chats",
        "4",
        "2",
        "1",
        "1",
    ]
    assert "posteo" not in shown(found)
    assert "4929" not in shown(found)


def test_a_report_drops_nothing(place):
    place.run([*POOL, "pii_report"])
    clean = place.ref("clean_pool")
    assert clean.kept.num_rows == 9
    assert read_frame(clean.dropped)["reason"].tolist() == ["duplicate"]


@pytest.mark.parametrize(("level", "num_dropped"), [(3, 1), (2, 1), (1, 2)])
def test_a_profile_that_drops_loses_pairs_of_the_level_with_their_kinds(place, level, num_dropped):
    found = place.run([*POOL, "pii_report"], pii={"action": "drop", "drop_level": level})
    clean = place.ref("clean_pool")
    dropped = read_frame(clean.dropped)
    personal = dropped[dropped["reason"] == "pii"]
    assert len(personal) == num_dropped
    assert "level 3: payment_card" in set(personal["detail"])
    assert clean.kept.num_rows + clean.dropped.num_rows == len(CHATS) + len(WEB)
    assert found["clean_pool"].metadata["dropped_by_reason"].value["pii"] == num_dropped


def test_what_is_reported_and_what_is_dropped_are_kept_apart(place):
    place.run([*POOL, "pii_report"])
    reported = place.ref("clean_pool").kept.num_rows
    place.run([*POOL, "pii_report"], pii={"action": "drop"})
    assert place.ref("clean_pool").kept.num_rows == reported - 1
    place.run([*POOL, "pii_report"])
    assert place.ref("clean_pool").kept.num_rows == reported


def test_a_new_file_is_the_only_one_scanned(place):
    first = place.run(["raw_pool", "pii_report"])["pii_report"].metadata
    assert (first["num_shards_computed"].value, first["num_shards_reused"].value) == (2, 0)
    (place.folder / "web.jsonl").write_text(json.dumps(WEB[0]))
    second = place.run(["raw_pool", "pii_report"])["pii_report"].metadata
    assert (second["num_shards_computed"].value, second["num_shards_reused"].value) == (1, 1)


def test_judges_score_flagged_pairs_and_a_sample_and_decide_what_is_dropped(place):
    def answer(body):
        text = body["messages"][-1]["content"]
        level = 0 if CARD in text else 2 if "Sky?" in text else 1
        return json.dumps({"evidence": f"saw {EMAIL}", "level": level})

    with fake.serve(answer) as server:
        judge = JudgeEndpoint(name="judge", base_url=server.url, model="judge")
        found = place.run(
            [*POOL, "pii_report"],
            judges=JudgeSettings(kind="endpoints", endpoints=[judge]),
            pii={"action": "drop", "num_sampled": 100},
        )
        assert server.num_calls == 8  # no label shows: both of a contradiction are one question
    metadata = found["pii_report"].metadata
    assert metadata["num_judged"].value == 9
    assert metadata["confirmed_share"].value == 0.5
    assert metadata["missed_share"].value == pytest.approx(2 / 7)
    assert "judges (judge)" in metadata["scored_by"].value
    assert "posteo" not in shown(found["pii_report"])
    dropped = read_frame(place.ref("clean_pool").dropped)
    assert sorted(dropped["reason"]) == ["duplicate", "pii", "pii"]
    assert set(dropped.loc[dropped["reason"] == "pii", "detail"]) == {"level 2: found by judges"}


def test_a_pair_that_only_the_sample_found_stays_dropped_when_the_pool_grows(place):
    """Every night brings a pair that is nearer to the point of the sample than all before."""

    def answer(body):
        found = "Sky?" in body["messages"][-1]["content"]
        return json.dumps({"evidence": "none", "level": 3 if found else 0})

    def night():
        found = place.run(
            [*POOL, "pii_report"],
            judges=JudgeSettings(kind="endpoints", endpoints=[judge]),
            pii={"action": "drop", "num_sampled": 1},
        )
        dropped = read_frame(place.ref("clean_pool").dropped)
        return (
            dropped.loc[dropped["reason"] == "pii", "pair_id"].tolist(),
            found["pii_report"].metadata["num_judged"].value,
        )

    rows = [{"prompt": f"Plain {n}", "chosen": "a", "rejected": "b"} for n in range(300)]
    rows = rows_by_distance([*rows, {"prompt": "Sky?", "chosen": "a", "rejected": "b"}])
    sky = next(place for place, row in enumerate(rows) if row["prompt"] == "Sky?")
    (place.folder / "chats.jsonl").write_text(json.dumps(rows[-1]))
    with fake.serve(answer) as server:
        judge = JudgeEndpoint(name="judge", base_url=server.url, model="judge")
        (place.folder / "web.jsonl").write_text(json.dumps(rows[sky]))
        [first], num_judged = night()
        assert num_judged == 1
        for number, nearer in enumerate(rows[sky - 1 :: -1][:2]):
            with (place.folder / "web.jsonl").open("a") as file:
                file.write("\n" + json.dumps(nearer))
            assert night() == ([first], number + 2)
        calls = server.num_calls
        assert night() == ([first], 3)
        assert server.num_calls == calls == 3


def rows_by_distance(rows):
    """Rows in the order of the sample that the smoke profile's seed draws."""
    pairs = {pair_of(row).pair_id: row for row in rows}
    shard = pa.table({"pair_id": id_array(list(pairs))})
    order = nearest_unflagged(
        [(shard, shard.slice(0, 0))], num_sampled=len(rows), seed=load_profile("smoke").seed
    )
    return [pairs[each] for each in order]


def pair_of(row):
    return PreferencePair(
        conversation=({"role": "user", "content": row["prompt"]},),
        chosen=row["chosen"],
        rejected=row["rejected"],
        source="web",
        origin="synthetic",
    )
