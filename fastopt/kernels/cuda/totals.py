"""Sums over the blocks of a loss, by one block, in double precision and in a fixed order."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from fastopt.device.arrays import DeviceArray
from fastopt.device.kernel import Kernel
from fastopt.device.language import cuda, float64, inlined, int32, number_type, pointer
from fastopt.device.reductions import WARP, block_total

__all__ = ["BLOCK", "THREADS", "reciprocal", "spoken", "total"]

# Of a block of a loss, and elements of one, of which each thread has two times four.
THREADS = 256
BLOCK = 8 * THREADS
_NAN = math.nan


def total(sums: DeviceArray, share: float | DeviceArray) -> DeviceArray:
    """The sum of what blocks have left, times `share`: a number, or an array of one."""
    value = sums.empty((), np.float64)
    number, address = spoken(share)
    kernel = _product(sums.dtype.name, _threads_for(sums.size), address != 0)
    kernel.launch((1,), sums.address, sums.size, number, address, value.address)
    return value


def spoken(share: float | DeviceArray) -> tuple[float, int]:
    """A share as kernels are told of it: a number, and where it is if the device knows it."""
    return (1.0, share.address) if isinstance(share, DeviceArray) else (share, 0)


def _threads_for(count: int) -> int:
    return 128 if count <= 512 else 1024


def reciprocal(sums: DeviceArray) -> DeviceArray:
    """An array of one number: 1 over the sum of what blocks have left."""
    share = sums.empty((1,))
    kernel = _reciprocal(sums.dtype.name, _threads_for(sums.size))
    kernel.launch((1,), sums.address, sums.size, share.address)
    return share


@cache
def _product(dtype: str, threads: int, shared: bool) -> Kernel:
    """The kernel for a sum times a share, which is in memory if it is `shared`."""
    real = number_type(dtype)
    add_up = _adding(threads)
    warps = threads // WARP

    def product(sums, count, share, shares, out):
        room = cuda.shared.array(warps, float64)
        thread = int32(cuda.threadIdx.x)
        total = add_up(sums, count, room, thread)
        if shared:
            share = float64(shares[0])
        if thread == 0:
            out[0] = total * share

    parameters = [pointer(real), int32, float64, pointer(real), pointer(float64)]
    return Kernel(product, parameters, threads)


@cache
def _reciprocal(dtype: str, threads: int) -> Kernel:
    """The kernel for 1 over a sum."""
    real = number_type(dtype)
    add_up = _adding(threads)
    warps = threads // WARP

    def reciprocal(sums, count, out):
        room = cuda.shared.array(warps, float64)
        thread = int32(cuda.threadIdx.x)
        total = add_up(sums, count, room, thread)
        if thread == 0:
            out[0] = real(float64(1) / total if total > float64(0) else float64(_NAN))

    return Kernel(reciprocal, [pointer(real), int32, pointer(real)], threads)


@cache
def _adding(threads: int) -> Callable[..., Any]:
    """A function that adds up an array in double precision, by the threads of one block."""
    of_block = block_total(threads)

    @inlined
    def add_up(numbers, count, room, thread):
        a, b, c, d = float64(0), float64(0), float64(0), float64(0)
        k = thread
        while k < count - 3 * threads:
            a += float64(numbers[k])
            b += float64(numbers[int32(k + threads)])
            c += float64(numbers[int32(k + 2 * threads)])
            d += float64(numbers[int32(k + 3 * threads)])
            k = int32(k + 4 * threads)
        while k < count:
            a += float64(numbers[k])
            k = int32(k + threads)
        return of_block((a + b) + (c + d), room, thread)

    return add_up
