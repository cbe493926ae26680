"""Throttling, broken connections and refused access: retried, or said; never taken for nothing."""

import pyarrow as pa
import pytest
import s3fs
from faulty_proxy import FaultyProxy
from shard_functions import build_numbers, double

from synpref_dagster.storage import build_dataset, find_manifest, map_shards, read_table, verify

pytestmark = pytest.mark.servers


def work(bucket):
    """Writes six shards, maps over them, reads what came out."""
    source = build_numbers(f"s3://{bucket}/in", 6)
    mapped = map_shards(double, source, uri=f"s3://{bucket}/out", version="1", params={})
    verify(mapped.ref)
    return mapped.ref.fingerprint, read_table(mapped.ref)["n"].to_pylist()


@pytest.mark.parametrize("fault", ["throttle", "break", "cut"])
def test_every_fourth_request_may_fail_and_nothing_is_lost(s3_server, monkeypatch, fault):
    undisturbed = work(s3_server.bucket)
    s3fs.S3FileSystem.clear_instance_cache()
    with FaultyProxy(s3_server.endpoint, lambda n: fault if n % 4 == 2 else None) as proxy:
        monkeypatch.setenv("SYNPREF_S3_ENDPOINT", proxy.endpoint)
        other = f"{s3_server.bucket}/again"
        assert work(other) == undisturbed
        assert proxy.faults[fault] >= 3
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
def test_wrong_credentials_are_said_and_not_taken_for_an_empty_store(s3_server, monkeypatch, name):
    uri = f"s3://{s3_server.bucket}/data"
    build_dataset(uri, step="s1", compute=lambda: pa.table({"a": [1]}))
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setenv(name, "wrong-secret")

    def never():
        pytest.fail("a store that cannot be read must not look like one that is empty")

    for attempt in (
        lambda: find_manifest(uri),
        lambda: build_dataset(uri, step="s1", compute=never),
        lambda: build_dataset(f"{uri}2", step="s1", compute=never),
    ):
        with pytest.raises(PermissionError, match="AWS_ACCESS_KEY_ID") as caught:
            attempt()
        assert "wrong-secret" not in str(caught.value)
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_server_that_stays_away_is_named(monkeypatch):
    monkeypatch.setenv("SYNPREF_S3_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(ConnectionError, match=r"http://127\.0\.0\.1:9"):
        find_manifest("s3://bucket/data")
    s3fs.S3FileSystem.clear_instance_cache()
