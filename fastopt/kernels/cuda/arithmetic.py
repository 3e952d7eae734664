"""Sums of arrays, and copies of channels: what residual blocks and concatenations are made of."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from fastopt.device.arrays import DeviceArray, is_aligned
from fastopt.device.kernel import Kernel
from fastopt.device.language import cuda, inlined, int32, number_type, pointer, quotient
from fastopt.kernels.cuda.elementwise import NUMBERS, THREADS, access, apply

__all__ = ["accumulate", "add", "add_relu", "copy_channels"]


def add(a: DeviceArray, b: DeviceArray, out: DeviceArray) -> None:
    """a + b. `out` may be either."""
    apply(_sum, (a, b), 0.0, out)


def add_relu(a: DeviceArray, b: DeviceArray, out: DeviceArray) -> None:
    """max(a + b, 0). From its result, `activations.relu_backward` makes the gradient of both."""
    apply(_sum_or_zero, (a, b), 0.0, out)


def accumulate(a: DeviceArray, out: DeviceArray) -> None:
    """Add `a` to `out`."""
    apply(_sum, (out, a), 0.0, out)


def copy_channels(x: DeviceArray, begin: int, out: DeviceArray, to: int, count: int) -> None:
    """Copy `count` channels of each image, from `begin` of x to `to` of `out`.

    Once for each input it concatenates along channels; once for each output it splits.

    Parameters
    ----------
    x, out : (N, C, ...) array
        Of as many images of the same size; C may differ.
    begin, to, count : int
    """
    size = math.prod(x.shape[2:])
    steps = begin * size, x.shape[1] * size, to * size, out.shape[1] * size, count * size
    aligned = is_aligned(x, out) and not any(step % 4 for step in steps)
    total = x.shape[0] * count * size
    blocks = -(-total // (THREADS * NUMBERS))
    _copy(x.dtype, aligned).launch((blocks,), x.address, out.address, *steps, total)


@inlined
def _sum(a, b, zero):
    return a + b


@inlined
def _sum_or_zero(a, b, zero):
    return zero if a + b <= zero else a + b


@cache
def _copy(dtype: np.dtype, aligned: bool) -> Kernel:
    real = number_type(dtype)
    width, load, store = access(aligned)
    times, step, block = NUMBERS // width, THREADS * width, THREADS * NUMBERS

    def copy(x, out, begin, image, to, out_image, size, total):
        numbers = cuda.local.array(NUMBERS, real)
        first = int32(cuda.blockIdx.x * block + cuda.threadIdx.x * width)
        # All that is copied is `total` numbers, of which each image has `size`.
        for k in range(times):
            i = int32(first + k * step)
            if i < total:
                n = quotient(i, size)
                load(x, int32(begin + n * image + (i - n * size)), numbers, k * width)
        for k in range(times):
            i = int32(first + k * step)
            if i < total:
                n = quotient(i, size)
                store(out, int32(to + n * out_image + (i - n * size)), numbers, k * width)

    return Kernel(copy, [pointer(real), pointer(real)] + [int32] * 6, THREADS)
