"""The pool's files on a second night, and which benchmarks a campaign has.

Only what is new is read, screened and scored, and old decisions stand. Benchmarks are the world's
seven, published files, plug-ins and suites of one's own.
"""

import gzip
import json
import os
import shutil
from functools import partial

import numpy as np
import pandas as pd
import pytest
from oracles import marks_in_memory

from synpref_dagster.benchmarks.custom import left_out
from synpref_dagster.curation.contamination.rules import DecontaminationConfig
from synpref_dagster.curation.pool.screening import screen_structure
from synpref_dagster.curation.pool.selection import select_clean
from synpref_dagster.curation.pool.shards import screen_pool
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.sources import PoolSources
from synpref_dagster.reward import shards as reward_shards
from synpref_dagster.settings.pool import PoolSettings
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.sources import shards as reading
from synpref_dagster.sources.files import content_hashes
from synpref_dagster.sources.reading import read_source
from synpref_dagster.storage import (
    InProcessExecutor,
    MapResult,
    ModelRef,
    map_shards,
    read_frame,
    read_manifest,
    read_table,
)
from synpref_dagster.storage.damage import file_hash
from synpref_dagster.storage.maps.ids import only_ids

PROMPTS = pd.DataFrame(
    [{"benchmark": "b", "item_id": "1", "prompt": "How do bees find their way home at night?"}]
)


def write_rows(path, start: int, count: int) -> None:
    rows = [
        {"prompt": f"What is {n} plus {n}?", "chosen": str(2 * n), "rejected": str(3 * n + 1)}
        for n in range(start, start + count)
    ]
    path.write_text("\n".join(map(json.dumps, [*rows, {"prompt": "broken"}])))


@pytest.fixture
def pool(tmp_path):
    """Campaign whose one source is a folder of two files."""
    folder = tmp_path / "crawl"
    folder.mkdir()
    for night in range(2):
        write_rows(folder / f"night_{night}.jsonl", 100 * night, 60)
    profile = load_profile("smoke").model_dump()
    profile["pool"] = {
        "kind": "sources",
        "sources": [{"name": "crawl", "path": str(folder), "origin": "synthetic"}],
    }
    campaign = Campaign(profile_json=json.dumps(profile), store_root=str(tmp_path / "store"))
    return folder, campaign, PoolSources(campaign=campaign)


def screened(campaign, raw):
    prompts = campaign.dataset("prompts", lambda: PROMPTS, version="1", inputs=[])
    return screen_pool(
        raw.outputs["kept"],
        prompts,
        uri=campaign.uri("data", "screening"),
        version="1",
        config=DecontaminationConfig(),
        executor=InProcessExecutor(),
    )


def selected(screened):
    parts = select_clean(screened, marks_in_memory(screened))
    return parts["kept"].to_pandas(), parts["dropped"].to_pandas()


def test_a_new_file_is_the_only_one_read_and_screened(pool):
    folder, campaign, sources = pool
    first = sources.read_pool(version="1")
    assert (first.num_shards_computed, first.num_shards_reused) == (2, 0)
    assert screened(campaign, first).num_shards_computed == 2

    # The new night repeats five pairs of the second file and brings ten of its own.
    write_rows(folder / "night_2.jsonl", 155, 15)
    second = PoolSources(campaign=campaign).read_pool(version="1")
    assert (second.num_shards_computed, second.num_shards_reused) == (1, 2)
    found = screened(campaign, second)
    assert (found.num_shards_computed, found.num_shards_reused) == (1, 2)

    kept, dropped = selected(read_table(found.screened.ref))
    assert len(kept) == 130
    assert dropped["reason"].tolist() == ["duplicate"] * 5
    assert dropped["detail"].tolist()[0] == "row 115"


def test_nothing_new_reads_nothing(pool):
    _, campaign, sources = pool
    first = sources.read_pool(version="1")
    again = PoolSources(campaign=campaign).read_pool(version="1")
    assert again.outputs == first.outputs
    assert (again.num_shards_computed, again.num_shards_reused) == (0, 2)


def test_a_new_way_of_reading_keeps_what_rests_on_pairs_that_stayed_the_same(pool):
    _, campaign, sources = pool
    first = sources.read_pool(version="1")
    screened(campaign, first)
    again = sources.read_pool(version="2")
    assert again.num_shards_computed == 2
    assert again.outputs["kept"].fingerprint == first.outputs["kept"].fingerprint
    assert screened(campaign, again).num_shards_computed == 0


def test_columns_that_nobody_read_add_up_over_the_files_of_a_source(pool):
    folder, _, sources = pool
    row = {"prompt": "Name a fruit.", "chosen": "apple", "rejected": "stone", "score": 3}
    for name, rows in (("a", [row, {**row, "score": None}]), ("b", [{**row, "lang": "en"}])):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    read = sources.read_pool()
    assert reading.unread_columns([read_table(read.outputs["unread"])]) == [
        {"source": "crawl", "column": "lang", "num_rows": 1},
        {"source": "crawl", "column": "score", "num_rows": 2},
    ]


def test_quarantined_rows_of_a_folder_name_their_file(pool):
    _, _, sources = pool
    dropped = read_frame(sources.read_pool(version="1").outputs["dropped"])
    assert dropped["row"].tolist() == [60, 60]
    assert dropped["detail"].str.startswith(("night_0.jsonl: ", "night_1.jsonl: ")).all()


def test_a_lone_file_of_a_folder_is_named_too_and_stays_when_another_arrives(pool):
    folder, campaign, _ = pool
    (folder / "night_1.jsonl").unlink()
    alone = PoolSources(campaign=campaign).read_pool(version="1")
    assert read_frame(alone.outputs["dropped"])["detail"].str.startswith("night_0.jsonl: ").all()
    write_rows(folder / "night_1.jsonl", 100, 60)
    both = PoolSources(campaign=campaign).read_pool(version="1")
    assert (both.num_shards_computed, both.num_shards_reused) == (1, 1)
    details = read_frame(both.outputs["dropped"])["detail"]
    assert [each.split(":")[0] for each in details] == ["night_0.jsonl", "night_1.jsonl"]


def test_a_file_that_becomes_a_source_of_its_own_is_no_longer_named(pool):
    folder, campaign, sources = pool
    sources.read_pool(version="1")
    profile = json.loads(campaign.profile_json)
    profile["pool"]["sources"][0]["path"] = str(folder / "night_0.jsonl")
    profile["pool"]["allow_missing_files"] = True
    campaign = Campaign(profile_json=json.dumps(profile), store_root=campaign.store_root)
    lone = PoolSources(campaign=campaign).read_pool(version="1")
    [detail] = read_frame(lone.outputs["dropped"])["detail"]
    assert "night_0" not in detail


def test_a_moved_source_is_not_read_again(pool):
    folder, campaign, sources = pool
    sources.read_pool(version="1")
    moved = folder.rename(folder.parent / "elsewhere")
    profile = json.loads(campaign.profile_json)
    profile["pool"]["sources"][0]["path"] = str(moved)
    campaign = Campaign(profile_json=json.dumps(profile), store_root=campaign.store_root)
    again = PoolSources(campaign=campaign).read_pool(version="1")
    assert (again.num_shards_computed, again.num_shards_reused) == (0, 2)


class LengthScorer:
    """Reward: length of the response."""

    def rewards(self, conversations, responses):
        return np.array([len(one) for one in responses], dtype=np.float32)


def test_only_pairs_of_new_shards_are_scored_and_old_rewards_stand(pool, monkeypatch):
    folder, campaign, _ = pool
    monkeypatch.setattr(reward_shards, "open_scorer", lambda folder: LengthScorer())
    reward_shards.opened_scorer.cache_clear()

    def score() -> MapResult:
        raw = PoolSources(campaign=campaign).read_pool(version="1").outputs["kept"]
        return map_shards(
            partial(reward_shards.score_shard, models={"best": ModelRef("somewhere", "f0")}),
            map_shards(only_ids, raw, uri=campaign.uri("ids"), version="1", params={}).ref,
            beside=[raw],
            uri=campaign.uri("data", "rewards"),
            version="1",
            params={},
            identified_by={"models": {"best": "f0"}},
        )

    first = score()
    write_rows(folder / "night_2.jsonl", 200, 5)
    second = score()
    assert (second.num_shards_computed, second.num_shards_reused) == (1, 2)
    old, new = read_frame(first.ref), read_frame(second.ref)
    assert new.iloc[: len(old)].equals(old)
    # "What is 200 plus 200?": 400 against 601.
    assert new.iloc[len(old)][["best_chosen", "best_rejected", "best_margin"]].tolist() == [3, 3, 0]


def test_a_large_file_becomes_several_shards_and_its_counts_add_up(pool, monkeypatch):
    _, campaign, sources = pool
    whole = sources.read_pool(version="1")
    monkeypatch.setattr(reading, "SHARD_BYTES", 1)
    monkeypatch.setattr(reading, "read_source", partial(read_source, batch_rows=20))
    cut = PoolSources(campaign=campaign).read_pool(version="2")
    shards = read_manifest(cut.outputs["kept"]).shards
    assert [shard.num_rows for shard in shards] == [20] * 6
    assert read_table(cut.outputs["kept"]).equals(read_table(whole.outputs["kept"]))
    counts = read_frame(cut.outputs["counts"]).drop(columns="source").sum().to_dict()
    assert counts == {
        "num_rows": 122,
        "num_unfolded": 0,
        "num_pairs": 120,
        "num_quarantined": 2,
        "num_outside": 0,
    }


def test_an_empty_file_is_counted_too(pool):
    folder, campaign, _ = pool
    for file in folder.iterdir():
        file.unlink()
    (folder / "night_0.jsonl").write_text('{"prompt": "p", "chosen": "a", "rejected": "b"}')
    (folder / "night_1.jsonl").write_text("")
    counts = read_frame(PoolSources(campaign=campaign).read_pool(version="1").outputs["counts"])
    assert counts.groupby("source")["num_rows"].sum().to_dict() == {"crawl": 1}


def crawl_and_other(campaign, folder, other):
    """The campaign with a second source behind the first."""
    profile = json.loads(campaign.profile_json)
    sources = [
        {"name": "crawl", "path": str(folder), "origin": "human"},
        {"name": "other", "path": str(other), "origin": "synthetic"},
    ]
    profile["pool"] |= {"sources": sources}
    return Campaign(profile_json=json.dumps(profile), store_root=campaign.store_root)


def kept_sources(campaign, **licence):
    """How many clean pairs each source has."""
    profile = json.loads(campaign.profile_json)
    profile["pool"]["sources"][0] |= licence
    campaign = Campaign(profile_json=json.dumps(profile), store_root=campaign.store_root)
    raw = PoolSources(campaign=campaign).read_pool(version="1")
    kept, _ = selected(screen_structure(read_table(raw.outputs["kept"])))
    return raw, kept["source"].value_counts().to_dict()


def test_a_file_with_another_licence_keeps_its_place(pool):
    folder, campaign, _ = pool
    other = folder.parent / "other.jsonl"
    other.write_text((folder / "night_0.jsonl").read_text())
    campaign = crawl_and_other(campaign, folder, other)
    assert kept_sources(campaign)[1] == {"crawl": 120}
    again, counts = kept_sources(campaign, licence="MIT")
    assert (again.num_shards_computed, counts) == (0, {"crawl": 120})


def kept_ids(campaign, source):
    """Ids of the clean pairs of a source."""
    raw = PoolSources(campaign=campaign).read_pool(version="1")
    kept, _ = selected(screen_structure(read_table(raw.outputs["kept"])))
    return set(kept.loc[kept["source"] == source, "pair_id"])


def test_a_file_that_grew_takes_no_pair_from_a_file_that_stood_still(pool):
    folder, campaign, _ = pool
    other = folder.parent / "other.jsonl"
    write_rows(other, 200, 20)
    campaign = crawl_and_other(campaign, folder, other)
    before = {name: kept_ids(campaign, name) for name in ("crawl", "other")}
    # Five pairs more than night_0 had, all of which the other source holds.
    with (folder / "night_0.jsonl").open("a") as file:
        more = [{"prompt": f"What is {n} plus {n}?", "chosen": str(2 * n),
                 "rejected": str(3 * n + 1)} for n in range(200, 205)]  # fmt: skip
        file.write("".join(f"\n{json.dumps(row)}" for row in more))
    assert {name: kept_ids(campaign, name) for name in before} == before


def test_a_changed_file_loses_what_it_shares_with_one_that_stood_still(pool):
    folder, campaign, _ = pool
    other = folder.parent / "other.jsonl"
    other.write_text((folder / "night_0.jsonl").read_text())
    campaign = crawl_and_other(campaign, folder, other)
    assert kept_sources(campaign)[1] == {"crawl": 120}
    write_rows(folder / "night_0.jsonl", 0, 61)
    grown, counts = kept_sources(campaign)
    assert (grown.num_shards_computed, counts) == (1, {"crawl": 61, "other": 60})
    # Back to what it was: the order is that of the last night, not of the first.
    write_rows(folder / "night_0.jsonl", 0, 60)
    assert kept_sources(campaign)[1] == {"crawl": 60, "other": 60}


def allowing_missing_files(campaign):
    profile = json.loads(campaign.profile_json)
    profile["pool"]["allow_missing_files"] = True
    return Campaign(profile_json=json.dumps(profile), store_root=campaign.store_root)


def test_a_file_that_disappears_is_an_error_until_its_pairs_are_to_leave(pool):
    folder, campaign, sources = pool
    sources.read_pool(version="1")
    (folder / "night_0.jsonl").unlink()
    for _ in range(2):
        with pytest.raises(ValueError, match=r"gone: crawl/night_0\.jsonl; put them back or"):
            PoolSources(campaign=campaign).read_pool(version="1")
    smaller = PoolSources(campaign=allowing_missing_files(campaign)).read_pool(version="1")
    assert smaller.outputs["kept"].num_rows == 60
    # It has left: without the setting nothing is missing any more.
    assert PoolSources(campaign=campaign).read_pool(version="1").outputs == smaller.outputs


def test_a_missing_file_is_not_hidden_by_a_namesake_in_another_folder(pool):
    folder, campaign, sources = pool
    for number in range(2):
        (folder / f"part={number}").mkdir()
        (folder / f"night_{number}.jsonl").rename(folder / f"part={number}" / "rows.jsonl")
    sources.read_pool(version="1")
    (folder / "part=1" / "rows.jsonl").unlink()
    with pytest.raises(ValueError, match=r"gone: crawl/part=1/rows\.jsonl;"):
        PoolSources(campaign=campaign).read_pool(version="1")


def test_files_that_were_renamed_moved_or_changed_are_not_gone(pool):
    folder, campaign, sources = pool
    sources.read_pool(version="1")
    (folder / "night_0.jsonl").rename(folder / "z_first.jsonl")
    write_rows(folder / "night_1.jsonl", 100, 61)
    assert PoolSources(campaign=campaign).read_pool(version="1").outputs["kept"].num_rows == 121
    (folder / "below").mkdir()
    (folder / "z_first.jsonl").rename(folder / "below" / "z_first.jsonl")
    moved = PoolSources(campaign=campaign).read_pool(version="1")
    assert (moved.num_shards_computed, moved.outputs["kept"].num_rows) == (0, 121)


def test_a_source_taken_out_of_the_profile_takes_its_files_along(pool):
    folder, campaign, _ = pool
    other = folder.parent / "other.jsonl"
    write_rows(other, 200, 20)
    both = crawl_and_other(campaign, folder, other)
    assert kept_sources(both)[1] == {"crawl": 120, "other": 20}
    profile = json.loads(both.profile_json)
    del profile["pool"]["sources"][1]
    alone = Campaign(profile_json=json.dumps(profile), store_root=campaign.store_root)
    assert kept_sources(alone)[1] == {"crawl": 120}


def let_settle(folder, pattern="*.jsonl"):
    """Files as if they had been written an hour ago."""
    for file in folder.glob(pattern):
        hour_ago = file.stat().st_mtime_ns - 3600 * 10**9
        os.utime(file, ns=(hour_ago, hour_ago))


@pytest.fixture
def hashed(monkeypatch):
    """Names of the files that were hashed."""
    names = []

    def digest(file):
        names.append(file.name)
        return file_hash(file)

    monkeypatch.setattr(content_hashes, "file_hash", digest)
    return names


def test_a_second_night_hashes_only_the_new_file(pool, hashed):
    folder, campaign, sources = pool
    let_settle(folder)
    sources.fingerprint()
    sources.read_pool(version="1")
    assert sorted(hashed) == ["night_0.jsonl", "night_1.jsonl"]
    hashed.clear()
    write_rows(folder / "night_2.jsonl", 200, 5)
    let_settle(folder, "night_2.jsonl")
    again = PoolSources(campaign=campaign)
    again.fingerprint()
    again.read_pool(version="1")
    assert hashed == ["night_2.jsonl"]
    # One long-lived process sees a file that changed between two nights.
    write_rows(folder / "night_2.jsonl", 200, 6)
    assert again.read_pool(version="1").outputs["kept"].num_rows == 126


def with_sources(campaign, *sources):
    profile = json.loads(campaign.profile_json)
    profile["pool"]["sources"] = [{"origin": "synthetic", **each} for each in sources]
    changed = Campaign(profile_json=json.dumps(profile), store_root=campaign.store_root)
    return PoolSources(campaign=changed)


def test_a_source_that_was_never_read_leaves_no_trace_when_its_path_is_corrected(pool, tmp_path):
    folder, campaign, _ = pool
    crawl = {"name": "crawl", "path": str(folder)}
    wrong = {"name": "chat", "path": str(tmp_path / "chatt.jsonl")}
    with pytest.raises(ValueError, match=r"source 'chat': no file at .*chatt\.jsonl"):
        with_sources(campaign, crawl, wrong).read_pool(version="1")
    write_rows(tmp_path / "chat.jsonl", 500, 3)
    right = {**wrong, "path": str(tmp_path / "chat.jsonl")}
    read = with_sources(campaign, crawl, right).read_pool(version="1")
    assert read.outputs["kept"].num_rows == 123
    with pytest.raises(ValueError, match=r"gone: chat/chat\.jsonl; put them back"):
        with_sources(campaign, crawl, wrong).read_pool(version="1")


def test_of_an_earlier_version_that_kept_one_list_every_file_was_read(pool, tmp_path, monkeypatch):
    folder, campaign, sources = pool
    with monkeypatch.context() as earlier:
        earlier.setattr("synpref_dagster.resources.sources.READ_APART", "said_by_nobody")
        sources.read_pool(version="1")
    shutil.rmtree(tmp_path / "store" / "data" / "raw_pool" / "read_files")
    (folder / "night_1.jsonl").rename(folder.parent / "away.jsonl")
    with pytest.raises(ValueError, match=r"gone: crawl/night_1\.jsonl"):
        PoolSources(campaign=campaign).read_pool(version="1")


def test_a_source_that_is_not_there_is_an_error_and_not_an_empty_pool(pool):
    folder, campaign, sources = pool
    sources.read_pool(version="1")
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(ValueError, match=r"source 'crawl': no file below .*is it mounted"):
        PoolSources(campaign=campaign).read_pool(version="1")


def test_files_of_subfolders_are_read_and_marks_of_other_tools_are_not(pool):
    folder, campaign, _ = pool
    (folder / "part=1").mkdir()
    (folder / "night_1.jsonl").rename(folder / "part=1" / "night_1.jsonl")
    (folder / "_SUCCESS").write_text("")
    (folder / ".night_1.jsonl.crc").write_text("x")
    raw = PoolSources(campaign=campaign).read_pool(version="1")
    assert (raw.num_shards_computed, raw.outputs["kept"].num_rows) == (2, 120)


ROW = {"prompt": "Name a fruit.", "chosen": "Apple.", "rejected": "Stone."}


def sources_of(tmp_path, profile="smoke", **pool):
    base = load_profile(profile)
    changed = base.model_copy(update={"pool": base.pool.model_copy(update=pool)})
    campaign = Campaign(profile_json=changed.model_dump_json(), store_root=str(tmp_path / "store"))
    return PoolSources(campaign=campaign)


@pytest.fixture
def mine(tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text(json.dumps(ROW) + "\n", encoding="utf-8")
    return file


def test_a_suite_of_ones_own_is_one_entry_and_is_decontaminated_against(tmp_path, mine):
    plain = sources_of(tmp_path)
    own = sources_of(tmp_path, custom_benchmarks={"my_suite": str(mine)})
    assert list(own.benchmark_items()) == [*plain.benchmark_items(), "my_suite"]
    assert "Name a fruit." in set(own.benchmark_prompts()["prompt"])
    fingerprint = own.benchmark_fingerprint()
    assert plain.benchmark_fingerprint() != fingerprint
    mine.write_text(json.dumps(ROW | {"chosen": "Pear."}) + "\n", encoding="utf-8")
    assert own.benchmark_fingerprint() != fingerprint


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("mine.jsonl", b"\xef\xbb\xbf" + json.dumps(ROW).encode() + b"\n"),
        ("mine.json", b"\xef\xbb\xbf" + json.dumps([ROW], indent=1).encode()),
        ("mine.csv", b"prompt,chosen,rejected\nName a fruit.,Apple.,Stone.\n"),
        ("mine.jsonl.gz", gzip.compress(json.dumps(ROW).encode(), mtime=0)),
    ],
)
def test_a_suite_of_ones_own_is_read_like_a_source(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    own = sources_of(tmp_path, custom_benchmarks={"my_suite": str(tmp_path / name)})
    [item] = own.benchmark_items()["my_suite"]
    assert item.candidates == ("Apple.", "Stone.")
    assert item.item_id == f"{name}/0"


def test_lines_that_cannot_be_read_and_empty_files_are_left_out_and_counted(tmp_path):
    (folder := tmp_path / "suite").mkdir()
    lines = [json.dumps(ROW).encode(), b"", b"{not json", b'{"prompt": "\xff"}', b"[1]"]
    twice = b'{"prompt": "x", "chosen": "a", "chosen": "b", "rejected": "c"}'
    (folder / "a.jsonl").write_bytes(b"\n".join([*lines, twice, json.dumps(ROW).encode()]))
    (folder / "b.jsonl").write_bytes(b"")
    own = sources_of(tmp_path, custom_benchmarks={"my_suite": str(folder)})
    benchmark, items = own.benchmarks()[-1]
    assert [item.item_id for item in items] == ["a.jsonl/0", "a.jsonl/5"]  # blank lines are no rows
    assert [(each.place, each.reason) for each in benchmark.left_out] == [
        ("suite/a.jsonl row 1", "not_json"),
        ("suite/a.jsonl row 2", "not_utf8"),
        ("suite/a.jsonl row 3", "not_an_object"),
        ("suite/a.jsonl row 4", "duplicate_key"),
        ("suite/b.jsonl row 0", "empty_file"),
    ]


def test_a_chat_that_hides_in_a_suite_of_ones_own_is_unfolded_or_left_out(tmp_path):
    chat = [{"role": "user", "content": "Name a fruit."}]
    rendered = "<|im_start|>user\nName a fruit.<|im_end|>\n<|im_start|>assistant\n"
    rows = [
        {"prompt": json.dumps(chat), "chosen": "Apple.", "rejected": ["Stone.", "Sand."]},
        {"prompt": rendered, "candidates": ["Apple.<|im_end|>", "Stone."], "labels": [1, 0]},
        {"prompt": "Name it.", "chosen": "Apple.<|im_end|>\n<|im_start|>user", "rejected": "No."},
        {"prompt": ["no message"], "chosen": "Apple.", "rejected": "Stone."},
        ROW,
    ]
    (tmp_path / "suite.jsonl").write_text("\n".join(map(json.dumps, rows)))
    own = sources_of(tmp_path, custom_benchmarks={"my_suite": str(tmp_path / "suite.jsonl")})
    benchmark, items = own.benchmarks()[-1]
    assert [(item.conversation, item.candidates) for item in items[:2]] == [
        (tuple(chat), ("Apple.", "Stone.", "Sand.")),
        (tuple(chat), ("Apple.", "Stone.")),
    ]
    assert len(items) == 3
    assert [each.reason for each in benchmark.left_out][:1] == ["rendered_chat"]
    assert len(benchmark.left_out) == 2


def test_columns_beside_a_suite_of_ones_own_are_in_its_prompt_left_out_or_counted(tmp_path):
    system = {"role": "system", "content": "Be a pirate."}
    hi, hello = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
    asked = {"role": "user", "content": "Name a fruit."}
    many = {"prompt": [asked], "candidates": ["Apple.", "Stone."], "labels": [1, 0]}
    several = {"prompt": "Name a fruit.", "chosen": ["Apple.", "Pear."], "rejected": ["Stone."]}
    rows = [
        ROW | {"system": "Be a pirate."},
        many | {"history": [["Hi", "Hello"]], "system": "Be a pirate."},
        several | {"input": "Pear."},
        ROW | {"difficulty": "hard", "author": "Ada"},
        ROW | {"difficulty": "easy"},
        ROW | {"images": ["a.png"]},
        many | {"tools": ["weather"]},
        ROW | {"persona": "A pirate."},
        ROW | {"prompt": [{**asked, "context": "Apples grow."}]},
    ]
    (tmp_path / "suite.jsonl").write_text("\n".join(map(json.dumps, rows)))
    own = sources_of(tmp_path, custom_benchmarks={"my_suite": str(tmp_path / "suite.jsonl")})
    benchmark, items = own.benchmarks()[-1]
    assert [list(item.conversation) for item in items] == [
        [system, asked],
        [system, hi, hello, asked],
        [{"role": "user", "content": "Name a fruit.\n\nPear."}],
        [asked],
        [asked],
    ]
    assert items[2].candidates == ("Apple.", "Pear.", "Stone.")
    assert [(each.place[-1], each.reason) for each in benchmark.left_out] == [
        ("5", "multimodal_unsupported"),
        ("6", "tool_calls_unsupported"),
        ("7", "unread_context"),
        ("8", "unsupported_content"),
    ]
    facts = left_out(own.benchmarks())
    assert facts["unread_benchmark_columns"] == {"my_suite": {"difficulty": 2, "author": 1}}
    assert set(facts["left_out"]["my_suite"]["rows_by_reason"].values()) == {1}


def test_a_published_benchmark_without_a_named_subset_is_refused_before_anything_is_scored(
    tmp_path,
):
    row = {"pair_id": "1", "source": "mmlu-pro-x", "question": "q", "label": "A>B"}
    file = tmp_path / "judge_bench.jsonl"
    file.write_text(json.dumps(row | {"response_A": "a", "response_B": "b"}) + "\n")
    named = {"benchmarks": {"judge_bench": str(file)}}
    with pytest.raises(ValueError, match=r"judge_bench lacks the subsets .*'coding'"):
        sources_of(tmp_path, **named).benchmark_prompts()
    part = sources_of(tmp_path, **named, benchmark_subsets={"judge_bench": ("knowledge",)})
    assert len(part.benchmark_items()["judge_bench"]) == 1


def test_counts_are_expected_of_published_sets_and_of_the_parts_at_hand(tmp_path, mine):
    own = sources_of(tmp_path, custom_benchmarks={"my_suite": str(mine)})
    assert [own.expected_counts(benchmark) for benchmark, _ in own.benchmarks()] == [
        *[None] * 7,
        {"all": 1},
    ]
    rm_bench = next(each for each, _ in own.benchmarks() if each.name == "rm_bench")
    real = sources_of(
        tmp_path,
        "real",
        benchmarks={"rm_bench": "x"},
        benchmark_subsets={"rm_bench": ("chat", "safety-response")},
    )
    assert real.expected_counts(rm_bench) == {"chat": 129, "safety-response": 157}


def test_published_files_beside_the_world_change_what_the_benchmarks_depend_on(tmp_path):
    file = tmp_path / "published.jsonl"
    file.write_text("one\n", encoding="utf-8")
    plain = sources_of(tmp_path).benchmark_fingerprint()
    first = sources_of(tmp_path, benchmarks={"judge_bench": str(file)}).benchmark_fingerprint()
    file.write_text("two\n", encoding="utf-8")
    second = sources_of(tmp_path, benchmarks={"judge_bench": str(file)}).benchmark_fingerprint()
    assert len({plain, first, second}) == 3


VOTED = {"path": "votes.jsonl.gz", "format": "crowd_votes", "origin": "human"}


def voting_sources(tmp_path, *sources, seed=0, **pool):
    base = load_profile("smoke", seed=seed)
    settings = PoolSettings(kind="sources", sources=sources, **pool)
    changed = base.model_copy(update={"pool": settings})
    campaign = Campaign(profile_json=changed.model_dump_json(), store_root=str(tmp_path / "store"))
    return {spec.name: dict(spec.options) for spec in PoolSources(campaign=campaign).specs()}


@pytest.mark.parametrize(("seed", "held_out"), [(0, ["a"]), (1, ["b", "c"]), (2, ["a"])])
def test_debates_of_the_test_set_of_a_seed_are_not_in_its_pool(tmp_path, seed, held_out):
    sources = ({**VOTED, "name": "votes"}, {"name": "plain", "path": "x", "origin": "human"})
    options = voting_sources(tmp_path, *sources, seed=seed, test_splits=[["a"], ["b", "c"]])
    assert options == {"votes": {"exclude_debates": held_out}, "plain": {}}


def test_what_a_source_leaves_out_itself_stays_left_out(tmp_path):
    source = {**VOTED, "name": "votes", "options": {"exclude_debates": ["z", "a"]}}
    options = voting_sources(tmp_path, source, test_debates=["a", "b"])
    assert options["votes"]["exclude_debates"] == ["z", "a", "b"]


def test_noise_is_for_votes_and_a_source_may_have_its_own(tmp_path):
    sources = (
        {**VOTED, "name": "one"},
        {**VOTED, "name": "two", "options": {"flip_share": 0.1}},
        {"name": "plain", "path": "x", "origin": "human"},
    )
    noise = {"flip_share": 0.3, "longer_share": 0.5}
    options = voting_sources(tmp_path, *sources, label_noise=noise)
    assert options == {"one": noise, "two": {**noise, "flip_share": 0.1}, "plain": {}}
