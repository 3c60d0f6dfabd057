"""LAF: label-agnostic forgetting (Shen et al., ICLR 2024, Algorithm 1)."""

from __future__ import annotations

import torch
from torch import Tensor

from unlearnbench import Access, Network, Problem, method
from unlearnbench.methods.laf_parts import fit_vae, prepared_vae, realignment_loss, step, unlearning_loss


@method(
    title="LAF",
    access=Access(prepare="images", forget="images", retain="images"),
    reference="Shen et al., Label-Agnostic Forgetting, ICLR 2024, Algorithm 1",
    # Two losses on as many forgotten as retained samples. Old embeddings are computed once, but for augmented
    # images, of which every batch is new; the VAEs themselves are negligible.
    cost=lambda forget, recipe, *, epochs, vae_epochs, **_: (
        4 * forget * epochs + recipe.frozen_cost(forget * (2 * epochs + vae_epochs))
    ),
    prepare_cost=lambda recipe, *, vae_epochs, **_: recipe.frozen_cost(vae_epochs),
)
def laf(
    problem: Problem,
    *,
    latent: int = 8,
    vae_epochs: int = 10,
    vae_lr: float = 1e-3,
    epochs: int = 20,
    lr_unlearn: float = 5e-5,
    lr_align: float = 1e-4,
    tau: float = 20.0,
    phi: str = "exp-ratio",
    batch: int = 32,
) -> Network:
    """Moves forgotten embeddings away from where they were and aligns those that remain; reads no label.

    Where paper and released code differ this follows the code: the two losses alternate per batch, each with an
    optimiser of its own; the network stays in eval mode, so that BatchNorm keeps its statistics; the divergence of the
    VAEs has weight 0.025 and their decoder ends in a sigmoid; phi(r) is exp(r / (r + 1)), with `phi="ratio"` the
    paper's r / (r + 1). The similarity loss has the sign that makes it align, which is not the one that is printed.
    """
    network = problem.network().eval()
    h, h_f = prepared_vae(problem, latent), fit_vae(problem, problem.forget, latent, vae_epochs, vae_lr)
    unlearn = torch.optim.Adam(network.features.parameters(), lr=lr_unlearn, fused=True)
    align = torch.optim.Adam(network.features.parameters(), lr=lr_align, fused=True)
    for _ in range(epochs):
        for f, r in zip(problem.forget.batches(batch), problem.retain.batches(batch), strict=False):
            step(unlearn, unlearning_loss(h, h_f, network.features(r.images), network.features(f.images), phi))
            step(align, realignment_loss(problem, network, r, f, tau))
    return network


@laf.prepare
def embed(problem: Problem, *, latent: int = 8, vae_epochs: int = 10, vae_lr: float = 1e-3) -> dict[str, Tensor]:
    """Trains h, the VAE of all embeddings, which does not depend on what will have to go."""
    return fit_vae(problem, problem.train, latent, vae_epochs, vae_lr).state_dict()
