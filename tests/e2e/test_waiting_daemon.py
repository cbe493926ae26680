"""A campaign that waits for people, and a real Dagster daemon that continues it by the sensor.

Nothing here calls the sensor: the daemon ticks, launches runs in processes of their own, and is
ended and started again while people work on the page.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import dagster as dg
import pytest
from answering import answer, correct_the_last_verdict, recorded_signs, sign_in
from review_servers import free_port, review_page

from synpref_dagster.cli.instance import INSTANCE_SETTINGS
from synpref_dagster.definitions.waiting_for_people import BATCH_TAG
from synpref_dagster.people.accounts import Accounts
from synpref_dagster.people.ledger.database import ReviewDatabase
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.storage import from_json, read_frame

pytestmark = [pytest.mark.slow, pytest.mark.servers, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
WAITING = 3
RUN_SECONDS = 600
SEED, VERDICTS = "human_verified_seed", "iteration_01/human_verdicts"


class Campaign:
    """The smoke campaign with people on the page, in a folder of its own."""

    def __init__(self, base):
        self.base, self.url = base, f"sqlite:///{base}/review.sqlite3"
        text = (files("synpref_dagster.settings") / "profiles" / "smoke.toml").read_text()
        for plain, small in {
            "num_gold = 120": "num_gold = 60",
            "num_human = 40": "num_human = 12",
        }.items():
            assert plain in text
            text = text.replace(plain, small)
        people = f'[people]\nbackend = "page"\nledger_url = "{self.url}"\ndouble_share = 0.1\n'
        self.profile = base / "smoke_people.toml"
        self.profile.write_text(f"{text}\n{people}")
        self.home = base / "home"
        self.home.mkdir()
        (self.home / "dagster.yaml").write_text(INSTANCE_SETTINGS)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SYNPREF")}
        self.environment = kept | {
            "SYNPREF_STORE": str(base / "store"),
            "SYNPREF_PROFILE": str(self.profile),
            "SYNPREF_MLFLOW_URI": f"sqlite:///{base / 'mlflow.db'}",
            "DAGSTER_HOME": str(self.home),
            "OMP_NUM_THREADS": "1",
        }

    def command(self, *words):
        """Run an installed command to its end; exit code and output."""
        done = subprocess.run(
            [str(BIN / words[0]), *words[1:]],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
        )
        return done.returncode, done.stdout + done.stderr

    @contextmanager
    def daemon(self):
        """Dagster's daemon, alone, until the block ends."""
        with (self.base / "daemon.log").open("a") as log:
            process = subprocess.Popen(
                [BIN / "dagster-daemon", "run", "-w", "workspace.yaml"],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
                # A shell that runs the tests in the background makes its children ignore SIGINT.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
            try:
                yield
                assert process.poll() is None, (self.base / "daemon.log").read_text()[-3000:]
            finally:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(timeout=120)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()

    def gold_seed(self):
        """The gold seed as it is in the store."""
        root = self.base / "store" / "smoke" / "seed-0" / "refs"
        return read_frame(from_json((root / f"{SEED}.json").read_text()).kept)

    def continued(self, instance, number):
        """The sensor's run `number` (from 1) once it succeeded, and what it materialised."""
        until = time.monotonic() + RUN_SECONDS
        while time.monotonic() < until:
            runs = [run for run in instance.get_runs()[::-1] if BATCH_TAG in run.tags]
            assert not [run for run in runs if run.status == dg.DagsterRunStatus.FAILURE]
            if len(runs) >= number and runs[number - 1].status == dg.DagsterRunStatus.SUCCESS:
                assert len(runs) == number
                return materialised(instance, runs[number - 1].run_id)
            time.sleep(1)
        raise AssertionError((self.base / "daemon.log").read_text()[-3000:])


def materialised(instance, run_id):
    """Names of the assets that a run materialised."""
    events = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    return {event.dagster_event.asset_key.to_user_string() for event in events}


def test_the_daemon_continues_a_campaign_where_people_are_done(tmp_path, monkeypatch):
    campaign = Campaign(tmp_path)
    monkeypatch.setenv("SYNPREF_STORE", campaign.environment["SYNPREF_STORE"])
    accounts = Accounts(ReviewDatabase(campaign.url), clock=time.time)
    tokens = [accounts.add("ann"), accounts.add("bob"), accounts.add("carol", adjudicator=True)]

    code, output = campaign.command(
        "synpref", "run", "--profile", str(campaign.profile), "--sizes", "none"
    )
    assert code == WAITING, output
    assert "waits for people" in output
    code, output = campaign.command(
        "dagster", "sensor", "start", "verdicts_arrived", "-w", "workspace.yaml"
    )
    assert code == 0, output
    work = {"url": campaign.url, "signs": recorded_signs(load_profile(str(campaign.profile)))}

    with dg.DagsterInstance.from_config(str(campaign.home)) as instance:
        # People finish the seed while no Dagster runs; one that starts later finds it.
        with review_page(campaign.url, free_port()) as address:
            # The first pair shown is an objective one; ann says that it is not.
            objects = {"at_most": 1, "attribute_objectivity": "subjective"}
            assert answer(address, sign_in(address, tokens[0]), **work, **objects) == 1
            assert sum(answer(address, sign_in(address, each), **work) for each in tokens) >= 65
        with campaign.daemon():
            first = campaign.continued(instance, 1)
        assert {SEED, "silver_seed", "iteration_01/retrieved_pairs"} <= first
        assert not {"seed_candidates", VERDICTS, "consistency_filtered_subset"} & first
        edits = campaign.gold_seed()["edited_attributes"].value_counts().to_dict()
        assert edits == {"{}": edits["{}"], '{"objectivity": "subjective"}': 1}

        with review_page(campaign.url, free_port()) as address, campaign.daemon():
            browsers = [sign_in(address, token) for token in tokens]
            assert sum(answer(address, browser, **work) for browser in browsers) >= 13
            second = campaign.continued(instance, 2)
            assert {VERDICTS, "consistency_filtered_subset", "people_audit"} <= second
            assert not {SEED, "silver_seed", "iteration_01/retrieved_pairs"} & second

            correct_the_last_verdict(address, browsers[0], attribute_objectivity="subjective")
            third = campaign.continued(instance, 3)
        # The same part again and nothing else: what does not rest on the verdict stays.
        assert third == second
        for changed in (VERDICTS, "iteration_01/gold"):
            after, before = data_versions(instance, changed)[:2]
            assert after != before, changed
        # The pair left gold and no judge's label took its place: nothing is trained anew.
        after, before = data_versions(instance, "iteration_01/silver")[:2]
        assert kept_part(after) == kept_part(before)
        after, before = data_versions(instance, "iteration_01/reward_model")[:2]
        assert after == before
        [again] = instance.fetch_materializations(
            dg.AssetKey(["people", *VERDICTS.split("/")]), limit=1
        ).records
        assert again.asset_materialization.metadata["num_pairs"].value == 12
    code, output = campaign.command(
        "synpref", "run", "--profile", str(campaign.profile), "--sizes", "none"
    )
    assert code == 0, output
    assert "How far people agree" in output


def data_versions(instance, name):
    """Data versions of an asset, newest first."""
    records = instance.fetch_materializations(dg.AssetKey(name.split("/")), limit=5).records
    return [record.asset_materialization.tags["dagster/data_version"] for record in records]


def kept_part(version):
    """Of a selection's data version, what it kept; the rest is what it dropped, with reasons."""
    return version.partition("-")[0]
