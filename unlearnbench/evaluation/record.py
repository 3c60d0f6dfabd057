"""How a cell is measured: accuracies and attacks, as functions of outputs that are there. Nothing here trains."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from unlearnbench.artefacts.jobs import Job
from unlearnbench.artefacts.making import Workshop
from unlearnbench.artefacts.scenario import Scenario, compared, shadow_members, shadow_split
from unlearnbench.evaluation import metrics
from unlearnbench.planning.plan import Cell
from unlearnbench.planning.presets import ELSEWHERE
from unlearnbench.planning.protocols import PROTOCOLS, Protocol
from unlearnbench.plugins import registry
from unlearnbench.plugins.attack import Attack, Audit, Known, NotApplicableError, Observed
from unlearnbench.plugins.files import Local
from unlearnbench.runtime import seeds
from unlearnbench.runtime.arithmetic import check_current, processor
from unlearnbench.runtime.time_limit import limited
from unlearnbench.runtime.timing import spending
from unlearnbench.storage.keys import sha_of
from unlearnbench.storage.records import SCHEMA

Sides = tuple[tuple[Observed, ...], tuple[Observed, ...]]
"""Members and non-members, one entry for each shadow model."""
Items = Mapping[str, tuple[Tensor, Tensor]]
"""Where items are among all images, training items first, and their labels (int64 both), by part of an audit."""


@dataclass(frozen=True)
class Laboratory:
    """Measures cells.

    Attributes:
        workshop: Has, or makes, the outputs.
    """

    workshop: Workshop
    _observations: dict[tuple[str, ...], Sides] = field(default_factory=dict)

    def record(self, cell: Cell) -> dict[str, Any]:
        """Measures a cell: accuracies and attacks, as functions of its outputs."""
        outputs, info = self.workshop.get(cell.outputs)
        place = self.workshop.place(cell.scenario)
        found: dict[str, dict[str, Any]] = {"items": metrics.items(place.content, place.split), "attacks": {}}
        with spending("attacks"):
            for protocol in PROTOCOLS.values():
                found[protocol.name], found["attacks"][protocol.attack] = self.evaluated(cell, outputs, protocol)
        if cell.about["role"] != ELSEWHERE:
            found["cost"] = passes(cell.outputs)
        return {
            "schema": SCHEMA,
            "status": "ok",
            "cell": dict(cell.about),
            "key": dict(cell.key),
            "metrics": found,
            "outputs": {part: digest_of(logits) for part, logits in outputs.items()},
            "observed": observed(cell, {} if cell.about["role"] == ELSEWHERE else info["seconds"]),
        }

    def evaluated(
        self, cell: Cell, outputs: dict[str, Tensor], protocol: Protocol
    ) -> tuple[dict[str, float], dict[str, Any]]:
        """The columns of a protocol's tables, and all that its attack found."""
        plain = outputs["train"]
        train = outputs.get("train_augmented", plain) if protocol.augmented else plain
        place = self.workshop.place(cell.scenario)
        audit = self.audit(cell, train, outputs["test"])
        membership = attacked(audit, protocol.attack, cell.attacks[protocol.attack])
        columns = metrics.accuracies(train, outputs["test"], place.content, place.split)
        return {**columns, "asr": membership[protocol.metric][0]}, membership

    def audit(
        self, cell: Cell, train: Tensor, test: Tensor, again: Job | None = None, fleet: Sequence[Job] = ()
    ) -> Audit:
        """What an attacker of a cell has in hand.

        Args:
            cell: The cell.
            train: What its network answers on training items, float32 [items, classes].
            test: Likewise on test items.
            again: The outputs of a second Retrain.
            fleet: The outputs of the same cell in the worlds of a fleet.
        """
        scenario = cell.scenario
        check_current(scenario.arithmetic)
        place = self.workshop.place(scenario)
        content, split = place.content, place.split
        labels = split.labels(content)
        remains = torch.from_numpy(~metrics.positions(split.forget, len(labels)))
        members, nonmembers = self.shadow_observations(scenario, cell.shadows)
        sides = compared(content, split)
        items = {
            "forgotten": (sides["forgotten"], labels[split.forget]),
            "heldout": (sides["heldout"], split.labels_of_heldout(content)),
        }
        everything = torch.arange(len(content.test_labels)) + len(labels), content.test_labels
        return Audit(
            forgotten=observation(train[split.forget], labels[split.forget]),
            heldout=observation(test[split.heldout], split.labels_of_heldout(content)),
            retained=observation(train[remains], labels[remains]),
            test=observation(test, content.test_labels),
            shadow_members=members,
            shadow_nonmembers=nonmembers,
            seed=seeds.derive(scenario.dataset, scenario.task, "attack"),
            heldout_rows=split.heldout.numpy(),
            load_references=lambda: self.references(cell, items | {"test": everything}, again),
            load_unlearned_shadows=lambda: tuple(known(*self.sailed(job), items) for job in fleet),
            same_labels=split.train_labels is None,
        )

    def references(self, cell: Cell, items: Items, again: Job | None) -> tuple[Mapping[str, Known], ...]:
        """What networks of known membership answer on some items: the shadows, and a second Retrain."""
        shadows = [self.workshop.get(job)[0] for job in cell.shadows]
        found = [(made["logits"], made["member"]) for made in shadows]
        if again:
            logits, split = self.workshop.get(again)[0], self.workshop.place(cell.scenario).split
            answers = torch.cat([logits["train"], logits["test"]])
            member = torch.arange(len(answers)) < len(logits["train"])
            member[split.forget] = False
            found.append((answers, member))
        return tuple(known(answers, member, items) for answers, member in found)

    def sailed(self, job: Job) -> tuple[Tensor, Tensor]:
        """The logits on all images of a network of a fleet, and which of them it was trained on."""
        assert job.scenario.fleet is not None
        outputs, _ = self.workshop.get(job)
        member = shadow_members(job.scenario, len(outputs["train"]) + len(outputs["test"]), job.scenario.fleet)
        logits = torch.empty(len(member), outputs["train"].shape[1])
        logits[member], logits[~member] = outputs["train"], outputs["test"]
        return logits, member

    def shadow_observations(self, scenario: Scenario, jobs: Sequence[Job]) -> Sides:
        """What the shadows answer on items such as the task forgets: those that each was trained on, and the others."""
        name = (scenario.task, repr(scenario.task_options), *(job.digest for job in jobs))
        if name not in self._observations:
            pool = self.workshop.place(scenario).content.pool
            inside: list[Observed] = []
            outside: list[Observed] = []
            for job in jobs:
                made, _ = self.workshop.get(job)
                split = shadow_split(scenario, pool, job.index)
                labels = split.labels(pool)
                member = made["member"][split.forget]
                for side, rows in ((inside, split.forget[member]), (outside, split.forget[~member])):
                    side.append(observation(made["logits"][rows], labels[rows]))
            self._observations[name] = tuple(inside), tuple(outside)
        return self._observations[name]


def known(logits: Tensor, member: Tensor, items: Items) -> dict[str, Known]:
    """What a network answers on some items, by part of an audit, if it answers this on all images."""
    return {
        part: Known(observation(logits[where], labels), member[where].numpy())
        for part, (where, labels) in items.items()
    }


def attacked(audit: Audit, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """All that an attack found, as in `metrics.membership`; or why it makes no sense here, as `n/a`."""
    import sklearn.ensemble  # noqa: F401 - takes a second when it is first imported, which is not the attack's time

    try:
        with limited():
            return metrics.membership(registry.get(Attack, name).score(audit, **options))
    except NotApplicableError as reason:
        return {"n/a": str(reason)}


def passes(job: Job) -> dict[str, float]:
    """Passes over the training set that a network is charged for, by phase: its own, and those of what it starts from.

    Work that was kept or is shared is charged in full to everybody who uses it.
    """
    spent = {"prepare": job.needs["prepared"].ep if "prepared" in job.needs else 0.0, "unlearn": job.ep}
    before = passes(job.needs["parent"]) if "parent" in job.needs else {}
    return {phase: ep + before.get(phase, 0.0) for phase, ep in spent.items()}


def observation(logits: Tensor, labels: Tensor) -> Observed:
    """Logits and labels as an attack sees them."""
    return Observed(logits.double().numpy(), labels.numpy())


def digest_of(logits: Tensor) -> str:
    """The SHA-256 of the bytes of outputs: whoever makes a cell again sees whether the same came out."""
    return sha_of(logits.cpu().contiguous().numpy().tobytes())


@cache
def own_version() -> str:
    """The suite's version; looking it up takes a millisecond."""
    return version("unlearnbench")


def observed(cell: Cell, seconds: dict[str, float]) -> dict[str, Any]:
    """What may differ between two runs of the same cell."""
    return {
        "seconds": seconds,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": platform.node(),
        "processor": processor(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "unlearnbench": own_version(),
        "command": cell.command,
        **({"files": found} if (found := files_of(cell.outputs)) else {}),
    }


def files_of(job: Job) -> dict[str, str]:
    """Where the code of a cell's method was, and of that which it starts from, if they are not installed; by name."""
    own = {str(job.method): str(job.method.path)} if isinstance(job.method, Local) else {}
    return own | (files_of(job.needs["parent"]) if "parent" in job.needs else {})
