"""A judge that is paid for, in processes that can be killed: one host forks them all.

Run as a program it reads a line of JSON per worker (URL, cache, cap) and forks one that asks until
the cap stops it. Imports are done once, so that a worker starts at once.
"""

import json
import os
import signal
import sys

from synpref_dagster.curation.judging.verdicts import JudgeQuestion
from synpref_dagster.judges.budget import Budget
from synpref_dagster.judges.cache import Payer, ReplyCache
from synpref_dagster.judges.calls import RetryPolicy
from synpref_dagster.judges.client import JudgeClient
from synpref_dagster.judges.endpoint import EndpointJudge
from synpref_dagster.judges.requests import JudgeError
from synpref_dagster.settings.judges import JudgeEndpoint

INPUT, OUTPUT, MOST_TOKENS = 10.0, 100.0, 10
"""US dollars per million tokens, and tokens of a reply."""
PAYER = Payer(campaign="test", asset="seed", judge="judge")
TIMEOUT = 0.1  # seconds


async def no_wait(_):
    pass


def make_judge(url, cache, *, cap=None, price=1.0, **changes):
    settings = {"name": "judge", "base_url": url, "model": "m", "max_attempts": 1, **changes}
    prices = {"usd_per_million_input": INPUT * price, "usd_per_million_output": OUTPUT * price}
    client = JudgeClient(
        JudgeEndpoint(**settings, **prices, max_tokens=MOST_TOKENS),
        cache=cache,
        budget=Budget(max_usd=cap),
        payer=PAYER,
        policy=RetryPolicy(sleep=no_wait),
    )
    return EndpointJudge(client, num_samples=2)


def questions(count, start=0):
    turns = ({"role": "user", "content": "What is 2 + 2?"},)
    return [
        JudgeQuestion(conversation=turns, candidate_1=f"four {number}", candidate_2="five")
        for number in range(start, start + count)
    ]


def asked(judge, count=1):
    try:
        return judge.verdicts(questions(count), range(count))
    except JudgeError as error:
        return error


def ask_until_stopped(url, path, cap):
    """What stopped a worker of its own."""
    judge = make_judge(url, ReplyCache(path), timeout_seconds=TIMEOUT, max_attempts=3, cap=cap)
    return type(asked(judge, 300)).__name__


def host():
    """Fork a worker per line; each tells its process, and later what stopped it."""
    import openai  # noqa: F401 - once, and not in every worker

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        child = os.fork()
        said = "started" if child else ask_until_stopped(*json.loads(line))
        os.write(1, f"{child or os.getpid()} {said}\n".encode())
        if not child:
            os._exit(0)


if __name__ == "__main__":
    host()
