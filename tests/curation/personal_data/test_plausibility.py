"""Check digits and known dummies: what passes could be a person's, what fails could not."""

import pytest
from hypothesis import given, strategies as st
from stdnum import iban as stdnum_iban, luhn

from synpref_dagster.curation.personal_data import plausibility


@given(st.text("0123456789", min_size=14, max_size=14), st.integers(1, 9))
def test_a_card_has_one_check_digit_and_sees_every_single_wrong_digit(digits, change):
    numbers = [f"4{digits}{check}" for check in range(10)]
    sound = [each for each in numbers if luhn.is_valid(each)]
    assert len(sound) == 1
    assert [each for each in numbers if plausibility.is_card_number(each)] in ([], sound)
    wrong = f"4{(int(digits[0]) + change) % 10}{sound[0][2:]}"
    assert not plausibility.is_card_number(wrong)


def iban(country, account):
    """An IBAN with its check digits, by the rule of ISO 13616."""
    rest = int("".join(str(int(letter, 36)) for letter in f"{account}{country}00")) % 97
    return f"{country}{98 - rest:02d}{account}"


@given(st.text("0123456789", min_size=18, max_size=18), st.integers(0, 17), st.integers(1, 9))
def test_an_iban_sees_every_single_wrong_digit(account, place, change):
    sound = iban("DE", account)
    assert plausibility.is_iban(sound) == (sound not in plausibility.DOCUMENTED_IBANS)
    digit = str((int(account[place]) + change) % 10)
    assert not plausibility.is_iban(sound[:4] + account[:place] + digit + account[place + 1 :])


def test_every_documented_iban_is_sound_and_left_out():
    for each in plausibility.DOCUMENTED_IBANS:
        assert iban(each[:2], each[4:]) == each
        assert stdnum_iban.is_valid(each, check_country=False)
        assert not plausibility.is_iban(each)


def test_every_test_card_passes_luhn_and_is_left_out():
    for each in plausibility.TEST_CARDS:
        assert luhn.is_valid(each)
        assert not plausibility.is_card_number(each)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("212-736-5080", True),
        ("1 212 736 5080", True),
        ("112-736-5080", False),  # no area begins with 1
        ("212-136-5080", False),  # no exchange begins with 1
        ("911-736-5080", False),  # an emergency line is no area
        ("212-555-5080", False),  # for films
        ("888-736-5080", False),  # paid by a company
    ],
)
def test_american_numbers_follow_the_numbering_plan(number, expected):
    assert plausibility.is_american_number(number) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0000001", True),
        ("1234567", True),
        ("7654321", True),
        ("8901234", True),
        ("4157302", False),
    ],
)
def test_made_up_numbers_repeat_or_count(text, expected):
    assert plausibility.looks_made_up(text) == expected


def test_a_random_key_varies_and_holds_digits():
    assert plausibility.looks_random("q7Zr0bTn4Kc9wYd2LmXe")
    assert not plausibility.looks_random("your-key-your-key-your")
    assert not plausibility.looks_random("aaaaaaaaaaaaaaaaaaa1")
    assert not plausibility.looks_random("q7Zr0bTn4Kc9wYEXAMPLE")
    assert plausibility.varies("qwZrubTnoKcjwYdlLmXe")
