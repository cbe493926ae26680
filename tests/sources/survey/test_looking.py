"""A look at files finds what reads as pairs, and says of the others why they do not."""

import gzip
import json

import pytest

from synpref_dagster.sources.survey.looking import look

PLAIN = {"prompt": "2+2?", "chosen": "4", "rejected": "5"}
VOTED = {
    "prompt": "Which?",
    "response_a": "this",
    "response_b": "that",
    "votes": [{"worker": "w1", "value": "a"}, {"worker": "w2", "value": "b"}],
    "debate": "one",
}
OFFSET = {"instruction": "Say", "output_1": "a", "output_2": "b", "label": 1}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)


def numbered(row, count=3):
    asks = next(name for name in ("prompt", "instruction") if name in row)
    return [{**row, asks: f"{row[asks]} {number}"} for number in range(count)]


def passed(found):
    return {each.place: each.why for each in found.passed}


def test_a_folder_that_reads_alike_is_one_source_with_its_licence(folder):
    write(folder / "chat" / "day1.jsonl", *numbered(PLAIN))
    write(folder / "chat" / "deep" / "day2.jsonl.gz", *numbered(PLAIN, 2))
    (folder / "chat" / "LICENSE").write_text("MIT License")
    [source] = look(["."]).sources
    assert (source.name, source.place, source.format) == ("chat", "chat", "explicit_plain")
    assert (source.num_files, source.num_rows, source.num_pairs) == (2, 5, 5)
    assert (source.licence.name, source.licence.said_by) == ("MIT", "LICENSE")
    assert source.origin_is_guessed


def test_a_folder_with_something_else_in_it_gives_its_files_one_by_one(folder):
    write(folder / "set" / "pairs.jsonl", *numbered(PLAIN))
    write(folder / "set" / "results.jsonl", {"idx": 1, "result": 2})
    found = look(["."])
    assert [each.place for each in found.sources] == ["set/pairs.jsonl"]
    assert [each.name for each in found.sources] == ["set"]
    assert passed(found)["set/results.jsonl"] == (
        "no known preference format has the columns idx (int), result (int)"
    )


def test_files_of_two_layouts_are_two_sources_with_names_of_their_own(folder):
    write(folder / "set" / "a.jsonl", *numbered(PLAIN))
    write(folder / "set" / "b.jsonl", *numbered(VOTED))
    write(folder / "other" / "a.jsonl", *numbered(PLAIN, 4))
    assert {each.place: each.name for each in look(["."]).sources} == {
        "other": "other",
        "set/a.jsonl": "a",
        "set/b.jsonl": "b",
    }


def test_folders_that_say_of_themselves_what_they_are_stay_apart(folder):
    for count, name in enumerate(("one", "two"), start=2):
        write(folder / "all" / name / "x.jsonl", *numbered(PLAIN, count))
        (folder / "all" / name / "README.md").write_text("license: mit")
    assert [each.place for each in look(["all"]).sources] == ["all/one", "all/two"]


def test_what_is_no_data_is_named_with_its_reason(folder):
    write(folder / "set" / "pairs.jsonl", *numbered(PLAIN))
    for name, text in {
        "LICENSE": "x",
        "SOURCE": "y",
        "empty.jsonl": "",
        "notes.txt": "Hello.",
    }.items():
        (folder / "set" / name).write_text(text)
    (folder / "set" / "gone.jsonl").symlink_to(folder / "nowhere")
    (folder / "own.toml").write_text("name = 3")
    write(folder / "broken" / "bad.jsonl", {**PLAIN, "chosen": "", "rejected": ""})
    found = look(["."])
    assert [each.place for each in found.sources] == ["set/pairs.jsonl"]
    told = passed(found)
    assert told["set/LICENSE"] == told["set/SOURCE"] == "no data by its name"
    assert told["set/empty.jsonl"] == "empty"
    assert told["set/gone.jsonl"] == "a link to a file that is not there"
    assert told["own.toml"] == "settings, no data"
    assert "neither JSON nor a table" in told["set/notes.txt"]
    assert told["broken/bad.jsonl"] == "no row of it is a pair (1 empty_response)"


def test_an_empty_file_and_a_licence_do_not_break_a_folder_up(folder):
    write(folder / "set" / "pairs.jsonl", *numbered(PLAIN))
    (folder / "set" / "tomorrow.jsonl").write_text("")
    (folder / "set" / "LICENSE").write_text("MIT License")
    assert [each.place for each in look(["."]).sources] == ["set"]


def test_votes_are_counted_by_pair_and_their_parts_by_name(folder):
    write(folder / "votes.jsonl", *numbered(VOTED, 4), {**VOTED, "votes": []})
    [source] = look(["votes.jsonl"]).sources
    assert (source.num_pairs, source.num_voted) == (4, 4)
    assert source.debates == {"one": 4}
    assert source.reasons == {"no_preference": 1}
    assert (source.origin, source.origin_is_guessed) == ("human", False)


def test_a_layout_that_only_models_label_is_labelled_by_a_model(folder):
    write(folder / "set.jsonl", *numbered(OFFSET))
    [source] = look(["set.jsonl"]).sources
    assert (source.format, source.origin) == ("offsetbias", "synthetic")


def test_columns_under_other_names_are_taken_where_the_names_leave_no_doubt(folder):
    rows = [{"question": f"q {n}", "better_answer": "a", "worse_answer": "b"} for n in range(3)]
    write(folder / "set.jsonl", *rows)
    [source] = look(["set.jsonl"]).sources
    assert source.options == {"columns": {"chosen": "better_answer", "rejected": "worse_answer"}}
    write(folder / "set.jsonl", *({**row, "best": "c"} for row in rows))
    assert not look(["set.jsonl"]).sources


def test_a_model_is_no_data(folder):
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}")
    (folder / "model" / "model.safetensors").write_bytes(b"x")
    assert passed(look(["."])) == {"model": "a model"}


def test_a_set_of_the_hub_is_known_by_the_table_of_public_sets(folder):
    [source] = look(["nvidia/HelpSteer3"]).sources
    assert (source.is_on_hub, source.format) == (True, "helpsteer_preference")
    assert source.options == {"config_name": "preference"}
    assert source.licence.name == "CC-BY-4.0"
    assert "does not list" in passed(look(["some/other"]))["some/other"]


def test_a_place_that_is_none_is_refused_in_a_line(folder):
    with pytest.raises(ValueError, match="'no such/thing/there' is no file or folder here"):
        look(["no such/thing/there"])


def test_names_become_folders_whatever_files_are_called(folder):
    write(folder / "Für alle (neu)" / "x.jsonl", *numbered(PLAIN))
    write(folder / "für alle [neu]" / "x.jsonl", *numbered(PLAIN, 4))
    names = [each.name for each in look(["."]).sources]
    assert len({name.lower() for name in names}) == 2
    assert all(name.isascii() and " " not in name for name in names)


def test_links_in_a_circle_are_looked_at_once(folder):
    write(folder / "set" / "pairs.jsonl", *numbered(PLAIN))
    (folder / "set" / "again").symlink_to(folder / "set", target_is_directory=True)
    [source] = look(["."]).sources
    assert source.num_rows == 3


def test_the_same_content_is_taken_once_whatever_its_name_and_container(folder):
    write(folder / "one" / "a.jsonl", *numbered(PLAIN))
    write(folder / "two" / "b.jsonl.gz", *numbered(PLAIN))
    (folder / "three.json").write_text(json.dumps(numbered(PLAIN)))
    write(folder / "four.jsonl", *numbered(PLAIN, 4))
    found = look(["one", "two", "three.json", "four.jsonl"])
    assert [each.place for each in found.sources] == ["one", "four.jsonl"]
    same = "the same content as one, which is taken once"
    assert passed(found) == {"two": same, "three.json": same}


def test_a_place_that_is_named_twice_is_one_source(folder):
    write(folder / "a.jsonl", *numbered(PLAIN))
    found = look(["a.jsonl", "a.jsonl"])
    assert [each.place for each in found.sources] == ["a.jsonl"]
    assert passed(found) == {"a.jsonl": "named twice, and taken once"}


@pytest.mark.parametrize("places", [["set", "set/a.jsonl"], ["set/a.jsonl", "set"]])
def test_a_file_that_lies_in_a_folder_that_is_named_too_is_left_to_it(folder, places):
    write(folder / "set" / "a.jsonl", *numbered(PLAIN))
    write(folder / "set" / "b.jsonl", *numbered(PLAIN, 5))
    found = look(places)
    assert [(each.place, each.num_pairs) for each in found.sources] == [("set", 8)]
    assert "set/a.jsonl" in passed(found)


def test_a_copy_within_a_folder_is_counted_once_and_does_not_break_it_up(folder):
    for name in ("a", "b"):
        write(folder / "set" / f"{name}.jsonl", *numbered(PLAIN))
    found = look(["set"])
    assert [(each.place, each.num_pairs) for each in found.sources] == [("set", 3)]
    assert passed(found)["set/b.jsonl"].startswith("the same content as set/a.jsonl")


def test_other_votes_on_the_same_pairs_are_another_content(folder):
    write(folder / "a.jsonl", *numbered(VOTED))
    other = {**VOTED, "votes": [{"worker": "w3", "value": "a"}, {"worker": "w2", "value": "b"}]}
    write(folder / "b.jsonl", *numbered(other))
    assert len(look(["a.jsonl", "b.jsonl"]).sources) == 2


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_marks_and_wide_encodings_are_read(folder, encoding):
    (folder / "x.csv").write_bytes("prompt,chosen,rejected\nq,café,no\n".encode(encoding))
    [source] = look(["x.csv"]).sources
    assert (source.num_pairs, source.reasons, source.bad_line) == (1, {}, "")


def test_a_file_in_another_encoding_is_called_that_with_its_line(folder):
    (folder / "x.csv").write_bytes("prompt,chosen,rejected\nq,café,no\n".encode("latin-1"))
    assert passed(look(["x.csv"]))["x.csv"] == (
        "it is no UTF-8: line 2 has the byte 0xe9 at place 6, as Latin-1 text has; convert it "
        "if it is: iconv -f ISO-8859-1 -t UTF-8"
    )


def test_utf_16_without_a_mark_is_called_that_where_its_first_letter_does_not_tell(folder):
    (folder / "x.csv").write_bytes("ärger,prompt,chosen\n1,q,a\n".encode("utf-16-le"))
    why = passed(look(["x.csv"]))["x.csv"]
    assert why.startswith("it is no UTF-8: line 1 has the byte 0xe4 at place 1, as UTF-16")


def test_prompts_are_counted_beside_pairs(folder):
    rows = [{**PLAIN, "chosen": f"{n}"} for n in range(4)]
    write(folder / "x.jsonl", *rows, {**PLAIN, "prompt": "other"})
    [source] = look(["x.jsonl"]).sources
    assert (len(source.contents), len(source.prompts)) == (5, 2)
