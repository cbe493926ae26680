"""A profile checked: its sources read once, and everything that follows for a campaign."""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from tempfile import TemporaryDirectory
from typing import Any

from synpref_dagster.curation.contamination.rules import (
    ContaminationIndex,
    build_index,
    by_benchmark,
    prompts_from_rows,
)
from synpref_dagster.curation.pool.screening import contamination_config
from synpref_dagster.pairs.texts import counted
from synpref_dagster.preview import answering, costs, needs, sections
from synpref_dagster.preview.backbones import missing_backbones
from synpref_dagster.preview.hub import missing_on_hub
from synpref_dagster.preview.lengths import Limit, limits
from synpref_dagster.preview.page import Page
from synpref_dagster.preview.survey import Survey, survey
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.sources import PoolSources
from synpref_dagster.settings.leaving import Destination, destinations, hosts_away
from synpref_dagster.settings.profile import Profile, mlflow_uri
from synpref_dagster.sources.held_out import held_out_debates, truth_columns


def checked(profile: Profile, *, offline: bool = False, silent: Collection[str] = ()) -> Page:
    """What a campaign under this profile will meet, need and cost. Nothing is written.

    Args:
        profile: of the campaign.
        offline: looks for keys of endpoints, and does not ask whether they are there.
        silent: sources of which no text is shown.
    """
    began = time.process_time()
    missing = [] if offline else missing_on_hub(profile, profile.sizes())
    with _sources(profile) as sources:
        indexes, unread = _benchmarks(profile, sources, without_hub=bool(missing))
        missing += unread
        found = survey(
            # What the hub does not give is said once, and not asked for again and again.
            [spec for spec in sources.specs() if not (missing and spec.hub_id)],
            seed=profile.seed,
            indexes=indexes,
            recorded=_recorded(sources) if sources.is_synthetic else (),
        )
        num_comparisons = None if missing else _comparisons(sources)
    found = replace(found, unread=_unread(profile, found))
    seconds = time.process_time() - began
    about = _About(
        seconds=seconds,
        num_comparisons=num_comparisons,
        problems=missing,
        answers=answering.answers(profile, offline=offline),
        silent=silent,
    )
    return _page(profile, found, about)


@dataclass(frozen=True, kw_only=True, slots=True)
class _About:
    """What is known beside the survey: how long it took, benchmarks, problems, endpoints."""

    seconds: float
    num_comparisons: int | None
    problems: Sequence[str]
    answers: Sequence[answering.Answer]
    silent: Collection[str]


@contextmanager
def _sources(profile: Profile) -> Iterator[PoolSources]:
    """The sources of a profile; a synthetic world is written into a folder that goes again."""
    json = profile.model_dump_json()
    if profile.pool.kind == "sources":
        yield PoolSources(campaign=Campaign(profile_json=json, store_root=profile.store_root()))
        return
    with TemporaryDirectory() as folder:
        yield PoolSources(campaign=Campaign(profile_json=json, store_root=folder))


def _benchmarks(
    profile: Profile, sources: PoolSources, *, without_hub: bool
) -> tuple[list[ContaminationIndex], list[str]]:
    """What is looked for in prompts, and why some benchmark cannot be had."""
    if without_hub and "hub" in profile.pool.benchmarks.values():
        return [], []
    try:
        prompts = prompts_from_rows(sources.benchmark_prompts())
    except (OSError, ValueError, ConnectionError) as error:
        return [], [f"benchmarks: {error}"]
    config = contamination_config(profile.pool.ngram_words)
    return [build_index(listed, config) for listed in by_benchmark(prompts).values()], []


def _recorded(sources: PoolSources) -> list[bytes]:
    return [bytes.fromhex(row["content_id"]) for row in sources.recorded_verdicts()]


def _comparisons(sources: PoolSources) -> int | None:
    from synpref_dagster.judges.forecast import costs_money

    return sources.num_comparisons() if costs_money(sources.campaign.profile) else None


def _unread(profile: Profile, found: Survey) -> dict[tuple[str, str], int]:
    truth = truth_columns(profile.pool, profile.seed)
    return {column: rows for column, rows in found.unread.items() if column not in truth}


def _page(profile: Profile, found: Survey, about: _About) -> Page:
    asked, lengths = needs.sizes(profile, found), limits(profile, found) if found.num_pairs else []
    bill = costs.bill(profile, found, num_comparisons=about.num_comparisons)
    told, unknown = _machines(profile, found)
    small, places = costs.small_models(profile, found), _places(profile)
    changes = [
        *about.problems,
        *missing_backbones(profile),
        *needs.must_change(profile, found),
        *filter(None, (each.must_change for each in about.answers)),
        *([bill.shortage] if bill and bill.shortage else []),
    ]
    looks = [*needs.look_at(profile, found), *unknown, *_too_long(lengths, found)]
    looks += [f"{each.name}: {each.detail}" for each in about.answers if each.is_doubtful]
    looks += [line for each in told for line in each.too_large]
    return Page(
        title=profile.name,
        parts=(
            sections.sources_part(found, held_out_debates(profile.pool, profile.seed)),
            sections.cleaning_part(found),
            *(
                [sections.quarantine_part(found, about.silent)]
                if found.num_pairs or found.quarantined
                else []
            ),
            sections.texts_part(found, lengths),
            sections.people_part(profile, found, asked),
            sections.judges_part(profile, bill, about.answers),
            sections.machines_part(told, small, about.seconds),
            sections.leaving_part(places, profile.pool.staying()),
        ),
        must_change=tuple(dict.fromkeys(changes)),
        look_at=tuple(dict.fromkeys(looks)),
        facts={
            **_facts_of_pool(found),
            "sizes": asdict(asked) | {"num_labelled": asked.num_labelled},
            "lengths": [asdict(each) for each in lengths],
            "held_out_debates": list(held_out_debates(profile.pool, profile.seed)),
            **_facts_of_people(profile, found),
            **_facts_of_judges(bill, about.answers),
            "device_hours": {each.device.name: each.hours for each in told},
            "machines": [asdict(each) | {"hours": each.hours} for each in told],
            "small_models": [asdict(each) for each in small],
            "check_cpu_seconds": about.seconds,
            **_facts_of_leaving(profile, places),
        },
    )


def _machines(profile: Profile, found: Survey) -> tuple[list[costs.Machines], list[str]]:
    try:
        return costs.machines(profile, found), []
    except ValueError as error:
        return [], [f"hours of models are not known: {error}"]


def _too_long(lengths: list[Limit], found: Survey) -> list[str]:
    return [
        f"{each.num_over:,} of {counted(found.num_pairs, 'pair')} "
        f"{'is' if each.num_over == 1 else 'are'} longer than the {each.max_tokens:,} tokens of "
        f"{each.size}"
        for each in lengths
        if each.num_over > 0.01 * found.num_pairs
    ]


def _places(profile: Profile) -> list[Destination]:
    named = destinations(
        profile.judges, profile.people, profile.shards, embedding=profile.embedding
    )
    return [
        *named,
        Destination("the store (SYNPREF_STORE)", profile.store_root()),
        Destination("MLflow (figures and settings)", mlflow_uri()),
    ]


def _facts_of_pool(found: Survey) -> dict[str, Any]:
    """Plain JSON; no text of a pair but the beginnings of quarantined rows."""
    return {
        "sources": [{**row, "origin": found.origins.get(row["source"])} for row in found.sources],
        "num_files": found.num_files,
        "files_skipped": list(found.skipped),
        "unreadable": dict(found.unreadable),
        "quarantined": [asdict(each) for each in found.quarantined],
        "unread_columns": [
            {"source": source, "column": column, "num_rows": n}
            for (source, column), n in found.unread.items()
        ],
        "prompts": {name or "all": asdict(each) for name, each in found.prompts.items()},
        "languages": sections.languages(found),
        "num_pairs": found.num_pairs,
        "num_distinct": found.num_distinct,
        "num_clean": found.num_clean,
        "num_for_people": found.num_for_people,
        "benchmarks": list(found.benchmarks),
        "contaminated": [
            {"source": source, "benchmark": name, "num_pairs": n}
            for (source, name), n in found.contaminated.items()
        ],
        "num_contaminated": found.num_contaminated,
        "personal_data": [
            {"source": source, "kind": kind, "num_pairs": n}
            for (source, kind), n in found.personal.items()
        ],
        "num_with_personal_data": found.num_personal,
        "votes": [asdict(each) for each in found.votes],
        "num_voted": found.num_voted,
    }


def _facts_of_people(profile: Profile, found: Survey) -> dict[str, Any]:
    is_asked = profile.people.backend != "recorded"
    return {
        "people": profile.people.backend,
        "unverified_sources": sections.unverified(profile, found),
        "num_answers_of_people": costs.num_for_people(profile) if is_asked else 0,
        "minutes_per_pair": costs.minutes_per_pair(found),
        "human_hours": costs.hours_of_people(profile, found),
    }


def _facts_of_judges(
    bill: costs.Bill | None, answers: Sequence[answering.Answer]
) -> dict[str, Any]:
    return {
        "judges_usd": None if bill is None else bill.usd,
        "judges_hours": None if bill is None else bill.hours,
        "judges_bill": None if bill is None else asdict(bill),
        "endpoints": [asdict(each) | {"must_change": bool(each.must_change)} for each in answers],
    }


def _facts_of_leaving(profile: Profile, places: Sequence[Destination]) -> dict[str, Any]:
    return {
        "leaves_this_machine": [
            {"setting": place.setting, "host": host}
            for place in places
            for host in hosts_away(place.address)
        ],
        "may_not_leave": list(profile.pool.staying()),
    }
