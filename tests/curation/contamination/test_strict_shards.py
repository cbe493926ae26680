"""The strict pass by shard: a pair that turns risky costs itself, and nobody else's texts."""

import shutil

import pandas as pd
import pyarrow as pa
import pytest

from synpref_dagster.curation.contamination import strict
from synpref_dagster.curation.contamination.rules import DecontaminationConfig
from synpref_dagster.curation.contamination.strict import OVERLAP_SCHEMA
from synpref_dagster.curation.contamination.strict_shards import look_strictly
from synpref_dagster.pairs.record import PreferencePair, pairs_to_table, table_from_frame
from synpref_dagster.storage import InProcessExecutor, read_manifest, read_table, write_dataset

CONFIG = DecontaminationConfig(min_words=3, max_words=3, scope="all_texts")
BOATS, CATS = "boats sail far north", "cats sleep all day"
SUITES = {"boats": [BOATS], "cats": [CATS]}


def pair(text, origin, *, chosen="yes"):
    return PreferencePair(
        conversation=({"role": "user", "content": text},), chosen=chosen, rejected="no",
        source="s", origin=origin,
    )  # fmt: skip


WILD_FIRST = pair("what do they do", "synthetic", chosen=f"{CATS} and {BOATS}")
PEOPLE_S = pair(f"why do {BOATS}", "human")
WILD_QUIET = pair("where", "synthetic", chosen="over there by the wall")
WILD_LAST = pair("how", "synthetic", chosen=BOATS)
PEOPLE_S_TOO = pair("who", "human", chosen=CATS)
RAW = [
    [WILD_FIRST, PEOPLE_S, WILD_QUIET],
    [PEOPLE_S_TOO, WILD_LAST],
    [pair("nothing here", "human"), pair("nor here", "human"), pair("nor there", "human")],
]


class Night:
    """A store, and which pairs have been compared in it."""

    def __init__(self, folder):
        self.folder = folder
        self.seen = []
        self.raw = write_dataset(
            str(folder / "raw"), [pairs_to_table(each) for each in RAW], step="raw"
        )

    def run(self, *risky, names=("boats", "cats"), store="store"):
        """The look with these pairs risky, and the texts of which pairs it compared."""
        clean = [
            pairs_to_table(each)
            .select(["pair_id", "origin"])
            .append_column("risky", pa.array([one in risky for one in each]))
            for each in RAW
        ]
        rows = [(name, str(n), text) for name in names for n, text in enumerate(SUITES[name])]
        prompts = pd.DataFrame(rows, columns=["benchmark", "item_id", "prompt"])
        self.seen.clear()
        who = "-".join(each.pair_id.hex() for each in risky) or "nobody"
        found = look_strictly(
            write_dataset(str(self.folder / "clean"), clean, step=who),
            self.raw,
            write_dataset(
                str(self.folder / "prompts"), table_from_frame(prompts), step="-".join(names)
            ),
            uri=str(self.folder / store),
            config=CONFIG,
            executor=InProcessExecutor(),
        )
        return found, list(self.seen)


@pytest.fixture
def night(tmp_path, monkeypatch):
    here, find_hits = Night(tmp_path), strict.find_hits

    def noted(table, indexes):
        here.seen += [turns[0]["content"] for turns in table["conversation"].to_pylist()]
        return find_hits(table, indexes)

    monkeypatch.setattr(strict, "find_hits", noted)
    return here


def asked(*pairs):
    return sorted(each.conversation[0]["content"] for each in pairs)


def listed(look):
    found = read_table(look.overlaps)
    assert found.schema == OVERLAP_SCHEMA
    names = {one.pair_id: one for each in RAW for one in each}
    ids = found["pair_id"].combine_chunks().storage.to_pylist()
    return [
        (names[each], *rest)
        for each, *rest in zip(
            ids, found["benchmark"].to_pylist(), found["field"].to_pylist(), strict=True
        )
    ]


PEOPLE = [one for each in RAW for one in each if one.origin == "human"]


def test_both_looks_together_list_the_pairs_of_a_shard_in_its_order(night):
    look, seen = night.run(WILD_FIRST, WILD_QUIET, WILD_LAST)
    assert listed(look) == [
        (WILD_FIRST, "boats", "chosen"),
        (WILD_FIRST, "cats", "chosen"),
        (PEOPLE_S, "boats", "conversation"),
        (PEOPLE_S_TOO, "cats", "chosen"),
        (WILD_LAST, "boats", "chosen"),
    ]
    assert [shard.num_rows for shard in read_manifest(look.overlaps).shards] == [3, 2, 0]
    assert sorted(seen) == asked(*PEOPLE, WILD_FIRST, WILD_QUIET, WILD_LAST)
    assert look.num_candidates == 8
    assert look.counts() == {
        "num_shards_computed": 3, "num_shards_reused": 0, "num_risky_parts_computed": 3,
    }  # fmt: skip


def test_a_pair_that_turns_risky_is_compared_and_no_text_of_people_again(night):
    before, seen = night.run(WILD_FIRST)
    assert sorted(seen) == asked(*PEOPLE, WILD_FIRST)
    after, seen = night.run(WILD_FIRST, WILD_LAST)
    assert seen == asked(WILD_LAST)
    assert after.counts() == {
        "num_shards_computed": 0, "num_shards_reused": 3, "num_risky_parts_computed": 1,
    }  # fmt: skip
    assert listed(after) == [*listed(before), (WILD_LAST, "boats", "chosen")]
    anew, _ = night.run(WILD_FIRST, WILD_LAST, store="other")
    assert anew.overlaps.fingerprint == after.overlaps.fingerprint


def test_where_no_pair_is_risky_any_more_no_text_is_read(night):
    night.run(WILD_FIRST, WILD_LAST)
    shutil.rmtree(night.folder / "raw" / "shards")
    look, seen = night.run()
    assert seen == []
    assert [one for one, *_ in listed(look)] == [PEOPLE_S, PEOPLE_S_TOO]


def test_a_new_benchmark_is_looked_for_by_both_and_a_known_one_by_none(night):
    night.run(WILD_FIRST, names=["boats"])
    look, seen = night.run(WILD_FIRST)
    assert sorted(seen) == asked(*PEOPLE, WILD_FIRST)
    for each in (look.of_people, look.risky):
        assert each.variants["boats"].num_shards_computed == 0
        assert each.variants["cats"].num_shards_computed > 0
    assert look.overlaps.fingerprint == night.run(WILD_FIRST, store="x")[0].overlaps.fingerprint
