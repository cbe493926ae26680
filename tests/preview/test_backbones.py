"""Folders that are no backbones are named by their setting."""

from own_files import profile

from synpref_dagster.preview.backbones import missing_backbones


def test_a_folder_without_a_model_is_a_line_and_a_name_on_the_hub_is_none(tmp_path):
    rows = [{"name": "mine", "path": str(tmp_path)}, {"name": "hub", "path": "owner/name"}]
    release = {"backend": "frozen"}
    [line] = missing_backbones(profile(tmp_path, backbones=rows, release=release))
    assert line.startswith(f"backbones[0].path: {tmp_path} is no folder of a model")
    (tmp_path / "config.json").write_text("{}")
    assert missing_backbones(profile(tmp_path, backbones=rows, release=release)) == []
