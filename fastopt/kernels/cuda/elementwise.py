"""Functions of one number or two, applied to each element of an array.

Owns how an array is shared out among threads: each takes four neighbours at once, where addresses
allow it, and asks for all that it reads before it uses any, for a GPU's memory is read fastest so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from fastopt.device.arrays import DeviceArray, is_aligned
from fastopt.device.kernel import Kernel
from fastopt.device.language import cuda, inlined, int64, load4, number_type, pointer_to, store4

__all__ = ["NUMBERS", "THREADS", "Access", "access", "apply"]

THREADS = 256
# Of each thread: two times four of them, or eight times one.
NUMBERS = 8
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
    kernel = _KERNELS[len(inputs)](function, out.dtype, is_aligned(*inputs, out))
    size = out.size
    blocks = -(-size // (THREADS * NUMBERS))
    kernel.launch((blocks,), *(each.address for each in inputs), number, out.address, size)


class Access(NamedTuple):
    """How a thread reads and writes neighbours.

    Attributes
    ----------
    width : int
        How many neighbours.
    load, store : callable
        ``load(source, index, numbers, first)`` puts them into a local array, from a place in it
        on, and ``store(target, index, numbers, first)`` does the converse.
    """

    width: int
    load: Callable[..., Any]
    store: Callable[..., Any]


def access(aligned: bool) -> Access:
    """Four neighbours at once, or one."""
    return _BY_FOURS if aligned else _SINGLY


@inlined
def _load(source, index, numbers, first):
    numbers[first] = source[index]


@inlined
def _store(target, index, numbers, first):
    target[index] = numbers[first]


@inlined
def _load_four(source, index, numbers, first):
    a, b, c, d = load4(source, index)
    numbers[first] = a
    numbers[first + 1] = b
    numbers[first + 2] = c
    numbers[first + 3] = d


@inlined
def _store_four(target, index, numbers, first):
    four = (numbers[first], numbers[first + 1], numbers[first + 2], numbers[first + 3])
    store4(target, index, four)


_SINGLY, _BY_FOURS = Access(1, _load, _store), Access(_WIDTH, _load_four, _store_four)


@cache
def _of_one(function: Callable[..., Any], dtype: np.dtype[Any], aligned: bool) -> Kernel:
    real = number_type(dtype)
    width, load, store = access(aligned)
    times, step, block = NUMBERS // width, THREADS * width, THREADS * NUMBERS

    def of_one(x, number, out, n):
        numbers = cuda.local.array(NUMBERS, real)
        thread, part = int64(cuda.threadIdx.x), int64(cuda.blockIdx.x)
        first = part * int64(block) + thread * int64(width)
        for k in range(times):
            if first + k * step + width <= n:
                load(x, first + k * step, numbers, k * width)
        for k in range(times):
            if first + k * step + width <= n:
                for j in range(width):
                    numbers[k * width + j] = function(numbers[k * width + j], number)
                store(out, first + k * step, numbers, k * width)
        # What is left of the array, by a block that has work at the same time.
        rest = n % int64(width)
        if part == int64(0) and thread < rest:
            i = n - rest + thread
            out[i] = function(x[i], number)

    numbers_of = pointer_to(dtype)
    return Kernel(of_one, [numbers_of, real, numbers_of, int64], THREADS)


@cache
def _of_two(function: Callable[..., Any], dtype: np.dtype[Any], aligned: bool) -> Kernel:
    real = number_type(dtype)
    width, load, store = access(aligned)
    times, step, block = NUMBERS // width, THREADS * width, THREADS * NUMBERS

    def of_two(x, y, number, out, n):
        numbers = cuda.local.array(NUMBERS, real)
        others = cuda.local.array(NUMBERS, real)
        thread, part = int64(cuda.threadIdx.x), int64(cuda.blockIdx.x)
        first = part * int64(block) + thread * int64(width)
        for k in range(times):
            if first + k * step + width <= n:
                load(x, first + k * step, numbers, k * width)
                load(y, first + k * step, others, k * width)
        for k in range(times):
            if first + k * step + width <= n:
                for j in range(k * width, k * width + width):
                    numbers[j] = function(numbers[j], others[j], number)
                store(out, first + k * step, numbers, k * width)
        rest = n % int64(width)
        if part == int64(0) and thread < rest:
            i = n - rest + thread
            out[i] = function(x[i], y[i], number)

    numbers_of = pointer_to(dtype)
    return Kernel(of_two, [numbers_of, numbers_of, real, numbers_of, int64], THREADS)


_KERNELS = {1: _of_one, 2: _of_two}
