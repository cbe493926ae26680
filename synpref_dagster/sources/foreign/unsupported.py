"""Names of what a pair has no place for, in messages, in parts of a content and in columns."""

import re
from functools import lru_cache


def words_of(text: str) -> frozenset[str]:
    """The words of a text, each once."""
    return frozenset(text.split())


TOOLS, MEDIA, THOUGHTS = "tool_calls_unsupported", "multimodal_unsupported", "reasoning_unsupported"
UNKNOWN = "unsupported_content"
UNSUPPORTED = {
    **dict.fromkeys(
        ("tool_calls", "tool_call", "tool_call_id", "tool_responses", "tool_results", "tools"),
        TOOLS,
    ),
    **dict.fromkeys(("function", "functions", "function_call", "function_calls"), TOOLS),
    **dict.fromkeys(("image", "images", "image_url", "image_path", "pixel_values"), MEDIA),
    **dict.fromkeys(("audio", "audios", "video", "videos", "input_audio", "file", "files"), MEDIA),
    **dict.fromkeys(("tool_plan", "tool_outputs", "tool_output", "tool_invocations"), TOOLS),
    **dict.fromkeys(("function_response", "function_responses"), TOOLS),
    **dict.fromkeys(("attachments", "experimental_attachments", "media", "image_urls"), MEDIA),
    **dict.fromkeys(("audio_url", "audio_urls", "video_url", "video_urls"), MEDIA),
    **dict.fromkeys(("reasoning", "reasoning_content", "thinking", "thoughts"), THOUGHTS),
    **dict.fromkeys(("reasoning_details", "thinking_blocks", "chain_of_thought"), THOUGHTS),
    "refusal": "unsupported_content",
}
"""Names of fields, parts of a content and columns that a pair has no place for, and the reason."""
IN_MESSAGES = {**UNSUPPORTED, "thought": THOUGHTS, "documents": "unsupported_content"}
"""The same of a message, where names mean less than as columns."""
IN_PARTS = {
    **IN_MESSAGES,
    **dict.fromkeys(("inline_data", "file_data", "document", "blob"), MEDIA),
    **dict.fromkeys(("executable_code", "code_execution_result"), TOOLS),
    **dict.fromkeys(("tool_use", "tool_result"), TOOLS),
}
"""The same of a part of a content, which some services write without its type."""
_OF_PARTS = frozenset({"thought", "thought_signature", "cache_control", "citations"})
"""What says nothing in a part without a type."""
_METADATA = """
    id ids idx index uid uuid guid key hash hashed row number num count source subset split domain
    category categories type types kind class model models generator engine score scores rating
    ratings rank reward rewards margin logp logps logprob logprobs lang language locale timestamp
    time date at created updated edited deleted url link author user worker judge reviewer
    label labels tag tags flag flags license licence version difficulty quality intent reason
    rationale explanation justification feedback comment comments critique annotation annotations
    annotator annotators name meta metadata origin provenance path status state length tokens token
    toxicity toxic sentiment emotion emotions act winner preference confidence agreement strength
    weight weights loss mask train trainable turn step order position parent parents child children
    depth country header ip redacted moderation openai temperature usage stop finish fingerprint
    recipient channel session conversation thread device platform format mime markdown avatar
    role roles sender speaker gender age end vote votes upvotes downvotes likes pii review reviews
"""
METADATA = words_of(_METADATA)
"""Words in the names of fields of a message that say nothing of what was said."""
_SAID = words_of(
    """
    context document passage article instruction system persona background knowledge input
    prompt question history artifact result snippet evidence quote reference text content
    body
    """
)
"""What names end with, in the singular, that hold a part of what was said."""
_MEDIA = words_of(
    """
    image img photo picture pic screenshot audio video media multimodal attachment pixel
    """
)
_MEDIA_ENDS = _MEDIA | words_of(
    """
    path file url uri link data byte bytes b64 base64 id name value values embed embeds
    """
)
_TOOL_ENDS = words_of(
    """
    json definition schema spec list tool function call output result response use choice
    """
)


def in_message(name: object, *, is_said: bool) -> str | None:
    """Why a field of a message refuses it, None for metadata and for what is none of its names.

    Args:
        name: of the field.
        is_said: whether it holds something that may be said: then a name nobody knows refuses it.

    >>> in_message("search_results", is_said=True), in_message("create_time", is_said=True)
    ('unsupported_content', None)
    """
    plain = plain_name(name)
    reason = IN_MESSAGES.get(plain) or unplaced(plain)
    return reason or (UNKNOWN if is_said and not _is_metadata(plain) else None)


def in_part(name: object, *, is_said: bool, is_typed: bool) -> str | None:
    """The same of a field in a part of a content; in one without a type metadata says much."""
    plain = plain_name(name)
    if plain in IN_PARTS:
        return IN_PARTS[plain]
    is_nothing = plain in _OF_PARTS or (is_typed and _is_metadata(plain))
    return UNKNOWN if is_said and not is_nothing else None


@lru_cache(maxsize=10_000)
def unplaced(plain: str) -> str | None:
    """Why a pair has no place for what a name in one spelling holds, by its words; else None.

    >>> unplaced("img_path"), unplaced("available_functions"), unplaced("image_count")
    ('multimodal_unsupported', 'tool_calls_unsupported', None)
    """
    words = [singular(word) for word in plain.replace("multi_modal", "multimodal").split("_")]
    ends, first = words[-1], plain.split("_")
    if not _MEDIA.isdisjoint(words) and ends in _MEDIA_ENDS:
        return MEDIA
    is_tool = not {"tool", "function"}.isdisjoint(words[:-1]) and ends in _TOOL_ENDS
    is_list = first[-1] in ("tools", "functions") and METADATA.isdisjoint(words)
    return TOOLS if is_tool or is_list else None


def singular(word: str) -> str:
    """A word without the s of the plural."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _is_metadata(plain: str) -> bool:
    words = plain.split("_")
    return singular(words[-1]) not in _SAID and not METADATA.isdisjoint(words)


@lru_cache(maxsize=10_000)
def plain_name(name: object) -> str:
    """A name in one spelling, without a number behind it.

    >>> plain_name("chatHistory"), plain_name("Chat History"), plain_name("image-2")
    ('chat_history', 'chat_history', 'image')
    """
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(name).strip())
    text = re.sub(r"[\s\-.]+", "_", split).lower()
    return re.sub(r"_\d+\Z", "", text)
