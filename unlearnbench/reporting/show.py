"""A record for people to read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlearnbench.errors import UserError, unknown
from unlearnbench.planning import presets
from unlearnbench.planning.protocols import COLUMNS, PROTOCOLS
from unlearnbench.reporting.frame import records

FEW = " (too few held-out items for so small a false-positive rate)"
WITHOUT = " (the attack has no threshold here)"
WHY = {"accuracy": WITHOUT, "balanced_accuracy": WITHOUT, "tpr@1%": FEW, "tpr@0.1%": FEW}
"""Why there may be no number."""


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
