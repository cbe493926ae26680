"""`[embedding]`: what the vectors of pairs are made with, on which both retrievals rest.

A union: `kind` decides which settings there are, and a setting that the kind does not obey is
refused. `tfidf` looks at the words of a prompt; the others know what a text means, and a campaign
with one of them also reports pairs that say nearly the same in other words.
"""

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field

from synpref_dagster.settings.addresses import Called, Revision, Variable, WebAddress
from synpref_dagster.settings.judges import JudgeEndpoint
from synpref_dagster.settings.models import Place, member_fields_only
from synpref_dagster.settings.section import MOST, Section

BILLED = "embedding"
"""As what an embedding endpoint stands on the bill of judges."""


class TfidfEmbedding(Section):
    """Words and word pairs of the prompt, reduced by an SVD: nothing to set."""

    kind: Literal["tfidf"] = "tfidf"
    min_cosine: ClassVar[float] = 0.0


class _SemanticEmbedding(Section):
    min_cosine: float = Field(default=0.95, ge=0, le=1)
    """Cosine from which on two pairs are reported as saying nearly the same; 0: no report."""


class BackboneEmbedding(_SemanticEmbedding):
    """What the frozen backbone says of the responses, in the mean over their tokens."""

    kind: Literal["backbone"]
    model_size: Called | None = None
    """The backbone, where the stages' models are not heads on a frozen one."""


class SentenceEmbedding(_SemanticEmbedding):
    """A sentence encoder, read with plain transformers."""

    kind: Literal["sentence_transformers"]
    path: Place
    """Local folder or hub id."""
    revision: Revision | None = None
    """Commit, tag or branch on the hub."""


class EndpointEmbedding(_SemanticEmbedding):
    """A model behind `/v1/embeddings` of an OpenAI-compatible server."""

    kind: Literal["endpoint"]
    base_url: WebAddress
    """Address of the server, up to `/v1`."""
    model: Called
    """Name of the model, as the server calls it."""
    api_key_env: Variable | None = None
    """Environment variable that holds the key; the key itself never enters a profile."""
    dimensions: int | None = Field(default=None, ge=1, le=1_000_000)
    """Length of a vector, where the model lets one choose; None takes what comes."""
    batch_size: int = Field(default=64, ge=1, le=100_000)
    """Texts per request."""
    max_characters: int = Field(default=20_000, ge=1, le=MOST)
    """Longer texts lose their end; most models take some 8,000 tokens."""
    usd_per_million_input: float = Field(default=0.0, ge=0, le=1_000_000)
    """Price of a million tokens of input, in dollars."""
    max_usd: float | None = Field(default=None, ge=0, le=MOST)
    """Cap of the embeddings in one campaign; they count against `judges.max_usd` as well."""
    max_concurrency: int = Field(default=8, ge=1, le=10_000)
    """Requests under way at a time."""
    max_attempts: int = Field(default=6, ge=1, le=100)
    """How often a request is tried."""
    timeout_seconds: float = Field(default=120.0, gt=0, le=86_400)
    """After so many seconds without an answer a request is tried again."""

    def as_judge(self) -> JudgeEndpoint:
        """The endpoint as calls, cache and budget know one."""
        shared = set(JudgeEndpoint.model_fields) & set(type(self).model_fields)
        return JudgeEndpoint(name=BILLED, **self.model_dump(include=shared))


_KINDS = (TfidfEmbedding, BackboneEmbedding, SentenceEmbedding, EndpointEmbedding)
EmbeddingSettings = Annotated[
    TfidfEmbedding | BackboneEmbedding | SentenceEmbedding | EndpointEmbedding,
    Field(discriminator="kind"),
    BeforeValidator(member_fields_only("kind", _KINDS)),
]
KINDS = tuple(str(get_args(each.model_fields["kind"].annotation)[0]) for each in _KINDS)
