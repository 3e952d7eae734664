"""The table of a network's layers, as text."""

from __future__ import annotations

from fastopt.nn.graph import Graph

__all__ = ["table"]

_HEAD = ("layer", "", "output", "parameters", "FLOPs")


def table(name: str | None, graph: Graph) -> str:
    """A row for each layer that computes something, and their total.

    Parameters
    ----------
    name : str or None
        A line above the table.
    graph : Graph

    Returns
    -------
    str
    """
    rows = [
        (each.layer, each.label, str(each.shape), f"{each.n:,}", f"{each.flops:,}")
        for each in graph.rows
    ]
    flops = sum(each.flops for each in graph.rows)
    total = ("total", "", str(graph.output.shape), f"{graph.n:,}", f"{flops:,}")
    widths = [max(map(len, column)) for column in zip(_HEAD, *rows, total, strict=True)]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    lines = [_line(_HEAD, widths), rule, *(_line(row, widths) for row in rows), rule]
    lines.append(_line(total, widths))
    return "\n".join(lines if name is None else [name, *lines])


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    """Words to the left, numbers to the right."""
    padded = [
        cell.rjust(width) if i >= 3 else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded)
