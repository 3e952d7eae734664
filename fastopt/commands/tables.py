"""Tables of text, with rich where it is installed and without it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from textwrap import fill

__all__ = ["Table", "plain_text", "print_table"]


@dataclass(frozen=True)
class Table:
    """Text in rows and columns. A row that starts with "" belongs to the one above it."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    caption: str = ""
    numbers: frozenset[int] = field(default_factory=frozenset)  # columns to align on the right


def print_table(table: Table) -> None:
    table = printable(table)
    if find_spec("rich") is None:
        print(plain_text(table))
    else:
        print_rich(table)


def printable(table: Table) -> Table:
    """With a question mark for each character that the output's encoding has not."""
    encoding = sys.stdout.encoding or "utf-8"

    def known(text: str) -> str:
        return text.encode(encoding, "replace").decode(encoding)

    return replace(
        table,
        columns=[known(name) for name in table.columns],
        rows=[[known(cell) for cell in row] for row in table.rows],
        title=known(table.title),
        caption=known(table.caption),
    )


def plain_text(table: Table) -> str:
    widths = [max(map(len, cells)) for cells in zip(table.columns, *table.rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        aligned = (
            cell.rjust(width) if index in table.numbers else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(aligned).rstrip()

    lines = [table.title, ""] if table.title else []
    if any(table.columns):
        lines += [line(table.columns), line(["-" * width for width in widths])]
    lines += [line(row) for row in table.rows]
    if table.caption:
        lines += ["", fill(table.caption, 100)]
    return "\n".join(lines)


def print_rich(table: Table) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Column
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal and not os.environ.get("COLUMNS", "").isdigit():
        # A file or a pipe has no width, and rich would fold at 80 columns.
        console.width = 150
    picture = RichTable(
        *(
            Column(Text(name), justify="right", no_wrap=True)
            if index in table.numbers
            else Column(Text(name), overflow="fold")
            for index, name in enumerate(table.columns)
        ),
        title=Text(table.title) if table.title else None,
        title_style="bold",
        title_justify="left",
        caption=Text(table.caption) if table.caption else None,
        caption_style="dim",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        header_style="bold",
        show_header=any(table.columns),
        pad_edge=False,
        collapse_padding=True,
    )
    grouped = not all(row[0] for row in table.rows)
    for row in table.rows:
        if grouped and row[0]:
            picture.add_section()
        picture.add_row(Text(row[0], style="bold cyan"), *(Text(cell) for cell in row[1:]))
    if console.is_terminal:
        console.print(picture)
        return
    with console.capture() as capture:
        console.print(picture)
    # Rich pads each line to the width of the table.
    print("\n".join(line.rstrip() for line in capture.get().splitlines()))
