"""The embedded judge: it knows only the human-verified exemplars that it is shown.

A stand-in for an LLM judge that needs no network and has no access to the truth: a nearest
neighbour labeller, never to be reported as an LLM. Each judge sees responses through one view (word
features), compares the pair with the exemplars' pairs, and has a few checks and biases of its own.
Swapping the candidates swaps its verdict, so it has no position bias.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import shake_128
from typing import TYPE_CHECKING, Literal

import numpy as np

from synpref_dagster.curation.judging.verdicts import Exemplar, JudgeQuestion, Verdict
from synpref_dagster.judges.embedded.checks import CHECKS, CheckName, style_features
from synpref_dagster.judges.embedded.views import PAIRS, WORDS, WORDS_AND_PAIRS, Views
from synpref_dagster.pairs.record import Turn, canonical_sign, digest

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

ViewName = Literal["words", "words_and_pairs", "word_pairs"]
NGRAMS: dict[ViewName, tuple[int, int]] = {
    "words": WORDS,
    "words_and_pairs": WORDS_AND_PAIRS,
    "word_pairs": PAIRS,
}
EVIDENCE_WEIGHT = 3.0
RELEVANCE_POWER = 2.0
OTHER_CATEGORY_FACTOR = 0.5
CHECK_WEIGHT = 0.6
EXEMPLAR_DROPOUT = 0.35
NOISE = 0.1
TIE_BELOW = 0.01
BYTES_PER_DRAW = 4
BLOCK_QUESTIONS = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeProfile:
    """What makes one judge of a panel differ from the others."""

    name: str
    """Name in verdicts and votes."""
    view: ViewName
    """Which word features it compares responses by."""
    checks: tuple[CheckName, ...] = ()
    """The checks it can run by itself."""
    length_bias: float = 0.0
    """Pull towards the longer response, per ten words."""
    politeness_bias: float = 0.0
    """Pull towards polite words, per word."""
    markdown_bias: float = 0.0
    """Pull towards a formatted response."""
    num_samples: int = 5
    """Self-consistency samples per pair."""


EMBEDDED_PANEL: tuple[JudgeProfile, ...] = (
    JudgeProfile(
        name="exemplar_words",
        view="words",
        checks=("arithmetic", "refusal"),
        length_bias=0.10,
    ),
    JudgeProfile(
        name="exemplar_words_and_pairs",
        view="words_and_pairs",
        checks=("refusal", "inclusion"),
        politeness_bias=0.10,
    ),
    JudgeProfile(
        name="exemplar_word_pairs",
        view="word_pairs",
        checks=("arithmetic", "count"),
        markdown_bias=0.10,
    ),
)


class ExemplarJudge:
    """One judge of the panel: a profile, and word weights that come from texts, not labels."""

    def __init__(self, profile: JudgeProfile, views: Views) -> None:
        """A judge that compares responses by its own view, and conversations by words and pairs."""
        self.profile = profile
        self.name = profile.name
        self.num_samples = profile.num_samples
        self._responses = views[NGRAMS[profile.view]].vectorizer(normed=False)
        self._topics = views[WORDS_AND_PAIRS].vectorizer(normed=True)

    def verdict(self, question: JudgeQuestion, *, seed: int) -> Verdict:
        """One verdict; the same as `verdicts` gives for this question and seed."""
        return self.verdicts([question], [seed])[0]

    def verdicts(self, questions: Sequence[JudgeQuestion], seeds: Sequence[int]) -> list[Verdict]:
        """One verdict per question and seed, in order.

        Raises:
            ValueError: numbers of questions and seeds differ.
        """
        if len(questions) != len(seeds):
            raise ValueError(f"{len(questions)} questions need as many seeds, got {len(seeds)}")
        if not questions:
            return []
        # The same question is asked once per sample: look at each only once.
        first_seen = {id(question): question for question in questions}
        distinct = list(first_seen.values())
        row_of_id = {identity: row for row, identity in enumerate(first_seen)}
        rows = np.array([row_of_id[id(question)] for question in questions])
        prior = np.array([self._prior(question) for question in distinct])
        evidence = self._evidence_in_blocks(distinct)
        draws = self._draws(distinct, rows, seeds=seeds)
        kept = np.where(draws[:, 2:] < EXEMPLAR_DROPOUT, 0.0, evidence[rows])
        signs = np.array([canonical_sign(q.candidate_1, q.candidate_2) for q in distinct])
        score = prior[rows] + NOISE * signs[rows] * _normal(draws[:, 0], draws[:, 1])
        for column in range(kept.shape[1]):  # one by one: the sum must not depend on the batch
            score = score + EVIDENCE_WEIGHT * kept[:, column]
        shown = np.count_nonzero(kept, axis=1)
        return [_verdict(float(s), int(n)) for s, n in zip(score, shown, strict=True)]

    def _prior(self, question: JudgeQuestion) -> float:
        """What the judge thinks without exemplars: its checks and its biases."""
        prompt = _text(question.conversation)
        first, second = question.candidate_1, question.candidate_2
        checked = sum(
            CHECKS[name](prompt, first) - CHECKS[name](prompt, second)
            for name in self.profile.checks
        )
        weights = (
            self.profile.length_bias,
            self.profile.politeness_bias,
            self.profile.markdown_bias,
        )
        style = sum(
            weight * (a - b)
            for weight, a, b in zip(
                weights, style_features(first), style_features(second), strict=True
            )
        )
        return CHECK_WEIGHT * checked + style

    def _evidence_in_blocks(self, questions: Sequence[JudgeQuestion]) -> np.ndarray:
        """`_evidence` of all questions; memory holds the word features of one block."""
        most = max(len(question.exemplars) for question in questions)
        evidence = np.zeros((len(questions), most))
        for start in range(0, len(questions), BLOCK_QUESTIONS):
            found = self._evidence(questions[start : start + BLOCK_QUESTIONS])
            evidence[start : start + len(found), : found.shape[1]] = found
        return evidence

    def _evidence(self, questions: Sequence[JudgeQuestion]) -> np.ndarray:
        """float64 (questions, most exemplars): signed evidence of every exemplar, 0 where none."""
        most = max(len(question.exemplars) for question in questions)
        evidence = np.zeros((len(questions), most))
        places = [(row, n) for row, q in enumerate(questions) for n in range(len(q.exemplars))]
        if not places:
            return evidence
        exemplars = {id(e): e for question in questions for e in question.exemplars}
        exemplar_row = {identity: row for row, identity in enumerate(exemplars)}
        rows = np.array([row for row, _ in places])
        shown = np.array([exemplar_row[id(questions[row].exemplars[n])] for row, n in places])
        known = list(exemplars.values())
        alike = _row_products(
            self._differences([(q.candidate_1, q.candidate_2) for q in questions])[rows],
            self._differences([_preferred_first(exemplar) for exemplar in known])[shown],
        )
        relevance = _row_products(
            self._topics.transform([_text(q.conversation) for q in questions])[rows],
            self._topics.transform([_text(exemplar.conversation) for exemplar in known])[shown],
        )
        same = [
            _category(questions[row]) == _category(known[column])
            for row, column in zip(rows, shown, strict=True)
        ]
        factor = np.where(same, 1.0, OTHER_CATEGORY_FACTOR)
        evidence[rows, [n for _, n in places]] = factor * relevance**RELEVANCE_POWER * alike
        return evidence

    def _differences(self, candidates: Sequence[tuple[str, str]]) -> "csr_matrix":
        """Features of the first minus those of the second, each row of length 1 (or zero)."""
        first = self._responses.transform([text for text, _ in candidates])
        second = self._responses.transform([text for _, text in candidates])
        difference = (first - second).tocsr()
        norms = np.sqrt(_row_products(difference, difference))
        scale = 1.0 / np.where(norms > 0, norms, 1.0)
        return difference.multiply(scale[:, None]).tocsr()

    def _draws(
        self, distinct: Sequence[JudgeQuestion], rows: np.ndarray, *, seeds: Sequence[int]
    ) -> np.ndarray:
        """float64 (samples, 2 + most exemplars) in (0, 1), from seed, judge and question alone.

        The key sorts the candidates, so both orders of a question see the same draws.
        """
        num = 2 + max(len(question.exemplars) for question in distinct)
        keys = [
            digest(_text(q.conversation), *sorted((q.candidate_1, q.candidate_2))) for q in distinct
        ]
        name = self.name.encode()
        raw = b"".join(
            shake_128(b"%d/%s/%s" % (seed, name, keys[row])).digest(num * BYTES_PER_DRAW)
            for row, seed in zip(rows, seeds, strict=True)
        )
        integers = np.frombuffer(raw, dtype="<u4").reshape(len(seeds), num)
        return (integers + 0.5) / 2**32


def build_panel(
    views: Views, *, profiles: Sequence[JudgeProfile] = EMBEDDED_PANEL
) -> tuple[ExemplarJudge, ...]:
    """The embedded panel: one judge per profile, all with word weights of the same texts."""
    return tuple(ExemplarJudge(profile, views) for profile in profiles)


def _verdict(score: float, num_exemplars: int) -> Verdict:
    reason = f"score {score:+.3f}, {num_exemplars} telling exemplars"
    confidence = float(np.tanh(abs(score)))
    if abs(score) < TIE_BELOW:
        return Verdict(choice="tie", reason=reason, confidence=confidence)
    choice: Literal["candidate_1", "candidate_2"] = "candidate_1" if score > 0 else "candidate_2"
    return Verdict(choice=choice, reason=reason, confidence=confidence)


def _normal(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Standard normal draws from two uniform ones (Box-Muller)."""
    return np.sqrt(-2 * np.log(first)) * np.cos(2 * np.pi * second)


def _row_products(left: "csr_matrix", right: "csr_matrix") -> np.ndarray:
    """float64 (rows,): dot product of each row of `left` with the same row of `right`."""
    return np.asarray(left.multiply(right).sum(axis=1)).ravel()


def _preferred_first(exemplar: Exemplar) -> tuple[str, str]:
    if exemplar.preferred == "candidate_1":
        return exemplar.candidate_1, exemplar.candidate_2
    return exemplar.candidate_2, exemplar.candidate_1


def _category(shown: JudgeQuestion | Exemplar) -> str:
    return shown.attributes.get("task_category", "")


def _text(conversation: Sequence[Turn]) -> str:
    return "\n".join(turn["content"] for turn in conversation)
