"""One parser per benchmark: a row exactly as published -> a canonical item.

Right candidates come first. A row that does not have the published shape raises ValueError with
its file, row number and key: a benchmark is whole or it is not that benchmark.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from synpref_dagster.benchmarks.best_of_n import PPE_CORRECTNESS_SETS, TIES_SUBSET
from synpref_dagster.benchmarks.items import BenchmarkItem, labels_first
from synpref_dagster.benchmarks.pairwise import JUDGE_BENCH_CATEGORIES, PPE_FLAGS, RM_BENCH_DOMAINS
from synpref_dagster.pairs.record import Turn
from synpref_dagster.pairs.texts import Conversation

NUM_STYLES = 3  # RM-Bench: concise, detailed, detailed with markdown

_JUDGE_BENCH_SOURCES = dict(
    zip(
        ("mmlu-pro", "livebench-reasoning", "livebench-math", "livecodebench"),
        JUDGE_BENCH_CATEGORIES,
        strict=True,
    )
)
_RMB_GOALS = {"Helpfulness": "help", "Harmlessness": "harm"}
_RMB_SETS = {"Pairwise_set": "pair", "BoN_set": "bon"}


@dataclass(frozen=True, slots=True)
class RawRow:
    """One published row, and where it came from: the path below the given folder, and its number.

    `origin` is a POSIX path relative to what the caller named (for a single file its name), or the
    hub id; three benchmarks keep the subset only there.
    """

    values: Mapping[str, Any]
    origin: str
    row: int
    problem: str = ""
    """Why it could not be read, as a reason code; it has no values then."""
    detail: str = ""
    unread: tuple[str, ...] = ()
    """Columns that held something and were not read, where the reader tells."""

    @property
    def place(self) -> str:
        """File and row, as people are told."""
        return f"{self.origin} row {self.row}"

    def get(self, key: str, kind: type | tuple[type, ...]) -> Any:
        """The value of a required key, or ValueError naming file, row and key."""
        if key not in self.values:
            problem = f"has no key {key!r}; it has {sorted(map(str, self.values))[:12]}"
            raise self.error(problem, reason="missing_key")
        value = self.values[key]
        if not isinstance(value, kind):
            problem = f"{key!r} is {type(value).__name__}, not what the layout says"
            raise self.error(problem, reason="wrong_type")
        return value

    def text(self, key: str) -> str:
        """A required string."""
        return str(self.get(key, str))

    def texts(self, key: str) -> tuple[str, ...]:
        """A required list of strings."""
        values = self.get(key, (list, tuple))
        if not all(isinstance(value, str) for value in values):
            raise self.error(f"{key!r} holds something that is not text", reason="not_text")
        return tuple(values)

    def error(self, problem: str, *, reason: str = "other_layout") -> "RowError":
        """An error that says where the problem is."""
        return RowError(self.place, problem, reason=reason)


class RowError(ValueError):
    """A row that is not what its layout says."""

    def __init__(self, place: str, problem: str, *, reason: str) -> None:
        super().__init__(f"{place}: {problem}")
        self.problem = problem
        self.reason = reason


class LeftOut(NamedTuple):
    """A row of a suite of one's own that is no comparison."""

    place: str
    reason: str
    detail: str


Parser = Callable[[RawRow], BenchmarkItem]


def parse_reward_bench(raw: RawRow) -> BenchmarkItem:
    """RewardBench: {id, prompt, chosen, rejected, subset}."""
    subset = raw.text("subset")
    return BenchmarkItem(
        benchmark="reward_bench",
        # Ids restart in every subset.
        item_id=f"{subset}/{raw.get('id', (int, str))}",
        group=subset,
        conversation=_single_turn(raw.text("prompt")),
        candidates=(raw.text("chosen"), raw.text("rejected")),
        labels=(1, 0),
    )


def parse_reward_bench_2(raw: RawRow) -> BenchmarkItem:
    """RewardBench 2: {id, prompt, chosen: [..], rejected: [..], num_correct, subset}."""
    subset, chosen, rejected = raw.text("subset"), raw.texts("chosen"), raw.texts("rejected")
    if raw.get("num_correct", int) != len(chosen):
        raise raw.error(f"num_correct is {raw.values['num_correct']} for {len(chosen)} chosen")
    identity = str(raw.get("id", (int, str)))
    meta: dict[str, Any] = {}
    if subset == TIES_SUBSET:
        kind, _, number = identity.partition(":")
        if kind not in ("ref", "tied") or not number:
            raise raw.error(f"Ties id {identity!r} is neither 'ref:<n>' nor 'tied:<n>'")
        meta = {"kind": kind, "prompt_number": number}
    return BenchmarkItem(
        benchmark="reward_bench_2",
        item_id=f"{subset}/{identity}",
        group=subset,
        conversation=_single_turn(raw.text("prompt")),
        candidates=chosen + rejected,
        labels=labels_first(len(chosen), len(chosen) + len(rejected)),
        meta=meta,
    )


def parse_ppe_preference(raw: RawRow) -> BenchmarkItem:
    """PPE Preference: {question_id, prompt, response_1, response_2, winner, language, flags..}.

    A row whose `winner` is neither model is a tie: both candidates are labelled right.
    """
    responses = (raw.text("response_1"), raw.text("response_2"))
    winner = raw.text("winner")
    meta: dict[str, Any] = {name: bool(raw.values.get(name)) for name in PPE_FLAGS}
    meta["language"] = raw.text("language")
    return BenchmarkItem(
        benchmark="ppe_preference",
        item_id=str(raw.get("question_id", (int, str))),
        group="preference",
        conversation=_single_turn(raw.text("prompt")),
        candidates=responses[::-1] if winner == "model_b" else responses,
        labels=(1, 0) if winner in ("model_a", "model_b") else (1, 1),
        meta=meta,
    )


def parse_ppe_correctness(raw: RawRow) -> BenchmarkItem:
    """PPE Correctness: {question_id, model_name, prompt, response_1.., scores, sampled_conflict_pairs}.

    The set (mmlu_pro, math, ...) is read from the file, folder or hub name.
    """  # noqa: E501
    group = _ppe_set(raw)
    scores = raw.get("scores", (list, tuple))
    labels = tuple(int(bool(score)) for score in scores)
    if any(score not in (0, 1) for score in scores):
        raise raw.error("'scores' must hold booleans or 0/1")
    pairs = tuple((int(i), int(j)) for i, j in raw.get("sampled_conflict_pairs", (list, tuple)))
    if not all(0 <= index < len(labels) for pair in pairs for index in pair):
        raise raw.error(f"a conflict pair points outside the {len(labels)} responses")
    identity = f"{raw.get('question_id', (int, str))}/{raw.text('model_name')}"
    return BenchmarkItem(
        benchmark="ppe_correctness",
        item_id=f"{group}/{identity}",
        group=group,
        conversation=_single_turn(raw.text("prompt")),
        # Conflict pairs count from 0, the response columns from 1.
        candidates=tuple(raw.text(f"response_{number}") for number in range(1, len(labels) + 1)),
        labels=labels,
        meta={"conflict_pairs": pairs},
    )


def parse_rmb(raw: RawRow) -> BenchmarkItem:
    """RMB: pairwise {pair_uid, conversation_input, chosen, reject} or best-of-N {bon_uid, bon_best, loser_list}.

    Goal, category and scenario are the path: `BoN_set/Helpfulness/Chat/<scenario>.json`.
    """  # noqa: E501
    parts = PurePosixPath(raw.origin).parts
    protocol = next((_RMB_SETS[part] for part in parts if part in _RMB_SETS), None)
    goal = next((index for index, part in enumerate(parts) if part in _RMB_GOALS), None)
    if protocol is None or goal is None:
        raise raw.error(
            "path must contain Pairwise_set or BoN_set, and Helpfulness or Harmlessness"
        )
    best, others, uid = (
        ("chosen", [raw.get("reject", dict)], "pair_uid")
        if (protocol == "pair")
        else ("bon_best", raw.get("loser_list", (list, tuple)), "bon_uid")
    )
    answers = [raw.get(best, dict), *others]
    if not all(isinstance(answer.get("answer"), str) for answer in answers):
        raise raw.error("every candidate needs a text 'answer'")
    scenario = PurePosixPath(*parts[goal + 1 :]).name.split(".")[0]
    category = parts[goal + 1] if len(parts) > goal + 2 else scenario
    return BenchmarkItem(
        benchmark="rmb",
        item_id=f"{protocol}/{raw.get(uid, (int, str))}",
        group=f"{_RMB_GOALS[parts[goal]]}_{protocol}",
        conversation=_turns(raw),
        candidates=tuple(answer["answer"] for answer in answers),
        labels=labels_first(1, len(answers)),
        meta={"category": category, "scenario": scenario},
    )


def parse_rm_bench(raw: RawRow) -> BenchmarkItem:
    """RM-Bench: {id, prompt, chosen: [3 styles], rejected: [3 styles], domain}.

    The per-domain files of the repository have no `domain`; it is then their name's first part.
    """
    chosen, rejected = raw.texts("chosen"), raw.texts("rejected")
    if len(chosen) != NUM_STYLES or len(rejected) != NUM_STYLES:
        raise raw.error(f"needs {NUM_STYLES} chosen and {NUM_STYLES} rejected, one per style")
    domain = raw.values.get("domain") or PurePosixPath(raw.origin).name.split("_")[0].split(".")[0]
    if not any(domain in groups for groups in RM_BENCH_DOMAINS.values()):
        raise raw.error(f"unknown domain {domain!r}")
    return BenchmarkItem(
        benchmark="rm_bench",
        item_id=f"{domain}/{raw.get('id', (int, str))}",
        group=domain,
        conversation=_single_turn(raw.text("prompt")),
        candidates=chosen + rejected,
        labels=labels_first(NUM_STYLES, 2 * NUM_STYLES),
    )


def parse_judge_bench(raw: RawRow) -> BenchmarkItem:
    """JudgeBench: {pair_id, source, question, response_A, response_B, label}."""
    source, label = raw.text("source"), raw.text("label")
    category = next(
        (c for prefix, c in _JUDGE_BENCH_SOURCES.items() if source.startswith(prefix)), ""
    )
    if not category:
        raise raw.error(f"unknown source {source!r}")
    responses = (raw.text("response_A"), raw.text("response_B"))
    if label not in ("A>B", "B>A"):
        raise raw.error(f"label {label!r} is neither 'A>B' nor 'B>A'")
    return BenchmarkItem(
        benchmark="judge_bench",
        item_id=raw.text("pair_id"),
        group=category,
        conversation=_single_turn(raw.text("question")),
        candidates=responses if label == "A>B" else responses[::-1],
        labels=(1, 0),
        meta={"source": source, "label": label},
    )


def _single_turn(prompt: str) -> Conversation:
    return (Turn(role="user", content=prompt),)


def _turns(raw: RawRow) -> Conversation:
    turns: Sequence[Mapping[str, Any]] = raw.get("conversation_input", (list, tuple))
    if not all(
        isinstance(turn.get("role"), str) and isinstance(turn.get("content"), str) for turn in turns
    ):
        raise raw.error("every turn of 'conversation_input' needs a text role and content")
    return tuple(Turn(role=turn["role"], content=turn["content"]) for turn in turns)


def _ppe_set(raw: RawRow) -> str:
    for part in reversed(PurePosixPath(raw.origin).parts):
        name = re.sub(r"[^a-z]+", "_", part.split(".")[0].lower())
        name = name.removeprefix("ppe_").removesuffix("_best_of_k")
        if name in PPE_CORRECTNESS_SETS:
            return name
    raise raw.error(f"no part of the path names a PPE set: {', '.join(PPE_CORRECTNESS_SETS)}")
