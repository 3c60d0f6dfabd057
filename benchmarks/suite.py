"""A plan of all methods beside each method's pipeline run alone, as every paper's own code does it.

    python -m benchmarks.suite [--preset demo] [--dataset digits-8x8] [--task data-removal] [--seed 0]

The suite runs all methods of a preset on one task and seed. Beside it every method is run alone, in a cache of its own:
(i) with an Original, a Retrain and shadow networks of its own, as whoever compares a new method has to make them; and
(ii) with these three given. All with the same engine, attacks and number of workers, so that the ratio is that of doing
nothing twice.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import unlearnbench
from benchmarks import len_cores, machine
from unlearnbench.presets import NOTHING, REFERENCE


def timed(folder: Path, name: str, **options: Any) -> tuple[float, float]:
    """Seconds and ep of a run in a cache and results folder of this name."""
    start = time.perf_counter()
    summary = unlearnbench.run(
        cache=folder / name / "cache", results=folder / name / "results", device="cpu", **options
    )
    assert not summary.failed, summary.failed
    return time.perf_counter() - start, sum(outcome.ep for outcome in summary.outcomes)


def main() -> None:
    """Runs the benchmark and prints what it found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--dataset", default="digits-8x8")
    parser.add_argument("--task", default="data-removal")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", help="folder of data sets")
    given = parser.parse_args()
    where: dict[str, Any] = {"preset": given.preset, "datasets": given.dataset, "tasks": given.task, "data": given.data}
    where |= {"seeds": given.seed, "jobs": len_cores()}
    print(f"{machine()}\npreset {given.preset}, {given.dataset}, {given.task}, seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        methods = {c.method for c in unlearnbench.run(dry_run=True, cache=folder / "none", **where).plan.cells}
        methods -= {NOTHING, REFERENCE}
        suite, ep = timed(folder, "suite", **where)
        print(f"suite: all {len(methods)} methods and Retrain: {suite:.1f} s, {ep:.0f} passes", flush=True)
        timed(folder, "given", **where, methods=[NOTHING])
        alone = with_given = 0.0
        for method in sorted(methods):
            seconds, ep = timed(folder, method, **where, methods=[method])
            shutil.copytree(folder / "given", folder / f"{method}-given")
            beside, _ = timed(folder, f"{method}-given", **where, methods=[method])
            alone, with_given = alone + seconds, with_given + beside
            print(f"  {method:18} alone {seconds:6.1f} s ({ep:.0f} passes), with all given {beside:6.1f} s", flush=True)
        print(f"(i) alone, each with its own Original, Retrain and shadows: {alone:.0f} s, {alone / suite:.1f} times")
        print(f"(ii) one after the other, these given: {with_given:.0f} s, {with_given / suite:.2f} times the suite")


if __name__ == "__main__":
    main()
