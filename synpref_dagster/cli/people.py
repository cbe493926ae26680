"""`synpref review`: serve the page, open accounts, carry the ledger in and out."""

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from synpref_dagster.cli.refusals import refuse

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
def status(ledger: LedgerOption = "") -> None:
    """How far every batch is, and how well people agree."""
    from synpref_dagster.people.accounts import Accounts
    from synpref_dagster.people.agreement import annotator_table, answer_frame, measure
    from synpref_dagster.people.desk import ReviewDesk
    from synpref_dagster.people.ledger.answers import live_answers
    from synpref_dagster.people.ledger.ledger import AnswerLedger

    store = _store(ledger, may_make=False, is_fine_without=True)
    for batch in ReviewDesk(store, clock=_now).statuses():
        console.print(
            f"{batch.batch.campaign} {batch.batch.asset}: {batch.num_finished} of "
            f"{batch.batch.num_items} pairs finished, {batch.num_in_adjudication} in adjudication",
            highlight=False,
        )
        if told := str(batch.missing):
            console.print(f"  waits {told}", markup=False, highlight=False, soft_wrap=True)
    live = list(live_answers(AnswerLedger(store).answers()).values())
    if not live:
        console.print("no verdicts yet")
        return
    answers = answer_frame(live)
    agreement = measure(answers)
    console.print(f"agreement: {_in_words(agreement)}", highlight=False)
    rates = {a.name: a.hourly_rate for a in Accounts(store, clock=_now).all()}
    table = annotator_table(answers, hourly_rates=rates)
    console.print(table.round(3).to_string(index=False), highlight=False)


def _in_words(agreement: "Agreement") -> str:
    if not agreement.num_pairs:
        return "no pair was seen by two people yet"
    seen = "1 pair" if agreement.num_pairs == 1 else f"{agreement.num_pairs} pairs"
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
