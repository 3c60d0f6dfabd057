"""Watches what plugins do to what is not theirs, and puts it back."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from torch import nn

from unlearnbench.runtime import global_state
from unlearnbench.storage import store

CODE = (".py", ".pyc", ".pyi", ".so", ".pyd", ".dll", ".pth", ".json", ".toml", ".txt", ".cfg", ".ini", ".yaml")
"""Files that are read for other reasons than to learn from them."""
METADATA = (".dist-info", ".egg-info")
SYSTEM = ("/proc/", "/sys/", "/dev/", "/etc/")
SETTLE = 0.2
"""Seconds that a thread has to end in."""
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
HOOKS_ON_ALL = "hooks on all modules"
"""The setting that has a check of its own."""


class ForbiddenDataError(Exception):
    """Somebody reached for data that he was not handed."""


@dataclass
class Watch:
    """What was seen while something ran.

    Attributes:
        settings: Names of what a process has once and was left otherwise.
        threads: Names of threads that were left running.
        hooks: How many hooks on all modules were left behind.
        read: Files and data sets that were reached for.
    """

    settings: list[str] = field(default_factory=list)
    threads: list[str] = field(default_factory=list)
    hooks: int = 0
    read: list[str] = field(default_factory=list)


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Notes what a block does to the process, and puts it back."""
    running, hooks = set(threading.enumerate()), count_hooks()
    with global_state.preserved(lambda name: None if name == HOOKS_ON_ALL else watch.settings.append(name)):
        try:
            yield
        finally:
            watch.hooks += count_hooks() - hooks
            for thread in set(threading.enumerate()) - running:
                thread.join(SETTLE)
                watch.threads += [thread.name] * thread.is_alive()


def count_hooks() -> int:
    """How many hooks all modules have in common."""
    read, _ = global_state.SETTINGS[HOOKS_ON_ALL]
    return sum(map(len, read()))


def hooks_of(network: object) -> int:
    """How many hooks the parts of a network have."""
    modules = network.modules() if isinstance(network, nn.Module) else ()
    return sum(len(getattr(module, name)) for module in modules for name in HOOKS)


@contextmanager
def without_data(watch: Watch) -> Iterator[None]:
    """Whoever opens a file to read it, or asks the suite for a data set or an artefact, is noted and gets an error."""

    def refuse(what: str) -> None:
        watch.read.append(what)
        raise ForbiddenDataError(f"it reads {what}")

    def refused(path: Path, key: Any) -> None:
        refuse(f"the suite's {key['kind']} {key.get('name', '')}".strip())

    _opening.append(refuse)
    with ExitStack() as stack:
        stack.callback(_opening.pop)
        stack.enter_context(patch.object(store, "read_artefact", refused))
        listen()
        yield


_opening: list[Callable[[str], None]] = []
"""Is told of files that are opened; empty while nobody cares."""
_listening: list[bool] = []


def listen() -> None:
    """Has the interpreter say, from now on, which files are opened."""
    if not _listening:
        sys.addaudithook(opened)
        _listening.append(True)


def opened(event: str, arguments: tuple[Any, ...]) -> None:
    """What the interpreter calls on every event."""
    if event != "open" or not _opening or not isinstance(arguments[0], str | bytes | os.PathLike):
        return
    path, mode = Path(os.fsdecode(arguments[0])), str(arguments[1] or "r")
    system = str(path).startswith(SYSTEM) or path.suffix in CODE or path.parent.suffix in METADATA
    if not system and not set(mode) & set("wax"):
        _opening[-1](str(path))
