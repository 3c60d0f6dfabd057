"""LAF without one of its two losses (Shen et al., ICLR 2024, section 4.4, Tables 4 to 6)."""

from __future__ import annotations

from typing import Literal

import torch

from unlearnbench import Access, Count, Network, Positive, Problem, Recipe, Size, descend, method
from unlearnbench.methods.laf import alignment_loss, embed, fit_vae, prepare_cost, prepared_vae, unlearning_loss

PAPER = "Shen et al., Label-Agnostic Forgetting, ICLR 2024, section 4.4"


@method(
    title="None L1",
    role="ablation",
    access=Access(forget="images", retain="images"),
    like="laf",
    reference=PAPER,
)
def none_l1(
    problem: Problem, *, epochs: Count = 20, lr_align: Positive = 1e-4, tau: Positive = 20.0, batch: Size = 32
) -> Network:
    """LAF without L_UE: embeddings are only aligned with the old ones, and contrasted."""
    network = problem.network().eval()
    align = torch.optim.Adam(network.features.parameters(), lr=lr_align, fused=True)
    for _ in range(epochs):
        for forget, retain in zip(problem.forget.batches(batch), problem.retain.batches(batch), strict=False):
            descend(align, alignment_loss(problem, network, retain, forget, tau))
    return network


@none_l1.cost
def none_l1_cost(forget: float, recipe: Recipe, *, epochs: int) -> float:
    """One loss on as many retained as forgotten samples, and the original's embeddings of these."""
    return 2 * forget * epochs + recipe.frozen_cost(2 * forget * epochs)


@method(
    title="None L2",
    role="ablation",
    access=Access(prepare="images", forget="images", retain="images"),
    like="laf",
    reference=PAPER,
)
def none_l2(
    problem: Problem,
    *,
    latent: Size = 8,
    vae_epochs: Count = 10,
    vae_lr: Positive = 1e-3,
    epochs: Count = 20,
    lr_unlearn: Positive = 5e-5,
    phi: Literal["exp-ratio", "ratio"] = "exp-ratio",
    batch: Size = 32,
) -> Network:
    """LAF without L_RA: nothing brings retained embeddings back to where the head expects them."""
    network = problem.network().eval()
    h = prepared_vae(problem, latent)
    h_f = fit_vae(problem, problem.forget, latent, vae_epochs, vae_lr)
    unlearn = torch.optim.Adam(network.features.parameters(), lr=lr_unlearn, fused=True)
    for _ in range(epochs):
        for forget, retain in zip(problem.forget.batches(batch), problem.retain.batches(batch), strict=False):
            descend(unlearn, unlearning_loss(network, h, h_f, retain, forget, phi))
    return network


@none_l2.cost
def none_l2_cost(forget: float, recipe: Recipe, *, epochs: int, vae_epochs: int) -> float:
    """One loss on as many retained as forgotten samples, and the original's embeddings of the forget set."""
    return 2 * forget * epochs + recipe.frozen_cost(forget * vae_epochs, once=forget)


none_l2.prepare(embed)
none_l2.prepare_cost(prepare_cost)
