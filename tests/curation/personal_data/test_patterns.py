"""Every kind of personal data is found where it stands, and what only looks like it is not.

All numbers are invented: their check digits were computed, they belong to nobody we know of. Keys
are put together here, so that no scanner of repositories takes them for real ones.
"""

import pytest
from hypothesis import given, settings, strategies as st

from synpref_dagster.curation.personal_data import patterns
from synpref_dagster.curation.personal_data.patterns import (
    KINDS,
    SEPARATOR,
    find_in_texts,
    find_personal_data,
    shape_of,
)
from synpref_dagster.curation.texts.ngrams import BATCH_CHARS

RANDOM = "q7Zr0bTn4Kc9wYd2LmXe8Vs1Hf6Pu3Ga5Jk0" * 2
REAL = [
    ("email", "ann.lee@posteo.de"),
    ("email", "a_b+list@mail.uni-bonn.de"),
    ("phone_number", "+49 30 90182034"),
    ("phone_number", "+1 (212) 736-5080"),
    ("phone_number", "(212) 736-5080"),
    ("phone_number", "212-736-5080"),
    ("phone_number", "1-212-736-5080"),
    ("payment_card", "4929 5071 8263 9413"),  # Visa
    ("payment_card", "5271836495027185"),  # Mastercard
    ("payment_card", "3728-461950-37268"),  # American Express
    ("payment_card", "36271940581635"),  # Diners Club
    ("iban", "DE14 5001 0517 0073 1462 85"),
    ("iban", "GB82LOYD30963497413522"),
    ("iban", "FR51 3000 6000 0172 9385 6401 T42"),
    ("iban", "NO6986017294563"),
    ("us_social_security_number", "536-22-8145"),
    ("ip_address", "93.184.216.34"),
    ("ip_address", "2a02:8071:22c3:9e00::17"),
    ("aws_access_key", "AK" + "IA2E7XQZ4LMPW5TNVB"),
    ("github_token", "gh" + "p_" + RANDOM[:36]),
    ("gitlab_token", "gl" + "pat-" + RANDOM[:20]),
    ("slack_token", "xo" + "xb-" + RANDOM[:40]),
    ("google_api_key", "AI" + "za" + RANDOM[:35]),
    ("stripe_key", "sk" + "_live_" + RANDOM[:24]),
    ("openai_key", "sk" + "-proj-" + RANDOM[:40]),
    ("hugging_face_token", "hf" + "_" + "aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgH"),
    ("json_web_token", "ey" + "JhbGciOiJIUzI1NiJ9." + "ey" + "JzdWIiOiIxMjM0In0." + RANDOM[:43]),
    ("private_key", "-----BEGIN " + "RSA PRIVATE KEY-----\n" + RANDOM[:64]),
]
CLUED = [
    ("phone_number", "tel: 030 901820", "030 901820"),
    ("phone_number", "Call me at 079 460 0958.", "079 460 0958"),
    ("us_social_security_number", "my SSN is 536228145", "536228145"),
]
LOOKALIKES = {
    "placeholder domain": "ann.lee@example.com",
    "reserved domain": "ann@server.local",
    "an office": "support@posteo.de",
    "a repository": "git@github.com:ann/repo.git",
    "a file for double resolution": "icon@2x.png",
    "a decorator": "@pytest.fixture",
    "a mention": "thanks @annlee!",
    "number for films": "(212) 555-0147",
    "company line": "1-800-273-8255",
    "counting up": "+1 234 567 8901",
    "made up by repeating": "+49 30 0000000",
    "digits of no known form": "4157302918",
    "a sum": "x = 7 +12345678",
    "date and time": "2024-01-15 12:30:45",
    "milliseconds": "1509012345678",
    "an ISBN": "978-0-306-40615-7",
    "a UUID": "550e8400-e29b-41d4-a716-446655440000",
    "digits of pi": "3.141592653589793238",
    "wrong check digit of a card": "4929 5071 8263 9414",
    "test card": "4242 4242 4242 4242",
    "wrong check digits of an IBAN": "DE15 5001 0517 0073 1462 85",
    "IBAN of a manual": "DE89 3704 0044 0532 0130 00",
    "IBAN of the wrong length": "GB82LOYD3096349741352",
    "area that was never issued": "666-22-8145",
    "published dummy": "123-45-6789",
    "private address": "192.168.1.10",
    "loopback": "127.0.0.1",
    "version": "1.2.3.4",
    "long version": "10.15.7.1.2",
    "resolver": "8.8.8.8",
    "link-local address": "fe80::1ff:fe23:4567:890a",
    "hardware address": "00:1b:44:11:3a:b7",
    "a scope in C++": "std::vector<a::b>",
    "key of a manual": "AKIAIOSFODNN7EXAMPLE",
    "key of placeholders": "sk-xxxxxxxxxxxxxxxxxxxxxxxx",
    "hyphenated words": "task-force-management-of-something-or-other",
    "name in code": "hf_hub_download_with_retries_and_more_ok",
    "header of a key alone": "-----BEGIN RSA PRIVATE KEY-----",
}


def kinds_in(text):
    return [finding.kind for finding in find_personal_data(text)]


@pytest.mark.parametrize(("kind", "data"), REAL, ids=[f"{kind}-{data[:6]}" for kind, data in REAL])
@pytest.mark.parametrize(
    "frame", ["{}", "Here: {}.", "({})", '"{}",', "first line\n{}\nlast line", "Grüße {} 你好"]
)
def test_data_are_found_where_they_stand(kind, data, frame):
    text = frame.format(data)
    [finding] = find_personal_data(text)
    assert finding.kind == kind
    assert text[finding.start : finding.start + finding.length] == data


@pytest.mark.parametrize(("kind", "text", "data"), CLUED)
def test_a_bare_number_counts_behind_a_word_that_says_what_it_is(kind, text, data):
    [finding] = find_personal_data(text)
    assert (finding.kind, text[finding.start : finding.start + finding.length]) == (kind, data)
    assert kinds_in(data) == []


@pytest.mark.parametrize("text", LOOKALIKES.values(), ids=LOOKALIKES.keys())
def test_what_only_looks_like_personal_data_is_left_alone(text):
    assert kinds_in(f"See {text} for more") == []


def test_every_kind_is_tried_here_and_has_a_level():
    assert {kind for kind, _ in REAL} == set(KINDS)
    assert set(KINDS.values()) == {1, 2, 3}
    assert KINDS["email"] == 1
    assert KINDS["phone_number"] == 2
    assert KINDS["us_social_security_number"] == KINDS["private_key"] == 3


def test_several_findings_come_in_order_of_place():
    text = "ann.lee@posteo.de or +49 30 90182034, then 93.184.216.34"
    assert kinds_in(text) == ["email", "phone_number", "ip_address"]


def test_one_place_is_one_finding_of_the_most_telling_kind():
    # Behind a clue the digits of a card would also pass for a telephone number.
    assert kinds_in("phone: 36271940581635") == ["payment_card"]


def test_nothing_of_the_data_is_in_a_finding():
    [finding] = find_personal_data("write to ann.lee@posteo.de")
    assert finding.shape == "xxx.xxx@xxxxxx.xx"
    assert "ann" not in repr(finding)
    assert shape_of("4929 5071") == "0000 0000"
    assert shape_of("a" * 50) == "x" * 24 + "..."


def test_nothing_is_found_across_two_texts():
    assert find_in_texts(["write to ann.lee", "@posteo.de", "+49 30", "90182034"]) == []


def test_a_text_with_the_separator_in_it_shifts_nothing():
    texts = [f"a{SEPARATOR}b", "ann.lee@posteo.de"]
    [(text, finding)] = find_in_texts(texts)
    assert (text, finding.start) == (1, 0)


def test_texts_beyond_one_batch_are_found_in_their_own_text():
    filler = "nothing to see here " * (BATCH_CHARS // 40)
    texts = [filler, filler + "ann.lee@posteo.de", filler, "bob.ray@posteo.de"]
    assert [(text, f.start) for text, f in find_in_texts(texts)] == [(1, len(filler)), (3, 0)]


@given(st.text(max_size=60), st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_any_text_can_be_searched_and_findings_lie_inside(before, after):
    texts = [before, f"{before} ann.lee@posteo.de {after}", after]
    for text, finding in find_in_texts(texts):
        assert finding.start >= 0
        assert finding.start + finding.length <= len(texts[text])
    alone = [(1, finding) for finding in find_personal_data(texts[1])]
    assert [row for row in find_in_texts(texts) if row[0] == 1] == alone


FRAGMENTS = [data for _, data in REAL] + [
    "AKIA", "sk-", "eyJ", "-----BEGIN ", "a" * 21, "12", "3 (4) 5-6.7/", "é", " ", "\ud800", "_",
]  # fmt: skip


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=8).map("".join))
@settings(max_examples=200, deadline=None)
def test_a_quick_look_for_long_words_and_numbers_misses_nothing(text):
    found = find_personal_data(text)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(patterns, "_runs", lambda plain, table, *, least: [(0, len(plain))])
        assert find_personal_data(text) == found
