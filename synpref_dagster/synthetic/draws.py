"""Draws labelled examples from the world, one disjoint share of prompts per purpose.

Which purpose a prompt may serve is decided by a hash of its text, so that pool, test set,
benchmarks and the attribute labeller's training examples never share a prompt, whatever the seeds.
"""

import re
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from random import Random
from typing import Literal

from synpref_dagster.pairs.attributes import TASK_CATEGORIES
from synpref_dagster.pairs.record import Origin, PreferencePair, Turn, digest
from synpref_dagster.synthetic import everyday, imagination, knowledge, technical
from synpref_dagster.synthetic.phrasing import (
    draw_style,
    render_conversation,
    render_prompt,
    render_response,
)
from synpref_dagster.synthetic.tasks import Task, TaskMaker, category_weights

Purpose = Literal["pool", "test", "benchmark", "attributes"]
# Sixteenths of all prompts, by hash.
PURPOSE_BY_SLOT: tuple[Purpose, ...] = ("pool",) * 12 + ("test",) * 2 + ("benchmark", "attributes")
MAX_REDRAWS = 10_000
WORD = re.compile(r"\w+")

MAKERS: Mapping[str, TaskMaker] = {
    "information_seeking": knowledge.information_seeking,
    "coding_and_debugging": technical.coding_and_debugging,
    "advice_seeking": everyday.advice_seeking,
    "math": technical.math,
    "creative_writing": imagination.creative_writing,
    "reasoning": knowledge.reasoning,
    "planning": everyday.planning,
    "data_analysis": technical.data_analysis,
    "editing": technical.editing,
    "role_playing": imagination.role_playing,
    "brainstorming": everyday.brainstorming,
    "other": everyday.safety,
}
harmful_request: TaskMaker = partial(everyday.safety, harmful=True)
harmless_request: TaskMaker = partial(everyday.safety, harmful=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A conversation with a right and a wrong response: the truth, by construction."""

    task: Task
    conversation: tuple[Turn, ...]
    right: str
    wrong: str

    @property
    def content_id(self) -> bytes:
        """16 bytes: identity of the unlabelled pair."""
        return self.labelled(label_right=True, source="", origin="synthetic").content_id

    def labelled(self, *, label_right: bool, source: str, origin: Origin) -> PreferencePair:
        """The pair under a source's label, right or wrong."""
        chosen, rejected = (self.right, self.wrong) if label_right else (self.wrong, self.right)
        return PreferencePair(
            conversation=self.conversation,
            chosen=chosen,
            rejected=rejected,
            source=source,
            origin=origin,
        )


def purpose_of(prompt: str) -> Purpose:
    """Which purpose this prompt is reserved for; prompts with the same words share it.

    >>> purpose_of("what is the capital of peru?") == purpose_of("what is the capital of peru")
    True
    """
    words = " ".join(WORD.findall(prompt))
    return PURPOSE_BY_SLOT[digest("purpose", words)[0] % len(PURPOSE_BY_SLOT)]


def draw_prompt(
    make: TaskMaker,
    purpose: Purpose,
    *,
    rng: Random,
    render: Callable[[Task, Random], str] = render_prompt,
) -> tuple[Task, str]:
    """A task and a prompt for it that is reserved for `purpose`.

    Raises:
        RuntimeError: no such prompt in many draws, i.e. the task has too few phrasings.
    """
    for _ in range(MAX_REDRAWS):
        task = make(rng)
        prompt = render(task, rng)
        if purpose_of(prompt) == purpose:
            return task, prompt
    raise RuntimeError(f"no prompt reserved for {purpose!r} in {MAX_REDRAWS} draws")


def draw_example(make: TaskMaker, purpose: Purpose, *, rng: Random) -> Example:
    """One example with styles drawn independently for its two responses."""
    task, prompt = draw_prompt(make, purpose, rng=rng)
    return styled_example(task, render_conversation(prompt, rng), rng=rng)


def styled_example(task: Task, conversation: tuple[Turn, ...], *, rng: Random) -> Example:
    """Any right and any wrong answer of the task, each in a style of its own."""
    return Example(
        task=task,
        conversation=conversation,
        right=render_response(rng.choice(task.right), draw_style(rng), rng),
        wrong=render_response(rng.choice(task.wrong), draw_style(rng), rng),
    )


def iter_examples(purpose: Purpose, *, seed: int) -> Iterator[Example]:
    """Endless distinct examples (by content id) in the category mix of the world."""
    rng = Random(f"{purpose}-{seed}")
    weights = category_weights()
    bounds = list(accumulate(weights[name] for name in TASK_CATEGORIES))
    seen: set[bytes] = set()
    while True:
        position = min(bisect(bounds, rng.random()), len(bounds) - 1)
        example = draw_example(MAKERS[TASK_CATEGORIES[position]], purpose, rng=rng)
        if example.content_id not in seen:
            seen.add(example.content_id)
            yield example
