"""A first profile loads, says what it assumed, and is as large as the data allow."""

import gzip
import json

import pytest

from synpref_dagster.settings.profile import load_profile
from synpref_dagster.sources.survey.sizes import FEWEST_PAIRS, LEAST_GOLD
from synpref_dagster.sources.survey.starting import first_profile
from synpref_dagster.sources.survey.writing import write_profile


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plain(path, count, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"prompt": f"p{n}", "chosen": "yes", "rejected": "no", **more} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def voted(path, count):
    path.parent.mkdir(parents=True, exist_ok=True)
    votes = [{"worker": "w", "value": "a"}, {"worker": "v", "value": "a"}]
    rows = [
        {"prompt": f"v{n}", "response_a": "yes", "response_b": "no", "votes": votes}
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def started(folder, *places, unfit=lambda place, token: "", known=None):
    start = first_profile(places, folder, known_backbone=known, unfit=unfit)
    write_profile(start.draft.text(), folder / "synpref.toml", may_replace=True)
    return load_profile(str(folder / "synpref.toml")), start.says


def test_recorded_votes_play_the_people_where_enough_pairs_have_some(folder):
    plain(folder / "chat" / "a.jsonl", 300)
    voted(folder / "votes" / "b.jsonl", 100)
    profile, says = started(folder)
    assert [(each.name, each.path, each.format) for each in profile.pool.sources] == [
        ("chat", "chat", "explicit_plain"),
        ("votes", "votes", "crowd_votes"),
    ]
    assert profile.people.backend == "recorded"
    assert (profile.seed_set.num_gold, profile.iterations.num_human) == (50, 12)
    assert (profile.seed_set.num_silver, profile.iterations.max_retrieved) == (80, 100)
    assert (profile.judges.kind, profile.reward_model.backend) == ("exemplar", "linear")
    assert profile.filtering.allow_weak_models  # they are models of words: the report says it
    assert profile.sizes() == ("qwen3-0.6b",)
    assert any("votes in the sources play the people (100 pairs" in line for line in says)
    assert any(line.startswith("assumed: people set the labels of chat") for line in says)


def test_one_person_is_asked_for_no_second_opinion_where_nobody_voted(folder):
    plain(folder / "chat" / "a.jsonl", 300)
    voted(folder / "votes" / "b.jsonl", 59)
    profile, says = started(folder)
    assert (profile.people.backend, profile.people.double_share) == ("page", 0.0)
    assert (profile.seed_set.num_gold, profile.iterations.num_human) == (89, 29)
    assert any("only 59 pairs have votes of people" in line for line in says)


def test_the_smallest_pool_gives_a_profile_that_check_accepts_and_a_warning(folder):
    plain(folder / "a.jsonl", FEWEST_PAIRS)
    profile, says = started(folder, "a.jsonl")
    assert (profile.seed_set.num_gold, profile.seed_set.num_silver) == (LEAST_GOLD, 4)
    assert any(line.startswith(f"mind: {FEWEST_PAIRS} pairs are few") for line in says)


@pytest.mark.parametrize(
    ("count", "said"), [(1, "1 different pair of"), (FEWEST_PAIRS - 1, "23 different pairs of")]
)
def test_fewer_pairs_than_a_campaign_needs_are_refused_with_how_many(folder, count, said):
    plain(folder / "a.jsonl", count)
    # Said again, or the other way round, a pair is no other one.
    with (folder / "a.jsonl").open("a") as file:
        file.write('{"prompt": "p0", "chosen": "no", "rejected": "yes"}\n' * 40)
    with pytest.raises(ValueError, match=rf"{said} human origin on .*: a campaign needs 24 pairs"):
        started(folder, "a.jsonl")
    assert not (folder / "synpref.toml").exists()


def test_pairs_on_too_few_prompts_are_refused_since_gold_is_divided_by_prompt(folder):
    rows = [{"prompt": f"p{n % 9}", "chosen": f"yes {n}", "rejected": "no"} for n in range(90)]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValueError, match=r"90 different pairs of human origin on 9 prompts in a"):
        started(folder, "a.jsonl")


def test_pairs_that_stand_there_often_are_counted_once(folder):
    plain(folder / "a.jsonl", 40)
    (folder / "b").mkdir()
    text = (folder / "a.jsonl").read_text()
    (folder / "b" / "b.jsonl").write_text(text * 10 + text.replace("p1", "q1"))
    profile, _ = started(folder)
    there = 40 + 11  # p1 and p10 to p19 are new as q1 and so on
    assert (profile.seed_set.num_gold, profile.seed_set.num_silver) == (there // 4, there // 5)


def test_sources_that_no_person_sees_are_named_with_the_way_to_have_them_seen(folder):
    plain(folder / "chat" / "a.jsonl", 300)
    voted(folder / "votes" / "b.jsonl", 100)
    _, says = started(folder)
    assert (
        "mind: nobody verifies anything of chat (it has no votes): judges and models alone decide "
        "about 300 pairs"
    ) in says
    [line] = [each for each in says if each.startswith("to have people label")]
    assert 'backend = "page" and recorded_first = true under [people]' in line
    text = (folder / "synpref.toml").read_text()
    assert text.count("# nobody verifies its pairs: judges and models alone decide") == 1
    people = text.partition("[people]\n")[2].partition("\n\n")[0].splitlines()
    # What the comment says can be done: the profile loads, and people are asked.
    told = [line.removeprefix("# ") for line in people[-2:]]
    (folder / "other.toml").write_text(text.replace("\n".join(people), "\n".join(told)))
    asked = load_profile(str(folder / "other.toml")).people
    assert (asked.backend, asked.recorded_first) == ("page", True)


def test_where_people_are_asked_they_see_every_source_of_theirs(folder):
    plain(folder / "chat" / "a.jsonl", 300)
    _, says = started(folder)
    assert not any("nobody verifies" in line for line in says)


def test_held_out_parts_are_said_with_the_pairs_that_no_pool_counts(folder):
    rows = [
        {
            "prompt": f"v{n}",
            "response_a": "yes",
            "response_b": "no",
            "votes": [{"worker": "w", "value": "a"}],
            "debate": f"d{n % 10}",
            "gold": "a",
        }
        for n in range(200)
    ]
    with gzip.open(folder / "v.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    profile, says = started(folder)
    assert profile.pool.test_debates == ("d0",)
    assert any(line.startswith("mind: 20 pairs of v lie in these parts") for line in says)
    assert "# of them 20 pairs in the held-out parts" in (folder / "synpref.toml").read_text()
    assert "gold" not in (folder / "synpref.toml").read_text().partition("[seed_set]")[0]
    assert profile.seed_set.num_gold == 180 // 2


def test_a_file_that_is_partly_no_utf_8_is_read_and_its_first_bad_line_said(folder):
    plain(folder / "a.jsonl", 40)
    with (folder / "a.jsonl").open("ab") as file:
        file.write('{"prompt": "caf\u00e9", "chosen": "a", "rejected": "b"}\n'.encode("latin-1"))
    _, says = started(folder, "a.jsonl")
    assert any(line.startswith("mind: a.jsonl: it is no UTF-8: line 41 has") for line in says)


def test_what_numbers_of_winners_are_taken_for_is_said(folder):
    rows = [
        {"prompt": f"p{n}", "response_a": "yes", "response_b": "no", "winner": 1 + n % 2}
        for n in range(30)
    ]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    profile, says = started(folder, "a.jsonl")
    assert profile.pool.sources[0].options == {"codes": {"a": 1, "b": 2}}
    assert any("winner 1 taken for the first response, 2 for the second" in line for line in says)


def test_paths_start_from_the_folder_of_the_profile(folder, monkeypatch):
    plain(folder / "data" / "chat" / "a.jsonl", 40)
    (folder / "profiles").mkdir()
    start = first_profile(["data/chat"], folder / "profiles", known_backbone=None, unfit=str)
    write_profile(start.draft.text(), folder / "profiles" / "own.toml", may_replace=False)
    monkeypatch.chdir("/")
    [source] = load_profile(str(folder / "profiles" / "own.toml")).pool.sources
    assert source.path == f"{folder}/profiles/../data/chat"


def test_names_and_licences_with_any_character_are_written_as_they_are(folder):
    plain(folder / 'a "b" \\ ü' / "x.jsonl", 40, odd="z")
    (folder / 'a "b" \\ ü' / "LICENSE").write_text("MIT License")
    profile, _ = started(folder)
    assert profile.pool.sources[0].path == 'a "b" \\ ü'
    assert profile.pool.sources[0].licence == "MIT"


def test_a_pool_that_only_models_labelled_can_still_be_verified_and_it_is_said(folder):
    rows = [
        {"instruction": f"i{n}", "output_1": "a", "output_2": "b", "label": 1} for n in range(40)
    ]
    (folder / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    profile, says = started(folder, "x.jsonl")
    assert profile.pool.sources[0].origin == "human"
    assert any("x is labelled by a model, and origin is 'human' all the same" in s for s in says)


def test_heads_are_put_on_a_model_that_is_at_hand_and_fits(folder):
    plain(folder / "a.jsonl", 50)
    (folder / "My Model").mkdir()
    (folder / "My Model" / "config.json").write_text("{}")
    (folder / "My Model" / "model.safetensors").write_bytes(b"x")
    profile, _ = started(folder)
    assert (profile.sizes(), profile.reward_model.backend) == (("my-model",), "frozen")
    assert profile.backbones[0].path == "./My Model"
    padded, _ = started(folder, unfit=lambda place, token: "" if token else "no pad token")
    assert padded.backbones[0].pad_token == "<|endoftext|>"
    profile, says = started(folder, unfit=lambda place, token: "no template")
    assert profile.reward_model.backend == "linear"
    assert any("My Model cannot be used: no template" in line for line in says)


def test_a_place_without_pairs_is_refused_in_one_line(folder):
    (folder / "LICENSE").write_text("MIT License")
    (folder / "x.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(ValueError, match=r"nothing in this folder reads .*x\.jsonl: no known"):
        first_profile([], folder, known_backbone=None, unfit=str)


def test_a_second_look_does_not_take_its_own_joined_file_for_another_source(folder):
    (folder / "set").mkdir()
    pairs = [{"id": n, "text": f"t{n}", "result_x": "a", "result_y": "b"} for n in range(40)]
    (folder / "set" / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    lines = [f"{n},w{n},left" for n in range(40)]
    (folder / "set" / "v.csv").write_text("\n".join(["id,worker,winner", *lines]) + "\n")
    for _ in range(2):
        profile, says = started(folder)
        assert [(each.name, each.path) for each in profile.pool.sources] == [
            ("set", "set_voted.jsonl.gz")
        ]
        assert any(line.startswith("joined: p.jsonl and v.csv of set: 40 votes") for line in says)
