"""Real preference data and random-weight models that the engine benchmarks run on.

Data comes from the folder in SYNPREF_REAL_DATA (default `../shared/data` beside the checkout) and
is never copied.
"""

import gzip
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen3Config, Qwen3ForSequenceClassification

from synpref_dagster.pairs.record import PreferencePair, Turn
from synpref_dagster.reward.stand_ins import train_tokenizer

VOCABULARY_SIZE = 16_384
MAX_LENGTH_TOKENS = 1_024
SCORING_LENGTH_TOKENS = 4_096
TEMPLATE = (
    "{% for m in messages %}"
    "{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}"
    "{% endfor %}"
)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A Qwen3 shape; the embedding has `VOCABULARY_SIZE` rows."""

    name: str
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int


TINY = Shape(
    name="7M, 4 layers",
    hidden_size=256,
    num_layers=4,
    num_heads=4,
    num_kv_heads=2,
    head_dim=64,
    intermediate_size=768,
)
SMALL = Shape(
    name="34M, 8 layers",
    hidden_size=512,
    num_layers=8,
    num_heads=8,
    num_kv_heads=4,
    head_dim=64,
    intermediate_size=1_536,
)


def real_data() -> Path:
    """Folder of the real data."""
    default = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("SYNPREF_REAL_DATA", default))
    if not folder.is_dir():
        raise SystemExit(f"no real data in {folder}: set SYNPREF_REAL_DATA")
    return folder


def hh_pairs() -> list[PreferencePair]:
    """HH-RLHF harmless test pairs whose transcripts share all but the last answer."""
    file = real_data() / "hh_rlhf_harmless_base_test" / "harmless-base" / "test.jsonl.gz"
    return list(_hh_pairs(file))


def _hh_pairs(file: Path) -> Iterator[PreferencePair]:
    for row in _json_lines(file):
        (prompt, chosen), (other, rejected) = map(_split, (row["chosen"], row["rejected"]))
        if prompt != other or not chosen.strip() or not rejected.strip():
            continue
        yield _pair(_turns(prompt), chosen, rejected, source="hh")


def judgebench_pairs() -> list[PreferencePair]:
    """JudgeBench pairs of the GPT split."""
    pairs = []
    for file in sorted((real_data() / "judgebench" / "data").glob("*.gz")):
        for row in _json_lines(file):
            sides = [row["response_A"], row["response_B"]]
            chosen, rejected = sides if row["label"] == "A>B" else sides[::-1]
            conversation = (Turn(role="user", content=row["question"]),)
            pairs.append(_pair(conversation, chosen, rejected, source="judgebench"))
    return pairs


def rm_bench_pairs() -> list[PreferencePair]:
    """RM-Bench items as three pairs each, concise to markdown: six responses per prompt."""
    pairs = []
    for file in sorted((real_data() / "rm_bench").glob("*.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as stream:
            for item in json.load(stream):
                conversation = (Turn(role="user", content=item["prompt"]),)
                for chosen, rejected in zip(item["chosen"], item["rejected"], strict=True):
                    pairs.append(_pair(conversation, chosen, rejected, source="rm_bench"))
    return pairs


def bench_tokenizer(pairs: Iterable[PreferencePair]) -> Any:
    """Byte-level BPE with 16,384 tokens trained on the pairs, with a Qwen-like template."""
    texts = (
        text
        for pair in pairs
        for text in (*(t["content"] for t in pair.conversation), pair.chosen, pair.rejected)
    )
    tokenizer = train_tokenizer(texts, vocabulary_size=VOCABULARY_SIZE)
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def bench_model(shape: Shape, tokenizer: Any, *, seed: int = 0) -> Any:
    """Qwen3 sequence classifier of a shape with random weights, float32."""
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_kv_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=16_384,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        num_labels=1,
    )
    return Qwen3ForSequenceClassification(config)


def _json_lines(file: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _split(transcript: str) -> tuple[str, str]:
    prompt, _, response = transcript.rpartition("\n\nAssistant:")
    return prompt, response.strip()


def _turns(prompt: str) -> tuple[Turn, ...]:
    turns = []
    for part in (
        prompt.replace("\n\nAssistant:", "\0a").replace("\n\nHuman:", "\0u").split("\0")[1:]
    ):
        role = "user" if part[0] == "u" else "assistant"
        turns.append(Turn(role=role, content=part[1:].strip()))
    return tuple(turns)


def _pair(
    conversation: tuple[Turn, ...], chosen: str, rejected: str, *, source: str
) -> PreferencePair:
    return PreferencePair(
        conversation=conversation,
        chosen=chosen,
        rejected=rejected,
        source=source,
        origin="human",
    )
