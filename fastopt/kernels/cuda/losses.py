"""Losses and their gradients in one pass.

As on the CPU, each function writes the gradient of ``share`` times the sum of what each item costs,
and returns that product, here as an array of no dimensions, in double precision. What an item costs
is computed in the precision of the arrays. Each block adds up its items as a tree, and a second
kernel adds up these sums in double precision, in an order that depends on shapes alone.

Nobody looks at values before a kernel does: a label that is none, a target that is no probability
and a negative weight make NaN of the value, and of the gradient by the row or the element.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

from fastopt.device.arrays import DeviceArray, is_aligned
from fastopt.device.kernel import Kernel
from fastopt.device.language import (
    cuda,
    inlined,
    int32,
    int64,
    load4,
    number_type,
    pointer,
    store4,
)
from fastopt.device.reductions import WARP, block_total
from fastopt.kernels.cuda.cross_entropy import softmax_cross_entropy
from fastopt.kernels.cuda.totals import BLOCK, THREADS, total

__all__ = [
    "binary_cross_entropy",
    "l1",
    "mse",
    "multilabel",
    "smooth_l1",
    "softmax_cross_entropy",
]

_NAN = math.nan


def l1(
    prediction: DeviceArray,
    target: DeviceArray,
    grad: DeviceArray,
    share: float | None = None,
    values: DeviceArray | None = None,
) -> DeviceArray:
    """Of ``|prediction - target|``."""
    return _evaluate(_absolute, prediction, target, 0.0, 1.0, share, values, grad)


def mse(
    prediction: DeviceArray,
    target: DeviceArray,
    grad: DeviceArray,
    share: float | None = None,
    values: DeviceArray | None = None,
) -> DeviceArray:
    """Of ``(prediction - target)**2``."""
    return _evaluate(_squared, prediction, target, 0.0, 2.0, share, values, grad)


def smooth_l1(
    prediction: DeviceArray,
    target: DeviceArray,
    beta: float,
    grad: DeviceArray,
    share: float | None = None,
    values: DeviceArray | None = None,
) -> DeviceArray:
    """Of Huber's function over its threshold `beta`."""
    return _evaluate(_huber, prediction, target, beta, 1.0, share, values, grad)


def binary_cross_entropy(
    logits: DeviceArray,
    target: DeviceArray,
    grad: DeviceArray,
    share: float | None = None,
    values: DeviceArray | None = None,
) -> DeviceArray:
    """Of the cross-entropy of the probability ``1/(1 + exp(-logits))`` and `target`."""
    return _evaluate(_logistic, logits, target, 0.0, 1.0, share, values, grad)


def multilabel(
    logits: DeviceArray,
    target: DeviceArray,
    grad: DeviceArray,
    share: float | None = None,
    values: DeviceArray | None = None,
) -> DeviceArray:
    """Of the mean over a row of its `binary_cross_entropy`."""
    N, C = logits.shape
    share = share if share is None else share / C
    if values is None:
        return binary_cross_entropy(logits, target, grad, share)
    each = logits.empty((N, C))
    value = binary_cross_entropy(logits, target, grad, share, each)
    kernel = _row_means(logits.dtype.name, WARP if C <= 1024 else THREADS)
    kernel.launch((N,), each.address, C, values.address)
    return value


def _evaluate(
    function: Callable[..., Any],
    prediction: DeviceArray,
    target: DeviceArray,
    constant: float,
    times: float,
    share: float | None,
    values: DeviceArray | None,
    grad: DeviceArray,
) -> DeviceArray:
    n = prediction.size
    share = 1.0 / n if share is None else share
    arrays = [each for each in (prediction, target, grad, values) if each is not None]
    kernel = _pointwise(
        function, prediction.dtype.name, 4 if is_aligned(*arrays) else 1, values is not None
    )
    sums = prediction.empty((-(-n // BLOCK),))
    kernel.launch(
        sums.shape,
        prediction.address,
        target.address,
        constant,
        times * share,
        grad.address,
        0 if values is None else values.address,
        sums.address,
        n,
    )
    return total(sums, share)


@cache
def _pointwise(define: Callable[..., Any], dtype: str, width: int, keeps: bool) -> Kernel:
    """The kernel for a loss of one number; `keeps` says whether there are `values`.

    A thread reads all that it needs before it writes: the gradient may replace the predictions, so
    that the compiler could not move a load before a store.
    """
    real = number_type(dtype)
    function = define(real)
    of_block = block_total(THREADS)
    warps = THREADS // WARP
    stride = 1 if width == 4 else THREADS
    half = BLOCK // 2
    get4, put4 = _access(width, stride)

    def evaluate(prediction, target, constant, scale, grad, values, sums, n):
        room = cuda.shared.array(warps, real)
        thread = int32(cuda.threadIdx.x)
        i = int64(cuda.blockIdx.x) * int64(BLOCK) + int64(thread * width)
        j = i + int64(half)
        cost = real(0)
        if j + int64(3 * stride) < n:
            a, y = get4(prediction, i), get4(target, i)
            b, z = get4(prediction, j), get4(target, j)
            losses, slopes = of_four(a, y, constant, scale)
            more_losses, more_slopes = of_four(b, z, constant, scale)
            put4(grad, i, slopes)
            put4(grad, j, more_slopes)
            if keeps:
                put4(values, i, losses)
                put4(values, j, more_losses)
            cost = sum4(losses) + sum4(more_losses)
        else:
            for k in range(8):
                e = i + int64(k // 4 * half + k % 4 * stride)
                if e < n:
                    loss, slope = function(prediction[e], target[e], constant)
                    grad[e] = scale * slope
                    if keeps:
                        values[e] = loss
                    cost += loss
        cost = of_block(cost, room, thread)
        if thread == 0:
            sums[cuda.blockIdx.x] = cost

    @inlined
    def of_four(z, y, constant, scale):
        a, p = function(z[0], y[0], constant)
        b, q = function(z[1], y[1], constant)
        c, r = function(z[2], y[2], constant)
        d, s = function(z[3], y[3], constant)
        return (a, b, c, d), (scale * p, scale * q, scale * r, scale * s)

    @inlined
    def sum4(numbers):
        return (numbers[0] + numbers[1]) + (numbers[2] + numbers[3])

    parameters = [pointer(real), pointer(real), real, real, *[pointer(real)] * 3, int64]
    return Kernel(evaluate, parameters, THREADS)


def _access(width: int, stride: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Functions that load and store four numbers: neighbours at once, or each at a stride."""

    @inlined
    def get4(where, i):
        return where[i], where[i + stride], where[i + 2 * stride], where[i + 3 * stride]

    @inlined
    def put4(where, i, numbers):
        where[i] = numbers[0]
        where[i + stride] = numbers[1]
        where[i + 2 * stride] = numbers[2]
        where[i + 3 * stride] = numbers[3]

    return (load4, store4) if width == 4 else (get4, put4)


# Functions of a prediction, what was observed and a constant: a loss and its derivative. They are
# those of fastopt.rules.losses, in the precision that is given.


@cache
def _absolute(real: Any) -> Callable[..., Any]:
    @inlined
    def absolute(z, y, constant):
        return abs(z - y), sign(z, y)

    sign = _sign(real)
    return absolute


@cache
def _squared(real: Any) -> Callable[..., Any]:
    @inlined
    def squared(z, y, constant):
        error = z - y
        return error * error, error

    return squared


@cache
def _huber(real: Any) -> Callable[..., Any]:
    """Divided by its threshold, which may be 0 or infinite in single precision."""

    @inlined
    def huber(z, y, beta):
        size = abs(z - y)
        if size < beta:
            ratio = (z - y) / beta
            return real(0.5) * size * abs(ratio), ratio
        if size >= beta:
            return size - real(0.5) * beta, sign(z, y)
        return size, size

    sign = _sign(real)
    return huber


@cache
def _sign(real: Any) -> Callable[..., Any]:
    @inlined
    def sign(z, y):
        above = real(1) if z > y else real(0)
        return real(-1) if z < y else above

    return sign


@cache
def _logistic(real: Any) -> Callable[..., Any]:
    """NaN of a target that is not from 0 to 1."""

    @inlined
    def logistic(z, y, constant):
        y = y if real(0) <= y <= real(1) else real(_NAN)
        t = math.exp(-abs(z))
        likelier = real(1) / (real(1) + t)
        other = t * likelier
        one, zero = (likelier, other) if z > real(0) else (other, likelier)
        # max(z, 0) - y z, without a difference where z > 0 and y is near 1.
        linear = (real(1) - y) * z if z > real(0) else -(y * z)
        return linear + math.log1p(t), (real(1) - y) * one - y * zero

    return logistic


@cache
def _row_means(dtype: str, threads: int) -> Kernel:
    """The kernel for the means of the rows of a matrix, of which a block has one."""
    real = number_type(dtype)
    of_block = block_total(threads)
    warps = threads // WARP

    def row_means(numbers, C, means):
        room = cuda.shared.array(warps, real)
        thread = int32(cuda.threadIdx.x)
        begin = int32(cuda.blockIdx.x * C)
        total = real(0)
        c = thread
        while c < C:
            total += numbers[int32(begin + c)]
            c = int32(c + threads)
        total = of_block(total, room, thread)
        if thread == 0:
            means[cuda.blockIdx.x] = total / real(C)

    return Kernel(row_means, [pointer(real), int32, pointer(real)], threads)
