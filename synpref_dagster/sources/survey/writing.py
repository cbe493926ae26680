"""Writing a first profile: never over a file that is there, and never one that does not load."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from synpref_dagster.settings.profile import is_file_name, load_profile
from synpref_dagster.storage.atomic import beside, put_in_place


def refuse_taken(output: Path, *, may_be_replaced: bool) -> None:
    """Refuse a place that no profile can be written to, before anything is looked at.

    Raises:
        ValueError: in one line; no name of a profile, a file that is there, or no place for one.
    """
    if not is_file_name(output.name):
        raise ValueError(f"--output {output}: the name of a profile file ends with .toml")
    folder = output.parent
    with writing(output):
        if output.is_dir():
            raise ValueError(f"{output} is a folder: name a file in it with --output")
        if output.is_symlink() and not output.exists():
            raise ValueError(f"{output} is a link to nothing: name another file with --output")
        if output.exists() and not may_be_replaced:
            raise ValueError(
                f"{output} is there already: name another file with --output, or write over it "
                "with --force"
            )
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"--output {output}: {folder} is no folder, name one that is")
        if not folder.is_dir():
            raise ValueError(f"--output {output}: there is no folder {folder}, make it first")
        # Whoever may do anything may not write everywhere: only a try tells.
        part = beside(output)
        part.touch()
        part.unlink()


@contextmanager
def writing(output: Path) -> Iterator[None]:
    """What goes wrong while a file is written, as a refusal that names it and the way out.

    Raises:
        ValueError: in place of an OSError, in one line.
    """
    try:
        yield
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ValueError(
            f"{output.absolute()} cannot be written ({why}): name a place that can be with --output"
        ) from error


def write_profile(text: str, output: Path, *, may_replace: bool) -> None:
    """Write a profile that loads.

    Raises:
        ValueError: somebody wrote the file meanwhile, or it cannot be written.
    """
    load_profile(str(output), text=text)
    with writing(output):
        _put(text, output, may_replace=may_replace)


def _put(text: str, output: Path, *, may_replace: bool) -> None:
    part = beside(output)
    try:
        part.write_text(text, encoding="utf-8")
        if may_replace or not _linked(part, output):
            put_in_place(part, output)
    finally:
        part.unlink(missing_ok=True)


def _linked(part: Path, output: Path) -> bool:
    """Whether a file has its second name now; False on a file system without links."""
    try:
        os.link(part, output)  # unlike a rename, it fails where a file is
    except FileExistsError as error:
        raise ValueError(f"{output} was written by somebody else meanwhile: look at it") from error
    except OSError:
        return False
    return True
