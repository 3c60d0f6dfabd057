"""SISA: isolated shards, each trained slice by slice, so that only what saw a forgotten item is trained again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from unlearnbench import Access, Network, Problem, Samples, UserError, method
from unlearnbench.training import optimizer_of

Checkpoint = tuple[Network, dict[str, Any]]
"""A network and the state of its optimiser."""


@method(
    title="SISA",
    access=Access(prepare="labels", forget="images", remain="labels"),
    reference="Bourtoule et al., Machine Unlearning, S&P 2021, section IV",
    cost=lambda forget, recipe, **_: recipe.epochs * (1 - forget),  # unless few items go, every shard is hit
    prepare_cost=lambda recipe, **_: recipe.epochs,
)
def sisa(problem: Problem, *, shards: int = 5, slices: int = 1, votes: str = "soft") -> nn.Module:
    """Trains each shard again, from its first slice with a forgotten item on, without the forgotten items.

    `votes="soft"` averages the probabilities of the shards, "hard" counts the shards that vote for a class. What the
    LAF paper used is not known; its numbers look like hard votes, of which its attack can learn nothing.
    """
    if votes not in ("soft", "hard"):
        raise UserError(f"sisa.votes must be 'soft' or 'hard', not {votes!r}")
    part = problem.prepared["part"]
    networks = []
    for shard in range(shards):
        hit = part[problem.forget.index] - shard * slices
        hit = hit[(hit >= 0) & (hit < slices)]
        first = int(hit.min()) if len(hit) else slices
        last = restored(problem, shard, first - 1) if first else None
        *_, (network, _) = [last, *stages(problem, problem.remain, part, shard, slices, first, last)]
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
    for shard in range(shards):
        for stage, (network, state) in enumerate(stages(problem, problem.train, part, shard, slices, 0, None)):
            kept |= {f"{shard}.{stage}.weights.{name}": t.clone() for name, t in network.state_dict().items()}
            for number, values in state["state"].items():
                kept |= {f"{shard}.{stage}.optimizer.{number}.{name}": t.clone() for name, t in values.items()}
    return kept


def stages(
    problem: Problem, samples: Samples, part: Tensor, shard: int, slices: int, first: int, last: Checkpoint | None
) -> Iterator[Checkpoint]:
    """Trains a shard from slice `first` on, each time on all slices so far; yields what there is after each.

    The epochs are spread so that a sliced shard costs what a whole one would (2 / (slices + 1) of them for each slice).
    """
    network, state = last or (None, None)
    for stage in range(first, slices):
        place = part[samples.index] - shard * slices
        seen = samples.subset((place >= 0) & (place <= stage))
        before, after = (round(2 * problem.recipe.epochs * s / (slices + 1)) for s in (stage, stage + 1))
        network, state = problem.fit(seen, network, after - before, state, stream=f"shard {shard}, slice {stage}")
        yield network, state


def restored(problem: Problem, shard: int, stage: int) -> Checkpoint:
    """The checkpoint of a shard after a slice."""
    prefix = f"{shard}.{stage}."
    kept = {name.removeprefix(prefix): t for name, t in problem.prepared.items() if name.startswith(prefix)}
    network = problem.fresh_network()
    network.load_state_dict({name[8:]: t for name, t in kept.items() if name.startswith("weights.")})
    state = optimizer_of(problem.recipe, network).state_dict()
    for name in (name for name in kept if name.startswith("optimizer.")):
        _, number, what = name.split(".")
        state["state"].setdefault(int(number), {})[what] = kept[name].clone()
    return network, state


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
