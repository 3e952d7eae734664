"""Dropout with the mask of the CPU's: a function of a seed, a counter and the place of an element.

The counter may be in the GPU's memory, where a kernel that is launched again finds another.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from fastopt.device.arrays import DeviceArray, is_aligned
from fastopt.device.kernel import Kernel
from fastopt.device.language import cuda, inlined, int64, number_type, pointer, uint64
from fastopt.kernels.cpu.dropout import mixed_in_python
from fastopt.kernels.cuda.elementwise import NUMBERS, THREADS, access

__all__ = ["dropout"]

# Of SplitMix64, as on the CPU.
_GAMMA = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def dropout(
    x: DeviceArray, p: float, seed: int, counter: int | DeviceArray, out: DeviceArray
) -> None:
    """Elements of x over 1 - p, or 0 where a uniform number is below p; its own backward pass.

    Parameters
    ----------
    x : DeviceArray
    p : float
    seed : int
    counter : int or DeviceArray
        An int64 of one element is read when the kernel runs.
    out : DeviceArray
        It may be `x`.
    """
    if isinstance(counter, DeviceArray):
        kernel, place = _kernel(x.dtype, is_aligned(x, out), True), counter.address
    else:
        kernel, place = _kernel(x.dtype, is_aligned(x, out), False), _signed(counter)
    # A number of 64 bits is below p 2**64 if its first 53 are below p 2**53.
    kept_from = math.ceil(p * 2**53) << 11
    size = out.size
    kernel.launch(
        (-(-size // (THREADS * NUMBERS)),),
        x.address,
        _signed(mixed_in_python(seed)),
        place,
        _signed(kept_from),
        float(x.dtype.type(1.0 / (1.0 - p))),
        out.address,
        size,
    )


def _signed(word: int) -> int:
    """The int64 of the same bits as a uint64."""
    return word - 2**64 if word >= 2**63 else word


@inlined
def _mixed(z):
    """The output function of SplitMix64, variant 13 of Stafford's."""
    z = uint64((z ^ (z >> uint64(30))) * uint64(_FIRST))
    z = uint64((z ^ (z >> uint64(27))) * uint64(_SECOND))
    return z ^ (z >> uint64(31))


@cache
def _kernel(dtype: np.dtype, aligned: bool, stored: bool) -> Kernel:
    real = number_type(dtype)
    width, load, store = access(aligned)
    times, step, block = NUMBERS // width, THREADS * width, THREADS * NUMBERS

    @inlined
    def drop(x, seed, counter, kept_from, scale, out, n):
        numbers = cuda.local.array(NUMBERS, real)
        thread, part = int64(cuda.threadIdx.x), int64(cuda.blockIdx.x)
        first = part * int64(block) + thread * int64(width)
        for k in range(times):
            if first + k * step + width <= n:
                load(x, first + k * step, numbers, k * width)
        start = _mixed(uint64(uint64(seed) + uint64(uint64(counter) * uint64(_GAMMA))))
        least = uint64(kept_from)
        for k in range(times):
            if first + k * step + width <= n:
                place = uint64(start + uint64(first + k * step) * uint64(_GAMMA))
                for j in range(width):
                    place = uint64(place + uint64(_GAMMA))
                    kept = _mixed(place) >= least
                    numbers[k * width + j] = numbers[k * width + j] * scale if kept else real(0)
                store(out, first + k * step, numbers, k * width)
        rest = n % int64(width)
        if part == int64(0) and thread < rest:
            i = n - rest + thread
            place = uint64(start + uint64(i + int64(1)) * uint64(_GAMMA))
            out[i] = x[i] * scale if _mixed(place) >= least else real(0)

    def dropout_with_counter_at(x, seed, counter, kept_from, scale, out, n):
        drop(x, seed, counter[0], kept_from, scale, out, n)

    def dropout(x, seed, counter, kept_from, scale, out, n):
        drop(x, seed, counter, kept_from, scale, out, n)

    parameters = [pointer(real), int64, pointer(int64) if stored else int64, int64, real]
    source = dropout_with_counter_at if stored else dropout
    return Kernel(source, [*parameters, pointer(real), int64], THREADS)
