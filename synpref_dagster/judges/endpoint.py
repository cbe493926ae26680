"""What models behind OpenAI-compatible endpoints do: judge, label attributes, embed texts.

A judge's answer is a verdict or a typed abstention. The two free-text attributes come from the
first judge that answered, the three enumerated ones from the majority of the panel. Vectors are
asked for many texts at a time, and kept and paid for text by text.
"""

import base64
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from logging import Logger
from typing import Any, ClassVar

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
from synpref_dagster.judges.budget import Budget
from synpref_dagster.judges.cache import Payer, ReplyCache
from synpref_dagster.judges.client import JudgeClient
from synpref_dagster.judges.errors import is_error, shown, told
from synpref_dagster.judges.forms import RequestForm
from synpref_dagster.judges.receipts import Receipts
from synpref_dagster.judges.requests import (
    CallFailure,
    CallResult,
    JudgeRefusedError,
    JudgeReply,
    JudgeRequest,
    JudgeUnavailableError,
    failure_of,
    tokens_used,
)
from synpref_dagster.pairs.attributes import PreferenceAttributes, attributes_from_row
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.settings.embedding import EndpointEmbedding
from synpref_dagster.settings.judges import JudgeEndpoint, JudgeSettings
from synpref_dagster.settings.secrets import all_redacted

ENUMERATED = ("task_category", "objectivity", "controversiality")
# What a pair gets that no judge could label: nothing about it is taken for easy.
UNKNOWN = PreferenceAttributes(
    task_category="other",
    objectivity="subjective",
    controversiality="high",
    desired_attributes="unknown",
    annotation_guideline="No judge could describe this pair: decide from the conversation alone.",
)
EMBEDDING = JudgePrompt(
    name="embedding",
    version=1,
    purpose="Vectors of texts, for retrieval.",
    system="",
    schema={"type": "object", "properties": {}},
)
"""No words of ours are sent with a text."""
PROBE = "one two three"
"""Asked about where there is no text at all, so that a vector's length is known."""


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


def endpoint_panel(
    settings: JudgeSettings,
    *,
    cache: ReplyCache,
    payer: Payer,
    receipts: Receipts | None,
    logger: Logger,
) -> list[EndpointJudge]:
    """The LLM judges of a panel, with one budget over all of them.

    Args:
        settings: who they are, and their caps.
        cache: where replies are kept and paid.
        payer: on whose account; its judge is put in.
        receipts: where it is kept what was paid; None for judges that are free.
        logger: hears how far they are.
    """
    caps = {each.name: each.max_usd for each in settings.endpoints}
    budget = Budget(
        max_usd=settings.max_usd,
        max_usd_by_judge={name: cap for name, cap in caps.items() if cap is not None},
    )
    return [
        EndpointJudge(
            JudgeClient(
                endpoint,
                cache=cache,
                budget=budget,
                payer=replace(payer, judge=endpoint.name),
                receipts=receipts,
                logger=logger,
            ),
            num_samples=samples_of(endpoint, settings),
        )
        for endpoint in settings.endpoints
    ]


def samples_of(endpoint: JudgeEndpoint, settings: JudgeSettings) -> int:
    """How often a judge is asked about a pair."""
    return endpoint.num_samples or settings.num_samples


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


class EmbeddingRequest(JudgeRequest):
    """Texts to embed at a time, one message each; a text that is asked alone has the text's key."""

    path: ClassVar[str] = "/embeddings"

    @cached_property
    def fields(self) -> dict[str, Any]:
        """What goes into the request beside model and texts."""
        return dict(self.sampling)

    def body(self, form: RequestForm) -> dict[str, Any]:
        """The request as sent to `/embeddings`; one has no other form."""
        texts = [message["content"] for message in self.messages]
        return {"model": self.model, "input": texts, **form.fields(self.fields)}

    def answer_in(self, body: Any, form: RequestForm) -> CallResult:
        """The vectors in a response, as texts of one line each."""
        if is_error(body):
            return failure_of(told(body))
        data = body.get("data") if isinstance(body, Mapping) else None
        vectors = _vectors(data) if isinstance(data, list) else None
        if vectors is None or len(vectors) != len(self.messages):
            said = f"the reply holds no vector for each text: {shown(all_redacted(body))}"
            return CallFailure(failure="server_error", detail=said)
        lines = [base64.b64encode(each.tobytes()).decode() for each in vectors]
        prompt_tokens, _ = tokens_used(body.get("usage"), needs_reply=False)
        return JudgeReply(
            text="\n".join(lines),
            finish_reason="stop",
            mode=form.mode,
            prompt_tokens=prompt_tokens,
        )

    def kept_as(self, reply: JudgeReply) -> list[tuple[JudgeRequest, JudgeReply]]:
        """Text by text; tokens and price are shared by length."""
        lines, alone = reply.text.split("\n"), self.alone()
        ends = np.cumsum([len(each.messages[0]["content"]) + 1 for each in alone])
        tokens = np.diff(np.round(ends / ends[-1] * reply.prompt_tokens).astype(int), prepend=0)
        usd = np.diff(ends / ends[-1] * reply.usd, prepend=0.0)
        parts = zip(alone, lines, tokens.tolist(), usd.tolist(), strict=True)
        return [
            (each, replace(reply, text=line, prompt_tokens=num_tokens, usd=price))
            for each, line, num_tokens, price in parts
        ]

    def alone(self) -> "list[EmbeddingRequest]":
        """The request of each text."""
        return [replace(self, messages=(message,)) for message in self.messages]


class EndpointEmbedder:
    """Texts to vectors of a model behind an endpoint."""

    def __init__(self, client: JudgeClient, settings: EndpointEmbedding) -> None:
        self.client = client
        self.settings = settings

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (len(texts), dim), rows of length 1; what is known is not asked again.

        Raises:
            JudgeError: the endpoint cannot be asked any further; what was answered is kept.
        """
        if not texts:
            return self.embed([PROBE])[:0]
        cut = [text[: self.settings.max_characters] for text in texts]
        asked = {text: self._request([text]) for text in dict.fromkeys(cut)}
        cache, keys = self.client.cache, {text: each.key for text, each in asked.items()}
        known = cache.find(list(keys.values()))
        missing = [text for text, key in keys.items() if key not in known]
        size = self.settings.batch_size
        batches = [missing[start : start + size] for start in range(0, len(missing), size)]
        answers = self.client.ask([self._request(batch) for batch in batches])
        for answer in answers:
            if isinstance(answer, CallFailure):
                raise self._failed(answer)
        known |= cache.find([keys[text] for text in missing])
        return self._matrix([known[keys[text]].text for text in cut])

    def _request(self, texts: Sequence[str]) -> EmbeddingRequest:
        dimensions = self.settings.dimensions
        return EmbeddingRequest(
            endpoint=self.settings.base_url,
            model=self.settings.model,
            messages=tuple({"role": "user", "content": text} for text in texts),
            prompt=EMBEDDING,
            sampling={"dimensions": dimensions} if dimensions else {},
            sample=0,
        )

    def _failed(self, failure: CallFailure) -> JudgeRefusedError | JudgeUnavailableError:
        where = f"the embeddings of {self.settings.model!r} at {self.settings.base_url}"
        said = f"{where}: {failure.failure} {failure.detail}".rstrip(". ")
        if failure.failure in ("rejected", "refused"):
            return JudgeRefusedError(
                f"{said}. If a text is too long, lower embedding.max_characters"
            )
        return JudgeUnavailableError(f"{said}. What was answered is kept: run again")

    def _matrix(self, lines: Sequence[str]) -> np.ndarray:
        rows = [np.frombuffer(base64.b64decode(line), dtype="<f4") for line in lines]
        lengths = {len(row) for row in rows}
        wanted = self.settings.dimensions
        if len(lengths) > 1 or (wanted and lengths != {wanted}):
            raise JudgeRefusedError(
                f"{self.settings.model!r} at {self.settings.base_url} gave vectors of "
                f"{', '.join(map(str, sorted(lengths)))} numbers"
                + (f", not {wanted}: correct embedding.dimensions" if wanted else ", not of one")
            )
        vectors = np.stack(rows).astype(np.float64)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.where(norms > 0, norms, 1.0), dtype=np.float32)


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


def _vectors(data: Sequence[Any]) -> list[np.ndarray] | None:
    """float32 (dim,) each, in the order of the texts; None where one is no vector."""
    found: dict[int, np.ndarray] = {}
    for place, each in enumerate(data):
        vector = each.get("embedding") if isinstance(each, Mapping) else None
        index = each.get("index", place) if isinstance(each, Mapping) else place
        numbers = _numbers(vector)
        if numbers is None or not isinstance(index, int) or index in found:
            return None
        found[index] = numbers
    in_order = [found[index] for index in sorted(found)]
    return in_order if sorted(found) == list(range(len(found))) else None


def _numbers(vector: Any) -> np.ndarray | None:
    if isinstance(vector, str):
        try:
            vector = np.frombuffer(base64.b64decode(vector, validate=True), dtype="<f4").tolist()
        except ValueError:
            return None
    is_one = isinstance(vector, list) and bool(vector)
    if not is_one or not all(type(each) in (int, float) and math.isfinite(each) for each in vector):
        return None
    return np.asarray(vector, dtype="<f4")
