"""A block's part of a matrix product: a tile of sums in registers, fed from shared memory.

Owns the shape of tiles, how they lie in shared memory, and the multiplication, in plain float32 or
float64. What is multiplied is brought in by the kernels of :mod:`correlation`,
:mod:`weight_gradient` and :mod:`matrices`.

A block has ``rows x COLUMNS`` sums, and takes ``DEPTH`` products of each at a time. Its warps have
64 columns each; a thread has 4 or 8 rows and 8 columns, in groups of 4 that lie apart, so that the
threads of a warp read shared memory 16 bytes at a time and without conflicts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastopt.device.language import inlined, int32, load4

__all__ = ["COLUMNS", "DEPTH", "TILES", "Tile", "multiplication"]

COLUMNS = 128
DEPTH = 8
# Numbers between the ends of neighbouring rows in shared memory: eight threads that write a column
# then reach eight banks.
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


def multiplication(tile: Tile) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """What a kernel needs for the sums of its thread.

    Parameters
    ----------
    tile : Tile

    Returns
    -------
    multiply : callable
        ``multiply(left, right, buffer, corner, sums)`` adds the products of a buffer.
    corner : callable
        ``corner(thread)`` is (row, column) of the first sum.
    place : callable
        ``place(k)`` is (row, column) of the k-th sum from there, k being a constant.
    """
    thread_rows, groups = tile.thread_rows, tile.thread_rows // 4
    left_pitch, right_pitch = tile.left_pitch, tile.right_pitch
    left_size, right_size = DEPTH * left_pitch, DEPTH * right_pitch

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

    @inlined
    def multiply(left, right, buffer, row, column, sums):
        a = int32(buffer * left_size + row)
        b = int32(buffer * right_size + column)
        for _ in range(DEPTH // 2):
            step(left, right, a, b, sums)
            step(left, right, int32(a + left_pitch), int32(b + right_pitch), sums)
            a = int32(a + 2 * left_pitch)
            b = int32(b + 2 * right_pitch)

    @inlined
    def place(k):
        i, j = k // 8, k % 8
        return i % 4 + 16 * (i // 4), j % 4 + 32 * (j // 4)

    return multiply, corner, place
