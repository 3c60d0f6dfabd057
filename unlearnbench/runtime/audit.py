"""Listens to what Python does in a block, by an audit hook: which files are opened, which variables are set."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

Listener = Callable[[str, tuple[Any, ...]], None]
"""Receives the name and the arguments of each event; what it raises, the audited call raises."""
CODE = (".py", ".pyc", ".pyi", ".so", ".pyd", ".dll", ".pth", ".json", ".toml", ".txt", ".cfg", ".ini", ".yaml")
"""Endings of files that are code or settings, not data."""
METADATA = (".dist-info", ".egg-info")
SYSTEM = ("/proc/", "/sys/", "/dev/", "/etc/", "/usr/share/zoneinfo/", "/usr/share/locale/")
_listeners: list[Listener] = []
_installed: list[bool] = []
"""Empty until the audit hook is installed, which cannot be undone."""


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Calls a listener for every event in a block."""
    if not _installed:
        sys.addaudithook(hear)
        _installed.append(True)
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def hear(event: str, arguments: tuple[Any, ...]) -> None:
    """The audit hook: the interpreter calls it on every event."""
    for listener in tuple(_listeners):
        listener(event, arguments)


def is_importing() -> bool:
    """True if a module is being imported, by any function that is running in this thread."""
    frame: FrameType | None = sys._getframe(1)
    while frame and frame.f_globals.get("__name__") != "importlib._bootstrap":
        frame = frame.f_back
    return frame is not None


def opened(event: str, arguments: tuple[Any, ...]) -> tuple[Path, bool] | None:
    """The data file that an event opens, and True if it is opened for writing; None if it opens none.

    Code, settings, files of the system, and folders are no data.
    """
    if event != "open" or not isinstance(arguments[0], str | bytes | os.PathLike):
        return None
    path, mode, flags = Path(os.fsdecode(arguments[0])), arguments[1], arguments[2]
    if str(path).startswith(SYSTEM) or path.suffix in CODE or path.parent.suffix in METADATA:
        return None
    writing = bool(set(mode) & set("wax")) if mode else bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return (path, writing) if writing or path.is_file() else None
