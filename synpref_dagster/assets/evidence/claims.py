"""Box 7: the method's claims measured on this campaign, against the sealed truth.

Of the assets only this module and `judges` hold the `SealedTruth` resource. Without a truth
(real campaigns) the gold validation pairs take its place, and the report says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache, partial
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from synpref_dagster.assets.by_source import ABOUT, TRUTH
from synpref_dagster.assets.filtering.decision import all_decisions, decided_pool
from synpref_dagster.assets.iteration.keys import candidate_inputs
from synpref_dagster.assets.step import Result, box, campaign_step
from synpref_dagster.curation.evidence.claims import (
    DIFFERENCE,
    NO_CLAIM,
    claim_rows,
    iteration_claims,
    label_claims,
    model_claims,
    rule_claims,
)
from synpref_dagster.curation.evidence.label_accuracy import (
    accuracy_on,
    decided_by_machine,
    label_accuracy,
    truth_by_source,
)
from synpref_dagster.curation.evidence.report import evaluated_on
from synpref_dagster.curation.evidence.variants import LONGER, variants_by_pair
from synpref_dagster.curation.filtering.decision import flip_precision_of_rules
from synpref_dagster.curation.filtering.witnesses import witnesses_from_frame
from synpref_dagster.curation.release.training_sets import of_equal_size, training_variants
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.publishing.plots import bar_plot, line_plot
from synpref_dagster.resources.campaign import POOL, Campaign
from synpref_dagster.resources.models import RewardModels
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.resources.truth import SealedTruth
from synpref_dagster.reward.backbones import backbone
from synpref_dagster.settings.models import key_material
from synpref_dagster.storage import SelectionRef

GROUP = "7_evidence"
VARIANTS = "curation_variants"


def build_iteration_curve(reward_models: Sequence[dg.AssetKey]) -> dg.AssetsDefinition:
    """The curve, resting on every iteration's model."""
    return dg.asset(
        **box(GROUP, kinds={"pytorch", "parquet"}, code_version="2"),
        ins=candidate_inputs(reward_models),
    )(iteration_curve)


def iteration_curve(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    models: RewardModels,
    truth: SealedTruth,
    tracking: MlflowTracking,
    gold: SelectionRef,
    **reward_models: Any,
) -> dg.MaterializeResult:
    """Accuracy of each iteration's model on gold validation, and on the clean test set if any."""
    judged_on = "test" if truth.has_test_pairs() else "gold"
    with campaign_step(context, campaign, tracking, {"gold": gold}) as step:
        ordered = [model for _, model in sorted(reward_models.items())]
        held_out = campaign.labelled(
            campaign.named_in(gold.kept, POOL),
            campaign.frame(gold.kept).query("split == 'validation'"),
        )

        def compute() -> pd.DataFrame:
            sets = {"gold": held_out, judged_on: truth.evaluation_pairs(held_out)}
            right = {
                name: [models.margins(model, pairs) > 0 for model in ordered]
                for name, pairs in sets.items()
            }
            rows = [
                row
                for name, pairs in sets.items()
                for number, found in enumerate(right[name])
                for row in accuracy_rows({"iteration": number, "set": name}, pairs, found)
            ]
            about = {"iteration": len(ordered) - 1, "set": judged_on, "slice": DIFFERENCE}
            return pd.DataFrame(
                rows + [{**about, **row} for row in claim_rows(iteration_claims(right[judged_on]))]
            )

        curve = step.dataset(compute, inputs=[*ordered, gold, truth.fingerprint()])
        whole = campaign.frame(curve).query("slice == 'all'")
        lines = {str(name): list(rows["value"]) for name, rows in whole.groupby("set")}
        # Of gold validation every iteration has logged its accuracy already.
        for number, value in enumerate(lines.get("test", [])):
            step.tracked.log_campaign_metrics({"test/accuracy": value}, step=number)
        return step.result(
            curve,
            metrics={
                f"{judged_on}_accuracy_first": lines[judged_on][0],
                f"{judged_on}_accuracy_last": lines[judged_on][-1],
            },
            plot=line_plot(
                lines,
                title="RM accuracy by iteration",
                x_label="iteration",
                y_label="accuracy",
            ),
        )


@dg.asset(**box(GROUP, kinds={"pytorch", "parquet"}, code_version="4", pool="gpu"))
def curation_variants(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    models: RewardModels,
    truth: SealedTruth,
    tracking: MlflowTracking,
    consistency_filtered_subset: SelectionRef,
    gold: SelectionRef,
    silver: SelectionRef,
) -> dg.MaterializeResult:
    """One RM per training set: original labels, equally many, filtered, corrected, final, truth.

    All with the same backbone, steps and validation set, those of the stages' models or those of a
    release. `accuracy` has their shares and the claims about them, `by_pair` every margin.
    """
    with campaign_step(context, campaign, tracking, {"gold": gold}) as step:
        verified = campaign.frame(gold.kept)
        clean_pool = decided_pool(campaign, consistency_filtered_subset)
        held_out = campaign.labelled(clean_pool.kept, verified.query("split == 'validation'"))

        def compute() -> dict[str, pd.DataFrame]:
            test = truth.evaluation_pairs(held_out)
            sets = _as_asked(
                campaign,
                clean_pool,
                decisions=all_decisions(campaign, consistency_filtered_subset),
                gold=verified,
                silver=campaign.frame(silver.kept),
                right=_right_labels(campaign, clean_pool, truth),
            )
            labelled = partial(campaign.labelled, clean_pool.kept)
            place: dict[str, Any] = {"vocabulary": clean_pool.kept, "context": context}
            if like := _trained_like(campaign):
                wanted = {f"{step.name}/{name}": labelled(each) for name, each in sets.items()}
                models.tell_expected_time(wanted, held_out, context=context, **like)
            margins, num_pairs = {}, {LONGER: 0}
            for name, labels in sets.items():
                pairs = labelled(labels)
                model = models.train(f"{step.name}/{name}", pairs, held_out, **place, **like).ref
                margins[name], num_pairs[name] = models.margins(model, test), len(pairs)
            by_pair = variants_by_pair(test, margins)
            return {"accuracy": _variant_rows(test, by_pair, num_pairs), "by_pair": by_pair}

        variants = step.parts(
            compute,
            ["accuracy", "by_pair"],
            inputs=[clean_pool, consistency_filtered_subset, gold, silver, truth.fingerprint()],
            params=_variants_key(campaign),
        )
        whole = campaign.frame(variants["accuracy"]).query("slice == 'all'").set_index("variant")
        return step.result(
            variants,
            metrics=whole["value"].to_dict(),
            plot=bar_plot(
                whole["value"].to_dict(),
                title=f"RM accuracy on {evaluated_on(has_test_set=truth.has_test_pairs())}",
                value_label="accuracy",
                intervals={str(name): (row["low"], row["high"]) for name, row in whole.iterrows()},
            ),
        )


def _right_labels(
    campaign: Campaign, clean_pool: SelectionRef, truth: SealedTruth
) -> dict[bytes, int]:
    """pair_id -> +1 where the source label is right, -1 where wrong; nobody knows the others."""
    pairs = campaign.pairs(clean_pool.kept)
    signs = truth.truth.labels(pairs)
    return {pair.pair_id: int(sign) for pair, sign in zip(pairs, signs, strict=True) if sign}


def _variant_rows(
    test: Sequence[PreferencePair], by_pair: pd.DataFrame, num_pairs: Mapping[str, int]
) -> pd.DataFrame:
    right = {name: by_pair[name].to_numpy() > 0 for name in num_pairs}
    rows = [
        row
        for name, number in num_pairs.items()
        for row in accuracy_rows({"variant": name, "num_pairs": number}, test, right[name])
    ]
    about = {"variant": "", "num_pairs": 0, "slice": DIFFERENCE}
    return pd.DataFrame(rows + [{**about, **row} for row in claim_rows(model_claims(right))])


def _as_asked(
    campaign: Campaign, clean_pool: SelectionRef, **known: Any
) -> dict[str, pd.DataFrame]:
    """The training sets that the profile compares, of equal size where it says how large."""
    variants, seed = campaign.profile.evidence.variants, campaign.seed
    sets = training_variants(campaign.frame(clean_pool.kept), **known, seed=seed)
    return of_equal_size(
        sets, names=variants.training_sets, num_pairs=variants.num_pairs, seed=seed
    )


def _trained_like(campaign: Campaign) -> dict[str, Any]:
    """What makes `RewardModels.train` train like a release; nothing where stages are the model."""
    variants, sizes = campaign.profile.evidence.variants, campaign.profile.sizes()
    if variants.trained_like == "stages":
        return {}
    return {"model_size": variants.model_size or sizes[0], "alike": VARIANTS}


def _variants_key(campaign: Campaign) -> dict[str, Any]:
    """What decides the variants besides their data."""
    profile, like = campaign.profile, _trained_like(campaign)
    asked = profile.evidence.variants.model_dump(exclude_defaults=True)
    if not like:
        return {**key_material(profile.reward_model), **asked}
    row = backbone(like["model_size"], profile.backbones)
    return {**key_material(profile.release), **asked, "row": row.material()}


@dg.asset(**box(GROUP, kinds={"python", "parquet"}, code_version="2"))
def filter_audit(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    truth: SealedTruth,
    tracking: MlflowTracking,
    consistency_filtered_subset: SelectionRef,
) -> dg.MaterializeResult:
    """How right labels are before and after curation, and how precise each witness alone is.

    Precision counts machine decisions only: what people decided would flatter the filter.
    """
    clean_pool = decided_pool(campaign, consistency_filtered_subset)
    with campaign_step(context, campaign, tracking, {"clean_pool": clean_pool}) as step:

        @cache
        def known() -> tuple[pd.DataFrame, np.ndarray]:
            decided = all_decisions(campaign, consistency_filtered_subset)
            pairs = {pair.pair_id: pair for pair in campaign.pairs(clean_pool.kept)}
            return decided, truth.truth.labels([pairs[pair_id] for pair_id in decided["pair_id"]])

        inputs: list[Result | str] = [
            clean_pool,
            consistency_filtered_subset,
            truth.fingerprint(),
        ]
        audit = step.dataset(lambda: _audited(*known()), inputs=inputs)
        step.dataset(
            lambda: truth_by_source(*known()),
            inputs=inputs,
            part=TRUTH,
            meta={ABOUT: consistency_filtered_subset.kept.fingerprint},
        )
        frame = campaign.frame(audit)
        precision = frame.query("measure == 'precision'")
        accuracy = frame.query("measure == 'label_accuracy'").set_index("name")["value"]
        return step.result(
            audit,
            metrics={f"label_accuracy/{name}": value for name, value in accuracy.items()}
            | {f"{r.name}/{r.rule}": r.value for r in precision.itertuples(index=False)},
            plot=bar_plot(
                {
                    f"{row['name']} by {row['rule']}": row["value"]
                    for row in precision.to_dict("records")
                },
                title="Precision of keeping and flipping",
                value_label="share right",
            ),
        )


def _audited(decided: pd.DataFrame, right: np.ndarray) -> pd.DataFrame:
    """The rows of the filter audit: shares of right labels, precision of rules, claims."""
    by_machine = decided_by_machine(decided) & (right != 0)
    witnesses = witnesses_from_frame(decided[by_machine].assign(human_label=right[by_machine]))
    claims = {**label_claims(decided, right), **rule_claims(witnesses)}
    rows = [
        {"measure": "label_accuracy", "name": name, "rule": "", **asdict(found)}
        for name, found in label_accuracy(decided, right).items()
    ] + [
        {"measure": "precision", "name": part, "rule": rule, **asdict(found)}
        for rule, parts in flip_precision_of_rules(witnesses).items()
        for part, found in parts.items()
    ]
    about = {"measure": DIFFERENCE, "name": "", "rule": ""}
    return pd.DataFrame(
        [{**row, "claim": NO_CLAIM} for row in rows]
        + [{**about, **row} for row in claim_rows(claims)]
    )


def accuracy_rows(
    about: dict[str, Any], pairs: Sequence[PreferencePair], right: np.ndarray
) -> list[dict[str, Any]]:
    """One row per slice of the test pairs: what it is about, and the accuracy there."""
    return [
        {**about, "slice": part, "claim": NO_CLAIM, **asdict(found)}
        for part, found in accuracy_on(pairs, right).items()
    ]
