"""A scenario with its data loaded: what keys, costs and trainings need to know about it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from unlearnbench.artefacts.datasets import Datasets
from unlearnbench.artefacts.plugin_keys import minor, plugin_key, task_key
from unlearnbench.artefacts.scenario import Scenario, content_of, held_out_content, held_out_split, split_of
from unlearnbench.artefacts.sizes import flop_of, least_batch_of, weights_of, without_values
from unlearnbench.artefacts.weights import Weights
from unlearnbench.errors import UserError
from unlearnbench.plugins import registry
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.model import Builder, Model
from unlearnbench.plugins.task import Split
from unlearnbench.storage.records import SCHEMA
from unlearnbench.training.augmentation import Pipeline
from unlearnbench.training.samples import TrainingSet


@dataclass(frozen=True)
class LoadedScenario:
    """A scenario with its data loaded.

    Attributes:
        scenario: The scenario.
        datasets: The data sets of this process.
        content: Its data set.
        split: The split of its task.
    """

    scenario: Scenario
    datasets: Datasets
    content: Dataset
    split: Split

    @classmethod
    def of(cls, scenario: Scenario, datasets: Datasets) -> LoadedScenario:
        """Loads the data of a scenario; raises as `Datasets.load`."""
        return cls(scenario, datasets, content_of(scenario, datasets), split_of(scenario, datasets))

    @cached_property
    def training_key(self) -> dict[str, Any]:
        """The part of a key that all trainings of this scenario share."""
        scenario = self.scenario
        _, checksum = self.datasets.load(scenario.dataset, scenario.root)
        return {
            "schema": SCHEMA,
            "dataset": {"name": scenario.dataset, "checksum": checksum},
            "model": plugin_key(Model, scenario.model, scenario.model_options),
            "recipe": scenario.recipe.values(),
            "on": {
                "device": scenario.device,
                "arithmetic": scenario.arithmetic,
                "torch": minor(torch.__version__),
            },
            **({} if scenario.shadow is None else {"fleet": scenario.shadow}),
            **({"train": scenario.supplied.trainer.key} if scenario.supplied.trainer else {}),
        }

    @cached_property
    def task_key(self) -> dict[str, Any]:
        """The part of a key that stands for the task; with the content of its split where labels have two levels."""
        key = task_key(self.scenario.task, self.scenario.task_options)
        return key if self.split.is_of_one_level else {**key, "split": digest_of_tensors(self.split.tensors())}

    @cached_property
    def domain_key(self) -> dict[str, Any]:
        """The part of the key of a training that stands for the network's classes, if these are not the dataset's."""
        domain = self.split.domain
        if domain is None:
            return {}
        labels = {"train": domain.train_labels, "test": domain.test_labels}
        return {"domain": {"classes": domain.num_classes, "labels": digest_of_tensors(labels)}}

    @cached_property
    def forgotten(self) -> float:
        """The forget set's share of the training set, in [0, 1]."""
        return len(self.split.forget) / len(self.content.train_labels)

    @cached_property
    def forgotten_with_hidden(self) -> float:
        """The share of the training set that Retrain is trained without, in [0, 1]."""
        return len(self.split.forgotten) / len(self.content.train_labels)

    @property
    def num_classes(self) -> int:
        """The number of a network's outputs."""
        return self.split.num_classes(self.content)

    @property
    def network(self) -> tuple[str, tuple[tuple[str, Any], ...], tuple[int, int, int], int]:
        """The arguments that `weights_of` and `flop_of` take for the scenario's network."""
        options = tuple(self.scenario.model_options.items())
        return self.scenario.model, options, self.scenario.shape(self.content), self.num_classes

    @cached_property
    def original(self) -> Weights | None:
        """The weights of the original, if the user supplies them."""
        path = self.scenario.supplied.original
        return Weights.read(path) if path else None

    def named(self, weights: Weights) -> dict[str, Tensor]:
        """Weights by their names in the scenario's network.

        Raises:
            UserError: If they are not those of that network.
        """
        what = f"{self.scenario.model} for {self.scenario.dataset}"
        if self.split.domain is not None:
            what += f" with the {self.num_classes} superclasses of task {self.scenario.task}"
        return weights.named_as_in(without_values(*self.network), what)

    @property
    def weights_size(self) -> int:
        """Bytes of a network's weights."""
        return 4 * sum(weights.numel() for weights in weights_of(*self.network).values())

    @property
    def logits_size(self) -> int:
        """Bytes of the logits of all images."""
        return 4 * self.num_classes * (len(self.content.train_labels) + len(self.content.test_labels))

    @property
    def flop(self) -> float:
        """Floating-point operations of training on one image; 0 if they cannot be counted."""
        return flop_of(*self.network)

    @cached_property
    def pipeline(self) -> Pipeline:
        """How the recipe brings images to the scenario's network."""
        return replace(self.scenario.pipeline, least=least_batch_of(*self.network))

    def check_batch(self) -> None:
        """Raises `UserError` if the network cannot be trained on batches of the recipe's size."""
        least, batch = self.pipeline.least, self.scenario.recipe.batch
        if batch < least:
            raise UserError(
                f"{self.scenario.model} cannot be trained on batches of {batch}, because its batch normalisation needs "
                f"more than one value for each channel: set the recipe's batch to {least} or more"
            )

    @cached_property
    def device(self) -> torch.device:
        """Where networks and images are."""
        return torch.device(self.scenario.device)

    @cached_property
    def builder(self) -> Builder:
        """Builds the scenario's networks."""
        model, classes = registry.get(Model, self.scenario.model), self.num_classes
        shape = self.scenario.shape(self.content)
        return Builder(model, self.scenario.model_options, shape, classes, self.device)

    def training_set(self, content: Dataset, split: Split, images: Tensor | None = None) -> TrainingSet:
        """The training part of a data set on the device, with the labels that a task trains on.

        Args:
            content: The data set.
            split: The split of the task.
            images: Its training images, if they are on the device already.
        """
        images = content.train_images.to(self.device) if images is None else images
        return TrainingSet(images, split.labels(content).to(self.device), self.pipeline)

    def validation_set(self) -> tuple[TrainingSet, Tensor]:
        """The images that the recipe holds out, and which of them are like the forgotten ones.

        Returns:
            The images with labels; those at the positions that follow have the labels that the task gives.
            int64: positions of samples of the forgotten samples' classes.
        """
        content = held_out_content(self.scenario, self.datasets)
        split = held_out_split(self.scenario, self.datasets)
        labels = split.test_labels(content).clone()
        labels[split.heldout] = split.labels_of_heldout(content)
        images = content.test_images.to(self.device)
        return TrainingSet(images, labels.to(self.device), self.pipeline), split.heldout


def digest_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 of named tensors."""
    sha = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        sha.update(f"{name} {tuple(tensor.shape)}".encode())
        sha.update(tensor.contiguous().numpy().tobytes())
    return sha.hexdigest()
