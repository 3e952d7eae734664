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
    describe,
    name_entry_mistake,
    other_entries,
    shown,
    shown_place,
)
from fastopt.testing.differences import EPS, Reading, measure, noise_along
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
        # Of each element the numbers of its reading: expected, error, low and high.
        self.read = np.full((4, *given.shape), np.nan)
        # A power of two of the size of each variable: steps of that scale add without rounding.
        with np.errstate(divide="ignore"):
            exponent = np.where(x == 0.0, 0.0, np.round(np.log2(np.abs(x))))
        self.unit: Vector = np.exp2(np.clip(exponent, -1000.0, 960.0))
        self.confirmed = 0
        self.slopes: list[Comparison] = []  # of one component each, along a random direction
        self.kinds: dict[str, list[Place]] = {}
        self.mistakes: list[str] = []
        self.noise = noise_along(self.line(self.random_direction()))

    def product(self, direction: Vector) -> Vector:
        """The derivative along a direction, as given, shape (m,)."""
        raise NotImplementedError

    def allowance_along(self, direction: Vector, product: Vector) -> Vector:
        """What is no mistake of the product."""
        raise NotImplementedError

    def terms_along(self, direction: Vector, product: Vector, expected: Vector) -> Vector:
        """The size of what the components of the product are made up of, as far as it is known."""
        return np.fmax(np.abs(product), np.abs(expected))

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
        self.read[:, :, at] = np.stack(reading.numbers) / unit
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
            self.given = np.hstack((self.given, column))
            unknown = np.full((4, *column.shape), np.nan)
            self.read = np.concatenate((self.read, unknown), axis=2)
            self.columns.append(j)
        return self.columns.index(j)

    def look_along(self, direction: Vector) -> None:
        """Compare a product; where a component is wrong, find a column that is."""
        given = self.product(direction)
        if self.is_broken(given):
            return
        reading, allowance = self.measure_along(direction, given, thorough=True)
        if not self.every:
            self.note(next(filter(None, reading.kind), ""), ())
        terms = self.terms_along(direction, given, reading.value)
        i = self.add_slope(reading, given, allowance, terms)
        if i is None:
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
        terms = np.maximum(np.abs(self.given), np.abs(self.read[0]))
        expected, error, low, high = self.read
        allowance = self.allowance()
        return Comparison(self.given, expected, error, low, high, allowance, terms, self.columns)

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
        self, reading: Reading, given: Vector, allowance: Vector, terms: Vector
    ) -> int | None:
        """Judge what was found along a direction: the component whose mistake is to be located."""
        if not np.isfinite(reading.value).any():
            return None
        found = Comparison(given, *reading.numbers, allowance, terms)
        # Even what is no mistake of the slope may be one of a component.
        limit = found.tolerance(SCREENING)
        i = int(np.nanargmax(found.distance / np.fmax(limit, 1e-300)))
        self.slopes.append(found.part([i]))
        suspicious = found.distance[i] > limit[i] and not (self.every or self.wrong.any())
        return i if suspicious else None

    def worst_slope(self) -> Comparison | None:
        def excess(slope: Comparison) -> float:
            return float(slope.distance[0] / (slope.tolerance()[0] or slope.size[0]))

        return max(self.slopes, key=excess, default=None)

    def note(self, kind: str, at: Place) -> None:
        if kind:
            self.kinds.setdefault(kind, []).append(at)

    def verdict(self) -> DerivativeCheck:
        found, slope = self.found(), None if self.every else self.worst_slope()
        vague = slope is not None and slope.wrong.any()
        nothing = slope is None and not np.isfinite(found.expected).any()
        parts = self.mistakes
        if found.wrong.any():
            parts = [self.complaint(found), *parts]
        elif nothing and parts:
            parts = [f"The {self.what} looks wrong.", *parts]
        elif nothing:
            parts = [f"Nothing could be compared: {self.source} is not finite around x."]
        elif slope is not None and vague:
            parts = [
                f"The {self.what} looks wrong along a random direction, but in no one "
                f"{self.word.lower()} that could be found: {describe(slope, (0,), ' along it')}.",
                *parts,
            ]
        elif parts:
            parts = [*parts, f"The {self.what} agrees with differences of {self.source}."]
        else:
            parts = [self.agreement()]
        ok = not (found.wrong.any() or self.mistakes or vague or nothing)
        return self.result(ok, " ".join(parts) + self.doubt())

    def found(self) -> Comparison:
        """The comparison in the shape of what is checked."""
        return self.comparison()

    def complaint(self, found: Comparison) -> str:
        at = found.worst()
        mistake = self.name_mistake(found)
        place = shown_place(found.place(at))
        message = f"{self.word} {place} looks wrong: {describe(found, at)}"
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
        low, high = self.read[2:, i, self.columns.index(j)]
        return f", with slopes of {shown(low)} and {shown(high)}"

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
        known = bool(np.isfinite(found.expected).any())
        whole = known and found.expected.shape == (self.x.size,) * found.expected.ndim
        best = found if slope is None or found.wrong.any() else slope
        at = best.worst() if known or best is slope else None
        error = tolerance = given = expected = math.nan
        if at is not None:
            given, expected = float(best.given[at]), float(best.expected[at])
            error, tolerance = (
                float(values[at] / best.size[at]) for values in (best.distance, best.tolerance())
            )
        return DerivativeCheck(
            what=self.what,
            ok=bool(ok),
            error=error,
            tolerance=tolerance,
            index=found.place(at) if at is not None and best is found else None,
            given=given,
            expected=expected,
            differences=found.expected if whole else None,
            uncertainty=found.error if whole else None,
            nfev=self.code.nfev,
            njev=self.code.njev,
            message=message,
        )
