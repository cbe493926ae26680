"""A campaign that is small enough to ask LLM judges about everything in some seconds."""

import reading_judge

from synpref_dagster.settings.judges import JudgeEndpoint, JudgeSettings
from synpref_dagster.settings.profile import load_profile

JOBS = ("curate_pool", "refresh_leaderboard")


def small_profile(url, **changes):
    """The smoke profile, smaller still: every judge is asked over HTTP."""
    plain = load_profile("smoke")
    endpoints = tuple(
        JudgeEndpoint(
            name=model,
            base_url=url,
            model=model,
            usd_per_million_input=1.0,
            usd_per_million_output=4.0,
            **changes,
        )
        for model in reading_judge.MODELS
    )
    world = plain.pool.world.model_copy(
        update={"num_unverified": 260, "num_wild": 160, "num_test": 40}
    )
    steps = {"num_steps": 10, "evaluate_every_steps": 10}
    return plain.model_copy(
        update={
            "pool": plain.pool.model_copy(update={"world": world}),
            "seed_set": plain.seed_set.model_copy(update={"num_gold": 70, "num_silver": 50}),
            "iterations": plain.iterations.model_copy(
                update={"max_retrieved": 40, "num_human": 15}
            ),
            "judges": JudgeSettings(
                kind="endpoints", num_samples=2, num_exemplars=4, endpoints=endpoints
            ),
            "reward_model": plain.reward_model.model_copy(update=steps),
            "evidence": plain.evidence.model_copy(update={"num_judged": 40}),
        }
    )
