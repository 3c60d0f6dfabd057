"""Spaces are drawn evenly, the default is the first point, and every method has the same number of points."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import METHODS

from unlearnbench import UserError
from unlearnbench.plugins import registry
from unlearnbench.plugins.method import Method
from unlearnbench.tuning.spaces import Choices, Range, at_edge, declared, parsed, points_of

SPACE = {"lr": Range(1e-6, 1e-2), "epochs": Choices([1, 3, 10])}
DEFAULT = {"lr": 1e-4, "epochs": 5}
UNTUNED = {"sisa", "eu-k", "laf", "laf-none-l1", "laf-none-l2", "laf-plain-distance", "laf-plain-alignment", "scrub-r"}
"""For the reasons that spaces.toml gives."""


def test_the_default_is_the_first_point_although_it_is_not_in_the_space() -> None:
    assert points_of(SPACE, DEFAULT, 12)[0] == DEFAULT


def test_points_are_the_same_in_every_call_and_a_larger_budget_adds_to_a_smaller_one() -> None:
    assert points_of(SPACE, DEFAULT, 12) == points_of(SPACE, DEFAULT, 12)
    assert points_of(SPACE, DEFAULT, 20)[:12] == points_of(SPACE, DEFAULT, 12)


def test_ranges_are_drawn_log_uniformly_and_choices_evenly() -> None:
    points = points_of(SPACE, DEFAULT, 65)[1:]  # 64 points of a sequence of base 2
    exponents = np.log10([point["lr"] for point in points])
    assert (exponents.min(), exponents.max()) >= (-6, -2.1)
    counts, _ = np.histogram(exponents, bins=4, range=(-6, -2))
    assert counts.tolist() == pytest.approx([16] * 4, abs=1)  # values are rounded to two digits
    chosen = [point["epochs"] for point in points]
    assert [chosen.count(value) for value in (1, 3, 10)] == pytest.approx([64 / 3] * 3, abs=2)


def test_drawn_values_have_two_significant_digits() -> None:
    assert all(float(f"{point['lr']:.1e}") == point["lr"] for point in points_of(SPACE, DEFAULT, 30))


def test_a_small_space_has_each_of_its_points_once() -> None:
    points = points_of({"epochs": Choices([1, 3])}, {"epochs": 1}, 12)
    assert points == [{"epochs": 1}, {"epochs": 3}]


def test_a_best_value_at_the_edge_of_a_range_is_named() -> None:
    tried = points_of(SPACE, DEFAULT, 12)
    lowest = min(tried, key=lambda point: point["lr"])
    assert at_edge(SPACE, lowest, tried) == ["lr"]
    assert at_edge(SPACE, DEFAULT, tried) == []


@pytest.mark.parametrize("value", [[], {"low": 0, "high": 1}, {"low": 2, "high": 1}, {"low": 1}, "1e-3"])
def test_what_is_neither_a_range_nor_choices_is_refused(value: object) -> None:
    with pytest.raises(UserError, match="lr needs a range LOW:HIGH"):
        parsed("lr", value)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_a_space_of_its_own_hyperparameters_or_a_reason_for_none(name: str) -> None:
    method = registry.get(Method, name)
    if name in UNTUNED or method.role == "control" or name == "retrain":
        assert name not in declared()
        return
    space = declared()[name]
    points = points_of(space, {key: method.defaults[key] for key in space}, 12)
    assert len(points) == 12
    for point in points:
        method.resolve(name, point)
    for key, values in space.items():
        if isinstance(values, Range):
            assert values.low < method.defaults[key] < values.high


def test_a_space_is_printed_as_the_command_line_takes_it() -> None:
    assert [str(values) for values in SPACE.values()] == ["1e-06:0.01", "1,3,10"]
