"""Shapes as the configurations of real models."""

import pytest
from transformers import LlamaConfig, Qwen3Config


@pytest.fixture(scope="session")
def config_of():
    """Gives the configuration that a shape stands for."""

    def made(shape):
        return (Qwen3Config if shape.norms_heads else LlamaConfig)(
            hidden_size=shape.hidden_size,
            num_hidden_layers=shape.num_layers,
            num_attention_heads=shape.num_heads,
            num_key_value_heads=shape.num_kv_heads,
            head_dim=shape.head_dim,
            intermediate_size=shape.intermediate_size,
            vocab_size=shape.vocabulary_size,
            num_labels=1,
            pad_token_id=0,
        )

    return made
