"""What has to be true after a night: decisions, models, releases, and what new code costs."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from release_checks import SIZE, check_release

from nights.running import run
from synpref_dagster.assets.filtering.decision import all_decisions
from synpref_dagster.pairs.record import id_index
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.storage import from_json

DECIDED = ["decision", "reason", "judge_label"]
MARGINS = ["best_margin", "gold_margin"]
GIVEN = ("vocabulary", "gold", "silver", "iteration_00", "iteration_01", "seed_candidates")
HISTORY = (
    # In which order the files have been read, and who was once in stage 1.
    *("data/raw_pool/files", "data/raw_pool/read_files", "data/unverified_pool"),
    "models/pair_embedder",
)
OF_GOLD = ("gold_reward_model", "flip_evidence")
"""Folders of models that are trained on gold alone."""
OF_THE_NIGHT = ("campaign_report.json", "leaderboard.json")  # they name when they were made
RESCORED = "pool_rewards"
"""Pairs scored in other company have other last bits: its decisions are compared, not its bytes."""
ASKED = "relabelled_pairs"
"""Its exemplars are called as when judges saw them: a label that turns gives another pair id."""
COMPUTED = "_computed"  # ends the numbers of what a step worked on
STAGE_TWO = ("1_pool", "2_", "4_labelled", "5_filtering")


class Store:
    """The campaign in a folder, and ways to look at what its last night left."""

    def __init__(self, order):
        self.order = order
        self.root = Path(order.base) / "store" / "nights" / "seed-0"

    @property
    def campaign(self):
        with self.order.environment():
            return Campaign.of(load_profile(self.order.profile))

    def ref(self, name):
        return from_json((self.root / "refs" / f"{name}.json").read_text())

    def refs(self):
        """What every asset hands on, as text."""
        return {
            path.relative_to(self.root / "refs").as_posix(): path.read_text()
            for path in sorted((self.root / "refs").rglob("*.json"))
        }

    def decisions(self):
        frame = all_decisions(self.campaign, self.ref("consistency_filtered_subset"))
        return frame.set_index(id_index(frame["pair_id"]))

    def verified(self):
        """The pairs of gold under the labels of people, as gold's models are trained on them."""
        campaign = self.campaign
        gold = campaign.frame(self.ref("gold").kept)
        return frozenset(
            (pair.pair_id, split)
            for split, labels in gold.groupby("split")
            for pair in campaign.labelled(self.ref("unverified_pool"), labels)
        )

    def models(self):
        """Finished model -> when its weights were written."""
        return {
            place.parent.relative_to(self.root / "models").as_posix(): place.stat().st_mtime_ns
            for place in sorted((self.root / "models").rglob("model.safetensors"))
            if (place.parent / "training.json").exists()
        }


class Emptied:
    """Runs stage 2 where nothing is known but models, vocabulary, labels and the order of files.

    Models of gold are trained there anew, too, once for each set of verified pairs.
    """

    def __init__(self, base):
        self.base, self.trained = base, {}

    def decisions(self, store):
        """What an empty store decides about what is in the sources tonight."""
        base = self.base / "empty"
        base.mkdir()
        # Databases take seconds to be made, and say nothing of decisions.
        shutil.copy(Path(store.order.base) / "fresh_mlflow.db", base / "mlflow.db")
        order = replace(store.order, base=str(base), home="", versions={}, groups=STAGE_TWO)
        empty = Store(order)
        verified = store.verified()
        for name in (*HISTORY, *(f"refs/{name}" for name in GIVEN)):
            _copy(store.root / name, empty.root / name)
        for name in OF_GOLD if verified in self.trained else ():
            _copy(self.trained[verified] / name, empty.root / "models" / name)
        outcome = run(order)
        assert outcome.success, outcome.said
        found = empty.decisions()
        if verified not in self.trained:
            self.trained[verified] = self.base / f"models_{len(self.trained)}"
            for name in OF_GOLD:
                _copy(empty.root / "models" / name, self.trained[verified] / name)
        shutil.rmtree(base)
        return found


def _copy(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source.with_suffix(".json"), target.with_suffix(".json"))


def check_decisions(found, expected):
    """Every pair is decided alike, for the same reason, by the same witnesses."""
    assert set(found.index) == set(expected.index)
    expected = expected.loc[id_index(found.index)]
    differing = (found[DECIDED] != expected[DECIDED]).any(axis=1)
    assert not differing.any(), (found[differing], expected[differing])
    assert np.allclose(found[MARGINS], expected[MARGINS], atol=1e-4)


def check_models(before, after, *, is_known):
    """Finished models stay as they were; new ones are of gold, where its pairs are others.

    Args:
        before: `Store.models` before the night.
        after: and after it.
        is_known: whether an earlier night ended with the same verified pairs.
    """
    assert {name: after.get(name) for name in before} == before
    new = after.keys() - before.keys()
    assert not new if is_known else all(name.startswith(OF_GOLD) for name in new), new


def check_new_code(store, asset, before, after, outcome):
    """Another code version alone computes its asset anew, to the same, and nothing behind that.

    Args:
        store: the campaign.
        asset: whose code is another.
        before: `Store.refs` before the night.
        after: and after it.
        outcome: of the night, which nothing disturbed; None where something did.
    """
    if outcome is not None:
        computed = [n for name, n in outcome.metrics[asset].items() if name.endswith(COMPUTED)]
        assert not computed or sum(computed), (asset, outcome.metrics[asset])
    if asset == RESCORED:
        return
    told = {name for name in before if after[name] != before[name]}
    if asset == ASKED:
        name = f"{asset}.json"
        assert shown(store, before[name]) == shown(store, after[name])
        told -= {name}
    assert told <= {*OF_THE_NIGHT}, (asset, told)


def shown(store, text):
    """Every exemplar by its content, and the other parts of what the judges said as they are."""
    parts = dict(from_json(text))
    exemplars = store.campaign.frame(parts.pop("exemplars"))
    targets = store.campaign.frame(parts.pop("targets"))
    contents = dict(zip(targets["pair_id"], targets["content_id"], strict=True))
    exemplars["content_id"] = exemplars["gold_pair_id"].map(contents)
    judged = targets.loc[~targets["gold"], ["pair_id", "content_id", "conversation_id"]]
    rows = exemplars[["pair_id", "content_id", "rank"]]
    return parts, *(set(each.itertuples(index=False, name=None)) for each in (rows, judged))


def check_backfill(store, outcome, trained, *, night, allowed, closed):
    """One size was released with a true card, or its licences forbade it.

    Args:
        store: the campaign.
        outcome: of the backfill.
        trained: see `release_checks.trained`.
        night: whether the export of this night was written.
        allowed: the licences that may be trained on.
        closed: sources under another licence.
    """
    if not outcome.success:
        assert "export.allowed_licences" in outcome.said, outcome.said
        assert closed
        return False
    release = Path(store.ref(f"model_release/{SIZE}").uri)
    check_release(release, trained, allowed=allowed)
    if night:
        rows = store.campaign.frame(store.ref("curated_dataset"), ["split", "tier", "source"])
        rows = rows[rows["tier"] != "recycled"]
        weights = store.ref(f"skywork_reward_v2/{SIZE}").fingerprint
        assert trained[weights] == tuple(
            Counter(rows["source"][rows["split"] == split]) for split in ("train", "validation")
        )
    return True
