"""Evaluations to a common accuracy, on the problems of Moré, Garbow & Hillstrom.

A library's own stopping test plays no part: what counts is when it first gets there.
``python -m benchmarks.solved`` is for all methods and starts.
"""

import math

import numpy as np

from fastopt.testing import Problem, more_garbow_hillstrom

from .libraries import INTERPRETED, QUASI_NEWTON, minimizer

ACCURACY = 1e-8

# Off, or as good as: a solve ends when its library can get no further.
LIMITS = {"gtol": 1e-12, "ftol": 0.0, "maxiter": 1_000}


class Evaluations:
    """Until f - f* is at most 1e-8 of what it was at the start, on all with a known minimum."""

    params = (INTERPRETED, (*QUASI_NEWTON, "cg"))
    param_names = ("library", "method")
    timeout = 300

    def setup_cache(self) -> dict[tuple[str, str], list[float]]:
        found = {}
        for library in INTERPRETED:
            for method in self.params[1]:
                try:
                    minimize = minimizer(library, method)
                except NotImplementedError:
                    continue
                takes_ftol = method.startswith("l-bfgs")
                options = {k: v for k, v in LIMITS.items() if k != "ftol" or takes_ftol}
                found[library, method] = [
                    evaluations(minimize, options, each)
                    for each in more_garbow_hillstrom()
                    if each.minima
                ]
        return found

    setup_cache.timeout = 600

    def setup(self, found: dict[tuple[str, str], list[float]], library: str, method: str) -> None:
        if (library, method) not in found:
            raise NotImplementedError(f"{library} has no {method}, or is not installed")

    def track_nfev(
        self, found: dict[tuple[str, str], list[float]], library: str, method: str
    ) -> float:
        """The geometric mean over the problems on which it gets there."""
        reached = [math.log(each) for each in found[library, method] if not math.isnan(each)]
        return round(math.exp(math.fsum(reached) / len(reached)), 2)

    track_nfev.unit = "evaluations"

    def track_solved(
        self, found: dict[tuple[str, str], list[float]], library: str, method: str
    ) -> int:
        return sum(not math.isnan(each) for each in found[library, method])

    track_solved.unit = "problems"


def evaluations(minimize, options: dict[str, float], problem: Problem) -> float:
    """Of a solve, until it gets there; nan if it never does."""
    values: list[float] = []

    def fun(x: np.ndarray) -> tuple[float, np.ndarray]:
        values.append(problem.fun(x))
        return values[-1], problem.grad(x)

    with np.errstate(all="ignore"):
        minimize(fun, problem.x0, jac=True, options=options)
    return evaluations_to_a_minimum(values, problem.minima)


def evaluations_to_a_minimum(values: list[float], minima: tuple[float, ...]) -> float:
    """Which of the published minima a solve finds is luck: the one that it came closest to."""
    best = min(value for value in values if math.isfinite(value))
    minimum = min(minima, key=lambda each: abs(best - each))
    enough = minimum + ACCURACY * (values[0] - minimum)
    reached = (index for index, value in enumerate(values, start=1) if value <= enough)
    return next(reached, math.nan)
