"""Files of every kind beside the data: a campaign and a night finish, or refuse in one line."""

import json
import random
import re
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest

from synpref_dagster.assets.filtering.decision import all_decisions
from synpref_dagster.definitions.build import build_defs
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.storage import from_json, read_frame

DOCS = Path(__file__).parent.parent.parent / "docs" / "own_data.md"
WORDS = [
    *("river", "stone", "lamp", "garden", "music", "paper"),
    *("window", "bread", "engine", "cloud", "forest", "market"),
]
SUITE = [
    f"Which of these many things would you rather take along on a long trip to place {n} today"
    for n in range(20)
]
EMPTY, TIED, BROKEN, LEAKED = "b_empty.jsonl", "c_tied.jsonl", "d_broken.jsonl", "e_leaked.jsonl"


def vote_row(number, rng):
    """A row of crowd votes in which the longer answer is mostly the better one."""
    good = f"A careful answer about {' '.join(rng.sample(WORDS, 8))} in case {number}."
    bad = f"No idea, {rng.choice(WORDS)} {number}."
    first = rng.random() < 0.5
    votes = [
        {"worker": f"w{rng.randrange(9)}", "value": "a" if (rng.random() < 0.9) == first else "b"}
        for _ in range(5)
    ]
    one, other = rng.sample(WORDS, 2)
    return {
        "prompt": f"Question {number}: why is the {one} near the {other}?",
        "response_a": good if first else bad,
        "response_b": bad if first else good,
        "votes": votes,
    }


def as_lines(rows):
    return "\n".join(map(json.dumps, rows)).encode()


def plain(row):
    return {"prompt": row["prompt"], "chosen": row["response_a"], "rejected": row["response_b"]}


def zstd(content):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


def write_folder(folder, *, num_rows):
    """Good rows in three containers, files without a pair, and files that are no data."""
    rng = random.Random(0)
    rows = [vote_row(number, rng) for number in range(num_rows)]
    folder.mkdir(parents=True)
    half, most = num_rows // 2, num_rows - 20
    leaked = [{"prompt": text, "chosen": "good", "rejected": "bad"} for text in SUITE]
    tied = [{**row, "votes": [{"worker": "w", "value": "equal"}] * 3} for row in rows[:3]]
    files = {
        "a.jsonl": as_lines(rows[:half]),
        EMPTY: b"",
        TIED: as_lines(tied),
        BROKEN: as_lines([{"prompt": "a?", "chosen": "", "rejected": "b"}] * 4),
        LEAKED: as_lines(leaked),
        "f.jsonl.zst": zstd(as_lines(rows[half:most])),
        "g_pandas.csv": pd.DataFrame(map(plain, rows[most:])).to_csv().encode(),
        "h_lone.jsonl": as_lines([{"prompt": "Only one?", "chosen": "yes", "rejected": "no"}]),
        "LICENSE": b"Do as you like.\n",
        "README.md": b"# Rows\n\nof ours\n",
        ".hidden": b"\x00\x01",
        "_SUCCESS": b"",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)


@dataclass
class OwnData:
    """The profile of docs/own_data.md over a folder, with a benchmark, and what it leaves."""

    base: Path

    def profile(self):
        text = re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)[0]
        text = text.replace('"data/crowd"', json.dumps(str(self.base / "crowd")))
        suite = self.base / "suite.jsonl"
        rows = [{"prompt": text, "chosen": "x", "rejected": "y"} for text in SUITE]
        suite.write_bytes(as_lines(rows))
        text += f"\n[pool.custom_benchmarks]\nours = {json.dumps(str(suite))}\n"
        text += '[pool.pii]\naction = "drop"\n[pool.near_duplicates]\nin_campaign = true\n'
        (self.base / "own.toml").write_text(text)
        return load_profile(str(self.base / "own.toml"))

    def run(self, *jobs, selection=None, raise_on_error=True):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SYNPREF_STORE", str(self.base / "store"))
            patch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{self.base / 'mlflow.db'}")
            defs = build_defs(self.profile())
        return [
            defs.resolve_job_def(job).execute_in_process(
                instance=dg.DagsterInstance.ephemeral(),
                asset_selection=[dg.AssetKey(name) for name in selection] if selection else None,
                raise_on_error=raise_on_error,
            )
            for job in jobs
        ]

    @property
    def root(self):
        return self.base / "store" / "own" / "seed-0"

    def ref(self, name):
        return from_json((self.root / "refs" / f"{name}.json").read_text())

    def decisions(self):
        campaign = Campaign(
            profile_json=self.profile().model_dump_json(), store_root=str(self.root)
        )
        frame = all_decisions(campaign, self.ref("consistency_filtered_subset"))
        return frame.set_index(pd.Index(frame["pair_id"], dtype=object))["decision"]


def told_of(result, asset):
    [event] = result.asset_materializations_for_node(asset)
    return event.metadata


POOL = ("raw_pool", "benchmark_prompts", "clean_pool", "strict_overlaps", "pii_report")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The pool of a small folder as far as the strict pass, and what the run said."""
    own = OwnData(tmp_path_factory.mktemp("odd"))
    write_folder(own.base / "crowd", num_rows=40)
    [result] = own.run("curate_pool", selection=POOL)
    return own, result


def test_files_without_a_pair_stand_beside_the_others_with_their_reasons(small):
    own, _ = small
    pool = own.ref("raw_pool")
    assert pool.kept.num_rows == 40 + len(SUITE) + 1
    dropped = read_frame(pool.dropped)
    reasons = dropped.groupby(dropped["detail"].str.partition(":")[0])["reason"].agg(list)
    assert reasons.to_dict() == {TIED: ["no_preference"] * 3, BROKEN: ["empty_response"] * 4}
    assert own.ref("clean_pool").kept.num_rows == 40 + 1
    assert set(read_frame(own.ref("clean_pool").dropped)["reason"]) == {"contaminated"}


def test_files_that_are_no_data_by_name_are_counted_and_named(small):
    own, result = small
    told = told_of(result, "raw_pool")
    names = [".hidden", "LICENSE", "README.md", "_SUCCESS"]
    assert told["num_files_skipped"].value == 4
    assert told["files_skipped"].value == {"crowd": [str(own.base / "crowd" / n) for n in names]}
    assert told["num_read"].value == 40 + 3 + 4 + len(SUITE) + 1


def test_a_file_that_is_not_read_is_refused_in_one_line_and_may_go_as_it_came(small):
    own, _ = small
    before = own.ref("raw_pool")
    archive = own.base / "crowd" / "z.jsonl"
    archive.write_bytes(b"PK\x03\x04" + bytes(40))
    [result] = own.run("curate_pool", selection=["raw_pool"], raise_on_error=False)
    [failure] = [event for event in result.all_events if event.is_step_failure]
    error = failure.step_failure_data.error.cause
    assert error.message.strip() == (
        f"ValueError: source 'crowd': {archive} is a zip archive, which is not read: unpack it"
    )
    archive.unlink()
    [result] = own.run("curate_pool", selection=["raw_pool"])
    assert result.success
    assert own.ref("raw_pool") == before


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_campaign_and_a_night_over_odd_files_finish_and_keep_what_was_decided(tmp_path):
    own = OwnData(tmp_path)
    write_folder(own.base / "crowd", num_rows=400)
    assert all(result.success for result in own.run("curate_pool", "refresh_leaderboard"))
    before = own.decisions()
    assert own.ref("raw_pool").kept.num_rows == 400 + len(SUITE) + 1
    rng = random.Random(1)
    new = [vote_row(1000 + number, rng) for number in range(12)]
    (own.base / "crowd" / "z_new.jsonl").write_bytes(as_lines(new))
    (own.base / "crowd" / "z_empty.jsonl").write_bytes(b"")
    (own.base / "crowd" / "z_broken.jsonl").write_bytes(b"{\n{\n")
    (own.base / "crowd" / "NOTICE").write_bytes(b"of a night")
    [night] = own.run("filter_pool")
    assert night.success
    told = told_of(night, "raw_pool")
    assert (told["num_files_computed"].value, told["num_files_skipped"].value) == (3, 5)
    after = own.decisions()
    assert len(after) == len(before) + 12
    assert after.loc[before.index].equals(before)
