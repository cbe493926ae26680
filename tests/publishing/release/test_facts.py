"""Which commit a package is of: that of its own checkout, never of somebody else's."""

import subprocess
from importlib.metadata import PackageNotFoundError

import pytest

from synpref_dagster.publishing.release import facts


def git(folder, *words):
    who = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package in a repository of its own, where this module says that it lies."""
    folder = tmp_path / "package"
    (folder / "publishing" / "release").mkdir(parents=True)
    (folder / "__init__.py").touch()
    monkeypatch.setattr(facts, "__file__", str(folder / "publishing" / "release" / "facts.py"))
    git(tmp_path, "init")
    return folder


def test_a_checkout_says_its_commit_and_whether_files_differ(package):
    git(package, "add", "__init__.py")
    git(package, "commit", "-m", "one")
    commit = facts.package_commit()
    assert len(commit) == 12
    (package / "__init__.py").write_text("changed = True")
    assert facts.package_commit() == f"{commit}-dirty"


def test_a_package_that_lies_in_somebody_elses_repository_has_not_its_commit(package, monkeypatch):
    (package.parent / "theirs").touch()
    git(package.parent, "add", "theirs")
    git(package.parent, "commit", "-m", "theirs")

    def not_installed(_):
        raise PackageNotFoundError

    monkeypatch.setattr(facts, "distribution", not_installed)
    assert facts.package_commit() is None
