"""What `check_grad` does beside comparing: state between calls, and the words for a gradient."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastopt.testing.calls import Code
from fastopt.testing.columns import COORDINATES, NOISY, ColumnCheck, Settings
from fastopt.testing.diagnosis import Comparison, name_gradient_mistake, shown
from fastopt.testing.differences import EPS, SAFETY
from fastopt.testing.verdict import DerivativeCheck, not_finite

__all__ = ["check_gradient"]

Vector = NDArray[np.float64]

# So much of the change of a value across its variable's size is no noise, if it comes from nothing.
STATE = 1e-3


def check_gradient(code: Code, x: Vector, settings: Settings) -> DerivativeCheck:
    with code.turn, code.held():
        value, gradient = code.evaluate(x)
        broken = not_finite("gradient", code, ("fun", np.array([value])), ("gradient", gradient))
        if broken is not None:
            return broken
        with np.errstate(all="ignore"):
            return GradientCheck(code, x, value, gradient, settings).run()


class GradientCheck(ColumnCheck):
    what, word, source = "gradient", "Component", "the function"
    missing = "gradient"

    def __init__(
        self, code: Code, x: Vector, value: float, gradient: Vector, settings: Settings
    ) -> None:
        self.value, self.gradient = value, gradient
        self.repeats = True
        every = x.size <= COORDINATES
        super().__init__(code, code.value, x, np.array([value]), gradient[None], every, settings)

    def product(self, direction: Vector) -> Vector:
        return np.array([self.gradient @ direction])

    def terms_along(self, direction: Vector, product: Vector, expected: Vector) -> Vector:
        return np.array([np.linalg.norm(self.gradient * direction)])

    def allowance_along(self, direction: Vector, product: Vector) -> Vector:
        return self.rtol * self.terms_along(direction, product, product)

    def run(self) -> DerivativeCheck:
        self.compare()
        if self.every and not self.wrong.any():
            # Right along each axis, it may be wrong along others: of no differentiable function.
            for _ in range(self.directions):
                self.look_along(self.random_direction())
        stale = self.state_between_calls()
        if stale and not self.wrong.any():
            return self.result(False, stale)
        return self.verdict()

    def found(self) -> Comparison:
        return self.comparison().part((0, slice(None)))

    def complaint(self, found: Comparison) -> str:
        (i,) = found.worst()
        for kind in ("kink", "jump"):
            if (0, i) in self.kinds.get(kind, []):
                return (
                    f"Component {i} looks wrong: given {shown(self.gradient[i])}, but the function "
                    f"has a {kind} at x{self.slopes_at(0, i)}."
                )
        return super().complaint(found)

    def name_mistake(self, found: Comparison) -> str:
        mistake = name_gradient_mistake(self.x, found)
        if not mistake and found.wrong.sum() > 1 and self.is_frozen():
            return (
                "the gradient is the same at another point, where fun's is not: it may not be "
                "computed from x"
            )
        return mistake

    def is_frozen(self) -> bool:
        """Whether the gradient is that of x elsewhere, too, though the function is not linear."""
        step = 0.1 * self.random_direction()
        if not np.array_equal(self.code.gradient(self.x + step), self.gradient):
            return False
        sides = self.code.value(self.x + step) + self.code.value(self.x - step)
        bend = float(sides[0]) - 2.0 * self.value
        return bool(abs(bend) > 1e3 * max(self.noise[0], EPS * abs(self.value)))

    def extent(self) -> str:
        n = self.x.size
        found = self.found()
        little = SAFETY * found.error > 0.1 * found.terms
        vague = int((little & (found.terms > 0.0)).sum())
        of = f" in all {n} components" if n > 1 else ""
        if vague:
            of += f", though differences tell little of {vague} small one{'s'[: vague > 1]}"
        return of

    def remarks(self) -> str:
        remarks = super().remarks()
        if not self.repeats:
            remarks += " It gives different values at the same x."
        if "edge" in self.kinds:
            remarks += " The function is finite on one side of x only, for some variables."
        if blind := self.kinds.get("blind"):
            where = f"component {blind[0][1]}" if blind[0] else "a random direction"
            remarks += (
                f" Along {where} the function is finite nowhere around x, and nothing can be told."
            )
        slope = self.worst_slope()
        if self.every and slope is not None and slope.wrong.any():
            remarks += (
                " But the slope along a random direction does not follow from them: the function "
                "does not look differentiable at x."
            )
        return remarks

    def state_between_calls(self) -> str:
        """A gradient that depends on which point came before is worse than a wrong one."""
        # Right after other points were asked for values: what is kept of those shows now.
        if callable(self.code.jac):
            gradient, value = self.code.gradient(self.x), float(self.code.value(self.x)[0])
        else:
            value, gradient = self.code.evaluate(self.x)
        change = abs(value - self.value)
        across_size = float(np.max(np.abs(self.gradient * self.unit)))
        if not change <= STATE * max(across_size, self.rtol * abs(self.value)):
            return (
                f"The function gives different values at the same x: {shown(self.value)}, then "
                f"{shown(value)}. It is random, or keeps something between calls."
            )
        self.repeats = change <= NOISY * EPS * abs(self.value)
        excess = np.abs(gradient - self.gradient) - self.allowance()[0]
        if (excess <= 0.0).all():
            return ""
        i = int(np.argmax(np.where(np.isnan(excess), np.inf, excess)))
        return (
            f"The gradient is another one when it is evaluated at the same x again: component {i} "
            f"is {shown(self.gradient[i])}, then {shown(gradient[i])}. Something is kept between "
            "calls."
        )
