"""Computes the record of a cell, with accuracies and attacks, from outputs."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unlearnbench.artefacts.artefact import Artefact
from unlearnbench.artefacts.context import WorkerContext
from unlearnbench.artefacts.given import is_given
from unlearnbench.artefacts.prepared import MethodArtefact
from unlearnbench.artefacts.scenario import Scenario, shadow_split
from unlearnbench.artefacts.shadow import Shadow
from unlearnbench.artefacts.splits import compared, shadow_members
from unlearnbench.artefacts.unlearned import IDENTIFIED, Outputs
from unlearnbench.artefacts.versions import check_code
from unlearnbench.evaluation import membership, metrics
from unlearnbench.planning.cell_info import CellStatus
from unlearnbench.planning.plan import Cell
from unlearnbench.planning.protocols import CLEAN, MIA, PROTOCOLS, Protocol
from unlearnbench.plugins import registry
from unlearnbench.plugins.attack import Attack, Audit, Known, NotApplicableError, Observed
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.files import Local
from unlearnbench.plugins.method import Method
from unlearnbench.plugins.task import Split, Task
from unlearnbench.runtime import seeds
from unlearnbench.runtime.arithmetic import ensure, processor
from unlearnbench.runtime.source import commit
from unlearnbench.runtime.time_limit import limited
from unlearnbench.runtime.timing import spending
from unlearnbench.storage.keys import sha_of
from unlearnbench.storage.records import SCHEMA

LIBRARIES = ("numpy", "scipy", "scikit-learn")
"""The libraries beside torch that metrics and attacks compute with."""
Sides = tuple[tuple[Observed, ...], tuple[Observed, ...]]
"""The outputs on members and on non-members, one entry for each shadow model."""
Samples = Mapping[str, tuple[Tensor, Tensor]]
"""Positions among all images, training images first, and labels (both int64), by part of an audit."""

Curve = Mapping[str, Sequence[float]]
"""A ROC curve, as in `membership.roc`; empty if the attack does not apply."""


class Attacked(NamedTuple):
    """The result of an attack.

    Attributes:
        numbers: As in `membership.success`; or, under "n/a", why it does not apply.
        roc: Its ROC curve.
    """

    numbers: dict[str, Any]
    roc: Curve


class Evaluator:
    """Evaluates cells.

    Args:
        context: Loads or makes their outputs.
    """

    def __init__(self, context: WorkerContext) -> None:
        self.context = context
        self._observations: dict[tuple[str, ...], Sides] = {}

    def record(self, cell: Cell) -> dict[str, Any]:
        """The record of a cell: accuracies and attacks, computed from its outputs."""
        check_code(cell.key)
        outputs, info = self.context.get(cell.outputs)
        loaded = self.context.load(cell.scenario)
        values: dict[str, dict[str, Any]] = {
            "items": counts_of(cell, loaded.content, loaded.split),
            "attacks": {},
        }
        curves: dict[str, Curve] = {}
        with spending("attacks"):
            for protocol in PROTOCOLS.values():
                values[protocol.name], attacked = self.evaluate(cell, outputs, protocol)
                values["attacks"][protocol.attack], curves[protocol.attack] = attacked
            if MIA in cell.attacks:
                audit = self.audit(cell, outputs["train"], outputs["test"])
                numbers, curves[MIA] = run_attack(audit, MIA, cell.attacks[MIA])
                values["attacks"][MIA] = numbers
                values[CLEAN.name]["mia"] = numbers["non-members"] / numbers["forgotten"]
        if IDENTIFIED in outputs:
            values["identification"] = metrics.identification(outputs[IDENTIFIED], loaded.split)
        if not is_given(cell.outputs):
            values["cost"] = cost_in_ep(cell.outputs)
        return {
            "schema": SCHEMA,
            "status": CellStatus.OK,
            "cell": cell.info.as_json(),
            "key": dict(cell.key),
            "metrics": values,
            "roc": curves,
            "outputs": {part: digest_of(logits) for part, logits in outputs.items()},
            "observed": observed_facts(cell, {} if is_given(cell.outputs) else info["seconds"]),
        }

    def evaluate(
        self, cell: Cell, outputs: dict[str, Tensor], protocol: Protocol
    ) -> tuple[dict[str, float | None], Attacked]:
        """The columns of a protocol's tables, and the result of the protocol's attack."""
        plain = outputs["train"]
        train = outputs.get("train_augmented", plain) if protocol.augmented else plain
        loaded = self.context.load(cell.scenario)
        audit = self.audit(cell, train, outputs["test"])
        attacked = run_attack(audit, protocol.attack, cell.attacks[protocol.attack])
        columns = metrics.accuracies(train, outputs["test"], loaded.content, loaded.split)
        success = attacked.numbers.get(protocol.metric)  # an attack that cannot be applied has none
        return {**columns, "asr": success[0] if success else None}, attacked

    def audit(
        self,
        cell: Cell,
        train: Tensor,
        test: Tensor,
        second_retrain: Outputs | None = None,
        unlearned: Sequence[Outputs] = (),
    ) -> Audit:
        """The input of attacks on a cell.

        Args:
            cell: The cell.
            train: Logits of its network on the training images, float32 [images, classes].
            test: Likewise on the test images.
            second_retrain: The outputs of a second Retrain.
            unlearned: The outputs of the cell's unlearned shadow models.
        """
        scenario = cell.scenario
        ensure(scenario.arithmetic)
        loaded = self.context.load(scenario)
        content, split = loaded.content, loaded.split
        labels, test_labels = split.labels(content), split.test_labels(content)
        retained = torch.from_numpy(~metrics.as_mask(split.forgotten, len(labels)))
        members, nonmembers = self.shadow_observations(scenario, cell.shadows)
        sides = compared(content, split)
        samples = {
            "forgotten": (sides["forgotten"], labels[split.forgotten]),
            "heldout": (sides["heldout"], split.labels_of_heldout(content)),
        }
        all_test = torch.arange(len(content.test_labels)) + len(labels), test_labels
        return Audit(
            forgotten=observation(train[split.forgotten], labels[split.forgotten]),
            heldout=observation(test[split.heldout], split.labels_of_heldout(content)),
            retained=observation(train[retained], labels[retained]),
            test=observation(test, test_labels),
            shadow_members=members,
            shadow_nonmembers=nonmembers,
            seed=seeds.derive(scenario.dataset, scenario.task, "attack"),
            heldout_rows=split.heldout.numpy(),
            load_references=lambda: self.references(cell, samples | {"test": all_test}, second_retrain),
            load_unlearned_shadows=lambda: tuple(
                known_outputs(*self.unlearned_shadow(outputs), samples) for outputs in unlearned
            ),
            same_labels=split.train_labels is None,
        )

    def references(
        self, cell: Cell, samples: Samples, second_retrain: Outputs | None
    ) -> tuple[Mapping[str, Known], ...]:
        """The outputs of models of known membership on some samples: the shadow models, and a second Retrain."""
        shadows = [self.context.get(shadow)[0] for shadow in cell.shadows]
        models = [(tensors["logits"], tensors["member"]) for tensors in shadows]
        if second_retrain:
            outputs, split = self.context.get(second_retrain)[0], self.context.load(cell.scenario).split
            logits = torch.cat([outputs["train"], outputs["test"]])
            member = torch.arange(len(logits)) < len(outputs["train"])
            member[split.forgotten] = False
            models.append((logits, member))
        return tuple(known_outputs(logits, member, samples) for logits, member in models)

    def unlearned_shadow(self, artefact: Outputs) -> tuple[Tensor, Tensor]:
        """The logits of an unlearned shadow model on all images, and a mask of its training images."""
        scenario = artefact.scenario
        assert scenario.shadow is not None
        outputs, _ = self.context.get(artefact)
        member = shadow_members(scenario.dataset, len(outputs["train"]) + len(outputs["test"]), scenario.shadow)
        logits = torch.empty(len(member), outputs["train"].shape[1])
        logits[member], logits[~member] = outputs["train"], outputs["test"]
        return logits, member

    def shadow_observations(self, scenario: Scenario, shadows: Sequence[Shadow]) -> Sides:
        """The outputs of shadow models on samples that the task selects: on members, and on non-members."""
        key = (scenario.task, repr(scenario.task_options), *(shadow.digest for shadow in shadows))
        if key not in self._observations:
            pool = self.context.load(scenario).content.pool
            inside: list[Observed] = []
            outside: list[Observed] = []
            for shadow in shadows:
                tensors, _ = self.context.get(shadow)
                split = shadow_split(scenario, pool, shadow.index)
                labels, forgotten = split.labels(pool), split.forgotten
                member = tensors["member"][forgotten]
                for side, rows in ((inside, forgotten[member]), (outside, forgotten[~member])):
                    side.append(observation(tensors["logits"][rows], labels[rows]))
            self._observations[key] = tuple(inside), tuple(outside)
        return self._observations[key]


def counts_of(cell: Cell, content: Dataset, split: Split) -> dict[str, int]:
    """The number of samples behind each column of a cell, as in `metrics.sample_counts`."""
    counts = metrics.sample_counts(content, split)
    return {**counts, "mia": counts["train_f"]} if MIA in cell.attacks else counts


def known_outputs(logits: Tensor, member: Tensor, samples: Samples) -> dict[str, Known]:
    """Selects the outputs on some samples, by part of an audit, of a model of known membership.

    Args:
        logits: Of the model on all images, float32 [images, classes].
        member: True for its training images, bool [images].
        samples: The samples.
    """
    return {
        part: Known(observation(logits[rows], labels), member[rows].numpy()) for part, (rows, labels) in samples.items()
    }


def run_attack(audit: Audit, name: str, options: Mapping[str, Any]) -> Attacked:
    """Runs an attack."""
    import sklearn.ensemble  # noqa: F401 - imported before the time limit starts: it takes a second

    try:
        with limited():
            scores = registry.get(Attack, name).score(audit, **options)
            return Attacked(membership.success(scores), membership.roc(scores))
    except NotApplicableError as reason:
        return Attacked({"n/a": str(reason)}, {})
    except Exception as error:
        error.add_note(f"attack {name}")  # so that a cell's failure names it
        raise


def cost_in_ep(artefact: Artefact) -> dict[str, float | None]:
    """The cost of a network in ep, by phase, including the networks that it starts from; None if it is not declared.

    Every cell that uses shared work is charged for all of it.
    """
    needs = artefact.needs
    undeclared = registry.get(Method, artefact.method).undeclared if isinstance(artefact, MethodArtefact) else []
    own = {
        "prepare": None if "prepare_cost" in undeclared else needs["prepared"].ep if "prepared" in needs else 0.0,
        "unlearn": None if "cost" in undeclared else artefact.ep,
    }
    parent = cost_in_ep(needs["parent"]) if "parent" in needs else dict.fromkeys(own, 0.0)
    return {phase: added(ep, parent[phase]) for phase, ep in own.items()}


def added(one: float | None, other: float | None) -> float | None:
    """The sum of two costs; None if one of them is not known."""
    return None if one is None or other is None else one + other


def observation(logits: Tensor, labels: Tensor) -> Observed:
    """Logits and labels in the form that attacks receive."""
    return Observed(logits.double().numpy(), labels.numpy())


def digest_of(logits: Tensor) -> str:
    """The SHA-256 of the bytes of outputs; equal if and only if all bits are."""
    return sha_of(logits.cpu().contiguous().numpy().tobytes())


@cache
def own_version() -> str:
    """The suite's version; cached, because a lookup takes a millisecond."""
    return version("unlearnbench")


@cache
def libraries() -> dict[str, str]:
    """The versions of the libraries that attacks compute with.

    They are observed and not in keys: a new release seldom changes a number, and would make every record stale.
    `verify` and `reproduce` name them where numbers differ. Attacks whose numbers do depend on a library name it with
    `libraries=`, which puts it into their key.
    """
    return {name: version(name) for name in LIBRARIES}


def library_changes(observed: Mapping[str, Any]) -> list[str]:
    """The libraries whose versions differ from those that a record was made with, e.g. "scipy: 1.15.0 -> 1.16.1".

    Args:
        observed: This part of the record; old records do not have them.
    """
    now = libraries()
    return [f"{name}: {old} -> {now[name]}" for name, old in observed.get("libraries", {}).items() if old != now[name]]


def observed_facts(cell: Cell, seconds: dict[str, float]) -> dict[str, Any]:
    """The part of a record that may differ between two runs of the same cell."""
    files = {**method_files(cell.outputs), **scenario_files(cell.scenario)}
    return {
        "seconds": seconds,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "commit": commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "libraries": libraries(),
        "unlearnbench": own_version(),
        "command": cell.command,
        **({"files": files} if files else {}),
    }


def method_files(artefact: Artefact) -> dict[str, str]:
    """The files of a cell's method and of the methods that it starts from, by name; without installed methods."""
    own = {}
    if isinstance(artefact, MethodArtefact) and isinstance(artefact.method, Local):
        own = {str(artefact.method): str(artefact.method.path)}
    return own | (method_files(artefact.needs["parent"]) if "parent" in artefact.needs else {})


def scenario_files(scenario: Scenario) -> dict[str, str]:
    """The files of a scenario's plugins that are not installed, of its task's lists and of its training function."""
    plugins = scenario.dataset, scenario.model, scenario.task
    files = {str(name): str(name.path) for name in plugins if isinstance(name, Local)}
    task = registry.get(Task, scenario.task)
    files |= {f"{scenario.task}.{option}": path for option in task.files if (path := scenario.task_options[option])}
    trainer = scenario.supplied.trainer
    return files | ({str(trainer): str(trainer.path)} if trainer else {})
