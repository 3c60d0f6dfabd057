"""LAF without one of its parts.

Without one of its two losses: Shen et al., ICLR 2024, section 4.4, Tables 4 to 6. With something plainer in place of
the autoencoders or of the contrast: studies of this suite.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from unlearnbench import (
    Access,
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
from unlearnbench.methods.laf import (
    alignment_loss,
    embed,
    equation_10,
    fit_vae,
    prepare_cost,
    prepared_vae,
    unlearning_loss,
)

PAPER = "Shen et al., Label-Agnostic Forgetting, ICLR 2024, section 4.4"
STUDY = "Ours, a study of the components of LAF (Shen et al., ICLR 2024)"


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


@method(
    title="Plain distance",
    role="ablation",
    access=Access(prepare="images", forget="images", retain="images"),
    like="laf",
    reference=STUDY,
)
def plain_distance(
    problem: Problem,
    *,
    epochs: Count = 20,
    lr_unlearn: NonNegative = 5e-5,
    lr_align: NonNegative = 1e-4,
    tau: Positive = 20.0,
    phi: Literal["exp-ratio", "ratio"] = "exp-ratio",
    batch: Size = 32,
) -> Network:
    """LAF with means in place of its autoencoders: a residual is the squared distance to the mean embedding.

    The mean of all embeddings stands for h, and that of the forgotten ones for h_f; both are of the original.
    """
    network = problem.network().eval()
    mean, mean_f = problem.prepared["mean"], mean_embedding(problem, problem.forget)
    unlearn = torch.optim.Adam(network.features.parameters(), lr=lr_unlearn, fused=True)
    align = torch.optim.Adam(network.features.parameters(), lr=lr_align, fused=True)
    for _ in range(epochs):
        for forget, retain in zip(problem.forget.batches(batch), problem.retain.batches(batch), strict=False):
            retained, forgotten = network.features(retain.images), network.features(forget.images)
            descend(unlearn, equation_10(squared_distance(retained, mean), squared_distance(forgotten, mean_f), phi))
            descend(align, alignment_loss(problem, network, retain, forget, tau))
    return network


@plain_distance.prepare
def prepare_mean(problem: Problem) -> dict[str, Tensor]:
    """The mean of the original's embeddings of the training set."""
    return {"mean": mean_embedding(problem, problem.train)}


@plain_distance.cost
def plain_distance_cost(forget: float, recipe: Recipe, *, epochs: int) -> float:
    """Two losses on as many retained as forgotten samples, and the original's embeddings, also for the mean."""
    return 4 * forget * epochs + recipe.frozen_cost(forget * (2 * epochs + 1))


@plain_distance.prepare_cost
def mean_cost(recipe: Recipe) -> float:
    """A forward pass over the training set."""
    return 1 / 3


@method(
    title="Plain alignment",
    role="ablation",
    access=Access(prepare="images", forget="images", retain="images"),
    like="laf",
    reference=STUDY,
)
def plain_alignment(
    problem: Problem,
    *,
    latent: Size = 8,
    vae_epochs: Count = 10,
    vae_lr: Positive = 1e-3,
    epochs: Count = 20,
    lr_unlearn: NonNegative = 5e-5,
    lr_align: NonNegative = 1e-4,
    phi: Literal["exp-ratio", "ratio"] = "exp-ratio",
    batch: Size = 32,
) -> Network:
    """LAF with an alignment that has no contrast: the cosine distance of retained embeddings to the old ones alone."""
    network = problem.network().eval()
    h = prepared_vae(problem, latent)
    h_f = fit_vae(problem, problem.forget, latent, vae_epochs, vae_lr)
    unlearn = torch.optim.Adam(network.features.parameters(), lr=lr_unlearn, fused=True)
    align = torch.optim.Adam(network.features.parameters(), lr=lr_align, fused=True)
    for _ in range(epochs):
        for forget, retain in zip(problem.forget.batches(batch), problem.retain.batches(batch), strict=False):
            descend(unlearn, unlearning_loss(network, h, h_f, retain, forget, phi))
            old = problem.features(problem.original, retain)
            descend(align, (1 - cosine_similarity(network.features(retain.images), old)).sum())
    return network


@plain_alignment.cost
def plain_alignment_cost(forget: float, recipe: Recipe, *, epochs: int, vae_epochs: int) -> float:
    """A loss on retained and forgotten samples, one on retained samples, and the original's embeddings."""
    return 3 * forget * epochs + recipe.frozen_cost(forget * (epochs + vae_epochs))


plain_alignment.prepare(embed)
plain_alignment.prepare_cost(prepare_cost)


def mean_embedding(problem: Problem, samples: Samples) -> Tensor:
    """The mean of the original's embeddings of some samples, float32 [D].

    Raises:
        UserError: If there are no samples.
    """
    if not len(samples):
        raise UserError(f"{samples.name} is empty, so its embeddings have no mean")
    return problem.features(problem.original, samples).mean(0)


def squared_distance(embeddings: Tensor, mean: Tensor) -> Tensor:
    """||e - mean||^2 [B]."""
    return (embeddings - mean).square().sum(1)
