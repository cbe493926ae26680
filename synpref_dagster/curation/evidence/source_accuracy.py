"""How often a source's own labels are right, estimated from what people said about some pairs.

People do not see a random part of a pool: risky pairs come first, then objective and
uncontroversial ones, and what a model got wrong after that. So pairs are put into cells
(`source_counts.cells`) within which the seed is a random draw, and each cell counts for as many
pairs as it has. Of a source about which nobody was asked, the reward model says how often it
agrees with the labels; how often it is right and wrong in doing so is known from gold.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import isnan, nan, sqrt
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from synpref_dagster.curation.evidence.source_counts import cells
from synpref_dagster.curation.filtering.content_labels import ContentLabels, labelled_table
from synpref_dagster.pairs.accuracy import Z_95, Accuracy, wilson_interval
from synpref_dagster.pairs.record import ID_BYTES, id_index, is_among

MIN_DRAWN = 5  # pairs of the seed with which a cell needs no others
MIN_COVERED = 0.5  # share of a source's pairs in cells that people saw some of
Sayer = Literal["people", "reward model", "nobody"]
PEOPLE: Sayer = "people"
MODEL: Sayer = "reward model"
NOBODY: Sayer = "nobody"
Cells = Mapping[tuple[str, str], int]
"""(source, cell) -> number of clean pairs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """An estimated share of right labels with its 95% interval; NaN when nobody can say."""

    value: float
    low: float
    high: float
    n: int
    """Gold pairs that it rests on."""
    by: Sayer
    """Who says so: people about this source, or a model that was measured on gold of others."""
    covers: float
    """Share of the source's clean pairs that it is about."""


UNKNOWN = Estimate(value=nan, low=nan, high=nan, n=0, by=NOBODY, covers=0.0)


def accuracy_by_source(
    gold: pd.DataFrame,
    sizes: Cells,
    *,
    agreement: Mapping[str, tuple[int, int]],
    evidence: pd.DataFrame,
) -> dict[str, Estimate]:
    """Estimated share of right labels among the clean pairs of every source.

    Args:
        gold: clean pairs that people decided: source, cell, content_id, label (+1 the source's
            label is right, -1 wrong) and iteration, 0 for the seed.
        sizes: how many clean pairs each cell has.
        agreement: source -> pairs whose label the best reward model agrees and disagrees with.
        evidence: gold pairs, none of which trained that model: cell, content_id, label, iteration
            and `agrees`, whether it agrees with the source's label.
    """
    totals: Counter[str] = Counter()
    for (_, cell), number in sizes.items():
        totals[cell] += number
    found = {}
    for source in dict.fromkeys(source for source, _ in sizes):
        own = {cell: number for (name, cell), number in sizes.items() if name == source}
        by_people = said_by_people(gold[gold["source"] == source], own)
        covered = by_people.n > 0 and by_people.covers >= MIN_COVERED
        by_model = partial(said_by_model, agreement.get(source, (0, 0)), evidence, totals)
        found[source] = by_people if covered else by_model()
    return found


def gold_pairs(found: pa.Table, attributes: pa.Table, verified: pd.DataFrame) -> pd.DataFrame:
    """The clean pairs that people decided, as `accuracy_by_source` takes them.

    Args:
        found: pair_id, content_id, source and risky of the clean pairs of their contents.
        attributes: pair_id and `CELL_COLUMNS` of those that came into stage 1.
        verified: pair_id, content_id, label and iteration of gold, each content once.
    """
    label, _ = ContentLabels.from_table(labelled_table(verified)).of(found)
    ids = found.column("content_id").combine_chunks().cast(pa.binary(ID_BYTES)).to_pylist()
    pair_ids = found.column("pair_id").combine_chunks().cast(pa.binary(ID_BYTES)).to_pylist()
    iteration = dict(zip(verified["content_id"], verified["iteration"].astype(int), strict=True))
    return pd.DataFrame(
        {
            "pair_id": id_index(pair_ids),
            "content_id": id_index(ids),
            "source": found.column("source").cast(pa.string()).to_pylist(),
            "cell": cells(found, attributes).to_pylist(),
            "label": label,
            "iteration": [iteration[content] for content in ids],
        }
    )


def model_evidence(gold: pd.DataFrame, witnesses: pd.DataFrame) -> pd.DataFrame:
    """What the best reward model says about gold pairs, as `accuracy_by_source` takes it.

    Args:
        gold: from `gold_pairs`.
        witnesses: pair_id, best_margin of a model that trained on none of them.
    """
    margin = dict(zip(witnesses["pair_id"], witnesses["best_margin"].astype(float), strict=True))
    known = gold.assign(margin=[margin.get(each, nan) for each in gold["pair_id"]])
    spoken = known[known["margin"].notna() & (known["margin"] != 0)]
    return spoken.assign(agrees=spoken["margin"] > 0)


def gold_beside(
    witnesses: pd.DataFrame,
    pairs: pa.Table,
    *,
    signs: pa.Table,
    votes: ContentLabels,
    splits: Mapping[bytes, str],
) -> pd.DataFrame:
    """What else is known of gold pairs, beside what models say of them.

    Args:
        witnesses: pair_id and anything else.
        pairs: pair_id, content_id and source of (at least) those that are still clean.
        signs: `SIGN_SCHEMA` of these.
        votes: from `vote_majorities`.
        splits: content_id -> train or validation.

    Returns:
        `witnesses` of the pairs that are still clean, with `source`, `split`, `longer` as in
        `SIGN_SCHEMA` and `vote`: +1 recorded votes say what the source says, -1 the opposite, 0 as
        many do either; NaN without votes.
    """
    said, seen = votes.of(pairs)
    ids, signed = ([each.bytes for each in t.column("pair_id").to_pylist()] for t in (pairs, signs))
    known = witnesses[is_among(witnesses["pair_id"], ids)].reset_index(drop=True)
    voted = zip(ids, said, seen, strict=True)
    contents = (each.bytes for each in pairs.column("content_id").to_pylist())
    beside: Mapping[str, Mapping[bytes, Any]] = {
        "longer": dict(zip(signed, signs.column("longer").to_pylist(), strict=True)),
        "vote": {each: float(label) for each, label, is_known in voted if is_known},
        "source": dict(zip(ids, pairs.column("source").cast(pa.string()).to_pylist(), strict=True)),
        "split": dict(zip(ids, map(splits.get, contents), strict=True)),
    }
    told = {
        name: [each.get(pair, nan) for pair in known["pair_id"]] for name, each in beside.items()
    }
    return known.assign(**told).astype({"longer": "int8", "vote": "float64"})


def said_by_people(gold: pd.DataFrame, sizes: Mapping[str, int]) -> Estimate:
    """The estimate from people's verdicts about one source.

    Args:
        gold: its pairs that people decided, see `accuracy_by_source`.
        sizes: cell -> how many clean pairs the source has there.
    """
    seen = drawn(gold)
    if not len(seen):
        return UNKNOWN
    share = weighted_share((seen["label"] > 0).to_numpy(), seen, sizes)
    num_seen = sum(sizes.get(cell, 0) for cell in seen["cell"].unique())
    covers = num_seen / max(sum(sizes.values()), 1)
    return Estimate(
        value=share.value, low=share.low, high=share.high, n=share.n, by=PEOPLE, covers=covers
    )


def said_by_model(
    agreement: tuple[int, int], evidence: pd.DataFrame, sizes: Mapping[str, int]
) -> Estimate:
    """The estimate from how often a reward model agrees with a source about which nobody was asked.

    It rests on the model being right about these pairs as often as about gold: it agrees with
    `right` of right labels and with `wrong` of wrong ones, so it agrees with a source whose labels
    are right in a share p of its pairs in p * right + (1 - p) * wrong of them.

    Args:
        agreement: pairs of the source that it agrees and disagrees with.
        evidence: what it says of gold pairs, see `accuracy_by_source`.
        sizes: cell -> how many clean pairs there are of all sources.
    """
    total = sum(agreement)
    seen = drawn(evidence)
    agrees, label = seen["agrees"].to_numpy(bool), seen["label"].to_numpy()
    right, wrong = (
        weighted_share(agrees[part], seen[part], sizes) for part in (label > 0, label < 0)
    )
    if not total or isnan(right.low) or isnan(wrong.high) or right.low <= wrong.high:
        return UNKNOWN  # it agrees with right labels no more than with wrong ones
    share, gap = agreement[0] / total, right.value - wrong.value
    value = (share - wrong.value) / gap
    spread = share * (1 - share) / total
    spread += value**2 * _squared(right) + (1 - value) ** 2 * _squared(wrong)
    half = Z_95 * sqrt(spread) / gap
    low, value, high = (min(1.0, max(0.0, end)) for end in (value - half, value, value + half))
    return Estimate(value=value, low=low, high=high, n=len(seen), by=MODEL, covers=1.0)


def drawn(gold: pd.DataFrame) -> pd.DataFrame:
    """Gold that stands for its cells: what the seed drew, elsewhere what came later.

    Later pairs were chosen around a model's errors, the seed's within a cell by lot.
    """
    seeded = gold["cell"][gold["iteration"] == 0].value_counts()
    enough = gold["cell"].isin(seeded.index[seeded >= MIN_DRAWN])
    return gold[~enough | (gold["iteration"] == 0)]


def weighted_share(right: np.ndarray, pairs: pd.DataFrame, sizes: Mapping[str, int]) -> Accuracy:
    """Share of right ones when each cell counts for as many pairs as it has.

    The interval is Wilson's for as many equal draws as would be worth these unequal ones (Kish).
    A content that stands there under both labels is one draw.

    Args:
        right: bool (n,).
        pairs: cell and content_id, n rows.
        sizes: cell -> number of pairs.
    """
    if not len(pairs):
        return Accuracy(nan, nan, nan, 0)
    names = pairs["cell"]
    size = names.map(dict(sizes)).fillna(0).to_numpy(float)
    weight = size / names.map(names.value_counts()).to_numpy(float)
    if not weight.sum():
        weight = np.ones(len(pairs))
    num_contents = pairs["content_id"].nunique()
    share = float((weight * right).sum() / weight.sum())
    worth = float(weight.sum() ** 2 / (weight**2).sum()) * num_contents / len(pairs)
    low, high = wilson_interval(min(share, 1.0) * worth, worth)
    return Accuracy(share, low, high, num_contents)


def _squared(share: Accuracy) -> float:
    """Squared standard error, from the width of the interval: it is not 0 where a share is 1."""
    return ((share.high - share.low) / (2 * Z_95)) ** 2
