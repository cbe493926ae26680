"""Tasks of the synthetic preference world: a question with known right and wrong answers.

The twelve categories and their shares follow Table 8 of the paper (App. D). A task knows which of
its answers are right by construction, so every pair made from it has a true label; nothing in the
style of a response depends on that label.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from synpref_dagster.pairs.attributes import TASK_CATEGORIES, Controversiality, Objectivity

# Pool mix in percent, Tables 8-10.
PAPER_SHARES: Mapping[str, float] = {
    "information_seeking": 40.4,
    "coding_and_debugging": 32.7,
    "advice_seeking": 10.9,
    "math": 7.5,
    "creative_writing": 4.1,
    "reasoning": 2.2,
    "planning": 0.62,
    "data_analysis": 0.44,
    "editing": 0.41,
    "role_playing": 0.37,
    "brainstorming": 0.16,
    "other": 0.09,
}
# `other` holds the safety tasks here; at its paper share a few thousand pairs would have ten.
OTHER_SHARE = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One question with several right and several wrong answers, all plain text.

    `latent` names what has to be known to answer (about sixty in the whole world); `misbelief` is
    how strongly careless labellers believe a wrong answer (0 for most tasks, 1 for popular myths).
    """

    category: str
    latent: str
    question: str
    right: tuple[str, ...]
    wrong: tuple[str, ...]
    objectivity: Objectivity
    controversiality: Controversiality = "low"
    misbelief: float = 0.0


TaskMaker = Callable[[Random], Task]


def category_weights() -> dict[str, float]:
    """Shares of the world: the paper's, square-root tempered, with `other` raised; they sum to 1.

    Tempering keeps the order of the paper's mix and gives rare categories enough pairs to learn.
    """
    tempered = {name: PAPER_SHARES[name] ** 0.5 for name in TASK_CATEGORIES if name != "other"}
    total = sum(tempered.values())
    weights = {name: (1 - OTHER_SHARE) * value / total for name, value in tempered.items()}
    return {**weights, "other": OTHER_SHARE}
