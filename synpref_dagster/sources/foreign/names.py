"""What the name of a column says: part of the conversation, metadata, or nothing."""

from functools import lru_cache

from synpref_dagster.sources.foreign.unsupported import (
    MEDIA,
    TOOLS,
    UNSUPPORTED,
    plain_name,
    singular,
    unplaced,
    words_of,
)
from synpref_dagster.sources.records import RowRejected

REASON = "unread_context"
_SYSTEM = """
    system system_prompt system_message system_instruction system_instructions sys_prompt
    developer_prompt sys preamble
"""
_HISTORY = """
    history chat_history conversation_history dialogue_history dialog_history previous_turns
    previous_messages past_messages prior_turns previous_conversation
"""
PROMPTS = """
    prompt question query instruction instructions user_prompt user_message user_query user_input
    messages conversation conversations dialogue dialog post
"""
ABOUT = "input inputs context contexts passage passages document documents article articles"
_UNPLACED = words_of(
    """
    context document passage article persona background knowledge snippet artifact
    """
)
"""What names end with, in the singular, that hold something said with no known place."""
_EARLIER = words_of(
    "previous prior past earlier preceding chat conversation message dialogue dialog"
)
"""What names of earlier turns begin with."""
_TURNS = words_of("turn message conversation dialogue dialog utterance exchange history log")
"""What they end with, in the singular."""
_SYSTEM_ENDS = words_of(
    """
    prompt message instruction text content turn msg
    """
)
_METADATA = """
    id ids idx index uid uuid guid key hash row number num count source sources dataset subset split
    domain category categories type types kind class model models generator engine score scores
    rating ratings rank reward rewards margin logp logps lang language locale timestamp time date
    created updated url link author annotator annotators worker judge reviewer label labels tag
    tags flag license licence version difficulty quality intent reason rationale explanation
    justification feedback comment comments critique annotation annotations name meta metadata
    origin provenance file filename path status length tokens toxicity sentiment winner preference
    confidence agreement strength
"""
_NOT_COLUMNS = {"file", "files", "function", "tool_call_id"}  # names of files and functions
KINDS = {
    **{name: "media" for name, reason in UNSUPPORTED.items() if reason in (TOOLS, MEDIA)},
    **dict.fromkeys(("img", "imgs", "picture", "pictures"), "media"),
    **dict.fromkeys(_SYSTEM.split(), "system"),
    **dict.fromkeys(_HISTORY.split(), "history"),
    **dict.fromkeys(PROMPTS.split(), "prompt"),
    **dict.fromkeys(ABOUT.split(), "about"),
    **dict.fromkeys(_NOT_COLUMNS, ""),
}
"""What a column of this name is to a conversation; any other name is metadata, or unknown."""
METADATA = frozenset(_METADATA.split())
"""Words in the names of columns that say nothing of what was said."""
REMARKS = frozenset(
    {"rationale", "reason", "explanation", "justification", "feedback", "critique", "annotation"}
    | {"annotations", "metadata", "meta", "licence", "license", "path", "url", "judge", "tags"}
)
"""Words in the names of columns that hold sentences about the responses or the data."""
SENTENCE = 3  # words from which on a text may be a prompt, whatever its column is called


@lru_cache(maxsize=10_000)
def kind_of(name: object) -> str:
    """What a column of this name is to a conversation, "" where nothing is known of it.

    >>> kind_of("System Prompt"), kind_of("chatHistory"), kind_of("image_2"), kind_of("score")
    ('system', 'history', 'media', '')
    >>> kind_of("system_text"), kind_of("img_path"), kind_of("retrieved_contexts")
    ('system', 'media', 'unplaced')
    """
    plain = plain_name(name)
    return KINDS[plain] if plain in KINDS else _kind_by_words(plain)


def _kind_by_words(plain: str) -> str:
    """The kind of a name that no list has, by its words: "unplaced" has to be said elsewhere."""
    if unplaced(plain):
        return "media"
    words = [singular(word) for word in plain.split("_")]
    if words[-1] == "result" and "search" in words:
        return "unplaced"
    if not (METADATA - {"source", "sources"}).isdisjoint(plain.split("_")):
        return ""
    if words[0] in _EARLIER and words[-1] in _TURNS:
        return "history"
    if "system" in words[:-1] and words[-1] in _SYSTEM_ENDS:
        return "system"
    return "unplaced" if words[-1] in _UNPLACED else ""


@lru_cache(maxsize=10_000)
def is_metadata(name: str) -> bool:
    """Whether the name of a column says that it is metadata.

    >>> is_metadata("prompt_id"), is_metadata("chosen-model"), is_metadata("task")
    (True, True, False)
    """
    return not METADATA.isdisjoint(plain_name(name).split("_"))


def is_remark(name: str) -> bool:
    """Whether the name of a column says that sentences about the data stand in it."""
    return not REMARKS.isdisjoint(plain_name(name).split("_"))


def reason_of(name: object) -> str:
    """Why a column of kind "media" refuses its row."""
    plain = plain_name(name)
    return UNSUPPORTED.get(plain) or unplaced(plain) or MEDIA


def advice(name: str, what: str) -> str:
    """What is wrong with a column, and the setting that answers it."""
    return (
        f"column {_shown(name)} {what}; if it is not part of it: ignore_columns = [{_shown(name)}]"
    )


def unread(name: str) -> RowRejected:
    """The refusal of a column that may belong to the conversation and has no place in it."""
    rename = "; if it is the prompt: columns = {prompt = " + _shown(name) + "}"
    maybe = "" if kind_of(name) in ("system", "history") else rename
    what = f"may belong to the conversation and cannot be put into it{maybe}"
    return RowRejected(REASON, detail=advice(name, what))


def _shown(name: str) -> str:
    return repr(name if len(name) <= 60 else name[:57] + "...")
