"""Lists plugins, presets and data sets; downloads data sets."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Container, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from unlearnbench.errors import UserError, unknown
from unlearnbench.planning import presets
from unlearnbench.plugins import registry
from unlearnbench.plugins.access import LEVELS
from unlearnbench.plugins.dataset import Source
from unlearnbench.plugins.method import Method
from unlearnbench.plugins.task import Task
from unlearnbench.storage import folders


def listing(what: str) -> list[dict[str, Any]]:
    """Lists the installed plugins of a group, or the presets.

    Args:
        what: "methods", "tasks", "datasets", "models", "attacks" or "presets".

    Returns:
        One row for each, as JSON values; plugins that cannot be loaded have only "name", "from" and "unusable" (why).

    Raises:
        UserError: If there is no such list.
    """
    if what == "presets":
        return [preset_row(name) for name in presets.names()]
    if what not in registry.GROUPS:
        raise unknown("list", what, [*registry.GROUPS, "presets"])
    details: dict[str, Callable[[Any], dict[str, Any]]] = {"methods": method_row, "tasks": task_row}
    rows = []
    for entry in [*registry.entries(what).values(), *registry.shadowed(what)]:
        row: dict[str, Any] = {"name": entry.name, "from": f"{entry.origin} {entry.version}".strip()}
        try:
            plugin = entry.load()
        except UserError as error:
            rows.append({**row, "unusable": str(error)})
            continue
        rows.append(
            {
                **row,
                "title": plugin.title,
                **(details[what](plugin) if what in details else {}),
                "options": {
                    name: list(value) if isinstance(value, tuple) else value for name, value in plugin.defaults.items()
                },
                "summary": plugin.summary,
                "notes": plugin.notes,
                "reference": plugin.reference,
            }
        )
    return rows


def method_row(method: Method) -> dict[str, Any]:
    """The role of a method, and its access to the training set by phase."""
    access = {f"sees {phase}": getattr(method.access, phase) for phase in LEVELS}
    return {"role": method.role, **access, "starts from": method.start or None}


def task_row(task: Task) -> dict[str, Any]:
    """The columns of a task's table."""
    return {"columns": ", ".join(task.columns)}


def data_listing(folder: str | None) -> list[dict[str, Any]]:
    """Lists all datasets and the state of their files: one row for each, as JSON values."""
    root = folders.data(folder)
    rows: list[dict[str, Any]] = []
    for name, source in registry.usable("datasets").items():
        assert isinstance(source, Source)
        try:
            states = source.state(root)
        except UserError as error:  # its declaration is wrong
            unusable: dict[str, Any] = {"name": name, "title": source.title, "state": f"unusable: {error}"}
            rows.append(unusable)
            continue
        wrong = {file: state for file, state in states.items() if state != "ok"}
        paths = [root / file for file in states]
        rows.append(
            {
                "name": name,
                "title": source.title,
                "state": state_of(len(states), wrong) if source.kept else "not checked: files= is not declared",
                "files": wrong,
                "where": str(root) if states else None,
                "megabytes": round(sum(p.stat().st_size for p in paths if p.exists()) / 1e6, 1) if states else None,
                "summary": source.summary,
            }
        )
    return rows


def state_of(files: int, wrong: dict[str, str]) -> str:
    """The state of a dataset, from the number of its files and the states of the bad ones."""
    if not wrong:
        return "ok, checksums are correct" if files else "ok, needs no files"
    if "damaged" in wrong.values():
        return "damaged"
    return "missing" if len(wrong) == files else "incomplete"


def fetch_data(name: str, folder: str | None) -> str:
    """Downloads a dataset if files are missing or damaged, and checks it.

    Files that are missing or damaged are downloaded into a folder of their own and checked there; only then do they
    take their places, so that a download that fails changes nothing.

    Returns:
        A message: what was done.

    Raises:
        UserError: If it cannot be downloaded; the message says what is wrong with each file.
    """
    source = registry.get(Source, name)
    root = folders.data(folder)
    faults = source.faults(root)
    if not faults:
        return f"{name} is already in {root}" if source.files else f"{name} needs no files"
    if source.fetch is None:
        raise UserError(f"{name} cannot be downloaded: put its files into {root} ({in_words(faults)})")
    folders.check_writable(root)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=root) as staging:
        fresh = Path(staging)
        gather(source.files, faults, root, fresh)
        try:
            source.fetch(fresh)
        except Exception as error:  # whatever the network or a server did
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise UserError(
                f"{name} is not in {root}: {in_words(faults)}. It could not be downloaded: {reason}"
            ) from error
        if still := source.faults(fresh):
            raise UserError(
                f"{name} was downloaded, but other files than its authors' came: {in_words(still)}; nothing in {root} "
                "was changed"
            )
        for file in faults:
            place(fresh / file, root / file)
    return f"{name} is now in {root}"


def gather(files: Iterable[str], faults: Container[str], root: Path, fresh: Path) -> None:
    """Copies the right files into an empty folder, and links what lies beside them, such as archives to unpack."""
    folders_of_files = {folder for file in files for folder in PurePosixPath(file).parents}
    for folder in folders_of_files:
        (fresh / folder).mkdir(parents=True, exist_ok=True)
    for file in files:
        if file not in faults:
            shutil.copyfile(root / file, fresh / file)
    for folder in folders_of_files:
        for path in (root / folder).glob("*") if (root / folder).is_dir() else ():
            beside = fresh / folder / path.name
            if path.is_file() and str(folder / path.name) not in files:
                beside.symlink_to(path.resolve())


def place(source: Path, target: Path) -> None:
    """Moves a file to its place, in one step.

    Raises:
        UserError: If something that is no file is there.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}") from error


def in_words(faults: Mapping[str, str]) -> str:
    """What is wrong with files, in one line."""
    return "; ".join(f"{file} {text}" for file, text in faults.items())


def preset_row(name: str) -> dict[str, Any]:
    """The selection of a preset."""
    preset = presets.read(name)
    return {
        "name": name,
        "title": preset.title,
        "datasets": ", ".join(preset.datasets),
        "tasks": ", ".join(preset.tasks or ["all installed"]),
        "methods": ", ".join(preset.methods or ["all installed"]),
        "seeds": ", ".join(map(str, preset.seeds)),
        "shadows": preset.shadows,
    }
