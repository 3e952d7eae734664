"""Compiled objectives: C and C++ libraries that call the same function, each timed from inside.

README.md in asv_benchmarks/native says how they are built and what ends a solve.
"""

from functools import partial

from .peers import (
    EVERYONE,
    FIT_ITERATIONS,
    REPEATS,
    Solve,
    Unavailable,
    has_converged,
    least_squares_fits,
    poisson_fits,
    rosenbrock_problems,
    solver,
)

METHODS = ("bfgs", "l-bfgs")
FITS = {"least squares": least_squares_fits, "poisson": poisson_fits}
MEASUREMENTS = 15


def find(library: str, method: str) -> Solve:
    try:
        return solver(library, method)
    except Unavailable as missing:
        raise NotImplementedError(str(missing)) from None


class Rosenbrock:
    """One solve from the standard start, on one thread."""

    params = (list(EVERYONE), METHODS, list(REPEATS))
    param_names = ("library", "method", "n")

    def setup(self, library: str, method: str, n: int) -> None:
        self.problems = rosenbrock_problems(n, REPEATS[n])
        self.solve = partial(find(library, method), self.problems)
        self.solve()

    def track_microseconds_per_solve(self, library: str, method: str, n: int) -> float:
        seconds = min(self.solve().seconds for _ in range(MEASUREMENTS))
        return round(1e6 * seconds / len(self.problems.starts), 3)

    track_microseconds_per_solve.unit = "us"

    def track_evaluations(self, library: str, method: str, n: int) -> int:
        return int(self.solve().answers["nfev"][0])

    track_evaluations.unit = "evaluations"


class GaussianFits:
    """Ten thousand fits of a line's four parameters to 50 points, on two threads."""

    params = (list(EVERYONE), METHODS, list(FITS))
    param_names = ("library", "method", "likelihood")

    def setup(self, library: str, method: str, likelihood: str) -> None:
        self.problems = FITS[likelihood](10_000)
        solve = find(library, method)
        self.solve = partial(solve, self.problems, threads=2, maxiter=FIT_ITERATIONS)
        self.solve()

    def track_fits_per_second(self, library: str, method: str, likelihood: str) -> int:
        seconds = min(self.solve().seconds for _ in range(MEASUREMENTS))
        return round(len(self.problems.starts) / seconds)

    track_fits_per_second.unit = "fits/s"

    def track_converged(self, library: str, method: str, likelihood: str) -> float:
        """The share of fits whose gradient is small enough in the end."""
        return float(has_converged(self.solve()).mean())

    track_converged.unit = "share"
