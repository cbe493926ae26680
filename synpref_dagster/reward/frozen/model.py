"""A reward model on a frozen backbone: one vector, and the name of the backbone that it reads.

The folder holds `frozen.json`, the head and `training.json`. The backbone and the features that it
gave lie beside the models of the campaign, in `backbones/` and `features/`, and are looked for from
the folder upwards, so that a campaign's folder can be moved. What is given away holds its backbone
itself, or is an ordinary classifier (`frozen.releasing`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from synpref_dagster.pairs.record import PreferencePair, Turn
from synpref_dagster.reward.encoding import ChatEncoder, identical_texts
from synpref_dagster.reward.folders import (
    check_model,
    publish,
    published_training,
    unpublish,
    write_json,
)
from synpref_dagster.reward.frozen.config import FrozenConfig
from synpref_dagster.reward.frozen.heads import (
    FittedHead,
    HeadChoice,
    Matrix,
    PairFeatures,
    columns_of,
    fit_best_head,
)
from synpref_dagster.reward.frozen.places import FROZEN_FILE, HEAD_FILE, find_home, told
from synpref_dagster.reward.frozen.reading import (
    FeatureReader,
    Reading,
    opened_reader,
)
from synpref_dagster.reward.training.config import TrainingReport, fitting_fingerprint
from synpref_dagster.storage.damage import keep_checksums

NUM_PARTS = 5  # one of so many parts of the conversations chooses where no gold pair does
NOTHING_LEFT = "none of {num} pairs can be trained on: both sides of each are one text"


class FrozenRewardModel:
    """A fitted head, ready to score.

    Attributes:
        reader: Gives the features that the head reads.
        choice: Layer and pooling of the head.
        weights: (K,) float32.
    """

    def __init__(self, reader: FeatureReader, choice: HeadChoice, weights: Matrix) -> None:
        self.reader = reader
        self.choice = choice
        self.weights = weights

    @classmethod
    def load(cls, path: str | Path, *, device: str = "cpu") -> "FrozenRewardModel":
        """Load a folder written by `train_frozen_reward_model` or `frozen.releasing`.

        Raises:
            ValueError: its backbone is not to be found.
        """
        folder = Path(path)
        check_model(folder)
        said = told(folder)
        about = said["reading"]
        reading = Reading(**{**about, "layers": tuple(about["layers"])})
        home, is_campaign = find_home(folder, reading.backbone)
        reader = opened_reader(reading, home, keeps=is_campaign, device=device)
        weights = np.load(folder / HEAD_FILE, allow_pickle=False)
        return cls(reader, HeadChoice(**said["choice"]), weights)

    @property
    def encoder(self) -> ChatEncoder:
        """Tokenizer and template of the backbone."""
        return self.reader.encoder

    @property
    def num_truncated(self) -> int:
        """Sequences that lost their beginning, of those that this process had read."""
        return self.reader.num_truncated

    def rewards(
        self, conversations: Sequence[Sequence[Turn]], responses: Sequence[str]
    ) -> npt.NDArray[np.float32]:
        """(n,) float32 rewards of the responses to the conversations, in order.

        Raises:
            ValueError: If the lengths differ.
        """
        if len(conversations) != len(responses):
            raise ValueError(f"{len(conversations)} conversations, {len(responses)} responses")
        features = self.reader.features(conversations, responses)
        columns = columns_of(
            self.choice.layer,
            self.choice.pooling,
            layers=self.reader.reading.layers,
            width=self.reader.width,
        )
        return features[:, columns] @ self.weights


def train_frozen_reward_model(
    pairs: Sequence[PreferencePair],
    validation: Sequence[PreferencePair],
    *,
    reader: FeatureReader,
    config: FrozenConfig,
    output_dir: Path,
) -> TrainingReport:
    """Fit and publish a head; a finished folder of the same data and backbone is reused.

    Args:
        pairs: Training pairs.
        validation: Gold pairs on which layer, pooling and penalty are chosen; never a test set.
            Without any, a fifth of the training conversations chooses.
        reader: The backbone.
        config: What to choose from.
        output_dir: Folder of the model, below the folder that holds the backbones.

    Raises:
        ValueError: If no pair is left to train on.
    """
    about = {"config": asdict(config), "reading": asdict(reader.reading)}
    fingerprint = fitting_fingerprint(about, pairs, validation)
    finished = published_training(output_dir)
    if finished is not None and finished["report"]["fingerprint"] == fingerprint:
        keep_checksums(output_dir)
        return TrainingReport.from_json(finished["report"], reused=True)
    kept = [pair for pair in pairs if pair.chosen != pair.rejected]
    if not kept:
        raise ValueError(NOTHING_LEFT.format(num=len(pairs)))
    both = _features([*kept, *validation], reader)
    train = both.rows(np.arange(len(kept)))
    gold = both.rows(np.arange(len(kept), len(both.chosen)))
    head = _fitted(kept, train, gold if validation else None, reader=reader, config=config)
    report = TrainingReport(
        num_pairs=len(kept),
        dropped=identical_texts(pairs),
        num_steps=head.num_iterations,
        best_step=head.num_iterations,
        history=(head.evaluation,) if head.evaluation else (),
        evaluation=head.evaluation,
        losses=(head.loss,),
        fingerprint=fingerprint,
    )
    _publish(output_dir, head, about=about, report=report)
    return report


def _fitted(
    pairs: Sequence[PreferencePair],
    train: PairFeatures,
    gold: PairFeatures | None,
    *,
    reader: FeatureReader,
    config: FrozenConfig,
) -> FittedHead:
    """The head chosen on gold; without any, on a fifth of the conversations, and fitted on all."""
    choices, layers = config.choices(), reader.reading.layers
    if gold is not None or len(choices) == 1:
        return fit_best_head(train, gold, choices=choices, layers=layers)
    chooses = np.array([pair.conversation_id[-1] % NUM_PARTS == 0 for pair in pairs])
    if chooses.all() or not chooses.any():  # few conversations: pairs then
        chooses = np.array([pair.content_id[-1] % NUM_PARTS == 0 for pair in pairs])
    if chooses.all() or not chooses.any():
        strongest = max(choices, key=lambda choice: choice.penalty)
        return fit_best_head(train, None, choices=[strongest], layers=layers)
    by = train.rows(np.flatnonzero(chooses))
    chosen = fit_best_head(train.rows(np.flatnonzero(~chooses)), by, choices=choices, layers=layers)
    fitted = fit_best_head(train, by, choices=[chosen.choice], layers=layers)
    return replace(fitted, evaluation=None, tried=chosen.tried)


def _features(pairs: Sequence[PreferencePair], reader: FeatureReader) -> PairFeatures:
    """Both sides of each pair in one reading: a prompt that they share is forwarded once."""
    conversations = [pair.conversation for pair in pairs]
    responses = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    read = reader.features(conversations * 2, responses)
    return PairFeatures(read[: len(pairs)], read[len(pairs) :])


def _publish(
    folder: Path, head: FittedHead, *, about: Mapping[str, Any], report: TrainingReport
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    unpublish(folder)
    choice = asdict(head.choice)
    write_json(folder / FROZEN_FILE, {"reading": about["reading"], "choice": choice})
    np.save(folder / HEAD_FILE, head.weights, allow_pickle=False)
    tried = [{**asdict(each), **found.to_json()} for each, found in head.tried]
    config = {**about["config"], **choice}
    publish(folder, {"config": config, "report": report.to_json(), "tried": tried})
