"""A control that copies Retrain's answers fools metrics of outputs; what looks below its head finds it out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import plan_in

from unlearnbench import UserError, load, run, table
from unlearnbench.operations.measure import measure
from unlearnbench.operations.work import Effort
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.plugins.files import named
from unlearnbench.storage.store import Store

Numbers = Mapping[tuple[str, str], Mapping[str, Any]]
"""The numbers of cells by task and method, as in `load`."""
pytestmark = pytest.mark.usefixtures("in_this_process")
PRESET = """
shadows = 2
[select]
seeds = "0"
tasks = ["class-removal", "noisy-label-removal"]
methods = ["original", "retrain-2", "untrained", "head-only"]
[recipe]
lr = 2e-3
batch = 32
epochs = 30
[datasets.digits-8x8]
model = "cnn"
"""
THIEF = """
from unlearnbench import Access, method

@method(title="Thief", access=Access(retain="images"), start="START", reference="Nobody")
def thief(problem):
    "Returns what it starts from."
    return problem.network()
"""


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("presets") / "cheating.toml"
    path.write_text(PRESET)
    return path


@pytest.fixture(scope="module")
def folder(preset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, measured: real digits, all of them."""
    folder = tmp_path_factory.mktemp("cheating")
    assert not run(preset, results=folder / "results", cache=folder / "cache", jobs=2).failed
    workspace, names = Workspace.of(folder / "results", folder / "cache"), ["original", "head-only", "retrain-2"]
    wanted: dict[str, Any] = {"attacks": "loss", "features": True, "relearn": True, "effort": Effort(jobs=2)}
    assert not measure(Selection.of(preset, methods=names), workspace, **wanted, say=lambda _: None).failed
    return folder


@pytest.fixture(scope="module")
def cells(preset: Path, folder: Path) -> Numbers:
    """The numbers of each cell by task and method."""
    rows = load(preset, results=folder / "results").set_index(["task", "method"]).to_dict("index")
    return {(str(task), str(method)): row for (task, method), row in rows.items()}


def apart(cells: Numbers, task: str, column: str) -> tuple[float, float]:
    """How far the control is from Retrain and from the original in a column."""
    own, retrain, original = (cells[task, method][column] for method in ("head-only", "retrain", "original"))
    return abs(own - retrain), abs(own - original)


@pytest.mark.parametrize("column", ["test_r", "test_f", "train_f", "asr"])
def test_metrics_of_outputs_take_it_for_retrain(cells: Numbers, column: str) -> None:
    assert apart(cells, "class-removal", column)[0] < 0.03
    assert cells["class-removal", "original"]["test_f"] > 0.9


@pytest.mark.parametrize("task", ["class-removal", "noisy-label-removal"])
def test_its_embeddings_are_the_originals(cells: Numbers, task: str) -> None:
    """And farther from Retrain's than those of another Retrain."""
    own, again = cells[task, "head-only"], cells[task, "retrain-2"]
    assert own["features.cka_original"] == pytest.approx(1.0)
    assert own["features.cka_retrain"] < again["features.cka_retrain"] - 0.03
    for number in ("features.probe", "features.purity"):
        assert apart(cells, task, number)[1] == pytest.approx(0.0)


@pytest.mark.parametrize("number", ["features.probe", "relearning.retain"])
def test_wrong_labels_are_read_from_its_embeddings_and_return_with_the_retain_set(cells: Numbers, number: str) -> None:
    own, retrain, again = (
        cells["noisy-label-removal", method][number] for method in ("head-only", "retrain", "retrain-2")
    )
    assert own - retrain > 3 * abs(again - retrain) + 0.05


def test_tables_show_it_among_the_controls_and_never_rank_it(preset: Path, folder: Path) -> None:
    text = table(2, preset=str(preset), results=folder / "results")
    controls = text[text.index("*Controls*") :]
    assert "Head only" in controls
    assert "Untrained" in controls
    assert "Head only (retain: images; starts from retrain)" in text
    assert "**" not in controls.split("\n\n")[0].partition("Head only")[2].partition("\n")[0]
    distances = table(3, preset=str(preset), results=folder / "results", view="distance", cache=folder / "cache")
    assert "ZRF" in distances
    assert "Conf_t" in distances
    confusion = table(3, preset=str(preset), results=folder / "results", view="confusion", cache=folder / "cache")
    assert "| Retrain" in confusion
    assert "4_t" in confusion


def thief(folder: Path, start: str) -> str:
    """The name of a method of a file that starts from another one."""
    path = folder / f"thief_{start.replace('-', '_')}.py"
    path.write_text(THIEF.replace("START", start))
    return f"{path}:thief"


@pytest.mark.parametrize("start", ["retrain", "retrain-2", "head-only"])
def test_only_a_control_may_start_from_retrain(start: str, preset: Path, tmp_path: Path) -> None:
    (name,) = named([thief(tmp_path, start)])
    with pytest.raises(UserError, match="starts from retrain(-2)?, which it is compared with"):
        plan_in(Store(tmp_path), tmp_path, preset, methods=[name])
    plan_in(Store(tmp_path), tmp_path, preset, methods=named([thief(tmp_path, "original")]))
