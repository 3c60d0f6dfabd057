"""Whether bf16 gives the numbers of fp32: both on the same cells, beside what seeds make of them.

    python -m benchmarks.precision [--preset demo] [--dataset digits-8x8] [--methods retrain neggrad]

A cell in bf16 differs from the same cell in fp32; two cells of different seeds differ, too. bf16 is within what seeds
do if, in every metric, the first difference is not larger than the second, as root mean squares over tasks, methods and
seeds, and if what all cells have in common of it is not larger either: the farther limit of its t-interval over seeds.
Methods are shown, but decide nothing: they are many, and some would fail by chance. If bf16 is within what seeds do,
`unlearnbench.training.precision.MEASURED` may name the data set with its network.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

import unlearnbench
from benchmarks import len_cores, machine
from unlearnbench import statistics
from unlearnbench.planning import presets
from unlearnbench.reporting.record import Record
from unlearnbench.storage.records import read_record

METRICS = ("train_r", "train_f", "test", "test_r", "test_f", "asr")


def numbers(folder: Path, preset: str, precision: str, **options: Any) -> pd.DataFrame:
    """The metrics in percent, by task, method and seed, of a run in this precision."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = folder / f"{precision}.toml"
    text = (presets.HERE / f"{preset}.toml").read_text()
    chosen.write_text(text.replace("[recipe]", f'[recipe]\nprecision = "{precision}"', 1))
    places = {"cache": folder / "cache", "results": folder / precision}
    summary = unlearnbench.run(chosen, device="cpu", arithmetic="native", **places, **options)  # bf16 is native only
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
    parser.add_argument("--folder", help="where to keep what is made, to go on later  [a temporary one]")
    given = parser.parse_args()
    options: dict[str, Any] = {"datasets": given.dataset, "methods": given.methods, "seeds": given.seeds}
    options |= {"data": given.data, "jobs": len_cores()}
    print(f"{machine()}\npreset {given.preset}, {given.dataset}, seeds {given.seeds}; in percent", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(given.folder or temporary)
        fp32, bf16 = (numbers(folder, given.preset, precision, **options) for precision in ("fp32", "bf16"))
    apart, common = compared(fp32, bf16, "metric"), drift(fp32, bf16)
    print("points between the precisions of one cell, and between two seeds of it")
    print(pd.concat([apart, compared(fp32, bf16, "method")]).round(2).to_string())
    print("bf16 less fp32, mean over all cells, with intervals that hold together for 95 of 100 such benchmarks")
    print(common.round(2).to_string())
    print("bf16 is" + ("" if within(apart, common) else " not shown to be") + " within what seeds do")


def compared(fp32: pd.DataFrame, bf16: pd.DataFrame, by: str) -> pd.DataFrame:
    """How far the precisions of one cell are apart, and two seeds of it, as root mean squares, and their ratio.

    By "metric" over all methods, or by "method" over all metrics.
    """
    of_seeds = 2 * fp32.groupby(["task", "method"]).transform("var")  # the variance of a difference is twice each one's
    squares = pd.DataFrame({"precisions": ((bf16 - fp32) ** 2).T.unstack(), "seeds": of_seeds.T.unstack()})
    means = squares.groupby(by).mean() ** 0.5
    return means.assign(ratio=means["precisions"] / means["seeds"])


def drift(fp32: pd.DataFrame, bf16: pd.DataFrame) -> pd.DataFrame:
    """The mean difference in each metric with an interval over seeds (Bonferroni)."""
    by_seed = (bf16 - fp32).groupby("seed").mean()
    level = 1 - 0.05 / by_seed.shape[1]
    found = {metric: statistics.paired(by_seed[metric].to_numpy(), level) for metric in by_seed}
    return pd.DataFrame({m: [i.value, i.low, i.high] for m, i in found.items()}, index=["mean", "low", "high"]).T


def within(apart: pd.DataFrame, common: pd.DataFrame) -> bool:
    """Whether bf16 is within what seeds do, by metric; not if too little is known, as of a single seed."""
    farther = common[["low", "high"]].abs().max(axis=1)
    return bool((apart["ratio"] <= 1).all() and (farther <= apart["seeds"].reindex(farther.index)).all())


if __name__ == "__main__":
    main()
