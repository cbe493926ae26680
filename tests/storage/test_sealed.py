"""Sealed JSON: a flipped bit is noticed, and files of earlier versions are read as before."""

import json

import pytest

from synpref_dagster.storage.sealed import DamagedError, sealed, unsealed

DOCUMENT = {"rows": 3, "names": ["a", "b"], "share": 0.25}


def test_what_was_sealed_comes_back_without_its_seal():
    assert unsealed(json.dumps(sealed(DOCUMENT))) == DOCUMENT


def test_a_document_of_an_earlier_version_has_no_seal_and_is_read():
    assert unsealed(json.dumps(DOCUMENT)) == DOCUMENT


def test_every_single_flipped_bit_is_refused_or_changes_nothing():
    text = json.dumps(sealed(DOCUMENT)).encode()
    for place in range(len(text) * 8):
        flipped = bytearray(text)
        flipped[place // 8] ^= 1 << place % 8
        try:
            found = unsealed(bytes(flipped))
        except ValueError:
            continue
        # A flip in the name of the seal leaves a foreign key and the document itself as it was.
        assert {name: found[name] for name in DOCUMENT} == DOCUMENT


def test_another_value_under_the_same_seal_is_damage():
    with pytest.raises(DamagedError, match="own hash"):
        unsealed(json.dumps({**sealed(DOCUMENT), "rows": 4}))


def test_a_document_that_was_sealed_for_another_place_is_damage():
    text = json.dumps(sealed(DOCUMENT, place="gold.json"))
    assert unsealed(text, place="gold.json") == unsealed(text) == DOCUMENT
    with pytest.raises(DamagedError, match=r"written for gold\.json"):
        unsealed(text, place="silver.json")


def test_a_document_of_an_earlier_version_names_no_place_and_is_read():
    assert unsealed(json.dumps(DOCUMENT), place="gold.json") == DOCUMENT
