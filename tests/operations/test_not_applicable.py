"""A cell whose method cannot serve the task is n/a with the reason, and nothing fails or is repeated because of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import unlearnbench
from unlearnbench import UserError
from unlearnbench.cli.main import main
from unlearnbench.operations.measure import measure
from unlearnbench.operations.run import Summary
from unlearnbench.operations.tune import tune
from unlearnbench.planning.cell_info import CellStatus
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.reporting import ranking
from unlearnbench.reporting.choice import Choice
from unlearnbench.reporting.rendering import render
from unlearnbench.storage.records import read_record

PRESET = """
shadows = 2
[select]
seeds = "0"
tasks = ["data-removal", "class-removal"]
methods = ["original", "neggrad", "boundary", "unsir"]
[recipe]
lr = 2e-3
epochs = 1
held_out = 0.76
[datasets.digits-8x8]
model = "cnn"
"""
REASON = "it forgets whole classes, and here samples of the same classes are kept"
CHILD = """
from unlearnbench import Access, method

@method(title="Child", access=Access(), start="unsir", reference="Nobody, Nowhere 2000")
def child(problem):
    "Starts from UNSIR."
    return problem.network()
"""


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("presets") / "useless.toml"
    path.write_text(PRESET)
    return path


@pytest.fixture(scope="module")
def finished(preset: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Summary, Path]:
    results = tmp_path_factory.mktemp("results")
    return unlearnbench.run(str(preset), results=results, cache=cache, jobs=2), results


def test_the_record_says_why_and_nothing_failed(finished: tuple[Summary, Path]) -> None:
    summary, _ = finished
    statuses = {f"{cell.info.task} {cell.method}": read_record(cell.path) for cell in summary.plan.cells}
    record = statuses.pop("data-removal unsir")
    assert record is not None
    assert (record["status"], record["reason"]) == ("n/a", REASON)
    assert not {"traceback", "metrics"} & record.keys()
    assert {other["status"] for other in statuses.values() if other} == {CellStatus.OK}
    assert summary.failed == []


def test_it_is_not_run_again(preset: Path, cache: Path, finished: tuple[Summary, Path]) -> None:
    again = unlearnbench.run(str(preset), results=finished[1], cache=cache, dry_run=True)
    assert again.plan.to_run == []
    assert again.failed == []


def test_tables_show_it_with_the_reason(preset: Path, finished: tuple[Summary, Path]) -> None:
    text = unlearnbench.table(1, str(preset), finished[1])
    (row,) = [line for line in text.splitlines() if line.startswith("| UNSIR ")]
    assert [part.strip() for part in row.split("|")[3:-1]] == ["n/a"] * 4
    assert f"- n/a: UNSIR on DIGITS-8x8: {REASON}" in text
    assert "Missing" not in text
    (row,) = [line for line in unlearnbench.table(2, str(preset), finished[1]).splitlines() if "| UNSIR " in line]
    assert "n/a" not in row
    for view in ("paired", "cost"):
        assert REASON in unlearnbench.table(1, str(preset), finished[1], view=view)


def test_ranks_over_all_tasks_leave_it_out_and_a_task_that_it_serves_ranks_it(
    preset: Path, finished: tuple[Summary, Path]
) -> None:
    together = ranking.rank(str(preset), finished[1])
    assert sorted(together.methods) == ["Boundary", "NegGrad"]
    text = render(ranking.view(together), "markdown")
    assert "Left out: UNSIR, which lacks data-removal on digits-8x8" in text
    assert "n/a: UNSIR on data-removal, which it cannot serve." in text
    alone = ranking.rank(str(preset), finished[1], choice=Choice.of(tasks=["class-removal"]))
    assert sorted(alone.methods) == ["Boundary", "NegGrad", "UNSIR"]


@pytest.mark.usefixtures("in_this_process")
def test_there_is_nothing_to_measure(preset: Path, cache: Path, finished: tuple[Summary, Path]) -> None:
    workspace = Workspace.of(finished[1], cache, device="cpu", arithmetic="native")
    done = measure(Selection.of(str(preset), methods=["unsir"]), workspace, attacks="loss", say=lambda line: None)
    assert not done.failed
    assert not done.without
    assert "digits-8x8 class-removal unsir 0" in done.done
    assert "digits-8x8 data-removal unsir 0" not in done.done


@pytest.mark.usefixtures("in_this_process")
def test_a_ranking_of_nothing_else_says_so(preset: Path, cache: Path, tmp_path: Path) -> None:
    unlearnbench.run(str(preset), tasks="data-removal", methods="unsir", results=tmp_path, cache=cache, jobs=1)
    choice = Choice.of(tasks="data-removal", methods="unsir")
    with pytest.raises(UserError, match="n/a: UNSIR on data-removal, which it cannot serve"):
        ranking.rank(str(preset), tmp_path, choice=choice)


@pytest.mark.usefixtures("in_this_process")
def test_there_is_nothing_to_tune(preset: Path, cache: Path, tmp_path: Path) -> None:
    workspace, lines = Workspace.of(tmp_path, cache, device="cpu", arithmetic="native"), list[str]()
    selection = Selection.of(str(preset), tasks=["data-removal"])
    assert tune(["unsir"], selection, workspace, budget=(1,), say=lines.append) == []
    assert f"digits-8x8 data-removal unsir: n/a, {REASON}" in lines


@pytest.mark.usefixtures("in_this_process")
def test_a_method_that_starts_from_it_is_not_applicable_either(preset: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text(CHILD)
    summary = unlearnbench.run(
        str(preset), tasks="data-removal", methods=f"{tmp_path}/child.py:child", results=tmp_path, cache=cache, jobs=1
    )
    reasons = {outcome.name.split()[2]: outcome.reason for outcome in summary.outcomes if outcome.status == "n/a"}
    assert reasons == {"unsir": REASON, "child.child": REASON}
    assert summary.failed == []


@pytest.mark.usefixtures("in_this_process")
def test_the_exit_code_of_a_run_is_that_of_success(preset: Path, cache: Path, tmp_path: Path) -> None:
    words = ["run", "--preset", str(preset), "-t", "data-removal", "-m", "unsir", "-j", "1"]
    called = CliRunner().invoke(main, [*words, "--results", str(tmp_path), "--cache", str(cache)])
    assert called.exit_code == 0, called.output
    assert "failed" not in called.output
    shown = CliRunner().invoke(
        main,
        ["show", "digits-8x8", "data-removal", "unsir", "0", "--preset", str(preset), "--results", str(tmp_path)],
    )
    assert f"status      n/a: {REASON}" in shown.output
