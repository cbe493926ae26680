"""Languages are told by letters and by small words."""

import pytest

from synpref_dagster.preview.languages import OTHER, count_languages, language_of


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Can you tell me what the capital of Norway is?", "English"),
        ("hey, add 3 and 2 shells for my sister", "English"),
        ("Kannst du mir sagen, was die Hauptstadt ist und wie ich da hin komme?", "German"),
        ("Quelle est la capitale du pays, et que faire dans la ville ?", "French"),
        ("¿Cuál es la capital del país y qué se puede hacer en la ciudad?", "Spanish"),
        ("Wat is de hoofdstad van het land en hoe kom ik er?", "Dutch"),
        ("请告诉我这个国家的首都是哪里", "Chinese"),
        ("この国の首都はどこですか", "Japanese"),
        ("이 나라의 수도는 어디입니까", "Korean"),
        ("Какая столица этой страны?", "Russian or another in Cyrillic"),
        ("def f(x): return x ** 2", OTHER),
        ("", OTHER),
    ],
)
def test_a_text_is_of_the_language_of_its_small_words_or_letters(text, language):
    assert language_of(text) == language


def test_a_chinese_name_makes_no_english_text_chinese():
    assert language_of("What is the meaning of the name 王 and where is it from?") == "English"


def test_languages_are_counted_by_text():
    texts = ["What is it and why?", "Was ist das und wie?", "Who is the man in the hall?"]
    assert count_languages(texts) == {"English": 2, "German": 1}
