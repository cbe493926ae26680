"""What each `torchrun` worker executes: a training job; worker 0 talks to Dagster through Pipes."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from dagster_pipes import open_dagster_pipes
from torch import distributed

from synpref_dagster.reward.training.launch import run_job

STEPS_PER_LINE = 50


def main() -> None:
    """Command line: one job file, written by `resources.torchrun`."""
    parser = argparse.ArgumentParser(description="Train a reward model as a torchrun worker.")
    parser.add_argument("job", type=Path)
    job = parser.parse_args().job
    if int(os.environ.get("RANK", "0")) == 0:
        _train_and_report(job)
    else:
        run_job(job)
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _train_and_report(job: Path) -> None:
    with open_dagster_pipes() as pipes:

        def on_step(step: int, metrics: Mapping[str, float]) -> None:
            if step % STEPS_PER_LINE == 0:
                shown = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
                pipes.log.info(f"step {step}: {shown}")

        report = run_job(job, on_step=on_step)
        pipes.report_custom_message(
            {
                "num_pairs": report.num_pairs,
                "num_steps": report.num_steps,
                "best_step": report.best_step,
                "gold_accuracy": report.evaluation.accuracy if report.evaluation else None,
            }
        )


if __name__ == "__main__":
    main()
