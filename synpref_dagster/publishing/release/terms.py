"""The terms that travel with every export: LICENSE.md, ATTRIBUTION.md, USAGE.md and sources.json.

Written from the profile and from counts of what is in the export. A licence that nobody named is
said to be unknown; what our own table of public sets knows about a hub data set stands beside it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synpref_dagster.sources.licences import (
    RESTRICTIONS,
    documented_licence,
    is_known,
    licence_page,
    refusals,
    restrictions,
)

Facts = Mapping[str, Any]

SOURCES_FILE = "sources.json"
METHOD = "The method: SynPref-40M and Skywork-Reward-V2, arXiv 2507.01352."

LOADING_DATA = """```python
from datasets import load_dataset

pairs = load_dataset(".")  # this folder, or its id on the hub
print(pairs["train"][0]["prompt"][-1]["content"])
```

Train a reward model with TRL, unchanged:

```python
from trl import RewardConfig, RewardTrainer

trainer = RewardTrainer(
    model="Qwen/Qwen3-0.6B",
    args=RewardConfig(output_dir="reward-model", max_length=16384),
    train_dataset=pairs["train"],
    eval_dataset=pairs["validation"],
)
trainer.train()
```

README.md says what the columns mean.

- `tier` lets you train on less: leave `recycled` out to repeat the runs without reversed pairs.
- Never train on the validation split and then report accuracy on it.
- Labels say which response people, judges or models preferred. They are no statement of fact, and
  responses on either side may be wrong, biased or offensive.
- The pairs may hold personal data, whatever a scan found: remove what you are asked to remove.
"""
LOADING_MODEL = """README.md shows code that loads the model and what its number means.

- Rewards say which response people and judges of the data would prefer. They are no statement of
  fact or of safety.
- A model may repeat what it was trained on: the restrictions of the sources below may reach it.
"""


def source_record(source: Facts) -> dict[str, Any]:
    """One source as `sources.json` has it.

    Args:
        source: name, licence, place, origin, hub_id, revision, citation, num_train,
            num_validation.
    """
    licence = str(source["licence"])
    known = is_known(licence)
    return {
        **source,
        "licence": licence if known else "unknown",
        "licence_as_given": licence,
        "licence_url": licence_page(licence),
        "licence_in_table_of_public_sets": documented_licence(source["hub_id"]),
        "restrictions": restrictions(licence),
    }


def terms_files(sources: Sequence[Facts], *, loading: str, subject: str) -> dict[str, str]:
    """The four files by name.

    Args:
        sources: as for `source_record`.
        loading: `LOADING_DATA` or `LOADING_MODEL`.
        subject: first paragraph of LICENSE.md: what is under which licence.
    """
    records = [source_record(source) for source in sources if _num_pairs(source)]
    return {
        "LICENSE.md": licence_file(records, subject),
        "ATTRIBUTION.md": attribution_file(records),
        "USAGE.md": usage_file(records, loading),
        SOURCES_FILE: json.dumps(records, indent=1, sort_keys=True, ensure_ascii=False) + "\n",
    }


def check_licences(sources: Sequence[Facts], allowed: Sequence[str] | None) -> None:
    """Refuse an export with pairs of a source whose licence is not allowed.

    Args:
        sources: with name, licence, num_train and num_validation.
        allowed: `export.allowed_licences` of the profile.

    Raises:
        ValueError: naming the sources and what to do.
    """
    counts = [(str(row["name"]), str(row["licence"]), _num_pairs(row)) for row in sources]
    refused = refusals(counts, allowed)
    if refused:
        listed = ", ".join(
            f"{each.source} ({each.licence}, {each.num_pairs:,} pairs)" for each in refused
        )
        raise ValueError(
            f"export.allowed_licences is {list(allowed or ())}, which these sources are not under: "
            f"{listed}. Take them out of pool.sources, or allow their licence"
        )


def check_release(folder: Path, allowed: Sequence[str] | None) -> None:
    """`check_licences` for a folder that was written earlier.

    Raises:
        ValueError: a source is not allowed, or the folder does not say where it is from.
    """
    if allowed is None:
        return
    file = folder / SOURCES_FILE
    if not file.is_file():
        raise ValueError(
            f"{folder} has no {SOURCES_FILE}, so that its licences cannot be compared with "
            "export.allowed_licences: materialise it again"
        )
    records = json.loads(file.read_text(encoding="utf-8"))
    check_licences([{**each, "licence": each["licence_as_given"]} for each in records], allowed)


def staying_sources(folder: Path) -> list[str]:
    """Sources in a release that were not allowed to leave this machine when it was written."""
    file = folder / SOURCES_FILE
    if not file.is_file():
        return []
    records = json.loads(file.read_text(encoding="utf-8"))
    return [str(each["name"]) for each in records if not each.get("may_leave", True)]


def licence_file(records: Sequence[Facts], subject: str) -> str:
    """LICENSE.md: what is under which licence, source by source."""
    rows = "\n".join(
        f"| {row['name']} | {_address(row)} | {_licence(row)} | {_num_pairs(row):,} |"
        for row in records
    )
    return (
        f"# Licence\n\n{subject}\n\n| source | where it is | licence | "
        f"pairs in the curated data |\n"
        f"|---|---|---|---|\n{rows}\n\n{warnings(records)}"
    )


def attribution_file(records: Sequence[Facts]) -> str:
    """ATTRIBUTION.md: every source, how to cite it, where it is and at which revision."""
    rows = "\n".join(
        f"- **{row['name']}**: {'; '.join(filter(None, (row['citation'], row['place'])))}; "
        f"licence: {_licence(row)}; {_num_pairs(row):,} pairs in the curated data"
        for row in records
    )
    return (
        "# Attribution\n\nPlease credit the authors of the sources whose pairs you use.\n\n"
        f"{rows}\n\n{METHOD}\n"
    )


def usage_file(records: Sequence[Facts], loading: str) -> str:
    """USAGE.md: how to load it, and what the sources' licences ask of a user."""
    return f"# Using this\n\n{loading}\n## Restrictions of the sources\n\n{warnings(records)}"


def warnings(records: Sequence[Facts]) -> str:
    """A line per restriction that a source has, with the sources; or that none names any."""
    lines = []
    for name, meaning in RESTRICTIONS.items():
        concerned = [row for row in records if name in row["restrictions"]]
        if concerned:
            listed = ", ".join(f"{row['name']} ({_num_pairs(row):,} pairs)" for row in concerned)
            lines.append(f"- **{name}**: {meaning}. Sources: {listed}.")
    if not lines:
        lines = [
            "- No licence named here limits the use beyond attribution; read them all the same."
        ]
    return "\n".join(lines) + "\n"


def _licence(row: Facts) -> str:
    if row["licence_url"]:
        return f"[{row['licence']}]({row['licence_url']})"
    documented = row["licence_in_table_of_public_sets"]
    if documented and row["licence"] == "unknown":
        return f"unknown here; our table of public sets has {documented}"
    return str(row["licence"])


def _address(row: Facts) -> str:
    if row["hub_id"]:
        return f"[{row['hub_id']}](https://huggingface.co/datasets/{row['hub_id']})"
    return str(row["place"])


def _num_pairs(row: Facts) -> int:
    return int(row["num_train"]) + int(row["num_validation"])
