"""The shape of a backbone, from which everything that it costs follows.

Those of the paper's sizes stand here, so that nothing has to be downloaded to know what they take;
any other is read from its configuration and compared with the model that transformers builds.
Legend: h hidden size, I width of the MLP, H query heads, K key/value heads, D head size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synpref_dagster.reward.backbones import Backbone


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A decoder with grouped heads, gated MLP and root-mean-square norms, under a reward head.

    Attributes:
        hidden_size: h.
        num_layers: Decoder layers.
        num_heads: H.
        num_kv_heads: K.
        head_dim: D.
        intermediate_size: I.
        vocabulary_size: Rows of the embedding.
        norms_heads: Whether queries and keys are normalised per head (Qwen3).
        has_biases: Whether queries, keys and values have biases (Qwen2).
    """

    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    vocabulary_size: int
    norms_heads: bool = False
    has_biases: bool = False

    @property
    def query_width(self) -> int:
        """H * D."""
        return self.num_heads * self.head_dim

    @property
    def key_width(self) -> int:
        """K * D."""
        return self.num_kv_heads * self.head_dim

    @property
    def matrices(self) -> Mapping[str, tuple[int, int]]:
        """(in, out) of every linear layer of a decoder layer, by its name."""
        h, wide = self.hidden_size, self.intermediate_size
        return {
            "q_proj": (h, self.query_width),
            "k_proj": (h, self.key_width),
            "v_proj": (h, self.key_width),
            "o_proj": (self.query_width, h),
            "gate_proj": (h, wide),
            "up_proj": (h, wide),
            "down_proj": (wide, h),
        }

    @property
    def layer_products(self) -> int:
        """Weights of the linear layers of one decoder layer: each multiplies every token once."""
        return sum(wide * high for wide, high in self.matrices.values())

    @property
    def num_products(self) -> int:
        """The same of all layers."""
        return self.num_layers * self.layer_products

    @property
    def num_parameters(self) -> int:
        """All weights of the reward model: embedding, layers, final norm and score head.

        Whether a language model ties its output to the embedding makes no difference: a reward
        model has no output over the vocabulary.
        """
        norms = 2 * self.hidden_size + (2 * self.head_dim if self.norms_heads else 0)
        biases = self.query_width + 2 * self.key_width if self.has_biases else 0
        layers = self.num_layers * (self.layer_products + norms + biases)
        return self.vocabulary_size * self.hidden_size + layers + 2 * self.hidden_size

    def num_updates(self, rank: int, names: tuple[str, ...] | None = None) -> int:
        """Weights of low-rank updates of these linear layers (None: of all), and the score head."""
        sides = [w + h for name, (w, h) in self.matrices.items() if names is None or name in names]
        return self.num_layers * rank * sum(sides) + self.hidden_size


def _shape(sizes: tuple[int, ...], *, norms_heads: bool = False) -> Shape:
    hidden, layers, heads, kv_heads, head_dim, wide, vocabulary = sizes
    return Shape(
        hidden_size=hidden,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        intermediate_size=wide,
        vocabulary_size=vocabulary,
        norms_heads=norms_heads,
    )


# h, layers, H, K, D, I, vocabulary: from the config.json of each id on the hub.
_QWEN3 = {
    "Qwen/Qwen3-0.6B": (1_024, 28, 16, 8, 128, 3_072, 151_936),
    "Qwen/Qwen3-1.7B": (2_048, 28, 16, 8, 128, 6_144, 151_936),
    "Qwen/Qwen3-4B": (2_560, 36, 32, 8, 128, 9_728, 151_936),
    "Qwen/Qwen3-8B": (4_096, 36, 32, 8, 128, 12_288, 151_936),
}
_LLAMA = {
    "meta-llama/Llama-3.2-1B-Instruct": (2_048, 16, 32, 8, 64, 8_192, 128_256),
    "meta-llama/Llama-3.2-3B-Instruct": (3_072, 28, 24, 8, 128, 8_192, 128_256),
    "meta-llama/Llama-3.1-8B-Instruct": (4_096, 32, 32, 8, 128, 14_336, 128_256),
    "HuggingFaceTB/SmolLM2-135M-Instruct": (576, 30, 9, 3, 64, 1_536, 49_152),
}
SHAPES: Mapping[str, Shape] = {
    **{hub_id: _shape(sizes, norms_heads=True) for hub_id, sizes in _QWEN3.items()},
    **{hub_id: _shape(sizes) for hub_id, sizes in _LLAMA.items()},
}
"""Hub id -> shape."""


def shape_of(row: Backbone, place: str | None = None) -> Shape:
    """The shape of a size's backbone.

    Args:
        row: The size.
        place: Folder or hub id that it starts from; None is the row's own.

    Raises:
        ValueError: Its configuration cannot be read, or it is built otherwise.
    """
    place = place or row.hub_id
    known = SHAPES.get(place)
    return known if known and not row.gguf_file else _shape_from_config(place, row)


def _shape_from_config(place: str, row: Backbone) -> Shape:
    from transformers import AutoConfig

    where = {"revision": row.revision, "gguf_file": row.gguf_file} if place == row.hub_id else {}
    try:
        config = AutoConfig.from_pretrained(place, **{k: v for k, v in where.items() if v})
    except (OSError, ValueError, KeyError, ImportError) as error:
        what = str(error).splitlines()[0]
        raise ValueError(f"{place}: its configuration cannot be read: {what}") from error
    return checked_shape(config, place=place)


def checked_shape(config: Any, *, place: str) -> Shape:
    """The shape that a configuration of transformers describes, if it has all weights of its model.

    Args:
        config: The configuration.
        place: What to call it in an error.

    Raises:
        ValueError: The model has other weights: experts, other norms, encoders.
    """
    text = config.get_text_config()
    try:
        shape = Shape(
            hidden_size=text.hidden_size,
            num_layers=text.num_hidden_layers,
            num_heads=text.num_attention_heads,
            num_kv_heads=text.num_key_value_heads,
            head_dim=getattr(text, "head_dim", None)
            or text.hidden_size // text.num_attention_heads,
            intermediate_size=text.intermediate_size,
            vocabulary_size=text.vocab_size,
            norms_heads=text.model_type == "qwen3",
            has_biases=text.model_type == "qwen2",
        )
    except (AttributeError, TypeError):
        shape = None
    if shape is None or shape.num_parameters != num_parameters(config):
        raise ValueError(
            f"{place}: what {config.model_type!r} takes cannot be predicted, it is built otherwise "
            "than Llama, Mistral, Qwen2 and Qwen3; it can be trained all the same"
        )
    return shape


def num_parameters(config: Any) -> int:
    """Weights of the reward model that transformers builds of a configuration, without memory."""
    import torch
    from transformers import AutoModelForSequenceClassification

    config.num_labels = 1
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
    return sum(weight.numel() for weight in model.parameters())
