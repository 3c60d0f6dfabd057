"""LAF with tuned hyperparameters, beside LAF with those that its paper publishes for its own networks.

The methods that LAF is compared with are tuned; this row shows LAF with the same care.
"""

from __future__ import annotations

from unlearnbench import method
from unlearnbench.methods.laf import cost, embed, laf, prepare_cost

laf_tuned = method(
    title="LAF (tuned)",
    role="variant",
    like="laf",
    access=laf.access,
    reference="Shen et al., Label-Agnostic Forgetting, ICLR 2024, Algorithm 1",
)(laf.function)

laf_tuned.prepare(embed)
laf_tuned.prepare_cost(prepare_cost)
laf_tuned.cost(cost)
