"""The campaign resource: the profile in force, where it writes, its keys, its pools by reference.

A campaign is (profile, seed). Every asset writes below `store_root`, under its own name, and
results are addressed by what they were computed from, so that a restarted campaign finds its
finished steps and a changed input never meets an old result.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa

from synpref_dagster.curation.filtering.content_labels import labels_in_pool
from synpref_dagster.pairs.ids import in_id_order
from synpref_dagster.pairs.record import PreferencePair, oriented, table_from_frame, table_to_pairs
from synpref_dagster.resources.heard import compared, settings_told
from synpref_dagster.settings.leaving import Destination
from synpref_dagster.settings.names import begins_like_an_asset
from synpref_dagster.settings.profile import Profile
from synpref_dagster.storage import (
    DatasetRef,
    SelectionRef,
    build_dataset,
    find_rows,
    hash_json,
    read_frame,
    read_manifest,
    read_table,
    select_rows,
    step_key,
    to_frame,
)
from synpref_dagster.storage.uris import to_path
from synpref_dagster.storage.writers import Work, writing

SETTINGS = "settings"  # metadata: fingerprint of the profile that an asset was made under
STARTED_TAG = "synpref/started_at"  # of a run: Unix time at which its campaign was started
FINGERPRINT_DIGITS = 16  # of a profile, in a tag
POOL, ATTRIBUTES, FITTED_ON = "pool", "attributes", "fitted_on"  # facts: what data rest on
FIRST_ASSET = "raw_pool"
"""Every campaign begins with it: who made it last owns the keys of an instance."""
STORE = "store"  # metadata of a materialization: the campaign's folder, whole
PROFILE_TAG = "synpref/profile_fingerprint"  # of a run: what it was made under
TAKE_OVER_TAG = "synpref/take_over"  # of a run that may go on with another campaign's keys
PEOPLE = "people"
"""First part of the key of the external asset that stands for the people behind an asset."""


def key_of(name: str, prefix: str = "") -> dg.AssetKey:
    """The key of an asset in a campaign.

    Args:
        name: as in code, for instance `iteration_01/gold`.
        prefix: the profile's `key_prefix`.
    """
    key = dg.AssetKey.from_user_string(name)
    return key.with_prefix(prefix) if prefix else key


def name_of(key: dg.AssetKey, prefix: str = "") -> str:
    """What an asset is called in code and in the store: its key without the prefix.

    Args:
        key: as Dagster knows it.
        prefix: the profile's `key_prefix`.
    """
    path = key.path[1:] if prefix and key.path[0] == prefix else key.path
    return "/".join(path)


def told_as(fact: str) -> str:
    """Name of the metadata that tell a fingerprint's parts apart, so that a change can be named."""
    return f"{fact}_by_name"


class Campaign(dg.ConfigurableResource):
    """Profile, store and the few ways in which assets read and write data sets."""

    profile_json: str
    store_root: str

    @classmethod
    def of(cls, profile: Profile) -> "Campaign":
        """The campaign of a profile."""
        return cls(profile_json=profile.model_dump_json(), store_root=profile.store_root())

    @cached_property
    def profile(self) -> Profile:
        """The profile in force."""
        return Profile.model_validate_json(self.profile_json)

    @property
    def seed(self) -> int:
        """The campaign's seed; every random choice derives from it."""
        return self.profile.seed

    def key(self, name: str) -> dg.AssetKey:
        """The key of an asset of this campaign, by its name in code."""
        return key_of(name, self.profile.key_prefix)

    def about(self) -> dict[str, Any]:
        """Metadata that say whose a materialization is."""
        root = self.store_root
        whole = root if "://" in root else str(Path(root).resolve())
        return {"profile": self.profile.name, "seed": self.seed, STORE: whole}

    def refusal_to_mix(self, instance: dg.DagsterInstance) -> str | None:
        """Why this campaign may not write into an instance, in one line; None when it may.

        Keys belong to a whole instance: two campaigns with the same keys would take each other's
        results for their own. They are those of the campaign that made `raw_pool` last; where it
        has no history, of the one that made any other asset last. A campaign is the same whatever
        its settings are, as long as profile name and seed are, and its store is where it was or no
        longer there: then it was moved.
        """
        mine, made = self.about(), _made_last(instance, self.profile.key_prefix)
        if made is None:
            return None
        key, told = made
        store = told.get(STORE)
        same_name = all(told.get(name, mine[name]) == mine[name] for name in ("profile", "seed"))
        if same_name and (store in (None, mine[STORE]) or not _has_campaign(str(store))):
            return None
        return (
            f"{key.to_user_string()} in the Dagster instance {instance.root_directory} was made by "
            f"another campaign, {told.get('profile')}-seed-{told.get('seed')}"
            f"{f' in {store}' if store else ''}: two with the same keys would take each other's "
            f"results for their own. Give {self.profile.campaign_name()} keys of its own "
            "(`key_prefix` in the profile, or SYNPREF_KEY_PREFIX) or an instance of its own "
            "(DAGSTER_HOME); if it is the same campaign under a new name or in a new place, take "
            f"the keys over once (`synpref run --take-over`, or tag a run {TAKE_OVER_TAG}=true)"
        )

    def refuse_leaving(self, *places: Destination, also: Sequence[str] = ()) -> None:
        """Refuse to go on where texts of this campaign would go to a machine that they may not.

        A profile that would send them there is not read in the first place. This looks again when
        something is done: at the environment as it is now, and at resources that were replaced.

        Args:
            places: where something is about to be sent, besides the store.
            also: sources that may not leave whatever the profile says of them now.
        """
        store = Destination("the store", self.store_root)
        self.profile.refuse_leaving([store, *places], also=also)

    def settings_fingerprint(self) -> str:
        """Changes with every setting that can change what is decided about a pair."""
        return str(hash_json(self.settings_told()))

    def profile_fingerprint(self) -> str:
        """Changes with every setting but texts for reports: whether a run has one profile."""
        told = self.profile.model_dump(mode="json", exclude={"simulated", "next_steps"})
        return str(hash_json(told))[:FINGERPRINT_DIGITS]

    def run_tags(self) -> dict[str, str]:
        """Tags of its runs in Dagster: whose they are, and under which profile."""
        return {**self.profile.run_tags(), PROFILE_TAG: self.profile_fingerprint()}

    def settings_told(self) -> dict[str, str]:
        """Setting by its name in the profile -> what identifies its value, and never the value."""
        return settings_told(self.profile)

    def settings_since(self, kept: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        """What `settings_told` once gave, and gives now, as far as a setting was changed."""
        return compared(self.profile, kept)

    def writing(self, instance: dg.DagsterInstance) -> AbstractContextManager[None]:
        """Be the one campaign that writes the store; other runs of the same one may be there too.

        Raises:
            StoreInUseError: a campaign with other settings, or of another instance, writes it.
        """
        # Only storages without a database of their own have no such id, and live in one process.
        ask = getattr(instance.run_storage, "get_run_storage_id", instance.run_storage.__class__)
        work = Work(
            campaign=self.profile.campaign_name(),
            settings=str(hash_json(self.profile.model_dump(mode="json"))),
            instance=str(ask()),
        )
        return writing(self.store_root, work)

    def uri(self, *parts: str) -> str:
        """Address below the campaign's store."""
        return "/".join((self.store_root, *parts))

    def local_folder(self, *parts: str) -> Path:
        """Local folder for what other libraries insist on reading from disk (models, the world).

        It is the store itself when that is local, else a scratch folder beside it.
        """
        root = self.store_root
        if "://" in root:
            root = ".synpref/scratch/" + root.split("://", 1)[1]
        folder = Path(root, *parts).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def shared_folder(self) -> Path:
        """Local folder of what is known by its content and serves every campaign beside this one.

        Two levels above the campaign's own (profile and seed), so that its models find it above
        them.
        """
        return self.local_folder().parents[1]

    def dataset(
        self,
        name: str,
        compute: Callable[[], pd.DataFrame | pa.Table | Iterable[pd.DataFrame | pa.Table]],
        *,
        version: str,
        inputs: Sequence[str],
        params: Mapping[str, Any] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> DatasetRef:
        """Data set `name`, computed unless a result of the same step is already published.

        Args:
            name: folder below `data/`.
            compute: gives the table, or one after the other those that are a shard each; called
                only when nothing reusable is found.
            version: code version of the step.
            inputs: fingerprints of all inputs.
            params: everything else the result depends on.
            meta: small JSON facts to keep in the manifest.
        """

        def as_tables() -> pa.Table | Iterable[pa.Table]:
            result = compute()
            if isinstance(result, pa.Table | pd.DataFrame):
                return _as_table(result)
            return map(_as_table, result)

        step = step_key(version=version, inputs=list(inputs), params=dict(params or {}))
        return build_dataset(self.uri("data", name), step=step, compute=as_tables, meta=meta)

    def frame(self, ref: DatasetRef, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """A narrow table as a frame; ids are bytes."""
        return read_frame(ref, columns=list(columns) if columns is not None else None)

    def rows(
        self, ref: DatasetRef, ids: Iterable[bytes], columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """The rows of the pairs `ids` as a frame, in the order of the table.

        What `frame` is for tables that are as long as a pool: memory holds one shard of it.
        """
        return to_frame(find_rows(ref, ids, columns=columns))

    def facts(self, ref: DatasetRef) -> Mapping[str, Any]:
        """The small facts kept in a data set's manifest."""
        return read_manifest(ref).meta

    def pairs(self, pool: DatasetRef, ids: Sequence[bytes] | None = None) -> list[PreferencePair]:
        """The pairs of a pool, with texts, in the order of their ids; only `ids` if given.

        A pool is a selection of ids: its texts are those of the raw pool it was made from, each
        written once. Its order is that of files, which one appended row changes: nothing that is
        fitted, trained, asked or identified goes by it.
        """
        if ids is None:
            wanted = self.frame(pool, ["pair_id"])["pair_id"]
        else:
            wanted = self.rows(pool, ids, ["pair_id"])["pair_id"]
        return in_id_order(table_to_pairs(select_rows(self.texts(pool), set(wanted))))

    def as_fact(self, ref: DatasetRef | SelectionRef) -> dict[str, Any]:
        """A reference in the form in which `facts` keeps it."""
        return asdict(ref)

    def named_in(self, ref: DatasetRef, fact: str) -> DatasetRef:
        """The data set that another one was made from and names among its facts.

        Who takes the one needs no edge to the other: the graph shows what an asset rests on, not
        what it hands along. Only where the one changes whenever what is read of the other does.

        Raises:
            ValueError: an earlier version of this package wrote it, which did not name it.
        """
        return DatasetRef(**self._named(ref, fact))

    def selection_named_in(self, ref: DatasetRef, fact: str) -> SelectionRef:
        """`named_in` of a selection."""
        parts = self._named(ref, fact)
        return SelectionRef(**{name: DatasetRef(**part) for name, part in parts.items()})

    def _named(self, ref: DatasetRef, fact: str) -> dict[str, Any]:
        facts = self.facts(ref)
        if fact not in facts:
            raise ValueError(
                f"{ref.uri!r} names no {fact!r}: an earlier version wrote it. Materialize "
                "its asset again: nothing is computed anew"
            )
        return dict(facts[fact])

    def texts(self, pool: DatasetRef) -> DatasetRef:
        """The data set that holds a pool's texts: the raw pool, or the pool itself."""
        facts = self.facts(pool)
        return DatasetRef(**facts["texts"]) if "texts" in facts else pool

    def labels_in(self, pool: DatasetRef, labels: pd.DataFrame) -> pd.DataFrame:
        """Labels as they stand to the pairs of a pool, less those of contents that left it.

        See `content_labels.labels_in_pool`.
        """
        ids = ["pair_id", "content_id"]
        found = find_rows(pool, labels["content_id"], "content_id", columns=ids)
        return labels_in_pool(labels, to_frame(found))

    def labelled(self, pool: DatasetRef, labels: pd.DataFrame) -> list[PreferencePair]:
        """The pairs of `labels` (pair_id, content_id, label) in a pool, under those labels.

        A pair whose source label turned has the label that its content was given. One that left
        the pool is left out, for instance because somebody asked for it: compare the numbers.

        Raises:
            ValueError: all of them left.
        """
        now = self.labels_in(pool, labels)
        if len(labels) and not len(now):
            raise ValueError(
                f"none of {len(labels)} labelled pairs is in the pool any longer: name their "
                "sources in pool.sources again, or materialize the campaign again from "
                "seed_candidates on"
            )
        by_id = dict(zip(now["pair_id"], now["label"].astype(int), strict=True))
        return oriented(self.pairs(pool, list(by_id)), by_id)

    def table(self, ref: DatasetRef, columns: Sequence[str] | None = None) -> pa.Table:
        """A data set as one Arrow table."""
        return read_table(ref, columns=list(columns) if columns is not None else None)


def _made_last(
    instance: dg.DagsterInstance, prefix: str
) -> tuple[dg.AssetKey, dict[str, Any]] | None:
    """The asset that says whose keys these are, and its metadata; None when nothing was made."""
    first = key_of(FIRST_ASSET, prefix)
    event = instance.get_latest_materialization_event(first)
    if event is not None and event.asset_materialization is not None:
        return first, _values(event.asset_materialization)
    keys = [each for each in instance.all_asset_keys() if is_of(each, prefix)]
    made = [
        (record.storage_id, each.asset_entry.asset_key, _values(record.asset_materialization))
        for each in instance.get_asset_records(keys)
        if (record := each.asset_entry.last_materialization_record) is not None
        and record.asset_materialization is not None
    ]
    # By its number in the log: clocks of several machines are not of one time.
    ours = [each for each in made if {"profile", "seed"} <= {*each[2]}]
    return max(ours, key=lambda each: each[0])[1:] if ours else None


def _values(made: dg.AssetMaterialization) -> dict[str, Any]:
    return {name: entry.value for name, entry in made.metadata.items()}


def is_of(key: dg.AssetKey, prefix: str) -> bool:
    """Whether a key is one of a campaign with this prefix; without, those have one part or two."""
    if prefix:
        return key.path[0] == prefix
    return len(key.path) == 1 or begins_like_an_asset(key.path[0])


def _as_table(result: pd.DataFrame | pa.Table) -> pa.Table:
    return result if isinstance(result, pa.Table) else table_from_frame(result)


def _has_campaign(store: str) -> bool:
    """Whether a campaign's results are in a store; one that cannot be asked counts as there."""
    try:
        return any(True for _ in to_path(f"{store}/refs").iterdir())
    except FileNotFoundError:
        return False
    except Exception:  # noqa: BLE001 - of any library that knows the address
        return True
