"""The judges of a campaign: what their replies depend on, and who hears of them."""

import dagster as dg

from synpref_dagster.curation.judging.prompts import VERIFICATION
from synpref_dagster.judges.cache import Payer
from synpref_dagster.judges.reservations import Reservations
from synpref_dagster.resources import judges
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.judges import JudgePanel
from synpref_dagster.settings.judges import JudgeEndpoint, JudgeSettings
from synpref_dagster.settings.profile import load_profile


def endpoint(url, name="judge", **changes):
    price = {"usd_per_million_input": 10.0, "max_tokens": 50}
    return JudgeEndpoint(**{"name": name, "base_url": url, "model": name, **price, **changes})


def test_the_data_version_follows_what_decides_replies_and_nothing_else():
    def params(**changes):
        _, panel = materialise_params(**changes)
        return panel.params()

    def materialise_params(**changes):
        settings = JudgeSettings(kind="endpoints", endpoints=[endpoint("http://one/v1", **changes)])
        profile = load_profile("smoke").model_copy(update={"judges": settings})
        campaign = Campaign(profile_json=profile.model_dump_json(), store_root="unused")
        return campaign, JudgePanel(campaign=campaign)

    assert params() == params(timeout_seconds=3.0, max_concurrency=2, max_usd=5.0)
    assert params() != params(temperature=0.1)
    assert params() != params(model="other")
    assert params() != params(num_samples=4)
    assert params() != params(leave_out=("seed",))
    orders = [params(leave_out=each) for each in (("seed", "temperature"), ("temperature", "seed"))]
    assert orders[0] == orders[1]


def test_a_new_way_of_reading_replies_changes_what_llms_decided_and_nothing_else(monkeypatch):
    def panel(**changes):
        profile = load_profile("smoke").model_copy(update={"judges": JudgeSettings(**changes)})
        return JudgePanel(campaign=Campaign(profile_json=profile.model_dump_json(), store_root="x"))

    free, asked = panel(), panel(kind="endpoints", endpoints=[endpoint("http://one/v1")])
    before = [free.params(), asked.params(), asked.identity(VERIFICATION)]
    monkeypatch.setattr("synpref_dagster.resources.judges.REPLIES_VERSION", 99)
    after = [free.params(), asked.params(), asked.identity(VERIFICATION)]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, False]


def test_a_floor_for_judges_and_what_it_rests_on_are_part_of_what_decides_labels():
    def params(**changes):
        settings = JudgeSettings(**changes)
        profile = load_profile("smoke").model_copy(update={"judges": settings})
        campaign = Campaign(profile_json=profile.model_dump_json(), store_root="unused")
        return JudgePanel(campaign=campaign).params()

    assert "floor" not in params()  # what was decided before there were floors keeps its key
    assert params(min_gold_agreement=0.6)["floor"] == [0.6, 60]
    assert params(min_gold_agreement=0.7)["floor"] == [0.7, 60]
    assert params(min_gold_agreement=0.0)["floor"] == [0.0, 60]
    assert params(min_gold_agreement=0.6, num_screened=9)["floor"] == [0.6, 9]


def test_dagster_hears_what_the_clients_of_judges_say():
    settings = JudgeSettings(kind="endpoints", endpoints=[endpoint("http://one/v1")])
    profile = load_profile("smoke").model_copy(update={"judges": settings})
    campaign = Campaign(profile_json=profile.model_dump_json(), store_root="unused")
    [judge] = JudgePanel(campaign=campaign).endpoint_judges("seed")
    assert judge.client.logger.parent is dg.get_dagster_logger()


def test_an_emptied_reply_cache_gives_no_new_budget_and_one_line_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path))
    settings = JudgeSettings(kind="endpoints", endpoints=[endpoint("http://one/v1")], max_usd=1.0)
    profile = load_profile("smoke").model_copy(update={"judges": settings})
    campaign = Campaign(profile_json=profile.model_dump_json(), store_root=profile.store_root())
    panel = JudgePanel(campaign=campaign)
    reserved = Reservations(panel.cache).reserve(
        Payer(campaign=panel.account, asset="seed", judge="judge"), 0.75, fits=lambda _: True
    )
    assert reserved
    panel.endpoint_judges("seed")[0].client.keep_receipts(at_once=True)
    panel.cache.close()
    for path in tmp_path.glob("judge_replies.sqlite*"):
        path.unlink()

    said = []
    monkeypatch.setattr(judges.logger, "warning", lambda text, *values: said.append(text % values))
    again = JudgePanel(campaign=campaign)
    assert Reservations(again.cache).committed(again.account) == {"judge": 0.75}
    [line] = said
    assert "does not know of $0.7500 that campaign smoke-seed-0 has spent" in line
    assert "synpref judges forgive" in line
    again.cache.close()
