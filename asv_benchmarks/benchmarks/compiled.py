"""Compiled objectives: Python's and C's libraries that call the same function, batch by batch.

Each is timed from inside. README.md in asv_benchmarks/native says how the C and C++ libraries are
built and what ends a solve; JAX's map one compiled solve over the batch.
"""

from collections.abc import Callable
from itertools import product

from .peers import (
    EVERYONE,
    FIT_ITERATIONS,
    Solutions,
    has_converged,
    least_squares_fits,
    poisson_fits,
    rosenbrock_problems,
    solver,
)

METHODS = ("bfgs", "l-bfgs")
FITS = {"least squares": least_squares_fits, "poisson": poisson_fits}
# JAX's lockstep lasts as long as the slowest fit: a second for so many.
FITS_IN_ALL = 2_000
MEASUREMENTS = 5
# After so many seconds there is no further one.
ENOUGH = 2.0

Found = dict[tuple[str, ...], dict[str, float]]


def measured(solve: Callable[[], Solutions]) -> list[Solutions]:
    """The first compiles, for those who compile for the size of a batch."""
    solve()
    runs: list[Solutions] = []
    while len(runs) < MEASUREMENTS and sum(each.seconds for each in runs) < ENOUGH:
        runs.append(solve())
    return runs


def measure_all(benchmark) -> Found:
    """All combinations in one process, where each function is compiled once."""
    libraries, *rest = benchmark.params
    found: Found = {}
    for others in product(*rest):
        for library in libraries:
            try:
                found[library, *others] = benchmark.measure(library, *others)
            except NotImplementedError:
                continue
    return found


class MeasuredOnce:
    """Looks up what `measure_all` found; asv tells caches apart by their lines, so each class
    has its own."""

    timeout = 600

    def setup(self, found: Found, *combination: str) -> None:
        if combination not in found:
            raise NotImplementedError(f"{combination[0]} is not installed, or lacks this")


class Rosenbrock(MeasuredOnce):
    """One of many solves from the standard start, on one thread."""

    params = (list(EVERYONE), METHODS, (2, 10))
    param_names = ("library", "method", "n")

    def setup_cache(self) -> Found:
        return measure_all(self)

    setup_cache.timeout = 900

    def measure(self, library: str, method: str, n: int) -> dict[str, float]:
        problems = rosenbrock_problems(n, 2_000)
        solve = solver(library, method)
        runs = measured(lambda: solve(problems))
        seconds = min(each.seconds for each in runs)
        return {
            "microseconds": round(1e6 * seconds / len(problems.starts), 3),
            "evaluations": int(runs[0].answers["nfev"][0]),
        }

    def track_microseconds_per_solve(self, found: Found, *combination: str) -> float:
        return found[combination]["microseconds"]

    track_microseconds_per_solve.unit = "us"

    def track_nfev(self, found: Found, *combination: str) -> float:
        return found[combination]["evaluations"]

    track_nfev.unit = "evaluations"


class GaussianFits(MeasuredOnce):
    """Fits of a line's four parameters to 50 points, on two threads."""

    params = (list(EVERYONE), METHODS, list(FITS))
    param_names = ("library", "method", "likelihood")

    def setup_cache(self) -> Found:
        return measure_all(self)

    setup_cache.timeout = 900

    def measure(self, library: str, method: str, likelihood: str) -> dict[str, float]:
        problems = FITS[likelihood](FITS_IN_ALL)
        solve = solver(library, method)
        runs = measured(lambda: solve(problems, threads=2, maxiter=FIT_ITERATIONS))
        return {
            "rate": round(len(problems.starts) / min(each.seconds for each in runs)),
            "converged": float(has_converged(runs[0]).mean()),
        }

    def track_fits_per_second(self, found: Found, *combination: str) -> float:
        return found[combination]["rate"]

    track_fits_per_second.unit = "fits/s"

    def track_converged(self, found: Found, *combination: str) -> float:
        """The share of fits whose gradient is small enough in the end."""
        return found[combination]["converged"]

    track_converged.unit = "share"
