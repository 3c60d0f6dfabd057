"""Progress counts cells and artefacts in any terminal, and estimates the time left from the first job on."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from conftest import plan_in
from rich.console import Console

from unlearnbench.operations.progress import Reporter, bar
from unlearnbench.operations.work import EVALUATION, Outcome, artefacts_in
from unlearnbench.runtime.timing import Forecast
from unlearnbench.storage.store import Store


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_bar_is_one_line_with_all_counts_and_times(width: int) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    progress = bar(console)
    counts, left = "1053/1153 cells, 207/307 artefacts", "about 100 min left"
    progress.add_task("digits-8x8 noisy-label-removal boundary-expand 0", total=9, counts=counts, left=left)
    console.print(progress.get_renderable())
    (line,) = console.file.getvalue().strip("\n").split("\n")  # type: ignore[attr-defined]
    assert line.startswith(counts)
    assert left in line
    assert "0:00:00" in line
    assert len(line) <= width


def test_the_first_estimate_is_near_however_many_workers_there_are() -> None:
    """16 jobs of 10 s by 4 workers take 40 s; when the first is finished, 30 s are left, whenever the workers began."""
    forecast = Forecast(16.0, 4)
    assert str(forecast) == "estimating"
    forecast.add(1.0, 10.0)
    assert forecast.seconds == pytest.approx(37.5)
    assert str(forecast) == "about 38 s left"
    for _ in range(15):
        forecast.add(1.0, 10.0)
    assert forecast.seconds == 0


def test_small_jobs_and_the_start_of_workers_do_not_mislead() -> None:
    """40 preparations of a second, then 360 cells of 13 passes and 2.6 s; a worker's first job takes 5 s more."""
    forecast, left = Forecast(40 * 0.05 + 360 * 13, 2), 360 * 2.6 / 2
    for number in range(40):
        forecast.add(0.05, 6.0 if number < 2 else 1.0)
        assert str(forecast) == "estimating"
    for number in range(10):
        forecast.add(13.0, 2.6)
        if number > 1:
            assert forecast.seconds == pytest.approx(left - (number + 1) * 2.6 / 2, rel=0.05)


def test_a_forecast_of_minutes() -> None:
    forecast = Forecast(100.0, 1)
    forecast.add(1.0, 10.0)
    assert str(forecast) == "about 16 min left"  # 990 s


def test_artefacts_are_counted_and_colours_make_no_bar_in_a_log(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = io.StringIO()
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "stderr", log)
    plan = plan_in(Store(tmp_path / "c"), tmp_path / "r", tiny, tasks="class-removal", methods="neggrad")
    reporter = Reporter()
    reporter.start(plan, 2)
    for job in plan.shared:
        reporter.done(
            Outcome(str(job), "made", 2.0 * job.total_ep, job.total_ep, "", False, artefacts=artefacts_in(job))
        )
    for cell in plan.to_run:
        seconds = 2.0 * (cell.outputs.ep + EVALUATION)
        reporter.done(Outcome(str(cell), "ok", seconds, cell.outputs.ep))
    reporter.finish()
    first, *lines = log.getvalue().splitlines()
    artefacts = sum(map(artefacts_in, plan.shared))
    assert first.startswith(f"2 of 2 cells to run, {artefacts} artefacts to make first")
    assert lines[0].startswith(f"[1/{artefacts} artefacts] made ")
    assert lines[artefacts - 1].startswith(f"[{artefacts}/{artefacts} artefacts] made ")
    assert lines[artefacts].startswith("[1/2] ok digits-8x8 class-removal ")
    assert lines[-1].endswith("(done)")
    assert "\x1b" not in log.getvalue()
