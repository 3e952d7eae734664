"""One piece of memory for arrays that are not all needed at once.

Owns which places do not collide. Knows nothing of what is in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALIGNMENT", "Block", "empty_arena", "place", "view"]

# Bytes: a cache line, and the widest vector register.
ALIGNMENT = 64


@dataclass(eq=False, slots=True)
class Block:
    """Memory that is needed from one moment to another, both included.

    `offset` is where `place` put it.
    """

    size: int  # bytes
    first: int
    last: int
    offset: int = 0

    def needed_at(self, moment: int) -> None:
        self.last = max(self.last, moment)


def place(blocks: Sequence[Block]) -> int:
    """Give each block an offset such that those needed at one moment do not overlap.

    The largest come first, each at the lowest place that is free for as long as it is needed.

    Parameters
    ----------
    blocks : sequence of Block

    Returns
    -------
    int
        Bytes for all of them.
    """
    count = len(blocks)
    first, last, start, end = (np.zeros(count, np.int64) for _ in range(4))
    for i, block in enumerate(sorted(blocks, key=lambda each: -each.size)):
        size = -(-block.size // ALIGNMENT) * ALIGNMENT
        others = np.flatnonzero((first[:i] <= block.last) & (last[:i] >= block.first))
        others = others[np.argsort(start[others], kind="stable")]
        # The free room before each of them reaches from the furthest end of those before it.
        ends = np.maximum.accumulate(np.concatenate(([0], end[others])))
        room = np.concatenate((start[others], [np.iinfo(np.int64).max])) - ends
        block.offset = int(ends[np.argmax(room >= size)])
        first[i], last[i] = block.first, block.last
        start[i], end[i] = block.offset, block.offset + size
    return int(end.max(initial=0))


def empty_arena(size: int) -> NDArray[np.uint8]:
    """Uninitialised bytes that begin at a multiple of `ALIGNMENT`."""
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size]


def view(arena: NDArray[np.uint8], block: Block, shape: Sequence[int], dtype: Any) -> NDArray[Any]:
    """The array of that shape at the beginning of a block."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    array: NDArray[Any] = arena[block.offset : block.offset + size].view(dtype)
    return array.reshape(shape)
