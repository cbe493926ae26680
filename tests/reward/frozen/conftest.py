"""A campaign's folder with a small backbone of three layers, prepared and never trained."""

from dataclasses import replace

import pytest

from synpref_dagster.reward import devices
from synpref_dagster.reward.backbones import Backbone, backbone
from synpref_dagster.reward.frozen.places import BACKBONES
from synpref_dagster.reward.frozen.preparing import prepare_backbone
from synpref_dagster.reward.frozen.reading import FeatureReader, Reading
from synpref_dagster.reward.stand_ins import make_stand_in


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Threads of OpenMP do not survive the forks of these tests."""
    monkeypatch.setattr(devices, "num_cores", lambda: 1)


def three_layers(name="llama-3.2-1b"):
    row = backbone(name)
    return replace(row, stand_in=replace(row.stand_in, num_layers=3, hidden_size=32))


@pytest.fixture(scope="session")
def own_backbone(tmp_path_factory):
    """Row of a backbone of one's own, in a folder."""
    words = " ".join(f"word{i}" for i in range(30))
    folder = make_stand_in(
        three_layers(), texts=[words], output_dir=tmp_path_factory.mktemp("own"), seed=0
    )
    return Backbone(
        model_size="own", hub_id=str(folder), licence="", pad_token=None, max_length_tokens=256
    )


@pytest.fixture
def home(tmp_path):
    return tmp_path


@pytest.fixture
def reader_of(own_backbone, home):
    """Makes a new reader of the backbone, as a new process would."""

    def make(*, layers=(2, 3), keeps=True, max_length_tokens=256, dtype="float32", name="own"):
        row = replace(own_backbone, model_size=name)
        prepared = prepare_backbone(row, home / BACKBONES, layers=layers)
        reading = Reading(
            backbone=prepared.folder.name,
            layers=prepared.layers,
            max_length_tokens=max_length_tokens,
            dtype=dtype,
        )
        return FeatureReader(reading, home, keeps=keeps, device="cpu")

    return make
