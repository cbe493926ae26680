"""What a campaign keeps about one pair: its references on disk, and rows of the tables behind them.

Nothing is computed here. A reference that is not there is remembered, so that whoever asks can say
what has not happened yet.
"""

import math
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from synpref_dagster.cli.refusals import as_given
from synpref_dagster.pairs.record import PreferencePair, table_to_pairs
from synpref_dagster.settings.profile import Profile
from synpref_dagster.storage import (
    DatasetRef,
    SelectionRef,
    find_manifest,
    find_rows,
    join_uri,
    make_ref,
    read_manifest,
    to_path,
)
from synpref_dagster.storage.refs import find_ref

Row: TypeAlias = dict[str, Any]
SHOWN_DIGITS = 8
"""Digits by which people tell one id from another."""


class NoPoolError(ValueError):
    """The campaign has no raw pool yet, so that there are no pairs to speak of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairIds:
    """The identities a pair is looked up by, as hexadecimal digits."""

    pair_id: str
    twin_id: str
    """The same content under the opposite label, whether or not any source has it."""
    content_id: str
    conversation_id: str

    @classmethod
    def of(cls, pair: PreferencePair) -> "PairIds":
        """The identities of a pair."""
        return cls(
            pair_id=pair.pair_id.hex(),
            twin_id=pair.flipped().pair_id.hex(),
            content_id=pair.content_id.hex(),
            conversation_id=pair.conversation_id.hex(),
        )

    def both(self) -> tuple[str, str]:
        """The pair and its twin: a label of one holds for the other, reversed."""
        return self.pair_id, self.twin_id

    def sign(self, row: Mapping[str, Any]) -> int:
        """+1 for a row about the pair, -1 for one about its twin."""
        return 1 if row["pair_id"] == self.pair_id else -1

    def through(self, row: Mapping[str, Any]) -> str:
        """A remark on a row that is not about the pair itself."""
        return "" if row["pair_id"] == self.pair_id else " (through its twin)"


class CampaignRecords:
    """The published state of a campaign, read only."""

    def __init__(self, profile: Profile, store_root: str) -> None:
        self.profile = profile
        self.store_root = store_root
        self._refs: dict[str, Any] = {}

    def ref(self, name: str) -> Any:
        """The reference that asset `name` (with its partition) left; None when there is none."""
        if name not in self._refs:
            path = to_path(join_uri(self.store_root, "refs", f"{name}.json"))
            self._refs[name] = find_ref(path, place=f"{name}.json")
        return self._refs[name]

    def missing(self) -> list[str]:
        """The assets that were asked for and are not there, in the order of asking.

        Reports that the profile leaves out of a campaign are not missed.
        """
        left_out = self.profile.pool.reports_left_out()
        return [n for n, ref in self._refs.items() if ref is None and n not in left_out]

    def part(self, asset: str, name: str) -> DatasetRef | None:
        """A table that an asset publishes beside its reference, in its current state."""
        uri = join_uri(self.store_root, "data", asset, name)
        manifest = find_manifest(uri)
        return None if manifest is None else make_ref(uri, manifest)

    def kept(self, name: str) -> DatasetRef | None:
        """The kept side of the selection `name`."""
        ref = self.ref(name)
        return ref.kept if isinstance(ref, SelectionRef) else None

    def dropped(self, name: str) -> DatasetRef | None:
        """The dropped side of the selection `name`."""
        ref = self.ref(name)
        return ref.dropped if isinstance(ref, SelectionRef) else None

    def fact(self, ref: DatasetRef | None, name: str) -> DatasetRef | None:
        """A reference that is kept among the facts of a data set."""
        found = None if ref is None else read_manifest(ref).meta.get(name)
        return None if found is None else DatasetRef(**found)

    def raw_pool(self) -> DatasetRef:
        """The pairs as they were read, with texts.

        Raises:
            NoPoolError: nothing was read yet.
        """
        pool = self.kept("raw_pool")
        if pool is None:
            given = as_given(self.profile)
            raise NoPoolError(
                f"no pool at {self.store_root}: run `synpref run --profile {given}` first, or name "
                "the --profile and --seed of a campaign that ran"
            )
        return pool

    def rows(
        self, ref: DatasetRef | None, ids: Iterable[str], id_column: str = "pair_id"
    ) -> list[Row]:
        """The rows of a table with these ids, as plain values; none where the table is not there.

        Ids come and go as hexadecimal digits, whatever the table stores.
        """
        if ref is None:
            return []
        is_text = str(read_manifest(ref).schema.field(id_column).type).endswith("string")
        wanted = list(ids) if is_text else [bytes.fromhex(each) for each in ids]
        found = find_rows(ref, wanted, id_column).to_pylist()
        return [{name: plain(value) for name, value in row.items()} for row in found]

    def pair(self, pair_id: str) -> PreferencePair:
        """A pair of the raw pool with its texts.

        Raises:
            KeyError: no source has it.
        """
        found = find_rows(self.raw_pool(), [bytes.fromhex(pair_id)])
        for pair in table_to_pairs(found.slice(0, 1)):
            return pair
        raise KeyError(pair_id)


def plain(value: Any) -> Any:
    """A value as JSON has it: ids as hexadecimal digits, nothing for NaN."""
    if isinstance(value, uuid.UUID):
        return value.hex
    if isinstance(value, float) and math.isnan(value):
        return None
    return value
