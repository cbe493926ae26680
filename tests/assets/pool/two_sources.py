"""A pool of a few rows in two source files, run as assets."""

import json
from pathlib import Path

import dagster as dg
from fakes import NullTracking

from synpref_dagster.definitions.build import build_defs
from synpref_dagster.settings.pool import PoolSettings
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.storage import from_json

EMAIL, CARD = "ann.lee@posteo.de", "4929 5071 8263 9413"
UNTRACKED = {"tracking": NullTracking()}
POOL = [
    "raw_pool",
    "benchmark_prompts",
    "clean_pool",
    "strict_overlaps",
    "wild_pool",
    "unverified_pool",
]
CHATS = [
    {"prompt": "What is rain?", "chosen": "Water", "rejected": "Snow"},
    {"prompt": "Who are you?", "chosen": f"Ann, {EMAIL}", "rejected": "Nobody"},
    {"prompt": "How do I pay?", "chosen": f"Use {CARD}", "rejected": "Not at all"},
    {"prompt": "How do I pay?", "chosen": f"Use {CARD}", "rejected": "Not at all"},
]
WEB = [
    {"prompt": "Sky?", "chosen": "Blue", "rejected": "Red"},
    {"prompt": "Sky?", "chosen": "Red", "rejected": "Blue"},
    {"prompt": "Best?", "chosen": "first", "rejected": "second"},
    {"prompt": "Best?", "chosen": "second", "rejected": "third"},
    {"prompt": "Best?", "chosen": "third", "rejected": "first"},
    {"prompt": "Worst?", "chosen": "first", "rejected": "second"},
]


class Place:
    """A campaign over two small source files."""

    def __init__(self, folder, monkeypatch):
        monkeypatch.setenv("SYNPREF_STORE", str(folder / "store"))
        self.folder = folder
        for name, rows in (("chats", CHATS), ("web", WEB)):
            (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def profile(self, judges=None, embedding=None, **pool):
        sources = [
            {"name": name, "path": str(self.folder / f"{name}.jsonl"), "origin": origin}
            for name, origin in (("chats", "human"), ("web", "synthetic"))
        ]
        settings = PoolSettings(kind="sources", sources=sources, **pool)
        given = {"judges": judges, "embedding": embedding}
        changes = {"pool": settings, **{name: each for name, each in given.items() if each}}
        return load_profile("smoke").model_copy(update=changes)

    def run(self, assets, judges=None, embedding=None, **pool):
        profile = self.profile(judges, embedding, **pool)
        self.root = profile.store_root()
        job = build_defs(
            profile, resource_overrides=UNTRACKED
        ).resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(
            instance=dg.DagsterInstance.ephemeral(),
            asset_selection=[dg.AssetKey(name) for name in assets],
        )
        assert result.success
        return {
            event.asset_key.to_user_string(): event.step_materialization_data.materialization
            for event in result.get_asset_materialization_events()
        }

    def ref(self, name):
        return from_json(Path(self.root, "refs", f"{name}.json").read_text())
