"""What people ask for: which cells (`Selection`), and where to read, compute and write (`Workspace`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from unlearnbench.artefacts.datasets import Datasets
from unlearnbench.engines.lanes import Engine
from unlearnbench.engines.local import LOCAL
from unlearnbench.errors import UserError
from unlearnbench.planning import presets
from unlearnbench.planning.presets import Preset, PresetLike, several
from unlearnbench.plugins import objects
from unlearnbench.plugins.files import named, place_of
from unlearnbench.plugins.plugin import Plugin
from unlearnbench.runtime import gpus
from unlearnbench.runtime.arithmetic import environment, resolved
from unlearnbench.storage import folders
from unlearnbench.storage.store import Store

Values = TypeVar("Values")
Overrides = Mapping[str, Mapping[str, Any]]
"""Options by name of a method, task or attack."""


@dataclass(frozen=True)
class Selection:
    """A preset, and the part of it that is wanted; an empty sequence selects everything that the preset has.

    Attributes:
        preset: The preset.
        preset_name: The name or file by which the user called it.
        datasets: Names of data sets.
        tasks: Names of tasks.
        methods: Names of methods.
        seeds: Seeds.
        overrides: Options that win over the preset's.
    """

    preset: Preset
    preset_name: str
    datasets: Sequence[str] = ()
    tasks: Sequence[str] = ()
    methods: Sequence[str] = ()
    seeds: Sequence[int] = ()
    overrides: Overrides = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        preset: PresetLike = "demo",
        datasets: str | Sequence[str] = (),
        tasks: str | Sequence[str] = (),
        methods: str | Plugin | Sequence[str | Plugin] = (),
        seeds: str | int | Iterable[int] | None = None,
        overrides: Overrides | None = None,
        results: str | Path = "results",
    ) -> Selection:
        """Reads a selection as people write it.

        Args:
            preset: The name of a preset, the path of a TOML file, or the content of such a file as a dict.
            datasets: One name or several, or FILE.py:FUNCTION; likewise the next two.
            tasks: Names of tasks.
            methods: Names of methods, or methods themselves.
            seeds: Such as "0-4", 3 or [0, 2]; the preset's if None.
            overrides: Options by name of a method, task or attack, e.g. `{"laf": {"tau": 5.0}}`.
            results: The results folder, in which the code of methods is kept that only a notebook has.

        Raises:
            UserError: If the preset, a file or a seed is wrong.
        """
        read = presets.read(preset)
        return cls(
            read,
            read.source,
            datasets_of(read, several(datasets)),
            tasks_of(read, several(tasks)),
            named([objects.name_of(method, results) for method in objects.several(methods)]),
            () if seeds is None else presets.parse_seeds(seeds),
            by_plugin(overrides or {}),
        )


def by_plugin(options: Mapping[str, Values]) -> dict[str, Values]:
    """Options by the names that the registry knows, for such of which some may be by FILE.py:FUNCTION."""
    return {named([name])[0] if ".py:" in name else name: values for name, values in options.items()}


@dataclass(frozen=True)
class Workspace:
    """Where a command reads, computes and writes.

    Attributes:
        results: Folder of records and tables, of all presets.
        store: The cache.
        root: Folder with the data sets' files.
        device: "cpu" or "cuda".
        arithmetic: "portable" or "native".
    """

    results: Path
    store: Store
    root: Path
    device: str
    arithmetic: str

    @classmethod
    def of(
        cls,
        results: str | Path = "results",
        cache: str | Path | None = None,
        data: str | Path | None = None,
        device: str = "auto",
        arithmetic: str = "auto",
        engine: Engine = LOCAL,
    ) -> Workspace:
        """Resolves folders, device and arithmetic.

        Args:
            results: Folder of records and tables.
            cache: Folder of artefacts, or the URL of one; None: $UNLEARNBENCH_CACHE or the user's cache folder.
            data: Folder with the data sets' files; None: $UNLEARNBENCH_DATA or the user's data folder.
            device: "auto", "cpu" or "cuda".
            arithmetic: "auto", "portable" or "native".
            engine: Who has the workers, and with them the device; its workers may be in other folders, so that paths
                become absolute.

        Raises:
            UserError: If a value is wrong, or the cache cannot be written to.
        """
        if not engine.elsewhere or "auto" in (device, arithmetic):
            device, arithmetic = engine.ask(choices, device, arithmetic)
        store, paths = Store.of(cache), (folders.expanded(results), folders.data(data))
        if engine.elsewhere:
            store, paths = replace(store, root=store.root.absolute()), (paths[0].absolute(), paths[1].absolute())
        folders.check_writable(store.root)
        if paths[0].exists() and not paths[0].is_dir():
            raise UserError(f"{paths[0]} is a file, and results need a folder: name another one with --results")
        return cls(paths[0], store.listed(), paths[1], device, arithmetic)

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment variables of worker processes; local ones share out the GPUs that these name."""
        return {**environment(self.arithmetic), **gpus.environment(self.device)}

    @cached_property
    def datasets(self) -> Datasets:
        """The data sets that this command keeps in memory."""
        return Datasets(self.store)


def datasets_of(preset: Preset, names: Sequence[str]) -> list[str]:
    """Names of data sets, of which some may be FILE.py:FUNCTION or in the preset, as the registry knows them."""
    return chosen(names, list(preset.datasets))


def tasks_of(preset: Preset, names: Sequence[str]) -> list[str]:
    """Likewise for names of tasks."""
    return chosen(names, [*(preset.tasks or ()), *preset.task_options])


def chosen(names: Sequence[str], in_preset: Sequence[str]) -> list[str]:
    """Names as the registry knows them: those that the preset has, too, as it has them."""
    by_name = {place: name for name in in_preset for place in (str(name), place_of(name))}
    return named([by_name.get(name, name) for name in names])


def choices(device: str, arithmetic: str) -> tuple[str, str]:
    """Resolves both for the machine on which this is called; raises as `choose_device` and `resolved`."""
    device = choose_device(device)
    return device, resolved(arithmetic, device)


def choose_device(name: str) -> str:
    """Resolves "auto".

    Raises:
        UserError: If there is no such device.
    """
    import torch

    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"device must be auto, cpu or cuda, not {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("there is no CUDA device here: use --device cpu")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name
