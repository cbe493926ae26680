"""The sections of a check, from what was found: few lines each, so that all fit on two screens."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from synpref_dagster.pairs.texts import counted, duration, printable
from synpref_dagster.preview.answering import Answer
from synpref_dagster.preview.costs import (
    Bill,
    Machines,
    SmallModels,
    hours_of_people,
    minutes_per_pair,
    num_for_people,
)
from synpref_dagster.preview.languages import language_shares
from synpref_dagster.preview.lengths import Limit
from synpref_dagster.preview.needs import Sizes, holding
from synpref_dagster.preview.page import Grid, Part
from synpref_dagster.preview.survey import Survey
from synpref_dagster.publishing.report.sources import CLEANING_TITLES, READ_TITLES, Row
from synpref_dagster.settings.leaving import Destination, hosts_away
from synpref_dagster.settings.profile import Profile
from synpref_dagster.sources.records import QuarantinedRow

MAX_REASONS, MAX_COLUMNS = 5, 8
MAX_LANGUAGES, LEAST_SHARE = 5, 0.005
MAX_SHOWN = 98
"""Characters of an example."""
OVERLAPS = {
    "num_repeated": "again",
    "num_elsewhere": "shared",
    "num_both_ways": "both ways",
    "num_opposed": "against",
}


def sources_part(found: Survey, held_out: Sequence[str] = ()) -> Part:
    """What each source brings, as it is read: rows and unfolded ones are pairs or none.

    Args:
        found: in the sources.
        held_out: debates that make the test set.
    """
    if not found.num_pairs and not found.sources:
        return Part(title="Sources", lines=("No source was read.",))
    lines = [
        "rows + unfolded (further pairs of a row) = left out (held-out debates, or outside what "
        "options select) + quarantined + pairs.",
        *(_outside(row, held_out) for row in found.sources if row["num_outside"]),
    ]
    if found.skipped:
        are = "is no data by its name" if len(found.skipped) == 1 else "are no data by their names"
        lines.append(f"{counted(len(found.skipped), 'file')} {are}, and not read.")
    origins = {"labels": [found.origins.get(row["source"], "") for row in found.sources]}
    grid = _by_source(found, READ_TITLES, texts=origins)
    return Part(title="Sources", grid=grid, lines=tuple(lines))


def cleaning_part(found: Survey) -> Part:
    """What the clean pool will have of each source, and what its pairs say of each other."""
    if not found.num_pairs:
        return Part(title="Cleaning", lines=("No pair was read.",))
    lines = (
        f"{counted(found.num_pairs, 'pair')}, {found.num_distinct:,} of them different; "
        f"{found.num_clean:,} without a benchmark in them, {found.num_for_people:,} of these "
        "of human origin (for people and judges).",
        "pairs = duplicates (of this source or one above) + dropped (benchmarks) + clean; "
        "contradictory: clean, the opposite label as well.",
        "again: pairs that stand in the source before; shared: in another source as well; both "
        "ways: texts under both labels here; against: labelled the other way by another source; "
        "longer: how often the longer response is preferred.",
    )
    shares = {"longer": [percent(row["longer_before"]["value"]) for row in found.sources]}
    grid = _by_source(found, {**CLEANING_TITLES, **OVERLAPS}, after=shares)
    return Part(title="Cleaning", grid=grid, lines=lines)


def _by_source(
    found: Survey,
    counts: Mapping[str, str],
    *,
    texts: Mapping[str, Sequence[str]] | None = None,
    after: Mapping[str, Sequence[str]] | None = None,
) -> Grid:
    """A row per source: its name, texts, counts by their titles, and what stands after them."""
    before = {"source": [row["source"] for row in found.sources], **(texts or {})}
    numbers = {
        title: [number(row[name]) for row in found.sources] for name, title in counts.items()
    }
    columns = {**before, **numbers, **(after or {})}
    return Grid(
        head=tuple(columns),
        rows=tuple(zip(*columns.values(), strict=True)),
        num_names=len(before),
    )


def _outside(row: Row, held_out: Sequence[str]) -> str:
    """Where rows of a source are that are neither pairs nor in quarantine."""
    num = row["num_outside"]
    lie = "lies" if num == 1 else "lie"
    told = f"{counted(num, 'row')} of {row['source']} {lie}"
    if not held_out:
        return f"{told} outside the part that its options select."
    return (
        f"{told} outside the pool, in the test set ({', '.join(held_out)}) or unselected: "
        "`synpref init` counts their pairs, too, and a campaign does not."
    )


def quarantine_part(found: Survey, silent: Collection[str] = ()) -> Part:
    """Rows that are no pairs, two of each kind, and columns that nobody reads.

    Args:
        found: in the sources.
        silent: sources whose texts are not shown.
    """
    lines = [] if found.quarantined or not found.num_pairs else ["Every row is a pair."]
    for each in found.quarantined[:MAX_REASONS]:
        rows = counted(each.num_rows, "row")
        lines.append(f"{each.source}, {each.reason}: {rows}, for instance")
        for row in each.examples:
            text = "(not shown here)" if each.source in silent else _begins(row)
            lines.append(f"    row {row.row:,}: {text}"[:MAX_SHOWN])
    if rest := found.quarantined[MAX_REASONS:]:
        told = Counter({each.reason: 0 for each in rest})
        for each in rest:
            told[each.reason] += each.num_rows
        lines.append(f"Also: {_listed(told)} (all of them: --json).")
    unread = [
        f"{source}.{column} ({counted(rows, 'row')})"
        for (source, column), rows in found.unread.items()
    ]
    if unread:
        more = f" and {len(unread) - MAX_COLUMNS} more" if len(unread) > MAX_COLUMNS else ""
        lines.append(f"Columns that nobody reads: {', '.join(unread[:MAX_COLUMNS])}{more}.")
    return Part(title="Quarantine", lines=tuple(lines))


def _begins(row: QuarantinedRow) -> str:
    said = " ".join(printable(row.raw).replace("\\n", " ").split())
    return said or printable(row.detail)


def _listed(counts: Mapping[str, int], *, most: int = 6) -> str:
    """`email 12, iban 3`: the most frequent first."""
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{name} {n:,}" for name, n in ordered[:most])


def texts_part(found: Survey, limits: Sequence[Limit]) -> Part:
    """Prompts, languages, lengths, benchmarks and personal data."""
    whole = found.prompts[""]
    if not whole.num_pairs:
        return Part(title="Texts", lines=("No pair was read.",))
    lines = [
        f"{counted(whole.num_prompts, 'prompt')} for {counted(whole.num_pairs, 'pair')}; "
        f"{holding(whole.num_for_half)} half of the pairs, the largest {whole.largest:,}."
    ]
    lines += [_languages(found), *_benchmarks(found), *_personal(found)]
    lines += [_length(each) for each in limits]
    return Part(title="Texts", lines=tuple(filter(None, lines)))


def _languages(found: Survey) -> str:
    told = languages(found)
    if not told:
        return ""
    first = [(name, share) for name, share in told.items() if share >= LEAST_SHARE][:MAX_LANGUAGES]
    shares = ", ".join(f"{name} {percent(share)}" for name, share in first)
    looked = counted(sum(map(len, found.sample.values())), "pair")
    return f"Languages: {shares} (by script and small words of {looked})."


def languages(found: Survey) -> dict[str, float]:
    """Language -> its share of the pairs, by those in the sample."""
    return language_shares(found.sample, {row["source"]: row["num_pairs"] for row in found.sources})


def _benchmarks(found: Survey) -> list[str]:
    if not found.benchmarks:
        return ["Benchmarks: none is named, so that nothing is looked for."]
    if not found.contaminated:
        return [f"Benchmarks: no pair shares words with {', '.join(found.benchmarks)}."]
    by_name: Counter[str] = Counter()
    for (_, benchmark), n in found.contaminated.items():
        by_name[benchmark] += n
    pairs = counted(found.num_contaminated, "different pair")
    share = "shares" if found.num_contaminated == 1 else "share"
    return [f"Benchmarks: {pairs} {share} words with one: {_listed(by_name)}."]


def _personal(found: Survey) -> list[str]:
    kinds: Counter[str] = Counter()
    for (_, kind), n in found.personal.items():
        kinds[kind] += n
    if not kinds:
        return ["Personal data: patterns find none; names and addresses have no pattern."]
    pairs = counted(found.num_personal, "pair")
    return [f"Personal data: {pairs}, by patterns: {_listed(kinds)}."]


def _length(limit: Limit) -> str:
    first, *more = limit.size.split(", ")
    sizes = f"{first} and {len(more)} more" if more else first
    how = "tokens counted on a sample" if limit.is_counted else "four bytes taken for a token"
    one, many = ("loses its", "lose their") if limit.is_cut else ("would train", "would train")
    what = "beginning" if limit.is_cut else "nothing"
    over = f"{counted(limit.num_over, 'pair')} {one if limit.num_over == 1 else many} {what}"
    mean = counted(round(limit.tokens_per_pair), "token")
    return (
        f"Lengths for {sizes}: {mean} on average, longest {limit.longest:,}, allowed "
        f"{limit.max_tokens:,}: {over} ({how})."
    )


def people_part(profile: Profile, found: Survey, asked: Sizes) -> Part:
    """Sizes against the pool, votes, and the time of people."""
    rows = [
        ("gold seed", "seed_set.num_gold", number(asked.num_gold), number(asked.num_answerable)),
        (
            "silver seed",
            "seed_set.num_silver",
            number(asked.num_silver),
            number(max(0, asked.num_there - asked.num_gold)),
        ),
        (
            f"iterations: {asked.num_iterations}, in all",
            "iterations.max_retrieved",
            number(asked.num_iterations * asked.max_retrieved),
            number(max(0, asked.num_there - asked.num_gold - asked.num_silver)),
        ),
        (
            "of these by people",
            "iterations.num_human",
            number(asked.num_iterations * asked.num_human),
            number(max(0, asked.num_answerable - asked.num_gold)),
        ),
    ]
    lines = [
        f"Recorded votes: {each.source} has {each.num_votes:,} by "
        f"{counted(each.num_people, 'person', 'people')} on {counted(each.num_pairs, 'pair')}."
        for each in found.votes
    ]
    if not found.votes and not found.num_voted:
        lines.append("Recorded votes: none.")
    is_recorded = profile.people.backend == "recorded"
    if found.num_voted:
        plays = "they play the people" if is_recorded else _asked(profile)
        have = "has" if found.num_voted == 1 else "have"
        lines.append(f"{found.num_voted:,} of the pairs for people {have} one; {plays}.")
    if unseen := unverified(profile, found):
        lines.append(
            f"Nobody verifies anything of {', '.join(unseen)}: judges and models alone decide "
            "about their pairs."
        )
    if is_recorded:
        lines.append("Time of people: none, recorded votes answer.")
    else:
        hours, each = hours_of_people(profile, found), minutes_per_pair(found)
        lines.append(
            f"Time of people: about {duration(3600 * hours)} "
            f"({counted(num_for_people(profile), 'answer')}, {duration(60 * each)} each by the "
            "length of the texts)."
        )
    head = ("what", "setting", "asked for", "there are")
    grid = Grid(head=head, rows=tuple(rows), num_names=2)
    return Part(title="Sizes and people", grid=grid, lines=tuple(lines))


def _asked(profile: Profile) -> str:
    if profile.people.recorded_first:
        return "it answers, and people are asked about the others"
    return "people are asked all the same"


def unverified(profile: Profile, found: Survey) -> list[str]:
    """Sources of which no person sees a pair: nobody voted on them, or models labelled them."""
    is_recorded = profile.people.backend == "recorded"
    voted = {each.source for each in found.votes} if is_recorded else set(found.origins)
    # Votes of the synthetic world lie beside its sources.
    voted |= set(found.origins) if found.num_voted and not found.votes else set()
    return [
        row["source"]
        for row in found.sources
        if row["num_pairs"]
        and (found.origins[row["source"]] != "human" or row["source"] not in voted)
    ]


def judges_part(profile: Profile, bill: Bill | None, answers: Sequence[Answer]) -> Part:
    """What judges cost and take, and whether they are there."""
    if bill is None:
        lines = [f"$0: the {profile.judges.kind} judges of this profile run here and cost nothing."]
        return Part(title="Judges", lines=tuple(lines))
    usd: dict[str, float] = {}
    questions: Counter[str] = Counter()
    for each in bill.rows:
        if not each.is_extra:
            usd[each.judge] = usd.get(each.judge, 0.0) + (each.usd or 0.0)
            questions[each.judge] += each.num_questions or 0
    state = {each.name: each for each in answers}
    rows = [
        (
            name,
            state[name].address if name in state else "",
            state[name].state if name in state else "",
            number(questions[name]),
            f"{usd[name]:,.2f}",
        )
        for name in usd
    ]
    measured = "mean of replies so far" if bill.is_timed else "assumed"
    lines = [
        f"About ${bill.usd:,.2f} in all: {bill.said}.",
        f"About {duration(3600 * bill.hours)} of replies ({bill.seconds_per_call:.1f} s a call, "
        f"{measured}; as many at once as max_concurrency allows; batches may take a day each).",
        "Lengths of questions are measured on the texts, shares of the pool that are asked about "
        "again are assumed.",
    ]
    head = ("endpoint", "address", "state", "questions", "US$")
    grid = Grid(head=head, rows=tuple(rows), num_names=3)
    return Part(title="Judges", grid=grid, lines=tuple(lines))


def machines_part(told: Sequence[Machines], small: Sequence[SmallModels], seconds: float) -> Part:
    """Time of training and scoring."""
    lines = [f"This check took {duration(seconds)} of one CPU."]
    lines += [
        f"One {each.device.name}: about {duration(3600 * each.hours)} of training and scoring "
        f"({each.device.utilisation:.0%} of its speed; {each.device.source})."
        for each in told
    ]
    if told:
        lines.append("synpref sizes has them one by one; benchmarks come on top.")
    lines += [
        f"Models of the {each.what} without a real backbone ({each.backend}): about "
        f"{duration(each.seconds)} of one CPU ({counted(each.num_models, 'model')}, "
        f"{counted(each.num_trained, 'pair')} to train on and {each.num_read:,} to score; rates "
        "measured on one core, right within a factor of three)."
        for each in small
    ]
    if small:
        lines.append("Every step of a campaign takes a second or more besides.")
    return Part(title="Machines", lines=tuple(lines))


def leaving_part(places: Sequence[Destination], staying: Sequence[str]) -> Part:
    """What would go to other machines."""
    away = [f"{place.setting}: to {host}" for place in places for host in hosts_away(place.address)]
    lines = away or ["No text leaves this machine while the campaign runs."]
    if staying:
        lines.append(f"May not leave by the profile: {', '.join(staying)}.")
    return Part(title="What leaves this machine", lines=tuple(lines))


def number(value: int) -> str:
    """With commas; a dash for none."""
    return f"{value:,}" if value else "-"


def percent(share: float | None) -> str:
    """A share as people read it."""
    return "-" if share is None else f"{share:.0%}"
