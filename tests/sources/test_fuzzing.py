"""Whatever stands in a file: no crash, no row lost, and only pairs that can be stored."""

import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st
from upath import UPath

from synpref_dagster.pairs.structure import structural_reasons
from synpref_dagster.sources.files.containers import COMPRESSED
from synpref_dagster.sources.reading import read_source
from synpref_dagster.sources.records import RAW_CHARS, SourceSpec
from synpref_dagster.sources.registry import FORMATS

PATH = "memory://fuzz/rows"

texts = st.text(st.characters(exclude_categories=()), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
roles = st.sampled_from(["user", "assistant", "system", "tool"]) | anything
messages = st.lists(st.fixed_dictionaries({"role": roles, "content": texts | anything}), max_size=4)
transcripts = st.lists(st.sampled_from(["\n\nHuman:", "\n\nAssistant:", " a", "\n\n"])).map("".join)
votes = st.lists(
    st.fixed_dictionaries(
        {"worker": texts | anything, "value": st.sampled_from(["a", "b", "equal"]) | anything}
    ),
    max_size=3,
)
cells = texts | messages | transcripts | votes | anything
rows = st.dictionaries(
    st.sampled_from(
        ["prompt", "chosen", "rejected", "response_a", "response_b", "votes", "debate", "x"]
    ),
    cells,
)
ranks = st.integers(0, 3) | st.floats() | anything
answers = st.lists(
    st.fixed_dictionaries(
        {"answer": cells, "response": cells, "rank": ranks, "fine-grained_score": ranks}
    )
    | anything,
    max_size=4,
)
replies = st.recursive(
    st.just([]),
    lambda inner: st.lists(
        st.fixed_dictionaries(
            {"text": texts, "role": st.just("assistant"), "rank": ranks, "replies": inner}
        ),
        max_size=3,
    ),
    max_leaves=5,
)
trees = st.fixed_dictionaries({"text": texts, "role": st.just("prompter"), "replies": replies})
choices = st.integers(-3, 3) | st.sampled_from(["model_a", "tie", "harmful", "refusal"]) | anything
dialogues = st.just("\n\nHuman: Hi\n\nAssistant: ")
TEXT_COLUMNS = """
    instruction response response1 response2 response_0 response_1 response_2 output_1 output_2
    history human_ref_A human_ref_B answer_0 answer_1 context
"""
CHOICE_COLUMNS = """
    label labels winner preference_strength overall_preference better_response_id score_A score_B
    score_0 score_1 helpfulness correctness coherence annotator1 annotator2 annotator3
    prompt_harm_label response_harm_label response_refusal_label score_chosen score_rejected
    winner_model_a winner_model_b winner_tie
"""
public_rows = st.fixed_dictionaries(
    {"prompt": texts | dialogues | trees | anything},
    optional={
        **dict.fromkeys(TEXT_COLUMNS.split(), texts | messages | anything),
        **dict.fromkeys(CHOICE_COLUMNS.split(), choices),
        **dict.fromkeys(["answers", "completions", "individual_preference"], answers | anything),
        **dict.fromkeys(["conversation_a", "conversation_b", "chosen", "rejected"], messages),
        "question": st.fixed_dictionaries({"full_text": texts}) | anything,
        "message_tree_id": st.sampled_from("tu") | anything,
        **dict.fromkeys(["message_id", "parent_id"], st.sampled_from([None, *"abc"]) | anything),
        **dict.fromkeys(["text"], texts),
        "role": st.sampled_from(["prompter", "assistant"]) | anything,
        "rank": ranks,
    },
)


plain_rows = st.fixed_dictionaries(
    {"prompt": texts | messages, "chosen": cells, "rejected": cells},
    optional={"votes": votes, "response_a": texts, "response_b": texts, "debate": texts},
)


def check_reading(content: bytes, name: str, *, path: str = PATH) -> int:
    """Reads the bytes as a file and checks what holds for every source; gives the rows read."""
    UPath(path).write_bytes(content)
    options = {"exclude_debates": [""]} if name == "crowd_votes" else {}
    spec = SourceSpec(
        name="fuzz", path=path, format=name, origin="human", licence="CC0", options=options
    )
    num_rows = 0
    for batch in read_source(spec, seed=0, batch_rows=3):
        outcomes = len(batch.pairs) + len(batch.quarantined) + batch.num_outside
        assert batch.num_rows + batch.num_unfolded == outcomes
        assert batch.pairs_table().num_rows == len(batch.pairs)
        assert batch.quarantine_table().num_rows == len(batch.quarantined)
        assert batch.verdict_table().num_rows == len(batch.recorded_verdicts)
        for pair in batch.pairs:
            assert structural_reasons(pair.conversation, pair.chosen, pair.rejected) == ()
        assert all(row.reason and len(row.raw) <= RAW_CHARS for row in batch.quarantined)
        num_rows += batch.num_rows
    return num_rows


@pytest.mark.parametrize("name", sorted(FORMATS))
@given(drawn=st.lists(rows | plain_rows | public_rows | anything, max_size=5))
@settings(max_examples=12, deadline=None)
def test_any_json_lines_are_read_to_the_end(name, drawn):
    # A file that begins with a list of objects is an array, which counts its elements.
    drawn = [row for row in drawn if not isinstance(row, list)]
    # One object alone may be a whole table, so there is a second line.
    lines = [json.dumps(row) for row in [*drawn, None]]
    assert check_reading("\n".join(lines).encode(), name) == len(lines)


def check_reading_or_refusal(content: bytes) -> None:
    """What is no text and no known container is refused in one line that names the file."""
    try:
        check_reading(content, "explicit_plain")
    except ValueError as error:
        assert str(error).startswith(f"source 'fuzz': {PATH} ")  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017


@given(content=st.binary(max_size=200))
@settings(max_examples=80, deadline=None)
def test_any_bytes_are_read_to_the_end(content):
    check_reading_or_refusal(content)
    check_reading(b"PAR1" + content, "explicit_plain")
    for magic in (b"\xff" * 4, *(each for magics in COMPRESSED.values() for each in magics)):
        check_reading_or_refusal(magic + content)
    check_reading(b'[{"prompt": "2+2?", "chosen": "4"},' + content, "explicit_plain")
    check_reading(b"prompt,chosen,rejected\n" + content, "explicit_plain", path=PATH + ".csv")


@given(cut=st.integers(0, 400), flip=st.integers(0, 400), kind=st.sampled_from(["gzip", "parquet"]))
@settings(max_examples=80, deadline=None)
def test_any_damage_to_a_file_is_survived(cut, flip, kind):
    good = [{"prompt": "2+2?", "chosen": str(7**n), "rejected": "5"} for n in range(20)]
    if kind == "gzip":
        whole = bytearray(gzip.compress("\n".join(map(json.dumps, good)).encode()))
    else:
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(good), sink)
        whole = bytearray(sink.getvalue())
    whole[flip % len(whole)] ^= 0x55
    check_reading_or_refusal(bytes(whole[: len(whole) - cut % len(whole)]))


@given(drawn=st.lists(rows | plain_rows, min_size=1, max_size=4))
@settings(max_examples=50, deadline=None)
def test_detection_finds_a_format_or_explains(drawn):
    content = "\n".join(map(json.dumps, [*drawn, None])).encode()
    try:
        assert check_reading(content, "auto") == len(drawn) + 1
    except ValueError as error:
        assert "no known preference format has the columns" in str(error)  # noqa: PT017
