"""Box 7, the judges: how good they are, and how much exemplars help them (paper Tab. 14).

Everything is measured against people's gold that validates and trains nothing, and against the
truth where the campaign has one; no label of the campaign has seen either.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import dagster as dg
import pandas as pd

from synpref_dagster.assets.asking import (
    Exemplars,
    MoneyMissing,
    ask_judges,
    every_panel,
    judges_asked,
    paid_for,
    paid_spec,
)
from synpref_dagster.assets.step import (
    Result,
    Step,
    box,
    campaign_step,
    fingerprint,
    markdown_table,
)
from synpref_dagster.assets.views import embed_new, gold_exemplars, stage_one_views, verified_pairs
from synpref_dagster.curation.evidence.claims import DIFFERENCE, NO_CLAIM, claim_rows, judge_claims
from synpref_dagster.curation.evidence.label_accuracy import agreement_frame
from synpref_dagster.curation.judging.labelling import (
    EXEMPLAR_CHOICES,
    EmbeddedPairs,
    ExemplarChoice,
)
from synpref_dagster.curation.judging.quality import (
    ALL,
    GOLD,
    PANEL,
    TRUTH,
    audit_facts,
    first_pairs,
    injection_resistance,
    judge_quality,
    planted,
    planted_ids,
    quality_by_judge,
    toward_people,
    vote_weights,
)
from synpref_dagster.curation.judging.weighing import weights_of
from synpref_dagster.publishing.plots import bar_plot
from synpref_dagster.resources.attributes import AttributeLabelling
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.embedding import PairEmbedding
from synpref_dagster.resources.judges import JudgePanel
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.resources.truth import SealedTruth
from synpref_dagster.storage import DatasetRef, SelectionRef

GROUP = "7_evidence"
MAX_PLANTED = 100  # pairs asked again with an instruction in the losing response
AGREEMENT = ("exemplars", "slice", "claim")
QUALITY = ("judge", "slice", "measure", "against")
Parts = Mapping[str, DatasetRef]


def build_judge_audit(after: Sequence[dg.AssetKey] = ()) -> dg.AssetsDefinition:
    """The audit; `after` names the labels that are paid for before it."""
    return dg.asset(
        **box(GROUP, kinds={"python", "parquet"}, code_version="4", pool="judge_api"),
        check_specs=[paid_spec("judge_audit")],
        deps=after,
    )(judge_audit)


def judge_audit(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    judges: JudgePanel,
    labelling: AttributeLabelling,
    embedding: PairEmbedding,
    truth: SealedTruth,
    tracking: MlflowTracking,
    attribute_labels: DatasetRef,
    pair_embeddings: DatasetRef,
    gold: SelectionRef,
) -> dg.MaterializeResult:
    """Agreement of the panel with the truth: no, random and retrieved exemplars (Tab. 14).

    `agreement` compares the choices of exemplars; its rows of slice `difference` are the claims
    about them. `quality` has every measure of every judge and of the panel, against people's gold
    and against the truth; see `curation/judging/quality.py`. Both are empty when the budget does
    not reach for the audit.
    """
    views = stage_one_views(campaign, attribute_labels, pair_embeddings)
    with campaign_step(context, campaign, tracking, {"gold": gold}) as step:
        verified = campaign.labels_in(views["pool"], campaign.frame(gold.kept))
        held_out = verified.query("split == 'validation'")
        most = campaign.profile.evidence.num_judged
        test = truth.evaluation_pairs(campaign.labelled(views["pool"], held_out))[:most]
        folder = campaign.facts(pair_embeddings)["embedder"]
        asking = Asking(
            step=step,
            judges=judges,
            pool=views["pool"],
            gold=lambda: gold_exemplars(campaign, views, verified, embedding=embedding),
            inputs=[gold, pair_embeddings, truth.fingerprint()],
        )
        people = first_pairs(verified_pairs(campaign, views, held_out, embedding=embedding), most)
        signs = dict(zip(held_out["pair_id"], held_out["label"].astype(int), strict=True))
        try:
            with judges_asked():
                targets = embed_new(test, labelling, embedding, folder=folder, asset=step.name)
            return asking.audit(targets, people, signs=signs, has_truth=truth.has_test_pairs())
        except MoneyMissing as missing:
            return _without_money(step, missing)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asking:
    """What every question of the audit shares."""

    step: Step
    judges: JudgePanel
    pool: DatasetRef
    gold: Callable[[], Exemplars]
    inputs: Sequence[Result | str]

    def ask(
        self, targets: EmbeddedPairs, choice: ExemplarChoice, *, folder: str | None = None
    ) -> dict[str, DatasetRef]:
        """All judges of the profile about the targets, also those that have no vote."""
        return ask_judges(
            self.step,
            self.judges,
            pool=self.pool,
            targets=lambda: targets,
            gold=self.gold,
            inputs=self.inputs,
            choice=choice,
            folder=folder or choice,
            weigh=False,
        )

    def audit(
        self,
        targets: EmbeddedPairs,
        people: EmbeddedPairs,
        *,
        signs: Mapping[bytes, int],
        has_truth: bool,
    ) -> dg.MaterializeResult:
        """Ask all rounds, measure, report.

        Args:
            targets: pairs whose chosen response is better.
            people: gold pairs that validate, under their source labels.
            signs: pair_id -> what people said of that label.
            has_truth: whether the targets are others than people's gold.
        """
        some = first_pairs(targets, MAX_PLANTED)
        steered = planted(some)
        *by_choice, on_gold, on_planted = every_panel(
            [
                *(partial(self.ask, targets, choice) for choice in EXEMPLAR_CHOICES),
                partial(self.ask, people, "retrieved", folder=GOLD),
                partial(self.ask, steered, "retrieved", folder="planted"),
            ]
        )
        panels = dict(zip(EXEMPLAR_CHOICES, by_choice, strict=True))
        frame = self.step.campaign.frame

        def measured() -> pd.DataFrame:
            tables = [
                self._measured(people, on_gold, signs).assign(against=GOLD),
                vote_weights(frame(on_gold["screening"])).assign(against=GOLD),
            ]
            if has_truth:
                right = self._measured(targets, panels["retrieved"], signs=None)
                tables.append(right.assign(against=TRUTH))
            resistance = injection_resistance(
                frame(panels["retrieved"]["votes"]),
                frame(panels["retrieved"]["labels"]),
                planted_votes=frame(on_planted["votes"]),
                planted_labels=frame(on_planted["labels"]),
                planted_of=planted_ids(some.pairs, steered.pairs),
            )
            tables.append(resistance.assign(against=TRUTH if has_truth else GOLD))
            return pd.concat(tables, ignore_index=True)

        agreement = self.step.dataset(
            lambda: self._agreement(targets, panels),
            inputs=[fingerprint(panel) for panel in panels.values()],
            part="agreement",
        )
        quality = self.step.dataset(
            measured,
            inputs=[fingerprint(panel) for panel in (on_gold, *panels.values(), on_planted)],
            part="quality",
        )
        return _result(self.step, agreement, quality)

    def _agreement(
        self, targets: EmbeddedPairs, panels: Mapping[ExemplarChoice, Parts]
    ) -> pd.DataFrame:
        labels: dict[str, pd.DataFrame] = {
            choice: self.step.campaign.frame(panel["labels"]) for choice, panel in panels.items()
        }
        pairs = zip(targets.pairs, targets.attributes, strict=True)
        objectivity = {pair.pair_id: each["objectivity"] for pair, each in pairs}
        claimed = [
            {"exemplars": "", "slice": DIFFERENCE, **row}
            for row in claim_rows(judge_claims(labels))
        ]
        shares = agreement_frame(labels, objectivity).assign(claim=NO_CLAIM)
        return pd.concat([shares, pd.DataFrame(claimed)], ignore_index=True)

    def _measured(
        self, targets: EmbeddedPairs, panel: Parts, signs: Mapping[bytes, int] | None
    ) -> pd.DataFrame:
        frame = self.step.campaign.frame
        tables = {name: frame(panel[name]) for name in ("verdicts", "votes", "labels")}
        if signs is not None:
            tables = toward_people(tables, signs)
        bill = frame(panel["bill"])
        usd = dict(zip(bill["judge"], bill["usd"].astype(float), strict=True))
        facts = replace(
            audit_facts(targets, usd, signs=signs), weights=weights_of(frame(panel["screening"]))
        )
        return judge_quality(**tables, facts=facts)


def _without_money(step: Step, missing: MoneyMissing) -> dg.MaterializeResult:
    """An audit that measured nothing, and says why."""
    step.context.log.warning(str(missing.description))
    parts = {
        name: step.dataset(partial(_empty, columns), inputs=[], params={"empty": True}, part=name)
        for name, columns in (("agreement", AGREEMENT), ("quality", QUALITY))
    }
    facts = {"not_measured": str(missing.description)}
    return step.result(parts, facts=facts, checks=[paid_for(missing)])


def _empty(texts: Sequence[str]) -> pd.DataFrame:
    texts_of = {name: pd.Series(dtype="str") for name in texts}
    numbers = {name: pd.Series(dtype="float64") for name in ("value", "low", "high", "n")}
    return pd.DataFrame(texts_of | numbers)


def _result(step: Step, agreement: DatasetRef, quality: DatasetRef) -> dg.MaterializeResult:
    found = step.campaign.frame(quality)
    whole = step.campaign.frame(agreement).query("slice == 'all'").set_index("exemplars")
    shown = whole["value"].to_dict()
    return step.result(
        {"agreement": agreement, "quality": quality},
        metrics={**shown, **_named(found)},
        facts={"judges_on_gold": _by_judge(found)},
        checks=[paid_for()],
        plot=bar_plot(
            shown,
            title="Judges' agreement with the truth",
            value_label="agreement",
            intervals={str(name): (row["low"], row["high"]) for name, row in whole.iterrows()},
        ),
    )


def _named(quality: pd.DataFrame) -> dict[str, float]:
    """The measures over all pairs as metrics: judge/against/measure -> value."""
    whole = quality[(quality["slice"] == ALL) & quality["value"].notna()]
    return {
        f"{row.judge}/{row.against}/{row.measure}": float(row.value) for row in whole.itertuples()
    }


def _by_judge(quality: pd.DataFrame) -> dg.MarkdownMetadataValue:
    """Every judge against people's gold, one row each, the panel last."""
    table = quality_by_judge(quality[quality["against"] == GOLD])
    order = [*(name for name in table.index if name != PANEL), PANEL]
    return markdown_table(table.loc[order].reset_index())
