"""No shared 13-gram goes unseen, no hit stands without its words, and every drop has evidence."""

import gzip
import json
import pickle
import re

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from synpref_dagster.curation.contamination.rules import (
    BenchmarkPrompt,
    DecontaminationConfig,
    SharedGram,
    build_index,
    by_benchmark,
    find_by_index,
    index_fingerprint,
    normalised,
)

LONG = "Explain in plain words why the sky over the harbour turns red when evening comes near"
SHORT = "Write a poem about love"
CHINESE = "请用简单的语言解释一下为什么傍晚时分港口上空的天空会变成红色"


def index_of(*prompts: str, **config):
    named = [BenchmarkPrompt("bench", str(place), text) for place, text in enumerate(prompts)]
    return build_index(named, DecontaminationConfig(**config))


def find_contaminated(index, texts):
    """What each text shares with one index, None for a clean text."""
    [by_text] = find_by_index([index], texts)
    return [by_text.get(place) for place in range(len(texts))]


def found(index, *texts: str) -> list[str | None]:
    return [evidence and evidence.rule for evidence in find_contaminated(index, texts)]


def test_thirteen_shared_words_are_contamination_and_twelve_are_not():
    shared = LONG.split()
    index = index_of(LONG)
    assert found(index, "Please! " + " ".join(shared[1:14]).upper() + "?") == ["word_gram"]
    assert found(index, "Please! " + " ".join(shared[1:13]) + " falls") == [None]


def test_evidence_names_the_item_and_the_shared_words():
    index = index_of("Something else", LONG)
    evidence = find_contaminated(index, [f"Well: {LONG}!"])
    gram = " ".join(LONG.lower().split()[:13])
    assert evidence == [SharedGram(benchmark="bench", item_id="1", gram=gram, rule="word_gram")]


def test_evidence_grows_to_the_longest_stretch_asked_for():
    index = index_of(LONG, min_words=5, max_words=13)
    (evidence,) = find_contaminated(index, ["plain words why the sky over the sea"])
    assert evidence.gram == "plain words why the sky over the"
    (evidence,) = find_contaminated(index, [LONG])
    assert len(evidence.gram.split()) == 13


def test_a_short_prompt_is_found_when_it_is_the_whole_text():
    index = index_of(SHORT)
    texts = ["  write a POEM\nabout love. ", f"{SHORT} and war", "poem about love", ""]
    assert found(index, *texts) == ["exact_prompt", None, None, None]


def test_prompts_of_symbols_only_match_themselves():
    index = index_of("2 + 2 = ?", "???", " ")
    assert found(index, "2 + 2 =", "2 - 2 = ?", "???", "?", "") == [
        "exact_prompt", None, "exact_prompt", None, None,
    ]  # fmt: skip


def test_scripts_without_spaces_are_compared_by_characters():
    index = index_of(CHINESE)
    assert found(index, f"问题:{CHINESE[3:]}!", CHINESE[:15], CHINESE) == [
        "character_gram", None, "exact_prompt",
    ]  # fmt: skip
    assert found(index_of(CHINESE, min_characters=15), CHINESE[:15]) == ["character_gram"]


def test_a_hash_collision_is_no_hit(monkeypatch):
    # All words hash alike: every 13-gram of the text collides with every one of the prompt.
    from synpref_dagster.curation.texts import ngrams

    monkeypatch.setattr(ngrams, "_MIX", np.uint64(0))
    index = index_of(LONG)
    other = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    collisions = index.word_index.candidates(ngrams.word_grams([other], 13).hashes)
    assert len(collisions) == 2
    assert found(index, other, f"{other} {LONG}") == [None, "word_gram"]


def reference_hits(prompts: list[str], texts: list[str], n: int) -> list[bool]:
    def grams(text: str) -> set[tuple[str, ...]]:
        tokens = re.findall(r"\b\w\w+\b", text.lower())
        return set(zip(*(tokens[start:] for start in range(n)), strict=False))

    known = set().union(*map(grams, prompts))
    return [not known.isdisjoint(grams(text)) for text in texts]


words_text = st.lists(
    st.sampled_from(["Ab", "cd", "É1", "straße", "İki", "ΟΔΟΣ", "a", "-", "中文", "ef,", "x_y"]),
    max_size=25,
).map(" ".join)


@given(st.lists(words_text, max_size=4), st.lists(words_text, max_size=8), st.integers(2, 4))
@settings(max_examples=200, deadline=None)
def test_word_hits_equal_those_of_a_set_of_tuples(prompts, texts, n):
    index = index_of(*prompts, min_words=n, max_words=n)
    assert [rule == "word_gram" for rule in found(index, *texts)] == reference_hits(
        prompts, texts, n
    )


@given(st.lists(st.text(max_size=40), max_size=5), st.lists(st.text(max_size=40), max_size=5))
@settings(max_examples=100, deadline=None)
def test_every_prompt_with_content_finds_itself(prompts, texts):
    index = index_of(*prompts, min_words=3, max_words=3)
    with_content = [prompt for prompt in prompts if prompt.strip()]
    assert all(found(index, *with_content))
    assert len(find_contaminated(index, texts)) == len(texts)


def test_results_do_not_depend_on_batches(monkeypatch):
    from synpref_dagster.curation.texts import ngrams

    texts = [LONG, "clean", SHORT, CHINESE, "clean too", f"x {LONG}"] * 5
    index = index_of(LONG, SHORT, CHINESE)
    expected = find_contaminated(index, texts)
    monkeypatch.setattr(ngrams.text_batches, "__defaults__", (40,))
    assert find_contaminated(index, texts) == expected
    assert sum(map(bool, expected)) == 20


def test_the_fingerprint_knows_prompts_and_settings_but_no_order():
    prompts = [BenchmarkPrompt("b", "1", LONG), BenchmarkPrompt("b", "2", SHORT)]
    index = build_index(prompts)
    assert build_index([*prompts[::-1], prompts[0]]).fingerprint == index.fingerprint
    others = [
        build_index(prompts[:1]),
        build_index([*prompts, BenchmarkPrompt("c", "1", LONG)]),
        build_index(prompts, DecontaminationConfig(min_words=7)),
        build_index(prompts, DecontaminationConfig(scope="all_texts")),
    ]
    assert len({index.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_an_index_travels_to_another_process():
    index = pickle.loads(pickle.dumps(index_of(LONG, SHORT, CHINESE)))
    assert found(index, LONG, SHORT, CHINESE) == ["word_gram", "exact_prompt", "exact_prompt"]


def test_an_index_without_prompts_finds_nothing():
    assert found(index_of(), LONG, "", CHINESE) == [None, None, None]


def test_several_indexes_asked_at_once_find_what_each_finds_alone():
    indexes = [index_of(LONG), index_of(SHORT, CHINESE), index_of()]
    texts = [LONG, "clean", SHORT, CHINESE, f"x {LONG} {CHINESE}"]
    together = find_by_index(indexes, texts)
    assert [sorted(found) for found in together] == [[0, 4], [2, 3, 4], []]
    for index, found in zip(indexes, together, strict=True):
        assert [found.get(place) for place in range(len(texts))] == find_contaminated(index, texts)


def test_indexes_of_different_settings_do_not_share_a_pass():
    with pytest.raises(ValueError, match="one by one"):
        find_by_index([index_of(LONG), index_of(LONG, min_words=7)], [LONG])


def test_prompts_are_told_apart_by_benchmark_in_order_of_name():
    prompts = [BenchmarkPrompt(name, "1", LONG) for name in ("b", "a", "b", "c")]
    assert {name: len(found) for name, found in by_benchmark(prompts).items()} == {
        "a": 1, "b": 2, "c": 1,
    }  # fmt: skip
    assert list(by_benchmark(prompts)) == ["a", "b", "c"]


def test_the_fingerprint_of_an_index_is_known_before_it_is_built():
    prompts = [BenchmarkPrompt("b", "2", SHORT), BenchmarkPrompt("b", "1", " ")]
    for config in (DecontaminationConfig(), DecontaminationConfig(min_words=5)):
        assert index_fingerprint(prompts, config) == build_index(prompts, config).fingerprint


@pytest.mark.parametrize(
    "config", [{"min_words": 0}, {"min_words": 14}, {"max_words": 5}, {"min_characters": 1}]
)
def test_empty_ranges_are_refused(config):
    with pytest.raises(ValueError, match=next(iter(config))):
        DecontaminationConfig(**config)


def load(path):
    with gzip.open(path, "rt") as file:
        return json.load(file)


def load_lines(path):
    with gzip.open(path, "rt") as file:
        return [json.loads(line) for line in file]


def test_pandalm_prompts_hit_rm_bench_chat_eleven_times_all_exact(real_data):
    items = load(real_data / "rm_bench" / "chat_filtered.json.gz")
    index = build_index(
        [BenchmarkPrompt("rm_bench", str(item["id"]), item["prompt"]) for item in items]
    )
    rows = load(real_data / "pandalm_test" / "testset-v1.json.gz")
    prompts = sorted({f"{row['instruction']}\n\n{row['input']}".strip() for row in rows})
    hits = {
        prompt: evidence
        for prompt, evidence in zip(prompts, find_contaminated(index, prompts), strict=True)
        if evidence
    }
    assert len(hits) == 11
    # Three of the eleven have fewer than 13 words: the 13-gram rule alone would miss them.
    rules = [evidence.rule for evidence in hits.values()]
    assert (rules.count("word_gram"), rules.count("exact_prompt")) == (8, 3)
    of_item = {str(item["id"]): normalised(item["prompt"]) for item in items}
    assert all(normalised(text) == of_item[hit.item_id] for text, hit in hits.items())


def test_llmbar_neighbour_finds_all_of_itself(real_data):
    path = real_data / "llmbar" / "Dataset" / "LLMBar" / "Adversarial" / "Neighbor"
    prompts = [item["input"] for item in load(path / "dataset.json.gz")]
    assert None not in found(index_of(*prompts), *prompts)


def test_ukp_hh_and_llmfao_are_clean_of_the_benchmarks(real_data):
    prompts = [
        item["prompt"]
        for name in ("chat", "safety-response")
        for item in load(real_data / "rm_bench" / f"{name}_filtered.json.gz")
    ]
    for path in (real_data / "judgebench" / "data").iterdir():
        prompts += [row["question"] for row in load_lines(path)]
    index = index_of(*prompts)
    arguments = load_lines(real_data / "ukp_convincing_arguments" / "pairs.jsonl.gz")
    harmless = load_lines(
        real_data / "hh_rlhf_harmless_base_test" / "harmless-base" / "test.jsonl.gz"
    )
    chats = load_lines(real_data / "llmfao" / "pairs-crowd.jsonl.gz")
    first_turns = [row["chosen"].split("\n\nAssistant:")[0] for row in harmless]
    texts = [row["prompt"] for row in arguments] + [row["text"] for row in chats]
    texts += [turn.removeprefix("\n\nHuman:").strip() for turn in first_turns]
    assert len(texts) == 11_680 + 2_139 + 2_312
    assert not any(find_contaminated(index, texts))
