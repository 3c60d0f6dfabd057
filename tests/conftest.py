"""Fixtures that tests share: real data, a small real run, and plugins installed as third-party packages."""

from __future__ import annotations

import importlib
import json
import linecache
import os
import shutil

os.environ["OMP_NUM_THREADS"] = "1"  # of attacks, too: threads that wait for a busy core take minutes

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from overfitted import overfitted
from torch import Tensor, nn

import unlearnbench
from unlearnbench import Audit, Network, model
from unlearnbench.artefacts.datasets import Datasets
from unlearnbench.engines.lanes import Done
from unlearnbench.engines.pool import POOL
from unlearnbench.planning.cells import planned
from unlearnbench.planning.plan import Plan, Rerun
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.plugins import files, registry
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.model import Builder, Model
from unlearnbench.plugins.problem import Assembly, Problem
from unlearnbench.plugins.task import Split, Task
from unlearnbench.runtime import arithmetic, seeds
from unlearnbench.storage.store import Store
from unlearnbench.training import augmentation, loop
from unlearnbench.training.augmentation import Pipeline
from unlearnbench.training.recipe import Recipe
from unlearnbench.training.samples import TrainingSet

NOWHERE = Path("no", "files")
"""The bundled digits need no files."""
METHODS = [name for name, entry in registry.entries("methods").items() if entry.origin == "unlearnbench"]
"""The names of the suite's own methods."""
HELD_OUT = 20
"""The number of held-out samples of the problem below."""
TINY = """
shadows = 2
[select]
seeds = "0"
tasks = ["data-removal", "class-removal", "noisy-label-removal"]
methods = ["original", "retrain", "neggrad", "laf", "laf-r"]
[recipe]
lr = 2e-3
epochs = 1
[datasets.digits-8x8]
model = "cnn"
[methods.laf]
epochs = 1
vae_epochs = 1
"""


@model(title="Small")
def small_model(shape: tuple[int, int, int], num_classes: int) -> Network:
    """Computes next to nothing."""
    features = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * shape[0], 8))
    return Network(features, nn.Linear(8, num_classes), "head")


@model(title="Convolutional")
def convolutional(shape: tuple[int, int, int], num_classes: int) -> Network:
    """A convolution, which some methods change, and a linear layer; computes next to nothing."""
    features = nn.Sequential(nn.Conv2d(shape[0], 2, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return Network(features, nn.Linear(8, num_classes), "head")


LONGEST = (
    *("versions", "misbehaving", "docs", "checks", "distributed", "supplied", "broken_plugins", "check_results"),
    *("chaos", "cheating", "processes", "files", "cluster", "measure", "verify", "gpu", "run", "packages", "report"),
)
"""The test files that take longest; they come first, so that no process is left with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {f"test_{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def native_arithmetic() -> Iterator[None]:
    """All arithmetic is native unless a test says otherwise, so tests and their workers compute the same bits."""

    @wraps(arithmetic.preferred)
    def native(device: str) -> str:
        return arithmetic.NATIVE

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arithmetic, "preferred", native)
        yield


def records(results: Path) -> dict[str, Any]:
    """All records by path, without `observed`, which may differ between runs."""
    by_path = {}
    for path in sorted(results.rglob("records/**/*.json")):
        record = json.loads(path.read_text())
        del record["observed"]
        by_path[str(path.relative_to(results))] = record
    return by_path


def one_by_one(
    function: Callable[..., Any], calls: Sequence[tuple[Any, ...]], *_: Any, **__: Any
) -> Iterator[Done[Any]]:
    """Replaces `in_parallel`: makes the calls in this process, where functions that a test replaced are replaced."""
    for index, arguments in enumerate(calls):
        yield Done(index, function(*arguments))


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs compute in this process, because a worker needs seconds for its imports."""
    for module in ("work", "measure", "tune", "verify", "export"):
        monkeypatch.setattr(importlib.import_module(f"unlearnbench.operations.{module}"), "in_parallel", one_by_one)


def plan_in(
    store: Store,
    results: Path,
    preset: str | Path = "demo",
    *,
    rerun: Rerun = Rerun(),
    shadow: int | None = None,
    device: str = "cpu",
    **selection: Any,
) -> Plan:
    """A plan under native arithmetic; `selection` as in `Selection.of`."""
    workspace = Workspace(results, store, NOWHERE, device, arithmetic.NATIVE)
    return planned(Selection.of(preset, **selection), workspace, rerun, shadow)


@pytest.fixture
def in_float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For tests that compute a result in two ways: in float64 rounding stays small through many steps."""

    def predict(function: Callable[[Tensor], Tensor], pixels: Tensor, prepare: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.no_grad(), loop.in_eval_mode(function):
            return function(prepare(pixels))

    monkeypatch.setattr(augmentation, "to_unit", lambda pixels: pixels.double() / 255)
    monkeypatch.setattr(loop, "predict", predict)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def store(cache: Path) -> Store:
    return Store(cache)


@pytest.fixture(scope="session")
def digits(store: Store) -> Dataset:
    return Datasets(store).load("digits-8x8", NOWHERE)[0]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preset for runs that take seconds."""
    path = tmp_path_factory.mktemp("presets") / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def tenth(tiny: Path) -> Path:
    """The same preset with a tenth of the training images, for tests that do not depend on what is learned."""
    path = tiny.with_name("tenth.toml")
    path.write_text(TINY.replace("[recipe]", "[recipe]\nheld_out = 0.76"))
    return path


@pytest.fixture(scope="session")
def tiny_made(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of every method on every task: a folder with its `results` and its `cache`, not to be changed.

    Parallel test processes share it: the first one makes it.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "tiny-run"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):
        if not (folder / "results").exists():
            summary = unlearnbench.run(str(tiny), results=folder / "making", cache=folder / "cache", jobs=2)
            assert not summary.failed
            (folder / "making").rename(folder / "results")
    return folder


@pytest.fixture(scope="session")
def tiny_run(tiny_made: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of that run; its artefacts are in `cache`."""
    ignored = shutil.ignore_patterns("*.lock", "dataset")  # files that may be mapped into memory
    shutil.copytree(tiny_made / "cache", cache, ignore=ignored, dirs_exist_ok=True)
    return shutil.copytree(tiny_made / "results", tmp_path_factory.mktemp("results") / "tiny")


@pytest.fixture(scope="session")
def audit(digits: Dataset) -> Audit:
    """An overfitted network and its shadow models, whose members every attack must detect."""
    return overfitted(digits)


@pytest.fixture
def builder() -> Builder:
    return Builder(registry.get(Model, "cnn"), {}, (1, 8, 8), 10, torch.device("cpu"))


@pytest.fixture
def make_problem(digits: Dataset, builder: Builder) -> Callable[..., Problem]:
    """Builds the problem of a method on the first 300 digits, of which 40 of the upper classes must be forgotten.

    A method that forgets classes forgets all fives.
    """

    def make(
        access: unlearnbench.Access,
        phase: str = "forget",
        original: unlearnbench.Network | None = None,
        recipe: Recipe | None = None,
        room: int = 1,
        **second_phase: Any,
    ) -> Problem:
        recipe = recipe or Recipe(lr=2e-3, epochs=1)
        pipeline = Pipeline(recipe.resize, recipe.augment)
        images, labels = (part.to(builder.device) for part in (digits.train_images, digits.train_labels))
        training_set = TrainingSet(images[:300], labels[:300], pipeline)
        assembly = Assembly(training_set, original or builder.fresh("original"), recipe, builder, room)
        if phase == "prepare":
            return assembly.to_prepare(access, ("test",))
        forget = (digits.train_labels[:300] >= 5).nonzero()[:40, 0]
        if access.forget == "classes":
            forget = (digits.train_labels[:300] == 5).nonzero()[:, 0]
        like_forgotten = (digits.train_labels[300:] >= 5).nonzero()[:HELD_OUT, 0]
        validation = TrainingSet(images[300:], labels[300:], pipeline), like_forgotten
        return assembly.to_forget(access, ("test",), forget, validation=validation, **second_phase)

    return make


@pytest.fixture
def split(digits: Dataset) -> Callable[..., Split]:
    """Applies a task to the digits."""

    def apply(task: str, seed: int = 0, **options: object) -> Split:
        return registry.get(Task, task).split(digits, seeds.generator("test", seed), **options)

    return apply


@contextmanager
def installed(site: Path, name: str, source: str, entry_points: str) -> Iterator[Path]:
    """Installs a package of one module, with entry points, into a folder; yields the path of the module."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    module = site / f"{name}.py"
    module.write_text(source)
    sys.path.insert(0, str(site))
    importlib.invalidate_caches()
    sys.modules.pop(name, None)
    POOL.dismiss()  # workers that are already there do not look into new folders
    try:
        yield module
    finally:
        sys.path.remove(str(site))
        POOL.dismiss()


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Installs packages of one module for the time of a test; see `installed`."""
    with ExitStack() as stack:
        yield lambda name, *parts: stack.enter_context(installed(tmp_path / f"site-{name}", name, *parts))


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], dict[str, Any]]]:
    """Runs cells as a notebook does: in `__main__`, with sources that `inspect` finds; returns all names."""
    monkeypatch.setattr("unlearnbench.plugins.objects.stem_of_main", lambda: "notebook")
    main = sys.modules["__main__"]
    before, count = dict(vars(main)), 0

    def run(cell: str) -> dict[str, Any]:
        nonlocal count
        count += 1
        name = f"<cell {count} of {id(run)}>"
        linecache.cache[name] = len(cell), None, cell.splitlines(keepends=True), name
        exec(compile(cell, name, "exec"), vars(main))
        return vars(main)

    yield run
    vars(main).clear()
    vars(main).update(before)
    for folder in {path.parent for path, _ in files._imported.values()}:
        files.forget(folder)
