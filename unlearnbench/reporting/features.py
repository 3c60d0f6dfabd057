"""How each method represents the forget set, beside Retrain and the original."""

from __future__ import annotations

from unlearnbench.artefacts.features_rule import FEATURES, NEIGHBOURS
from unlearnbench.errors import UserError
from unlearnbench.reporting.cells import Cells, groups
from unlearnbench.reporting.distance import shown, summary, tidy
from unlearnbench.reporting.grid import DATA, METHOD, Column, Grid

HEADERS = {"probe": "Probe", "purity": "Purity", "cka_retrain": "CKA Retrain", "cka_original": "CKA original"}
NOTE = (
    "Probe: share of forgotten samples to which a linear classifier of embeddings, trained on the other half of them "
    "and on retained samples, gives the label that they were trained on. Purity: share of forgotten samples among the "
    f"{NEIGHBOURS} nearest neighbours of forgotten ones. CKA (linear; Kornblith et al., ICML 2019): how alike the "
    "embeddings are to those of Retrain and of the original; 100 is alike up to rotation and scale. All in percent. A "
    "method whose outputs are like Retrain's and whose embeddings are like the original's has not forgotten: see "
    "control `head-only`."
)


def view(cells: Cells) -> Grid:
    """What the embeddings of each method still know.

    Raises:
        UserError: If no cell was measured.
    """
    frame = cells.ok
    if f"{FEATURES}.samples" not in frame or frame[f"{FEATURES}.samples"].isna().all():
        raise UserError(f"no record has features: run `unlearnbench measure --features --preset {cells.preset.source}`")
    measured = frame[frame[f"{FEATURES}.samples"].notna()]
    present = [name for name in HEADERS if f"{FEATURES}.{name}" in measured]  # old records have no probe
    rows = [
        [
            group.dataset_title,
            group.method_title,
            *(summary((100 * group.cells[f"{FEATURES}.{name}"].dropna()).tolist()) for name in present),
        ]
        for group in groups(measured)
    ]
    headers = [HEADERS[name] for name in present]
    columns = [DATA, METHOD, *(Column(header, shown) for header in headers)]
    return Grid(f"{cells.title}: embeddings of the forget set", columns, rows, [NOTE], tidy(headers, rows))
