"""Markers of a whole map in one file, beside those that each task leaves.

A map over thousands of shards would read thousands of markers to find out that nothing is new, one
request each on an object store. What a map used last is therefore kept together too. The file says
nothing that the markers do not say: without it they are read.
"""

import json
from collections.abc import Iterable, Mapping

from synpref_dagster.storage.maps.tasks import Marker, find_finished, has_outputs, output_sizes
from synpref_dagster.storage.sealed import sealed, unsealed
from synpref_dagster.storage.uris import read_bytes, to_path, write_bytes

KNOWN_TASKS = "known_tasks.json"


def finished_tasks(uri: str, keys: Iterable[str], uris: Mapping[str, str]) -> dict[str, Marker]:
    """`find_finished`, from the one file as far as it goes."""
    wanted = list(dict.fromkeys(keys))
    known = _read(uri)
    sizes = output_sizes(uris)
    found = {key: known[key] for key in wanted if key in known and has_outputs(known[key], sizes)}
    return found | find_finished(uri, [key for key in wanted if key not in found], uris)


def keep_tasks(uri: str, tasks: Mapping[str, Marker]) -> None:
    """Keeps the markers of a map's current tasks together; call it when all are there."""
    schemas: dict[str, str] = {}
    listed = {}
    for key, marker in tasks.items():
        document = marker.to_document()
        for item in document.values():
            # The schemas are the same ones thousands of times.
            text = item.pop("arrow_schema")
            item["schema"] = schemas.setdefault(text, str(len(schemas)))
        listed[key] = document
    content = {"schemas": {name: text for text, name in schemas.items()}, "tasks": listed}
    write_bytes(to_path(uri) / KNOWN_TASKS, json.dumps(sealed(content)).encode())


def _read(uri: str) -> dict[str, Marker]:
    text = read_bytes(to_path(uri) / KNOWN_TASKS)
    if text is None:
        return {}
    try:
        content = unsealed(text)
        found = {}
        for key, document in content["tasks"].items():
            for item in document.values():
                item["arrow_schema"] = content["schemas"][item.pop("schema")]
            found[key] = Marker.from_document(document)
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}  # Torn, or of another version: the markers themselves are read.
    return {key: marker for key, marker in found.items() if marker is not None}
