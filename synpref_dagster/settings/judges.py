"""The judges' part of a profile: embedded exemplar judges, or LLMs behind endpoints."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from synpref_dagster.settings.addresses import Called, LocalPath, Table, Variable, WebAddress
from synpref_dagster.settings.names import checked_name
from synpref_dagster.settings.section import MOST, SET, Needs, Section

OURS = {"model", "messages", "stream", "n"}
"""Fields of a request that a profile cannot set: replies would be others, or paid for in vain."""
TOKEN_LIMITS = {"max_tokens", "max_completion_tokens", "max_output_tokens"}
PANEL = "panel"
"""How tables and reports call all judges together."""
DEFAULT_STORE = ".synpref"
MOST_SHOWN = 8  # `curation.retrieval.nearest.MAX_EXEMPLARS`, which a test compares


def _own_name(name: str) -> str:
    if name.lower() == PANEL:
        raise ValueError(f"judge name {name!r}: reports call all judges together so, take another")
    return name


class JudgeEndpoint(Section):
    """One judge of the panel: a model behind an OpenAI-compatible endpoint."""

    obeyed_where: ClassVar[Mapping[str, Needs]] = {
        "batch_price_share": {"batch": (True,)},
        "max_batches": {"batch": (True,)},
    }

    name: Annotated[str, AfterValidator(partial(checked_name, "judge")), AfterValidator(_own_name)]
    """Name in verdicts, votes and reports."""
    base_url: WebAddress
    """Address of the server, up to `/v1`."""
    model: Called
    """Name of the model, as the server calls it."""
    api_key_env: Variable | None = None
    """Environment variable that holds the key; the key itself never enters a profile."""
    usd_per_million_input: float = Field(default=0.0, ge=0, le=1_000_000)
    """Price of a million tokens of input, in dollars."""
    usd_per_million_output: float = Field(default=0.0, ge=0, le=1_000_000)
    """Price of a million tokens of output, in dollars."""
    batch: bool = False
    """Send batches instead of single calls; a sensor collects them and starts the run again."""
    batch_price_share: float = Field(default=0.5, ge=0, le=1)
    """What a token costs in a batch, as a share of the price above."""
    max_batches: int = Field(default=2, ge=1, le=100)
    """Batches that may end without a reply before its request is asked alone, at the full price."""
    max_usd: float | None = Field(default=None, ge=0, le=MOST)
    """Cap of this judge in one campaign; None leaves only the panel's cap."""
    num_samples: int | None = Field(default=None, ge=2, le=1000)
    """Self-consistency samples per pair, half of them in each order; None takes the panel's."""
    temperature: float = Field(default=0.7, ge=0, le=10)
    """Of the samples; 0 gives one answer again and again."""
    max_tokens: int = Field(default=700, ge=1, le=10_000_000)
    """Most tokens of a reply."""
    extra: Table = Field(default_factory=dict)
    """Further fields of the request, for instance `reasoning_effort`."""
    leave_out: tuple[Literal["seed", "temperature", "max_tokens", "response_format"], ...] = ()
    """Fields of the request that are not sent; what an endpoint refuses is left out by itself."""
    max_concurrency: int = Field(default=16, ge=1, le=10_000)
    """Requests under way at a time."""
    max_attempts: int = Field(default=6, ge=1, le=100)
    """How often a request is tried."""
    timeout_seconds: float = Field(default=120.0, gt=0, le=86_400)
    """After so many seconds without an answer a request is tried again."""

    @model_validator(mode="after")
    def _fields_of_the_request_agree(self) -> "JudgeEndpoint":
        if ours := sorted(OURS & set(self.extra)):
            raise ValueError(f"extra: {', '.join(ours)} cannot be set, the request needs its own")
        for name in TOKEN_LIMITS & set(self.extra):
            if type(self.extra[name]) is not int or self.extra[name] < 1:
                raise ValueError(f"extra: {name} has to be a whole number of tokens, 1 or more")
        # Not `model_fields_set`: a profile that was dumped and read again has set them all.
        twice = [name for name in self.leave_out if name in self.extra or self._is_changed(name)]
        if twice:
            raise ValueError(f"{', '.join(twice)} is set and left out: do one of them")
        is_priced = self.usd_per_million_input > 0 or self.usd_per_million_output > 0
        if "max_tokens" in self.leave_out and is_priced and not TOKEN_LIMITS & set(self.extra):
            raise ValueError(
                "max_tokens is left out, so that a reply may cost anything: set "
                "max_completion_tokens in extra"
            )
        return self

    def _is_changed(self, name: str) -> bool:
        return name in type(self).model_fields and self._is_set(name)


class JudgeSettings(Section):
    """The panel: `endpoints` are LLMs; the others learn from the exemplars shown and are free.

    `exemplar` compares words, `features` fits heads on what a frozen backbone says of the texts.
    LLMs may stand beside `kind = "exemplar"`, so that one line goes over to them and back; the
    batches and bills of a campaign that went back are found by them. Then `kind` must be said.
    """

    obeyed_where: ClassVar[Mapping[str, Needs]] = {
        "max_usd": {"endpoints": SET},
        "cache": {"endpoints": SET},
        "num_screened": {"panel": ("weighted",), "min_gold_agreement": SET},
    }

    kind: Literal["exemplar", "features", "endpoints"] = "exemplar"
    """Who judges."""
    num_samples: int = Field(default=5, ge=2, le=1000)
    """Self-consistency samples per pair and judge, half of them in each order (Sec. 3.2)."""
    num_exemplars: int = Field(default=8, ge=0, le=1000)
    """Gold pairs shown per question: at most 8, but for `features`, which want a hundred."""
    endpoints: tuple[JudgeEndpoint, ...] = ()
    """The judges of kind `endpoints`; an odd number avoids tied votes."""
    panel: Literal["majority", "weighted"] = "majority"
    """One vote per judge, or each vote counted by what the judge's word proved worth on gold."""
    max_usd: float | None = Field(default=None, ge=0, le=MOST)
    """Hard cap of the campaign over all judges; None allows anything."""
    cache: LocalPath | None = None
    """File of the reply cache; None keeps it below SYNPREF_STORE, shared by all campaigns there."""
    min_gold_agreement: float | None = Field(default=None, ge=0, le=1)
    """A judge that agrees less with people on gold pairs is left out; None leaves nobody out."""
    num_screened: int = Field(default=60, ge=1, le=MOST)
    """Gold pairs that every judge is asked about when there is a floor, or when votes weigh."""

    @model_validator(mode="after")
    def _judges_have_names(self) -> "JudgeSettings":
        names = [endpoint.name for endpoint in self.endpoints]
        if len(set(names)) < len(names):
            raise ValueError(f"judges need different names, got {', '.join(names)}")
        if self.kind == "endpoints" and not names:
            raise ValueError("judges.kind is 'endpoints': name one or more [[judges.endpoints]]")
        if self.kind != "features" and self.num_exemplars > MOST_SHOWN:
            raise ValueError(
                f"num_exemplars is {self.num_exemplars}, and {self.kind!r} judges are shown "
                f"{MOST_SHOWN} at most (paper Sec. 3.2): lower it, or set kind to 'features'"
            )
        if names and "kind" not in self.model_fields_set:
            raise ValueError(
                "endpoints are named, but kind is not: write kind = 'endpoints' to ask them, or "
                "kind = 'exemplar' to keep them for later"
            )
        return self

    @property
    def cost_money(self) -> bool:
        """Whether asking these judges is charged for."""
        return self.kind == "endpoints" and any(
            each.usd_per_million_input > 0 or each.usd_per_million_output > 0
            for each in self.endpoints
        )

    def cache_path(self) -> Path:
        """Where replies are kept: `cache`, else beside the campaigns of a local store."""
        if self.cache:
            return Path(self.cache)
        base = (os.environ.get("SYNPREF_STORE") or DEFAULT_STORE).rstrip("/")
        return Path(DEFAULT_STORE if "://" in base else base, "judge_replies.sqlite")
