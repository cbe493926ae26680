"""How assets find each other's outputs: references as JSON.

One file per asset and partition below a base URI (local or S3). The data behind a reference is
never touched here: it was published by the asset itself, and is opened lazily by its readers.
"""

from typing import Any

import dagster as dg
from upath import UPath

from synpref_dagster.resources.campaign import name_of
from synpref_dagster.settings.outlets import no_secrets_in_errors
from synpref_dagster.storage import DatasetRef, SelectionRef, to_json
from synpref_dagster.storage.refs import find_ref
from synpref_dagster.storage.uris import storage_options, write_bytes

GATHERS = "allow_missing_partitions"
"""Metadata of an input that takes every partition that is there, by name."""


class RefFiles(dg.UPathIOManager):
    """Stores a reference, a mapping of references, or a plain JSON mapping."""

    extension = ".json"

    def __init__(self, base_path: UPath, *, key_prefix: str = "") -> None:
        super().__init__(base_path=base_path)
        self.key_prefix = key_prefix

    def get_asset_relative_path(self, context: dg.InputContext | dg.OutputContext) -> UPath:
        """Files are called by the assets' names: a prefix of their keys moves nothing."""
        return UPath(name_of(context.asset_key, self.key_prefix))

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Write; an object store's errors quote its address."""
        with no_secrets_in_errors():
            super().handle_output(context, obj)

    def load_input(self, context: dg.InputContext) -> Any:
        """Read; an object store's errors quote its address."""
        with no_secrets_in_errors():
            return super().load_input(context)

    def load_partitions(self, context: dg.InputContext) -> Any:
        """One object of a partition's own input; a mapping where an asset gathers all of them.

        Dagster gives a lone partition without its name, and a profile may have one size only.
        """
        found = super().load_partitions(context)
        names = context.asset_partition_keys
        if len(names) > 1 or not context.definition_metadata.get(GATHERS):
            return found
        return {} if found is None else {names[0]: found}

    def dump_to_path(self, context: dg.OutputContext, obj: Any, path: UPath) -> None:
        """Writes the reference as JSON."""
        write_bytes(path, to_json(obj, place=self._place(path)).encode())

    def load_from_path(self, context: dg.InputContext, path: UPath) -> Any:
        """Reads what `dump_to_path` was given."""
        found = find_ref(path, place=self._place(path))
        if found is None:
            raise FileNotFoundError(f"{path}: materialize its asset")
        return found

    def _place(self, path: UPath) -> str:
        """The file below the base: files that changed places are told from their own."""
        return str(path).removeprefix(str(self._base_path)).lstrip("/")

    def get_metadata(self, context: dg.OutputContext, obj: Any) -> dict[str, dg.MetadataValue]:
        """Row counts and places of the data sets behind the reference."""
        if isinstance(obj, DatasetRef):
            return _dataset_metadata(obj)
        if isinstance(obj, SelectionRef):
            return {
                **_dataset_metadata(obj.kept),
                "num_dropped": dg.MetadataValue.int(obj.dropped.num_rows),
                "dropped_uri": dg.MetadataValue.text(obj.dropped.uri),
            }
        return {}


class RefIOManager(dg.ConfigurableIOManagerFactory[RefFiles]):
    """IO manager of references, below `base_uri`."""

    base_uri: str
    key_prefix: str = ""

    def create_io_manager(self, context: dg.InitResourceContext) -> RefFiles:
        """One IO manager per process."""
        return RefFiles(_base_path(self.base_uri), key_prefix=self.key_prefix)


def _base_path(uri: str) -> UPath:
    # Dagster joins with UPath throughout, also for local folders.
    protocol, separator, _ = uri.partition("://")
    return UPath(uri, **storage_options(protocol)) if separator else UPath(uri)


def _dataset_metadata(ref: DatasetRef) -> dict[str, dg.MetadataValue]:
    return {
        "dagster/row_count": dg.MetadataValue.int(ref.num_rows),
        "dagster/uri": dg.MetadataValue.text(ref.uri),
        "fingerprint": dg.MetadataValue.text(ref.fingerprint),
    }
