"""Fisher forgetting with the released surgery of the last layer, which removes the forgotten classes by itself."""

from __future__ import annotations

from unlearnbench import Access, Network, NonNegative, Problem, Share, Size, method
from unlearnbench.methods.fisher import cost, noisy


@method(
    title="Fisher (head surgery)",
    role="variant",
    access=Access(forget="classes", retain="images"),
    reference="Golatkar et al., Eternal Sunshine of the Spotless Net, CVPR 2020 (released code, class removal)",
)
def fisher_head(problem: Problem, *, alpha: NonNegative = 1e-6, labels: Size = 10, share: Share = 1.0) -> Network:
    """Fisher, and the rows of the forgotten classes in the last layer become noise around zero; class removal only.

    The published results of class removal are of this form. The surgery alone makes the network never answer with these
    classes, whatever its other weights still know.
    """
    return noisy(problem, alpha, labels, share, problem.forgotten_classes)


fisher_head.cost(cost)
