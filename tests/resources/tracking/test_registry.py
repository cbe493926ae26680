"""Versions of registered models and their aliases, in a real MLflow store."""

import pytest

from synpref_dagster.resources.tracking.registry import CANDIDATE, CHAMPION, FINGERPRINT_TAG


def client_of(tracking):
    return tracking._client()


REGISTERED = "demo-skywork-reward-v2-qwen3-0.6b"


def test_versions_are_found_by_fingerprint_and_aliases_stay_until_moved(tracking):
    registry, client = tracking.registry(), client_of(tracking)

    def register(fingerprint):
        tags = {FINGERPRINT_TAG: fingerprint}
        version = client.create_model_version(REGISTERED, source="file:///tmp/x", tags=tags)
        return int(version.version)

    assert registry.version_of(REGISTERED, "f0") is None
    assert registry.aliased(REGISTERED, CHAMPION) is None
    client.create_registered_model(REGISTERED)
    first, second = register("f0"), register("f1")
    assert registry.aliased(REGISTERED, CHAMPION) is None
    registry.point(REGISTERED, CHAMPION, first)
    registry.point(REGISTERED, CANDIDATE, second)
    assert registry.version_of(REGISTERED, "f1").version == second
    assert registry.aliased(REGISTERED, CHAMPION).version == first
    assert registry.aliased(REGISTERED, CANDIDATE).version == second
    registry.tag(REGISTERED, second, {"synpref.scorecard": "{}"})
    assert registry.aliased(REGISTERED, CANDIDATE).tags["synpref.scorecard"] == "{}"
    with pytest.raises(ValueError, match="quote"):
        registry.version_of("it's", "f0")
