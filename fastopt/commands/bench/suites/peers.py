"""Libraries that may be installed beside SciPy; none is loaded before it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["minimize_by_nlopt", "nlopt", "torch"]


def torch() -> Any:
    """PyTorch, on one thread; None where it is missing."""
    if find_spec("torch") is None:
        return None
    module = import_module("torch")
    module.set_num_threads(1)
    return module


def nlopt() -> Any:
    """None where it is missing."""
    return None if find_spec("nlopt") is None else import_module("nlopt")


def minimize_by_nlopt(
    fun: Callable[..., Any], x0: NDArray[np.float64], gtol: float
) -> NDArray[np.float64]:
    """By its L-BFGS, which has no test of the gradient: this ends the solve where it passes."""
    module = nlopt()
    solver = module.opt(module.LD_LBFGS, x0.size)

    def fill(x: NDArray[np.float64], grad: NDArray[np.float64]) -> float:
        try:
            value, grad[:] = fun(x)
        except BaseException as error:  # NLopt would go on, after Ctrl-C as well
            raised.append(error)
            solver.force_stop()
            return 0.0
        if np.abs(grad).max() <= gtol:
            found[:] = x
            solver.force_stop()
        return float(value)

    raised: list[BaseException] = []
    found = np.full_like(x0, np.nan)  # without a right digit
    solver.set_min_objective(fill)
    # It fails where rounding errors keep it from the gradient that was asked for.
    with suppress(module.ForcedStop, module.RoundoffLimited, module.runtime_error, RuntimeError):
        found[:] = solver.optimize(x0)
    if raised:
        raise raised[0]
    return found
