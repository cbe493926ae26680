"""Whatever stands in a file: no crash, no row lost, and only pairs that can be stored."""

import contextlib
import gzip
import io
import json
from unittest import mock

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st
from upath import UPath

from synpref_dagster.pairs.structure import structural_reasons
from synpref_dagster.sources import reading
from synpref_dagster.sources.files.containers import COMPRESSED
from synpref_dagster.sources.files.raw_rows import RawRow
from synpref_dagster.sources.foreign.opening import opened
from synpref_dagster.sources.reading import read_source
from synpref_dagster.sources.records import RAW_CHARS, RowRejected, SourceSpec
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
    history human_ref_A human_ref_B answer_0 answer_1 response_a response_b context
"""
CHOICE_COLUMNS = """
    label labels winner preference_strength overall_preference better_response_id score_A score_B
    score_0 score_1 helpfulness correctness coherence annotator1 annotator2 annotator3
    prompt_harm_label response_harm_label response_refusal_label score_chosen score_rejected
    winner_model_a winner_model_b winner_tie preference
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


def say(*contents):
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": content} for n, content in enumerate(contents)]


SIDES = {"chosen": say("Hi", "good"), "rejected": say("Hi", "bad")}
RATED = [{"response": "a", "fine-grained_score": 4.0}, {"response": "b", "fine-grained_score": 2.0}]
RANKED = [{"answer": "a", "rank": 1.0}, {"answer": "b", "rank": 2.0}]
TREE = {"message_tree_id": "t", "parent_id": "m", "role": "assistant", "review_result": True}
SOUND = {  # a row as published, or the rows of one group
    "arena_conversations": {
        "conversation_a": say("Hi", "A"), "conversation_b": say("Hi", "B"), "winner": "model_a",
        "judge": "u",
    },
    "arena_lists": {
        "prompt": '["Hi"]', "response_a": '["A"]', "response_b": '["B"]', "winner_model_a": 1,
        "winner_model_b": 0, "winner_tie": 0,
    },
    "crowd_votes": {
        "prompt": "Hi", "response_a": "A", "response_b": "B",
        "votes": [{"worker": "w", "value": "a"}],
    },
    "explicit_conversational": {"prompt": say("Hi"), "chosen": say("", "A")[1:],
                                "rejected": say("", "B")[1:]},
    "explicit_plain": {"prompt": "Hi", "chosen": "A", "rejected": "B", "system": "Be brief."},
    "helpsteer_preference": {
        "context": say("Hi"), "response1": "A", "response2": "B", "overall_preference": 2,
        "individual_preference": [{"score": 2}],
    },
    "helpsteer_ratings": [
        {"prompt": "Hi", "response": text, "helpfulness": n, "correctness": 1, "coherence": 1}
        for n, text in enumerate("AB")
    ],
    "hh_transcripts": {side: f"\n\nHuman: Hi\n\nAssistant: {side}" for side in SIDES},
    "implicit_conversational": {**SIDES, "prompt": "Hi"},
    "implicit_plain": {side: f"Name a fruit.\n{side}" for side in SIDES},
    "nectar_ranks": {"prompt": "\n\nHuman: Hi\n\nAssistant: ", "answers": RANKED},
    "oasst_messages": [
        {**TREE, "message_id": "m", "parent_id": None, "role": "prompter", "text": "Hi",
         "rank": None},
        {**TREE, "message_id": "a", "text": "A", "rank": 0},
        {**TREE, "message_id": "b", "text": "B", "rank": 1},
    ],
    "oasst_trees": {"prompt": {"text": "Hi", "role": "prompter", "replies": [
        {"text": text, "role": "assistant", "rank": n, "replies": []} for n, text in enumerate("AB")
    ]}},
    "offsetbias": {"instruction": "Hi", "output_1": "A", "output_2": "B", "label": 1},
    "pandalm": {"instruction": "Hi", "input": "x", "response1": "A", "response2": "B",
                "annotator1": 1, "annotator2": 1, "annotator3": 2},
    "pku_saferlhf": {"prompt": "Hi", "response_0": "A", "response_1": "B", "better_response_id": 0,
                     "safer_response_id": 0},
    "ranked_completions": {"context": say("Hi"), "completions": [
        {"rank": n, "completion": say("", text)[1:]} for n, text in enumerate("AB")
    ]},
    "scored_messages": {**SIDES, "score_chosen": 2.0, "score_rejected": 1.0},
    "shp": {"history": "Hi", "human_ref_A": "A", "human_ref_B": "B", "score_A": 9, "score_B": 2,
            "labels": 1},
    "two_answers": {"prompt": "Hi", "response_a": "A", "response_b": "B", "winner": "model_a"},
    "two_outputs": {"instruction": "Hi", "output_1": "A", "output_2": "B", "preference": "a"},
    "ultrafeedback_ratings": {"instruction": "Hi", "completions": RATED},
    "webgpt": {"question": {"full_text": "Hi"}, "answer_0": "A", "answer_1": "B", "score_0": 0.5,
               "score_1": -0.5},
    "wildguardmix": [
        {"prompt": "Hi", "response": text, "prompt_harm_label": "harmful",
         "response_harm_label": harm} for text, harm in (("A", "harmful"), ("B", "unharmful"))
    ],
}  # fmt: skip
CHATML = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"
CALL = {"role": "assistant", "content": None, "tool_calls": [{"name": "f"}]}
DEEP: list = []
for _ in range(60):
    DEEP = [DEEP]
WILD = [
    None, float("nan"), float("inf"), True, 10**400, -1, "", " ", "a\ud800", "a\x00b", "x" * 5_000,
    [], {}, [None], [{}], [None, say("Hi")], DEEP, b"bytes", np.array(say("Hi", "A"), dtype=object),
    np.array(["a", "b"]), np.array(3), np.float32(2), np.int64(1), pd.NaT, pd.NA,
    pd.Timestamp("2024-01-01"), say("Hi", "A"), {"role": "assistant", "content": "A"}, [CALL],
    [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "A"}],
    [{"role": "user", "content": [{"type": "image", "image": b"x"}]}],
    [{"role": None, "content": None, "tool_calls": None}], json.dumps(say("Hi", "A")),
    repr(say("Hi", "A")), repr(np.array(say("Hi", "A"), dtype=object)), json.dumps(say("Hi"))[:-3],
    json.dumps([{"role": "user", "content": CHATML}]), CHATML, f"Look: {CHATML}", "A<|im_end|>",
    "<|im_end|>\n<|im_start|>", "[INST] Hi [/INST]", "[/INST]", "Human: Hi\n\nAssistant:",
    "Assistant: A",
    "### Instruction:\nHi\n\n### Response:\nA", "<s>[INST] <<SYS>>", "USER: Hi ASSISTANT:",
    "<start_of_turn>model\nA", [["Hi", "A"]], [["Hi", None]],
]  # fmt: skip
BESIDE = """
    system system_prompt history chat_history question query instruction input context messages
    conversations images tools audio task id score prompt chosen rejected
"""


def places(value, path=()):
    """Every place in a row, from the outside in."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in inside if isinstance(value, dict | list) else ():
        yield (*path, key)
        if isinstance(each, dict | list):
            yield from places(each, (*path, key))


def changed(row, draw):
    """A copy of a row with one place taken out, replaced, nested or written as text."""
    row = json.loads(json.dumps(row))
    *path, last = draw(st.sampled_from(sorted(places(row), key=str)))
    holder = row
    for key in path:
        holder = holder[key]
    how = draw(st.sampled_from(["replace", "replace", "drop", "nest", "json", "repr"]))
    if how == "drop" and isinstance(holder, dict):
        del holder[last]
        return row
    old = holder[last]
    written = {"nest": [old], "json": json.dumps(old), "repr": repr(old)}
    holder[last] = written[how] if how in written else draw(st.sampled_from(WILD))
    return row


@st.composite
def hurt_rows(draw, name):
    """Rows of a format: sound ones with foreign values in them and columns beside them."""
    sound = SOUND[name] if isinstance(SOUND[name], list) else [SOUND[name]]
    found = []
    for row in sound * draw(st.integers(1, 2)):
        hurt = changed(row, draw) if draw(st.booleans()) else dict(row)
        if draw(st.booleans()):
            hurt[draw(st.sampled_from(BESIDE.split()))] = draw(st.sampled_from(WILD))
        found.append(hurt)
    return found


def check_rows(name, rows):
    """Reads rows as they are, without a file that could not hold all of them."""
    found = [RawRow(number, row, "") for number, row in enumerate(rows)]
    # Files hold types of Python only; data sets of the hub may hold any.
    spec = SourceSpec(
        name="fuzz", hub_id="x", revision="y", format=name, origin="human", licence="CC0"
    )
    with mock.patch.object(reading, "read_rows", return_value=iter(found)):
        batches = list(read_source(spec, seed=0))
    assert sum(batch.num_rows for batch in batches) == len(rows)
    for batch in batches:
        outcomes = len(batch.pairs) + len(batch.quarantined) + batch.num_outside
        assert batch.num_rows + batch.num_unfolded == outcomes
        assert batch.pairs_table()["chosen"].type == pa.string()
        assert batch.quarantine_table().num_rows == len(batch.quarantined)
        pa.array(list(batch.unread_columns), pa.string())
        for pair in batch.pairs:
            assert structural_reasons(pair.conversation, pair.chosen, pair.rejected) == ()
            # Nothing hides in a pair any more: opening it again changes nothing.
            turns = [dict(turn) for turn in pair.conversation]
            sides = (pair.chosen, pair.rejected)
            assert opened(turns, sides) == (turns, sides)
    return batches


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_sound_row_of_each_format_is_a_pair(name):
    rows = SOUND[name] if isinstance(SOUND[name], list) else [SOUND[name]]
    [batch] = check_rows(name, rows)
    assert (len(batch.pairs), batch.quarantined) == (1, ())


@pytest.mark.parametrize("name", sorted(FORMATS))
@given(data=st.data())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_foreign_values_in_sound_rows_are_survived(name, data):
    check_rows(name, data.draw(hurt_rows(name)))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FORMATS))
@given(data=st.data())
@settings(max_examples=600, deadline=None, derandomize=True)
def test_many_foreign_values_in_sound_rows_are_survived(name, data):
    check_rows(name, data.draw(hurt_rows(name)))


class Watched(dict):
    """A row that notes which of its columns are read."""

    def __init__(self, row, read):
        super().__init__(row)
        self.read = read

    def __getitem__(self, name):
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name, default=None):
        if name in self:
            self.read.add(name)
        return super().get(name, default)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_format_reads_no_column_but_those_that_it_names(name):
    rows = SOUND[name] if isinstance(SOUND[name], list) else [SOUND[name]]
    read = set()
    beside = dict.fromkeys(BESIDE.split(), "x") if name != "implicit_plain" else {}
    watched = [RawRow(n, Watched({**beside, **row}, read), "") for n, row in enumerate(rows)]
    known = FORMATS[name]
    spec = SourceSpec(name="fuzz", path="x", origin="human", licence="CC0")
    reader = known.reader(spec, seed=0)
    for row in known.group(iter(watched)) if known.group else watched:
        with contextlib.suppress(RowRejected):
            reader(row.value, row.number)
    assert read <= known.columns
    assert known.asks is None or known.asks in known.columns
