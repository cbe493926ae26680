"""Where MLflow's pages are, or how to open them: no link leads where nobody listens."""

import shlex

from synpref_dagster.resources.tracking.away import SERVED, without_secrets

# Part of a link: without it MLflow opens the pages for traces and prompts of a chat bot.
TRAINING_PAGES = "workflowType=machine_learning"


def pages(tracking_uri: str, public_url: str) -> str:
    """Address of MLflow's pages: the one that is set, else the server's, else none.

    >>> pages("http://me:secret@mlflow:5000/", ""), pages("sqlite:///a.db", "")
    ('http://mlflow:5000', '')
    """
    served = tracking_uri if tracking_uri.startswith(SERVED) else ""
    return without_secrets(public_url or served).rstrip("/")


def run_page(base: str, experiment_id: str, run_id: str) -> str:
    """A run below the address of MLflow's pages, or below nothing: then its place there."""
    return f"{base}/#/experiments/{experiment_id}/runs/{run_id}?{TRAINING_PAGES}"


def how_to_open(tracking_uri: str) -> str:
    """The command that opens the pages where no server is known."""
    store = tracking_uri if tracking_uri.startswith(("sqlite:", "file:", "/", ".")) else ""
    named = shlex.quote(store) if store else '"$SYNPREF_MLFLOW_URI"'
    return f"mlflow server --backend-store-uri {named}"
