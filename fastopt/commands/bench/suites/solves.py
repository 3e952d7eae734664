"""A solve by everyone who has the method, each asked for the same accuracy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

import fastopt
from fastopt.commands.bench.cases import Call, Contest, right_digits
from fastopt.commands.bench.suites.peers import minimize_by_nlopt, nlopt
from fastopt.interface.methods import METHODS

__all__ = ["DIGITS", "GTOL", "Array", "make_solves", "solve_by_fastopt", "solve_by_scipy"]

GTOL = 1e-8

# Of the minimizer, in an answer that counts.
DIGITS = 4.0

Array = NDArray[np.float64]


def make_solves(
    name: str,
    fun: Callable[..., Any],
    x0: Array,
    minimizer: Array,
    gtol: float = GTOL,
    *,
    compiled: bool = False,
    **keywords: Any,
) -> Contest:
    """`fun` gives value and gradient, unless there is a `jac` among `keywords`, which go to both
    libraries' minimize.
    """
    peers = {"SciPy": Call(partial(solve_by_scipy, name, fun, x0, gtol, **keywords))}
    if name == "l-bfgs" and gtol > 0.0 and nlopt() is not None:
        peers["NLopt"] = Call(partial(minimize_by_nlopt, fun, x0, gtol))
    ours = partial(solve_by_fastopt, name, fun, x0, gtol, compiled=compiled, **keywords)
    return Contest(Call(ours), peers, right_digits(minimizer, DIGITS))


def solve_by_fastopt(
    name: str,
    fun: Callable[..., Any],
    x0: Array,
    gtol: float,
    *,
    compiled: bool = False,
    jac: Any = True,
    **keywords: Any,
) -> Array:
    options: dict[str, Any] = {"gtol": gtol}
    if "ftol" in METHODS[name].options:
        options["ftol"] = 0.0
    if compiled:
        options["compile"] = True
    found = fastopt.minimize(fun, x0, method=name, jac=jac, options=options, **keywords)
    x: Array = found.x
    return x


def solve_by_scipy(
    name: str, fun: Callable[..., Any], x0: Array, gtol: float, *, jac: Any = True, **keywords: Any
) -> Array:
    method = METHODS[name]
    options = {"ftol": 0.0} if "ftol" in method.scipy_options else {}
    # Newton-CG has no test of the gradient there; this is about as hard to pass.
    options["gtol" if "gtol" in method.scipy_options else "xtol"] = gtol
    found = scipy.optimize.minimize(
        fun, x0, method=method.scipy, jac=jac, options=options, **keywords
    )
    x: Array = found.x
    return x
