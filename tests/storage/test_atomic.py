"""Files and folders appear whole, and what a killed writer left is no part of them."""

from synpref_dagster.storage.atomic import beside, part_of, put_in_place


def test_a_file_takes_the_place_of_an_older_one(tmp_path):
    target = tmp_path / "facts.json"
    target.write_text("old")
    part = beside(target)
    part.write_text("new")
    assert target.read_text() == "old"
    put_in_place(part, target)
    assert (target.read_text(), part.exists()) == ("new", False)


def test_a_folder_takes_the_place_of_an_older_one_with_all_that_is_in_it(tmp_path):
    target = tmp_path / "release"
    target.mkdir()
    (target / "stale.txt").write_text("old")
    part = beside(target)
    part.mkdir()
    (part / "weights.bin").write_text("new")
    put_in_place(part, target)
    assert [path.name for path in target.iterdir()] == ["weights.bin"]
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_what_a_killed_writer_left_is_not_published(tmp_path):
    target = tmp_path / "release"
    part_of(target).mkdir()
    (part_of(target) / "half.bin").write_text("half")
    part = beside(target)
    assert not part.exists()
    part.mkdir()
    put_in_place(part, target)
    assert list(target.iterdir()) == []
