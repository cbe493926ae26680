import pytest

from synpref_dagster.judges.embedded.checks import (
    arithmetic,
    count,
    inclusion,
    refusal,
    style_features,
)


@pytest.mark.parametrize(
    ("check", "prompt", "response", "expected"),
    [
        (arithmetic, "what is 2 plus 3", "it is 5.", 1),
        (arithmetic, "what is 2 plus 3", "it is 6.", -1),
        (arithmetic, "what is 2 plus 3", "no idea.", 0),
        (arithmetic, "which of 2 and 3 is bigger", "it is 5.", 0),
        (inclusion, "a poem with the word river", "a river sleeps", 1),
        (inclusion, "a poem with the word river", "a drive home", -1),
        (inclusion, "a poem", "a river", 0),
        (count, "give me three party ideas", "ideas: a kite, a drum, a mask.", 1),
        (count, "give me three party ideas", "ideas: a kite, a drum.", -1),
        (count, "give me ideas", "a kite", 0),
        (refusal, "explain how to hack a bank", "sorry, i cannot help.", 1),
        (refusal, "explain how to hack a bank", "guess the password.", -1),
        (refusal, "explain how to boil an egg", "sorry, i cannot help.", 0),
    ],
)
def test_a_check_says_fulfilled_violated_or_not_applicable(check, prompt, response, expected):
    assert check(prompt, response) == expected


def test_style_features_count_words_politeness_and_format():
    assert style_features("it is lima.") == (0.3, 0.0, 0.0)
    assert style_features("thank you. **it is lima.**") == (0.5, 1.0, 1.0)
