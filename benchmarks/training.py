"""Compares the usual training loop with the suite's workers, one for each core, on the paper's CNN.

    python -m benchmarks.training [--data DIR] [--rounds 5] [--images 12800] [--precision fp32|bf16]

Uses MNIST if its files are installed, otherwise the bundled digits, with batch 32 and Adam. Each round runs (a) the
usual loop: a DataLoader with one worker, PIL and ToTensor for one image at a time, the network as published, and
torch's default threads; and (b) `unlearnbench.training.loop.fit` on one thread in one process per core, all at once.
Then every process multiplies matrices, which is the top speed of this machine in this precision. The usual loop is in
fp32.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import joblib
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import core_count, machine
from unlearnbench import UserError
from unlearnbench.artefacts.datasets import Datasets
from unlearnbench.plugins import registry
from unlearnbench.plugins.model import Builder, Model
from unlearnbench.runtime import seeds
from unlearnbench.runtime.vision import torchvision
from unlearnbench.storage import folders
from unlearnbench.storage.store import Store
from unlearnbench.training import loop
from unlearnbench.training.augmentation import to_unit
from unlearnbench.training.recipe import Recipe
from unlearnbench.training.samples import TrainingSet

BATCH = 32
RECIPES = {name: Recipe(lr=1e-4, weight_decay=1e-4, batch=BATCH, precision=name) for name in ("fp32", "bf16")}
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
SIDE = 1024
"""Rows and columns of the matrices that are multiplied."""


class OneByOne(Dataset[tuple[Tensor, int]]):
    """Images of a usual data set: decoded and converted one at a time."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images[:, 0].numpy(), labels.tolist()
        self.to_tensor = torchvision().transforms.ToTensor()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.to_tensor(Image.fromarray(self.images[index])), self.labels[index]


def usual_network() -> nn.Module:
    """The paper's CNN as in its code: ReLU before pooling."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(1568, 256), nn.Linear(256, 128), nn.Linear(128, 10)),
    )


def usual(images: Tensor, labels: Tensor) -> float:
    """Images per second of the usual loop, including the start of its worker."""
    network = usual_network()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, weight_decay=1e-4)
    loss_of = nn.CrossEntropyLoss()
    loader = DataLoader(OneByOne(images, labels), batch_size=BATCH, shuffle=True, num_workers=1)
    start = time.perf_counter()
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = loss_of(network(inputs), targets)
        loss.backward()
        optimizer.step()
    return len(labels) / (time.perf_counter() - start)


def fresh(shape: tuple[int, int, int] = (1, 28, 28)) -> nn.Module:
    """The suite's version of the CNN."""
    return Builder(registry.get(Model, "cnn"), {}, shape, 10, torch.device("cpu")).fresh("benchmark")


def ours(images: Tensor, labels: Tensor, precision: str) -> tuple[float, float]:
    """Trains on all images once, on one thread; returns the times of start and end."""
    torch.set_num_threads(1)
    network = fresh()
    samples = TrainingSet(images, labels).everything(seeds.generator("benchmark"))
    assert samples is not None
    start = time.perf_counter()
    loop.fit(network, samples, RECIPES[precision], epochs=1)
    return start, time.perf_counter()


def products(precision: str, repeats: int = 40) -> tuple[float, float]:
    """Multiplies matrices on one thread; returns the times of start and end."""
    torch.set_num_threads(1)
    a, b = (torch.rand(SIDE, SIDE).to(TYPES[precision]) for _ in range(2))
    out = a @ b
    start = time.perf_counter()
    for _ in range(repeats):
        torch.mm(a, b, out=out)
    return start, time.perf_counter()


def together(pool: joblib.Parallel, function: Callable[..., tuple[float, float]], *arguments: object) -> float:
    """Makes the same call in every process; returns the seconds from the first start to the last end."""
    spans = pool(joblib.delayed(function)(*arguments) for _ in range(pool.n_jobs))
    seconds: float = max(end for _, end in spans) - min(start for start, _ in spans)
    return seconds


def flops(network: nn.Module, images: Tensor, backward: bool = True) -> int:
    """Floating-point operations per image, as torch counts them: two for each multiply-add."""
    counter = FlopCounterMode(display=False)
    with counter:
        loss = network(images).sum()
        if backward:
            loss.backward()
    return int(counter.get_total_flops()) // len(images)


def layers(images: Tensor, precision: str, repeats: int = 30) -> list[tuple[str, float, float]]:
    """For each layer with its backward pass: name, milliseconds per batch, and GFLOP of its products per batch."""
    torch.set_num_threads(1)
    network = fresh().train()
    features, head = network.get_submodule("features"), network.get_submodule("head")
    inputs, rows = to_unit(images[:BATCH]), []
    steps = [*features.named_children(), *((f"head.{name}", m) for name, m in head.named_children())]
    for index, (name, layer) in enumerate(steps):
        inputs = inputs.detach().requires_grad_(index > 0)
        with loop.computing(RECIPES[precision], torch.device("cpu")):
            outputs = layer(inputs)
        gradient = torch.rand_like(outputs)

        def step(layer: nn.Module = layer, inputs: Tensor = inputs, gradient: Tensor = gradient) -> None:
            with loop.computing(RECIPES[precision], torch.device("cpu")):
                layer(inputs).backward(gradient)

        with (counter := FlopCounterMode(display=False)):
            step()
        spent = []
        for _ in range(repeats):
            start = time.perf_counter()
            step()
            spent.append(time.perf_counter() - start)
        title = f"{name} {type(layer).__name__}"
        rows.append((title, 1e3 * statistics.median(spent), counter.get_total_flops() / 1e9))
        inputs = outputs
    return rows


def images_of(folder: str | None, count: int) -> tuple[Tensor, Tensor, str]:
    """Images (uint8 [count, 1, 28, 28]), labels and name: MNIST if installed, otherwise digits; repeated as needed."""
    try:
        data, name = Datasets(Store(folders.cache(None))).load("mnist", folders.data(folder))[0], "MNIST"
    except UserError:
        data, name = Datasets(Store(folders.cache(None))).load("digits-8x8", Path())[0], "DIGITS-8x8"
    rows = torch.arange(count) % len(data.train_labels)
    return data.train_images[rows], data.train_labels[rows], name


def report(rates: Sequence[tuple[float, float, float]], per_image: int, workers: int, precision: str) -> str:
    """The medians over rounds, as text."""
    usual_rate, our_rate, product_rate = (statistics.median(column) for column in zip(*rates, strict=True))
    ratio = statistics.median(ours_ / usual_ for usual_, ours_, _ in rates)
    share = statistics.median(per_image * ours_ / product for _, ours_, product in rates)
    return (
        f"usual loop         {usual_rate:8.0f} images/s\n"
        f"{workers} workers          {our_rate:8.0f} images/s   {ratio:.2f} times the usual loop\n"
        f"                   {per_image * our_rate / 1e9:8.1f} GFLOP/s   {share:.0%} of the matrix products\n"
        f"matrix products    {product_rate / 1e9:8.1f} GFLOP/s   ({SIDE} x {SIDE}, {precision}, {workers} at once)\n"
    )


def main() -> None:
    """Runs the benchmark and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of data sets")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=12_800, help="per round and process")
    parser.add_argument("--precision", choices=RECIPES, default="fp32")
    options = parser.parse_args()
    images, labels, name = images_of(options.data, options.images)
    workers, precision, per_image = core_count(), options.precision, flops(fresh(), to_unit(images[:BATCH]))
    print(machine())
    print(f"{name}, {options.images} images, batch {BATCH}, {precision}, {per_image / 1e6:.1f} MFLOP per image")
    pool = joblib.Parallel(workers)
    together(pool, ours, images[:1280], labels[:1280], precision)  # starts the processes
    rates = []
    for turn in range(options.rounds):
        usual_rate = usual(images, labels)
        our_rate = workers * options.images / together(pool, ours, images, labels, precision)
        product_rate = workers * 40 * 2 * SIDE**3 / together(pool, products, precision)
        rates.append((usual_rate, our_rate, product_rate))
        print(
            f"round {turn + 1}: {usual_rate:.0f} and {our_rate:.0f} images/s, {product_rate / 1e9:.1f} GFLOP/s",
            flush=True,
        )
    print(report(rates, per_image, workers, precision))
    one = statistics.median(rate for *_, rate in rates) / workers
    print("layer, forward and backward, one thread, per batch:")
    for title, spent, gflop in layers(images, precision):
        print(f"  {title:20} {spent:6.2f} ms   {gflop / spent * 1e12 / one:6.0%} of the matrix products' rate")


if __name__ == "__main__":
    main()
