"""Every kernel again, in plain NumPy and float64: slow, and meant to be right at a glance.

The kernels are tested against these, and these against PyTorch. Arguments are those of the
functions of the same name in :mod:`fastopt.kernels`, without ``out`` and ``workspace``; they are
converted to float64, and next to nothing is checked. Knows nothing of how kernels are written.

Sizes are N examples, C channels in, K channels out, H x W images and R x S windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "add",
    "add_relu",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batchnorm_backward",
    "batchnorm_forward",
    "binary_cross_entropy",
    "concatenate",
    "conv1d",
    "conv1d_backward_bias",
    "conv1d_backward_data",
    "conv1d_backward_weight",
    "conv2d",
    "conv2d_backward_bias",
    "conv2d_backward_data",
    "conv2d_backward_weight",
    "dropout",
    "dropout_mask",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "l1_loss",
    "leaky_relu",
    "leaky_relu_backward",
    "linear",
    "linear_backward_bias",
    "linear_backward_data",
    "linear_backward_weight",
    "max_pool2d",
    "max_pool2d_backward",
    "mse_loss",
    "multilabel",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "smooth_l1_loss",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "split",
    "tanh",
    "tanh_backward",
]

# Names for the reader: a checker would ask for a cast in every line.
Numbers = Any  # an array, or what becomes one
Array = Any  # of float64
Pair = int | Sequence[int]
Padding = Any  # a number, (rows, columns), ((top, bottom), (left, right)), "same" or "valid"
Loss = tuple[Any, Array]  # (value, gradient); the value is an array if it is not reduced


def _float64(*arrays: Numbers | None) -> Iterator[Any]:
    for array in arrays:
        yield None if array is None else np.asarray(array, dtype=np.float64)


# --- windows on padded images ------------------------------------------------------------------


def _pair(value: Pair) -> Sequence[int]:
    return (value, value) if isinstance(value, int) else value


def _pads(
    padding: Padding, window: Pair = (1, 1), dilation: Pair = 1
) -> tuple[tuple[int, int], tuple[int, int]]:
    """((top, bottom), (left, right))"""
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        totals = [d * (r - 1) for r, d in zip(_pair(window), _pair(dilation), strict=True)]
        (top, left), (bottom, right) = zip(*[(t // 2, t - t // 2) for t in totals], strict=True)
        return (top, bottom), (left, right)
    if isinstance(padding, int):
        return (padding, padding), (padding, padding)
    rows, columns = padding
    if isinstance(rows, int):
        return (rows, rows), (columns, columns)
    return rows, columns


def _padded(x: Array, padding: Padding, window: Pair, dilation: Pair) -> Array:
    return np.pad(x, ((0, 0), (0, 0), *_pads(padding, window, dilation)))


def _cropped(padded: Array, padding: Padding, window: Pair, dilation: Pair) -> Array:
    """What `_padded` put zeros around."""
    (top, bottom), (left, right) = _pads(padding, window, dilation)
    H, W = padded.shape[2:]
    return padded[:, :, top : H - bottom, left : W - right].copy()


def _windows(
    shape: Sequence[int], window: Pair, stride: Pair, dilation: Pair
) -> Iterator[tuple[int, int, slice, slice]]:
    """Place (i, j) in the output, and the rows and columns that its window sees, in C order."""
    (R, S), (down, right), (d_rows, d_columns) = map(_pair, (window, stride, dilation))
    rows_spanned, columns_spanned = d_rows * (R - 1) + 1, d_columns * (S - 1) + 1
    for i, top in enumerate(range(0, shape[-2] - rows_spanned + 1, down)):
        for j, left in enumerate(range(0, shape[-1] - columns_spanned + 1, right)):
            yield (
                i,
                j,
                slice(top, top + rows_spanned, d_rows),
                slice(left, left + columns_spanned, d_columns),
            )


def _group_slices(groups: int, channels: int) -> list[slice]:
    size = channels // groups
    return [slice(g * size, (g + 1) * size) for g in range(groups)]


# --- convolution -------------------------------------------------------------------------------


def conv2d(
    x: Numbers,
    weight: Numbers,
    bias: Numbers | None = None,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Array:
    """Cross-correlation of padded images with K filters.

    ``out[n,k,i,j] = bias[k] + sum over c,r,s of
    padded[n, c, i*stride + r*dilation, j*stride + s*dilation] * weight[k,c,r,s]``,
    with c running over the channels of k's group.
    """
    x, weight, bias = _float64(x, weight, bias)
    K, _, *window = weight.shape
    padded = _padded(x, padding, window, dilation)
    places = list(_windows(padded.shape, window, stride, dilation))
    out = np.zeros((len(x), K, places[-1][0] + 1, places[-1][1] + 1))
    inputs, outputs = _group_slices(groups, x.shape[1]), _group_slices(groups, K)
    for c, k in zip(inputs, outputs, strict=True):
        for i, j, rows, columns in places:
            seen = padded[:, c, rows, columns]
            out[:, k, i, j] = np.einsum("ncrs,kcrs->nk", seen, weight[k])
    return out if bias is None else out + bias[:, None, None]


def conv2d_backward_data(
    grad: Numbers,
    weight: Numbers,
    input_shape: Sequence[int],
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Array:
    """The derivative by x: each output gives ``grad * weight`` back to the elements it saw."""
    grad, weight = _float64(grad, weight)
    K, _, *window = weight.shape
    padded = _padded(np.zeros(input_shape), padding, window, dilation)
    inputs, outputs = _group_slices(groups, input_shape[1]), _group_slices(groups, K)
    for c, k in zip(inputs, outputs, strict=True):
        for i, j, rows, columns in _windows(padded.shape, window, stride, dilation):
            padded[:, c, rows, columns] += np.einsum("nk,kcrs->ncrs", grad[:, k, i, j], weight[k])
    return _cropped(padded, padding, window, dilation)


def conv2d_backward_weight(
    x: Numbers,
    grad: Numbers,
    weight_shape: Sequence[int],
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Array:
    """The derivative by weight: each output adds ``grad`` times what it saw."""
    x, grad = _float64(x, grad)
    K, _, *window = weight_shape
    padded = _padded(x, padding, window, dilation)
    out = np.zeros(weight_shape)
    inputs, outputs = _group_slices(groups, x.shape[1]), _group_slices(groups, K)
    for c, k in zip(inputs, outputs, strict=True):
        for i, j, rows, columns in _windows(padded.shape, window, stride, dilation):
            seen = padded[:, c, rows, columns]
            out[k] += np.einsum("nk,ncrs->kcrs", grad[:, k, i, j], seen)
    return out


def conv2d_backward_bias(grad: Numbers) -> Array:
    """The derivative by bias: ``sum over n,i,j of grad[n,k,i,j]``."""
    (grad,) = _float64(grad)
    return np.sum(grad, axis=(0, 2, 3))


def _as_one_row(stride: int, padding: Any, dilation: int) -> dict[str, Any]:
    if isinstance(padding, int):
        padding = (padding, padding)
    return {
        "stride": (1, stride),
        "padding": padding if isinstance(padding, str) else ((0, 0), padding),
        "dilation": (1, dilation),
    }


def conv1d(
    x: Numbers,
    weight: Numbers,
    bias: Numbers | None = None,
    *,
    stride: int = 1,
    padding: int | str | tuple[int, int] = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Array:
    """`conv2d` of images (N, C, L) of one row; `padding` is (left, right) or one number."""
    x, weight = _float64(x, weight)
    where = _as_one_row(stride, padding, dilation)
    return conv2d(x[:, :, None], weight[:, :, None], bias, groups=groups, **where)[:, :, 0]


def conv1d_backward_data(
    grad: Numbers,
    weight: Numbers,
    input_shape: Sequence[int],
    *,
    stride: int = 1,
    padding: int | str | tuple[int, int] = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Array:
    """The derivative of `conv1d` by x."""
    grad, weight = _float64(grad, weight)
    N, C, L = input_shape
    where = _as_one_row(stride, padding, dilation)
    return conv2d_backward_data(
        grad[:, :, None], weight[:, :, None], (N, C, 1, L), groups=groups, **where
    )[:, :, 0]


def conv1d_backward_weight(
    x: Numbers,
    grad: Numbers,
    weight_shape: Sequence[int],
    *,
    stride: int = 1,
    padding: int | str | tuple[int, int] = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Array:
    """The derivative of `conv1d` by weight."""
    x, grad = _float64(x, grad)
    K, C, S = weight_shape
    where = _as_one_row(stride, padding, dilation)
    return conv2d_backward_weight(
        x[:, :, None], grad[:, :, None], (K, C, 1, S), groups=groups, **where
    )[:, :, 0]


def conv1d_backward_bias(grad: Numbers) -> Array:
    """The derivative of `conv1d` by bias."""
    (grad,) = _float64(grad)
    return np.sum(grad, axis=(0, 2))


# --- batch normalization -----------------------------------------------------------------------


def _per_channel(values: Any, like: Array) -> Any:
    """(C,) in a shape that meets the channels of `like`, (N, C, ...)."""
    return np.reshape(values, (1, -1) + (1,) * (like.ndim - 2))


def _all_but_channels(x: Array) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def batchnorm_forward(
    x: Numbers,
    weight: Numbers | None,
    bias: Numbers | None,
    running_mean: NDArray[Any] | None,
    running_var: NDArray[Any] | None,
    training: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    relu: bool = False,
) -> tuple[Array, Array]:
    """``weight * (x - mean) / sqrt(var + eps) + bias``, channel by channel.

    In training, mean and (biased) variance are those of the batch, and the running ones, where
    given, move by `momentum` towards the mean and the unbiased variance, in place. Otherwise
    they are the running ones. x is (N, C), (N, C, L) or (N, C, H, W).

    Returns the output and ``saved``, (2, C): the mean and variance that were used.
    """
    x, weight, bias = _float64(x, weight, bias)
    axes = _all_but_channels(x)
    if training:
        mean, var = np.mean(x, axis=axes), np.var(x, axis=axes)
        if running_mean is not None:
            running_mean[...] = (1 - momentum) * running_mean + momentum * mean
        if running_var is not None:
            running_var[...] = (1 - momentum) * running_var + momentum * np.var(
                x, axis=axes, ddof=1
            )
    else:
        mean, var = _float64(running_mean, running_var)
    out = (x - _per_channel(mean, x)) / np.sqrt(_per_channel(var, x) + eps)
    if weight is not None:
        out = out * _per_channel(weight, x)
    if bias is not None:
        out = out + _per_channel(bias, x)
    if relu:
        out = np.maximum(out, 0)
    return out, np.stack([mean, var])


def batchnorm_backward(
    grad: Numbers,
    x: Numbers,
    weight: Numbers | None,
    saved: Numbers | None = None,
    *,
    training: bool = True,
    eps: float = 1e-5,
    relu: bool = False,
    bias: Numbers | None = None,
    running_mean: Numbers | None = None,
    running_var: Numbers | None = None,
) -> tuple[Array, Array, Array]:
    """The derivatives by x, weight and bias, one node of the graph after the other.

    Statistics of the batch are computed anew; `saved` is there for the signature alone.
    """
    grad, x, weight, bias = _float64(grad, x, weight, bias)
    axes = _all_but_channels(x)
    count = x.size // x.shape[1]
    weight = np.ones(x.shape[1]) if weight is None else weight
    bias = np.zeros(x.shape[1]) if bias is None else bias

    # Forward, each node by its name.
    if training:
        mean = np.mean(x, axis=axes)
    else:
        mean, var = _float64(running_mean, running_var)
    centred = x - _per_channel(mean, x)
    if training:
        square = centred * centred
        var = np.mean(square, axis=axes)
    root = np.sqrt(var + eps)
    inverse = 1 / root
    normalized = centred * _per_channel(inverse, x)
    scaled = normalized * _per_channel(weight, x)
    shifted = scaled + _per_channel(bias, x)

    # Backward, in the reverse order: d_node is the derivative of the loss by the node.
    d_shifted = np.where(shifted > 0, grad, 0) if relu else grad
    d_bias = np.sum(d_shifted, axis=axes)
    d_scaled = d_shifted
    d_weight = np.sum(d_scaled * normalized, axis=axes)
    d_normalized = d_scaled * _per_channel(weight, x)
    d_centred = d_normalized * _per_channel(inverse, x)
    if training:
        d_inverse = np.sum(d_normalized * centred, axis=axes)
        d_root = d_inverse * -1 / root**2
        d_var = d_root / (2 * root)
        d_square = np.broadcast_to(_per_channel(d_var, x), x.shape) / count
        d_centred = d_centred + d_square * 2 * centred
        d_mean = -np.sum(d_centred, axis=axes)
        d_x = d_centred + np.broadcast_to(_per_channel(d_mean, x), x.shape) / count
    else:
        d_x = d_centred
    return d_x, d_weight, d_bias


# --- linear ------------------------------------------------------------------------------------


def linear(x: Numbers, weight: Numbers, bias: Numbers | None = None) -> Array:
    """``out[n,k] = bias[k] + sum over c of x[n,c] * weight[k,c]``"""
    x, weight, bias = _float64(x, weight, bias)
    out = np.einsum("nc,kc->nk", x, weight)
    return out if bias is None else out + bias


def linear_backward_data(grad: Numbers, weight: Numbers) -> Array:
    """``sum over k of grad[n,k] * weight[k,c]``"""
    grad, weight = _float64(grad, weight)
    return np.einsum("nk,kc->nc", grad, weight)


def linear_backward_weight(x: Numbers, grad: Numbers) -> Array:
    """``sum over n of grad[n,k] * x[n,c]``"""
    x, grad = _float64(x, grad)
    return np.einsum("nk,nc->kc", grad, x)


def linear_backward_bias(grad: Numbers) -> Array:
    """``sum over n of grad[n,k]``"""
    (grad,) = _float64(grad)
    return np.sum(grad, axis=0)


# --- pooling -----------------------------------------------------------------------------------


def _pool_places(
    shape: Sequence[int], kernel_size: Pair, stride: Pair | None, padding: Padding, ceil_mode: bool
) -> list[list[tuple[slice, int]]]:
    """For rows and for columns: what each window sees of the image, and its length with padding.

    With `ceil_mode` a last window may hang over the end of the padding, where it is cut off: if the
    one before did not reach the end, and if it begins before the image ends.
    """
    windows, strides = _pair(kernel_size), _pair(kernel_size if stride is None else stride)
    places = []
    for length, window, step, (before, after) in zip(
        shape[-2:], windows, strides, _pads(padding), strict=True
    ):
        axis: list[tuple[slice, int]] = []
        begin, end, last = -before, -before, length + after
        while begin + window <= last or (ceil_mode and end < last and begin < length):
            end = min(begin + window, last)
            axis.append((slice(max(begin, 0), min(end, length)), end - begin))
            begin += step
        places.append(axis)
    return places


def max_pool2d(
    x: Numbers,
    kernel_size: Pair,
    *,
    stride: Pair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
) -> tuple[Array, NDArray[np.int64]]:
    """The greatest element of each window, and where it is: row * W + column, the first of equals.

    Padding is never the greatest. A NaN is: the last of the window.
    """
    (x,) = _float64(x)
    N, C, _, W = x.shape
    down, across = _pool_places(x.shape, kernel_size, stride, padding, ceil_mode)
    out = np.zeros((N, C, len(down), len(across)))
    where = np.zeros(out.shape, dtype=np.int64)
    for n, c, i, j in np.ndindex(*out.shape):
        (rows, _), (columns, _) = down[i], across[j]
        best, place = -np.inf, rows.start * W + columns.start
        for row in range(rows.start, rows.stop):
            for column in range(columns.start, columns.stop):
                if x[n, c, row, column] > best or np.isnan(x[n, c, row, column]):
                    best, place = x[n, c, row, column], row * W + column
        out[n, c, i, j], where[n, c, i, j] = best, place
    return out, where


def max_pool2d_backward(grad: Numbers, where: NDArray[Any], input_shape: Sequence[int]) -> Array:
    """The derivative by x: each output's goes to the element at `where`."""
    (grad,) = _float64(grad)
    out = np.zeros(input_shape)
    W = input_shape[-1]
    for n, c, i, j in np.ndindex(*grad.shape):
        row, column = divmod(int(where[n, c, i, j]), W)
        out[n, c, row, column] += grad[n, c, i, j]
    return out


def avg_pool2d(
    x: Numbers,
    kernel_size: Pair,
    *,
    stride: Pair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """The sum of each window over the number of its elements, with or without those of padding."""
    (x,) = _float64(x)
    down, across = _pool_places(x.shape, kernel_size, stride, padding, ceil_mode)
    out = np.zeros((*x.shape[:2], len(down), len(across)))
    for i, (rows, height) in enumerate(down):
        for j, (columns, width) in enumerate(across):
            seen = x[:, :, rows, columns]
            count = height * width if count_include_pad else seen[0, 0].size
            out[:, :, i, j] = np.sum(seen, axis=(2, 3)) / count
    return out


def avg_pool2d_backward(
    grad: Numbers,
    input_shape: Sequence[int],
    kernel_size: Pair,
    *,
    stride: Pair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """The derivative by x: each output's, over the same number, to all elements it saw."""
    (grad,) = _float64(grad)
    down, across = _pool_places(input_shape, kernel_size, stride, padding, ceil_mode)
    out = np.zeros(input_shape)
    for i, (rows, height) in enumerate(down):
        for j, (columns, width) in enumerate(across):
            seen = out[:, :, rows, columns]
            count = height * width if count_include_pad else seen[0, 0].size
            seen += grad[:, :, i, j][:, :, None, None] / count
    return out


def global_avg_pool2d(x: Numbers) -> Array:
    """The mean of each channel's image, (N, C)."""
    (x,) = _float64(x)
    return np.mean(x, axis=(2, 3))


def global_avg_pool2d_backward(grad: Numbers, input_shape: Sequence[int]) -> Array:
    """The derivative by x: ``grad[n,c] / (H*W)`` everywhere."""
    (grad,) = _float64(grad)
    H, W = input_shape[2:]
    return np.ones(input_shape) * grad[:, :, None, None] / (H * W)


# --- activations; backward takes the output y -------------------------------------------------


def relu(x: Numbers) -> Array:
    """``max(x, 0)``"""
    (x,) = _float64(x)
    return np.where(x < 0, 0, x)  # a NaN stays


def relu_backward(grad: Numbers, y: Numbers) -> Array:
    """``grad`` where y > 0, otherwise 0."""
    grad, y = _float64(grad, y)
    return np.where(y > 0, grad, 0)


def leaky_relu(x: Numbers, slope: float = 0.01) -> Array:
    """x where x > 0, otherwise ``slope * x``."""
    (x,) = _float64(x)
    return np.where(x > 0, x, slope * x)


def leaky_relu_backward(grad: Numbers, y: Numbers, slope: float = 0.01) -> Array:
    """``grad`` where y > 0, otherwise ``slope * grad``."""
    grad, y = _float64(grad, y)
    return np.where(y > 0, grad, slope * grad)


def sigmoid(x: Numbers) -> Array:
    """``1 / (1 + exp(-x))``; for x < 0 as ``exp(x) / (1 + exp(x))``, which does not overflow."""
    (x,) = _float64(x)
    t = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, t) / (1 + t)


def sigmoid_backward(grad: Numbers, y: Numbers) -> Array:
    """``grad * y * (1 - y)``"""
    grad, y = _float64(grad, y)
    return grad * y * (1 - y)


def tanh(x: Numbers) -> Array:
    """The hyperbolic tangent."""
    (x,) = _float64(x)
    return np.tanh(x)


def tanh_backward(grad: Numbers, y: Numbers) -> Array:
    """``grad * (1 - y**2)``"""
    grad, y = _float64(grad, y)
    return grad * (1 - y * y)


def softmax(x: Numbers) -> Array:
    """``exp(x[n,c]) / sum over c of exp(x[n,c])``; the greatest x[n] is taken from all first."""
    (x,) = _float64(x)
    powers = np.exp(x - np.max(x, axis=1, keepdims=True))
    return powers / np.sum(powers, axis=1, keepdims=True)


def softmax_backward(grad: Numbers, y: Numbers) -> Array:
    """``y * (grad - sum over c of grad[n,c] * y[n,c])``"""
    grad, y = _float64(grad, y)
    return y * (grad - np.sum(grad * y, axis=1, keepdims=True))


# --- dropout -----------------------------------------------------------------------------------

_BITS = 2**64 - 1


def _mixed(z: int) -> int:
    """The output function of SplitMix64 (Steele, Lea & Flood 2014; Stafford's variant 13)."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _BITS
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _BITS
    return z ^ (z >> 31)


def dropout_mask(shape: Sequence[int], p: float, seed: int, counter: int = 0) -> Array:
    """What `dropout` multiplies by: 0 with probability p, otherwise 1/(1 - p).

    Element i, in C order, is dropped where the uniform number ``u < p``, with
    ``u = (mix(start + (i + 1)*gamma) >> 11) / 2**53``, ``start = mix(mix(seed) + counter*gamma)``
    and gamma = 2**64 over the golden ratio.
    """
    gamma = 0x9E3779B97F4A7C15
    start = _mixed((_mixed(seed & _BITS) + counter * gamma) & _BITS)
    mask = np.empty(shape)
    for i in range(mask.size):
        u = (_mixed((start + (i + 1) * gamma) & _BITS) >> 11) / 2**53
        mask.flat[i] = 0 if u < p else 1 / (1 - p)
    return mask


def dropout(x: Numbers, p: float, seed: int, counter: int = 0) -> Array:
    """``x * dropout_mask(x.shape, p, seed, counter)``, 0 even of NaN where the mask is.

    Of a gradient, it is the derivative by x.
    """
    (x,) = _float64(x)
    mask = dropout_mask(x.shape, p, seed, counter)
    return np.where(mask == 0, 0, x * mask)


# --- arithmetic --------------------------------------------------------------------------------


def add(a: Numbers, b: Numbers) -> Array:
    """``a + b``"""
    a, b = _float64(a, b)
    return a + b


def add_relu(a: Numbers, b: Numbers) -> Array:
    """``relu(a + b)``"""
    return relu(add(a, b))


def concatenate(arrays: Sequence[Numbers]) -> Array:
    """Arrays (N, C, ...) side by side along their channels."""
    return np.concatenate(list(_float64(*arrays)), axis=1)


def split(x: Numbers, channels: Sequence[int]) -> list[Array]:
    """Pieces of so many channels each: the derivative of `concatenate`."""
    (x,) = _float64(x)
    return [piece.copy() for piece in np.split(x, np.cumsum(channels)[:-1], axis=1)]


# --- losses: (value, derivative by the prediction) --------------------------------------------


def _reduced(values: Array, grads: Array, reduction: str) -> Loss:
    """``values`` of each item, the first axes of ``grads``, as they are, summed or averaged."""
    if reduction == "none":
        return values, grads
    if reduction == "sum":
        return float(np.sum(values)), grads
    assert reduction == "mean"
    return float(np.mean(values)), grads / values.size


def l1_loss(prediction: Numbers, target: Numbers, *, reduction: str = "mean") -> Loss:
    """``|prediction - target|``, whose derivative at 0 is 0."""
    prediction, target = _float64(prediction, target)
    error = prediction - target
    return _reduced(np.abs(error), np.sign(error), reduction)


def mse_loss(prediction: Numbers, target: Numbers, *, reduction: str = "mean") -> Loss:
    """``(prediction - target)**2``"""
    prediction, target = _float64(prediction, target)
    error = prediction - target
    return _reduced(error**2, 2 * error, reduction)


def smooth_l1_loss(
    prediction: Numbers, target: Numbers, *, beta: float = 1.0, reduction: str = "mean"
) -> Loss:
    """``error**2 / (2*beta)`` up to an error of beta, ``|error| - beta/2`` beyond."""
    prediction, target = _float64(prediction, target)
    error = prediction - target
    inside = np.abs(error) < beta
    values = np.where(inside, error**2 / (2 * beta), np.abs(error) - beta / 2)
    return _reduced(values, np.where(inside, error / beta, np.sign(error)), reduction)


def _cross_entropies(logits: Array, target: Array) -> tuple[Array, Array]:
    """``-target*log(p) - (1 - target)*log(1 - p)`` of ``p = sigmoid(logits)``, and derivatives.

    By ``-log(p) = log(1 + exp(-logits))`` and ``-log(1 - p) = log(1 + exp(logits))``.
    """
    values = target * np.logaddexp(0, -logits) + (1 - target) * np.logaddexp(0, logits)
    return values, (1 - target) * sigmoid(logits) - target * sigmoid(-logits)


def binary_cross_entropy(logits: Numbers, target: Numbers, *, reduction: str = "mean") -> Loss:
    """Cross-entropy of the probability ``sigmoid(logits)`` and the target, from 0 to 1."""
    logits, target = _float64(logits, target)
    return _reduced(*_cross_entropies(logits, target), reduction)


def multilabel(logits: Numbers, target: Numbers, *, reduction: str = "mean") -> Loss:
    """The mean over an example's labels of their binary cross-entropies; (N, C)."""
    logits, target = _float64(logits, target)
    values, grads = _cross_entropies(logits, target)
    return _reduced(np.mean(values, axis=1), grads / logits.shape[1], reduction)


def softmax_cross_entropy(
    logits: Numbers,
    labels: Numbers,
    *,
    label_smoothing: float = 0.0,
    weight: Numbers | None = None,
    reduction: str = "mean",
) -> Loss:
    """``- sum over c of weight[c] * q[n,c] * log(softmax(logits)[n,c])``.

    The distribution q is the label's, (1 - label_smoothing), plus label_smoothing/C for each
    class. The mean is over the weights of the labels: ``sum(values) / sum(weight[labels])``.
    """
    logits, weight = _float64(logits, weight)
    labels = np.asarray(labels)
    N, C = logits.shape
    weight = np.ones(C) if weight is None else weight
    q = np.full((N, C), label_smoothing / C)
    q[np.arange(N), labels] += 1 - label_smoothing
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    log_softmax = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
    values = -np.sum(weight * q * log_softmax, axis=1)
    grads = np.sum(weight * q, axis=1, keepdims=True) * np.exp(log_softmax) - weight * q
    if reduction == "mean":
        total = np.sum(weight[labels])
        return float(np.sum(values) / total), grads / total
    return _reduced(values, grads, reduction)
