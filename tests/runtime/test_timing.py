"""Every second is counted once, as the innermost kind of work."""

from __future__ import annotations

from pathlib import Path

import pytest

import unlearnbench
from unlearnbench.artefacts.sizes import flop_of
from unlearnbench.runtime import timing


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The readings of the clock, in order; to be filled by a test."""
    readings: list[float] = []
    monkeypatch.setattr("time.perf_counter", lambda: readings.pop(0))
    timing.read_and_reset()
    return readings


def test_nested_work_is_not_counted_twice(times: list[float]) -> None:
    times[:] = [0, 1, 3, 4, 5, 9, 10, 12]
    with timing.spending("overhead"), timing.spending("unlearning"):
        with timing.spending("training"):
            pass
        with pytest.raises(ValueError, match="x"), timing.spending("training"):
            raise ValueError("x")
    assert timing.read_and_reset() == {"overhead": 1 + 2, "unlearning": 2 + 1 + 1, "training": 1 + 4}
    assert timing.read_and_reset() == {}


@pytest.mark.usefixtures("in_this_process")
def test_a_run_reports_its_seconds_by_kind_of_work(tiny: Path, tmp_path: Path) -> None:
    places = {"results": tmp_path / "r", "cache": tmp_path / "c"}
    summary = unlearnbench.run(str(tiny), tasks="data-removal", methods="neggrad", jobs=1, **places)
    spent = summary.spent
    assert set(spent) == {*timing.KINDS, "idle"}
    assert all(seconds > 0 for seconds in spent.values())
    assert sum(spent.values()) == pytest.approx(summary.seconds)
    originals = [o for o in summary.outcomes if o.name.startswith("original")]
    assert originals[0].spent["training"] > 0.5 * originals[0].seconds
    assert summary.speed["images/s"] > 0
    ratio = summary.speed["GFLOP/s"] / summary.speed["images/s"] * 1e9
    assert ratio == pytest.approx(flop_of("cnn", (), (1, 8, 8), 10), rel=0.2)  # medians of several trainings
    again = unlearnbench.run(str(tiny), tasks="data-removal", methods="neggrad", jobs=1, **places)
    assert again.speed == {}


def test_the_operations_per_image_are_those_of_its_matrix_products() -> None:
    first, second = 28 * 28 * 16 * 25, 14 * 14 * 32 * 16 * 25
    linear = 1568 * 256 + 256 * 128 + 128 * 10
    assert flop_of("cnn", (), (1, 28, 28), 10) == 2 * (2 * first + 3 * second + 3 * linear)  # no gradient of pixels
