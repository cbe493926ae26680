"""Recorded verdicts of real judges, replayed through the protocol, give the files' own numbers."""

import gzip
import json
import math

import numpy as np
import pytest

from synpref_dagster.curation.judging.labelling import EmbeddedPairs
from synpref_dagster.curation.judging.quality import audit_facts, judge_quality
from synpref_dagster.curation.judging.verdicts import Verdict, label_with_panel
from synpref_dagster.pairs.record import PreferencePair

SETS = ("Natural", "Adversarial/Neighbor")
JUDGES = ("GPT-4", "ChatGPT")
ORDERS = ("swap = False", "swap = True")


class RecordedJudge:
    """Says what a judge said when it was shown these responses in this order."""

    num_samples = 2

    def __init__(self, name, rows):
        self.name = name
        self.said = {}
        for row in rows:
            first, second = row["output_1"], row["output_2"]
            plain, swapped = winners(row)
            self.said[row["input"], first, second] = choice(plain)
            self.said[row["input"], second, first] = choice(swapped, swapped=True)

    def verdicts(self, questions, seeds):
        return [
            Verdict(choice=self.said[q.conversation[0]["content"], q.candidate_1, q.candidate_2])
            for q in questions
        ]


def winners(row):
    """The winner in both orders as the file says it: 1 or 2 of the file's own order."""
    found = row["results"][0]
    return [str(found[order]["winner"]) for order in ORDERS]


def choice(winner, *, swapped=False):
    if winner not in ("1", "2"):
        return "abstain"
    return "candidate_1" if (winner == "1") != swapped else "candidate_2"


def read(folder):
    with gzip.open(folder / "result.json.gz", "rt", encoding="utf-8") as file:
        return json.load(file)


def true_pair(row):
    """The row as a pair whose chosen response is the better one."""
    responses = [row["output_1"], row["output_2"]]
    better, worse = responses if str(row["label"]) == "1" else responses[::-1]
    return PreferencePair(
        conversation=({"role": "user", "content": row["input"]},),
        chosen=better,
        rejected=worse,
        source="llmbar",
        origin="human",
    )


def independent(rows):
    """Accuracy over both orders and consistency, counted from the file alone."""
    decided = right = consistent = in_both = agreed = 0
    for row in rows:
        found, label = winners(row), str(row["label"])
        known = [winner for winner in found if winner in ("1", "2")]
        decided += len(known)
        right += sum(winner == label for winner in known)
        if len(known) == 2:
            in_both += 1
            consistent += found[0] == found[1]
            agreed += found[0] == found[1] == label
    return decided, right, in_both, consistent, agreed


@pytest.mark.parametrize("subset", SETS)
@pytest.mark.parametrize("prompt", ["Vanilla", "CoT"])
def test_recorded_verdicts_reproduce_consistency_and_accuracy(real_data, subset, prompt):
    folder = real_data / "llmbar" / "Dataset" / "LLMBar" / subset / "evaluators"
    if not folder.is_dir():
        pytest.skip(f"no recorded verdicts at {folder}")
    rows = {name: read(folder / name / prompt) for name in JUDGES}
    pairs = [true_pair(row) for row in rows["GPT-4"]]
    judges = [RecordedJudge(name, each) for name, each in rows.items()]
    nothing = [{"objectivity": "objective", "task_category": "other"}] * len(pairs)
    result = label_with_panel(
        pairs, judges, attributes=nothing, exemplars=[()] * len(pairs), seed=11
    )
    targets = EmbeddedPairs(
        pairs=pairs, attributes=nothing, vectors=np.zeros((len(pairs), 1), dtype=np.float32)
    )
    quality = judge_quality(
        result.verdicts, result.votes, result.labels, facts=audit_facts(targets, {})
    ).query("slice == 'all'")
    for name, each in rows.items():
        decided, right, in_both, consistent, agreed = independent(each)
        mine = quality[quality["judge"] == name].set_index("measure")
        assert mine.loc["swap_consistency", "n"] == in_both
        assert mine.loc["swap_consistency", "value"] == pytest.approx(consistent / in_both)
        # A vote stands when both orders agree.
        assert mine.loc["agreement", "n"] == consistent
        assert mine.loc["agreement", "value"] == pytest.approx(agreed / consistent)
        verdicts = result.verdicts[result.verdicts["judge"] == name]
        said = verdicts[verdicts["choice"] != "abstain"]
        correct = (said["choice"] == "candidate_1") == said["chosen_first"]
        assert (len(said), int(correct.sum())) == (decided, right)
    both = quality[quality["judge"] == "panel"].set_index("measure")
    assert not math.isnan(both.loc["agreement", "value"])
