"""The facts on a model card: what a campaign measured about one size, as plain data."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

from synpref_dagster.benchmarks.leaderboard import reference_scores
from synpref_dagster.benchmarks.plugins import PLUGINS
from synpref_dagster.benchmarks.results import BenchmarkResult
from synpref_dagster.benchmarks.suite import SUITE
from synpref_dagster.publishing.release.cards import tier_rows
from synpref_dagster.reward.backbones import Backbone, backbone
from synpref_dagster.reward.frozen.places import backbone_of, is_frozen, needs_this_package
from synpref_dagster.settings.models import (
    FrozenReleaseSettings,
    LossSettings,
    PlainLoss,
    is_path,
)
from synpref_dagster.settings.profile import Profile

LIBRARIES = ("torch", "transformers", "tokenizers", "accelerate", "dagster", "mlflow", "pyarrow")
PACKAGE = "synpref-dagster"
GIT_SECONDS = 10.0
OWN_LICENCE = "apache-2.0"
LICENCE_LINKS = {
    "llama3.1": "https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct/blob/main/LICENSE",
    "llama3.2": "https://huggingface.co/meta-llama/Llama-3.2-1B-Instruct/blob/main/LICENSE.txt",
}
LOSS_WORDS = {"bradley_terry": "Bradley-Terry"}
SHOWN_SETTINGS = (
    "learning_rate",
    "schedule",
    "batch_pairs",
    "num_epochs",
    "max_steps",
    "max_length_tokens",
    "dtype",
    "weight_decay",
    "seed",
    "layer",
    "pooling",
    "penalty",
)


def model_facts(
    profile: Profile,
    model_size: str,
    *,
    training: Mapping[str, Any],
    results: Sequence[BenchmarkResult],
    data: Mapping[str, Any],
    checkpoint: Path,
) -> dict[str, Any]:
    """All that the card of one release says, except weights and package version.

    Args:
        profile: the campaign's profile.
        model_size: partition key.
        training: contents of `training.json`.
        results: the size's benchmark results.
        data: `tiers`, the training pairs by tier, and `curation`, what the filter decided.
        checkpoint: the checkpoint folder, for what its tokenizer says.
    """
    row, release = backbone(model_size, profile.backbones), profile.release
    stand_in = release.backend == "stand_in"
    given = release.given_backbone(model_size) if release.backend == "hub" else None
    frozen = is_frozen(checkpoint)
    place = backbone_of(checkpoint) if frozen else checkpoint
    tokenizer = json.loads((place / "tokenizer_config.json").read_text(encoding="utf-8"))
    config = training["config"]
    loss = PlainLoss() if isinstance(release, FrozenReleaseSettings) else release.loss
    return {
        "title": f"Skywork-Reward-V2 {model_size}" + (", stand-in" if stand_in else ""),
        "stand_in": stand_in,
        "architecture": row.architecture,
        "hub_id": row.hub_id,
        "start": _start(given or row.hub_id),
        "base_model": None if stand_in or given or is_folder(row.hub_id) else row.hub_id,
        "licence": OWN_LICENCE if stand_in else "other" if given else row.licence or "other",
        "frozen": {name: config[name] for name in ("layer", "pooling")} if frozen else None,
        "needs_this_package": frozen and needs_this_package(checkpoint),
        "licence_link": None if stand_in or given else LICENCE_LINKS.get(row.licence),
        "licence_text": _licence_text(row, stand_in=stand_in, given=given),
        "profile": profile.name,
        "seed": profile.seed,
        "max_length": config["max_length_tokens"],
        "pad_token": tokenizer["pad_token"],
        "training": _training(training["report"]),
        "tiers": tier_rows(data["tiers"]),
        "sees_recycled": row.sees_recycled,
        "curation": data["curation"],
        "benchmarks": _benchmarks(results, model_size),
        "published_of": "the paper, v3",
        "miniatures": profile.pool.kind == "synthetic_world",
        "limits": _limits(profile),
        "loss": LOSS_WORDS.get(loss.name, loss.name.replace("_", " ")),
        "settings": _settings(config, loss),
    }


def _start(place: str) -> str:
    """The backbone as a card names it: a link where it is on the hub."""
    return f"`{place}`" if is_folder(place) else f"[{place}](https://huggingface.co/{place})"


def is_folder(place: str) -> bool:
    """Whether a backbone's place is a folder of somebody's machine and no id on the hub."""
    return is_path(place) or Path(place).is_dir()


def library_versions() -> dict[str, str]:
    """Installed versions of what computes and stores a release."""
    return {name: version(name) for name in LIBRARIES}


def package_commit() -> str | None:
    """The commit that this package is of, with `-dirty` where files differ; None where unknown.

    Of a checkout git says it; an installation from a repository was told by its installer.
    """
    folder = Path(__file__).resolve().parents[2]
    git = ["git", "-C", str(folder)]
    try:
        # The package may lie in somebody else's repository, whose commits say nothing of it.
        _said([*git, "ls-files", "--error-unmatch", "__init__.py"])
        return _said([*git, "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"])
    except (OSError, subprocess.SubprocessError):
        return _installed_commit()


def _said(command: Sequence[str]) -> str:
    found = subprocess.run(command, check=True, capture_output=True, text=True, timeout=GIT_SECONDS)
    return found.stdout.strip()


def _installed_commit() -> str | None:
    try:
        text = distribution(PACKAGE).read_text("direct_url.json")
    except PackageNotFoundError:
        return None
    told = json.loads(text).get("vcs_info", {}) if text else {}
    return str(told["commit_id"])[:12] if "commit_id" in told else None


def _settings(config: Mapping[str, Any], loss: LossSettings) -> dict[str, Any]:
    """What trained, as the card lists it: nothing that this configuration does not use."""
    shown = {name: config[name] for name in SHOWN_SETTINGS if config.get(name) is not None}
    if "max_steps" in shown:
        shown.pop("num_epochs", None)
    lora = {f"lora.{name}": value for name, value in (config.get("lora") or {}).items() if value}
    return {**shown, **{f"loss.{name}": value for name, value in loss.model_dump().items()}, **lora}


def _training(report: Mapping[str, Any]) -> dict[str, Any]:
    gold = report["evaluation"]
    return {
        "num_pairs": report["num_pairs"],
        "num_left_out": sum(group["count"] for group in report["dropped"]),
        "num_steps": report["num_steps"],
        "best_step": report["best_step"],
        "gold": f"{gold['accuracy']:.3f} [{gold['low']:.3f} {gold['high']:.3f}], "
        f"n={gold['num_pairs']:,},"
        if gold
        else "Not measured",
    }


def _benchmarks(results: Sequence[BenchmarkResult], model_size: str) -> list[dict[str, Any]]:
    titles = {benchmark.name: benchmark.title for benchmark in (*SUITE, *PLUGINS)}
    published = reference_scores().set_index("model")
    known = published.loc[model_size].to_dict() if model_size in published.index else {}
    return [
        {
            "title": titles.get(each.benchmark, each.benchmark),
            "missing": ", ".join(each.missing_subsets),
            "score": f"{100 * each.headline:.1f}",
            "interval": f"{100 * each.low:.1f} to {100 * each.high:.1f}",
            "num_items": each.num_items,
            "num_truncated": each.num_truncated,
            "published": f"{100 * known[each.benchmark]:.1f}" if each.benchmark in known else "",
        }
        for each in results
    ]


def _limits(profile: Profile) -> list[str]:
    return [
        *profile.simulated,
        "Rewards say which response people and judges of this data would prefer, not which is true "
        "or safe.",
        "Other languages, lengths and tasks than those of the data were not measured.",
        "A policy optimised against the reward will find its errors: watch for over-optimisation.",
    ]


def _licence_text(row: Backbone, *, stand_in: bool, given: str | None) -> str:
    if stand_in:
        return (
            f"Apache-2.0: no weight of `{row.hub_id}` is in it. A release trained from that "
            f"backbone would be under its licence, {row.licence}."
        )
    if given:
        return (
            f"The weights derive from `{given}`, which the profile named in place of "
            f"`{row.hub_id}`, and stay under its licence; that of `{row.hub_id}` is {row.licence}. "
            "The data's licences are in the curated data set's LICENSE.md."
        )
    licence = f", {row.licence}" if row.licence else "; which that is the profile does not say"
    return (
        f"The weights derive from `{row.hub_id}` and stay under its licence{licence}. The "
        "data's licences are in the curated data set's LICENSE.md."
    )
