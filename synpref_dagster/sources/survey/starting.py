"""A first profile for some places, and what was assumed in it, one line each."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from synpref_dagster.pairs.texts import counted
from synpref_dagster.sources.survey.found import Found, FoundSource, PassedOver
from synpref_dagster.sources.survey.joining import ENDING, find_joins, write_join
from synpref_dagster.sources.survey.licence_files import licence_of
from synpref_dagster.sources.survey.looking import (
    EMPTY,
    MODEL,
    NO_DATA,
    NO_FORMAT,
    is_model,
    look,
)
from synpref_dagster.sources.survey.profile_text import (
    ASK_PEOPLE,
    Backbone,
    Draft,
    campaign_name,
    told_counts,
)
from synpref_dagster.sources.survey.sizes import (
    FEW_PAIRS,
    FEWEST_PAIRS,
    FEWEST_PROMPTS,
    Sizes,
    chosen_sizes,
    is_unverified,
    num_for_people,
    num_prompts,
)

PAD_TOKENS = (None, "<|endoftext|>", "<pad>")
MEMORY_SHARE = 0.25
"""Of the machine's memory that the weights of a backbone may take."""
MAX_TOLD = 12  # files of one kind that are named
Unfit = Callable[[str, str | None], str]
"""Why heads cannot be put on the model in a folder, with a token to pad with; empty: they can."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """A first profile and what to say about it."""

    draft: Draft
    says: tuple[str, ...]
    """What was found, passed over and assumed: a line each."""


def first_profile(
    places: Sequence[str],
    folder: Path,
    *,
    known_backbone: str | None,
    unfit: Unfit,
    may_replace: bool = False,
) -> Start:
    """The profile for what lies at some places.

    Args:
        places: files, folders, ids of hub data sets; none: the working folder.
        folder: that the profile will lie in.
        known_backbone: a folder or hub id of a model, where one is set for this machine.
        unfit: asked about a model folder that was found.
        may_replace: whether a joined file may take the place of another one of its name.

    Raises:
        ValueError: nothing there reads as pairs, or a place is not there; in one line.
    """
    found, joined = _with_joins(look(places or ["."]), folder, may_replace=may_replace)
    if not found.sources:
        raise ValueError(_nothing(places, found))
    sources, said = _with_people(found.sources)
    _refuse_too_few(sources)
    said = [*joined, *said]
    backbone, about = _backbone(found, known_backbone, unfit)
    sizes = chosen_sizes(sources)
    draft = Draft(
        name=campaign_name(folder), folder=folder, sources=sources, sizes=sizes, backbone=backbone
    )
    says = (
        *map(_told, sources),
        *_told_passed(found.passed),
        *_told_twins(sources),
        *said,
        *_told_sizes(sizes, sources),
        *_told_unverified(sizes, sources),
        about,
    )
    return Start(draft=draft, says=says)


def _with_joins(found: Found, folder: Path, *, may_replace: bool) -> tuple[Found, list[str]]:
    """What was found, with pairs and votes of two files as one source; and what to say of these."""
    unread = [each.place for each in found.passed if each.why.startswith(NO_FORMAT)]
    joins = find_joins([Path(place) for place in unread])
    said, used = [], set[str]()
    for join in joins:
        target = folder / f"{join.name}{ENDING}"
        told = write_join(join, target, may_replace=may_replace)
        files = f"{join.pairs.name} and {join.votes.name} of {join.pairs.parent}"
        said.append(f"joined: {files}: {told}")
        made = look([os.path.relpath(target)])  # it lies beside the profile, and moves with it
        licence = licence_of(join.pairs.parent, join.pairs.parent)
        renamed = tuple(replace(each, name=join.name, licence=licence) for each in made.sources)
        # An earlier look may have written the file, and this one found it.
        others = [each for each in found.sources if not _is_same(each.place, target)]
        found = replace(found, sources=(*others, *renamed))
        used |= {str(join.pairs), str(join.votes)} if renamed else set()
    passed = tuple(each for each in found.passed if each.place not in used)
    return replace(found, passed=passed), said


def _is_same(place: str, target: Path) -> bool:
    return Path(place).resolve() == target.resolve()


def _nothing(places: Sequence[str], found: Found) -> str:
    where = ", ".join(places) or "this folder"
    tried = [each for each in found.passed if each.why not in (NO_DATA, EMPTY, MODEL)]
    files = counted(len(found.passed), "file")
    first = f"; {tried[0].place}: {tried[0].why}" if tried else ""
    return (
        f"nothing in {where} reads as preference pairs ({files} passed over"
        f"{first}): name files or folders with pairs; docs/own_data.md shows what rows look like"
    )


def _refuse_too_few(sources: Sequence[FoundSource]) -> None:
    """Refuse a pool with which no campaign comes to its end, before anything is written."""
    number, prompts = num_for_people(sources), num_prompts(sources)
    is_enough = number >= FEWEST_PAIRS and prompts >= FEWEST_PROMPTS
    if is_enough or not all(each.is_counted for each in sources):
        return
    pairs, on = counted(number, "different pair"), counted(prompts, "prompt")
    raise ValueError(
        f"{pairs} of human origin on {on} in {', '.join(each.place for each in sources)}: a "
        f"campaign needs {FEWEST_PAIRS} pairs on {FEWEST_PROMPTS} prompts at least, some for gold "
        "and others for judges: give more; no profile was written"
    )


def _with_people(sources: Sequence[FoundSource]) -> tuple[tuple[FoundSource, ...], list[str]]:
    """The sources, of which one at least counts as labelled by people, and what to say of that."""
    guessed = [each.name for each in sources if each.origin_is_guessed]
    said = [f"assumed: people set the labels of {', '.join(guessed)}"] if guessed else []
    if any(each.origin == "human" for each in sources):
        return tuple(sources), said
    first = max(sources, key=lambda each: each.num_pairs)
    said.append(
        f"assumed: {first.name} is labelled by a model, and origin is 'human' all the same: people "
        "verify pairs of such sources only"
    )
    changed = replace(first, origin="human", origin_is_guessed=True)
    return tuple(changed if each is first else each for each in sources), said


def _told(source: FoundSource) -> str:
    counts = told_counts(source) if source.num_rows else "rows not counted"
    more = "" if source.is_counted or not source.num_rows else " among its first rows"
    licence = f"licence {source.licence.name} ({source.licence.said_by})"
    columns, codes = source.options.get("columns"), source.options.get("codes")
    renamed = f"; taken for {_pairs_of(columns)}" if columns else ""
    if codes:
        renamed += (
            f"; winner {codes['a']} taken for the first response, {codes['b']} for the second"
        )
    return f"found: {source.place}: {source.format}, {counts}{more}; {licence}{renamed}"


def _told_twins(sources: Sequence[FoundSource]) -> Iterator[str]:
    """Files that two sources share, and lines that are no text."""
    for one, two in combinations(sources, 2):
        if shared := len(one.digests & two.digests):
            files = counted(shared, "file")
            yield f"mind: {files} of {two.place} hold the same as files of {one.place}"
    for source in sources:
        if source.bad_line:
            yield f"mind: {source.place}: {source.bad_line}"


def _pairs_of(columns: dict[str, str]) -> str:
    return ", ".join(f"{known}: the column {name}" for known, name in columns.items())


def _told_passed(passed: Sequence[PassedOver]) -> Iterator[str]:
    """Files that are no sources: those without data together, the others with their reason."""
    without = defaultdict(list)
    for each in passed:
        if each.why in (NO_DATA, EMPTY):
            without[each.why].append(each.place)
        elif each.why != MODEL:
            yield f"passed over: {each.place}: {each.why}"
    for why, places in without.items():
        more = f" and {len(places) - MAX_TOLD} more" if len(places) > MAX_TOLD else ""
        yield f"passed over, {why}: {', '.join(places[:MAX_TOLD])}{more}"


def _told_sizes(sizes: Sizes, sources: Sequence[FoundSource]) -> Iterator[str]:
    voted = sum(each.num_voted for each in sources)
    gold, later = counted(sizes.num_gold, "pair"), f"{sizes.num_human:,}"
    if sizes.is_recorded:
        yield (
            f"assumed: votes in the sources play the people ({_have(voted)} some); {gold} become "
            f"gold, {later} more are asked about later"
        )
    else:
        why = f"only {_have(voted)} votes of people" if voted else "no votes of people found"
        yield (
            f"assumed: one person answers on the review page ({why}): {gold} for gold, {later} "
            "later; `synpref review add-annotator NAME`, then `synpref review serve`"
        )
    silver, rounds = counted(sizes.num_silver, "silver pair"), sizes.num_iterations
    yield f"assumed: {silver}, {counted(rounds, 'iteration')}"
    yield from _told_held_out(sizes, sources)
    number = num_for_people(sources)
    if number < FEW_PAIRS and all(each.is_counted for each in sources):
        yield (
            f"mind: {counted(number, 'pair')} are few: the campaign runs, and what it measures "
            "means little"
        )
    yield "assumed: judges without a model or a key; LLM judges stand in the file, commented out"


def _have(number: int) -> str:
    return f"{counted(number, 'pair')} {'has' if number == 1 else 'have'}"


def _told_held_out(sizes: Sizes, sources: Sequence[FoundSource]) -> Iterator[str]:
    if not sizes.test_debates:
        yield "assumed: no test set but people's gold; public benchmarks are off"
        return
    yield (
        f"assumed: {counted(len(sizes.test_debates), 'part')} of the voted sources are held out as "
        "a clean test set; public benchmarks are off"
    )
    for source in sources:
        if number := sum(source.debates[name] for name in sizes.test_debates):
            yield (
                f"mind: {counted(number, 'pair')} of {source.name} lie in these parts: counted "
                "above, and not in the pool that `synpref check` and `synpref run` count"
            )


def _told_unverified(sizes: Sizes, sources: Sequence[FoundSource]) -> Iterator[str]:
    """Sources of which no person sees a pair."""
    unseen = [each for each in sources if is_unverified(each, sizes)]
    for source in unseen:
        why = "it has no votes" if source.origin == "human" else "models set its labels"
        pairs = counted(source.num_pairs, "pair") if source.num_pairs else "all its pairs"
        yield (
            f"mind: nobody verifies anything of {source.name} ({why}): judges and models alone "
            f"decide about {pairs}"
        )
    if any(each.origin == "human" for each in unseen):
        yield (
            f"to have people label pairs without votes, write {' and '.join(ASK_PEOPLE)} under "
            "[people]; `synpref check` then says how many hours they need"
        )


def _backbone(
    found: Found, known: str | None, unfit: Unfit
) -> tuple[Backbone | None, str]:  # fmt: skip
    """A model folder that heads may be put on, and what to say about it."""
    folders = [each.place for each in found.passed if each.why == MODEL]
    if known and is_model(Path(known)):
        folders.insert(0, known)
    without = (
        "reward models are linear and may filter also where they are no better than chance, which "
        "the report then says first; the release is a miniature"
    )
    if not folders:
        return None, f"assumed: {without} (no folder of a model was given: one makes better ones)"
    place = folders[0]
    if (size := _weight_bytes(place)) > MEMORY_SHARE * _memory_bytes():
        gigabytes = f"{size / 2**30:.1f} GB"
        return None, f"assumed: {without} ({place} has {gigabytes} of weights: too much here)"
    why = ""
    for token in PAD_TOKENS:
        backbone = Backbone(path=place, pad_token=token)
        why = unfit(place, token)
        if not why:
            return backbone, f"assumed: reward models are heads on {place}, which is read once"
    return None, f"assumed: {without} ({place} cannot be used: {why})"


def _weight_bytes(place: str) -> int:
    kinds = ("*.safetensors", "*.gguf", "*.bin")
    return sum(file.stat().st_size for kind in kinds for file in Path(place).glob(kind))


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
