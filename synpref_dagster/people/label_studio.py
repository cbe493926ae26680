"""Label Studio over REST, for teams that have one: the same batches, answers in the same ledger.

The blind order is drawn here and stored with the task; no prediction is ever sent, since it would
be shown to the annotator. Pulling twice adds nothing; an annotation that was changed in Label
Studio is a new row of the ledger.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, get_args

import requests

from synpref_dagster.people.ledger.answers import (
    CHOICES,
    MAX_SECONDS,
    TOOLS,
    Answer,
    AnswerChoice,
    Side,
)
from synpref_dagster.people.ledger.batches import Batch, ReviewItem, side_for
from synpref_dagster.people.page.rendering import visible
from synpref_dagster.people.protocol import instructions

TIMEOUT_SECONDS = 60
TASKS_PER_REQUEST = 500
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


class LabelStudio:
    """A Label Studio server as a place where people give answers."""

    def __init__(self, url: str, *, token: str) -> None:
        """Connect later.

        Args:
            url: address of the server.
            token: an API token; taken from the environment, never from a profile.
        """
        self._url = url.rstrip("/")
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Token {token}"

    def announce(self, batch: Batch, items: Sequence[ReviewItem]) -> list[int]:
        """One project per number of wanted annotators; existing ones are completed, not doubled.

        Returns:
            Ids of the batch's projects.
        """
        known = self._projects(batch.batch_id)
        projects = []
        by_wanted = sorted(items, key=lambda item: (item.num_wanted, item.position))
        for num_wanted, group in groupby(by_wanted, key=lambda item: item.num_wanted):
            title = f"{batch.batch_id} x{num_wanted}"
            project = known.get(title) or self._create(title, batch, num_wanted=num_wanted)
            present = {task["pair_id"] for task in self._tasks(project)}
            missing = [item for item in group if item.pair_id not in present]
            for start in range(0, len(missing), TASKS_PER_REQUEST):
                tasks = [{"data": _task(item)} for item in missing[start:][:TASKS_PER_REQUEST]]
                self._call("POST", f"projects/{project}/import", tasks)
            projects.append(project)
        return projects

    def pull(self, batch: Batch) -> list[Answer]:
        """All annotations of a batch as answers, in order of their last change."""
        names = {user["id"]: user["email"] for user in self._call("GET", "users/")}
        answers = [
            answer
            for project in self._projects(batch.batch_id).values()
            for task in self._call("GET", f"projects/{project}/export?exportType=JSON")
            for annotation in task["annotations"]
            if (answer := _answer(batch, task["data"], annotation, names=names)) is not None
        ]
        return sorted(answers, key=lambda answer: (answer.created_at, answer.form_token))

    def _create(self, title: str, batch: Batch, *, num_wanted: int) -> int:
        about = {
            "title": title,
            "description": f"{batch.campaign} {batch.asset}, protocol {batch.protocol_version}",
            "label_config": LABEL_CONFIG,
            "maximum_annotations": num_wanted,
            "show_collab_predictions": False,
        }
        return int(self._call("POST", "projects/", about)["id"])

    def _projects(self, batch_id: str) -> dict[str, int]:
        found = self._call("GET", "projects/?page_size=1000")["results"]
        return {p["title"]: int(p["id"]) for p in found if p["title"].startswith(f"{batch_id} x")}

    def _tasks(self, project: int) -> list[Mapping[str, Any]]:
        path = f"projects/{project}/export?exportType=JSON&download_all_tasks=true"
        return [task["data"] for task in self._call("GET", path)]

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        response = self._session.request(
            method, f"{self._url}/api/{path}", json=body, timeout=TIMEOUT_SECONDS
        )
        response.raise_for_status()
        return response.json()


def _task(item: ReviewItem) -> dict[str, Any]:
    side = side_for(item.pair_id, item.batch_id)
    candidate_1, candidate_2 = item.candidates(side)
    return {
        "pair_id": item.pair_id,
        "content_id": item.content_id,
        "candidate_1_is": side,
        "candidate_1": visible(candidate_1) or "(empty)",
        "candidate_2": visible(candidate_2) or "(empty)",
        "conversation": [
            {"role": visible(turn["role"]), "content": visible(turn["content"])}
            for turn in item.conversation
        ],
        "task_category": item.attributes.get("task_category", "other"),
        "guideline": visible(item.attributes.get("annotation_guideline", "")),
        "instructions": "\n".join(instructions(item.attributes.get("task_category", "other"))),
    }


def _answer(
    batch: Batch,
    task: Mapping[str, Any],
    annotation: Mapping[str, Any],
    *,
    names: Mapping[int, str],
) -> Answer | None:
    """The answer in an annotation; None when it was cancelled or holds no choice."""
    values = {result["from_name"]: result["value"] for result in annotation["result"]}
    choice = next(iter(values.get("verdict", {}).get("choices", [])), None)
    if annotation.get("was_cancelled") or choice not in CHOICES[:4]:
        return None
    side = task["candidate_1_is"]
    assert side in get_args(Side)
    chosen: AnswerChoice = choice
    guideline = "\n".join(values.get("annotation_guideline", {}).get("text", []))
    changed = bool(guideline) and guideline != task["guideline"]
    return Answer(
        form_token=f"label-studio-{annotation['id']}-{annotation['updated_at']}",
        batch_id=batch.batch_id,
        pair_id=task["pair_id"],
        content_id=task["content_id"],
        annotator=names[int(annotation["completed_by"])],
        candidate_1=side,
        verdict=chosen,
        protocol_version=batch.protocol_version,
        created_at=datetime.fromisoformat(annotation["updated_at"]).timestamp(),
        edited_attributes={"annotation_guideline": guideline} if changed else {},
        confidence=values.get("confidence", {}).get("rating"),
        tools=tuple(values.get("tools", {}).get("choices", [])),
        seconds=round(min(float(annotation.get("lead_time") or 0.0), MAX_SECONDS), 1),
        backend="label_studio",
    )
