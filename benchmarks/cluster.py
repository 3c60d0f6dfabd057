"""Compares workers of a Dask scheduler on this machine with local workers.

    python -m benchmarks.cluster [--rounds 3] [--epochs 3] [--idle 200]

First, 20 equal cells (Retrain on digits) are run by one and by two workers, local ones and Dask's, in turn: what two
local workers gain is what the machine allows. Then come cells whose method does nothing, with one local worker and one
Dask worker: the difference is the overhead of a cell. A cluster exists only while its runs are timed, because an idle
one takes about 9 % of a core, and each timed run comes after one that is not counted, which starts processes.
Every run computes all its cells; originals and shadow models are cached. Needs the extra `dask`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import dask
import distributed

from benchmarks import machine
from benchmarks.scaling import CELLS, METHODS, NOTHING, RETRAIN, install, preset, timed

Options = Callable[[], AbstractContextManager[Mapping[str, Any]]]
"""Opens workers of some kind, and gives the options with which `run` uses them."""


def local(count: int) -> Options:
    """Workers of this process."""
    return lambda: nullcontext({"jobs": count})


def cluster(folder: Path, count: int) -> Options:
    """A scheduler with workers of one thread each on this machine, as docs/howto/cluster.md starts them."""

    @contextmanager
    def opened() -> Iterator[Mapping[str, Any]]:
        config = {"distributed.worker.daemon": False, "distributed.worker.profile.enabled": False}
        with (
            dask.config.set({**config, "temporary-directory": str(folder)}),
            distributed.LocalCluster(
                n_workers=count, threads_per_worker=1, dashboard_address=":0", silence_logs="CRITICAL"
            ) as workers,
            distributed.Client(workers, set_as_default=False) as client,
        ):
            yield {"engine": client}

    return opened


def medians(folder: Path, path: str, cells: int, kinds: Mapping[str, Options], rounds: int) -> dict[str, float]:
    """The median seconds of a run by each kind of workers; they take turns."""
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, opened in kinds.items():
            with opened() as options:
                for _ in range(2):  # the first run starts processes
                    seconds, summary = timed(folder, preset=path, results=folder / name, force=True, **options)
                    assert len(summary.plan.cells) == cells and not summary.failed, summary.failed[:1]
                    # a Retrain is not made again
                    assert len(summary.outcomes) >= len(summary.plan.to_run) > 0.9 * cells
            times[name].append(seconds)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def compare(folder: Path, kinds: Mapping[str, Options], rounds: int, epochs: int, idle: Sequence[int]) -> None:
    """Runs both comparisons, and prints them."""
    equal = preset(folder, "equal", RETRAIN.format(last=CELLS - 1, epochs=epochs))
    found = medians(folder, equal, CELLS, kinds, rounds)
    text = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in found.items())
    gains = ", ".join(
        f"{kind} {found[f'1 {kind} worker'] / found[f'2 {kind} workers']:.2f}" for kind in ("local", "Dask")
    )
    print(f"{CELLS} equal cells: {text}; two workers are so many times as fast as one: {gains}", flush=True)
    names = ", ".join(f'"nothing-{n}"' for n in range(METHODS - 1))
    for cells in idle:
        path = preset(folder, f"idle{cells}", NOTHING.format(last=cells // METHODS - 1, methods=names))
        single = {name: options for name, options in kinds.items() if name.startswith("1 ")}
        here, there = medians(folder, path, cells, single, rounds).values()
        print(
            f"{cells} cells that do nothing: local {here:.1f} s, Dask {there:.1f} s; Dask takes "
            f"{1e3 * (there - here) / cells:.1f} ms more for each cell",
            flush=True,
        )


def main() -> None:
    """Runs the benchmark and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--idle", type=int, nargs="*", default=[200], help="numbers of cells that do nothing")
    options = parser.parse_args()
    if any(cells < METHODS for cells in options.idle):
        parser.error(f"--idle needs at least {METHODS} cells: one seed of {METHODS} methods")
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        install(folder / "site")
        kinds = {
            **{"1 local worker": local(1), "2 local workers": local(2)},
            **{"1 Dask worker": cluster(folder, 1), "2 Dask workers": cluster(folder, 2)},
        }
        compare(folder, kinds, options.rounds, options.epochs, options.idle)


if __name__ == "__main__":
    main()
