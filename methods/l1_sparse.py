"""L1-sparse: fine-tuning on the retain set with a penalty on the size of the weights, which fades out."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from unlearnbench import Access, Count, Network, NonNegative, Positive, Problem, Recipe, Share, Size, descend, method


@method(
    title="L1-sparse",
    access=Access(retain="labels"),
    reference="Jia et al., Model Sparsity Can Simplify Machine Unlearning, NeurIPS 2023, section 4 (FT_prune.py)",
)
def l1_sparse(
    problem: Problem,
    *,
    alpha: NonNegative = 5e-4,
    without: Count = 0,
    lr: Positive = 0.01,
    momentum: Share = 0.9,
    weight_decay: NonNegative = 5e-4,
    epochs: Count = 10,
    batch: Size = 256,
) -> Network:
    """Adds alpha_t ||w||_1 to the loss of FT, over all weights with those of BatchNorm and biases.

    alpha_t falls linearly from `alpha` to 0 over the epochs but the last `without`, as in the released code. Its
    default of 0.2 is for another method; 5e-4 is the paper's.
    """
    network = problem.network()
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)
    for epoch in range(epochs):
        strength = alpha * max(0.0, 1 - epoch / (epochs - without)) if epochs > without else 0.0
        for retain in problem.retain.batches(batch):
            size = torch.stack([weights.abs().sum() for weights in network.parameters()]).sum()
            descend(optimizer, cross_entropy(network(retain.images), retain.labels) + strength * size)
    return network


@l1_sparse.cost
def cost(forget: float, recipe: Recipe, *, epochs: int) -> float:
    """Epochs on the retain set."""
    return epochs * (1 - forget)
