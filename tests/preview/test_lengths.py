"""Lengths in tokens, against what the models of a profile take."""

import json

import pytest
from own_files import profile, specs

from synpref_dagster.preview.lengths import TOKENIZER, bytes_per_token, limits
from synpref_dagster.preview.survey import survey
from synpref_dagster.settings.profile import load_profile


@pytest.fixture
def found(tmp_path):
    return survey(specs(tmp_path), seed=0)


def tokenizer(folder):
    """A tokenizer that makes a token of every character."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    core = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    folder.mkdir()
    core.save(str(folder / TOKENIZER))
    (folder / "config.json").write_text(json.dumps({}))
    return str(folder)


def frozen(place, **settings):
    return {
        "backbones": [{"name": "mine", "path": place, **settings}],
        "reward_model": {"backend": "frozen", "model_size": "mine"},
        "release": {"backend": "frozen"},
    }


def test_without_a_tokenizer_four_bytes_are_a_token_and_that_is_said(tmp_path, found):
    [limit] = limits(profile(tmp_path), found)
    assert (limit.max_tokens, limit.is_counted, limit.is_cut, limit.num_over) == (
        1024, False, False, 0
    )  # fmt: skip
    longest = len("tell me in which year the first bridge over the river in this town was built")
    assert limit.longest == (longest + len(" please") + len("who knows")) // 4


def test_tokens_are_those_of_a_tokenizer_at_hand_and_too_long_pairs_are_counted(tmp_path, found):
    place = tokenizer(tmp_path / "tiny")
    [limit] = limits(profile(tmp_path, **frozen(place, max_length_tokens=59)), found)
    assert (limit.size, limit.is_counted, limit.is_cut) == ("mine", True, True)
    assert limit.longest == 83 + len("who knows")
    # the benchmark's question, and the German one with its answer
    assert limit.num_over == 2


def test_sizes_with_one_limit_are_one_line(tmp_path, found):
    [limit] = limits(profile(tmp_path), found)
    assert len(limit.size.split(", ")) == 8


def test_a_text_of_two_bytes_a_letter_has_a_rate_of_its_own(tmp_path, found):
    place = tokenizer(tmp_path / "tiny")
    rates = bytes_per_token(found.sample, f"{place}/{TOKENIZER}")
    assert rates == dict.fromkeys(found.sample, 1.0)
    assert bytes_per_token(found.sample, None) == dict.fromkeys(found.sample, 4.0)


def test_the_longest_is_never_said_to_be_below_the_average(tmp_path):
    [a, *_] = specs(tmp_path)
    row = {"prompt": "abc", "chosen": "abcd", "rejected": "ab"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")  # 7 bytes: 1.75 tokens
    [limit] = limits(load_profile("smoke"), survey([a], seed=0))
    assert (round(limit.tokens_per_pair), limit.longest) == (2, 2)
