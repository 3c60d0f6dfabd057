"""LAF: label-agnostic forgetting (Shen et al., ICLR 2024, Algorithm 1).

Where paper and released code differ, this follows the code, because the published numbers come from it: the KL term of
the VAEs has weight 0.025, their decoder ends in a sigmoid, phi(r) = exp(r / (r + 1)) (`phi="ratio"` is the paper's
Eq. 10), the two losses alternate per batch, and the network stays in eval mode, so BatchNorm keeps its statistics.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from unlearnbench import Access, Network, Problem, Samples, UserError, method

KL_WEIGHT = 0.025


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
        """The reconstruction from one sample of the latent, and the latent's mean and standard deviation."""
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


PHI: dict[str, Callable[[Tensor], Tensor]] = {
    "exp-ratio": lambda r: (r / (r + 1)).exp(),
    "ratio": lambda r: r / (r + 1),
}


def unlearning_loss(residual_remain: Tensor, residual_forget: Tensor, phi: str) -> Tensor:
    """L_UE, Eq. 10: what remains is rebuilt well by h, what must go badly by h_f."""
    loss: Tensor = PHI[phi](residual_remain).sum() - PHI[phi](residual_forget).sum()
    return loss


def alignment_loss(remain: Tensor, old_remain: Tensor, forget: Tensor, old_forget: Tensor, tau: float) -> Tensor:
    """L_RA, Eq. 11, where simloss is the cosine distance between the new and the old embedding."""
    distance_remain: Tensor = 1 - cosine_similarity(remain, old_remain)
    distance_forget = 1 - cosine_similarity(forget, old_forget)
    loss: Tensor = distance_remain.sum() - len(remain) * (distance_forget / tau).logsumexp(0)
    return loss


def step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down the gradient of a loss."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def fit_vae(problem: Problem, samples: Samples, latent: int, epochs: int, lr: float) -> VAE:
    """Stage 1: a VAE of the original's embeddings of these samples."""
    vae = VAE(problem.features(problem.original, samples).shape[1], latent).to(problem.device)
    optimizer = torch.optim.Adam(vae.parameters(), lr=lr)
    for batch in samples.batches(32, epochs):
        embeddings = problem.features(problem.original, batch)
        step(optimizer, vae_loss(embeddings, *vae(embeddings)))
    return vae.requires_grad_(False)


@method(
    title="LAF",
    access=Access(prepare="images", forget="images", remain="images"),
    reference="Shen et al., Label-Agnostic Forgetting, ICLR 2024, Algorithm 1",
    # Four passes over as many forgotten as remaining items, old embeddings once; the VAEs are negligible.
    cost=lambda forget, recipe, *, epochs, **_: 1 / 3 + 4 * forget * epochs,
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
    """Moves forgotten embeddings away from where they were and aligns those that remain; reads no label."""
    if phi not in PHI:
        raise UserError(f"laf.phi must be one of {', '.join(PHI)}, not {phi!r}")
    network = problem.network().eval()
    old = problem.original
    h_f = fit_vae(problem, problem.forget, latent, vae_epochs, vae_lr)
    h = copy.deepcopy(h_f)
    h.load_state_dict(problem.prepared)
    unlearn = torch.optim.Adam(network.features.parameters(), lr=lr_unlearn)
    align = torch.optim.Adam(network.features.parameters(), lr=lr_align)
    for _ in range(epochs):
        for f, r in zip(problem.forget.batches(batch), problem.remain.batches(batch), strict=False):
            residuals = h.residual(network.features(r.images)), h_f.residual(network.features(f.images))
            step(unlearn, unlearning_loss(*residuals, phi))
            remain = network.features(r.images), problem.features(old, r)
            forget = network.features(f.images), problem.features(old, f)
            step(align, alignment_loss(*remain, *forget, tau))
    return network


@laf.prepare
def embed(problem: Problem, *, latent: int = 8, vae_epochs: int = 10, vae_lr: float = 1e-3) -> dict[str, Tensor]:
    """Trains h, the VAE of all embeddings, which does not depend on what will have to go."""
    return fit_vae(problem, problem.train, latent, vae_epochs, vae_lr).state_dict()
