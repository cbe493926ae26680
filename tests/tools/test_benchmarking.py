"""Figures of models are those of their rewards; a response is scored once for all benchmarks."""

import json

import numpy as np
import pytest

from synpref_dagster.benchmarks.leaderboard import reference_scores
from synpref_dagster.pairs.record import Turn
from synpref_dagster.reward import shards
from synpref_dagster.reward.scoring import load_reward_model
from synpref_dagster.synthetic.miniatures.suite import SMOKE_SIZES, write_mini_benchmarks
from synpref_dagster.tools.benchmarking import benchmark, published_name
from synpref_dagster.tools.cached import default_cache

SEVEN = [
    "reward_bench", "reward_bench_2", "ppe_preference", "ppe_correctness", "rmb", "rm_bench",
    "judge_bench",
]  # fmt: skip


def suite_rows(num=30):
    return [
        {
            "id": str(n),
            "subset": "odd" if n % 2 else "even",
            "prompt": f"word{n}",
            "chosen": f"word{n % 7} word{n % 4}",
            "rejected": f"word{n % 5} word29 word28",
        }
        for n in range(num)
    ]


def wins(model, rows):
    conversations = [(Turn(role="user", content=row["prompt"]),) for row in rows]
    scorer = load_reward_model(model)
    chosen, rejected = (
        scorer.rewards(conversations, [row[side] for row in rows])
        for side in ("chosen", "rejected")
    )
    return chosen > rejected


@pytest.fixture
def num_scored(monkeypatch):
    """How many responses each model was given, by folder."""
    seen = {}
    plain = shards.opened_scorer

    class Counted:
        def __init__(self, model):
            self.scorer, self.uri = plain(model), model.uri
            self.encoder = self.scorer.encoder

        def rewards(self, conversations, responses):
            seen[self.uri] = seen.get(self.uri, 0) + len(responses)
            return self.scorer.rewards(conversations, responses)

    monkeypatch.setattr(shards, "opened_scorer", Counted)
    return seen


@pytest.fixture(scope="session")
def miniatures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("miniatures")
    write_mini_benchmarks(folder, sizes=SMOKE_SIZES, seed=0)
    return folder


def test_a_headline_is_the_share_of_right_answers_counted_by_hand(
    classifier, write_lines, tmp_path
):
    rows = suite_rows()
    file = write_lines("mine.jsonl", rows)
    report = benchmark(classifier, suites={"mine": str(file)}, cache=tmp_path / "cache")
    [result] = report.models[0].results
    won = wins(classifier, rows)
    assert result.headline == pytest.approx(won.mean())
    assert result.scores["subset/odd"] == pytest.approx(won[1::2].mean())
    assert result.low <= result.headline <= result.high
    # The longer response is the rejected one, always.
    assert (result.longer, result.num_items) == (0.0, 30)
    assert result.chance == pytest.approx(0.5, abs=0.1)
    assert report.published.empty


def test_a_second_run_scores_nothing_and_a_second_model_only_itself(
    classifier, other_classifier, write_lines, tmp_path, num_scored
):
    suites = {"mine": str(write_lines("mine.jsonl", suite_rows()))}
    cache = tmp_path / "cache"
    first = benchmark(classifier, suites=suites, cache=cache)
    assert num_scored == {str(classifier): 60}
    assert (first.models[0].num_scored, first.models[0].num_kept) == (60, 0)
    again = benchmark(classifier, suites=suites, cache=cache)
    assert num_scored == {str(classifier): 60}
    assert (again.models[0].num_scored, again.models[0].num_kept) == (0, 60)
    assert again.models[0].results == first.models[0].results
    both = benchmark([classifier, other_classifier], suites=suites, cache=cache)
    assert num_scored == {str(classifier): 60, str(other_classifier): 60}
    assert both.models[0].results == first.models[0].results
    assert both.models[1].results[0].headline == pytest.approx(
        wins(other_classifier, suite_rows()).mean()
    )


def test_new_items_and_other_suites_cost_only_what_was_not_scored(
    classifier, write_lines, tmp_path, num_scored
):
    cache = tmp_path / "cache"
    file = write_lines("mine.jsonl", suite_rows(10))
    benchmark(classifier, suites={"mine": str(file)}, cache=cache)
    more = [{**row, "id": f"new-{row['id']}"} for row in suite_rows(13)[10:]]
    write_lines("mine.jsonl", [*more, *suite_rows(10)])
    other = write_lines("other.jsonl", suite_rows(5))
    report = benchmark(classifier, suites={"mine": str(file), "other": str(other)}, cache=cache)
    assert num_scored == {str(classifier): 26}
    assert [result.num_items for result in report.models[0].results] == [13, 5]


def test_a_killed_run_scores_only_the_rest(
    classifier, write_lines, tmp_path, num_scored, monkeypatch
):
    monkeypatch.setattr("synpref_dagster.tools.cached.CHUNK", 20)
    suites = {"mine": str(write_lines("mine.jsonl", suite_rows()))}

    with pytest.raises(KeyboardInterrupt):
        benchmark(classifier, suites=suites, cache=tmp_path / "cache", listener=killer)
    before = num_scored[str(classifier)]
    benchmark(classifier, suites=suites, cache=tmp_path / "cache")
    assert before in (20, 40)
    assert num_scored[str(classifier)] == 60


def killer(_):
    """Stops at the second thing it hears: one chunk is done then."""
    heard = []

    def listen(fact):
        heard.append(fact)
        if len(heard) == 2:
            raise KeyboardInterrupt

    return listen


def test_the_seven_are_found_below_a_folder_with_curves_and_published_rows(
    classifier, miniatures, tmp_path
):
    report = benchmark(classifier, data=miniatures, cache=tmp_path / "cache")
    [model] = report.models
    assert [result.benchmark for result in model.results] == SEVEN
    assert all(result.complete for result in model.results)
    curve = model.curves.groupby("k")["achieved"].mean()
    correct = {r.benchmark: r for r in model.results}["ppe_correctness"].scores
    assert curve[1] == pytest.approx(correct["best_of_1"])
    published = report.published.set_index("model")
    row = reference_scores().set_index("model").loc["llama-3.1-8b"]
    assert published.loc["llama-3.1-8b", "rm_bench"] == row["rm_bench"]
    assert any(note.startswith("reward_bench: not the published set, 46 of 2,985 items")
               for note in report.notes)  # fmt: skip


def test_a_part_of_a_benchmark_says_what_it_lacks(classifier, miniatures, tmp_path):
    rows = json.loads((miniatures / "rm_bench.json").read_text())
    (tmp_path / "data").mkdir()
    part = [row for row in rows if row["domain"] in ("chat", "safety-response")]
    (tmp_path / "data" / "some_name.json").write_text(json.dumps(part))
    report = benchmark(classifier, data=tmp_path / "data", cache=tmp_path / "cache")
    [result] = report.models[0].results
    assert result.missing_subsets == ("code", "math", "safety-refuse")
    assert result.num_items == len(part)


def test_damaged_rewards_are_refused_by_name(classifier, write_lines, tmp_path):
    suites = {"mine": str(write_lines("mine.jsonl", suite_rows(3)))}
    benchmark(classifier, suites=suites, cache=tmp_path / "cache")
    [kept] = (tmp_path / "cache").rglob("scores.parquet")
    kept.write_bytes(kept.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"scores.parquet is damaged: remove it"):
        benchmark(classifier, suites=suites, cache=tmp_path / "cache")


def test_texts_are_not_kept(classifier, write_lines, tmp_path):
    suites = {"mine": str(write_lines("mine.jsonl", suite_rows(3)))}
    benchmark(classifier, suites=suites, cache=tmp_path / "cache")
    kept = [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]
    assert sorted(file.name for file in kept) == [".scores.parquet.lock", "scores.parquet"]
    assert b"word28" not in b"".join(file.read_bytes() for file in kept)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"models": []}, "name at least one"),
        ({"twice": True}, "named twice"),
        ({"only": ["rm_bunch"]}, "unknown benchmark 'rm_bunch'"),
        ({"only": ["rm_bench"]}, "rm_bench: not found without --data"),
        ({"suites": {"mine": "gone.jsonl"}}, "mine: no file or folder at gone.jsonl"),
        ({"suites": {"average": "mine.jsonl"}}, "custom benchmark 'average'"),
        ({"data": "gone"}, "gone is no folder"),
        ({"data": "empty"}, "no benchmark found below empty"),
        ({"cache": "mine.jsonl"}, "mine.jsonl is a file"),
        ({"cache": "s3://bucket/cache"}, "kept in a local folder"),
        ({"hub": True, "only": ["rm_bench"]}, "rm_bench: the hub does not give THU-KEG/RM-Bench"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_line(
    given, words, classifier, write_lines, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_lines("mine.jsonl", suite_rows(3))
    (tmp_path / "empty").mkdir()
    named = dict(given)
    models = named.pop("models", [classifier] * (2 if named.pop("twice", False) else 1))
    if not {"suites", "data", "hub"} & named.keys():
        named["suites"] = {"mine": "mine.jsonl"}
    with pytest.raises(ValueError, match=r"(?s).") as refused:
        benchmark(models, **{"cache": tmp_path / "cache", **named})
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_rewards_are_kept_beside_the_campaigns_unless_told(monkeypatch, tmp_path):
    assert str(default_cache()) == ".synpref/tool_scores"
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path))
    assert default_cache() == tmp_path / "tool_scores"
    monkeypatch.setenv("SYNPREF_STORE", "s3://bucket/store")
    assert str(default_cache()) == ".synpref/tool_scores"


def test_a_frame_has_a_row_per_model_and_benchmark(
    classifier, other_classifier, write_lines, tmp_path
):
    suites = {"mine": str(write_lines("mine.jsonl", suite_rows(3)))}
    report = benchmark([classifier, other_classifier], suites=suites, cache=tmp_path / "cache")
    frame = report.frame()
    assert frame["model"].tolist() == ["one", "two"]
    assert np.isfinite(frame[["headline", "low", "high", "longer", "chance"]].to_numpy()).all()
    assert published_name("Skywork-Reward-V2-Llama-3.1-8B") == "llama-3.1-8b"
