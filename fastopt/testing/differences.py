"""Derivatives of a black box from its values, with an estimate of what they can be trusted to.

Owns the extrapolation, the noise, and what a function does where it has no derivative: kinks,
jumps, edges of the domain. Knows nothing of gradients, Hessians and their mistakes: it reads a
function of one number t, with one or several components, at t = 0.

A derivative is extrapolated from differences over a geometric sequence of steps (Ridders 1982), and
its error is what the extrapolation still changes plus what noise of the values makes of it. The
noise is estimated as in Moré & Wild 2011, from differences so narrow that nothing but noise is left
of them; theirs are of a high order over equal steps, these of the second order over the narrowest
of the steps that are at hand anyway.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastopt.testing.lines import COARSEST, FIRST_LEVELS, RATIO, Cross, Line, run_of

__all__ = ["EPS", "SAFETY", "Reading", "measure", "noise_along"]

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]

EPS = float(np.finfo(np.float64).eps)

# Columns of the extrapolation: more would gain nothing that rounding leaves.
COLUMNS = 6
# Levels that are read as noise.
NARROWEST = 6
# So many times the estimated error is not called a disagreement.
SAFETY = 4.0
# So many times more noise is expected at most where the value is larger than at x.
GROWTH = 100.0
# A function that changes by so many units of rounding at once, or not at all, is a step function.
STEPWISE = 1e4
# Steps are too wide where the error has grown by so much again.
FEATURE = 1e3
# Differences over wide and over narrow steps that lie so many errors apart contradict each other.
CONTRADICTION = 10.0


class Estimate(NamedTuple):
    """A derivative, each array of shape (m,)."""

    value: Vector
    error: Vector
    wants_finer: Mask  # the best entry lies at the narrow end of what was sampled
    wants_coarser: Mask  # noise dominates, and the best entry reaches the wide end


@dataclass(slots=True)
class Reading:
    """What the differences say of a derivative, each array of shape (m,).

    Attributes
    ----------
    value, error
        The derivative, and how far it may be off.
    noise
        Standard deviation of the function's values.
    kind
        For each component "", "noise", "kink", "jump", "edge", or "blind" where nothing was finite.
    low, high
        Where there is a kink, its slopes, the smaller one first; elsewhere both are `value`.
    """

    value: Vector
    error: Vector
    noise: Vector
    kind: list[str]
    low: Vector = field(init=False)
    high: Vector = field(init=False)

    def __post_init__(self) -> None:
        self.low, self.high = self.value.copy(), self.value.copy()

    @property
    def numbers(self) -> tuple[Vector, Vector, Vector, Vector]:
        return self.value, self.error, self.low, self.high

    def settle(self, i: int, low: float, high: float, error: float, kind: str) -> None:
        """Note what component i shows: a slope, or one on either side of x."""
        self.low[i], self.high[i] = low, high
        self.value[i] = 0.5 * (low + high)
        self.error[i], self.kind[i] = error, kind


def extrapolate(slopes: Vector, noises: Vector, order: int) -> Estimate:
    """Richardson's extrapolation to t = 0; the rows of both arrays belong to levels, wide first.

    `order` is that by which the exponents of the error grow from column to column. The entry is
    taken whose change plus noise is the smallest; its change is the larger one of Ridders' two.
    """
    values, errors, noise_parts = tableau(slopes, noises, order)
    rows, count = slopes.shape
    errors = np.where(beyond_features(values, errors), np.inf, errors)
    flat = errors.reshape(-1, count)
    best = flat.argmin(axis=0)
    column, row = np.divmod(best, rows)
    at = (best, np.arange(count))
    noise = noise_parts.reshape(-1, count)[at]
    error = flat[at]
    # The first column is column 1 of the tableau; entry (row, j) has used the rows row - j to row.
    return Estimate(
        value=values.reshape(-1, count)[at],
        error=error,
        wants_finer=row == rows - 1,
        wants_coarser=(row - (column + 1) <= 0) & (noise >= 0.25 * error),
    )


def beyond_features(values: Vector, errors: Vector) -> Mask:
    """Rows of the tableau that are too wide, shape (rows, m).

    There the steps reach across what the function does around x. What it does on the far side may
    look smooth, and flat, but is none of its derivative at x. It shows in an error far above that
    of a narrower row, or in a value that a narrower row excludes.
    """
    best = errors.argmin(axis=0)[None]
    # Narrow rows first.
    value = np.take_along_axis(values, best, axis=0)[0][::-1]
    error = np.take_along_axis(errors, best, axis=0)[0][::-1]
    known = np.isfinite(error)
    low = np.where(known, value - SAFETY * error, -np.inf)
    high = np.where(known, value + SAFETY * error, np.inf)
    beyond = error > FEATURE * np.minimum.accumulate(error)
    beyond |= high < np.maximum.accumulate(low)
    beyond |= low > np.minimum.accumulate(high)
    found: Mask = np.logical_or.accumulate(beyond)[::-1]
    return found


def tableau(slopes: Vector, noises: Vector, order: int) -> tuple[Vector, Vector, Vector]:
    """Entries, errors and the part of noise in them, shape (columns, rows, m); inf where none."""
    rows, count = slopes.shape
    columns = min(COLUMNS, rows - 1)
    values = np.full((columns, rows, count), np.nan)
    errors = np.full((columns, rows, count), np.inf)
    parts = np.full((columns, rows, count), np.inf)
    previous, noise = slopes, noises
    with np.errstate(all="ignore"):
        for j in range(1, columns + 1):
            gain = RATIO ** (order * j)
            finer, coarser = previous[j:], previous[j - 1 : -1]
            values[j - 1, j:] = finer + (finer - coarser) / (gain - 1.0)
            parts[j - 1, j:] = (gain * noise[j:] + noise[j - 1 : -1]) / (gain - 1.0)
            change = np.maximum(
                np.abs(values[j - 1, j:] - finer), np.abs(values[j - 1, j:] - coarser)
            )
            total = change + parts[j - 1, j:]
            errors[j - 1, j:] = np.where(np.isfinite(total), total, np.inf)
            previous, noise = values[j - 1], parts[j - 1]
    return values, errors, parts


def noise_along(line: Line | Cross) -> Vector:
    """Standard deviation of the values, from the narrowest steps; shape (m,).

    Of two second differences, the narrower one less 1/16 of the wider one has no curvature left. As
    long as they do not grow with the step, they are noise. A jump at x is not: there they are all
    alike.
    """
    line.sample(range(line.finest - NARROWEST + 1, line.finest + 1))
    levels = line.sampled()[-NARROWEST:]
    if len(levels) < 2:
        return np.zeros_like(line.centre)
    even = line.even(levels)
    flat = (even[1:] - even[:-1] / RATIO**2)[::-1] ** 2
    if isinstance(line, Line):
        flat = np.where(jumps(line, levels), (even[1:] - even.mean(axis=0)) ** 2, flat)
    count = np.arange(1, len(flat) + 1)[:, None]
    means = flat.cumsum(axis=0) / count
    grows = np.zeros_like(flat, dtype=bool)
    grows[3:] = flat[3:] > 16.0 * means[2:-1]
    last = np.where(grows.any(axis=0), grows.argmax(axis=0), len(flat)) - 1
    spread: Vector = np.sqrt(np.take_along_axis(means, last[None], axis=0)[0])
    return spread / line.even_gain


def jumps(line: Line, levels: list[int]) -> Mask:
    """Whether the sides differ, or x differs from both, by as much at each of the narrow levels.

    By less than half of the digits it may be rounding: it, too, can have one sign for all of them.
    """
    found = np.zeros(line.centre.size, dtype=bool)
    size = line.size(levels).max(axis=0)
    for part in (line.odd(levels), line.even(levels)):
        mean = np.abs(part.mean(axis=0))
        found |= (mean > CONTRADICTION * part.std(axis=0)) & (mean > np.sqrt(EPS) * size)
    return found


def measure(
    line: Line | Cross, given: Vector, noise: Vector, allowance: Vector, thorough: bool = True
) -> Reading:
    """The derivative along the line, as exactly as it takes to judge what was `given`.

    Steps are added as long as they help, and no longer than until both agree, up to `allowance`.
    Where they do not, and `thorough` says so, all steps are sampled to find out whose fault it is.
    `noise` is what is known of the function's noise so far. All of shape (m,).
    """
    line.sample(FIRST_LEVELS)
    while True:
        found = central(line, noise)
        if found is None:
            if not extend(line, finer=True):
                return _at_edge(line, noise)
            continue
        distance = np.abs(given - found.value)
        agrees = distance <= allowance
        if agrees.all():
            break
        finer = (found.wants_finer & ~agrees).any() and extend(line, finer=True)
        coarser = (found.wants_coarser & ~agrees).any() and extend(line, finer=False)
        if not (finer or coarser):
            break
    reading = Reading(found.value, found.error, noise, [""] * given.size)
    doubtful = ~(distance <= SAFETY * found.error + allowance) | rough(line, noise)
    if doubtful.any() and thorough:
        _look_closely(line, given, allowance, reading, doubtful)
    return reading


def central(line: Line | Cross, noise: Vector) -> Estimate | None:
    levels = line.sampled()
    if len(levels) < 2:
        return None
    power = np.array([[line.steps[k] ** line.power] for k in levels])
    size = line.size(levels)
    # Noise may grow with the value, as rounding does.
    growth = np.minimum(size / np.fmax(size[-1], 1e-300), GROWTH)
    errors = np.maximum(noise * growth, EPS * size)
    return extrapolate(line.odd(levels) / power, errors / power, 2)


def extend(line: Line | Cross, finer: bool) -> bool:
    """Sample one level more, at one end; False if there is none to be had."""
    k = max(line.steps) + 1 if finer else line.sampled()[0] - 1
    if k in line.steps or not COARSEST <= k <= line.finest:
        return False
    line.sample((k,))
    return finer or k in line.sampled()


def rough(line: Line | Cross, noise: Vector) -> Mask:
    """Where the second difference shrinks by less than the step's square: a kink, perhaps."""
    levels = line.sampled()
    if isinstance(line, Cross) or len(levels) < 2:
        return np.zeros(line.centre.size, dtype=bool)
    wide, narrow = np.abs(line.even(levels[-2:]))
    floor = np.maximum(noise, EPS * line.size(levels[-1:])[0])
    found: Mask = (narrow > wide / 8.0) & (narrow > 50.0 * floor)
    return found


def _at_edge(line: Line | Cross, noise: Vector) -> Reading:
    """From one side, where the function is not finite on the other."""
    count = line.centre.size
    if isinstance(line, Line):
        for side in (1, -1):
            if (found := one_sided(line, side, noise)) is not None:
                return Reading(found.value, found.error, noise, ["edge"] * count)
    return Reading(np.full(count, np.nan), np.full(count, np.inf), noise, ["blind"] * count)


def one_sided(line: Line, side: int, noise: Vector) -> Estimate | None:
    """The derivative from values on one side: 1 right, -1 left."""
    values = line.plus if side > 0 else line.minus
    levels = run_of(values)
    if len(levels) < 3:
        return None
    found = np.array([values[k] for k in levels])
    steps = np.array([[line.steps[k]] for k in levels])
    errors = 2.0 * np.maximum(noise, EPS * np.maximum(np.abs(found), np.abs(line.centre)))
    return extrapolate(side * (found - line.centre) / steps, errors / steps, 1)


def _look_closely(
    line: Line | Cross, given: Vector, allowance: Vector, reading: Reading, doubtful: Mask
) -> None:
    """Judge the doubtful components from all the steps, and note in `reading` what they show."""
    line.sample(range(min(line.sampled()[0], 0), line.finest + 1))
    levels = line.sampled()
    quantum = quantum_of(line, levels)
    noise = np.maximum(np.maximum(reading.noise, noise_along(line)), quantum)
    found = central(line, noise)
    if found is None or len(levels) < 4:
        return
    reading.noise = noise
    size = line.size(levels)
    components = [int(i) for i in doubtful.nonzero()[0]]
    for i in components:
        stepwise = quantum[i] > STEPWISE * EPS * size[-1, i]
        value = found.value[i]
        reading.settle(i, value, value, found.error[i], "noise" if stepwise else "")
    if isinstance(line, Cross):
        return
    even = line.even(levels)
    floor = np.maximum(50.0 * noise, 100.0 * EPS * size)
    sides = [one_sided(line, side, noise) for side in (-1, 1)]
    jump = jumps(line, levels[-NARROWEST:])
    for i in components:
        if jump[i]:
            _note_jump(line, levels, i, reading)
        elif has_kink(line, levels, even[:, i], floor[:, i]) and None not in sides:
            low, high = sorted((side.value[i], side.error[i]) for side in sides if side)
            reading.settle(i, low[0], high[0], max(low[1], high[1]), "kink")
        elif abs(given[i] - reading.value[i]) > SAFETY * reading.error[i] + allowance[i]:
            _note_contradiction(line, levels, given[i], allowance[i], i, reading)


def quantum_of(line: Line | Cross, levels: list[int]) -> Vector:
    """The least change, if narrow steps change nothing: the height of the function's own steps.

    Of a smooth function whose derivative is zero this is no more than some units of rounding.
    """
    changes = np.maximum(np.abs(line.odd(levels)), np.abs(line.even(levels)))
    flat = ~changes[-3:].any(axis=0)
    least = np.where(changes > 0.0, changes, np.inf).min(axis=0)
    return np.where(flat & np.isfinite(least), least, 0.0)


def has_kink(line: Line, levels: list[int], even: Vector, floor: Vector) -> bool:
    """Whether (slope on the right) - (slope on the left) stays, as the steps get narrow."""
    (reliable,) = (np.abs(even) > floor).nonzero()
    if not reliable.size or reliable[-1] < 3:
        return False
    last = reliable[-1]
    if last + 1 < len(levels) and abs(even[last + 1]) < abs(even[last]) / 8.0:
        return False  # it lies beside x, out of the reach of narrower steps
    gaps = [abs(even[row]) / line.steps[levels[row]] for row in (last - 3, last - 1, last)]
    return bool(gaps[2] > gaps[0] / 8.0 and 0.5 < gaps[2] / gaps[1] < 2.0)


def _note_jump(line: Line, levels: list[int], i: int, reading: Reading) -> None:
    """At a jump, the slopes are those of the values on either side, without the one at x."""
    wide, narrow = levels[-NARROWEST - 4], levels[-NARROWEST]
    run = line.steps[wide] - line.steps[narrow]
    right, left = (side[:, i] for side in line.pair([wide, narrow]))
    low, high = sorted([float(left[1] - left[0]) / run, float(right[0] - right[1]) / run])
    size = float(line.size(levels[-1:])[0, i])
    # A first difference: what its step leaves out is of the size of the step.
    error = (EPS * size + reading.noise[i]) / run + 1e-3 * max(abs(low), abs(high))
    reading.settle(i, low, high, error, "jump")


def _note_contradiction(
    line: Line, levels: list[int], given: float, allowance: float, i: int, reading: Reading
) -> None:
    """Where wide steps contradict narrow ones, and confirm what was given: noise, or ripples.

    Three levels in a row have to agree with each other, and lie far from what the best entry says.
    """
    steps = np.array([line.steps[k] for k in levels])
    odd = line.odd(levels)[:, i]
    rounding = EPS * line.size(levels)[:, i] / steps
    slopes = (odd / steps)[:, None]
    columns = [slopes, *tableau(slopes, rounding[:, None], 2)[0][:2]]
    best, error = reading.value[i], reading.error[i]
    runs = []
    for j, column in enumerate(columns):
        entries = column[:, 0]
        for row in range(j + 1, len(levels) - 1):
            value = float(entries[row])
            spread = float(np.abs(entries[[row - 1, row + 1]] - value).max()) + rounding[row]
            apart = abs(value - best) > CONTRADICTION * (spread + error)
            if apart and abs(given - value) <= SAFETY * spread + allowance:
                runs.append((spread, value, row))
    if not runs:
        return
    spread, value, row = min(runs)
    reading.settle(i, value, value, spread, "noise")
    reading.noise[i] = max(reading.noise[i], spread * float(steps[row + 1]))
