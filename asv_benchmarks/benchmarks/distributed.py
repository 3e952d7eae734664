"""A sum over data on the workers of a Dask cluster, beside the same function in one process.

The logistic loss of a million rows and 20 columns, in eight parts; skipped where there is no Dask.
"""

import time
from typing import Any

import numpy as np
from numba import njit

import fastopt
from fastopt.distributed import SumObjective

from . import installed

ROWS, COLUMNS, PARTS = 1_000_000, 20, 8


@njit(nogil=True)
def logistic(theta, X, y):
    """The sum over the rows, and its gradient."""
    value, grad = 0.0, np.zeros_like(theta)
    for i in range(len(y)):
        z = 0.0
        for j in range(theta.size):
            z += X[i, j] * theta[j]
        tail = np.exp(-abs(z))
        value += max(z, 0.0) - y[i] * z + np.log1p(tail)
        residual = (1.0 if z >= 0.0 else tail) / (1.0 + tail) - y[i]
        for j in range(theta.size):
            grad[j] += residual * X[i, j]
    return value, grad


def part(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((ROWS // PARTS, COLUMNS))
    return X, (X.sum(axis=1) + rng.logistic(size=len(X)) > 0).astype(float)


class Logistic:
    """Medians over evaluations, and a whole solve by L-BFGS."""

    params = (("one process", "two workers"),)
    param_names = ("where",)
    timeout = 300

    def setup(self, where: str) -> None:
        self.close = lambda: None
        if where == "one process":
            parts = [part(seed) for seed in range(PARTS)]
            X, y = (np.concatenate(each) for each in zip(*parts, strict=True))
            self.fun: Any = lambda theta: logistic(theta, X, y)
        else:
            dask, distributed = installed.find("dask"), installed.find("distributed")
            cluster = distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, dashboard_address=":0"
            )
            client = distributed.Client(cluster)
            lazy = dask.delayed(part)
            self.fun = SumObjective(logistic, [lazy(seed) for seed in range(PARTS)], client)
            self.close = lambda: (self.fun.close(), client.close(), cluster.close())
        self.fun(np.zeros(COLUMNS))

    def teardown(self, where: str) -> None:
        self.close()

    def track_milliseconds_per_evaluation(self, where: str) -> float:
        seconds = []
        for _ in range(7):
            begun = time.perf_counter()
            self.fun(np.zeros(COLUMNS))
            seconds.append(time.perf_counter() - begun)
        return round(1e3 * float(np.median(seconds)), 2)

    track_milliseconds_per_evaluation.unit = "ms"

    def time_minimize(self, where: str) -> None:
        fastopt.minimize(self.fun, np.zeros(COLUMNS), method="l-bfgs", jac=True)
