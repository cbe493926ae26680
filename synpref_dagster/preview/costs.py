"""What a campaign will take of money, machines and people, by what was found in its sources.

The same functions speak here as in `synpref judges estimate` and `synpref sizes`; only the numbers
of pairs and the lengths of texts are better known. Every figure says what it rests on.
"""

from dataclasses import dataclass

from synpref_dagster.judges.cache import ReplyCache
from synpref_dagster.judges.forecast import Forecast, costs_money, fits, forecast
from synpref_dagster.judges.questions import BYTES_PER_TOKEN
from synpref_dagster.judges.receipts import paid_before
from synpref_dagster.judges.reservations import Reservations
from synpref_dagster.preview.survey import Survey
from synpref_dagster.reward.backbones import backbone
from synpref_dagster.reward.prediction.forecast import (
    NUM_WITNESSES,
    Assumptions,
    Scoring,
    Training,
    forecast as forecast_models,
    labelled_pairs,
    needed_bytes,
    training_sets,
)
from synpref_dagster.reward.prediction.machines import Machine, machine
from synpref_dagster.settings.models import ReleaseSettings, RewardModelSettings
from synpref_dagster.settings.profile import Profile

SECONDS_PER_CALL = 4.0  # of a judge that has never replied here
WORDS_PER_MINUTE = 240  # that people read
BYTES_PER_WORD = 6.0
SECONDS_TO_DECIDE = 30
DEVICES = ("h200", "cpu")
GIGABYTE = 1e9
ModelSettings = RewardModelSettings | ReleaseSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Bill:
    """What judges and embeddings will cost."""

    rows: tuple[Forecast, ...]
    usd: float
    """Still to pay in the campaign, without the jobs that people start."""
    said: str
    """The sentence about the cap."""
    shortage: str
    """What to do where the cap does not reach for the labels; else empty."""
    hours: float
    """Of waiting for replies."""
    seconds_per_call: float
    is_timed: bool
    """Whether that is the mean of replies, not an assumption."""
    is_free: bool


def pool_sizes(found: Survey, num_comparisons: int | None) -> dict[str, int]:
    """Rows of the pools as the estimate of judges wants them; without a pair nothing is known."""
    sizes = {
        "raw_pool": found.num_pairs,
        "clean_pool": found.num_clean,
        "unverified_pool": found.num_for_people,
    }
    sizes = sizes if found.num_pairs else {}
    return sizes | ({} if num_comparisons is None else {"judge_scores": num_comparisons})


def bill(profile: Profile, found: Survey, *, num_comparisons: int | None) -> Bill | None:
    """What endpoints will cost and how long they take; None where no endpoint is asked.

    Args:
        profile: of the campaign.
        found: in its sources.
        num_comparisons: of benchmarks, for the job `score_judges`; None where nobody knows.

    Raises:
        ValueError: the reply cache is damaged.
    """
    path = profile.judges.cache_path()
    cache = ReplyCache(path) if path.is_file() and costs_money(profile) else None
    size = found.bytes_per_pair
    rows = forecast(
        profile,
        pool_sizes(found, num_comparisons),
        cache,
        tokens_per_pair=None if size is None else size / BYTES_PER_TOKEN,
    )
    if not rows:
        return None
    if cache is None:
        spent = paid_before(profile.store_root())
    else:
        spent = sum(Reservations(cache).committed(profile.campaign_name()).values())
    cap = profile.judges.max_usd
    labels = sum(each.usd or 0.0 for each in rows if not each.is_report and not each.is_extra)
    seconds, is_timed = _seconds_per_call(cache)
    if cache is not None:
        cache.close()
    return Bill(
        rows=tuple(rows),
        usd=sum(each.usd or 0.0 for each in rows if not each.is_extra),
        said=fits(rows, cap=cap, spent=spent),
        shortage=_shortage(labels, cap=cap, spent=spent),
        hours=_hours(profile, rows, seconds),
        seconds_per_call=seconds,
        is_timed=is_timed,
        is_free=not costs_money(profile),
    )


def _shortage(labels: float, *, cap: float | None, spent: float) -> str:
    if cap is None or labels <= max(0.0, cap - spent):
        return ""
    return (
        f"labels cost about ${labels:,.2f}, and ${max(0.0, cap - spent):,.2f} of judges.max_usd "
        "are left: raise it, or ask fewer judges, samples or pairs"
    )


def _seconds_per_call(cache: ReplyCache | None) -> tuple[float, bool]:
    if cache is not None:
        mean = cache.table("SELECT AVG(seconds) AS mean FROM replies WHERE seconds > 0")["mean"][0]
        if mean:
            return float(mean), True
    return SECONDS_PER_CALL, False


def _hours(profile: Profile, rows: list[Forecast], seconds: float) -> float:
    """Judges are asked side by side: the slowest one counts."""
    at_once = {each.name: each.max_concurrency for each in profile.judges.endpoints}
    calls: dict[str, int] = {}
    for each in rows:
        if each.judge in at_once and not each.is_extra and each.num_questions is not None:
            left = max(0, each.num_questions - each.num_paid)
            calls[each.judge] = calls.get(each.judge, 0) + left
    return max((n * seconds / at_once[name] / 3600 for name, n in calls.items()), default=0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Machines:
    """What training and scoring take of one device."""

    device: Machine
    trainings: tuple[Training, ...]
    scorings: tuple[Scoring, ...]

    @property
    def hours(self) -> float:
        """Of the device, benchmarks apart."""
        trained = sum(each.device_hours for each in self.trainings)
        return trained + sum(each.device_hours for each in self.scorings)

    @property
    def too_large(self) -> list[str]:
        """A line for each size that the device has no room for."""
        room = self.device.memory_bytes
        lines = {
            each.size: f"{each.size} does not fit {self.device.name}: a step needs "
            f"{needed_bytes(each.memory) / GIGABYTE:,.0f} of {room / GIGABYTE:,.0f} GB; more "
            "num_processes, or lora"
            for each in self.trainings
            if room and needed_bytes(each.memory) > room
        }
        return list(lines.values())


def machines(profile: Profile, found: Survey) -> list[Machines]:
    """Hours and memory by device; empty where no model has a real backbone.

    Raises:
        ValueError: the shape of a backbone is not known.
    """
    size = found.bytes_per_pair
    told = []
    for name in DEVICES:
        assumed = Assumptions(
            num_pairs=found.num_clean or labelled_pairs(profile),
            tokens_per_pair=max(8.0, (size or 2_000.0) / BYTES_PER_TOKEN),
            machine=machine(name),
        )
        trainings, scorings = forecast_models(profile, assumed)
        if trainings or scorings:
            told.append(
                Machines(
                    device=assumed.machine, trainings=tuple(trainings), scorings=tuple(scorings)
                )
            )
    return told


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """How fast one core goes through texts with a small model; UTF-8 bytes and seconds."""

    trained: float
    read: float
    begin: float
    """Seconds of each model, whatever its pairs."""


RATES = {
    "linear": Rate(trained=2e6, read=6e6, begin=0.5),
    "stand_in": Rate(trained=0.6e6, read=2e6, begin=2.0),
}
"""Measured on 3,000 real pairs of 760 bytes; seconds are right within a factor of three."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SmallModels:
    """What models without a real backbone take of one core."""

    backend: str
    what: str
    num_models: int
    num_trained: int
    """Pairs that all of them train on, repetitions included."""
    num_read: int
    """Pairs that they score."""
    seconds: float


def small_models(profile: Profile, found: Survey) -> list[SmallModels]:
    """Seconds of linear models and of random miniatures, in the stages and in the release."""
    num_clean = found.num_clean or labelled_pairs(profile)
    size, told = found.bytes_per_pair or 2_000.0, []
    numbers = [n for _, each in training_sets(profile, num_clean) for n in each]
    stages, sizes = getattr(profile.reward_model, "model_size", None), profile.sizes()
    for settings, what, wanted, num_read in (
        (profile.reward_model, "stages", [(n, stages) for n in numbers], NUM_WITNESSES * num_clean),
        (profile.release, "release", [(num_clean, each) for each in sizes], 0),
    ):
        if (rate := RATES.get(settings.backend)) is None:
            continue
        trained = sum(_num_trained(profile, settings, n, size=name) for n, name in wanted)
        seconds = len(wanted) * rate.begin + size * (trained / rate.trained + num_read / rate.read)
        told.append(
            SmallModels(
                backend=settings.backend,
                what=what,
                num_models=len(wanted),
                num_trained=trained,
                num_read=num_read,
                seconds=seconds,
            )
        )
    return told


def _num_trained(
    profile: Profile, settings: ModelSettings, num_pairs: int, *, size: str | None
) -> int:
    """Pairs that a model goes through in its steps; a linear one has no steps."""
    if size is None:
        return num_pairs
    from synpref_dagster.reward.from_profile import configuration
    from synpref_dagster.reward.training.config import TrainingConfig

    config = configuration(settings, backbone(size, profile.backbones), final=False, seed=0)
    assert isinstance(config, TrainingConfig)
    return config.num_steps(num_pairs) * min(config.batch_pairs, num_pairs)


def minutes_per_pair(found: Survey) -> float:
    """How long a person is with one pair: reading it, and deciding."""
    words = (found.bytes_per_pair or 0.0) / BYTES_PER_WORD
    return words / WORDS_PER_MINUTE + SECONDS_TO_DECIDE / 60


def hours_of_people(profile: Profile, found: Survey) -> float:
    """Of all answers together; none where recorded votes answer."""
    if profile.people.backend == "recorded":
        return 0.0
    return num_for_people(profile) * minutes_per_pair(found) / 60


def num_for_people(profile: Profile) -> int:
    """Pairs that people verify, those that two see counted twice."""
    iterations = profile.iterations
    pairs = profile.seed_set.num_gold + iterations.num_iterations * iterations.num_human
    twice = profile.people.double_share if profile.people.backend != "recorded" else 0.0
    return round(pairs * (1 + twice))
