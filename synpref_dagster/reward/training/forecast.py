"""How long a training takes here, measured on a few of its pairs before it begins."""

import time
from collections.abc import Sequence

from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.reward.encoding import encode_pairs, load_encoder
from synpref_dagster.reward.training.batch_step import forward_backward
from synpref_dagster.reward.training.config import TrainingConfig
from synpref_dagster.reward.training.run import start_workers

MEASURED_PAIRS = 8


def seconds_per_pair(
    pairs: Sequence[PreferencePair], *, backbone_path: str, config: TrainingConfig
) -> float:
    """Seconds that a pair takes, forward and backward; the model is loaded and thrown away.

    Args:
        pairs: Training pairs, at least one of them short enough.
        backbone_path: Folder or hub id of the backbone.
        config: Settings.

    Raises:
        ValueError: If none of the first pairs can be trained on.
    """
    encoder = load_encoder(
        backbone_path,
        max_length_tokens=config.max_length_tokens,
        pad_token=config.pad_token,
        is_start=True,
    )
    encoded, _ = encode_pairs(pairs[: 8 * MEASURED_PAIRS], encoder)
    batch = encoded[: min(MEASURED_PAIRS, config.batch_pairs)]
    if not batch:
        raise ValueError(f"none of the first {8 * MEASURED_PAIRS} pairs can be trained on")
    workers = start_workers(backbone_path, encoder, config=config)
    workers.module.train()
    forward_backward(workers, batch, config=config, step=0)  # kernels are chosen
    began = time.perf_counter()
    forward_backward(workers, batch, config=config, step=0)
    return (time.perf_counter() - began) / len(batch)


def num_trained_on(num_pairs: int, config: TrainingConfig) -> int:
    """Pairs that all steps of a training take together, repeats counted.

    >>> num_trained_on(70, TrainingConfig(batch_pairs=32, num_epochs=2))
    140
    >>> num_trained_on(70, TrainingConfig(batch_pairs=32, max_steps=3))
    96
    """
    if config.max_steps is None:
        return config.num_epochs * num_pairs
    return config.max_steps * min(config.batch_pairs, num_pairs)
