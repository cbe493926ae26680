"""A licence's name is read for what it says, and silence is never read as permission."""

import pytest

from synpref_dagster.sources.licences import (
    NO_DERIVATIVES,
    NON_COMMERCIAL,
    OWN_TERMS,
    RESTRICTIONS,
    SHARE_ALIKE,
    UNKNOWN,
    Refusal,
    documented_licence,
    is_known,
    licence_page,
    refusals,
    restrictions,
)
from synpref_dagster.sources.public_sets import PUBLIC_SETS

READ = {
    "MIT": [],
    "Apache-2.0": [],
    "CC BY 4.0": [],
    "CC-BY-SA-4.0": [SHARE_ALIKE],
    "cc-by-nc-4.0": [NON_COMMERCIAL],
    "CC BY-NC-ND 4.0": [NO_DERIVATIVES, NON_COMMERCIAL],
    "CC-BY-4.0 (prompts), CC-BY-NC-4.0 (outputs)": [NON_COMMERCIAL],
    "research only, non-commercial": [NON_COMMERCIAL],
    "Llama 3.1 Community Licence": [OWN_TERMS],
    "ODC-BY, gated": [OWN_TERMS],
    "ODC-BY, parts non-commercial": [NON_COMMERCIAL],
    "Apache-2.0, on terms: not to compete with OpenAI": [OWN_TERMS],
    "unknown": [UNKNOWN],
    "": [UNKNOWN],
    "?": [UNKNOWN],
    "none named": [UNKNOWN],
    "see the data card": [UNKNOWN],
    "none named; terms of the Reddit API": [UNKNOWN, OWN_TERMS],
}


@pytest.mark.parametrize(("licence", "expected"), READ.items(), ids=READ.keys())
def test_a_name_says_what_it_says(licence, expected):
    assert restrictions(licence) == expected
    assert is_known(licence) == (UNKNOWN not in expected)
    assert set(expected) <= set(RESTRICTIONS)


@pytest.mark.parametrize(
    ("licence", "page"),
    [
        ("MIT", "https://opensource.org/license/mit"),
        ("CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/"),
        ("CC-BY-NC-SA-3.0", "https://creativecommons.org/licenses/by-nc-sa/3.0/"),
        ("Llama 3.1 Community Licence", None),
        ("unknown", None),
    ],
)
def test_common_licences_have_a_page_and_others_none(licence, page):
    assert licence_page(licence) == page


def test_our_table_speaks_only_of_sets_it_has_and_licences_they_name():
    assert documented_licence("Anthropic/hh-rlhf") == "MIT"
    assert documented_licence("openai/webgpt_comparisons") is None
    assert documented_licence("somebody/else") is None
    assert documented_licence(None) is None


def test_every_licence_of_our_table_is_read():
    read = {each.licence: restrictions(each.licence) for each in PUBLIC_SETS}
    assert read["CC-BY-NC-4.0"] == [NON_COMMERCIAL]
    assert all(UNKNOWN in found for name, found in read.items() if name.startswith("none named"))


COUNTS = [("a", "MIT", 10), ("b", "CC-BY-NC-4.0", 5), ("c", "unknown", 3), ("d", "unknown", 0)]


def test_no_list_refuses_nothing_and_an_empty_list_everything():
    assert refusals(COUNTS, None) == []
    assert [each.source for each in refusals(COUNTS, [])] == ["a", "b", "c"]


def test_a_list_refuses_the_sources_that_have_pairs_under_another_licence():
    assert refusals(COUNTS, ["mit", " CC BY-NC 4.0 "]) == [Refusal("c", "unknown", 3)]
