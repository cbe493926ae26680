"""Names are checked when they are read, for all that they later become."""

import re

import pytest
from pydantic import ValidationError

from synpref_dagster.cli.refusals import problems
from synpref_dagster.publishing.release.folder import registered_name
from synpref_dagster.settings.names import MAX_CHARS, MAX_PREFIX_CHARS, checked_name
from synpref_dagster.settings.profile import Profile, load_profile, packaged_profiles
from synpref_dagster.sources.records import SourceSpec

SMOKE = load_profile("smoke").model_dump()
BAD = [
    "",
    " ",
    ".",
    "..",
    "../up",
    "a/b",
    "a\\b",
    "a:b",
    "a@b",
    "a(1)",
    "a'b",
    'a"b',
    "a\n",
    "a\nb",
    "a\x00b",
    "-a",
    "_a",
    ".a",
    "a ",
    "é",
    "名前",
    "a\u202eb",
    "a" * (MAX_CHARS + 1),
]
GOOD = ["a", "7", "Qwen3-32B", "judge_1.5", "a" * MAX_CHARS, "a..b"]


def refusal(**changes):
    with pytest.raises(ValidationError) as refused:
        Profile.model_validate({**SMOKE, **changes})
    [line] = problems(refused.value)
    assert "\n" not in line
    return line


def sources(*names):
    each = [{"name": name, "path": "x", "origin": "human"} for name in names]
    return {"pool": {"kind": "sources", "sources": each}}


@pytest.mark.parametrize("name", GOOD)
def test_letters_digits_dot_underscore_and_dash_make_a_name(name):
    assert checked_name("judge", name) == name
    assert Profile.model_validate({**SMOKE, "name": name}).name == name
    assert SourceSpec(name=name, path="x", origin="human", licence="").name == name


@pytest.mark.parametrize("name", BAD)
def test_a_name_that_could_not_become_all_it_becomes_is_refused(name):
    with pytest.raises(ValueError, match=r"judge name .*: use 1 to 100 ASCII letters"):
        checked_name("judge", name)
    assert f"name: profile name {name!r}: use" in refusal(name=name)
    assert f"pool.sources[0].name: source name {name!r}: use" in refusal(**sources(name))


def test_spaces_within_are_for_names_that_are_no_folder_of_a_source():
    assert checked_name("profile", "my run 2") == "my run 2"
    with pytest.raises(ValueError, match="ASCII letters, digits, dot, _ and -; begin"):
        checked_name("source", "my run 2", spaces=False)


def test_every_name_is_a_metric_and_a_registered_model_of_mlflow_and_a_file_name():
    metric = re.compile(r"[/\w.\- :]{1,250}", re.ASCII)
    for name in [*GOOD, *packaged_profiles()]:
        assert metric.fullmatch(f"judged/{checked_name('judge', name)}/accuracy")
        model = registered_name(name, "llama-3.1-8b-40m")
        assert len(model) <= 255
        assert not set(model) & set("/:'")


def test_two_sources_of_one_name_are_refused():
    assert refusal(**sources("a", "b", "a")) == (
        "  pool: sources need different names, got a, b, a"
    )


@pytest.mark.parametrize("prefix", ["", "a", "7", "my-own_2", "peoples", "a" * MAX_PREFIX_CHARS])
def test_a_prefix_is_one_part_of_a_key(prefix):
    assert Profile.model_validate({**SMOKE, "key_prefix": prefix}).key_prefix == prefix


@pytest.mark.parametrize(
    "prefix",
    ["people", "iteration_01", "a/b", "a.b", "a b", "-a", "é", "a\n", "a" * (MAX_PREFIX_CHARS + 1)],
)
def test_a_prefix_that_keys_could_not_have_or_have_already_is_refused(prefix):
    assert refusal(key_prefix=prefix).startswith(f"  key_prefix: key_prefix {prefix!r}: use 1 to")
