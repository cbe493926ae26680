"""The panel of judges as a resource: embedded judges, or LLMs behind `endpoints`.

Embedded judges, on words (`exemplar`) or on the features of a frozen backbone (`features`), learn
only from the exemplars shown and cost nothing. Endpoint judges share one
reply cache and one budget per campaign; what they cost is kept by judge and asset.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import dagster as dg

from synpref_dagster.curation.judging.labelling import Panel
from synpref_dagster.curation.judging.prompts import (
    ATTRIBUTES,
    PAIRWISE,
    JudgePrompt,
)
from synpref_dagster.curation.judging.replies import REPLIES_VERSION
from synpref_dagster.curation.judging.verdicts import Judge
from synpref_dagster.curation.judging.weighing import WeighingRule
from synpref_dagster.judges.batches.ledger import BatchLedger
from synpref_dagster.judges.batches.service import all_sent, batch_service
from synpref_dagster.judges.budget import Budget
from synpref_dagster.judges.cache import Payer, ReplyCache
from synpref_dagster.judges.client import JudgeClient
from synpref_dagster.judges.embedded.exemplar_judge import (
    EMBEDDED_PANEL,
    ExemplarJudge,
    build_panel,
)
from synpref_dagster.judges.embedded.feature_judge import (
    SCALE_FILE,
    VERSION as FEATURES_VERSION,
    FeatureJudge,
    FeatureViews,
    build_feature_panel,
)
from synpref_dagster.judges.embedded.views import DESCRIPTION, kept_views
from synpref_dagster.judges.endpoint import (
    EndpointAttributeLabeller,
    EndpointEmbedder,
    EndpointJudge,
    endpoint_panel,
    samples_of,
)
from synpref_dagster.judges.forecast import EMBEDDING_ASSET, fits, forecast
from synpref_dagster.judges.questions import mean_tokens
from synpref_dagster.judges.receipts import Receipts
from synpref_dagster.judges.requests import JudgeUnavailableError
from synpref_dagster.judges.reservations import Reservations
from synpref_dagster.pairs.texts import pool_texts
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.models import RewardModels
from synpref_dagster.settings.embedding import BILLED, EndpointEmbedding
from synpref_dagster.settings.judges import JudgeEndpoint, JudgeSettings
from synpref_dagster.storage import DatasetRef, hash_json, iter_tables, lowest_ids
from synpref_dagster.storage.damage import made_whole
from synpref_dagster.storage.sqlite_files import refuse_damaged

if TYPE_CHECKING:
    from synpref_dagster.reward.frozen.reading import FeatureReader

# Dagster keeps what is said here with the step that asks; outside of a run it is a plain logger.
logger = dg.get_dagster_logger(__name__)
# What decides a reply; everything else about an endpoint only decides how fast or dear it comes.
ENDPOINT_IDENTITY = {"name", "base_url", "model", "temperature", "max_tokens", "extra"}
MAX_FITTED = 20_000
"""Pairs whose texts the views of exemplar judges are fitted on, at most: weights of words are
settled by then, and the vocabulary still fits into memory."""
MAX_SCALED = 4_000
"""Pairs whose features say what is much and what is little, at most."""
CACHE_REMEDY = "Put a copy of it back, or move it away: then all replies are bought again"
PART = ":"  # between an asset and its part, in accounts
LOST_CACHE = (
    "the reply cache %s does not know of $%.4f that campaign %s has spent: it was emptied, or is "
    "another file. They count against the cap as possible cost: put the old file back, or say with "
    "`synpref judges forgive` that they may be spent again"
)
WAITING_FOR = "waiting_for"  # metadata of a failure that is none: somebody else is at work


class WaitingForBatches(dg.Failure):
    """The step ends without a result: its replies are made in batches, and no worker waits."""

    def __init__(self, description: str) -> None:
        super().__init__(description, metadata={WAITING_FOR: "judge batches"}, allow_retries=False)


class JudgePanel(dg.ConfigurableResource):
    """Builds the panel named in the profile."""

    campaign: Campaign

    @property
    def settings(self) -> JudgeSettings:
        """The judges' part of the profile."""
        return self.campaign.profile.judges

    @property
    def uses_endpoints(self) -> bool:
        """Whether the judges are LLMs that cost something."""
        return self.settings.kind == "endpoints"

    @cached_property
    def cache(self) -> ReplyCache:
        """The reply cache, shared by all assets and campaigns of a store."""
        path = self.settings.cache_path()
        refuse_damaged(path, what="the judges' reply cache", remedy=CACHE_REMEDY)
        cache = ReplyCache(path)
        if self.settings.cost_money or self._pays_for_vectors:
            lost = self._receipts(cache).carry_over()
            if lost > 0:
                logger.warning(LOST_CACHE, cache.path, lost, self.account)
        return cache

    @cached_property
    def receipts(self) -> Receipts:
        """What the campaign paid, kept apart from the cache."""
        return self._receipts(self.cache)

    def _receipts(self, cache: ReplyCache) -> Receipts:
        return Receipts(self.campaign.store_root, cache, campaign=self.account)

    @cached_property
    def batches(self) -> BatchLedger:
        """The batches of all assets and campaigns, beside the replies."""
        return BatchLedger(self.cache)

    @property
    def account(self) -> str:
        """The campaign on whose account replies are written."""
        return self.campaign.profile.campaign_name()

    def params(self) -> dict[str, Any]:
        """What the panel's labels depend on besides pairs, exemplars and the pool's texts."""
        settings = self.settings
        params: dict[str, Any] = {
            "kind": settings.kind,
            "num_samples": settings.num_samples,
            "num_exemplars": settings.num_exemplars,
            "seed": self.campaign.seed,
        }
        if settings.min_gold_agreement is not None:
            params["floor"] = [settings.min_gold_agreement, settings.num_screened]
        if settings.panel != "majority":
            params["panel"] = [settings.panel, settings.num_screened]
        if settings.kind == "features":
            params["features"] = [FEATURES_VERSION, asdict(self._reader().reading)]
        if self.uses_endpoints:
            params["judges"] = [
                {**_identity(endpoint), "num_samples": self._samples(endpoint)}
                for endpoint in settings.endpoints
            ]
            params["prompt"] = PAIRWISE.fingerprint
            params["replies"] = REPLIES_VERSION
        return params

    def weighing_rule(self) -> WeighingRule:
        """How judges are weighed on gold."""
        settings = self.settings
        return WeighingRule(
            floor=settings.min_gold_agreement,
            voting=settings.panel,
            num_pairs=settings.num_screened,
        )

    def panel(self, pool: DatasetRef, *, asset: str) -> Panel:
        """The panel that works for an asset.

        Args:
            pool: its texts fit the views of exemplar judges (never its labels).
            asset: on whose account LLM judges are asked.
        """
        judges: Sequence[Judge]
        if self.uses_endpoints:
            judges = self.endpoint_judges(asset)
        else:
            is_features = self.settings.kind == "features"
            judges = self._on_features(pool) if is_features else self._embedded(pool)
        return Panel(
            judges=judges,
            num_exemplars=self.settings.num_exemplars,
            seed=self.campaign.seed,
            ask_all=all_sent,
        )

    def endpoint_judges(self, asset: str) -> list[EndpointJudge]:
        """The LLM judges, with one budget over all of them."""
        return endpoint_panel(
            self.settings,
            cache=self.cache,
            payer=Payer(campaign=self.account, asset=asset, judge=""),
            receipts=self.receipts if self.settings.cost_money else None,
            logger=logger,
        )

    def embedder(self, endpoint: EndpointEmbedding) -> EndpointEmbedder:
        """A model behind an endpoint as an embedder, on this campaign's cache and bill."""
        caps = {} if endpoint.max_usd is None else {BILLED: endpoint.max_usd}
        client = JudgeClient(
            endpoint.as_judge(),
            cache=self.cache,
            budget=Budget(max_usd=self.settings.max_usd, max_usd_by_judge=caps),
            payer=Payer(campaign=self.account, asset=EMBEDDING_ASSET, judge=BILLED),
            receipts=self.receipts if self._pays_for_vectors else None,
            logger=logger,
        )
        return EndpointEmbedder(client, endpoint)

    def usd_for_vectors(self) -> float:
        """What the campaign paid for embeddings so far, in US dollars."""
        return self.cache.usd_by_judge(self.account).get(BILLED, 0.0)

    @property
    def _pays_for_vectors(self) -> bool:
        embedding = self.campaign.profile.embedding
        return isinstance(embedding, EndpointEmbedding) and embedding.usd_per_million_input > 0

    def attribute_labeller(self, asset: str) -> EndpointAttributeLabeller:
        """The LLM judges as labellers of attributes."""
        return EndpointAttributeLabeller(self.endpoint_judges(asset))

    @property
    def sends_batches(self) -> bool:
        """Whether some judge answers in batches, and a step may have to end without replies."""
        return self.uses_endpoints and any(each.batch for each in self.settings.endpoints)

    def attribute_params(self) -> dict[str, Any]:
        """What attribute labels by LLM judges depend on besides the pairs."""
        return {"labeller": "judges", **self.identity(ATTRIBUTES)}

    def identity(self, prompt: JudgePrompt) -> dict[str, Any]:
        """What single replies to a prompt depend on besides the texts."""
        return {
            "judges": [_identity(endpoint) for endpoint in self.settings.endpoints],
            "prompt": prompt.fingerprint,
            "replies": REPLIES_VERSION,
        }

    def usd(self, asset: str) -> dict[str, float]:
        """What each LLM judge cost for an asset so far, in US dollars; empty for free judges."""
        if not self.uses_endpoints:
            return {}
        spent = self.cache.spent(self.account).query("asset == @asset")
        return {endpoint.name: 0.0 for endpoint in self.settings.endpoints} | dict(
            zip(spent["judge"], spent["usd"], strict=True)
        )

    def possible_usd(self, asset: str) -> dict[str, float]:
        """The most that calls without an answer may have cost on top, by LLM judge."""
        if not self.uses_endpoints:
            return {}
        unknown = Reservations(self.cache).possible(self.account).query("asset == @asset")
        return dict(zip(unknown["judge"], unknown["usd"], strict=True))

    def say_estimate(self, pool: DatasetRef) -> None:
        """Log what the campaign may still cost, before it asks; nothing for judges that are free.

        Args:
            pool: the unverified pool, whose texts are measured.
        """
        if not self.settings.cost_money:
            return
        texts = iter_tables(self.campaign.texts(pool), ["conversation", "chosen", "rejected"])
        found = forecast(
            self.campaign.profile,
            {"unverified_pool": pool.num_rows},
            self.cache,
            tokens_per_pair=mean_tokens(texts),
        )
        spent = sum(Reservations(self.cache).committed(self.account).values())
        logger.info("judges: %s", fits(found, cap=self.settings.max_usd, spent=spent))

    def collect_batches(self) -> "AnsweredBatches":
        """Collect the batches of all judges that ended; a service that is down holds up no other.

        What ended stays to be continued until a run has made use of it, so that nothing is lost
        when the sensor dies between collecting and continuing.
        """
        ledger = self.batches
        unreachable: list[str] = []
        for endpoint in self.settings.endpoints:
            if endpoint.batch and endpoint.name in set(ledger.pending()["judge"]):
                try:
                    batch_service(endpoint, self.cache, logger=logger).collect_finished()
                except JudgeUnavailableError as error:
                    unreachable.append(str(error))
                self.receipts.keep(at_once=True)
        pending = ledger.pending().query("campaign == @self.account")
        waiting = set(pending["asset"].map(asset_of))
        ended = ledger.unused(self.account)
        batches: dict[str, list[str]] = {}
        for batch, account in zip(ended["batch"], ended["asset"], strict=True):
            if asset_of(account) not in waiting:
                batches.setdefault(asset_of(account), []).append(batch)
        return AnsweredBatches(
            batches=batches, num_pending=len(pending), unreachable=tuple(unreachable)
        )

    def _samples(self, endpoint: JudgeEndpoint) -> int:
        return samples_of(endpoint, self.settings)

    def _embedded(self, pool: DatasetRef) -> tuple[ExemplarJudge, ...]:
        def texts() -> list[str]:
            return pool_texts(self.campaign.pairs(pool, lowest_ids(pool, MAX_FITTED)))

        def fit() -> None:
            (folder / DESCRIPTION).unlink(missing_ok=True)
            kept_views(folder, texts)

        fitted_on = hash_json([pool.fingerprint, MAX_FITTED])
        folder = self.campaign.local_folder("models", "judge_views", fitted_on[:16])
        made_whole(folder, is_made=(folder / DESCRIPTION).exists(), make=fit)
        views = kept_views(folder, texts)
        num_samples = self.settings.num_samples
        return build_panel(
            views, profiles=[replace(each, num_samples=num_samples) for each in EMBEDDED_PANEL]
        )

    def _on_features(self, pool: DatasetRef) -> tuple[FeatureJudge, ...]:
        reader = self._reader()

        def fit() -> None:
            pairs = self.campaign.pairs(pool, lowest_ids(pool, MAX_SCALED))
            responses = [text for pair in pairs for text in (pair.chosen, pair.rejected)]
            asked = [pair.conversation for pair in pairs for _ in range(2)]
            FeatureViews.fit(reader, asked, responses).save(folder)

        fitted_on = hash_json([pool.fingerprint, MAX_SCALED, asdict(reader.reading)])
        folder = self.campaign.local_folder("models", "judge_features", fitted_on[:16])
        made_whole(folder, is_made=(folder / SCALE_FILE).exists(), make=fit)
        views = FeatureViews.load(reader, folder)
        return build_feature_panel(views, num_samples=self.settings.num_samples)

    def _reader(self) -> "FeatureReader":
        return RewardModels(campaign=self.campaign).stages_reader()


@dataclass(frozen=True, kw_only=True, slots=True)
class AnsweredBatches:
    """What collecting brought."""

    batches: Mapping[str, Sequence[str]]
    """Asset that nothing under way keeps waiting any longer -> its batches that ended."""
    num_pending: int
    """Replies still under way."""
    unreachable: Sequence[str] = ()
    """What judges' services said instead of an answer."""


def attribute_account(asset: str) -> str:
    """On whose account judges describe pairs that came to an asset without attributes."""
    return f"{asset}{PART}attributes"


def asset_of(account: str) -> str:
    """The asset in an account; parts of one are written as `judge_audit:random`."""
    return account.partition(PART)[0]


def _identity(endpoint: JudgeEndpoint) -> dict[str, Any]:
    # What is left out only when something is: keys from before it could be stay as they are.
    left_out = {"leave_out": sorted(endpoint.leave_out)} if endpoint.leave_out else {}
    return {**endpoint.model_dump(include=ENDPOINT_IDENTITY), **left_out}
