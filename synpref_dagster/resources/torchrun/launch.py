"""Training in several processes: `torchrun` started by Dagster Pipes, its metrics coming back.

The workers run in processes of their own (isolated GPU memory, killable). Worker 0 reports progress
to the step's log and, at the end, the report's numbers; the checkpoint folder is the result. A step
that is started again resumes from the folder's last resume point.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.reward.checkpoints import published_training
from synpref_dagster.reward.training.launch import write_inputs
from synpref_dagster.reward.training.run import TrainingConfig, TrainingReport

WORKER = "synpref_dagster.resources.torchrun.worker"


def train_with_torchrun(  # noqa: PLR0913, PLR0917 - who launches, then what is trained
    context: dg.AssetExecutionContext,
    num_processes: int,
    pairs: Sequence[PreferencePair],
    validation: Sequence[PreferencePair],
    *,
    backbone_path: str,
    config: TrainingConfig,
    output_dir: Path,
) -> TrainingReport:
    """Train one model in `num_processes` workers on this machine.

    Args:
        context: the asset's context; worker 0 logs through it.
        num_processes: workers, one per GPU.
        pairs: training pairs.
        validation: gold pairs that select the checkpoint.
        backbone_path: folder or hub id.
        config: settings of the run.
        output_dir: folder of the checkpoint.

    Raises:
        ValueError: the workers ended without a finished checkpoint.
    """
    job = write_inputs(output_dir, pairs, validation, backbone_path=backbone_path, config=config)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={num_processes}", "-m", WORKER, str(job)]
    messages = (
        dg.PipesSubprocessClient()
        .run(command=command, context=context, extras={"output_dir": str(output_dir)})
        .get_custom_messages()
    )
    finished = published_training(output_dir)
    if finished is None:
        raise ValueError(
            f"{num_processes} workers ended without a checkpoint in {output_dir}; their log above "
            "says why"
        )
    context.log.info("workers reported %s", messages)
    return TrainingReport.from_json(finished["report"])
