"""Logistic regression of `fastopt.losses` as a C function, for dense and for CSR data.

The context points to what the loss's `args` refer to; the function calls the loss's own compiled
one, so that a library that calls it minimizes exactly what fastopt does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, cfunc, njit

import fastopt

from .objectives import SIGNATURE, Problems, doubles, pointer

# Where the arrays of a loss are, and how large; `entries` is -1 for a dense matrix.
DATA = np.dtype(
    [(name, np.intp) for name in ("data", "indices", "indptr", "y", "samples", "entries")]
    + [("l2", np.float64)]
)

_logistic = fastopt.losses.logistic(np.eye(2), [0, 1]).fun


@njit(error_model="numpy", forceinline=True)
def integers(address, n):
    """The n 32-bit integers at `address`."""
    return carray(pointer(address), (n + 1) // 2).view(np.int32)[:n]


@cfunc(SIGNATURE, error_model="numpy")
def dense_function(theta_at, value_at, grad_at, n, context):
    data = doubles(context, 7)
    place = data.view(np.intp)
    X = carray(pointer(place[0]), (place[4], n))
    y = doubles(place[3], place[4])
    value = _logistic(doubles(theta_at, n), doubles(grad_at, n), X, y, np.empty(0), data[6])
    if value_at != 0:
        doubles(value_at, 1)[0] = value
    return 0


@cfunc(SIGNATURE, error_model="numpy")
def csr_function(theta_at, value_at, grad_at, n, context):
    data = doubles(context, 7)
    place = data.view(np.intp)
    X = (
        doubles(place[0], place[5]),
        integers(place[1], place[5]),
        integers(place[2], place[4] + 1),
        n,
    )
    y = doubles(place[3], place[4])
    value = _logistic(doubles(theta_at, n), doubles(grad_at, n), X, y, np.empty(0), data[6])
    if value_at != 0:
        doubles(value_at, 1)[0] = value
    return 0


def as_problem(name: str, loss: Any) -> Problems:
    """A batch of the one problem of minimizing `loss`, a logistic one without weights."""
    X, y, _, l2 = loss.args
    record = np.zeros(1, dtype=DATA)
    record["y"], record["samples"], record["l2"] = y.ctypes.data, len(y), l2
    if isinstance(X, tuple):
        for field, array in zip(("data", "indices", "indptr"), X, strict=False):
            if field != "data" and array.dtype != np.int32:
                raise TypeError(f"`{field}` must be of 32-bit integers, got {array.dtype}")
            record[field] = array.ctypes.data
        record["entries"] = len(X[0])
    else:
        record["data"], record["entries"] = X.ctypes.data, -1
    function = csr_function if isinstance(X, tuple) else dense_function
    contexts = np.array([record.ctypes.data], dtype=np.intp)
    return Problems(name, loss.fun, loss.args, (), function, loss.x0[None], contexts, record)
