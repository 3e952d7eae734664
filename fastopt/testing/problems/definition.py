"""What one test problem consists of.

Owns the shape of a definition; knows no problem in particular.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Definition:
    """The residuals of a sum of squares, their derivatives, where to start and what to find.

    The functions keep the dtype of ``x``, so that complex and extended precision pass through.

    Attributes
    ----------
    x0
        Standard starting point, shape (n,).
    residuals
        ``residuals(x)``, shape (m,).
    curvature
        ``curvature(x, weights)``: sum over i of ``weights[i]`` times the Hessian of residual i,
        shape (n, n).
    jacobian
        ``jacobian(x)``, shape (m, n). For problems of a few variables.
    pullback
        ``pullback(x, weights)``: ``weights @ J(x)`` for weights of shape (..., m), giving
        (..., n), without forming J. For problems of any size. A definition has this or `jacobian`.
    minima
        Known local minima of the sum of squares, the lowest first.
    minimizers
        Points at which these are reached, as far as they are known.
    """

    x0: Array
    residuals: Callable[[Array], Array]
    curvature: Callable[[Array, Array], Array]
    jacobian: Callable[[Array], Array] | None = None
    pullback: Callable[[Array, Array], Array] | None = None
    minima: tuple[float, ...] = ()
    minimizers: tuple[Array, ...] = ()


def symmetric(n: int, upper: Mapping[tuple[int, int], Any]) -> Array:
    """Build the (n, n) symmetric matrix with the given entries; those not given are zero."""
    matrix = np.zeros((n, n), dtype=np.result_type(*upper.values()))
    for (i, j), entry in upper.items():
        matrix[i, j] = matrix[j, i] = entry
    return matrix


def points(*coordinates: npt.ArrayLike) -> tuple[Array, ...]:
    """Turn each sequence of coordinates into a float64 array."""
    return tuple(np.array(point, dtype=np.float64) for point in coordinates)
