"""Texts: how one from outside becomes storable, and those of the pairs of one shard."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.pairs.record import PreferencePair, Turn, table_to_pairs

Conversation = tuple[Turn, ...]
UNKNOWN_LENGTH = -1


def storable(text: str) -> str:
    r"""A text from outside with lone surrogates and null bytes written as escapes.

    Every file, reply, form and database row that others wrote passes here: Arrow and SQLite refuse
    half an emoji, Postgres a null byte, both only when the text is stored.

    >>> storable("a\ud800b\x00")
    'a\\ud800b\\x00'
    """
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def printable(text: str) -> str:
    r"""A text from outside as one line that cannot steer a terminal or fake another line of a log.

    >>> printable("a\n\x1b[31mb\u202ec\ud800")
    'a\\n\\x1b[31mb\\u202ec\\ud800'
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def first_line(error: BaseException) -> str:
    r"""What a library's error says, in a line: some open with an empty one and go on for twenty.

    >>> first_line(ValueError("\n no such file\nIf this is ..."))
    'no such file'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def counted(number: int, thing: str, things: str = "") -> str:
    """A number of things.

    Args:
        number: how many.
        thing: one of them.
        things: several, where an s does not do.

    >>> counted(1, "vote"), counted(2000, "vote"), counted(0, "person", "people")
    ('1 vote', '2,000 votes', '0 people')
    """
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> [duration(s) for s in (0, 0.2, 7.2, 200, 7500)]
    ['0 s', 'less than 1 s', '7 s', '3 min 20 s', '2 h 5 min']
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if whole or not seconds else "less than 1 s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def pool_texts(pairs: Sequence[PreferencePair]) -> list[str]:
    """Every turn and response of the pairs, each text once, in order of appearance."""
    texts: dict[str, None] = {}
    for pair in pairs:
        for turn in pair.conversation:
            texts.setdefault(turn["content"])
        texts.setdefault(pair.chosen)
        texts.setdefault(pair.rejected)
    return list(texts)


def shard_texts(ids: pa.Table, texts: pa.Table) -> pa.Table:
    """The texts of the pairs of one shard, in the order of their ids.

    Args:
        ids: pair_id.
        texts: `PAIR_SCHEMA`, the raw shard that the pairs come from.

    Raises:
        ValueError: a pair is not in that shard.
    """
    wanted, known = (each["pair_id"].combine_chunks().storage for each in (ids, texts))
    rows = pc.index_in(wanted, value_set=known)
    if rows.null_count:
        raise ValueError(
            f"{rows.null_count} of {len(ids)} pairs are not in the raw shard beside theirs: "
            "materialize the pool again"
        )
    return texts.take(rows)


def shard_pairs(ids: pa.Table, texts: pa.Table) -> list[PreferencePair]:
    """The pairs of one shard, see `shard_texts`."""
    return list(table_to_pairs(shard_texts(ids, texts)))
