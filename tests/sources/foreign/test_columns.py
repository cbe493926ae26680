"""Context goes into the conversation, what cannot is refused by name, the rest is counted."""

import json

import pytest

from synpref_dagster.sources.foreign.columns import with_prompt
from synpref_dagster.sources.foreign.names import is_metadata, kind_of
from synpref_dagster.sources.reading import read_source
from synpref_dagster.sources.records import SourceSpec

SIDES = {"chosen": "An apple.", "rejected": "A stone."}
SYSTEM = {"role": "system", "content": "Be brief."}
HI, HELLO = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
FRUIT = {"role": "user", "content": "Name a fruit."}
WHOLE = {
    side: [FRUIT, {"role": "assistant", "content": content}] for side, content in SIDES.items()
}
VOTES = {"response_a": "An apple.", "response_b": "A stone.",
         "votes": [{"worker": "w", "value": "a"}]}  # fmt: skip
GUESSED = {side: f"Name a fruit.\n{content}" for side, content in SIDES.items()}


def read(path, *rows, **options):
    path = path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    spec = SourceSpec(name="demo", path=str(path), origin="human", licence="x", options=options)
    [batch] = read_source(spec, seed=0)
    return batch


@pytest.mark.parametrize(
    ("row", "turns"),
    [
        ({"instruction": "Name a fruit.", "input": "", **SIDES}, [FRUIT]),
        ({"instruction": "Name a", "input": "fruit.", **SIDES},
         [{"role": "user", "content": "Name a\n\nfruit."}]),
        ({"input": "Name a fruit.", **SIDES}, [FRUIT]),
        ({"system": "Be brief.", "question": "Name a fruit.", **SIDES}, [SYSTEM, FRUIT]),
        ({"system_text": "Be brief.", "instructions": "Name a fruit.", **SIDES}, [SYSTEM, FRUIT]),
        ({"preamble": "Be brief.", "prompt": "Name a fruit.", **SIDES}, [SYSTEM, FRUIT]),
        ({"earlier_turns": [["Hi", "Hello"]], "prompt": "Name a fruit.", **SIDES},
         [HI, HELLO, FRUIT]),
        ({"prompt": "Name a", "contexts": "fruit.", **SIDES},
         [{"role": "user", "content": "Name a\n\nfruit."}]),
        ({"systemPrompt": "Be brief.", "Question": "Name a fruit.", **SIDES}, [SYSTEM, FRUIT]),
        ({"system": "Be brief.", "prompt": [FRUIT], **SIDES}, [SYSTEM, FRUIT]),
        ({"system": None, "prompt": "Name a fruit.", **SIDES}, [FRUIT]),
        ({"system": "Be brief.", **WHOLE}, [SYSTEM, FRUIT]),
        ({"system": "Be brief.", **{s: [SYSTEM, *m] for s, m in WHOLE.items()}}, [SYSTEM, FRUIT]),
        ({"system": "Be brief.", **{s: json.dumps(m) for s, m in WHOLE.items()}}, [SYSTEM, FRUIT]),
        ({"system": "Be brief.", **{s: f"\n\nHuman: Name a fruit.\n\nAssistant: {t}"
                                    for s, t in SIDES.items()}}, [SYSTEM, FRUIT]),
        ({"history": [["Hi", "Hello"]], "prompt": "Name a fruit.", **SIDES}, [HI, HELLO, FRUIT]),
        ({"history": [HI, HELLO], "prompt": "Name a fruit.", **SIDES}, [HI, HELLO, FRUIT]),
        ({"history": json.dumps([HI, HELLO]), "prompt": "Name a fruit.", **SIDES},
         [HI, HELLO, FRUIT]),
        ({"history": [["Hi", "Hello"]], "chat_history": [HI, HELLO], "prompt": "Name a fruit.",
          **SIDES}, [HI, HELLO, FRUIT]),
        ({"history": [HI, HELLO, FRUIT], "prompt": "Name a fruit.", **SIDES}, [HI, HELLO, FRUIT]),
        ({"history": [SYSTEM, HI, HELLO], "system": "Be brief. ", "prompt": "Name a fruit.",
          **SIDES}, [{**SYSTEM, "content": "Be brief. "}, HI, HELLO, FRUIT]),
        ({"system": "Be brief.", "system_prompt": "Be brief.", "prompt": "Name a fruit.", **SIDES},
         [SYSTEM, FRUIT]),
        ({"system": "\u200b\ufeff", "prompt": "Name a fruit.", **SIDES}, [FRUIT]),
        ({"prompt": "Name a", "input": "fruit.", "context": "fruit.", **SIDES},
         [{"role": "user", "content": "Name a\n\nfruit."}]),
        ({"history": [], "prompt": "Name a fruit.", **SIDES}, [FRUIT]),
        ({"conversations": [{"from": "human", "value": "Name a fruit."}], **SIDES}, [FRUIT]),
        ({"context": [HI, HELLO, FRUIT], **SIDES}, [HI, HELLO, FRUIT]),
        ({"messages": WHOLE["chosen"], "prompt": "Name a fruit.", **WHOLE}, [FRUIT]),
        ({"instruction": "Name a fruit.", "tools": "[]", "images": [], **WHOLE}, [FRUIT]),
        ({"system": "Be brief.", "prompt": "Name a fruit.", **VOTES}, [SYSTEM, FRUIT]),
        ({"system": "Be brief.", "instruction": "Name a", "input": "fruit.", "label": 1,
          "output_1": "An apple.", "output_2": "A stone."},
         [SYSTEM, {"role": "user", "content": "Name a\n\nfruit."}]),
    ],
)  # fmt: skip
def test_context_is_part_of_the_conversation(tmp_path, row, turns):
    [pair] = read(tmp_path, row).pairs
    assert list(pair.conversation) == turns
    assert (pair.chosen, pair.rejected) == ("An apple.", "A stone.")


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ({"images": ["a.png"]}, "multimodal_unsupported"),
        ({"audio": {"bytes": "x"}}, "multimodal_unsupported"),
        ({"tools": [{"name": "weather"}]}, "tool_calls_unsupported"),
        ({"functions": "weather()"}, "tool_calls_unsupported"),
        ({"history": "We spoke of fruit."}, "unread_context"),
        ({"history": [["Hi", "Hello", "Bye"]]}, "unread_context"),
        ({"question": "What is the time?"}, "unread_context"),
        ({"system": ["Be brief."]}, "unread_context"),
        ({"thread": [HI, HELLO]}, "unread_context"),
        ({"earlier": json.dumps([HI, HELLO])}, "unread_context"),
        ({"turn_zero": {"from": "human", "value": "Hi"}}, "unread_context"),
        ({"thread": [["user", "Hi"], ["assistant", "Hello"]]}, "unread_context"),
        ({"record": {"messages": [HI, HELLO]}}, "unread_context"),
        ({"earlier_turns": ["Hi", "Hello"]}, "unread_context"),
        ({"source_documents": ["Apples grow."]}, "unread_context"),
        ({"persona": "A pirate."}, "unread_context"),
        ({"background": "It is late."}, "unread_context"),
        ({"knowledge": ["Apples grow."]}, "unread_context"),
        ({"documents": ["Apples grow."]}, "unread_context"),
        ({"retrieved_contexts": "Apples grow."}, "unread_context"),
        ({"search_results": [{"title": "x"}]}, "unread_context"),
        ({"instructions": "What is the time?"}, "unread_context"),
        ({"thing": {"bytes": "x", "path": None}}, "multimodal_unsupported"),
        ({"things": [{"bytes": None, "path": "a.png"}]}, "multimodal_unsupported"),
        ({"photo": "a.png"}, "multimodal_unsupported"),
        ({"image_file": "a.png"}, "multimodal_unsupported"),
        ({"img_path": "a.png"}, "multimodal_unsupported"),
        ({"images_url": ["a.png"]}, "multimodal_unsupported"),
        ({"screenshot": "a.png"}, "multimodal_unsupported"),
        ({"multi_modal_data": {"image": "x"}}, "multimodal_unsupported"),
        ({"tools_json": "[{}, 1]"}, "tool_calls_unsupported"),
        ({"tool_definitions": ["x"]}, "tool_calls_unsupported"),
        ({"available_functions": ["x"]}, "tool_calls_unsupported"),
    ],
)
def test_a_column_that_has_no_place_in_a_pair_refuses_its_row_by_name(tmp_path, column, reason):
    row = {"prompt": "Name a fruit.", **SIDES}
    batch = read(tmp_path, row, {**row, **column})
    [refused] = batch.quarantined
    assert (len(batch.pairs), refused.row, refused.reason) == (1, 1, reason)
    assert f"column {next(iter(column))!r}" in refused.detail
    assert f"ignore_columns = [{next(iter(column))!r}]" in refused.detail
    # A refusal can be answered.
    assert len(read(tmp_path, {**row, **column}, ignore_columns=[*column]).pairs) == 1


@pytest.mark.parametrize(
    "column",
    [
        {"thread": [FRUIT]},
        {"instructions": "Name a fruit."},
        {"persona": "Name a fruit."},
    ],
)
def test_a_column_that_repeats_what_is_read_does_no_harm(tmp_path, column):
    row = {"prompt": "Name a fruit.", **SIDES, **column}
    [pair] = read(tmp_path, row).pairs
    assert list(pair.conversation) == [FRUIT]


@pytest.mark.parametrize(
    "column",
    [
        {"image_count": 2, "has_image": True, "num_tools": 1},
        {"document_id": "d", "context_length": "7", "system_prompt_id": "s"},
        {"annotation_tools": ["label studio"], "judge_system_prompt": "Rate it."},
        {"annotators": [{"role": "admin", "content": "x"}], "votes": [{"path": "a"}]},
    ],
)
def test_metadata_whose_name_or_shape_is_alike_is_counted(tmp_path, column):
    batch = read(tmp_path, {"prompt": "Name a fruit.", **SIDES, **column})
    assert [list(pair.conversation) for pair in batch.pairs] == [[FRUIT]]
    assert set(batch.unread_columns) == set(column)


@pytest.mark.parametrize(
    "row",
    [
        {"system": "Be brief.", "system_prompt": "Rhyme.", "prompt": "Name a fruit."},
        {"system": "Be brief.", "prompt": [{**SYSTEM, "content": "Rhyme."}, FRUIT]},
        {"system": "Be brief.", "prompt": "Name a fruit.",
         "history": [{**SYSTEM, "content": "Rhyme."}, HI, HELLO]},
    ],
)  # fmt: skip
def test_two_system_prompts_are_refused_wherever_they_stand(tmp_path, row):
    assert [bad.reason for bad in read(tmp_path, {**row, **SIDES}).quarantined] == [
        "two_system_prompts"
    ]


def test_two_different_histories_are_refused_by_the_name_of_the_second(tmp_path):
    row = {"prompt": "Name a fruit.", "history": [["Hi", "Hello"]], "chat_history": [FRUIT, HELLO]}
    [refused] = read(tmp_path, {**row, **SIDES}).quarantined
    assert refused.reason == "unread_context"
    assert "column 'chat_history'" in refused.detail


@pytest.mark.parametrize("word", ["None", "null", "NaN", "nan", "<NA>", "N/A"])
@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Name a fruit.", **SIDES},
        {"instruction": "Name a fruit.", "output_1": "An apple.", "output_2": "A stone.",
         "label": 1},
    ],
)  # fmt: skip
def test_the_word_for_nothing_is_no_matter_of_a_prompt_and_is_counted(tmp_path, row, word):
    batch = read(tmp_path, {**row, "input": word}, row)
    assert [list(pair.conversation) for pair in batch.pairs] == [[FRUIT]] * 2
    assert batch.unread_columns == {"input": 1}


def test_formats_of_two_whole_conversations_refuse_context(tmp_path):
    sides = {"conversation_a": WHOLE["chosen"], "conversation_b": WHOLE["rejected"]}
    row = {**sides, "winner": "model_a"}
    assert len(read(tmp_path, row).pairs) == 1
    [refused] = read(tmp_path, {**row, "system": "Be brief."}).quarantined
    assert refused.reason == "unread_context"


def test_no_prompt_is_guessed_while_a_column_may_hold_it(tmp_path):
    with pytest.raises(ValueError, match="guessing the prompt: column 'task'") as caught:
        read(tmp_path, {"task": "Name a fruit.", **GUESSED})
    assert "columns = {prompt = 'task'}" in str(caught.value)
    [pair] = read(tmp_path, {"task": "Name a fruit.", **SIDES}, columns={"prompt": "task"}).pairs
    assert list(pair.conversation) == [FRUIT]
    [pair] = read(tmp_path, {"task": "7", **GUESSED}, ignore_columns=["task"]).pairs
    assert list(pair.conversation) == [FRUIT]


def test_metadata_refuses_nothing_and_is_counted(tmp_path):
    about = {"prompt_id": "7", "source": "web", "model_name": "m", "score": 3.5, "note": None}
    batch = read(tmp_path, {**about, **GUESSED}, {**GUESSED, "score": float("nan")})
    assert len(batch.pairs) == 2
    assert batch.unread_columns == {"prompt_id": 1, "source": 1, "model_name": 1, "score": 1}


def test_a_source_with_endless_columns_names_some_of_them(tmp_path):
    rows = [{"prompt": "Hi", **SIDES, f"x{number}y": 1} for number in range(300)]
    unread = read(tmp_path, *rows).unread_columns
    assert (len(unread), unread["(further columns)"], sum(unread.values())) == (201, 100, 300)


@pytest.mark.parametrize("names", ["task", [7]])
def test_ignored_columns_are_a_list_of_names(tmp_path, names):
    with pytest.raises(ValueError, match="must be a list of column names"):
        read(tmp_path, {"prompt": "Hi", **SIDES}, ignore_columns=names)


def test_names_are_known_in_every_spelling():
    assert {kind_of(name) for name in ("System Prompt", "systemPrompt", "SYSTEM")} == {"system"}
    assert [kind_of(name) for name in ("image_1", "tools", "id")] == ["media", "media", ""]
    assert [is_metadata(name) for name in ("model_a", "chosen-rating", "task")] == [1, 1, 0]


def test_rows_of_other_layouts_keep_their_columns():
    row = {"question": "Hi", "answer_0": "a"}
    assert with_prompt(row) is row
