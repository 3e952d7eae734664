"""Bias corrections, in double or in the parameters' own precision.

Some frameworks compute ``1 - beta**t`` in double, others in the parameters' precision, and in
float32 the fifth digit of ``1 - 0.999**t`` depends on it. Here the type of `t` decides.
"""

# Numba's type system has few annotations.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from fastopt.core._jit import RULE
from fastopt.rules._unroll import cast

__all__ = ["complement", "correction", "double", "in_double", "in_own_precision", "power"]


@RULE
def correction(beta: float, t: float) -> float:
    """``1 - beta**t``, by which an average that began at zero is divided.

    Parameters
    ----------
    beta : float
        Decay rate of the average, from 0 to 1.
    t : float
        How many numbers it has seen, in the precision of the result.

    Returns
    -------
    float

    Examples
    --------
    >>> correction(0.75, 1.0)
    0.25
    >>> import numpy as np
    >>> round(correction(0.999, 1.0), 9), round(correction(0.999, np.float32(1.0)), 9)
    (0.001, 0.000999987)
    """
    # A power below exp(-40) is lost in the difference, and takes longer than all the rest.
    return 1.0 if t * (1.0 - beta) > 40.0 else 1.0 - power(beta, t)


@RULE
def complement(beta: float, t: float) -> float:
    """``1 - beta`` for a `beta` rounded to the precision of `t`.

    In float32 ``1 - 0.999`` is 200 ulp off, so this is for those alone who compute it there.

    Examples
    --------
    >>> import numpy as np
    >>> complement(0.75, 7), round(complement(0.999, np.float32(7.0)), 9)
    (0.25, 0.000999987)
    """
    return 1.0 - power(beta, t / t)


def power(beta: float, t: float) -> float:
    """``beta**t`` in the precision of `t`.

    Examples
    --------
    >>> power(0.5, 3)
    0.125
    """
    # By double's power in any case: float32's is another in NumPy than in compiled code.
    if isinstance(t, np.float32):
        return float(np.float32(float(np.float32(beta)) ** float(t)))
    left: float = beta ** float(t)
    return left


@overload(power, strict=False)
def _compile_power(beta: Any, t: Any) -> Any:
    if t == types.float32:
        return lambda beta, t: np.float64(np.float32(np.float64(np.float32(beta)) ** np.float64(t)))
    # A power by an integer would multiply t times over: other bits than in Python, and worse.
    return lambda beta, t: beta ** np.float64(t)


def double(t: float) -> float:
    """`t` in double precision, in which to go on with it.

    Examples
    --------
    >>> import numpy as np
    >>> double(np.float32(3.0)) / 7
    0.42857142857142855
    """
    return float(t)


@overload(double, strict=False)
def _compile_double(t: Any) -> Any:
    return lambda t: np.float64(t)


@RULE
def in_double(t: int, x: Any) -> float:
    """The number of a step in double precision, whatever the parameters `x` are."""
    return double(t)


@RULE
def in_own_precision(t: int, x: Any) -> float:
    """The number of a step in the precision of the parameters `x`."""
    number: float = cast((t,), x.dtype)[0]
    return number
