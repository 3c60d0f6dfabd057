"""From a preset and a selection to cells, and the artefacts that they need."""
