"""The user's functions, as the checks call them.

Owns their forms and the count of their calls. What they return is read as `minimize` reads it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt.core.validate import check_callable
from fastopt.objectives.stateful import held_by, owner_of

__all__ = ["Code", "read_hessian", "read_product"]

Vector = NDArray[np.float64]


class Code:
    """The user's function and gradient, with their arguments.

    Every call gets a fresh copy of the point, and what it returns is copied: some functions return
    the same array each time.
    """

    def __init__(self, fun: Any, args: Any, jac: Any, n: int, value_only: bool) -> None:
        from fastopt.objectives.source import ObjectiveSource, is_c_function  # takes 0.1 s

        if isinstance(jac, np.bool_):
            jac = bool(jac)
        if value_only and jac is False:
            jac = None
        expected = "`jac` must be callable, True or 'inplace'"
        if value_only:
            expected = "`jac` must be callable, True, 'inplace', False or None"
        if isinstance(jac, str) and jac != "inplace":
            raise ValueError(f"{expected}, got {jac!r}")
        if (jac is None or jac is False) and not value_only:
            raise TypeError(f"{expected}, got {jac}: there is no derivative to check")
        if not (callable(jac) or jac is None or jac is True or isinstance(jac, str)):
            raise TypeError(f"{expected}, got an object of type {type(jac).__name__}")
        self._is_c = is_c_function(fun)
        if not (self._is_c or (fun is None and value_only and callable(jac))):
            check_callable("fun", fun)
        self.fun, self.jac = fun, jac
        self.args = args if isinstance(args, tuple) else (args,)
        self._owner = owner_of(fun)
        self.nfev = self.njev = 0
        source = ObjectiveSource(fun, jac or "2-point", self.args, n, compile=False)
        self.turn, self._objective = source.turn, source.objective

    def evaluate(
        self, x: Vector, value: bool = True, gradient: bool = True
    ) -> tuple[float, Vector]:
        self.nfev += value or not callable(self.jac)
        self.njev += gradient
        # C functions of users' own are asked for both, as `minimize` does: some fill both blindly.
        return self._objective.evaluate(x, value or self._is_c, gradient or self._is_c)

    def held(self) -> AbstractContextManager[Any]:
        """What all evaluations happen in: they leave no trace in what owns the function."""
        return held_by(self._owner)

    def value(self, x: Vector) -> Vector:
        """In an array of shape (1,)."""
        return np.array([self.evaluate(x, gradient=False)[0]])

    def gradient(self, x: Vector) -> Vector:
        return self.evaluate(x, value=False)[1]


def read_hessian(found: Any, n: int) -> Any:
    """What `hess` returned: a float64 array, a sparse one by rows, or a LinearOperator."""
    from scipy.sparse import issparse
    from scipy.sparse.linalg import LinearOperator

    from fastopt.objectives.python import as_gradient

    if issparse(found):
        found = found.tocsr()
    elif not isinstance(found, LinearOperator):
        found = as_gradient(found, "`hess`").copy()
    if found.shape != (n, n):
        raise ValueError(f"`hess` must return a matrix of shape ({n}, {n}), got {found.shape}")
    return found


def read_product(name: str, found: Any, n: int) -> Vector:
    """A Hessian times a vector, as the user's code has computed it."""
    from fastopt.objectives.python import as_gradient

    array = as_gradient(found, name)
    if array.size != n or max(array.shape, default=1) != n:
        raise ValueError(f"{name} must return an array of shape ({n},), got shape {array.shape}")
    return array.reshape(n).copy()
