"""Texts as vectors by a sentence encoder: a folder or hub id as sentence-transformers writes them.

Read with plain transformers: the encoder, its pooling over tokens, and length 1. A folder that asks
for more than that, or for weights that it does not hold, is refused.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer
from transformers.utils import cached_file, logging as transformers_logging

from synpref_dagster.reward.devices import best_device
from synpref_dagster.reward.folders import folder_fingerprint

MODULES_FILE, LENGTH_FILE = "modules.json", "sentence_bert_config.json"
PROMPTS_FILE = "config_sentence_transformers.json"
POOLING_FILE = "1_Pooling/config.json"
KNOWN_MODULES = ("Transformer", "Pooling", "Normalize")
POOLINGS = {
    "pooling_mode_cls_token": "first",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
}
UNUSED = "pooler."  # of classifiers on top, which some checkpoints lack
MAX_TOKENS = 512  # where neither the folder nor its tokenizer says how long a text may be
TEXTS_PER_BATCH = 32
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SentenceEncoder:
    """Texts to vectors; make one with `load`.

    Attributes:
        model: The encoder.
        tokenizer: Its tokenizer.
        pooling: `mean` over the tokens, or the `first` or `last` of them.
        max_tokens: Longer texts lose their end.
        prompt: Stands before every text.
    """

    model: Any
    tokenizer: Any
    pooling: str
    max_tokens: int
    prompt: str

    @classmethod
    def load(cls, path: str, revision: str | None = None) -> "SentenceEncoder":
        """Load an encoder.

        Raises:
            ValueError: there is none at this place, or one of a shape that is not known.
        """
        pooling = _pooling(path, revision)
        transformers_logging.disable_progress_bar()
        at = {"revision": revision or "main"}
        try:
            tokenizer = AutoTokenizer.from_pretrained(path, **at)
            model, found = AutoModel.from_pretrained(
                path, **at, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
            )
        except (OSError, ValueError, KeyError, ImportError) as error:
            what = str(error).splitlines()[0]
            raise ValueError(f"{path} is no sentence encoder that can be read: {what}") from error
        missing = [name for name in found["missing_keys"] if not name.startswith(UNUSED)]
        if missing:
            raise ValueError(
                f"{path} is no sentence encoder: {len(missing)} weights are missing, for instance "
                f"{sorted(missing)[0]}: name the folder of an encoder, not of another model"
            )
        limits = (
            tokenizer.model_max_length,
            _told(path, LENGTH_FILE, revision).get("max_seq_length"),
        )
        longest = min(int(limit) for limit in (*limits, *_positions(model)) if limit)
        return cls(
            model=model.to(best_device()).eval(),
            tokenizer=tokenizer,
            pooling=pooling,
            max_tokens=longest if longest < 10**9 else MAX_TOKENS,
            prompt=_prompt(path, revision),
        )

    def embed(self, texts: Sequence[str]) -> Vectors:
        """float32 (len(texts), dim), rows of length 1; texts of one length go together."""
        vectors = np.zeros((len(texts), self.model.config.hidden_size), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        for start in range(0, len(order), TEXTS_PER_BATCH):
            rows = order[start : start + TEXTS_PER_BATCH]
            vectors[rows] = self._embedded([self.prompt + texts[row] for row in rows])
        return vectors

    def _embedded(self, texts: list[str]) -> Vectors:
        inputs = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        ).to(self.model.device)
        with torch.inference_mode():
            states = self.model(**inputs).last_hidden_state.float()
        pooled = _pooled(states, inputs["attention_mask"], self.pooling)
        return np.asarray(torch.nn.functional.normalize(pooled, dim=1).cpu().numpy())


@lru_cache
def encoder_identity(path: str, revision: str | None) -> list[str | None]:
    """What an encoder is known by: its content where it is a folder, else its name.

    Raises:
        ValueError: there is none at this place.
    """
    _pooling(path, revision)  # what cannot be read is refused before anything is begun
    return [folder_fingerprint(path) if Path(path).is_dir() else path, revision]


def _pooling(path: str, revision: str | None) -> str:
    """How the states of the tokens become one vector; the mean where the folder does not say."""
    if Path(path).is_dir() and not Path(path, "config.json").is_file():
        raise ValueError(
            f"{path} is no folder of a sentence encoder (it has no config.json): correct "
            "embedding.path"
        )
    listed = [
        str(each["type"]).rpartition(".")[2]
        for each in _told(path, MODULES_FILE, revision, default=[])
    ]
    if unknown := sorted(set(listed) - set(KNOWN_MODULES)):
        raise ValueError(
            f"{path} ends in {', '.join(unknown)}, and only {', '.join(KNOWN_MODULES)} are known: "
            "name another encoder, or serve this one behind an endpoint (embedding.kind "
            "'endpoint')"
        )
    told = _told(path, POOLING_FILE, revision)
    modes = [
        name for name, value in told.items() if name.startswith("pooling_mode") and value is True
    ]
    if told.get("pooling_mode") and not modes:
        modes = [f"pooling_mode_{told['pooling_mode']}"]
    known = [
        POOLINGS.get(name) or POOLINGS.get(f"{name}_token") or POOLINGS.get(f"{name}_tokens")
        for name in modes
    ]
    if len(modes) > 1 or None in known:
        raise ValueError(
            f"{path} pools by {', '.join(modes)}, and only one of mean, first and last token is "
            "known: name another encoder"
        )
    return str(known[0]) if known else "mean"


def _prompt(path: str, revision: str | None) -> str:
    told = _told(path, PROMPTS_FILE, revision)
    return str((told.get("prompts") or {}).get(told.get("default_prompt_name")) or "")


def _positions(model: Any) -> list[int]:
    """The most tokens that the model has positions for, less those that a pad token takes."""
    most = getattr(model.config, "max_position_embeddings", None)
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    if most is None or table is None:
        return [most] if most else []
    first = getattr(table, "padding_idx", None)
    return [most if first is None else most - first - 1]


def _told(path: str, name: str, revision: str | None, *, default: Any = None) -> Any:
    """The content of a JSON file of the encoder; `default`, else an empty one, without it."""
    found = cached_file(
        path,
        name,
        revision=revision or "main",
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
    )
    if found is None:
        return {} if default is None else default
    return json.loads(Path(found).read_text(encoding="utf-8"))


def _pooled(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """(n, dim) of states (n, T, dim), whichever side the padding is on."""
    if pooling == "mean":
        return (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    places = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    away = places.masked_fill(mask == 0, mask.shape[1] if pooling == "first" else -1)
    at = away.argmin(1) if pooling == "first" else away.argmax(1)
    return states[torch.arange(len(states), device=states.device), at]
