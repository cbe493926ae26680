"""Writing a first profile: never over a file that is there, and never one that does not load."""

import os
from pathlib import Path

from synpref_dagster.settings.profile import is_file_name, load_profile
from synpref_dagster.storage.atomic import beside, put_in_place


def refuse_taken(output: Path, *, may_be_replaced: bool) -> None:
    """Refuse a place that no profile can be written to, before anything is looked at.

    Raises:
        ValueError: in one line; no name of a profile, a file that is there, or no such folder.
    """
    if not is_file_name(output.name):
        raise ValueError(f"--output {output}: the name of a profile file ends with .toml")
    if output.is_dir() or (output.exists() and not may_be_replaced):
        raise ValueError(
            f"{output} is there already: name another file with --output, or write over it with "
            "--force"
        )
    if not output.parent.is_dir():
        raise ValueError(f"--output {output}: there is no folder {output.parent}, make it first")
    if not os.access(output.parent, os.W_OK):
        raise ValueError(
            f"nothing can be written to {output.parent.resolve()}: name a place with --output"
        )


def write_profile(text: str, output: Path, *, may_replace: bool) -> None:
    """Write a profile that loads.

    Raises:
        ValueError: somebody wrote the file meanwhile.
        OSError: it cannot be written.
    """
    load_profile(str(output), text=text)
    part = beside(output)
    part.write_text(text, encoding="utf-8")
    if may_replace:
        put_in_place(part, output)
        return
    try:
        os.link(part, output)  # unlike a rename, it fails where a file is
    except FileExistsError as error:
        raise ValueError(f"{output} was written by somebody else meanwhile: look at it") from error
    except OSError:
        put_in_place(part, output)  # a file system without links
    finally:
        part.unlink(missing_ok=True)
