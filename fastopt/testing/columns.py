"""A matrix of derivatives against differences, column by column: what all checks have in common.

Owns at which points and along which directions it is looked, and the verdict. How differences are
taken is the affair of `fastopt.testing.differences`; what a mistake is called, that of
`fastopt.testing.diagnosis`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastopt.testing.calls import Code
from fastopt.testing.diagnosis import (
    Comparison,
    Place,
    describe_entry,
    name_entry_mistake,
    other_entries,
    shown,
)
from fastopt.testing.differences import EPS, SAFETY, Reading, measure, noise_along
from fastopt.testing.lines import Line
from fastopt.testing.verdict import DerivativeCheck

__all__ = ["COORDINATES", "NOISY", "SCREENING", "ColumnCheck", "Settings"]

Vector = NDArray[np.float64]

# Up to so many variables each of them is looked at; beyond, random directions find what is wrong.
COORDINATES = 100
# Of more variables, so many at random join the one found, to see what their errors have in common.
WITNESSES = 6
# Along a random direction, so much of what is allowed starts a search for a wrong component:
# its mistake may be small beside all the others' terms.
SCREENING = 0.01
# After so many components were found wrong from all steps, fewer steps will do for the others.
THOROUGH = 6
# More rounding than so many units is called noise.
NOISY = 1e4
# So many units of rounding of the largest term may be left of terms that cancel.
ROUNDING = 16.0 * EPS


class Settings(NamedTuple):
    """What a caller chooses."""

    rng: np.random.Generator
    directions: int
    rtol: float


class Slope(NamedTuple):
    """What was found along a random direction; `size` is that of the terms that make it up."""

    given: float
    expected: float
    error: float
    distance: float
    allowance: float
    size: float

    @property
    def tolerance(self) -> float:
        return SAFETY * self.error + self.allowance

    @property
    def wrong(self) -> bool:
        return self.distance > self.tolerance

    @property
    def suspicious(self) -> bool:
        """Whether it is worth looking for one component that is wrong."""
        return self.distance > SAFETY * self.error + SCREENING * self.allowance

    def described(self) -> str:
        return (
            f"given {shown(self.given, self.error)} along it, differences say "
            f"{shown(self.expected, self.error)} +- {self.error:.1g}"
        )


class ColumnCheck:
    """The derivative of `function` at x, R^n -> R^m, as given and as differences say.

    `given` holds columns of it, all of them or, where `product` makes them, those that were looked
    at. The gradient of a function is one row.
    """

    what: str
    word: str  # for one element
    source: str  # what differences are taken of
    missing = "derivative"  # what there is not at a kink

    def __init__(
        self,
        code: Code,
        function: Callable[[Vector], Vector],
        x: Vector,
        centre: Vector,
        given: Vector,
        every: bool,
        settings: Settings,
    ) -> None:
        self.code, self.function, self.x, self.centre = code, function, x, centre
        self.rng, self.directions, self.rtol = settings
        self.given, self.every = given, every
        self.columns = list(range(given.shape[1]))
        self.expected, self.error, self.low, self.high = (
            np.full(given.shape, np.nan) for _ in range(4)
        )
        # A power of two of the size of each variable: steps of that scale add without rounding.
        with np.errstate(divide="ignore"):
            exponent = np.where(x == 0.0, 0.0, np.round(np.log2(np.abs(x))))
        self.unit: Vector = np.exp2(np.clip(exponent, -1000.0, 960.0))
        self.confirmed = 0
        self.slopes: list[Slope] = []
        self.kinds: dict[str, list[Place]] = {}
        self.mistakes: list[str] = []
        self.noise = noise_along(self.line(self.random_direction()))

    def product(self, direction: Vector) -> Vector:
        """The derivative along a direction, as given, shape (m,)."""
        raise NotImplementedError

    def allowance_along(self, direction: Vector, product: Vector) -> Vector:
        """What is no mistake of the product."""
        raise NotImplementedError

    def terms_along(self, direction: Vector, product: Vector) -> Vector:
        """The size of what the components of the product are made up of, if that is known."""
        return np.abs(product)

    def name_mistake(self, found: Comparison) -> str:
        """What is wrong with all elements; empty if no one mistake explains it."""
        raise NotImplementedError

    def line(self, direction: Vector) -> Line:
        return Line(self.function, self.x, direction, self.centre)

    def random_direction(self) -> Vector:
        """Signs and sizes at random, so that no two mistakes cancel in all of the directions."""
        n = self.x.size
        return self.rng.choice([-1.0, 1.0], n) * self.rng.uniform(0.5, 1.0, n) * self.unit

    def axis(self, i: int) -> Vector:
        direction = np.zeros(self.x.size)
        direction[i] = self.unit[i]
        return direction

    def compare(self) -> None:
        if self.every:
            for j in self.columns:
                self.look_at(j)
        else:
            for _ in range(self.directions):
                self.look_along(self.random_direction())

    def look_at(self, j: int) -> None:
        at, unit = self.column(j), self.unit[j]
        reading = measure(
            self.line(self.axis(j)),
            self.given[:, at] * unit,
            self.noise,
            self.allowance()[:, at] * unit,
            thorough=self.confirmed < THOROUGH,
        )
        self.keep(reading, slice(None), at, unit)
        self.confirmed += bool(self.wrong[:, at].any())
        for i, kind in enumerate(reading.kind):
            self.note(kind, (i, j))
            if kind == "noise":
                self.noise[i] = max(self.noise[i], reading.noise[i])

    def column(self, j: int) -> int:
        """Where column j is held; from now on, if it was not."""
        if j not in self.columns:
            unit_vector = np.zeros(self.x.size)
            unit_vector[j] = 1.0
            column = self.product(unit_vector)[:, None]
            unknown = np.full_like(column, np.nan)
            self.given = np.hstack((self.given, column))
            self.expected, self.error, self.low, self.high = (
                np.hstack((values, unknown))
                for values in (self.expected, self.error, self.low, self.high)
            )
            self.columns.append(j)
        return self.columns.index(j)

    def keep(self, reading: Reading, rows: int | slice, at: int, unit: float) -> None:
        self.expected[rows, at], self.error[rows, at] = reading.value / unit, reading.error / unit
        self.low[rows, at], self.high[rows, at] = reading.low / unit, reading.high / unit

    def look_along(self, direction: Vector) -> None:
        """Compare a product; where a component is wrong, find a column that is."""
        given = self.product(direction)
        if self.is_broken(given):
            return
        reading, allowance = self.measure_along(direction, given, thorough=True)
        if not self.every:
            self.note(next(filter(None, reading.kind), ""), ())
        if not np.isfinite(reading.value).any():
            return
        limit = SAFETY * reading.error + SCREENING * allowance
        i = int(np.nanargmax(reading.distance(given) / np.fmax(limit, 1e-300)))
        size = self.terms_along(direction, given)[i]
        slope = self.add_slope(reading, i, given[i], allowance[i], size)
        if self.every or not slope.suspicious or self.wrong.any():
            return

        def mistake(along: Vector) -> float:
            product = self.product(along)
            found, _ = self.measure_along(along, product, thorough=False)
            return float(product[i] - found.value[i])

        found = self.locate(direction, float(given[i] - reading.value[i]), mistake)
        self.look_at(found)
        if self.wrong.any():
            witnesses = self.rng.choice(self.x.size, WITNESSES, replace=False)
            for j in sorted({int(j) for j in witnesses} - {found}):
                self.look_at(j)

    def measure_along(
        self, direction: Vector, given: Vector, thorough: bool
    ) -> tuple[Reading, Vector]:
        allowance = self.allowance_along(direction, given)
        line = self.line(direction)
        return measure(line, given, self.noise, SCREENING * allowance, thorough), allowance

    def locate(self, direction: Vector, mistake: float, part: Callable[[Vector], float]) -> int:
        """The component of a direction that most of the mistake along it belongs to, by halving.

        `part` is the mistake along a direction; it adds up.
        """
        (active,) = direction.nonzero()
        while active.size > 1:
            half, rest = active[: active.size // 2], active[active.size // 2 :]
            masked = np.zeros_like(direction)
            masked[half] = direction[half]
            share = part(masked)
            if abs(share) >= abs(mistake - share):
                active, mistake = half, share
            else:
                active, mistake = rest, mistake - share
        return int(active[0])

    @property
    def wrong(self) -> NDArray[np.bool_]:
        return self.comparison().wrong

    def comparison(self) -> Comparison:
        distance = np.maximum(0.0, np.maximum(self.low - self.given, self.given - self.high))
        tolerance = SAFETY * self.error + self.allowance()
        return Comparison(self.given, self.expected, self.error, distance, tolerance, self.columns)

    def allowance(self) -> Vector:
        """What is no mistake; where the terms of a row cancel, their rounding is left of them."""
        terms = np.abs(self.given * self.x[self.columns])
        largest = np.max(terms, axis=1, keepdims=True, initial=0.0)
        rounding: Vector = ROUNDING * largest / self.unit[self.columns]
        return self.rtol * np.abs(self.given) + rounding

    def is_broken(self, product: Vector) -> bool:
        """Note a product that is not finite: nothing can be compared with it."""
        finite = np.isfinite(product)
        if finite.all():
            return False
        i = int(finite.argmin())
        note = f"Component {i} of its product with a vector is {product[i]}."
        if note not in self.mistakes:
            self.mistakes.append(note)
        return True

    def add_slope(
        self, reading: Reading, i: int, given: float, allowance: float, size: float
    ) -> Slope:
        expected, error, low, high = (
            float(values[i]) for values in (reading.value, reading.error, reading.low, reading.high)
        )
        distance = max(0.0, low - given, given - high)
        slope = Slope(float(given), expected, error, distance, float(allowance), float(size) or 1.0)
        self.slopes.append(slope)
        return slope

    def worst_slope(self) -> Slope | None:
        known = [slope for slope in self.slopes if math.isfinite(slope.expected)]
        return max(known, key=lambda it: it.distance / (it.tolerance or it.size), default=None)

    def note(self, kind: str, at: Place) -> None:
        if kind:
            self.kinds.setdefault(kind, []).append(at)

    def verdict(self) -> DerivativeCheck:
        found, slope = self.found(), None if self.every else self.worst_slope()
        vague = slope if slope is not None and slope.wrong else None
        nothing = not np.isfinite(found.expected).any() and slope is None
        ok = not (found.wrong.any() or self.mistakes or vague or nothing)
        if found.wrong.any():
            parts = [self.complaint(found), *self.mistakes]
        elif nothing and self.mistakes:
            parts = [f"The {self.what} looks wrong.", *self.mistakes]
        elif nothing:
            parts = [f"Nothing could be compared: {self.source} is not finite around x."]
        elif vague:
            place = f"in no one {self.word.lower()} that could be found: {vague.described()}"
            looks = f"The {self.what} looks wrong along a random direction, but {place}."
            parts = [looks, *self.mistakes]
        elif self.mistakes:
            agreement = f"The {self.what} agrees with differences of {self.source}."
            parts = [*self.mistakes, agreement]
        else:
            parts = [self.agreement()]
        return self.result(ok, " ".join(parts) + self.doubt())

    def found(self) -> Comparison:
        """The comparison in the shape of what is checked."""
        return self.comparison()

    def complaint(self, found: Comparison) -> str:
        at = found.worst()
        mistake = self.name_mistake(found)
        message = describe_entry(found, at, self.word)
        if mistake:
            return f"{message}: {mistake}."
        return f"{message}: {name_entry_mistake(found, at)}." + other_entries(found, at)

    def agreement(self) -> str:
        of = self.extent() if self.every else f" along {self.directions} random directions"
        return f"The {self.what} agrees with differences of {self.source}{of}." + self.remarks()

    def extent(self) -> str:
        return " in all entries"

    def doubt(self) -> str:
        """A remark if the differences themselves cannot be right."""
        return ""

    def remarks(self) -> str:
        """What is peculiar about the function."""
        subject = self.source[0].upper() + self.source[1:]
        kinks = [(kind, self.kinds[kind][0]) for kind in ("kink", "jump") if kind in self.kinds]
        remarks = "" if kinks and "noise" not in self.kinds else self.remark_on_noise(subject)
        for kind, place in kinks:
            where = "along a random direction"
            if place:
                where = f"along component {place[1]}{self.slopes_at(*place)}"
            remarks += f" {subject} has a {kind} at x {where}: it has no {self.missing} there."
        return remarks

    def slopes_at(self, i: int, j: int) -> str:
        at = i, self.columns.index(j)
        return f", with slopes of {shown(self.low[at])} and {shown(self.high[at])}"

    def remark_on_noise(self, subject: str) -> str:
        noise = float(self.noise.max())
        terms = float(np.nanmax(np.abs(self.given * self.unit[self.columns]), initial=0.0))
        size = max(float(np.abs(self.centre).max()), terms)
        if not ("noise" in self.kinds or noise > NOISY * EPS * size):
            return ""
        return (
            f" {subject} is noisy, or a step function: by about {noise:.1g}, which limits what "
            "differences can tell."
        )

    def result(self, ok: bool, message: str) -> DerivativeCheck:
        """At the worst element; where none was looked at, along the worst direction."""
        found, slope = self.found(), None if self.every else self.worst_slope()
        index: int | Place | None = None
        error = tolerance = given = expected = math.nan
        known = bool(np.isfinite(found.expected).any())
        if slope is not None and not found.wrong.any():
            given, expected = slope.given, slope.expected
            error, tolerance = slope.distance / slope.size, slope.tolerance / slope.size
        elif known:
            at = found.worst()
            index = found.place(at)
            given, expected = float(found.given[at]), float(found.expected[at])
            error, tolerance = (
                float((values / found.size)[at]) for values in (found.distance, found.tolerance)
            )
        whole = known and found.expected.shape == (self.x.size,) * found.expected.ndim
        return DerivativeCheck(
            what=self.what,
            ok=bool(ok),
            error=error,
            tolerance=tolerance,
            index=index,
            given=given,
            expected=expected,
            differences=found.expected if whole else None,
            uncertainty=found.error if whole else None,
            nfev=self.code.nfev,
            njev=self.code.njev,
            message=message,
        )
