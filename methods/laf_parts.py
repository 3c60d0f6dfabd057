"""The parts of LAF: the autoencoder of embeddings and the losses (Shen et al., ICLR 2024, Eqs. 4 to 11).

Where paper and released code differ, this follows the code, because the published numbers come from it: the KL term of
the VAEs has weight 0.025, their decoder ends in a sigmoid, and phi(r) = exp(r / (r + 1)) (`"ratio"` is the paper's).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from unlearnbench import Batch, Network, Problem, Samples, UserError

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


def unlearning_loss(h: VAE, h_f: VAE, retain: Tensor, forget: Tensor, phi: str) -> Tensor:
    """L_UE, Eq. 10, of embeddings: what remains is rebuilt well by h, what must go badly by h_f."""
    return contrast(h.residual(retain), h_f.residual(forget), phi)


def contrast(residual_retain: Tensor, residual_forget: Tensor, phi: str) -> Tensor:
    """The sum of phi over what remains, less that over what must go."""
    if phi not in PHI:
        raise UserError(f"phi must be one of {', '.join(PHI)}, not {phi!r}")
    loss: Tensor = PHI[phi](residual_retain).sum() - PHI[phi](residual_forget).sum()
    return loss


def alignment_loss(retain: Tensor, old_retain: Tensor, forget: Tensor, old_forget: Tensor, tau: float) -> Tensor:
    """L_RA, Eq. 11, where simloss is the cosine distance between the new and the old embedding."""
    distance_retain: Tensor = 1 - cosine_similarity(retain, old_retain)
    distance_forget = 1 - cosine_similarity(forget, old_forget)
    loss: Tensor = distance_retain.sum() - len(retain) * (distance_forget / tau).logsumexp(0)
    return loss


def realignment_loss(problem: Problem, network: Network, retain: Batch, forget: Batch, tau: float) -> Tensor:
    """L_RA of two batches under a network and under the original."""
    pairs = [(network.features(b.images), problem.features(problem.original, b)) for b in (retain, forget)]
    return alignment_loss(*pairs[0], *pairs[1], tau)


def step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down the gradient of a loss."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def prepared_vae(problem: Problem, latent: int) -> VAE:
    """The VAE of all embeddings, h, from the first phase."""
    vae = VAE(problem.prepared["encoder.0.weight"].shape[1], latent).to(problem.device)
    vae.load_state_dict(problem.prepared)
    return vae.requires_grad_(False)


def fit_vae(problem: Problem, samples: Samples, latent: int, epochs: int, lr: float) -> VAE:
    """Stage 1: a VAE of the original's embeddings of these samples; there must be some."""
    if not len(samples):
        raise UserError(f"{samples.name} is empty, and an autoencoder of no embeddings learns nothing")
    one = samples.subset(samples.index.new_zeros(1))  # an image suffices to see how long an embedding is
    vae = VAE(problem.features(problem.original, one).shape[1], latent).to(problem.device)
    optimizer = torch.optim.Adam(vae.parameters(), lr=lr, fused=True)
    for batch in samples.batches(32, epochs):
        embeddings = problem.features(problem.original, batch)
        step(optimizer, vae_loss(embeddings, *vae(embeddings)))
    return vae.requires_grad_(False)
