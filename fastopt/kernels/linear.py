"""The linear layer: a product with a matrix of weights, and its derivatives.

Owns the arguments; the work is done by :mod:`fastopt.kernels.cpu.linear`, or on a GPU by
:mod:`fastopt.kernels.cuda.linear`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

from numpy.typing import NDArray

from fastopt.device.arrays import DeviceArray
from fastopt.kernels import arguments
from fastopt.kernels.dispatch import anywhere, kernels

__all__ = ["linear", "linear_backward_bias", "linear_backward_data", "linear_backward_weight"]

Array = NDArray[Any]
Precision = Literal["ieee", "3xtf32", "tf32"]

_kernels = kernels("linear")


@anywhere
def linear(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    precision: Precision = "ieee",
    out: Array | None = None,
    stream: Any = None,
) -> Array:
    """Weighted sums of features, ``out = x weight' + bias``.

    Parameters
    ----------
    x : (N, C) ndarray
        float32 or float64; or float16, on a GPU, with sums in float32.
    weight : (K, C) ndarray
        Of x's dtype, as the others.
    bias : (K,) ndarray, optional
        None adds nothing.
    precision : {"ieee", "3xtf32", "tf32"}, default "ieee"
        How a GPU multiplies float32; "ieee" as it does float64, and as the CPU does; the others on
        tensor cores. "tf32" rounds numbers to 11 significant bits, for errors of some 3e-4.
        "3xtf32" takes each as a sum of two such numbers, for errors as in float32; a sum that
        infinity is part of becomes NaN. float16 are exact in "tf32", and take no "3xtf32".
    out : (N, K) ndarray, optional
        Where the result goes.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    (N, K) ndarray

    Raises
    ------
    TypeError, ValueError
        If an array is of another shape or dtype, empty or not C-contiguous, or if `precision` is
        not "ieee" on the CPU or for float64.

    See Also
    --------
    linear_backward_data, linear_backward_weight, linear_backward_bias

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> x, weight = np.array([[1.0, 2.0]]), np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> kernels.linear(x, weight, np.array([0.0, 0.0, 10.0]))
    array([[ 1.,  2., 13.]])
    """
    N, C = arguments.array("x", x, ("N", "C"), half=True).shape
    K = arguments.array("weight", weight, ("K", C), x.dtype).shape[0]
    if bias is not None:
        arguments.array("bias", bias, (K,), x.dtype)
    apart = [("x", x), ("weight", weight), ("bias", bias)]
    arguments.products("precision", precision, x)
    out = arguments.output("out", out, (N, K), x, apart)
    plan = _plan(N, C, K, out, precision)
    plan.forward(x, weight, bias, out, arguments.workspace_of(plan, "forward", None, out))
    return out


@anywhere
def linear_backward_data(
    grad: Array,
    weight: Array,
    *,
    precision: Precision = "ieee",
    out: Array | None = None,
    stream: Any = None,
) -> Array:
    """The derivative by x of a loss whose derivative by `linear`'s output is `grad`.

    It is ``grad weight``.

    Parameters
    ----------
    grad : (N, K) ndarray
        float32 or float64.
    weight : (K, C) ndarray
        Of the same dtype.
    precision : {"ieee", "3xtf32", "tf32"}, default "ieee"
        As in :func:`linear`.
    out : (N, C) ndarray, optional
        Where the result goes.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    (N, C) ndarray

    Raises
    ------
    TypeError, ValueError
        If an array is of another shape or dtype, empty or not C-contiguous, or if `precision` is
        not "ieee" on the CPU or for float64.

    See Also
    --------
    linear

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> kernels.linear_backward_data(np.array([[1.0, 2.0]]), np.array([[1.0, 0.0], [0.0, 3.0]]))
    array([[1., 6.]])
    """
    N, K = arguments.array("grad", grad, ("N", "K")).shape
    C = arguments.array("weight", weight, (K, "C"), grad.dtype, like="grad").shape[1]
    apart = [("grad", grad), ("weight", weight)]
    arguments.products("precision", precision, grad)
    out = arguments.output("out", out, (N, C), grad, apart)
    plan = _plan(N, C, K, out, precision)
    plan.backward_data(grad, weight, out, arguments.workspace_of(plan, "data", None, out))
    return out


@anywhere
def linear_backward_weight(
    x: Array,
    grad: Array,
    *,
    precision: Precision = "ieee",
    out: Array | None = None,
    stream: Any = None,
) -> Array:
    """The derivative by weight of a loss whose derivative by `linear`'s output is `grad`.

    It is ``grad' x``.

    Parameters
    ----------
    x : (N, C) ndarray
        float32 or float64.
    grad : (N, K) ndarray
        Of x's dtype.
    precision : {"ieee", "3xtf32", "tf32"}, default "ieee"
        As in :func:`linear`.
    out : (K, C) ndarray, optional
        Where the result goes.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    (K, C) ndarray

    Raises
    ------
    TypeError, ValueError
        If an array is of another shape or dtype, empty or not C-contiguous, or if `precision` is
        not "ieee" on the CPU or for float64.

    See Also
    --------
    linear

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> kernels.linear_backward_weight(np.array([[1.0, 2.0]]), np.array([[10.0, 0.0]]))
    array([[10., 20.],
           [ 0.,  0.]])
    """
    N, C = arguments.array("x", x, ("N", "C")).shape
    K = arguments.array("grad", grad, (N, "K"), x.dtype).shape[1]
    arguments.products("precision", precision, x)
    out = arguments.output("out", out, (K, C), x, [("x", x), ("grad", grad)])
    plan = _plan(N, C, K, out, precision)
    plan.backward_weight(x, grad, out, arguments.workspace_of(plan, "weight", None, out))
    return out


@anywhere
def linear_backward_bias(grad: Array, *, out: Array | None = None, stream: Any = None) -> Array:
    """The derivative by bias of a loss whose derivative by `linear`'s output is `grad`.

    It is the sum over the examples.

    Parameters
    ----------
    grad : (N, K) ndarray
        float32 or float64.
    out : (K,) ndarray, optional
        Where the result goes.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    (K,) ndarray

    Raises
    ------
    TypeError, ValueError
        If an array is of another shape or dtype, empty or not C-contiguous.

    See Also
    --------
    linear

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> kernels.linear_backward_bias(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([4., 6.])
    """
    _, K = arguments.array("grad", grad, ("N", "K")).shape
    out = arguments.output("out", out, (K,), grad, [("grad", grad)])
    _kernels(out).backward_bias(grad, out)
    return out


def _plan(N: int, C: int, K: int, like: Array, precision: Precision) -> Any:
    """The plan for matrices of these sizes."""
    options = (precision,) if isinstance(like, DeviceArray) else ()
    return _kept(_kernels(like).Linear, N, C, K, like.dtype, *options)


@lru_cache(maxsize=64)
def _kept(make: Any, *sizes_and_options: Any) -> Any:
    return make(*sizes_and_options)
