"""Where the suite's own plugins are known not to keep the contract, and why."""

from __future__ import annotations

from collections.abc import Mapping

NO_EMBEDDINGS = "an autoencoder of no embeddings has no shape; tasks that forget nothing are refused before"
EXPECTED: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("method", "laf"): {"copes-with-tiny-forget-sets": NO_EMBEDDINGS},
    ("method", "laf-none-l2"): {"copes-with-tiny-forget-sets": NO_EMBEDDINGS},
}
"""Reasons by check, by kind and name of the plugin."""
