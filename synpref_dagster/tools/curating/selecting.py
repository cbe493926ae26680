"""Which pairs of a raw pool are kept: screened, compared and selected as the clean pool is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from synpref_dagster import __version__
from synpref_dagster.curation.contamination.rules import NUM_WORDS, DecontaminationConfig, Scope
from synpref_dagster.curation.pool.key_index import mark_pool
from synpref_dagster.curation.pool.marks import MARK_SCHEMA
from synpref_dagster.curation.pool.screening import screen_structure
from synpref_dagster.curation.pool.selection import select_clean
from synpref_dagster.curation.pool.shards import screen_pool
from synpref_dagster.storage import DatasetRef, SelectionRef, ShardExecutor, map_shards
from synpref_dagster.tools.curating.against import Against


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which of the steps of box 1 are taken, and how."""

    repetitions: bool = True
    """Drop repeated pairs and mark contradictions."""
    against: Sequence[str | Path] = ()
    """What is looked for, see `texts_against`."""
    words: int = NUM_WORDS
    """Shared words that are contamination."""
    everywhere: bool = False
    """Look into every turn and both responses, not only into the first user turn."""

    def config(self) -> DecontaminationConfig:
        """The rule of decontamination."""
        scope: Scope = "all_texts" if self.everywhere else "first_turn"
        return DecontaminationConfig(min_words=self.words, max_words=self.words, scope=scope)


def select_pool(
    raw: DatasetRef,
    against: Against,
    *,
    wanted: Wanted,
    uri: str,
    executor: ShardExecutor,
    tell: Callable[[str], None],
) -> SelectionRef:
    """Kept and dropped pairs, shard by shard; a shard that was worked on before is found again.

    Args:
        raw: `PAIR_SCHEMA`.
        against: the texts that must not be in them; none are looked for where there are none.
        wanted: which steps are taken.
        uri: where all of it is kept.
        executor: who works on the shards.
        tell: told what is done now.

    Returns:
        Kept with `CLEAN_SCHEMA` and dropped with `DROPPED_SCHEMA`, as many shards as `raw`.
    """
    screened = _screened(raw, against, wanted=wanted, uri=uri, executor=executor, tell=tell)
    if wanted.repetitions:
        tell("comparing pairs")
        marks = mark_pool(screened, uri=f"{uri}/index").marks
    else:
        marks = map_shards(_unmarked, screened, uri=f"{uri}/unmarked", version=__version__).ref
    chosen = map_shards(
        select_clean,
        screened,
        beside=[marks],
        uri=f"{uri}/selected",
        version=__version__,
        executor=executor,
        outputs=["kept", "dropped", "tally"],
    ).outputs
    return SelectionRef(kept=chosen["kept"], dropped=chosen["dropped"])


def _screened(
    raw: DatasetRef,
    against: Against,
    *,
    wanted: Wanted,
    uri: str,
    executor: ShardExecutor,
    tell: Callable[[str], None],
) -> DatasetRef:
    if not against.prompts:
        tell("screening")
        structure = f"{uri}/structure"
        return map_shards(
            screen_structure, raw, uri=structure, version=__version__, executor=executor
        ).ref
    tell(f"looking for {len(against.prompts):,} texts")
    return screen_pool(
        raw,
        against.dataset(f"{uri}/prompts"),
        uri=uri,
        version=__version__,
        config=wanted.config(),
        executor=executor,
    ).screened.ref


def _unmarked(screened: pa.Table) -> pa.Table:
    """`MARK_SCHEMA` of a shard whose pairs nobody compares."""
    return MARK_SCHEMA.empty_table()
