"""U-LiRA, LiRA against networks that were unlearned: can one who knows the method tell what it was made to forget?"""

from __future__ import annotations

from dataclasses import replace

from unlearnbench.attacks.lira import lira
from unlearnbench.plugins.attack import Audit, NotApplicableError, Scores, attack


@attack(
    title="U-LiRA",
    reference="Hayes et al., Inexact Unlearning Needs More Careful Evaluations, 2024 (arXiv 2403.01218), section 4",
)
def u_lira(audit: Audit) -> Scores:
    """LiRA whose references are networks that the method has treated: some forgot the item, the others never saw it.

    It adapts to the method: what it asks of an item is not whether it was a member, but whether it was unlearned. As in
    `lira`, there is one spread for all items, because a fleet is small.
    """
    if not audit.unlearned_shadows:
        raise NotApplicableError("it needs a fleet of unlearned networks: `unlearnbench measure --fleet 16`")
    found = lira.score(replace(audit, load_references=lambda: audit.unlearned_shadows, same_labels=True))
    return replace(found, facts={"fleet": len(audit.unlearned_shadows)})
