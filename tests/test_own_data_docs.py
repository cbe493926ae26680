"""The profile of docs/own_data.md is one that loads."""

import re
from pathlib import Path

from synpref_dagster.settings.profile import load_profile

DOCS = Path(__file__).parent.parent / "docs" / "own_data.md"


def test_the_profile_to_start_from_loads_and_needs_no_more(tmp_path):
    text = re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)[0]
    (tmp_path / "own.toml").write_text(text)
    profile = load_profile(str(tmp_path / "own.toml"))
    assert profile.name == "own"
    assert [source.path for source in profile.pool.sources] == [str(tmp_path / "data" / "crowd")]
    assert profile.people.backend == "recorded"
