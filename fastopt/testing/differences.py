"""Derivatives of a black box from its values, with an estimate of what they can be trusted to.

Owns the steps, the extrapolation, the noise, and what a function does where it has no derivative:
kinks, jumps, edges of the domain. Knows nothing of gradients, Hessians and their mistakes: it reads
a function of one number t, with one or several components, at t = 0.

A derivative is extrapolated from differences over a geometric sequence of steps (Ridders 1982), and
its error is what the extrapolation still changes plus what noise of the values makes of it. The
noise is estimated as in Moré & Wild 2011, from differences so narrow that nothing but noise is left
of them; theirs are of a high order over equal steps, these of the second order over the narrowest
of the steps that are at hand anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["EPS", "SAFETY", "Cross", "Line", "Reading", "measure", "noise_along"]

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]

EPS = float(np.finfo(np.float64).eps)

# Step t of level k is RATIO**-k, in units of the direction: powers of two, exact beside x.
RATIO = 4.0
FIRST_LEVELS = (2, 3, 4)
COARSEST, FINEST = -20, 19
# Columns of the extrapolation: more would gain nothing that rounding leaves.
COLUMNS = 6
# Levels that are read as noise.
NARROWEST = 6
# A step has to move each variable by so many units in its last place, or x + step is rounding.
RESOLUTION = 2.0**-44
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
    low, high
        Where there is a kink, its slopes, the smaller one first; elsewhere both are `value`.
    noise
        Standard deviation of the function's values.
    kind
        For each component "", "noise", "kink", "jump", "edge", or "blind" where nothing was finite.
    """

    value: Vector
    error: Vector
    low: Vector
    high: Vector
    noise: Vector
    kind: list[str]

    def distance(self, given: Vector) -> Vector:
        return np.maximum(0.0, np.maximum(self.low - given, given - self.high))


@dataclass(slots=True)
class Line:
    """t -> function(x + t direction), sampled on both sides of 0.

    Parameters
    ----------
    function : callable
        ``function(point) -> ndarray of shape (m,)``.
    x, direction : ndarray of shape (n,)
        Where, and along what.
    centre : ndarray of shape (m,)
        ``function(x)``.
    """

    function: Callable[[Vector], Vector]
    x: Vector
    direction: Vector
    centre: Vector
    plus: dict[int, Vector | None] = field(default_factory=dict)
    minus: dict[int, Vector | None] = field(default_factory=dict)
    steps: dict[int, float] = field(default_factory=dict)
    finest: int = FINEST

    def __post_init__(self) -> None:
        self.finest = finest_level(self.x, self.direction)

    power = 1
    smooth_order = 2

    def sample(self, levels: Iterable[int]) -> None:
        for k in levels:
            if k in self.plus or not COARSEST <= k <= self.finest:
                continue
            t = RATIO**-k
            with np.errstate(over="ignore"):
                high, low = self.x + t * self.direction, self.x - t * self.direction
            self.plus[k] = finite_value(self.function, high)
            self.minus[k] = finite_value(self.function, low)
            (moved,) = self.direction.nonzero()
            if moved.size == 1:  # what rounding has made of the step
                i = moved[0]
                t = float(0.5 * (high[i] - low[i]) / self.direction[i])
            self.steps[k] = t

    def sampled(self) -> list[int]:
        """Levels with values on both sides, from wide to narrow, without a gap."""
        return run_of({k for k in self.plus if self.is_whole(k)})

    def is_whole(self, k: int) -> bool:
        return self.plus[k] is not None and self.minus[k] is not None

    def odd(self, levels: list[int]) -> Vector:
        """Numerators of the differences, shape (levels, m)."""
        high, low = self.pair(levels)
        return 0.5 * (high - low)

    def even(self, levels: list[int]) -> Vector:
        """Second differences, of which narrow steps leave noise alone; shape (levels, m)."""
        high, low = self.pair(levels)
        return (high - self.centre) + (low - self.centre)

    def size(self, levels: list[int]) -> Vector:
        """The largest value at each level, shape (levels, m)."""
        high, low = self.pair(levels)
        return np.maximum(np.maximum(np.abs(high), np.abs(low)), np.abs(self.centre))

    def pair(self, levels: list[int]) -> tuple[Vector, Vector]:
        """Values at levels that are whole, each of shape (levels, m)."""
        return tuple(np.array([side[k] for k in levels]) for side in (self.plus, self.minus))  # type: ignore[return-value]

    even_gain = 6.0**0.5  # standard deviation of `even` over that of the values

    def one_sided(self, side: int, noise: Vector) -> Estimate | None:
        """The derivative from values on one side: 1 right, -1 left."""
        values = self.plus if side > 0 else self.minus
        levels = run_of({k for k, value in values.items() if value is not None})
        if len(levels) < 3:
            return None
        found = np.array([values[k] for k in levels])
        steps = np.array([[self.steps[k]] for k in levels])
        slopes = side * (found - self.centre) / steps
        errors = 2.0 * np.maximum(noise, EPS * np.maximum(np.abs(found), np.abs(self.centre)))
        return extrapolate(slopes, errors / steps, 1)


@dataclass(slots=True)
class Cross:
    """The mixed second difference of a function of one value along u and v.

    Its numerator over t**2 tends to u' H v, and is even in t; where u is v, it is the second
    difference of step 2 t.
    """

    function: Callable[[Vector], Vector]
    x: Vector
    u: Vector
    v: Vector
    centre: Vector
    found: dict[int, tuple[Vector, Vector] | None] = field(default_factory=dict)
    steps: dict[int, float] = field(default_factory=dict)
    finest: int = FINEST

    def __post_init__(self) -> None:
        # Below these, the square of the step is lost in the rounding of any value.
        self.finest = min(12, finest_level(self.x, self.u), finest_level(self.x, self.v))

    power = 2

    def sample(self, levels: Iterable[int]) -> None:
        for k in levels:
            if k in self.found or not COARSEST <= k <= self.finest:
                continue
            t = RATIO**-k
            self.steps[k] = t
            self.found[k] = None
            numerator, size = np.zeros(1), np.abs(self.centre)
            for side in (1.0, -1.0):
                for other in (1.0, -1.0):
                    with np.errstate(over="ignore"):
                        point = self.x + (side * t) * (self.u + other * self.v)
                    value = self.centre
                    if not np.array_equal(point, self.x):
                        new = finite_value(self.function, point)
                        if new is None:
                            break
                        value = new
                    numerator = numerator + other * (value - self.centre)
                    size = np.maximum(size, np.abs(value))
                else:
                    continue
                break
            else:
                self.found[k] = 0.25 * numerator, size

    def sampled(self) -> list[int]:
        return run_of({k for k, value in self.found.items() if value is not None})

    def odd(self, levels: list[int]) -> Vector:
        return np.array([self.found[k][0] for k in levels])  # type: ignore[index]

    even = odd
    even_gain = 0.5

    def size(self, levels: list[int]) -> Vector:
        return np.array([self.found[k][1] for k in levels])  # type: ignore[index]

    def one_sided(self, side: int, noise: Vector) -> Estimate | None:
        return None


def finite_value(function: Callable[[Vector], Vector], point: Vector) -> Vector | None:
    """The function there; None where it, or the point, is not finite."""
    if not np.isfinite(point).all():
        return None
    value = function(point)
    return value if np.isfinite(value).all() else None


def finest_level(x: Vector, direction: Vector) -> int:
    moved = direction != 0.0
    if not moved.any():
        return FINEST
    with np.errstate(all="ignore"):
        room = np.log(np.abs(direction[moved])) - np.log(np.abs(x[moved]))
    level = (room.min() - np.log(RESOLUTION)) / np.log(RATIO)
    return int(np.clip(np.floor(level), max(FIRST_LEVELS), FINEST))


def run_of(levels: set[int]) -> list[int]:
    """The finest level and its neighbours, up to the first gap, from wide to narrow."""
    if not levels:
        return []
    k = max(levels)
    found = []
    while k in levels:
        found.append(k)
        k -= 1
    return found[::-1]


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
    while not line.sampled() and (tried := max(line.steps)) < line.finest:
        line.sample((tried + 1, tried + 2))
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
    agrees = distance <= SAFETY * found.error + allowance
    reading = Reading(
        value=found.value,
        error=found.error,
        low=found.value,
        high=found.value,
        noise=noise,
        kind=[""] * given.size,
    )
    doubtful = ~agrees | rough(line, noise)
    if doubtful.any() and thorough:
        _look_closely(line, given, noise, allowance, reading, doubtful)
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
    levels = line.sampled()
    before = len(levels)
    if finer:
        k = max(line.steps) + 1
        if k > line.finest:
            return False
        line.sample((k,))
        return len(line.sampled()) != before or max(line.steps) < line.finest
    k = min(levels) - 1
    if k in line.steps or k < COARSEST:
        return False
    line.sample((k,))
    return len(line.sampled()) > before


def rough(line: Line | Cross, noise: Vector) -> Mask:
    """Where the second difference shrinks by less than the step's square: a kink, perhaps."""
    levels = line.sampled()
    if line.power == 2 or len(levels) < 2:
        return np.zeros(line.centre.size, dtype=bool)
    wide, narrow = np.abs(line.even(levels[-2:]))
    floor = np.maximum(noise, EPS * line.size(levels[-1:])[0])
    found: Mask = (narrow > wide / 8.0) & (narrow > 50.0 * floor)
    return found


def _at_edge(line: Line | Cross, noise: Vector) -> Reading:
    """From one side, where the function is not finite on the other."""
    blind = np.full_like(line.centre, np.nan)
    found = None
    if isinstance(line, Line):
        sides = [side for side in (1, -1) if line.one_sided(side, noise) is not None]
        if sides:
            found = line.one_sided(sides[0], noise)
    if found is None:
        kind = ["blind"] * line.centre.size
        return Reading(blind, np.full_like(blind, np.inf), blind, blind, noise, kind)
    kind = ["edge"] * line.centre.size
    return Reading(found.value, found.error, found.value, found.value, noise, kind)


def _look_closely(
    line: Line | Cross,
    given: Vector,
    noise: Vector,
    allowance: Vector,
    reading: Reading,
    doubtful: Mask,
) -> None:
    """Judge the doubtful components from all the steps, and note in `reading` what they show."""
    line.sample(range(min(min(line.sampled()), 0), line.finest + 1))
    levels = line.sampled()
    quantum = quantum_of(line, levels)
    noise = np.maximum(np.maximum(noise, noise_along(line)), quantum)
    found = central(line, noise)
    if found is None or len(levels) < 4:
        return
    reading.noise = noise
    reading.value = np.where(doubtful, found.value, reading.value)
    reading.error = np.where(doubtful, found.error, reading.error)
    reading.low, reading.high = reading.value.copy(), reading.value.copy()
    size = line.size(levels)
    for i in (int(at) for at in doubtful.nonzero()[0]):
        if quantum[i] > STEPWISE * EPS * size[-1, i]:
            reading.kind[i] = "noise"
    if isinstance(line, Cross):
        return
    even = line.even(levels)
    floor = np.maximum(50.0 * noise, 100.0 * EPS * size)
    sides = [line.one_sided(side, noise) for side in (-1, 1)]
    jump = jumps(line, levels[-NARROWEST:])
    for i in (int(at) for at in doubtful.nonzero()[0]):
        if jump[i]:
            _note_jump(line, levels, i, reading)
        elif has_kink(line, levels, even[:, i], floor[:, i]) and None not in sides:
            slopes = sorted((side.value[i], side.error[i]) for side in sides if side)
            reading.low[i], reading.high[i] = slopes[0][0], slopes[1][0]
            reading.value[i] = 0.5 * (slopes[0][0] + slopes[1][0])
            reading.error[i] = max(slopes[0][1], slopes[1][1])
            reading.kind[i] = "kink"
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
    narrow, wide = levels[-NARROWEST], levels[-NARROWEST - 4]
    run = line.steps[wide] - line.steps[narrow]
    slopes = []
    for side, values in ((-1.0, line.minus), (1.0, line.plus)):
        ends = values[wide], values[narrow]
        assert ends[0] is not None
        assert ends[1] is not None
        slopes.append(side * float(ends[0][i] - ends[1][i]) / run)
    size = float(line.size(levels[-1:])[0, i])
    reading.low[i], reading.high[i] = min(slopes), max(slopes)
    reading.value[i] = 0.5 * (slopes[0] + slopes[1])
    # A first difference: what its step leaves out is of the size of the step.
    reading.error[i] = (EPS * size + reading.noise[i]) / run + 1e-3 * max(map(abs, slopes))
    reading.kind[i] = "jump"


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
    reading.value[i] = reading.low[i] = reading.high[i] = value
    reading.error[i] = spread
    reading.noise[i] = max(reading.noise[i], spread * float(steps[row + 1]))
    reading.kind[i] = "noise"
