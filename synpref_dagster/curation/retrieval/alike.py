"""Pairs that say nearly the same, whatever their words: each one's nearest vectors in a pool."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from synpref_dagster.curation.retrieval.vector_index import nearest_at_scale

NEIGHBOURS = 8
"""Of each pair, at most: who has more of them is found from their side as well."""
SIDES = ("first", "second")
SHOWN = 8


def alike_rows(vectors: np.ndarray, *, min_cosine: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows that are nearer than asked for: (m, 2) int64, the lower first, and their cosines (m,).

    Args:
        vectors: float32 (n, dim) of length 1; one of length 0 is like nobody.
        min_cosine: from which on two rows are alike.
    """
    found, cosines = nearest_at_scale(vectors, vectors, k=NEIGHBOURS + 1, forbidden=None)
    rows = np.broadcast_to(np.arange(len(vectors))[:, None], found.shape)
    is_alike = (found != rows) & (cosines >= min_cosine) & (cosines > 0)
    ends = np.sort(np.stack([rows[is_alike], found[is_alike]], axis=1), axis=1)
    links, places = np.unique(ends.reshape(-1, 2), axis=0, return_index=True)
    return links.astype(np.int64), cosines[is_alike][places]


def meaning_links(confirmed: pa.Table, cosines: np.ndarray, *, lexical_from: float) -> pa.Table:
    """Links of which words know nothing, the most alike first, with cosine and similarity.

    Args:
        confirmed: of `confirm_links`, one row per link, with the similarity of the words.
        cosines: (m,) of the same links.
        lexical_from: similarity from which on words alone tell that two pairs are alike.
    """
    kept = [f"{side}_{what}" for what in ("pair_id", "source") for side in SIDES]
    table = confirmed.select([*kept, "similarity"]).append_column(
        "cosine", pa.array(np.asarray(cosines, dtype=np.float64))
    )
    similarity = table["similarity"].to_numpy()
    rows = np.flatnonzero(similarity < lexical_from)
    order = np.argsort(-table["cosine"].to_numpy()[rows], kind="stable")
    return table.take(pa.array(rows[order]))


def counted_by_sources(links: pd.DataFrame) -> pd.DataFrame:
    """Links by the sources that they connect: one_source, other_source, num_links."""
    ends = [f"{side}_source" for side in SIDES]
    ordered = np.sort(links[ends].to_numpy(str).reshape(-1, 2), axis=1)
    named = pd.DataFrame(ordered, columns=["one_source", "other_source"])
    return named.groupby(["one_source", "other_source"]).size().reset_index(name="num_links")


def most_alike(links: pd.DataFrame, texts: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """The first links as people read them: ids to look up, cosine, similarity, what they say."""
    shown = links.head(SHOWN)
    ids = {f"{side}_pair_id": [each.hex() for each in shown[f"{side}_pair_id"]] for side in SIDES}
    said = dict(zip(SIDES, zip(*texts, strict=True), strict=True)) if texts else {}
    columns = [*(f"{side}_pair_id" for side in SIDES), "cosine", "similarity"]
    return shown[columns].assign(**ids, **{f"{side}_says": list(t) for side, t in said.items()})
