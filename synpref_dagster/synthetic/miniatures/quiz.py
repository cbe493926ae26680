"""Asks questions on prompts reserved for benchmarks, and answers them rightly or wrongly.

Every prompt is asked once; about one in ten is long enough to hold 13-grams, so that planting it in
the pool is a contamination that the rule of App. D.1 can see.
"""

from collections.abc import Sequence
from random import Random

from synpref_dagster.synthetic.draws import draw_prompt
from synpref_dagster.synthetic.phrasing import (
    AskedPrompt,
    Style,
    draw_style,
    render_long_prompt,
    render_prompt,
    render_response,
)
from synpref_dagster.synthetic.tasks import Task, TaskMaker

LONG_SHARE = 0.1
MAX_TRIES = 200


class Quiz:
    """Draws benchmark questions without repetition and remembers them in `asked`."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.asked: list[AskedPrompt] = []
        self._seen: set[str] = set()

    def ask(self, makers: Sequence[TaskMaker]) -> AskedPrompt:
        """A new question by one of the makers.

        Raises:
            RuntimeError: all phrasings of these tasks seem used up; ask for fewer questions.
        """
        for _ in range(MAX_TRIES):
            make = self.rng.choice(makers)
            long = self.rng.random() < LONG_SHARE
            render = render_long_prompt if long else render_prompt
            task, prompt = draw_prompt(make, "benchmark", rng=self.rng, render=render)
            if prompt not in self._seen:
                self._seen.add(prompt)
                question = AskedPrompt(task, prompt, long)
                self.asked.append(question)
                return question
        raise RuntimeError(f"no unused prompt in {MAX_TRIES} tries, after {len(self.asked)} asked")

    def right(self, task: Task, style: Style | None = None) -> str:
        """A right response, in a random style unless one is given."""
        return self._respond(task.right, style)

    def wrong(self, task: Task, style: Style | None = None) -> str:
        """A wrong response, in a random style unless one is given."""
        return self._respond(task.wrong, style)

    def several_wrong(self, task: Task, num: int) -> list[str]:
        """`num` distinct wrong responses."""
        return self._distinct(task.wrong, num)

    def several_right(self, task: Task, num: int) -> list[str]:
        """`num` distinct right responses."""
        return self._distinct(task.right, num)

    def _distinct(self, answers: Sequence[str], num: int) -> list[str]:
        responses: dict[str, None] = {}
        while len(responses) < num:
            responses.setdefault(self._respond(answers, None))
        return list(responses)

    def _respond(self, answers: Sequence[str], style: Style | None) -> str:
        chosen_style = draw_style(self.rng) if style is None else style
        return render_response(self.rng.choice(answers), chosen_style, self.rng)
