"""The sections of a check, from what was found: few lines each, so that all fit on two screens."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from synpref_dagster.pairs.texts import printable
from synpref_dagster.preview.answering import Answer
from synpref_dagster.preview.costs import Bill, Machines, minutes_per_pair, num_for_people
from synpref_dagster.preview.languages import count_languages
from synpref_dagster.preview.lengths import Limit
from synpref_dagster.preview.needs import Sizes
from synpref_dagster.preview.page import Grid, Part
from synpref_dagster.preview.survey import Survey
from synpref_dagster.publishing.report.sources import CLEANING_TITLES, READ_TITLES
from synpref_dagster.settings.leaving import Destination, hosts_away
from synpref_dagster.settings.profile import Profile
from synpref_dagster.sources.records import QuarantinedRow

MAX_REASONS, MAX_COLUMNS = 5, 8
MAX_SHOWN = 98
"""Characters of an example."""
OVERLAPS = {
    "num_repeated": "again",
    "num_elsewhere": "shared",
    "num_both_ways": "both ways",
    "num_opposed": "against",
}


def sources_part(found: Survey) -> Part:
    """What each source brings, as it is read: rows and unfolded ones are pairs or none."""
    if not found.num_pairs and not found.sources:
        return Part(title="Sources", lines=("No source was read.",))
    lines = [
        "rows + unfolded (further pairs of a row) = left out (held-out debates, or outside what "
        "options select) + quarantined + pairs."
    ]
    if found.skipped:
        lines.append(f"{len(found.skipped)} files are no data by their names, and not read.")
    origins = {"labels": [found.origins.get(row["source"], "") for row in found.sources]}
    grid = _by_source(found, READ_TITLES, texts=origins)
    return Part(title="Sources", grid=grid, lines=tuple(lines))


def cleaning_part(found: Survey) -> Part:
    """What the clean pool will have of each source, and what its pairs say of each other."""
    if not found.num_pairs:
        return Part(title="Cleaning", lines=("No pair was read.",))
    lines = (
        f"{found.num_pairs:,} pairs, {found.num_distinct:,} of them different; "
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


def quarantine_part(found: Survey, silent: Collection[str] = ()) -> Part:
    """Rows that are no pairs, two of each kind, and columns that nobody reads.

    Args:
        found: in the sources.
        silent: sources whose texts are not shown.
    """
    lines = [] if found.quarantined or not found.num_pairs else ["Every row is a pair."]
    for each in found.quarantined[:MAX_REASONS]:
        lines.append(f"{each.source}, {each.reason}: {each.num_rows:,} rows, for instance")
        for row in each.examples:
            text = "(not shown here)" if each.source in silent else _begins(row)
            lines.append(f"    row {row.row:,}: {text}"[:MAX_SHOWN])
    if rest := found.quarantined[MAX_REASONS:]:
        told = Counter({each.reason: 0 for each in rest})
        for each in rest:
            told[each.reason] += each.num_rows
        lines.append(f"Also: {_listed(told)} (all of them: --json).")
    unread = [
        f"{source}.{column} ({rows:,} rows)" for (source, column), rows in found.unread.items()
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
        f"Prompts: {whole.num_prompts:,} for {whole.num_pairs:,} pairs; {whole.num_for_half:,} "
        f"hold half of the pairs, the largest {whole.largest:,}."
    ]
    lines += [_languages(found), *_benchmarks(found), *_personal(found)]
    lines += [_length(each) for each in limits]
    return Part(title="Texts", lines=tuple(filter(None, lines)))


def _languages(found: Survey) -> str:
    counted: Counter[str] = Counter()
    weights = {row["source"]: row["num_pairs"] for row in found.sources}
    num_looked = 0
    for name, pairs in found.sample.items():
        told = count_languages(
            " ".join(turn["content"] for turn in pair.conversation) + " " + pair.chosen
            for pair in pairs
        )
        num_looked += len(pairs)
        for language, n in told.items():
            counted[language] += round(1000 * n / len(pairs) * weights[name])
    total = sum(counted.values())
    if not total:
        return ""
    shares = ", ".join(
        f"{name} {percent(n / total)}" for name, n in counted.most_common(5) if n / total >= 0.005
    )
    return f"Languages: {shares} (by script and small words of {num_looked:,} pairs)."


def _benchmarks(found: Survey) -> list[str]:
    if not found.benchmarks:
        return ["Benchmarks: none is named, so that nothing is looked for."]
    if not found.contaminated:
        return [f"Benchmarks: no pair shares words with {', '.join(found.benchmarks)}."]
    by_name: Counter[str] = Counter()
    for (_, benchmark), n in found.contaminated.items():
        by_name[benchmark] += n
    return [
        f"Benchmarks: {found.num_contaminated:,} different pairs share words with one: "
        f"{_listed(by_name)}."
    ]


def _personal(found: Survey) -> list[str]:
    kinds: Counter[str] = Counter()
    for (_, kind), n in found.personal.items():
        kinds[kind] += n
    if not kinds:
        return ["Personal data: patterns find none; names and addresses have no pattern."]
    return [f"Personal data: {found.num_personal:,} pairs, by patterns: {_listed(kinds)}."]


def _length(limit: Limit) -> str:
    first, *more = limit.size.split(", ")
    sizes = f"{first} and {len(more)} more" if more else first
    how = "tokens counted on a sample" if limit.is_counted else "four bytes taken for a token"
    over = "lose their beginning" if limit.is_cut else "would train nothing"
    return (
        f"Lengths for {sizes}: {limit.tokens_per_pair:,.0f} tokens on average, longest "
        f"{limit.longest:,}, allowed {limit.max_tokens:,}: {limit.num_over:,} pairs {over} ({how})."
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
        f"Recorded votes: {each.source} has {each.num_votes:,} by {each.num_people:,} people on "
        f"{each.num_pairs:,} pairs."
        for each in found.votes
    ]
    if not found.votes and not found.num_voted:
        lines.append("Recorded votes: none.")
    is_recorded = profile.people.backend == "recorded"
    if found.num_voted:
        plays = "they play the people" if is_recorded else "people are asked all the same"
        lines.append(f"{found.num_voted:,} of the pairs for people have one; {plays}.")
    if is_recorded:
        lines.append("Hours of people: none, recorded votes answer.")
    else:
        pairs, minutes = num_for_people(profile), minutes_per_pair(found)
        lines.append(
            f"Hours of people: about {pairs * minutes / 60:,.0f} ({pairs:,} answers, "
            f"{minutes:.1f} minutes each by the length of the texts)."
        )
    head = ("what", "setting", "asked for", "there are")
    grid = Grid(head=head, rows=tuple(rows), num_names=2)
    return Part(title="Sizes and people", grid=grid, lines=tuple(lines))


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
        f"About {bill.hours:,.1f} hours of replies ({bill.seconds_per_call:.1f} s a call, "
        f"{measured}; as many at once as max_concurrency allows; batches may take a day each).",
        "Lengths of questions are measured on the texts, shares of the pool that are asked about "
        "again are assumed.",
    ]
    head = ("endpoint", "address", "state", "questions", "US$")
    grid = Grid(head=head, rows=tuple(rows), num_names=3)
    return Part(title="Judges", grid=grid, lines=tuple(lines))


def machines_part(profile: Profile, told: Sequence[Machines], seconds: float) -> Part:
    """Hours of training and scoring."""
    lines = [f"This check took {seconds:,.1f} CPU seconds."]
    if not told:
        lines.append(
            f"Models without a real backbone ({profile.reward_model.backend}, "
            f"{profile.release.backend}): minutes of one CPU."
        )
    lines += [
        f"One {each.device.name}: about {each.hours:,.1f} hours of training and scoring "
        f"({each.device.utilisation:.0%} of its speed; {each.device.source})."
        for each in told
    ]
    if told:
        lines.append("synpref sizes has them one by one; benchmarks come on top.")
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
