"""When a release becomes the champion: gates over its own figures and the champion's.

A candidate must beat chance on gold for certain, and must be worse than the champion on nothing: a
regression counts when the champion's figure lies above the candidate's whole interval. Figures from
another suite are never compared; such a candidate waits for a person.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from synpref_dagster.storage.sealed import sealed, unsealed

MIN_GOLD_ACCURACY = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A measured share with its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Scorecard:
    """What a release is judged by; kept with each registered version."""

    gold: Figure
    benchmarks: Mapping[str, Figure]
    suite: str
    """Fingerprint of the benchmarks that `benchmarks` was measured on."""

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(sealed(asdict(self)), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Scorecard":
        """What `to_json` wrote.

        Raises:
            DamagedError: the text says something else than was written.
        """
        found = unsealed(text)
        return cls(
            gold=Figure(**found["gold"]),
            benchmarks={name: Figure(**each) for name, each in found["benchmarks"].items()},
            suite=found["suite"],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """One condition and whether it holds."""

    name: str
    passed: bool
    reason: str


def promotion_gates(
    candidate: Scorecard,
    champion: Scorecard | None,
    *,
    min_gold_accuracy: float = MIN_GOLD_ACCURACY,
) -> list[Gate]:
    """All gates, passed or not; the candidate is promoted when every one passes.

    Args:
        candidate: the new release.
        champion: the present one; without any only the gold gate applies.
        min_gold_accuracy: share that the lower bound of the gold accuracy must exceed.
    """
    gold = candidate.gold
    gates = [
        Gate(
            name="gold_accuracy",
            passed=gold.low > min_gold_accuracy,
            reason=f"gold accuracy {_shown(gold)}, its lower bound must exceed "
            f"{min_gold_accuracy:.3f}",
        )
    ]
    if champion is None:
        return gates
    gates.append(_no_regression("gold", gold, champion.gold))
    if candidate.suite != champion.suite:
        return [
            *gates,
            Gate(
                name="same_suite",
                passed=False,
                reason="the champion was scored on another suite: score it again, or promote by "
                "hand",
            ),
        ]
    for name, figure in champion.benchmarks.items():
        ours = candidate.benchmarks.get(name)
        gates.append(
            Gate(name=name, passed=False, reason=f"{name} was not measured")
            if ours is None
            else _no_regression(name, ours, figure)
        )
    return gates


def _no_regression(name: str, ours: Figure, champion: Figure) -> Gate:
    return Gate(
        name=f"no_regression/{name}",
        passed=champion.value <= ours.high,
        reason=f"{name} {_shown(ours)}, the champion has {champion.value:.3f}",
    )


def _shown(figure: Figure) -> str:
    return f"{figure.value:.3f} [{figure.low:.3f} {figure.high:.3f}]"
