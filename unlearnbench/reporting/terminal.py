"""Tables and notes that fit into a terminal: wide tables break between columns, notes between words."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence

from unlearnbench.reporting.formats import printable

GAP = 2
"""The number of spaces between two columns."""
PADDING = "  "
"""What tabulate adds to headers."""
STYLE_CODES = re.compile("\033\\[[0-9;]*m")


def width() -> int:
    """The number of columns of the terminal; 80 if it is unknown."""
    return shutil.get_terminal_size().columns


def wrapped(text: str) -> str:
    """Text in lines that fit, broken between words."""
    return textwrap.fill(
        printable(text), width(), subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def table_text(headers: Sequence[str], lines: Sequence[Sequence[str]], keys: int) -> str:
    """A table in parts that fit side by side into the terminal's width, each with the key columns.

    Args:
        headers: What stands above each column.
        lines: Texts, one for each column; they may have codes for bold type.
        keys: The number of columns at the left that every part repeats.

    Returns:
        Parts with an empty line between them, ending in a line break.
    """
    from tabulate import tabulate

    lines = [[*(narrow(text) for text in line[:keys]), *line[keys:]] for line in lines]
    parts = []
    for chosen in column_parts(headers, lines, keys):
        columns = [*range(keys), *chosen]
        part = [[line[i] for i in columns] for line in lines]
        parts.append(tabulate(part, [headers[i] for i in columns], tablefmt="simple", disable_numparse=True) + "\n")
    return "\n".join(parts)


def column_parts(headers: Sequence[str], lines: Sequence[Sequence[str]], keys: int) -> Iterator[list[int]]:
    """The positions of the columns of each part, at least one, without the key columns."""
    padded = [f"{header}{PADDING}" for header in headers]
    widths = [GAP + max(text_width(line[i]) for line in [padded, *lines]) for i in range(len(headers))]
    room = width() + GAP - sum(widths[:keys])
    part: list[int] = []
    for position in range(keys, len(headers)):
        if part and sum(widths[i] for i in [*part, position]) > room:
            yield part
            part = []
        part.append(position)
    yield part


def narrow(text: str) -> str:
    """The text of a key column in lines of at most half of the width, so that there is room for a number."""
    return textwrap.fill(text, max(width() // 2, 1)) if text else text


def text_width(text: str) -> int:
    """The number of columns that a text takes in a terminal."""
    return max(map(len, STYLE_CODES.sub("", text).split("\n")))
