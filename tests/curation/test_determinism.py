"""The same seed gives the same pools in every process, whatever the hash seed of Python is.

Bytes hash differently in every process, so anything that iterates over a set of ids would differ.
"""

import os
import subprocess
import sys

PROGRAM = """
from hashlib import blake2b
import numpy as np
import pandas as pd
from synpref_dagster.curation.verification.gold_silver import (
    extend_gold, extend_silver, first_gold, retrievable, silver_from_labels, undecidable_content,
)
from synpref_dagster.curation.judging.verdicts import Verdict, label_with_panel
from synpref_dagster.pairs.record import PreferencePair, id_index, table_from_frame
from synpref_dagster.curation.retrieval.nearest import (
    forbidden_exemplars, random_exemplars, retrieve_around_errors,
)
from synpref_dagster.curation.release.training_sets import training_variants
from synpref_dagster.curation.verification.people import choose_for_people, consensus, pick_seed
from synpref_dagster.storage import to_frame

class Coin:
    name, num_samples = "coin", 3
    def verdicts(self, questions, seeds):
        return [Verdict(choice=("candidate_1", "candidate_2", "tie")[s % 3]) for s in seeds]

pairs = [
    PreferencePair(
        conversation=({"role": "user", "content": f"q{n // 3}"},), chosen=f"a{n}", rejected="b",
        source="s", origin="human",
    )
    for n in range(90)
]
pool = pd.DataFrame({
    "pair_id": id_index(p.pair_id for p in pairs),
    "content_id": id_index(p.content_id for p in pairs),
    "conversation_id": id_index(p.conversation_id for p in pairs),
    "task_category": ["math", "other", "editing"] * 30, "objectivity": ["objective"] * 90,
    "controversiality": ["low", "high"] * 45, "risky": False,
})
ids = pool[["pair_id", "content_id", "conversation_id"]]
seed = pick_seed(pool, num_gold=30, num_silver=20, seed=1)
people, judges = (seed[seed["asked"] == who] for who in ("people", "judges"))

def ledger(asked):
    rng = np.random.default_rng(2)
    return asked[["pair_id", "content_id"]].assign(
        annotator="a", verdict=rng.choice([1, -1, 0], len(asked), p=[0.6, 0.2, 0.2]), decided=True
    )

def ask(wanted):
    by_id = {p.pair_id: p for p in pairs}
    chosen = [by_id[i] for i in wanted]
    return label_with_panel(
        chosen, [Coin()], attributes=[{}] * len(chosen), exemplars=[()] * len(chosen), seed=3
    ).labels

gold, dropped = first_gold(
    consensus(ledger(people)), people[list(ids)], validation_share=0.3, seed=4
)
silver, _ = silver_from_labels(ask(judges["pair_id"]), ids, gold=gold, iteration=0)
free = retrievable(table_from_frame(ids), gold=gold, silver=silver, discarded=dropped)
vectors = np.random.default_rng(5).integers(-3, 4, (90, 4)).astype("float32")
pulled = retrieve_around_errors(
    gold.assign(confidence=0.3), vectors[: len(gold)], pool=to_frame(free),
    pool_vectors=vectors[: len(free)], max_pairs=25,
)
labels = ask(pulled["pair_id"])
shown = pulled.merge(pool, on="pair_id")
batch = choose_for_people(shown, labels, policy="judge_disagreement", num_pairs=8, seed=6)
asked = shown[shown["pair_id"].map(set(batch).__contains__)]
gold_2, dropped_2 = extend_gold(gold, consensus(ledger(asked)), ids, iteration=1)
silver_2, left = extend_silver(
    silver, labels, ids, gold=gold_2, undecidable=undecidable_content(dropped_2), iteration=1
)
decisions = ids.assign(decision=["kept", "flipped", "discarded"] * 30)
rows = random_exemplars(ids, gold=gold_2, k=3, rng=np.random.default_rng(7))
parts = [seed, gold, dropped, silver, pulled, labels, batch, gold_2, dropped_2, silver_2, left]
parts += list(training_variants(
    ids, decisions, gold=gold_2, silver=silver_2, seed=8, right=dict.fromkeys(ids["pair_id"], 1)
).values())
parts += [[each.tolist() for each in rows + forbidden_exemplars(ids, gold_2)]]
parts = [each.to_csv() if hasattr(each, "to_csv") else repr(each) for each in parts]
assert len(gold_2) > len(gold) and len(silver_2) > len(silver) and len(left)
print([blake2b(each.encode(), digest_size=4).hexdigest() for each in parts])
"""


def run(hash_seed):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_pools_do_not_depend_on_the_hash_seed():
    assert run("1") == run("2")
