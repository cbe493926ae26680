"""Operations and memory of one forward or step of the packed engine, for a shape.

What is counted is what `attention.forward` and `training.batch_step` do: a shared prompt is
forwarded once, the last layer runs at scored positions only, there are no logits over a
vocabulary. The tests hold every formula against the engine, run on tensors without memory.
"""

from dataclasses import dataclass

from synpref_dagster.reward.prediction.shapes import Shape

PROMPT_SHARE = 0.2  # of a pair's tokens; the two responses have the rest, in equal parts
ATTENTION_BACKWARD = 2.5  # five products for two: flash attention computes the scores again
FLOAT, HALF = 4, 2  # bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What is forwarded.

    Attributes:
        num_tokens: Tokens, a shared prompt once.
        num_seen: Pairs of a token and one that it attends to, itself included.
        num_scored: Sequences, each scored at its last token.
        seen_by_scored: Those of `num_seen` whose first token is a scored one.
    """

    num_tokens: float
    num_seen: float
    num_scored: float
    seen_by_scored: float

    def times(self, number: float) -> "Load":
        """So many of it."""
        return Load(
            num_tokens=number * self.num_tokens,
            num_seen=number * self.num_seen,
            num_scored=number * self.num_scored,
            seen_by_scored=number * self.seen_by_scored,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """Floating-point operations, a multiplication and its addition counted as two.

    Attributes:
        products: Of linear layers.
        attention: Of queries with keys, and of the weights with values.
    """

    products: float
    attention: float

    @property
    def total(self) -> float:
        """Both."""
        return self.products + self.attention


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Bytes that are held at the fullest moment of a step.

    Attributes:
        weights: Of the model; float32 in training.
        copies: bfloat16 copies of the weights, which autocast makes.
        gradients: float32.
        optimizer: AdamW's two moments, float32.
        activations: Kept for the backward pass.
    """

    weights: float
    copies: float = 0.0
    gradients: float = 0.0
    optimizer: float = 0.0
    activations: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.weights + self.copies + self.gradients + self.optimizer + self.activations


def pair_load(num_tokens: float) -> Load:
    """A prompt with two responses, of so many tokens together."""
    prompt = PROMPT_SHARE * num_tokens
    response = (num_tokens - prompt) / 2
    own = response * (response + 1) / 2
    return Load(
        num_tokens=num_tokens,
        num_seen=prompt * (prompt + 1) / 2 + 2 * (response * prompt + own),
        num_scored=2,
        seen_by_scored=2 * (prompt + response),
    )


def forward_work(shape: Shape, load: Load) -> Work:
    """One forward of the engine, score head included."""
    matrices = {name: wide * high for name, (wide, high) in shape.matrices.items()}
    keys = matrices["k_proj"] + matrices["v_proj"]
    full = shape.num_layers - 1
    products = 2 * load.num_tokens * (full * shape.layer_products + keys)
    products += 2 * load.num_scored * (shape.layer_products - keys + shape.hidden_size)
    seen = full * load.num_seen + load.seen_by_scored
    return Work(products=products, attention=4 * shape.query_width * seen)


def step_work(
    shape: Shape, load: Load, *, checkpointing: bool, lora_weights: int | None = None
) -> Work:
    """Forward and backward of a training step.

    Args:
        shape: The model.
        load: All pairs of the step.
        checkpointing: Whether the layers are forwarded once more in the backward pass.
        lora_weights: Weights of low-rank updates (`Shape.num_updates`); None trains every weight.
    """
    forward = forward_work(shape, load)
    # Backward: a product for the gradient of the input, and one for that of a trained weight.
    products = (3 if lora_weights is None else 2) * forward.products
    products += 6 * load.num_tokens * (lora_weights or 0)
    attention = (1 + ATTENTION_BACKWARD) * forward.attention
    if checkpointing:
        # The last layer is not checkpointed, and a layer's last product is not needed again.
        down, up = shape.matrices["down_proj"]
        again = shape.layer_products - down * up
        products += 2 * load.num_tokens * (shape.num_layers - 1) * again
        attention += 4 * shape.query_width * (shape.num_layers - 1) * load.num_seen
    return Work(products=products, attention=attention)


def step_memory(
    shape: Shape,
    num_tokens: float,
    *,
    dtype: str,
    checkpointing: bool,
    lora_weights: int | None = None,
) -> Memory:
    """Memory of a training step whose largest pack has so many tokens.

    Args:
        shape: The model.
        num_tokens: Tokens of the pack.
        dtype: bfloat16 trains float32 weights under autocast; float32.
        checkpointing: Whether only each layer's input is kept.
        lora_weights: Weights of low-rank updates; None trains every weight.
    """
    half = dtype == "bfloat16"
    updates = lora_weights or 0
    trained = shape.num_parameters if lora_weights is None else updates
    kept = activation_bytes(shape, half=half, checkpointing=checkpointing)
    return Memory(
        weights=FLOAT * (shape.num_parameters + updates),
        copies=HALF * (shape.num_products + updates) if half else 0,
        gradients=FLOAT * trained,
        optimizer=2 * FLOAT * trained,
        activations=num_tokens * kept,
    )


def activation_bytes(shape: Shape, *, half: bool, checkpointing: bool) -> float:
    """Bytes per token at the fullest moment: in the forward pass, or where a layer is redone.

    Args:
        shape: The model.
        half: Whether products are computed in bfloat16; the residual stream stays float32.
        checkpointing: Whether only each layer's input is kept.
    """
    layers = shape.num_layers - 1
    full, last = _layer_bytes(shape, half=half), _last_layer_bytes(shape, half=half)
    if not checkpointing:
        return layers * full + last
    return layers * FLOAT * shape.hidden_size + max(last, full)


def _layer_bytes(shape: Shape, *, half: bool) -> float:
    """What a decoder layer keeps of a token; in bfloat16 every product has its input cast anew."""
    size, inputs = (HALF, 5) if half else (FLOAT, 2)
    norms = 4 * FLOAT * shape.hidden_size + 2 * FLOAT
    products = size * (inputs * shape.hidden_size + 4 * shape.intermediate_size)
    attended = size * 2 * (shape.query_width + shape.key_width) + FLOAT * shape.num_heads
    normed = _head_norm_bytes(shape, shape.num_heads + shape.num_kv_heads, size=size)
    return norms + products + attended + normed


def _last_layer_bytes(shape: Shape, *, half: bool) -> float:
    """What the last layer keeps of a token that is not scored: keys and values, and their input."""
    size, inputs = (HALF, 2) if half else (FLOAT, 1)
    norm = 2 * FLOAT * shape.hidden_size + FLOAT
    products = size * (inputs * shape.hidden_size + 2 * shape.key_width)
    return norm + products + _head_norm_bytes(shape, shape.num_kv_heads, size=size)


def _head_norm_bytes(shape: Shape, num_heads: int, *, size: int) -> float:
    if not shape.norms_heads:
        return 0
    return num_heads * (shape.head_dim * (FLOAT + size) + FLOAT)
