"""Which records are stale: made by other code, under another preset, or under other conditions than Retrain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unlearnbench.artefacts.features_rule import FEATURES
from unlearnbench.artefacts.relearning_rule import RELEARNING
from unlearnbench.artefacts.versions import outdated
from unlearnbench.planning.presets import REFERENCE, Preset
from unlearnbench.reporting.record import Measure, Record
from unlearnbench.storage.folders import expanded
from unlearnbench.storage.keys import canonical, sha_of

SET = "preset ", "tuned, "
"""What the source of a hyperparameter begins with that a preset, or its file of tuned values, has set."""
ELSEWISE = "made with another recipe, data, attack or code than Retrain; run again"


def marked(record: Record, changed: str, accept_stale: bool) -> Record:
    """A record that is marked as stale, or as accepted, if its code or its preset has changed.

    Args:
        record: The record.
        changed: What has changed since it was made; "" if nothing is known.
        accept_stale: Whether its numbers are shown nevertheless.
    """
    if changed and record.ok:
        stale = f"changed since: {changed}; run again, or accept it with --accept-stale"
        record = replace(record, changed=changed, stale="" if accept_stale else stale)
    if accept_stale or not record.more:
        return record
    more = {
        name: emptied(measure) if outdated(as_key(name, measure)) else measure for name, measure in record.more.items()
    }
    return replace(record, more=more)


def as_key(name: str, measure: Measure) -> Mapping[str, Any]:
    """The key of a measure in the form of a key of a record."""
    return {"kind": name, **measure.key} if name in (RELEARNING, FEATURES) else {"attacks": {name: measure.key}}


def emptied(measure: Measure) -> Measure:
    """A measure without its numbers, which are stale."""
    return replace(measure, numbers={}, roc={}, map={})


def comparable(records: Sequence[Record]) -> list[Record]:
    """Marks as stale what was made under other conditions than the newest Retrain of its data set.

    Numbers that `measure` added under other conditions are left out.
    """
    references: dict[str, Record] = {}
    for record in sorted(records, key=lambda record: record.date):
        if record.ok and record.cell.method == REFERENCE:
            references[record.cell.dataset] = record
    return [beside(record, references.get(record.cell.dataset)) for record in records]


def beside(record: Record, reference: Record | None) -> Record:
    """A record as it stands beside Retrain's, if there is one; see `comparable`."""
    if reference is None:
        return record
    if record.ok and differ(record.conditions, reference.conditions):
        record = replace(record, stale=ELSEWISE)
    others = [
        name
        for name, measure in record.more.items()
        if name in reference.more and differ(measure.key, reference.more[name].key)
    ]
    return replace(record, more={**record.more, **{name: emptied(record.more[name]) for name in others}})


def changes(record: Record, preset: Preset) -> str:
    """What has changed since a record was made: code, or what the preset says; "" if nothing is known."""
    return ", ".join([*outdated(record.key, record.files), *reset(record, preset)])


def reset(record: Record, preset: Preset) -> Iterator[str]:
    """The values of a preset that differ from those that a record was made with, as NAME.OPTION.

    Defaults of plugins are not known here, so a value that was removed from the preset is noticed only where the record
    says that the preset, or its tuning, was its source.
    """
    outputs: Any = record.key.get("outputs", {})
    original, training = outputs.get("original", {}), preset.datasets.get(record.cell.dataset)
    if training:
        values = training.recipe.values()
        if training.recipe.precision == "auto":  # the machine chooses
            del values["precision"]
        yield from differing("recipe", original.get("recipe", {}), values)
        yield from differing(training.model, original.get("model", {}).get("options", {}), training.options)
    if record.key.get("shadows", {}).get("count", preset.shadows) != preset.shadows:
        yield "shadows"
    for name, attack in record.key.get("attacks", {}).items():
        yield from differing(name, attack["options"], preset.attack_options.get(name, {}))
    name = record.cell.task_name
    if record.cell.task == name:  # otherwise its options are not the preset's; likewise below
        options, task = preset.options_of_task(name, record.cell.dataset), outputs.get("task", {})
        yield from differing(name, task.get("options", {}), options)
        yield from other_content(name, task.get("files", {}), options, preset.folder)
    if record.cell.method == record.cell.method_name:
        yield from reset_hyperparameters(record, preset)


def other_content(task: str, digests: Mapping[str, str], options: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """The options of a task whose files have other content than in a record, as TASK.OPTION; missing files are not.

    Args:
        task: Name of the task.
        digests: The SHA-256 of the files by option.
        options: The options of the preset, which name the files.
        folder: The folder that relative paths begin from.
    """
    for option, digest in digests.items():
        path = folder.joinpath(expanded(options.get(option, "")))
        if path.is_file() and sha_of(path.read_bytes()) != digest:
            yield f"{task}.{option}"


def reset_hyperparameters(record: Record, preset: Preset) -> Iterator[str]:
    """The hyperparameters of a preset that differ from those of a record, and of the methods that it starts from."""
    cell, outputs, like, prefix = record.cell, record.key.get("outputs", {}), record.cell.like, ""
    while outputs:
        method = outputs.get("method", {})
        name, options = method.get("name", ""), method.get("options", {})
        place = cell.task_name, cell.model, cell.dataset
        layers = [layer for n in (like, name) if n for layer in preset.hyperparameters(n, *place)]
        if choice := preset.choice(name, like, cell.task_name, cell.model):
            layers.append(dict(choice.values))
        values = {option: value for layer in layers for option, value in layer.items()}
        yield from differing(name, options, values)
        gone = [o for o in options if cell.sources.get(prefix + o, "").startswith(SET) and o not in values]
        yield from (f"{name}.{option}" for option in gone)
        outputs, like = outputs.get("parent"), ""
        prefix += f"{outputs['method']['name']}." if outputs and "method" in outputs else ""


def differing(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """The options that have a new value, as NAME.OPTION; those that only one side has are not compared."""
    yield from (f"{name}.{option}" for option in new if option in old and differ(old[option], new[option]))


def differ(old: Any, new: Any) -> bool:
    """Whether two values differ as JSON, which has no tuples."""
    return bool(old != new) and canonical(old) != canonical(new)
