"""The tables of a page as text, for copying."""

from __future__ import annotations

import base64
import gzip
import json

from unlearnbench.reporting.grid import Grid
from unlearnbench.reporting.rendering import Table, render


class Texts:
    """The tables of a page as text, packed: they would be half of it otherwise."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def add(self, table: Table | Grid, form: str) -> int:
        """Adds a table in a format of `render`; returns its place."""
        self._texts.append(render(table, form))
        return len(self._texts) - 1

    @property
    def packed(self) -> str:
        """All of them as a JSON list, gzip, base64."""
        return base64.b64encode(gzip.compress(json.dumps(self._texts).encode(), mtime=0)).decode()
