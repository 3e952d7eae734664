"""What is asked of a gradient on a GPU before a step: how long it is, and whether it is finite.

Owns the sums over it, in two kernels of a fixed order; their answer stays in the GPU's memory,
where a step finds it. Importing this module imports numba-cuda.

Squares are summed in float64, of a float32 gradient too, as on the CPU: that keeps no step waiting,
which is for the memory's turn. Those of float64 are also summed after a division by 2**540, for
when they overflow. A gradient shorter than some 1e-150 counts as 0.
"""

# Functions of kernels are compiled for types that Numba finds.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

from fastopt.device.kernel import Kernel
from fastopt.device.language import (
    cuda,
    float64,
    inlined,
    int32,
    int64,
    load4,
    number_type,
    pointer,
)
from fastopt.device.reductions import WARP, block_total

__all__ = ["SURVEYED", "gathering", "limit_kernel", "survey_blocks", "survey_kernel"]

THREADS = 256
#: Numbers that a block finds: the sum of squares, that of the scaled, and the largest magnitude.
SURVEYED = 3
# Enough blocks to keep any GPU busy, and few enough for one block to add up.
_MOST_BLOCKS = 1024
_NUMBERS_OF_THREAD = 16
_ROOM = THREADS // WARP
_SCALE = 2.0**540
_SMALL = 1.0 / _SCALE


def survey_blocks(n: int) -> int:
    """How many blocks look through n numbers.

    Examples
    --------
    >>> survey_blocks(1), survey_blocks(5000), survey_blocks(10**9)
    (1, 2, 1024)
    """
    return min(-(-n // (THREADS * _NUMBERS_OF_THREAD)), _MOST_BLOCKS)


@inlined
def larger(a, b):
    """The larger of two magnitudes; NaN if one is."""
    return b if b > a or b != b else a


@cache
def survey_kernel(dtype: str, width: int) -> Kernel:
    """Looks through a gradient.

    Its arguments are the address of the gradient, its length, an int64, and the address of
    :data:`SURVEYED` float64 for each block.

    Parameters
    ----------
    dtype : str
        Of the gradient.
    width : int
        4 if its address is a multiple of four numbers, else 1.

    Returns
    -------
    Kernel
        Launched over :func:`survey_blocks` ``(n)``.
    """
    real = number_type(dtype)
    total, greatest = block_total(THREADS), block_total(THREADS, larger)
    overflows = dtype == "float64"

    @inlined
    def look(value, squares, scaled, largest):
        number = float64(value)
        squares += number * number
        if overflows:
            number *= _SMALL
            scaled += number * number
        return squares, scaled, larger(largest, abs(value))

    def survey(grad, n, found):
        room = cuda.shared.array(_ROOM, float64)
        room_of_scaled = cuda.shared.array(_ROOM, float64)
        room_of_largest = cuda.shared.array(_ROOM, real)
        thread = int32(cuda.threadIdx.x)
        block = int64(cuda.blockIdx.x)
        squares, scaled, largest = float64(0), float64(0), real(0)
        i = (block * int64(THREADS) + int64(thread)) * int64(width)
        step = int64(cuda.gridDim.x) * int64(THREADS) * int64(width)
        if width == 4:
            while i + int64(4) <= n:
                a, b, c, d = load4(grad, i)
                squares, scaled, largest = look(a, squares, scaled, largest)
                squares, scaled, largest = look(b, squares, scaled, largest)
                squares, scaled, largest = look(c, squares, scaled, largest)
                squares, scaled, largest = look(d, squares, scaled, largest)
                i += step
            step = int64(1)  # through the last three, which are of one thread
        while i < n:
            squares, scaled, largest = look(grad[i], squares, scaled, largest)
            i += step
        squares = total(squares, room, thread)
        if overflows:
            scaled = total(scaled, room_of_scaled, thread)
        largest = greatest(largest, room_of_largest, thread)
        if thread == 0:
            at = block * int64(SURVEYED)
            found[at] = squares
            found[at + int64(1)] = scaled
            found[at + int64(2)] = float64(largest)

    return Kernel(survey, [pointer(real), int64, pointer(float64)], THREADS)


@cache
def gathering() -> Callable[..., Any]:
    """A function that puts together what blocks have found.

    Returns
    -------
    callable
        Made by ``inlined``: ``gather(found, blocks, rooms, thread)``, with three shared arrays of 8
        float64, called by all 256 threads of one block; the Euclidean length of the gradient, and
        its largest magnitude, which is finite if the gradient is.
    """
    total, greatest = block_total(THREADS), block_total(THREADS, larger)

    @inlined
    def gather(found, blocks, room, room_of_scaled, room_of_largest, thread):
        squares, scaled, largest = float64(0), float64(0), float64(0)
        block = thread
        while block < blocks:
            at = block * int32(SURVEYED)
            squares += found[at]
            scaled += found[at + int32(1)]
            largest = larger(largest, found[at + int32(2)])
            block = int32(block + int32(THREADS))
        squares = total(squares, room, thread)
        scaled = total(scaled, room_of_scaled, thread)
        largest = greatest(largest, room_of_largest, thread)
        length = math.sqrt(squares)
        if length - length != float64(0) and largest - largest == float64(0):
            length = math.sqrt(scaled) * _SCALE
        return length, largest

    return gather


@cache
def limit_kernel(dtype: str) -> Kernel:
    """From what blocks have found: what multiplies the gradient, and whether to take a step.

    Its arguments are the address of what :func:`survey_kernel` has found, and the number of its
    blocks, an int32; the length that the gradient may have, a float64, perhaps infinite; whether
    not to step along a gradient that is not finite, an int32; and the address of two numbers of
    the gradient's type that it writes, `scale` and `go`.

    Parameters
    ----------
    dtype : str
        Of the gradient.

    Returns
    -------
    Kernel
        Launched as one block.
    """
    real = number_type(dtype)
    gather = gathering()

    def limit(found, blocks, longest, careful, control):
        room = cuda.shared.array(_ROOM, float64)
        room_of_scaled = cuda.shared.array(_ROOM, float64)
        room_of_largest = cuda.shared.array(_ROOM, float64)
        thread = int32(cuda.threadIdx.x)
        length, largest = gather(found, blocks, room, room_of_scaled, room_of_largest, thread)
        if thread == 0:
            scale = float64(1)
            if length > longest:
                scale = longest / length
            control[0] = real(scale)
            finite = largest - largest == float64(0)
            control[1] = real(1) if finite or careful == 0 else real(0)

    kinds = [pointer(float64), int32, float64, int32, pointer(real)]
    return Kernel(limit, kinds, THREADS)
