"""U-LiRA: LiRA with unlearned shadow models as references, an attack by somebody who knows the method."""

from __future__ import annotations

from dataclasses import replace

from unlearnbench.attacks.lira import lira
from unlearnbench.plugins.attack import Audit, NotApplicableError, Scores, attack


@attack(
    title="U-LiRA",
    reference="Hayes et al., Inexact Unlearning Needs More Careful Evaluations, 2024 (arXiv 2403.01218), section 4",
)
def u_lira(audit: Audit) -> Scores:
    """LiRA whose references are unlearned shadow models: some forgot the sample, the others never saw it.

    It adapts to the method: it infers whether a sample was unlearned, not whether it was a member. As in `lira`, there
    is one standard deviation for all samples, because there are few shadow models.
    """
    if not audit.unlearned_shadows:
        raise NotApplicableError("it needs unlearned shadow models: `unlearnbench measure --unlearned-shadows 16`")
    scores = lira.score(replace(audit, load_references=lambda: audit.unlearned_shadows, same_labels=True))
    return replace(scores, facts={"fleet": len(audit.unlearned_shadows)})
