"""Who of a panel votes, and with what weight: measured on gold, decided by rule, kept as a table.

Judges are asked about gold pairs whose human label they are not shown. A judge below the profile's
floor does not vote. Under `weighted`, a vote counts the log-odds of being right, taken at the lower
end of the 95% interval: what rests on few pairs shrinks, a judge that may be no better than a coin
counts nothing. A majority of independent judges with these weights is the likeliest label.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import log
from typing import Literal

import numpy as np
import pandas as pd

from synpref_dagster.curation.judging.labelling import EmbeddedPairs, Panel, label_with_exemplars
from synpref_dagster.pairs.accuracy import Accuracy, accuracy_of

Voting = Literal["majority", "weighted"]
WEIGHING_COLUMNS = ["judge", "kept", "reason", "weight", "weighting", "value", "low", "high", "n"]
ONE_VOTE = "one_vote_each"
LOG_ODDS = "log_odds_of_lower_bound"
NO_EVIDENCE = "nobody_above_chance"  # then everybody counts the same


@dataclass(frozen=True, kw_only=True, slots=True)
class WeighingRule:
    """What judges must reach, and how their votes are counted."""

    floor: float | None = None
    """Least agreement with people; None keeps everybody."""
    voting: Voting = "majority"
    num_pairs: int = 60
    """Gold pairs that every judge is asked about."""

    @property
    def asks(self) -> bool:
        """Whether anything has to be measured."""
        return self.floor is not None or self.voting == "weighted"


def weigh_judges(
    panel: Panel, gold: EmbeddedPairs, gold_labels: Sequence[int], *, rule: WeighingRule
) -> pd.DataFrame:
    """Which judges vote and what their votes count.

    Judges are asked about gold pairs of the training part, with the other gold pairs as exemplars;
    a pair's own label or conversation is never shown. With a floor, a judge is kept when its
    agreement on pairs it decided reaches it; one that decided nothing is not.

    Args:
        panel: the judges.
        gold: gold pairs of the training part.
        gold_labels: people's label of each, +1 or -1.
        rule: what decides; pairs are drawn with the panel's seed.

    Returns:
        `WEIGHING_COLUMNS`, one row per judge.
    """
    if not rule.asks:
        return _table(panel, dict.fromkeys(_names(panel), _nothing()), rule)
    drawn = np.random.default_rng(panel.seed).permutation(len(gold.pairs))[: rule.num_pairs]
    asked = EmbeddedPairs(
        pairs=[gold.pairs[i] for i in drawn],
        attributes=[gold.attributes[i] for i in drawn],
        vectors=gold.vectors[drawn],
    )
    people = {gold.pairs[i].pair_id: int(gold_labels[i]) for i in drawn}
    votes = label_with_exemplars(asked, gold, gold_labels, panel=panel).panel.votes
    right = votes["vote"] == votes["pair_id"].map(people.get)
    found = {
        name: accuracy_of(right[(votes["judge"] == name) & (votes["vote"] != 0)].to_numpy())
        for name in _names(panel)
    }
    return _table(panel, found, rule)


def voting_panel(panel: Panel, weighing: pd.DataFrame) -> Panel:
    """The panel without the judges that the weighing left out, with the weights of the others.

    Raises:
        ValueError: nobody is left.
    """
    kept = weighing[weighing["kept"]]
    if kept.empty:
        found = ", ".join(f"{row.judge} {row.value:.2f}" for row in weighing.itertuples())
        raise ValueError(
            f"no judge reaches the floor of agreement with people ({found}); lower "
            "judges.min_gold_agreement or choose other judges"
        )
    weighed = weighed_panel(panel, kept)
    names = set(kept["judge"])
    return replace(weighed, judges=[judge for judge in panel.judges if judge.name in names])


def weighed_panel(panel: Panel, weighing: pd.DataFrame) -> Panel:
    """The whole panel, its labels decided as if the weighing had been applied.

    A judge that was left out is asked, but its vote counts nothing: for audits.
    """
    return replace(panel, weights=weights_of(weighing))


def weights_of(weighing: pd.DataFrame) -> dict[str, float] | None:
    """Judge -> what its vote counts; None where every judge has one vote."""
    plain = (weighing["weighting"] == ONE_VOTE) & (weighing["weight"] == 1.0)
    if plain.all():
        return None
    return dict(zip(weighing["judge"], weighing["weight"].astype(float), strict=True))


def vote_weight(found: Accuracy) -> float:
    """Log-odds of the lower end of an agreement; 0 unless that is above one half.

    >>> from synpref_dagster.pairs.accuracy import accuracy_of
    >>> [round(vote_weight(accuracy_of(np.arange(n) < 0.9 * n)), 2) for n in (10, 100, 1000)]
    [0.39, 1.55, 1.99]
    """
    return max(0.0, log(found.low / (1.0 - found.low))) if 0.0 < found.low < 1.0 else 0.0


def _table(panel: Panel, found: Mapping[str, Accuracy], rule: WeighingRule) -> pd.DataFrame:
    rows = []
    for name in _names(panel):
        kept, reason = _verdict(found[name], rule.floor)
        weight = 1.0 if rule.voting == "majority" else vote_weight(found[name])
        about = {"judge": name, "kept": kept, "reason": reason, "weight": weight if kept else 0.0}
        rows.append({**about, **asdict(found[name])})
    table = pd.DataFrame(rows)
    weighting = ONE_VOTE if rule.voting == "majority" else LOG_ODDS
    if rule.voting == "weighted" and not (table["weight"] > 0).any():
        weighting, table["weight"] = NO_EVIDENCE, table["kept"].astype("float64")
    return table.assign(weighting=weighting)[WEIGHING_COLUMNS]


def _verdict(found: Accuracy, floor: float | None) -> tuple[bool, str]:
    if floor is None:
        return True, "no_floor"
    if found.value >= floor:
        return True, "agrees_with_gold"
    # NaN, nothing decided, is not enough.
    return False, "below_floor" if found.n else "decided_nothing"


def _names(panel: Panel) -> list[str]:
    return [judge.name for judge in panel.judges]


def _nothing() -> Accuracy:
    return accuracy_of(np.zeros(0, dtype=bool))
