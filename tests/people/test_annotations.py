"""Annotations as Label Studio exports them: each is an answer, or left out by name."""

import json
import math
import time

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st
from label_studio_stub import LEGACY, PERSONAL, PROJECT, label_studio
from review_cases import ATTRIBUTES, make_pair

from synpref_dagster.people.annotations import read_export
from synpref_dagster.people.campaign import TOKEN_VARIABLE, NoLabelStudioError, People
from synpref_dagster.people.label_studio import LabelStudio, LabelStudioError
from synpref_dagster.people.ledger.batches import Batch, make_batch, side_for
from synpref_dagster.settings.stages import PeopleSettings

BATCH = Batch(
    batch_id="b" * 24,
    campaign="c",
    asset="human_verified_seed",
    protocol_version="1",
    num_items=1,
    adjudicate=False,
    created_at=0.0,
)
PAIR = make_pair(1)
[ITEM] = make_batch([PAIR], {PAIR.pair_id: {"attributes": ATTRIBUTES}}, batch=BATCH, double_share=0)
SHOWN = ATTRIBUTES["annotation_guideline"]
DATA = {
    "pair_id": ITEM.pair_id,
    "content_id": ITEM.content_id,
    "candidate_1_is": side_for(ITEM.pair_id, BATCH.batch_id),
    "guideline": SHOWN,
}
VERDICT = {"from_name": "verdict", "type": "choices", "value": {"choices": ["candidate_1"]}}
NAMES = {1: "ann@example.org", 2: "bo@example.org"}


def annotation(**changes):
    plain = {
        "id": 3,
        "completed_by": 1,
        "was_cancelled": False,
        "updated_at": "2026-01-02T03:04:05.000000Z",
        "lead_time": 3.25,
        "result": [VERDICT],
    }
    return {**plain, **changes}


def task(*annotations, **data):
    return {"id": 5, "data": {**DATA, **data}, "annotations": list(annotations)}


def read(*tasks):
    return read_export(list(tasks), project=7, batch=BATCH, items={ITEM.pair_id: ITEM}, names=NAMES)


def field(name, **value):
    return {"from_name": name, "value": value}


def test_a_plain_annotation_is_an_answer_with_all_that_was_said():
    extras = [
        field("confidence", rating=2),
        field("tools", choices=["search", "code"]),
        field("annotation_guideline", text=["Prefer the short one.", "Run it."]),
    ]
    pulled = read(task(annotation(result=[VERDICT, *extras])))
    [answer] = pulled.answers
    assert pulled.left_out == []
    assert (answer.annotator, answer.verdict, answer.seconds) == (
        "ann@example.org",
        "candidate_1",
        3.2,
    )
    assert (answer.confidence, answer.tools) == (2, ("search", "code"))
    assert answer.edited_attributes == {"annotation_guideline": "Prefer the short one.\nRun it."}
    assert answer.created_at == 1767323045.0
    assert (answer.pair_id, answer.candidate_1) == (ITEM.pair_id, DATA["candidate_1_is"])


@pytest.mark.parametrize(
    "changes",
    [
        {"completed_by": {"id": 1, "email": "ann@example.org"}},
        {"completed_by": {"id": 1}},
        {"completed_by": "1"},
        {"result": [VERDICT, {"type": "relation", "from_id": "a", "to_id": "b"}]},
        {"result": [VERDICT, VERDICT]},
        {"result": [VERDICT, None, "x", {"from_name": "somebody_elses", "value": {"text": "y"}}]},
        {"result": [{"from_name": "verdict", "value": {"choices": "candidate_1"}}]},
        {"result": [VERDICT, field("annotation_guideline", text=SHOWN)]},
        {"lead_time": None},
        {"updated_at": "2026-01-02T03:04:05+00:00"},
    ],
)
def test_what_versions_write_differently_is_the_same_answer(changes):
    pulled = read(task(annotation(**changes)))
    [answer] = pulled.answers
    assert (answer.annotator, answer.verdict) == ("ann@example.org", "candidate_1")
    assert answer.edited_attributes == {}
    assert pulled.left_out == []


@pytest.mark.parametrize("zone", ["", "Z", "+00:00"])
def test_a_time_without_a_zone_is_utc_wherever_it_is_read(zone, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        pulled = read(task(annotation(updated_at=f"2026-01-02T03:04:05{zone}")))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert [answer.created_at for answer in pulled.answers] == [1767323045.0]


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "3\n2026-01-02 ERROR \x1b[2J", "result": []},
        {"result": [field("verdict", choices=["tie\x1b[31m", "\u202ecandidate_1"])]},
        {"result": [field("verdict", choices=["\x1b]0;x\x07"])]},
        {"result": [VERDICT, field("tools", choices=["a\nb\x9b"])]},
        {"updated_at": "\x1b[2J\n"},
    ],
)
def test_what_is_left_out_is_told_in_one_line_that_steers_no_terminal(changes):
    [left_out] = map(str, read(task(annotation(**changes))).left_out)
    assert left_out.isprintable()
    assert "\\" in left_out


def test_a_text_area_is_a_text_or_a_list_of_lines():
    for text in ("New rule.", ["New rule."]):
        [answer] = read(
            task(annotation(result=[VERDICT, field("annotation_guideline", text=text)]))
        ).answers
        assert answer.edited_attributes == {"annotation_guideline": "New rule."}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"completed_by": None}, "nobody is named as its annotator"),
        ({"completed_by": {"email": "x@y"}}, "nobody is named as its annotator"),
        ({"completed_by": True}, "nobody is named as its annotator"),
        ({"completed_by": 9}, "user 9 is unknown here"),
        ({"was_cancelled": True, "result": []}, "the task was skipped"),
        ({"result": []}, "it holds no verdict"),
        ({"result": None}, "it holds no verdict"),
        ({"result": [field("verdict", choices=["candidate_3"])]}, "'candidate_3' is none of"),
        ({"result": [field("verdict", choices=["withdrawn"])]}, "'withdrawn' is none of"),
        (
            {"result": [VERDICT, field("verdict", choices=["tie"])]},
            "several verdicts: candidate_1, tie",
        ),
        (
            {"result": [field("verdict", choices=["tie", "candidate_1"])]},
            "several verdicts: tie, candidate_1",
        ),
        ({"updated_at": "yesterday"}, "updated_at is 'yesterday'"),
        ({"updated_at": None}, "updated_at is 'None'"),
    ],
)
def test_what_is_no_answer_is_left_out_by_name_and_the_rest_goes_on(changes, reason):
    pulled = read(task(annotation(**changes), annotation(id=4, completed_by=2)))
    assert [answer.annotator for answer in pulled.answers] == ["bo@example.org"]
    [left_out] = map(str, pulled.left_out)
    assert left_out.startswith("project 7, task 5, annotation 3: ")
    assert reason in left_out


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (field("confidence", rating=5), "confidence '5' is none of 1, 2 and 3"),
        (field("confidence", rating="high"), "confidence 'high'"),
        (field("tools", choices=["search", "oracle"]), "tools 'oracle' are none of"),
        (field("annotation_guideline", text={"a": 1}), "its guideline is no text"),
    ],
)
def test_what_is_wrong_beside_a_sound_verdict_is_named_and_the_verdict_counts(extra, reason):
    pulled = read(task(annotation(result=[VERDICT, extra])))
    [answer] = pulled.answers
    assert (answer.confidence, answer.edited_attributes) == (None, {})
    [left_out] = map(str, pulled.left_out)
    assert reason in left_out
    assert left_out.endswith("; its verdict counts")


def test_tasks_that_were_changed_or_are_of_others_give_no_answer():
    other = "second" if DATA["candidate_1_is"] == "first" else "first"
    reasons = [
        str(read(task(annotation(), **data)).left_out[0]).partition(": ")[2]
        for data in ({"candidate_1_is": other}, {"content_id": "0"}, {"pair_id": "0"})
    ]
    assert reasons == [
        "candidate_1_is of its task were changed after the batch was sent",
        "content_id of its task were changed after the batch was sent",
        "its task shows no pair of this batch",
    ]
    assert str(read({"id": 5}).left_out[0]) == "project 7, task 5: it has no list of annotations"


def test_half_an_emoji_in_a_guideline_is_stored_escaped():
    [answer] = read(
        task(annotation(result=[VERDICT, field("annotation_guideline", text="nice \ud83d\x00")]))
    ).answers
    assert answer.edited_attributes == {"annotation_guideline": "nice \\ud83d\\x00"}


# What a foreign server may write in the place of anything.
ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([math.nan, math.inf, -1.5, 1e300, 10**30])
    | st.text(st.characters(codec=None), max_size=4)
    | st.sampled_from(["candidate_1", "tie", "verdict", "2026-01-02T03:04:05Z", "9999-12-31"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "value", "choices", "text", "rating", "from_name", "email"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    changes=st.dictionaries(st.sampled_from([*annotation(), "extra"]), ODD, min_size=1, max_size=3),
    value=ODD,
)
def test_any_annotation_is_an_answer_or_left_out(changes, value):
    result = [VERDICT, field("annotation_guideline", text=value), field("tools", choices=value)]
    pulled = read(task(annotation(**{"result": result, **changes})), value)
    no_answer = [each for each in pulled.left_out if not each.reason.endswith("verdict counts")]
    assert len(pulled.answers) + len(no_answer) == 2
    for answer in pulled.answers:
        assert answer.annotator in NAMES.values()
        row = answer.as_row()
        assert pa.Table.from_pylist([row]).num_rows == 1
        json.dumps(row, ensure_ascii=False).encode()


@pytest.mark.parametrize("token", [LEGACY, PERSONAL])
def test_both_kinds_of_tokens_open_the_server(token):
    users = [{"id": 1, "email": "ann@example.org"}]
    with label_studio(
        BATCH.batch_id, [task(annotation())], users=users, takes=token, access_calls=2
    ) as url:
        pulled = LabelStudio(url, token=token).pull(BATCH, [ITEM])
    assert [answer.annotator for answer in pulled.answers] == ["ann@example.org"]


@pytest.mark.parametrize(
    ("takes", "given_token", "mine", "wanted"),
    [
        (PERSONAL, LEGACY, "a legacy token", "takes personal access tokens only"),
        (LEGACY, PERSONAL, "a personal access token", "takes legacy tokens only"),
    ],
)
def test_the_wrong_kind_of_token_is_named_with_the_right_one(takes, given_token, mine, wanted):
    with (
        label_studio(BATCH.batch_id, [], takes=takes) as url,
        pytest.raises(LabelStudioError) as error,
    ):
        LabelStudio(url, token=given_token).pull(BATCH, [ITEM])
    assert f"Label Studio at {url} answers 401" in str(error.value)
    assert mine in str(error.value)
    assert wanted in str(error.value)
    assert given_token not in str(error.value)


def test_a_project_on_the_second_page_is_found_and_users_without_names_stay_apart():
    users = [{"id": 1, "email": ""}, {"id": 2, "email": None, "username": ""}]
    tasks = [task(annotation(), annotation(id=4, completed_by=2))]
    with label_studio(BATCH.batch_id, tasks, users=users, page_size=2) as url:
        pulled = LabelStudio(url, token=LEGACY).pull(BATCH, [ITEM])
    assert {answer.annotator for answer in pulled.answers} == {
        "label-studio-user-1",
        "label-studio-user-2",
    }


def test_a_campaign_takes_what_is_sound_and_says_what_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, LEGACY)
    users = [{"id": 1, "email": "ann@example.org"}]
    people = make_people(tmp_path, "http://127.0.0.1:9")
    people._desk.announce(BATCH, [ITEM])
    assert people.told_left_out() == ""
    bad = [annotation(id=n, completed_by=None) for n in range(10, 15)]
    with label_studio(BATCH.batch_id, [task(annotation(), *bad)], users=users) as url:
        people._settings = people._settings.model_copy(update={"label_studio_url": url})
        assert people.pull() == 1
        assert people.pull() == 0
    assert people.told_left_out() == (
        "left out of Label Studio's export: 5 "
        "(project 7, task 5, annotation 10: nobody is named as its annotator; "
        "project 7, task 5, annotation 11: nobody is named as its annotator; "
        "project 7, task 5, annotation 12: nobody is named as its annotator; and 2 more)"
    )
    with label_studio(BATCH.batch_id, [], takes=PERSONAL) as url:
        people._settings = people._settings.model_copy(update={"label_studio_url": url})
        with pytest.raises(NoLabelStudioError, match="takes personal access tokens only"):
            people.pull()


def test_tasks_that_somebody_added_there_by_hand_are_left_alone():
    by_hand = [{"id": 8, "data": {"text": "mine"}}, {"id": 9, "data": None}, "no task"]
    posted = []
    with label_studio(BATCH.batch_id, by_hand, posted=posted) as url:
        assert LabelStudio(url, token=LEGACY).announce(BATCH, [ITEM]) == [PROJECT]
    [(path, [sent])] = posted
    assert path == f"/api/projects/{PROJECT}/import"
    assert sent["data"]["pair_id"] == ITEM.pair_id
    posted.clear()
    with label_studio(BATCH.batch_id, [task(), *by_hand], posted=posted) as url:
        LabelStudio(url, token=LEGACY).announce(BATCH, [ITEM])
    assert posted == []


def test_users_without_an_id_and_projects_without_a_title_are_left_out_by_name():
    users = [{"id": "1", "email": "ann@example.org"}, {"email": "x"}, {"id": None}, {"id": True}]
    ours = {"id": PROJECT, "title": f"{BATCH.batch_id} x1"}
    projects = {"results": [{"id": 3}, {"title": None}, ours, {"title": "of others"}]}
    with label_studio(BATCH.batch_id, [task(annotation())], users=users, projects=projects) as url:
        pulled = LabelStudio(url, token=LEGACY).pull(BATCH, [ITEM])
    assert [answer.annotator for answer in pulled.answers] == ["ann@example.org"]
    assert [str(each) for each in pulled.left_out] == [
        "user 2 of the list: it has no id",
        "user 3 of the list: it has no id",
        "user 4 of the list: it has no id",
        "project 3: it has no title",
        "project ?: it has no title",
    ]


def test_of_two_projects_of_one_title_both_are_read():
    titled = {"title": f"{BATCH.batch_id} x1"}
    projects = [{"id": PROJECT, **titled}, {"id": 8, **titled}]
    with label_studio(
        BATCH.batch_id, [task(annotation(completed_by=None))], projects=projects
    ) as url:
        pulled = LabelStudio(url, token=LEGACY).pull(BATCH, [ITEM])
    assert [each.place.partition(",")[0] for each in pulled.left_out] == ["project 7", "project 8"]


@pytest.mark.parametrize(
    ("act", "served", "said"),
    [
        ("pull", {"users": {"detail": "x"}}, "/api/users/ gives no list of objects: {'detail'"),
        ("pull", {"users": {"results": 3}}, "/api/users/ gives no list of objects"),
        ("pull", {"users": ["ann"]}, "/api/users/ gives no list of objects: ['ann']"),
        ("pull", {"users": {"results": [], "next": 5}}, "/api/users/ names no next page"),
        (
            "pull",
            {"users": {"results": [], "next": "http://h/api/users/"}},
            "/api/users/ names no next page under /api/: http://h/api/users/",
        ),
        ("pull", {"projects": {"detail": "x"}}, "/api/projects/?page_size=1000 gives no list"),
        ("pull", {"projects": [{"title": BATCH.batch_id + " x1"}]}, "gives no id of the project"),
        ("announce", {"projects": []}, "gives no id of the new project"),
        ("announce", {"tasks": {"detail": "x"}}, "gives no list of the tasks of project 7: {'det"),
        ("pull", {"refreshed": b"<html>"}, "/api/token/refresh gives no access token"),
        ("pull", {"refreshed": {"token": "t"}}, "/api/token/refresh gives no access token"),
        ("pull", {"refreshed": []}, "/api/token/refresh gives no access token"),
        ("announce", {"refreshed": {"access": 5}}, "/api/token/refresh gives no access token"),
    ],
)
def test_what_no_label_studio_answers_is_told_in_a_line_with_server_and_remedy(act, served, said):
    token = PERSONAL if "refreshed" in served else LEGACY
    served = {"tasks": [], "posted": [], "takes": token, **served}
    items = [ITEM]
    with (
        label_studio(BATCH.batch_id, **served) as url,
        pytest.raises(LabelStudioError) as error,
    ):
        getattr(LabelStudio(url, token=token), act)(BATCH, items)
    [line] = str(error.value).splitlines()
    assert line.startswith(f"Label Studio at {url}: /api/")
    assert said in line
    assert "Look whether people.label_studio_url is its address" in line


def test_a_batch_that_a_server_did_not_take_is_announced_again(tmp_path, monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, LEGACY)
    people = make_people(tmp_path, "http://127.0.0.1:9")
    about = pd.DataFrame([{"pair_id": PAIR.pair_id, **ATTRIBUTES}])
    for projects in ({"detail": "x"}, None):
        posted = []
        with label_studio("b", [], projects=projects, posted=posted) as url:
            people._settings = people._settings.model_copy(update={"label_studio_url": url})
            with pytest.raises(NoLabelStudioError, match="/api/projects/"):
                people.ask("gold", [PAIR], lambda: about)
        assert people.waiting() == []
    assert [path for path, _ in posted] == ["/api/projects/"]


def make_people(tmp_path, url):
    values = {
        "backend": "label_studio",
        "label_studio_url": url,
        "ledger_url": f"sqlite:///{tmp_path}/review.sqlite3",
    }
    return People(PeopleSettings(**values), campaign="c", clock=lambda: 1.7e9)
