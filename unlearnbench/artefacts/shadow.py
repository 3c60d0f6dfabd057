"""Shadow models: each is trained on a random half of all images, so that an attack can learn from known membership."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from unlearnbench.artefacts.artefact import Context, check_finite
from unlearnbench.artefacts.loaded import LoadedScenario
from unlearnbench.artefacts.scenario import content_of, shadow_split
from unlearnbench.artefacts.splits import shadow_members
from unlearnbench.artefacts.training import Course, Training, room_for, train
from unlearnbench.artefacts.versions import core
from unlearnbench.storage.store import Content
from unlearnbench.training import loop


@dataclass(frozen=True)
class Shadow(Training):
    """A shadow model's logits on all images, and which half it was trained on.

    All seeds share it, and so do tasks that do not replace labels and whose networks have the same classes.

    Attributes:
        index: Its number; models 2k and 2k + 1 are trained on complementary halves.
    """

    kind: ClassVar[str] = "shadow"

    index: int = 0

    @classmethod
    def of(cls, loaded: LoadedScenario, index: int) -> Shadow:
        """A shadow model of a scenario."""
        noise = None if loaded.split.train_labels is None else loaded.task_key
        key = {**loaded.training_key, "kind": cls.kind, "noise": noise, "index": index, "code": core(cls.kind)}
        key |= loaded.domain_key
        train, test = len(loaded.content.train_labels), len(loaded.content.test_labels)
        ep = loaded.scenario.recipe.epochs * (train + test) / 2 / train + (train + test) / train / 3
        return cls(key, loaded.scenario, ep, loaded.logits_size, room=room_for(loaded), index=index)

    @property
    def label(self) -> str:
        """Which of its kind it is, for messages."""
        return f"no. {self.index}"

    def make(self, context: Context) -> Content:
        """Trains this shadow model, and those beside it."""
        models, loaded = [self, *self.beside], context.load(self.scenario)
        pools = [content_of(one.scenario, context.datasets).pool for one in models]
        images = pools[0].train_images.to(loaded.device)
        members = [shadow_members(one.scenario.dataset, len(images), one.index) for one in models]
        courses = []
        for one, pool, member in zip(models, pools, members, strict=True):
            everything = loaded.training_set(pool, shadow_split(one.scenario, pool, one.index), images)
            courses.append(Course(everything, member.nonzero()[:, 0], (one.scenario.dataset, one.index, "shadow")))
        made: list[Content] = []
        for member, (network, speed) in zip(members, train(loaded, courses), strict=True):
            logits = loop.predict(network, images, self.scenario.pipeline.plain)
            made.append(({"logits": logits, "member": member}, speed))
        self.keep_beside(made[1:], context.store)
        check_finite(made[0][0]["logits"], f"shadow model {self.index}")
        return made[0]
