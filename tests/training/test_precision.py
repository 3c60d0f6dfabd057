"""bf16 is a recipe of its own; "auto" takes it only where it is known to be as good, and fast."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import unlearnbench
from benchmarks.precision import compared, drift, within
from unlearnbench import UserError
from unlearnbench.training import precision
from unlearnbench.training.recipe import Recipe


@pytest.mark.parametrize("fast", [True, False])
def test_auto_is_bf16_where_it_is_measured_and_fast(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "made_for_bf16", lambda device: fast)
    monkeypatch.setattr(precision, "MEASURED", {("somebody's", "measured")})
    assert precision.resolved("auto", "somebody's", "measured", "cpu", "native") == ("bf16" if fast else "fp32")
    assert precision.resolved("auto", "somebody's", "measured", "cpu", "portable") == "fp32"
    assert precision.resolved("auto", "nobody", "measured", "cpu", "native") == "fp32"
    assert precision.resolved("bf16", "nobody", "measured", "cpu", "native") == "bf16"  # who asks for it gets it


def test_bf16_is_refused_where_numbers_must_be_equal_on_all_processors() -> None:
    with pytest.raises(UserError, match="use --arithmetic native"):
        precision.resolved("bf16", "nobody", "measured", "cpu", "portable")


@pytest.mark.parametrize("kind", precision.CPUS)
def test_a_cpu_is_made_for_bf16_if_torch_says_so(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {other: f"_is_{other}_supported" for other in precision.CPUS}
    for name in names.values():
        assert hasattr(torch.cpu, name) or tuple(map(int, torch.__version__.split(".")[:2])) < (2, 11)
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    assert not precision.made_for_bf16("cpu")
    monkeypatch.setattr(torch.cpu, names[kind], lambda: True)
    assert precision.made_for_bf16("cpu")
    monkeypatch.delattr(torch.cpu, names[kind])  # as in torch 2.4
    assert not precision.made_for_bf16("cpu")


def test_it_is_in_the_keys(tiny: Path, tmp_path: Path) -> None:
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
    """Metrics of 300 methods on one task that scatter about means of their own, for five seeds."""
    rows = pd.MultiIndex.from_product([["t"], range(300), range(5)], names=["task", "method", "seed"])
    means = np.repeat(np.arange(300.0), 5)[:, None]
    found = pd.DataFrame(means + spread * random.normal(size=(1500, 2)), rows, ["test", "asr"])
    return found.rename_axis(columns="metric")


def test_the_benchmark_finds_chance_as_large_as_that_of_seeds_and_no_direction() -> None:
    random = np.random.default_rng(0)
    one, other = drawn(random, 2.0), drawn(random, 2.0)
    for by in ("metric", "method"):
        found = compared(one, other, by)
        assert found["ratio"].median() == pytest.approx(1, abs=0.1)
    by_metric = compared(one, other, "metric")
    assert by_metric["seeds"].to_numpy() == pytest.approx(2 * 2**0.5, rel=0.05)  # of a difference of two
    assert ((drift(one, other)["low"] < 0) & (drift(one, other)["high"] > 0)).all()


def test_the_benchmark_finds_a_direction_that_is_smaller_than_what_seeds_do() -> None:
    random = np.random.default_rng(1)
    one = drawn(random, 2.0)
    other = one + 0.3 + drawn(random, 0.1) - drawn(random, 0.0)
    apart, common = compared(one, other, "metric"), drift(one, other)
    assert (apart["ratio"] < 0.2).all()
    assert common["mean"].to_numpy() == pytest.approx(0.3, abs=0.02)
    assert (common["low"] > 0).all()
    assert within(apart, common)  # a tenth of what two seeds are apart


@pytest.mark.parametrize(("spread", "shift", "good"), [(1.0, 0.0, True), (3.0, 0.0, False), (0.1, 4.0, False)])
def test_bf16_is_within_what_seeds_do_if_neither_chance_nor_direction_is_larger(
    spread: float, shift: float, good: bool
) -> None:
    random = np.random.default_rng(2)
    one = drawn(random, 2.0)
    other = one + shift + drawn(random, spread) - drawn(random, 0.0)
    assert within(compared(one, other, "metric"), drift(one, other)) == good
    other["asr"] = one["asr"]
    assert within(compared(one, other, "metric"), drift(one, other)) == good  # a single metric decides


def test_of_one_seed_nobody_knows_what_seeds_do() -> None:
    one = drawn(np.random.default_rng(3), 2.0).xs(0, level="seed", drop_level=False)
    assert not within(compared(one, one, "metric"), drift(one, one))
