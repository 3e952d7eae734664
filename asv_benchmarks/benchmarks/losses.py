"""Losses of linear models: fastopt's compiled ones beside NumPy's products with SciPy's solver.

``python -m benchmarks.losses``, from the folder above, prints all of them, and scikit-learn's
solves where that is installed.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse
import scipy.special

import fastopt

from . import installed
from .libraries import LIBRARIES

# Rows and columns; the first is the size of the breast cancer data of scikit-learn.
SIZES = {"569x30": (569, 30), "100000x100": (100_000, 100), "sparse 100000x100000": (100_000,) * 2}
ENTRIES_PER_ROW = 10
# Scales of the dense columns, so that solves take more than a few iterations.
SCALES = (0.1, 10.0)
L2 = 1e-5
CLASSES = 5
LIMITS = {"gtol": 1e-6, "ftol": 0.0, "maxiter": 2_000}
# SciPy's evaluations are limited as well; its stopping test is of the same gradient.
SCIPY_LIMITS = {**LIMITS, "maxfun": 10_000}

Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]


def data(size: str) -> tuple[Any, np.ndarray, np.ndarray]:
    """X, labels that a linear model explains in part, and parameters at which to evaluate."""
    rng = np.random.default_rng(0)
    n, p = SIZES[size]
    X: Any
    if size.startswith("sparse"):
        X = scipy.sparse.random_array((n, p), density=ENTRIES_PER_ROW / p, format="csr", rng=rng)
    else:
        X = rng.standard_normal((n, p)) * np.geomspace(*SCALES, p)
    truth = rng.standard_normal(p) / np.sqrt(p)
    y = (X @ truth + rng.logistic(size=n) > 0).astype(float)
    return X, y, 0.1 * rng.standard_normal(p)


def numpy_logistic(X: Any, y: np.ndarray) -> Objective:
    """As one writes it: two products with X, and SciPy's functions for the rest."""

    def fun(theta: np.ndarray) -> tuple[float, np.ndarray]:
        z = X @ theta
        value = (np.logaddexp(0.0, z) - y * z).mean() + 0.5 * L2 * theta @ theta
        return value, X.T @ (scipy.special.expit(z) - y) / len(y) + L2 * theta

    return fun


def numpy_softmax(X: np.ndarray, y: np.ndarray) -> Objective:
    n, p = X.shape
    hits = np.eye(CLASSES)[y]

    def fun(theta: np.ndarray) -> tuple[float, np.ndarray]:
        coef = theta.reshape(CLASSES, p)
        z = X @ coef.T
        norm = scipy.special.logsumexp(z, axis=1)
        value = (norm - z[np.arange(n), y]).mean() + 0.5 * L2 * theta @ theta
        return value, ((np.exp(z - norm[:, None]) - hits).T @ X / n + L2 * coef).ravel()

    return fun


def objective(library: str, loss: str, X: Any, y: np.ndarray) -> Objective:
    """Value and gradient, called from Python."""
    if library == "scipy":
        return numpy_softmax(X, y) if loss == "softmax" else numpy_logistic(X, y)
    made = make(loss, X, y)
    grad = np.empty(made.n)
    return lambda theta: (made.fun(theta, grad, *made.args), grad)


def make(loss: str, X: Any, y: np.ndarray) -> Any:
    if loss == "softmax":
        return fastopt.losses.softmax(X, y, CLASSES, l2=L2)
    return fastopt.losses.logistic(X, y, l2=L2)


class OnOneThread:
    """Fastopt's loops run on one thread, so NumPy's products do, set up as they are."""

    def limit_threads(self) -> None:
        self.limits = installed.limit_threads("blas")

    def teardown(self, *params: str) -> None:
        if self.limits is not None:
            self.limits.restore_original_limits()


class Evaluation(OnOneThread):
    """One value with its gradient."""

    params = (LIBRARIES, ("logistic", "softmax"), list(SIZES))
    param_names = ("library", "loss", "size")

    def setup(self, library: str, loss: str, size: str) -> None:
        self.limit_threads()
        X, y, theta = data(size)
        if loss == "softmax":
            if size.startswith("sparse"):
                raise NotImplementedError("the logistic loss shows what sparse data cost")
            rng = np.random.default_rng(1)
            y, theta = rng.integers(0, CLASSES, len(y)), np.tile(theta, CLASSES)
        self.fun, self.theta = objective(library, loss, X, y), theta
        self.fun(theta)

    def time_value_and_gradient(self, library: str, loss: str, size: str) -> None:
        self.fun(self.theta)


class Product(OnOneThread):
    """One product with the Hessian of the logistic loss."""

    params = (LIBRARIES, list(SIZES))
    param_names = ("library", "size")

    def setup(self, library: str, size: str) -> None:
        self.limit_threads()
        X, y, theta = data(size)
        if library == "fastopt":
            loss = make("logistic", X, y)
            self.hessp = lambda p: loss.hessp(theta, p, *loss.args)
        else:
            # A solver that keeps the curvature of its last point pays for two products alone.
            probability = scipy.special.expit(X @ theta)
            curvature = probability * (1 - probability) / len(y)
            self.hessp = lambda p: X.T @ (curvature * (X @ p)) + L2 * p
        self.p = np.ones_like(theta)
        self.hessp(self.p)

    def time_hessian_product(self, library: str, size: str) -> None:
        self.hessp(self.p)


class Solve(OnOneThread):
    """L-BFGS on the logistic loss from zeros until no element of the gradient exceeds 1e-6."""

    params = (LIBRARIES, ("569x30", "sparse 100000x100000"))
    param_names = ("library", "size")
    timeout = 300

    def setup(self, library: str, size: str) -> None:
        self.limit_threads()
        X, y, _ = data(size)
        if library == "fastopt":
            loss = make("logistic", X, y)
            self.solve = lambda: fastopt.minimize(
                loss.fun, loss.x0, loss.args, "l-bfgs", loss.jac, options=LIMITS
            )
        else:
            fun, start = numpy_logistic(X, y), np.zeros(X.shape[1])
            self.solve = lambda: scipy.optimize.minimize(
                fun, start, method="L-BFGS-B", jac=True, options=SCIPY_LIMITS
            )
        self.evaluations = self.solve().nfev

    def time_solve(self, library: str, size: str) -> None:
        self.solve()


def milliseconds(call: Callable[[], Any]) -> float:
    """The median of as many calls as fit into a second, and of 5 at least."""
    taken: list[float] = []
    end = time.perf_counter() + 1.0
    while len(taken) < 5 or time.perf_counter() < end:
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return 1e3 * statistics.median(taken)


def print_benchmark(benchmark: Any, name: str) -> None:
    print(f"\n{benchmark.__doc__.splitlines()[0]}\n")
    combinations: list[tuple[str, ...]] = [()]
    for values in benchmark.params[1:]:
        combinations = [(*before, value) for before in combinations for value in values]
    for rest in combinations:
        times = []
        for library in benchmark.params[0]:
            case = benchmark()
            try:
                case.setup(library, *rest)
            except NotImplementedError:
                break
            times.append(milliseconds(partial(getattr(case, name), library, *rest)))
            case.teardown()
            if hasattr(case, "evaluations"):
                print(f"    {library}: {case.evaluations} evaluations")
        if times:
            shown = ", ".join(
                f"{library} {each:.3f} ms" for library, each in zip(LIBRARIES, times, strict=True)
            )
            print(f"{' '.join(rest):32}{shown}, ratio {times[1] / times[0]:.2f}")


def print_scikit_learn() -> None:
    try:
        LogisticRegression = installed.find("sklearn.linear_model").LogisticRegression
    except NotImplementedError as missing:
        print(f"\n{missing}")
        return
    print("\nscikit-learn's LogisticRegression, to a gradient of 1e-6 by its own test\n")
    for size in SIZES:
        X, y, _ = data(size)
        loss = make("logistic", X, y)
        for solver in ("lbfgs", "newton-cg", "newton-cholesky"):
            if solver == "newton-cholesky" and size.startswith("sparse"):
                continue  # a matrix of 1e10 numbers
            model = LogisticRegression(
                C=1 / (L2 * len(y)), fit_intercept=False, solver=solver, tol=1e-6, max_iter=2_000
            )
            threads = OnOneThread()
            threads.limit_threads()
            taken = milliseconds(partial(model.fit, X, y))
            threads.teardown()
            grad = np.empty(loss.n)
            loss.fun(model.coef_[0], grad, *loss.args)
            norm = np.abs(grad).max()
            print(f"{size:24}{solver:18}{taken:10.3f} ms, gradient {norm:.1e} in the end")


if __name__ == "__main__":
    print_benchmark(Evaluation, "time_value_and_gradient")
    print_benchmark(Product, "time_hessian_product")
    print_benchmark(Solve, "time_solve")
    print_scikit_learn()
