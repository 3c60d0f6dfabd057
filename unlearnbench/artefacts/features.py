"""Features: the embeddings that a network gives to some training samples, for maps of its representation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from unlearnbench.artefacts.artefact import Context
from unlearnbench.artefacts.features_rule import FEATURES, FORGOTTEN, SAMPLES
from unlearnbench.artefacts.loaded import LoadedScenario
from unlearnbench.artefacts.unlearned import Outputs, Unlearning
from unlearnbench.artefacts.versions import core
from unlearnbench.plugins.model import Network
from unlearnbench.runtime import seeds
from unlearnbench.runtime.time_limit import limited
from unlearnbench.storage.store import Content
from unlearnbench.training import loop

NO_FEATURES = "the method returned something without features, such as an ensemble"
NOT_FINITE = "some embeddings are not finite in float16"
BYTES = 1024
"""The size of an embedding on disk, roughly."""


@dataclass(frozen=True)
class Features(Unlearning):
    """The embeddings of at most `SAMPLES` training samples; the same samples for every method of a scenario."""

    kind: ClassVar[str] = FEATURES

    @classmethod
    def of(cls, outputs: Outputs) -> Features:
        """The features of the network behind some outputs; the method unlearns once more for it."""
        how = {"samples": SAMPLES, "forgotten": FORGOTTEN}
        key = {**outputs.key, "kind": cls.kind, "how": how, "code": core(cls.kind)}
        size = SAMPLES * BYTES
        return cls(key, outputs.scenario, outputs.ep, size, outputs.needs, outputs.method, outputs.options)

    def make(self, context: Context) -> Content:
        """Unlearns, and embeds the samples.

        Returns:
            "features": float16 [n, d]; "index": int64 [n], positions in the training set, forgotten samples first and
            otherwise by class; "label": int64 [n], the labels that they were trained on; "forgotten": int64 [], the
            number of forgotten ones. Nothing if the network has no features: "n/a" in the facts says why.
        """
        loaded = context.load(self.scenario)
        network, _, info = self.unlearn(context)
        if not isinstance(network, Network):
            return {}, {**info, "n/a": NO_FEATURES}
        index, forgotten = chosen(loaded)
        images = loaded.content.train_images[index].to(loaded.device)
        stream = (*self.scenario.origin, self.scenario.task, self.scenario.seed, self.method, self.kind)
        with seeds.pinned(*stream), limited(), loop.in_eval_mode(network):
            embeddings = loop.predict(network.features, images, self.scenario.pipeline.plain).half()
        if not embeddings.isfinite().all():
            return {}, {**info, "n/a": NOT_FINITE}
        labels = loaded.split.labels(loaded.content)[index]
        return {"features": embeddings, "index": index, "label": labels, "forgotten": forgotten}, info


def chosen(loaded: LoadedScenario) -> tuple[Tensor, Tensor]:
    """The samples that are embedded: forgotten ones, hidden included, and of the others the same share of each class.

    Returns:
        int64 [n], positions in the training set, the forgotten ones first, both parts by class and position; int64 [],
        the number of forgotten ones.
    """
    scenario, split, labels = loaded.scenario, loaded.split, loaded.split.labels(loaded.content)
    generator = seeds.generator(*scenario.origin, scenario.task, scenario.seed, FEATURES)
    order = torch.randperm(len(labels), generator=generator)
    is_forgotten = torch.zeros(len(labels), dtype=torch.bool)
    is_forgotten[split.forgotten] = True
    forgotten = order[is_forgotten[order]][:FORGOTTEN]
    retained = stratified(order[~is_forgotten[order]], labels, SAMPLES - len(forgotten))
    parts = [part[torch.argsort(labels[part] * len(labels) + part)] for part in (forgotten, retained)]
    return torch.cat(parts), torch.tensor(len(forgotten))


def stratified(order: Tensor, labels: Tensor, count: int) -> Tensor:
    """The first samples of each class in an order, about `count` in all, in proportion to the classes.

    Args:
        order: Positions, int64 [n].
        labels: Of all samples, int64.
        count: How many.
    """
    share = min(1.0, count / max(1, len(order)))
    of_class = [order[labels[order] == label] for label in labels[order].unique()]
    return torch.cat([positions[: int(share * len(positions))] for positions in of_class])
