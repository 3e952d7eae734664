"""A test problem with exact first and second derivatives.

Owns the boundary: argument checks, silence on overflow, what a caller may not write to. Knows
nothing of any particular problem.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from fastopt.testing.problems.definition import Array, Definition, SumOfSquares

# A line search probes points at which a problem overflows. That it then meets inf or nan is part
# of the test; a warning for each would drown everything else.
_quiet = partial(np.errstate, all="ignore")


@dataclass(frozen=True, eq=False, repr=False)
class Problem:
    """A test problem: minimise f(x), perhaps within bounds, from a standard start.

    Made by `problem`, `more_garbow_hillstrom` and `hock_schittkowski`. Points are promoted to
    float64; a complex or extended-precision point keeps its type, so derivatives can be taken by
    complex step (not of the helical valley or the Gulf problem at their kinks). A point at which a
    problem overflows gives inf or nan, without a warning. Problems pickle.

    Parameters
    ----------
    number : int
        Number in the publication.
    name : str
        Name in the publication.
    define : callable
        ``define()`` makes the function, its derivatives, the start and the known minima.

    See Also
    --------
    problem : One problem, by name or number.
    LeastSquaresProblem : A problem that is a sum of squares.

    Examples
    --------
    >>> from fastopt.testing import problem
    >>> p = problem("HS 5")
    >>> p
    Problem(5, 'HS 5', n=2)
    >>> p.fun(p.x0)
    1.0
    >>> from fastopt import minimize
    >>> result = minimize(p.fun_and_grad, p.x0, jac=True, bounds=list(zip(*p.bounds)))
    >>> abs(result.fun - p.minima[0]) < 1e-9
    True
    """

    number: int
    name: str
    define: Callable[[], Definition]
    _definition: Definition = field(init=False)

    def __post_init__(self) -> None:
        definition = self.define()
        for array in (definition.x0, definition.low, definition.high, *definition.minimizers):
            if array is not None:
                array.flags.writeable = False
        object.__setattr__(self, "_definition", definition)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.number}, {self.name!r}, n={self.n})"

    def __reduce__(self) -> tuple[type[Problem], tuple[int, str, Callable[[], Definition]]]:
        return type(self), (self.number, self.name, self.define)

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
    def bounds(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Bounds of the variables, ``(low, high)``, each (n,) and read-only; infinite if none.

        As ``scipy.optimize.Bounds(*p.bounds)`` takes them. The start of a few problems is outside.

        Examples
        --------
        >>> from fastopt.testing import problem
        >>> low, high = problem("HS 1").bounds
        >>> print(low, high)
        [-inf -1.5] [inf inf]
        """
        low, high = self._definition.low, self._definition.high
        return self._unbounded(-np.inf) if low is None else low, (
            self._unbounded(np.inf) if high is None else high
        )

    @property
    def is_bounded(self) -> bool:
        """Whether any variable has a finite bound.

        Examples
        --------
        >>> from fastopt.testing import problem
        >>> problem("HS 1").is_bounded, problem("Rosenbrock").is_bounded
        (True, False)
        """
        return bool(np.isfinite(self.bounds).any())

    @property
    def minima(self) -> tuple[float, ...]:
        """Values of `fun` at its known local minima, the lowest first, in double precision.

        Those within the bounds, if there are any. Empty where the minimum depends on n and none is
        published for this one. Some belong to minimisers at infinity, and have no counterpart in
        `minimizers`. The second value of problems 18 and 27 of Moré, Garbow & Hillstrom is
        published as a minimum, but belongs to a saddle.

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
        """Evaluate the function.

        Parameters
        ----------
        x : array_like, shape (n,)
            The point.

        Returns
        -------
        float
            The value; complex for a complex `x` (analytic: what is squared is not multiplied by
            its conjugate).

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
            value: float = self._definition.value(point).item()
        return value

    def grad(self, x: npt.ArrayLike) -> Array:
        """Evaluate the gradient.

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
            value, gradient = self._definition.value_and_gradient(point)
        return value.item(), gradient

    def hess(self, x: npt.ArrayLike) -> Array:
        """Evaluate the Hessian.

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
            return self._definition.hessian(point)

    def _unbounded(self, infinity: float) -> npt.NDArray[np.float64]:
        bound = np.full(self.n, infinity)
        bound.flags.writeable = False
        return bound

    def _point(self, x: npt.ArrayLike) -> Array:
        point: Array = np.asarray(x)
        if point.shape != (self.n,):
            raise ValueError(f"`x` must have shape ({self.n},), got {point.shape}")
        dtype: np.dtype[Any] = np.result_type(point.dtype, np.float64)
        return point.astype(dtype, copy=False)


@dataclass(frozen=True, eq=False, repr=False)
class LeastSquaresProblem(Problem):
    """A test problem whose function is the sum of the squares of its residuals.

    Everything that `Problem` has, and the residuals with their Jacobian.

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
    more_garbow_hillstrom : A collection of such problems.

    Examples
    --------
    >>> from fastopt.testing import problem
    >>> beale = problem("Beale")
    >>> beale
    LeastSquaresProblem(5, 'Beale', n=2, m=3)
    >>> beale.fun(beale.x0)
    14.203125
    >>> beale.grad(beale.minimizers[0])
    array([0., 0.])
    """

    define: Callable[[], SumOfSquares]
    _definition: SumOfSquares = field(init=False)
    _m: int = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "_m", self._definition.residuals(self.x0).size)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, m={self.m})"

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
            return self._definition.dense_jacobian(point)
