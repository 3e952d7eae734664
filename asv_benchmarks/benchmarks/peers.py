"""Everyone who can solve a batch of problems with a compiled objective, behind one call.

``python -m benchmarks.peers``, from the folder above, prints all of them side by side.
"""

import statistics
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np

__all__ = [
    "BARE_LOOP",
    "EVERYONE",
    "FIT_ITERATIONS",
    "LIBRARIES",
    "Solutions",
    "has_converged",
    "least_squares_fits",
    "poisson_fits",
    "rosenbrock",
    "rosenbrock_problems",
    "solve_all",
    "solver",
]

# `native` lies beside this package, where asv does not look.
sys.path.append(str(Path(__file__).parents[1]))

from native.library import BARE_LOOP, LIBRARIES, Solutions
from native.objectives import (
    Problems,
    least_squares_fits,
    poisson_fits,
    rosenbrock,
    rosenbrock_near,
    rosenbrock_problems,
    rosenbrock_scattered,
)

from .paths import PATHS, solve_all

EVERYONE = {**PATHS, **LIBRARIES}

GTOL = 1e-5

# Of a fit, which takes a tenth of them at most unless its library is lost in rounding errors.
FIT_ITERATIONS = 300

# So many solves are timed as one: a batch of them takes 20 ms or more.
REPEATS = {2: 10_000, 10: 2_000, 100: 40}

Solve = Callable[..., Solutions]


def solver(library: str, method: str) -> Solve:
    """``solve(problems, threads=1, maxiter=...) -> Solutions``."""
    if method not in EVERYONE[library].methods:
        raise NotImplementedError(f"{library} has no {method}")
    return partial(EVERYONE[library].solve, method, gtol=GTOL)


def everyone() -> dict[tuple[str, str], Solve]:
    """By library and method; says which are missing here."""
    found = {}
    for name, library in EVERYONE.items():
        try:
            found |= {(name, method): solver(name, method) for method in library.methods}
        except NotImplementedError as missing:
            print(f"without {name}: {missing}")
    return found


def has_converged(solutions: Solutions) -> np.ndarray:
    """Whether the gradient at each answer is small enough: the harness computes it once more."""
    return solutions.answers["gradient_norm"] <= GTOL


def measure_in_turn(
    found: dict[tuple[str, str], Solve], problems: Problems, rounds: int, **options: int
) -> dict[tuple[str, str], tuple[float, Solutions]]:
    """Median seconds of a batch, each library once a round, and its last answers."""
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in found}
    for _ in range(rounds + 1):
        answers = {key: solve(problems, **options) for key, solve in found.items()}
        for key in found:
            seconds[key].append(answers[key].seconds)
    return {key: (statistics.median(seconds[key][1:]), answers[key]) for key in found}


def print_solves(found: dict[tuple[str, str], Solve], rounds: int = 15) -> None:
    """Rosenbrock: from the standard start, and from one nearby."""
    columns = [rosenbrock_problems(n, count) for n, count in REPEATS.items()]
    columns += [rosenbrock_near(n, count) for n, count in REPEATS.items() if n > 2]
    results = [measure_in_turn(found, problems, rounds) for problems in columns]
    print("\nMicroseconds a solve (evaluations); ! where the gradient is not small enough\n")
    print(f"{'':36}" + "".join(f"{problems.name:>21}" for problems in columns))
    alone = [BARE_LOOP.evaluate(each, repeats=1000) / len(each.starts) for each in columns]
    print(f"{'one evaluation':36}" + "".join(f"{1e3 * each:12.4f}{'':9}" for each in alone))
    for key in by_method(found):
        row = title(key)
        for problems, result in zip(columns, results, strict=True):
            seconds, solutions = result[key]
            mark = " " if has_converged(solutions).all() else "!"
            nfev = solutions.answers["nfev"][0]
            row += f"{1e6 * seconds / len(problems.starts):12.2f} ({nfev:5}){mark}"
        print(row)


def print_fits(found: dict[tuple[str, str], Solve], count: int = 10_000, rounds: int = 5) -> None:
    """Many small problems, on one thread and on two."""
    found = {
        key: solve
        for key, solve in found.items()
        if key[1] in ("bfgs", "l-bfgs") and getattr(EVERYONE[key[0]], "takes_args", True)
    }
    for problems in (
        least_squares_fits(count),
        poisson_fits(count),
        rosenbrock_scattered(count // 2),
    ):
        one, two = (
            measure_in_turn(found, problems, rounds, threads=threads, maxiter=FIT_ITERATIONS)
            for threads in (1, 2)
        )
        alone = [
            min(BARE_LOOP.evaluate(problems, repeats=10, threads=threads) for _ in range(rounds))
            for threads in (1, 2)
        ]
        print(f"\n{problems.name}: a second on one thread, on two threads\n")
        print(f"{'ten evaluations':36}" + rates(len(problems.starts), *alone))
        for key in by_method(found):
            solutions = two[key][1]
            failed = (~has_converged(solutions)).sum()
            print(
                title(key)
                + rates(len(problems.starts), one[key][0], two[key][0])
                + f"{solutions.answers['nfev'].mean():10.1f} evaluations"
                + (f", {failed} not converged" if failed else "")
            )


def by_method(keys: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted(keys, key=lambda key: key[1])


def title(key: tuple[str, str]) -> str:
    library, method = key
    return f"{method:24}{library:12}"


def rates(count: int, one: float, two: float) -> str:
    return f"{count / one:12.0f}{count / two:12.0f}  x {one / two:.2f}"


if __name__ == "__main__":
    everyone_found = everyone()
    print_solves(everyone_found)
    print_fits(everyone_found)
