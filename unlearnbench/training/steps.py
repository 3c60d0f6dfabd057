"""What the training loop and the methods share: one step of an optimiser, and the divergence of two outputs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax, softmax


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Takes one step down the gradient of a loss: clears the gradients, runs backward, updates the weights.

    Args:
        optimizer: Of the weights to be changed.
        loss: A scalar that depends on them; minus a loss ascends.
    """
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def divergence(teacher: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    """The Kullback-Leibler divergence KL(teacher || student), averaged over the batch, of softened softmax outputs.

    Args:
        teacher: Logits, float [B, classes].
        student: Logits, float [B, classes].
        temperature: What both are divided by before the softmax; the result is not scaled by its square.

    Returns:
        A scalar, at least 0.
    """
    log_q, p = log_softmax(student / temperature, dim=1), softmax(teacher / temperature, dim=1)
    return kl_div(log_q, p, reduction="batchmean")
