"""An attack."""

from unlearnbench import Audit, Scores, attack


@attack(title="Half loss", reference="Nobody, Halving, Nowhere 2000")
def half_loss(audit: Audit) -> Scores:
    """Members have half of the mean test item's loss."""
    threshold = audit.test.of_labels(audit.test.log_posteriors()).mean() / 2
    sides = (side.of_labels(side.log_posteriors()) - threshold for side in (audit.forgotten, audit.heldout))
    return Scores(*sides)
