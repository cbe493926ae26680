"""The cluster that a profile names: where it is looked for, and what it is told."""

import signal
import socket

import dagster as dg
import pytest

from synpref_dagster.settings.shards import RaySettings

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'synpref-dagster[ray]'")
ray_cluster = pytest.importorskip("synpref_dagster.resources.ray_cluster")

# No cluster is started here, but Ray is installed for the tests with servers.
pytestmark = pytest.mark.servers


@pytest.fixture(autouse=True)
def _no_address_of_the_shell(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def test_without_an_address_a_small_cluster_is_started_whatever_else_runs_here():
    cluster = ray_cluster.make_cluster(RaySettings(object_store_mb=100))
    assert cluster.ray_address == "local"
    assert cluster.ray_init_options["object_store_memory"] == 100 << 20


def test_an_address_comes_from_the_profile_then_from_the_environment(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "outside:6379")
    assert ray_cluster.make_cluster(RaySettings()).ray_address == "outside:6379"
    named = ray_cluster.make_cluster(RaySettings(address="head:6379", object_store_mb=100))
    assert named.ray_address == "head:6379"
    # Ray refuses to size a cluster that is there already.
    assert "object_store_memory" not in named.ray_init_options


def test_workers_are_told_what_shards_depend_on_but_no_secret(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("SYNPREF_S3_ENDPOINT", "http://store:9000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    told = ray_cluster.make_cluster(RaySettings()).get_env_vars_to_inject()
    assert told == {"OMP_NUM_THREADS": "3", "SYNPREF_S3_ENDPOINT": "http://store:9000"}


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nobody_listens_is_an_error_at_once(scheme):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{unused.getsockname()[1]}"
        cluster = ray_cluster.make_cluster(RaySettings(address=address))
        with pytest.raises(ConnectionError, match=f"no Ray cluster answers at '{address}'"):
            ray_cluster.connect(cluster, dg.build_init_resource_context())


def test_a_refused_connection_says_how_to_pass_the_token():
    class Refusing(ray_cluster.RayCluster):
        def connect(self, context):
            raise ConnectionError("Failed to connect")

    with pytest.raises(ConnectionError) as error:
        ray_cluster.connect(Refusing(), dg.build_init_resource_context())
    assert "RAY_AUTH_MODE=token" in error.value.__notes__[0]


def test_dagster_keeps_its_way_of_ending_a_run(monkeypatch):
    class Greedy(ray_cluster.RayCluster):
        def connect(self, context):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # As `ray.init` does.

    before = signal.getsignal(signal.SIGTERM)
    ray_cluster.connect(Greedy(), dg.build_init_resource_context())
    assert signal.getsignal(signal.SIGTERM) is before
