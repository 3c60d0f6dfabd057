"""The text formats of tables: markdown, LaTeX, csv, and what a terminal shows."""

from __future__ import annotations

import csv
import html
import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from unlearnbench.errors import UserError

FILES = {"markdown": ".md", "latex": ".tex", "csv": ".csv"}
"""The formats that are written to disk, with the ending of their files."""
FORMATS = ("markdown", "terminal", "latex", "csv")
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
MARKDOWN = re.compile(r"[\\`*|~$<]|\](?=[(\[:])|(?<!\w)_|_(?!\w)|^(?:[#>]|[-+](?=\s))|&(?=#|\w+;)")
"""What markdown does not print as it is; an underscore within a word stands for itself."""
MARKDOWN_ENTITIES = {"<": "&lt;", "&": "&amp;"}
CODE_SPAN = re.compile(r"(`[^`]+`)")


def check_format(form: str) -> None:
    """Checks the name of a format.

    Raises:
        UserError: If there is no such format.
    """
    if form not in FORMATS:
        raise UserError(f"format must be one of {', '.join(FORMATS)}, not {form!r}")


def csv_text(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows of raw values as csv, unrounded, empty where a value is nan."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(headers)
    writer.writerows([["" if value != value else value for value in row] for row in rows])  # nan is not itself
    return text.getvalue()


def latex_text(caption: str, tabulars: Iterable[str], notes: Sequence[str]) -> str:
    """A LaTeX table of tabulars, with raw caption and notes."""
    above = [LATEX_NEEDS, r"\begin{table}", r"\centering", rf"\caption{{{escape_latex(caption)}}}"]
    below = [rf"\par\footnotesize {escape_latex(note)}" for note in notes]
    return "\n".join([*above, *tabulars, *below, r"\end{table}"]) + "\n"


def printable(text: str) -> str:
    """Text in one line: control characters and line breaks become spaces."""
    return "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    escaped = "".join(LATEX.get(character, character) for character in printable(text))
    return re.sub("-(?=-)", "-{}", escaped)  # otherwise two hyphens become a dash


def escape_markdown(text: str) -> str:
    """Text that markdown prints as it is, in a paragraph and in a cell of a table."""
    return MARKDOWN.sub(lambda match: MARKDOWN_ENTITIES.get(match[0], rf"\{match[0]}"), printable(text))


def markdown_note(text: str) -> str:
    """A note for markdown: as `escape_markdown`, but parts in backticks are code."""
    return "".join(part if CODE_SPAN.fullmatch(part) else escape_markdown(part) for part in CODE_SPAN.split(text))


def escape_html(text: str) -> str:
    """Text that HTML prints as it is."""
    return html.escape(printable(text))


ESCAPES: Mapping[str, Callable[[str], str]] = {
    "markdown": escape_markdown,
    "terminal": printable,
    "latex": escape_latex,
    "csv": str,
    "html": escape_html,
}
"""How each format prints a cell, a header or a title as it is."""
