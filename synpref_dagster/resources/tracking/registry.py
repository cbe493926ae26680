"""Registered models: which version is the candidate, which the champion, and what each scored.

A version is found again by the fingerprint of its checkpoint, so that releasing the same weights
twice makes one version. Nothing here decides: `assets/release/folder.py` moves the aliases.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CANDIDATE, CHAMPION = "candidate", "champion"
FINGERPRINT_TAG = "synpref.fingerprint"
SCORECARD_TAG = "synpref.scorecard"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelVersion:
    """One version of a registered model."""

    name: str
    version: int
    source: str
    tags: Mapping[str, str]


class ModelRegistry:
    """MLflow's model registry, through a client: where versions and their aliases are kept."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def version_of(self, name: str, fingerprint: str) -> ModelVersion | None:
        """The newest version with this checkpoint, or None; goes through all of the name."""
        found = [
            each
            for each in self._client.search_model_versions(f"name = '{_quotable(name)}'")
            if each.tags.get(FINGERPRINT_TAG) == fingerprint
        ]
        return _version(max(found, key=lambda each: int(each.version))) if found else None

    def aliased(self, name: str, alias: str) -> ModelVersion | None:
        """The version an alias points at, or None; None for an unknown model as well."""
        from mlflow.exceptions import MlflowException

        try:
            return _version(self._client.get_model_version_by_alias(name, alias))
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            return None

    def point(self, name: str, alias: str, version: int) -> None:
        """Move an alias to a version."""
        self._client.set_registered_model_alias(name, alias, str(version))

    def tag(self, name: str, version: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        for key, value in tags.items():
            self._client.set_model_version_tag(name, str(version), key, value)


def _version(found: Any) -> ModelVersion:
    return ModelVersion(
        name=found.name, version=int(found.version), source=found.source, tags=dict(found.tags)
    )


def _quotable(name: str) -> str:
    # The name goes into MLflow's filter language, which has no escape for a quote.
    if "'" in name:
        raise ValueError(f"registered model {name!r} must not contain a quote")
    return name
