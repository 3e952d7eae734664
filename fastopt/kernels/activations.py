"""Activations, and their derivatives, which take the activation's result.

Owns the arguments; the work is done by the modules of this name for the CPU and for GPUs.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from fastopt.core.validate import Real
from fastopt.kernels import arguments
from fastopt.kernels.dispatch import anywhere, kernels

__all__ = [
    "leaky_relu",
    "leaky_relu_backward",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "softmax",
    "softmax_backward",
    "tanh",
    "tanh_backward",
]

Array = NDArray[Any]

_kernels = kernels("activations")
_SLOPE = Real(low=0.0, open_high=True)


@anywhere
def relu(x: Array, *, out: Array | None = None, stream: Any = None) -> Array:
    """The greater of x and 0; NaN where x is.

    Parameters
    ----------
    x : ndarray
        float32 or float64, C-contiguous; or float16, on a GPU.
    out : ndarray of x's shape, optional
        Where the result goes; it may be `x`.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    ndarray of x's shape

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, dtype or shape.

    See Also
    --------
    relu_backward

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> kernels.relu(np.array([-2.0, 0.0, 3.0]))
    array([0., 0., 3.])
    """
    out = _result(x, None, out, half=True)
    _kernels(out).relu(x, out)
    return out


@anywhere
def relu_backward(grad: Array, y: Array, *, out: Array | None = None, stream: Any = None) -> Array:
    """The gradient of a loss in the argument of :func:`relu`, from that in its result y.

    It is ``grad`` where y > 0, and 0 elsewhere.

    Parameters
    ----------
    grad, y : ndarray
        Of one shape; float32 or float64, C-contiguous.
    out : ndarray of y's shape, optional
        Where the result goes; it may be `grad`.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    ndarray of y's shape

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, dtype or shape.

    See Also
    --------
    relu

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> kernels.relu_backward(np.array([5.0, 6.0]), np.array([0.0, 3.0]))
    array([0., 6.])
    """
    out = _gradient(grad, y, None, out)
    _kernels(out).relu_backward(grad, y, out)
    return out


@anywhere
def leaky_relu(
    x: Array, slope: float = 0.01, *, out: Array | None = None, stream: Any = None
) -> Array:
    """x where it is positive, and ``slope x`` elsewhere.

    Parameters
    ----------
    x : ndarray
        float32 or float64, C-contiguous; or float16, on a GPU.
    slope : float, default 0.01
        Not negative.
    out : ndarray of x's shape, optional
        Where the result goes; it may be `x`.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    ndarray of x's shape

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, dtype or shape.

    See Also
    --------
    leaky_relu_backward

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> kernels.leaky_relu(np.array([-2.0, 0.0, 3.0]), 0.5)
    array([-1.,  0.,  3.])
    """
    slope = _SLOPE("slope", slope, 0)
    out = _result(x, None, out, half=True)
    _kernels(out).leaky_relu(x, slope, out)
    return out


@anywhere
def leaky_relu_backward(
    grad: Array, y: Array, slope: float = 0.01, *, out: Array | None = None, stream: Any = None
) -> Array:
    """The gradient of a loss in the argument of :func:`leaky_relu`, from that in its result y.

    It is ``grad`` where y > 0, and ``slope grad`` elsewhere.

    Parameters
    ----------
    grad, y : ndarray
        Of one shape; float32 or float64, C-contiguous.
    slope : float, default 0.01
        Not negative.
    out : ndarray of y's shape, optional
        Where the result goes; it may be `grad`.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    ndarray of y's shape

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, dtype or shape.

    See Also
    --------
    leaky_relu

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> kernels.leaky_relu_backward(np.array([5.0, 6.0]), np.array([-1.0, 3.0]), 0.5)
    array([2.5, 6. ])
    """
    slope = _SLOPE("slope", slope, 0)
    out = _gradient(grad, y, None, out)
    _kernels(out).leaky_relu_backward(grad, y, slope, out)
    return out


@anywhere
def sigmoid(x: Array, *, out: Array | None = None, stream: Any = None) -> Array:
    """1 / (1 + exp(-x)), to a few roundings, and without overflow.

    Parameters
    ----------
    x : ndarray
        float32 or float64, C-contiguous.
    out : ndarray of x's shape, optional
        Where the result goes; it may be `x`.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    ndarray of x's shape

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, dtype or shape.

    See Also
    --------
    sigmoid_backward

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> kernels.sigmoid(np.array([-1e4, 0.0, 1e4]))
    array([0. , 0.5, 1. ])
    """
    out = _result(x, None, out)
    _kernels(out).sigmoid(x, out)
    return out


@anywhere
def sigmoid_backward(
    grad: Array, y: Array, *, out: Array | None = None, stream: Any = None
) -> Array:
    """The gradient of a loss in the argument of :func:`sigmoid`, from that in its result y.

    It is ``grad y (1 - y)``.

    Parameters
    ----------
    grad, y : ndarray
        Of one shape; float32 or float64, C-contiguous.
    out : ndarray of y's shape, optional
        Where the result goes; it may be `grad`.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    ndarray of y's shape

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, dtype or shape.

    See Also
    --------
    sigmoid

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> kernels.sigmoid_backward(np.array([1.0]), np.array([0.5]))
    array([0.25])
    """
    out = _gradient(grad, y, None, out)
    _kernels(out).sigmoid_backward(grad, y, out)
    return out


@anywhere
def tanh(x: Array, *, out: Array | None = None, stream: Any = None) -> Array:
    """The hyperbolic tangent, to a few roundings however small x is.

    Parameters
    ----------
    x : ndarray
        float32 or float64, C-contiguous.
    out : ndarray of x's shape, optional
        Where the result goes; it may be `x`.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    ndarray of x's shape

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, dtype or shape.

    See Also
    --------
    tanh_backward

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> kernels.tanh(np.array([-1e4, 1e-12, 1e4]))
    array([-1.e+00,  1.e-12,  1.e+00])
    """
    out = _result(x, None, out)
    _kernels(out).tanh(x, out)
    return out


@anywhere
def tanh_backward(grad: Array, y: Array, *, out: Array | None = None, stream: Any = None) -> Array:
    """The gradient of a loss in the argument of :func:`tanh`, from that in its result y.

    It is ``grad (1 - y**2)``.

    Parameters
    ----------
    grad, y : ndarray
        Of one shape; float32 or float64, C-contiguous.
    out : ndarray of y's shape, optional
        Where the result goes; it may be `grad`.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    ndarray of y's shape

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, dtype or shape.

    See Also
    --------
    tanh

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> kernels.tanh_backward(np.array([1.0]), np.array([0.5]))
    array([0.75])
    """
    out = _gradient(grad, y, None, out)
    _kernels(out).tanh_backward(grad, y, out)
    return out


@anywhere
def softmax(x: Array, *, out: Array | None = None, stream: Any = None) -> Array:
    """``exp(x)`` over its sum, for each row, without overflow.

    Parameters
    ----------
    x : ndarray of shape (N, C)
        float32 or float64, C-contiguous.
    out : ndarray of x's shape, optional
        Where the result goes; it may be `x`.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    ndarray of x's shape

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, dtype or shape.

    See Also
    --------
    softmax_backward

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> kernels.softmax(np.array([[1e4, 1e4], [0.0, np.log(3.0)]])).round(12)
    array([[0.5 , 0.5 ],
           [0.25, 0.75]])
    """
    out = _result(x, ("N", "C"), out)
    _kernels(out).softmax(x, out)
    return out


@anywhere
def softmax_backward(
    grad: Array, y: Array, *, out: Array | None = None, stream: Any = None
) -> Array:
    """The gradient of a loss in the argument of :func:`softmax`, from that in its result y.

    It is ``y (grad - sum of grad y over the row)``.

    Parameters
    ----------
    grad, y : ndarray of shape (N, C)
        Of one shape; float32 or float64, C-contiguous.
    out : ndarray of y's shape, optional
        Where the result goes; it may be `grad`.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    ndarray of y's shape

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, dtype or shape.

    See Also
    --------
    softmax

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> kernels.softmax_backward(np.array([[1.0, 0.0]]), np.array([[0.25, 0.75]]))
    array([[ 0.1875, -0.1875]])
    """
    out = _gradient(grad, y, ("N", "C"), out)
    _kernels(out).softmax_backward(grad, y, out)
    return out


def _result(x: Any, shape: Any, out: Any, half: bool = False) -> Array:
    """Check x, and `out` or make it."""
    arguments.array("x", x, getattr(x, "shape", ()) if shape is None else shape, half=half)
    return arguments.output("out", out, x.shape, x, [] if out is x else [("x", x)])


def _gradient(grad: Any, y: Any, shape: Any, out: Any) -> Array:
    """Check grad and y, and `out` or make it."""
    arguments.array("y", y, getattr(y, "shape", ()) if shape is None else shape)
    arguments.array("grad", grad, y.shape, y.dtype, like="y")
    apart = [("y", y)] if out is grad else [("y", y), ("grad", grad)]
    return arguments.output("out", out, y.shape, y, apart)
