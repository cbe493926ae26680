"""Reports on a pool of a few rows, and what the profile makes of them, run as assets."""

import json
from pathlib import Path

import dagster as dg
import fake_judge_server as fake
import pyarrow as pa
import pytest
from fakes import NullTracking

from synpref_dagster.curation.personal_data.sample import nearest_unflagged
from synpref_dagster.definitions.build import build_defs
from synpref_dagster.pairs.record import PreferencePair, id_array
from synpref_dagster.settings.judges import JudgeEndpoint, JudgeSettings
from synpref_dagster.settings.pool import PoolSettings
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.storage import from_json, read_frame

EMAIL, CARD = "ann.lee@posteo.de", "4929 5071 8263 9413"
UNTRACKED = {"tracking": NullTracking()}
POOL = [
    "raw_pool",
    "benchmark_prompts",
    "clean_pool",
    "strict_overlaps",
    "wild_pool",
    "unverified_pool",
]
CHATS = [
    {"prompt": "What is rain?", "chosen": "Water", "rejected": "Snow"},
    {"prompt": "Who are you?", "chosen": f"Ann, {EMAIL}", "rejected": "Nobody"},
    {"prompt": "How do I pay?", "chosen": f"Use {CARD}", "rejected": "Not at all"},
    {"prompt": "How do I pay?", "chosen": f"Use {CARD}", "rejected": "Not at all"},
]
WEB = [
    {"prompt": "Sky?", "chosen": "Blue", "rejected": "Red"},
    {"prompt": "Sky?", "chosen": "Red", "rejected": "Blue"},
    {"prompt": "Best?", "chosen": "first", "rejected": "second"},
    {"prompt": "Best?", "chosen": "second", "rejected": "third"},
    {"prompt": "Best?", "chosen": "third", "rejected": "first"},
    {"prompt": "Worst?", "chosen": "first", "rejected": "second"},
]


class Place:
    """A campaign over two small source files."""

    def __init__(self, folder, monkeypatch):
        monkeypatch.setenv("SYNPREF_STORE", str(folder / "store"))
        self.folder = folder
        for name, rows in (("chats", CHATS), ("web", WEB)):
            (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def profile(self, judges=None, **pool):
        sources = [
            {"name": name, "path": str(self.folder / f"{name}.jsonl"), "origin": origin}
            for name, origin in (("chats", "human"), ("web", "synthetic"))
        ]
        settings = PoolSettings(kind="sources", sources=sources, **pool)
        changes = {"pool": settings, **({"judges": judges} if judges else {})}
        return load_profile("smoke").model_copy(update=changes)

    def run(self, assets, judges=None, **pool):
        profile = self.profile(judges, **pool)
        self.root = profile.store_root()
        job = build_defs(
            profile, resource_overrides=UNTRACKED
        ).resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(
            instance=dg.DagsterInstance.ephemeral(),
            asset_selection=[dg.AssetKey(name) for name in assets],
        )
        assert result.success
        return {
            event.asset_key.to_user_string(): event.step_materialization_data.materialization
            for event in result.get_asset_materialization_events()
        }

    def ref(self, name):
        return from_json(Path(self.root, "refs", f"{name}.json").read_text())


@pytest.fixture
def place(tmp_path, monkeypatch):
    return Place(tmp_path, monkeypatch)


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


def test_risky_pairs_of_other_origin_reach_stage_one_up_to_their_share(place):
    def pools(share):
        found = place.run(POOL, max_risky_share=share)
        wild, unverified = (
            read_frame(place.ref(f"{name}_pool")) for name in ("wild", "unverified")
        )
        assert len(wild) + len(unverified) == place.ref("clean_pool").kept.num_rows == 9
        assert found["clean_pool"].metadata["num_contradictory_label"].value == 2
        assert found["clean_pool"].metadata["num_preference_cycle"].value == 3
        routed = found["unverified_pool"].metadata["num_risky_routed"].value
        assert routed == len(unverified) - 3
        assert found["wild_pool"].metadata["num_risky_left"].value == wild["risky"].sum()
        return routed

    assert pools(0.0) == 0
    assert pools(0.5) == 0  # at most one pair, but a contradiction is two
    assert pools(0.7) == 2
    assert pools(2.0) == 5  # the cycle of three too


def test_near_duplicates_are_reported_with_their_relation(place):
    ask = "Explain in plain words why the sky over the harbour turns red when evening comes near us"
    sun = "Low sun crosses more air, blue light is scattered away, red light is what is left over"
    sea = "Because the sea is blue in daytime and the evening wind carries its colour far away"
    rows = [
        {"prompt": ask, "chosen": sun, "rejected": sea},
        {"prompt": f"{ask} now", "chosen": sea, "rejected": sun},
        {"prompt": f"{ask} all", "chosen": sun, "rejected": sea},
    ]
    (place.folder / "web.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = place.run([*POOL, "near_duplicates"])["near_duplicates"].metadata
    assert found["num_links"].value >= 2
    assert found["num_opposite_label"].value >= 1
    assert (found["num_clusters"].value, found["num_in_clusters"].value) == (1, 3)
    assert "opposite_label" in found["links_by_source"].value
    links = read_frame(place.ref("near_duplicates")["links"])
    assert set(links["first_source"]) == {"web"}
    members = read_frame(place.ref("near_duplicates")["members"])
    clean = set(read_frame(place.ref("clean_pool").kept)["pair_id"])
    assert set(members["pair_id"]) <= clean
