"""SISA: an ensemble of isolated shards, of which only those that saw a forgotten sample are trained again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from unlearnbench import Access, Checkpoint, Network, Problem, Recipe, Samples, Size, method, packed, unpacked


@method(
    title="SISA",
    access=Access(prepare="labels", forget="images", retain="labels"),
    reference="Bourtoule et al., Machine Unlearning, S&P 2021, section IV",
)
def sisa(problem: Problem, *, shards: Size = 5, slices: Size = 1, votes: Literal["soft", "hard"] = "soft") -> nn.Module:
    """Trains each shard again without the forgotten samples, from the first slice that has one of them.

    `votes="soft"` averages the probabilities of the shards, "hard" counts the shards that vote for a class. What the
    LAF paper used is not known; its numbers look like hard votes, from which its attack can learn nothing. Unlike the
    released code, batches are shuffled and checkpoints include the state of the optimiser.
    """
    networks = []
    for number in range(shards):
        shard = Shard(number, slices, problem.prepared["part"])
        first = shard.first_slice_with(problem.forget)
        checkpoint = unpacked(shard.checkpoint_name(first - 1), problem.prepared, problem) if first > 0 else None
        for stage in range(first, slices):
            checkpoint = shard.train(problem, problem.retain, stage, checkpoint)
        assert checkpoint is not None
        networks.append(checkpoint[0])
    return Ensemble(networks, votes)


@sisa.prepare
def train_shards(problem: Problem, *, shards: Size = 5, slices: Size = 1) -> dict[str, Tensor]:
    """Divides the training set at random, trains each shard slice by slice, and keeps a checkpoint after each slice."""
    total = len(problem.train)
    part = torch.empty(total, dtype=torch.int64)
    part[torch.randperm(total, generator=problem.generator)] = torch.arange(total) * shards * slices // total
    part = part.to(problem.device)
    kept = {"part": part}
    all_shards = [Shard(number, slices, part) for number in range(shards)]
    first_checkpoints = problem.fit_each(
        [shard.training_samples(problem.train, 0) for shard in all_shards],
        [shard.stream(0) for shard in all_shards],
        all_shards[0].epochs(problem, 0),
    )
    for shard, checkpoint in zip(all_shards, first_checkpoints, strict=True):
        kept |= packed(shard.checkpoint_name(0), checkpoint)
        for stage in range(1, slices):
            checkpoint = shard.train(problem, problem.train, stage, checkpoint)
            kept |= packed(shard.checkpoint_name(stage), checkpoint)
    return kept


@sisa.cost
def cost(forget: float, recipe: Recipe) -> float:
    """Retraining: unless few samples are forgotten, every shard has one in its first slice."""
    return recipe.epochs * (1 - forget)


@sisa.prepare_cost
def prepare_cost(recipe: Recipe) -> float:
    """Training every shard."""
    return recipe.epochs


@dataclass(frozen=True)
class Shard:
    """A shard of the training set, which is trained in stages: at stage i on its slices 0 to i.

    Attributes:
        number: Which of the shards it is, from 0.
        slices: The number of slices of each shard.
        part: int64 [N], for each training sample: number of its shard * slices + number of its slice.
    """

    number: int
    slices: int
    part: Tensor

    def slice_of(self, samples: Samples) -> Tensor:
        """int64 [n]: the slice of each sample; outside of 0 to slices - 1 for samples of other shards."""
        return self.part[samples.index] - self.number * self.slices

    def training_samples(self, samples: Samples, stage: int) -> Samples:
        """Those of the samples on which the shard is trained at a stage."""
        slice_of = self.slice_of(samples)
        return samples.subset((slice_of >= 0) & (slice_of <= stage))

    def first_slice_with(self, samples: Samples) -> int:
        """The first slice that has one of the samples; the number of slices if the shard has none."""
        slice_of = self.slice_of(samples)
        own = slice_of[(slice_of >= 0) & (slice_of < self.slices)]
        return int(own.min()) if len(own) else self.slices

    def train(self, problem: Problem, samples: Samples, stage: int, checkpoint: Checkpoint | None) -> Checkpoint:
        """Trains on slices 0 to `stage`, in place, from the last stage's checkpoint; from scratch without one."""
        network, state = checkpoint or (None, None)
        epochs, stream = self.epochs(problem, stage), self.stream(stage)
        return problem.fit(self.training_samples(samples, stage), network, epochs, state, stream=stream)

    def epochs(self, problem: Problem, stage: int) -> int:
        """The epochs of a stage: 2 / (slices + 1) of the recipe's, so that slices do not change the cost of a shard."""
        before, after = (round(2 * problem.recipe.epochs * done / (self.slices + 1)) for done in (stage, stage + 1))
        return after - before

    def stream(self, stage: int) -> str:
        """Names the random numbers of a stage."""
        return f"shard {self.number}, slice {stage}"

    def checkpoint_name(self, stage: int) -> str:
        """The name under which the checkpoint after a stage is kept."""
        return f"{self.number}.{stage}"


class Ensemble(nn.Module):
    """Returns the logarithm of the shards' mean vote."""

    def __init__(self, networks: list[Network], votes: str) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.votes = votes

    def forward(self, images: Tensor) -> Tensor:
        """Log-probabilities [B, classes]; a class without a hard vote gets a millionth."""
        logits = torch.stack([network(images) for network in self.networks])
        if self.votes == "soft":
            return logits.log_softmax(2).logsumexp(0) - math.log(len(logits))
        return one_hot(logits.argmax(2), logits.shape[2]).float().mean(0).clamp_min(1e-6).log()
