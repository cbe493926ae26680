"""What a release says of its data, beside what its model was trained on."""

import json
import re
from collections import Counter

from synpref_dagster.publishing.release.folder import MANIFEST
from synpref_dagster.resources.models import RewardModels

SIZE = "qwen3-0.6b"


def recorded_trainings(monkeypatch):
    """Weights -> (training, validation) pairs by source, of every release that is trained."""
    found = {}
    train = RewardModels.train

    def recorded(self, name, pairs, validation, **more):
        model = train(self, name, pairs, validation, **more)
        if name.startswith("skywork_reward_v2/"):
            found[model.ref.fingerprint] = tuple(
                Counter(pair.source for pair in part) for part in (pairs, validation)
            )
        return model

    monkeypatch.setattr(RewardModels, "train", recorded)
    return found


def said(folder):
    """What a release folder says of its data: training pairs by card, and by source per split."""
    card = (folder / "README.md").read_text()
    tiers = re.findall(r"^\| (gold|silver|curated|recycled) \| ([\d,]+) \|", card, re.M)
    used, left = re.search(
        r"([\d,]+) preference pairs(?:, ([\d,]+) more were left out)?", card
    ).groups()
    sources = json.loads((folder / "sources.json").read_text())
    splits = tuple(
        Counter({row["name"]: row[f"num_{split}"] for row in sources if row[f"num_{split}"]})
        for split in ("train", "validation")
    )
    number = {name: int(text.replace(",", "")) for name, text in tiers}
    in_all = int(used.replace(",", "")) + int((left or "0").replace(",", ""))
    return number, in_all, splits, {row["name"]: row["licence_as_given"] for row in sources}


def check_release(folder, trained, *, allowed):
    """Card and sources name what the model was trained on, and nothing that is not allowed."""
    tiers, in_all, splits, licences = said(folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    assert splits == trained[manifest["weights"]]
    assert sum(tiers.values()) == in_all == splits[0].total()
    assert tiers["recycled"] == 0  # this size does not see them
    assert set(licences.values()) <= set(allowed)
