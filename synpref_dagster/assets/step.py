"""What every asset does around its one call: name its box, track its run, report its result."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol, TypeAlias

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa

from synpref_dagster.assets.columns import column_schema
from synpref_dagster.assets.costs import Meter
from synpref_dagster.assets.run_guard import refuse_foreign_run, writing
from synpref_dagster.pairs.progress import heard_by, tell
from synpref_dagster.publishing.plots import markdown_image
from synpref_dagster.resources.campaign import Campaign, name_of
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.resources.tracking.step import TrackedStep
from synpref_dagster.settings.leaving import Destination
from synpref_dagster.settings.outlets import no_secrets_in_errors
from synpref_dagster.settings.secrets import all_redacted
from synpref_dagster.storage import DatasetRef, ModelRef, SelectionRef
from synpref_dagster.storage.maps.ids import ids_of

NOTE_TAG = "mlflow.note.content"  # what MLflow shows as a run's description
SHOWN_DIGITS = 6
OWNERS = ["team:preference-data"]
Result: TypeAlias = DatasetRef | SelectionRef | ModelRef | Mapping[str, DatasetRef]
Table: TypeAlias = pd.DataFrame | pa.Table
Tables: TypeAlias = Iterable[Table]


def box(
    group: str, *, kinds: set[str], code_version: str = "1", pool: str | None = None
) -> dict[str, Any]:
    """Arguments every asset of a group shares: group, owner, kinds, code version, pool."""
    return {
        "group_name": group,
        "owners": OWNERS,
        "kinds": kinds,
        "code_version": code_version,
        "pool": pool,
        "io_manager_key": "refs",
        # An asset with checks has several outputs, and Dagster then reads a plain
        # `MaterializeResult` as "no value".
        "dagster_type": dg.Any,
    }


def markdown_table(frame: pd.DataFrame) -> dg.MarkdownMetadataValue:
    """A small table as people read it in the UI: a dash for what is missing, none for no rows."""
    shown = frame.round(3).astype(object).where(frame.notna(), "–")
    text = shown.to_markdown(index=False, floatfmt=".3f") if len(frame) else "none"
    return dg.MetadataValue.md(text)


class CountsShards(Protocol):
    """What a map over shards says that it cost."""

    @property
    def num_shards_computed(self) -> int:
        """Shards worked on."""
        ...

    @property
    def num_shards_reused(self) -> int:
        """Shards found finished."""
        ...


class Step:
    """One materialisation of one asset: its code version, its MLflow run, its results."""

    def __init__(
        self, context: dg.AssetExecutionContext, campaign: Campaign, tracked: TrackedStep
    ) -> None:
        self.context = context
        self.campaign = campaign
        self.tracked = tracked
        self.name = name_of(context.asset_key, campaign.profile.key_prefix)
        spec = context.assets_def.get_asset_spec(context.asset_key)
        self.version = str(spec.code_version)
        self.description = spec.description or ""
        self.noted: dict[str, Any] = {}
        self.meter = Meter(context)

    def dataset(
        self,
        compute: Callable[[], Table | Tables],
        *,
        inputs: Sequence[Result | str],
        params: Mapping[str, Any] | None = None,
        part: str | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> DatasetRef:
        """The asset's data set (or a named part of it), reused when nothing it rests on changed."""
        return self.campaign.dataset(
            f"{self.name}/{part}" if part else self.name,
            compute,
            version=self.version,
            inputs=[fingerprint(ref) for ref in inputs],
            params=params,
            meta=meta,
        )

    def parts(
        self,
        compute: Callable[[], Mapping[str, Table | Tables]],
        names: Sequence[str],
        *,
        inputs: Sequence[Result | str],
        params: Mapping[str, Any] | None = None,
        meta: Mapping[str, Any] | None = None,
        folder: str | None = None,
    ) -> dict[str, DatasetRef]:
        """Several data sets that one computation gives; it runs once, or not at all."""
        outcome: dict[str, Table | Tables] = {}

        def part(name: str) -> Table | Tables:
            if not outcome:
                outcome.update(compute())
            return outcome[name]

        return {
            name: self.dataset(
                partial(part, name),
                inputs=inputs,
                params=params,
                part=f"{folder}/{name}" if folder else name,
                meta=meta,
            )
            for name in names
        }

    def selection(
        self,
        compute: Callable[[], tuple[Table | Tables, Table]],
        *,
        inputs: Sequence[Result | str],
        params: Mapping[str, Any] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> SelectionRef:
        """Kept and dropped rows of a selector as two data sets."""

        def both() -> dict[str, Table | Tables]:
            kept, dropped = compute()
            return {"kept": kept, "dropped": dropped}

        parts = self.parts(both, ["kept", "dropped"], inputs=inputs, params=params, meta=meta)
        return SelectionRef(kept=parts["kept"], dropped=parts["dropped"])

    def ids(self, pool: DatasetRef) -> DatasetRef:
        """The ids of a pool, shard by shard: what costly work on it is identified by."""
        return ids_of(pool, uri=self.campaign.uri("data", self.name, "ids"))

    def note(self, metrics: Mapping[str, float], facts: Mapping[str, Any] | None = None) -> None:
        """Numbers and facts that a part of the asset adds to its metadata, e.g. what it cost."""
        self.tracked.log_metrics({name: float(number) for name, number in metrics.items()})
        numbers = {name: _plain(number) for name, number in metrics.items()}
        self.noted |= {**numbers, **(facts or {})}

    def result(
        self,
        value: Result,
        *,
        first: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        facts: Mapping[str, Any] | None = None,
        plot: bytes | None = None,
        checks: Sequence[dg.AssetCheckResult] = (),
    ) -> dg.MaterializeResult:
        """Report a result to Dagster and MLflow.

        Args:
            value: what downstream assets receive.
            first: facts that lead the metadata.
            metrics: numbers, logged to MLflow and shown in Dagster.
            facts: other small JSON facts shown in Dagster.
            plot: a PNG under 50 kB.
            checks: results of the asset's own invariants.
        """
        numbers = {name: _plain(number) for name, number in (metrics or {}).items()}
        self.tracked.log_metrics({name: float(number) for name, number in numbers.items()})
        shown = {name: _rounded(number) for name, number in numbers.items()}
        metadata: dict[str, Any] = {**(first or {}), **shown, **self.noted, **(facts or {})}
        metadata |= _about(value) | self.campaign.about() | self.meter.measured()
        if plot is not None:
            metadata["plot"] = dg.MetadataValue.md(markdown_image(plot, self.name))
            self.tracked.log_figure("plot", plot)
        metadata |= self.tracked.metadata
        return dg.MaterializeResult(
            value=value,
            metadata=all_redacted(metadata),
            data_version=dg.DataVersion(fingerprint(value)),
            check_results=list(checks),
        )


@contextmanager
def campaign_step(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    tracking: MlflowTracking,
    inputs: Mapping[str, Result] | None = None,
) -> Iterator[Step]:
    """Run an asset's body under its own MLflow run, with its inputs logged as data sets."""
    campaign.refuse_leaving(Destination("MLflow", tracking.tracking_uri))
    refuse_foreign_run(context, campaign)
    with (
        no_secrets_in_errors(),
        writing(context, campaign),
        tracking.step(context) as tracked,
        heard_by(partial(tell, context.log)),
    ):
        for name, ref in (inputs or {}).items():
            for part, data in _parts(name, ref):
                tracked.log_input(part, data.fingerprint, uri=data.uri, num_rows=data.num_rows)
        step = Step(context, campaign, tracked)
        tracked.log_tags({NOTE_TAG: str(step.description)})
        yield step


def fingerprint(ref: Result | str) -> str:
    """What identifies the content of a result; a text is taken to be a fingerprint already."""
    if isinstance(ref, str):
        return ref
    if isinstance(ref, SelectionRef):
        return f"{ref.kept.fingerprint}-{ref.dropped.fingerprint}"
    if isinstance(ref, Mapping):
        return "-".join(part.fingerprint for _, part in sorted(ref.items()))
    return ref.fingerprint


def shard_counts(mapped: CountsShards, what: str) -> dict[str, int]:
    """Metrics that say what a run cost: shards worked on, and shards found finished."""
    return {
        f"num_{what}_computed": mapped.num_shards_computed,
        f"num_{what}_reused": mapped.num_shards_reused,
    }


def conservation(
    num_in: int, parts: Mapping[str, int], *, name: str = "conservation"
) -> dg.AssetCheckResult:
    """Result of the invariant that every selector keeps: in == kept + dropped."""
    total = sum(parts.values())
    return dg.AssetCheckResult(
        check_name=name,
        passed=bool(total == num_in),
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{num_in:,} in, {total:,} accounted for",
        metadata={"num_in": num_in, **{part: int(count) for part, count in parts.items()}},
    )


def conservation_spec(asset: str | Sequence[str]) -> list[dg.AssetCheckSpec]:
    """The blocking check that `conservation` answers."""
    return [
        dg.AssetCheckSpec(
            "conservation",
            asset=dg.AssetKey(asset),
            blocking=True,
            description="No row vanishes: rows in equal rows kept plus rows dropped.",
        )
    ]


def _parts(name: str, ref: Result) -> list[tuple[str, DatasetRef]]:
    if isinstance(ref, SelectionRef):
        return [(name, ref.kept)]
    if isinstance(ref, Mapping):
        return [(f"{name}/{part}", data) for part, data in ref.items()]
    return [(name, ref)] if isinstance(ref, DatasetRef) else []


def _about(value: Result) -> dict[str, Any]:
    if isinstance(value, ModelRef):
        return {"dagster/uri": value.uri, "fingerprint": value.fingerprint}
    if isinstance(value, SelectionRef):
        return {**_about(value.kept), "num_dropped": value.dropped.num_rows}
    if isinstance(value, Mapping):
        counts = {f"num_{name}": part.num_rows for name, part in value.items()}
        return {**_about(next(iter(value.values()))), **counts}
    return {
        "dagster/row_count": value.num_rows,
        "dagster/uri": value.uri,
        "dagster/column_schema": column_schema(value),
    }


def _plain(number: Any) -> float | int:
    # Dagster refuses numpy scalars in metadata.
    return number.item() if isinstance(number, np.generic) else number


def _rounded(number: float | int) -> float | int:
    """A figure for a page; MLflow keeps all its digits."""
    return float(f"{number:.{SHOWN_DIGITS}g}") if isinstance(number, float) else number
