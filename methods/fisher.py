"""Fisher forgetting: noise on each weight, the larger the less the retain set depends on it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from unlearnbench import Access, Network, NonNegative, Problem, Recipe, Samples, Share, Size, method

LEAST, MOST, MOST_IN_HEAD = 1e-8, 1e3, 1e2
"""What is added to the information, and the limits of its inverse: of all weights, and of those of the last layer."""
AT_ONCE = 256
"""How many images are in memory at a time: a data set of large ones may need more than there is."""
LOUDER = 10
"""The factor of the variance of noise on biases, on normalisation, and on the last layer."""


@method(
    title="Fisher",
    access=Access(retain="images"),
    reference="Golatkar et al., Eternal Sunshine of the Spotless Net, CVPR 2020, section 5.1",
)
def fisher(problem: Problem, *, alpha: NonNegative = 1e-6, labels: Size = 10, share: Share = 1.0) -> Network:
    """Adds noise N(0, alpha / F) to the weights; F is the diagonal of the Fisher matrix of a `share` of the retain set.

    F is the expectation over the network's own labels, of which the `labels` most probable count: all of them in a data
    set of ten classes. As in the released code, 1 / F has a limit and is averaged over the inputs of a unit, and some
    noise is ten times louder. For class removal that code also deletes the class from the last layer, which is
    something else: see `fisher-head`.
    """
    return noisy(problem, alpha, labels, share)


@fisher.cost
def cost(forget: float, recipe: Recipe, *, labels: int, share: float) -> float:
    """A forward pass over retained samples, one by one, and a backward pass for each label."""
    return share * (1 - forget) * (1 + 2 * labels) / 3


@torch.no_grad()
def noisy(problem: Problem, alpha: float, labels: int, share: float, forgotten: Tensor | None = None) -> Network:
    """The network with noise.

    Args:
        problem: With the retain set.
        alpha: The scale of the variance.
        labels: How many labels of a sample count.
        share: Of the retain set.
        forgotten: Classes whose rows in the last layer are replaced by noise around zero; None: none.
    """
    network = problem.network().eval()
    last = list(network.get_submodule(network.last_layer).parameters())
    samples = problem.retain.sample(round(share * len(problem.retain)))
    for weights, information in zip(network.parameters(), fisher_information(network, samples, labels), strict=True):
        in_head = any(weights is part for part in last)
        variance = alpha * (1 / (information + LEAST)).clamp(max=MOST_IN_HEAD if in_head else MOST)
        if variance.ndim > 1:
            variance = variance.mean(1, keepdim=True).expand_as(weights).clone()
        if in_head and forgotten is not None:
            weights[forgotten], variance[forgotten] = 0.0, 1e-4
        if in_head or weights.ndim == 1:
            variance = LOUDER * variance
        noise = torch.randn(weights.shape, generator=problem.generator).to(weights.device)
        weights.add_(variance.sqrt() * noise)
    return network


@torch.enable_grad()
def fisher_information(network: Network, samples: Samples, labels: int) -> list[Tensor]:
    """The diagonal of the Fisher matrix: the mean over samples of sum_y p(y) (gradient of log p(y))^2, by tensor."""
    parameters = list(network.parameters())
    totals = [torch.zeros_like(weights) for weights in parameters]
    chunks = torch.arange(len(samples), device=samples.index.device).split(
        AT_ONCE
    )  # all images may need too much memory
    for image in (image for rows in chunks for image in samples.subset(rows).images):
        log_p = log_softmax(network(image[None])[0], dim=0)
        for label in log_p.topk(min(labels, len(log_p))).indices:
            gradients = torch.autograd.grad(log_p[label], parameters, retain_graph=True)
            for total, gradient in zip(totals, gradients, strict=True):
                total += log_p[label].detach().exp() * gradient.square() / len(samples)
    return totals
