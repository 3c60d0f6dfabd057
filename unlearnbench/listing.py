"""What is installed and what is recorded, for people to read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from unlearnbench import folders, presets, registry
from unlearnbench.data import Source
from unlearnbench.errors import UserError, unknown
from unlearnbench.method import LEVELS, Method
from unlearnbench.protocols import PROTOCOLS
from unlearnbench.records import records
from unlearnbench.rendering import COLUMNS
from unlearnbench.task import Task

FEW = " (too few held-out items for so small a false-positive rate)"
WITHOUT = " (the attack has no threshold here)"
WHY = {"accuracy": WITHOUT, "balanced_accuracy": WITHOUT, "tpr@1%": FEW, "tpr@0.1%": FEW}
"""Why there may be no number."""


def listing(what: str) -> list[dict[str, Any]]:
    """What is installed of a kind.

    Args:
        what: "methods", "tasks", "datasets", "models", "attacks" or "presets".

    Returns:
        One row for each, as JSON values; for one that cannot be used only "name", "from" and why it is "unusable".
    """
    if what == "presets":
        return [preset_row(name) for name in presets.names()]
    if what not in registry.GROUPS:
        raise unknown("list", what, [*registry.GROUPS, "presets"])
    more: dict[str, Callable[[Any], dict[str, Any]]] = {"methods": method_row, "tasks": task_row}
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
                **(more[what](plugin) if what in more else {}),
                "options": {k: list(v) if isinstance(v, tuple) else v for k, v in plugin.defaults.items()},
                "summary": plugin.summary,
                "notes": plugin.notes,
                "reference": plugin.reference,
            }
        )
    return rows


def method_row(method: Method) -> dict[str, Any]:
    """What a method is and what it may see of the training set."""
    access = {f"sees {phase}": getattr(method.access, phase) for phase in LEVELS}
    return {"role": method.role, **access, "starts from": method.start or None}


def task_row(task: Task) -> dict[str, Any]:
    """The columns of a task's table."""
    return {"columns": ", ".join(task.columns)}


def data_listing(folder: str | None) -> list[dict[str, Any]]:
    """What is there of the data sets: one row for each, as JSON values."""
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
    """The state of a data set in a few words."""
    if not wrong:
        return "ok, checksums are right" if files else "ok, needs no files"
    if "damaged" in wrong.values():
        return "damaged"
    return "missing" if len(wrong) == files else "incomplete"


def fetch_data(name: str, folder: str | None) -> str:
    """Downloads a data set if it is not there, and checks it.

    Returns:
        What was done, in a sentence.

    Raises:
        UserError: If it cannot be downloaded, or is damaged.
    """
    source = registry.get(Source, name)
    root = folders.data(folder)
    if "damaged" not in (states := source.state(root).values()) and "missing" not in states:
        return f"{name} is there: {root}" if states else f"{name} needs no files"
    if source.fetch is None:
        raise UserError(f"{name} cannot be downloaded: put its files into {root}")
    folders.check_writable(root)
    try:
        source.fetch(root)
    except Exception as error:  # whatever the network or a server did
        raise UserError(f"{name} could not be downloaded: {type(error).__name__}: {error}") from error
    source.check(name, root)
    return f"{name} is now in {root}"


def preset_row(name: str) -> dict[str, Any]:
    """What a preset selects."""
    preset = presets.read(name)
    return {
        "name": name,
        "title": preset.title,
        "datasets": ", ".join(preset.datasets),
        "tasks": ", ".join(preset.tasks or ["every installed"]),
        "methods": ", ".join(preset.methods or ["every installed"]),
        "seeds": ", ".join(map(str, preset.seeds)),
        "shadows": preset.shadows,
    }


def find_record(results: Path, preset: str, dataset: str, task: str, method: str, seed: int) -> Mapping[str, Any]:
    """The record of a cell.

    Raises:
        UserError: If there is none; the message names what there is.
    """
    folder = presets.read(preset).name
    found = list(records(results, folder))
    if not found:
        raise UserError(f"there are no records in {results / folder}: run `unlearnbench run --preset {preset}`")
    for name, value in (("dataset", dataset), ("task", task), ("method", method), ("seed", seed)):
        kept = [r for r in found if r["cell"][name] == value]
        if not kept:
            hint = unknown(name, str(value), {str(r["cell"][name]) for r in found})
            raise UserError(f"{results / folder} has no record of {dataset} {task} {method} {seed}: {hint}")
        found = kept
    return found[0]


def describe(record: Mapping[str, Any]) -> str:
    """A record for people: what it is, its numbers, and the command that reproduces it."""
    cell, observed = record["cell"], record["observed"]
    lines = [f"{cell['method_title']} on {cell['dataset_title']}, {cell['task_title']}, seed {cell['seed']}"]
    lines += [f"status      {record['status']}" + (f": {record['reason']}" if record.get("reason") else "")]
    if "metrics" in record:
        for protocol in PROTOCOLS:
            lines += [f"protocol {protocol}"]
            lines += [f"  {name:18} {number(value)}" for name, value in record["metrics"][protocol].items()]
        more = {name: entry["found"] for name, entry in record.get("more", {}).items()}
        for name, attack in {**record["metrics"]["attacks"], **more}.items():
            if "n/a" in attack:
                lines += [f"attack {name}: n/a, {attack['n/a']}"]
                continue
            if name == "relearning":
                lines += [relearned(attack)]
                continue
            lines += [f"attack {name}: {attack['forgotten']} forgotten against {attack['heldout']} held-out items"]
            for metric in (m for m in attack if m not in ("forgotten", "heldout")):
                lines += [f"  {metric:18} {number(attack[metric])}{WHY.get(metric, '') * (attack[metric] is None)}"]
    options = cell["hyperparameters"].items()
    lines += ["options     " + (", ".join(f"{k}={v}" for k, v in options) or "none")]
    lines += [f"{f'seconds {phase}':16} {value:.2f}" for phase, value in observed["seconds"].items()]
    lines += [f"made        {observed['date']} on {observed['host']}, torch {observed['torch']}"]
    lines += [f"reproduce   {observed['command']}"]
    return "\n".join([*lines, *(["", record["traceback"].rstrip()] if "traceback" in record else [])])


def relearned(found: dict[str, Any]) -> str:
    """How soon a network learned again, in a sentence."""
    steps = f"{found['limit']} steps do not bring" if found["steps"] is None else f"{found['steps']} steps bring"
    return (
        f"relearning {found['items']} forgotten items: {steps} back what was known of {found['others']} others "
        f"(accuracy {100 * found['original']:.2f} %, now {100 * found['before']:.2f} %, "
        f"after {found['limit']} steps {100 * found['after']:.2f} %)"
    )


def verdict(record: Mapping[str, Any], reference: Mapping[str, Any]) -> str:
    """A record beside that of Retrain, for people."""
    from tabulate import tabulate

    name = record["cell"]["method_title"]
    lines: list[list[str]] = []
    for protocol in PROTOCOLS:
        ours, theirs = record["metrics"][protocol], reference["metrics"][protocol]
        lines += [
            [
                protocol,
                COLUMNS[m],
                f"{100 * ours[m]:.2f}",
                f"{100 * theirs[m]:.2f}",
                f"{100 * (ours[m] - theirs[m]):+.2f}",
            ]
            for m in COLUMNS
            if m in ours
        ]
    title = (
        f"{name} on {record['cell']['dataset_title']}, {record['cell']['task_title']}, seed {record['cell']['seed']}"
    )
    headers = ["Protocol", "Metric", name, reference["cell"]["method_title"], "Difference"]
    return f"{title}, in percent\n\n{tabulate(lines, headers, disable_numparse=True)}"


def number(value: Any) -> str:
    """A count, or a rate with its 95 % interval if it has one."""
    if isinstance(value, int):
        return f"{value:6}"
    if value is None:
        return "n/a"
    if isinstance(value, list):
        return f"{100 * value[0]:6.2f} %  [{100 * value[1]:.2f}, {100 * value[2]:.2f}]"
    return f"{100 * value:6.2f} %"
