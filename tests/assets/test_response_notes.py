"""When an LLM is asked about responses for people to read."""

from types import SimpleNamespace

import pandas as pd
import pytest

from synpref_dagster.assets.response_notes import with_response_checks


@pytest.mark.parametrize(
    ("backend", "pre_verify", "uses_endpoints"),
    [
        ("recorded", True, True),
        ("label_studio", True, True),
        ("page", False, True),
        ("page", True, False),
    ],
)
def test_no_llm_is_asked_where_nobody_would_read_it(backend, pre_verify, uses_endpoints):
    people = SimpleNamespace(backend=backend, pre_verify=pre_verify)
    # A step without a store and judges without a panel: whoever asks fails.
    step = SimpleNamespace(campaign=SimpleNamespace(profile=SimpleNamespace(people=people)))
    judges = SimpleNamespace(uses_endpoints=uses_endpoints)
    about = pd.DataFrame({"pair_id": [b"a"]})
    assert with_response_checks(step, judges, list, about) is about
