"""Settings of reward models: how those of the stages and of the release are trained."""

from typing import Literal

from synpref_dagster.settings.section import Section


class RewardModelSettings(Section):
    """How the stage-1 and stage-2 reward models are trained."""

    backend: Literal["stand_in", "linear", "hub"]
    model_size: str = "qwen3-0.6b"
    learning_rate: float | None = None
    batch_pairs: int | None = None
    num_steps: int | None = None
    num_final_steps: int | None = None
    evaluate_every_steps: int = 50
    num_processes: int = 1
    """Workers under `torchrun`, one per GPU; 1 trains in the step's own process."""
