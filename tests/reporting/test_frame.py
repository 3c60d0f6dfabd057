"""Records are read into a frame; what is no preset is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from unlearnbench import UserError, load


def test_a_folder_in_the_place_of_a_preset_is_named(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_run.parent)
    with pytest.raises(UserError, match=rf"load\(results='{tiny_run.name}'\)"):
        load(tiny_run.name)
    folder = f"{tiny_run.name}/tiny"
    with pytest.raises(UserError, match=rf"{folder} is a folder, .*: load\('tiny', results='{tiny_run.name}'\)"):
        load(folder)


def test_a_folder_with_the_name_of_a_preset_is_not_in_the_way(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    assert len(load("tiny", tiny_run)) == 15
