"""What an LLM says about each response alone, put beside the pairs that people are asked about."""

from collections.abc import Callable, Sequence

import pandas as pd

from synpref_dagster.assets.asking import judges_asked, spending
from synpref_dagster.assets.step import Step
from synpref_dagster.curation.judging.prompts import VERIFICATION
from synpref_dagster.judges.questions import check_responses
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.resources.judges import PART, JudgePanel
from synpref_dagster.storage import hash_json

PRE_VERIFICATION = "pre_verification"


def with_response_checks(
    step: Step,
    judges: JudgePanel,
    pairs: Callable[[], Sequence[PreferencePair]],
    about: pd.DataFrame,
) -> pd.DataFrame:
    """What people see besides the texts, with the notes of an LLM on each response.

    Nobody is asked where people would not see it (recorded verdicts, and Label Studio, which shows
    gold without any opinion of a model), where no LLM is at hand, or where the profile says
    `people.pre_verify = false`. The notes are kept as the asset's part `pre_verification`.

    Args:
        step: the asset that asks people.
        judges: the panel.
        pairs: gives what people are asked about.
        about: pair_id and what is known already; its order stays.
    """
    people = step.campaign.profile.people
    if people.backend != "page" or not people.pre_verify or not judges.uses_endpoints:
        return about
    account = f"{step.name}{PART}{PRE_VERIFICATION}"
    with judges_asked():
        checks = step.dataset(
            lambda: check_responses(judges.endpoint_judges(account), pairs()),
            inputs=[str(hash_json([pair_id.hex() for pair_id in about["pair_id"]]))],
            params=judges.identity(VERIFICATION),
            part=PRE_VERIFICATION,
        )
    step.note(spending(judges, account))
    return about.merge(step.campaign.frame(checks), on="pair_id", how="left", validate="1:1")
