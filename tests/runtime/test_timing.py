"""Where the time goes: every second is booked once, under the innermost kind of work."""

from __future__ import annotations

from pathlib import Path

import pytest

import unlearnbench
from unlearnbench.artefacts.sizes import flop_of
from unlearnbench.runtime import timing


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the clock will show, one after the other."""
    shown: list[float] = []
    monkeypatch.setattr("time.perf_counter", lambda: shown.pop(0))
    timing.taken()
    return shown


def test_inner_work_is_not_booked_twice(times: list[float]) -> None:
    times[:] = [0, 1, 3, 4, 5, 9, 10, 12]
    with timing.spending("overhead"), timing.spending("unlearning"):
        with timing.spending("training"):
            pass
        with pytest.raises(ValueError, match="x"), timing.spending("training"):
            raise ValueError("x")
    assert timing.taken() == {"overhead": 1 + 2, "unlearning": 2 + 1 + 1, "training": 1 + 4}
    assert timing.taken() == {}


@pytest.mark.usefixtures("in_this_process")
def test_a_run_says_where_its_time_went(tiny: Path, tmp_path: Path) -> None:
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
    assert ratio == pytest.approx(flop_of("cnn", (), (1, 28, 28), 10), rel=0.2)  # medians of several trainings
    again = unlearnbench.run(str(tiny), tasks="data-removal", methods="neggrad", jobs=1, **places)
    assert again.speed == {}


def test_the_work_on_an_image_is_that_of_its_products() -> None:
    first, second = 28 * 28 * 16 * 25, 14 * 14 * 32 * 16 * 25
    linear = 1568 * 256 + 256 * 128 + 128 * 10
    assert flop_of("cnn", (), (1, 28, 28), 10) == 2 * (2 * first + 3 * second + 3 * linear)  # no gradient of pixels
