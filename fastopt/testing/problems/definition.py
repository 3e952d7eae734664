"""What one test problem consists of.

Owns the shape of a definition, and the chain rule from residuals to their sum of squares; knows no
problem in particular.
"""

# NumPy types the elements of an array as Any, so every formula in them is Any as well.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class Definition(ABC):
    """Where to start and what to find; how to evaluate is for the subclasses to say.

    All that evaluates keeps the dtype of ``x``, so that complex and extended precision pass
    through, and returns zero-dimensional values as NumPy's scalars.

    Attributes
    ----------
    x0
        Standard starting point, shape (n,).
    low, high
        Bounds on the variables, shape (n,), infinite where there is none; None is no bound at all.
    minima
        Known local minima, the lowest first.
    minimizers
        Points at which these are reached, as far as they are known.
    """

    x0: Array
    low: Array | None = None
    high: Array | None = None
    minima: tuple[float, ...] = ()
    minimizers: tuple[Array, ...] = ()

    @abstractmethod
    def value(self, x: Array) -> Any:
        """Evaluate the function."""

    @abstractmethod
    def value_and_gradient(self, x: Array) -> tuple[Any, Array]:
        """Evaluate both; the value has the bits of `value`."""

    @abstractmethod
    def hessian(self, x: Array) -> Array:
        """Evaluate the Hessian, shape (n, n)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Smooth(Definition):
    """A function given by itself.

    Attributes
    ----------
    function
        ``function(x)``, a scalar.
    gradient
        ``gradient(x)``, shape (n,).
    curvature
        ``curvature(x)``: the Hessian, shape (n, n).
    """

    function: Callable[[Array], Any]
    gradient: Callable[[Array], Array]
    curvature: Callable[[Array], Array]

    def value(self, x: Array) -> Any:
        return self.function(x)

    def value_and_gradient(self, x: Array) -> tuple[Any, Array]:
        return self.function(x), self.gradient(x)

    def hessian(self, x: Array) -> Array:
        return self.curvature(x)


@dataclass(frozen=True, eq=False, kw_only=True)
class SumOfSquares(Definition):
    """A sum of squares, given by its residuals.

    Attributes
    ----------
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
    """

    residuals: Callable[[Array], Array]
    curvature: Callable[[Array, Array], Array]
    jacobian: Callable[[Array], Array] | None = None
    pullback: Callable[[Array, Array], Array] | None = None

    def value(self, x: Array) -> Any:
        residuals = self.residuals(x)
        return residuals @ residuals

    def value_and_gradient(self, x: Array) -> tuple[Any, Array]:
        residuals = self.residuals(x)
        if self.pullback is not None:
            half_gradient = self.pullback(x, residuals)
        else:
            half_gradient = residuals @ self.dense_jacobian(x)
        return residuals @ residuals, 2.0 * half_gradient

    def hessian(self, x: Array) -> Array:
        jacobian = self.dense_jacobian(x)
        return 2.0 * (jacobian.T @ jacobian + self.curvature(x, self.residuals(x)))

    def dense_jacobian(self, x: Array) -> Array:
        """Evaluate the Jacobian of the residuals, shape (m, n)."""
        if self.jacobian is not None:
            return self.jacobian(x)
        assert self.pullback is not None
        return self.pullback(x, np.eye(self.residuals(x).size, dtype=x.dtype))


def symmetric(n: int, upper: Mapping[tuple[int, int], Any]) -> Array:
    """Build the (n, n) symmetric matrix with the given entries; those not given are zero."""
    matrix = np.zeros((n, n), dtype=np.result_type(*upper.values()))
    for (i, j), entry in upper.items():
        matrix[i, j] = matrix[j, i] = entry
    return matrix


def points(*coordinates: npt.ArrayLike) -> tuple[Array, ...]:
    """Turn each sequence of coordinates into a float64 array."""
    return tuple(np.array(point, dtype=np.float64) for point in coordinates)
