"""Writes the synthetic preference world: sources, recorded verdicts, benchmarks and sealed truth.

What the pipeline may see lies in `sources/`, `benchmarks/` and `recorded_verdicts.jsonl`; the truth
lies in `sealed/`, for reports and tests only. Bytes depend on the configuration alone, and the
manifest is written last: a directory with a matching manifest is complete and is reused.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from synpref_dagster.pairs.attributes import Controversiality, Objectivity
from synpref_dagster.pairs.record import Turn
from synpref_dagster.storage.damage import holds
from synpref_dagster.storage.sealed import sealed, unsealed
from synpref_dagster.synthetic.draws import Example, iter_examples, styled_example
from synpref_dagster.synthetic.labellers import SOURCES, recorded_verdicts
from synpref_dagster.synthetic.miniatures.suite import BenchmarkSizes, write_mini_benchmarks
from synpref_dagster.synthetic.phrasing import AskedPrompt
from synpref_dagster.synthetic.pool import PlacedExample, place_examples, source_contents
from synpref_dagster.synthetic.sealed import write_sealed
from synpref_dagster.synthetic.source_files import write_rows

logger = logging.getLogger(__name__)

WORLD_VERSION = "4"
MANIFEST = "manifest.json"
SEALED = "sealed"
VERDICTS = "recorded_verdicts.jsonl"
MAX_SHARE = 0.2
CategoryExample = tuple[tuple[Turn, ...], str, str, str, Objectivity, Controversiality]


@dataclass(frozen=True, kw_only=True, slots=True)
class WorldConfig:
    """Size and seed of a world; the defaults are those of the demo.

    Raises:
        ValueError: a size is below 1, or a share outside [0, 0.2].
    """

    seed: int = 0
    """Draws everything; worlds of two seeds share their knowledge but no random choice."""
    num_unverified: int = 3_000
    """Good pairs with labels of human origin, before cleaning (stage 1)."""
    num_wild: int = 5_000
    """Good pairs with synthetic labels, before cleaning (stage 2)."""
    num_test: int = 1_000
    """Sealed test pairs with true labels, on prompts that occur nowhere else."""
    malformed_share: float = 0.01
    """Malformed rows added to each source, relative to its pairs."""
    duplicate_share: float = 0.01
    """Pairs that occur again, unchanged, in a later source."""
    planted_share: float = 0.006
    """Pairs added on benchmark prompts, relative to all pairs: decontamination must find them."""
    benchmarks: BenchmarkSizes = field(default_factory=BenchmarkSizes)
    """Sizes of the mini benchmarks."""

    def __post_init__(self) -> None:
        """Check sizes and shares."""
        for name in ("num_unverified", "num_wild", "num_test"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")
        for name in ("malformed_share", "duplicate_share", "planted_share"):
            if not 0.0 <= getattr(self, name) <= MAX_SHARE:
                raise ValueError(f"{name} is {getattr(self, name)}, must lie in [0, {MAX_SHARE}]")


@dataclass(frozen=True, kw_only=True, slots=True)
class WorldManifest:
    """What a written world holds: counts only, no label and no accuracy."""

    fingerprint: str
    """Hash of version and configuration; the same fingerprint means the same bytes."""
    config: dict[str, Any]
    """The configuration as plain data."""
    sources: dict[str, dict[str, Any]]
    """Per source: path, layout, origin, num_rows, num_malformed by fault, num_duplicates."""
    num_planted: int
    """Pairs on benchmark prompts."""
    num_verdicts: int
    """Recorded human verdicts."""
    files: dict[str, str]
    """blake2b-128 of every file, by relative path."""


def write_world(directory: Path, *, config: WorldConfig) -> WorldManifest:
    """Write a world into `directory`, or reuse the complete one that is there.

    Files: `sources/<name>`, `recorded_verdicts.jsonl`, `benchmarks/...`, `sealed/truth.parquet`,
    `sealed/test_pairs.jsonl`, `sealed/summary.json`, and `manifest.json` last.
    """
    fingerprint = _fingerprint(config)
    present = read_manifest(directory)
    if present is not None and present.fingerprint == fingerprint and _is_whole(directory, present):
        return present
    (directory / MANIFEST).unlink(missing_ok=True)
    (directory / "sources").mkdir(parents=True, exist_ok=True)
    asked = write_mini_benchmarks(
        directory / "benchmarks", sizes=config.benchmarks, seed=config.seed
    )
    planted = _planted_examples(asked, config=config)
    placed = place_examples(
        {"human": config.num_unverified, "synthetic": config.num_wild},
        planted=planted,
        seed=config.seed,
    )
    sources = _write_sources(directory / "sources", placed, config=config)
    examples = [item.example for item in placed]
    num_verdicts = _write_verdicts(directory / VERDICTS, examples, seed=config.seed)
    test = list(islice(iter_examples("test", seed=config.seed), config.num_test))
    write_sealed(directory / "sealed", placed, test=test)
    manifest = WorldManifest(
        fingerprint=fingerprint,
        config=asdict(config),
        sources=sources,
        num_planted=len(planted),
        num_verdicts=num_verdicts,
        files=_file_hashes(directory),
    )
    text = json.dumps(sealed(asdict(manifest)), indent=2, sort_keys=True) + "\n"
    (directory / MANIFEST).write_text(text, encoding="utf-8")
    return manifest


def read_manifest(directory: Path) -> WorldManifest | None:
    """Manifest of a complete world in `directory`; None when there is none, or it is damaged."""
    path = directory / MANIFEST
    if not path.exists():
        return None
    try:
        return WorldManifest(**unsealed(path.read_bytes()))
    except (ValueError, TypeError):
        logger.warning("%s is damaged: the world is written again", path)
        return None


def category_examples(seed: int, num: int) -> list[CategoryExample]:
    """Right-labelled examples with their attributes, to train an attribute labeller.

    Their prompts are reserved for this purpose: none of them is in any pool, test set or benchmark.

    Returns:
        (conversation, chosen, rejected, task_category, objectivity, controversiality) each.
    """
    return [
        (
            example.conversation,
            example.right,
            example.wrong,
            example.task.category,
            example.task.objectivity,
            example.task.controversiality,
        )
        for example in islice(iter_examples("attributes", seed=seed), num)
    ]


def _planted_examples(asked: Sequence[AskedPrompt], *, config: WorldConfig) -> list[Example]:
    """Fresh responses to benchmark prompts: two in three long, every other of those reworded."""
    rng = Random(f"planted-{config.seed}")
    num_planted = round(config.planted_share * (config.num_unverified + config.num_wild))
    long = [item for item in asked if item.long]
    short = [item for item in asked if not item.long]
    rng.shuffle(long)
    rng.shuffle(short)
    num_long = min(len(long), round(2 * num_planted / 3))
    examples = []
    for index, item in enumerate([*long[:num_long], *short[: num_planted - num_long]]):
        # A reworded long prompt is no exact copy any more, but still shares its 13-grams.
        prompt = f"hello, {item.prompt}" if item.long and index % 2 else item.prompt
        turn = Turn(role="user", content=prompt)
        examples.append(styled_example(item.task, (turn,), rng=rng))
    return examples


def _write_sources(
    folder: Path, placed: Sequence[PlacedExample], *, config: WorldConfig
) -> dict[str, dict[str, Any]]:
    written = {}
    for source in sorted(SOURCES, key=lambda each: each.name):
        contents = source_contents(
            source,
            placed,
            malformed_share=config.malformed_share,
            duplicate_share=config.duplicate_share,
            seed=config.seed,
        )
        write_rows(contents.rows, folder / source.file_name)
        written[source.name] = {
            "path": f"sources/{source.file_name}",
            "layout": source.layout,
            "origin": source.origin,
            "num_rows": len(contents.rows),
            "num_malformed": contents.num_malformed,
            "num_duplicates": contents.num_duplicates,
        }
    return written


def _write_verdicts(path: Path, examples: Sequence[Example], *, seed: int) -> int:
    lines = [
        json.dumps(row) for example in examples for row in recorded_verdicts(example, seed=seed)
    ]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return len(lines)


def _fingerprint(config: WorldConfig) -> str:
    text = json.dumps({"version": WORLD_VERSION, **asdict(config)}, sort_keys=True)
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _is_whole(directory: Path, manifest: WorldManifest) -> bool:
    """Whether no file is damaged or lost; each is read once per process and state.

    The sealed truth may be taken away: who needs a file of it says himself that it is missing.
    """
    for name, digest in manifest.files.items():
        file = directory / name
        if not holds(file, digest) and (file.is_file() or not name.startswith(f"{SEALED}/")):
            logger.warning("%s is damaged or lost: the world is written again", file)
            return False
    return True


def _file_hashes(directory: Path) -> dict[str, str]:
    parts = [
        path
        for name in ("sources", "benchmarks", SEALED)
        for path in sorted((directory / name).rglob("*"))
        if path.is_file()
    ]
    return {
        path.relative_to(directory).as_posix(): blake2b(
            path.read_bytes(), digest_size=16
        ).hexdigest()
        for path in [*parts, directory / VERDICTS]
    }
