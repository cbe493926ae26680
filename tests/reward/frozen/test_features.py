import numpy as np
import pytest
import torch

from synpref_dagster.reward.attention.batching import common_prefix
from synpref_dagster.reward.attention.forward import Mode
from synpref_dagster.reward.attention.padded import padded_inputs
from synpref_dagster.reward.encoding import load_encoder

WIDTH = 32


def texts(pairs):
    conversations = [pair.conversation for pair in pairs]
    return conversations * 2, [p.chosen for p in pairs] + [p.rejected for p in pairs]


@pytest.fixture
def backbone(reader_of):
    return reader_of().backbone


def by_hand(folder, conversation, response, layer):
    """The states of one sequence after a layer, under the norm, by the stock model alone."""
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    encoder = load_encoder(str(folder), max_length_tokens=256)
    [ids] = encoder.encode([conversation], [response])
    with torch.no_grad():
        out = model.base_model(torch.tensor(ids)[None], output_hidden_states=True)
    # transformers gives the last layer's states after the norm, the others before.
    states = out.hidden_states[layer][0]
    num_layers = model.config.num_hidden_layers
    states = states if layer == num_layers else model.base_model.norm(states)
    return states.detach().numpy(), encoder, ids


def test_features_are_the_states_of_the_stock_model_at_the_end_and_over_the_response(
    reader_of, pairs
):
    reader, pair = reader_of(), pairs[0]
    [found] = reader.features([pair.conversation], [pair.chosen])
    for number, layer in enumerate((2, 3)):
        states, encoder, ids = by_hand(reader.folder, pair.conversation, pair.chosen, layer)
        [start] = encoder.response_starts([pair.conversation], [ids])
        last, mean = found[2 * number * WIDTH :][: 2 * WIDTH].reshape(2, WIDTH)
        assert last == pytest.approx(states[-1], abs=1e-5)
        assert mean == pytest.approx(states[start:].mean(axis=0), abs=1e-5)


def test_a_response_begins_behind_the_header_that_asks_for_it(reader_of, pairs):
    encoder = reader_of().encoder
    [ids] = encoder.encode([pairs[0].conversation], [pairs[0].chosen])
    [start] = encoder.response_starts([pairs[0].conversation], [ids])
    assert len(ids) - start == len(pairs[0].chosen.split()) + 1  # its words, and the end


def test_features_do_not_depend_on_order_or_company(backbone, pairs):
    conversations, responses = texts(pairs[:12])
    together = backbone.features(conversations, responses)
    assert together.shape == (24, 4 * WIDTH)
    assert together.dtype == np.float32
    backwards = backbone.features(conversations[::-1], responses[::-1])[::-1]
    alone = [backbone.features([c], [r])[0] for c, r in zip(conversations, responses, strict=True)]
    assert backwards == pytest.approx(together, abs=1e-5)
    assert np.array(alone) == pytest.approx(together, abs=1e-5)


def test_padded_batches_give_the_features_of_packs(backbone, pairs):
    conversations, responses = texts(pairs[:6])
    packed = backbone.features(conversations, responses)
    backbone.forward.mode = Mode.PADDED
    backbone.forward.model.set_attn_implementation("sdpa")
    assert backbone.features(conversations, responses) == pytest.approx(packed, abs=1e-5)
    assert set(padded_inputs(backbone.forward.model, [np.array([1, 2])])) >= {"attention_mask"}


def test_a_shared_prompt_is_forwarded_once(backbone, pairs):
    pair = pairs[0]
    backbone.features([pair.conversation] * 2, [pair.chosen, pair.rejected])
    first, second = backbone.encoder.encode([pair.conversation] * 2, [pair.chosen, pair.rejected])
    shared = common_prefix([first, second])
    assert backbone.num_tokens == backbone.least_tokens == len(first) + len(second) - shared


def test_layers_behind_the_last_one_read_are_not_run(reader_of, pairs):
    backbone = reader_of(layers=(1,)).backbone
    assert len(backbone.forward.model.base_model.layers) == 1
    assert backbone.features([pairs[0].conversation], ["word1"]).shape == (1, 2 * WIDTH)


def test_over_long_sequences_lose_their_beginning_and_are_counted(reader_of, pairs):
    backbone = reader_of(max_length_tokens=16).backbone
    ends = " ".join(f"word{i}" for i in range(2, 17))
    features = backbone.features(
        [pairs[0].conversation] * 2, ["word1 " * 30 + ends, "word9 " * 30 + ends]
    )
    assert backbone.num_truncated == 2
    assert features[0] == pytest.approx(features[1], abs=1e-6)
