"""Labels of contents, looked up for many pairs at a time.

A label that people or judges gave to a pair holds for its contradictory twin too, with the opposite
sign: both are the same content.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.pairs.columns import from_numbers, to_numbers
from synpref_dagster.pairs.ids import id_keys
from synpref_dagster.pairs.record import ID_BYTES, ID_TYPE, id_array, id_index, is_among

if TYPE_CHECKING:  # Importing pandas costs as much as filtering a million rows.
    import pandas as pd

LABELLED_SCHEMA = pa.schema([("content_id", ID_TYPE), ("pair_id", ID_TYPE), ("label", pa.int8())])


@dataclass(frozen=True, slots=True)
class ContentLabels:
    """Labels by content id, sorted; make one with `from_table`."""

    content_ids: np.ndarray
    """(n,) 16 bytes each, ascending."""
    pair_ids: np.ndarray
    """(n,) 16 bytes each: the pair that the label is about."""
    labels: np.ndarray
    """int8 (n,): +1, -1, or 0 for a content that could not be decided."""

    @classmethod
    def from_table(cls, table: pa.Table) -> ContentLabels:
        """Labels of `LABELLED_SCHEMA`, each content once.

        Raises:
            ValueError: a content is labelled twice.
        """
        contents = _ids(table.column("content_id"))
        order = np.argsort(contents, kind="stable")
        contents = contents[order]
        repeated = np.flatnonzero(contents[1:] == contents[:-1])
        if len(repeated):
            first = bytes(contents[repeated[0]]).ljust(ID_BYTES, b"\0").hex()
            raise ValueError(
                f"{len(repeated)} contents are labelled twice, the first of them {first}: "
                "deduplicate labels by content_id first"
            )
        labels = to_numbers(table.column("label"), null=0).astype(np.int8)
        return cls(contents, _ids(table.column("pair_id"))[order], labels[order])

    def of(self, pairs: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """What is known about pairs.

        Args:
            pairs: pair_id and content_id of n pairs.

        Returns:
            label int8 (n,), relative to each pair's own source label, 0 without one; and bool
            (n,): whether there is an entry at all.
        """
        wanted = _ids(pairs.column("content_id"))
        if not len(self.content_ids):
            return np.zeros(len(wanted), dtype=np.int8), np.zeros(len(wanted), dtype=bool)
        places = np.searchsorted(self.content_ids, wanted)
        places[places == len(self.content_ids)] = 0
        known = self.content_ids[places] == wanted
        sign = np.where(self.pair_ids[places] == _ids(pairs.column("pair_id")), 1, -1)
        return np.where(known, self.labels[places] * sign, 0).astype(np.int8), known


def labels_in_pool(labels: pd.DataFrame, pool: pd.DataFrame) -> pd.DataFrame:
    """Labels as they stand to the pairs of a pool: a label belongs to a content and its direction.

    A content whose source label turned since is in the pool under another pair_id: there the
    label has the opposite sign. Labels of contents that the pool does not have are left out.

    Args:
        labels: pair_id, content_id, label and anything else, each content once.
        pool: pair_id and content_id of (at least) the pool's pairs of these contents, which may
            have a content under both labels.

    Returns:
        Rows of `labels` in their order, pair_id and label as the pool has the pair.
    """
    own = set(pool["pair_id"])
    other = {
        content: pair_id
        for pair_id, content in zip(pool["pair_id"], pool["content_id"], strict=True)
    }
    stays = is_among(labels["pair_id"], own)
    found = labels[stays | is_among(labels["content_id"], other.keys())]
    turned = ~is_among(found["pair_id"], own)
    now = [
        other[content] if is_turned else pair_id
        for pair_id, content, is_turned in zip(
            found["pair_id"], found["content_id"], turned, strict=True
        )
    ]
    label = found["label"].to_numpy() * np.where(turned, -1, 1).astype("int8")
    return found.assign(
        pair_id=id_index(now), label=label.astype(found["label"].dtype)
    ).reset_index(drop=True)


def labelled_table(frame: pd.DataFrame) -> pa.Table:
    """`LABELLED_SCHEMA` from a frame with these columns."""
    columns = [
        id_array(frame["content_id"].tolist()),
        id_array(frame["pair_id"].tolist()),
        from_numbers(frame["label"].to_numpy(dtype=np.int8)),
    ]
    return pa.Table.from_arrays(columns, schema=LABELLED_SCHEMA)


def labelled_contents(labels: pa.Table, targets: pa.Table) -> pa.Table:
    """`LABELLED_SCHEMA` of one shard's labels, without the undecided ones.

    Args:
        labels: pair_id and label of the pairs that were asked about.
        targets: pair_id and content_id of these pairs, and of `gold` ones shown beside them.

    Raises:
        ValueError: a labelled pair is not among the targets.
    """
    if not labels.num_rows:
        return LABELLED_SCHEMA.empty_table()
    decided = labels.filter(pc.not_equal(labels.column("label"), 0))
    asked = targets.filter(pc.invert(targets.column("gold")))
    wanted, known = (
        each.column("pair_id").combine_chunks().cast(pa.binary(ID_BYTES))
        for each in (decided, asked)
    )
    rows = pc.index_in(wanted, value_set=known)
    if rows.null_count:
        raise ValueError(
            f"{rows.null_count} of {len(rows)} labels are about pairs that nobody asked about: "
            "materialize the labels again"
        )
    contents = asked.column("content_id").take(rows)
    columns = [contents, decided.column("pair_id"), decided.column("label")]
    return pa.Table.from_arrays(columns, schema=LABELLED_SCHEMA)


def _ids(column: pa.ChunkedArray) -> np.ndarray:
    # All ids have 16 bytes, so that NumPy's way of ignoring trailing zeros makes no two equal.
    return np.ascontiguousarray(id_keys(column)).view("S16").reshape(-1)
