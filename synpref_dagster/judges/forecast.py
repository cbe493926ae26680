"""What a campaign will ask its judges, and what that may cost: said before anything is sent.

Numbers of questions come from the profile and from pools that are there; what only a run can know
is assumed, and named so. Nothing here asks a judge.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.judges.budget import Prices
from synpref_dagster.judges.cache import ReplyCache
from synpref_dagster.settings.judges import JudgeEndpoint
from synpref_dagster.settings.profile import Profile

TOKENS_PER_PAIR = 500  # a conversation with two responses, where neither replies nor texts say it
BYTES_PER_TOKEN = 4.0  # of English texts; others take more tokens
NUM_SAMPLED = 500  # pairs whose texts are measured
TOKENS_OF_PROMPT = 400
TOKENS_OF_REPLY = 150
NUM_PLANTED = 100
SHARE_RELABELLED = 0.5  # of the clean pool: pairs that the best model is against or unsure about
SHARE_FLAGGED = 0.05  # of the raw pool: pairs in which a pattern finds personal data
REPORTS = ("pii_report", "judge_audit")


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """What one asset will ask."""

    asset: str
    num_pairs: int | None
    """Pairs that each judge is asked about; None where nothing says how many there are."""
    compares: bool
    """Whether it is asked for verdicts, with samples and exemplars, or once for each pair."""

    @property
    def is_report(self) -> bool:
        """Whether it is paid for after all labels."""
        return self.asset in REPORTS


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """One asset and one judge: questions, those that this campaign has paid for, what is left."""

    asset: str
    judge: str
    num_questions: int | None
    num_paid: int
    usd_per_question: float
    is_measured: bool
    """Whether the price is the mean of replies of that asset, not an assumption about tokens."""
    is_report: bool

    @property
    def usd(self) -> float | None:
        """US dollars still to pay; None where the number of questions is unknown."""
        if self.num_questions is None:
            return None
        return max(0, self.num_questions - self.num_paid) * self.usd_per_question


def planned(profile: Profile, sizes: Mapping[str, int]) -> list[Planned]:
    """What each asset of a campaign will ask, in the order in which it is paid for.

    Args:
        profile: of the campaign.
        sizes: rows of the pools that are there: raw_pool, unverified_pool, clean_pool.
    """
    seed, iterations, evidence = profile.seed_set, profile.iterations, profile.evidence
    world = profile.pool.world if profile.pool.kind == "synthetic_world" else None
    stage_one = sizes.get("unverified_pool", world.num_unverified if world else None)
    everything = world.num_unverified + world.num_wild if world else None
    clean, raw = sizes.get("clean_pool", everything), sizes.get("raw_pool", everything)
    gold = seed.num_gold + iterations.num_iterations * iterations.num_human
    counts: list[tuple[str, int | None, bool]] = [
        ("attribute_labels", stage_one, False),
        ("silver_seed", seed.num_silver, True),
    ]
    if profile.people.backend == "page" and profile.people.pre_verify:
        counts.insert(1, ("human_verified_seed", 2 * seed.num_gold, False))
    counts += [
        (f"iteration_{number:02d}/judge_votes", iterations.max_retrieved, True)
        for number in range(1, iterations.num_iterations + 1)
    ]
    relabelled = None if clean is None else round(SHARE_RELABELLED * clean)
    counts += [("flip_evidence", gold, True), ("relabelled_pairs", relabelled, True)]
    if relabelled is None or clean is None or stage_one is None:
        described = None
    else:
        described = round(SHARE_RELABELLED * max(0, clean - stage_one))
    counts.append(("relabelled_pairs:attributes", described, False))
    if profile.pool.pii.action != "off":
        flagged = None if raw is None else round(SHARE_FLAGGED * raw) + profile.pool.pii.num_sampled
        counts.append(("pii_report", flagged, False))
    held_out = min(evidence.num_judged, round(seed.validation_share * gold))
    tested = evidence.num_judged if profile.pool.has_test_set else held_out
    counts.append(("judge_audit", 3 * tested + held_out + min(NUM_PLANTED, tested), True))
    return [Planned(asset=a, num_pairs=n, compares=compares) for a, n, compares in counts]


def mean_tokens(tables: Iterable[pa.Table]) -> float | None:
    """Tokens of a pair by the texts of the first pairs; None where there are none.

    Args:
        tables: shards with conversation, chosen and rejected, of which the first one is looked at.
    """
    for table in tables:
        rows = table.slice(0, NUM_SAMPLED)
        if rows.num_rows:
            contents = pc.struct_field(pc.list_flatten(rows["conversation"]), "content")
            texts = (contents, rows["chosen"], rows["rejected"])
            size = sum(pc.sum(pc.binary_length(each)).as_py() or 0 for each in texts)
            return float(size) / BYTES_PER_TOKEN / rows.num_rows
    return None


def forecast(
    profile: Profile,
    sizes: Mapping[str, int],
    cache: ReplyCache | None,
    *,
    tokens_per_pair: float | None = None,
) -> list[Forecast]:
    """What every asset will cost with every judge, from replies that are there or from assumptions.

    Args:
        profile: of the campaign.
        sizes: see `planned`.
        cache: replies so far; None before the first.
        tokens_per_pair: see `mean_tokens`; None assumes `TOKENS_PER_PAIR`.
    """
    per_pair = TOKENS_PER_PAIR if tokens_per_pair is None else tokens_per_pair
    paid: dict[tuple[str, str], tuple[int, int, int]] = {}
    if cache is not None:
        for row in cache.spent(profile.campaign_name()).itertuples():
            asset, _, part = str(row.asset).partition(":")
            name = f"{asset}:{part}" if part == "attributes" and asset not in REPORTS else asset
            before = paid.get((name, str(row.judge)), (0, 0, 0))
            booked = (row.num_calls, row.prompt_tokens, row.completion_tokens)
            calls, tokens_in, tokens_out = (a + int(b) for a, b in zip(before, booked, strict=True))
            paid[name, str(row.judge)] = (calls, tokens_in, tokens_out)
    return [
        _forecast(
            profile,
            each,
            judge=judge,
            paid=paid.get((each.asset, judge.name), (0, 0, 0)),
            per_pair=per_pair,
        )
        for each in planned(profile, sizes)
        for judge in profile.judges.endpoints
    ]


def _forecast(
    profile: Profile,
    each: Planned,
    *,
    judge: JudgeEndpoint,
    paid: tuple[int, int, int],
    per_pair: float,
) -> Forecast:
    settings = profile.judges
    num_samples = (judge.num_samples or settings.num_samples) if each.compares else 1
    shown = 1 + (settings.num_exemplars if each.compares else 0)
    num_paid, *tokens = paid
    if num_paid and any(tokens):
        tokens_in, tokens_out = (number / num_paid for number in tokens)
    else:
        tokens_in = TOKENS_OF_PROMPT + shown * per_pair
        tokens_out = min(TOKENS_OF_REPLY, judge.max_tokens)
    prices = Prices(
        usd_per_million_input=judge.usd_per_million_input,
        usd_per_million_output=judge.usd_per_million_output,
    )
    usd = prices.usd(round(tokens_in), round(tokens_out))
    return Forecast(
        asset=each.asset,
        judge=judge.name,
        num_questions=None if each.num_pairs is None else num_samples * each.num_pairs,
        num_paid=num_paid,
        usd_per_question=usd * (judge.batch_price_share if judge.batch else 1.0),
        is_measured=bool(num_paid and any(tokens)),
        is_report=each.is_report,
    )


def fits(found: list[Forecast], *, cap: float | None, spent: float) -> str:
    """One sentence: what is still to pay for labels and reports, and whether the cap reaches."""
    labels, reports = (
        sum(each.usd or 0.0 for each in found if each.is_report == wanted)
        for wanted in (False, True)
    )
    least = "at least " if any(each.usd is None for each in found) else "about "
    said = f"labels {least}${labels:.2f}, reports after them {least}${reports:.2f}"
    if cap is None:
        return f"{said}; judges.max_usd sets no cap"
    left = max(0.0, cap - spent)
    known = f"{said}; ${left:.2f} of judges.max_usd = ${cap:.2f} are left"
    if labels > left:
        return f"{known}: NOT ENOUGH FOR LABELS, the campaign would stop before its report"
    if labels + reports > left:
        return f"{known}: enough for labels, not for all reports, which go without"
    return f"{known}: it fits"
