"""The Hugging Face hub as a resource: uploads a folder.

The token comes from the environment (`HF_TOKEN`) and appears nowhere else.
"""

from pathlib import Path

import dagster as dg

from synpref_dagster.settings.leaving import Destination, hub_address


class Hub(dg.ConfigurableResource):
    """The hub; another endpoint for a mirror of one's own."""

    endpoint: str | None = None

    @property
    def destination(self) -> Destination:
        """Where it uploads to."""
        return hub_address(self.endpoint)

    def upload(self, folder: Path, repo_id: str, *, repo_type: str, private: bool) -> str:
        """Create the repository if need be and upload a folder; returns the commit's address."""
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self.endpoint)
        api.create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=True)
        commit = api.upload_folder(
            folder_path=str(folder),
            repo_id=repo_id,
            repo_type=repo_type,
            commit_message="Release by synpref_dagster",
        )
        return str(commit)
