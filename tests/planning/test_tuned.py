"""What tuning chose is read back as it was written, and goes before what the preset's own file says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import plan_in

from unlearnbench import UserError
from unlearnbench.planning import presets, tuned
from unlearnbench.planning.tuned import Choice
from unlearnbench.storage.store import Store

CHOICE = Choice("neggrad", "data-removal", "cnn", {"lr": 2.5e-05, "epochs": 3}, "tuning/x.csv", "ab" * 32, 1.25)


def test_choices_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "mine.tuned.toml"
    other = replace(CHOICE, method="laf-r", values={"repair": "head"}, gain=-0.5)
    tuned.write(path, [CHOICE, other])
    assert tuned.read(path) == {choice.place: choice for choice in (other, CHOICE)}
    assert tuned.read(tmp_path / "none.tuned.toml") == {}


@pytest.mark.parametrize("text", ["x", "[[tuned]]\nmethod = 'a'\n", "a = 1\n"])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.tuned.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"mine\.tuned\.toml is damaged .*: restore it"):
        tuned.read(path)


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(
        "[datasets.digits-8x8]\nmodel = 'cnn'\n"
        "[methods.neggrad]\nlr = 0.5\nbatch = 7\n[methods.neggrad.data-removal]\nlr = 0.3\n"
    )
    tuned.write(tmp_path / "mine.tuned.toml", [CHOICE])
    return path


def test_tuned_values_go_before_the_presets_and_the_command_line_before_both(
    preset: Path, store: Store, tmp_path: Path
) -> None:
    def info(task: str, **more: object) -> object:
        plan = plan_in(store, tmp_path, preset, tasks=task, methods="neggrad", seeds=0, **more)
        return next(cell.info for cell in plan.cells if cell.method == "neggrad")

    chosen = info("data-removal")
    assert (chosen.hyperparameters["lr"], chosen.hyperparameters["epochs"]) == (2.5e-05, 3)
    assert chosen.hyperparameters["batch"] == 7
    assert chosen.sources["lr"] == "tuned, log tuning/x.csv (abababababab)"
    assert chosen.sources["batch"] == "preset mine"
    assert chosen.gain == 1.25
    elsewhere = info("class-removal")
    assert (elsewhere.hyperparameters["lr"], elsewhere.gain) == (0.5, None)
    overridden = info("data-removal", overrides={"neggrad": {"lr": 1.0}})
    assert (overridden.hyperparameters["lr"], overridden.gain) == (1.0, None)


def test_a_file_of_choices_is_no_preset() -> None:
    assert not [name for name in presets.names() if "tuned" in name]
