"""IU with a damped Fisher matrix that is really inverted, by conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from unlearnbench import Access, Count, Network, NonNegative, Positive, Problem, Recipe, Share, Size, method
from unlearnbench.methods.iu import add, difference, first, flat


@method(
    title="IU (CG)",
    role="variant",
    access=Access(forget="labels", retain="labels"),
    reference="Izzo et al., Approximate Data Deletion, AISTATS 2021; Martens, Hessian-Free, ICML 2010",
)
def iu_cg(
    problem: Problem,
    *,
    alpha: NonNegative = 0.2,
    damping: Positive = 0.1,
    share: Share = 0.02,
    iterations: Count = 10,
    batch: Size = 256,
) -> Network:
    """As IU, with (F + damping)^-1 v by conjugate gradients.

    F is the Fisher matrix of the network's own predictions, averaged over a `share` of the retained samples. Its
    products with vectors are computed without forming it.
    """
    network = problem.network().eval()
    images = first(problem.retain, share).images
    step = difference(problem, network, batch)
    network.zero_grad()
    add(network, alpha * solved(lambda v: fisher_product(network, images, v, batch) + damping * v, step, iterations))
    return network


@iu_cg.cost
def cost(forget: float, recipe: Recipe, *, share: float, iterations: int) -> float:
    """The gradients on everything; and for each iteration a forward and two backward passes over the share.

    The product J v in between, about another forward pass, is not counted.
    """
    return 1 + iterations * share * (1 - forget) * (1 + 2 + 2) / 3


def fisher_product(network: Network, images: Tensor, vector: Tensor, batch: int) -> Tensor:
    """F v of a vector (float32 [weights]), where F is the mean over images of J^T (diag p - p p^T) J.

    J is the derivative of the logits with respect to the weights; J v is taken as the derivative of v^T J^T u in u.
    """
    weights, total = list(network.parameters()), torch.zeros_like(vector)
    for part in images.split(batch):
        logits = network(part)
        u = torch.zeros_like(logits, requires_grad=True)
        transposed = flat(torch.autograd.grad(logits, weights, u, create_graph=True))
        (moved,) = torch.autograd.grad(transposed @ vector, u)
        p = logits.detach().softmax(1)
        curved = p * (moved - (p * moved).sum(1, keepdim=True))
        total += flat(torch.autograd.grad(logits, weights, curved))
    return total / len(images)


def solved(product: Callable[[Tensor], Tensor], right: Tensor, iterations: int) -> Tensor:
    """The solution x of A x = b after some iterations of conjugate gradients from zero.

    Args:
        product: x to A x, where A is symmetric and positive.
        right: b, float32 [n].
        iterations: At most; it stops where the residual is a millionth of b.
    """
    solution, residual = torch.zeros_like(right), right.clone()
    direction, size = residual.clone(), residual @ residual
    enough = 1e-12 * size
    for _ in range(iterations):
        if not size > enough:
            break
        image = product(direction)
        rate = size / (direction @ image)
        solution, residual = solution + rate * direction, residual - rate * image
        new = residual @ residual
        direction, size = residual + new / size * direction, new
    return solution
