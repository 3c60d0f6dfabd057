"""bf16 is part of the recipe; "auto" uses it only where it was measured to be as good, and is fast."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import unlearnbench
from benchmarks.precision import differences, mean_difference, within
from unlearnbench import UserError
from unlearnbench.training import precision
from unlearnbench.training.recipe import Recipe


@pytest.mark.parametrize("fast", [True, False])
def test_auto_is_bf16_where_it_is_measured_and_fast(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "made_for_bf16", lambda device: fast)
    monkeypatch.setattr(precision, "MEASURED", {("a-dataset", "measured")})
    assert precision.resolved("auto", "a-dataset", "measured", "cpu", "native") == ("bf16" if fast else "fp32")
    assert precision.resolved("auto", "a-dataset", "measured", "cpu", "portable") == "fp32"
    assert precision.resolved("auto", "another-dataset", "measured", "cpu", "native") == "fp32"
    assert (
        precision.resolved("bf16", "another-dataset", "measured", "cpu", "native") == "bf16"
    )  # it was chosen explicitly


def test_bf16_is_refused_with_portable_arithmetic() -> None:
    with pytest.raises(UserError, match="use --arithmetic native"):
        precision.resolved("bf16", "another-dataset", "measured", "cpu", "portable")


@pytest.mark.parametrize("kind", precision.CPUS)
def test_a_cpu_has_bf16_instructions_if_torch_reports_them(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {other: f"_is_{other}_supported" for other in precision.CPUS}
    for name in names.values():
        assert hasattr(torch.cpu, name) or tuple(map(int, torch.__version__.split(".")[:2])) < (2, 11)
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    assert not precision.made_for_bf16("cpu")
    monkeypatch.setattr(torch.cpu, names[kind], lambda: True)
    assert precision.made_for_bf16("cpu")
    monkeypatch.delattr(torch.cpu, names[kind])  # as in torch 2.4
    assert not precision.made_for_bf16("cpu")


def test_the_precision_is_in_the_keys(tiny: Path, tmp_path: Path) -> None:
    keys = {}
    for name in ("fp32", "bf16"):
        preset = tmp_path / f"{name}.toml"
        preset.write_text(tiny.read_text().replace("[recipe]", f'[recipe]\nprecision = "{name}"'))
        plan = unlearnbench.run(preset, dry_run=True, cache=tmp_path, results=tmp_path).plan
        keys[name] = {cell.outputs.digest for cell in plan.cells} | {job.digest for job in plan.shared}
    assert not keys["fp32"] & keys["bf16"]


def test_another_precision_is_refused() -> None:
    with pytest.raises(UserError, match="unknown precision 'fp16'"):
        Recipe(precision="fp16")


def drawn(random: np.random.Generator, spread: float) -> pd.DataFrame:
    """Metrics of 300 methods on one task for five seeds, which scatter around the mean of each method."""
    rows = pd.MultiIndex.from_product([["t"], range(300), range(5)], names=["task", "method", "seed"])
    means = np.repeat(np.arange(300.0), 5)[:, None]
    table = pd.DataFrame(means + spread * random.normal(size=(1500, 2)), rows, ["test", "asr"])
    return table.rename_axis(columns="metric")


def test_the_benchmark_measures_differences_of_seeds_and_no_drift() -> None:
    random = np.random.default_rng(0)
    one, other = drawn(random, 2.0), drawn(random, 2.0)
    for by in ("metric", "method"):
        table = differences(one, other, by)
        assert table["ratio"].median() == pytest.approx(1, abs=0.1)
    by_metric = differences(one, other, "metric")
    assert by_metric["seeds"].to_numpy() == pytest.approx(2 * 2**0.5, rel=0.05)  # of a difference of two
    assert ((mean_difference(one, other)["low"] < 0) & (mean_difference(one, other)["high"] > 0)).all()


def test_the_benchmark_detects_a_drift_that_is_smaller_than_the_effect_of_seeds() -> None:
    random = np.random.default_rng(1)
    one = drawn(random, 2.0)
    other = one + 0.3 + drawn(random, 0.1) - drawn(random, 0.0)
    apart, common = differences(one, other, "metric"), mean_difference(one, other)
    assert (apart["ratio"] < 0.2).all()
    assert common["mean"].to_numpy() == pytest.approx(0.3, abs=0.02)
    assert (common["low"] > 0).all()
    assert within(apart, common)  # a tenth of the difference of two seeds


@pytest.mark.parametrize(("spread", "shift", "good"), [(1.0, 0.0, True), (3.0, 0.0, False), (0.1, 4.0, False)])
def test_bf16_is_good_if_neither_scatter_nor_drift_exceeds_the_effect_of_seeds(
    spread: float, shift: float, good: bool
) -> None:
    random = np.random.default_rng(2)
    one = drawn(random, 2.0)
    other = one + shift + drawn(random, spread) - drawn(random, 0.0)
    assert within(differences(one, other, "metric"), mean_difference(one, other)) == good
    other["asr"] = one["asr"]
    assert within(differences(one, other, "metric"), mean_difference(one, other)) == good  # a single metric suffices


def test_with_one_seed_bf16_is_never_good() -> None:
    one = drawn(np.random.default_rng(3), 2.0).xs(0, level="seed", drop_level=False)
    assert not within(differences(one, one, "metric"), mean_difference(one, one))
