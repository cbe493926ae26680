"""What training sets are worth, pair by pair, and over several campaigns at once.

Test pairs of one prompt are alike, and so are the answers in them: pairs are no independent draws,
and an interval that takes them for such is too narrow. Here whole prompts are drawn again
(bootstrap by cluster), the same ones for both sides of a difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from synpref_dagster.pairs.differences import Difference
from synpref_dagster.pairs.record import PreferencePair, digest, id_index

LONGER = "longer_is_better"  # the model that prefers the longer response
SLICES = ("all", "against_length")
ABOUT = ("content_id", "prompt_id", "source")
NUM_DRAWS = 2_000


def variants_by_pair(
    pairs: Sequence[PreferencePair], margins: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """One row per test pair: what it is, and by how much each model prefers the better response.

    Args:
        pairs: pairs whose chosen response is truly better.
        margins: variant -> float (n,), reward(chosen) - reward(rejected).

    Returns:
        content_id, prompt_id (digits: of the first turn), source, a column of margins per variant,
        and `longer_is_better`, how many characters the better response is longer.
    """
    longer = np.array([len(pair.chosen) - len(pair.rejected) for pair in pairs], dtype=float)
    return pd.DataFrame(
        {
            "content_id": id_index(pair.content_id for pair in pairs),
            "prompt_id": [digest(pair.conversation[0]["content"]).hex() for pair in pairs],
            "source": [pair.source for pair in pairs],
            LONGER: longer,
            **{name: np.asarray(found, dtype=float) for name, found in margins.items()},
        }
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Pooled:
    """The test pairs of several campaigns as one table, with the draws that intervals rest on.

    Attributes:
        frame: rows of `variants_by_pair`, with `split`, the campaign that they come from.
        draws: int32 (draws, clusters), how often each cluster is drawn.
        cluster: int (n,), the cluster of each row: a prompt within a split.
    """

    frame: pd.DataFrame
    draws: np.ndarray
    cluster: np.ndarray

    @classmethod
    def of(cls, splits: Sequence[pd.DataFrame], *, seed: int = 0) -> "Pooled":
        """Pool the tables of campaigns with different test sets (or seeds)."""
        frame = pd.concat(
            [each.assign(split=number) for number, each in enumerate(splits)], ignore_index=True
        )
        names = pd.MultiIndex.from_frame(frame[["split", "prompt_id"]])
        cluster, known = pd.factorize(names)
        draw = np.random.default_rng(seed)
        share = np.full(len(known), 1 / len(known))
        draws = draw.multinomial(len(known), share, size=NUM_DRAWS).astype(np.int32)
        return cls(frame=frame, draws=draws, cluster=cluster)

    def part(self, where: str, *, source: str | None = None) -> np.ndarray:
        """Bool (n,): the rows of a slice, of all sources or one.

        Raises:
            ValueError: there is no such slice.
        """
        if where not in SLICES:
            raise ValueError(f"slice {where!r}: choose {', '.join(SLICES)}")
        misled = (self.frame[LONGER] <= 0).to_numpy()
        chosen = misled if where == "against_length" else np.ones(len(misled), dtype=bool)
        return chosen if source is None else chosen & (self.frame["source"] == source).to_numpy()

    def accuracy(self, variant: str, rows: np.ndarray) -> Difference:
        """Share of pairs that a variant orders rightly, with its interval."""
        return self._estimate(self._right(variant).astype(float), rows)

    def gain(self, variant: str, over: str, rows: np.ndarray) -> Difference:
        """How much more often one variant is right than another, on the same pairs."""
        better = self._right(variant).astype(float) - self._right(over).astype(float)
        return self._estimate(better, rows)

    def _right(self, variant: str) -> np.ndarray:
        return (self.frame[variant] > 0).to_numpy()

    def _estimate(self, values: np.ndarray, rows: np.ndarray) -> Difference:
        """Mean of the values of some rows; its interval is the middle 95% over the draws."""
        num_clusters = self.draws.shape[1]
        size = np.bincount(self.cluster[rows], minlength=num_clusters)
        total = np.bincount(self.cluster[rows], weights=values[rows], minlength=num_clusters)
        num_rows = int(size.sum())
        if not num_rows:
            return Difference(value=np.nan, low=np.nan, high=np.nan, n=0)
        drawn = self.draws @ size
        means = (self.draws @ total)[drawn > 0] / drawn[drawn > 0]
        low, high = np.quantile(means, [0.025, 0.975])
        value = float(total.sum() / num_rows)
        return Difference(value=value, low=float(low), high=float(high), n=num_rows)


def compared(splits: Sequence[pd.DataFrame], *, over: Sequence[str]) -> pd.DataFrame:
    """Accuracies and gains of every variant that all campaigns have, pooled over them.

    Args:
        splits: per campaign the rows of `variants_by_pair`.
        over: variants that the others are held against.

    Returns:
        source ("" for all), slice, variant, over ("" for the accuracy itself), value, low, high, n.
    """
    pooled = Pooled.of(splits)
    common = set.intersection(*(set(each.columns) for each in splits))
    variants = [name for name in splits[0].columns if name in common and name not in ABOUT]
    rows: list[dict[str, object]] = []
    for source in (None, *sorted(pooled.frame["source"].unique())):
        for where in SLICES:
            part = pooled.part(where, source=source)
            about = {"source": source or "", "slice": where}
            for variant in variants:
                found = pooled.accuracy(variant, part)
                rows.append({**about, "variant": variant, "over": "", **asdict(found)})
                rows += [
                    {
                        **about,
                        "variant": variant,
                        "over": other,
                        **asdict(pooled.gain(variant, other, part)),
                    }
                    for other in over
                    if other in variants and other != variant
                ]
    return pd.DataFrame(rows)
