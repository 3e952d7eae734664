"""Products with a matrix of weights, by BLAS.

NumPy's `dot` with an output allocates nothing, and drops the GIL. BLAS has threads of its own, so
none of these may be called inside a part of :mod:`fastopt.kernels.cpu.threads`; and it alone here
may sum in an order that depends on their number. Of numbers too large NumPy warns, as no other
kernel does: callers put that off, once for all that they call.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["backward_bias", "backward_data", "backward_weight", "forward"]

Array = NDArray[Any]


def forward(x: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """x (N, C), weight (K, C), bias (K,) -> out (N, K)."""
    np.dot(x, weight.T, out=out)
    if bias is not None:
        np.add(out, bias, out=out)


def backward_data(grad: Array, weight: Array, out: Array) -> None:
    """grad (N, K), weight (K, C) -> out (N, C)."""
    np.dot(grad, weight, out=out)


def backward_weight(x: Array, grad: Array, out: Array) -> None:
    """x (N, C), grad (N, K) -> out (K, C)."""
    np.dot(grad.T, x, out=out)


def backward_bias(grad: Array, out: Array) -> None:
    """grad (N, K) -> out (K,)."""
    np.add.reduce(grad, axis=0, out=out)
