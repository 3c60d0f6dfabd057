"""LAF: label-agnostic forgetting (Shen et al., ICLR 2024, Algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from unlearnbench import (
    Access,
    Batch,
    Count,
    Network,
    NonNegative,
    Positive,
    Problem,
    Recipe,
    Samples,
    Size,
    UserError,
    descend,
    method,
)

KL_WEIGHT = 0.025
"""The weight of the divergence in the loss of the VAEs, as in the released code."""
PHI: dict[str, Callable[[Tensor], Tensor]] = {
    "exp-ratio": lambda r: (r / (r + 1)).exp(),
    "ratio": lambda r: r / (r + 1),
}
"""phi of Eq. 10, by name: that of the released code, and that of the paper."""


@method(
    title="LAF",
    access=Access(prepare="images", forget="images", retain="images"),
    reference="Shen et al., Label-Agnostic Forgetting, ICLR 2024, Algorithm 1",
)
def laf(
    problem: Problem,
    *,
    latent: Size = 8,
    vae_epochs: Count = 10,
    vae_lr: Positive = 1e-3,
    epochs: Count = 20,
    lr_unlearn: NonNegative = 5e-5,
    lr_align: NonNegative = 1e-4,
    tau: Positive = 20.0,
    phi: Literal["exp-ratio", "ratio"] = "exp-ratio",
    batch: Size = 32,
) -> Network:
    """Moves forgotten embeddings away from where they were, and realigns retained ones; reads no label.

    Where paper and released code differ this follows the code: the two losses alternate per batch, each with an
    optimiser of its own; the network stays in eval mode, so that BatchNorm keeps its statistics; the divergence of the
    VAEs has weight 0.025 and their decoder ends in a sigmoid; phi(r) is exp(r / (r + 1)), with `phi="ratio"` the
    paper's r / (r + 1). The similarity loss has the sign that makes it align, which is not the printed one.
    """
    network = problem.network().eval()
    h = prepared_vae(problem, latent)
    h_f = fit_vae(problem, problem.forget, latent, vae_epochs, vae_lr)
    unlearn = torch.optim.Adam(network.features.parameters(), lr=lr_unlearn, fused=True)
    align = torch.optim.Adam(network.features.parameters(), lr=lr_align, fused=True)
    for _ in range(epochs):
        for forget, retain in zip(problem.forget.batches(batch), problem.retain.batches(batch), strict=False):
            descend(unlearn, unlearning_loss(network, h, h_f, retain, forget, phi))
            descend(align, alignment_loss(problem, network, retain, forget, tau))
    return network


@laf.prepare
def embed(problem: Problem, *, latent: Size = 8, vae_epochs: Count = 10, vae_lr: Positive = 1e-3) -> dict[str, Tensor]:
    """Trains h, the VAE of all embeddings, which does not depend on the forget set."""
    return fit_vae(problem, problem.train, latent, vae_epochs, vae_lr).state_dict()


@laf.cost
def cost(forget: float, recipe: Recipe, *, epochs: int, vae_epochs: int) -> float:
    """Two losses on as many retained as forgotten samples, and the original's embeddings; the VAEs are negligible.

    The original's embeddings are computed once if images are not augmented, else for every batch.
    """
    return 4 * forget * epochs + recipe.frozen_cost(forget * (2 * epochs + vae_epochs))


@laf.prepare_cost
def prepare_cost(recipe: Recipe, *, vae_epochs: int) -> float:
    """The original's embeddings of the training set."""
    return recipe.frozen_cost(vae_epochs)


class VAE(nn.Module):
    """A variational autoencoder of embeddings [B, D]."""

    def __init__(self, dim: int, latent: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(dim, 128), nn.ReLU(), nn.Linear(128, 32), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(32, latent), nn.Linear(32, latent)
        self.decoder = nn.Sequential(
            nn.Linear(latent, 32), nn.ReLU(), nn.Linear(32, 128), nn.ReLU(), nn.Linear(128, dim), nn.Sigmoid()
        )

    def forward(self, embeddings: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The reconstruction from one draw of the latent, and the latent's mean and standard deviation."""
        hidden = self.encoder(embeddings)
        mean, deviation = self.mean(hidden), (0.5 * self.log_variance(hidden)).exp()
        rebuilt: Tensor = self.decoder(mean + deviation * torch.randn_like(deviation))
        return rebuilt, mean, deviation

    def residual(self, embeddings: Tensor) -> Tensor:
        """||e - h(e)||^2 [B]."""
        rebuilt: Tensor = self(embeddings)[0]
        return (embeddings - rebuilt).square().sum(1)


def vae_loss(embeddings: Tensor, rebuilt: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Eqs. 4 and 5: squared error plus Kullback-Leibler divergence, averaged over the batch."""
    error = (embeddings - rebuilt).square().sum(1)
    divergence = -0.5 * ((deviation.square() + 1e-8).log() + 1 - mean.square() - deviation.square()).sum(1)
    return (error + KL_WEIGHT * divergence).mean()


def fit_vae(problem: Problem, samples: Samples, latent: int, epochs: int, lr: float) -> VAE:
    """Stage 1: trains a VAE on the original's embeddings of some samples.

    Raises:
        UserError: If there are no samples.
    """
    if not len(samples):
        raise UserError(f"{samples.name} is empty, so there are no embeddings to train an autoencoder on")
    one = samples.subset(samples.index.new_zeros(1))  # one sample suffices to know the length of an embedding
    vae = VAE(problem.features(problem.original, one).shape[1], latent).to(problem.device)
    optimizer = torch.optim.Adam(vae.parameters(), lr=lr, fused=True)
    for batch in samples.batches(32, epochs):
        embeddings = problem.features(problem.original, batch)
        descend(optimizer, vae_loss(embeddings, *vae(embeddings)))
    return vae.requires_grad_(False)


def prepared_vae(problem: Problem, latent: int) -> VAE:
    """h, the VAE of all embeddings, from the preparing phase."""
    vae = VAE(problem.prepared["encoder.0.weight"].shape[1], latent).to(problem.device)
    vae.load_state_dict(problem.prepared)
    return vae.requires_grad_(False)


def unlearning_loss(network: Network, h: VAE, h_f: VAE, retain: Batch, forget: Batch, phi: str) -> Tensor:
    """L_UE of two batches: it is small where h rebuilds retained embeddings well and h_f forgotten ones badly."""
    retained, forgotten = network.features(retain.images), network.features(forget.images)
    return equation_10(h.residual(retained), h_f.residual(forgotten), phi)


def equation_10(residual_retain: Tensor, residual_forget: Tensor, phi: str) -> Tensor:
    """L_UE of residuals [B]: the sum of phi over retained samples, less that over forgotten ones."""
    loss: Tensor = PHI[phi](residual_retain).sum() - PHI[phi](residual_forget).sum()
    return loss


def alignment_loss(problem: Problem, network: Network, retain: Batch, forget: Batch, tau: float) -> Tensor:
    """L_RA of two batches: it is small where only retained embeddings are as under the original."""
    retained, old_retained = network.features(retain.images), problem.features(problem.original, retain)
    forgotten, old_forgotten = network.features(forget.images), problem.features(problem.original, forget)
    return equation_11(retained, old_retained, forgotten, old_forgotten, tau)


def equation_11(retain: Tensor, old_retain: Tensor, forget: Tensor, old_forget: Tensor, tau: float) -> Tensor:
    """L_RA of embeddings [B, D], where simloss is the cosine distance between the new and the old embedding."""
    distance_retain: Tensor = 1 - cosine_similarity(retain, old_retain)
    distance_forget = 1 - cosine_similarity(forget, old_forget)
    loss: Tensor = distance_retain.sum() - len(retain) * (distance_forget / tau).logsumexp(0)
    return loss
