import subprocess
import sys

import pytest

from synpref_dagster.reward.backbones import BACKBONES, MODEL_SIZES, backbone
from synpref_dagster.settings.models import BackboneSettings


def test_the_eight_sizes_are_the_partition_keys_in_order():
    assert MODEL_SIZES == (
        "qwen3-0.6b",
        "qwen3-1.7b",
        "qwen3-4b",
        "qwen3-8b",
        "llama-3.2-1b",
        "llama-3.2-3b",
        "llama-3.1-8b",
        "llama-3.1-8b-40m",
    )


def test_rows_carry_the_paper_settings():
    for row in BACKBONES:
        is_8b = "-8b" in row.model_size
        assert row.learning_rate_development == (1e-6 if is_8b else 4e-6)
        assert row.learning_rate_final == 3e-6
        assert (row.batch_pairs_development, row.batch_pairs_final) == (256, 10_240)
        assert row.max_length_tokens == 16_384
        assert row.sees_recycled == (row.model_size == "llama-3.1-8b-40m")


def test_bigger_sizes_have_bigger_stand_ins():
    for architecture in ("qwen3", "llama"):
        widths = [b.stand_in.hidden_size for b in BACKBONES if b.architecture == architecture]
        assert widths == sorted(widths)


def test_unknown_size_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'qwen3-9b'; known: qwen3-0.6b, "):
        backbone("qwen3-9b")


def test_the_table_loads_without_torch():
    code = "import sys, synpref_dagster.reward.backbones; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


OWN = (
    BackboneSettings(name="mine", path="./folder", licence="mit", dtype="float32"),
    BackboneSettings(name="qwen3-0.6b", learning_rate=1e-5, batch_pairs=8),
)


def test_a_row_of_ones_own_says_what_it_says_and_no_more():
    row = backbone("mine", OWN)
    assert (row.hub_id, row.licence, row.pad_token) == ("./folder", "mit", None)
    assert (row.dtype, row.frozen_dtype) == ("float32", "float32")
    assert (row.architecture, row.stand_in) == (None, None)


def test_a_row_of_the_eight_keeps_the_papers_numbers_where_the_profile_says_nothing():
    row, papers = backbone("qwen3-0.6b", OWN), backbone("qwen3-0.6b")
    assert (row.learning_rate_development, row.learning_rate_final) == (1e-5, 1e-5)
    assert (row.batch_pairs_development, row.batch_pairs_final) == (8, 8)
    assert (row.hub_id, row.pad_token, row.stand_in, row.max_length_tokens) == (
        papers.hub_id, papers.pad_token, papers.stand_in, papers.max_length_tokens,
    )  # fmt: skip


def test_sizes_that_a_profile_did_not_name_are_none_of_its():
    with pytest.raises(ValueError, match=r"'qwen3-4b'; known: mine, qwen3-0\.6b"):
        backbone("qwen3-4b", OWN)
