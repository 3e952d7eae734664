"""Pictures of how solves converge.

Owns the figure. Knows nothing of solvers: it reads the ``trace`` of a result, whoever made it.
Matplotlib is imported at the first call, and never through pyplot: no window, no backend, no
figure that stays alive after its last user.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_convergence"]

Array = NDArray[np.float64]

# Okabe & Ito's palette (2008) without its yellow, which is too pale for a line on white: told
# apart under the three common colour-vision deficiencies, in the order that contrasts soonest.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES: tuple[Any, ...] = ("solid", (0, (4, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")

WIDTH = 11.0  # inches

# An axis turns logarithmic when its slowest curve is this many times longer than its quickest:
# on a linear one the quick curves would be a vertical line.
CROWDED = 8.0

# Far enough above the smallest float64 that the band fits beneath it.
SMALLEST_GAP = 1e-300


class Entry(NamedTuple):
    """One of the results that were passed, and what to call it in an error and in the legend."""

    name: str
    label: str
    result: Any


class Curve(NamedTuple):
    """What is drawn of one solve: arrays of one length, entry 0 at the start."""

    label: str
    family: str
    time: Array
    nfev: Array
    fun: Array


class Style(NamedTuple):
    colour: str
    line: Any
    marker: str
    filled: bool


@dataclass(frozen=True)
class GapScale:
    """How heights above the minimum become positions on a logarithmic axis.

    A curve that reaches the minimum has a gap of zero there, or a few units of rounding that mean
    as little. Both are drawn in one band, beneath the smallest gap that means anything.
    """

    reference: float
    meaning: str
    rounding: float
    smallest: float
    largest: float
    reached: bool

    @property
    def band(self) -> tuple[float, float, float]:
        """Its bottom, its middle (where zero is drawn) and its top."""
        height = 0.03 * max(1.0, math.log10(self.largest / self.smallest))
        bottom, zero, top = (self.smallest * 10 ** -(height * part) for part in (3, 2, 1))
        return bottom, zero, top

    def positions(self, fun: Array) -> Array:
        gaps = fun - self.reference
        _, zero, _ = self.band
        return np.where(gaps <= self.rounding, zero, gaps)


def plot_convergence(
    results: OptimizeResult | Sequence[OptimizeResult] | Mapping[str, OptimizeResult],
    path: str | os.PathLike[str] | None = None,
    *,
    reference: float | None = None,
    title: str | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw how far each solve is above the minimum, against time and against evaluations.

    Parameters
    ----------
    results : OptimizeResult, list or tuple of them, or mapping of str to OptimizeResult
        What `fastopt.minimize` returned under ``options={"trace": True}``, alone, several, or
        several by label; without labels, method and library stand for them. Any result serves
        whose ``trace`` holds one-dimensional arrays ``"time"`` (seconds since the start),
        ``"nfev"`` and ``"fun"`` of equal length. Results whose ``method`` agrees share a colour
        and a marker, and differ in their lines.
    path : str or path-like, optional
        Where to save the figure; the suffix chooses the format (``.png``, ``.pdf``, ``.svg``, …).
    reference : float, optional
        The minimum that gaps are measured from. Default: the lowest value in any trace or result.
    title : str, optional
        A heading above both panels.
    figure : matplotlib.figure.Figure, optional
        An empty figure to draw in, such as ``plt.figure(figsize=(11, 6))`` when a window is
        wanted. Default: a new one that pyplot does not know.

    Returns
    -------
    matplotlib.figure.Figure
        Two panels that share their vertical axis.

    Raises
    ------
    ValueError
        If a result has no ``trace``, or one that cannot be drawn; if `results` is empty; if
        `reference` is not finite or lies above a value that was reached.
    TypeError
        If `results` is neither a result nor a list, a tuple or a mapping of results.
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    The vertical axis is logarithmic. Values that equal the reference within rounding, which have
    no place on such an axis, are drawn in a grey band at the bottom, labelled 0. The palette is
    that of Okabe and Ito (Color Universal Design, 2008).

    Examples
    --------
    >>> import fastopt
    >>> from scipy.optimize import rosen, rosen_der
    >>> result = fastopt.minimize(
    ...     rosen, [-1.2, 1.0], jac=rosen_der, method="bfgs", options={"trace": True}
    ... )
    >>> figure = fastopt.plot_convergence(result, reference=0.0)
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['Time', 'Function evaluations']
    """
    entries = _entries(results)
    curves = [_curve(*entry) for entry in entries]
    scale = _gap_scale([entry.result for entry in entries], curves, reference)
    if figure is None:
        figure = _new_figure(curves)
    elif figure.get_layout_engine() is None:
        figure.set_layout_engine("constrained")
    _draw(figure, curves, scale, title)
    if path is not None:
        figure.savefig(path, dpi=160)
    return figure


def _entries(results: object) -> list[Entry]:
    # OptimizeResult is itself a mapping, so it is asked for first.
    if isinstance(results, OptimizeResult):
        return [Entry("`results`", str(results.get("method", "result")), results)]
    if not isinstance(results, Mapping | list | tuple):
        raise TypeError(
            "`results` must be an OptimizeResult, a list or tuple of them or a mapping of labels "
            f"to them, got {type(results).__name__}"
        )
    if not results:
        raise ValueError(
            f"`results` must hold at least one result, got an empty {type(results).__name__}"
        )
    if isinstance(results, Mapping):
        return [
            Entry(f"`results[{label!r}]`", str(label), result) for label, result in results.items()
        ]
    return [
        Entry(f"`results[{index}]`", label, result)
        for index, (label, result) in enumerate(zip(_labels(results), results, strict=True))
    ]


def _labels(results: Sequence[object]) -> list[str]:
    """Method and library of each, and a number where these have been before."""
    met: Counter[str] = Counter()
    labels = []
    for result in results:
        known = result if isinstance(result, OptimizeResult) else {}
        parts = [str(known[key]) for key in ("method", "library") if key in known]
        label = ", ".join(parts) or "result"
        met[label] += 1
        labels.append(label if met[label] == 1 else f"{label} ({met[label]})")
    return labels


def _curve(name: str, label: str, result: object) -> Curve:
    if not isinstance(result, OptimizeResult):
        raise TypeError(f"{name} must be an OptimizeResult, got {type(result).__name__}")
    trace = result.get("trace")
    if trace is None:
        raise ValueError(
            f"{name} must have a `trace`, got a result without one; "
            'solve with options={"trace": True} to record it'
        )
    missing = [key for key in ("time", "nfev", "fun") if key not in trace]
    if missing:
        raise ValueError(f"{name}.trace must hold {', '.join(map(repr, missing))}, got {[*trace]}")
    time, nfev, fun = (np.asarray(trace[key], dtype=np.float64) for key in ("time", "nfev", "fun"))
    if fun.ndim != 1 or fun.size == 0 or not time.shape == nfev.shape == fun.shape:
        raise ValueError(
            f"{name}.trace must hold one-dimensional arrays of one length of at least 1, got "
            f"shapes {time.shape} for 'time', {nfev.shape} for 'nfev' and {fun.shape} for 'fun'"
        )
    return Curve(label, str(result.get("method", label)), time, nfev, fun)


def _gap_scale(
    results: Sequence[OptimizeResult], curves: Sequence[Curve], reference: float | None
) -> GapScale:
    # The best point seen may lie between two iterations, where only the result knows of it.
    seen = np.concatenate([curve.fun for curve in curves])
    seen = np.append(seen, [np.min(result.get("fun", math.inf)) for result in results])
    seen = seen[np.isfinite(seen)]
    if seen.size == 0:
        raise ValueError("`results` must hold a finite function value, got none")
    lowest = float(seen.min())
    meaning = "the minimum"
    if reference is None:
        reference, meaning = lowest, "the lowest seen"
    elif not math.isfinite(reference):
        raise ValueError(f"`reference` must be finite, got {reference!r}")
    rounding = max(2 * float(np.spacing(abs(reference))), SMALLEST_GAP)
    if lowest < reference - rounding:
        raise ValueError(
            f"`reference` must be at most the lowest value reached, {lowest!r}, got {reference!r}"
        )
    gaps = seen - reference
    reached = bool((gaps <= rounding).any())
    gaps = gaps[gaps > rounding]
    smallest, largest = (float(gaps.min()), float(gaps.max())) if gaps.size else (1.0, 1.0)
    return GapScale(float(reference), meaning, rounding, smallest, largest, reached)


def _new_figure(curves: Sequence[Curve]) -> Figure:
    try:
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise ImportError(
            "plot_convergence needs matplotlib, which is not installed: pip install 'fastopt[demo]'"
        ) from error
    rows = math.ceil(len(curves) / _legend_columns(curves, WIDTH))
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
    return Figure(figsize=(WIDTH, 5.6 + 0.25 * rows), layout=layout)


def _legend_columns(curves: Sequence[Curve], width: float) -> int:
    """The fewest columns that give the fewest rows, of those that fit `width` inches."""
    entry = 0.95 + 0.1 * max(len(curve.label) for curve in curves)
    most = max(1, min(len(curves), 4, int(width / entry)))
    return min(range(1, most + 1), key=lambda columns: (-(-len(curves) // columns), columns))


def _draw(figure: Figure, curves: Sequence[Curve], scale: GapScale, title: str | None) -> None:
    left, right = figure.subplots(1, 2, sharey=True)
    styles = _styles(curves)
    for axes, name in ((left, "time"), (right, "nfev")):
        crowded = _is_crowded(curves, name)
        if crowded:
            axes.set_xscale("log")
        for curve, style in zip(curves, styles, strict=True):
            across = getattr(curve, name)
            _draw_curve(axes, _positive(across) if crowded else across, curve, style, scale)
        axes.grid(True, which="major", color="0.88", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=11)
        axes.spines[["top", "right"]].set_visible(False)
    _label_horizontal(left, right)
    _label_vertical(left, right, scale)
    if title is not None:
        figure.suptitle(title, fontsize=15)
    # Outside the axes, where no curve can run beneath it.
    handles, labels = left.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=_legend_columns(curves, figure.get_figwidth()),
        frameon=False,
        fontsize=11,
        handlelength=4.0,
        columnspacing=2.5,
    )


def _styles(curves: Sequence[Curve]) -> list[Style]:
    """One style a curve: colour and marker by family, line by place within it."""
    families = [curve.family for curve in curves]
    sizes = Counter(families)
    if len(sizes) == 1 or max(sizes.values()) > len(LINES):
        families = [str(index) for index in range(len(curves))]
    order = {family: index for index, family in enumerate(dict.fromkeys(families))}
    met: Counter[str] = Counter()
    styles = []
    for family in families:
        round_of_colours, colour = divmod(order[family], len(COLOURS))
        styles.append(
            Style(
                COLOURS[colour],
                LINES[(met[family] + round_of_colours) % len(LINES)],
                MARKERS[order[family] % len(MARKERS)],
                filled=met[family] == 0,
            )
        )
        met[family] += 1
    return styles


def _is_crowded(curves: Sequence[Curve], name: str) -> bool:
    ends = [float(getattr(curve, name)[-1]) for curve in curves]
    return min(ends) > 0 and max(ends) > CROWDED * min(ends)


def _positive(across: Array) -> Array:
    """`across` with its zeros moved to the first place that a logarithmic axis has."""
    return np.asarray(np.maximum(across, across[across > 0].min()))


def _draw_curve(axes: Axes, across: Array, curve: Curve, style: Style, scale: GapScale) -> None:
    finite = np.isfinite(curve.fun)
    heights = scale.positions(np.where(finite, curve.fun, np.nan))
    look: dict[str, Any] = {
        "color": style.colour,
        "marker": style.marker,
        "markerfacecolor": style.colour if style.filled else "white",
        "markeredgecolor": style.colour,
        "markeredgewidth": 1.5,
    }
    axes.plot(
        across,
        heights,
        label=curve.label,
        linestyle=style.line,
        linewidth=2.0,
        markersize=6.5,
        # Spaced by distance on the page: a curve of 1e5 points is not a solid bar of markers. A
        # curve with nothing to draw, which stays in the legend, has no distances.
        markevery=0.12 if finite.any() else None,
        **look,
    )
    axes.plot(across[-1:], heights[-1:], markersize=10.0, **look)


def _label_horizontal(left: Axes, right: Axes) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator, StrMethodFormatter

    left.set_xlabel("Time", fontsize=12)
    left.xaxis.set_major_formatter(EngFormatter(unit="s"))
    right.set_xlabel("Function evaluations", fontsize=12)
    right.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    for axes in (left, right):
        if axes.get_xscale() == "linear":
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=axes is right))


def _label_vertical(left: Axes, right: Axes, scale: GapScale) -> None:
    left.set_yscale("log")
    left.set_ylabel(f"Loss above {scale.meaning} ({scale.reference:.6g})", fontsize=12)
    if not scale.reached:
        return

    from matplotlib.ticker import LogFormatterSciNotation, LogLocator

    bottom, zero, top = scale.band

    class AboveBand(LogLocator):
        def tick_values(self, low: float, high: float) -> Any:
            ticks = np.asarray(super().tick_values(low, high))
            return ticks[ticks > top]

    class DecadesAndZero(AboveBand):
        def tick_values(self, low: float, high: float) -> Any:
            return np.append(zero, super().tick_values(low, high))

    class DecadesAndZeroFormatter(LogFormatterSciNotation):
        def __call__(self, value: float, position: int | None = None) -> str:
            return "0" if value < top else str(super().__call__(value, position))

    left.set_ylim(bottom=bottom)
    left.yaxis.set_major_locator(DecadesAndZero())
    left.yaxis.set_major_formatter(DecadesAndZeroFormatter())
    left.yaxis.set_minor_locator(AboveBand(subs="auto"))
    for axes in (left, right):
        axes.axhspan(bottom, top, color="0.92", linewidth=0, zorder=0)
