"""Boundary unlearning, Shrink: moves forgotten images across their nearest decision boundary."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from unlearnbench import Access, Count, Network, NonNegative, Positive, Problem, Recipe, Share, Size, descend, method


@method(
    title="Boundary",
    access=Access(forget="labels"),
    reference="Chen et al., Boundary Unlearning, CVPR 2023, section 3.2 (Boundary Shrink)",
)
def boundary(
    problem: Problem,
    *,
    eps: NonNegative = 0.1,
    lr: Positive = 1e-5,
    momentum: Share = 0.9,
    epochs: Count = 10,
    batch: Size = 64,
) -> Network:
    """Shrink: trains every forgotten image on the class behind its nearest decision boundary.

    The released code takes the class predicted for the changed image even if it is still the true label, and so trains
    those images on the label to be forgotten; here, as in the paper, the class is always another one.
    """
    network = problem.network()
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=momentum, fused=True)
    for forget in problem.forget.batches(batch, epochs):
        target = nearest_other_class(problem.original, forget.images, forget.labels, eps)
        descend(optimizer, cross_entropy(network(forget.images), target))
    return network


@boundary.cost
def cost(forget: float, recipe: Recipe, *, epochs: int) -> float:
    """A step of the network; and of the original a forward and backward pass to the pixels, and a forward pass."""
    return epochs * forget * (1 + 1 + 1 / 3)


def nearest_other_class(original: nn.Module, images: Tensor, labels: Tensor, eps: float) -> Tensor:
    """The class (int64 [B]) other than the label that the original predicts for an image after one step of FGSM."""
    images = images.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(cross_entropy(original(images), labels, reduction="sum"), images)
    with torch.no_grad():
        changed = ((images + eps * gradient.sign()).clamp(0, 1) * 255).round() / 255
        logits: Tensor = original(changed).scatter(1, labels[:, None], -torch.inf)
    return logits.argmax(1)
