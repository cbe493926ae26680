"""Checkpoints: a plain Hugging Face folder plus `training.json`, which is written last."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForSequenceClassification
from transformers.utils import logging as transformers_logging

from synpref_dagster.pairs.texts import first_line
from synpref_dagster.reward.folders import (
    check_model,
    folder_fingerprint,
    publish,
    published_training,
    unpublish,
)

__all__ = [
    "folder_fingerprint",
    "load_classifier",
    "publish_checkpoint",
    "published_training",
    "unpublish",
]

HEAD = "score.weight"
LANGUAGE_HEAD = "lm_head."
ADAPTER_FILE = "adapter_config.json"
MAX_LISTED = 6


def load_classifier(
    path: str,
    *,
    pad_token_id: int | None = None,
    dtype: torch.dtype | None = None,
    new_head_seed: int | None = None,
    revision: str | None = None,
) -> Any:
    """Sequence classifier with one label from a folder or hub id, never with remote code.

    transformers draws what a checkpoint lacks at random and skips what it does not know, which
    gives rewards that look like any others. Here both are refused.

    Args:
        path: Folder or hub id.
        pad_token_id: Pad token of the tokenizer; written into the config, because transformers
            pools by it.
        dtype: Weights' dtype, float32 when None.
        new_head_seed: To start a training: a backbone without `score.weight`, and nothing else,
            gets one drawn from this seed. None is to score: nothing may be missing.
        revision: Commit, tag or branch of a hub id.

    Raises:
        ValueError: If there are no weights, or some are missing, unknown or of another shape; they
            are listed.
    """
    _refuse_adapter(path)
    check_model(Path(path))
    transformers_logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]), _without_a_report():
        torch.manual_seed(new_head_seed or 0)
        try:
            model, found = AutoModelForSequenceClassification.from_pretrained(
                path,
                num_labels=1,
                revision=revision or "main",
                dtype=dtype or torch.float32,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are refused below, by name and shape
            )
        except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
            raise _unreadable(path, error) from error
    _refuse_other_weights(path, found, is_start=new_head_seed is not None)
    if pad_token_id is not None:
        model.config.pad_token_id = pad_token_id
        model.config.get_text_config().pad_token_id = pad_token_id
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


@contextmanager
def _without_a_report() -> Iterator[None]:
    """What a checkpoint lacks is refused below; the library's table of it would only puzzle."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


def refuse_other_head(folder: str) -> None:
    """Refuse a folder to start from by its head alone, without reading its weights.

    Raises:
        ValueError: If it is an adapter, or its `score.weight` has not one label.
    """
    _refuse_adapter(folder)
    for file in sorted(Path(folder).glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt") as weights:
                if HEAD not in weights.keys():  # noqa: SIM118 - it is no mapping
                    continue
                labels, width = weights.get_slice(HEAD).get_shape()
        except (OSError, SafetensorError) as error:
            raise _unreadable(folder, error) from error
        if labels != 1:
            found = {"mismatched_keys": [(HEAD, (labels, width), (1, width))]}
            _refuse_other_weights(folder, found, is_start=True)


def _unreadable(path: str, error: BaseException) -> ValueError:
    return ValueError(f"{path} holds no weights that can be read: {first_line(error)}")


def _refuse_adapter(path: str) -> None:
    if Path(path, ADAPTER_FILE).is_file():
        raise ValueError(
            f"{path} holds an adapter ({ADAPTER_FILE}), not a whole model: merge it into its "
            "backbone (peft's `merge_and_unload`), save that with its score head, and name it"
        )


def _refuse_other_weights(path: str, found: Mapping[str, Any], *, is_start: bool) -> None:
    """Refuse a checkpoint that does not hold the weights of the model, no more and no less."""
    missing = set(found.get("missing_keys", ())) - ({HEAD} if is_start else set())
    # The head of a language model has no part in a reward, and every backbone has one.
    unknown = {
        name for name in found.get("unexpected_keys", ()) if not name.startswith(LANGUAGE_HEAD)
    }
    reshaped = {
        f"{name} {list(there)}, not {list(wanted)}"
        for name, there, wanted in found["mismatched_keys"]
    }
    kinds = {"missing": missing, "unknown": unknown, "of another shape": reshaped}
    told = [f"{kind}: {_listed(names)}" for kind, names in kinds.items() if names]
    if told:
        what = f"may lack {HEAD} only" if is_start else "must hold every weight, its head too"
        use = "a backbone to start from" if is_start else "a reward model to score with"
        raise ValueError(
            f"{path} is no {use.removeprefix('a ')}: {'; '.join(told)}. {use.capitalize()} {what}, "
            "under the names transformers gives them: save it anew with `save_pretrained`"
        )


def _listed(names: Collection[str]) -> str:
    shown = sorted(names, key=lambda name: (HEAD not in name, name))[:MAX_LISTED]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def publish_checkpoint(
    model: Any,
    tokenizer: Any,
    *,
    weights: Mapping[str, torch.Tensor],
    folder: Path,
    training: Mapping[str, Any],
) -> None:
    """Write weights, tokenizer and template, then `training.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    unpublish(folder)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder, state_dict=dict(weights))
    publish(folder, training)
