"""Every number of a profile has a least and a most value, every text a rule, found by walking.

Whoever adds a field without them makes this fail; a field that needs none is listed with why.
"""

import importlib
import math
import pkgutil
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator, ValidationError

from synpref_dagster import settings
from synpref_dagster.settings.section import Section

MAY_BE_NEGATIVE = {
    ("PeopleSettings", "alpha_floor"): "Krippendorff's alpha begins at -1",
    ("EvidenceSettings", "thresholds"): "differences of accuracies begin at -1",
}
MAY_EXCEED_ONE = {
    ("PoolSettings", "max_risky_share"): "of the pairs that people labelled, others may be more",
}
RULED_TOGETHER = {  # texts whose rule is one of the section's, with the place that holds it
    ("PoolSettings", "benchmarks", "name"): "check_benchmarks",
    ("PoolSettings", "benchmark_subsets", "name"): "check_benchmarks",
    ("PoolSettings", "benchmark_subsets", ""): "check_benchmarks",
    ("PoolSettings", "custom_benchmarks", "name"): "checked_own_benchmark",
    ("EvidenceSettings", "thresholds", "name"): "_claims_are_known",
    ("JudgeEndpoint", "extra", "name"): "checked_table",
    ("SourceSettings", "options", "name"): "checked_table",
}
ENOUGH = {"PoolSettings": {"kind": "synthetic_world"}}  # for the section's own rules to be asked


def sections(parent=Section):
    for module in pkgutil.iter_modules(settings.__path__, f"{settings.__name__}."):
        importlib.import_module(module.name)
    for child in parent.__subclasses__():
        yield child
        yield from sections(child)


def leaves(annotation, metadata=(), role=""):
    """(plain type, its rules, whether it is a name) of everything that a type is made of."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = [part for each in args[1:] for part in getattr(each, "metadata", [each])]
        yield from leaves(args[0], (*metadata, *inner), role)
    elif origin in (Union, UnionType):
        for each in args:
            yield from leaves(each, metadata, role)
    elif origin is dict:
        yield from leaves(args[0], (), "name")
        yield from leaves(args[1], metadata if args[1] is Any else (), role)
    elif origin in (tuple, list):
        for each in args:
            yield from leaves(each, (), role)
    elif origin is not Literal and annotation is not Ellipsis:
        yield annotation, metadata, role


FIELDS = sorted(
    {
        (section.__name__, name, kind, role, tuple(map(repr, rules))): (section, field, rules)
        for section in sections()
        for name, field in section.model_fields.items()
        for kind, rules, role in leaves(field.annotation, tuple(field.metadata))
        if not (isinstance(kind, type) and issubclass(kind, Section | bool | type(None)))
    }.items(),
    key=lambda each: str(each[0]),
)
NUMBERS = {(of, name): made for (of, name, kind, *_), made in FIELDS if kind in (int, float)}
TEXTS = {
    (of, name, role): (kind, rules)
    for (of, name, kind, role, _), (_, _, rules) in FIELDS
    if kind in (str, Any)
}


def complaints(section, **values):
    """The places that a section complains about when only these fields are given."""
    try:
        section.model_validate({**ENOUGH.get(section.__name__, {}), **values})
    except ValidationError as error:
        return {each["loc"][0] for each in error.errors() if each["loc"]} | (
            set(values) if any(not each["loc"] for each in error.errors()) else set()
        )
    return set()


def refuses(section, name, value):
    """Whether a field refuses a value, alone and as the value of a table."""
    return name in complaints(section, **{name: value})


def test_the_walk_meets_every_kind_of_field():
    assert len(NUMBERS) > 50
    assert len(TEXTS) > 25
    kinds = {kind for (_, _, kind, *_), _ in FIELDS}
    assert kinds == {int, float, str, Any}  # another kind needs a rule here first


@pytest.mark.parametrize(("section", "name"), sorted(NUMBERS), ids=".".join)
def test_every_number_has_a_least_and_a_most_value(section, name):
    _, _, rules = NUMBERS[section, name]
    low = [getattr(each, "ge", getattr(each, "gt", None)) for each in rules if _is(each, Ge, Gt)]
    high = [getattr(each, "le", getattr(each, "lt", None)) for each in rules if _is(each, Le, Lt)]
    assert low
    assert high
    assert (min(low) >= 0) == ((section, name) not in MAY_BE_NEGATIVE)
    assert max(high) <= 1 << 32
    if name.endswith(("_share", "_floor", "_accuracy", "_agreement", "_similarity")):
        assert (max(high) <= 1) == ((section, name) not in MAY_EXCEED_ONE)


@pytest.mark.parametrize(("section", "name"), sorted(NUMBERS), ids=".".join)
def test_no_number_is_taken_that_is_none_or_absurd(section, name):
    model, field, _ = NUMBERS[section, name]
    absurd = [math.nan, math.inf, -math.inf, -2, 10**18, 1e300, True, "many", "nan", [1]]
    if get_origin(field.annotation) is dict:  # thresholds
        wanted = next(iter(settings_of_claims()))
        assert [v for v in absurd if not refuses(model, name, {wanted: v})] == []
    else:
        several = tuple in map(get_origin, (field.annotation, *get_args(field.annotation)))
        values = [[v] for v in absurd] if several else absurd
        assert [v for v in values if not refuses(model, name, v)] == []


def settings_of_claims():
    from synpref_dagster.settings.stages import CLAIM_NAMES

    return CLAIM_NAMES


@pytest.mark.parametrize(("section", "name", "role"), sorted(TEXTS), ids="-".join)
def test_every_text_has_a_rule(section, name, role):
    _, rules = TEXTS[section, name, role]
    has_rule = any(_is(each, AfterValidator) for each in rules)
    assert has_rule != ((section, name, role) in RULED_TOGETHER)


@pytest.mark.parametrize(("section", "name", "role"), sorted(TEXTS), ids="-".join)
def test_no_text_may_hold_what_ends_it_for_others(section, name, role):
    model = next(each for each in sections() if each.__name__ == section)
    text = "a\x00b"
    tables = {"name": {text: "x"}, "": {"reward_bench": text}}
    for value in (text, [text], tables[role], {"reward_bench": [text]}, {"a": {"b": [text]}}):
        assert refuses(model, name, value)


def test_the_exceptions_are_fields_and_needed():
    assert set(MAY_BE_NEGATIVE) | set(MAY_EXCEED_ONE) <= set(NUMBERS)
    assert set(RULED_TOGETHER) <= set(TEXTS)


def _is(rule, *kinds):
    return isinstance(rule, kinds)
