"""The sensor that continues a campaign when the batches of its judges are answered."""

from synpref_dagster.definitions.build import build_defs
from synpref_dagster.settings.judges import JudgeEndpoint, JudgeSettings
from synpref_dagster.settings.profile import load_profile


def endpoint(url, name="judge", **changes):
    price = {"usd_per_million_input": 10.0, "max_tokens": 50}
    return JudgeEndpoint(**{"name": name, "base_url": url, "model": name, **price, **changes})


def test_the_sensor_of_batches_exists_only_where_batches_are_sent():
    profile = load_profile("smoke")
    names = {sensor.name for sensor in build_defs(profile).sensors or []}
    assert "judge_batches" not in names
    settings = JudgeSettings(kind="endpoints", endpoints=[endpoint("http://one/v1", batch=True)])
    with_batches = profile.model_copy(update={"judges": settings})
    names = {sensor.name for sensor in build_defs(with_batches).sensors or []}
    assert "judge_batches" in names
