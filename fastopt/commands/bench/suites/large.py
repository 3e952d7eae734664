"""Many variables: what counts is the traffic of memory."""

from __future__ import annotations

from functools import partial

import numpy as np
import scipy.optimize

import fastopt
from fastopt.commands.bench.cases import Call, Case, Contest, apart_by_at_most
from fastopt.commands.bench.sizes import Sizes
from fastopt.commands.bench.suites.objectives import smoothing

__all__ = ["cases"]

GTOL = 1e-3
WEIGHT, SOFTNESS = 0.5, 0.25


def cases(sizes: Sizes) -> list[Case]:
    return [Case(f"l-bfgs, n = {n:,}", partial(make_smoothing, n)) for n in sizes.signals]


def make_smoothing(n: int) -> Contest:
    rng = np.random.default_rng(0)
    steps = np.repeat(rng.normal(size=-(-n // 500)), 500)[:n]
    signal = steps + rng.normal(scale=0.3, size=n)
    args = (signal, WEIGHT, SOFTNESS)
    options = {"gtol": GTOL, "ftol": 0.0, "maxcor": 10}

    def by_fastopt() -> float:
        compiled = options | {"compile": True}
        found = fastopt.minimize(
            smoothing, signal, args, method="l-bfgs", jac=True, options=compiled
        )
        return float(found.fun)

    def by_scipy() -> float:
        found = scipy.optimize.minimize(
            smoothing, signal, args, method="L-BFGS-B", jac=True, options=options
        )
        return float(found.fun)

    return Contest(Call(by_fastopt), {"SciPy": Call(by_scipy)}, apart_by_at_most(1e-6))
