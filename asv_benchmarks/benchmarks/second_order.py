"""Newton's methods with a Hessian at hand, on the chained Rosenbrock function."""

import time
from functools import partial
from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse
from numba import njit
from scipy.optimize import rosen, rosen_der, rosen_hess, rosen_hess_prod

import fastopt
from fastopt.interface.methods import METHODS

from . import peers
from .libraries import LIBRARIES, Solve, rosenbrock, rosenbrock_start

SECOND_ORDER = [name for name, row in METHODS.items() if row.second_order]
PRODUCTS = ["newton-cg", "trust-ncg"]
LIMITS = {"maxiter": 200}


def minimizer(library: str, method: str) -> Solve:
    if library == "fastopt":
        return partial(fastopt.minimize, method=method)
    name = METHODS[method].scipy
    if name is None:
        raise NotImplementedError(f"SciPy has no {method}")
    return partial(scipy.optimize.minimize, method=name)


class WithHessian:
    """A whole solve through the interpreter, and what it evaluates."""

    params = (LIBRARIES, SECOND_ORDER, (2, 100))
    param_names = ("library", "method", "n")

    def setup(self, library: str, method: str, n: int) -> None:
        solve = minimizer(library, method)
        self.solve = partial(
            solve, rosenbrock, rosenbrock_start(n), jac=True, hess=rosen_hess, options=LIMITS
        )

    def time_minimize(self, library: str, method: str, n: int) -> None:
        self.solve()

    def track_nfev(self, library: str, method: str, n: int) -> int:
        result = self.solve()
        return int(max(result.nfev, result.njev))

    track_nfev.unit = "evaluations"  # type: ignore[attr-defined]


class WithProducts:
    """The same by products with the Hessian, with many variables."""

    params = (LIBRARIES, PRODUCTS, (100, 10_000))
    param_names = ("library", "method", "n")
    timeout = 300

    def setup(self, library: str, method: str, n: int) -> None:
        solve = minimizer(library, method)
        self.solve = partial(
            solve,
            rosen,
            np.full(n, 0.8),
            jac=rosen_der,
            hessp=rosen_hess_prod,
            options=LIMITS,
        )

    def time_minimize(self, library: str, method: str, n: int) -> None:
        self.solve()


def laplacian(m: int) -> Any:
    """-u'' on m points of a line, with zeros at its ends."""
    ones = np.ones(m - 1)
    return scipy.sparse.diags_array([-ones, np.full(m, 2.0), -ones], offsets=[-1, 0, 1])


class WithSparseHessian:
    """-Laplacian(u) + 10 exp(u) = 0 as a minimum. A factorisation does not know how many points the
    grid has; conjugate gradients take as many products as there are points along a side."""

    params = ("fastopt newton", "fastopt newton-cg", "scipy newton-cg"), ("line", "square")
    param_names = ("method", "grid")
    timeout = 300

    def setup(self, method: str, grid: str) -> None:
        library, name = method.split()
        if grid == "line":
            side, n = 2_000, 2_000
            matrix = laplacian(side)
        else:
            side, n = 200, 200**2
            matrix = scipy.sparse.kronsum(laplacian(side), laplacian(side))
        matrix = scipy.sparse.csr_array(matrix)
        weight = 10.0 / (side + 1) ** 2

        def fun(x: Any) -> Any:
            bent = matrix @ x
            pull = weight * np.exp(x)
            return x @ bent / 2 + pull.sum(), bent + pull

        def hess(x: Any) -> Any:
            return matrix + scipy.sparse.diags_array(weight * np.exp(x))

        # SciPy's tolerance is for the mean step, fastopt's for the gradient.
        options = {"xtol": 1e-8} if library == "scipy" else {"gtol": 1e-6 * weight}
        self.solve = partial(
            minimizer(library, name), fun, np.zeros(n), jac=True, hess=hess, options=options
        )

    def time_minimize(self, method: str, grid: str) -> None:
        self.solve()

    def track_gradient(self, method: str, grid: str) -> float:
        return float(np.abs(self.solve().jac).max())

    track_gradient.unit = "largest element"  # type: ignore[attr-defined]


@njit
def hessian(x: Any) -> Any:
    matrix = np.zeros((x.size, x.size))
    for i in range(x.size - 1):
        matrix[i, i] += 1200.0 * x[i] ** 2 - 400.0 * x[i + 1] + 2.0
        matrix[i + 1, i] -= 400.0 * x[i]
        matrix[i + 1, i + 1] += 200.0
    return matrix


class Compiled:
    """Many solves without the interpreter, on one thread."""

    params = (SECOND_ORDER, (2, 100))
    param_names = ("method", "n")
    unit = "fits/s"

    def setup(self, method: str, n: int) -> None:
        rng = np.random.default_rng(0)
        count = 1000 if n < 100 else 20
        starts = rosenbrock_start(n) + 0.01 * rng.standard_normal((count, n))
        self.solve = partial(
            fastopt.minimize_many,
            peers.rosenbrock,
            starts,
            method=method,
            jac="inplace",
            hess=hessian,
            options={"compile": True, **LIMITS},
            workers=1,
        )
        self.solve()
        self.count = count

    def track_fits_per_second(self, method: str, n: int) -> float:
        seconds = []
        for _ in range(5):
            begun = time.perf_counter()
            self.solve()
            seconds.append(time.perf_counter() - begun)
        return round(self.count / min(seconds))
