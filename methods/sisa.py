"""SISA: isolated shards, each trained slice by slice, so that only what saw a forgotten item is trained again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from unlearnbench import Access, Checkpoint, Network, Problem, Samples, UserError, method, packed, unpacked


@method(
    title="SISA",
    access=Access(prepare="labels", forget="images", retain="labels"),
    reference="Bourtoule et al., Machine Unlearning, S&P 2021, section IV",
    cost=lambda forget, recipe, **_: recipe.epochs * (1 - forget),  # unless few items go, every shard is hit
    prepare_cost=lambda recipe, **_: recipe.epochs,
)
def sisa(problem: Problem, *, shards: int = 5, slices: int = 1, votes: str = "soft") -> nn.Module:
    """Trains each shard again, from its first slice with a forgotten item on, without the forgotten items.

    `votes="soft"` averages the probabilities of the shards, "hard" counts the shards that vote for a class. What the
    LAF paper used is not known; its numbers look like hard votes, of which its attack can learn nothing. Unlike the
    released code, batches are shuffled and checkpoints have the state of the optimiser.
    """
    if votes not in ("soft", "hard"):
        raise UserError(f"sisa.votes must be 'soft' or 'hard', not {votes!r}")
    part = problem.prepared["part"]
    networks = []
    for shard in range(shards):
        hit = part[problem.forget.index] - shard * slices
        hit = hit[(hit >= 0) & (hit < slices)]
        first = int(hit.min()) if len(hit) else slices
        last = unpacked(f"{shard}.{first - 1}", problem.prepared, problem) if first else None
        *_, (network, _) = [last, *stages(problem, problem.retain, part, shard, slices, first, last)]
        networks.append(network)
    return Ensemble(networks, votes)


@sisa.prepare
def train_shards(problem: Problem, *, shards: int = 5, slices: int = 1) -> dict[str, Tensor]:
    """Divides the training set at random, trains each shard slice by slice, and keeps a checkpoint after each."""
    if shards < 1 or slices < 1:
        raise UserError(f"sisa needs at least one shard and one slice, not {shards} and {slices}")
    n = len(problem.train)
    part = torch.empty(n, dtype=torch.int64)
    part[torch.randperm(n, generator=problem.generator)] = torch.arange(n) * shards * slices // n
    part = part.to(problem.device)
    kept = {"part": part}
    lessons = [lesson(problem, problem.train, part, shard, slices, 0) for shard in range(shards)]
    seen, (epochs, *_), streams = zip(*lessons, strict=True)
    for shard, first in enumerate(problem.fit_each(seen, streams, epochs)):
        later = stages(problem, problem.train, part, shard, slices, 1, first)
        for stage, checkpoint in enumerate(chain([first], later)):  # one by one: they are trained on in place
            kept |= packed(f"{shard}.{stage}", checkpoint)
    return kept


def stages(
    problem: Problem, samples: Samples, part: Tensor, shard: int, slices: int, first: int, last: Checkpoint | None
) -> Iterator[Checkpoint]:
    """Trains a shard from slice `first` on, each time on all slices so far; yields what there is after each."""
    network, state = last or (None, None)
    for stage in range(first, slices):
        seen, epochs, stream = lesson(problem, samples, part, shard, slices, stage)
        network, state = problem.fit(seen, network, epochs, state, stream=stream)
        yield network, state


def lesson(
    problem: Problem, samples: Samples, part: Tensor, shard: int, slices: int, stage: int
) -> tuple[Samples, int, str]:
    """What a shard sees at a stage, for how many epochs, and the name of its random numbers.

    The epochs are spread so that a sliced shard costs what a whole one would (2 / (slices + 1) of them for each slice).
    """
    place = part[samples.index] - shard * slices
    seen = samples.subset((place >= 0) & (place <= stage))
    before, after = (round(2 * problem.recipe.epochs * s / (slices + 1)) for s in (stage, stage + 1))
    return seen, after - before, f"shard {shard}, slice {stage}"


class Ensemble(nn.Module):
    """Answers with the logarithm of the shards' mean vote."""

    def __init__(self, networks: list[Network], votes: str) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.votes = votes

    def forward(self, images: Tensor) -> Tensor:
        """Log-probabilities [B, classes]; a class without a hard vote gets one in a million."""
        answers = torch.stack([network(images) for network in self.networks])
        if self.votes == "soft":
            return answers.log_softmax(2).logsumexp(0) - math.log(len(answers))
        return one_hot(answers.argmax(2), answers.shape[2]).float().mean(0).clamp_min(1e-6).log()
