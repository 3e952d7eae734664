"""A sum of squares with exact first and second derivatives.

Owns evaluation: argument checks, silence on overflow, the chain rule from residuals to the
objective. Knows nothing of any particular problem.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from fastopt.testing.problems.definition import Array, Definition

# A line search probes points at which a problem overflows. That it then meets inf or nan is part
# of the test; a warning for each would drown everything else.
_quiet = partial(np.errstate, all="ignore")


@dataclass(frozen=True, eq=False, repr=False)
class Problem:
    """A test problem: minimise f(x) = r_1(x)^2 + ... + r_m(x)^2 from a standard start.

    Made by `problem` and `more_garbow_hillstrom`. Points are promoted to float64; a complex or
    extended-precision point keeps its type, so derivatives can be taken by complex step (not of
    the helical valley or the Gulf problem at their kinks). A point at which a problem overflows
    gives inf or nan, without a warning. Problems pickle.

    Parameters
    ----------
    number : int
        Number in the publication.
    name : str
        Name in the publication.
    define : callable
        ``define()`` makes the residuals, their derivatives, the start and the known minima.

    See Also
    --------
    problem : One problem, by name or number.
    more_garbow_hillstrom : The whole collection.

    Examples
    --------
    >>> from fastopt.testing import problem
    >>> beale = problem("Beale")
    >>> beale
    Problem(5, 'Beale', n=2, m=3)
    >>> beale.fun(beale.x0)
    14.203125
    >>> beale.grad(beale.minimizers[0])
    array([0., 0.])
    """

    number: int
    name: str
    define: Callable[[], Definition]
    _definition: Definition = field(init=False)
    _m: int = field(init=False)

    def __post_init__(self) -> None:
        definition = self.define()
        for array in (definition.x0, *definition.minimizers):
            array.flags.writeable = False
        object.__setattr__(self, "_definition", definition)
        object.__setattr__(self, "_m", definition.residuals(definition.x0).size)

    def __repr__(self) -> str:
        return f"Problem({self.number}, {self.name!r}, n={self.n}, m={self.m})"

    def __reduce__(self) -> tuple[type[Problem], tuple[int, str, Callable[[], Definition]]]:
        return Problem, (self.number, self.name, self.define)

    @property
    def n(self) -> int:
        """Number of variables.

        Examples
        --------
        >>> from fastopt.testing import problem
        >>> problem("Osborne 2").n
        11
        """
        return self._definition.x0.size

    @property
    def m(self) -> int:
        """Number of residuals.

        Examples
        --------
        >>> from fastopt.testing import problem
        >>> problem("Osborne 2").m
        65
        """
        return self._m

    @property
    def x0(self) -> npt.NDArray[np.float64]:
        """Standard starting point, shape (n,), read-only.

        Examples
        --------
        >>> from fastopt.testing import problem
        >>> problem("Rosenbrock").x0
        array([-1.2,  1. ])
        """
        return self._definition.x0

    @property
    def minima(self) -> tuple[float, ...]:
        """Values of `fun` at its published local minima, the lowest first, in double precision.

        Empty where the minimum depends on n and none is published for this one. Some belong to
        minimisers at infinity, and have no counterpart in `minimizers`. The second value of
        problems 18 and 27 is published as a minimum, but belongs to a saddle.

        Examples
        --------
        >>> from fastopt.testing import problem
        >>> [round(value, 4) for value in problem("Freudenstein and Roth").minima]
        [0.0, 48.9843]
        """
        return self._definition.minima

    @property
    def minimizers(self) -> tuple[npt.NDArray[np.float64], ...]:
        """Known points at which `fun` takes one of the values in `minima`, each (n,), read-only.

        Not complete: a minimum may be reached at several points, at infinity, or at points
        that no one has tabulated.

        Examples
        --------
        >>> from fastopt.testing import problem
        >>> for x in problem("Box three-dimensional").minimizers:
        ...     print(x)
        [ 1. 10.  1.]
        [10.  1. -1.]
        """
        return self._definition.minimizers

    def fun(self, x: npt.ArrayLike) -> float:
        """Evaluate the sum of squared residuals.

        Parameters
        ----------
        x : array_like, shape (n,)
            The point.

        Returns
        -------
        float
            The value; complex for a complex `x` (analytic: residuals are squared, not
            multiplied by their conjugates).

        Raises
        ------
        ValueError
            If `x` has another shape.

        Examples
        --------
        >>> from fastopt.testing import problem
        >>> problem("Rosenbrock").fun([0.0, 1.0])
        101.0
        """
        point = self._point(x)
        with _quiet():
            residuals = self._definition.residuals(point)
            value: float = (residuals @ residuals).item()
        return value

    def grad(self, x: npt.ArrayLike) -> Array:
        """Evaluate the gradient, ``2 J.T @ r``.

        Parameters
        ----------
        x : array_like, shape (n,)
            The point.

        Returns
        -------
        ndarray, shape (n,)
            The gradient of `fun`.

        Raises
        ------
        ValueError
            If `x` has another shape.

        Examples
        --------
        >>> from fastopt.testing import problem
        >>> problem("Rosenbrock").grad([0.0, 1.0])
        array([ -2., 200.])
        """
        return self.fun_and_grad(x)[1]

    def fun_and_grad(self, x: npt.ArrayLike) -> tuple[float, Array]:
        """Evaluate value and gradient together: what ``jac=True`` asks for.

        Parameters
        ----------
        x : array_like, shape (n,)
            The point.

        Returns
        -------
        value : float
            As from `fun`, with the same bits.
        gradient : ndarray, shape (n,)
            As from `grad`, with the same bits.

        Raises
        ------
        ValueError
            If `x` has another shape.

        Examples
        --------
        >>> from fastopt.testing import problem
        >>> problem("Rosenbrock").fun_and_grad([0.0, 1.0])
        (101.0, array([ -2., 200.]))
        """
        point = self._point(x)
        with _quiet():
            residuals = self._definition.residuals(point)
            value: float = (residuals @ residuals).item()
            if self._definition.pullback is not None:
                half_gradient = self._definition.pullback(point, residuals)
            else:
                half_gradient = residuals @ self._jacobian(point)
            return value, 2.0 * half_gradient

    def hess(self, x: npt.ArrayLike) -> Array:
        """Evaluate the Hessian, ``2 J.T @ J`` plus twice the sum of ``r[i]`` times its Hessian.

        Parameters
        ----------
        x : array_like, shape (n,)
            The point.

        Returns
        -------
        ndarray, shape (n, n)
            The Hessian of `fun`, dense whatever its structure.

        Raises
        ------
        ValueError
            If `x` has another shape.

        Examples
        --------
        >>> from fastopt.testing import problem
        >>> problem("Rosenbrock").hess([1.0, 1.0])
        array([[ 802., -400.],
               [-400.,  200.]])
        """
        point = self._point(x)
        with _quiet():
            jacobian = self._jacobian(point)
            curvature = self._definition.curvature(point, self._definition.residuals(point))
            return 2.0 * (jacobian.T @ jacobian + curvature)

    def residuals(self, x: npt.ArrayLike) -> Array:
        """Evaluate the residuals.

        Parameters
        ----------
        x : array_like, shape (n,)
            The point.

        Returns
        -------
        ndarray, shape (m,)
            The residuals, in the order of the publication.

        Raises
        ------
        ValueError
            If `x` has another shape.

        Examples
        --------
        >>> from fastopt.testing import problem
        >>> problem("Rosenbrock").residuals([0.0, 1.0])
        array([10.,  1.])
        """
        point = self._point(x)
        with _quiet():
            return self._definition.residuals(point)

    def jacobian(self, x: npt.ArrayLike) -> Array:
        """Evaluate the Jacobian of the residuals.

        Parameters
        ----------
        x : array_like, shape (n,)
            The point.

        Returns
        -------
        ndarray, shape (m, n)
            Row i is the gradient of residual i; dense whatever its structure.

        Raises
        ------
        ValueError
            If `x` has another shape.

        Examples
        --------
        >>> from fastopt.testing import problem
        >>> problem("Rosenbrock").jacobian([1.0, 1.0])
        array([[-20.,  10.],
               [ -1.,   0.]])
        """
        point = self._point(x)
        with _quiet():
            return self._jacobian(point)

    def _jacobian(self, point: Array) -> Array:
        if self._definition.jacobian is not None:
            return self._definition.jacobian(point)
        assert self._definition.pullback is not None
        return self._definition.pullback(point, np.eye(self.m, dtype=point.dtype))

    def _point(self, x: npt.ArrayLike) -> Array:
        point: Array = np.asarray(x)
        if point.shape != (self.n,):
            raise ValueError(f"`x` must have shape ({self.n},), got {point.shape}")
        dtype: np.dtype[Any] = np.result_type(point.dtype, np.float64)
        return point.astype(dtype, copy=False)
