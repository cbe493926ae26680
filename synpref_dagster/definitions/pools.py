"""How many steps of a pool run at once: `gpu` and `judge_api`, one each unless somebody said more.

Assets name their pool; its limit belongs to Dagster's instance, and an instance without limits runs
as many trainings at once as there are runs.
"""

import logging
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import dagster as dg

logger = logging.getLogger("dagster")  # shown by `dagster dev` and in a code server's log

POOLS = ("gpu", "judge_api")
LIMIT = 1  # steps of a pool at once, where nobody chose
SETTINGS_FILES = ("dagster.yaml", "dagster.yml")
INSTANCE_ARGUMENT = "--instance-ref"  # how Dagster tells a code server whose it is


def heed_free_slots() -> None:
    """Let a step that waits in line for a pool look by itself whether a slot is free.

    Dagster promises a slot to the next in line at the moment when one is given back. A step that
    looks, finds none, and gets in line just after that moment is promised none, and waits for ever
    beside a free slot: looking and getting in line are two transactions. Here every further look
    promises what is free. Repeats change nothing, and without an open instance there is nothing to
    change: its storage is not loaded for this.
    """
    storages: Any = sys.modules.get("dagster._core.storage.event_log.sql_event_log")
    if storages is None:
        return
    plain = storages.SqlEventLogStorage.claim_concurrency_slot
    if hasattr(plain, "__wrapped__"):
        return

    @wraps(plain)
    def claim(storage: Any, concurrency_key: str, *step: Any, **more: Any) -> Any:
        found = plain(storage, concurrency_key, *step, **more)
        if found.is_claimed or found.is_assigned:
            return found
        if not storage.has_unassigned_slots(concurrency_key):
            return found
        storage.assign_pending_steps([concurrency_key])
        return plain(storage, concurrency_key, *step, **more)

    storages.SqlEventLogStorage.claim_concurrency_slot = claim


def limit_pools_here() -> None:
    """`limit_pools` of the instance that this process serves; nothing where there is none yet.

    Never an error: definitions are loaded in places that have no instance, or cannot write to it.
    Processes of runs and steps do nothing: the one that started them has done it.
    """
    if multiprocessing.parent_process() is not None:
        return
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with _instance_here() as instance:
            if instance is not None:
                limit_pools(instance)
    except (dg.DagsterError, SQLAlchemyError, OSError, ValueError) as error:
        logger.warning("whether pools are limited is not known: %s", " ".join(str(error).split()))


def limit_pools(instance: dg.DagsterInstance) -> list[str]:
    """Gives pools without a limit one, or says how to, where the instance has settings of its own.

    An instance without `dagster.yaml`, or with an empty one, is nobody's choice. Where it says
    something its owner may have reasons, so that it is left as it is.

    Args:
        instance: of any storage.

    Returns:
        The pools that had no limit.
    """
    heed_free_slots()
    storage = instance.event_log_storage
    if instance.global_op_concurrency_default_limit is not None:
        return []
    if not storage.supports_global_concurrency_limits:
        return []
    unlimited = sorted({*POOLS} - storage.get_concurrency_keys())
    if not unlimited:
        return []
    if settings := _settings_of(instance):
        logger.warning(_advice(unlimited, settings))
        return unlimited
    for pool in unlimited:
        storage.set_concurrency_slots(pool, LIMIT)
    logger.info(
        "pools %s: %d step at a time each, as nothing else is set; `dagster instance concurrency "
        "set %s 2` allows more",
        ", ".join(unlimited),
        LIMIT,
        unlimited[0],
    )
    return unlimited


def _advice(unlimited: Sequence[str], settings: Path) -> str:
    commands = " && ".join(f"dagster instance concurrency set {pool} {LIMIT}" for pool in unlimited)
    return (
        f"pools {', '.join(unlimited)} have no limit: several trainings may run at once, "
        f"and judges be asked by several steps. Add `concurrency: {{pools: {{default_limit: "
        f"{LIMIT}}}}}` to {settings}, or run: {commands}"
    )


def _settings_of(instance: dg.DagsterInstance) -> Path | None:
    """The file of settings that an instance has read, if there is one."""
    # `dagster dev` without DAGSTER_HOME keeps a temporary folder and reads the current one's file.
    home = os.environ.get("DAGSTER_HOME") or Path.cwd()
    found = (
        Path(folder, name) for folder in (instance.root_directory, home) for name in SETTINGS_FILES
    )
    return next((each for each in found if each.is_file() and each.stat().st_size), None)


@contextmanager
def _instance_here() -> Iterator[dg.DagsterInstance | None]:
    """That of the code server's command line, else of `DAGSTER_HOME` once it has a history."""
    home = os.environ.get("DAGSTER_HOME")
    if INSTANCE_ARGUMENT in sys.argv[:-1]:
        from dagster._core.instance import InstanceRef
        from dagster._serdes import deserialize_value

        told = sys.argv[sys.argv.index(INSTANCE_ARGUMENT) + 1]
        with dg.DagsterInstance.from_ref(deserialize_value(told, InstanceRef)) as instance:
            yield instance
    elif home and Path(home, "history").is_dir():
        with dg.DagsterInstance.get() as instance:
            yield instance
    else:
        yield None
