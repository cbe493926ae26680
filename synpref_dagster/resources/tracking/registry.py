"""Registered models: which version is the candidate, which the champion, and what each scored.

A version is found again by the fingerprint of its checkpoint, so that releasing the same weights
twice makes one version. The aliases move here, by `benchmarks/gates.py`, since a release may have
waited until MLflow answered.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from synpref_dagster.benchmarks.gates import Gate, Scorecard, promotion_gates

CANDIDATE, CHAMPION = "candidate", "champion"
FINGERPRINT_TAG = "synpref.fingerprint"
SCORECARD_TAG = "synpref.scorecard"
FOLDER_TAG = "synpref.folder"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelVersion:
    """One version of a registered model."""

    name: str
    version: int
    source: str
    """Address of its folder."""
    tags: Mapping[str, str]

    @classmethod
    def of(cls, found: Any) -> "ModelVersion":
        """A version as MLflow's client gives it; early ones lack the tag of their folder."""
        return cls(
            name=found.name,
            version=int(found.version),
            source=found.tags.get(FOLDER_TAG, found.source),
            tags=dict(found.tags),
        )


class Release(NamedTuple):
    """What became of a release: its gates, and its version, None while it waits for MLflow."""

    gates: list[Gate]
    version: int | None


class ModelRegistry:
    """MLflow's model registry, through a client: where versions and their aliases are kept."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def tagged(self, name: str, tag: str, value: str) -> ModelVersion | None:
        """The newest version with this tag, or None; goes through all of the name."""
        found = [
            each
            for each in self._client.search_model_versions(f"name = '{_quotable(name)}'")
            if each.tags.get(tag) == value
        ]
        return ModelVersion.of(max(found, key=lambda each: int(each.version))) if found else None

    def aliased(self, name: str, alias: str) -> ModelVersion | None:
        """The version an alias points at, or None; None for an unknown model as well."""
        from mlflow.exceptions import MlflowException

        try:
            return ModelVersion.of(self._client.get_model_version_by_alias(name, alias))
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            return None

    def ensure(self, name: str) -> None:
        """Make a registered model unless it is there."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def point(self, name: str, alias: str, version: int) -> None:
        """Move an alias to a version."""
        self._client.set_registered_model_alias(name, alias, str(version))

    def tag(self, name: str, version: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        for key, value in tags.items():
            self._client.set_model_version_tag(name, str(version), key, value)

    def hold_gates(
        self, release: ModelVersion, card: Scorecard, *, min_gold_accuracy: float
    ) -> Release:
        """Make a version the candidate, and the champion when it passes all gates."""
        champion = self.aliased(release.name, CHAMPION)
        # The champion is not asked to beat itself when its release is made again.
        is_other = champion is not None and champion.version != release.version
        known = champion.tags.get(SCORECARD_TAG) if champion and is_other else None
        gates = promotion_gates(
            card,
            Scorecard.from_json(known) if known else None,
            min_gold_accuracy=min_gold_accuracy,
        )
        self.point(release.name, CANDIDATE, release.version)
        if all(gate.passed for gate in gates):
            self.point(release.name, CHAMPION, release.version)
        return Release(gates, release.version)


def _quotable(name: str) -> str:
    # The name goes into MLflow's filter language, which has no escape for a quote.
    if "'" in name:
        raise ValueError(f"registered model {name!r} must not contain a quote")
    return name
