"""A whole call of minimize where the function takes a microsecond, for every method."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from fastopt.commands.bench.cases import Case
from fastopt.commands.bench.sizes import Sizes
from fastopt.commands.bench.suites.solves import Array, make_solves
from fastopt.interface.methods import METHODS

__all__ = ["cases"]

START = np.array([-1.2, 1.0])
MINIMIZER = np.array([1.0, 1.0])
# One of them holds, at (0.8, 0.64).
BOUNDS = [(-2.0, 0.8), (-2.0, 2.0)]


def cases(_sizes: Sizes) -> list[Case]:
    found = []
    for name, method in METHODS.items():
        if method.scipy is None:
            continue
        keywords: dict[str, Any] = {"hess": rosenbrock_hessian} if method.second_order else {}
        end = MINIMIZER
        if name == "l-bfgs-b":
            keywords["bounds"], end = BOUNDS, np.array([0.8, 0.64])
        found.append(Case(name, partial(make_solves, name, rosenbrock, START, end, **keywords)))
    without_gradient = partial(
        make_solves, "bfgs", rosenbrock_value, START, MINIMIZER, 1e-4, jac="2-point"
    )
    return [*found, Case("bfgs, differences", without_gradient)]


def rosenbrock(x: Array) -> tuple[float, Array]:
    """The value and the gradient, as quick as Python is."""
    a, b = x.tolist()
    rise, rest = b - a * a, 1.0 - a
    value = 100.0 * rise * rise + rest * rest
    return value, np.array([-400.0 * a * rise - 2.0 * rest, 200.0 * rise])


def rosenbrock_value(x: Array) -> float:
    return rosenbrock(x)[0]


def rosenbrock_hessian(x: Array) -> Array:
    a, b = x.tolist()
    return np.array([[1200.0 * a * a - 400.0 * b + 2.0, -400.0 * a], [-400.0 * a, 200.0]])
