"""The engine on a real language model: SmolLM2-135M, 30 layers, three key heads for nine queries.

Training by the engine and by `trl.RewardTrainer`, full, with updates of low rank and of a head on
the frozen backbone; scoring by the engine and by the RewardBench loop. One repeat without a
warm-up: each side takes a minute of one core.
"""

import copy
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from engine_parts.scoring import rows_of_model
from engine_parts.timing import Timed, alternate, both_rows, row, same_gemm, timed
from engine_parts.training import our_training, trl_training
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.reward.attention.forward import verified_forward
from synpref_dagster.reward.checkpoints import load_classifier
from synpref_dagster.reward.encoding import ChatEncoder, EncodedPair, encode_pairs, load_encoder
from synpref_dagster.reward.frozen.features import FrozenBackbone
from synpref_dagster.reward.frozen.heads import HeadChoice, PairFeatures, fit_best_head
from synpref_dagster.reward.training.config import LoraUpdates

NAME = "SmolLM2-135M"
PAD = "<|endoftext|>"
MAX_LENGTH_TOKENS = 1_024
STEPS, BATCH_PAIRS = 2, 8
SCORED_PAIRS = 48
MICRO_BATCHES = (8, 2, 1)
SETTINGS: dict[str, dict[str, Any]] = {
    "all weights": {"rate": 1e-5},
    "LoRA, rank 8": {"rate": 3e-4, "lora": LoraUpdates(rank=8)},
}


def smollm2() -> Path | None:
    """Folder of the weights: SYNPREF_SMOLLM2, else where scripts/services/smollm2.sh puts them."""
    default = Path(__file__).resolve().parents[2] / ".services" / "smollm2-135m-instruct"
    folder = Path(os.environ.get("SYNPREF_SMOLLM2", default))
    return folder if (folder / "config.json").is_file() else None


def real_rows(folder: Path, pairs: Sequence[PreferencePair]) -> Iterator[list[dict[str, Any]]]:
    """Every measurement on real weights, as it is made.

    Args:
        folder: of the weights.
        pairs: HH pairs.
    """
    encoder = load_encoder(
        str(folder), max_length_tokens=MAX_LENGTH_TOKENS, pad_token=PAD, is_start=True
    )
    model = load_classifier(str(folder), pad_token_id=encoder.pad_token_id, new_head_seed=0)
    encoded, _ = encode_pairs(pairs[:64], encoder)
    part = encoded[: STEPS * BATCH_PAIRS]
    batches = [part[BATCH_PAIRS * i : BATCH_PAIRS * (i + 1)] for i in range(STEPS)]
    yield _frozen_rows(model, pairs, part, encoder=encoder)
    for name in SETTINGS:
        yield _training_rows(name, model, batches, tokenizer=encoder.tokenizer)
    yield rows_of_model(
        f"HH, {NAME}",
        pairs[:SCORED_PAIRS],
        tokenizer=encoder.tokenizer,
        plain=copy.deepcopy(model).eval(),
        repeats=1,
        warms_up=False,
    )


def _training_rows(
    name: str, model: Any, batches: Sequence[Sequence[EncodedPair]], *, tokenizer: Any
) -> list[dict[str, Any]]:
    told = SETTINGS[name]
    sides: dict[str, Callable[[int], Timed]] = {
        "ours": lambda _: our_training(model, batches, **told),
        "ours_mkl": same_gemm(lambda _: our_training(model, batches, **told)),
        **{
            f"trl_{size}": lambda _, size=size: trl_training(
                model, batches, tokenizer=tokenizer, micro_batch=size, **told
            )
            for size in MICRO_BATCHES
        },
    }
    results = alternate(sides, repeats=1, warms_up=False)
    ours = np.array(results["ours"][0][2])
    best = _best(results)
    rows = []
    for side, label in (("trl_8", "micro-batch 8"), (best, f"best micro-batch ({best[4:]})")):
        difference = np.abs(np.array(results[side][0][2]) - ours).max()
        title = f"training, HH, {NAME}, {name}, {STEPS} steps of {BATCH_PAIRS}, TRL {label}"
        rows += both_rows(title, results, side, exactness=f"max |dloss| {difference:.1e}")
    return rows


def _frozen_rows(
    model: Any,
    pairs: Sequence[PreferencePair],
    part: Sequence[EncodedPair],
    *,
    encoder: ChatEncoder,
) -> list[dict[str, Any]]:
    """A head on the last layer: read once and fitted, against one pass of TRL over it alone."""
    wanted = {pair.pair_id for pair in part}
    chosen = [pair for pair in pairs if pair.pair_id in wanted]
    depth = model.config.num_hidden_layers
    plain = copy.deepcopy(model).eval()
    fixed = copy.deepcopy(model)
    for name, weight in fixed.named_parameters():
        weight.requires_grad_(name.startswith("score"))
    backbone = FrozenBackbone(verified_forward(copy.deepcopy(model)), encoder, layers=(depth,))
    conversations = [pair.conversation for pair in chosen] * 2
    responses = [pair.chosen for pair in chosen] + [pair.rejected for pair in chosen]

    def ours(_: int) -> Timed:
        def read_and_fit() -> Any:
            read = backbone.features(conversations, responses)
            features = PairFeatures(read[: len(chosen)], read[len(chosen) :])
            head = HeadChoice(layer=depth, pooling="last", penalty=1.0)
            fit_best_head(features, None, choices=[head], layers=(depth,))
            return read

        return timed(read_and_fit)

    sides: dict[str, Callable[[int], Timed]] = {
        "ours": ours,
        **{
            f"trl_{size}": lambda _, size=size: trl_training(
                fixed, [part], tokenizer=encoder.tokenizer, micro_batch=size
            )
            for size in MICRO_BATCHES
        },
    }
    results = alternate(sides, repeats=1, warms_up=False)
    best = _best(results)
    width = model.config.hidden_size
    found = results["ours"][0][2][:, :width]
    difference = np.abs(found - _plain_states(plain, encoder, conversations, responses)).max()
    scale = np.abs(found).max()
    title = f"training, HH, {NAME}, a head, {len(chosen)} pairs, TRL best micro-batch ({best[4:]})"
    exactness = f"max |dfeature| {difference:.1e} of {scale:.0f}"
    return [row(title, results, best, exactness=exactness)]


def _plain_states(model: Any, encoder: ChatEncoder, conversations: Any, responses: Any) -> Any:
    """(n, H) states of the last tokens by plain transformers, one sequence at a time."""
    with torch.inference_mode():
        states = [
            model.base_model(input_ids=torch.from_numpy(ids)[None]).last_hidden_state[0, -1]
            for ids in encoder.encode(conversations, responses)
        ]
    return torch.stack(states).numpy()


def _best(results: dict[str, list[Timed]]) -> str:
    """The fastest of TRL's micro-batches."""
    theirs = [f"trl_{size}" for size in MICRO_BATCHES]
    return min(theirs, key=lambda side: median(each[0] for each in results[side]))
