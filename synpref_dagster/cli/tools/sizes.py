"""`synpref sizes`: what the model sizes of a profile will take, said before they are trained."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from synpref_dagster.cli.refusals import refuse
from synpref_dagster.settings.profile import Profile

if TYPE_CHECKING:
    from synpref_dagster.reward.prediction.forecast import Scoring, Training
    from synpref_dagster.reward.prediction.machines import Machine

GIGABYTE = 1e9


def print_forecast(
    shown: Console,
    profile: Profile,
    *,
    device: str,
    utilisation: float | None,
    num_pairs: int | None,
    tokens_per_pair: float | None,
) -> None:
    """Print every training and scoring of a campaign, and what does not fit the device.

    Args:
        shown: where to.
        profile: of the campaign.
        device: name of the device, see `reward.prediction.machines`.
        utilisation: share of its speed that is expected; None takes the device's.
        num_pairs: pairs of the clean pool; None takes those of an earlier run, else what is
            labelled.
        tokens_per_pair: None measures them on the pool of an earlier run, else assumes them.
    """
    from synpref_dagster.reward.prediction.forecast import Assumptions, forecast
    from synpref_dagster.reward.prediction.machines import machine

    pairs, pairs_are = _num_pairs(profile, num_pairs)
    tokens, tokens_are = _tokens_per_pair(profile, tokens_per_pair)
    try:
        found = machine(device, utilisation=utilisation)
        assumed = Assumptions(num_pairs=pairs, tokens_per_pair=tokens, machine=found)
        trainings, scorings = forecast(profile, assumed)
    except ValueError as error:
        refuse(shown, error)
    if not trainings and not scorings:
        _say(shown, f"The models of profile {profile.name} have no real backbone to speak of.")
        return
    if trainings:
        shown.print(_memory_table(trainings))
        shown.print(_training_table(trainings))
    if scorings:
        shown.print(_scoring_table(scorings))
    hours = sum(each.device_hours for each in trainings)
    hours += sum(each.device_hours for each in scorings)
    _say(shown, f"About {hours:,.1f} hours of one {found.name}, benchmarks apart. {_speed(found)}")
    _say(shown, f"Pairs of the clean pool: {pairs:,} ({pairs_are}).")
    _say(shown, f"Tokens of a pair, its prompt once: {tokens:,.0f} ({tokens_are}).")
    for line in _too_large(trainings, found):
        shown.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _table(names: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in names:
        table.add_column(name, no_wrap=True)
    for number in numbers:
        table.add_column(number, justify="right", no_wrap=True)
    return table


def _memory_table(trainings: "Sequence[Training]") -> Table:
    """GB of a device, by what holds them; one row where several trainings hold the same."""
    from synpref_dagster.reward.prediction.forecast import needed_bytes

    table = _table(
        ["GB in training"],
        ["weights", "=", "grads", "Adam", "copies", "activ.", "all", "at most"],
    )
    rows = {}
    for each in trainings:
        held = each.memory
        parts = (held.weights, held.gradients, held.optimizer, held.copies, held.activations)
        whole = (needed_bytes(each.memory), needed_bytes(each.memory_of_longest))
        numbers = tuple(f"{number / GIGABYTE:,.1f}" for number in (*parts, *whole))
        rows[each.size, numbers] = f"{each.num_parameters / 1e6:,.0f}M"
    for (size, numbers), parameters in rows.items():
        table.add_row(size, parameters, *numbers)
    return table


def _training_table(trainings: "Sequence[Training]") -> Table:
    table = _table(["training", "size"], ["models", "steps", "batch", "PFLOP", "s/step", "hours"])
    for each in trainings:
        table.add_row(
            each.what,
            each.size,
            f"{each.num_models}",
            f"{each.num_steps:,}",
            f"{each.batch_pairs:,}",
            _number(each.flops_per_step / 1e15),
            _number(each.seconds_per_step),
            _number(each.device_hours),
        )
    return table


def _scoring_table(scorings: "Sequence[Scoring]") -> Table:
    table = _table(["reading", "size", "dtype"], ["pairs", "GFLOP/token", "hours", "GB"])
    for each in scorings:
        table.add_row(
            each.what,
            each.size,
            each.dtype,
            f"{each.num_pairs:,}",
            f"{each.flops_per_token / 1e9:,.2f}",
            _number(each.device_hours),
            f"{each.weight_bytes / GIGABYTE:,.1f}",
        )
    return table


def _speed(found: "Machine") -> str:
    half, single = found.half_flops / 1e12, found.float_flops / 1e12
    return (
        f"{found.utilisation:.0%} of {half:,.3g} TFLOP/s in bfloat16 and {single:,.3g} in float32 "
        f"are counted on ({found.source})."
    )


def _too_large(trainings: "Sequence[Training]", found: "Machine") -> list[str]:
    """A line for each size that the device has no room for."""
    from synpref_dagster.reward.prediction.forecast import needed_bytes

    lines: dict[str, str] = {}
    for each in trainings if found.memory_bytes else ():
        full, longest = needed_bytes(each.memory), needed_bytes(each.memory_of_longest)
        room = f"of {found.memory_bytes / GIGABYTE:,.0f} GB"
        if full > found.memory_bytes:
            lines[each.size] = (
                f"{each.size} does not fit: a step needs {full / GIGABYTE:,.0f} {room}; more "
                "num_processes, or lora"
            )
        elif longest > found.memory_bytes:
            lines.setdefault(
                each.size,
                f"{each.size} fits while pairs are short: two responses as long as they may be "
                f"need {longest / GIGABYTE:,.0f} {room}; lower max_length_tokens, or more "
                "num_processes",
            )
    return list(lines.values())


def _num_pairs(profile: Profile, told: int | None) -> tuple[int, str]:
    from synpref_dagster.cli.judges import pools_there
    from synpref_dagster.reward.prediction.forecast import labelled_pairs

    if told is not None:
        return told, "as told"
    if clean := pools_there(profile).get("clean_pool"):
        return clean.num_rows, "as it is there"
    if profile.pool.kind == "synthetic_world":
        world = profile.pool.world
        return world.num_unverified + world.num_wild, "before cleaning"
    return labelled_pairs(profile), "only those that are labelled: nobody read it yet, see --pairs"


def _tokens_per_pair(profile: Profile, told: float | None) -> tuple[float, str]:
    from synpref_dagster.cli.judges import pools_there, texts_of
    from synpref_dagster.judges.forecast import TOKENS_PER_PAIR, mean_tokens

    if told is not None:
        return told, "as told"
    pools = pools_there(profile)
    measured = mean_tokens(texts_of(pools["raw_pool"])) if "raw_pool" in pools else None
    return (TOKENS_PER_PAIR, "assumed") if measured is None else (measured, "by its texts")


def _number(value: float) -> str:
    """Three digits, more only where they stand before the point."""
    return f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f}"


def _say(shown: Console, line: str) -> None:
    shown.print(line, markup=False, highlight=False, soft_wrap=True)
