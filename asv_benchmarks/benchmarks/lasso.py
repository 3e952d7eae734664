"""The lasso, fastopt's FISTA beside coordinate descent: time to a given accuracy.

``python -m benchmarks.lasso``, from the folder above, prints a table for each data set.

**The objective**, the same for all, is half the mean of the squared residuals and ``l1`` times the
sum of magnitudes of the coefficients, without intercept. ``l1`` is a part of the least with which
all of them are zero.

**What ends a solve** is each library's own test. fastopt's is of the smallest subgradient, at most
1e-6 times that least weight; the others' tolerance is the largest of 1e-3 divided by powers of 4
with which their answer is as good. All answers are judged by one NumPy function.

**What is timed** is the call, from data in memory to coefficients, without compiling, on one core.
``split`` is fastopt's L-BFGS-B on the positive and negative parts of the coefficients.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import fastopt

from . import installed
from .losses import OnOneThread

ACCURACY = 1e-6
DIVISIONS = 20
ROUNDS = 7
MAXITER = 100_000

Solve = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Data:
    """A lasso problem; the columns of X are correlated, each with the next."""

    X: np.ndarray
    y: np.ndarray
    share: float

    @property
    def largest(self) -> float:
        """The least weight with which all coefficients are zero."""
        return float(np.abs(self.X.T @ self.y).max()) / len(self.y)

    @property
    def l1(self) -> float:
        return self.share * self.largest

    def error(self, coef: np.ndarray) -> float:
        """The largest magnitude in the smallest subgradient, over the largest useful weight."""
        slopes = self.X.T @ (self.X @ coef - self.y) / len(self.y)
        at_zero = np.maximum(np.abs(slopes) - self.l1, 0.0)
        elsewhere = np.abs(slopes + self.l1 * np.sign(coef))
        return float(np.where(coef == 0, at_zero, elsewhere).max()) / self.largest


def make(n: int, p: int, correlation: float, share: float) -> Data:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p))
    for j in range(1, p):
        X[:, j] = correlation * X[:, j - 1] + np.sqrt(1.0 - correlation**2) * X[:, j]
    truth = np.where(rng.random(p) < 0.1, rng.standard_normal(p), 0.0)
    return Data(X, X @ truth + rng.standard_normal(n), share)


DATA = {
    "500 x 50, 0.1": partial(make, 500, 50, 0.5, 0.1),
    "500 x 50, 0.01": partial(make, 500, 50, 0.5, 0.01),
    "2000 x 500, 0.1": partial(make, 2_000, 500, 0.9, 0.1),
    "2000 x 500, 0.01": partial(make, 2_000, 500, 0.9, 0.01),
    "500 x 5000, 0.1": partial(make, 500, 5_000, 0.5, 0.1),
}


def by_fastopt(data: Data) -> Solve:
    loss = fastopt.losses.squared(data.X, data.y)
    options = {"l1": data.l1, "gtol": ACCURACY * data.largest, "maxiter": MAXITER}

    def solve() -> np.ndarray:
        fit = fastopt.minimize(loss.fun, loss.x0, loss.args, "fista", loss.jac, options=options)
        return np.asarray(fit.x)

    return solve


def by_splitting(data: Data) -> Solve:
    n, p = data.X.shape

    def fun(parts: np.ndarray) -> tuple[float, np.ndarray]:
        residual = data.X @ (parts[:p] - parts[p:]) - data.y
        slopes = data.X.T @ residual / n
        value = 0.5 * residual @ residual / n + data.l1 * parts.sum()
        return value, np.concatenate((slopes + data.l1, data.l1 - slopes))

    def solve(tol: float) -> np.ndarray:
        options = {"gtol": tol * data.largest, "ftol": 0.0, "maxiter": MAXITER, "maxfev": MAXITER}
        start, bounds = np.zeros(2 * p), [(0.0, None)] * (2 * p)
        parts = fastopt.minimize(fun, start, jac=True, bounds=bounds, options=options).x
        return np.asarray(parts[:p] - parts[p:])

    return tuned(solve, data)


def by_scikit_learn(data: Data) -> Solve:
    Lasso = installed.find("sklearn.linear_model").Lasso
    X = np.asfortranarray(data.X)  # as it works on it; a copy is made otherwise

    def solve(tol: float) -> np.ndarray:
        model = Lasso(alpha=data.l1, fit_intercept=False, tol=tol, max_iter=MAXITER)
        return np.asarray(model.fit(X, data.y).coef_)

    return tuned(solve, data)


def by_skglm(data: Data) -> Solve:
    Lasso = installed.find("skglm").Lasso
    X = np.asfortranarray(data.X)

    def solve(tol: float) -> np.ndarray:
        model = Lasso(alpha=data.l1, fit_intercept=False, tol=tol)
        return np.asarray(model.fit(X, data.y).coef_)

    return tuned(solve, data)


def tuned(solve: Callable[[float], np.ndarray], data: Data) -> Solve:
    """With the largest tolerance that is enough."""
    tol = 1e-3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(DIVISIONS):
            if data.error(solve(tol)) <= ACCURACY:
                break
            tol /= 4.0
    return partial(solve, tol)


LIBRARIES: dict[str, Callable[[Data], Solve]] = {
    "fastopt fista": by_fastopt,
    "fastopt split": by_splitting,
    "scikit-learn": by_scikit_learn,
    "skglm": by_skglm,
}


class Fit(OnOneThread):
    """One fit to 1e-6."""

    params = (list(LIBRARIES), ("500 x 50, 0.1", "2000 x 500, 0.1"))
    param_names = ("library", "data")
    timeout = 300

    def setup(self, library: str, data: str) -> None:
        self.limit_threads()
        made = DATA[data]()
        try:
            self.solve = LIBRARIES[library](made)
        except NotImplementedError:
            self.teardown()
            raise
        self.solve()

    def time_fit(self, library: str, data: str) -> None:
        self.solve()


def print_table(name: str) -> None:
    data = DATA[name]()
    solves: dict[str, Any] = {}
    for library, prepare in LIBRARIES.items():
        try:
            solves[library] = prepare(data)
        except NotImplementedError as missing:
            print(f"without {library}: {missing}")
    answers = {library: solve() for library, solve in solves.items()}
    seconds: dict[str, list[float]] = {library: [] for library in solves}
    for _ in range(ROUNDS):
        for library, solve in solves.items():
            begun = time.perf_counter()
            solve()
            seconds[library].append(time.perf_counter() - begun)
    print(f"\n{name}: milliseconds, error, coefficients that are not zero\n")
    for library, times in seconds.items():
        error, kept = data.error(answers[library]), np.count_nonzero(answers[library])
        mark = " " if error <= ACCURACY else "!"
        print(f"{library:16}{1e3 * statistics.median(times):10.3f}{error:10.1e} {mark}{kept:6}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="*", choices=[*DATA, []], help="all, if none is named")
    installed.limit_threads()
    for name in parser.parse_args().data or DATA:
        print_table(name)


if __name__ == "__main__":
    main()
