"""`synpref judges`: what LLM judges cost or may have cost, and their replies as one file."""

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from synpref_dagster.cli.refusals import load_or_refuse, refuse
from synpref_dagster.settings.profile import Profile

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from synpref_dagster.judges.cache import ReplyCache
    from synpref_dagster.judges.receipts import Receipts
    from synpref_dagster.storage import DatasetRef

judge_app = typer.Typer(no_args_is_help=True, help="LLM judges: the bill, the reply cache.")
console = Console()

ProfileOption = Annotated[str, typer.Option(help="Name of a profile, or a .toml file.")]
SeedOption = Annotated[int | None, typer.Option(help="Overrides the profile's seed.")]


@contextmanager
def damage_refused() -> "Iterator[None]":
    """End the command in one line where the reply cache is damaged, or its disk full."""
    from synpref_dagster.judges.cache import CacheFullError, DamagedCacheError

    try:
        yield
    except (DamagedCacheError, CacheFullError) as error:
        refuse(console, error)


@judge_app.command()
@damage_refused()
def bill(profile: ProfileOption = "demo", seed: SeedOption = None) -> None:
    """Print what a campaign paid each judge for each asset, and what it may have to pay on top."""
    chosen = load_or_refuse(console, profile, seed)
    if chosen.judges.kind != "endpoints" and not _was_charged(chosen):
        free = f"$0: profile {chosen.name} has {chosen.judges.kind} judges, which cost nothing"
        console.print(free, markup=False, highlight=False, soft_wrap=True)
        return
    cache = _opened(chosen)
    spent = cache.spent(chosen.campaign_name())
    table = Table("judge", "asset", box=SIMPLE_HEAD)
    for column in ("calls", "tokens in", "tokens out", "US$"):
        table.add_column(column, justify="right")
    for row in spent.itertuples():
        tokens = f"{row.prompt_tokens:,}", f"{row.completion_tokens:,}"
        table.add_row(row.judge, row.asset, f"{row.num_calls:,}", *tokens, f"{row.usd:.4f}")
    console.print(table)
    console.print(f"spent ${spent['usd'].sum():.4f}", highlight=False)
    for line in _possible(cache, chosen.campaign_name()):
        console.print(line, highlight=False, soft_wrap=True)


@judge_app.command()
@damage_refused()
def forgive(
    profile: ProfileOption = "demo",
    seed: SeedOption = None,
    hours: Annotated[
        float, typer.Option(min=0, help="Only calls sent at least so many hours ago.")
    ] = 1.0,
    batches: Annotated[
        bool, typer.Option("--batches", help="Give up batches under way, too.")
    ] = False,
) -> None:
    """Count calls without an answer as free, when the endpoint's own bill says that they were.

    They are calls that timed out, broke off or were killed, and what a reply cache that is gone
    knew of. Wait until nothing of the campaign runs, or leave `--hours` longer than any call takes:
    a call under way must not be forgiven. A batch that is given up is collected by nobody.
    """
    from synpref_dagster.judges.batches.ledger import BatchLedger
    from synpref_dagster.judges.reservations import Reservations

    chosen = load_or_refuse(console, profile, seed)
    cache, campaign = _opened(chosen), chosen.campaign_name()
    books = {"calls without an answer": Reservations(cache).forgive}
    if batches:
        books["requests in batches"] = BatchLedger(cache).forgive
    for what, give_back in books.items():
        num, usd = give_back(campaign, before=time.time() - hours * 3600)
        said = f"{num:,} {what} are forgiven: ${usd:.4f} may be spent again"
        console.print(said, highlight=False, soft_wrap=True)
    _receipts(chosen, cache).forgive()


@judge_app.command()
@damage_refused()
def estimate(profile: ProfileOption = "demo", seed: SeedOption = None) -> None:
    """Print what a campaign will ask its judges and what that may cost; nobody is asked."""
    from synpref_dagster.judges.forecast import costs_money

    chosen = load_or_refuse(console, profile, seed)
    if costs_money(chosen):
        print_estimate(console, chosen)
    else:
        console.print(f"$0: the judges of profile {chosen.name} cost nothing", highlight=False)


@damage_refused()
def print_estimate(shown: Console, profile: Profile) -> None:
    """A row per asset and judge: questions, those already paid, price, what is left to pay."""
    from synpref_dagster.judges.forecast import fits, forecast
    from synpref_dagster.judges.questions import mean_tokens
    from synpref_dagster.judges.reservations import Reservations

    cache = _opened(profile) if profile.judges.cache_path().is_file() else None
    pools = pools_there(profile)
    tokens = mean_tokens(texts_of(pools["raw_pool"])) if "raw_pool" in pools else None
    sizes = {name: ref.num_rows for name, ref in pools.items()} | _benchmarks(profile)
    found = forecast(profile, sizes, cache, tokens_per_pair=tokens)
    table = Table("asset", "judge", box=SIMPLE_HEAD)
    for column in ("questions", "paid", "US$ each", "US$ to pay", "price from"):
        table.add_column(column, justify="right")
    for each in found:
        questions = "?" if each.num_questions is None else f"{each.num_questions:,}"
        usd = "?" if each.usd is None else f"{each.usd:.4f}"
        price = f"{each.usd_per_question:.6f}"
        how = "replies" if each.is_measured else "assumed tokens" if tokens is None else "texts"
        table.add_row(each.asset, each.judge, questions, f"{each.num_paid:,}", price, usd, how)
    shown.print(table)
    if cache is None:
        spent = _paid_before(profile)
    else:
        spent = sum(Reservations(cache).committed(profile.campaign_name()).values())
    said = fits(found, cap=profile.judges.max_usd, spent=spent)
    shown.print(f"Judges: {said}.", markup=False, highlight=False, soft_wrap=True)
    shown.print(
        "A rough estimate: shares of the pool are assumed, replies of other campaigns are not "
        "counted.",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _benchmarks(profile: Profile) -> dict[str, int]:
    """How many comparisons of benchmarks the job `score_judges` asks about; empty if unknown."""
    from synpref_dagster.judges.forecast import BENCHMARKS
    from synpref_dagster.resources.campaign import Campaign
    from synpref_dagster.resources.sources import PoolSources

    campaign = Campaign(profile_json=profile.model_dump_json(), store_root=profile.store_root())
    try:
        found = PoolSources(campaign=campaign).num_comparisons()
    except (OSError, ValueError):
        return {}  # the asset that reads them says what is wrong
    return {} if found is None else {BENCHMARKS: found}


def pools_there(profile: Profile) -> dict[str, "DatasetRef"]:
    """The pools that an earlier run made, by name."""
    from synpref_dagster.storage import SelectionRef, to_path
    from synpref_dagster.storage.refs import find_ref

    pools = {}
    for name in ("raw_pool", "unverified_pool", "clean_pool"):
        path = to_path(f"{profile.store_root()}/refs/{name}.json")
        if ref := find_ref(path, place=f"{name}.json"):
            pools[name] = ref.kept if isinstance(ref, SelectionRef) else ref
    return pools


def texts_of(pool: "DatasetRef") -> "Iterator[pa.Table]":
    """The texts of a pool, shard by shard."""
    from synpref_dagster.storage import iter_tables

    return iter_tables(pool, ["conversation", "chosen", "rejected"])


@judge_app.command()
@damage_refused()
def export(
    path: Annotated[Path, typer.Argument(help="The Parquet file to write.")],
    profile: ProfileOption = "demo",
) -> None:
    """Write all replies of the cache, with what was asked and paid, as one Parquet file."""
    cache = _opened(load_or_refuse(console, profile, None))
    console.print(f"{cache.export(path):,} replies in {path}", highlight=False, soft_wrap=True)


def _possible(cache: "ReplyCache", campaign: str) -> list[str]:
    """What a campaign may have to pay beside what it paid, one line per judge and kind."""
    from synpref_dagster.judges.batches.ledger import BatchLedger
    from synpref_dagster.judges.receipts import LOST
    from synpref_dagster.judges.reservations import Reservations

    lines = [
        f"{judge}: batches under way may cost ${usd:.4f} more"
        for judge, usd in BatchLedger(cache).promised(campaign).items()
    ]
    for row in Reservations(cache).possible(campaign).itertuples():
        if row.asset == LOST:
            lines.append(f"{row.judge}: ${row.usd:.4f} stood in a reply cache that is gone")
            continue
        calls = "1 call" if row.num_calls == 1 else f"{row.num_calls:,} calls"
        lines.append(
            f"{row.judge}: {calls} for {row.asset} without an answer so far may have cost "
            f"${row.usd:.4f} more"
        )
    return lines


def _was_charged(profile: Profile) -> bool:
    """Whether the campaign paid LLMs before its profile went over to judges that are free."""
    if not profile.judges.cache_path().is_file():
        return False
    cache, campaign = _opened(profile), profile.campaign_name()
    return len(cache.spent(campaign)) > 0 or bool(_possible(cache, campaign))


def _opened(profile: Profile) -> "ReplyCache":
    from synpref_dagster.judges.cache import ReplyCache

    path = profile.judges.cache_path()
    if not path.is_file():
        paid = _paid_before(profile)
        said = (
            f"but campaign {profile.campaign_name()} has spent ${paid:.4f}, which still counts: "
            "put a copy of it back, or run again, and all replies are bought again"
            if paid
            else "no LLM judge was asked there"
        )
        refuse(console, f"no reply cache at {path}: {said}")
    try:
        cache = ReplyCache(path)
        _receipts(profile, cache).carry_over()
    except (ValueError, OSError) as error:
        refuse(console, error)
    return cache


def _receipts(profile: Profile, cache: "ReplyCache") -> "Receipts":
    from synpref_dagster.judges.receipts import Receipts

    return Receipts(profile.store_root(), cache, campaign=profile.campaign_name())


def _paid_before(profile: Profile) -> float:
    from synpref_dagster.judges.receipts import paid_before

    try:
        return paid_before(profile.store_root())
    except ValueError as error:
        refuse(console, error)
