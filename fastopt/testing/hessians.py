"""What `check_hess` and `check_hessp` do beside comparing columns: values, symmetry, linearity.

A Hessian is compared with differences of gradients or, without these, with second differences of
values, entry by entry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt.testing.calls import Code, read_hessian, read_product
from fastopt.testing.columns import COORDINATES, SCREENING, ColumnCheck, Settings
from fastopt.testing.diagnosis import Comparison, name_hessian_mistake, shown
from fastopt.testing.differences import EPS, SAFETY, Reading, measure
from fastopt.testing.lines import Cross
from fastopt.testing.verdict import DerivativeCheck, not_finite

__all__ = ["check_hessian"]

Vector = NDArray[np.float64]

# Up to so many variables each pair of them is looked at, where a Hessian is compared with values.
PAIRS = 20


def check_hessian(
    what: str, code: Code, x: Vector, second: Any, settings: Settings
) -> DerivativeCheck:
    """`second` is `hess`, or `hessp` if `what` is a product."""
    from scipy.sparse import issparse

    n = x.size
    kind, name, limit = HessianCheck, "gradient", COORDINATES
    if code.jac is None:
        kind, name, limit = HessianOfValuesCheck, "fun", PAIRS
    with code.turn, code.held():
        centre = code.value(x) if code.jac is None else code.gradient(x)
        broken = not_finite(what, code, (name, centre))
        if broken is not None:
            return broken
        stored: Any = None
        if what == "Hessian":
            hessian = read_hessian(second(x.copy(), *code.args), n)
            if issparse(hessian) or isinstance(hessian, np.ndarray):
                stored = hessian

            def product(direction: Vector) -> Vector:
                return read_product("`hess`", hessian @ direction, n)

        else:

            def product(direction: Vector) -> Vector:
                return read_product("`hessp`", second(x.copy(), direction.copy(), *code.args), n)

        given = np.empty((n, 0))
        if n <= limit:
            if stored is None:
                stored = np.stack([product(row) for row in np.eye(n)], axis=1)
            given = stored.toarray() if issparse(stored) else stored
            broken = not_finite(what, code, (what, given))
            if broken is not None:
                return broken
        with np.errstate(all="ignore"):
            return kind(what, code, x, centre, given, product, stored, settings).run()


class HessianCheck(ColumnCheck):
    """Against differences of gradients. Of what is `stored`, the symmetry can be seen."""

    word, source = "Entry", "the gradient"

    def __init__(
        self,
        what: str,
        code: Code,
        x: Vector,
        centre: Vector,
        given: Vector,
        product: Callable[[Vector], Vector],
        stored: Any,
        settings: Settings,
    ) -> None:
        self.what, self._product, self.stored = what, product, stored
        every = given.shape[1] == x.size
        function = code.value if code.jac is None else code.gradient
        super().__init__(code, function, x, centre, given, every, settings)

    def product(self, direction: Vector) -> Vector:
        return self._product(direction)

    def allowance_along(self, direction: Vector, product: Vector) -> Vector:
        """The terms of a product are not known: where they cancel, their rounding is left."""
        terms: Vector = float((np.abs(product) * self.unit).max()) / self.unit
        return self.rtol * np.abs(product) + 1e-10 * terms

    def run(self) -> DerivativeCheck:
        self.compare()
        if self.stored is not None:
            self.judge_symmetry(self.stored)
        if self.stored is None or self.what != "Hessian":
            self.judge_products()
        return self.verdict()

    def judge_products(self) -> None:
        """Linearity and, where no matrix shows it, symmetry, between random vectors."""
        u, v = self.random_direction(), self.random_direction()
        along_u, along_v, along_both = (self.product(p) for p in (u, v, u - 3.0 * v))
        if any(self.is_broken(product) for product in (along_u, along_v, along_both)):
            return
        limit = self.allowance_along(u, np.abs(along_u) + 3.0 * np.abs(along_v))
        apart = np.abs(along_both - (along_u - 3.0 * along_v))
        if not (apart <= limit).all():
            i = int(np.argmax(apart / np.fmax(limit, 1e-300)))
            self.mistakes.append(
                f"It is not linear: component {i} of the product with u - 3 v is "
                f"{shown(along_both[i], apart[i] / 100)}, but those of the single products make "
                f"{shown(along_u[i] - 3.0 * along_v[i], apart[i] / 100)}."
            )
        if self.stored is not None:
            return
        left, right = u * along_v, v * along_u
        limit_of_sum = self.rtol * float(np.linalg.norm(left) + np.linalg.norm(right))
        if abs(left.sum() - right.sum()) > limit_of_sum:
            self.mistakes.append(
                f"It is not symmetric: u'Hv is {shown(left.sum())} and v'Hu is "
                f"{shown(right.sum())} for two random directions."
            )

    def judge_symmetry(self, stored: Any) -> None:
        """Note the pair of entries whose difference is largest, if it is more than rounding."""
        rows, columns = (stored != stored.T).nonzero()
        above = rows < columns
        rows, columns = rows[above], columns[above]
        if not rows.size:
            return
        upper = np.asarray(stored[rows, columns]).ravel()
        lower = np.asarray(stored[columns, rows]).ravel()
        diagonal = np.sqrt(np.abs(stored.diagonal()))
        largest = np.maximum(np.abs(upper), np.abs(lower))
        limit = self.rtol * largest + 1e3 * EPS * diagonal[rows] * diagonal[columns]
        apart = np.abs(upper - lower)
        if (apart <= limit).all():
            return
        k = int(np.argmax(apart / np.fmax(limit, 1e-300)))
        i, j = int(rows[k]), int(columns[k])
        self.mistakes.append(
            f"It is not symmetric: [{i}, {j}] is {shown(upper[k], apart[k] / 100)}, [{j}, {i}] is "
            f"{shown(lower[k], apart[k] / 100)}."
        )

    def name_mistake(self, found: Comparison) -> str:
        return name_hessian_mistake(found)

    def doubt(self) -> str:
        """The differences of the gradient may be no Hessian themselves."""
        if not self.every:
            return ""
        expected, error = self.read[:2]
        apart = np.abs(expected - expected.T)
        size = np.maximum(np.abs(expected), np.abs(expected.T))
        limit = SAFETY * (error + error.T) + 10.0 * self.rtol * size
        if not (apart > limit).any():
            return ""
        i, j = np.unravel_index(
            int(np.argmax(np.where(apart > limit, apart / size, -1.0))), apart.shape
        )
        return (
            " The differences are not symmetric, so the gradient itself looks wrong (check_grad): "
            f"[{i}, {j}] {shown(expected[i, j])}, [{j}, {i}] {shown(expected[j, i])}."
        )


class HessianOfValuesCheck(HessianCheck):
    """Against second differences of values, one for each pair of variables or of directions."""

    source = "the function"

    def compare(self) -> None:
        if not self.every:
            for _ in range(self.directions):
                self.look_along_pair(self.random_direction(), self.random_direction())
            return
        for j in self.columns:
            for i in range(j + 1):
                self.look_at_entry(i, j)
                self.read[:, j, i] = self.read[:, i, j]

    def look_at_entry(self, i: int, j: int) -> None:
        at, unit = self.column(j), self.unit[i] * self.unit[j]
        given, allowance = self.given[i, at] * unit, self.allowance()[i, at] * unit
        reading = self.measure_between(self.axis(i), self.axis(j), given, allowance)
        self.read[:, i, at] = np.concatenate(reading.numbers) / unit
        self.note(reading.kind[0], (i, j))

    def look_along_pair(self, u: Vector, v: Vector) -> None:
        """Compare u' H v; where it is wrong, find an entry that is."""
        if self.is_broken(self.product(v)):
            return
        mistake, reading, given, size = self.mistake_between(u, v)
        self.note(reading.kind[0], ())
        terms = np.array([size])
        found = self.add_slope(reading, np.array([given]), self.rtol * terms, terms)
        if found is None:
            return
        j = self.locate(v, mistake, lambda along: self.mistake_between(u, along)[0])
        axis = self.axis(j)
        mistake = self.mistake_between(u, axis)[0]
        i = self.locate(u, mistake, lambda along: self.mistake_between(along, axis)[0])
        self.look_at_entry(i, j)

    def mistake_between(self, u: Vector, v: Vector) -> tuple[float, Reading, float, float]:
        """u' H v less what differences say, these, what was given, and the norm of its terms."""
        terms = u * self.product(v)
        given, size = float(terms.sum()), float(np.linalg.norm(terms))
        reading = self.measure_between(u, v, given, SCREENING * self.rtol * size)
        return given - float(reading.value[0]), reading, given, size

    def measure_between(self, u: Vector, v: Vector, given: float, allowance: float) -> Reading:
        cross = Cross(self.function, self.x, u, v, self.centre)
        return measure(cross, np.array([given]), self.noise, np.array([allowance]))

    def doubt(self) -> str:
        return ""
