"""Compares the metrics of bf16 and fp32 on the same cells, relative to the differences between seeds.

    python -m benchmarks.precision [--preset demo] [--dataset digits-8x8] [--methods retrain neggrad]

A cell differs between bf16 and fp32, and between two seeds. bf16 is within the differences of seeds if, for every
metric, (1) the root mean square of the former difference over tasks, methods and seeds is not larger than that of the
latter, and (2) the mean difference over all cells is not larger either, at the outer limit of its t-interval over
seeds. Differences by method are printed but do not count: with so many methods, some would fail by chance. If bf16 is
within the differences of seeds, `unlearnbench.training.precision.MEASURED` may name the data set and model.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

import unlearnbench
from benchmarks import core_count, machine
from unlearnbench import statistics
from unlearnbench.planning import presets
from unlearnbench.reporting.record import Record
from unlearnbench.storage.records import read_record

METRICS = ("train_r", "train_f", "test", "test_r", "test_f", "asr")


def numbers(folder: Path, preset: str, precision: str, **options: Any) -> pd.DataFrame:
    """Runs the cells in this precision; returns their metrics in percent, by task, method and seed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{precision}.toml"
    text = (presets.HERE / f"{preset}.toml").read_text()
    path.write_text(text.replace("[recipe]", f'[recipe]\nprecision = "{precision}"', 1))
    options |= {"cache": folder / "cache", "results": folder / precision}
    summary = unlearnbench.run(path, device="cpu", arithmetic="native", **options)  # bf16 is native only
    assert not summary.failed, summary.failed
    assert {cell.scenario.recipe.precision for cell in summary.plan.cells} == {precision}
    rows = [Record.from_json(record).row() for cell in summary.plan.cells if (record := read_record(cell.path))]
    frame = pd.DataFrame(rows).set_index(["task", "method", "seed"])
    return 100 * frame[[metric for metric in METRICS if metric in frame]].rename_axis(columns="metric")


def main() -> None:
    """Runs the comparison and prints it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--dataset", default="digits-8x8")
    parser.add_argument("--methods", nargs="*", default=(), help="[all of the preset]")
    parser.add_argument("--seeds", default="0-2")
    parser.add_argument("--data", help="folder of data sets")
    parser.add_argument("--folder", help="folder of artefacts and results, to continue later  [a temporary one]")
    arguments = parser.parse_args()
    options: dict[str, Any] = {"datasets": arguments.dataset, "methods": arguments.methods, "seeds": arguments.seeds}
    options |= {"data": arguments.data, "jobs": core_count()}
    print(
        f"{machine()}\npreset {arguments.preset}, {arguments.dataset}, seeds {arguments.seeds}; in percent", flush=True
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(arguments.folder or temporary)
        fp32, bf16 = (numbers(folder, arguments.preset, precision, **options) for precision in ("fp32", "bf16"))
    by_metric, drift = differences(fp32, bf16, "metric"), mean_difference(fp32, bf16)
    print("difference between precisions and between seeds, root mean squares in percentage points")
    print(pd.concat([by_metric, differences(fp32, bf16, "method")]).round(2).to_string())
    print("bf16 minus fp32: mean over all cells, with simultaneous 95 % intervals")
    print(drift.round(2).to_string())
    print("bf16 is" + ("" if within(by_metric, drift) else " not shown to be") + " within the differences of seeds")


def differences(fp32: pd.DataFrame, bf16: pd.DataFrame, by: str) -> pd.DataFrame:
    """Root mean square differences between precisions and between seeds, and their ratio.

    By "metric" over all methods, or by "method" over all metrics.
    """
    of_seeds = 2 * fp32.groupby(["task", "method"]).transform("var")  # the variance of a difference of two seeds
    squares = pd.DataFrame({"precisions": ((bf16 - fp32) ** 2).T.unstack(), "seeds": of_seeds.T.unstack()})
    means = squares.groupby(by).mean() ** 0.5
    return means.assign(ratio=means["precisions"] / means["seeds"])


def mean_difference(fp32: pd.DataFrame, bf16: pd.DataFrame) -> pd.DataFrame:
    """The mean difference in each metric, with a t-interval over seeds (Bonferroni)."""
    by_seed = (bf16 - fp32).groupby("seed").mean()
    level = 1 - 0.05 / by_seed.shape[1]
    intervals = {metric: statistics.paired(by_seed[metric].to_numpy(), level) for metric in by_seed}
    return pd.DataFrame({m: [i.value, i.low, i.high] for m, i in intervals.items()}, index=["mean", "low", "high"]).T


def within(by_metric: pd.DataFrame, drift: pd.DataFrame) -> bool:
    """True if bf16 is within the differences of seeds in every metric; False for a single seed, which shows nothing."""
    limit = drift[["low", "high"]].abs().max(axis=1)
    return bool((by_metric["ratio"] <= 1).all() and (limit <= by_metric["seeds"].reindex(limit.index)).all())


if __name__ == "__main__":
    main()
