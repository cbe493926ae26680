"""What people are told to do (paper Sec. 3.2), per task category, under one version number.

The annotator decides personally, never by an LLM alone; a fact check requires a search, code
requires running it. Whoever changes a sentence here raises `PROTOCOL_VERSION`.
"""

from collections.abc import Mapping
from urllib.parse import quote_plus

PROTOCOL_VERSION = "1"
MAX_QUERY_CHARACTERS = 200

GENERAL = (
    "Read the whole conversation and both responses before you decide.",
    "Decide by yourself. An LLM may help you to check, it never decides.",
    "Length, layout and tone count only where the task asks for them.",
    "If both are equally good or bad, say tie.",
    "If you cannot judge it, say so: the pair is then discarded.",
)
_FACTS = "Search for the claims that decide between the responses before you trust either."
_STYLE = "Judge what the request asks for: does it fit purpose, voice and constraints?"
BY_CATEGORY: Mapping[str, tuple[str, ...]] = {
    "information_seeking": (_FACTS, "One wrong central fact outweighs any number of good words."),
    "coding_and_debugging": (
        "Run the code, or the part of it that matters, before you decide.",
        "Code that runs and solves the task beats code that looks better.",
    ),
    "advice_seeking": ("Prefer advice that is safe, specific to the person, and honest.", _FACTS),
    "math": (
        "Work out the result yourself or with a calculator; compare the final answers first.",
        "With equal answers, prefer the derivation without a wrong step.",
    ),
    "creative_writing": (_STYLE, "Originality and coherence decide between two that fit."),
    "reasoning": ("Follow each step; a right conclusion from a wrong step is not right.",),
    "planning": ("Check that the plan respects every stated constraint and could be carried out.",),
    "data_analysis": ("Recompute at least one number that the response rests on.",),
    "editing": ("Compare with the original text: what was asked to stay must have stayed.",),
    "role_playing": (_STYLE, "Staying in role does not excuse ignoring the user."),
    "brainstorming": ("Count ideas that are different and usable, not lines.",),
    "other": ("Say first to yourself what a good response needs, then compare.",),
}
PUBLIC_SEARCHES = (
    ("Web", "https://duckduckgo.com/?q="),
    ("Wikipedia", "https://en.wikipedia.org/w/index.php?search="),
    ("Scholar", "https://scholar.google.com/scholar?q="),
)


def instructions(task_category: str) -> tuple[str, ...]:
    """The sentences shown beside a pair of this category; an unknown one gets those of `other`."""
    return (*BY_CATEGORY.get(task_category, BY_CATEGORY["other"]), *GENERAL)


def search_links(question: str) -> list[tuple[str, str]]:
    """(name, address) of searches for a question; nothing is requested until one is clicked."""
    text = " ".join(question.split())[:MAX_QUERY_CHARACTERS]
    query = quote_plus(text.encode("utf-8", "replace"))
    return [(name, address + query) for name, address in PUBLIC_SEARCHES] if text else []
