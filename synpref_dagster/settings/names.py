"""One rule for names from outside: what they later become has to be possible when they are read.

A name becomes a folder, a data set, a metric and a registered model of MLflow, a tag of a run, a
part of the name of a file. What one of these refuses would end a step after it was paid for.
"""

import re

MAX_CHARS = 100
"""Room for what is put before and after a name: a file name has 255 bytes, a metric 250."""
MAX_PREFIX_CHARS = 40
_PREFIX = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{MAX_PREFIX_CHARS - 1}}}")
_KEPT_FOR_ASSETS = re.compile(r"people|iteration_\d+")  # first parts of keys that have two
_NAME = re.compile(rf"(?!.* $)[A-Za-z0-9][A-Za-z0-9 ._-]{{0,{MAX_CHARS - 1}}}")


def checked_name(what: str, name: str, *, spaces: bool = True) -> str:
    """The name, if it can become all that names become.

    Args:
        what: what it names, as people call it.
        name: the name.
        spaces: whether spaces within it are fine.

    Raises:
        ValueError: it cannot; the message says which characters can.
    """
    if not _NAME.fullmatch(name) or (" " in name and not spaces):
        others = "space, dot" if spaces else "dot"
        raise ValueError(
            f"{what} name {name!r}: use 1 to {MAX_CHARS} ASCII letters, digits, {others}, _ and -; "
            "begin with a letter or digit" + (", and end with no space" if spaces else "")
        )
    return name


def checked_prefix(prefix: str) -> str:
    """The first part of the keys of a campaign's assets, or "" for none.

    Args:
        prefix: it becomes a tag of runs, too.

    Raises:
        ValueError: it cannot become that, or keys of a campaign without one begin like it.
    """
    if prefix and (not _PREFIX.fullmatch(prefix) or begins_like_an_asset(prefix)):
        raise ValueError(
            f"key_prefix {prefix!r}: use 1 to {MAX_PREFIX_CHARS} ASCII letters, digits, _ and -, "
            "begin with a letter or digit; 'people' and 'iteration_01' are taken by assets"
        )
    return prefix


def begins_like_an_asset(part: str) -> bool:
    """Whether the first part of a key is that of an asset whose key has two parts."""
    return bool(_KEPT_FOR_ASSETS.fullmatch(part))
