"""Assets that ask LLM judges: labels, the bill in the metadata, and what stops them.

Asked shard by shard, only what came is asked about, and what was answered is found again.
"""

import json
from functools import partial

import dagster as dg
import fake_judge_server as fake
import numpy as np
import pytest
from fakes import NullTracking

from synpref_dagster.assets.asking import (
    PANEL_PARTS,
    ShardTargets,
    ask_judges,
    ask_judges_by_shard,
    leak_spec,
    no_leak_in_any_shard,
)
from synpref_dagster.assets.step import box, campaign_step
from synpref_dagster.curation.judging.labelling import EmbeddedPairs
from synpref_dagster.pairs.accuracy import wilson_interval
from synpref_dagster.pairs.record import PreferencePair, pairs_to_table
from synpref_dagster.resources.attributes import AttributeLabelling
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.io_managers import RefIOManager
from synpref_dagster.resources.judges import JudgePanel
from synpref_dagster.settings.judges import JudgeEndpoint, JudgeSettings
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.storage import iter_tables, read_frame, read_manifest, to_frame

ATTRIBUTES = {
    "task_category": "math",
    "objectivity": "objective",
    "controversiality": "low",
    "desired_attributes": "truth",
    "annotation_guideline": "Check it.",
}


def embedded(start, count):
    pairs = [
        PreferencePair(
            conversation=({"role": "user", "content": f"question {number}"},),
            chosen=f"right {number}",
            rejected=f"wrong {number}",
            source="test",
            origin="human",
        )
        for number in range(start, start + count)
    ]
    vectors = np.eye(64, dtype=np.float32)[:count]
    return EmbeddedPairs(pairs=pairs, attributes=[ATTRIBUTES] * count, vectors=vectors)


@dg.asset(**box("3_seed", kinds={"python"}))
def judged_pairs(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    judges: JudgePanel,
    tracking: NullTracking,
) -> dg.MaterializeResult:
    """Twelve pairs judged with ten gold exemplars."""
    with campaign_step(context, campaign, tracking) as step:
        targets, gold = embedded(0, 12), embedded(100, 10)
        pool = campaign.dataset(
            "pool", lambda: pairs_to_table([*targets.pairs, *gold.pairs]), version="1", inputs=[]
        )
        panel = ask_judges(
            step,
            judges,
            pool=pool,
            targets=lambda: targets,
            gold=lambda: (gold, [1] * 10),
            inputs=[],
        )
        return step.result(panel)


@pytest.fixture
def materialise(tmp_path, monkeypatch):
    """Run the asset with these endpoints; returns Dagster's result and the panel."""
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path))
    monkeypatch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")

    def run(endpoints, **settings):
        judges = JudgeSettings(
            kind="endpoints", num_samples=2, num_exemplars=3, endpoints=endpoints, **settings
        )
        profile = load_profile("smoke").model_copy(update={"judges": judges})
        campaign = Campaign(
            profile_json=profile.model_dump_json(), store_root=str(tmp_path / "campaign")
        )
        panel = JudgePanel(campaign=campaign)
        result = dg.materialize(
            [judged_pairs],
            resources={
                "campaign": campaign,
                "judges": panel,
                "tracking": NullTracking(),
                "refs": RefIOManager(base_uri=str(tmp_path / "refs")),
            },
            raise_on_error=False,
            instance=dg.DagsterInstance.ephemeral(),
        )
        return result, panel

    return run


def endpoint(url, name="judge", **changes):
    price = {"usd_per_million_input": 10.0, "max_tokens": 50}
    return JudgeEndpoint(**{"name": name, "base_url": url, "model": name, **price, **changes})


def answer(body):
    """Right, except the judge `against`."""
    text = body["messages"][-1]["content"]
    target = text[text.index("The pair to decide") :]
    first = (target.index("right") < target.index("wrong")) != (body["model"] == "against")
    return fake.verdict("candidate_1" if first else "candidate_2")


def metadata(result):
    (event,) = result.get_asset_materialization_events()
    return event.step_materialization_data.materialization.metadata


def test_labels_verdicts_and_the_bill_are_kept(materialise):
    with fake.serve(answer) as server:
        endpoints = [endpoint(server.url, name) for name in ("a", "b", "against")]
        result, panel = materialise(endpoints)
        assert result.success
        assert server.num_calls == 12 * 3 * 2
        found = metadata(result)
        assert found["judge_usd/a"].value == pytest.approx(24 * 0.001)
        assert found["judges"].value["b"]["num_calls"] == 24
        assert found["num_labels"].value == 12
        assert "examples" not in found
        result, _ = materialise(endpoints)
        assert result.success
        assert server.num_calls == 72
    labels = panel.campaign.frame(result.output_for_node("judged_pairs")["labels"])
    assert labels["label"].tolist() == [1] * 12
    assert panel.usd("judged_pairs") == pytest.approx({"a": 0.024, "b": 0.024, "against": 0.024})


def test_a_judge_below_the_floor_does_not_vote_and_the_table_says_so(materialise):
    with fake.serve(answer) as server:
        endpoints = [endpoint(server.url, name) for name in ("a", "against")]
        result, panel = materialise(endpoints, min_gold_agreement=0.6, num_screened=5)
    assert result.success
    assert metadata(result)["judges_left_out"].value == [
        {"judge": "against", "reason": "below_floor", "value": 0.0}
    ]
    votes = panel.campaign.frame(result.output_for_node("judged_pairs")["votes"])
    assert set(votes["judge"]) == {"a"}


def test_votes_count_what_judges_proved_worth_on_gold(materialise):
    def two_liars(body):
        return answer({**body, "model": body["model"].removesuffix("-too")})

    with fake.serve(two_liars) as server:
        endpoints = [endpoint(server.url, name) for name in ("a", "against", "against-too")]
        result, panel = materialise(endpoints)
        labels = panel.campaign.frame(result.output_for_node("judged_pairs")["labels"])
        assert set(labels["label"]) == {-1}
        result, panel = materialise(endpoints, panel="weighted", num_screened=10)
    assert result.success
    kept = result.output_for_node("judged_pairs")
    labels = panel.campaign.frame(kept["labels"])
    assert set(labels["label"]) == {1}
    assert set(labels["reason"]) == {"weighted_majority"}
    assert set(labels["num_against"]) == {2}
    shown = {row["judge"]: row["weight"] for row in metadata(result)["judge_weights"].value}
    low, _ = wilson_interval(10, 10)
    assert shown == pytest.approx(
        {"a": np.log(low / (1 - low)), "against": 0.0, "against-too": 0.0}
    )


def test_what_calls_without_an_answer_may_have_cost_stands_apart_from_what_was_paid(materialise):
    def fails_once(body):
        return fake.error(500) if server.num_calls == 1 else answer(body)

    with fake.serve(fails_once) as server:
        result, panel = materialise([endpoint(server.url)])
    found = metadata(result)
    assert found["judge_usd/judge"].value == pytest.approx(24 * 0.001)
    assert found["judge_possible_usd/judge"].value > 0.001  # the most that it could have been
    assert panel.possible_usd("judged_pairs") == {"judge": found["judge_possible_usd/judge"].value}
    facts = found["judges"].value["judge"]
    assert facts["possible_usd"] == pytest.approx(found["judge_possible_usd/judge"].value, abs=1e-6)


def test_a_spent_budget_fails_the_step_for_good_and_a_higher_cap_continues(materialise):
    def long(body):
        return fake.Reply(answer(body), prompt_tokens=3000)

    with fake.serve(long) as server:
        result, panel = materialise([endpoint(server.url)], max_usd=0.3)
        assert not result.success
        (failure,) = [event for event in result.all_events if event.is_step_failure]
        data = failure.step_failure_data
        assert data.user_failure_data is not None
        assert "raise judges.max_usd" in data.user_failure_data.description
        bought = server.num_calls
        assert 0 < bought < 24
        assert sum(panel.usd("judged_pairs").values()) == pytest.approx(bought * 0.03)
        result, _ = materialise([endpoint(server.url)], max_usd=3.0)
        assert result.success
        assert server.num_calls == 24


def test_attributes_come_from_the_judges_when_there_are_endpoints(materialise, tmp_path):
    reply = fake.json.dumps(ATTRIBUTES)
    with fake.serve(lambda _: reply) as server:
        settings = JudgeSettings(kind="endpoints", endpoints=[endpoint(server.url)])
        profile = load_profile("smoke").model_copy(update={"judges": settings})
        campaign = Campaign(profile_json=profile.model_dump_json(), store_root=str(tmp_path))
        panel = JudgePanel(campaign=campaign)
        labelling = AttributeLabelling(judges=panel)
        frame = labelling.label_frame(embedded(0, 3).pairs)
    assert frame["task_category"].tolist() == ["math"] * 3
    assert frame["confidence"].tolist() == [1.0] * 3
    assert panel.usd("attribute_labels") == {"judge": pytest.approx(0.003)}
    assert labelling.params()["labeller"] == "judges"


NUM_GOLD, NUM_SAMPLES, NUM_SHOWN = 6, 2, 3


def pair(number):
    return PreferencePair(
        conversation=({"role": "user", "content": f"question {number}"},),
        chosen=f"right {number}",
        rejected=f"wrong {number}",
        source="test",
        origin="human",
    )


def embed(pairs):
    numbers = [int(each.chosen.split()[1]) for each in pairs]
    return EmbeddedPairs(
        pairs=pairs,
        attributes=[{"task_category": "math"}] * len(pairs),
        vectors=np.eye(64, dtype=np.float32)[[number % 64 for number in numbers]],
    )


def wrong_about_one(body):
    """The right one; of question 1 the wrong one."""
    text = body["messages"][-1]["content"]
    target = text[text.index("The pair to decide") :]
    first = (target.index("right") < target.index("wrong")) != ("question 1\n" in target)
    return fake.verdict("candidate_1" if first else "candidate_2")


class Asking:
    """An asset that asks one judge about shards, in a store of its own."""

    def __init__(self, folder, url):
        endpoint = JudgeEndpoint(name="judge", base_url=url, model="judge", usd_per_million_input=1)
        settings = JudgeSettings(
            kind="endpoints",
            num_samples=NUM_SAMPLES,
            num_exemplars=NUM_SHOWN,
            endpoints=[endpoint],
            cache=str(folder / "replies.sqlite"),
        )
        profile = load_profile("smoke").model_copy(update={"judges": settings})
        self.folder = folder
        self.embed = embed
        self.campaign = Campaign(
            profile_json=profile.model_dump_json(), store_root=str(folder / "store")
        )

    def run(self, shards, *, gold_label=1, by_shard=True):
        """The parts that asking about these shards of pair numbers leaves, and the metadata."""
        dataset = partial(self.campaign.dataset, version="1")
        texts = dataset(
            "texts",
            lambda: [pairs_to_table(map(pair, shard)) for shard in shards],
            inputs=[json.dumps(shards)],
        )
        pool = dataset("pool", lambda: pairs_to_table([pair(0)]), inputs=[])
        gold = embed([pair(number) for number in range(100, 100 + NUM_GOLD)])
        labels = [gold_label, *[1] * (NUM_GOLD - 1)]
        kept = {}

        @dg.asset(**box("3_seed", kinds={"python"}), check_specs=[leak_spec("asked")])
        def asked(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
            judges = JudgePanel(campaign=self.campaign)
            with campaign_step(context, self.campaign, NullTracking()) as step:
                if by_shard:
                    targets = ShardTargets(
                        asked=texts,
                        texts=texts,
                        embed=self.embed,
                        embedded_by={"embedder": "eye"},
                    )
                    kept["panel"] = ask_judges_by_shard(
                        step, judges, pool=pool, targets=targets, gold=(gold, labels)
                    )
                else:
                    every = [pair(number) for shard in shards for number in shard]
                    kept["panel"] = ask_judges(
                        step,
                        judges,
                        pool=pool,
                        targets=lambda: embed(every),
                        gold=lambda: (gold, labels),
                        inputs=[],
                    )
                checks = [no_leak_in_any_shard(step, kept["panel"])]
                return step.result(kept["panel"], checks=checks)

        result = dg.materialize(
            [asked],
            resources={"refs": dg.InMemoryIOManager()},
            instance=dg.DagsterInstance.ephemeral(),
        )
        (event,) = result.get_asset_materialization_events()
        metadata = event.step_materialization_data.materialization.metadata
        [check] = result.get_asset_check_evaluations()
        assert check.passed
        return kept["panel"], {name: value.value for name, value in metadata.items()}

    def forget_replies(self):
        for file in self.folder.glob("replies.sqlite*"):
            file.unlink()


@pytest.fixture
def asking(tmp_path):
    with fake.serve(wrong_about_one) as server:
        asking = Asking(tmp_path, server.url)
        asking.server = server
        yield asking


def rows(panel, part):
    frame = read_frame(panel[part])
    return frame.sort_values(list(frame.columns)).reset_index(drop=True)


def test_shards_get_the_labels_that_all_pairs_at_once_would_get(asking):
    shards = [[0, 1, 2], [], [3, 4]]
    panel, _ = asking.run(shards)
    whole, _ = asking.run([[0, 1, 2, 3, 4]], by_shard=False)
    assert set(panel) == set(whole) == set(PANEL_PARTS)
    assert read_frame(panel["labels"])["label"].tolist() == [1, -1, 1, 1, 1]
    for part in ("labels", "votes", "verdicts", "exemplars", "screening"):
        assert rows(panel, part).equals(rows(whole, part)), part
    for part in PANEL_PARTS:
        assert read_manifest(panel[part]).schema.equals(read_manifest(whole[part]).schema), part
    assert read_frame(panel["bill"])["usd"].sum() == pytest.approx(
        read_frame(whole["bill"])["usd"].sum()
    )
    asked = read_frame(panel["targets"]).query("not gold")
    assert asked["pair_id"].tolist() == [pair(number).pair_id for number in range(5)]


def test_a_shard_keeps_of_gold_only_what_its_judges_were_shown(asking):
    panel, _ = asking.run([[0, 1], [], [2]])
    # All vectors are at right angles: every target is shown the same few of gold.
    assert NUM_SHOWN < NUM_GOLD
    shards = zip(iter_tables(panel["targets"]), iter_tables(panel["exemplars"]), strict=True)
    kept = [(to_frame(targets), to_frame(exemplars)) for targets, exemplars in shards]
    assert [int(targets["gold"].sum()) for targets, _ in kept] == [NUM_SHOWN, 0, NUM_SHOWN]
    for targets, exemplars in kept:
        gold = targets[targets["gold"]]
        assert set(gold["pair_id"]) == set(exemplars["gold_pair_id"])
        assert gold["conversation_id"].notna().all()


def test_a_new_shard_is_asked_about_and_old_ones_are_found_without_their_replies(asking):
    first, told = asking.run([[0, 1], [2]])
    assert told["num_shards_computed"] == 2
    assert asking.server.num_calls == 3 * NUM_SAMPLES
    asking.forget_replies()
    second, told = asking.run([[0, 1], [2], [3]])
    assert told["num_shards_computed"] == 1
    assert told["num_shards_reused"] == 2
    assert asking.server.num_calls == 4 * NUM_SAMPLES
    old, new = read_frame(first["labels"]), read_frame(second["labels"])
    assert new.iloc[: len(old)].equals(old)


def test_other_exemplars_are_another_question(asking):
    asking.run([[0], [1]])
    _, told = asking.run([[0], [1]], gold_label=-1)
    assert told["num_shards_computed"] == 2


def test_nothing_new_asks_nobody_and_gives_the_same_references(asking):
    first, _ = asking.run([[0], [1]])
    asking.forget_replies()
    again, told = asking.run([[0], [1]])
    assert (again, told["num_shards_computed"]) == (first, 0)
    assert asking.server.num_calls == 2 * NUM_SAMPLES


def test_a_shard_answered_before_the_step_failed_is_not_asked_again(asking):
    class DownError(RuntimeError):
        pass

    def fails(pairs):
        if pairs[0].chosen == "right 1":
            raise DownError
        return embed(pairs)

    asking.embed = fails
    with pytest.raises(DownError):
        asking.run([[0], [1]])
    asking.embed = embed
    assert asking.server.num_calls == NUM_SAMPLES
    asking.forget_replies()
    _, told = asking.run([[0], [1]])
    assert (told["num_shards_computed"], told["num_shards_reused"]) == (1, 1)
    assert asking.server.num_calls == 2 * NUM_SAMPLES
