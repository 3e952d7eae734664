"""Sums of arrays, and arrays side by side along their channels.

Owns the arguments; the work is done by the modules of this name for the CPU and for GPUs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from fastopt.kernels import arguments
from fastopt.kernels.dispatch import anywhere, kernels

__all__ = ["add", "add_relu", "concatenate", "split"]

Array = NDArray[Any]

_kernels = kernels("arithmetic")


@anywhere
def add(a: Array, b: Array, *, out: Array | None = None, stream: Any = None) -> Array:
    """The sum of two arrays of one shape.

    Parameters
    ----------
    a, b : ndarray
        float32 or float64, C-contiguous; or float16, on a GPU.
    out : ndarray of the same shape, optional
        Where the result goes; it may be `a` or `b`.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    ndarray of the same shape

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, dtype or shape.

    See Also
    --------
    add_relu

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> kernels.add(np.array([1.0, 2.0]), np.array([3.0, -4.0]))
    array([ 4., -2.])
    """
    _check_pair(a, b)
    if out is a or out is b:
        out = arguments.output("out", out, a.shape, a)
        _kernels(out).accumulate(b if out is a else a, out)
        return out
    out = arguments.output("out", out, a.shape, a, [("a", a), ("b", b)])
    _kernels(out).add(a, b, out)
    return out


@anywhere
def add_relu(a: Array, b: Array, *, out: Array | None = None, stream: Any = None) -> Array:
    """The greater of ``a + b`` and 0; its gradient in both is :func:`relu_backward`'s.

    Parameters
    ----------
    a, b : ndarray
        Of one shape; float32 or float64, C-contiguous; or float16, on a GPU.
    out : ndarray of the same shape, optional
        Where the result goes.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    ndarray of the same shape

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, dtype or shape.

    See Also
    --------
    add, relu_backward

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> kernels.add_relu(np.array([1.0, 2.0]), np.array([3.0, -4.0]))
    array([4., 0.])
    """
    _check_pair(a, b)
    out = arguments.output("out", out, a.shape, a, [("a", a), ("b", b)])
    _kernels(out).add_relu(a, b, out)
    return out


@anywhere
def concatenate(arrays: Sequence[Array], *, out: Array | None = None, stream: Any = None) -> Array:
    """Images one after the other along their channels; its gradient is :func:`split`'s.

    Parameters
    ----------
    arrays : sequence of ndarrays of shape (N, C, ...)
        Of one dtype, float32 or float64, and one shape but for C; C-contiguous.
    out : ndarray of shape (N, sum of all C, ...), optional
        Where the result goes.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    ndarray of shape (N, sum of all C, ...)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, dtype or shape.

    See Also
    --------
    split

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> kernels.concatenate([np.zeros((1, 1, 2)), np.ones((1, 2, 2))])
    array([[[0., 0.],
            [1., 1.],
            [1., 1.]]])
    """
    if not isinstance(arrays, tuple | list):
        raise TypeError(f"`arrays` must be a list of arrays, got {type(arrays).__name__}")
    if not arrays:
        raise ValueError("`arrays` must have at least one array, got none")
    first = arrays[0]
    _check_channels("arrays[0]", first)
    N, _, *rest = first.shape
    for i, array in enumerate(arrays):
        arguments.array(f"arrays[{i}]", array, (N, "C", *rest), first.dtype, like="arrays[0]")
    shape = (N, sum(array.shape[1] for array in arrays), *rest)
    apart = [(f"arrays[{i}]", array) for i, array in enumerate(arrays)]
    out = arguments.output("out", out, shape, first, apart)
    begin = 0
    for array in arrays:
        _kernels(out).copy_channels(array, 0, out, begin, array.shape[1])
        begin += array.shape[1]
    return out


@anywhere
def split(x: Array, channels: Sequence[int], *, stream: Any = None) -> list[Array]:
    """Images cut along their channels; its gradient is :func:`concatenate`'s.

    Parameters
    ----------
    x : ndarray of shape (N, C, ...)
        float32 or float64, C-contiguous.
    channels : sequence of int
        How many each piece has; C in all.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    list of ndarrays of shape (N, channels[i], ...)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, dtype or shape.

    See Also
    --------
    concatenate

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> kernels.split(np.arange(3.0).reshape(1, 3), [1, 2])
    [array([[0.]]), array([[1., 2.]])]
    """
    _check_channels("x", x)
    N, C, *rest = x.shape
    if not isinstance(channels, tuple | list):
        raise TypeError(f"`channels` must be a list of integers, got {type(channels).__name__}")
    counts = [arguments.positive(f"channels[{i}]", count) for i, count in enumerate(channels)]
    if sum(counts) != C:
        raise ValueError(f"`channels` must add up to the {C} channels of `x`, got {counts}")
    pieces, begin = [], 0
    for count in counts:
        pieces.append(arguments.empty((N, count, *rest), x))
        _kernels(x).copy_channels(x, begin, pieces[-1], 0, count)
        begin += count
    return pieces


def _check_pair(a: Any, b: Any) -> None:
    arguments.array("a", a, getattr(a, "shape", ()), half=True)
    arguments.array("b", b, a.shape, a.dtype, like="a")


def _check_channels(name: str, value: Any) -> None:
    shape = getattr(value, "shape", ())
    if arguments.is_array(value) and len(shape) < 2:
        raise ValueError(f"`{name}` must be of shape (N, C, ...), got shape {shape}")
    arguments.array(name, value, shape)
