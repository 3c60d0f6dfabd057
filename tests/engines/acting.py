"""What workers are told to do in the tests of clusters; a module of its own, so that they import little."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from unlearnbench.runtime.time_limit import limited


def act(action: str, folder: Path) -> str:
    """Performs an action; the file of its name tells how often."""
    with (folder / action).open("a") as file:
        file.write("x")
    if action == "exit":
        os._exit(0)
    if action == "fault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if action == "hang":
        (folder / "pid").write_text(str(os.getpid()))
        with limited():
            time.sleep(3600)
    while action == "wait for a refusal" and not (folder / "refused").exists():
        time.sleep(0.05)
    while action.startswith("meet") and len(list(folder.glob("meet*"))) < 2:
        time.sleep(0.05)
    if action == "raise":
        raise ValueError("no")
    if action == "kill the worker" or (action == "kill the worker once" and times(folder / action) == 1):
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(3600)
    time.sleep(0.5 if action.startswith("slow") else 0.05)
    return action


def times(file: Path) -> int:
    """How often an action was begun."""
    return len(file.read_text())


def fit() -> str:
    """Every worker is."""
    return ""


def fit_once(folder: Path) -> str:
    """Whoever is asked first is."""
    try:
        (folder / "taken").mkdir()
    except FileExistsError:
        (folder / "refused").touch()
        return "another one was first"
    return ""


def unfit() -> str:
    """No worker is."""
    return "it is too slow"


def slowly_fit() -> str:
    """Every worker is, but it takes a moment to know."""
    time.sleep(1)
    return ""


def broken() -> str:
    """Cannot be asked."""
    raise ZeroDivisionError("a broken examination")


def gpus() -> str | None:
    """The GPUs that this process may see."""
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def process(_: str) -> int:
    """The number of the process that it is called in."""
    time.sleep(0.1)
    return os.getpid()
