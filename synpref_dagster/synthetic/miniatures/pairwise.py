"""Rows of the pairwise mini benchmarks, in their published raw layouts.

RewardBench, PPE Preference, RM-Bench and JudgeBench: keys, nesting, ids and subset names are the
originals'; the content comes from the synthetic world.
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from synpref_dagster.synthetic.draws import MAKERS, harmful_request, harmless_request
from synpref_dagster.synthetic.labellers import SUBJECTIVE_ERROR
from synpref_dagster.synthetic.miniatures.quiz import Quiz
from synpref_dagster.synthetic.phrasing import CONCISE, DETAILED, DETAILED_MARKDOWN
from synpref_dagster.synthetic.tasks import TaskMaker

Row = dict[str, Any]
INFO, CODE = MAKERS["information_seeking"], MAKERS["coding_and_debugging"]
ADVICE, MATH, REASONING = MAKERS["advice_seeking"], MAKERS["math"], MAKERS["reasoning"]
CHAT = (INFO, ADVICE, MAKERS["role_playing"], MAKERS["brainstorming"])
INSTRUCTIONS = (MAKERS["creative_writing"], MAKERS["editing"], MAKERS["brainstorming"])
EXACT = (MATH, MAKERS["data_analysis"])
HARMFUL, HARMLESS = (harmful_request,), (harmless_request,)

REWARD_BENCH_TASKS: Mapping[str, Sequence[TaskMaker]] = {
    "alpacaeval-easy": CHAT,
    "alpacaeval-length": CHAT,
    "alpacaeval-hard": CHAT,
    "mt-bench-easy": (INFO, *INSTRUCTIONS),
    "mt-bench-med": (INFO, MATH, ADVICE),
    "mt-bench-hard": (REASONING, MATH, CODE),
    "math-prm": EXACT,
    "refusals-dangerous": HARMFUL,
    "refusals-offensive": HARMFUL,
    "llmbar-natural": INSTRUCTIONS,
    "llmbar-adver-neighbor": INSTRUCTIONS,
    "llmbar-adver-GPTInst": INSTRUCTIONS,
    "llmbar-adver-GPTOut": (ADVICE, *INSTRUCTIONS),
    "llmbar-adver-manual": (MAKERS["planning"], *INSTRUCTIONS),
    "xstest-should-refuse": HARMFUL,
    "xstest-should-respond": HARMLESS,
    "donotanswer": HARMFUL,
    "hep-cpp": (CODE,),
    "hep-go": (CODE,),
    "hep-java": (CODE,),
    "hep-js": (CODE,),
    "hep-python": (CODE,),
    "hep-rust": (CODE,),
}
RM_BENCH_TASKS: Mapping[str, Sequence[TaskMaker]] = {
    "chat": CHAT,
    "code": (CODE,),
    "math": EXACT,
    "safety-refuse": HARMFUL,
    "safety-response": HARMLESS,
}
MMLU_PRO_SUBJECTS = (
    "biology",
    "business",
    "chemistry",
    "computer science",
    "economics",
    "engineering",
    "health",
    "history",
    "law",
    "math",
    "other",
    "philosophy",
    "physics",
    "psychology",
)
MODELS = ("writer-small", "writer-large", "thinker-small", "thinker-large")
TIE_SHARE = 0.1


def reward_bench_rows(quiz: Quiz, *, per_subset: int) -> list[Row]:
    """RewardBench v1, all 23 subsets; ids restart in every subset."""
    rows = []
    for subset, makers in REWARD_BENCH_TASKS.items():
        for number in range(per_subset):
            asked = quiz.ask(makers)
            rows.append(
                {
                    "id": number,
                    "prompt": asked.prompt,
                    "chosen": quiz.right(asked.task),
                    "rejected": quiz.wrong(asked.task),
                    "chosen_model": quiz.rng.choice(MODELS),
                    "rejected_model": quiz.rng.choice(MODELS),
                    "subset": subset,
                }
            )
    return rows


def ppe_preference_rows(quiz: Quiz, *, num_rows: int) -> list[Row]:
    """PPE Preference: one simulated person's verdict per pair, wrong in one of ten; some ties."""
    rows = []
    for number in range(num_rows):
        name = quiz.rng.choice(tuple(MAKERS))
        asked = quiz.ask((MAKERS[name],))
        right, wrong = quiz.right(asked.task), quiz.wrong(asked.task)
        right_first = quiz.rng.random() < 0.5
        first, second = (right, wrong) if right_first else (wrong, right)
        model_a, model_b = quiz.rng.sample(MODELS, 2)
        rows.append(
            {
                "question_id": f"q{number:05d}",
                "prompt": asked.prompt,
                "response_1": first,
                "response_2": second,
                "model_a": model_a,
                "model_b": model_b,
                "winner": _winner(quiz.rng, right_first=right_first),
                "language": "English",
                "is_code": name == "coding_and_debugging",
                "is_refusal": name == "other",
                "hard_prompt": name in ("reasoning", "planning"),
                "easy_prompt": name in ("information_seeking", "editing"),
                "if_prompt": name in ("creative_writing", "brainstorming"),
                "math_prompt": name in ("math", "data_analysis"),
                "length_a": len(first),
                "length_b": len(second),
            }
        )
    return rows


def rm_bench_rows(quiz: Quiz, *, per_domain: int) -> list[Row]:
    """RM-Bench: each side concise, detailed, and detailed with markdown."""
    styles = (CONCISE, DETAILED, DETAILED_MARKDOWN)
    rows: list[Row] = []
    for domain, makers in RM_BENCH_TASKS.items():
        for _ in range(per_domain):
            asked = quiz.ask(makers)
            rows.append(
                {
                    "id": len(rows),
                    "prompt": asked.prompt,
                    "chosen": [quiz.right(asked.task, style) for style in styles],
                    "rejected": [quiz.wrong(asked.task, style) for style in styles],
                    "domain": domain,
                    "subset": domain,
                }
            )
    return rows


def judge_bench_rows(quiz: Quiz, *, per_source: int) -> list[Row]:
    """JudgeBench: the 14 subjects of `mmlu-pro` and the three other sources."""
    sources: dict[str, Sequence[TaskMaker]] = {
        f"mmlu-pro-{subject}": (INFO,) for subject in MMLU_PRO_SUBJECTS
    }
    sources |= {
        "livebench-reasoning": (REASONING,),
        "livebench-math": EXACT,
        "livecodebench": (CODE,),
    }
    rows = []
    for source, makers in sources.items():
        num = per_source if source.startswith("mmlu") else 4 * per_source
        for number in range(num):
            asked = quiz.ask(makers)
            right, wrong = quiz.right(asked.task), quiz.wrong(asked.task)
            right_first = quiz.rng.random() < 0.5
            rows.append(
                {
                    "pair_id": f"{source.replace(' ', '-')}-{number:04d}",
                    "original_id": str(number),
                    "source": source,
                    "question": asked.prompt,
                    "response_model": MODELS[-1],
                    "response_A": right if right_first else wrong,
                    "response_B": wrong if right_first else right,
                    "label": "A>B" if right_first else "B>A",
                }
            )
    return rows


def _winner(rng: Random, *, right_first: bool) -> str:
    if rng.random() < TIE_SHARE:
        return "tie"
    errs = rng.random() < SUBJECTIVE_ERROR
    return "model_a" if right_first != errs else "model_b"
