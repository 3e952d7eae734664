"""A function sampled around x, along one direction or between two: the numerators of differences.

Owns the points and their values. Knows nothing of how a derivative is made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

__all__ = ["COARSEST", "FINEST", "FIRST_LEVELS", "RATIO", "Cross", "Line"]

Vector = NDArray[np.float64]

# Step t of level k is RATIO**-k, in units of the direction: powers of two, exact beside x.
RATIO = 4.0
FIRST_LEVELS = (2, 3, 4)
COARSEST, FINEST = -20, 19
# In a second difference the square of a finer step is lost in the rounding of any value.
FINEST_CROSS = 12
# A step has to move each variable by so many units in its last place, or x + step is rounding.
RESOLUTION = 2.0**-44


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

    power = 1  # of the step, that a numerator is to be divided by
    even_gain = 6.0**0.5  # standard deviation of `even` over that of the values

    def __post_init__(self) -> None:
        self.finest = finest_level(self.x, self.direction)

    def sample(self, levels: Iterable[int]) -> None:
        for k in levels:
            if k in self.steps or not COARSEST <= k <= self.finest:
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
        return run_of(self.plus, self.minus)

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
        """Values at levels that are whole, on the right and on the left, each (levels, m)."""
        high, low = (np.array([side[k] for k in levels]) for side in (self.plus, self.minus))
        return high, low


class Cross:
    """The mixed second difference along u and v of a function of one value.

    It is a quarter of the second difference along u + v less that along u - v. Over t**2 it tends
    to u' H v, and it is even in t; where u is v, it is the second difference of step 2 t.
    """

    power = 2
    even_gain = 0.5

    def __init__(
        self,
        function: Callable[[Vector], Vector],
        x: Vector,
        u: Vector,
        v: Vector,
        centre: Vector,
    ) -> None:
        self.centre = centre
        self.finest = min(FINEST_CROSS, finest_level(x, u), finest_level(x, v))
        along, across = Line(function, x, u + v, centre), Line(function, x, u - v, centre)
        if not across.direction.any():
            across.function = lambda _: centre
        along.finest = across.finest = self.finest
        self.steps = along.steps
        self._along, self._across = along, across

    def sample(self, levels: Iterable[int]) -> None:
        for k in levels:
            self._along.sample((k,))
            sides = self._along.plus.get(k), self._along.minus.get(k)
            if not any(side is None for side in sides):  # else the rest is of no use
                self._across.sample((k,))

    def sampled(self) -> list[int]:
        along, across = self._along, self._across
        return run_of(along.plus, along.minus, across.plus, across.minus)

    def odd(self, levels: list[int]) -> Vector:
        return 0.25 * (self._along.even(levels) - self._across.even(levels))

    even = odd

    def size(self, levels: list[int]) -> Vector:
        return np.maximum(self._along.size(levels), self._across.size(levels))


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


def run_of(*sides: dict[int, Vector | None]) -> list[int]:
    """The finest level at which all sides have values, and its neighbours up to the first gap."""
    levels = {k for k in sides[0] if all(side.get(k) is not None for side in sides)}
    narrow_first = range(max(levels, default=0), COARSEST - 1, -1)
    return list(takewhile(levels.__contains__, narrow_first))[::-1]
