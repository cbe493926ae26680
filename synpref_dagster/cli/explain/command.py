"""`synpref explain` and `synpref pairs`: read what a campaign left, and refuse with what to do."""

import json
from typing import Any

import typer
from rich.console import Console

from synpref_dagster.cli.explain.history import PairNotFoundError, find_pair_id, pair_history
from synpref_dagster.cli.explain.listing import (
    NotDecidedError,
    Query,
    UnknownValueError,
    count_pairs,
    listed_pairs,
    refuse_unknown,
)
from synpref_dagster.cli.explain.records import CampaignRecords, NoPoolError
from synpref_dagster.cli.explain.search import (
    MAX_FOUND,
    pairs_by_id,
    pairs_with_text,
    quarantined_with_text,
)
from synpref_dagster.cli.explain.terminal import (
    print_candidates,
    print_history,
    print_listed,
    print_quarantined,
)
from synpref_dagster.cli.refusals import refuse
from synpref_dagster.pairs.texts import counted
from synpref_dagster.settings.profile import Profile


def explain_pair(console: Console, profile: Profile, text: str, *, as_json: bool) -> None:
    """Print the history of the one pair that is meant.

    Args:
        console: where to.
        profile: names the campaign.
        text: id, UUID or first digits.
        as_json: print JSON.
    """
    records = CampaignRecords(profile, profile.store_root())
    try:
        history = pair_history(records, find_pair_id(records, text))
    except PairNotFoundError as error:
        print_candidates(console, pairs_by_id(records, error.candidates))
        refuse(console, error)
    except NoPoolError as error:
        refuse(console, error)
    if as_json:
        _print_json(history.as_json())
    else:
        print_history(console, history)


def list_pairs(console: Console, profile: Profile, words: str, *, as_json: bool) -> None:
    """Print the ids of pairs with some words, and rows with them that became no pair."""
    records = CampaignRecords(profile, profile.store_root())
    try:
        pairs = pairs_with_text(records, words)
    except NoPoolError as error:
        refuse(console, error)
    quarantined = quarantined_with_text(records, words)
    if as_json:
        _print_json(
            {
                "pairs": [
                    {"pair_id": pair.pair_id.hex(), "source": pair.source, "chosen": pair.chosen}
                    for pair in pairs
                ],
                "quarantined": [
                    {"source": row.source, "row": row.row, "reason": row.reason}
                    for row in quarantined
                ],
            }
        )
        return
    if not pairs and not quarantined:
        number = f"{records.raw_pool().num_rows:,}"
        refuse(console, f"{words!r} is in none of the {number} rows of the raw pool")
    print_candidates(console, pairs)
    print_quarantined(console, quarantined)
    if len(pairs) == MAX_FOUND:
        console.print(f"the first {MAX_FOUND}: more words give fewer", highlight=False)


def list_decided(
    console: Console, profile: Profile, query: Query, *, as_json: bool, called: str
) -> None:
    """Print the pairs that a query means, and how many there are.

    Args:
        console: where to.
        profile: names the campaign.
        query: which pairs.
        as_json: print one JSON object a line.
        called: options that name the campaign, for the command that goes on from here.
    """
    records = CampaignRecords(profile, profile.store_root())
    try:
        refuse_unknown(records, query)
    except (NoPoolError, NotDecidedError, UnknownValueError) as error:
        refuse(console, error)
    if as_json:
        for pair in listed_pairs(records, query):
            typer.echo(json.dumps(pair.as_json(), ensure_ascii=False, allow_nan=False))
        return
    num_shown, last = 0, ""
    for pair in listed_pairs(records, query):
        print_listed(console, pair)
        num_shown, last = num_shown + 1, pair.row["pair_id"]
    if not num_shown:
        console.print("no pair fits", highlight=False)
        return
    found = count_pairs(records, query)
    told = counted(num_shown, "pair") if found is None else f"{num_shown:,} of {found:,} pairs"
    console.print(told, highlight=False)
    console.print(
        f"`synpref explain {last[:12]}{called}` tells all that happened to the last one",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _print_json(value: dict[str, Any]) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))
