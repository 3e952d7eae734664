"""Pooling of images: the largest number or the mean of each window or image, and the derivatives.

Owns the arguments; the work is done by the modules of this name for the CPU and for GPUs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt.core.validate import Flag
from fastopt.kernels import arguments
from fastopt.kernels.cpu.pooling import PLACE
from fastopt.kernels.dispatch import anywhere, kernels
from fastopt.kernels.geometry import PoolGeometry

__all__ = [
    "avg_pool2d",
    "avg_pool2d_backward",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "max_pool2d",
    "max_pool2d_backward",
]

Array = NDArray[Any]
Pair = int | tuple[int, int]
Padding = Pair | tuple[tuple[int, int], tuple[int, int]]

_kernels = kernels("pooling")
_IMAGES = ("N", "C", "H", "W")
_FLAG = Flag()


@anywhere
def max_pool2d(
    x: Array,
    kernel_size: Pair,
    *,
    stride: Pair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    out: Array | None = None,
    where: NDArray[np.int32] | None = None,
    stream: Any = None,
) -> tuple[Array, NDArray[np.int32]]:
    """The largest number in each window.

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W)
        float32 or float64, C-contiguous; or float16, on a GPU.
    kernel_size : int or (int, int)
        Height and width of a window.
    stride : int or (int, int), optional
        From one window to the next; `kernel_size` if None.
    padding : int, (int, int) or ((int, int), (int, int)), default 0
        Around the image: on all sides, (height, width), or ((top, bottom), (left, right)); less
        than the window. It is never the largest.
    ceil_mode : bool, default False
        Whether a last window may hang over the end, if it begins before the end of the image.
    out : ndarray of shape (N, C, OH, OW), optional
        Where the result goes.
    where : ndarray of shape (N, C, OH, OW) and dtype int32, optional
        Where the places go.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    out : ndarray of shape (N, C, OH, OW)
        NaN where one is in the window.
    where : ndarray of shape (N, C, OH, OW), int32
        The place of that number in its image, ``row W + column``; of equals the first.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, dtype or shape, or if no window fits.

    See Also
    --------
    max_pool2d_backward, avg_pool2d

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> x = np.array([[[[1.0, 2.0, 0.0], [4.0, 3.0, 5.0]]]])
    >>> out, where = kernels.max_pool2d(x, 2, stride=1)
    >>> out, where
    (array([[[[4., 5.]]]]), array([[[[3, 5]]]], dtype=int32))
    """
    arguments.array("x", x, _IMAGES, half=True)
    geometry = _geometry(x.shape, kernel_size, stride, padding, ceil_mode)
    shape = geometry.output_shape
    out = arguments.output("out", out, shape, x, [("x", x)])
    if where is None:
        where = arguments.empty(shape, x, PLACE)
    else:
        _check_where(where, shape)
        arguments.check_written("where", where, [("x", x), ("out", out)])
    _kernels(out).max_pool2d(x, geometry, out, where)
    return out, where


@anywhere
def max_pool2d_backward(
    grad: Array,
    where: NDArray[np.int32],
    input_shape: Sequence[int],
    *,
    kernel_size: Pair | None = None,
    stride: Pair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    out: Array | None = None,
    stream: Any = None,
) -> Array:
    """The gradient of a loss in x, from that in the result of :func:`max_pool2d`.

    Each number of `grad` goes to the place that was the largest in its window; where windows share
    one, their gradients add up.

    Parameters
    ----------
    grad : ndarray of shape (N, C, OH, OW)
        float32 or float64, C-contiguous.
    where : ndarray of shape (N, C, OH, OW), int32
        What :func:`max_pool2d` returned.
    input_shape : (N, C, H, W)
        The shape of x.
    kernel_size, stride, padding, ceil_mode
        As :func:`max_pool2d` had them. The result is the same without, but a GPU, which then does
        not know where to look, takes longer.
    out : ndarray of that shape, optional
        Where the result goes.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    ndarray of shape (N, C, H, W)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, dtype or shape, or a place outside the image; places
        on a GPU are not looked at, and from one outside the gradient goes nowhere.

    See Also
    --------
    max_pool2d

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> x = np.array([[[[1.0, 2.0, 0.0], [4.0, 9.0, 5.0]]]])
    >>> _, where = kernels.max_pool2d(x, 2, stride=1)
    >>> kernels.max_pool2d_backward(np.array([[[[10.0, 20.0]]]]), where, x.shape)
    array([[[[ 0.,  0.,  0.],
             [ 0., 30.,  0.]]]])
    """
    N, C, H, W = arguments.shape_of("input_shape", input_shape, _IMAGES)
    if kernel_size is None:
        geometry = PoolGeometry(N, C, H, W, 1, 1, stride=(1, 1))  # whatever the windows were
        arguments.array("grad", grad, (N, C, "OH", "OW"))
    else:
        geometry = _geometry((N, C, H, W), kernel_size, stride, padding, ceil_mode)
        arguments.array("grad", grad, geometry.output_shape)
    _check_where(where, grad.shape)
    # Nobody waits for a GPU: from such a place there, the gradient goes nowhere.
    if isinstance(where, np.ndarray) and (where.min() < 0 or where.max() >= H * W):
        raise ValueError(
            f"`where` must hold places from 0 to {H * W - 1}, got {where.min()} to {where.max()}"
        )
    read = [("grad", grad), ("where", where)]
    out = arguments.output("out", out, (N, C, H, W), grad, read)
    _kernels(out).max_pool2d_backward(grad, where, geometry, out)
    return out


@anywhere
def avg_pool2d(
    x: Array,
    kernel_size: Pair,
    *,
    stride: Pair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    out: Array | None = None,
    stream: Any = None,
) -> Array:
    """The mean of each window.

    Parameters
    ----------
    x, kernel_size, stride, padding, ceil_mode
        As in :func:`max_pool2d`.
    count_include_pad : bool, default True
        Whether padding counts as zeros, as in PyTorch; what hangs over behind it does not.
    out : ndarray of shape (N, C, OH, OW), optional
        Where the result goes.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    ndarray of shape (N, C, OH, OW)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, dtype or shape, or if no window fits.

    See Also
    --------
    avg_pool2d_backward, global_avg_pool2d

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> kernels.avg_pool2d(np.arange(8.0).reshape(1, 1, 2, 4), 2)
    array([[[[2.5, 4.5]]]])
    """
    arguments.array("x", x, _IMAGES, half=True)
    geometry = _geometry(x.shape, kernel_size, stride, padding, ceil_mode)
    padded = _FLAG("count_include_pad", count_include_pad, 0)
    out = arguments.output("out", out, geometry.output_shape, x, [("x", x)])
    _kernels(out).avg_pool2d(x, geometry, padded, out)
    return out


@anywhere
def avg_pool2d_backward(
    grad: Array,
    input_shape: Sequence[int],
    kernel_size: Pair,
    *,
    stride: Pair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    out: Array | None = None,
    stream: Any = None,
) -> Array:
    """The gradient of a loss in x, from that in the result of :func:`avg_pool2d`.

    Parameters
    ----------
    grad : ndarray of shape (N, C, OH, OW)
        float32 or float64, C-contiguous.
    input_shape : (N, C, H, W)
        The shape of x.
    kernel_size, stride, padding, ceil_mode, count_include_pad
        As :func:`avg_pool2d` had them.
    out : ndarray of shape (N, C, H, W), optional
        Where the result goes.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    ndarray of shape (N, C, H, W)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, dtype or shape.

    See Also
    --------
    avg_pool2d

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> kernels.avg_pool2d_backward(np.array([[[[4.0, 8.0]]]]), (1, 1, 2, 4), 2)
    array([[[[1., 1., 2., 2.],
             [1., 1., 2., 2.]]]])
    """
    shape = arguments.shape_of("input_shape", input_shape, _IMAGES)
    geometry = _geometry(shape, kernel_size, stride, padding, ceil_mode)
    padded = _FLAG("count_include_pad", count_include_pad, 0)
    arguments.array("grad", grad, geometry.output_shape)
    out = arguments.output("out", out, shape, grad, [("grad", grad)])
    _kernels(out).avg_pool2d_backward(grad, geometry, padded, out)
    return out


@anywhere
def global_avg_pool2d(x: Array, *, out: Array | None = None, stream: Any = None) -> Array:
    """The mean of each image: one number a channel.

    In a classifier it takes the place of fully connected layers [1]_.

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W)
        float32 or float64, C-contiguous; or float16, on a GPU.
    out : ndarray of shape (N, C), optional
        Where the result goes.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    ndarray of shape (N, C)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, dtype or shape.

    See Also
    --------
    global_avg_pool2d_backward

    References
    ----------
    .. [1] M. Lin, Q. Chen & S. Yan, "Network in network",
           ICLR 2014, section 3.2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> kernels.global_avg_pool2d(np.arange(8.0).reshape(1, 2, 2, 2))
    array([[1.5, 5.5]])
    """
    N, C, _, _ = arguments.array("x", x, _IMAGES, half=True).shape
    out = arguments.output("out", out, (N, C), x, [("x", x)])
    _kernels(out).global_avg_pool2d(x, out)
    return out


@anywhere
def global_avg_pool2d_backward(
    grad: Array, input_shape: Sequence[int], *, out: Array | None = None, stream: Any = None
) -> Array:
    """The gradient of a loss in x, from that in the result of :func:`global_avg_pool2d`.

    Parameters
    ----------
    grad : ndarray of shape (N, C)
        float32 or float64, C-contiguous.
    input_shape : (N, C, H, W)
        The shape of x.
    out : ndarray of shape (N, C, H, W), optional
        Where the result goes.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    ndarray of shape (N, C, H, W)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, dtype or shape.

    See Also
    --------
    global_avg_pool2d

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> kernels.global_avg_pool2d_backward(np.array([[8.0]]), (1, 1, 2, 2))
    array([[[[2., 2.],
             [2., 2.]]]])
    """
    N, C, H, W = arguments.shape_of("input_shape", input_shape, _IMAGES)
    arguments.array("grad", grad, (N, C))
    out = arguments.output("out", out, (N, C, H, W), grad, [("grad", grad)])
    _kernels(out).global_avg_pool2d_backward(grad, out)
    return out


def _geometry(
    shape: tuple[int, ...], kernel_size: Any, stride: Any, padding: Any, ceil_mode: Any
) -> PoolGeometry:
    window = arguments.pair("kernel_size", kernel_size)
    step = window if stride is None else arguments.pair("stride", stride)
    sides = arguments.padding("padding", padding, window, step)
    for side, length in zip(sides, window, strict=True):
        if max(side) >= length:
            raise ValueError(
                "`padding` must be less than `kernel_size`, or a window would see nothing of the "
                f"image, got padding {sides} and kernel_size {window}"
            )
    N, C, H, W = shape
    ceil_mode = _FLAG("ceil_mode", ceil_mode, 0)
    geometry = PoolGeometry(N, C, H, W, *window, step, sides, ceil_mode)
    if min(geometry.OH, geometry.OW) < 1:
        raise ValueError(
            f"`kernel_size` must fit into the padded image, got {window} for height and width "
            f"{(H, W)} and padding {sides}"
        )
    return geometry


def _check_where(where: Any, shape: tuple[int, ...]) -> None:
    if not arguments.is_array(where) or where.dtype != PLACE:
        came = getattr(where, "dtype", type(where).__name__)
        raise TypeError(f"`where` must be an array of int32, got {came}")
    if where.shape != shape:
        arguments.wrong_shape("where", shape, where.shape)
    if not arguments.is_contiguous(where):
        raise ValueError(f"`where` must be C-contiguous, got strides {where.strides}")
