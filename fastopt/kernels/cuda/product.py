"""A block's part of a matrix product: a tile of sums in registers, fed from shared memory.

Owns the shape of tiles, how they lie in shared memory, and the multiplication: in plain float32 or
float64, or by tensor cores. What is multiplied is brought in by the kernels of :mod:`correlation`,
:mod:`weight_gradient` and :mod:`linear`, which need not know how.

A block has ``rows x COLUMNS`` sums, and takes ``depth`` products of each at a time. A thread has 4
or 8 rows and 8 columns, in groups of 4 that lie apart, so that the threads of a warp read shared
memory 16 bytes at a time and without conflicts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastopt.device.language import (
    as_float,
    bits_of,
    cuda,
    float32,
    inlined,
    int32,
    load4,
    multiply_tf32,
    rounded_tf32,
    split_tf32,
    uint32,
)

__all__ = ["COLUMNS", "DEPTH", "TILES", "Multiplication", "Tile", "multiplication"]

COLUMNS = 128
# The most products of a sum that are taken at a time: a share of its multiples wastes none.
DEPTH = 16
# Numbers between the ends of neighbouring rows in shared memory: eight threads that write a column
# then reach eight banks, as do the eight of a warp that read 16 bytes at a time.
_GAP = 4


@dataclass(frozen=True)
class Tile:
    """How many rows of sums a block has, and a thread.

    Attributes
    ----------
    rows, thread_rows : int
    """

    rows: int
    thread_rows: int

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.rows * COLUMNS // (self.thread_rows * 8)

    @property
    def sums(self) -> int:
        """Sums of a thread."""
        return self.thread_rows * 8

    @property
    def left_pitch(self) -> int:
        """From one step of the depth to the next, of the left factor in shared memory."""
        return self.rows + _GAP

    @property
    def right_pitch(self) -> int:
        """The same of the right factor."""
        return COLUMNS + _GAP


# By falling size.
TILES = (Tile(128, 8), Tile(64, 8), Tile(32, 4))


@dataclass(frozen=True)
class Multiplication:
    """What a kernel needs for the sums of its threads.

    Attributes
    ----------
    depth : int
        Products of each sum that are taken at a time; a multiple of 8.
    rows, columns : tuple of int
        Of the sums of a thread, from its corner; columns come in fours. Sum ``8 i + j`` is in row
        ``rows[i]`` and column ``columns[j]``.
    corner : callable
        ``corner(thread)`` is (row, column).
    prepared : callable
        ``prepared(number)`` is what is to be put into shared memory for a number.
    multiply : callable
        ``multiply(left, right, buffer, thread, sums)`` adds the products of a buffer.
    blocks : int
        That a multiprocessor is to hold at a time, which bounds the registers of each.
    """

    depth: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    corner: Callable[..., Any]
    prepared: Callable[..., Any]
    multiply: Callable[..., Any]
    blocks: int


def multiplication(tile: Tile, dtype: str, precision: str = "ieee") -> Multiplication:
    """The multiplication of a tile.

    Parameters
    ----------
    tile : Tile
    dtype : {"float16", "float32", "float64"}
        float16 are float32 as soon as they are read.
    precision : {"ieee", "3xtf32", "tf32"}, default "ieee"
        The others are for float32, and "tf32" for float16.

    Returns
    -------
    Multiplication
    """
    if precision == "ieee":
        return _plain(tile, 1 if dtype == "float64" else 2)
    depth, blocks = _ROOM[precision, tile]
    # Numbers of float16 are TF32 as they are.
    prepared = _rounded if (dtype, precision) == ("float32", "tf32") else _unchanged
    return _by_tensor_cores(tile, depth, blocks, precision, prepared)


# Of tensor cores: what depth and how many blocks registers allow for. Three products for one take
# more of them: at best in blocks of 64 rows, three at a time.
_ROOM = {
    ("tf32", TILES[0]): (DEPTH, 2),
    ("tf32", TILES[1]): (DEPTH, 3),
    ("tf32", TILES[2]): (DEPTH, 4),
    ("3xtf32", TILES[0]): (DEPTH, 1),
    ("3xtf32", TILES[1]): (8, 3),
    ("3xtf32", TILES[2]): (8, 4),
}


def _plain(tile: Tile, blocks: int) -> Multiplication:
    """Each thread multiplies; a warp has 64 columns."""
    thread_rows, groups = tile.thread_rows, tile.thread_rows // 4
    left_pitch, right_pitch = tile.left_pitch, tile.right_pitch
    left_size, right_size = 8 * left_pitch, 8 * right_pitch

    @inlined
    def corner(thread):
        warp, lane = thread >> 5, thread & 31
        row = (warp >> 1) * (4 * thread_rows) + (lane >> 3) * 4
        return int32(row), int32((warp & 1) * 64 + (lane & 7) * 4)

    @inlined
    def step(left, right, a, b, sums):
        b0, b1, b2, b3 = load4(right, b)
        b4, b5, b6, b7 = load4(right, int32(b + 32))
        for group in range(groups):
            numbers = load4(left, int32(a + 16 * group))
            for i in range(4):
                k = 32 * group + 8 * i
                number = numbers[i]
                sums[k] += number * b0
                sums[k + 1] += number * b1
                sums[k + 2] += number * b2
                sums[k + 3] += number * b3
                sums[k + 4] += number * b4
                sums[k + 5] += number * b5
                sums[k + 6] += number * b6
                sums[k + 7] += number * b7

    # Written out: the compiler would unroll a loop of this size twice at the most.
    @inlined
    def two(left, right, a, b, sums):
        step(left, right, a, b, sums)
        step(left, right, int32(a + left_pitch), int32(b + right_pitch), sums)

    @inlined
    def four(left, right, a, b, sums):
        two(left, right, a, b, sums)
        two(left, right, int32(a + 2 * left_pitch), int32(b + 2 * right_pitch), sums)

    @inlined
    def multiply(left, right, buffer, thread, sums):
        row, column = corner(thread)
        a = int32(buffer * left_size + row)
        b = int32(buffer * right_size + column)
        four(left, right, a, b, sums)
        four(left, right, int32(a + 4 * left_pitch), int32(b + 4 * right_pitch), sums)

    rows = tuple(i % 4 + 16 * (i // 4) for i in range(thread_rows))
    columns = tuple(j % 4 + 32 * (j // 4) for j in range(8))
    return Multiplication(8, rows, columns, corner, _unchanged, multiply, blocks)


def _by_tensor_cores(
    tile: Tile, depth: int, blocks: int, precision: str, prepared: Callable[..., Any]
) -> Multiplication:
    """A warp multiplies 16 x 8 by 8 x 8 numbers at a time; it has 32 columns.

    Which row of the block is which of the instruction is free: a thread's rows are taken such that
    it reads four neighbours at once, and has four to write side by side.
    """
    thread_rows, groups = tile.thread_rows, tile.thread_rows // 4
    left_pitch, right_pitch = tile.left_pitch, tile.right_pitch
    left_size, right_size = depth * left_pitch, depth * right_pitch
    left_next, right_next = 4 * left_pitch, 4 * right_pitch
    loops = depth // 8

    @inlined
    def corner(thread):
        warp, lane = thread >> 5, thread & 31
        row = (warp >> 2) * (8 * thread_rows) + block_of(lane)
        return int32(row), int32((warp & 3) * 32 + (lane & 3) * 4)

    @inlined
    def block_of(lane):
        """Where the four rows, or columns, of a lane's factors are, ``g = lane // 4`` by number.

        Of the sums it has the columns of g = 2q and 2q + 1: four and four, of which four lanes have
        a row of 16.
        """
        g = lane >> 2
        return ((g >> 1) + 4 * (g & 1)) * 4

    @inlined
    def places(buffer, thread):
        """Where the first factors of a thread are."""
        warp, lane = thread >> 5, thread & 31
        row = (warp >> 2) * (8 * thread_rows) + block_of(lane)
        column = (warp & 3) * 32 + block_of(lane)
        a = int32(buffer * left_size + (lane & 3) * left_pitch + row)
        return a, int32(buffer * right_size + (lane & 3) * right_pitch + column)

    @inlined
    def put(sums, at, total):
        sums[at], sums[at + 4], sums[at + 8], sums[at + 12] = total

    @inlined
    def add(sums, at, total):
        sums[at] += total[0]
        sums[at + 4] += total[1]
        sums[at + 8] += total[2]
        sums[at + 12] += total[3]

    @inlined
    def once(left, right, buffer, thread, sums):
        a, b = places(buffer, thread)
        for _ in range(loops):
            near, far = load4(right, b), load4(right, int32(b + right_next))
            for group in range(groups):
                here = load4(left, int32(a + 32 * group))
                there = load4(left, int32(a + left_next + 32 * group))
                for half in range(2):
                    i = 2 * half
                    factors = (
                        bits_of(here[i]),
                        bits_of(here[i + 1]),
                        bits_of(there[i]),
                        bits_of(there[i + 1]),
                    )
                    for j in range(4):
                        k = 32 * group + 16 * half + j
                        total = sums[k], sums[k + 4], sums[k + 8], sums[k + 12]
                        others = bits_of(near[j]), bits_of(far[j])
                        put(sums, k, multiply_tf32(total, factors, others))
            a = int32(a + 2 * left_next)
            b = int32(b + 2 * right_next)

    @inlined
    def thrice(left, right, buffer, thread, sums):
        a, b = places(buffer, thread)
        zero = float32(0)
        zeros = zero, zero, zero, zero
        high = cuda.local.array(8, uint32)
        low = cuda.local.array(8, uint32)
        for _ in range(loops):
            near, far = load4(right, b), load4(right, int32(b + right_next))
            for j in range(4):
                high[j], low[j] = split_tf32(near[j])
                high[j + 4], low[j + 4] = split_tf32(far[j])
            for group in range(groups):
                here = load4(left, int32(a + 32 * group))
                there = load4(left, int32(a + left_next + 32 * group))
                for half in range(2):
                    i = 2 * half
                    p, s = split_tf32(here[i])
                    q, t = split_tf32(here[i + 1])
                    r, u = split_tf32(there[i])
                    v, w = split_tf32(there[i + 1])
                    for j in range(4):
                        # Tensor cores cut sums off where float32 rounds them, which adds up over
                        # many: they only sum 8 products here.
                        total = multiply_tf32(zeros, (s, t, u, w), (high[j], high[j + 4]))
                        total = multiply_tf32(total, (p, q, r, v), (low[j], low[j + 4]))
                        total = multiply_tf32(total, (p, q, r, v), (high[j], high[j + 4]))
                        add(sums, 32 * group + 16 * half + j, total)
            a = int32(a + 2 * left_next)
            b = int32(b + 2 * right_next)

    rows = tuple(i % 4 + 32 * (i // 4) for i in range(thread_rows))
    columns = tuple(j % 4 + 16 * (j // 4) for j in range(8))
    multiply = once if precision == "tf32" else thrice
    return Multiplication(depth, rows, columns, corner, prepared, multiply, blocks)


@inlined
def _unchanged(number):
    return number


@inlined
def _rounded(number):
    return as_float(rounded_tf32(number))
