"""The original: the network that is trained on everything, and that methods are to make forget."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar

import torch

from unlearnbench.artefacts.artefact import Context
from unlearnbench.artefacts.loaded import LoadedScenario
from unlearnbench.artefacts.training import Course, Training, room_for, train
from unlearnbench.artefacts.versions import core
from unlearnbench.errors import UserError
from unlearnbench.storage.store import Content


@dataclass(frozen=True)
class Original(Training):
    """The weights of a network that is trained on everything; tasks that train on the same labels share it."""

    kind: ClassVar[str] = "original"

    @classmethod
    def of(cls, loaded: LoadedScenario) -> Original:
        """The original of a scenario; if the user supplies it, its weights are put into the cache.

        Raises:
            UserError: If it cannot be trained, or the supplied weights are not those of the scenario's network.
        """
        loaded.check_batch()
        scenario, weights = loaded.scenario, loaded.original
        labels = hashlib.sha256(loaded.split.labels(loaded.content).numpy().tobytes()).hexdigest()
        key = {**loaded.training_key, "kind": cls.kind, "labels": labels, "seed": scenario.seed, "code": core(cls.kind)}
        key |= loaded.domain_key
        if weights is None:
            return cls(key, scenario, scenario.recipe.epochs, loaded.weights_size, room=room_for(loaded))
        key["given"] = weights.sha256
        if not loaded.datasets.store.has(key):
            loaded.datasets.store.save(key, loaded.named(weights), {"seconds": 0.0})
        return cls(key, scenario, 0, 0)

    def make(self, context: Context) -> Content:
        """Trains this original, and those beside it."""
        if self.scenario.supplied.original:
            raise UserError("the supplied original is no longer in the cache: run the same command again")
        loaded = [context.load(one.scenario) for one in (self, *self.beside)]  # the same images, perhaps other labels
        images = loaded[0].content.train_images.to(loaded[0].device)
        courses = []
        for one in loaded:
            whole = one.training_set(one.content, one.split, images)
            stream = (*one.scenario.origin, one.scenario.seed, "original")
            courses.append(Course(whole, torch.arange(len(whole.labels)), stream))
        made: list[Content] = [(network.state_dict(), speed) for network, speed in train(loaded[0], courses)]
        self.keep_beside(made[1:], context.store)
        return made[0]
