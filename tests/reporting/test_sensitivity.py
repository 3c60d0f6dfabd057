"""Columns against the values of options: from records as a table, and from a frame as matplotlib axes."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
import pytest

import unlearnbench
from unlearnbench import UserError, load, plot_sensitivity, plot_tradeoff, table
from unlearnbench.planning.cell_info import changed_options

matplotlib.use("agg")
from unlearnbench.reporting.sensitivity import base_title


@pytest.fixture(scope="module")
def results(tiny: Path, tiny_run: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LAF with three values of tau and LAF+R with two, of which one each is the preset's."""
    folder = tmp_path_factory.mktemp("sweep")
    sweep: dict[str, dict[str, list[Any]]] = {"laf": {"tau": [5, 100.0]}, "laf-r": {"supervision": [0.1, 1.0]}}
    methods = ["laf", "laf-r", "neggrad", "original", "retrain-2"]
    done = unlearnbench.run(
        str(tiny), tasks="class-removal", methods=methods, sweep=sweep, results=folder, cache=cache, jobs=1
    )
    assert not done.failed
    return folder


def test_the_label_of_a_method_says_what_was_changed() -> None:
    assert changed_options("laf") == []
    assert changed_options("laf+tau=5.0,phi=ratio") == ["laf.tau", "laf.phi"]
    assert changed_options("laf-r+lr=0.1,laf.tau=1e-05") == ["laf-r.lr", "laf.tau"]
    assert changed_options("mine.fade+rates=1_2") == ["mine.fade.rates"]


def test_a_table_has_a_row_for_each_value_in_order_and_the_presets(tiny: Path, results: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(table(2, str(tiny), results, "csv", view="sensitivity"))))
    shown = [(row["Method"], row["Option"], row["Value"]) for row in rows]
    assert shown == [
        ("Retrain", "", ""),
        ("LAF+R", "laf-r.supervision", "0.1"),
        ("LAF+R", "laf-r.supervision", "1.0"),
        ("LAF+R", "laf-r.supervision", "None (preset)"),
        ("LAF+R", "laf.tau", "5.0"),
        ("LAF+R", "laf.tau", "20.0 (preset)"),
        ("LAF+R", "laf.tau", "100.0"),
        ("LAF", "laf.tau", "5.0"),
        ("LAF", "laf.tau", "20.0 (preset)"),
        ("LAF", "laf.tau", "100.0"),
    ]
    assert max(map(len, table(2, str(tiny), results, "terminal", view="sensitivity").splitlines())) <= 80
    frame = load(str(tiny), results).set_index("method")
    tests = {row["Value"]: float(row["Test_r mean"]) for row in rows if row["Method"] == "LAF"}
    for value, label in (("5.0", "laf+tau=5.0"), ("20.0 (preset)", "laf"), ("100.0", "laf+tau=100.0")):
        assert tests[value] == pytest.approx(100 * frame.loc[label, "test_r"])
    assert frame.loc["laf-r+laf.tau=5.0", ["laf.tau", "laf-r.lr"]].tolist() == [5.0, 1e-4]


@pytest.mark.parametrize(
    ("title", "base"),
    [
        ("LAF (tau=5.0)", "LAF"),
        ("LAF (tuned) (tau=5.0, epochs=3)", "LAF (tuned)"),
        ("Wrong (mine.py, wrong=2)", "Wrong (mine.py)"),
        ("Wrong (mine.py)", "Wrong (mine.py)"),
    ],
)
def test_a_method_has_one_title_whatever_was_varied(title: str, base: str) -> None:
    cell = SimpleNamespace(method_title=title)
    assert base_title(SimpleNamespace(cell=cell)) == base  # type: ignore[arg-type]


def test_nothing_to_show_is_an_error_with_the_command(tiny: Path, tiny_run: Path) -> None:
    with pytest.raises(
        UserError, match=r"no method has records of class-removal with several values .*--sweep laf.tau"
    ):
        table(2, str(tiny), tiny_run, view="sensitivity")


def test_a_plot_has_axes_for_each_column_and_a_line_for_each_method(tiny: Path, results: Path) -> None:
    frame = load(str(tiny), results, task="class-removal")
    train_r, *others = plot_sensitivity(frame, "laf.tau")
    assert [one.get_title() for one in (train_r, *others)] == [
        f"{name}, in percent" for name in ("Train_r", "Train_f", "Test", "Test_r", "Test_f", "ASR")
    ]
    lines = {str(line.get_label()): line for line in train_r.get_lines()}
    assert {"laf", "laf-r", "Retrain"} <= {*lines}
    assert list(lines["laf"].get_xdata()) == [5.0, 20.0, 100.0]
    means = 100 * frame.set_index("method")["train_r"]
    assert list(lines["laf"].get_ydata()) == pytest.approx([means["laf+tau=5.0"], means["laf"], means["laf+tau=100.0"]])
    assert train_r.get_xscale() == "log"
    (only,) = plot_sensitivity(frame, "laf-r.supervision", columns="asr")
    assert list(only.get_lines()[0].get_xdata()) == [0.1, 1.0]  # the preset's None has no place on the axis
    with pytest.raises(UserError, match="no method has several values of laf.phi"):
        plot_sensitivity(frame, "laf.phi")


def test_the_tradeoff_shows_every_method_and_the_noise_floor(tiny: Path, results: Path, tiny_run: Path) -> None:
    axes = plot_tradeoff(load(str(tiny), results), x="test_r")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Test_r, in percent", "Train_f, in percent")
    assert {"Retrain", "LAF", "Original"} <= {text.get_text() for text in axes.texts}
    assert len(axes.patches) == 1
    with pytest.raises(UserError, match=r"the rows are of several tasks, .*load\(task=...\) selects one"):
        plot_tradeoff(load(None, tiny_run))
    with pytest.raises(UserError, match="the frame has no column test"):
        plot_tradeoff(load(str(tiny), results)[["status", "dataset", "task", "method", "test_f"]])


def test_load_has_flat_columns_and_the_rows_that_were_asked_for(tiny: Path, results: Path) -> None:
    frame = load(str(tiny), results)
    assert not [name for name in frame if frame[name].map(lambda value: isinstance(value, list | dict)).any()]
    assert {"stale", "origin", "laf.tau"} <= {*frame.columns}
    assert "hyperparameters" in load(str(tiny), results, nested=True)
    assert set(load(str(tiny), results, method="laf", seed=0)["method"]) == {"laf", "laf+tau=5.0", "laf+tau=100.0"}
    assert list(load(str(tiny), results, method=["laf+tau=5.0"], dataset="digits-8x8")["laf.tau"]) == [5.0]
    with pytest.raises(UserError, match="unknown task in these records: 'class-remove'"):
        load(str(tiny), results, task="class-remove")
