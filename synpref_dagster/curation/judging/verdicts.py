"""Asking one judge about a pair (paper Sec. 3.2, step 3), and a panel by asking each judge.

A judge sees two candidates in a stored, balanced order and answers with a verdict. A judge's
verdicts become one vote, the votes of the panel become one label. Position never decides: a vote
averages the mean verdict of both orders, so a judge that always prefers the first candidate
abstains, whatever the seed and however many samples it draws.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import Literal, Protocol, TypeAlias, get_args

import numpy as np
import pandas as pd

from synpref_dagster.curation.judging.votes import labels_from_votes, votes_from_verdicts
from synpref_dagster.curation.retrieval.nearest import MAX_EXEMPLARS
from synpref_dagster.pairs.record import PreferencePair, Turn

Choice = Literal["candidate_1", "candidate_2", "tie", "abstain"]
Preferred = Literal["candidate_1", "candidate_2"]
MIN_SAMPLES = 2  # one verdict in each order, or position could decide
VERDICT_COLUMNS = ["pair_id", "judge", "sample", "chosen_first", "choice", "reason"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Exemplar:
    """A human-labelled pair shown to a judge; `preferred` is what people said."""

    conversation: tuple[Turn, ...]
    candidate_1: str
    candidate_2: str
    preferred: Preferred
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeQuestion:
    """What a judge sees: no label, no source, candidates in an order drawn for this sample."""

    conversation: tuple[Turn, ...]
    candidate_1: str
    candidate_2: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    exemplars: tuple[Exemplar, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """One answer of one judge. A failure is an abstention with its reason, never a label."""

    choice: Choice
    reason: str = ""
    confidence: float = 1.0


class Judge(Protocol):
    """Anything that answers questions; `seeds` make each sample reproducible."""

    name: str
    num_samples: int

    def verdicts(
        self, questions: Sequence[JudgeQuestion], seeds: Sequence[int]
    ) -> Sequence[Verdict]:
        """One verdict per question, in order."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class PanelResult:
    """All that a panel said: every verdict, each judge's vote, and the label per pair.

    Labels, votes and scores are relative to the pair's current label: +1 agrees with it, -1
    contradicts it, 0 abstains.
    """

    verdicts: pd.DataFrame
    votes: pd.DataFrame
    labels: pd.DataFrame


AskAll: TypeAlias = Callable[[Sequence[Callable[[], pd.DataFrame]]], list[pd.DataFrame]]


def in_turn(calls: Sequence[Callable[[], pd.DataFrame]]) -> list[pd.DataFrame]:
    """Ask one judge after the other."""
    return [call() for call in calls]


def label_with_panel(
    pairs: Sequence[PreferencePair],
    judges: Sequence[Judge],
    *,
    attributes: Sequence[Mapping[str, str]],
    exemplars: Sequence[tuple[Exemplar, ...]],
    seed: int,
    ask_all: AskAll = in_turn,
) -> PanelResult:
    """Ask every judge about every pair and aggregate to one label per pair.

    Args:
        pairs: pairs to label; their current label is never shown.
        judges: the panel; odd panels avoid ties.
        attributes: attributes of each pair, as text fields.
        exemplars: human-labelled exemplars for each pair, at most `MAX_EXEMPLARS` or, where every
            judge has some, their `max_exemplars`.
        seed: draws the candidate order and each judge's sampling seed.
        ask_all: calls the judges; one that lets several start before it fails saves waiting.

    Raises:
        ValueError: lengths differ, too many exemplars, two judges of one name, a judge draws fewer
            than two samples, answers too few questions, or with something that is no choice.
    """
    if not len(pairs) == len(attributes) == len(exemplars):
        raise ValueError(
            f"{len(pairs)} pairs need as many attributes and exemplar lists, "
            f"got {len(attributes)} and {len(exemplars)}"
        )
    _check_panel(judges, exemplars)
    questions = [
        (
            _question(pair, exemplar, attribute, chosen_first=True),
            _question(pair, exemplar, attribute, chosen_first=False),
        )
        for pair, attribute, exemplar in zip(pairs, attributes, exemplars, strict=True)
    ]
    calls = [partial(_judge_verdicts, pairs, questions, judge, seed=seed) for judge in judges]
    verdicts = pd.concat(ask_all(calls), ignore_index=True)
    votes = votes_from_verdicts(verdicts)
    return PanelResult(verdicts=verdicts, votes=votes, labels=labels_from_votes(votes))


def chosen_comes_first(pair_id: bytes, judge: str, *, sample: int, seed: int) -> bool:
    """Whether the current chosen response is candidate 1 in this sample.

    The first sample's order is a seeded coin per (pair, judge); the others alternate, so that both
    orders are seen equally often (up to one). The draw uses the pair's identity only through a
    hash, so order carries no information about the label.
    """
    coin = _hash_int(seed, judge, pair_id.hex(), "order") & 1
    return bool((coin + sample) % 2 == 0)


def sampling_seed(pair_id: bytes, judge: str, *, sample: int, seed: int) -> int:
    """Seed (31 bits) of one sample of one judge on one pair."""
    return _hash_int(seed, judge, pair_id.hex(), f"sample-{sample}") & 0x7FFFFFFF


def exemplar_from_gold(
    pair: PreferencePair, label: int, *, attributes: Mapping[str, str], seed: int
) -> Exemplar:
    """Gold pair as an exemplar, candidates in a seeded order.

    Args:
        pair: the gold pair under its source label.
        label: the human label relative to it, +1 or -1.
        attributes: attributes of the pair, as people left them.
        seed: draws which response is candidate 1.

    Raises:
        ValueError: `label` is 0 or both responses are the same; such pairs are never exemplars.
    """
    if pair.chosen == pair.rejected:
        raise ValueError(f"exemplar {pair.pair_id.hex()} compares a response with itself")
    if label not in (-1, 1):
        raise ValueError(
            f"exemplar {pair.pair_id.hex()} has label {label}; only pairs that people "
            "decided (+1 or -1) can be exemplars"
        )
    better, worse = (pair.chosen, pair.rejected) if label > 0 else (pair.rejected, pair.chosen)
    better_first = bool(_hash_int(seed, "exemplar", pair.content_id.hex(), "order") & 1)
    return Exemplar(
        conversation=pair.conversation,
        candidate_1=better if better_first else worse,
        candidate_2=worse if better_first else better,
        preferred="candidate_1" if better_first else "candidate_2",
        attributes=attributes,
    )


def _judge_verdicts(
    pairs: Sequence[PreferencePair],
    questions: Sequence[tuple[JudgeQuestion, JudgeQuestion]],
    judge: Judge,
    *,
    seed: int,
) -> pd.DataFrame:
    plan = [
        (row, sample, chosen_comes_first(pair.pair_id, judge.name, sample=sample, seed=seed))
        for row, pair in enumerate(pairs)
        for sample in range(judge.num_samples)
    ]
    asked = [questions[row][0 if chosen_first else 1] for row, _, chosen_first in plan]
    seeds = [
        sampling_seed(pairs[row].pair_id, judge.name, sample=sample, seed=seed)
        for row, sample, _ in plan
    ]
    answers = judge.verdicts(asked, seeds)
    if len(answers) != len(plan):
        raise ValueError(
            f"judge {judge.name!r} answered {len(answers)} of {len(plan)} questions; "
            "a judge returns one verdict per question, abstaining where it cannot answer"
        )
    unknown = {answer.choice for answer in answers} - set(get_args(Choice))
    if unknown:
        raise ValueError(
            f"judge {judge.name!r} answered {sorted(map(str, unknown))}; "
            f"a choice is one of {', '.join(get_args(Choice))}"
        )
    return pd.DataFrame(
        {
            "pair_id": pd.Series([pairs[row].pair_id for row, _, _ in plan], dtype=object),
            "judge": pd.Series([judge.name] * len(plan), dtype="str"),
            "sample": np.array([sample for _, sample, _ in plan], dtype=np.int16),
            "chosen_first": np.array([first for _, _, first in plan], dtype=bool),
            "choice": pd.Series([answer.choice for answer in answers], dtype="str"),
            "reason": pd.Series([answer.reason for answer in answers], dtype="str"),
        },
        columns=VERDICT_COLUMNS,
    )


def _question(
    pair: PreferencePair,
    exemplars: tuple[Exemplar, ...],
    attributes: Mapping[str, str],
    *,
    chosen_first: bool,
) -> JudgeQuestion:
    return JudgeQuestion(
        conversation=pair.conversation,
        candidate_1=pair.chosen if chosen_first else pair.rejected,
        candidate_2=pair.rejected if chosen_first else pair.chosen,
        attributes=attributes,
        exemplars=exemplars,
    )


def _check_panel(judges: Sequence[Judge], exemplars: Sequence[tuple[Exemplar, ...]]) -> None:
    if not judges:
        raise ValueError("the panel has no judge; name at least one in the profile")
    names = [judge.name for judge in judges]
    if len(set(names)) < len(names):
        raise ValueError(
            f"judges are named {names}; each needs a name of its own, or two share one vote"
        )
    for judge in judges:
        if judge.num_samples < MIN_SAMPLES:
            raise ValueError(
                f"judge {judge.name!r} draws {judge.num_samples} sample; at least {MIN_SAMPLES} "
                "are needed so that both candidate orders are seen"
            )
    longest = max((len(shown) for shown in exemplars), default=0)
    # A prompt has room for so many; who reads none may say that it takes more.
    most = min(int(getattr(judge, "max_exemplars", MAX_EXEMPLARS)) for judge in judges)
    if longest > most:
        raise ValueError(f"a pair has {longest} exemplars, at most {most} are shown")


def _hash_int(seed: int, *fields: str) -> int:
    text = "\x1f".join((str(seed), *fields))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")
