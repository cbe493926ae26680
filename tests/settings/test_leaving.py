"""Texts that may not leave this machine do not: every place that would take them is refused."""

import ast
from pathlib import Path

import pytest
from pydantic import ValidationError

import synpref_dagster
from synpref_dagster.cli.refusals import problems
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.settings.leaving import Destination, hosts_away, hub_address
from synpref_dagster.settings.pool import ExportSettings
from synpref_dagster.settings.profile import Profile, load_profile

SMOKE = load_profile("smoke").model_dump()
DIARY = {"name": "diary", "path": "diary.jsonl", "origin": "human", "may_leave": False}
OPEN = {"name": "open", "path": "open.jsonl", "origin": "human"}
HERE, AWAY = "http://127.0.0.1:8000/v1", "https://api.example.com/v1"

PACKAGE = Path(synpref_dagster.__file__).parent
CLIENTS = {"aiohttp", "boto3", "ftplib", "http", "httpx", "huggingface_hub", "openai", "requests"}
CLIENTS |= {"smtplib", "sqlalchemy", "psycopg2", "urllib3", "uvicorn", "wandb", "websockets"}
SENDERS = {  # who can send a text away; each is a row of docs/leaving.md
    "cli/upgrade/command.py",  # nothing: it knows an error of the databases that it upgrades
    "definitions/pools.py",  # nothing: it knows an error of the database that Dagster writes to
    "judges/batches/service.py",
    "judges/calls.py",
    "people/label_studio.py",
    "people/ledger/database.py",
    "people/page/patience.py",
    "people/page/serving.py",
    "preview/answering.py",  # nothing: asks endpoints for their list of models
    "preview/lengths.py",  # nothing: looks for a tokenizer among what was downloaded
    "preview/hub.py",  # names of what the profile takes from the hub
    "resources/hub.py",
    "resources/tracking/away.py",
    "tools/models.py",  # the id of a reward model that is taken from the hub
}


def judges(*addresses, kind="endpoints"):
    endpoints = [
        {"name": f"judge{n}", "base_url": address, "model": "m"}
        for n, address in enumerate(addresses)
    ]
    return {"judges": {"kind": kind, "endpoints": endpoints}}


def profile(*, sources=(DIARY, OPEN), trusted=(), **sections):
    pool = {"kind": "sources", "sources": sources}
    export = {"trusted_hosts": trusted}
    return Profile.model_validate({**SMOKE, "pool": pool, "export": export, **sections})


def refusal(**sections):
    with pytest.raises(ValidationError) as refused:
        profile(**sections)
    [line] = problems(refused.value)
    return line


@pytest.mark.parametrize(
    "address",
    [
        HERE,
        "http://localhost:8000/v1",
        "http://LOCALHOST./v1",
        "http://[::1]:8000/v1",
        "http://[::ffff:127.0.0.1]/v1",
        "http://127.8.9.1/v1",
        "http://0.0.0.0:4000",
        "sqlite:////srv/review.sqlite3",
        "postgresql:///reviews",
        "postgresql://me:secret@localhost:5432/reviews",
        "postgresql+psycopg2:///reviews?host=/var/run/postgresql",
        "ray://127.0.0.1:10001",
        "file:///srv/store",
        "/srv/store",
        ".synpref/demo/seed-0",
        "memory://store",
        "",
    ],
)
def test_what_is_on_this_machine_is_not_away(address):
    assert hosts_away(address) == []


@pytest.mark.parametrize(
    ("address", "host"),
    [
        (AWAY, "api.example.com"),
        ("HTTPS://API.EXAMPLE.COM", "api.example.com"),
        ("http://192.168.1.7:8000/v1", "192.168.1.7"),
        ("http://10.0.0.5", "10.0.0.5"),
        ("http://[fe80::1]/v1", "fe80::1"),
        ("http://127.0.0.1@api.example.com/v1", "api.example.com"),
        ("http://127.0.0.1.example.com/v1", "127.0.0.1.example.com"),
        ("http://localhost.example.com", "localhost.example.com"),
        ("http://127.1:80", "127.1"),
        ("http://api.example.com\\@127.0.0.1/v1", "an address that cannot be read"),
        ("http://[::1", "an address that cannot be read"),
        ("http://", "an address that cannot be read"),
        ("postgresql://me:secret@db.example.com/reviews", "db.example.com"),
        ("postgresql://localhost,db.example.com:5433/reviews", "db.example.com"),
        ("postgresql://localhost/reviews?host=db.example.com", "db.example.com"),
        ("postgresql:///reviews?service=prod", "pg_service.conf"),
        ("mysql+pymysql://me@db.example.com/m", "db.example.com"),
        ("ray://head.example.com:10001", "head.example.com"),
        ("s3://bucket/store", "s3.amazonaws.com"),
        ("gs://bucket", "bucket"),
        ("databricks", "databricks"),
        ("databricks-uc", "databricks"),
        ("uc:http://127.0.0.1", "databricks"),
    ],
)
def test_what_is_on_another_machine_is_away_by_its_host(address, host):
    assert hosts_away(address) == [host]


def test_where_the_environment_leads_counts(monkeypatch):
    monkeypatch.setenv("SYNPREF_S3_ENDPOINT", "http://127.0.0.1:9000")
    assert hosts_away("s3://bucket") == []
    monkeypatch.setenv("SYNPREF_S3_ENDPOINT", "http://minio.example.com:9000")
    assert hosts_away("s3://bucket") == ["minio.example.com"]
    monkeypatch.setenv("PGHOST", "db.example.com")
    assert hosts_away("postgresql:///reviews") == ["db.example.com"]
    assert hosts_away("postgresql://localhost/reviews") == []


def test_a_proxy_on_the_way_is_a_host_too(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://me:secret@proxy.example.com:3128")
    assert hosts_away(HERE) == ["proxy.example.com"]
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    assert hosts_away(HERE) == []
    assert hosts_away("http://[::1]/v1") == ["proxy.example.com"]


def test_a_judge_elsewhere_is_refused_with_source_and_host_when_the_profile_is_read():
    assert refusal(**judges(HERE, AWAY)) == (
        "  the profile: may_leave = false keeps the texts of 'diary' on this machine, but they "
        "would go to api.example.com (judge 'judge1'): take the source or that setting out, name a "
        "place on this machine, or name a host of your own in export.trusted_hosts"
    )


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        (
            {"people": {"backend": "label_studio", "label_studio_url": "http://ls.example.com"}},
            "ls.example.com (people.label_studio_url)",
        ),
        (
            {"people": {"backend": "page", "ledger_url": "postgresql://u:secret@db.lan/r"}},
            "db.lan (the ledger of people's answers)",
        ),
        ({"shards": {"executor": "ray", "ray": {"address": "head:6379"}}}, "head (shards.ray)"),
        ({"shards": {"executor": "ray", "ray": {"address": "auto"}}}, "auto (shards.ray)"),
    ],
)
def test_people_their_ledger_and_a_cluster_elsewhere_are_refused(sections, told):
    said = refusal(**sections)
    assert told in said
    assert "secret" not in said
    assert profile(sources=(OPEN,), **sections).pool.staying() == []


@pytest.mark.parametrize(
    ("variable", "address", "told", "sections"),
    [
        ("SYNPREF_STORE", "s3://bucket/x", "s3.amazonaws.com (SYNPREF_STORE)", {}),
        ("SYNPREF_MLFLOW_URI", "https://u:secret@ml.lan", "ml.lan (SYNPREF_MLFLOW_URI)", {}),
        ("RAY_ADDRESS", "ray://head:10001", "head (shards.ray)", {"shards": {"executor": "ray"}}),
        (
            "SYNPREF_REVIEW_LEDGER",
            "postgresql://db.lan/r",
            "db.lan (the ledger of people's answers)",
            {"people": {"backend": "page"}},
        ),
    ],
)
def test_what_the_environment_names_is_refused_like_what_the_profile_names(
    monkeypatch, variable, address, told, sections
):
    monkeypatch.setenv(variable, address)
    said = refusal(**sections)
    assert told in said
    assert "secret" not in said
    assert profile(sources=(OPEN,), **sections)


def test_places_that_are_never_sent_to_are_no_reason_to_refuse(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")  # and the executor is not ray
    monkeypatch.setenv("SYNPREF_REVIEW_LEDGER", "postgresql://db.lan/r")  # and people are recorded
    assert profile(**judges(AWAY, kind="exemplar")).pool.staying() == ["diary"]


def test_hosts_that_their_owner_trusts_are_fine_and_others_still_refused():
    trusted = ["api.example.com", "10.0.0.5"]
    assert profile(trusted=trusted, **judges(AWAY, "http://10.0.0.5/v1"))
    assert "other.example.com" in refusal(trusted=trusted, **judges("http://other.example.com"))
    assert "eu.api.example.com" in refusal(trusted=trusted, **judges("http://eu.api.example.com"))


def test_trusted_hosts_without_a_source_that_stays_are_obeyed_by_nobody():
    assert "nobody obeys it" in refusal(sources=(OPEN,), trusted=["api.example.com"])


@pytest.mark.parametrize("name", ["", "https://a.b", "a.b:80", "A.b", "a.b/c", "me@a.b"])
def test_a_trusted_host_is_a_name_alone(name):
    with pytest.raises(ValidationError, match="is no host"):
        ExportSettings(trusted_hosts=[name])
    assert ExportSettings(trusted_hosts=["::1", "10.0.0.5", "a.b"]).trusted_hosts[1] == "10.0.0.5"


def test_the_campaign_looks_again_at_the_environment_and_at_replaced_resources(
    monkeypatch, tmp_path
):
    read = profile().model_dump_json()
    campaign = Campaign(profile_json=read, store_root=str(tmp_path))
    campaign.refuse_leaving(Destination("MLflow", "sqlite:///m.db"))
    with pytest.raises(ValueError, match=r"tracker\.example\.com \(MLflow\)"):
        campaign.refuse_leaving(Destination("MLflow", "http://tracker.example.com"))
    monkeypatch.setenv("SYNPREF_S3_ENDPOINT", "http://minio.example.com")
    elsewhere = Campaign(profile_json=read, store_root="s3://bucket/x")
    with pytest.raises(ValueError, match=r"minio\.example\.com \(the store\)"):
        elsewhere.refuse_leaving()
    monkeypatch.setenv("SYNPREF_MLFLOW_URI", "http://tracker.example.com")
    another_process = Campaign(profile_json=read, store_root=str(tmp_path))
    with pytest.raises(ValidationError, match=r"tracker\.example\.com \(SYNPREF_MLFLOW_URI\)"):
        another_process.refuse_leaving()


def test_the_hub_is_the_one_that_the_environment_or_the_resource_names(monkeypatch):
    assert hosts_away(hub_address().address) == ["huggingface.co"]
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:8080")
    assert hosts_away(hub_address().address) == []
    assert hosts_away(hub_address("https://mirror.example.com").address) == ["mirror.example.com"]


def test_what_may_leave_enters_no_fingerprint_and_no_specification(tmp_path):
    def fingerprint(**changes):
        read = profile(**changes)
        campaign = Campaign(profile_json=read.model_dump_json(), store_root=str(tmp_path))
        return campaign.settings_fingerprint()

    may = {**DIARY, "may_leave": True}
    first = fingerprint(sources=(may, OPEN))
    assert fingerprint(sources=(DIARY, OPEN)) == first
    assert fingerprint(sources=(DIARY, OPEN), trusted=["a.b"]) == first
    assert fingerprint(sources=({**may, "licence": "mit"}, OPEN)) != first


def test_whoever_can_send_is_known_here():
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None), *(each.name for each in node.names)]
        if (name or "").split(".")[0] in CLIENTS
    }
    assert found == SENDERS, "say in docs/leaving.md what goes there, and refuse it in leaving.py"
