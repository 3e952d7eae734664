"""Activations and their derivatives, element by element; softmax by rows.

`y` is always the forward result. NaN is treated as on the CPU: it comes out where it goes in, and
a `y` that is NaN lets the gradient through.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from fastopt.device.arrays import DeviceArray, is_aligned
from fastopt.device.kernel import Kernel
from fastopt.device.language import cuda, inlined, int32, number_type, pointer
from fastopt.device.reductions import WARP, block_total, larger, warp_total
from fastopt.kernels.cuda.elementwise import access, apply

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


def relu(x: DeviceArray, out: DeviceArray) -> None:
    """max(x, 0), and NaN where x is. `out` may be `x`."""
    apply(_relu, (x,), 0.0, out)


def relu_backward(grad: DeviceArray, y: DeviceArray, out: DeviceArray) -> None:
    """`grad` where y > 0, else 0. `out` may be `grad`."""
    apply(_relu_backward, (grad, y), 0.0, out)


def leaky_relu(x: DeviceArray, slope: float, out: DeviceArray) -> None:
    """x where x > 0, else `slope` x. `out` may be `x`."""
    apply(_leaky_relu, (x,), slope, out)


def leaky_relu_backward(grad: DeviceArray, y: DeviceArray, slope: float, out: DeviceArray) -> None:
    """`grad` where y > 0, else `slope` grad; `slope` is not negative. `out` may be `grad`."""
    apply(_leaky_relu_backward, (grad, y), slope, out)


def sigmoid(x: DeviceArray, out: DeviceArray) -> None:
    """1 / (1 + exp(-x)). `out` may be `x`."""
    apply(_sigmoid, (x,), 1.0, out)


def sigmoid_backward(grad: DeviceArray, y: DeviceArray, out: DeviceArray) -> None:
    """grad y (1 - y). `out` may be `grad`."""
    apply(_sigmoid_backward, (grad, y), 1.0, out)


def tanh(x: DeviceArray, out: DeviceArray) -> None:
    """The hyperbolic tangent. `out` may be `x`."""
    apply(_tanh, (x,), 0.0, out)


def tanh_backward(grad: DeviceArray, y: DeviceArray, out: DeviceArray) -> None:
    """grad (1 - y**2). `out` may be `grad`."""
    apply(_tanh_backward, (grad, y), 1.0, out)


def softmax(x: DeviceArray, out: DeviceArray) -> None:
    """exp(x) over its sum, for each row of x (N, C). `out` may be `x`."""
    N, C = x.shape
    aligned = C % 4 == 0 and is_aligned(x, out)
    if C <= _MOST_IN_A_WARP:
        lanes, times = _lanes(C, access(aligned).width)
        kernel = _softmax_by_warps(x.dtype, aligned, lanes, times)
        kernel.launch((-(-N * lanes // _THREADS),), x.address, out.address, N, C)
    else:
        _softmax_by_blocks(x.dtype, aligned).launch((N,), x.address, out.address, C)


def softmax_backward(grad: DeviceArray, y: DeviceArray, out: DeviceArray) -> None:
    """y (grad - y . grad), for each row of y (N, C). `out` may be `grad`."""
    N, C = y.shape
    aligned = C % 4 == 0 and is_aligned(grad, y, out)
    addresses = grad.address, y.address, out.address
    if C <= _MOST_IN_A_WARP:
        lanes, times = _lanes(C, access(aligned).width)
        kernel = _softmax_backward_by_warps(y.dtype, aligned, lanes, times)
        kernel.launch((-(-N * lanes // _THREADS),), *addresses, N, C)
    else:
        _softmax_backward_by_blocks(y.dtype, aligned).launch((N,), *addresses, C)


# --- element by element ----------------------------------------------------------------------


@inlined
def _relu(x, zero):
    return zero if x <= zero else x


@inlined
def _relu_backward(grad, y, zero):
    return zero if y <= zero else grad


@inlined
def _leaky_relu(x, slope):
    return x * slope if x <= slope - slope else x


@inlined
def _leaky_relu_backward(grad, y, slope):
    return grad * slope if y <= slope - slope else grad


@inlined
def _sigmoid(x, one):
    # Of -|x|, which does not overflow.
    e = math.exp(-math.fabs(x))
    return (e if x < one - one else one) / (one + e)


@inlined
def _sigmoid_backward(grad, y, one):
    return grad * (y * (one - y))


@inlined
def _tanh(x, zero):
    return math.tanh(x)


@inlined
def _tanh_backward(grad, y, one):
    return grad * (one - y * y)


# --- by rows ---------------------------------------------------------------------------------

# Of a block whose warps, or parts of warps, have a row each, and of one that has a row.
_THREADS, _THREADS_OF_ROW = 128, 512
# A row of so many is held in registers.
_MOST_IN_A_WARP = 1024
_LOWEST = -math.inf


def _lanes(C: int, width: int) -> tuple[int, int]:
    """How many threads share a row, and how often each takes `width` numbers of it."""
    lanes = min(WARP, 1 << (-(-C // width) - 1).bit_length())
    return lanes, -(-C // (lanes * width))


@cache
def _softmax_by_warps(dtype: np.dtype, aligned: bool, lanes: int, times: int) -> Kernel:
    real = number_type(dtype)
    width, load, store = access(aligned)
    held, rows = times * width, _THREADS // lanes
    largest, total = warp_total(larger, lanes), warp_total(lanes=lanes)

    def softmax(x, out, N, C):
        numbers = cuda.local.array(held, real)
        thread = int32(cuda.threadIdx.x)
        row = int32(cuda.blockIdx.x * rows + thread // lanes)
        # Behind the last row the threads take it again, for all of a warp exchange numbers.
        start = int32((row if row < N else N - 1) * C)
        column = int32(thread % lanes * width)
        for k in range(held):
            numbers[k] = real(_LOWEST)
        for k in range(times):
            if column + k * lanes * width < C:
                load(x, start + column + k * lanes * width, numbers, k * width)
        most = numbers[0]
        for k in range(1, held):
            most = larger(most, numbers[k])
        most = largest(most)
        sum_ = real(0)
        for k in range(held):
            numbers[k] = math.exp(numbers[k] - most)
            sum_ += numbers[k]
        share = real(1) / total(sum_)
        for k in range(held):
            numbers[k] *= share
        for k in range(times):
            if row < N and column + k * lanes * width < C:
                store(out, start + column + k * lanes * width, numbers, k * width)

    return Kernel(softmax, [pointer(real), pointer(real), int32, int32], _THREADS)


@cache
def _softmax_backward_by_warps(dtype: np.dtype, aligned: bool, lanes: int, times: int) -> Kernel:
    real = number_type(dtype)
    width, load, store = access(aligned)
    held, rows = times * width, _THREADS // lanes
    total = warp_total(lanes=lanes)

    def softmax_backward(grad, y, out, N, C):
        grads = cuda.local.array(held, real)
        ys = cuda.local.array(held, real)
        thread = int32(cuda.threadIdx.x)
        row = int32(cuda.blockIdx.x * rows + thread // lanes)
        start = int32((row if row < N else N - 1) * C)
        column = int32(thread % lanes * width)
        for k in range(held):
            grads[k] = real(0)
            ys[k] = real(0)
        for k in range(times):
            if column + k * lanes * width < C:
                load(grad, start + column + k * lanes * width, grads, k * width)
                load(y, start + column + k * lanes * width, ys, k * width)
        mean = real(0)
        for k in range(held):
            mean += ys[k] * grads[k]
        mean = total(mean)
        for k in range(held):
            grads[k] = ys[k] * (grads[k] - mean)
        for k in range(times):
            if row < N and column + k * lanes * width < C:
                store(out, start + column + k * lanes * width, grads, k * width)

    parameters = [pointer(real)] * 3 + [int32] * 2
    return Kernel(softmax_backward, parameters, _THREADS)


@cache
def _softmax_by_blocks(dtype: np.dtype, aligned: bool) -> Kernel:
    """Reads a row three times, the second and third from a cache."""
    real = number_type(dtype)
    width, load, store = access(aligned)
    step, warps = _THREADS_OF_ROW * width, _THREADS_OF_ROW // WARP
    largest = block_total(_THREADS_OF_ROW, larger)
    total = block_total(_THREADS_OF_ROW)

    def softmax(x, out, C):
        maxima = cuda.shared.array(warps, real)
        totals = cuda.shared.array(warps, real)
        numbers = cuda.local.array(width, real)
        sums = cuda.local.array(width, real)
        thread = int32(cuda.threadIdx.x)
        start = int32(cuda.blockIdx.x * C)
        most = real(_LOWEST)
        i = int32(thread * width)
        while i < C:
            load(x, start + i, numbers, 0)
            for k in range(width):
                most = larger(most, numbers[k])
            i = int32(i + step)
        most = largest(most, maxima, thread)
        for k in range(width):
            sums[k] = real(0)
        i = int32(thread * width)
        while i < C:
            load(x, start + i, numbers, 0)
            for k in range(width):
                sums[k] += math.exp(numbers[k] - most)
            i = int32(i + step)
        for k in range(1, width):
            sums[0] += sums[k]
        share = real(1) / total(sums[0], totals, thread)
        i = int32(thread * width)
        while i < C:
            load(x, start + i, numbers, 0)
            for k in range(width):
                numbers[k] = math.exp(numbers[k] - most) * share
            store(out, start + i, numbers, 0)
            i = int32(i + step)

    return Kernel(softmax, [pointer(real), pointer(real), int32], _THREADS_OF_ROW)


@cache
def _softmax_backward_by_blocks(dtype: np.dtype, aligned: bool) -> Kernel:
    real = number_type(dtype)
    width, load, store = access(aligned)
    step, warps = _THREADS_OF_ROW * width, _THREADS_OF_ROW // WARP
    total = block_total(_THREADS_OF_ROW)

    def softmax_backward(grad, y, out, C):
        totals = cuda.shared.array(warps, real)
        grads = cuda.local.array(width, real)
        ys = cuda.local.array(width, real)
        sums = cuda.local.array(width, real)
        thread = int32(cuda.threadIdx.x)
        start = int32(cuda.blockIdx.x * C)
        for k in range(width):
            sums[k] = real(0)
        i = int32(thread * width)
        while i < C:
            load(grad, start + i, grads, 0)
            load(y, start + i, ys, 0)
            for k in range(width):
                sums[k] += ys[k] * grads[k]
            i = int32(i + step)
        for k in range(1, width):
            sums[0] += sums[k]
        mean = total(sums[0], totals, thread)
        i = int32(thread * width)
        while i < C:
            load(grad, start + i, grads, 0)
            load(y, start + i, ys, 0)
            for k in range(width):
                grads[k] = ys[k] * (grads[k] - mean)
            store(out, start + i, grads, 0)
            i = int32(i + step)

    return Kernel(softmax_backward, [pointer(real)] * 3 + [int32], _THREADS_OF_ROW)
