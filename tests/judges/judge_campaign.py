"""200 pairs, two judges, three samples, against a server: run as a program, it can be killed."""

import sys
from dataclasses import replace

from synpref_dagster.curation.judging import prompts
from synpref_dagster.curation.judging.verdicts import label_with_panel
from synpref_dagster.judges import endpoint
from synpref_dagster.judges.budget import Budget
from synpref_dagster.judges.cache import Payer, ReplyCache
from synpref_dagster.judges.client import JudgeClient
from synpref_dagster.judges.endpoint import EndpointJudge
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.settings.judges import JudgeEndpoint

NUM_PAIRS = 200
NUM_SAMPLES = 3
NAMES = ("judge-a", "judge-b")
# A model with random weights never ends a text by itself: its reason is bounded by the schema.
SHORT_REASON = {"type": "string", "pattern": "^[A-Za-z ,.]{1,20}$"}
PROMPT = replace(
    prompts.PAIRWISE,
    schema={
        **prompts.PAIRWISE.schema,
        "properties": {
            **prompts.PAIRWISE.schema["properties"],
            "reason": SHORT_REASON,
        },
    },
)


def make_judges(url, cache, *, num_samples=NUM_SAMPLES):
    """The two judges on one cache, asking with the bounded schema."""
    endpoint.PAIRWISE = PROMPT
    return [
        EndpointJudge(
            JudgeClient(
                JudgeEndpoint(
                    name=name,
                    base_url=url,
                    model=name,
                    temperature=1.0,
                    max_tokens=120,
                    max_concurrency=16,
                ),
                cache=cache,
                budget=Budget(),
                payer=Payer(campaign="vllm", asset="test", judge=name),
            ),
            num_samples=num_samples,
        )
        for name in NAMES
    ]


def make_pairs(count=NUM_PAIRS):
    """Pairs that differ in their numbers."""
    return [
        PreferencePair(
            conversation=({"role": "user", "content": f"What is {number} + {number}?"},),
            chosen=f"It is {2 * number}.",
            rejected=f"It is {2 * number + 1}.",
            source="test",
            origin="human",
        )
        for number in range(count)
    ]


def run(url, path):
    """Label all pairs; returns the result and the facts of each judge."""
    cache = ReplyCache(path)
    judges = make_judges(url, cache)
    pairs = make_pairs()
    none = [()] * len(pairs)
    result = label_with_panel(pairs, judges, attributes=[{}] * len(pairs), exemplars=none, seed=1)
    facts = [judge.facts() for judge in judges]
    cache.close()
    return result, facts


if __name__ == "__main__":
    run(*sys.argv[1:])
