"""Label Studio over REST, for teams that have one: the same batches, answers in the same ledger.

The blind order is drawn here and stored with the task; no prediction is ever sent, since it would
be shown to the annotator. Pulling twice adds nothing; an annotation that was changed in Label
Studio is a new row of the ledger.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import requests

from synpref_dagster.pairs.texts import printable
from synpref_dagster.people.annotations import LeftOut, Pulled, as_id, read_export, shown_texts
from synpref_dagster.people.ledger.answers import TOOLS
from synpref_dagster.people.ledger.batches import Batch, ReviewItem, side_for
from synpref_dagster.people.page.rendering import visible
from synpref_dagster.people.protocol import instructions
from synpref_dagster.settings.secrets import kept, redacted, remember, whole, without_known

TIMEOUT_SECONDS = 60
TASKS_PER_REQUEST = 500
UNAUTHORIZED, FORBIDDEN, SERVER_ERROR = 401, 403, 500
MAX_SAID = 200  # characters of what the server says
LABEL_CONFIG = f"""<View>
  <Header value="$task_category"/>
  <Text name="instructions" value="$instructions"/>
  <Paragraphs name="conversation" value="$conversation" layout="dialogue" nameKey="role" textKey="content"/>
  <View style="display: grid; grid-template-columns: 1fr 1fr; gap: 1rem">
    <View><Header value="Candidate 1"/><Text name="candidate_1" value="$candidate_1"/></View>
    <View><Header value="Candidate 2"/><Text name="candidate_2" value="$candidate_2"/></View>
  </View>
  <Choices name="verdict" toName="conversation" choice="single" required="true" showInline="true">
    <Choice value="candidate_1" hotkey="1"/><Choice value="candidate_2" hotkey="2"/>
    <Choice value="tie" hotkey="t"/><Choice value="cannot_decide" hotkey="x"/>
  </Choices>
  <Rating name="confidence" toName="conversation" maxRating="3"/>
  <Choices name="tools" toName="conversation" choice="multiple" showInline="true">
    {"".join(f'<Choice value="{tool}"/>' for tool in TOOLS)}
  </Choices>
  <TextArea name="annotation_guideline" toName="conversation" value="$guideline" rows="3"/>
</View>"""  # noqa: E501


class LabelStudioError(Exception):
    """Label Studio refuses what it is asked for; the message says what to do."""


class LabelStudio:
    """A Label Studio server as a place where people give answers."""

    def __init__(self, url: str, *, token: str) -> None:
        """Connect later.

        Args:
            url: address of the server.
            token: a personal access token or a legacy one; taken from the environment, never from
                a profile.
        """
        self._url = kept(url.rstrip("/"))
        remember(token)
        self._token = token
        self._is_personal = token.count(".") == 2  # a JWT; a legacy token is hexadecimal
        self._session = requests.Session()
        if not self._is_personal:
            self._session.headers["Authorization"] = f"Token {token}"

    def announce(self, batch: Batch, items: Sequence[ReviewItem]) -> list[int]:
        """One project per number of wanted annotators; existing ones are completed, not doubled.

        Tasks that somebody added there are left alone.

        Returns:
            Ids of the batch's projects.

        Raises:
            LabelStudioError: the server refuses the token, or does not answer as one.
        """
        known = dict(self._projects(batch.batch_id, Pulled()))
        projects = []
        by_wanted = sorted(items, key=lambda item: (item.num_wanted, item.position))
        for num_wanted, group in groupby(by_wanted, key=lambda item: item.num_wanted):
            title = f"{batch.batch_id} x{num_wanted}"
            project = known.get(title) or self._create(title, batch, num_wanted=num_wanted)
            present = self._pairs(project)
            missing = [item for item in group if item.pair_id not in present]
            for start in range(0, len(missing), TASKS_PER_REQUEST):
                tasks = [{"data": _task(item)} for item in missing[start:][:TASKS_PER_REQUEST]]
                self._call("POST", f"projects/{project}/import", tasks)
            projects.append(project)
        return projects

    def pull(self, batch: Batch, items: Sequence[ReviewItem]) -> Pulled:
        """All annotations of a batch: answers in order of their last change, and what is left out.

        Raises:
            LabelStudioError: the server refuses the token, or does not answer as one.
        """
        pulled = Pulled()
        names = self._names(pulled)
        shown = {item.pair_id: item for item in items}
        for _, project in self._projects(batch.batch_id, pulled):
            tasks = self._call("GET", f"projects/{project}/export?exportType=JSON")
            found = read_export(tasks, project=project, batch=batch, items=shown, names=names)
            pulled.answers += found.answers
            pulled.left_out += found.left_out
        pulled.answers.sort(key=lambda answer: (answer.created_at, answer.form_token))
        return pulled

    def _names(self, pulled: Pulled) -> dict[int, str]:
        """User id -> name; a user without a name is told from others by the id."""
        names: dict[int, str] = {}
        for place, user in enumerate(self._listed("users/"), 1):
            if (number := as_id(user.get("id"))) is None:
                pulled.left_out.append(LeftOut(f"user {place} of the list", "it has no id"))
                continue
            name = user.get("email") or user.get("username") or f"label-studio-user-{number}"
            names[number] = printable(str(name))
        return names

    def _create(self, title: str, batch: Batch, *, num_wanted: int) -> int:
        about = {
            "title": title,
            "description": f"{batch.campaign} {batch.asset}, protocol {batch.protocol_version}",
            "label_config": LABEL_CONFIG,
            "maximum_annotations": num_wanted,
            "show_collab_predictions": False,
        }
        answer = self._call("POST", "projects/", about)
        project = as_id(answer.get("id")) if isinstance(answer, Mapping) else None
        if project is None:
            raise self._strange("projects/", f"gives no id of the new project {title!r}", answer)
        return project

    def _projects(self, batch_id: str, pulled: Pulled) -> list[tuple[str, int]]:
        """Titles and ids of a batch's projects; one without a title may be anybody's."""
        path, found = "projects/?page_size=1000", []
        for project in self._listed(path):
            number, title = as_id(project.get("id")), project.get("title")
            if not isinstance(title, str):
                shown = "?" if number is None else number
                pulled.left_out.append(LeftOut(f"project {shown}", "it has no title"))
            elif title.startswith(f"{batch_id} x"):
                if number is None:
                    raise self._strange(path, f"gives no id of the project {title!r}", project)
                found.append((title, number))
        return found

    def _pairs(self, project: int) -> set[str]:
        """Pairs that have a task in a project."""
        path = f"projects/{project}/export?exportType=JSON&download_all_tasks=true"
        tasks = self._call("GET", path)
        if not isinstance(tasks, list):
            raise self._strange(path, f"gives no list of the tasks of project {project}", tasks)
        data = [task.get("data") for task in tasks if isinstance(task, Mapping)]
        pairs = [each.get("pair_id") for each in data if isinstance(each, Mapping)]
        return {each for each in pairs if isinstance(each, str)}

    def _listed(self, path: str) -> list[Mapping[str, Any]]:
        """All entries of a list, which some versions give in pages."""
        found: list[Mapping[str, Any]] = []
        pages = [path]
        while True:
            answer = self._call("GET", pages[-1])
            listed = answer.get("results") if isinstance(answer, Mapping) else answer
            if not isinstance(listed, list) or not all(isinstance(e, Mapping) for e in listed):
                raise self._strange(path, "gives no list of objects", answer)
            found += listed
            if not isinstance(answer, Mapping) or not (following := answer.get("next")):
                return found
            page = str(following).partition("/api/")[2]
            if not page or page in pages:
                raise self._strange(path, "names no next page under /api/", following)
            pages.append(page)

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        response = self._sent(method, path, body)
        if response.status_code == UNAUTHORIZED and self._is_personal:
            self._exchange()  # an access token lives for minutes
            response = self._sent(method, path, body)
        if response.status_code >= SERVER_ERROR:
            response.raise_for_status()  # passes by itself
        if not response.ok:
            raise LabelStudioError(self._refusal(path, response))
        try:
            return without_known(response.json())
        except ValueError:
            raise LabelStudioError(
                f"Label Studio at {self._url}: /api/{path} gives no JSON; is that its address?"
            ) from None

    def _sent(self, method: str, path: str, body: Any) -> requests.Response:
        if self._is_personal and "Authorization" not in self._session.headers:
            self._exchange()
        return self._session.request(
            method, f"{whole(self._url)}/api/{path}", json=body, timeout=TIMEOUT_SECONDS
        )

    def _exchange(self) -> None:
        """A personal token only gives access tokens."""
        self._session.headers.pop("Authorization", None)
        path = "token/refresh"
        response = self._session.post(
            f"{whole(self._url)}/api/{path}", json={"refresh": self._token}, timeout=TIMEOUT_SECONDS
        )
        if not response.ok:
            raise LabelStudioError(self._refusal(path, response))
        try:
            access = response.json().get("access")
        except (ValueError, AttributeError):
            access = None
        if not isinstance(access, str) or not access:
            # What it says may be a token: it is not shown.
            raise self._strange(path, "gives no access token for the personal one", None)
        remember(access)
        self._session.headers["Authorization"] = f"Bearer {access}"

    def _strange(self, path: str, what: str, answer: Any) -> LabelStudioError:
        """Something that is none of Label Studio's answers."""
        said = "" if answer is None else f": {printable(redacted(str(answer))[:MAX_SAID])}"
        return LabelStudioError(
            f"Label Studio at {self._url}: /api/{path} {what}{said}. Look whether "
            "people.label_studio_url is its address, with no page of another server before it, "
            "and whether the token's owner may see users and projects there"
        )

    def _refusal(self, path: str, response: requests.Response) -> str:
        said = printable(redacted(response.text).strip()[:MAX_SAID])
        where = f"Label Studio at {self._url} answers {response.status_code} to /api/{path}: {said}"
        if response.status_code not in (UNAUTHORIZED, FORBIDDEN):
            return where
        mine, other = (
            ("personal access", "legacy") if self._is_personal else ("legacy", "personal access")
        )
        return (
            f"{where}. The token given is a {mine} token: it is wrong or has ended, or the "
            f"organization takes {other} tokens only (Organization > Access Token Settings); make "
            "one under Account & Settings"
        )


def _task(item: ReviewItem) -> dict[str, Any]:
    side = side_for(item.pair_id, item.batch_id)
    return {
        "pair_id": item.pair_id,
        "content_id": item.content_id,
        "candidate_1_is": side,
        **shown_texts(item),
        "task_category": item.attributes.get("task_category", "other"),
        "guideline": visible(item.attributes.get("annotation_guideline", "")),
        "instructions": "\n".join(instructions(item.attributes.get("task_category", "other"))),
    }
