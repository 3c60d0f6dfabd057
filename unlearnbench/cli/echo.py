"""Prints lines of prose: between words where they are too long for a terminal, as they are into files and pipes."""

from __future__ import annotations

import re
import sys
import textwrap

import click

from unlearnbench.reporting.terminal import width

LABEL = re.compile(r" *\S+ {2,}|(?:  )*")
"""What stands in front of the text of a line: an indent, or a label with more than one space behind it."""


def echo(text: object = "", err: bool = False) -> None:
    """Prints text, and breaks lines that are too long for the terminal that it goes to.

    Args:
        text: The text. It has neither tables nor JSON.
        err: To stderr instead of stdout.
    """
    click.echo(fitted(str(text), err), err=err)


def fitted(text: str, err: bool = False, start: int = 0) -> str:
    """Text whose lines fit into the terminal that it goes to; the same text if it goes elsewhere.

    Args:
        text: The text.
        err: Whether it goes to stderr.
        start: The number of columns that are taken in its first line.
    """
    if not (sys.stderr if err else sys.stdout).isatty():
        return text
    columns = width()
    first, *others = text.split("\n")
    lines = [broken(" " * start + first, columns, start)[start:], *(broken(line, columns, 0) for line in others)]
    return "\n".join(lines)


def broken(line: str, columns: int, start: int) -> str:
    """A line, or several if it is too long, the following ones below the text of the first; `start` as in `fitted`."""
    if len(line) <= columns:
        return line
    label = LABEL.match(line[start:])
    indent = label.end() if label else 0
    indent = indent if 0 < indent < columns // 3 else 2
    return textwrap.fill(line, columns, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)
