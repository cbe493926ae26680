"""No link leads where nobody listens, and none shows a password."""

import pytest

from synpref_dagster.resources.tracking.links import how_to_open, pages, run_page


@pytest.mark.parametrize(
    ("tracking_uri", "public_url", "address"),
    [
        ("http://mlflow:8080", "", "http://mlflow:8080"),
        ("https://me:pw@mlflow.example.com/team/", "", "https://mlflow.example.com/team"),
        ("http://mlflow:8080", "https://public.example.com/", "https://public.example.com"),
        ("sqlite:////data/mlflow.db", "http://127.0.0.1:5001", "http://127.0.0.1:5001"),
        ("sqlite:////data/mlflow.db", "", ""),
        ("postgresql://me:pw@db/mlflow", "", ""),
    ],
)
def test_links_lead_to_the_address_that_is_set_else_to_the_server(
    tracking_uri, public_url, address
):
    assert pages(tracking_uri, public_url) == address


def test_without_a_server_the_command_that_opens_the_pages_is_said():
    assert how_to_open("sqlite:////my data/mlflow.db") == (
        "mlflow server --backend-store-uri 'sqlite:////my data/mlflow.db'"
    )
    assert how_to_open("postgresql://me:pw@db/mlflow") == (
        'mlflow server --backend-store-uri "$SYNPREF_MLFLOW_URI"'
    )


def test_a_run_has_a_page():
    assert run_page("http://x", "1", "ab") == (
        "http://x/#/experiments/1/runs/ab?workflowType=machine_learning"
    )
