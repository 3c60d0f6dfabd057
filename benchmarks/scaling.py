"""Measures how the suite scales with workers, and the overhead of a cell.

    python -m benchmarks.scaling [--cells 1000 10000] [--rounds 3]

First, 20 equal cells (Retrain on digits) are run alternately with one worker and with one for each core, each time with
new results. Then come plans of many cells with a data set of 40 images, a linear network, training of one step, and
methods that return the original: their time is that of overhead and attacks.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import unlearnbench
from benchmarks import core_count, machine

CELLS = 20
RETRAIN = """
shadows = 2
[select]
seeds = "0-{last}"
tasks = ["class-removal"]
methods = ["retrain"]
[recipe]
lr = 2e-3
epochs = {epochs}
[datasets.digits-8x8]
model = "cnn"
"""
NOTHING = """
shadows = 2
[select]
seeds = "0-{last}"
tasks = ["class-removal"]
methods = [{methods}]
[recipe]
epochs = 1
batch = 64
[datasets.little]
model = "linear"
"""
METHODS = 100
"""The number of methods that do nothing."""
PLUGINS = '''
import torch
from torch import nn
from unlearnbench import Access, Dataset, Network, dataset, method, model

@dataset(title="LITTLE", files={})
def little(root):
    """Forty images of two classes to train on, and forty to test."""
    images = torch.randint(256, (80, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(80) % 2
    return Dataset(images[:40], labels[:40], images[40:], labels[40:], 2)

@model(title="Linear")
def linear(shape, num_classes):
    """A single layer."""
    return Network(nn.Flatten(), nn.Linear(16, num_classes), last_layer="head")
''' + "".join(
    f'''
@method(title="Nothing {n}", access=Access())
def nothing_{n}(problem):
    """Does nothing."""
    return problem.network()

@nothing_{n}.cost
def cost_of_nothing_{n}(forget, recipe):
    return 0.0
'''
    for n in range(METHODS)
)


def install(folder: Path) -> None:
    """Installs the plugins as a package, for this process and its workers."""
    info = folder / "idle-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: idle\nVersion: 1.0\n")
    lines = ["[unlearnbench.datasets]", "little = idle:little", "[unlearnbench.models]", "linear = idle:linear"]
    lines += ["[unlearnbench.methods]", *(f"nothing-{n} = idle:nothing_{n}" for n in range(METHODS))]
    (info / "entry_points.txt").write_text("\n".join(lines))
    (folder / "idle.py").write_text(PLUGINS)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def preset(folder: Path, name: str, text: str) -> str:
    """Writes a preset; returns its path."""
    path = folder / f"{name}.toml"
    path.write_text(text)
    return str(path)


def timed(folder: Path, **options: Any) -> tuple[float, unlearnbench.Summary]:
    """Runs from Python; returns the seconds, including planning and tables, and the summary."""
    start = time.perf_counter()
    summary = unlearnbench.run(cache=folder / "cache", device="cpu", **options)
    return time.perf_counter() - start, summary


def command(*words: str) -> float:
    """Runs a command; returns the seconds from the start to the end of its process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "unlearnbench", *words], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def workers(folder: Path, rounds: int, epochs: int) -> None:
    """Compares one worker with one for each core on equal cells; shared artefacts are cached."""
    path, cores = preset(folder, "equal", RETRAIN.format(last=CELLS - 1, epochs=epochs)), core_count()
    timed(folder, preset=path, results=folder / "first", jobs=cores)
    times: dict[int, list[float]] = {1: [], cores: []}
    for turn in range(rounds):
        for jobs, spent in times.items():
            seconds, summary = timed(folder, preset=path, results=folder / f"{turn}-{jobs}", jobs=jobs, force=True)
            assert len(summary.outcomes) == CELLS
            spent.append(seconds)
    one, many = statistics.median(times[1]), statistics.median(times[cores])
    print(f"{CELLS} equal cells: {one:.1f} s with 1 worker, {many:.1f} s with {cores}: {one / many:.2f} times as fast")


def overhead(folder: Path, cells: int) -> None:
    """Runs a plan of idle methods, then again with all cells cached, and prints its table."""
    names = ", ".join(f'"nothing-{n}"' for n in range(METHODS - 1))
    path = preset(folder, f"idle{cells}", NOTHING.format(last=cells // METHODS - 1, methods=names))
    results = folder / f"idle-{cells}"
    seconds, summary = timed(folder, preset=path, results=results, jobs=core_count())
    assert len(summary.plan.cells) == cells and not summary.failed, (len(summary.plan.cells), summary.failed[:1])
    spent, per_cell = summary.spent, 1e3 / cells
    parts = ", ".join(f"{kind} {per_cell * amount:.2f}" for kind, amount in spent.items())
    options = ["--preset", path, "--results", str(results)]
    again = command("run", *options, "--cache", str(folder / "cache"), "--device", "cpu")
    shown = command("table", "2", *options)
    outside = seconds - summary.seconds
    print(
        f"{cells} cells: {seconds:.1f} s, of which planning and tables {outside:.1f} s; per cell and worker, in ms: "
        f"{parts}; overhead and planning {per_cell * (spent['overhead'] + outside):.2f} ms a cell\n"
        f"  all cached: the command run {again:.2f} s, table {shown:.2f} s",
        flush=True,
    )


def main() -> None:
    """Runs the benchmark and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="*", default=[1_000, 10_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        install(folder / "site")
        if options.rounds:
            workers(folder, options.rounds, options.epochs)
        for cells in options.cells:
            overhead(folder, cells)


if __name__ == "__main__":
    main()
