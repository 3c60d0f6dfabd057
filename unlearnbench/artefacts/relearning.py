"""Relearning: how soon an unlearned network knows the forget set again, from a part of it or from the retain set.

Hidden knowledge returns soon.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from unlearnbench.artefacts.artefact import Context
from unlearnbench.artefacts.relearning_rule import BACK, OTHERS, RELEARNING, RETAIN_EPOCHS, SAMPLES, STEPS
from unlearnbench.artefacts.unlearned import Outputs, Unlearning
from unlearnbench.artefacts.versions import core
from unlearnbench.plugins.problem import retained
from unlearnbench.runtime import seeds
from unlearnbench.runtime.time_limit import limited
from unlearnbench.storage.store import Content
from unlearnbench.training import loop
from unlearnbench.training.recipe import Recipe
from unlearnbench.training.samples import Samples
from unlearnbench.training.steps import descend


@dataclass(frozen=True)
class Relearning(Unlearning):
    """The accuracy on forgotten samples while a few others, or retained ones, are learned again."""

    kind: ClassVar[str] = RELEARNING

    @classmethod
    def of(cls, outputs: Outputs) -> Relearning:
        """The relearning of the network behind some outputs; the method unlearns once more for it."""
        how = {"items": SAMPLES, "steps": STEPS, "others": OTHERS, "back": BACK, "retain": RETAIN_EPOCHS}
        key = {**outputs.key, "kind": cls.kind, "how": how, "code": core(cls.kind)}
        ep, needs = outputs.ep + RETAIN_EPOCHS, outputs.needs
        return cls(key, outputs.scenario, ep, 4 * STEPS, needs, outputs.method, outputs.options)

    def make(self, context: Context) -> Content:
        """Unlearns, then trains the network on a few forgotten samples, and another copy of it on the retain set."""
        scenario, loaded = self.scenario, context.load(self.scenario)
        network, _, info = self.unlearn(context)
        original = loaded.builder.trained(context.get(self.needs["original"])[0])
        generator = seeds.generator(*scenario.origin, scenario.task, scenario.seed, "relearning")
        training_set = loaded.training_set(loaded.content, loaded.split)
        total, forgotten = len(training_set.labels), loaded.split.forgotten
        forget = training_set.samples(forgotten, "labels", generator, "the forget set")
        retain = training_set.samples(retained(total, forgotten), "labels", generator, "the retain set")
        assert forget is not None
        assert retain is not None
        with limited():
            return curves(network, original, forget, retain, scenario.recipe), info


def curves(
    network: Callable[[Tensor], Tensor],
    original: Callable[[Tensor], Tensor],
    forget: Samples,
    retain: Samples,
    recipe: Recipe,
) -> dict[str, Tensor]:
    """Trains a network on a few forgotten samples, or on the retain set, and measures its accuracy on others.

    All steps on forgotten samples use the same batch. Training has the recipe's optimiser and rate; statistics of batch
    normalisation stay fixed.

    Args:
        network: The unlearned network; left as it is.
        original: The network before.
        forget: The forget set with the labels that it was trained on; at least two samples.
        retain: The retain set with labels.
        recipe: How networks are trained.

    Returns:
        "after": float32 [STEPS + 1], the accuracy on the others after 0, 1, ... steps; "original": float32 [], that of
        the original; "retain": float32 [], that of the network after `RETAIN_EPOCHS` on the retain set alone; "items"
        and "others": int64 [], the number of samples learned again and of the others.

    Raises:
        TypeError: If the network has no weights to train.
    """
    if not isinstance(network, nn.Module) or not list(network.parameters()):
        raise TypeError("the method returned something without weights, which cannot be trained again")
    mixed = forget.sample(SAMPLES + OTHERS)
    few = min(SAMPLES, len(mixed) // 2)
    position = torch.arange(len(mixed), device=mixed.index.device)
    again, others = mixed.subset(position < few), mixed.subset(position >= few)

    def accuracy(model: Callable[[Tensor], Tensor]) -> Tensor:
        logits = loop.predict(model, others.pixels, others.pipeline.plain)
        return (logits.argmax(1) == others.labels).float().mean().cpu()

    images, labels = again.images, again.labels
    after = [accuracy(network), *map(accuracy, trained(network, repeat((images, labels), STEPS), recipe))]
    batches = ((batch.images, batch.labels) for batch in retain.batches(recipe.batch, RETAIN_EPOCHS))
    *_, student = trained(network, batches, recipe)
    counts = {"items": torch.tensor(len(again)), "others": torch.tensor(len(others))}
    return {"after": torch.stack(after), "original": accuracy(original), "retain": accuracy(student), **counts}


def trained(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], recipe: Recipe) -> Iterator[nn.Module]:
    """A copy of a network after each step of training on batches of images and labels, in eval mode."""
    student = copy.deepcopy(network).requires_grad_(True).eval()
    optimizer = loop.optimizer_of(recipe, student.parameters())
    for images, labels in batches:
        descend(optimizer, cross_entropy(student(images), labels))
        yield student


def summary(curve: Mapping[str, Tensor]) -> dict[str, Any]:
    """The part of a record that stands for `curves`.

    Returns:
        "steps" until the network knows `BACK` of what the original knew of the others (None: not within "limit"), and
        accuracies in [0, 1]: "original", "before", "after" all steps, and "retain" after training on the retain set.
    """
    after, level = curve["after"].double(), BACK * float(curve["original"].double())
    back = (after >= level - 1e-6).nonzero()  # the accuracies were float32
    return {
        "steps": int(back[0, 0]) if len(back) else None,
        "limit": len(after) - 1,
        "original": float(curve["original"].double()),
        "before": float(after[0]),
        "after": float(after[-1]),
        "retain": float(curve["retain"]),
        "items": int(curve["items"]),
        "others": int(curve["others"]),
    }
