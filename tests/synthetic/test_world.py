import json
from collections import Counter
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from oracles import contamination_indexes

from synpref_dagster.benchmarks.items import first_turn_prompts
from synpref_dagster.benchmarks.loaders import load_suite
from synpref_dagster.curation.contamination.hits import find_hits, first_hits
from synpref_dagster.curation.contamination.rules import BenchmarkPrompt
from synpref_dagster.curation.pool.cleaning import contradicted_rows, first_copies
from synpref_dagster.pairs.attributes import TASK_CATEGORIES
from synpref_dagster.pairs.record import canonical_sign, pairs_to_table
from synpref_dagster.sources.reading import read_source
from synpref_dagster.sources.records import SourceSpec
from synpref_dagster.synthetic.miniatures.suite import SMOKE_SIZES
from synpref_dagster.synthetic.world import (
    MANIFEST,
    WORLD_VERSION,
    WorldConfig,
    category_examples,
    read_manifest,
    write_world,
)

SMOKE = WorldConfig(seed=3, num_unverified=800, num_wild=800, num_test=200, benchmarks=SMOKE_SIZES)


# Bytes of `SMOKE` under this version. When they change, bump WORLD_VERSION with them: directories
# written before would otherwise be taken for the new world.
PINNED_VERSION = "4"
PINNED_FILES = {
    "sources/expert.jsonl": "3fb14a3f7a7cf89769dbafdd812810ba",
    "sources/length_biased_crowd.jsonl": "5f0066b5feeaf6e7f274d883f75c81b1",
    "recorded_verdicts.jsonl": "c646951d1d43a4fc7390c70756df5a58",
    "sealed/test_pairs.jsonl": "68df1240519fa7e53bd69cab13923c9e",
    "benchmarks/rm_bench.json": "3ce3762294340932e346e266c5a1a2d7",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    directory = tmp_path_factory.mktemp("world")
    return directory, write_world(directory, config=SMOKE)


@pytest.fixture(scope="module")
def read(world):
    """Per source: pairs and quarantined rows, as the package's own readers see them."""
    directory, manifest = world
    batches = {
        name: list(
            read_source(
                SourceSpec(
                    name=name,
                    path=str(directory / facts["path"]),
                    origin=facts["origin"],
                    licence="synthetic",
                ),
                seed=0,
            )
        )
        for name, facts in manifest.sources.items()
    }
    return {
        name: (
            [pair for batch in found for pair in batch.pairs],
            [row for batch in found for row in batch.quarantined],
        )
        for name, found in batches.items()
    }


@pytest.fixture(scope="module")
def truth(world):
    table = pq.read_table(world[0] / "sealed" / "truth.parquet")
    ids = table["content_id"].combine_chunks().storage.to_pylist()
    return dict(zip(ids, table.drop(["content_id"]).to_pylist(), strict=True))


def test_readers_quarantine_exactly_the_malformed_rows(world, read):
    for name, facts in world[1].sources.items():
        pairs, quarantined = read[name]
        assert len(pairs) + len(quarantined) == facts["num_rows"]
        assert len(quarantined) == sum(facts["num_malformed"].values())


def test_every_pair_read_has_a_sealed_truth(read, truth):
    assert all(pair.content_id in truth for pairs, _ in read.values() for pair in pairs)


def test_labels_are_as_noisy_as_the_summary_says(world, read, truth):
    right, num = Counter(), Counter()
    for pairs, _ in read.values():
        for pair in pairs:
            sign = canonical_sign(pair.chosen, pair.rejected)
            right[pair.origin] += sign == truth[pair.content_id]["verdict"]
            num[pair.origin] += 1
    summary = json.loads((world[0] / "sealed" / "summary.json").read_text())
    for origin, accuracy in summary["label_accuracy_by_origin"].items():
        assert right[origin] / num[origin] == pytest.approx(accuracy, abs=0.02)


def test_deduplication_finds_exactly_the_planted_duplicates(world, read):
    table = pairs_to_table([pair for pairs, _ in read.values() for pair in pairs])
    planted = sum(facts["num_duplicates"] for facts in world[1].sources.values())
    assert planted > 0
    assert table.num_rows - len(set(first_copies(table))) == planted


def test_only_the_contradictory_source_contradicts_itself(read):
    for name, (pairs, _) in read.items():
        contradicted = contradicted_rows(pairs_to_table(pairs))
        assert contradicted.any() == (name == "contradictory_llm")


def test_decontamination_finds_exactly_the_planted_pairs(world, read):
    directory, manifest = world
    suite = load_suite(directory / "benchmarks")
    prompts = [
        BenchmarkPrompt(benchmark=benchmark, item_id=item_id, prompt=prompt)
        for items in suite.values()
        for benchmark, item_id, prompt in first_turn_prompts(items)
    ]
    indexes = contamination_indexes(prompts, ngram_words=13)
    table = pairs_to_table([pair for pairs, _ in read.values() for pair in pairs])
    distinct = table.take(pa.array(sorted(set(first_copies(table)))))
    found = first_hits(find_hits(distinct, indexes))
    assert found.num_rows == manifest.num_planted
    assert set(found["rule"].to_pylist()) == {"exact_prompt", "word_gram"}


def test_test_pairs_are_right_and_share_no_prompt_with_the_pool(world, read):
    lines = (world[0] / "sealed" / "test_pairs.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    pool = {pair.conversation[0]["content"] for pairs, _ in read.values() for pair in pairs}
    assert len(rows) == SMOKE.num_test
    assert not pool & {row["prompt"][0]["content"] for row in rows}
    assert {row["task_category"] for row in rows} <= set(TASK_CATEGORIES)


def test_every_pair_has_three_verdicts_that_mostly_tell_the_truth(world, truth):
    with (world[0] / "recorded_verdicts.jsonl").open() as lines:
        rows = [json.loads(line) for line in lines]
    assert world[1].num_verdicts == len(rows) == 3 * len(truth)
    signs = {"first": 1, "second": -1, "undecidable": 0}
    right = [
        signs[row["verdict"]] == truth[bytes.fromhex(row["content_id"])]["verdict"] for row in rows
    ]
    assert 0.9 < sum(right) / len(right) < 0.97


def test_the_same_configuration_gives_the_same_bytes(world, tmp_path):
    assert write_world(tmp_path, config=SMOKE).files == world[1].files


def test_the_bytes_of_this_version_are_pinned(world):
    assert WORLD_VERSION == PINNED_VERSION
    assert {name: world[1].files[name] for name in PINNED_FILES} == PINNED_FILES


def test_another_seed_gives_another_world(world, tmp_path):
    other = write_world(tmp_path, config=replace(SMOKE, seed=4))
    sources = [name for name in world[1].files if name.startswith("sources/")]
    assert all(other.files[name] != world[1].files[name] for name in sources)


def test_a_complete_world_is_reused_and_an_incomplete_or_damaged_one_is_rewritten(tmp_path):
    first = write_world(tmp_path, config=SMOKE)
    path = tmp_path / first.sources["expert"]["path"]
    written = path.stat().st_mtime_ns
    assert write_world(tmp_path, config=SMOKE) == first
    assert path.stat().st_mtime_ns == written
    path.write_text("touched")
    assert write_world(tmp_path, config=SMOKE) == first
    assert path.read_text() != "touched"
    path.unlink()
    assert write_world(tmp_path, config=SMOKE) == first
    assert path.is_file()
    path.write_text("touched")
    (tmp_path / MANIFEST).unlink()
    assert read_manifest(tmp_path) is None
    assert write_world(tmp_path, config=SMOKE) == first
    assert path.read_text() != "touched"


def test_the_manifest_holds_no_label(world):
    text = (world[0] / MANIFEST).read_text()
    assert "accuracy" not in text
    assert "verdict" not in text.replace("recorded_verdicts", "").replace("num_verdicts", "")


def test_category_examples_cover_all_categories():
    rows = category_examples(7, 600)
    assert {row[3] for row in rows} == set(TASK_CATEGORIES)
    assert len(rows) == 600


@pytest.mark.parametrize("field", ["num_unverified", "num_wild", "num_test"])
def test_sizes_must_be_positive(field):
    with pytest.raises(ValueError, match=field):
        WorldConfig(**{field: 0})


def test_shares_must_be_small():
    with pytest.raises(ValueError, match="planted_share"):
        WorldConfig(planted_share=0.5)


@pytest.mark.slow
def test_the_default_world_is_as_noisy_and_as_varied_as_documented(tmp_path):
    write_world(tmp_path, config=WorldConfig(seed=0))
    summary = json.loads((tmp_path / "sealed" / "summary.json").read_text())
    assert 0.64 <= summary["label_accuracy"] <= 0.69
    assert summary["distinct_conversation_share"] > 0.85
    assert summary["longer_is_better"] == pytest.approx(0.5, abs=0.03)
    assert summary["num_latent"] <= 70
    for accuracy in summary["label_accuracy_by_origin"].values():
        assert 0.62 <= accuracy <= 0.71
