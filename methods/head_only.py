"""A control that cheats: its head gives Retrain's outputs, and all layers below still hold the forget set."""

from __future__ import annotations

import copy

import torch
from torch.nn.functional import mse_loss

from unlearnbench import Access, Count, Network, Positive, Problem, Recipe, Size, descend, method

PAPER = "Jeon et al., An Information Theoretic Evaluation Metric for Strong Unlearning, AAAI 2026"


@method(
    title="Head only",
    access=Access(retain="images"),
    role="control",
    start="retrain",
    reference=f"{PAPER} (after its head distillation)",
)
def head_only(problem: Problem, *, lr: Positive = 1e-3, epochs: Count = 30, batch: Size = 32) -> Network:
    """Trains the head of the original to give Retrain's logits on the retain set; embeddings stay the original's.

    Metrics of outputs take it for a good method, metrics of embeddings do not. The paper's teacher is the original with
    the logit of the forgotten class masked, which can forget classes only; Retrain serves every task. Logits are
    matched, not probabilities: those of a class that Retrain rules out are too small to teach anything.
    """
    teacher, student = problem.network().requires_grad_(False).eval(), copy.deepcopy(problem.original)
    optimizer = torch.optim.Adam(student.head.requires_grad_(True).parameters(), lr=lr, fused=True)
    for samples in problem.retain.batches(batch, epochs):
        target = teacher.head(problem.features(teacher, samples))
        descend(optimizer, mse_loss(student.head(problem.features(problem.original, samples)), target))
    return student


@head_only.cost
def cost(forget: float, recipe: Recipe, *, epochs: int) -> float:
    """Forward passes of both networks on the retain set, once only if images are not augmented."""
    return recipe.frozen_cost(2 * epochs, once=2) * (1 - forget)
