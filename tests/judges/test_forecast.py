"""What a campaign may cost, said before it asks."""

from dataclasses import replace

import pytest
from endpoint_profile import small_profile

from synpref_dagster.curation.judging.prompts import PAIRWISE
from synpref_dagster.definitions.build import build_defs
from synpref_dagster.judges.cache import Payer, ReplyCache
from synpref_dagster.judges.forecast import costs_money, fits, forecast, planned
from synpref_dagster.judges.questions import mean_tokens, tokens_of
from synpref_dagster.judges.requests import JudgeReply, JudgeRequest
from synpref_dagster.pairs.record import PreferencePair, pairs_to_table
from synpref_dagster.settings.embedding import BILLED, EndpointEmbedding

PROFILE = small_profile("http://one/v1")
READING = {"pair_embeddings"}  # names the labeller in its key, and asks nobody
JUDGE = PROFILE.judges.endpoints[0].name


def changed(profile, section, **changes):
    part = getattr(profile, section).model_copy(update=changes)
    return profile.model_copy(update={section: part})


def row(found, asset):
    [each] = [each for each in found if (each.asset, each.judge) == (asset, JUDGE)]
    return each


def counts(profile, **sizes):
    return {each.asset: each.num_pairs for each in planned(profile, sizes)}


def everything_asked():
    """A profile in which whatever may ask judges does."""
    profile = changed(PROFILE, "people", backend="page", pre_verify=True)
    strict = profile.pool.strict_pass.model_copy(update={"judges_clear": True})
    return changed(profile, "pool", recheck_contamination=True, strict_pass=strict)


def test_every_asset_that_can_ask_judges_is_in_the_estimate():
    profile = everything_asked()
    graph = build_defs(profile).resolve_asset_graph()
    asking = {
        key.to_user_string()
        for key in graph.materializable_asset_keys
        if {"judges", "labelling"} & graph.get(key).assets_def.required_resource_keys
    }
    assert {each.asset.partition(":")[0] for each in planned(profile, {})} == asking - READING


def test_a_verdict_is_asked_once_per_sample_and_an_attribute_once_per_pair():
    found = forecast(PROFILE, {"unverified_pool": 300}, None, tokens_per_pair=500.0)
    assert row(found, "attribute_labels").num_questions == 300
    assert row(found, "silver_seed").num_questions == 2 * 50
    tokens = tokens_of("attributes", num_exemplars=4, per_pair=500.0)
    usd = 300 * (round(tokens) * 1 + 150 * 4) / 1e6
    assert row(found, "attribute_labels").usd == pytest.approx(usd)


def test_a_question_is_as_long_as_its_prompt_and_the_pairs_in_it():
    def of(task, num_exemplars, per_pair):
        return tokens_of(task, num_exemplars=num_exemplars, per_pair=per_pair)

    for task in ("attributes", "response", "personal_data", "overlap", "verdict_alone"):
        assert of(task, 4, 100.0) - of(task, 4, 0.0) == 100.0
    assert of("verdict", 4, 100.0) - of("verdict", 4, 0.0) == 500.0
    assert of("verdict", 0, 0.0) == of("verdict_alone", 4, 0.0)
    assert 100 < of("verdict", 2, 0.0) - of("verdict", 1, 0.0) < 200  # fences and attributes


def test_weighing_asks_about_gold_wherever_there_is_new_gold():
    two = changed(PROFILE, "iterations", num_iterations=2)
    plain = counts(two)
    for weighing in ({"panel": "weighted"}, {"min_gold_agreement": 0.6}):
        weighed = counts(changed(two, "judges", **weighing, num_screened=53))
        more = {name: weighed[name] - plain[name] for name in plain if weighed[name] != plain[name]}
        # 70 and 85 gold pairs, of which 30% validate
        assert more == {"silver_seed": 49, "iteration_02/judge_votes": 53}


def test_a_pair_with_a_label_is_not_relabelled_and_gold_that_validates_is_asked_about_once():
    known = counts(PROFILE, clean_pool=400, unverified_pool=260)
    assert known["relabelled_pairs"] == (400 - 70 - 50 - 40) / 2
    assert known["relabelled_pairs:attributes"] == 70
    assert (known["judge_audit"], known["judge_audit:none"]) == (3 * 40, 40)
    assert known["judge_audit:attributes"] == 40


def test_a_scan_that_drops_pairs_is_paid_before_the_labels_and_is_no_report():
    pii = PROFILE.pool.pii.model_copy(update={"action": "drop"})
    first = planned(changed(PROFILE, "pool", pii=pii), {})[0]
    assert (first.asset, first.is_report) == ("pii_report", False)
    off = PROFILE.pool.pii.model_copy(update={"action": "off"})
    assert "pii_report" not in counts(changed(PROFILE, "pool", pii=off))


def test_benchmarks_are_counted_apart_for_a_campaign_does_not_ask_about_them():
    found = forecast(PROFILE, {"judge_scores": 10}, None)
    assert row(found, "judge_scores").num_questions == 20
    assert row(found, "judge_scores:attributes").num_questions == 10
    without = [each for each in found if not each.is_extra]
    said = fits(found, cap=99.0, spent=0.0)
    assert said.startswith(fits(without, cap=99.0, spent=0.0))
    usd = sum(each.usd for each in found if each.is_extra)
    assert f"score_judges would cost about ${usd:.2f} on top" in said
    assert "how much is not known" in fits(forecast(PROFILE, {}, None), cap=None, spent=0.0)


def with_vectors(**changes):
    embedding = EndpointEmbedding(
        kind="endpoint", base_url="http://one/v1", model="e", usd_per_million_input=2.0, **changes
    )
    return PROFILE.model_copy(update={"embedding": embedding})


def vectors(profile, **sizes):
    found = forecast(profile, sizes, None, tokens_per_pair=500.0)
    return {each.asset: each for each in found if each.judge == BILLED}


def test_vectors_of_an_endpoint_are_in_the_estimate_by_text():
    found = vectors(with_vectors(), clean_pool=1000, unverified_pool=300)
    # a task for each pair of stage 1 and for half of the others; both answers of every clean pair
    assert found["pair_embeddings"].num_questions == 300 + 350
    assert found["pair_embeddings"].usd == pytest.approx(650 * 100 * 2 / 1e6)
    assert found["semantic_duplicates"].num_questions == 2000
    assert found["semantic_duplicates"].usd == pytest.approx(2000 * 300 * 2 / 1e6)


def test_vectors_without_a_report_and_cut_texts_cost_less():
    found = vectors(with_vectors(min_cosine=0.0, max_characters=200), clean_pool=10)
    assert set(found) == {"pair_embeddings"}
    known = vectors(with_vectors(max_characters=200), clean_pool=10, unverified_pool=10)
    assert known["pair_embeddings"].usd == pytest.approx(10 * 50 * 2 / 1e6)


def test_vectors_that_were_paid_are_not_paid_again(tmp_path):
    cache = ReplyCache(tmp_path / "replies.sqlite")
    profile = with_vectors(min_cosine=0.0)
    payer = Payer(campaign=profile.campaign_name(), asset="pair_embeddings", judge=BILLED)
    request = JudgeRequest(
        endpoint="http://one/v1", model="e", messages=[], prompt=PAIRWISE, sampling={}, sample=0
    )
    reply = JudgeReply(text="", finish_reason="stop", mode="text", prompt_tokens=100 * 40)
    cache.add(request, replace(reply, usd=0.008), payer)
    sizes = {"clean_pool": 100, "unverified_pool": 100}
    [row] = [
        each
        for each in forecast(profile, sizes, cache, tokens_per_pair=500.0)
        if each.judge == BILLED
    ]
    cache.close()
    assert (row.num_questions, row.num_paid) == (100, 40)
    assert row.usd == pytest.approx(60 * 100 * 2 / 1e6)


def test_a_campaign_costs_money_where_only_its_vectors_do():
    free = PROFILE.judges.model_copy(update={"kind": "exemplar"})
    assert not costs_money(PROFILE.model_copy(update={"judges": free}))
    paid = with_vectors().model_copy(update={"judges": free})
    assert costs_money(paid)
    assert {each.judge for each in forecast(paid, {}, None)} == {BILLED}


def test_texts_that_are_there_say_how_long_a_question_is():
    turns = ({"role": "user", "content": "q" * 40}, {"role": "assistant", "content": "a" * 20})
    pairs = [
        PreferencePair(
            conversation=turns, chosen="c" * 100, rejected="é" * 20, source="s", origin="human"
        )
    ]
    table = pairs_to_table(pairs)
    assert mean_tokens([]) is None
    assert mean_tokens([table.slice(0, 0)]) is None
    assert mean_tokens([table.slice(0, 0), table]) == 200 / 4  # bytes, not letters
    short, long = (
        row(forecast(PROFILE, {"unverified_pool": 300}, None, tokens_per_pair=each), "silver_seed")
        for each in (50.0, 150.0)
    )
    assert long.usd_per_question - short.usd_per_question == pytest.approx(5 * 100 / 1e6)


def test_replies_that_are_there_give_the_price_and_are_not_paid_again(tmp_path):
    cache = ReplyCache(tmp_path / "replies.sqlite")
    request = JudgeRequest(
        endpoint="http://one/v1", model="m", messages=[], prompt=PAIRWISE, sampling={}, sample=0
    )
    reply = JudgeReply(
        text="{}", finish_reason="stop", mode="text", prompt_tokens=1000, completion_tokens=250
    )
    cache.add(request, reply, Payer(campaign="smoke-seed-0", asset="silver_seed", judge=JUDGE))
    seed = row(forecast(PROFILE, {}, cache), "silver_seed")
    assert (seed.num_paid, seed.is_measured) == (1, True)
    assert seed.usd == pytest.approx(99 * 0.002)


@pytest.mark.parametrize(
    ("cap", "said"),
    [(1.0, "NOT ENOUGH FOR LABELS"), (5.0, "not for all reports"), (99.0, "it fits")],
)
def test_it_says_whether_the_cap_reaches_for_labels_and_for_reports(cap, said):
    assert said in fits(forecast(PROFILE, {}, None), cap=cap, spent=0.0)
