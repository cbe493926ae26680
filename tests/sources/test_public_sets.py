"""Each public set in its own raw layout: recognised, and turned into the pairs a person expects.

Column names and types are those that the data cards and published readers of the sets show.
"""

import gzip
import json

import pytest

from synpref_dagster.sources.public_sets import PUBLIC_SETS, public_sets_table
from synpref_dagster.sources.reading import HUB_OPTIONS, read_source
from synpref_dagster.sources.records import SourceSpec
from synpref_dagster.sources.registry import FORMATS


def say(*contents: str) -> list[dict[str, str]]:
    return [
        {"role": ("user", "assistant")[place % 2], "content": content}
        for place, content in enumerate(contents)
    ]


def completion(response: str, fine: float, overall: float) -> dict:
    aspect = {"Rating": "4", "Rationale": "..."}
    return {
        "annotations": {"honesty": aspect, "helpfulness": aspect},
        "critique": "Fine.",
        "custom_system_prompt": "Be honest.",
        "fine-grained_score": fine,
        "model": "m",
        "overall_score": overall,
        "principle": "honesty",
        "response": response,
    }


def message(name: str, parent: str | None, text: str, **about) -> dict:
    role = about.pop("role", "assistant")
    shown = {"message_id": name, "parent_id": parent, "text": text, "role": role, "lang": "en"}
    flags = {"review_count": 3, "review_result": True, "deleted": False, "synthetic": False}
    tree = {"message_tree_id": "t", "tree_state": "ready_for_export"}
    return {**shown, **flags, **tree, "rank": None, "model_name": None, **about}


def reply(text: str, role: str, *replies: dict, **about) -> dict:
    return {"text": text, "role": role, "lang": "en", "replies": list(replies), **about}


def arena(winner: str, first: list, second: list) -> dict:
    return {
        "question_id": "q",
        "model_a": "m",
        "model_b": "n",
        "winner": winner,
        "judge": "arena_user_973",
        "conversation_a": first,
        "conversation_b": second,
        "turn": 1,
        "anony": True,
        "language": "English",
        "tstamp": 1682351591.1,
        "openai_moderation": {"categories": {"hate": False}, "flagged": False},
        "toxic_chat_tag": {"t5-large": {"flagged": False, "score": 0.0}},
    }


def helpsteer2(strength: int, *single: int) -> dict:
    return {
        "split": "train",
        "prompt": "Hi\n<extra_id_1>Assistant\nHello\n<extra_id_1>User\nBye",
        "response_1": "one",
        "response_2": "two",
        "preference_strength": strength,
        "preference_statement": "@Response 1 is better.",
        "preference_elaboration": None,
        "three_most_similar_preferences": [
            {"statement": "...", "elaboration": "...", "strength": one} for one in single[:3]
        ],
        "all_preferences_unprocessed": [
            {"strength": one, "justification": "..."} for one in single
        ],
    }


def rating(prompt: str, response: str, helpfulness: int) -> dict:
    rated = {"correctness": 4, "coherence": 4, "complexity": 2, "verbosity": 2}
    return {"prompt": prompt, "response": response, "helpfulness": helpfulness, **rated}


def guard(prompt: str, response: str | None, **labels: str) -> dict:
    named = {f"{name}_label": value for name, value in labels.items()}
    about = {"adversarial": False, "subcategory": "others"}
    return {"prompt": prompt, "response": response, **about, **named}


def scored(chosen: float | None, rejected: float | None) -> dict:
    sides = {"chosen": say("Hi", "good"), "rejected": say("Hi", "bad")}
    about = {"prompt": "Hi", "prompt_id": "p", "messages": sides["chosen"]}
    return {**about, **sides, "score_chosen": chosen, "score_rejected": rejected}


def cleaned(chosen: float, rejected: float) -> dict:
    ratings = {"chosen-rating": chosen, "rejected-rating": rejected}
    return {"source": "flan_v2_cot", "prompt": "Hi", **MESSAGES, **ratings, "chosen-model": "m"}


def mixed(chosen: float | None, rejected: float | None) -> dict:
    ratings = {"chosen_rating": chosen, "rejected_rating": rejected}
    return {"prompt": "Hi", **MESSAGES, **ratings, "chosen_model": "m", "source": "s", "id": "i"}


MESSAGES = {"chosen": say("Hi", "good"), "rejected": say("Hi", "bad")}
PKU = {
    "prompt": "Hi",
    "response_0": "good",
    "response_1": "bad",
    "prompt_source": "Alpaca3-8B",
    "is_response_0_safe": True,
    "is_response_1_safe": False,
    "response_1_harm_category": {"Violence": True, "Privacy Violation": False},
    "response_1_severity_level": 2,
}
SHP = {
    "post_id": "p",
    "domain": "askculinary_train",
    "upvote_ratio": 0.98,
    "history": "Hi",
    "human_ref_A": "A",
    "human_ref_B": "B",
    "seconds_difference": 10.0,
}
WEBGPT = {
    "question": {"dataset": "eli5", "id": "1", "full_text": "Why?"},
    "quotes_0": {"title": ["Page"], "extract": ["Because."]},
    "answer_0": "a",
    "tokens_0": {"prefix": [1, 2], "completion": [3]},
    "answer_1": "b",
}
LISTS = {"id": 1, "model_a": "m", "prompt": '["Hi"]', "response_a": '["A"]', "response_b": '["B"]'}
BIAS = {"instruction": "Hi", "output_1": "good", "output_2": "bad", "label": 1}
PANDA = {
    "idx": 0,
    "motivation_app": "Grammarly",
    "cmp_key": "bloom-7b_llama-7b",
    "instruction": "Fix.",
    "input": "teh",
    "response1": "the",
    "response2": "no",
}
MAGPIE = {
    "uuid": "u",
    "instruction": "Hi",
    "gen_input_configs": {"temperature": 1.0, "top_p": 1.0},
    "input_quality": "good",
    "input_length": 2,
    "responses": ["good", "bad"],
    "rewards_armorm": [{"score": 0.2}, {"score": 0.1}],
}


def people(*choices: int) -> dict:
    return {f"annotator{place}": choice for place, choice in enumerate(choices, 1)}


def won(a: object, b: object, tie: object) -> dict:
    return {"winner_model_a": a, "winner_model_b": b, "winner_tie": tie}


# (format, rows, [(chosen, rejected)], {reason: candidates})
SAY = [{"role": "user", "content": "Say something."}]
CASES = [
    ("implicit_conversational", [{**MESSAGES, "source": "magpie_pro"}], [("good", "bad")], {}),
    (
        "implicit_conversational",
        [{**MAGPIE, **MESSAGES}],
        [("good", "bad")],
        {},
    ),
    (
        "implicit_conversational",
        [{"id": "flan_1", "source": "ai2-adapt-dev/flan", "prompt": "Hi", **MESSAGES}],
        [("good", "bad")],
        {},
    ),
    (
        "scored_messages",
        [scored(8.5, 7.0), scored(7.0, 7.0), scored(6.0, 7.0), scored(None, None), scored(8, None)],
        [("good", "bad"), ("good", "bad")],
        {"tied": 1, "label_against_score": 1, "missing_score": 1},
    ),
    (
        "scored_messages",
        [cleaned(5.0, 3.75), cleaned(4.0, 4.0)],
        [("good", "bad")],
        {"tied": 1},
    ),
    (
        "scored_messages",
        [mixed(4.75, 3.0), mixed(None, None), mixed(4.0, 4.0)],
        [("good", "bad"), ("good", "bad")],
        {"tied": 1},
    ),
    (
        "ultrafeedback_ratings",
        [
            {
                "source": "evol_instruct",
                "instruction": "Hi",
                "models": ["m"] * 3,
                "completions": [
                    completion("low", 2.5, 9),
                    completion("high", 4.0, 7),
                    completion("also low", 2.5, 8),
                ],
                "correct_answers": ["None"],
            },
            {"instruction": "Hi", "completions": [completion("alone", 2.5, 9)]},
        ],
        [("high", "low"), ("high", "also low")],
        {"tied": 1, "fewer_than_two_responses": 1},
    ),
    (
        "helpsteer_preference",
        [helpsteer2(-2, -2, -1, -100), helpsteer2(1), helpsteer2(0), helpsteer2(7)],
        [("one", "two"), ("two", "one")],
        {"tied": 1, "malformed_label": 1},
    ),
    (
        "helpsteer_preference",
        [
            {
                "domain": "stem",
                "language": "english",
                "context": say("Hi"),
                "response1": "one",
                "response2": "two",
                "overall_preference": 3,
                "individual_preference": [
                    {"score": 3, "reasoning": "...", "feedback1": "...", "feedback2": "..."},
                    {"score": -1, "reasoning": "", "feedback1": "", "feedback2": ""},
                ],
            }
        ],
        [("two", "one")],
        {},
    ),
    (
        "helpsteer_ratings",
        [
            rating("Hi", "one", 3),
            rating("Hi", "two", 4),
            rating("Bye", "alone", 4),
            rating("Hi", "again", 1),
            rating("Hi", "tie", 1),
        ],
        [("two", "one")],
        {"tied": 1, "fewer_than_two_responses": 1},
    ),
    (
        "nectar_ranks",
        [
            {
                "prompt": "\n\nHuman: Hi\n\nAssistant: ",
                "answers": [
                    {"answer": "third", "model": "m", "rank": 3.0},
                    {"answer": "first", "model": "n", "rank": 1.0},
                    {"answer": "second", "model": "o", "rank": 2.0},
                ],
                "turns": 1,
                "num_responses": 3,
                "source": ["ultrachat"],
                "good_natured": True,
            }
        ],
        [("first", "third"), ("second", "third"), ("first", "second")],
        {},
    ),
    (
        "pku_saferlhf",
        [
            {**PKU, "better_response_id": 0, "safer_response_id": 1},
            {**PKU, "better_response_id": 1, "safer_response_id": 1},
            {**PKU, "better_response_id": 2, "safer_response_id": 1},
        ],
        [("good", "bad"), ("bad", "good")],
        {"malformed_label": 1},
    ),
    (
        "shp",
        [
            {**SHP, "score_A": 10, "score_B": 3, "labels": 1, "score_ratio": 3.33},
            {**SHP, "score_A": 3, "score_B": 10, "labels": 0},
            {**SHP, "score_A": 5, "score_B": 5, "labels": 1},
            {**SHP, "score_A": 3, "score_B": 10, "labels": 1},
        ],
        [("A", "B"), ("B", "A")],
        {"tied": 1, "label_against_score": 1},
    ),
    (
        "webgpt",
        [
            {**WEBGPT, "score_0": -0.5, "score_1": 0.5},
            {**WEBGPT, "score_0": 0.0, "score_1": 0.0},
            {**WEBGPT, "question": "Why?", "score_0": 1.0, "score_1": -1.0},
        ],
        [("b", "a")],
        {"tied": 1, "malformed_conversation": 1},
    ),
    (
        "arena_conversations",
        [
            arena("model_b", say("Hi", "A"), say("Hi", "B")),
            arena("tie", say("Hi", "A"), say("Hi", "B")),
            arena("tie (bothbad)", say("Hi", "A"), say("Hi", "B")),
            # The vote is about two dialogues that went apart: no prompt is shared.
            arena("model_a", say("Hi", "A", "So?", "x"), say("Hi", "B", "So?", "y")),
        ],
        [("B", "A")],
        {"tied": 2, "prompt_not_shared": 1},
    ),
    (
        "arena_lists",
        [
            {**LISTS, **won(1, 0, 0)},
            {**LISTS, **won("0", "1", "0")},
            {**LISTS, **won(0, 0, 1)},
            {**LISTS, **won(0, 0, 0)},
        ],
        [("A", "B"), ("B", "A")],
        {"tied": 1, "malformed_label": 1},
    ),
    (
        "oasst_trees",
        [
            {
                "message_tree_id": "t",
                "tree_state": "ready_for_export",
                "prompt": reply(
                    "Hi",
                    "prompter",
                    reply("best", "assistant", rank=0),
                    reply(
                        "worse",
                        "assistant",
                        reply("And?", "prompter", reply("only one", "assistant", rank=0)),
                        rank=1,
                    ),
                    reply("unranked", "assistant"),
                    reply("deleted", "assistant", rank=2, deleted=True),
                ),
            },
            {"message_tree_id": "u", "prompt": reply("Hi", "prompter")},
        ],
        [("best", "worse")],
        {"fewer_than_two_responses": 1},
    ),
    (
        "oasst_messages",
        [
            message("t", None, "Hi", role="prompter"),
            message("a", "t", "best", rank=0),
            message("b", "t", "worse", rank=1),
            message("c", "b", "And?", role="prompter"),
            message("d", "c", "second", rank=1),
            message("e", "c", "first", rank=0),
            message("f", "t", "refused", rank=2, review_result=False),
            message("u", None, "Alone?", role="prompter", message_tree_id="u"),
            message("v", "w", "answers nobody", message_tree_id="v"),
            message("x", None, "Bye", role="prompter", message_tree_id="x"),
            message("y", "nobody", "lost", rank=0, message_tree_id="x"),
            message("z", None, "no tree", message_tree_id=None),
        ],
        [("best", "worse"), ("first", "second")],
        {"fewer_than_two_responses": 1, "malformed_conversation": 3},
    ),
    (
        "offsetbias",
        [BIAS, {**BIAS, "label": 2}, {**BIAS, "label": 0}],
        [("good", "bad"), ("bad", "good")],
        {"malformed_label": 1},
    ),
    (
        "pandalm",
        [
            {**PANDA, **people(1, 1, 2)},
            {**PANDA, **people(2, 0, 2)},
            {**PANDA, **people(0, 0, 1)},
            {**PANDA, **people(0, 1, 2)},
            {**PANDA, **people(0, 1, 3)},
            {**PANDA, **people(1, 1, 1), "response2": True},
            # Earlier copies of the file hold NaN where there is no input, later ones "".
            {**PANDA, **people(1, 1, 1), "input": float("nan")},
            {**PANDA, **people(1, 1, 1), "input": ""},
        ],
        [("the", "no"), ("no", "the"), ("the", "no"), ("the", "no")],
        {"tied": 2, "malformed_votes": 1, "not_text": 1},
    ),
    (
        "ranked_completions",  # as NeMo RL documents its own files; the lowest rank is best
        [
            {"context": SAY, "completions": [
                {"rank": 1, "completion": [{"role": "assistant", "content": "bad"}]},
                {"rank": 0, "completion": [{"role": "assistant", "content": "good"}]},
            ]},
            {"context": SAY, "completions": [
                {"rank": 0, "completion": [{"role": "assistant", "content": text}]}
                for text in ("one", "two")
            ]},
            {"context": SAY, "completions": [{"rank": 0, "completion": []}]},
            {"context": SAY, "completions": "none"},
            {"context": SAY, "completions": [
                {"completion": [{"role": "assistant", "content": text}]} for text in ("a", "b")
            ]},
        ],
        [("good", "bad")],
        {"tied": 1, "fewer_than_two_responses": 1, "malformed_responses": 1, "missing_score": 1},
    ),
    (
        "wildguardmix",
        [
            guard("Bomb?", "Sure", prompt_harm="harmful", response_harm="harmful"),
            guard("Cake?", "Bake it.", prompt_harm="unharmful", response_harm="unharmful",
                  response_refusal="compliance"),
            guard("Bomb?", "No.", prompt_harm="harmful", response_harm="unharmful"),
            guard("Cake?", "I cannot.", prompt_harm="unharmful", response_harm="unharmful",
                  response_refusal="refusal"),
            guard("Cake?", None, prompt_harm="unharmful", response_harm="unharmful"),
            guard("Alone?", "Yes.", prompt_harm="harmful", response_harm="harmful"),
        ],
        [("No.", "Sure"), ("Bake it.", "I cannot.")],
        {"fewer_than_two_responses": 1},
    ),
]  # fmt: skip


def read(path, name: str = "auto", **options):
    spec = SourceSpec(
        name="set", path=str(path), format=name, origin="human", licence="x", options=options
    )
    batches = list(read_source(spec, seed=0))
    for batch in batches:
        outcomes = len(batch.pairs) + len(batch.quarantined) + batch.num_outside
        assert batch.num_rows + batch.num_unfolded == outcomes
    return batches


def pairs_of(batches) -> list[tuple[str, str]]:
    return [(pair.chosen, pair.rejected) for batch in batches for pair in batch.pairs]


def reasons_of(batches) -> dict[str, int]:
    counts: dict[str, int] = {}
    for batch in batches:
        for row in batch.quarantined:
            counts[row.reason] = counts.get(row.reason, 0) + 1
    return counts


@pytest.mark.parametrize(("name", "rows", "pairs", "reasons"), CASES)
def test_each_public_layout_is_recognised_and_read(tmp_path, name, rows, pairs, reasons):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    batches = read(path)
    assert FORMATS[name].matches(rows[0])
    assert next(one for one, known in FORMATS.items() if known.matches(rows[0])) == name
    assert (pairs_of(batches), reasons_of(batches)) == (pairs, reasons)
    assert sum(batch.num_rows for batch in batches) == len(rows)


@pytest.mark.parametrize(("name", "rows", "pairs", "reasons"), CASES)
def test_a_compressed_json_array_gives_what_json_lines_give(tmp_path, name, rows, pairs, reasons):
    path = tmp_path / "rows.json"
    path.write_bytes(gzip.compress(json.dumps(rows, indent=1).encode()))
    batches = read(path)
    assert (pairs_of(batches), reasons_of(batches)) == (pairs, reasons)


def test_only_the_first_refused_candidate_of_a_row_carries_the_raw_row(tmp_path):
    path = tmp_path / "rows.jsonl"
    tied = [completion(text, 3.0, 3) for text in "abc"]
    path.write_text(json.dumps({"instruction": "Hi", "completions": tied}))
    [batch] = read(path)
    assert [bool(row.raw) for row in batch.quarantined] == [True, False, False]
    assert [row.row for row in batch.quarantined] == [0, 0, 0]
    assert (batch.num_rows, batch.num_unfolded) == (1, 2)


def test_options_change_which_pairs_are_made(tmp_path):
    path = tmp_path / "rows.jsonl"
    rated = [completion("a", 1.0, 3), completion("b", 2.0, 2), completion("c", 4.0, 1)]
    path.write_text(json.dumps({"instruction": "Hi", "completions": rated}))
    assert pairs_of(read(path, pairing="best_worst")) == [("c", "a")]
    assert pairs_of(read(path, min_gap=2.5)) == [("c", "a")]
    assert pairs_of(read(path, rating="overall_score", pairing="best_worst")) == [("a", "c")]
    path.write_text(json.dumps({**PKU, "better_response_id": 0, "safer_response_id": 1}))
    assert pairs_of(read(path, label="safer")) == [("bad", "good")]
    assert reasons_of(read(path, label="both")) == {"tied": 1}
    path.write_text(json.dumps({**SHP, "score_A": 10, "score_B": 6, "labels": 1}))
    assert reasons_of(read(path, min_score_ratio=2)) == {"small_gap": 1}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("nectar_ranks", {"pairing": "some"}),
        ("nectar_ranks", {"min_gap": -1}),
        ("ultrafeedback_ratings", {"rating": "mood"}),
        ("pku_saferlhf", {"label": "worse"}),
        ("shp", {"min_score_ratio": 0.5}),
    ],
)
def test_bad_options_of_public_formats_are_refused(tmp_path, name, options):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"x": 1}')
    with pytest.raises(ValueError, match=next(iter(options))):
        read(path, name, **options)


def test_single_preferences_become_verdicts_against_the_sorted_order(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(helpsteer2(-2, -2, 0, 1)))
    [batch] = read(path)
    # "one" sorts before "two", and a negative preference is for "one".
    assert [one.verdict for one in batch.recorded_verdicts] == [1, 0, -1]
    roles = [turn["role"] for turn in batch.pairs[0].conversation]
    assert roles == ["user", "assistant", "user"]


def test_a_person_who_finds_neither_response_valid_casts_no_verdict(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(helpsteer2(-2, -2, -100, 1)))
    [batch] = read(path)
    found = [(one.annotator, one.verdict) for one in batch.recorded_verdicts]
    assert found == [("place_0", 1), ("place_2", -1)]
    path.write_text(json.dumps(helpsteer2(-2, -2, -99)))
    assert reasons_of(read(path)) == {"malformed_label": 1}


def test_messages_of_one_tree_give_the_conversation_from_its_root(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [
        message("t", None, "Hi", role="prompter"),
        message("a", "t", "Hello"),
        message("b", "a", "Bye", role="prompter"),
        message("c", "b", "good", rank=0),
        message("d", "b", "bad", rank=1),
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    [batch] = read(path)
    [pair] = batch.pairs
    assert [turn["content"] for turn in pair.conversation] == ["Hi", "Hello", "Bye"]
    assert (batch.num_rows, batch.num_unfolded) == (5, -4)
    # Twice the same message, or one before what it answers: the tree cannot be trusted.
    for broken in ([*rows, rows[-1]], [rows[0], rows[2], rows[1]]):
        path.write_text("\n".join(map(json.dumps, broken)))
        assert reasons_of(read(path)) == {"malformed_conversation": 1}


def test_every_public_set_names_a_known_format_and_stands_in_the_documentation():
    assert {one.format for one in PUBLIC_SETS} <= set(FORMATS)
    documented = {name for name, *_ in CASES} | {"hh_transcripts"}
    assert {one.format for one in PUBLIC_SETS} <= documented


def test_every_hub_option_of_a_public_set_is_an_option_of_the_hub():
    assert all(set(one.hub_options) <= HUB_OPTIONS for one in PUBLIC_SETS)
    options = {one.title: dict(one.hub_options) for one in PUBLIC_SETS}
    assert options["HelpSteer2, preferences"] == {"data_dir": "preference"}
    assert options["HelpSteer2, ratings"] == {}


def test_the_documented_table_is_the_table_of_the_code(request):
    assert public_sets_table() in (request.config.rootpath / "docs" / "sources.md").read_text()


def test_pandalm_is_read_with_its_broken_responses_in_quarantine(real_data):
    batches = read(real_data / "pandalm_test" / "testset-v1.json.gz")
    assert sum(batch.num_rows for batch in batches) == 999
    assert reasons_of(batches) == {
        "tied": 105, "not_text": 6, "empty_response": 52
    }  # fmt: skip
    verdicts = [one for batch in batches for one in batch.recorded_verdicts]
    assert {one.annotator for one in verdicts} == {"annotator1", "annotator2", "annotator3"}


def test_the_open_assistant_trees_give_754_candidates(real_data):
    batches = read(real_data / "oasst_sample" / "en_100_tree.jsonl.gz")
    assert sum(batch.num_rows for batch in batches) == 100
    assert len(pairs_of(batches)) + sum(
        count for reason, count in reasons_of(batches).items()
        if reason != "fewer_than_two_responses"
    ) == 754  # fmt: skip


def test_the_open_assistant_trees_give_the_same_as_their_messages(real_data, tmp_path):
    trees = real_data / "oasst_sample" / "en_100_tree.jsonl.gz"
    path = tmp_path / "messages.jsonl"
    with gzip.open(trees, "rt") as file:
        rows = [row for tree in map(json.loads, file) for row in flat(tree)]
    path.write_text("\n".join(map(json.dumps, rows)))
    batches = read(path)
    assert sum(batch.num_rows for batch in batches) == len(rows)
    assert (pairs_of(batches), reasons_of(batches)) == (
        pairs_of(read(trees)), reasons_of(read(trees))
    )  # fmt: skip


def flat(tree: dict) -> list[dict]:
    """The messages of a tree depth first, with the columns of the hub data set."""
    found, stack = [], [tree["prompt"]]
    while stack:
        node = stack.pop()
        about = {"message_tree_id": tree["message_tree_id"], "parent_id": None, "rank": None}
        found.append({**about, **{name: node[name] for name in node if name != "replies"}})
        stack += reversed(node["replies"])
    return found


def test_llmfao_as_arena_votes_keeps_every_vote_accounted_for(real_data, tmp_path):
    with gzip.open(real_data / "llmfao" / "pairs-crowd.jsonl.gz", "rt") as file:
        pairs = {row["id"]: row for row in map(json.loads, file)}
    votes = read_table(real_data / "llmfao" / "crowd-comparisons.csv.gz")
    names = {"left": "model_a", "right": "model_b", "tie": "tie"}
    path = tmp_path / "votes.jsonl"
    with path.open("w") as file:
        for vote in votes:
            row = pairs[int(vote["id"])]
            sides = (say(row["text"], row[f"result_{side}"]) for side in "xy")
            file.write(json.dumps(arena(names[vote["winner"]], *sides)) + "\n")
    batches = read(path)
    reasons = reasons_of(batches)
    assert sum(batch.num_rows for batch in batches) == 8_931
    assert reasons["tied"] == 3_471
    assert len(pairs_of(batches)) + sum(reasons.values()) == 8_931


def read_table(path) -> list[dict[str, str]]:
    from synpref_dagster.sources.files.rows import read_rows

    spec = SourceSpec(name="votes", path=str(path), origin="human", licence="CC-BY-4.0")
    return [row.value for row in read_rows(spec)]
