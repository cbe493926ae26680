"""The five attributes of a pair: legal values, rows and the text that retrieval embeds."""

import pytest

from synpref_dagster.pairs.attributes import (
    ATTRIBUTE_COLUMNS,
    TASK_CATEGORIES,
    PreferenceAttributes,
    attributes_from_row,
    embedding_text,
)
from synpref_dagster.pairs.record import PreferencePair

ROW = {
    "task_category": "math",
    "objectivity": "objective",
    "controversiality": "low",
    "desired_attributes": "correct",
    "annotation_guideline": "check the sum",
}
PAIR = PreferencePair(
    conversation=(
        {"role": "user", "content": "1 + 1?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "2 + 2?"},
    ),
    chosen="4",
    rejected="5",
    source="s",
    origin="human",
)


def test_attributes_survive_a_row():
    attributes = attributes_from_row({**ROW, "pair_id": "ignored"})
    assert attributes.as_text_fields() == ROW
    assert tuple(ROW) == ATTRIBUTE_COLUMNS


@pytest.mark.parametrize("category", TASK_CATEGORIES)
def test_every_category_is_legal(category):
    assert attributes_from_row({**ROW, "task_category": category}).task_category == category


@pytest.mark.parametrize("name", ["task_category", "objectivity", "controversiality"])
def test_other_values_are_refused_with_the_legal_ones(name):
    with pytest.raises(ValueError, match=f"{name} is 'none', must be one of"):
        PreferenceAttributes(**{**ROW, name: "none"})


def test_the_embedded_text_has_the_whole_conversation_and_neither_response():
    assert embedding_text(PAIR, None) == "1 + 1?\n2\n2 + 2?"
    assert embedding_text(PAIR, ROW) == "1 + 1?\n2\n2 + 2?\nmath"


def test_the_embedded_text_does_not_depend_on_the_label():
    assert embedding_text(PAIR, ROW) == embedding_text(PAIR.flipped(), ROW)
