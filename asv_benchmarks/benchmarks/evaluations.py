"""Evaluations to a common accuracy, on the problems of Moré, Garbow & Hillstrom.

A library's own stopping test plays no part: what counts is when it first gets there.
"""

import math

import numpy as np

from fastopt.testing import more_garbow_hillstrom, problem

from .libraries import LIBRARIES, QUASI_NEWTON, minimizer

ACCURACY = 1e-8

# Off, or as good as: a solve ends when its library can get no further.
LIMITS = {"gtol": 1e-12, "ftol": 0.0, "maxiter": 10_000}


class Evaluations:
    """Until f - f* is at most 1e-8 of what it was at the start; nan if that is never."""

    params = (LIBRARIES, QUASI_NEWTON, [each.name for each in more_garbow_hillstrom()])
    param_names = ("library", "method", "problem")
    unit = "evaluations"

    def setup(self, library: str, method: str, name: str) -> None:
        self.problem = problem(name)
        if not self.problem.minima:
            raise NotImplementedError("no minimum is published")
        self.minimize = minimizer(library, method)
        self.options = {
            option: value
            for option, value in LIMITS.items()
            if option != "ftol" or method == "l-bfgs"
        }

    def track_nfev(self, library: str, method: str, name: str) -> float:
        values: list[float] = []

        def fun(x: np.ndarray) -> tuple[float, np.ndarray]:
            values.append(self.problem.fun(x))
            return values[-1], self.problem.grad(x)

        self.minimize(fun, self.problem.x0, jac=True, options=self.options)
        return evaluations_to_a_minimum(values, self.problem.minima)


def evaluations_to_a_minimum(values: list[float], minima: tuple[float, ...]) -> float:
    """Which of the published minima a solve finds is luck: the one that it came closest to."""
    best = min(value for value in values if math.isfinite(value))
    minimum = min(minima, key=lambda each: abs(best - each))
    enough = minimum + ACCURACY * (values[0] - minimum)
    reached = (index for index, value in enumerate(values, start=1) if value <= enough)
    return next(reached, math.nan)
