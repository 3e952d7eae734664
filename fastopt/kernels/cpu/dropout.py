"""Dropout whose mask is a function of a seed, a counter and the place of an element alone.

Each element has a number of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014), which computes any
element of its sequence by itself: nothing has to be remembered for the backward pass, and how the
array is cut into parts does not matter.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt.core._jit import RULE, compile_named
from fastopt.kernels.cpu import threads

__all__ = ["dropout"]

Array = NDArray[Any]

BLOCK = 16384  # elements of a part

_BITS = 2**64 - 1
_GAMMA = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31, _11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_UNIFORM_BITS = 53


def dropout(x: Array, p: float, seed: int, counter: int | Array, out: Array) -> None:
    """Elements of x over 1 - p, or 0 where a uniform number is below p; its own backward pass.

    `counter` may be an array of no dimensions, of int64.
    """
    start = mixed_in_python(mixed_in_python(seed) + int(counter) * int(_GAMMA))
    kept_from = np.uint64(math.ceil(p * 2**_UNIFORM_BITS))
    parts = -(-x.size // BLOCK)
    scale = x.dtype.type(1.0 / (1.0 - p))
    threads.run(
        drop, parts, x.size, x.reshape(-1), np.uint64(start), kept_from, scale, out.reshape(-1)
    )


@compile_named
def drop(
    x: Any,
    start: Any,
    kept_from: Any,
    scale: Any,
    out: Any,
    first: int,
    last: int,
    slot: int,
) -> None:
    zero = scale - scale
    for part in range(first, last):
        begin = part * BLOCK
        # Slices, since an index that might be negative, and count from the end, costs a test.
        here, there = x[begin : begin + BLOCK], out[begin : begin + BLOCK]
        place = start + np.uint64(begin) * _GAMMA
        for e in range(here.size):
            number = mixed(place + np.uint64(e + 1) * _GAMMA) >> _11
            there[e] = here[e] * scale if number >= kept_from else zero


@RULE
def mixed(z: Any) -> Any:
    """The output function of SplitMix64, variant 13 of Stafford's."""
    z = (z ^ (z >> _30)) * _FIRST
    z = (z ^ (z >> _27)) * _SECOND
    return z ^ (z >> _31)


def mixed_in_python(z: int) -> int:
    """`mixed` of any integer, modulo 2**64; NumPy's would warn that products overflow."""
    z &= _BITS
    z = (z ^ (z >> 30)) * int(_FIRST) & _BITS
    z = (z ^ (z >> 27)) * int(_SECOND) & _BITS
    return z ^ (z >> 31)
