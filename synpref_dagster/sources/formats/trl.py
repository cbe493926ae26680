"""TRL's preference layouts: explicit or implicit prompt, each as messages or as plain text.

Implicit prompts are taken out strictly: message lists must agree up to their last message. Two
plain texts share their longest common prefix, cut back to a boundary (see `split_shared_text`).
"""

from synpref_dagster.sources.foreign.messages import holds_something, is_messages
from synpref_dagster.sources.foreign.opening import opened_sides
from synpref_dagster.sources.formats.fields import (
    Row,
    RowFormat,
    RowReader,
    asked,
    build_pair,
    required,
    user_turn,
)
from synpref_dagster.sources.records import ParsedRow, RowRejected, SourceSpec

_COLUMNS = frozenset({"prompt", "chosen", "rejected"})


def _is_explicit_conversational(row: Row) -> bool:
    """{prompt: messages, chosen: [message], rejected: [message]}."""
    return all(is_messages(row.get(name)) for name in ("prompt", "chosen", "rejected"))


def _is_explicit_plain(row: Row) -> bool:
    """{prompt: text or messages, chosen: text, rejected: text}."""
    prompt = row.get("prompt")
    return _are_texts(row) and (isinstance(prompt, str) or is_messages(prompt))


def _read_explicit(spec: SourceSpec) -> RowReader:
    """Reader of a prompt and two responses, each as text or as messages.

    A prompt of text becomes a single user turn; a response is one message of the assistant.
    """

    def read(row: Row, number: int) -> ParsedRow:
        prompt, chosen, rejected = required(row, "prompt", "chosen", "rejected")
        return ParsedRow(
            build_pair(spec, number, conversation=user_turn(prompt), responses=(chosen, rejected))
        )

    return read


def _is_implicit_conversational(row: Row) -> bool:
    """{chosen: messages, rejected: messages}; a prompt beside them may only be a text."""
    sides = (row.get("chosen"), row.get("rejected"))
    return all(map(is_messages, sides)) and isinstance(row.get("prompt"), str | None)


def _read_implicit_conversational(spec: SourceSpec) -> RowReader:
    """Reader of rows whose two message lists repeat the conversation.

    Some data sets put the first user turn beside the lists as a text column `prompt`: the lists
    say more, and must say it too.
    """

    def read(row: Row, number: int) -> ParsedRow:
        sides = required(row, "chosen", "rejected")
        return ParsedRow(
            build_pair(
                spec,
                number,
                conversation=asked(row.get("prompt")),
                responses=(sides[0], sides[1]),
            )
        )

    return read


def _is_implicit_plain(row: Row) -> bool:
    """{chosen: text, rejected: text} without a prompt."""
    return _are_texts(row) and not holds_something(row.get("prompt"))


def _are_texts(row: Row) -> bool:
    return isinstance(row.get("chosen"), str) and isinstance(row.get("rejected"), str)


def _read_implicit_plain(spec: SourceSpec) -> RowReader:
    """Reader of rows of two texts that begin with the same prompt.

    Option `response_marker`: text after which the response begins, for example "Answer:".
    """
    marker = spec.options.get("response_marker")
    if marker is not None and (not isinstance(marker, str) or not marker):
        raise ValueError(
            f"source {spec.name!r}: response_marker {marker!r} must be a non-empty text"
        )

    def read(row: Row, number: int) -> ParsedRow:
        chosen, rejected = required(row, "chosen", "rejected")
        if chosen is None or rejected is None:
            raise RowRejected("empty_response")
        sides = opened_sides(chosen, rejected)
        if is_messages(sides[0]) and is_messages(sides[1]):
            return ParsedRow(build_pair(spec, number, conversation=[], responses=sides))
        chosen, rejected = sides
        if not isinstance(chosen, str) or not isinstance(rejected, str):
            raise RowRejected("not_text")
        if chosen == rejected:
            raise RowRejected("identical_responses")
        prompt, *responses = split_shared_text(chosen, rejected, marker=marker)
        if not prompt:
            raise RowRejected("prompt_not_shared", detail="the two texts begin differently")
        return ParsedRow(
            build_pair(
                spec,
                number,
                conversation=user_turn(prompt),
                responses=(responses[0], responses[1]),
            )
        )

    return read


def split_shared_text(
    chosen: str, rejected: str, *, marker: str | None = None
) -> tuple[str, str, str]:
    r"""(prompt, chosen, rejected) of two texts with a common beginning, edges stripped.

    The longest common prefix alone would eat the first words that two responses share, or cut a
    word in two. It is cut back to the end of its last line, or, when the texts differ on their
    first line, to its last space. With a `marker` the prompt ends before the marker's last
    occurrence in the shared prefix. An empty prompt means that there is no shared beginning.

    >>> split_shared_text("Name a fruit.\nApples!", "Name a fruit.\nA stone.")
    ('Name a fruit.', 'Apples!', 'A stone.')
    >>> split_shared_text("Name a fruit. Apple", "Name a fruit. Avocado")
    ('Name a fruit.', 'Apple', 'Avocado')
    >>> split_shared_text("Q: 1+1? A: It is 2", "Q: 1+1? A: It is 3", marker="A:")
    ('Q: 1+1?', 'It is 2', 'It is 3')
    """
    shared = chosen[: _shared_length(chosen, rejected)]
    if marker is not None:
        cut = shared.rfind(marker)
        start = cut + len(marker)
        return _parts(chosen, rejected, cut=max(cut, 0), start=start if cut >= 0 else 0)
    cut = shared.rfind("\n") + 1 or shared.rfind(" ") + 1
    return _parts(chosen, rejected, cut=cut, start=cut)


def _shared_length(first: str, second: str) -> int:
    """Length of the longest common prefix, by halving: a few comparisons of long slices."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _parts(chosen: str, rejected: str, *, cut: int, start: int) -> tuple[str, str, str]:
    return chosen[:cut].strip(), chosen[start:].strip(), rejected[start:].strip()


EXPLICIT_CONVERSATIONAL = RowFormat(
    name="explicit_conversational",
    layout="prompt: messages; chosen and rejected: one assistant message in a list",
    matches=_is_explicit_conversational,
    make_reader=_read_explicit,
    columns=_COLUMNS,
    asks="prompt",
)
EXPLICIT_PLAIN = RowFormat(
    name="explicit_plain",
    layout="prompt: text or messages; chosen and rejected: text",
    matches=_is_explicit_plain,
    make_reader=_read_explicit,
    columns=_COLUMNS,
    asks="prompt",
)
IMPLICIT_CONVERSATIONAL = RowFormat(
    name="implicit_conversational",
    layout="chosen and rejected: messages, equal but for the last",
    matches=_is_implicit_conversational,
    make_reader=_read_implicit_conversational,
    columns=_COLUMNS,
    asks="prompt",
)
IMPLICIT_PLAIN = RowFormat(
    name="implicit_plain",
    layout="chosen and rejected: text with a common beginning",
    matches=_is_implicit_plain,
    make_reader=_read_implicit_plain,
    columns=_COLUMNS - {"prompt"},
    guesses_prompt=True,
    options=frozenset({"response_marker"}),
)
