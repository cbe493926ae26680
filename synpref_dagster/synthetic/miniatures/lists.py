"""Rows of the mini benchmarks with more than two responses, in their published raw layouts.

RewardBench 2, PPE Correctness and RMB: keys, nesting, ids and subset names are the originals'; the
content comes from the synthetic world.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from synpref_dagster.synthetic.draws import MAKERS
from synpref_dagster.synthetic.miniatures.pairwise import (
    ADVICE,
    CHAT,
    CODE,
    EXACT,
    HARMFUL,
    INFO,
    INSTRUCTIONS,
    MATH,
    MODELS,
    REASONING,
    Row,
)
from synpref_dagster.synthetic.miniatures.quiz import Quiz
from synpref_dagster.synthetic.phrasing import FOLLOW_UPS, PAUSES, AskedPrompt
from synpref_dagster.synthetic.tasks import TaskMaker

REWARD_BENCH_2_TASKS: Mapping[str, Sequence[TaskMaker]] = {
    "Factuality": (INFO,),
    "Precise IF": INSTRUCTIONS,
    "Math": EXACT,
    "Safety": HARMFUL,
    "Focus": CHAT,
}
NUM_REJECTED = 3
NUM_TIED = 4
PPE_TASKS: Mapping[str, Sequence[TaskMaker]] = {
    "mmlu_pro": (INFO,),
    "math": (MATH,),
    "gpqa": (REASONING, INFO),
    "ifeval": INSTRUCTIONS,
    "mbpp_plus": (CODE,),
}
NUM_SAMPLES = 32
NUM_CONFLICT_PAIRS = 5
RMB_HELPFUL: Mapping[str, tuple[Sequence[TaskMaker], tuple[str, ...]]] = {
    "Brainstorming": ((MAKERS["brainstorming"],), ("party", "gifts", "names")),
    "Chat": (CHAT, ("small_talk", "opinions", "support")),
    "Classification": (EXACT, ("topics", "sentiment", "ranking")),
    "Closed QA": ((INFO,), ("reading", "lookup", "records")),
    "Code": ((CODE,), ("generation", "debugging", "review", "translation")),
    "Generation": (INSTRUCTIONS, ("poems", "mails", "stories")),
    "Open QA": ((INFO, ADVICE), ("geography", "nature", "daily_life")),
    "Reasoning": ((REASONING, MATH), ("logic", "arithmetic", "order")),
    "Rewrite": ((MAKERS["editing"],), ("spelling", "tone", "grammar")),
    "Role Playing": ((MAKERS["role_playing"],), ("fiction", "history", "games")),
    "Summarization": ((MAKERS["data_analysis"],), ("tables", "news", "meetings")),
    "Translation": ((INFO,), ("phrases", "documents", "names")),
}
RMB_HARMLESS = (*(f"S{number}" for number in range(1, 12)), "multi")
NUM_LOSERS = 3
MULTI_TURN_EVERY = 4


def reward_bench_2_rows(quiz: Quiz, *, per_subset: int) -> list[Row]:
    """RewardBench 2: best of four in five subsets, and Ties with `ref:` and `tied:` ids."""
    rows = []
    for subset, makers in REWARD_BENCH_2_TASKS.items():
        for number in range(per_subset):
            asked = quiz.ask(makers)
            chosen = [quiz.right(asked.task)]
            rows.append(_rb2_row(quiz, asked, chosen, identity=str(number), subset=subset))
    for number in range(per_subset):
        for kind, num_right in (("ref", 1), ("tied", NUM_TIED)):
            asked = quiz.ask((ADVICE, INFO))
            chosen = quiz.several_right(asked.task, num_right)
            rows.append(_rb2_row(quiz, asked, chosen, identity=f"{kind}:{number}", subset="Ties"))
    return rows


def ppe_correctness_rows(quiz: Quiz, *, per_set: int) -> dict[str, list[Row]]:
    """PPE Correctness: 32 scored responses per prompt and the sampled conflict pairs, by set."""
    return {
        name: [_ppe_row(quiz, makers, f"{name}-{number:04d}") for number in range(per_set)]
        for name, makers in PPE_TASKS.items()
    }


def rmb_files(quiz: Quiz, *, per_scenario: int) -> dict[str, list[Row]]:
    """RMB: rows by path below `RMB_dataset`: 37 + 12 scenarios, each under two protocols."""
    scenarios: dict[str, Sequence[TaskMaker]] = {
        f"Helpfulness/{category}/{name}": makers
        for category, (makers, names) in RMB_HELPFUL.items()
        for name in names
    }
    scenarios |= {f"Harmlessness/{name}": HARMFUL for name in RMB_HARMLESS}
    files = {}
    for path, makers in scenarios.items():
        for protocol, num in (("Pairwise_set", per_scenario), ("BoN_set", 1)):
            files[f"{protocol}/{path}.json"] = [
                _rmb_row(quiz, makers, path=path, uid=f"{protocol}/{path}/{number}")
                for number in range(num)
            ]
    return files


def _rb2_row(
    quiz: Quiz, asked: AskedPrompt, chosen: list[str], *, identity: str, subset: str
) -> Row:
    rejected = quiz.several_wrong(asked.task, NUM_REJECTED)
    return {
        "id": identity,
        "prompt": asked.prompt,
        "chosen": chosen,
        "rejected": rejected,
        "num_correct": len(chosen),
        "num_incorrect": len(rejected),
        "total_completions": len(chosen) + len(rejected),
        "models": [quiz.rng.choice(MODELS) for _ in (*chosen, *rejected)],
        "subset": subset,
        "additional_metadata": {},
    }


def _ppe_row(quiz: Quiz, makers: Sequence[TaskMaker], question_id: str) -> Row:
    asked = quiz.ask(makers)
    num_right = quiz.rng.randint(NUM_SAMPLES // 4, 3 * NUM_SAMPLES // 4)
    scores = [index < num_right for index in range(NUM_SAMPLES)]
    quiz.rng.shuffle(scores)
    responses = [quiz.right(asked.task) if score else quiz.wrong(asked.task) for score in scores]
    right = [index for index, score in enumerate(scores) if score]
    wrong = [index for index, score in enumerate(scores) if not score]
    pairs = [
        quiz.rng.sample([quiz.rng.choice(right), quiz.rng.choice(wrong)], 2)
        for _ in range(NUM_CONFLICT_PAIRS)
    ]
    row: dict[str, Any] = {
        "question_id": question_id,
        "model_name": quiz.rng.choice(MODELS),
        "prompt": asked.prompt,
        "scores": scores,
        "sampled_conflict_pairs": pairs,
        "category": asked.task.category,
    }
    return row | {f"response_{number}": text for number, text in enumerate(responses, start=1)}


def _rmb_row(quiz: Quiz, makers: Sequence[TaskMaker], *, path: str, uid: str) -> Row:
    asked = quiz.ask(makers)
    turns = [("user", asked.prompt)]
    if len(quiz.asked) % MULTI_TURN_EVERY == 0:
        turns += [
            ("assistant", quiz.rng.choice(PAUSES)),
            ("user", quiz.rng.choice(FOLLOW_UPS)),
        ]
    shared = {
        "conversation_input": [
            {"role": role, "content": content, "language": "English"} for role, content in turns
        ],
        "category_path": path,
    }
    best = {"llm_name": quiz.rng.choice(MODELS), "answer": quiz.right(asked.task)}
    num_losers = NUM_LOSERS if uid.startswith("BoN_set") else 1
    losers = [
        {"llm_name": quiz.rng.choice(MODELS), "answer": answer}
        for answer in quiz.several_wrong(asked.task, num_losers)
    ]
    if uid.startswith("BoN_set"):
        return {"bon_uid": uid, **shared, "bon_best": best, "loser_list": losers}
    return {"pair_uid": uid, **shared, "chosen": best, "reject": losers[0]}
