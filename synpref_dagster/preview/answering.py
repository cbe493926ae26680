"""Whether the endpoints of a profile are there, and take its keys. What is asked costs nothing.

The list of models is asked for, which endpoints give away; no text is sent.
"""

from dataclasses import dataclass
from typing import Literal

from synpref_dagster.judges.calls import api_key
from synpref_dagster.settings.embedding import EndpointEmbedding
from synpref_dagster.settings.judges import JudgeEndpoint
from synpref_dagster.settings.profile import Profile
from synpref_dagster.settings.secrets import from_environment, redacted, whole

PATIENCE_SECONDS, SERVER_ERROR = 5.0, 500
TOKEN = "LABEL_STUDIO_TOKEN"
State = Literal["answers", "no key", "refused", "away", "not asked"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came of asking one endpoint."""

    name: str
    address: str
    state: State
    detail: str = ""

    @property
    def is_doubtful(self) -> bool:
        """Whether it answers, and what it says is worth a look."""
        return self.state == "answers" and bool(self.detail)

    @property
    def must_change(self) -> str:
        """What to do, in a line; empty where nothing is wrong."""
        if self.state in ("answers", "not asked"):
            return ""
        if self.state == "no key":
            return self.detail
        todo = "check its key and its model" if self.state == "refused" else "check its address"
        return f"{self.name} at {self.address}: {self.detail}; {todo}"


def endpoints(profile: Profile) -> list[JudgeEndpoint]:
    """Those that a campaign would call."""
    found = list(profile.judges.endpoints) if profile.judges.kind == "endpoints" else []
    if isinstance(profile.embedding, EndpointEmbedding):
        found.append(profile.embedding.as_judge())
    return found


def answers(profile: Profile, *, offline: bool = False) -> list[Answer]:
    """What each endpoint says.

    Args:
        profile: of the campaign.
        offline: looks for keys only.
    """
    asked = [_answer(each, offline=offline) for each in endpoints(profile)]
    if profile.people.backend == "label_studio":
        asked.append(_label_studio(str(profile.people.label_studio_url), offline=offline))
    return asked


def _answer(endpoint: JudgeEndpoint, *, offline: bool) -> Answer:
    def told(state: State, detail: str = "") -> Answer:
        address = redacted(endpoint.base_url)
        return Answer(name=endpoint.name, address=address, state=state, detail=redacted(detail))

    try:
        key = api_key(endpoint)
    except ValueError as error:
        return told("no key", str(error))
    if offline:
        return told("not asked")
    import openai

    client = openai.OpenAI(
        base_url=whole(endpoint.base_url), api_key=key, timeout=PATIENCE_SECONDS, max_retries=0
    )
    try:
        listed = [model.id for model in client.models.list().data]
    except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
        return told("refused", f"it refuses the key (status {error.status_code})")
    except openai.APIStatusError as error:
        # Many servers list nothing: one that says so is there.
        is_there = error.status_code < 500
        return told("answers" if is_there else "away", f"status {error.status_code}")
    except openai.OpenAIError as error:
        return told("away", f"no answer within {PATIENCE_SECONDS:.0f} s: {_cause(error)}")
    except (TypeError, ValueError, AttributeError):
        return told("answers", "it lists no models")
    finally:
        client.close()
    is_known = not listed or endpoint.model in listed
    return told("answers", "" if is_known else f"it does not list the model {endpoint.model!r}")


def _label_studio(address: str, *, offline: bool) -> Answer:
    """Whether the server is there; whether it takes the token, it says when a batch is sent."""
    name, shown = "Label Studio", redacted(address)
    if not from_environment(TOKEN):
        detail = f"Label Studio needs its token in {TOKEN}, which is not set"
        return Answer(name=name, address=shown, state="no key", detail=detail)
    if offline:
        return Answer(name=name, address=shown, state="not asked")
    import requests

    try:
        found = requests.get(f"{whole(address).rstrip('/')}/health", timeout=PATIENCE_SECONDS)
    except requests.RequestException as error:
        detail = redacted(f"no answer: {_cause(error)}")
        return Answer(name=name, address=shown, state="away", detail=detail)
    state: State = "away" if found.status_code >= SERVER_ERROR else "answers"
    detail = f"status {found.status_code}" if state == "away" else ""
    return Answer(name=name, address=shown, state=state, detail=detail)


def _cause(error: Exception) -> str:
    found = error.__cause__ or error
    return " ".join(str(found).split()) or type(found).__name__
