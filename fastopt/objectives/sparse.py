"""Newton's step by a sparse Hessian (Nocedal & Wright 2006, algorithm 3.3).

Owns the factorisation, and the shift of a Hessian that is not positive definite. Knows nothing of
the function that the Hessian belongs to. Work and memory are those of the factors' fill.

CHOLMOD factors if scikit-sparse is there, SuperLU if not. SuperLU knows no symmetry, but told to
keep to the diagonal for pivots it computes L D L' as L (D L'), and D has the signs of the
eigenvalues.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, eye_array, tril
from scipy.sparse.linalg import splu

__all__ = ["SPARSE_FROM", "newton_step"]

Vector = NDArray[np.float64]
# Solves with a factored matrix.
Solve = Callable[[Vector], Vector]
# Factors the matrix plus so many identities; None if that is not positive definite.
Factor = Callable[[float], Solve | None]

# Below so many variables LAPACK is quicker, on the matrix made dense.
SPARSE_FROM = 300

# The least shift, relative to the largest column sum, as that of `symmetric.LEAST_EIGENVALUE`.
LEAST_SHIFT = 1e-8
# The last Hessian's shift is halved, and doubled so often until it is enough;
DOUBLINGS = 3
# from there on, and where no Hessian has needed one, it grows by so much,
LEAP = 10.0
# to where the diagonal dominates by far.
MOST_SHIFT = 1e3
# A pivot below this share of its diagonal element is a rounding error.
LEAST_PIVOT = 16 * np.finfo(np.float64).eps


def newton_step(hessian: Any, gradient: Vector, shift: float) -> tuple[Vector, float]:
    """The solution of (H + s I) p = -gradient, with s = 0 if H is positive definite.

    Parameters
    ----------
    hessian : sparse matrix or array of real numbers, shape (n, n)
        H, of which the lower triangle is read.
    gradient : ndarray of float64, shape (n,)
        The right side.
    shift : float
        The last s that was not 0, where the search for another begins; 0 if there was none.

    Returns
    -------
    step : ndarray of float64, shape (n,)
        p; zero if H is zero, NaN if it is not finite.
    shift : float
        The last s that was not 0.
    """
    matrix = symmetric(hessian)
    norm = float(abs(matrix).sum(axis=0).max())
    if not 0 < norm < np.inf:
        return np.full_like(gradient, 0.0 if norm == 0 else np.nan), shift
    diagonal = matrix.diagonal()
    least = float(diagonal.min())
    factor = factor_of(matrix, diagonal)
    if least > 0:
        solve = factor(0.0)
        if solve is not None:
            return solve(-gradient), shift
    # An eigenvalue is at most `least`: as in the dense method, it is to become as much above 0.
    trial = max(0.5 * min(shift, norm), -2.0 * least, LEAST_SHIFT * norm)
    attempt = 0 if shift > 0 else DOUBLINGS
    while trial <= MOST_SHIFT * norm:
        solve = factor(trial)
        if solve is not None:
            return solve(-gradient), trial
        trial *= 2.0 if attempt < DOUBLINGS else LEAP
        attempt += 1
    return np.zeros_like(gradient), shift


def symmetric(hessian: Any) -> csc_array:
    """The matrix that the lower triangle stands for, a copy."""
    lower = csc_array(tril(hessian), dtype=np.float64)
    return csc_array(lower + tril(lower, -1).T)


def factor_of(matrix: csc_array, diagonal: Vector) -> Factor:
    """What factors the symmetric matrix of this diagonal, shifted."""
    analyze = cholmod()
    return superlu_factor(matrix, diagonal) if analyze is None else analyze(matrix, diagonal)


def superlu_factor(matrix: csc_array, diagonal: Vector) -> Factor:
    """SuperLU's `Factor`."""
    identity = eye_array(diagonal.size, format="csc")

    def factor(shift: float) -> Solve | None:
        try:
            factors = splu(
                csc_array(matrix + shift * identity) if shift > 0 else matrix,
                permc_spec="MMD_AT_PLUS_A",
                diag_pivot_thresh=0.0,
                options={"SymmetricMode": True},
            )
        except RuntimeError:  # a pivot is zero, and so is all that is left of its column
            return None
        # A zero pivot has been exchanged for another row's.
        if not np.array_equal(factors.perm_r, factors.perm_c):
            return None
        pivots = factors.U.diagonal()[factors.perm_c]
        return factors.solve if are_positive(pivots, diagonal + shift) else None

    return factor


@cache
def cholmod() -> Callable[[csc_array, Vector], Factor] | None:
    """`superlu_factor`'s counterpart; None without scikit-sparse 0.4 (0.5 has other names)."""
    try:
        from sksparse.cholmod import CholmodNotPositiveDefiniteError, analyze
    except ImportError:
        return None

    def cholmod_factor(matrix: csc_array, diagonal: Vector) -> Factor:
        symbolic = analyze(matrix)

        def factor(shift: float) -> Solve | None:
            try:
                factors = symbolic.cholesky(matrix, shift)
            except CholmodNotPositiveDefiniteError:
                return None
            pivots, order = factors.D(), factors.P()
            return factors if are_positive(pivots, (diagonal + shift)[order]) else None

        return factor

    return cholmod_factor


def are_positive(pivots: Vector, diagonal: Vector) -> bool:
    """Whether each pivot is, beyond the rounding errors of its own diagonal element."""
    return bool((pivots > LEAST_PIVOT * diagonal).all())
