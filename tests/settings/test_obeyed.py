"""What a profile says is obeyed, or refused in one line."""

import importlib
import pkgutil
from typing import get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from synpref_dagster import settings
from synpref_dagster.cli.refusals import problems
from synpref_dagster.curation.evidence.claims import CLAIMS
from synpref_dagster.settings.models import PAPER_SIZES
from synpref_dagster.settings.profile import Profile, load_profile, packaged_profiles
from synpref_dagster.settings.section import Section
from synpref_dagster.settings.stages import CLAIM_NAMES

SMOKE = load_profile("smoke").model_dump()
SOURCE = {"name": "mine", "path": "x", "origin": "human"}
VOTES = {**SOURCE, "format": "crowd_votes"}
JUDGE = {"name": "one", "base_url": "http://one/v1", "model": "m"}
HUB = {"name": "mine", "hub_id": "a/b", "revision": "c", "origin": "human"}


def in_profile(changes):
    """The smoke profile with other tables."""
    pool = {"pool": {"kind": "synthetic_world", **changes["pool"]}} if "pool" in changes else {}
    return Profile.model_validate({**SMOKE, **changes, **pool})


def sections(parent=Section):
    for module in pkgutil.iter_modules(settings.__path__, f"{settings.__name__}."):
        importlib.import_module(module.name)
    for child in parent.__subclasses__():
        yield child
        yield from sections(child)


LINES = [
    (
        {"evidence": {"variants": {"model_size": "qwen3-4b"}}},
        "evidence.variants: model_size is set, but trained_like is 'stages': nobody obeys it. Take "
        "it out, or set trained_like to 'releases'",
    ),
    (
        {"evidence": {"variants": {"training_sets": ["curated"]}}},
        "evidence.variants.training_sets[0]: Input should be 'original', 'original_equal_size', "
        "'filtered', 'filtered_corrected', 'gold_silver', 'final' or 'truth'",
    ),
    (
        {"evidence": {"variants": {"trained_like": "releases", "model_size": "gemma-2-27b"}}},
        "the profile: evidence.variants.model_size: 'gemma-2-27b' is none of the sizes "
        f"{', '.join(PAPER_SIZES)}",
    ),
    (
        {"evidence": {"thresholds": {"labels_improved": 0.1}}},
        f"evidence.thresholds: no claim is called 'labels_improved': choose {', '.join(CLAIMS)}",
    ),
    (
        {"pool": {"sources": [SOURCE]}},
        "pool: sources is set, but kind is 'synthetic_world': nobody obeys it. Take it out, or set "
        "kind to 'sources'",
    ),
    (
        {"pool": {"test_debates": ["a"]}},
        "pool: test_debates is set, but kind is 'synthetic_world': nobody obeys it. Take it out, "
        "or set kind to 'sources'",
    ),
    (
        {"pool": {"kind": "sources", "sources": [SOURCE], "world": {"num_wild": 7}}},
        "pool: world is set, but kind is 'sources': nobody obeys it. Take it out, or set kind to "
        "'synthetic_world'",
    ),
    *(
        (
            {"pool": {"kind": "sources", "sources": [SOURCE], name: value}},
            f"pool: {name} is about sources of format 'crowd_votes', and none is of it: set "
            "the format of the source with the votes",
        )
        for name, value in (
            ("test_debates", ["a"]),
            ("test_splits", [["a"]]),
            ("label_noise", {"longer_share": 0.5}),
        )
    ),
    (
        {"pool": {"kind": "sources", "sources": [VOTES], "test_splits": [["a"], []]}},
        "pool: test_splits holds an empty list: name the debates of each split",
    ),
    (
        {
            "pool": {
                "kind": "sources",
                "sources": [VOTES],
                "test_splits": [["a"]],
                "test_debates": ["b"],
            }
        },
        "pool: give test_debates or test_splits, not both",
    ),
    (
        {"pool": {"kind": "sources"}},
        "pool: kind is 'sources': name one or more [[pool.sources]]",
    ),
    (
        {"pool": {"kind": "sources", "sources": [{"name": "mine", "origin": "human"}]}},
        "pool.sources[0]: source 'mine': give exactly one of path and hub_id",
    ),
    (
        {"pool": {"kind": "sources", "sources": [{**HUB, "path": "x"}]}},
        "pool.sources[0]: source 'mine': give exactly one of path and hub_id",
    ),
    (
        {"pool": {"kind": "sources", "sources": [{**HUB, "revision": None}]}},
        "pool.sources[0]: source 'mine': pin hub data set 'a/b' by revision",
    ),
    (
        {"pool": {"kind": "sources", "sources": [{**SOURCE, "revision": "c"}]}},
        "pool.sources[0]: revision is set, but hub_id is not set: nobody obeys it. Take it out, or "
        "set hub_id",
    ),
    (
        {"pool": {"benchmark_subsets": {"rm_bench": ["chat"]}}},
        "pool: benchmark_subsets names 'rm_bench', but benchmarks does not: nobody obeys it. Take "
        "it out, or say under [pool.benchmarks] where it is",
    ),
    (
        {"pool": {"pii": {"drop_level": 3}}},
        "pool.pii: drop_level is set, but action is 'report': nobody obeys it. Take it out, or set "
        "action to 'drop'",
    ),
    (
        {"pool": {"strict_pass": {"enabled": False, "min_words": 5}}},
        "pool.strict_pass: min_words is set, but enabled is false: nobody obeys it. Take it out, "
        "or set enabled to true",
    ),
    (
        {"judges": {"max_usd": 5.0}},
        "judges: max_usd is set, but endpoints is not set: nobody obeys it. Take it out, or set "
        "endpoints",
    ),
    (
        {"judges": {"endpoints": [JUDGE]}},
        "judges: endpoints are named, but kind is not: write kind = 'endpoints' to ask them, or "
        "kind = 'exemplar' to keep them for later",
    ),
    (
        {"judges": {"num_screened": 9}},
        "judges: num_screened is set, but panel is 'majority' and min_gold_agreement is not set: "
        "nobody obeys it. Take it out, or set panel to 'weighted' or min_gold_agreement",
    ),
    (
        {"judges": {"kind": "endpoints", "endpoints": [{**JUDGE, "max_batches": 3}]}},
        "judges.endpoints[0]: max_batches is set, but batch is false: nobody obeys it. Take it "
        "out, or set batch to true",
    ),
    (
        {"people": {"label_studio_url": "http://x"}},
        "people: label_studio_url is set, but backend is 'recorded': nobody obeys it. Take it out, "
        "or set backend to 'label_studio'",
    ),
    (
        {"people": {"deadline_hours": 72.0}},
        "people: deadline_hours is set, but backend is 'recorded': nobody obeys it. Take it out, "
        "or set backend to 'page' or 'label_studio'",
    ),
    (
        {"people": {"backend": "page", "min_share": 0.5}},
        "people: min_share is set, but deadline_hours is not set: nobody obeys it. Take it out, or "
        "set deadline_hours",
    ),
    (
        {"people": {"backend": "label_studio"}},
        "people: backend is 'label_studio': say where, label_studio_url = 'http://...'",
    ),
    (
        {"shards": {"workers": 8}},
        "shards: workers is set, but executor is 'in_process': nobody obeys it. Take it out, or "
        "set executor to 'processes' or 'ray'",
    ),
    (
        {"shards": {"executor": "processes", "ray": {"address": "auto"}}},
        "shards: ray is set, but executor is 'processes': nobody obeys it. Take it out, or set "
        "executor to 'ray'",
    ),
]


@pytest.mark.parametrize(("changes", "line"), LINES, ids=[line[:50] for _, line in LINES])
def test_what_nobody_obeys_is_refused_in_one_line(changes, line):
    with pytest.raises(ValidationError) as caught:
        in_profile(changes)
    assert [each.strip() for each in problems(caught.value)] == [line]


@pytest.mark.parametrize(
    "changes",
    [
        {"pool": {"kind": "sources", "sources": [VOTES], "test_debates": ["a"]}},
        {"pool": {"kind": "sources", "sources": [VOTES], "test_splits": [["a"], ["b"]]}},
        {"pool": {"kind": "sources", "sources": [VOTES], "label_noise": {"flip_share": 0.3}}},
        {"pool": {"kind": "sources", "sources": [HUB], "allow_missing_files": True}},
        {"pool": {"benchmarks": {"rm_bench": "x"}, "benchmark_subsets": {"rm_bench": ["chat"]}}},
        {"pool": {"pii": {"action": "drop", "drop_level": 3, "num_sampled": 9}}},
        {"pool": {"pii": {"action": "off", "num_sampled": 9}}},  # obeyed when made by hand
        {"judges": {"kind": "exemplar", "endpoints": [JUDGE], "max_usd": 5.0}},
        {
            "judges": {
                "kind": "endpoints",
                "endpoints": [{**JUDGE, "batch": True, "max_batches": 3}],
            }
        },
        {"judges": {"min_gold_agreement": 0.6, "num_screened": 9}},
        {"people": {"backend": "page", "deadline_hours": 72, "min_share": 0.5}},
        {"people": {"backend": "label_studio", "label_studio_url": "http://x"}},
        {"people": {"backend": "recorded", "deadline_hours": None, "min_share": 0.9}},
        {"shards": {"executor": "in_process", "workers": 2}},
        {"shards": {"executor": "processes", "model_workers": 1}},
    ],
)
def test_what_is_obeyed_or_at_its_default_is_accepted_also_by_the_campaign(changes):
    profile = in_profile(changes)
    assert Profile.model_validate_json(profile.model_dump_json()) == profile


@pytest.mark.parametrize("name", packaged_profiles())
def test_a_packaged_profile_that_says_every_field_is_the_same_profile(name):
    profile = load_profile(name)
    assert Profile.model_validate_json(profile.model_dump_json()) == profile


CONDITIONS = [
    (section, name) for section in sections() for name in vars(section).get("obeyed_where", {})
]


@pytest.mark.parametrize(
    ("section", "name"), CONDITIONS, ids=[f"{each.__name__}.{name}" for each, name in CONDITIONS]
)
def test_a_setting_is_accepted_where_its_condition_holds_and_refused_elsewhere(
    section, name, monkeypatch
):
    needs = section.obeyed_where[name]
    monkeypatch.setattr(section, "obeyed_where", {name: needs})

    def check(**neighbours):
        section.model_construct(**{name: object(), **neighbours})._every_setting_is_obeyed()

    for neighbour, values in needs.items():
        field = section.model_fields[neighbour]
        for value in values:
            TypeAdapter(field.annotation).validate_python(value)
            check(**{neighbour: value})
        if not values:
            check(**{neighbour: object()})
        left = set(get_args(field.annotation) or (True, False)) - set(values) if values else [None]
        for value in left:
            with pytest.raises(ValueError, match=f"{name} is set, but .*{neighbour} is "):
                check(
                    **{each: section.model_fields[each].default for each in needs}
                    | ({neighbour: value} if values else {})
                )


def test_the_claims_are_those_of_the_evidence():
    assert tuple(CLAIMS) == CLAIM_NAMES


@pytest.mark.parametrize(
    ("section", "name", "values"),
    [
        ("seed_set", "num_gold", [0]),
        ("seed_set", "num_silver", [0]),  # the seed's model trains on them
        ("seed_set", "validation_share", [0, 1]),
        ("iterations", "num_iterations", [-1]),
        ("iterations", "max_retrieved", [0]),
        ("iterations", "num_human", [-1]),
        ("filtering", "unsure_band", [-0.1, 0.6]),
        ("filtering", "guard_floor", [-0.1, 1.1, float("nan"), float("inf")]),
        ("filtering", "cross_fit_folds", [1]),
        ("gates", "min_gold_accuracy", [-0.1, 1.1]),
        ("evidence", "num_judged", [0]),
        ("evidence", "thresholds", [{"kept_is_right": 1.5}, {"kept_is_right": -1.5}]),
        ("people", "alpha_floor", [-1.1, 1.1]),
        ("people", "deadline_hours", [-1]),
        ("people", "min_pairs_for_alpha", [0]),
        ("judges", "num_samples", [1]),
        ("judges", "num_exemplars", [-1]),
        ("pool", "ngram_words", [0]),
        ("pool", "world", [{"num_unverified": 0}, {"num_wild": 0}, {"num_test": 0}]),
    ],
)
def test_numbers_out_of_range_are_refused(section, name, values):
    for value in values:
        with pytest.raises(ValidationError) as caught:
            in_profile({section: {**SMOKE[section], name: value}})
        [line] = problems(caught.value)
        assert line.strip().startswith(f"{section}.{name}")
