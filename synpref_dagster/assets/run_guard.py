"""Before a step begins: its run belongs to the campaign, and has one profile from end to end.

Runs read the profile's file in processes of their own. A file that changed while a run was under
way ends it: half a run under each would be no campaign's. A tag says what a run was made under.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import dagster as dg

from synpref_dagster.resources.campaign import PROFILE_TAG, TAKE_OVER_TAG, Campaign
from synpref_dagster.storage.writers import StoreInUseError

PROFILE_OF_TAG = "synpref/profile_fingerprint_of"
"""The run that the fingerprint is of: one that repeats another inherits its tags."""
GAVE_WAY_TAG = "synpref/gave_way"
"""The run that found its store in use."""
RELOAD = (
    "reload the code location (in the UI under Deployment, Code locations; or start `make ui` or "
    "`dagster dev` again)"
)


def refuse_foreign_run(context: dg.AssetExecutionContext, campaign: Campaign) -> None:
    """Pass a step whose run belongs to this campaign and has its profile; note both on the run.

    Raises:
        Failure: another campaign owns the keys; the profile changed since the run began; the run
            was planned with another graph than its profile gives now; or it gave way before.
    """
    instance = context.instance
    run = instance.get_run_by_id(context.run.run_id)
    if run is None:
        return  # an asset that is called by hand
    if run.tags.get(GAVE_WAY_TAG) == run.run_id:
        raise dg.Failure(
            "another campaign was writing the store when an earlier step of this run began, which "
            "says who: start the run again when that one has ended; finished steps are kept",
            allow_retries=False,
        )
    if run.tags.get(TAKE_OVER_TAG) != "true" and (why := campaign.refusal_to_mix(instance)):
        raise dg.Failure(why, allow_retries=False)
    now = campaign.run_tags()
    if run.tags.get(PROFILE_OF_TAG) == run.run_id:
        if (then := run.tags.get(PROFILE_TAG)) != now[PROFILE_TAG]:
            raise dg.Failure(
                f"the profile {campaign.profile.name} changed while this run was under way ({then} "
                f"when it began, {now[PROFILE_TAG]} now): start it again; finished steps are kept",
                allow_retries=False,
            )
    elif not _is_planned_alike(context, run):
        raise dg.Failure(
            f"the profile {campaign.profile.name} gives other assets than when this run was "
            f"planned: {RELOAD}, then start the run again",
            allow_retries=False,
        )
    _tag(instance, run, {**now, PROFILE_OF_TAG: run.run_id})


@contextmanager
def writing(context: dg.AssetExecutionContext, campaign: Campaign) -> Iterator[None]:
    """Write the store for one step; a run that cannot gives way to the end.

    Its other steps would begin between two steps of the run that has the store, and hold that one
    up in turn: neither would come to its end.

    Raises:
        StoreInUseError: a campaign with other settings, or of another instance, writes it.
    """
    with ExitStack() as held:
        try:
            held.enter_context(campaign.writing(context.instance))
        except StoreInUseError:
            if (run := context.instance.get_run_by_id(context.run.run_id)) is not None:
                _tag(context.instance, run, {GAVE_WAY_TAG: run.run_id})
            raise
        yield


def _tag(instance: dg.DagsterInstance, run: dg.DagsterRun, tags: dict[str, str]) -> None:
    if any(run.tags.get(name) != value for name, value in tags.items()):
        instance.add_run_tags(run.run_id, tags)


def _is_planned_alike(context: dg.AssetExecutionContext, run: dg.DagsterRun) -> bool:
    """Whether who asked for a run saw the steps and inputs that it has here."""
    if run.job_snapshot_id is None:
        return True
    planned = context.instance.get_job_snapshot(run.job_snapshot_id)
    here = context.job_def.get_job_snapshot()
    return bool(planned.dep_structure_snapshot == here.dep_structure_snapshot)
