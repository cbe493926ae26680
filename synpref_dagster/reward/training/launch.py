"""A training run as a file: `torchrun -m synpref_dagster.reward.training.launch JOB.json`.

The job names Parquet files of pairs, backbone, settings and output folder. Whoever starts it reads
the outcome from the folder's `training.json`; a wrapper that reports while it runs calls `run_job`
with its own callback.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from torch import distributed

from synpref_dagster.pairs.record import PreferencePair, pairs_to_table, table_to_pairs
from synpref_dagster.reward.folders import published_training, write_json
from synpref_dagster.reward.training.run import TrainingConfig, TrainingReport, train_reward_model

MODULE = "synpref_dagster.reward.training.launch"
OnStep = Callable[[int, Mapping[str, float]], None]


def write_job(
    file: Path,
    *,
    pairs: Path,
    validation: Path,
    backbone_path: str,
    config: TrainingConfig,
    output_dir: Path,
) -> Path:
    """Write a job file.

    Args:
        file: Where to write it.
        pairs: Parquet file of training pairs, with the text columns of `PAIR_SCHEMA`.
        validation: Parquet file of gold pairs.
        backbone_path: Folder or hub id.
        config: Settings.
        output_dir: Folder of the checkpoint.
    """
    contents: dict[str, Any] = {
        "pairs": str(pairs),
        "validation": str(validation),
        "backbone_path": backbone_path,
        "config": config.to_json(),
        "output_dir": str(output_dir),
    }
    write_json(file, contents)
    return file


def write_inputs(
    output_dir: Path,
    pairs: Sequence[PreferencePair],
    validation: Sequence[PreferencePair],
    *,
    backbone_path: str,
    config: TrainingConfig,
) -> Path:
    """Write a job file with its pairs, beside the checkpoint: its folder belongs to the run.

    Args:
        output_dir: Folder of the checkpoint.
        pairs: Training pairs.
        validation: Gold pairs.
        backbone_path: Folder or hub id.
        config: Settings.
    """
    folder = output_dir.with_name(f"{output_dir.name}.job")
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, Path] = {}
    for name, part in (("pairs", pairs), ("validation", validation)):
        files[name] = folder / f"{name}.parquet"
        pq.write_table(pairs_to_table(part), files[name])
    return write_job(
        folder / "job.json",
        pairs=files["pairs"],
        validation=files["validation"],
        backbone_path=backbone_path,
        config=config,
        output_dir=output_dir,
    )


def train_in_processes(
    num_processes: int,
    pairs: Sequence[PreferencePair],
    validation: Sequence[PreferencePair],
    *,
    backbone_path: str,
    config: TrainingConfig,
    output_dir: Path,
) -> TrainingReport:
    """Train one model in several workers on this machine, whose log goes to standard error.

    Args:
        num_processes: Workers, one per GPU.
        pairs: Training pairs.
        validation: Gold pairs.
        backbone_path: Folder or hub id.
        config: Settings.
        output_dir: Folder of the checkpoint.

    Raises:
        ValueError: If the workers ended without a finished checkpoint.
    """
    job = write_inputs(output_dir, pairs, validation, backbone_path=backbone_path, config=config)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={num_processes}", "-m", MODULE, str(job)]
    ended = subprocess.run(command, stdout=sys.stderr, check=False)
    finished = published_training(output_dir)
    if ended.returncode or finished is None:
        raise ValueError(f"{num_processes} workers ended without a model; their log above says why")
    return TrainingReport.from_json(finished["report"])


def run_job(file: Path, *, on_step: OnStep | None = None) -> TrainingReport:
    """Run a job in this process, as one of the workers when `torchrun` started it.

    Raises:
        ValueError: If the file lacks a field or the run refuses its input.
    """
    job = json.loads(file.read_text(encoding="utf-8"))
    missing = {"pairs", "validation", "backbone_path", "config", "output_dir"} - set(job)
    if missing:
        raise ValueError(f"{file} lacks {', '.join(sorted(missing))}: write it with write_job")
    return train_reward_model(
        _read_pairs(job["pairs"]),
        _read_pairs(job["validation"]),
        backbone_path=job["backbone_path"],
        config=TrainingConfig(**job["config"]),
        output_dir=Path(job["output_dir"]),
        on_step=on_step,
    )


def main() -> None:
    """Command line: one job file."""
    parser = argparse.ArgumentParser(description="Train a reward model from a job file.")
    parser.add_argument("job", type=Path)
    run_job(parser.parse_args().job)
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _read_pairs(path: str) -> list[PreferencePair]:
    return list(table_to_pairs(pq.read_table(path)))


if __name__ == "__main__":
    main()
