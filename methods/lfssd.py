"""LFSSD: SSD without a loss, and so without labels."""

from __future__ import annotations

from torch import Tensor

from unlearnbench import Access, Batch, Network, NonNegative, Positive, Problem, Size, method
from unlearnbench.methods.ssd import Importance, cost, dampened, importance, prepare_cost


@method(
    title="LFSSD",
    access=Access(prepare="images", forget="images"),
    reference="Foster et al., Loss-Free Machine Unlearning, ICLR 2024 (Tiny Papers)",
)
def lfssd(problem: Problem, *, alpha: Positive = 10.0, dampening: NonNegative = 1.0, batch: Size = 64) -> Network:
    """SSD, where importance is the absolute gradient of the squared length of the outputs; reads no label.

    As in the released change of SSD's code, the length is averaged over a batch before its gradient is taken, where the
    paper has single samples. The paper tunes alpha and lambda for each network; the defaults are those of SSD.
    """
    network = problem.network().eval()
    forgotten = importance(network, problem.forget, batch, squared_length, power=1)
    return dampened(network, problem.prepared, forgotten, alpha, dampening)


@lfssd.prepare
def prepare(problem: Problem, *, batch: Size = 64) -> Importance:
    """Computes the importance of each weight to the whole training set."""
    return importance(problem.network().eval(), problem.train, batch, squared_length, power=1)


lfssd.cost(cost)
lfssd.prepare_cost(prepare_cost)


def squared_length(network: Network, batch: Batch) -> Tensor:
    """The mean squared length of the outputs for a batch."""
    outputs: Tensor = network(batch.images)
    return outputs.square().sum(1).mean()
