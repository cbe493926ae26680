"""Every response of a file gets its model's own reward, once, or is counted with a reason."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from synpref_dagster.pairs.record import PreferencePair, Turn
from synpref_dagster.reward import shards
from synpref_dagster.reward.scoring import load_reward_model
from synpref_dagster.storage.maps.executors import InProcessExecutor
from synpref_dagster.tools import running, scoring
from synpref_dagster.tools.scoring import score

NUM_PAIRS = 40


def asked(number):
    return f"word{number % 30} word{number % 7}"


def pair_rows(num=NUM_PAIRS):
    return [
        {
            "prompt": asked(n),
            "chosen": f"word{n % 11} word{n % 5}",
            "rejected": f"word{n % 13} word29 word{n % 3}",
        }
        for n in range(num)
    ]


def rewards_of(model, rows, side):
    conversations = [(Turn(role="user", content=row["prompt"]),) for row in rows]
    return load_reward_model(model).rewards(conversations, [row[side] for row in rows])


@pytest.fixture
def counted(monkeypatch):
    """Responses given to a model, call by call; can be told to break after some."""
    seen = {"responses": 0, "break_after": None}
    plain = shards.opened_scorer

    class Counted:
        def __init__(self, model):
            self.scorer = plain(model)
            self.encoder = self.scorer.encoder

        def rewards(self, conversations, responses):
            if seen["break_after"] is not None and seen["responses"] >= seen["break_after"]:
                raise KeyboardInterrupt
            seen["responses"] += len(responses)
            return self.scorer.rewards(conversations, responses)

    monkeypatch.setattr(shards, "opened_scorer", Counted)
    return seen


def test_pairs_get_the_rewards_of_the_model_and_lead_back_to_their_rows(
    classifier, write_lines, tmp_path
):
    rows = pair_rows()
    report = score(classifier, write_lines("pairs.jsonl", rows), tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet").to_pandas()
    chosen, rejected = (rewards_of(classifier, rows, side) for side in ("chosen", "rejected"))
    np.testing.assert_allclose(table["chosen_reward"], chosen, atol=1e-6)
    np.testing.assert_allclose(table["rejected_reward"], rejected, atol=1e-6)
    assert table["margin"].dtype == np.float32
    np.testing.assert_array_equal(
        table["margin"], table["chosen_reward"] - table["rejected_reward"]
    )
    assert table["row"].tolist() == list(range(NUM_PAIRS))
    assert set(table["file"]) == {"pairs.jsonl"}
    pair = PreferencePair(
        conversation=(Turn(role="user", content=rows[3]["prompt"]),),
        chosen=rows[3]["chosen"],
        rejected=rows[3]["rejected"],
        source="any",
        origin="human",
    )
    assert table["pair_id"][3] == pair.pair_id.hex()
    encoder = load_reward_model(classifier).encoder
    [ids] = encoder.encode([pair.conversation], [pair.chosen])
    assert table["chosen_num_tokens"][3] == len(ids)
    assert report.accuracy == np.mean(table["margin"] > 0)
    assert (report.num_scored, report.quarantine) == (2 * NUM_PAIRS, None)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.parquet", "pairs.jsonl"]


def test_json_lines_and_parquet_hold_the_same(classifier, write_lines, tmp_path):
    file = write_lines("pairs.jsonl", pair_rows(6))
    lines = score(classifier, file, tmp_path / "out.jsonl")
    columns = score(classifier, file, tmp_path / "out.parquet")
    assert lines.table().equals(columns.table())


def test_responses_of_every_spelling_are_scored_in_their_order(classifier, write_lines, tmp_path):
    turns = [{"role": "user", "content": "word1"}]
    system = {"role": "system", "content": "word9"}
    file = write_lines(
        "answers.jsonl",
        [
            {"prompt": "word1", "response": "word2"},
            {"prompt": "word1", "responses": ["word3", "word2"]},
            {"messages": [*turns, {"role": "assistant", "content": "word2"}]},
            {"conversation": [{"from": "human", "value": "word1"}], "response": "word2"},
            {"messages": [system, *turns], "response": "word2"},
            {"prompt": "word1", "system_prompt": "word9", "response": "word2"},
        ],
    )
    table = score(classifier, file, tmp_path / "out.parquet").table().to_pandas()
    assert list(zip(table["row"], table["response"], strict=True)) == [
        (0, 0), (1, 0), (1, 1), (2, 0), (3, 0), (4, 0), (5, 0),
    ]  # fmt: skip
    rewards = table["reward"].tolist()
    own = load_reward_model(classifier).rewards([tuple(turns)] * 2, ["word2", "word3"])
    assert [rewards[n] for n in (0, 2, 3, 4)] == pytest.approx([own[0]] * 4, abs=1e-6)
    assert rewards[1] == pytest.approx(own[1], abs=1e-6)
    assert rewards[5] == pytest.approx(rewards[6], abs=1e-6)
    assert rewards[5] != pytest.approx(rewards[0], abs=1e-6)


def test_rows_that_are_nothing_are_counted_by_reason_and_written_beside(
    classifier, write_lines, tmp_path
):
    rows = [
        *pair_rows(2),
        {"prompt": "word1", "chosen": "word2", "rejected": "word2"},
        "no json",
        {"prompt": "word1", "chosen": "", "rejected": "word2"},
    ]
    report = score(classifier, write_lines("pairs.jsonl", rows), tmp_path / "out.jsonl")
    reading = report.reading
    assert reading.quarantined == {"identical_responses": 1, "not_json": 1, "empty_response": 1}
    assert reading.num_rows == reading.num_items + sum(reading.quarantined.values()) == 5
    assert report.quarantine == tmp_path / "out.quarantine.jsonl"
    told = [json.loads(line) for line in report.quarantine.read_text().splitlines()]
    assert [(row["row"], row["reason"]) for row in told] == [
        (2, "identical_responses"), (3, "not_json"), (4, "empty_response"),
    ]  # fmt: skip
    assert told[1]["raw"].strip() == "no json"


def test_a_response_that_is_nothing_leaves_those_beside_it(classifier, write_lines, tmp_path):
    rows = [
        {"prompt": "word1", "responses": ["word2", "", 7]},
        {"prompt": "word1", "responses": []},
    ]
    report = score(classifier, write_lines("a.jsonl", rows), tmp_path / "out.jsonl")
    assert report.table()["response"].to_pylist() == [0]
    assert report.reading.quarantined == {"empty_response": 2, "not_text": 1}
    told = [json.loads(line) for line in report.quarantine.read_text().splitlines()]
    assert [row["detail"].partition(";")[0] for row in told] == [
        "response 1", "response 2", "responses is an empty list",
    ]  # fmt: skip


def test_a_killed_scoring_scores_only_the_rest(
    classifier, write_lines, tmp_path, counted, monkeypatch
):
    monkeypatch.setattr("synpref_dagster.tools.rows.CHUNK", 20)
    monkeypatch.setattr(running, "CHUNK", 20)
    file, out = write_lines("pairs.jsonl", [*pair_rows(), "no json"]), tmp_path / "out.parquet"
    counted["break_after"] = 40
    with pytest.raises(KeyboardInterrupt):
        score(classifier, file, out)
    assert not out.exists()
    counted.update(responses=0, break_after=None)
    told = []
    report = score(classifier, file, out, listener=told.append)
    assert (counted["responses"], report.num_scored) == (40, 40)
    assert [fact.done for fact in told if fact.done % 20 == 0][-2:] == [60, 80]
    whole = score(classifier, file, tmp_path / "whole.parquet")
    assert report.table().equals(whole.table())
    assert report.reading == whole.reading
    assert not [each for each in tmp_path.iterdir() if each.name.endswith(".work")]


def test_one_killed_between_its_two_files_ends_with_both(
    classifier, write_lines, tmp_path, monkeypatch
):
    file, out = write_lines("pairs.jsonl", [*pair_rows(2), "no json"]), tmp_path / "out.jsonl"
    with monkeypatch.context() as patched:
        patched.setattr(scoring, "_write", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            score(classifier, file, out)
    report = score(classifier, file, out)
    assert report.table().num_rows == 2
    assert report.quarantine.read_text().count("\n") == 1


def test_a_folder_is_read_file_by_file_and_a_linear_model_counts_no_tokens(
    write_lines, tmp_path, linear_model
):
    write_lines("data/a.jsonl", pair_rows(2))
    write_lines("data/sub/b.jsonl", pair_rows(3))
    (tmp_path / "data" / "README.md").write_text("about it")
    report = score(linear_model, tmp_path / "data", tmp_path / "out.jsonl")
    table = report.table()
    assert table["file"].to_pylist() == ["a.jsonl"] * 2 + ["sub/b.jsonl"] * 3
    assert table["row"].to_pylist() == [0, 1, 0, 1, 2]
    assert table["chosen_num_tokens"].null_count == 5
    assert report.reading.skipped == ["README.md"]


def test_what_is_too_long_is_flagged_and_counted(classifier, write_lines, tmp_path, changed_model):
    model = changed_model()
    (model / "training.json").write_text(json.dumps({"config": {"max_length_tokens": 12}}))
    long = {"prompt": "word1", "chosen": "word2 " * 30, "rejected": "word3"}
    report = score(model, write_lines("p.jsonl", [long]), tmp_path / "out.jsonl")
    [row] = report.table().to_pylist()
    assert (row["chosen_over_long"], row["rejected_over_long"]) == (True, False)
    assert report.num_over_long == 1


def test_columns_are_renamed_and_another_format_is_obeyed(classifier, write_lines, tmp_path):
    rows = [{"question": r["prompt"], "chosen": r["chosen"], "rejected": r["rejected"]}
            for r in pair_rows(3)]  # fmt: skip
    plain = score(classifier, write_lines("p.jsonl", pair_rows(3)), tmp_path / "plain.jsonl")
    renamed = score(
        classifier,
        write_lines("q.jsonl", rows),
        tmp_path / "renamed.jsonl",
        columns={"prompt": "question"},
    )
    assert renamed.table()["margin"].equals(plain.table()["margin"])
    both = [{"prompt": "word1", "response": "word2", "chosen": "word3", "rejected": "word4"}]
    answers = score(
        classifier, write_lines("b.jsonl", both), tmp_path / "b-out.jsonl", layout="responses"
    )
    assert answers.reading.kind == "responses"


def test_an_empty_file_gives_an_empty_table(classifier, write_lines, tmp_path):
    report = score(classifier, write_lines("p.jsonl", []), tmp_path / "out.parquet")
    assert (report.table().num_rows, report.accuracy) == (0, None)


@pytest.mark.parametrize("layout", ["auto", "no_such_format"])
def test_layouts_that_nobody_knows_are_refused_in_a_line(classifier, write_lines, tmp_path, layout):
    file = write_lines("p.jsonl", [{"colour": "red", "shape": "round"}])
    with pytest.raises(ValueError, match=r"colour, shape|unknown format") as refused:
        score(classifier, file, tmp_path / "out.jsonl", layout=layout)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out.jsonl").exists()


def test_outputs_that_cannot_be_are_refused_in_a_line(classifier, write_lines, tmp_path):
    file = write_lines("pairs.jsonl", pair_rows(2))
    (tmp_path / "there.jsonl").write_text("mine\n")
    (tmp_path / "beside.quarantine.jsonl").write_text("mine\n")
    for output, words in {
        tmp_path / "out.csv": "written as .parquet or .jsonl",
        tmp_path / "nowhere" / "out.jsonl": "there is no folder",
        tmp_path / "there.jsonl": "is there already",
        tmp_path / "beside.parquet": "beside.quarantine.jsonl is there already",
        file: "is the input",
        tmp_path / "out.jsonl": "lies in the folder that is read",
    }.items():
        read = tmp_path if "folder that is read" in words else file
        with pytest.raises(ValueError, match=words) as refused:
            score(classifier, read, output)
        assert "\n" not in str(refused.value)
    with pytest.raises(ValueError, match="is the input"):
        score(classifier, file, file, force=True)
    assert (tmp_path / "there.jsonl").read_text() == "mine\n"
    report = score(classifier, file, tmp_path / "there.jsonl", force=True)
    assert report.table().num_rows == 2


def test_a_file_that_is_not_there_is_refused_by_its_own_name(classifier, tmp_path):
    with pytest.raises(ValueError, match=r"no file at '.*gone.jsonl'; correct its path") as refused:
        score(classifier, tmp_path / "gone.jsonl", tmp_path / "out.jsonl")
    assert "source" not in str(refused.value)


def test_a_template_that_cannot_write_a_conversation_is_refused_in_a_line(
    write_lines, tmp_path, changed_model
):
    model = changed_model()
    file = model / "chat_template.jinja"
    no_system = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    )
    file.write_text(no_system + file.read_text())
    row = {"prompt": "word1", "system_prompt": "word9", "response": "word2"}
    with pytest.raises(ValueError, match="cannot write a conversation: no system"):
        score(model, write_lines("a.jsonl", [row]), tmp_path / "out.jsonl")


def test_shards_go_where_the_settings_say(classifier, write_lines, tmp_path, monkeypatch):
    from contextlib import contextmanager

    from synpref_dagster.resources import executors
    from synpref_dagster.settings.shards import ShardSettings

    stores = []

    @contextmanager
    def opened(settings, *, store):
        stores.append((settings.executor, store))
        yield InProcessExecutor()

    monkeypatch.setattr(executors, "opened_executor", opened)
    file = write_lines("pairs.jsonl", pair_rows(2))
    report = score(
        classifier, file, tmp_path / "out.jsonl", shards=ShardSettings(executor="ray", workers=3)
    )
    assert report.table().num_rows == 2
    [(executor, store)] = stores
    assert executor == "ray"
    assert store.startswith(str(tmp_path / ".out.jsonl.work"))
