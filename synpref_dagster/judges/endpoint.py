"""LLM judges behind OpenAI-compatible endpoints: the `Judge` protocol and the attribute labeller.

A judge's answer is a verdict or a typed abstention. The two free-text attributes come from the
first judge that answered, the three enumerated ones from the majority of the panel.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from synpref_dagster.curation.judging.prompts import (
    ATTRIBUTES,
    PAIRWISE,
    JudgePrompt,
    Message,
    attribute_messages,
    pairwise_messages,
)
from synpref_dagster.curation.judging.replies import ParsedReply, verdict_from_reply
from synpref_dagster.curation.judging.verdicts import JudgeQuestion, Verdict
from synpref_dagster.judges.batches.ledger import BatchLedger
from synpref_dagster.judges.batches.service import all_sent
from synpref_dagster.judges.client import JudgeClient
from synpref_dagster.judges.requests import CallFailure, CallResult, JudgeReply, JudgeRequest
from synpref_dagster.pairs.attributes import PreferenceAttributes, attributes_from_row
from synpref_dagster.pairs.record import PreferencePair

ENUMERATED = ("task_category", "objectivity", "controversiality")
# What a pair gets that no judge could label: nothing about it is taken for easy.
UNKNOWN = PreferenceAttributes(
    task_category="other",
    objectivity="subjective",
    controversiality="high",
    desired_attributes="unknown",
    annotation_guideline="No judge could describe this pair: decide from the conversation alone.",
)


class EndpointJudge:
    """One LLM judge of the panel."""

    def __init__(self, client: JudgeClient, *, num_samples: int) -> None:
        self.client = client
        self.name = client.endpoint.name
        self.num_samples = num_samples
        self.readings: Counter[str] = Counter()
        """How replies were read (strict, tolerant) and why they failed."""
        self.worth_usd = 0.0
        """What the replies read so far cost when they were bought, by whichever campaign."""

    def verdicts(self, questions: Sequence[JudgeQuestion], seeds: Sequence[int]) -> list[Verdict]:
        """One verdict per question and seed, in order; failures are abstentions.

        Raises:
            JudgeError: the judge cannot be asked any further.
            ValueError: numbers of questions and seeds differ.
        """
        requests = [
            self.request(PAIRWISE, pairwise_messages(question), sample=seed)
            for question, seed in zip(questions, seeds, strict=True)
        ]
        return [verdict_from_reply(parsed) for parsed in self.read(requests)]

    def request(
        self, prompt: JudgePrompt, messages: Sequence[Message], *, sample: int
    ) -> JudgeRequest:
        """A request to this judge, as its key sees it."""
        endpoint = self.client.endpoint
        return JudgeRequest(
            endpoint=endpoint.base_url,
            model=endpoint.model,
            messages=messages,
            prompt=prompt,
            sampling={
                "temperature": endpoint.temperature,
                "max_tokens": endpoint.max_tokens,
                **endpoint.extra,
            },
            sample=sample,
            leave_out=endpoint.leave_out,
        )

    def read(self, requests: Sequence[JudgeRequest]) -> list[ParsedReply]:
        """Ask, and read every answer against the schema of its prompt."""
        answers = self.client.ask(requests)
        self.worth_usd += sum(each.usd for each in answers if isinstance(each, JudgeReply))
        parsed = [
            _parsed(answer, request) for answer, request in zip(answers, requests, strict=True)
        ]
        self.readings.update(
            each.reading if each.failure is None else each.failure for each in parsed
        )
        return parsed

    def facts(self) -> dict[str, Any]:
        """What reports show about this judge's work in one asset."""
        tally, endpoint = self.client.tally, self.client.endpoint
        batched = {}
        if endpoint.batch:
            ledger = BatchLedger(self.client.cache)
            batched = {
                "in_batches": ledger.counts(self.client.payer),
                "num_left_by_batches": tally.num_left_by_batches,
            }
        form = self.client.cache.form(endpoint.base_url, endpoint.model)
        return {
            "model": endpoint.model,
            "schema_mode": form.mode,
            **({"renamed_fields": dict(form.renamed)} if form.renamed else {}),
            "num_asked": tally.num_asked,
            "num_cached": tally.num_cached,
            **({"num_damaged": tally.num_damaged} if tally.num_damaged else {}),
            "num_calls": tally.num_calls,
            "num_retries": tally.num_retries,
            "usd": round(tally.usd, 6),
            "possible_usd": round(tally.possible_usd, 6),
            "estimated_usd": tally.estimated_usd,
            "readings": dict(self.readings),
            **batched,
        }


class EndpointAttributeLabeller:
    """Labels pairs with the five attributes by asking the panel once per judge."""

    def __init__(self, judges: Sequence[EndpointJudge]) -> None:
        self.judges = judges

    def label(
        self, pairs: Sequence[PreferencePair]
    ) -> tuple[list[PreferenceAttributes], np.ndarray]:
        """Attributes and float32 (pairs,) confidence: agreement on the least agreed attribute.

        A pair that no judge could label gets `UNKNOWN` and confidence 0.
        """
        messages = [attribute_messages(p.conversation, (p.chosen, p.rejected)) for p in pairs]
        labelled = [
            _majority([reply.fields for reply in replies if reply.fields is not None])
            for replies in ask_each(self.judges, ATTRIBUTES, messages)
        ]
        confidence = np.array([share for _, share in labelled], dtype=np.float32)
        return [attributes for attributes, _ in labelled], confidence


def ask_each(
    judges: Sequence[EndpointJudge], prompt: JudgePrompt, messages: Sequence[list[Message]]
) -> list[tuple[ParsedReply, ...]]:
    """What the judges answer to each question, asked once per judge; replies in order of judges.

    Raises:
        JudgeError: a judge cannot be asked any further.
    """
    by_judge = all_sent(partial(_asked, judge, prompt, messages) for judge in judges)
    return list(zip(*by_judge, strict=True))


def _asked(
    judge: EndpointJudge, prompt: JudgePrompt, messages: Sequence[list[Message]]
) -> list[ParsedReply]:
    return judge.read([judge.request(prompt, each, sample=0) for each in messages])


def _parsed(answer: CallResult, request: JudgeRequest) -> ParsedReply:
    if isinstance(answer, CallFailure):
        return ParsedReply(failure=answer.failure)
    return answer.parsed(request)


def _majority(replies: Sequence[Mapping[str, Any]]) -> tuple[PreferenceAttributes, float]:
    if not replies:
        return UNKNOWN, 0.0
    row = {name: str(value) for name, value in replies[0].items()}
    shares = []
    for name in ENUMERATED:
        # The first judge breaks ties: most_common keeps the order of first appearance.
        value, count = Counter(str(reply[name]) for reply in replies).most_common(1)[0]
        row[name] = value
        shares.append(count / len(replies))
    return attributes_from_row(row), min(shares)
