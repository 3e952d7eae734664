"""Functions of one number or two, applied to each element of an array.

Owns how an array is shared out among threads: each takes four neighbours at once, where addresses
allow it, for a GPU's memory is read fastest so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from fastopt.device.arrays import DeviceArray
from fastopt.device.kernel import Kernel
from fastopt.device.language import cuda, int64, load4, number_type, pointer, store4

__all__ = ["apply", "is_aligned"]

THREADS = 256
_WIDTH = 4


def apply(
    function: Callable[..., Any], inputs: tuple[DeviceArray, ...], number: float, out: DeviceArray
) -> None:
    """Put ``function(*elements, number)`` into each element of `out`, which may be an input.

    Parameters
    ----------
    function : callable
        Made by ``inlined``; it takes an element of each input, and `number` in their precision.
    inputs : tuple of one or two DeviceArray
        Of the shape and dtype of `out`.
    number : float
        The same for all elements.
    out : DeviceArray
    """
    width = _WIDTH if is_aligned(*inputs, out) else 1
    kernel = _KERNELS[len(inputs)](function, out.dtype.name, width)
    blocks = -(-out.size // (THREADS * width))
    kernel.launch((blocks,), *(each.address for each in inputs), number, out.address, out.size)


def is_aligned(*arrays: DeviceArray) -> bool:
    """Whether all begin where four numbers can be read at once."""
    return all(each.address % (_WIDTH * each.dtype.itemsize) == 0 for each in arrays)


@cache
def _of_one(function: Callable[..., Any], dtype: str, width: int) -> Kernel:
    real = number_type(dtype)

    def singly(x, number, out, n):
        i = int64(cuda.blockIdx.x) * int64(THREADS) + int64(cuda.threadIdx.x)
        if i < n:
            out[i] = function(x[i], number)

    def by_fours(x, number, out, n):
        i = (int64(cuda.blockIdx.x) * int64(THREADS) + int64(cuda.threadIdx.x)) * int64(4)
        if i + int64(4) <= n:
            a, b, c, d = load4(x, i)
            results = (
                function(a, number),
                function(b, number),
                function(c, number),
                function(d, number),
            )
            store4(out, i, results)
        else:
            while i < n:
                out[i] = function(x[i], number)
                i += int64(1)

    source = by_fours if width == _WIDTH else singly
    return Kernel(source, [pointer(real), real, pointer(real), int64], THREADS)


@cache
def _of_two(function: Callable[..., Any], dtype: str, width: int) -> Kernel:
    real = number_type(dtype)

    def singly(x, y, number, out, n):
        i = int64(cuda.blockIdx.x) * int64(THREADS) + int64(cuda.threadIdx.x)
        if i < n:
            out[i] = function(x[i], y[i], number)

    def by_fours(x, y, number, out, n):
        i = (int64(cuda.blockIdx.x) * int64(THREADS) + int64(cuda.threadIdx.x)) * int64(4)
        if i + int64(4) <= n:
            a, b, c, d = load4(x, i)
            p, q, r, s = load4(y, i)
            results = (
                function(a, p, number),
                function(b, q, number),
                function(c, r, number),
                function(d, s, number),
            )
            store4(out, i, results)
        else:
            while i < n:
                out[i] = function(x[i], y[i], number)
                i += int64(1)

    source = by_fours if width == _WIDTH else singly
    return Kernel(source, [pointer(real), pointer(real), real, pointer(real), int64], THREADS)


_KERNELS = {1: _of_one, 2: _of_two}
