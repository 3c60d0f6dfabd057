"""The description of a cell is read from its record and written as the same JSON; old records may lack fields."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import records

from unlearnbench.planning.cell_info import CellInfo, CellStatus, plugin_name

OLD = {
    "dataset": "digits-8x8",
    "dataset_title": "DIGITS",
    "model": "cnn",
    "task": "class-removal+classes=3",
    "task_title": "Class removal (classes=3)",
    "columns": ["test_r", "test_f", "asr"],
    "method": "laf+tau=5.0,phi=a+b",
    "method_title": "LAF (tau=5.0)",
    "role": "variant",
    "access": "nothing",
    "seed": 3,
}


def test_the_json_of_records_is_read_and_written_unchanged(tiny_run: Path) -> None:
    cells = [record["cell"] for record in records(tiny_run).values()]
    assert len(cells) == 15
    assert [CellInfo.from_json(cell).as_json() for cell in cells] == cells


def test_old_records_may_lack_fields_that_were_added_later() -> None:
    info = CellInfo.from_json(OLD)
    assert (info.preset, info.start, info.like, info.task_options, info.hyperparameters) == ("", "", "", {}, {})
    with pytest.raises(TypeError, match="dataset_title"):
        CellInfo.from_json({name: value for name, value in OLD.items() if name != "dataset_title"})


def test_names_are_labels_without_options() -> None:
    info = CellInfo.from_json(OLD)
    assert (info.task_name, info.method_name) == ("class-removal", "laf")
    assert plugin_name("laf") == "laf"


def test_a_status_is_the_word_in_records() -> None:
    assert CellStatus("out-of-memory") is CellStatus.OUT_OF_MEMORY
    assert f"{CellStatus.OK}" == CellStatus.OK == "ok"
