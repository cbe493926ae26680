"""The eight sizes of Skywork-Reward-V2 (Section 4): everything that differs per size, in one row.

The rows are plain data: importing this module loads neither torch nor transformers. Each row also
names the tiny stand-in of the same architecture that the offline campaign trains in its place.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from synpref_dagster.settings.models import BackboneSettings, LoraSettings

Architecture = Literal["qwen3", "llama"]

LEARNING_RATE_DEVELOPMENT = 4e-6  # Section 4.1: development runs, every size but 8B
LEARNING_RATE_DEVELOPMENT_8B = 1e-6  # Section 4.1: development runs, 8B
LEARNING_RATE_FINAL = 3e-6  # Section 4.1: final runs, constant, all sizes
BATCH_PAIRS_DEVELOPMENT = 256  # Section 4.1
BATCH_PAIRS_FINAL = 10_240  # Section 4.1
MAX_LENGTH_TOKENS = 16_384  # Section 4.1
STAND_IN_MAX_LENGTH_TOKENS = 1_024


@dataclass(frozen=True, kw_only=True, slots=True)
class StandInShape:
    """Shape of a randomly initialised miniature of a backbone.

    Attributes:
        hidden_size: Width of the residual stream.
        num_layers: Decoder layers; one layer learns fastest per CPU second.
        num_heads: Attention heads, also key/value heads.
        intermediate_size: Width of the MLP.
    """

    hidden_size: int
    num_layers: int = 1
    num_heads: int = 2

    @property
    def intermediate_size(self) -> int:
        """Twice the hidden size."""
        return 2 * self.hidden_size

    @property
    def initializer_range(self) -> float:
        """1/sqrt(hidden): with the usual 0.02 a model this small hardly learns."""
        return float(self.hidden_size**-0.5)


@dataclass(frozen=True, kw_only=True, slots=True)
class Backbone:
    """One released size: what to load and how to train it.

    Attributes:
        model_size: Partition key.
        hub_id: Hugging Face id, or folder, of the instruct model the reward model starts from.
        licence: Licence of the weights, as the hub names it; empty where nobody said.
        pad_token: Token to pad with, distinct from the end-of-sequence token; None where the
            tokenizer names one.
        architecture: Model family, which the stand-in shares; None is read from the weights.
        stand_in: Shape of the miniature used offline; None has none.
        revision: Commit, tag or branch on the hub.
        gguf_file: GGUF file that the weights are taken from.
        learning_rate_development: Learning rate of the development runs.
        learning_rate_final: Learning rate of the final run.
        batch_pairs_development: Pairs per optimizer step in development runs.
        batch_pairs_final: Pairs per optimizer step in the final run.
        max_length_tokens: Longest sequence trained on; longer pairs are left out and counted.
        dtype: Weights and activations of the backbone; the score head is always float32.
        attention: Attention implementation of the engine.
        sees_recycled: Whether the final run also sees the recycled pairs.
        frozen_dtype: That of the backbone where it is only read; None suits the device.
        lora: Low-rank updates in place of training every weight.
    """

    model_size: str
    hub_id: str
    licence: str
    pad_token: str | None
    architecture: Architecture | None = None
    stand_in: StandInShape | None = None
    revision: str | None = None
    gguf_file: str | None = None
    learning_rate_development: float = LEARNING_RATE_DEVELOPMENT
    learning_rate_final: float = LEARNING_RATE_FINAL
    batch_pairs_development: int = BATCH_PAIRS_DEVELOPMENT
    batch_pairs_final: int = BATCH_PAIRS_FINAL
    max_length_tokens: int = MAX_LENGTH_TOKENS
    dtype: str = "bfloat16"
    attention: str = "tree"
    sees_recycled: bool = False
    frozen_dtype: str | None = None
    lora: LoraSettings | None = None

    def origin(self) -> dict[str, str]:
        """Which of the weights at its place: revision and GGUF file, where there are any."""
        told = {"revision": self.revision, "gguf_file": self.gguf_file}
        return {name: value for name, value in told.items() if value is not None}

    def material(self) -> dict[str, Any]:
        """What a key hashes of the row, where it is none of the paper's."""
        told = {**asdict(self), "lora": self.lora and self.lora.model_dump(exclude_none=True)}
        return {name: value for name, value in told.items() if value is not None}


def _qwen3(model_size: str, hub_id: str, hidden_size: int) -> Backbone:
    is_8b = model_size.endswith("-8b")
    return Backbone(
        model_size=model_size,
        hub_id=hub_id,
        architecture="qwen3",
        licence="apache-2.0",
        pad_token="<|endoftext|>",
        stand_in=StandInShape(hidden_size=hidden_size),
        learning_rate_development=(
            LEARNING_RATE_DEVELOPMENT_8B if is_8b else LEARNING_RATE_DEVELOPMENT
        ),
    )


def _llama(
    model_size: str, hub_id: str, hidden_size: int, *, licence: str, sees_recycled: bool = False
) -> Backbone:
    is_8b = "-8b" in model_size
    return Backbone(
        model_size=model_size,
        hub_id=hub_id,
        architecture="llama",
        licence=licence,
        pad_token="<|finetune_right_pad_id|>",
        stand_in=StandInShape(hidden_size=hidden_size),
        learning_rate_development=(
            LEARNING_RATE_DEVELOPMENT_8B if is_8b else LEARNING_RATE_DEVELOPMENT
        ),
        sees_recycled=sees_recycled,
    )


LLAMA_31_8B = "meta-llama/Llama-3.1-8B-Instruct"
BACKBONES: tuple[Backbone, ...] = (
    _qwen3("qwen3-0.6b", "Qwen/Qwen3-0.6B", 80),
    _qwen3("qwen3-1.7b", "Qwen/Qwen3-1.7B", 96),
    _qwen3("qwen3-4b", "Qwen/Qwen3-4B", 112),
    _qwen3("qwen3-8b", "Qwen/Qwen3-8B", 128),
    _llama("llama-3.2-1b", "meta-llama/Llama-3.2-1B-Instruct", 80, licence="llama3.2"),
    _llama("llama-3.2-3b", "meta-llama/Llama-3.2-3B-Instruct", 96, licence="llama3.2"),
    _llama("llama-3.1-8b", LLAMA_31_8B, 128, licence="llama3.1"),
    _llama("llama-3.1-8b-40m", LLAMA_31_8B, 128, licence="llama3.1", sees_recycled=True),
)
MODEL_SIZES: tuple[str, ...] = tuple(row.model_size for row in BACKBONES)


def backbone(model_size: str, own: Sequence[BackboneSettings] = ()) -> Backbone:
    """The row of one partition key.

    Args:
        model_size: the key.
        own: rows of the profile; where there are none the keys are the eight of the paper.

    Raises:
        ValueError: If there is no such row; the message names those that there are.
    """
    known = tuple(row.name for row in own) or MODEL_SIZES
    if model_size not in known:
        raise ValueError(f"unknown model size {model_size!r}; known: {', '.join(known)}")
    papers = next((row for row in BACKBONES if row.model_size == model_size), None)
    settings = next((each for each in own if each.name == model_size), None)
    if settings is None:
        assert papers is not None
        return papers
    return _with_own(papers, settings)


def _with_own(papers: Backbone | None, settings: BackboneSettings) -> Backbone:
    """A row of the profile, completed by the paper's row of its name."""
    fields: dict[str, Any] = {
        "hub_id": settings.path,
        "licence": settings.licence,
        "pad_token": settings.pad_token,
        "revision": settings.revision,
        "gguf_file": settings.gguf_file,
        "learning_rate_development": settings.learning_rate,
        "learning_rate_final": settings.learning_rate,
        "batch_pairs_development": settings.batch_pairs,
        "batch_pairs_final": settings.batch_pairs,
        "max_length_tokens": settings.max_length_tokens,
        "dtype": settings.dtype,
        "frozen_dtype": settings.dtype,
        "lora": settings.lora,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    if papers is None:
        return Backbone(**{"model_size": settings.name, "licence": "", "pad_token": None, **given})
    return replace(papers, **given)
