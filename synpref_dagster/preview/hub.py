"""What a campaign takes from the hub, asked for before anything starts and anybody is paid.

Only names are sent there. What an earlier run has downloaded needs no hub.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from synpref_dagster.settings.leaving import hub_address
from synpref_dagster.settings.models import HubReleaseSettings, HubSettings, is_path
from synpref_dagster.settings.profile import Profile
from synpref_dagster.settings.secrets import redacted

KINDS = {"dataset": "data set", "model": "model"}
FILES = {"dataset": "README.md", "model": "config.json"}  # that are asked for, not fetched
PATIENCE_SECONDS = 10
REFUSALS = {  # what the hub calls it -> what to do
    "GatedRepo": "the hub gives it to accounts that accepted its terms: accept them at {page} and "
    "set HF_TOKEN to a token of yours",
    "RepoNotFound": "the hub has no such one, or hides it from this account: correct its id, or "
    "set HF_TOKEN",
    "RevisionNotFound": "the hub has no revision {revision} of it: correct it in the profile",
}


@dataclass(frozen=True, slots=True)
class Repository:
    """Something on the hub: `kind` is dataset or model."""

    kind: str
    hub_id: str
    revision: str | None = None

    @property
    def page(self) -> str:
        """Its address, without that of the hub."""
        return f"{'datasets/' * (self.kind == 'dataset')}{self.hub_id}"

    def __str__(self) -> str:
        return f"{KINDS[self.kind]} {self.hub_id}"


def missing_on_hub(profile: Profile, sizes: Sequence[str]) -> list[str]:
    """A line for each thing of this campaign that the hub does not give; one where it is away.

    Args:
        profile: of the campaign.
        sizes: that will be released.
    """
    wanted = [each for each in on_hub(profile, sizes) if not _is_here(each)]
    return _problems(profile, wanted) if wanted else []


def on_hub(profile: Profile, sizes: Sequence[str]) -> list[Repository]:
    """Data sets, benchmarks and backbones that a profile names on the hub, each once."""
    from synpref_dagster.benchmarks.plugins import known_benchmark
    from synpref_dagster.reward.backbones import backbone

    found = [
        Repository("dataset", each.hub_id, each.revision)
        for each in profile.pool.sources
        if each.hub_id
    ]
    for name, place in profile.pool.benchmarks.items():
        sets = known_benchmark(name).hub if place == "hub" else ()
        found += [Repository("dataset", each.hub_id, each.revision) for each in sets]
    users = [(profile.reward_model, getattr(profile.reward_model, "model_size", None))]
    for settings, size in [*users, *((profile.release, size) for size in sizes)]:
        if size is None or settings.backend not in ("hub", "frozen"):
            continue
        row = backbone(size, profile.backbones)
        place, revision = row.hub_id, row.revision
        if isinstance(settings, HubSettings | HubReleaseSettings):
            place = settings.given_backbone(size) or place
        if not is_path(place) and not Path(place).exists():
            found.append(Repository("model", place, revision))
    return list(dict.fromkeys(found))


def _is_here(wanted: Repository) -> bool:
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    folder = repo_folder_name(repo_id=wanted.hub_id, repo_type=wanted.kind)
    return Path(HF_HUB_CACHE, folder, "snapshots").is_dir()


def _problems(profile: Profile, wanted: Sequence[Repository]) -> list[str]:
    """A line for each that cannot be had, or a single one where the hub is not there."""
    import requests

    hub, lines = hub_address().address.rstrip("/"), []
    for each in wanted:
        try:
            said = _refusal(hub, each)
        except requests.RequestException as error:
            why = redacted(_cause(error))
            return [_unreachable(profile, wanted, hub=hub, why=why)]
        if said:
            lines.append(
                f"{each}: {said.format(page=f'{hub}/{each.page}', revision=each.revision)}"
            )
    return lines


def _refusal(hub: str, wanted: Repository) -> str:
    """Why the hub does not give a file of it; empty where it does, or has no such file."""
    import requests
    from huggingface_hub import get_token

    token = get_token()
    answer = requests.head(
        f"{hub}/{wanted.page}/resolve/{wanted.revision or 'main'}/{FILES[wanted.kind]}",
        headers={"Authorization": f"Bearer {token}"} if token else {},
        timeout=PATIENCE_SECONDS,
    )
    code = answer.headers.get("X-Error-Code", "")
    if answer.status_code == 401 and code not in REFUSALS:
        code = "RepoNotFound"  # what strangers are told of private ones
    if code not in REFUSALS and answer.status_code != 404:
        answer.raise_for_status()  # a proxy in between, or a hub that is ill
    return REFUSALS.get(code, "")


def _cause(error: BaseException) -> str:
    """The last words of an error that wraps others: `Name or service not known`."""
    text = " ".join(str(error).split())
    return text.rpartition("] ")[2].rstrip("')\"") or type(error).__name__


def _unreachable(profile: Profile, wanted: Sequence[Repository], *, hub: str, why: str) -> str:
    needs = [
        f"{KINDS[kind]}{'s' * (len(names) > 1)} {', '.join(names)}"
        for kind in KINDS
        if (names := [each.hub_id for each in wanted if each.kind == kind])
    ]
    return (
        f"the hub {hub} cannot be reached ({why}), and profile {profile.name} needs from it "
        f"{' and '.join(needs)}: connect this machine, name a mirror in HF_ENDPOINT, or give "
        "local folders as path of its sources, benchmarks and [[backbones]]"
    )
