"""LAF with tuned hyperparameters, beside LAF with those that its paper publishes for its own networks."""

from __future__ import annotations

from unlearnbench import Access, Network, Problem, method
from unlearnbench.methods.laf import cost, embed, laf, prepare_cost


@method(
    title="LAF (tuned)",
    role="variant",
    like="laf",
    access=Access(prepare="images", forget="images", retain="images"),
    reference="Shen et al., Label-Agnostic Forgetting, ICLR 2024, Algorithm 1",
)
def laf_tuned(
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
    """LAF as it is. The methods that LAF is compared with are tuned, and this row shows LAF with the same care."""
    network: Network = laf.function(
        problem,
        latent=latent,
        vae_epochs=vae_epochs,
        vae_lr=vae_lr,
        epochs=epochs,
        lr_unlearn=lr_unlearn,
        lr_align=lr_align,
        tau=tau,
        phi=phi,
        batch=batch,
    )
    return network


laf_tuned.prepare(embed)
laf_tuned.prepare_cost(prepare_cost)
laf_tuned.cost(cost)
