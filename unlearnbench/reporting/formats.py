"""The text formats of tables: markdown, LaTeX, csv, and what a terminal shows."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from unlearnbench.errors import UserError

FILES = {"markdown": ".md", "latex": ".tex", "csv": ".csv"}
"""The formats that are written to disk, with the ending of their files."""
STYLES = {"markdown": "pipe", "terminal": "simple", "latex": "latex_booktabs", "csv": ""}
"""Formats, with their names in tabulate."""
LATEX = {character: rf"\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\^{}",
    "`": r"\textasciigrave{}",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
}
"""What LaTeX prints otherwise, or not at all, by character."""
LATEX_NEEDS = r"% needs \usepackage{booktabs}"


def check_format(form: str) -> None:
    """Checks the name of a format.

    Raises:
        UserError: If there is no such format.
    """
    if form not in STYLES:
        raise UserError(f"format must be one of {', '.join(STYLES)}, not {form!r}")


def csv_text(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows of raw values as csv, unrounded, empty where a value is nan."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(headers)
    writer.writerows([["" if value != value else value for value in row] for row in rows])  # nan is not itself
    return text.getvalue()


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(LATEX.get(character, character) for character in text)


def escape_markdown(text: str) -> str:
    """Text that markdown prints as it is."""
    return text.replace("*", r"\*").replace("_", r"\_").replace("<", "&lt;")
