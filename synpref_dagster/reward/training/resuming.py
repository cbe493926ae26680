"""Resume points of a training run: all that the next step depends on, published in one rename.

Data order and learning rate are functions of the step, so a point is: weights, optimizer state,
random state, and the progress so far. A run that is killed and started again ends with the same
weights, bit for bit, as one that was not.
"""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from synpref_dagster.reward.evaluation import Evaluation
from synpref_dagster.reward.folders import STATE_FOLDER, write_json
from synpref_dagster.reward.training.workers import Workers
from synpref_dagster.storage.atomic import beside, part_of, put_in_place, remove
from synpref_dagster.storage.damage import check_folder, file_hash, holds, write_checksums
from synpref_dagster.storage.sealed import DamagedError

logger = logging.getLogger(__name__)

BEST = "best.json"  # in a point: hash of the weights beside it that were the best until then
POINT = "step_{:08d}"


@dataclass(kw_only=True)
class Progress:
    """How far a run has come.

    Attributes:
        fingerprint: The run's fingerprint; a point of another run is not resumed.
        step: Optimizer steps taken.
        losses: Mean loss of each step.
        history: Evaluations so far.
        best_step: Step of the best weights so far; 0 before the first evaluation.
    """

    fingerprint: str
    step: int = 0
    losses: list[float] = field(default_factory=list)
    history: list[Evaluation] = field(default_factory=list)
    best_step: int = 0

    def record(self, evaluation: Evaluation) -> bool:
        """Add an evaluation; True when its weights are the best so far, ties included."""
        best = max((row.accuracy for row in self.history), default=-1.0)
        self.history.append(evaluation)
        if evaluation.accuracy < best:
            return False
        self.best_step = evaluation.step
        return True


class ResumePoints:
    """The resume points and best weights of one run, below its output folder."""

    def __init__(self, output_dir: Path) -> None:
        self.folder = output_dir / STATE_FOLDER

    def save_best(self, workers: Workers, *, step: int) -> None:
        """Keep the weights of a step as the best; earlier ones go when a point is saved."""
        weights = workers.weights()
        if workers.is_main:
            _save_weights(weights, self._best(step))

    def load_best(self, step: int) -> dict[str, torch.Tensor]:
        """The weights kept for a step."""
        return load_file(self._best(step))

    def save(self, workers: Workers, *, progress: Progress) -> None:
        """Publish a resume point, then remove the older ones."""
        point = self.folder / POINT.format(progress.step)
        part = part_of(point)
        if workers.is_main:
            beside(point).mkdir(parents=True)
        workers.wait()
        workers.save_state(part)
        workers.wait()
        if not workers.is_main:
            return
        write_json(part / "progress.json", asdict(progress))
        if (best := self._best(progress.best_step)).is_file():
            write_json(part / BEST, {best.name: file_hash(best)})
        write_checksums(part)
        put_in_place(part, point)
        for other in self.folder.iterdir():
            if other not in (point, self._best(progress.best_step)):
                remove(other)

    def find(self, fingerprint: str) -> tuple[Progress, Path] | None:
        """The newest complete and undamaged point of the run with this fingerprint."""
        for point in sorted(self.folder.glob("step_????????"), reverse=True):
            try:
                check_folder(point, remedy="it is not resumed")
                self._check_best(point)
            except DamagedError as error:
                logger.warning("%s", error)
                continue
            contents = json.loads((point / "progress.json").read_text(encoding="utf-8"))
            if contents["fingerprint"] == fingerprint:
                contents["history"] = [Evaluation(**row) for row in contents["history"]]
                return Progress(**contents), point
        return None

    def restore(self, point: Path, *, workers: Workers) -> None:
        """Put weights, optimizer and random state back."""
        workers.load_state(point)

    def clear(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _check_best(self, point: Path) -> None:
        if not (point / BEST).is_file():
            return  # No evaluation yet, or a point of an earlier version.
        for name, digest in json.loads((point / BEST).read_text(encoding="utf-8")).items():
            if not holds(self.folder / name, digest):
                raise DamagedError(f"{self.folder / name} is damaged: {point} is not resumed")

    def _best(self, step: int) -> Path:
        return self.folder / f"best_{step:08d}.safetensors"


def _save_weights(weights: Mapping[str, torch.Tensor], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = beside(file)
    save_file({name: weight.detach().contiguous() for name, weight in weights.items()}, part)
    put_in_place(part, file)
