"""A plan of all methods beside each method's pipeline run alone, as every paper's own code does it.

    python -m benchmarks.suite [--preset demo] [--dataset digits-8x8] [--task data-removal] [--seed 0]

The suite runs all methods of a preset on one task and seed. Beside it every method is run alone, in a cache of its own:
(i) with an Original, a Retrain and shadow models of its own, as whoever compares a new method has to make them; and
(ii) with these three given. All with the same engine, attacks and number of workers, so that the ratio is that of doing
nothing twice. The suite runs before, among and after them, because machines are not always equally fast.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import unlearnbench
from benchmarks import len_cores, machine
from unlearnbench.planning.presets import NOTHING, REFERENCE

EVERY = 5
"""After how many methods the suite runs once more."""


def timed(folder: Path, name: str, **options: Any) -> tuple[float, float, str]:
    """Seconds, ep, and where the time went, of a run in a cache and results folder of this name."""
    start = time.perf_counter()
    summary = unlearnbench.run(
        cache=folder / name / "cache", results=folder / name / "results", device="cpu", **options
    )
    assert not summary.failed, summary.failed
    whole = summary.workers * summary.seconds
    parts = ", ".join(f"{kind} {spent / whole:.0%}" for kind, spent in summary.spent.items())
    return time.perf_counter() - start, sum(outcome.ep for outcome in summary.outcomes), parts


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
        timed(folder, "given", **where, methods=[NOTHING])
        alone, given_all, suites, passes = 0.0, 0.0, [], 0.0

        def suite() -> float:
            """Runs the suite; returns its passes."""
            seconds, ep, parts = timed(folder, f"suite {len(suites)}", **where)
            suites.append(seconds)
            print(
                f"suite: all {len(methods)} methods and Retrain: {seconds:.1f} s, {ep:.0f} passes: {parts}", flush=True
            )
            return ep

        for place, method in enumerate(sorted(methods)):
            if place % EVERY == 0:
                suite()
            seconds, ep, _ = timed(folder, method, **where, methods=[method])
            shutil.copytree(folder / "given", folder / f"{method}-given")
            beside, *_ = timed(folder, f"{method}-given", **where, methods=[method])
            alone, given_all, passes = alone + seconds, given_all + beside, passes + ep
            print(f"  {method:18} alone {seconds:6.1f} s ({ep:.0f} passes), with all given {beside:6.1f} s", flush=True)
        passes_of_suite = suite()
        typical = statistics.median(suites)
        print(f"suite: {typical:.1f} s, the median of {len(suites)}")
        print(
            f"(i) alone, each with its own Original, Retrain and shadows: {alone:.0f} s, {alone / typical:.1f} times;"
        )
        print(f"    in passes {passes:.0f}, {passes / passes_of_suite:.1f} times")
        print(f"(ii) one after the other, these given: {given_all:.0f} s, {given_all / typical:.2f} times the suite")


if __name__ == "__main__":
    main()
