"""A small random classifier and a suite that a person can count."""

import json
import shutil

import pytest
import torch

from synpref_dagster.reward.backbones import backbone
from synpref_dagster.reward.stand_ins import make_stand_in

WORDS = [f"word{n}" for n in range(30)]


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


def _classifier(path, seed):
    return make_stand_in(
        backbone("qwen3-0.6b"), texts=[" ".join(WORDS)], output_dir=path, seed=seed
    )


@pytest.fixture(scope="session")
def classifier(tmp_path_factory):
    """Folder of a random reward model."""
    return _classifier(tmp_path_factory.mktemp("models") / "one", 0)


@pytest.fixture(scope="session")
def other_classifier(tmp_path_factory):
    """Folder of another random reward model."""
    return _classifier(tmp_path_factory.mktemp("models") / "two", 1)


@pytest.fixture
def changed_model(classifier, tmp_path):
    """Makes a copy of the classifier with another configuration, or without some files."""

    def make(*without, **changes):
        folder = tmp_path / "changed"
        shutil.copytree(classifier, folder)
        for pattern in without:
            for file in folder.glob(pattern):
                file.unlink()
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **changes}))
        return folder

    return make


@pytest.fixture
def write_lines(tmp_path):
    """Writes rows as JSON lines below the test's folder."""

    def write(name, rows):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
        file.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        return file

    return write


@pytest.fixture(scope="session")
def linear_model(tmp_path_factory):
    """Folder of a linear reward model, which reads texts of any length."""
    from synpref_dagster.pairs.record import PreferencePair
    from synpref_dagster.reward.linear.model import LinearConfig, train_linear_reward_model

    folder = tmp_path_factory.mktemp("models") / "linear"
    pairs = [
        PreferencePair(
            conversation=({"role": "user", "content": "word1"},),
            chosen=f"word{n} " * (n % 3 + 2),
            rejected=f"word{n + 1}",
            source="world",
            origin="human",
        )
        for n in range(20)
    ]
    train_linear_reward_model(pairs, [], config=LinearConfig(num_buckets=64), output_dir=folder)
    return folder
