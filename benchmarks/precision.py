"""Whether bf16 gives the numbers of fp32: both on the same cells, beside what seeds make of them.

    python -m benchmarks.precision [--preset demo] [--dataset digits-8x8] [--methods retrain neggrad]

For every task, method and metric: the mean over seeds in either precision, the mean of the paired differences, and the
standard deviation over seeds in fp32. bf16 is as good if no difference is larger than that deviation. Then
`unlearnbench.precision.MEASURED` may name the data set with its network.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

import unlearnbench
from benchmarks import len_cores, machine
from unlearnbench import presets
from unlearnbench.tables import load

METRICS = ("train_r", "train_f", "test", "test_r", "test_f", "asr")


def numbers(folder: Path, preset: str, precision: str, **options: Any) -> pd.DataFrame:
    """The metrics in percent, by task, method and seed, of a run in this precision."""
    chosen = folder / f"{precision}.toml"
    text = (presets.HERE / f"{preset}.toml").read_text()
    chosen.write_text(text.replace("[recipe]", f'[recipe]\nprecision = "{precision}"', 1))
    summary = unlearnbench.run(chosen, cache=folder / "cache", results=folder / precision, device="cpu", **options)
    assert not summary.failed, summary.failed
    frame = load(folder / precision).set_index(["task", "method", "seed"]).sort_index()
    return 100 * frame[[metric for metric in METRICS if metric in frame]]


def main() -> None:
    """Runs the comparison and prints it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--dataset", default="digits-8x8")
    parser.add_argument("--methods", nargs="*", default=["original", "retrain", "neggrad-plus"])
    parser.add_argument("--seeds", default="0-2")
    parser.add_argument("--data", help="folder of data sets")
    given = parser.parse_args()
    options: dict[str, Any] = {"datasets": given.dataset, "methods": given.methods, "seeds": given.seeds}
    options |= {"data": given.data, "jobs": len_cores()}
    print(f"{machine()}\npreset {given.preset}, {given.dataset}, seeds {given.seeds}; in percent", flush=True)
    with tempfile.TemporaryDirectory() as name:
        fp32, bf16 = (numbers(Path(name), given.preset, precision, **options) for precision in ("fp32", "bf16"))
    groups = ["task", "method"]
    found = pd.concat(
        {
            "fp32": fp32.groupby(groups).mean().stack(),
            "bf16": bf16.groupby(groups).mean().stack(),
            "difference": (bf16 - fp32).groupby(groups).mean().stack(),
            "deviation": fp32.groupby(groups).std().stack(),
        },
        axis=1,
    )
    print(found.round(2).to_string())
    larger = found[found["difference"].abs() > found["deviation"]]
    print(f"{len(larger)} of {len(found)} differences are larger than the deviation over seeds")


if __name__ == "__main__":
    main()
