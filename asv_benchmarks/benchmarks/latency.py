"""What one call costs on a small problem, and how much of that is the solver's own."""

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np

from fastopt.interface.methods import METHODS

from .libraries import LIBRARIES, minimizer, rosenbrock, rosenbrock_start

LIMITS = {"maxiter": 100}
MEASURED_SECONDS = 0.4


class Minimize:
    """One call, from its arguments to its result: at most 100 iterations on Rosenbrock."""

    params = (LIBRARIES, list(METHODS), (2, 5, 10))
    param_names = ("library", "method", "n")

    def setup(self, library: str, method: str, n: int) -> None:
        self.solve = minimizer(library, method)
        self.x0 = rosenbrock_start(n)
        self.time_minimize(library, method, n)

    def time_minimize(self, library: str, method: str, n: int) -> None:
        self.solve(rosenbrock, self.x0, jac=True, options=LIMITS)


class OwnTime:
    """The same calls with a recording in place of the function: what remains is the solver.

    Recorded values and gradients are handed out in the recorded order, so the solver takes the
    same path, and the little that handing out costs is measured and subtracted.
    """

    params = (LIBRARIES, list(METHODS), (2, 10), ("alone", "busy thread"))
    param_names = ("library", "method", "n", "beside")
    unit = "us"

    def setup(self, library: str, method: str, n: int, beside: str) -> None:
        self.minimize = minimizer(library, method)
        self.x0 = rosenbrock_start(n)
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

    def seconds_of_solves(self, beside: str) -> list[float]:
        seconds = []
        with busy_thread() if beside == "busy thread" else nullcontext():
            end = time.perf_counter() + MEASURED_SECONDS
            while time.perf_counter() < end:
                fun = self.replay()
                started = time.perf_counter()
                self.solve(fun)
                seconds.append(time.perf_counter() - started)
        return seconds

    def track_own_time_per_evaluation(
        self, library: str, method: str, n: int, beside: str
    ) -> float:
        """Median over solves, in microseconds.

        Most solves are shorter than the 5 ms after which the interpreter lets another thread
        run, so beside a busy thread the median shows what a solver pays for letting go of the GIL
        by itself.
        """
        total = statistics.median(self.seconds_of_solves(beside))
        return round(1e6 * (total / self.nfev - self.cost_of_reply), 3)


class BesideBusyThread:
    """How many times longer solves take, on average, beside a thread that wants the GIL, too.

    2 is a fair share of the interpreter.
    """

    params = (LIBRARIES, list(METHODS))
    param_names = ("library", "method")
    unit = "times"

    def setup(self, library: str, method: str) -> None:
        self.own = OwnTime()
        self.own.setup(library, method, 10, "busy thread")

    def track_slowdown(self, library: str, method: str) -> float:
        alone, beside = (
            # A mean, since the few solves that wait are what it is about; three, since the rest of
            # the machine makes some wait as well.
            min(statistics.fmean(self.own.seconds_of_solves(each)) for _ in range(3))
            for each in ("alone", "busy thread")
        )
        return round(beside / alone, 2)


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
