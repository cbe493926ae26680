"""How a task becomes a conversation and an answer becomes a response.

Openers and tails make conversations distinct strings without touching their meaning. Style (filler
sentences, markdown, politeness) is drawn independently of the truth, so that preferring long,
polite or formatted responses is right half of the time and wrong half of the time.
"""

import re
from dataclasses import dataclass
from random import Random

from synpref_dagster.pairs.record import Turn
from synpref_dagster.synthetic.tasks import Task

OPENERS = ("", "hi, ", "hello, ", "hey, ", "please: ", "quick one: ", "good morning, ", "again: ")
TAILS = (
    "",
    "for my class",
    "for a friend",
    "for my son",
    "for my sister",
    "for a game",
    "for work",
    "for a test",
    "for today",
    "for tonight",
    "for my blog",
    "for a bet",
    "before lunch",
    "before dinner",
    "before class",
    "this week",
    "this time",
    "in short",
    "in brief",
    "at school",
    "at home",
    "right now",
)
ENDINGS = ("?", ".", "!", "")
PAUSES = ("one moment.", "let me think.", "noted.", "of course.")
FOLLOW_UPS = ("go on.", "so, what now?", "please answer.", "and the answer?", "well?")
FILLERS = (
    "many ask this.",
    "this took time.",
    "more could follow.",
    "this seems clear.",
    "in short form.",
    "note that.",
)
POLITE_STARTS = ("thank you for asking.", "great question.", "happy to help.")
POLITE_ENDS = ("you are welcome.", "have a nice day.", "i hope this helps.")
FILLER_WEIGHTS = (40, 35, 25)
MARKDOWN_SHARE = 0.3
POLITE_SHARE = 0.35
MULTI_TURN_SHARE = 0.06
# What the decontamination of App. D.1 counts as a word; a 13-gram needs thirteen of them.
COUNTED_WORD = re.compile(r"\b\w\w+\b")
MAX_PROMPT_WORDS = 12


@dataclass(frozen=True, slots=True)
class Style:
    """Surface of a response: number of filler sentences, markdown or not, polite or not."""

    num_fillers: int
    markdown: bool
    polite: bool


@dataclass(frozen=True, slots=True)
class AskedPrompt:
    """A prompt in use and the task behind it; `long` prompts have 13-grams."""

    task: Task
    prompt: str
    long: bool


CONCISE = Style(0, False, False)
DETAILED = Style(2, False, True)
DETAILED_MARKDOWN = Style(2, True, True)


def draw_style(rng: Random) -> Style:
    """A style that knows nothing about the answer it will carry."""
    return Style(
        num_fillers=rng.choices((0, 1, 2), FILLER_WEIGHTS)[0],
        markdown=rng.random() < MARKDOWN_SHARE,
        polite=rng.random() < POLITE_SHARE,
    )


def render_response(answer: str, style: Style, rng: Random) -> str:
    """The answer in a style; the answer itself stays verbatim."""
    body = answer
    if style.markdown:
        body = rng.choice((f"**{answer}**", f"# answer\n{answer}", f"- {answer}"))
    parts = [body]
    for filler in rng.sample(FILLERS, style.num_fillers):
        parts.insert(rng.choice((0, len(parts))), filler)
    if style.polite:
        at_start = rng.random() < 0.5
        parts.insert(
            0 if at_start else len(parts), rng.choice(POLITE_STARTS if at_start else POLITE_ENDS)
        )
    return ("\n" if style.markdown else " ").join(parts)


def render_prompt(task: Task, rng: Random) -> str:
    """The task's question as one user turn of at most twelve words of two letters or more.

    Below thirteen such words no 13-gram exists (App. D.1), so that only prompts planted on purpose
    are contaminated.
    """
    opener, tail, ending = rng.choice(OPENERS), rng.choice(TAILS), rng.choice(ENDINGS)
    full = f"{opener}{task.question} {tail}".strip()
    if len(COUNTED_WORD.findall(full)) > MAX_PROMPT_WORDS:
        full = f"{task.question} {tail}".strip()
    if len(COUNTED_WORD.findall(full)) > MAX_PROMPT_WORDS:
        full = task.question
    return f"{full}{ending}"


def render_long_prompt(task: Task, rng: Random) -> str:
    """The question after a preamble long enough to hold 13-grams of its own."""
    first, second, third, fourth = rng.sample(TAILS[1:], 4)
    preamble = f"i ask this {first} and {second}, not {third} and not {fourth}, so"
    return f"{preamble} {task.question}{rng.choice(ENDINGS)}"


def render_conversation(prompt: str, rng: Random) -> tuple[Turn, ...]:
    """Mostly the prompt alone; sometimes prompt, pause, follow-up (three turns)."""
    opening = Turn(role="user", content=prompt)
    if rng.random() >= MULTI_TURN_SHARE:
        return (opening,)
    return (
        opening,
        Turn(role="assistant", content=rng.choice(PAUSES)),
        Turn(role="user", content=rng.choice(FOLLOW_UPS)),
    )
