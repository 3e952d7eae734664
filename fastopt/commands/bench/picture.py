"""The gains as a picture: a line a row, grouped by suite, on a logarithmic axis.

Knows nothing of how they were measured. matplotlib is imported when a picture is drawn, and never
through pyplot.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from fastopt.commands.bench.report import Report
from fastopt.commands.bench.suites import SUITES
from fastopt.commands.bench.timing import Peer, Row
from fastopt.commands.quantities import times

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_gains"]

# Of Okabe and Ito's palette (2008), told apart under the common colour-vision deficiencies; the
# markers differ as well.
LOOKS = {
    "SciPy": ("#0072B2", "o"),
    "PyTorch": ("#D55E00", "s"),
    "NLopt": ("#009E73", "^"),
    "NumPy": ("#CC79A7", "D"),
}

WIDTH, LINE, MARGINS = 8.5, 0.21, 1.9  # inches


class Line(NamedTuple):
    """What a height of the picture is for: the name of a suite, or one of its rows."""

    label: str
    row: Row | None


def draw_gains(report: Report) -> Figure:
    """A new figure. Rows without a peer are not in it."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    lines = lines_of(report.rows)
    figure = Figure(
        figsize=(WIDTH, MARGINS + LINE * len(lines)),
        layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08),
    )
    axes = figure.subplots()
    for height, line in enumerate(lines):
        if line.row is not None:
            draw_row(axes, height, line.row)
    draw_axis(axes, lines)
    figure.suptitle(f"{report.title}\n{report.circumstances}", fontsize=11)
    handles, labels = axes.get_legend_handles_labels()
    by_label = dict(zip(labels, handles, strict=True))
    figure.legend(
        by_label.values(),
        by_label.keys(),
        loc="outside lower center",
        ncols=len(by_label),
        frameon=False,
        fontsize=10,
    )
    return figure


def lines_of(rows: Sequence[Row]) -> list[Line]:
    lines: list[Line] = []
    for suite in SUITES.values():
        shown = [Line(row.name, row) for row in rows if row.suite == suite.name and row.peers]
        if shown:
            lines += [Line(suite.name, None), *shown]
    return lines


def draw_row(axes: Axes, height: int, row: Row) -> None:
    for place, peer in enumerate(row.peers):
        draw_peer(axes, height, peer)
        colour, _ = LOOKS[peer.library]
        axes.annotate(
            times(peer.gain),
            (1.0, height),
            xycoords=("axes fraction", "data"),
            xytext=(42 + 42 * place, 0),
            textcoords="offset points",
            color=colour,
            fontsize=9,
            ha="right",
            va="center",
        )


def draw_peer(axes: Axes, height: int, peer: Peer) -> None:
    colour, marker = LOOKS[peer.library]
    low, high = peer.gains.quartiles
    axes.errorbar(
        peer.gain,
        height,
        # The quotient of medians need not lie among the quotients.
        xerr=[[max(0.0, peer.gain - low)], [max(0.0, high - peer.gain)]],
        color=colour,
        marker=marker,
        markersize=6.5,
        # Hollow, as what does not count.
        markerfacecolor=colour if peer.answers.agree else "white",
        linestyle="none",
        label=peer.library,
    )


def draw_axis(axes: Axes, lines: Sequence[Line]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    # Whoever is alike in everything has an axis as well.
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.5), max(high, 2.0))
    decades = math.log10(axes.get_xlim()[1] / axes.get_xlim()[0])
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 3.0 else (1.0,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda gain, _: f"{gain:g}x"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.axvline(1.0, color="0.3", linewidth=1.2, zorder=0)
    axes.grid(axis="x", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    meaning = "The other's time over fastopt's: to the right of 1, fastopt is quicker"
    if any(not peer.answers.agree for _, row in lines if row for peer in row.peers):
        meaning += "\n(hollow: the answers differ)"
    axes.set_xlabel(meaning)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_yticks(range(len(lines)), [line.label for line in lines], fontsize=9)
    for line, label in zip(lines, axes.get_yticklabels(), strict=True):
        if line.row is None:
            label.set_fontweight("bold")
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
