"""`synpref pairs`: the pairs behind a number of the report."""

from typing import Annotated

import typer
from rich.console import Console

from synpref_dagster.cli.refusals import ProfileOption, SeedOption, load_or_refuse

console = Console()


def pairs(
    decision: Annotated[
        list[str] | None,
        typer.Option(help="kept, flipped, discarded, or dropped in cleaning; may be repeated."),
    ] = None,
    reason: Annotated[list[str] | None, typer.Option(help="Reason code; may be repeated.")] = None,
    source: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    category: Annotated[
        list[str] | None, typer.Option(help="Task category, or unknown; may be repeated.")
    ] = None,
    min_margin: Annotated[
        float | None, typer.Option(help="Least margin of the label under the best RM.")
    ] = None,
    max_margin: Annotated[float | None, typer.Option(help="Largest margin.")] = None,
    sort: Annotated[str, typer.Option(help="margin or gold_margin: lowest first.")] = "",
    descending: Annotated[bool, typer.Option("--descending", help="Highest first.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="List so many at most.")] = 20,
    profile: ProfileOption = "demo",
    seed: SeedOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List pairs by what became of them: decision, reason, source, category, margin.

    A negative margin speaks against the label that the source gave. `synpref explain` goes on from
    an id of the list.
    """
    chosen = load_or_refuse(console, profile, seed)
    from synpref_dagster.cli.explain.command import list_decided
    from synpref_dagster.cli.explain.listing import Query

    query = Query(
        decision=tuple(decision or ()),
        reason=tuple(reason or ()),
        source=tuple(source or ()),
        category=tuple(category or ()),
        min_margin=min_margin,
        max_margin=max_margin,
        sort=sort,
        descending=descending,
        limit=limit,
    )
    called = f" --profile {profile}" + ("" if seed is None else f" --seed {seed}")
    list_decided(console, chosen, query, as_json=as_json, called=called)
