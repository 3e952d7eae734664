"""Checks of the data of a loss, made once, before anything is compiled or evaluated.

Owns the forms in which a matrix, observations and weights are accepted, and the wording of what is
wrong with them. What comes in the form that the compiled functions read is kept as it is, without a
copy; nothing is ever written to.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from fastopt.core.validate import is_valid_csr, real_array

__all__ = ["class_numbers", "matrix", "observations", "weights"]

Vector = NDArray[np.float64]

_ROWS = "a row for each sample"


def matrix(X: Any) -> tuple[Any, int, int]:
    """X as the compiled functions take it, and its shape: see :mod:`fastopt.losses._matrices`."""
    if scipy.sparse.issparse(X):
        return _csr(X)
    dense = real_array("X", f"a two-dimensional array of real numbers, {_ROWS}", X)
    _check_shape(dense.shape)
    # By extremes rather than by a mask as large as X / 8: a NaN is one, too.
    if not (np.isfinite(dense.min()) and np.isfinite(dense.max())):
        row, column = (int(k) for k in np.argwhere(~np.isfinite(dense))[0])
        raise ValueError(
            f"`X` must be finite, got {float(dense[row, column])!r} at index {(row, column)}"
        )
    return dense, *dense.shape


def _csr(X: Any) -> tuple[Any, int, int]:
    _check_shape(X.shape)
    if X.dtype.kind not in "biuf":
        raise TypeError(f"`X` must be a matrix of real numbers, got dtype {X.dtype}")
    csr = X.tocsr()
    if not is_valid_csr(csr):  # the compiled loops trust it
        raise ValueError("`X` must be a valid sparse matrix, got one with indices out of range")
    used = slice(int(csr.indptr[-1]))  # there may be room behind
    data = np.ascontiguousarray(csr.data[used], dtype=np.float64)
    if not np.isfinite(data).all():
        value = float(data[~np.isfinite(data)][0])
        raise ValueError(f"`X` must be finite, got {value!r} among its elements")
    indices = np.ascontiguousarray(csr.indices[used])
    indptr = np.ascontiguousarray(csr.indptr)
    return (data, indices, indptr, int(X.shape[1])), *X.shape


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) != 2 or 0 in shape:
        raise ValueError(
            f"`X` must be two-dimensional, {_ROWS} and a column for each feature, got shape {shape}"
        )


def observations(y: Any, shape: tuple[int | None, ...], low: float, high: float) -> Vector:
    """y as finite doubles from `low` to `high`, of a shape in which None stands for any number."""
    expected = _expected(shape)
    array = real_array("y", expected, y)
    _check_length(array, shape, expected)
    valid = np.isfinite(array) & (array >= low) & (array <= high)
    if not valid.all():
        at = tuple(int(k) for k in np.argwhere(~valid)[0])
        of = f"numbers from {low:g} to {high:g}" if high < np.inf else "finite numbers"
        if low == 0.0 and high == np.inf:
            of = "finite nonnegative numbers"
        place = at[0] if len(at) == 1 else at
        raise ValueError(f"`y` must hold {of}, got {float(array[at])!r} at index {place}")
    return array


def class_numbers(y: Any, n: int, n_classes: Any) -> tuple[NDArray[np.int64], int]:
    """y as integers, and the number of classes: the one given, or one more than the largest."""
    expected = _expected((n,))
    real = real_array("y", expected, y)
    _check_length(real, (n,), expected)
    if isinstance(n_classes, bool | np.bool_) or not (
        n_classes is None or isinstance(n_classes, int | np.integer)
    ):
        raise TypeError(f"`n_classes` must be an integer of at least 2 or None, got {n_classes!r}")
    if n_classes is not None and n_classes < 2:
        raise ValueError(f"`n_classes` must be an integer of at least 2 or None, got {n_classes}")
    high = np.inf if n_classes is None else float(n_classes - 1)
    # Above, an integer might not be the double that it came through.
    valid = (real >= 0) & (real <= min(high, 2.0**31)) & (real == np.floor(real))
    if not valid.all():
        at = int(valid.argmin())
        to = "" if n_classes is None else f" to {n_classes - 1}"
        raise ValueError(
            f"`y` must hold the numbers of classes, integers from 0{to}, got {float(real[at])!r} "
            f"at index {at}"
        )
    classes = np.ascontiguousarray(y if _is_int64(y) else real.astype(np.int64))
    if n_classes is None and classes.max() == 0:
        raise ValueError("`y` must hold at least two classes if `n_classes` is None, got 0 alone")
    return classes, int(classes.max() + 1 if n_classes is None else n_classes)


def _is_int64(y: Any) -> bool:
    return type(y) is np.ndarray and y.dtype == np.int64


def weights(sample_weight: Any, n: int) -> Vector:
    """Weights as finite doubles that do not vanish together; none at all for None."""
    if sample_weight is None:
        return np.empty(0)
    expected = f"None or an array of {n} nonnegative numbers, one for each row of `X`"
    array = real_array("sample_weight", expected, sample_weight)
    if array.shape != (n,):
        raise ValueError(f"`sample_weight` must be {expected}, got an array of shape {array.shape}")
    valid = np.isfinite(array) & (array >= 0.0)
    if not valid.all():
        at = int(valid.argmin())
        raise ValueError(
            "`sample_weight` must be finite and nonnegative, "
            f"got {float(array[at])!r} at index {at}"
        )
    with np.errstate(over="ignore"):
        total = float(array.sum())
    if not np.finfo(np.float64).tiny <= total < np.inf:
        raise ValueError(f"`sample_weight` must have a positive, finite sum, got one of {total!r}")
    return array


def _expected(shape: tuple[int | None, ...]) -> str:
    if len(shape) == 1:
        return f"an array of {shape[0]} real numbers, one for each row of `X`"
    return f"a two-dimensional array of real numbers, with {shape[0]} rows as `X` has"


def _check_length(array: Vector, shape: tuple[int | None, ...], expected: str) -> None:
    fits = array.ndim == len(shape) and all(
        size == wanted if wanted is not None else size > 0
        for size, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits:
        raise ValueError(f"`y` must be {expected}, got an array of shape {array.shape}")
