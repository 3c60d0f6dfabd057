"""One record as text: what it is, its numbers, and the command that reproduces it."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from unlearnbench.artefacts.features_rule import FEATURES, NEIGHBOURS
from unlearnbench.artefacts.relearning_rule import RELEARNING
from unlearnbench.errors import UserError, counted, unknown
from unlearnbench.planning import presets
from unlearnbench.planning.cell_info import CellInfo, plugin_name
from unlearnbench.planning.presets import Preset
from unlearnbench.planning.protocols import COLUMNS, PROTOCOLS
from unlearnbench.plugins import registry
from unlearnbench.reporting.comparable import changes
from unlearnbench.reporting.frame import record_paths, records
from unlearnbench.reporting.record import Record
from unlearnbench.statistics import proportion
from unlearnbench.storage.folders import folder_name
from unlearnbench.storage.records import record_problem

DEFAULT_RESULTS = "results"
"""The folder of records if none is given."""
FEW = "too few held-out samples for so small a false-positive rate"
WITHOUT = "the attack has no threshold here"
WHY = {"accuracy": WITHOUT, "balanced_accuracy": WITHOUT, "tpr@1%": FEW, "tpr@0.1%": FEW}
"""Why an attack may lack a number."""


def find_record(results: Path, preset: str, dataset: str, task: str, method: str, seed: int) -> Mapping[str, Any]:
    """The record of a cell, as JSON values.

    Args:
        results: The folder of the records.
        preset: The name or the file of a preset.
        dataset: Name of the data set.
        task: Label of the task.
        method: Label of the method.
        seed: The seed.

    Raises:
        UserError: If there is none; the message names records that exist, or the command that makes this one.
    """
    folder = presets.read(preset).name
    kept = list(records(results, preset))
    if not kept:
        raise UserError(f"there are no records in {results / folder}: run `unlearnbench run --preset {preset}`")
    wanted: dict[str, str | int] = {"dataset": dataset, "task": task, "method": method, "seed": seed}
    for name, value in wanted.items():
        existing = {str(record["cell"][name]) for record in kept}
        kept = [record for record in kept if record["cell"][name] == value]
        if not kept:
            check_damaged(results, preset, dataset, task, method, seed)
            what = f"{results / folder} has no record of {dataset} {task} {method} {seed}"
            raise UserError(f"{what}: {what_to_do(preset, wanted, name, existing)}")
    return kept[0]


def check_damaged(results: Path, preset: str, dataset: str, task: str, method: str, seed: int) -> None:
    """Raises `UserError` if there is a file of this record, but it cannot be read; arguments as of `find_record`."""
    names = folder_name(dataset), folder_name(task), folder_name(method), f"{seed}.json"
    for path in record_paths(results, preset):
        if (path.parts[-5], *path.parts[-3:]) == names:
            why = record_problem(path) or "its form is not that of a record"
            raise UserError(
                f"{path} is damaged or was changed after it was written: {why}. Restore it, or delete it and run the "
                "cell again"
            )


def what_to_do(preset: str, wanted: Mapping[str, str | int], name: str, existing: Collection[str]) -> str:
    """What to do about a record that does not exist: correct a name, or run the cell.

    Args:
        preset: The name or the file of its preset.
        wanted: Data set, task, method and seed.
        name: The first of these that no record has.
        existing: What records have in its place.
    """
    value = str(wanted[name])
    known = {value} if name == "seed" else registry.entries(f"{name}s").keys()
    if plugin_name(value) not in known:
        return str(unknown(name, value, {*known, *existing}))
    have = f"the {name}s there are {', '.join(sorted(existing))}"
    if any("+" in str(part) for part in wanted.values()):
        return have
    cell = f"-d {wanted['dataset']} -t {wanted['task']} -m {wanted['method']} --seeds {wanted['seed']}"
    return f"{have}; `unlearnbench run --preset {preset} {cell}` makes it"


def describe(record: Mapping[str, Any], preset: Preset, results: str = DEFAULT_RESULTS) -> str:
    """A record as text.

    Args:
        record: JSON values.
        preset: Its preset, as it is now.
        results: The folder of the records, as it was given.
    """
    cell, observed = CellInfo.from_json(record["cell"]), record["observed"]
    changed = changes(Record.from_json(record), preset)
    lines = [f"{title_of(cell)}, seed {cell.seed}"]
    lines += [f"status      {record['status']}" + (f": {record['reason']}" if record.get("reason") else "")]
    lines += [f"stale       {f'yes, changed since: {changed}' if changed else 'no: code and preset are as they were'}"]
    lines += [f"access      {cell.access}"]
    lines += cost(record)
    lines += numbers(record) if "metrics" in record else []
    lines += ["hyperparameters" + ("" if cell.hyperparameters else ": none")]
    lines += [f"  {n:18} {v}  ({cell.sources.get(n, 'source not recorded')})" for n, v in cell.hyperparameters.items()]
    lines += recipe(record, preset)
    lines += [f"{f'seconds {phase}':16} {value:.2f}" for phase, value in observed["seconds"].items()]
    lines += [f"made        {observed['date']} on {observed.get('processor', 'an unknown processor')}"]
    lines += [f"with        {software(record)}"]
    lines += [f"from        {origin}" for origin in origins(record)]
    lines += [f"command     {observed['command']}"]
    place = shlex.join(["unlearnbench", "reproduce", cell.dataset, cell.task, cell.method, str(cell.seed)])
    where = "" if results == DEFAULT_RESULTS else f" --results {shlex.quote(results)}"
    lines += [f"reproduce   {place} --preset {shlex.quote(preset.source)}{where}"]
    lines += ["", record["traceback"].rstrip()] if "traceback" in record else []
    return "\n".join(lines)


def recipe(record: Mapping[str, Any], preset: Preset) -> Iterator[str]:
    """How the original and Retrain were trained, if a recipe of the preset trained them."""
    values = record["key"].get("outputs", {}).get("original", {}).get("recipe", {})
    if values:
        yield f"recipe of the original and of Retrain (preset {preset.name})"
        yield from (f"  {name:18} {value}" for name, value in values.items())


def cost(record: Mapping[str, Any]) -> Iterator[str]:
    """The cost of a cell in ep, if its record has it."""
    phases = record.get("metrics", {}).get("cost", {})
    if phases:
        text = ", ".join(f"{ep:.2f} to {phase}" for phase, ep in phases.items())
        yield f"cost        {text}; in passes over the training set, as the method declares"


def origins(record: Mapping[str, Any]) -> Iterator[str]:
    """Where methods come from that are not built in: the record's own, and those that it starts from."""
    files, outputs = record["observed"].get("files", {}), record["key"].get("outputs")
    while outputs and "method" in outputs:
        name, origin = outputs["method"]["name"], outputs["method"].get("from")
        if origin:
            yield f"{files.get(name, origin)} ({name})"
        outputs = outputs.get("parent")


def title_of(cell: CellInfo) -> str:
    """A cell's titles, without the seed."""
    return f"{cell.method_title} on {cell.dataset_title}, {cell.task_title}"


def numbers(record: Mapping[str, Any]) -> Iterator[str]:
    """A line for each number of a record: metrics of both protocols, and attacks."""
    metrics = record["metrics"]
    for protocol in PROTOCOLS:
        yield f"protocol {protocol}"
        yield from (f"  {name:18} {accuracy(name, value, metrics)}" for name, value in metrics[protocol].items())
    added = {name: entry["found"] for name, entry in record.get("more", {}).items()}
    for name, attack in {**metrics["attacks"], **added}.items():
        if "n/a" in attack:
            yield f"attack {name}: n/a, {attack['n/a']}"
        elif name == RELEARNING:
            yield relearned(attack)
        elif name == FEATURES:
            yield represented(attack)
        else:
            yield f"attack {name}: {attack['forgotten']} forgotten against {attack['heldout']} held-out samples"
            for metric, value in attack.items():
                if metric not in ("forgotten", "heldout"):
                    why = f" ({WHY[metric]})" if value is None and metric in WHY else ""
                    yield f"  {metric:18} {shown(value)}{why}"


def software(record: Mapping[str, Any]) -> str:
    """The arithmetic and the versions that a record was made with."""
    observed = record["observed"]
    made = [f"unlearnbench {observed['unlearnbench']}", f"torch {observed['torch']}", f"Python {observed['python']}"]
    made += [f"{name} {version}" for name, version in observed.get("libraries", {}).items()]
    computed = record["key"].get("outputs", {}).get("original", {}).get("on", {})
    if "arithmetic" in computed:
        made.insert(0, f"{computed['arithmetic']} arithmetic on {computed['device']}")
    return ", ".join([*made, *([f"commit {observed['commit']}"] if observed.get("commit") else [])])


def accuracy(name: str, value: float, metrics: Mapping[str, Any]) -> str:
    """An accuracy with its count and its exact 95 % interval over samples; the ASR has these under its attack."""
    samples = metrics["items"].get(name)
    if name == "asr" or not samples:
        return shown(value)
    hits = round(value * samples)
    return f"{shown(list(proportion(hits, samples)))}  {hits} of {samples}"


def relearned(numbers: Mapping[str, Any]) -> str:
    """How fast a network relearned, in a sentence."""
    never, limit = numbers["steps"] is None, numbers["limit"]
    steps = f"{limit} steps do not restore" if never else f"{counted(numbers['steps'], 'step')} restored"
    return (
        f"relearning {numbers['items']} forgotten samples: {steps} the accuracy on {numbers['others']} others "
        f"(original {100 * numbers['original']:.2f} %, before {100 * numbers['before']:.2f} %, "
        f"after {limit} steps {100 * numbers['after']:.2f} %)"
    ) + (f"; the retain set alone gives {100 * numbers['retain']:.2f} %" if "retain" in numbers else "")


def represented(numbers: Mapping[str, Any]) -> str:
    """How a network represents forgotten samples, in a sentence."""
    names = {"cka_retrain": "Retrain", "cka_original": "the original"}
    alike = [f", CKA to {title} {numbers[name]:.3f}" for name, title in names.items() if numbers[name] is not None]
    return (
        f"features of {numbers['samples']} samples, {numbers['forgotten']} of them forgotten: "
        f"{100 * numbers['purity']:.2f} % of the {NEIGHBOURS} nearest neighbours of forgotten samples are forgotten"
        + "".join(alike)
        + (f", linear probe {100 * numbers['probe']:.2f} %" if "probe" in numbers else "")
    )


def verdict(record: Mapping[str, Any], reference: Mapping[str, Any]) -> str:
    """A record beside that of Retrain, as text.

    Args:
        record: JSON values.
        reference: Those of Retrain.
    """
    from tabulate import tabulate

    cell, retrain = CellInfo.from_json(record["cell"]), CellInfo.from_json(reference["cell"])
    lines: list[list[str]] = []
    for protocol in PROTOCOLS:
        ours, theirs = record["metrics"][protocol], reference["metrics"][protocol]
        for metric in (metric for metric in COLUMNS if metric in ours):
            values = f"{100 * ours[metric]:.2f}", f"{100 * theirs[metric]:.2f}"
            lines.append([protocol, COLUMNS[metric], *values, f"{100 * (ours[metric] - theirs[metric]):+.2f}"])
    headers = ["Protocol", "Metric", cell.method_title, retrain.method_title, "Difference"]
    title = f"{title_of(cell)}, seed {cell.seed}, in percent"
    return f"{title}\n\n{tabulate(lines, headers, disable_numparse=True)}"


def shown(value: Any) -> str:
    """A count, or a rate with its 95 % interval if it has one."""
    if isinstance(value, int):
        return f"{value:6}"
    if value is None:
        return "n/a"
    if isinstance(value, list):
        return f"{100 * value[0]:6.2f} %  [{100 * value[1]:.2f}, {100 * value[2]:.2f}]"
    return f"{100 * value:6.2f} %"
