"""What an iteration of L-BFGS costs with many variables, beside everyone who has the method.

``python -m benchmarks.large``, from the folder above, prints for each problem and n the time of an
iteration without the objective, which is timed by itself, inside the function that all call: the
C function of `native.objectives`. It is the difference of a long and a short solve, each the
quickest of several, over the difference of their iterations: what begins and ends a solve cancels
out. m = 10 for everyone.

Beside the times, how they compare with the traffic of memory: in an iteration fastopt reads all
pairs twice, 4 m vectors, and 16 vectors come and go besides (the trial point, s and y, the
direction, each with what it is made of; a vector that is written is fetched before). The bandwidth
is that at which one thread sums up 2 m vectors, measured in the same run.

A dash stands where a library gives up before the long solve's limit. NLopt does not count
iterations: its figure is per evaluation, of which there is at least one in an iteration. torch's
line search is "strong_wolfe".
"""

from __future__ import annotations

import argparse
import ctypes
import math
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.optimize
from scipy import LowLevelCallable

import fastopt

from . import installed, peers  # noqa: F401  (peers finds the folder of `native`)
from .libraries import torch_minimize

from native.library import BARE_LOOP, LIBRARIES, Timed  # isort: skip
from native.objectives import Problems, quartic, quartic_function  # isort: skip
from native.objectives import rosenbrock, rosenbrock_function  # isort: skip

PAIRS = 10
SHORT, LONG = 20, 70
# A short solve is disturbed by more in proportion: 30 rounds for 10 000 variables.
MOST_NOISE = 300_000
SIZES = (10_000, 100_000, 1_000_000)

DOUBLES = ctypes.POINTER(ctypes.c_double)
FUNCTION = ctypes.CFUNCTYPE(
    ctypes.c_int, DOUBLES, DOUBLES, DOUBLES, ctypes.c_ssize_t, ctypes.c_void_p
)
OBJECTIVES = {
    "chained Rosenbrock": (rosenbrock, rosenbrock_function),
    "tridiagonal quartic": (quartic, quartic_function),
}


@dataclass(frozen=True)
class Problem:
    """One of the objectives, as a C function that is timed, and where a solve starts."""

    name: str
    fun: Any
    timed: Timed
    address: int
    x0: np.ndarray

    def value_and_gradient(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """The same function, for callers in Python."""
        gradient = np.empty_like(x)
        value = ctypes.c_double()
        at = [each.ctypes.data_as(DOUBLES) for each in (x, gradient)]
        function = ctypes.cast(self.address, FUNCTION)
        function(at[0], ctypes.byref(value), at[1], x.size, ctypes.addressof(self.timed))
        return value.value, gradient


@dataclass(frozen=True)
class Count:
    seconds: float
    iterations: int


Solve = Callable[[Problem, int], Count]


def problem(name: str, n: int) -> Problem:
    fun, function = OBJECTIVES[name]
    address = ctypes.cast(BARE_LOOP.loaded.harness_timed, ctypes.c_void_p).value
    assert address is not None
    start = np.resize([-1.2, 1.0], n) + 0.1 * np.random.default_rng(0).standard_normal(n)
    return Problem(name, fun, Timed(function.address, None, 0.0, 0), address, start)


def by_fastopt(threads: int) -> Solve:
    def solve(problem: Problem, maxiter: int) -> Count:
        context = ctypes.c_void_p(ctypes.addressof(problem.timed))
        fun = LowLevelCallable(ctypes.cast(problem.address, FUNCTION), context)
        options = {"gtol": 0.0, "ftol": 0.0, "maxiter": maxiter, "maxcor": PAIRS}
        begun = time.perf_counter()
        result = fastopt.minimize(
            fun,
            problem.x0,
            jac=True,
            method="l-bfgs",
            options={**options, "threads": threads},
        )
        return Count(time.perf_counter() - begun, result.nit)

    return solve


def by_scipy(problem: Problem, maxiter: int) -> Count:
    options = {"gtol": 0.0, "ftol": 0.0, "maxiter": maxiter, "maxcor": PAIRS, "maxfun": 10**6}
    begun = time.perf_counter()
    result = scipy.optimize.minimize(
        problem.value_and_gradient, problem.x0, jac=True, method="L-BFGS-B", options=options
    )
    return Count(time.perf_counter() - begun, result.nit)


def by_torch(problem: Problem, maxiter: int) -> Count:
    begun = time.perf_counter()
    result = torch_minimize(
        problem.value_and_gradient, problem.x0, options={"gtol": 0.0, "maxiter": maxiter}
    )
    return Count(time.perf_counter() - begun, result.nit)


def by_native(name: str) -> Solve:
    library = LIBRARIES[name]
    if "l-bfgs" not in library.methods:
        raise NotImplementedError(f"{name} has no L-BFGS")

    def solve(problem: Problem, maxiter: int) -> Count:
        contexts = np.array([ctypes.addressof(problem.timed)], dtype=np.intp)
        function = SimpleNamespace(address=problem.address)
        batch = Problems(problem.name, problem.fun, (), (), function, problem.x0[None], contexts)
        found = library.solve("l-bfgs", batch, gtol=0.0, maxiter=maxiter, pairs=PAIRS)
        answer = found.answers[0]
        return Count(found.seconds, int(answer["nfev" if name == "NLopt" else "iterations"]))

    return solve


def everyone() -> Iterator[tuple[str, Solve]]:
    """Those who are here; says who is missing."""
    yield "fastopt", by_fastopt(1)
    yield "fastopt, two threads", by_fastopt(2)
    yield "SciPy L-BFGS-B", by_scipy
    for name in ("LBFGSpp", "liblbfgs", "NLopt"):
        try:
            yield name, by_native(name)
        except NotImplementedError as missing:
            print(f"without {name}: {missing}")
    try:
        installed.torch()
        yield "torch LBFGS", by_torch
    except NotImplementedError as missing:
        print(f"without torch: {missing}")


@dataclass
class Ends:
    """The quickest short and long solve so far: whatever disturbs one adds to its time."""

    seconds: dict[int, float] = field(default_factory=dict)
    iterations: dict[int, int] = field(default_factory=dict)

    def add(self, solve: Solve, problem: Problem) -> None:
        for maxiter in (SHORT, LONG):
            problem.timed.seconds = 0.0
            count = solve(problem, maxiter)
            seconds = count.seconds - problem.timed.seconds
            self.seconds[maxiter] = min(seconds, self.seconds.get(maxiter, math.inf))
            self.iterations[maxiter] = count.iterations

    def seconds_per_iteration(self) -> float:
        """Without the objective; NaN where both solves end early."""
        iterations = self.iterations[LONG] - self.iterations[SHORT]
        if iterations == 0:
            return math.nan
        return (self.seconds[LONG] - self.seconds[SHORT]) / iterations


def bandwidth(n: int) -> float:
    """Bytes a second at which one thread reads 2 m vectors again and again."""
    numbers = np.ones(2 * PAIRS * n)
    repeats = max(3, 10_000_000 // n)
    for count in (1, repeats):
        begun = time.perf_counter()
        BARE_LOOP.loaded.harness_read(numbers.ctypes.data, numbers.size, count)
    return repeats * numbers.nbytes / (time.perf_counter() - begun)


def peak_memory(n: int) -> float:
    """Doubles for each variable that a solve takes at most, its result included."""
    there = problem("chained Rosenbrock", n)
    solve = by_fastopt(1)
    solve(there, 2)
    tracemalloc.start()
    try:
        solve(there, 30)
        return tracemalloc.get_traced_memory()[1] / 8 / n
    finally:
        tracemalloc.stop()


def print_table(name: str, n: int, solves: dict[str, Solve], rounds: int) -> None:
    there = problem(name, n)
    ends = {key: Ends() for key in solves}
    speeds = []
    for _ in range(max(rounds, MOST_NOISE // n)):
        speeds.append(bandwidth(n))
        for key, solve in solves.items():
            ends[key].add(solve, there)
    found = {key: each.seconds_per_iteration() for key, each in ends.items()}
    speed = statistics.median(speeds)
    bound = (4 * PAIRS + 16) * 8 * n / speed
    print(
        f"\n{name}, n = {n}: traffic of {8e-6 * (4 * PAIRS + 16) * n:.1f} MB at "
        f"{1e-9 * speed:.1f} GB/s takes {1e6 * bound:.0f} us"
    )
    print(f"{'':24}{'us / iteration':>16}{'/ traffic':>12}{'/ fastopt':>12}")
    for key, each in found.items():
        numbers = f"{1e6 * each:16.1f}{each / bound:12.2f}{each / found['fastopt']:12.2f}"
        print(f"{key:24}" + numbers.replace("nan", "  -"))


def main() -> None:
    parser = argparse.ArgumentParser(description="L-BFGS with many variables")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    solves = dict(everyone())
    for name in OBJECTIVES:
        for n in arguments.sizes:
            print_table(name, n, solves, arguments.rounds)
    print("\nPeak memory of fastopt, in vectors (27 of the solver, 2 of the result)")
    for n in arguments.sizes:
        print(f"n = {n:8}: {peak_memory(n):.2f}")


class Large:
    """A solve of twenty iterations, the objective included."""

    params = (
        ("fastopt", "fastopt, two threads", "SciPy L-BFGS-B", "LBFGSpp", "liblbfgs", "torch LBFGS"),
        (10_000, 1_000_000),
    )
    param_names = ("library", "n")
    timeout = 300

    def setup(self, library: str, n: int) -> None:
        found = dict(everyone())
        if library not in found:
            raise NotImplementedError(f"without {library}")
        self.solve = found[library]
        self.problem = problem("chained Rosenbrock", n)
        self.solve(self.problem, 1)

    def time_minimize(self, library: str, n: int) -> None:
        self.solve(self.problem, 20)


if __name__ == "__main__":
    main()
