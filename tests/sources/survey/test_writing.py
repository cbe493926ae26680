"""A profile is written where one can be, and else a line says what, where and what to do."""

import errno
from pathlib import Path

import pytest

from synpref_dagster.settings.profile import load_profile
from synpref_dagster.sources.survey.writing import refuse_taken, write_profile

TEXT = Path(load_profile.__code__.co_filename).parent / "profiles" / "smoke.toml"


def test_a_file_that_is_there_is_not_written_over(tmp_path):
    taken = tmp_path / "synpref.toml"
    taken.write_text("mine")
    with pytest.raises(ValueError, match=r"synpref\.toml is there already: name another"):
        refuse_taken(taken, may_be_replaced=False)
    refuse_taken(taken, may_be_replaced=True)
    assert taken.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [taken]


@pytest.mark.parametrize("force", [False, True])
def test_what_is_no_place_for_a_profile_is_named_with_what_to_do(tmp_path, force):
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "link.toml").symlink_to(tmp_path / "nowhere")
    for place, said in {
        "profile.txt": r"ends with \.toml",
        "folder.toml": "is a folder: name a file in it",
        "link.toml": "is a link to nothing: name another file",
        "no/x.toml": "there is no folder .*, make it first",
        "file/x.toml": "file (is no folder|cannot be written|.*not a directory)",
        f"{'x' * 300}.toml": r"cannot be written \(file name too long\): name a place",
        "/proc/x.toml": r"/proc/x\.toml cannot be written \(.*\): name a place that can be",
    }.items():
        with pytest.raises(ValueError, match=said) as caught:
            refuse_taken(tmp_path / place, may_be_replaced=force)
        assert "Errno" not in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("force", [False, True])
def test_a_disk_that_is_full_leaves_nothing_and_is_a_line(tmp_path, monkeypatch, force):
    def full(self, text, encoding):
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    output = tmp_path / "synpref.toml"
    with pytest.raises(ValueError, match=r"cannot be written \(no space left on device\): name"):
        write_profile(TEXT.read_text(), output, may_replace=force)
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_links_has_the_profile_all_the_same(tmp_path, monkeypatch):
    def no_links(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.link", no_links)
    write_profile(TEXT.read_text(), tmp_path / "x.toml", may_replace=False)
    assert load_profile(str(tmp_path / "x.toml")).name == "smoke"
