"""Files that hold what is nobody else's business: ledgers, paid replies, databases of runs.

They are their owner's alone (0600), whatever the umask. Who shares a folder with a group says so by
its setgid bit (`chmod g+s`): there they are the group's too (0660). What is wider is narrowed.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path

SIBLINGS = ("-wal", "-shm", "-journal")
"""What SQLite writes beside a database; it gives new ones the rights of the database."""


def make_private(path: Path) -> None:
    """Make a file that only its owner can open, or narrow the one that is there, and its siblings.

    Call it before a library opens the file: an empty file is a database without tables. A file of
    somebody else is left to them, and where nothing can be written the library says so.

    Args:
        path: of the file; its folder is there.
    """
    path = path.resolve()
    mode = _file_mode(path.parent)
    with suppress(OSError):
        # Not by `open`: it would be as wide as the umask allows for a moment.
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
        os.close(handle)
    for each in (path, *(path.with_name(path.name + end) for end in SIBLINGS)):
        if each.is_file():  # a folder by mistake is refused by who opens it, and stays as it is
            _set_mode(each, mode)


def make_private_folder(path: Path) -> None:
    """Make a folder, with its parents, that only its owner can enter; one that is there stays."""
    if path.is_dir():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
        _set_mode(path, 0o2770 if _is_shared(path.parent) else 0o700)


def narrow_databases(folder: Path) -> None:
    """Narrow every SQLite database below a folder, and the folder itself."""
    if not folder.is_dir():
        return
    _set_mode(folder, 0o2770 if _is_shared(folder) else 0o700)
    for path in folder.rglob("*.db*"):
        if path.is_file():
            _set_mode(path, _file_mode(path.parent))


def _is_shared(folder: Path) -> bool:
    try:
        return bool(folder.stat().st_mode & stat.S_ISGID)
    except OSError:
        return False


def _file_mode(folder: Path) -> int:
    return 0o660 if _is_shared(folder) else 0o600


def _set_mode(path: Path, mode: int) -> None:
    with suppress(OSError):  # gone meanwhile, or somebody else's
        found = path.stat()
        if found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) != mode:
            path.chmod(mode)
