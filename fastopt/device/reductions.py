"""Sums and the like over the threads of a warp or a block, in an order that never changes.

Owns the exchange between threads; what is combined, and how, is the caller's. Importing this module
imports numba-cuda.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from fastopt.device.language import cuda, inlined, int32, uint32

__all__ = ["WARP", "block_total", "larger", "plus", "warp_total"]

WARP = 32
_ALL = 0xFFFFFFFF


@inlined
def plus(a, b):
    return a + b


@inlined
def larger(a, b):
    """The larger of two numbers; b if either is NaN."""
    return a if a > b else b


@cache
def warp_total(combine: Callable[..., Any] = plus, lanes: int = WARP) -> Callable[..., Any]:
    """A function from a number of each thread of a warp to that of them all, known to each thread.

    Parameters
    ----------
    combine : callable
        Made by ``inlined``: of two numbers, in any order; by default their sum.
    lanes : int, default 32
        A power of two: the warp is taken in groups of so many neighbours, each with its own total.

    Returns
    -------
    callable
        ``total(number)``; all threads of the warp call it.
    """

    doublings = lanes.bit_length() - 1

    @inlined
    def total(number):
        for k in range(doublings):
            other = cuda.shfl_xor_sync(uint32(_ALL), number, int32(lanes >> (k + 1)))
            number = combine(number, other)
        return number

    return total


@cache
def block_total(threads: int, combine: Callable[..., Any] = plus) -> Callable[..., Any]:
    """As :func:`warp_total`, over a block.

    Parameters
    ----------
    threads : int
        Of the block; a multiple of 32.
    combine : callable
        See :func:`warp_total`.

    Returns
    -------
    callable
        ``total(number, room, thread)``, with a shared array of ``threads // 32`` numbers or more
        and the thread's place in the block. All threads call it; after it, `room` may be used
        again only behind another barrier.
    """
    warps = threads // WARP
    of_warp = warp_total(combine)

    @inlined
    def total(number, room, thread):
        number = of_warp(number)
        if thread % WARP == 0:
            room[thread // WARP] = number
        cuda.syncthreads()
        number = room[0]
        for k in range(1, warps):
            number = combine(number, room[k])
        return number

    return total
