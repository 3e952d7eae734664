"""Both libraries behind one call, and the objectives that several benchmarks share.

Methods and their counterparts in SciPy come from METHODS. NotImplementedError in a benchmark's
`setup` is asv's way to skip a combination of parameters.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy.optimize
from scipy.optimize import OptimizeResult, rosen, rosen_der

import fastopt
from fastopt.interface.methods import METHODS

LIBRARIES = ("fastopt", "scipy")

# First-order methods take a step length, which has no default that suits every problem.
QUASI_NEWTON = tuple(name for name, method in METHODS.items() if method.family == "quasi-newton")

# Small enough to descend on the Rosenbrock function from its standard start.
STEP_LENGTHS: dict[str, dict[str, float]] = {
    name: {"lr": 1e-3 if name in ("gd", "momentum", "nesterov", "radam") else 1e-2}
    for name, method in METHODS.items()
    if method.family == "first-order" and name != "adadelta"
}

Solve = Callable[..., OptimizeResult]


def minimizer(library: str, method: str) -> Solve:
    """``minimize`` of `library` with `method` and, where it needs one, its step length."""
    if library == "scipy":
        name = METHODS[method].scipy
        if name is None:
            raise NotImplementedError(f"SciPy has no {method}")
        if METHODS[method].family == "trust-region":
            raise NotImplementedError(f"SciPy's {method} needs a Hessian: see `second_order`")
        return partial(scipy.optimize.minimize, method=name)

    def solve(*args: Any, options: dict[str, Any], **keywords: Any) -> OptimizeResult:
        options = STEP_LENGTHS.get(method, {}) | options
        return fastopt.minimize(*args, method=method, options=options, **keywords)

    return solve


def rosenbrock_start(n: int) -> np.ndarray:
    return np.resize([-1.2, 1.0], n)


def rosenbrock(x: np.ndarray) -> tuple[float, np.ndarray]:
    """The chained Rosenbrock function and its gradient, for ``jac=True``."""
    return rosen(x), rosen_der(x)
