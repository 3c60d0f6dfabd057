"""Compares one run of all methods with a separate pipeline for each method, as in the code of papers.

    python -m benchmarks.suite [--preset demo] [--dataset digits-8x8] [--task data-removal] [--seed 0]

The suite runs all methods of a preset on one task and seed. For comparison, every method is run alone, in a cache of
its own: (i) with an original, a Retrain and shadow models of its own; and (ii) with these three given. Engine, attacks
and number of workers are the same, so the ratio shows the gain of shared artefacts. The suite runs before, between and
after the others, because the speed of machines varies.
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
from benchmarks import core_count, machine
from unlearnbench.planning.presets import ORIGINAL, REFERENCE

EVERY = 5
"""The number of methods between two runs of the suite."""


def timed(folder: Path, name: str, **options: Any) -> tuple[float, float, str]:
    """Runs in a cache and results folder of this name; returns seconds, ep, and the time by kind of work."""
    start = time.perf_counter()
    summary = unlearnbench.run(
        cache=folder / name / "cache", results=folder / name / "results", device="cpu", **options
    )
    assert not summary.failed, summary.failed
    whole = summary.workers * summary.seconds
    parts = ", ".join(f"{kind} {spent / whole:.0%}" for kind, spent in summary.spent.items())
    return time.perf_counter() - start, sum(outcome.ep for outcome in summary.outcomes), parts


def main() -> None:
    """Runs the benchmark and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--dataset", default="digits-8x8")
    parser.add_argument("--task", default="data-removal")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", help="folder of data sets")
    arguments = parser.parse_args()
    selection = {"preset": arguments.preset, "datasets": arguments.dataset, "tasks": arguments.task}
    options: dict[str, Any] = {**selection, "seeds": arguments.seed, "data": arguments.data, "jobs": core_count()}
    print(f"{machine()}\n{', '.join(selection.values())}, seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        methods = {c.method for c in unlearnbench.run(dry_run=True, cache=folder / "none", **options).plan.cells}
        methods -= {ORIGINAL, REFERENCE}
        timed(folder, "given", **options, methods=[ORIGINAL])
        alone, given_all, passes = 0.0, 0.0, 0.0
        suites: list[float] = []

        def suite() -> float:
            """Runs the suite; returns its passes."""
            seconds, ep, parts = timed(folder, f"suite {len(suites)}", **options)
            suites.append(seconds)
            print(
                f"suite: all {len(methods)} methods and Retrain: {seconds:.1f} s, {ep:.0f} passes: {parts}", flush=True
            )
            return ep

        for count, method in enumerate(sorted(methods)):
            if count % EVERY == 0:
                suite()
            seconds, ep, _ = timed(folder, method, **options, methods=[method])
            shutil.copytree(folder / "given", folder / f"{method}-given")
            shared_seconds, *_ = timed(folder, f"{method}-given", **options, methods=[method])
            alone, given_all, passes = alone + seconds, given_all + shared_seconds, passes + ep
            print(
                f"  {method:18} alone {seconds:6.1f} s ({ep:.0f} passes), with the rest given {shared_seconds:6.1f} s",
                flush=True,
            )
        passes_of_suite = suite()
        typical = statistics.median(suites)
        print(f"suite: {typical:.1f} s, the median of {len(suites)}")
        print(
            f"(i) each method alone, with its own original, Retrain and shadow models: {alone:.0f} s, "
            f"{alone / typical:.1f} times the suite;"
        )
        print(f"    in passes {passes:.0f}, {passes / passes_of_suite:.1f} times")
        print(f"(ii) each method alone, with these given: {given_all:.0f} s, {given_all / typical:.2f} times the suite")


if __name__ == "__main__":
    main()
