"""Stand-ins: the backbones' architectures in miniature, for laptops, tests and the demo.

Same model class and rotary embedding as the real size, random weights, and a tokenizer trained
on the given texts. The same seed and texts give the same files, byte for byte.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from transformers import (
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForSequenceClassification,
)
from transformers.utils import logging as transformers_logging

from synpref_dagster.reward.backbones import MAX_LENGTH_TOKENS, Backbone

PAD, UNKNOWN, END = "<|pad|>", "<|unk|>", "<|end|>"
SPECIAL_TOKENS = [PAD, UNKNOWN, END, "<|system|>", "<|user|>", "<|assistant|>"]
# No system prompt, no date, no BOS: one marker per role, one at the end of each message.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
VOCABULARY_SIZE = 4_096
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8_192,
}


def make_stand_in(
    backbone: Backbone,
    *,
    output_dir: Path,
    seed: int,
    texts: Iterable[str] | None = None,
    tokenizer: Any | None = None,
) -> Path:
    """Write a stand-in as a plain Hugging Face folder and return the folder.

    Args:
        backbone: Row whose architecture and stand-in shape to use.
        output_dir: Folder to write; created when missing.
        seed: Seed of the weights.
        texts: Texts to train a tokenizer on; give these or `tokenizer`.
        tokenizer: Tokenizer to use as it is, with pad token and chat template.

    Raises:
        ValueError: If not exactly one of `texts` and `tokenizer` is given.
    """
    if (texts is None) == (tokenizer is None):
        raise ValueError("give either texts or tokenizer")
    if tokenizer is None:
        assert texts is not None
        tokenizer = train_tokenizer(texts)
    transformers_logging.disable_progress_bar()
    output_dir.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(output_dir)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _build_model(backbone, tokenizer).save_pretrained(output_dir)
    return output_dir


def train_tokenizer(texts: Iterable[str], *, vocabulary_size: int = VOCABULARY_SIZE) -> Any:
    """Tokenizer over the texts: words when all of them fit the vocabulary, else byte-level BPE."""
    lines = list(texts)
    splitter = pre_tokenizers.Whitespace()
    words = {word for line in lines for word, _ in splitter.pre_tokenize_str(line)}
    if len(words) + len(SPECIAL_TOKENS) <= vocabulary_size:
        vocabulary = {word: i for i, word in enumerate([*SPECIAL_TOKENS, *sorted(words)])}
        core = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
        core.pre_tokenizer = splitter
        core.add_special_tokens(SPECIAL_TOKENS)
    else:
        core = Tokenizer(models.BPE())
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder = ByteLevelDecoder()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary_size,
            special_tokens=SPECIAL_TOKENS,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        core.train_from_iterator(lines, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=END,
        model_max_length=MAX_LENGTH_TOKENS,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def _build_model(backbone: Backbone, tokenizer: Any) -> Any:
    shape = backbone.stand_in
    if shape is None:
        raise ValueError(f"{backbone.model_size} has no miniature: only the paper's eight have")
    settings: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "num_key_value_heads": shape.num_heads,
        "head_dim": shape.hidden_size // shape.num_heads,
        "max_position_embeddings": MAX_LENGTH_TOKENS,
        "initializer_range": shape.initializer_range,
        "tie_word_embeddings": False,
        "attention_dropout": 0.0,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "num_labels": 1,
    }
    if backbone.architecture == "qwen3":
        return Qwen3ForSequenceClassification(Qwen3Config(**settings))
    return LlamaForSequenceClassification(LlamaConfig(**settings, rope_parameters=LLAMA3_ROPE))
