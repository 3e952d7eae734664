"""Convolution of images (N, C, H, W) and of series (N, C, L), and its gradients.

As in other libraries for networks the window is not turned around: it is cross-correlation.

Owns arguments and meaning; the work is done by the modules of this name for the CPU and for GPUs.
Plans are kept, so that the second call with the same shapes finds its tables ready.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastopt.device.arrays import DeviceArray
from fastopt.kernels import arguments
from fastopt.kernels.cpu.threads import get_num_threads
from fastopt.kernels.dispatch import anywhere, kernels
from fastopt.kernels.geometry import ConvGeometry

__all__ = [
    "conv1d",
    "conv1d_backward_bias",
    "conv1d_backward_data",
    "conv1d_backward_weight",
    "conv2d",
    "conv2d_backward_bias",
    "conv2d_backward_data",
    "conv2d_backward_weight",
    "conv2d_workspace",
]

Array = NDArray[Any]
Pair = int | tuple[int, int]
Sides = int | str | tuple[int, int]
Padding = Sides | tuple[tuple[int, int], tuple[int, int]]

Precision = Literal["ieee", "3xtf32", "tf32"]

_kernels = kernels("convolution")
_DEVICES = ("cpu", "cuda")
_IMAGES, _WINDOWS = ("H", "W"), ("R", "S")
_SERIES, _SPANS = ("L",), ("S",)


@anywhere
def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    out: Array | None = None,
    workspace: Array | None = None,
    precision: Precision = "ieee",
    stream: Any = None,
) -> Array:
    """Convolution of images with K kernels.

    ``out[n, k, i, j] = bias[k] + sum over c, r, s of
    weight[k, c, r, s] x[n, c, i stride + r dilation - top, j stride + s dilation - left]``,
    where x is zero outside the image, and c runs over the channels of k's group.

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W)
        float32 or float64, C-contiguous; or float16, on a GPU, with sums in float32.
    weight : ndarray of shape (K, C // groups, R, S)
        Of the same dtype, as all arrays here.
    bias : ndarray of shape (K,), optional
    stride, dilation : int or (int, int), default 1
        Elements from one window to the next, and between two elements of a window; for both axes,
        or in the order (height, width).
    padding : int, (int, int), ((int, int), (int, int)), "same" or "valid", default 0
        Zeros around the image: on all sides, (height, width), or ((top, bottom), (left, right)).
        "same" leaves the size as it is, if the stride is 1, the greater half behind; "valid" is 0.
    groups : int, default 1
        Into how many parts channels and kernels are divided, each kernel seeing its own part; C
        for a depthwise convolution.
    out : ndarray of shape (N, K, OH, OW), optional
        Where the result goes.
    workspace : ndarray of shape (n,), optional
        Room for intermediate values, as much as :func:`conv2d_workspace` says; float32 for float16.
    precision : {"ieee", "3xtf32", "tf32"}, default "ieee"
        How float32 numbers are multiplied on a GPU, see :func:`linear`. On the CPU, and for
        float64, it is "ieee".
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    ndarray of shape (N, K, OH, OW)
        `out`, or a new array. ``OH = (H + top + bottom - dilation (R - 1) - 1) // stride + 1``.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, dtype or shape, or if no window fits.

    See Also
    --------
    conv2d_backward_data, conv2d_backward_weight, conv2d_backward_bias, conv1d

    Notes
    -----
    The same bits for any number of threads. Sums are blocked, and their order depends on shapes
    and on the processor. See Chellapilla, Puri & Simard 2006 for convolution as a product of
    matrices; none is formed here.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> weight = np.array([[[[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]]]])
    >>> kernels.conv2d(x, weight, padding="same")[0, 0]
    array([[  4.,   2.,  -2.],
           [ -2.,   0.,  -6.],
           [-14., -10., -20.]])
    """
    return _forward(
        _IMAGES,
        _WINDOWS,
        x,
        weight,
        bias,
        (stride, padding, dilation, groups),
        precision,
        out,
        workspace,
    )


@anywhere
def conv2d_backward_data(
    grad: Array,
    weight: Array,
    input_shape: Sequence[int],
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    out: Array | None = None,
    workspace: Array | None = None,
    precision: Precision = "ieee",
    stream: Any = None,
) -> Array:
    """The gradient of :func:`conv2d` in x.

    Parameters
    ----------
    grad : ndarray of shape (N, K, OH, OW)
        The gradient of a loss in the convolution's result.
    weight : ndarray of shape (K, C // groups, R, S)
    input_shape : (N, C, H, W)
        The shape of x, which that of `grad` leaves open where the stride is not 1.
    stride, padding, dilation, groups : optional
        As in :func:`conv2d`.
    out : ndarray of shape (N, C, H, W), optional
    workspace : ndarray of shape (n,), optional
    precision, stream : optional
        As in :func:`conv2d`.

    Returns
    -------
    ndarray of shape (N, C, H, W)

    Raises
    ------
    TypeError, ValueError
        As in :func:`conv2d`.

    See Also
    --------
    conv2d, conv2d_backward_weight

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> weight = np.array([[[[1.0, 2.0]]]])
    >>> kernels.conv2d_backward_data(np.ones((1, 1, 1, 3)), weight, (1, 1, 1, 4))
    array([[[[1., 3., 3., 2.]]]])
    """
    return _backward_data(
        *(_IMAGES, _WINDOWS, grad, weight, input_shape, (stride, padding, dilation, groups)),
        *(precision, out, workspace),
    )


@anywhere
def conv2d_backward_weight(
    x: Array,
    grad: Array,
    weight_shape: Sequence[int],
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    out: Array | None = None,
    workspace: Array | None = None,
    precision: Precision = "ieee",
    stream: Any = None,
) -> Array:
    """The gradient of :func:`conv2d` in the weight.

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W)
    grad : ndarray of shape (N, K, OH, OW)
        The gradient of a loss in the convolution's result.
    weight_shape : (K, C // groups, R, S)
        The shape of the weight, which those of `x` and `grad` leave open where the stride is not 1.
    stride, padding, dilation, groups : optional
        As in :func:`conv2d`.
    out : ndarray of shape (K, C // groups, R, S), optional
    workspace : ndarray of shape (n,), optional
    precision, stream : optional
        As in :func:`conv2d`.

    Returns
    -------
    ndarray of shape (K, C // groups, R, S)

    Raises
    ------
    TypeError, ValueError
        As in :func:`conv2d`.

    See Also
    --------
    conv2d, conv2d_backward_data, conv2d_backward_bias

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> x = np.arange(4.0).reshape(1, 1, 1, 4)
    >>> kernels.conv2d_backward_weight(x, np.ones((1, 1, 1, 3)), (1, 1, 1, 2))
    array([[[[3., 6.]]]])
    """
    return _backward_weight(
        *(_IMAGES, _WINDOWS, x, grad, weight_shape, (stride, padding, dilation, groups)),
        *(precision, out, workspace),
    )


@anywhere
def conv2d_backward_bias(grad: Array, *, out: Array | None = None, stream: Any = None) -> Array:
    """The gradient of :func:`conv2d` in the bias: sums over all but the channels.

    Parameters
    ----------
    grad : ndarray of shape (N, K, OH, OW)
        The gradient of a loss in the convolution's result.
    out : ndarray of shape (K,), optional
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    ndarray of shape (K,)

    Raises
    ------
    TypeError, ValueError
        If an array is of the wrong dtype or shape.

    See Also
    --------
    conv2d

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> kernels.conv2d_backward_bias(np.ones((2, 3, 4, 5)))
    array([40., 40., 40.])
    """
    return _backward_bias(_IMAGES, grad, out)


def conv2d_workspace(
    input_shape: Sequence[int],
    weight_shape: Sequence[int],
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    dtype: Any = np.float32,
    device: Literal["cpu", "cuda"] = "cpu",
) -> int:
    """How many elements of workspace :func:`conv2d` and its gradients need: on the CPU with as many
    threads as now, or on a GPU.

    Parameters
    ----------
    input_shape : (N, C, H, W)
    weight_shape : (K, C // groups, R, S)
    stride, padding, dilation, groups : optional
        As in :func:`conv2d`.
    dtype : dtype, default float32
        float32 or float64: the workspace's, too. Or float16, on a GPU, for :func:`conv2d` alone,
        whose workspace is then float32.
    device : {"cpu", "cuda"}, default "cpu"
        Where the arrays are. On a GPU few shapes need any.

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        As in :func:`conv2d`.

    See Also
    --------
    conv2d

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> size = kernels.conv2d_workspace((8, 16, 32, 32), (32, 16, 3, 3), padding=1)
    >>> workspace = np.empty(size, np.float32)
    """
    if device not in _DEVICES:
        raise ValueError(f"`device` must be 'cpu' or 'cuda', got {device!r}")
    dtype = arguments.precision("dtype", dtype, half=device == "cuda")
    input_shape = arguments.shape_of("input_shape", input_shape, ("N", "C", *_IMAGES))
    expected = _weight_shape(input_shape[1], groups, _WINDOWS)
    weight_shape = arguments.shape_of("weight_shape", weight_shape, expected)
    like = np.empty(0, dtype) if device == "cpu" else DeviceArray(None, 0, (0,), dtype)
    options = stride, padding, dilation, groups
    plan = _plan(input_shape, weight_shape, options, like)
    # Of float16 there is no gradient.
    size: int = plan.forward_workspace if dtype == np.float16 else plan.workspace
    return size


@anywhere
def conv1d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: int = 1,
    padding: Sides = 0,
    dilation: int = 1,
    groups: int = 1,
    out: Array | None = None,
    workspace: Array | None = None,
    precision: Precision = "ieee",
    stream: Any = None,
) -> Array:
    """Convolution of series: :func:`conv2d` of images of one row.

    Parameters
    ----------
    x : ndarray of shape (N, C, L)
        float32 or float64, C-contiguous; or float16, on a GPU.
    weight : ndarray of shape (K, C // groups, S)
    bias : ndarray of shape (K,), optional
    stride, dilation : int, default 1
        Elements from one window to the next, and between two elements of a window.
    padding : int, (int, int), "same" or "valid", default 0
        Zeros on both sides, or (before, after).
    groups : int, default 1
    out : ndarray of shape (N, K, OL), optional
    workspace : ndarray of shape (n,), optional
        As much as :func:`conv2d_workspace` says of the images.
    precision, stream : optional
        As in :func:`conv2d`.

    Returns
    -------
    ndarray of shape (N, K, OL)

    Raises
    ------
    TypeError, ValueError
        As in :func:`conv2d`.

    See Also
    --------
    conv2d, conv1d_backward_data, conv1d_backward_weight, conv1d_backward_bias

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> x = np.array([[[1.0, 4.0, 9.0, 16.0]]])
    >>> kernels.conv1d(x, np.array([[[-1.0, 1.0]]]))
    array([[[3., 5., 7.]]])
    """
    return _forward(
        _SERIES,
        _SPANS,
        x,
        weight,
        bias,
        (stride, padding, dilation, groups),
        precision,
        out,
        workspace,
    )


@anywhere
def conv1d_backward_data(
    grad: Array,
    weight: Array,
    input_shape: Sequence[int],
    *,
    stride: int = 1,
    padding: Sides = 0,
    dilation: int = 1,
    groups: int = 1,
    out: Array | None = None,
    workspace: Array | None = None,
    precision: Precision = "ieee",
    stream: Any = None,
) -> Array:
    """The gradient of :func:`conv1d` in x.

    Parameters
    ----------
    grad : ndarray of shape (N, K, OL)
        The gradient of a loss in the convolution's result.
    weight : ndarray of shape (K, C // groups, S)
    input_shape : (N, C, L)
    stride, padding, dilation, groups : optional
        As in :func:`conv1d`.
    out : ndarray of shape (N, C, L), optional
    workspace : ndarray of shape (n,), optional
    precision, stream : optional
        As in :func:`conv2d`.

    Returns
    -------
    ndarray of shape (N, C, L)

    Raises
    ------
    TypeError, ValueError
        As in :func:`conv2d`.

    See Also
    --------
    conv1d, conv2d_backward_data

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> kernels.conv1d_backward_data(np.ones((1, 1, 3)), np.array([[[1.0, 2.0]]]), (1, 1, 4))
    array([[[1., 3., 3., 2.]]])
    """
    return _backward_data(
        *(_SERIES, _SPANS, grad, weight, input_shape, (stride, padding, dilation, groups)),
        *(precision, out, workspace),
    )


@anywhere
def conv1d_backward_weight(
    x: Array,
    grad: Array,
    weight_shape: Sequence[int],
    *,
    stride: int = 1,
    padding: Sides = 0,
    dilation: int = 1,
    groups: int = 1,
    out: Array | None = None,
    workspace: Array | None = None,
    precision: Precision = "ieee",
    stream: Any = None,
) -> Array:
    """The gradient of :func:`conv1d` in the weight.

    Parameters
    ----------
    x : ndarray of shape (N, C, L)
    grad : ndarray of shape (N, K, OL)
        The gradient of a loss in the convolution's result.
    weight_shape : (K, C // groups, S)
    stride, padding, dilation, groups : optional
        As in :func:`conv1d`.
    out : ndarray of shape (K, C // groups, S), optional
    workspace : ndarray of shape (n,), optional
    precision, stream : optional
        As in :func:`conv2d`.

    Returns
    -------
    ndarray of shape (K, C // groups, S)

    Raises
    ------
    TypeError, ValueError
        As in :func:`conv2d`.

    See Also
    --------
    conv1d, conv2d_backward_weight

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> x = np.arange(4.0).reshape(1, 1, 4)
    >>> kernels.conv1d_backward_weight(x, np.ones((1, 1, 3)), (1, 1, 2))
    array([[[3., 6.]]])
    """
    return _backward_weight(
        *(_SERIES, _SPANS, x, grad, weight_shape, (stride, padding, dilation, groups)),
        *(precision, out, workspace),
    )


@anywhere
def conv1d_backward_bias(grad: Array, *, out: Array | None = None, stream: Any = None) -> Array:
    """The gradient of :func:`conv1d` in the bias: sums over all but the channels.

    Parameters
    ----------
    grad : ndarray of shape (N, K, OL)
        The gradient of a loss in the convolution's result.
    out : ndarray of shape (K,), optional
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    ndarray of shape (K,)

    Raises
    ------
    TypeError, ValueError
        If an array is of the wrong dtype or shape.

    See Also
    --------
    conv1d, conv2d_backward_bias

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> kernels.conv1d_backward_bias(np.ones((2, 3, 5)))
    array([10., 10., 10.])
    """
    return _backward_bias(_SERIES, grad, out)


# --- for either ------------------------------------------------------------------------------
#
# `axes` and `window` name the last axes of images and of kernels in messages; `options` is (stride,
# padding, dilation, groups). A plan is that of the place where the arrays are.


def _forward(
    axes: tuple[str, ...], window: tuple[str, ...], x: Any, weight: Any, bias: Any, options: Any,
    precision: Any, out: Any, workspace: Any,
) -> Array:  # fmt: skip
    arguments.array("x", x, ("N", "C", *axes), half=True)
    expected = _weight_shape(x.shape[1], options[-1], window)
    arguments.array("weight", weight, expected, x.dtype)
    plan = _plan(x.shape, weight.shape, options, x, precision)
    if bias is not None:
        arguments.array("bias", bias, (plan.geometry.K,), x.dtype)
    read = [("x", x), ("weight", weight), ("bias", bias)]
    shape = _output_shape(plan.geometry, axes)
    result = arguments.output("out", out, shape, x, read)
    apart = [*read, ("out", result)]
    workspace = arguments.workspace_of(plan, "forward", workspace, x, apart)
    plan.forward(_as_images(x), _as_images(weight), bias, _as_images(result), workspace)
    return result


def _backward_data(
    axes: tuple[str, ...], window: tuple[str, ...], grad: Any, weight: Any, input_shape: Any,
    options: Any, precision: Any, out: Any, workspace: Any,
) -> Array:  # fmt: skip
    shape = arguments.shape_of("input_shape", input_shape, ("N", "C", *axes))
    arguments.array("grad", grad, ("N", "K", *(f"O{axis}" for axis in axes)))
    expected = _weight_shape(shape[1], options[-1], window)
    arguments.array("weight", weight, expected, grad.dtype, like="grad")
    plan = _plan(shape, weight.shape, options, grad, precision)
    arguments.array("grad", grad, _output_shape(plan.geometry, axes))
    read = [("grad", grad), ("weight", weight)]
    result = arguments.output("out", out, shape, grad, read)
    apart = [*read, ("out", result)]
    workspace = arguments.workspace_of(plan, "data", workspace, grad, apart)
    plan.backward_data(_as_images(grad), _as_images(weight), _as_images(result), workspace)
    return result


def _backward_weight(
    axes: tuple[str, ...], window: tuple[str, ...], x: Any, grad: Any, weight_shape: Any,
    options: Any, precision: Any, out: Any, workspace: Any,
) -> Array:  # fmt: skip
    arguments.array("x", x, ("N", "C", *axes))
    expected = _weight_shape(x.shape[1], options[-1], window)
    shape = arguments.shape_of("weight_shape", weight_shape, expected)
    plan = _plan(x.shape, shape, options, x, precision)
    arguments.array("grad", grad, _output_shape(plan.geometry, axes), x.dtype)
    read = [("x", x), ("grad", grad)]
    result = arguments.output("out", out, shape, x, read)
    apart = [*read, ("out", result)]
    workspace = arguments.workspace_of(plan, "weight", workspace, x, apart)
    plan.backward_weight(_as_images(x), _as_images(grad), _as_images(result), workspace)
    return result


def _backward_bias(axes: tuple[str, ...], grad: Any, out: Any) -> Array:
    arguments.array("grad", grad, ("N", "K", *(f"O{axis}" for axis in axes)))
    images = _as_images(grad)
    N, K, OH, OW = images.shape
    result = arguments.output("out", out, (K,), grad, [("grad", grad)])
    # The sums depend on the result's shape alone: that of any convolution which has it will do.
    plan = _plan((N, 1, OH, OW), (K, 1, 1, 1), (1, 0, 1, 1), grad)
    plan.backward_bias(images, result)
    return result


def _plan(
    input_shape: Any, weight_shape: Any, options: Any, like: Any, precision: Any = "ieee"
) -> Any:
    """The plan of these shapes, which are known to agree, if the options do; for arrays as one."""
    arguments.products("precision", precision, like)
    options = _frozen(options)
    try:
        hash(options)
    except TypeError:  # none that is valid; this says which
        _geometry(input_shape, weight_shape, options)
    make = _kernels(like).Convolution
    kept = input_shape, weight_shape, *options, like.dtype
    if isinstance(like, DeviceArray):
        return _kept_plan(make, *kept, precision)
    return _kept_plan(make, *kept, None, get_num_threads())


@lru_cache(maxsize=256, typed=True)
def _kept_plan(
    make: Any, input_shape: Any, weight_shape: Any, stride: Any, padding: Any, dilation: Any,
    groups: Any, dtype: Any, precision: Any, threads: int = 0,
) -> Any:  # fmt: skip
    """On the CPU `threads` decides on how much workspace there is, and there is no `precision`."""
    geometry = _geometry(input_shape, weight_shape, (stride, padding, dilation, groups))
    return make(geometry, dtype) if precision is None else make(geometry, dtype, precision)


def _frozen(option: Any) -> Any:
    """Something to be looked up by, of what may be spelled as a list."""
    return tuple(map(_frozen, option)) if isinstance(option, list | tuple) else option


def _weight_shape(channels: int, groups: Any, window: tuple[str, ...]) -> tuple[int | str, ...]:
    """What a weight has to be like, for so many channels of x."""
    groups = arguments.positive("groups", groups)
    if channels % groups:
        raise ValueError(
            f"`groups` must divide the channels of `x`, got {groups} groups for {channels} channels"
        )
    return "K", channels // groups, *window


def _geometry(
    input_shape: tuple[int, ...], weight_shape: tuple[int, ...], options: Any
) -> ConvGeometry:
    """Where windows are, if there are any. Of the shapes the sizes are known to be right."""
    stride, padding, dilation, groups = options
    groups = arguments.positive("groups", groups)
    (N, C, *size), (K, _, *window) = input_shape, weight_shape
    if K % groups:
        raise ValueError(
            f"`groups` must divide the kernels of `weight`, got {groups} groups for {K} kernels"
        )
    if len(size) == 2:
        (H, W), (R, S) = size, window
        stride, dilation = arguments.pair("stride", stride), arguments.pair("dilation", dilation)
        padding = arguments.padding("padding", padding, (R, S), stride, dilation)
        geometry = ConvGeometry(N, C, H, W, K, R, S, stride, padding, dilation, groups)
    else:
        (L,), (S,) = size, window
        stride = arguments.positive("stride", stride)
        dilation = arguments.positive("dilation", dilation)
        padding = arguments.sides("padding", padding, S, stride, dilation)
        geometry = ConvGeometry(
            N, C, 1, L, K, 1, S, (1, stride), ((0, 0), padding), (1, dilation), groups
        )
    if geometry.OH < 1 or geometry.OW < 1:
        written = " x ".join(map(str, window))
        raise ValueError(
            f"`weight` must have windows that fit the padded input, got {written} with dilation "
            f"{dilation} on {' x '.join(map(str, size))} with padding {padding}"
        )
    return geometry


def _output_shape(geometry: ConvGeometry, axes: tuple[str, ...]) -> tuple[int, ...]:
    N, K, OH, OW = geometry.output_shape
    return (N, K, OH, OW) if axes == _IMAGES else (N, K, OW)


def _as_images(array: Array) -> Array:
    """A view of series as images of one row."""
    if array.ndim == 4:
        return array
    N, C, L = array.shape
    return array.reshape(N, C, 1, L)
