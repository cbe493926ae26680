"""Bodies of endpoints as nobody would write them: sound ones with parts swapped, gone or nested."""

import copy
import json
import math

from hypothesis import strategies as st

VERDICT = json.dumps({"reason": "because", "verdict": "candidate_1"})
DRAFT = json.dumps({"reason": "draft", "verdict": "candidate_2"})
SOUND = {
    "id": "x",
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": DRAFT}]},
                    {"type": "text", "text": VERDICT},
                ],
                "refusal": None,
                "reasoning_content": DRAFT,
            },
        }
    ],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5},
    "error": None,
}
ERRORS = [
    {"error": {"message": "no", "code": "insufficient_quota"}},
    {"error": {"message": "no", "code": 429, "metadata": {"raw": '{"error": {"code": 1}}'}}},
    {"error": "no"},
    {"detail": [{"loc": ["body", "seed"], "msg": "no", "input": SOUND}]},
    [{"error": {"message": "no", "status": "INVALID_ARGUMENT", "details": [{"reason": "X"}]}}],
    {"object": "error", "message": "no", "param": "max_tokens"},
]
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 10**400, math.nan, math.inf, 1e300, 3.5, "", "x", "\ud83d", "a\x00b"]),
    st.sampled_from(["error", "length", "content_filter", VERDICT, f"<think>{DRAFT}", DRAFT * 3]),
    st.sampled_from([[], {}, [[]], [None], {"error": {"code": 502}}, ["text"], {"text": "x"}]),
    st.text(st.characters(codec=None), max_size=6),
    st.just(json.loads("[" * 90 + "]" * 90)),
)


@st.composite
def mutated(draw):
    """A sound body or error in which up to four parts were replaced, removed or doubled."""
    body = copy.deepcopy(draw(st.sampled_from([SOUND, SOUND, *ERRORS])))
    for _ in range(draw(st.integers(0, 4))):
        path = draw(st.sampled_from(list(paths(body)) or [()]))
        if not path:
            return copy.deepcopy(draw(ODD))
        *above, last = path
        holder = body
        for step in above:
            holder = holder[step]
        change = draw(st.sampled_from(["replace", "replace", "remove", "wrap"]))
        if change == "remove":
            del holder[last]
        else:
            holder[last] = copy.deepcopy(draw(ODD)) if change == "replace" else [holder[last]]
    return body


def paths(value, path=()):
    """Where something is in a body, itself included."""
    yield path
    if not isinstance(value, dict | list):
        return
    for step, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from paths(inner, (*path, step))
