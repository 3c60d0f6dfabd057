"""MSG, masked small gradients: new weights where gradients are smallest, and training that hardly moves others."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from unlearnbench import (
    Access,
    Count,
    Network,
    NonNegative,
    NotApplicableError,
    Positive,
    Problem,
    Recipe,
    Share,
    Size,
    method,
)


@method(
    title="MSG",
    access=Access(forget="labels", retain="labels"),
    reference="Cadet et al., Deep Unlearn, 2024: the second entry of the NeurIPS 2023 unlearning challenge",
)
def msg(
    problem: Problem,
    *,
    share: Share = 0.3,
    kept: Share = 0.1,
    lr: Positive = 1e-3,
    momentum: Share = 0.9,
    weight_decay: NonNegative = 5e-4,
    epochs: Count = 5,
    batch: Size = 64,
) -> Network:
    """Draws the weights of convolutions with the smallest gradients anew, and trains on the retain set.

    They are a `share` of each convolution's weights. The gradients are those of the loss on as many retained as
    forgotten samples, less the loss on the forget set, in eval mode. In training, gradients of a convolution's other
    weights count `kept`, and the rate rises to the middle epoch and falls again. Deep Unlearn's code also replaces the
    biases of convolutions, probably by mistake; here they stay.
    """
    network = problem.network()
    scales = reinitialised(problem, network, share, kept, batch)
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)
    peak, end = (epochs + 1) // 2, epochs + 1
    for epoch in range(1, end):
        for group in optimizer.param_groups:
            group["lr"] = lr * min(epoch / peak, (end - epoch) / (end - peak))
        for retain in problem.retain.batches(batch):
            optimizer.zero_grad()
            cross_entropy(network(retain.images), retain.labels).backward()
            for weights, scale in scales:
                assert weights.grad is not None
                weights.grad.mul_(scale)
            optimizer.step()
    return network


@msg.cost
def cost(forget: float, recipe: Recipe, *, epochs: int) -> float:
    """Gradients on the forget set and on as many retained samples, and epochs on the retain set."""
    return 2 * forget + epochs * (1 - forget)


def reinitialised(
    problem: Problem, network: Network, share: float, kept: float, batch: int
) -> list[tuple[Tensor, Tensor]]:
    """Draws weights of convolutions anew.

    Returns:
        The weights of each convolution, and what their gradients are multiplied by: 1 for new ones, `kept` for others.

    Raises:
        NotApplicableError: If the network has no convolution.
    """
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    if not convolutions:
        raise NotApplicableError("it draws weights of convolutions anew, and this network has none")
    network.eval()
    for sign, samples in ((1, problem.retain.sample(len(problem.forget))), (-1, problem.forget)):
        for part in samples.batches(batch):
            (sign * cross_entropy(network(part.images), part.labels)).backward()  # gradients add up
    network.train()
    scales = []
    for layer in convolutions:
        assert layer.weight.grad is not None
        smallest = layer.weight.grad.abs().flatten().argsort(stable=True)[: round(share * layer.weight.numel())]
        is_new = torch.zeros(layer.weight.numel(), dtype=torch.bool, device=problem.device)
        is_new[smallest] = True
        is_new = is_new.view(layer.weight.shape)
        fresh = nn.init.kaiming_normal_(
            torch.empty(layer.weight.shape), mode="fan_out", nonlinearity="relu", generator=problem.generator
        )
        with torch.no_grad():
            layer.weight.copy_(torch.where(is_new, fresh.to(problem.device), layer.weight))
        scales.append((layer.weight, torch.where(is_new, 1.0, kept)))
    return scales
