"""How time and memory grow with n, on the chained Rosenbrock function."""

import statistics
import time
from itertools import pairwise

from .libraries import LIBRARIES, QUASI_NEWTON, minimizer, rosenbrock, rosenbrock_start

# Far from convergence at every n, so that all solves are equally long.
LIMITS = {"maxiter": 20}


class Scaling:
    """Twenty iterations."""

    params = (LIBRARIES, QUASI_NEWTON, (10, 100, 1000))
    param_names = ("library", "method", "n")

    def setup(self, library: str, method: str, n: int) -> None:
        self.minimize = minimizer(library, method)
        self.x0 = rosenbrock_start(n)
        # What is loaded at the first use is no part of what grows.
        self.minimize(rosenbrock, self.x0, jac=True, options={"maxiter": 1})

    def time_minimize(self, library: str, method: str, n: int) -> None:
        self.minimize(rosenbrock, self.x0, jac=True, options=LIMITS)

    def peakmem_minimize(self, library: str, method: str, n: int) -> None:
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
