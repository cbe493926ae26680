"""Many nights of small accidents: each ends with what stage 2 decides in an empty store.

The empty store is given the models of the iterations, the vocabulary, gold and silver, and the
files in the order in which the nights have read them; everything else is computed there anew.
"""

import gzip
import json
import random
import shutil
from dataclasses import replace

import numpy as np
import pytest

from synpref_dagster.assets.filtering.decision import all_decisions
from synpref_dagster.definitions.build import build_defs, build_resources
from synpref_dagster.pairs.record import id_index
from synpref_dagster.resources.sources import PoolSources
from synpref_dagster.reward.training import loop
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.sources.files.known_files import known_files
from synpref_dagster.sources.records import SourceSpec

DECIDED = ["decision", "reason", "judge_label"]
MARGINS = ["best_margin", "gold_margin"]
GIVEN = ("vocabulary", "gold", "silver", "iteration_00", "iteration_01", "seed_candidates")


class Files(PoolSources):
    """The synthetic world from files that change overnight, one per source."""

    names: list[str]  # in order, which a mapping in a configuration does not keep
    origins: list[str]
    folder: str

    def specs(self):
        return [
            SourceSpec(name=name, path=f"{self.folder}/{name}.jsonl", origin=origin, licence="mit")
            for name, origin in zip(self.names, self.origins, strict=True)
        ]


class World:
    """Rows by source, and the settings; written to files before each night."""

    def __init__(self, world, folder, *, share):
        self.folder, self.rows, self.origins, self.spare = folder, {}, {}, []
        for path in sorted((world / "sources").iterdir()):
            if path.suffix == ".parquet":
                continue
            opened = gzip.open if path.suffix == ".gz" else open
            with opened(path, "rt") as stream:
                lines = stream.read().splitlines()
            name = path.name.partition(".")[0]
            keep = int(len(lines) * share)
            self.rows[name], more = lines[:keep], lines[keep:]
            self.spare += [(name, line) for line in more]
            self.origins[name] = "synthetic" if name.endswith("llm") else "human"
        self.filtering = {}
        self.write()

    def write(self):
        for name, lines in self.rows.items():
            path = self.folder / f"{name}.jsonl"
            text = "\n".join(lines)
            if not path.exists() or path.read_text() != text:
                path.write_text(text)

    def accident(self, draw):
        """One thing that happens before a night; returns what it was."""
        name = draw.choice(sorted(self.rows))
        lines = self.rows[name]
        kind = draw.choice(["append", "append", "erase", "turn", "arrive", "swap", "setting"])
        if kind in ("append", "arrive") and self.spare:
            place, line = self.spare.pop(draw.randrange(len(self.spare)))
            if kind == "arrive":
                self.origins[f"new_{len(self.origins)}"] = self.origins[place]
                place = f"new_{len(self.origins) - 1}"
            self.rows.setdefault(place, []).append(line)
        elif kind == "erase" and len(lines) > 5:
            del lines[draw.randrange(len(lines))]
        elif kind == "turn":
            number = draw.randrange(len(lines))
            row = json.loads(lines[number])
            if isinstance(row, dict) and {"chosen", "rejected"} <= row.keys():
                row["chosen"], row["rejected"] = row["rejected"], row["chosen"]
                lines[number] = json.dumps(row)
        elif kind == "swap":
            draw.shuffle(lines)
        else:
            self.filtering = {"unsure_band": draw.choice([0.0, 0.05])}
        self.write()
        return kind


def definitions(base, folder, origins, filtering):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNPREF_STORE", str(base / "store"))
        patch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{base / 'mlflow.db'}")
        profile = load_profile("smoke")
        profile = profile.model_copy(
            update={
                "filtering": profile.filtering.model_copy(update=filtering),
                # Who of other origin is routed to stage 1 is part of the history of a store.
                "pool": profile.pool.model_copy(update={"max_risky_share": 0.0}),
            }
        )
        campaign = build_resources(profile)["campaign"]
        sources = Files(
            campaign=campaign,
            names=list(origins),
            origins=list(origins.values()),
            folder=str(folder),
        )
        return build_defs(profile, resource_overrides={"sources": sources})


def run(campaign, defs, job, groups):
    graph = defs.resolve_asset_graph()
    keys = defs.resolve_job_def(job).asset_layer.selected_asset_keys
    wanted = [key for key in sorted(keys) if graph.get(key).group_name.startswith(groups)]
    result = replace(campaign, defs=defs).run(job, selection=wanted)
    frame = all_decisions(result.campaign, result.ref("consistency_filtered_subset"))
    return frame.set_index(id_index(frame["pair_id"]))


def in_an_empty_store(campaign, start, world, base):
    """What stage 2 decides where nothing is known but models, vocabulary, labels and order."""
    order = [file.source for file in known_files(str(campaign.root / "data/raw_pool/files"))]
    origins = {name: world.origins[name] for name in order}
    assert set(origins) == set(world.origins)
    empty = start(base)
    shutil.copytree(campaign.root / "world", empty.root / "world")
    for name in GIVEN:
        place = campaign.root / "refs" / name
        if place.is_dir():
            shutil.copytree(place, empty.root / "refs" / name)
        else:
            (empty.root / "refs").mkdir(exist_ok=True)
            shutil.copy(place.with_suffix(".json"), empty.root / "refs" / f"{name}.json")
    # Who was once in stage 1 stays there: that is history, too.
    for name in ("models/pair_embedder", "data/unverified_pool"):
        shutil.copytree(campaign.root / name, empty.root / name)
    defs = definitions(base, world.folder, origins, world.filtering)
    return run(empty, defs, "filter_pool", ("1_pool", "2_", "4_labelled", "5_filtering"))


@pytest.mark.parametrize(
    ("seed", "num_nights", "share"),
    [
        pytest.param(0, 1, 0.4, marks=pytest.mark.timeout(900)),
        pytest.param(1, 50, 0.75, marks=[pytest.mark.slow, pytest.mark.timeout(3600)]),
    ],
)
def test_every_night_ends_with_what_an_empty_store_decides(
    start_campaign, tmp_path, finished_campaign, monkeypatch, seed, num_nights, share
):
    draw = random.Random(seed)
    folder = tmp_path / "files"
    folder.mkdir()
    world = World(finished_campaign.root / "world", folder, share=share)
    campaign = start_campaign(tmp_path / "store")
    shutil.copytree(finished_campaign.root / "world", campaign.root / "world")
    first = definitions(campaign.base, folder, world.origins, {})
    run(campaign, first, "curate_pool", ("1_", "2_", "3_", "4_", "5_"))
    steps = []
    take_step = loop.take_step
    monkeypatch.setattr(loop, "take_step", lambda *a, **k: steps.append(1) or take_step(*a, **k))
    gold = campaign.frame(campaign.ref("gold").kept)

    def verified():
        pairs = campaign.campaign.labelled(campaign.ref("unverified_pool"), gold)
        return {pair.pair_id for pair in pairs}

    before = verified()
    for night in range(num_nights):
        kinds = [world.accident(draw) for _ in range(draw.randint(1, 3))]
        steps.clear()
        defs = definitions(campaign.base, folder, world.origins, world.filtering)
        found = run(campaign, defs, "filter_pool", ("1_pool", "2_", "4_labelled", "5_filtering"))
        now = verified()
        assert (now != before) or not steps, (night, kinds)
        before = now
        expected = in_an_empty_store(campaign, start_campaign, world, tmp_path / f"empty_{night}")
        shutil.rmtree(tmp_path / f"empty_{night}")
        assert set(found.index) == set(expected.index), (night, kinds)
        expected = expected.loc[id_index(found.index)]
        differing = (found[DECIDED] != expected[DECIDED]).any(axis=1)
        assert not differing.any(), (night, kinds, found[differing], expected[differing])
        assert np.allclose(found[MARGINS], expected[MARGINS], atol=1e-4)
