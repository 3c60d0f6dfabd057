"""Records what plugins do beside their task: global settings, threads, hooks, and data that they read."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from torch import nn

from unlearnbench.runtime import audit, global_state
from unlearnbench.runtime.frames import is_installed, module_of, package_of
from unlearnbench.storage import store

GRACE = 0.2
"""Seconds that a thread may still run after the plugin has returned."""
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
HOOKS_ON_ALL = "hooks on all modules"
"""The global setting that has a check of its own."""
ENVIRONMENT = "environment variables"
"""The global setting that libraries change, too: torch sets variables for its own caches when it first needs them."""


class ForbiddenDataError(Exception):
    """A plugin read data that is not part of its input."""


@dataclass
class SideEffects:
    """The side effects of the calls of a plugin.

    Attributes:
        package: The top-level package of the plugin.
        settings: Names of global settings that were changed.
        threads: Names of threads that were still running.
        hooks: The number of hooks that were left on all modules or on the result.
    """

    package: str = ""
    settings: list[str] = field(default_factory=list)
    threads: list[str] = field(default_factory=list)
    hooks: int = 0


@contextmanager
def recording(effects: SideEffects) -> Iterator[None]:
    """Records what a block does to the process, and restores the global settings."""

    def note(setting: str) -> None:
        if setting == HOOKS_ON_ALL or (setting == ENVIRONMENT and changed_variables(before) <= by_libraries):
            return
        effects.settings.append(setting)

    before, by_libraries = dict(os.environ), set[str]()
    threads, hooks = set(threading.enumerate()), count_global_hooks()
    with global_state.preserved(note), watching_libraries(effects.package, by_libraries):
        try:
            yield
        finally:
            effects.hooks += count_global_hooks() - hooks
            for thread in set(threading.enumerate()) - threads:
                thread.join(GRACE)
                if thread.is_alive():
                    effects.threads.append(thread.name)


def changed_variables(before: dict[str, str]) -> set[str]:
    """The names of the environment variables that are not as they were."""
    return {name for name in os.environ.keys() | before.keys() if os.environ.get(name) != before.get(name)}


@contextmanager
def watching_libraries(package: str, variables: set[str]) -> Iterator[None]:
    """Adds to `variables`, in a block, the names of environment variables that libraries set.

    Args:
        package: The top-level package of the plugin, which is no library.
        variables: The names.
    """

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("os.putenv", "os.unsetenv") and is_library(caller(), package):
            variables.add(os.fsdecode(arguments[0]))

    with audit.listening(watch):
        yield


def caller() -> FrameType | None:
    """The frame of the innermost function that neither listens nor is part of the standard library."""
    frame: FrameType | None = sys._getframe(1)
    while frame and (module_of(frame) in (__name__, audit.__name__) or package_of(frame) in sys.stdlib_module_names):
        frame = frame.f_back
    return frame


def is_library(frame: FrameType | None, package: str) -> bool:
    """True if a frame runs code of an installed package other than the plugin's."""
    return frame is not None and package_of(frame) != package and is_installed(frame)


def count_global_hooks() -> int:
    """The number of hooks that are registered for all modules."""
    read, _ = global_state.SETTINGS[HOOKS_ON_ALL]
    return sum(map(len, read()))


def count_hooks(network: object) -> int:
    """The number of hooks on the modules of a network."""
    modules = network.modules() if isinstance(network, nn.Module) else ()
    return sum(len(getattr(module, name)) for module in modules for name in HOOKS)


@contextmanager
def without_data(attempts: list[str]) -> Iterator[None]:
    """Refuses, in a block, to read data files and the suite's data sets and artefacts; records the attempts."""

    def refuse(what: str) -> None:
        attempts.append(what)
        raise ForbiddenDataError(f"it reads {what}")

    def refuse_artefact(path: Path, key: Any) -> None:
        refuse(f"the suite's {key['kind']} {key.get('name', '')}".strip())

    def refuse_file(event: str, arguments: tuple[Any, ...]) -> None:
        file = audit.opened(event, arguments)
        if file and not file[1]:
            refuse(str(file[0]))

    read_artefact = store.read_artefact
    store.read_artefact = refuse_artefact
    try:
        with audit.listening(refuse_file):
            yield
    finally:
        store.read_artefact = read_artefact
