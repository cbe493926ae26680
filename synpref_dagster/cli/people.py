"""`synpref review`: serve the page, open accounts, carry the ledger in and out."""

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from synpref_dagster.cli.refusals import SeedOption, load_or_refuse, refuse

if TYPE_CHECKING:
    from synpref_dagster.people.agreement import Agreement

review_app = typer.Typer(no_args_is_help=True, help="People in the loop: page, accounts, ledger.")
console = Console()

LedgerOption = Annotated[
    str,
    typer.Option(help="sqlite:///... or postgresql://...; default $SYNPREF_REVIEW_LEDGER."),
]


@review_app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 3100,
    public_host: Annotated[
        list[str] | None, typer.Option(help="Name people type; needed off loopback.")
    ] = None,
    proxy: Annotated[
        list[str] | None,
        typer.Option(help="Address of a proxy in front, whose X-Forwarded-For counts."),
    ] = None,
    ledger: LedgerOption = "",
) -> None:
    """Serve the review page until Ctrl-C."""
    from synpref_dagster.people.page import serving

    console.print(f"Review   http://{host}:{port}", highlight=False)
    try:
        url = ledger or serving.ledger_url()
        serving.serve(
            url, host=host, port=port, public_hosts=public_host or (), proxies=proxy or ()
        )
    except (ValueError, ConnectionError) as error:
        refuse(console, error)


@review_app.command()
def add_annotator(
    name: Annotated[str, typer.Argument(help="What the ledger calls this person.")],
    adjudicator: Annotated[bool, typer.Option(help="Disagreements come to this person.")] = False,
    hourly_rate: Annotated[float, typer.Option(help="Price of an hour.")] = 0.0,
    ledger: LedgerOption = "",
) -> None:
    """Open an account and print its token once; again for a new token."""
    from synpref_dagster.people.accounts import Accounts

    try:
        accounts = Accounts(_store(ledger), clock=_now)
        token = accounts.add(name, adjudicator=adjudicator, hourly_rate=hourly_rate)
    except ValueError as error:
        refuse(console, error)
    console.print(f"Token of {name}, shown only now:", highlight=False)
    console.print(token, highlight=False, soft_wrap=True)


@review_app.command()
def close_annotator(name: str, ledger: LedgerOption = "") -> None:
    """End an account; its verdicts stay in the ledger."""
    from synpref_dagster.people.accounts import Accounts

    try:
        Accounts(_store(ledger, may_make=False), clock=_now).close(name)
    except ValueError as error:
        refuse(console, error)


@review_app.command("export")
def export_ledger(
    path: Annotated[Path, typer.Argument(help=".parquet or .jsonl")], ledger: LedgerOption = ""
) -> None:
    """Write the whole ledger to a file."""
    from synpref_dagster.people.ledger.ledger import AnswerLedger

    try:
        console.print(
            f"{AnswerLedger(_store(ledger, may_make=False)).export(path)} verdicts in {path}"
        )
    except ValueError as error:
        refuse(console, error)


@review_app.command("import")
def import_ledger(
    path: Annotated[Path, typer.Argument(help=".parquet or .jsonl")], ledger: LedgerOption = ""
) -> None:
    """Add the verdicts of a file; those that are there already are left out."""
    from synpref_dagster.people.ledger.ledger import AnswerLedger

    try:
        console.print(f"{AnswerLedger(_store(ledger)).load(path)} new verdicts from {path}")
    except (ValueError, OSError) as error:
        refuse(console, error)


@review_app.command()
def status(
    profile: Annotated[
        str, typer.Option(help="Of this campaign only: name of a profile, or a .toml file.")
    ] = "",
    seed: SeedOption = None,
    ledger: LedgerOption = "",
) -> None:
    """How far every batch is, and how well people agree."""
    from synpref_dagster.pairs.texts import counted
    from synpref_dagster.people.accounts import Accounts
    from synpref_dagster.people.agreement import annotator_table, answer_frame, measure
    from synpref_dagster.people.desk import ReviewDesk
    from synpref_dagster.people.ledger.answers import live_answers
    from synpref_dagster.people.ledger.ledger import AnswerLedger

    campaign = _campaign(profile, seed)
    store = _store(ledger, may_make=False, is_fine_without=True)
    batches = ReviewDesk(store, clock=_now).statuses(campaign)
    for batch in batches:
        console.print(
            f"{batch.batch.campaign} {batch.batch.asset}: {batch.num_finished} of "
            f"{counted(batch.batch.num_items, 'pair')} finished, {batch.num_in_adjudication} in "
            "adjudication",
            highlight=False,
        )
        if told := str(batch.missing):
            console.print(f"  waits {told}", markup=False, highlight=False, soft_wrap=True)
    if campaign and not batches:
        console.print(f"nobody was asked anything for {campaign} yet", highlight=False)
    asked = {batch.batch.batch_id for batch in batches}
    live = [
        answer
        for answer in live_answers(AnswerLedger(store).answers()).values()
        if answer.batch_id in asked or not campaign
    ]
    if not live:
        console.print("no verdicts yet")
        return
    answers = answer_frame(live)
    agreement = measure(answers)
    console.print(f"agreement: {_in_words(agreement)}", highlight=False)
    rates = {a.name: a.hourly_rate for a in Accounts(store, clock=_now).all()}
    table = annotator_table(answers, hourly_rates=rates)
    console.print(table.round(3).to_string(index=False), highlight=False)


def _campaign(profile: str, seed: int | None) -> str | None:
    """The campaign that is asked about; None for all of them."""
    if profile:
        return load_or_refuse(console, profile, seed).campaign_name()
    if seed is not None:
        refuse(console, "--seed is one of a profile: name it with --profile")
    return None


def _in_words(agreement: "Agreement") -> str:
    if not agreement.num_pairs:
        return "no pair was seen by two people yet"
    from synpref_dagster.pairs.texts import counted

    seen = counted(agreement.num_pairs, "pair")
    shown = f"pairwise {agreement.pairwise:.3f} on {seen} seen by two or more"
    if isnan(agreement.alpha):  # undefined where all answers are one and the same
        return f"{shown}, alpha undefined: everybody gave the same answer"
    return f"alpha {agreement.alpha:.3f}, {shown}"


def _store(url: str, *, may_make: bool = True, is_fine_without: bool = False):  # type: ignore[no-untyped-def]  # noqa: ANN202
    from synpref_dagster.people.ledger.database import NoLedgerError, ReviewDatabase
    from synpref_dagster.people.page.serving import ledger_url

    try:
        return ReviewDatabase(url or ledger_url(), may_make=may_make)
    except NoLedgerError as error:
        if is_fine_without:
            console.print(str(error), markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit from error
        refuse(console, error)
    except (ValueError, OSError, ImportError) as error:
        refuse(console, error)


def _now() -> float:
    import time

    return time.time()
