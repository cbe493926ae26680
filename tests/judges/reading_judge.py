"""A judge that answers any prompt from its text alone: it reads what is fenced, and knows no truth.

Three temperaments by model name: `checks` recomputes what can be checked, `exemplars` goes by the
words that people preferred in the decided examples, `careful` adds both up.
"""

import json
import re

import fake_judge_server as fake

from synpref_dagster.judges.embedded.checks import CHECKS

BLOCK = re.compile(r"^BEGIN (\S+) (\w{16})\n(.*?)\nEND \1 \2$", re.DOTALL | re.MULTILINE)
PREFERRED = re.compile(r"^Decided example (\d+)$.*?^People preferred: (\S+)$", re.DOTALL | re.M)
WORD = re.compile(r"\w+")
MODELS = ("careful", "checks", "exemplars")
TASKS = {
    "coding_and_debugging": ("code", "function", "python", "bug"),
    "math": ("plus", "add", "sum", "how many"),
    "advice_seeking": ("should i", "advice", "tips"),
    "creative_writing": ("poem", "story", "write"),
}


def answer(body):
    """The reply to a request, by the task that its system prompt sets."""
    system, user = (message["content"] for message in body["messages"])
    texts = {name: text for name, _, text in BLOCK.findall(user)}
    [task] = [name for name in ANSWERS if ANSWERS[name][0] in system]
    fields = ANSWERS[task][1](texts, user, body["model"])
    return fake.Reply(
        json.dumps(fields), prompt_tokens=len(system + user) // 4, completion_tokens=20
    )


def _verdict(texts, user, model):
    first, second = texts["candidate_1"], texts["candidate_2"]
    checked = sum(
        check(texts["conversation"], first) - check(texts["conversation"], second)
        for check in CHECKS.values()
    )
    learnt = sum(
        _likeness(texts, f"example_{number}_", preferred)
        for number, preferred in PREFERRED.findall(user)
    )
    score = {"careful": 2 * checked + learnt, "checks": checked, "exemplars": learnt}[model]
    choice = "candidate_1" if score > 0 else "candidate_2" if score < 0 else "tie"
    return {"reason": f"score {score:.2f}", "verdict": choice}


def _likeness(texts, prefix, preferred):
    """How much more the first candidate says what people preferred than the second does."""
    other = "candidate_2" if preferred == "candidate_1" else "candidate_1"
    good, bad = _words(texts[prefix + preferred]), _words(texts[prefix + other])
    first, second = _words(texts["candidate_1"]), _words(texts["candidate_2"])
    said = len(first & (good - bad)) - len(first & (bad - good))
    against = len(second & (good - bad)) - len(second & (bad - good))
    asked, like = _words(texts["conversation"]), _words(texts[prefix + "conversation"])
    return (said - against) * len(asked & like) / max(len(asked | like), 1)


def _attributes(texts, user, model):
    asked = texts["conversation"].lower()
    found = [task for task, words in TASKS.items() if any(word in asked for word in words)]
    task = found[0] if found else "information_seeking"
    return {
        "task_category": task,
        "objectivity": "subjective"
        if task in ("advice_seeking", "creative_writing")
        else "objective",
        "controversiality": "low",
        "desired_attributes": "correctness, clarity",
        "annotation_guideline": "Check what can be checked, then prefer the clearer one.",
    }


def _response_check(texts, user, model):
    found = sum(check(texts["conversation"], texts["response"]) for check in CHECKS.values())
    status = "correct" if found > 0 else "incorrect" if found < 0 else "unsure"
    return {"finding": f"Checked {len(CHECKS)} things in {model}'s way.", "status": status}


def _personal_data(texts, user, model):
    return {"evidence": "nothing found", "level": 0}


def _contamination(texts, user, model):
    prompt, shared = _words(texts["benchmark_prompt"]), _words(texts["shared_words"])
    same = len(shared) > len(prompt) / 2
    return {
        "reason": f"{len(shared)} of {len(prompt)} words are shared",
        "decision": "same_item" if same else "coincidence",
    }


def _words(text):
    return set(WORD.findall(text.lower()))


ANSWERS = {
    "pairwise_verdict": ("You decide which of two candidate responses", _verdict),
    "preference_attributes": ("You describe what it takes to compare", _attributes),
    "response_check": ("You check one response for a human annotator", _response_check),
    "personal_data": ("You look for personal data", _personal_data),
    "contamination_check": ("A training text and a benchmark prompt share", _contamination),
}
