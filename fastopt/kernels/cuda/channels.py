"""How the numbers of channels are shared out among blocks and threads, and their sums gathered.

Owns where the numbers of a thread lie in an array (N, C, L), and how two sums of each thread become
those of a channel, in an order that depends on shapes alone. What is summed is the caller's.

Where L is long a block has one channel, or a *share* of it, and its threads take the channel's
numbers in turn. Where L is short a block has some neighbouring channels, so that what its threads
read lies side by side: each thread has one column of the matrix (N, C L). Either way a thread takes
*units*, every `depth`-th from its first on: four neighbouring numbers where addresses and L allow
it, and else one number. An image has `run` of a thread's units: the column's one, or those of a
plane.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from fastopt.device.language import cuda, float64, inlined, int32, load2, quotient
from fastopt.kernels.cuda import elementwise

__all__ = [
    "MOST_TOGETHER",
    "THREADS",
    "WHOLE",
    "Cut",
    "access",
    "gathering",
    "is_wide",
    "placing",
    "shared",
    "whole",
]

# From this L on a block has one channel. Below, a plane is less than two sectors of memory.
LONG = 16
# Channels, and their columns, that a block has where L is short: a row of them is a line of memory.
MOST_TOGETHER = 32
# Blocks that are enough for any GPU, where there is work for them: two for each multiprocessor's
# place and more, so that none has to wait for the last.
BLOCKS = 2048
# Threads of a block that has a share of a channel.
THREADS = 256
# Threads of a block that has channels as a whole, and all of their numbers in its registers.
WHOLE = (256, 1024)


class Cut(NamedTuple):
    """How an array is shared out; the last arguments of a kernel.

    Attributes
    ----------
    channels, length : int
        C and L.
    run : int
        Units of an image, for a thread.
    together : int
        Channels of a block.
    units : int
        Of all images.
    share : int
        Units of a block.
    shares : int
        Blocks that share a channel.
    """

    channels: int
    length: int
    run: int
    together: int
    units: int
    share: int
    shares: int

    @property
    def tiles(self) -> int:
        """Blocks for all channels, if each has them as a whole."""
        return -(-self.channels // self.together)

    @property
    def blocks(self) -> int:
        """Blocks of all shares."""
        return self.tiles * self.shares


def whole(shape: tuple[int, ...], width: int, count: int) -> tuple[Cut, int] | None:
    """How blocks can have channels as a whole, with all of their numbers in registers.

    Parameters
    ----------
    shape : tuple of int
        N, C and L.
    width : int
        Numbers of a unit, 4 or 1. It is 4 only if `is_wide` says so.
    count : int
        Units that a thread has in its registers at a time.

    Returns
    -------
    cut : Cut
    threads : int
        Of a block, one of `WHOLE`. Or None for both, where there are too many numbers.
    """
    C, L, run, together, columns, units = _sizes(shape, width)
    for threads in WHOLE:
        if units <= threads // columns * count:
            return Cut(C, L, run, together, units, units, 1), threads
    return None


def shared(shape: tuple[int, ...], width: int, count: int) -> Cut:
    """How blocks of `THREADS` share out channels; as :func:`whole`."""
    C, L, run, together, columns, units = _sizes(shape, width)
    batch = THREADS // columns * count
    wanted = -(-BLOCKS // -(-C // together))
    share = -(-units // (wanted * batch)) * batch
    return Cut(C, L, run, together, units, share, -(-units // share))


def _sizes(shape: tuple[int, ...], width: int) -> tuple[int, ...]:
    """C, L, units of an image, channels and columns of a block, and units of all images."""
    N, C, L = shape
    if L < LONG:
        together = max(1, min(C, MOST_TOGETHER // L))
        return C, L, 1, together, together * L, N
    return C, L, L // width, 1, 1, N * L // width


def is_wide(length: int) -> bool:
    """Whether a unit has four numbers, if addresses allow it."""
    return length >= LONG and length % 4 == 0


def placing(threads: int, width: int) -> Callable[..., Any]:
    """Where a thread is: a function for kernels.

    Parameters
    ----------
    threads : int
        Of a block.
    width : int
        Numbers of a unit.

    Returns
    -------
    callable
        ``place(thread, block, cut)`` is (the block's first channel, its place among the shares,
        the thread's channel, how the thread's columns lie, the thread's first unit, the end of its
        units, where the first one is, the walk). The walk is (where in an image's run the first
        unit is, and then what :func:`access` needs to go on). A thread without a channel has no
        units.
    """

    @inlined
    def place(thread, block, cut):
        channels, length, run, together, units, share, shares = cut
        spread = length if run == 1 else int32(1)
        columns = int32(together * spread)
        depth = quotient(int32(threads), columns)
        tile = quotient(block, shares)
        part = int32(block - tile * shares)
        first = int32(tile * together)
        row = quotient(thread, columns)
        column = int32(thread - row * columns)
        channel = int32(first + quotient(column, spread))
        begin = int32(part * share)
        unit = int32(begin + row)
        end = units if units - begin < share else int32(begin + share)
        if row >= depth or channel >= channels:
            end = int32(0)
        image = int32(channels * length)
        n = quotient(unit, run)
        inside = int32(unit - n * run)
        at = int32(n * image + first * length + column + inside * width)
        images = quotient(depth, run)
        stride = int32(depth - images * run)
        walk = (
            inside,
            depth,
            int32(images * image + stride * width),
            stride,
            run,
            int32(image - run * width),
        )
        return first, part, channel, (spread, columns, depth), unit, end, at, walk

    return place


def access(width: int, count: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Loads and stores of some units of a thread: functions for kernels.

    Parameters
    ----------
    width : int
        Numbers of a unit.
    count : int
        Units.

    Returns
    -------
    fetch : callable
        ``fetch(source, numbers, unit, end, at, walk)`` loads the units from `unit` on that are
        before the end to a local array, and is (at, walk) of the unit behind them.
    put : callable
        ``put(numbers, out, unit, end, at, walk)`` stores them.
    """
    _, load, store = elementwise.access(width == 4)

    @inlined
    def ahead(at, walk):
        inside, depth, step, stride, run, wrap = walk
        place, within = int32(at + step), int32(inside + stride)
        if within >= run:
            place, within = int32(place + wrap), int32(within - run)
        return place, (within, depth, step, stride, run, wrap)

    @inlined
    def fetch(source, numbers, unit, end, at, walk):
        u, p, w = unit, at, walk
        for k in range(count):
            if u < end:
                load(source, p, numbers, width * k)
            p, w = ahead(p, w)
            u = int32(u + w[1])
        return p, w

    @inlined
    def put(numbers, out, unit, end, at, walk):
        u, p, w = unit, at, walk
        for k in range(count):
            if u < end:
                store(out, p, numbers, width * k)
            p, w = ahead(p, w)
            u = int32(u + w[1])

    return fetch, put


def gathering(threads: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Two sums of each channel of a block: functions for kernels.

    Parameters
    ----------
    threads : int
        Of the block.

    Returns
    -------
    gather : callable
        ``gather(a, b, rooms, thread, columns)`` is, for thread k, the sums of a and b over the
        threads that have columns of the block's k-th channel, and of anything for threads of no
        channel. `rooms` are two shared float64 arrays of a number for each thread, and `columns`
        is from ``place``.
    combine : callable
        ``combine(partials, rooms, thread, first, *cut)`` is the same for the sums that other blocks
        left, a pair for each share and channel.
    """
    half = threads // 2

    @inlined
    def total(rooms, thread, columns, size):
        left, right = rooms
        step = int32(half * columns)
        while step >= columns:
            cuda.syncthreads()
            if thread < step and thread + step < size:
                left[thread] += left[int32(thread + step)]
                right[thread] += right[int32(thread + step)]
            step = int32(step >> 1)
        cuda.syncthreads()

    @inlined
    def gather(a, b, rooms, thread, shape):
        left, right = rooms
        spread, columns, depth = shape
        left[thread] = a
        right[thread] = b
        total(rooms, thread, columns, int32(columns * depth))
        c, d = float64(0), float64(0)
        k = int32(thread * spread)
        if k < columns:
            for _ in range(spread):
                c += left[k]
                d += right[k]
                k = int32(k + 1)
        return c, d

    @inlined
    def combine(partials, rooms, thread, first, channels, together, shares):
        left, right = rooms
        ways = quotient(int32(threads), together)
        part = quotient(thread, together)
        channel = int32(first + thread - part * together)
        a, b = float64(0), float64(0)
        if part < ways and channel < channels:
            while part < shares:
                c, d = load2(partials, int32(2 * (part * channels + channel)))
                a += c
                b += d
                part = int32(part + ways)
        left[thread] = a
        right[thread] = b
        total(rooms, thread, together, int32(together * ways))
        return left[thread], right[thread]

    return gather, combine
