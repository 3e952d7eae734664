"""How time grows with n, on the chained Rosenbrock function."""

import statistics
import time
from itertools import pairwise

from .libraries import (
    INTERPRETED,
    LIBRARIES,
    QUASI_NEWTON,
    minimizer,
    rosenbrock,
    rosenbrock_start,
)

# Far from convergence at every n, so that all solves are equally long.
LIMITS = {"maxiter": 20}
SIZES = (100, 1_000, 10_000)
# Above it no n x n matrix.
MOST_DENSE = 1_000


class Scaling:
    """Twenty iterations."""

    params = (INTERPRETED, QUASI_NEWTON, SIZES)
    param_names = ("library", "method", "n")
    timeout = 120

    def setup(self, library: str, method: str, n: int) -> None:
        if n > MOST_DENSE and not method.startswith("l-bfgs"):
            raise NotImplementedError("no n x n matrix of this size")
        if (library, n) == ("nlopt", MOST_DENSE) and method == "bfgs":
            raise NotImplementedError("SLSQP solves a subproblem in O(n^3)")
        self.minimize = minimizer(library, method)
        self.x0 = rosenbrock_start(n)
        # What is loaded at the first use is no part of what grows.
        self.minimize(rosenbrock, self.x0, jac=True, options={"maxiter": 1})

    def time_minimize(self, library: str, method: str, n: int) -> None:
        self.minimize(rosenbrock, self.x0, jac=True, options=LIMITS)


class DenseIteration:
    """An iteration of BFGS with 1000 variables: the update of a matrix of a million numbers."""

    params = (LIBRARIES,)
    param_names = ("library",)
    unit = "ms"
    timeout = 120

    def setup(self, library: str) -> None:
        self.minimize = minimizer(library, "bfgs")
        self.x0 = rosenbrock_start(1000)

    def track_time_per_iteration(self, library: str) -> float:
        """Median over the iterations of one solve."""
        ends: list[float] = []

        def callback(x: object) -> None:
            ends.append(time.perf_counter())

        self.minimize(rosenbrock, self.x0, jac=True, options=LIMITS, callback=callback)
        return round(1e3 * statistics.median(end - start for start, end in pairwise(ends)), 3)
