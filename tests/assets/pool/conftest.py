"""A pool of a few rows."""

import pytest
from two_sources import Place


@pytest.fixture
def place(tmp_path, monkeypatch):
    return Place(tmp_path, monkeypatch)
