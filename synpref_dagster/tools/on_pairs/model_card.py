"""The card of a model that `train` made: what it was told, read and measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synpref_dagster import __version__
from synpref_dagster.publishing.release.cards import render_trained_card
from synpref_dagster.publishing.release.facts import is_folder

if TYPE_CHECKING:
    from synpref_dagster.reward.training.config import TrainingReport

CARD = "README.md"
MADE = {
    "hub": "Fine-tuned from {}.",
    "frozen": "A head on {}, whose own weights were not trained.",
    "linear": "A linear model of the words and the length of the response; it read no other model.",
}
"""Backend -> how it was made; `{}` is the backbone."""


def write_model_card(
    folder: Path,
    *,
    title: str,
    trained_with: Mapping[str, Any],
    report: "TrainingReport",
    data: Mapping[str, Any],
) -> None:
    """Write the card into a model's folder.

    Args:
        folder: of the model.
        title: what the model is called.
        trained_with: backend and settings by name, as MLflow lists them.
        report: what the engine says of the training.
        data: `num_rows`, `quarantined`, `left_out`, `num_validation`, `measured_on`, `seed`.
    """
    from synpref_dagster.reward.frozen.places import is_frozen

    backend, base, found = trained_with["backend"], trained_with.get("backbone"), report.evaluation
    is_on_hub = base is not None and not is_folder(base)
    # A card goes where the model goes: where this machine keeps a backbone is nobody's business.
    shown = base if is_on_hub or base is None else Path(base).name
    facts = {
        **data,
        "title": title,
        "version": __version__,
        "base_model": base if is_on_hub else None,
        "base": shown,
        "made": MADE[backend].format(f"`{shown}`"),
        "needs_this_package": backend == "linear" or is_frozen(folder),
        "num_pairs": report.num_pairs,
        "accuracy": found and f"{found.accuracy:.3f} [{found.low:.3f} {found.high:.3f}]",
        "is_chosen": backend != "linear",
        "settings": _flat({**trained_with, "backbone": shown}),
    }
    (folder / CARD).write_text(render_trained_card(facts), encoding="utf-8")


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """One row per setting; those of a table by their dotted name, and none that is not set."""
    rows: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            rows |= _flat(value, f"{above}{name}.")
        elif value is not None:
            rows[above + name] = value
    return rows
