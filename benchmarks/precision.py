"""Whether bf16 gives the numbers of fp32: both on the same cells, beside what seeds make of them.

    python -m benchmarks.precision [--preset demo] [--dataset digits-8x8] [--methods retrain neggrad]

A cell in bf16 differs from the same cell in fp32; two cells of different seeds differ, too. bf16 is within what seeds
do if, in no metric (over all methods) and for no method (over all metrics), the first difference is larger than the
second, as root mean squares over tasks and seeds; and if in no metric the differences have a direction, by t-intervals
over seeds that hold together. Then `unlearnbench.precision.MEASURED` may name the data set with its network.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

import unlearnbench
from benchmarks import len_cores, machine
from unlearnbench import presets, stats
from unlearnbench.records import load

METRICS = ("train_r", "train_f", "test", "test_r", "test_f", "asr")


def numbers(folder: Path, preset: str, precision: str, **options: Any) -> pd.DataFrame:
    """The metrics in percent, by task, method and seed, of a run in this precision."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = folder / f"{precision}.toml"
    text = (presets.HERE / f"{preset}.toml").read_text()
    chosen.write_text(text.replace("[recipe]", f'[recipe]\nprecision = "{precision}"', 1))
    summary = unlearnbench.run(chosen, cache=folder / "cache", results=folder / precision, device="cpu", **options)
    assert not summary.failed, summary.failed
    names = ["task", "method", "seed"]
    cells = [tuple(cell.about[name] for name in names) for cell in summary.plan.cells]
    frame = load(folder / precision).set_index(names).loc[cells]
    return 100 * frame[[metric for metric in METRICS if metric in frame]].rename_axis(columns="metric")


def main() -> None:
    """Runs the comparison and prints it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--dataset", default="digits-8x8")
    parser.add_argument("--methods", nargs="*", default=(), help="[all of the preset]")
    parser.add_argument("--seeds", default="0-2")
    parser.add_argument("--data", help="folder of data sets")
    parser.add_argument("--folder", help="where to keep what is made, to go on later  [a temporary one]")
    given = parser.parse_args()
    options: dict[str, Any] = {"datasets": given.dataset, "methods": given.methods, "seeds": given.seeds}
    options |= {"data": given.data, "jobs": len_cores()}
    print(f"{machine()}\npreset {given.preset}, {given.dataset}, seeds {given.seeds}; in percent", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(given.folder or temporary)
        fp32, bf16 = (numbers(folder, given.preset, precision, **options) for precision in ("fp32", "bf16"))
    apart = pd.concat([compared(fp32, bf16, by) for by in ("metric", "method")])
    print("points between the precisions of one cell, and between two seeds of it")
    print(apart.round(2).to_string())
    directed = drift(fp32, bf16)
    print("bf16 less fp32, mean over all cells, with intervals that hold together for 95 of 100 such benchmarks")
    print(directed.round(3).to_string())
    larger, away = apart["ratio"] > 1, (directed["low"] > 0) | (directed["high"] < 0)
    print("bf16 is" + (" not" if larger.any() or away.any() else "") + " within what seeds do")


def compared(fp32: pd.DataFrame, bf16: pd.DataFrame, by: str) -> pd.DataFrame:
    """How far the precisions of one cell are apart, and two seeds of it, as root mean squares, and their ratio.

    By "metric" over all methods, or by "method" over all metrics.
    """
    of_seeds = 2 * fp32.groupby(["task", "method"]).transform("var")  # the variance of a difference is twice each one's
    squares = pd.DataFrame({"precisions": ((bf16 - fp32) ** 2).stack(), "seeds": of_seeds.stack()})
    means = squares.groupby(by).mean() ** 0.5
    return means.assign(ratio=means["precisions"] / means["seeds"])


def drift(fp32: pd.DataFrame, bf16: pd.DataFrame) -> pd.DataFrame:
    """The mean difference in each metric with an interval over seeds (Bonferroni)."""
    by_seed = (bf16 - fp32).groupby("seed").mean()
    level = 1 - 0.05 / by_seed.shape[1]
    found = {metric: stats.paired(by_seed[metric].to_numpy(), level) for metric in by_seed}
    return pd.DataFrame({m: [i.value, i.low, i.high] for m, i in found.items()}, index=["mean", "low", "high"]).T


if __name__ == "__main__":
    main()
