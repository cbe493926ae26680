"""What a campaign will ask its judges, and what that may cost: said before anything is sent.

Numbers of questions come from the profile and from pools that are there; what only a run can know
is assumed, and named so. Nothing here asks a judge.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from synpref_dagster.judges.budget import Prices
from synpref_dagster.judges.cache import ReplyCache
from synpref_dagster.judges.questions import BYTES_PER_TOKEN, Task, tokens_of
from synpref_dagster.reward.prediction.costs import PROMPT_SHARE
from synpref_dagster.settings.embedding import BILLED, EndpointEmbedding
from synpref_dagster.settings.judges import JudgeEndpoint
from synpref_dagster.settings.profile import Profile

TOKENS_PER_PAIR = 500  # a conversation with two responses, where neither replies nor texts say it
TOKENS_OF_WORLD = 36  # pairs of the synthetic world are short
TOKENS_OF_REPLY = 150
NUM_PLANTED = 100
SHARE_UNSURE = 0.5  # of clean pairs without a label: the best model is against or unsure about
SHARE_FLAGGED = 0.05  # of the raw pool: pairs in which a pattern finds personal data
SHARE_OVERLAPPING = 0.01  # of a pool: pairs that share words with a benchmark, with one prompt each
BENCHMARKS = "judge_scores"  # asks only where the job `score_judges` is started
ATTRIBUTES_OF = ":attributes"
EMBEDDING_ASSET = "pair_embeddings"
"""On whose account all vectors are paid for."""
POOLS = ("clean_pool", "unverified_pool")


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """What one asset, or a part of it with an account of its own, will ask."""

    asset: str
    num_pairs: int | None
    """Questions to each judge, before samples; None where nothing says how many there are."""
    task: Task
    is_report: bool = False
    """Whether it is paid for after all labels."""

    @property
    def compares(self) -> bool:
        """Whether it is asked for verdicts, several times each, or once."""
        return self.task in ("verdict", "verdict_alone")

    @property
    def is_extra(self) -> bool:
        """Whether a campaign asks it only when people start a job of its own."""
        return self.asset.partition(":")[0] == BENCHMARKS


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
    is_extra: bool = False

    @property
    def usd(self) -> float | None:
        """US dollars still to pay; None where the number of questions is unknown."""
        if self.num_questions is None:
            return None
        return max(0, self.num_questions - self.num_paid) * self.usd_per_question


def planned(profile: Profile, sizes: Mapping[str, int]) -> list[Planned]:
    """What each asset of a campaign will ask, in the order in which it is paid for.

    A question that an earlier asset has asked is not counted again: the weighing of judges on the
    last gold, and the audit on gold that validates.

    Args:
        profile: of the campaign.
        sizes: rows of what is there: raw_pool, unverified_pool, clean_pool, and judge_scores, the
            comparisons of all benchmarks.
    """
    clean, stage_one = (sizes.get(name, _world(profile)[name]) for name in POOLS)
    raw = sizes.get("raw_pool", _world(profile)["clean_pool"])
    compared = sizes.get(BENCHMARKS)
    scan, *audit = _reports(profile, raw)
    # Where its findings decide what stays in the pool, the scan comes first and is no report.
    drops = profile.pool.pii.action == "drop"
    return [
        *([replace(scan, is_report=False)] if drops else []),
        *_pool_looks(profile, raw=raw, clean=clean),
        Planned(asset="attribute_labels", num_pairs=stage_one, task="attributes"),
        *_stage_one(profile),
        *_stage_two(profile, clean=clean, stage_one=stage_one),
        *([] if drops or profile.pool.pii.action == "off" else [scan]),
        *audit,
        Planned(asset=BENCHMARKS, num_pairs=compared, task="verdict"),
        Planned(asset=BENCHMARKS + ATTRIBUTES_OF, num_pairs=compared, task="attributes"),
    ]


def _world(profile: Profile) -> Mapping[str, int | None]:
    """How large the pools of the synthetic world are before anybody has cleaned them."""
    if profile.pool.kind != "synthetic_world":
        return dict.fromkeys(POOLS)
    world = profile.pool.world
    return dict(
        zip(POOLS, (world.num_unverified + world.num_wild, world.num_unverified), strict=True)
    )


def _pool_looks(profile: Profile, *, raw: int | None, clean: int | None) -> list[Planned]:
    """Second looks at what overlaps with benchmarks."""
    pool = profile.pool
    looks = [
        ("clean_pool:contamination_review", raw, pool.recheck_contamination),
        ("strict_overlaps", clean, pool.strict_pass.judges_clear),
    ]
    return [
        Planned(asset=asset, num_pairs=_share(SHARE_OVERLAPPING, among), task="overlap")
        for asset, among, is_asked in looks
        if is_asked
    ]


def _stage_one(profile: Profile) -> list[Planned]:
    """The seed and the iterations: judges are weighed wherever there is new gold."""
    seed, iterations = profile.seed_set, profile.iterations
    notes = profile.people.backend == "page" and profile.people.pre_verify
    people_first = iterations.human_policy == "objective_first"
    pulled = iterations.max_retrieved - (iterations.num_human if people_first else 0)
    found = [_verdicts("silver_seed", seed.num_silver + _num_weighed(profile, seed.num_gold))]
    if notes:
        found.insert(0, _notes("human_verified_seed", seed.num_gold))
    for number in range(1, iterations.num_iterations + 1):
        gold = seed.num_gold + (number - 1) * iterations.num_human
        weighed = _num_weighed(profile, gold) if number > 1 else 0
        name = f"iteration_{number:02d}"
        if notes:
            found.append(_notes(f"{name}/human_verdicts", iterations.num_human))
        found.append(_verdicts(f"{name}/judge_votes", pulled + weighed))
    return found


def _stage_two(profile: Profile, *, clean: int | None, stage_one: int | None) -> list[Planned]:
    """Gold for the flip guard, and the clean pairs that nobody has labelled."""
    seed, iterations = profile.seed_set, profile.iterations
    gold = _num_gold(profile)
    labelled = (
        seed.num_gold + seed.num_silver + iterations.num_iterations * iterations.max_retrieved
    )
    relabelled = described = None
    if clean is not None:
        relabelled = _share(SHARE_UNSURE, max(0, clean - labelled))
    if clean is not None and stage_one is not None:
        described = _share(SHARE_UNSURE, max(0, clean - stage_one))
    return [
        _verdicts("flip_evidence", gold),
        _verdicts("relabelled_pairs", relabelled),
        Planned(asset="relabelled_pairs" + ATTRIBUTES_OF, num_pairs=described, task="attributes"),
    ]


def _reports(profile: Profile, raw: int | None) -> list[Planned]:
    """Personal data, and the audit: pairs of the test set without, with random and near exemplars.

    Where gold that validates is the test set, nobody is asked again what `flip_evidence` asked.
    """
    pii, evidence = profile.pool.pii, profile.evidence
    gold = _num_gold(profile)
    has_truth = profile.pool.has_test_set
    held_out = min(evidence.num_judged, round(profile.seed_set.validation_share * gold))
    tested = evidence.num_judged if has_truth else held_out
    flagged = _share(SHARE_FLAGGED, raw)
    looked_at = None if flagged is None else flagged + pii.num_sampled
    shown = (2 if has_truth else 1) * tested + min(NUM_PLANTED, tested)
    counts: list[tuple[str, int | None, Task]] = [
        ("pii_report", looked_at, "personal_data"),
        ("judge_audit", shown, "verdict"),
        ("judge_audit:none", tested, "verdict_alone"),
        ("judge_audit" + ATTRIBUTES_OF, tested if has_truth else 0, "attributes"),
    ]
    return [
        Planned(asset=a, num_pairs=n, task=task, is_report=True) for a, n, task in counts if n != 0
    ]


def _verdicts(asset: str, num_pairs: int | None) -> Planned:
    return Planned(asset=asset, num_pairs=num_pairs, task="verdict")


def _notes(asset: str, num_pairs: int) -> Planned:
    """A note on either response of pairs that people are shown."""
    return Planned(asset=asset, num_pairs=2 * num_pairs, task="response")


def _num_gold(profile: Profile) -> int:
    iterations = profile.iterations
    return profile.seed_set.num_gold + iterations.num_iterations * iterations.num_human


def _share(share: float, among: int | None) -> int | None:
    return None if among is None else round(share * among)


def _num_weighed(profile: Profile, num_gold: int) -> int:
    """Gold pairs that every judge is asked about, so that its vote can be weighed."""
    judges = profile.judges
    if judges.min_gold_agreement is None and judges.panel == "majority":
        return 0
    return min(judges.num_screened, round((1 - profile.seed_set.validation_share) * num_gold))


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
        tokens_per_pair: see `questions.mean_tokens`; None assumes `TOKENS_PER_PAIR`,
            or `TOKENS_OF_WORLD`.
    """
    if tokens_per_pair is None:
        is_world = profile.pool.kind == "synthetic_world"
        tokens_per_pair = TOKENS_OF_WORLD if is_world else TOKENS_PER_PAIR
    plan = planned(profile, sizes)
    paid = _paid(cache, profile.campaign_name(), {each.asset for each in plan} | {EMBEDDING_ASSET})
    asked = profile.judges.endpoints if profile.judges.kind == "endpoints" else ()
    return [
        *_vectors(profile, sizes, paid, per_pair=tokens_per_pair),
        *(
            _forecast(
                profile,
                each,
                judge=judge,
                paid=paid.get((each.asset, judge.name), (0, 0, 0)),
                per_pair=tokens_per_pair,
            )
            for each in plan
            for judge in asked
        ),
    ]


def costs_money(profile: Profile) -> bool:
    """Whether judges or embeddings of a campaign are charged for."""
    embedding = profile.embedding
    is_priced = isinstance(embedding, EndpointEmbedding) and embedding.usd_per_million_input > 0
    return profile.judges.cost_money or is_priced


def _vectors(
    profile: Profile,
    sizes: Mapping[str, int],
    paid: Mapping[tuple[str, str], tuple[int, int, int]],
    *,
    per_pair: float,
) -> list[Forecast]:
    """What an embedding endpoint is sent: tasks of pairs, and both answers for the report.

    Tokens that were paid stand on one account; they are those of the tasks as far as these reach.
    """
    settings = profile.embedding
    if not isinstance(settings, EndpointEmbedding):
        return []
    clean, stage_one = (sizes.get(name, _world(profile)[name]) for name in POOLS)
    later = None if clean is None or stage_one is None else max(0, clean - stage_one)
    again = _share(SHARE_UNSURE, later)
    tasks = None if again is None or stage_one is None else stage_one + again
    prompt = PROMPT_SHARE * per_pair
    texts = [("pair_embeddings", tasks, prompt)]
    if settings.min_cosine:
        answers = None if clean is None else 2 * clean
        texts.append(("semantic_duplicates", answers, prompt + (1 - PROMPT_SHARE) / 2 * per_pair))
    prices = Prices(
        usd_per_million_input=settings.usd_per_million_input, usd_per_million_output=0.0
    )
    _, left, _ = paid.get((EMBEDDING_ASSET, BILLED), (0, 0, 0))
    found = []
    for asset, number, tokens in texts:
        tokens = min(tokens, settings.max_characters / BYTES_PER_TOKEN)
        known = min(number or 0, round(left / tokens))
        left -= round(known * tokens)
        found.append(
            Forecast(
                asset=asset,
                judge=BILLED,
                num_questions=number,
                num_paid=known,
                usd_per_question=prices.usd(1_000_000, 0) * tokens / 1e6,
                is_measured=False,
                is_report=False,
            )
        )
    return found


def _paid(
    cache: ReplyCache | None, campaign: str, assets: Collection[str]
) -> dict[tuple[str, str], tuple[int, int, int]]:
    """Calls, tokens in and tokens out by asset and judge; a part counts with its asset.

    A part stands alone where it is planned alone.
    """
    paid: dict[tuple[str, str], tuple[int, int, int]] = {}
    if cache is None:
        return paid
    for row in cache.spent(campaign).itertuples():
        account, judge = str(row.asset), str(row.judge)
        name = account if account in assets else account.partition(":")[0]
        before = paid.get((name, judge), (0, 0, 0))
        booked = (row.num_calls, row.prompt_tokens, row.completion_tokens)
        calls, tokens_in, tokens_out = (a + int(b) for a, b in zip(before, booked, strict=True))
        paid[name, judge] = (calls, tokens_in, tokens_out)
    return paid


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
    num_paid, *tokens = paid
    if num_paid and any(tokens):
        tokens_in, tokens_out = (number / num_paid for number in tokens)
    else:
        shown = settings.num_exemplars
        tokens_in = tokens_of(each.task, num_exemplars=shown, per_pair=per_pair)
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
        is_extra=each.is_extra,
    )


def fits(found: list[Forecast], *, cap: float | None, spent: float) -> str:
    """One sentence: what is still to pay for labels and reports, and whether the cap reaches.

    What the job `score_judges` would cost on top is said behind it.
    """
    campaign = [each for each in found if not each.is_extra]
    labels, reports = (
        sum(each.usd or 0.0 for each in campaign if each.is_report == wanted)
        for wanted in (False, True)
    )
    least = _least(campaign)
    said = f"labels {least}${labels:.2f}, reports after them {least}${reports:.2f}"
    extra = _extra([each for each in found if each.is_extra])
    if cap is None:
        return f"{said}; judges.max_usd sets no cap{extra}"
    left = max(0.0, cap - spent)
    known = f"{said}; ${left:.2f} of judges.max_usd = ${cap:.2f} are left"
    if labels > left:
        known += ": NOT ENOUGH FOR LABELS, the campaign would stop before its report"
    elif labels + reports > left:
        known += ": enough for labels, not for all reports, which go without"
    else:
        known += ": it fits"
    return known + extra


def _least(found: Sequence[Forecast]) -> str:
    return "at least " if any(each.usd is None for each in found) else "about "


def _extra(found: Sequence[Forecast]) -> str:
    if not found:
        return ""
    if all(each.usd is None for each in found):
        return "; the job score_judges asks on top, how much is not known"
    usd = sum(each.usd or 0.0 for each in found)
    return f"; the job score_judges would cost {_least(found)}${usd:.2f} on top"
