"""IU: influence unlearning, one step against the gradient on the forget set, as Unlearn-Sparse released it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from unlearnbench import Access, Network, NonNegative, Problem, Recipe, Samples, Share, Size, method


@method(
    title="IU",
    access=Access(forget="labels", retain="labels"),
    reference="Izzo et al., Approximate Data Deletion, AISTATS 2021; as in Unlearn-Sparse (Wfisher.py)",
)
def iu(
    problem: Problem, *, alpha: NonNegative = 0.2, damping: NonNegative = 1000.0, share: Share = 0.02, batch: Size = 256
) -> Network:
    """Adds alpha F^-1 (N_f / N) (mean gradient on the forget set - mean gradient on the retain set) to the weights.

    F^-1 v is computed by the released recursion over single retained samples in the order of the dataset: a `share` of
    0.02 of them, about its 1,000 of 45,000. The recursion never forms the inverse of F: it rescales the first gradient
    only, so the result is the plain step but for a multiple of that gradient. Variant `iu-cg` solves for F^-1 v.
    """
    network = problem.network().eval()
    step = recursion(problem, network, difference(problem, network, batch), damping, share)
    add(network, alpha * step)
    return network


@iu.cost
def cost(forget: float, recipe: Recipe, *, share: float) -> float:
    """The gradients on everything, and those of single samples."""
    return 1 + share * (1 - forget)


def difference(problem: Problem, network: Network, batch: int) -> Tensor:
    """(N_f / N) (mean gradient on the forget set - mean gradient on the retain set), float32 [weights]."""
    forget, retain = problem.forget, problem.retain
    total = len(forget) + len(retain)
    means = [summed(network, part, batch) / len(part) for part in (forget, retain)]
    return len(forget) / total * (means[0] - means[1])


def summed(network: Network, samples: Samples, batch: int) -> Tensor:
    """The sum of the samples' gradients, float32 [weights]."""
    network.zero_grad()
    for part in samples.batches(batch):
        cross_entropy(network(part.images), part.labels, reduction="sum").backward()
    return flat([weights.grad for weights in network.parameters() if weights.grad is not None])


def recursion(problem: Problem, network: Network, step: Tensor, damping: float, share: float) -> Tensor:
    """The released recursion for F^-1 `step`."""
    some = first(problem.retain, share)
    direction = None
    for image, label in zip(some.images, some.labels, strict=True):
        loss = cross_entropy(network(image[None]), label[None])
        gradient = flat(torch.autograd.grad(loss, list(network.parameters())))
        if direction is None:
            direction = gradient
            continue
        overlap = direction @ gradient
        step = step - (step @ gradient) / (damping + overlap) * direction
        direction = direction - overlap / (damping + overlap) * direction
    return step


def first(samples: Samples, share: float) -> Samples:
    """The first samples in the order of the dataset: this share of them, at least one."""
    return samples.subset(torch.arange(max(1, round(share * len(samples))), device=samples.index.device))


def flat(tensors: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    """Tensors as one vector."""
    return torch.cat([tensor.flatten() for tensor in tensors])


def add(network: Network, step: Tensor) -> None:
    """Adds a vector to all weights of a network."""
    weights = list(network.parameters())
    with torch.no_grad():
        for tensor, part in zip(weights, step.split([tensor.numel() for tensor in weights]), strict=True):
            tensor.add_(part.view_as(tensor))
