"""The text of a first profile: TOML with comments, complete, as a person would write it."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synpref_dagster.pairs.texts import counted
from synpref_dagster.settings.models import is_path
from synpref_dagster.settings.names import checked_name
from synpref_dagster.settings.pool import CROWD_VOTES
from synpref_dagster.sources.majorities import TRUTH_COLUMN
from synpref_dagster.sources.survey.found import FoundSource
from synpref_dagster.sources.survey.sizes import Sizes, is_unverified

MAX_COLUMNS = 8  # that are listed in a comment
MAX_REASONS = 4
ASK_PEOPLE = ('backend = "page"', "recorded_first = true")
"""The lines below [people] by which people label what has no votes."""


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A model folder on this machine that heads can be put on."""

    path: str
    pad_token: str | None = None

    @property
    def name(self) -> str:
        """What the size is called."""
        return re.sub(r"[^A-Za-z0-9_-]+", "-", Path(self.path).resolve().name).strip("-_").lower()


@dataclass(frozen=True, kw_only=True)
class Draft:
    """All that goes into a first profile."""

    name: str
    folder: Path
    """Of the file: paths in it start from there."""
    sources: tuple[FoundSource, ...]
    sizes: Sizes
    backbone: Backbone | None = None

    def text(self) -> str:
        """The file."""
        return "\n".join(_lines(self)) + "\n"


def campaign_name(folder: Path) -> str:
    """A name for the campaign of a folder."""
    text = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("._-")[:60]
    return checked_name("profile", text or "own")


def from_folder(place: str, folder: Path) -> str:
    """A local path as it is written in a file of a folder."""
    if "://" in place or Path(place).is_absolute():
        return place
    return os.path.relpath(place, folder)


def _lines(draft: Draft) -> Iterator[str]:
    sizes = draft.sizes
    yield "# Written by `synpref init` from the files that it found. Paths start from this file's"
    yield "# folder. Every key: docs/profile_reference.md; your own data: docs/own_data.md."
    yield f"name = {_value(draft.name)}  # names the campaign's folder and its models"
    yield ""
    yield "[pool]"
    yield 'kind = "sources"'
    yield 'recorded_verdicts = "sources"  # votes that ship with the data are kept'
    if sizes.test_debates:
        yield "# Parts that the pool does not read: a clean test set, whose majority is the truth."
        yield f"test_debates = {_value(list(sizes.test_debates))}"
    yield "# Test sets of your own (lines like those of a source), which are kept out of the pool:"
    yield '# custom_benchmarks = { my_suite = "my_suite.jsonl" }'
    for source in draft.sources:
        yield from _source_lines(source, draft)
    if draft.backbone:
        yield from _backbone_lines(draft.backbone, draft.folder)
    yield from _stage_lines(sizes)
    yield from _people_lines(draft)
    yield from _judge_lines(draft.backbone)
    yield from _model_lines(draft.backbone)
    yield "[evidence]"
    yield f"num_judged = {sizes.num_judged}  # pairs on which judges are audited"


def _source_lines(source: FoundSource, draft: Draft) -> Iterator[str]:
    yield ""
    yield "[[pool.sources]]"
    if source.num_rows:
        more = "" if source.is_counted else " in its first rows"
        yield f"# {told_counts(source)}{more}"
    if held_out := sum(source.debates[name] for name in draft.sizes.test_debates):
        yield f"# of them {counted(held_out, 'pair')} in the held-out parts, which no pool counts"
    if is_unverified(source, draft.sizes):
        yield "# nobody verifies its pairs: judges and models alone decide about them"
    if unread := unread_columns(source, draft.sizes):
        shown = ", ".join(unread[:MAX_COLUMNS])
        more = ", ..." if len(unread) > MAX_COLUMNS else ""
        yield _comment(f"columns that nobody reads: {shown}{more}")
    yield f"name = {_value(source.name)}"
    if source.is_on_hub:
        yield f"hub_id = {_value(source.place)}"
        yield f"revision = {_value(source.revision or 'main')}  # a commit pins the rows"
    else:
        yield f"path = {_value(from_folder(source.place, draft.folder))}"
    yield f"format = {_value(source.format)}"
    if source.options:
        yield f"options = {_value(dict(source.options))}"
    guess = ", an assumption" if source.origin_is_guessed else ""
    yield f"origin = {_value(source.origin)}  # who set the labels: human or synthetic{guess}"
    said = f"  # {_comment(source.licence.said_by)[2:]}" if source.licence.said_by else ""
    yield f"licence = {_value(source.licence.name)}{said}"


def unread_columns(source: FoundSource, sizes: Sizes) -> list[str]:
    """Columns of which nothing is read: the majority of held-out parts is the truth of a test."""
    known = TRUTH_COLUMN if sizes.test_debates and source.format == CROWD_VOTES else None
    return [name for name in source.unread if name != known]


def told_counts(source: FoundSource) -> str:
    """Rows, pairs, votes and what became no pair, in a line."""
    told = [f"{counted(source.num_pairs, 'pair')} of {counted(source.num_rows, 'row')}"]
    if source.num_voted:
        told.append(f"{source.num_voted:,} different ones with votes of people")
    if source.reasons:
        first = source.reasons.most_common(MAX_REASONS)
        refused = ", ".join(f"{count:,} {reason}" for reason, count in first)
        told.append(f"no pair: {refused}{', ...' * (len(source.reasons) > MAX_REASONS)}")
    return "; ".join(told)


def _backbone_lines(backbone: Backbone, folder: Path) -> Iterator[str]:
    yield ""
    yield "[[backbones]]"
    yield f"name = {_value(backbone.name)}"
    path = from_folder(backbone.path, folder)
    yield f"path = {_value(path if is_path(path) else f'./{path}')}"
    if backbone.pad_token:
        yield f"pad_token = {_value(backbone.pad_token)}"
    yield "max_length_tokens = 1024"


def _stage_lines(sizes: Sizes) -> Iterator[str]:
    who = "recorded votes" if sizes.is_recorded else "people"
    yield ""
    yield "[seed_set]"
    yield f"num_gold = {sizes.num_gold}  # pairs that {who} verify before anything is trained"
    yield f"num_silver = {sizes.num_silver}  # pairs that judges label after their example"
    yield "validation_share = 0.33  # of gold, which every model is measured on and none trains on"
    yield ""
    yield "[iterations]"
    yield f"num_iterations = {sizes.num_iterations}"
    yield f"max_retrieved = {sizes.max_retrieved}  # pairs like those that a model got wrong"
    yield f"num_human = {sizes.num_human}  # of them, those that {who} see"
    yield ""


def _people_lines(draft: Draft) -> Iterator[str]:
    sizes = draft.sizes
    yield "[people]"
    if sizes.is_recorded:
        yield 'backend = "recorded"  # the votes above answer; "page" asks people (docs/review.md)'
        unseen = [each.name for each in draft.sources if is_unverified(each, sizes)]
        if unseen:
            yield _comment(f"Nobody verifies anything of {', '.join(unseen)}. To have people label")
            yield "# pairs without votes, too, take these lines in place of the one above:"
            yield from map(_comment, ASK_PEOPLE)
    else:
        yield 'backend = "page"  # people answer on the review page (docs/review.md)'
        if sizes.has_votes:
            yield "recorded_first = true  # votes in the sources answer where there are some"
        yield "double_share = 0.0  # share that two people see; raise it with a second annotator"
        yield "adjudicate = false  # no disagreement without a second one"
    yield ""


def _judge_lines(backbone: Backbone | None) -> Iterator[str]:
    yield "[judges]"
    if backbone:
        yield 'kind = "features"  # free: heads on what the backbone says of the texts'
        yield "num_samples = 5"
        yield "num_exemplars = 128"
    else:
        yield 'kind = "exemplar"  # free: they compare words with pairs that people verified'
        yield "num_samples = 5"
        yield "num_exemplars = 8"
    yield '# LLM judges (docs/judges.md): write kind = "endpoints", num_exemplars = 8 and'
    yield "# max_usd = 10.0"
    yield "# [[judges.endpoints]]"
    yield '# name = "one"'
    yield '# base_url = "https://api.example.com/v1"'
    yield '# model = "model-name"'
    yield '# api_key_env = "JUDGE_API_KEY"'
    yield "# usd_per_million_input = 0.5"
    yield "# usd_per_million_output = 1.5"
    yield ""


def _model_lines(backbone: Backbone | None) -> Iterator[str]:
    if backbone:
        yield "[embedding]"
        yield 'kind = "backbone"  # finds pairs that mean the same'
        yield ""
        yield "[reward_model]"
        yield 'backend = "frozen"  # heads on the backbone, which is read once'
        yield f"model_size = {_value(backbone.name)}"
        yield ""
        yield "[release]"
        yield 'backend = "frozen"'
        yield 'poolings = ["last"]'
    else:
        yield "[reward_model]"
        yield 'backend = "linear"  # frozen features, minutes on a laptop (docs/reward_models.md)'
        yield ""
        yield "[filtering]"
        yield "# Models of words may be no better than chance on real answers. The campaign then"
        yield "# runs to its report, which says so first; false stops it before they filter."
        yield "allow_weak_models = true"
        yield ""
        yield "[[backbones]]"
        yield 'name = "qwen3-0.6b"  # one size in place of the eight'
        yield ""
        yield "[release]"
        yield 'backend = "stand_in"  # a random miniature that shows the way; "hub": the real one'
        yield "learning_rate = 1.5e-3"
        yield "batch_pairs = 16"
        yield "num_steps = 40"
        yield "evaluate_every_steps = 40"
    yield ""


def _value(value: Any) -> str:
    """A value as TOML."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(name)} = {_value(each)}" for name, each in value.items())
        return f"{{ {inside} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _comment(text: str) -> str:
    return f"# {''.join(each if each.isprintable() else '?' for each in text)}"
