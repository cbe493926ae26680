"""`build_filter_assets`: two reward models and judges decide the pairs of a file (Sec. 3.3)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from synpref_dagster.definitions.builders.naming import (
    Deps,
    KeyPrefix,
    as_markdown,
    checked_names,
    prefixed,
)
from synpref_dagster.publishing.layouts import LAYOUTS

if TYPE_CHECKING:
    from synpref_dagster.tools.curating.deciding import DecideReport
    from synpref_dagster.tools.on_pairs.deciding import Decided

DECIDED, CURATED = "filtered_pairs", "curated_pairs"
DECISIONS_FILE, LABELS_FILE = "decisions.parquet", "labels.parquet"


def build_filter_assets(
    pairs: str | Path,
    *,
    models: Mapping[str, str],
    folder: str | Path,
    judges: str | Path | Mapping[str, Any] | None = None,
    gold: str | Path | None = None,
    floor: float = 0.6,
    min_flips: int = 10,
    layout: str = "trl",
    deps: Deps = (),
    key_prefix: KeyPrefix = None,
    group_name: str = "filtering",
    seed: int = 0,
) -> list[dg.AssetsDefinition]:
    """Assets that keep, flip or discard the pairs of a file, and write those that are left.

    Each model has `NAME_rewards`, judges have `panel_labels`; `filtered_pairs` decides and is
    blocked where pairs got lost; `curated_pairs` is the file or folder of what is kept, flipped
    pairs under their new label.

    Args:
        pairs: file or folder of pairs, in any layout that sources may have.
        models: two reward models, name -> folder or hub id: the gold model, whose word a pair
            needs to be kept, and a second one. Neither may have trained on gold.
        folder: local folder of everything that is written.
        judges: `[judges]` of a profile, as a table or a TOML file; without judges no pair is
            flipped but by gold.
        gold: pairs under the label that is right: it decides where the file holds them, and says
            how precise flips are.
        floor: precision on gold that flips must reach.
        min_flips: fewer flips on gold are no evidence, and then no machine flips.
        layout: that `curated_pairs` is written in, as `synpref convert` has them.
        deps: what makes pairs or models, if assets do.
        key_prefix: of the keys.
        group_name: in Dagster.
        seed: of the orders in which judges see candidates.

    Raises:
        ValueError: not two models, or a name that is no key.
    """
    checked_names(models, least=2, most=2)
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r}: choose {', '.join(LAYOUTS)}")
    plan = _Plan(
        pairs=str(pairs),
        models=models,
        folder=Path(folder),
        judges=judges,
        gold=None if gold is None else str(gold),
        least={"floor": floor, "min_flips": min_flips},
        layout=layout,
        prefix=key_prefix,
        seed=seed,
    )
    group = {"group_name": group_name, "kinds": {"python", "parquet"}}
    witnesses = [_scoring(plan, name, {**group, "deps": deps}) for name in models]
    if judges is not None:
        witnesses.append(_judging(plan, {**group, "deps": deps}))
    return [*witnesses, _deciding(plan, {**group, "deps": [each.key for each in witnesses]})]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    """What is filtered with what, and where it goes."""

    pairs: str
    models: Mapping[str, str]
    folder: Path
    judges: str | Path | Mapping[str, Any] | None
    gold: str | None
    least: Mapping[str, Any]
    layout: str
    prefix: KeyPrefix
    seed: int

    def rewards(self, name: str) -> Path:
        """Where the rewards of a model go."""
        return self.folder / f"{name}_rewards.parquet"

    def decide(self) -> "Decided":
        """Decide every pair by what was written of it."""
        from synpref_dagster.curation.filtering.flip_guard import GuardConfig
        from synpref_dagster.tools.on_pairs.deciding import decide_pairs

        first, second = map(self.rewards, self.models)
        return decide_pairs(
            self.pairs,
            self.folder / DECISIONS_FILE,
            margins=(first, second),
            labels=None if self.judges is None else self.folder / LABELS_FILE,
            gold=self.gold,
            guard=GuardConfig(**self.least),
        )


def _scoring(plan: _Plan, name: str, about: Mapping[str, Any]) -> dg.AssetsDefinition:
    @dg.asset(
        key=prefixed(plan.prefix, f"{name}_rewards"),
        description=f"Rewards of every pair under {name}.",
        **about,
    )
    def rewards() -> dg.MaterializeResult:
        from synpref_dagster.tools.scoring import score

        plan.folder.mkdir(parents=True, exist_ok=True)
        report = score(plan.models[name], plan.pairs, plan.rewards(name), force=True)
        if report.reading.kind != "pairs":
            raise ValueError(f"{plan.pairs} holds responses, and pairs are filtered")
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": report.reading.num_items,
                "margin_above_0": report.accuracy if report.accuracy is not None else "no pair",
                "quarantined": dict(report.reading.quarantined),
                "file": dg.MetadataValue.path(str(report.output)),
            }
        )

    return rewards


def _judging(plan: _Plan, about: Mapping[str, Any]) -> dg.AssetsDefinition:
    @dg.asset(
        key=prefixed(plan.prefix, "panel_labels"),
        description="What the panel of judges says of every pair; replies are paid for once.",
        **about,
    )
    def labels() -> dg.MaterializeResult:
        from synpref_dagster.judges.requests import JudgeError
        from synpref_dagster.tools.on_pairs.judging import judge

        plan.folder.mkdir(parents=True, exist_ok=True)
        try:
            report = judge(
                plan.pairs,
                plan.folder / LABELS_FILE,
                settings=plan.judges,
                seed=plan.seed,
                force=True,
            )
        except JudgeError as error:
            raise dg.Failure(str(error), allow_retries=not error.permanent) from error
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": report.reading.num_items,
                "measures": as_markdown(report.quality),
                "judge_usd": report.usd,
                "spent_usd": report.spent_usd,
                "file": dg.MetadataValue.path(str(report.output)),
            }
        )

    return labels


def _deciding(plan: _Plan, about: Mapping[str, Any]) -> dg.AssetsDefinition:
    keys = {name: prefixed(plan.prefix, name) for name in (DECIDED, CURATED)}

    @dg.multi_asset(
        name="_".join([*keys[DECIDED].path[:-1], DECIDED]),
        specs=[
            dg.AssetSpec(
                keys[DECIDED], deps=about["deps"], group_name=about["group_name"],
                kinds=about["kinds"], description="Each pair kept, flipped or discarded, and why.",
            ),
            dg.AssetSpec(
                keys[CURATED], deps=[keys[DECIDED]], group_name=about["group_name"],
                kinds=about["kinds"], description="What is left, under the labels that it has now.",
            ),
        ],
        check_specs=[
            dg.AssetCheckSpec(
                "every_pair_is_decided", asset=keys[DECIDED], blocking=True,
                description="Kept, flipped and discarded pairs add up to all.",
            ),
            dg.AssetCheckSpec(
                "flips_are_precise", asset=keys[DECIDED],
                description="Machine flips exist only where their precision on gold passed.",
            ),
        ],
    )  # fmt: skip
    def filtered() -> Iterator[dg.MaterializeResult]:
        from synpref_dagster.tools.on_pairs.converting import convert

        found = plan.decide()
        told = found.report
        yield dg.MaterializeResult(
            asset_key=keys[DECIDED],
            metadata={
                "dagster/row_count": told.num_rows,
                **{f"num_{name}": number for name, number in told.totals.items()},
                "reasons": told.reasons,
                "max_confidence": told.max_confidence,
                "warnings": dg.MetadataValue.md("\n\n".join(told.notes) or "none"),
                "file": dg.MetadataValue.path(str(told.output)),
            },
            check_results=_checked(told),
        )
        report = convert(found.curated, plan.folder / CURATED, to=plan.layout, force=True)
        yield dg.MaterializeResult(
            asset_key=keys[CURATED],
            metadata={
                "dagster/row_count": sum(report.written.values()),
                "left_out": dict(report.left_out),
                "file": dg.MetadataValue.path(str(report.output)),
            },
        )

    return filtered


def _checked(told: "DecideReport") -> list[dg.AssetCheckResult]:
    by_machine, guard = told.reasons.get("all_disagree", 0), told.guard
    known = {} if guard is None else {"floor": guard.floor, "on_gold": guard.precision.n}
    return [
        dg.AssetCheckResult(
            check_name="every_pair_is_decided",
            passed=sum(told.totals.values()) == told.num_rows,
            metadata={**told.totals, "pairs": told.num_rows},
        ),
        dg.AssetCheckResult(
            check_name="flips_are_precise",
            passed=not by_machine or (guard is not None and guard.precision.low >= guard.floor),
            metadata={"flips": by_machine, **known},
        ),
    ]
