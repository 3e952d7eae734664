"""What one call costs on a small problem, and how much of that is the solver's own."""

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import numpy as np
from numba import njit

import fastopt
from fastopt.interface.methods import METHODS

from . import installed, peers
from .libraries import (
    INTERPRETED,
    JAX,
    LIBRARIES,
    jax_minimizer,
    jax_rosenbrock,
    minimizer,
    rosenbrock,
    rosenbrock_start,
)

LIMITS = {"maxiter": 100}
MEASURED_SECONDS = 0.1
QUASI_NEWTON = ("bfgs", "l-bfgs")


class Minimize:
    """One call, from its arguments to its result: at most 100 iterations on Rosenbrock."""

    params = (INTERPRETED, list(METHODS), (2, 10))
    param_names = ("library", "method", "n")

    def setup(self, library: str, method: str, n: int) -> None:
        self.solve = minimizer(library, method)
        self.x0 = rosenbrock_start(n)
        self.time_minimize(library, method, n)

    def time_minimize(self, library: str, method: str, n: int) -> None:
        self.solve(rosenbrock, self.x0, jac=True, options=LIMITS)


class MinimizeCompiled:
    """The same call with a compiled function: jitted by Numba, or with all of the solve by JAX."""

    params = ((*LIBRARIES, "nlopt", *JAX), QUASI_NEWTON, (2, 10, 100))
    param_names = ("library", "method", "n")

    def setup(self, library: str, method: str, n: int) -> None:
        x0 = rosenbrock_start(n)
        if library in JAX:
            jax = installed.jax()
            solve = jax.jit(
                jax_minimizer(library, method, jax_rosenbrock, gtol=1e-5, maxiter=5_000)
            )
            start = jax.numpy.asarray(x0)
            self.solve = lambda: jax.block_until_ready(solve(start))
            if np.abs(rosenbrock(np.asarray(self.solve()[0]))[1]).max() > 1e-3:
                raise NotImplementedError(f"{library} ends elsewhere")
        else:
            options = {"maxiter": 5_000} | ({"compile": True} if library == "fastopt" else {})
            solve = minimizer(library, method)
            self.solve = partial(solve, rosenbrock_pair, x0, jac=True, options=options)
        self.solve()

    def time_minimize(self, library: str, method: str, n: int) -> None:
        self.solve()


@njit
def rosenbrock_pair(x):
    grad = np.empty_like(x)
    return peers.rosenbrock(x, grad), grad


class InsideNjit:
    """A call from the caller's own compiled code, which makes a thousand of them."""

    params = (("bfgs", "l-bfgs", "newton-cg", "adam"),)
    param_names = ("method",)
    unit = "us"
    timeout = 120

    def setup(self, method: str) -> None:
        solve_all = peers.solve_all(peers.rosenbrock, method, (), False)
        starts = np.tile(rosenbrock_start(2), (1000, 1))
        limits = {"lr": 1e-2} if method == "adam" else {}
        options = fastopt.Options(maxiter=100, **limits)
        self.solve = partial(solve_all, starts, (), options)
        self.solve()

    def track_microseconds_per_call(self, method: str) -> float:
        seconds = []
        for _ in range(5):
            started = time.perf_counter()
            self.solve()
            seconds.append(time.perf_counter() - started)
        return round(1e3 * min(seconds), 3)


class OwnTime:
    """The same calls with a recording in place of the function: what remains is the solver.

    Recorded values and gradients are handed out in the recorded order, so the solver takes the
    same path, and the little that handing out costs is measured and subtracted.
    """

    params = (LIBRARIES, list(METHODS))
    param_names = ("library", "method")
    unit = "us"
    n = 10

    def setup(self, library: str, method: str) -> None:
        self.minimize = minimizer(library, method)
        self.x0 = rosenbrock_start(self.n)
        self.recording: list[tuple[float, np.ndarray]] = []

        def record(x: np.ndarray) -> tuple[float, np.ndarray]:
            self.recording.append(rosenbrock(x))
            return self.recording[-1]

        self.nfev = self.solve(record)
        self.cost_of_reply = min(self.seconds_of_replies() for _ in range(20)) / self.nfev

    def solve(self, fun: Callable[[np.ndarray], tuple[float, np.ndarray]]) -> int:
        return self.minimize(fun, self.x0, jac=True, options=LIMITS).nfev

    def replay(self) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
        reply = iter(self.recording).__next__
        return lambda x: reply()

    def seconds_of_replies(self) -> float:
        fun = self.replay()
        started = time.perf_counter()
        for _ in self.recording:
            fun(self.x0)
        return time.perf_counter() - started

    def seconds_of_solves(self) -> list[float]:
        seconds = []
        end = time.perf_counter() + MEASURED_SECONDS
        while time.perf_counter() < end:
            fun = self.replay()
            started = time.perf_counter()
            self.solve(fun)
            seconds.append(time.perf_counter() - started)
        return seconds

    def track_own_time_per_evaluation(self, library: str, method: str) -> float:
        """Median over solves, in microseconds."""
        total = statistics.median(self.seconds_of_solves())
        return round(1e6 * (total / self.nfev - self.cost_of_reply), 3)


class BesideBusyThread:
    """How many times longer solves take, on average, beside a thread that wants the GIL, too.

    2 is a fair share of the interpreter: most solves are shorter than the 5 ms after which it lets
    another thread run, so more is what a solver pays for letting go of the GIL by itself.
    """

    params = (LIBRARIES, (*QUASI_NEWTON, "newton-cg", "adam"))
    param_names = ("library", "method")
    unit = "times"

    def setup(self, library: str, method: str) -> None:
        self.own = OwnTime()
        self.own.setup(library, method)

    def track_slowdown(self, library: str, method: str) -> float:
        alone, beside = (
            # A mean, since the few solves that wait are what it is about; three, since the rest of
            # the machine makes some wait as well.
            min(self.mean_seconds(company) for _ in range(3))
            for company in (nullcontext, busy_thread)
        )
        return round(beside / alone, 2)

    def mean_seconds(self, company: Callable[[], object]) -> float:
        with company():
            return statistics.fmean(self.own.seconds_of_solves())


@contextmanager
def busy_thread() -> Iterator[None]:
    """A thread that computes in Python, and so asks for the GIL all the time."""
    done = False

    def count() -> None:
        while not done:
            sum(range(100))

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield
    finally:
        done = True
        thread.join()
