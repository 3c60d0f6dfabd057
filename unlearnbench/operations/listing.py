"""Lists plugins, presets and data sets; downloads data sets."""

from __future__ import annotations

from collections.abc import Callable
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
    """Lists all data sets and the state of their files: one row for each, as JSON values."""
    root = folders.data(folder)
    rows = []
    for name, source in registry.usable("datasets").items():
        assert isinstance(source, Source)
        states = source.state(root)
        wrong = {file: state for file, state in states.items() if state != "ok"}
        paths = [root / file for file in states]
        rows.append(
            {
                "name": name,
                "title": source.title,
                "state": state_of(len(states), wrong),
                "files": wrong,
                "where": str(root) if states else None,
                "megabytes": round(sum(p.stat().st_size for p in paths if p.exists()) / 1e6, 1) if states else None,
                "summary": source.summary,
            }
        )
    return rows


def state_of(files: int, wrong: dict[str, str]) -> str:
    """The state of a data set, from the number of its files and the states of the bad ones."""
    if not wrong:
        return "ok, checksums are correct" if files else "ok, needs no files"
    if "damaged" in wrong.values():
        return "damaged"
    return "missing" if len(wrong) == files else "incomplete"


def fetch_data(name: str, folder: str | None) -> str:
    """Downloads a data set if files are missing or damaged, and checks it.

    Returns:
        A message: what was done.

    Raises:
        UserError: If it cannot be downloaded, or is damaged.
    """
    source = registry.get(Source, name)
    root = folders.data(folder)
    if "damaged" not in (states := source.state(root).values()) and "missing" not in states:
        return f"{name} is already in {root}" if states else f"{name} needs no files"
    if source.fetch is None:
        raise UserError(f"{name} cannot be downloaded: put its files into {root}")
    folders.check_writable(root)
    try:
        source.fetch(root)
    except Exception as error:  # networks and servers fail in many ways
        raise UserError(f"{name} could not be downloaded: {type(error).__name__}: {error}") from error
    source.check(name, root)
    return f"{name} is now in {root}"


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
