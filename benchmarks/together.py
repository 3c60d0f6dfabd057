"""Compares training several networks in one stacked computation with training them one after the other.

    python -m benchmarks.together [--device cuda] [--model cnn] [--side 28] [--networks 1 2 4 8 16] [--rounds 5]

Uses the paper's recipe (Adam, batch 32) on random images. On a GPU the suite stacks networks while a step has less work
than `unlearnbench.artefacts.training.FULL`; this benchmark shows whether that threshold is right.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from benchmarks import machine
from unlearnbench.artefacts.sizes import flop_of
from unlearnbench.artefacts.training import FULL
from unlearnbench.plugins import registry
from unlearnbench.plugins.model import Builder, Model, Network
from unlearnbench.runtime import seeds
from unlearnbench.training import loop
from unlearnbench.training.recipe import Recipe
from unlearnbench.training.samples import Samples, TrainingSet

CLASSES = 10


def inputs(builder: Builder, whole: TrainingSet, count: int) -> tuple[list[Network], list[Samples]]:
    """New networks, and all images for each, in an order of its own."""
    orders = [whole.everything(seeds.generator("order", index)) for index in range(count)]
    return [builder.fresh(index) for index in range(count)], [samples for samples in orders if samples]


def seconds(together: bool, networks: list[Network], samples: list[Samples], recipe: Recipe) -> float:
    """Trains all networks; returns the seconds."""
    start = time.perf_counter()
    if together:
        loop.fit_together(networks, samples, recipe)
    else:
        for network, part in zip(networks, samples, strict=True):
            loop.fit(network, part, recipe)
    if samples[0].index.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    """Runs the benchmark and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--side", type=int, default=28, help="height and width of the images")
    parser.add_argument("--images", type=int, default=3_200)
    parser.add_argument("--networks", type=int, nargs="*", default=[1, 2, 4, 8, 16])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device, recipe = torch.device(arguments.device), Recipe(epochs=1)
    shape = (1 if arguments.model == "cnn" else 3, arguments.side, arguments.side)
    builder = Builder(registry.get(Model, arguments.model), {}, shape, CLASSES, device)
    images = torch.randint(0, 256, (arguments.images, *shape), dtype=torch.uint8, device=device)
    whole = TrainingSet(images, torch.arange(arguments.images, device=device) % CLASSES)
    step = recipe.batch * flop_of(arguments.model, (), shape, CLASSES)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "one thread"
    print(f"{machine()}, {device.type} ({name})")
    print(
        f"{arguments.model}, {arguments.side} pixels: {step / 1e9:.2f} GFLOP a step, {step / FULL:.0%} of FULL",
        flush=True,
    )
    for count in arguments.networks:
        times: dict[bool, list[float]] = {False: [], True: []}
        for turn in range(1 + arguments.rounds):
            for together, spent in times.items():
                duration = seconds(together, *inputs(builder, whole, count), recipe)
                if turn:  # the first round is for warming up
                    spent.append(duration)
        alone, stacked = (count * arguments.images / statistics.median(times[together]) for together in (False, True))
        print(
            f"{count:3} networks: one by one {alone:9.0f} images/s, together {stacked:9.0f}: "
            f"{stacked / alone:.2f} times as fast",
            flush=True,
        )


if __name__ == "__main__":
    main()
