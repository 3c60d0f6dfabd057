"""What a worker on another machine must have in common with the process that plans, and how that is examined."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

import torch

from unlearnbench.artefacts.datasets import Datasets
from unlearnbench.artefacts.plugin_keys import minor
from unlearnbench.artefacts.versions import sources
from unlearnbench.engines.lanes import Engine
from unlearnbench.errors import UserError
from unlearnbench.planning.selection import Workspace
from unlearnbench.runtime.arithmetic import NATIVE, PORTABLE, available, processor
from unlearnbench.storage.keys import canonical, sha_of
from unlearnbench.storage.store import Store


@dataclass(frozen=True)
class Expected:
    """What a worker must have.

    Attributes:
        code: The suite's version, and a hash of its sources.
        torch: The minor version of torch.
        device: "cpu" or "cuda".
        arithmetic: "portable" or "native".
        processor: The name of the processor; "" if it does not matter, because arithmetic is portable or on a GPU.
        data: The checksums of the data sets, by name.
        root: The folder of their files.
        store: The cache.
        signs: Files that the process that plans has written; empty if there is no shared disk.
        size: Bytes that the work ahead takes in the cache.
    """

    code: str
    torch: str
    device: str
    arithmetic: str
    processor: str
    data: Mapping[str, str]
    root: Path
    store: Store
    signs: tuple[Path, ...]
    size: int


@contextmanager
def examined(
    engine: Engine, workspace: Workspace, datasets: Iterable[str], size: int, say: Callable[[str], object]
) -> Iterator[Engine]:
    """An engine whose workers are examined before their first call; local ones need not be.

    Args:
        engine: The engine.
        workspace: Where is planned.
        datasets: The data sets that the calls need.
        size: Bytes that they will write to the cache.
        say: Is told what happens to workers.
    """
    if not engine.elsewhere:
        yield engine
        return
    shared = () if workspace.store.upstream else (workspace.store.root, workspace.results)
    signs = tuple(folder / f".seen-{uuid4().hex}" for folder in shared)
    rounding = workspace.device == "cpu" and workspace.arithmetic == NATIVE
    expected = Expected(
        code=code(),
        torch=minor(torch.__version__),
        device=workspace.device,
        arithmetic=workspace.arithmetic,
        processor=engine.ask(processor) if rounding else "",
        data={name: workspace.datasets.load(name, workspace.root)[1] for name in sorted(datasets)},
        root=workspace.root,
        store=workspace.store,
        signs=signs,
        size=size,
    )
    try:
        for sign in signs:
            sign.parent.mkdir(parents=True, exist_ok=True)
            sign.touch()
        yield engine.examining(say, unfitness, expected)
    finally:
        for sign in signs:
            sign.unlink(missing_ok=True)


def code() -> str:
    """The version of the suite, and a hash of the sources that can change numbers."""
    texts = [f"{group}.{name} {source}" for (group, name), source in sorted(sources().items())]
    return f"{version('unlearnbench')} ({sha_of(canonical(texts).encode())[:8]})"


def unfitness(expected: Expected) -> str:
    """In a worker: why calls cannot be made here; "" if they can."""
    if code() != expected.code:
        return f"it has unlearnbench {code()} instead of {expected.code}: install the same one"
    if minor(torch.__version__) != expected.torch:
        return f"it has torch {minor(torch.__version__)} instead of {expected.torch}: install the same one"
    if expected.device == "cuda" and not torch.cuda.is_available():
        return "it has no CUDA device: use --device cpu, or start workers where GPUs are"
    if expected.arithmetic == PORTABLE and not available():
        return "it has no portable arithmetic: that needs an x86-64 processor with AVX2"
    if expected.processor not in ("", processor()):
        return f"it has {processor()} instead of {expected.processor}, and native arithmetic rounds differently there"
    return unseen(expected) or other_data(expected)


def unseen(expected: Expected) -> str:
    """Why the folders of the run cannot be used here; "" if they can."""
    for sign in expected.signs:
        if not sign.exists():
            return f"it does not see {sign.parent}: use a folder that all machines share, or --cache URL"
    root = expected.store.root
    free = shutil.disk_usage(next(folder for folder in (root, *root.parents) if folder.exists())).free
    if free < expected.size:
        return f"it has {free / 1e6:.0f} MB left in {root}, and the run takes about {expected.size / 1e6:.0f} MB"
    return ""


def other_data(expected: Expected) -> str:
    """Which data set is not the same here; "" if all are."""
    datasets = Datasets(expected.store)
    for name, checksum in expected.data.items():
        try:
            _, found = datasets.load(name, expected.root)
        except UserError as error:
            return f"it cannot read {name}: {error}"
        if found != checksum:
            return f"its files of {name} are other ones: copy them, or use --data with a shared folder"
    return ""
