"""LoRA without adapters on disk: peft's low-rank updates are trained, a whole model is written.

A reward model's score head is new, so an adapter saved without it gives other rewards when loaded.
Here the head trains in full and the published folder is a plain checkpoint: nothing can be left
behind. `merge_and_unload` does the same to the model itself; merged weights are wanted while it
still trains, and taking updates out again (`unmerge_adapter`) would not give the same bits.
"""

from typing import Any

import torch
from torch import Tensor

from synpref_dagster.reward.training.config import LoraUpdates

ADAPTER = "default"  # peft's own name for the only one
HEAD = "score"
PARTS = (".lora_A.", ".lora_B.", f"{HEAD}.original_module.")


def add_lora(model: Any, updates: LoraUpdates, *, seed: int) -> None:
    """Freeze a sequence classifier but for its head, and put low-rank updates on its layers.

    Args:
        model: Sequence classifier; changed in place.
        updates: What is updated, and how.
        seed: Seed of the updates' first weights.

    Raises:
        ValueError: If a module that is to be updated is not in the model.
    """
    from peft import LoraConfig, inject_adapter_in_model

    targets = updates.target_modules
    present = {name.rpartition(".")[2] for name, _ in model.base_model.named_modules()}
    if missing := sorted(set(targets or ()) - present):
        raise ValueError(f"lora.target_modules: no module of the backbone is called {missing}")
    config = LoraConfig(
        task_type="SEQ_CLS",
        r=updates.rank,
        lora_alpha=updates.alpha,
        target_modules="all-linear" if targets is None else list(targets),
        modules_to_save=[HEAD],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model, adapter_name=ADAPTER)


def merged_weights(model: Any) -> dict[str, Tensor]:
    """The weights of the plain model: updates added in, names as without LoRA."""
    state: dict[str, Tensor] = dict(model.state_dict())
    if getattr(model, "peft_config", None) is None:
        return state
    from peft.tuners.lora import LoraLayer

    merged = {
        name.replace(".base_layer.", ".").replace(f".modules_to_save.{ADAPTER}.", "."): weight
        for name, weight in state.items()
        if not any(part in name for part in PARTS)
    }
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            delta = module.get_delta_weight(ADAPTER)
            merged[f"{name}.weight"] = merged[f"{name}.weight"] + delta
    return merged
