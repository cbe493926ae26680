"""OpenAssistant trees: ranked sibling replies to one prompter message become pairs.

Rank 0 is best. Every two ranked replies to a message are a candidate; the conversation is the
path from the root. Deleted messages, and those that reviewers refused, take their branch along.
The tree files hold a nested tree per row; the hub data set holds a message per row, depth first.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from synpref_dagster.sources.formats.fields import Row, RowFormat, RowReader, finite, required
from synpref_dagster.sources.formats.grouping import TREE, neighbours_of_one_tree
from synpref_dagster.sources.formats.ranked import RANKED_OPTIONS, check_ranked_options, unfold
from synpref_dagster.sources.records import ParsedRow, RowRejected, SourceSpec, Unfolded

_ROLES = {"prompter": "user", "assistant": "assistant"}
MAX_DEPTH = 200
"""Longest path followed; trees of the data set are below 20 deep."""

Turn = dict[str, Any]
_MESSAGE_COLUMNS = (TREE, "message_id", "parent_id", "text", "role", "rank")


def _is_tree(row: Row) -> bool:
    prompt = row.get("prompt")
    return isinstance(prompt, Mapping) and {"text", "role", "replies"} <= set(prompt)


def _make_tree_reader(spec: SourceSpec) -> RowReader:
    """Reader of whole trees {message_tree_id, prompt: {text, role, replies: [...]}}."""
    check_ranked_options(spec)

    def read(row: Row, number: int) -> Unfolded:
        (root,) = required(row, "prompt")
        return _candidates(spec, number, root=root)

    return read


def _make_message_reader(spec: SourceSpec) -> RowReader:
    """Reader of the joined messages of one tree."""
    check_ranked_options(spec)

    def read(row: Row, number: int) -> Unfolded:
        tree, messages = required(row, TREE, "rows")
        if not isinstance(tree, str):
            raise RowRejected("malformed_conversation", detail=f"{TREE} must be a text")
        return _candidates(spec, number, root=_nested(messages))

    return read


def _candidates(spec: SourceSpec, number: int, *, root: object) -> Unfolded:
    outcomes: list[ParsedRow | RowRejected] = []
    for conversation, replies in _questions(root):
        ranks = [finite(reply.get("rank")) for reply in replies]
        found = unfold(
            spec,
            number,
            conversation=conversation,
            responses=[reply.get("text") for reply in replies],
            scores=[None if rank is None else -rank for rank in ranks],
        )
        outcomes += found.outcomes
    if not outcomes:
        raise RowRejected("fewer_than_two_responses", detail="no message has two ranked replies")
    return Unfolded(tuple(outcomes))


def _nested(messages: list[Row]) -> Row:
    """The root with its replies nested; raises RowRejected unless all messages hang on one root.

    A message must stand after the one it answers, as in the data set: so no branch is ever lost.
    """
    known: dict[str, dict[str, Any]] = {}
    for message in messages:
        name, parent = message.get("message_id"), message.get("parent_id")
        if not isinstance(name, str) or name in known:
            raise RowRejected("malformed_conversation", detail=f"message_id {name!r}"[:200])
        node = {**message, "replies": []}
        if known:
            if not isinstance(parent, str) or parent not in known:
                detail = f"message {name!r} answers {parent!r}, which is not before it in its tree"
                raise RowRejected("malformed_conversation", detail=detail[:200])
            known[parent]["replies"].append(node)
        elif parent is not None:
            detail = f"the tree begins with {name!r}, which answers {parent!r}"
            raise RowRejected("malformed_conversation", detail=detail[:200])
        known[name] = node
    return next(iter(known.values()))


def _questions(root: object) -> Iterator[tuple[list[Turn], list[Mapping[str, Any]]]]:
    """(path to a prompter message, its ranked replies) wherever there are two or more."""
    stack: list[tuple[list[Turn], Mapping[str, Any]]] = [([], _message(root))]
    while stack:
        path, message = stack.pop()
        path = [*path, _turn(message)]
        if len(path) > MAX_DEPTH:
            raise RowRejected("malformed_conversation", detail=f"deeper than {MAX_DEPTH} messages")
        replies = [one for one in map(_message, _replies(message)) if _stands(one)]
        ranked = [reply for reply in replies if reply.get("rank") is not None]
        if message.get("role") == "prompter" and len(ranked) > 1:
            yield path, ranked
        # Last in, first out: reversed, so that branches come in the order of the file.
        stack += [(path, reply) for reply in reversed(replies)]


def _message(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not {"text", "role"} <= set(value):
        raise RowRejected("malformed_conversation", detail="a message needs text and role")
    return value


def _replies(message: Mapping[str, Any]) -> list[Any]:
    replies = message.get("replies")
    if replies is None:
        return []
    if not isinstance(replies, list):
        raise RowRejected("malformed_conversation", detail="replies must be a list")
    return replies


def _stands(message: Mapping[str, Any]) -> bool:
    return not message.get("deleted") and message.get("review_result") is not False


def _turn(message: Mapping[str, Any]) -> Turn:
    role = message["role"]
    return {
        "role": _ROLES.get(role, role) if isinstance(role, str) else role,
        "content": message["text"],
    }


OASST_TREES = RowFormat(
    name="oasst_trees",
    layout="message_tree_id; prompt: {text, role, replies: [{text, role, rank, replies}]}",
    matches=_is_tree,
    make_reader=_make_tree_reader,
    columns=frozenset({"prompt"}),
    options=RANKED_OPTIONS,
)
OASST_MESSAGES = RowFormat(
    name="oasst_messages",
    layout=f"{', '.join(_MESSAGE_COLUMNS)}: one message per row, depth first",
    matches=lambda row: set(_MESSAGE_COLUMNS) <= set(row),
    make_reader=_make_message_reader,
    columns=frozenset({*_MESSAGE_COLUMNS, "deleted", "review_result"}),
    options=RANKED_OPTIONS,
    group=neighbours_of_one_tree,
)
