"""Pooling of x (N, C, H, W): the largest number in a window, or the mean, and their derivatives.

Forward, a thread has the windows of a few rows of the result, one below the other, and reads what
they share once. Backward, it has a few numbers of x, one below the other, and looks at the windows
that each is in: nothing is added to memory, so that the order of sums is always the same. Windows
of the usual sizes are compiled for; the others take loops.

As on the CPU, padding is never read.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from fastopt.device.arrays import DeviceArray, is_aligned
from fastopt.device.kernel import Kernel
from fastopt.device.language import (
    cuda,
    inlined,
    int32,
    number_type,
    pointer,
    pointer_to,
    quotient,
    uint32,
)
from fastopt.device.reductions import WARP, block_total, warp_total
from fastopt.kernels.cuda.elementwise import NUMBERS, access
from fastopt.kernels.geometry import PoolGeometry

__all__ = [
    "avg_pool2d",
    "avg_pool2d_backward",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "max_pool2d",
    "max_pool2d_backward",
]

THREADS = 256
# The greatest window, or number of windows that a number is in, which loops are unrolled for.
_MOST_UNROLLED = 16
# Rows of x that a thread has in the backward pass.
_ROWS_OF_X = 4
# Planes beyond so many numbers are added up by a block each, and others by a warp or a part of it.
_MOST_IN_A_WARP, _THREADS_OF_PLANE = 4096, 512
_LOWEST = -math.inf


def max_pool2d(
    x: DeviceArray, geometry: PoolGeometry, out: DeviceArray, where: DeviceArray
) -> None:
    """The largest number of each window; NaN if one is in it.

    Parameters
    ----------
    x : (N, C, H, W) array
    geometry : PoolGeometry
    out : (N, C, OH, OW) array
    where : (N, C, OH, OW) array of int32
        Becomes the place ``ih W + iw`` of that number in its plane: the first one's, or the last
        NaN's.
    """
    g, addresses = geometry, (x.address, out.address, where.address)
    (above, _), (before, _) = g.padding
    if g.R * g.S > _MOST_UNROLLED:
        total = g.N * g.C * g.OH * g.OW
        sizes = total, g.H, g.W, g.OH, g.OW, g.R, g.S, *g.stride, above, before
        _max_of_any(x.dtype).launch((-(-total // THREADS),), *addresses, *sizes)
        return
    rows = _rows_of_windows(g)
    groups = -(-g.OH // rows)
    total = g.N * g.C * groups * g.OW
    kernel = _max(x.dtype, g.R, g.S, *g.stride, rows, _leave(g))
    numbers = total, groups, g.H, g.W, g.OH, g.OW, above, before
    kernel.launch((-(-total // THREADS),), *addresses, *numbers)


def max_pool2d_backward(
    grad: DeviceArray, where: DeviceArray, geometry: PoolGeometry, out: DeviceArray
) -> None:
    """Each gradient to the number that was the largest; nowhere from a place that is none.

    Parameters
    ----------
    grad, where : (N, C, OH, OW) array
        `where` as `max_pool2d` left it.
    geometry : PoolGeometry
        Windows of one place say nothing about those that there were, and the work takes longer.
    out : (N, C, H, W) array
    """
    g, addresses = geometry, (grad.address, where.address, out.address)
    tall, wide = _windows_over(g)
    if g.R * g.S == 1 or tall * wide > _MOST_UNROLLED:
        planes = g.N * g.C
        kernel = _scatter(grad.dtype)
        blocks = -(-planes * WARP // THREADS)
        kernel.launch((blocks,), *addresses, planes, grad.size // planes, g.H * g.W)
        return
    (above, _), (before, _) = g.padding
    rows = _ROWS_OF_X if g.H >= _ROWS_OF_X else 1
    groups = -(-g.H // rows)
    total = g.N * g.C * groups * g.W
    kernel = _max_backward(grad.dtype, g.R, g.S, *g.stride, rows)
    numbers = total, groups, g.H, g.W, g.OH, g.OW, above, before
    kernel.launch((-(-total // THREADS),), *addresses, *numbers)


def avg_pool2d(
    x: DeviceArray, geometry: PoolGeometry, count_include_pad: bool, out: DeviceArray
) -> None:
    """The mean of each window.

    Parameters
    ----------
    x : (N, C, H, W) array
    geometry : PoolGeometry
    count_include_pad : bool
        Whether padding counts as zeros; what hangs over behind it never does.
    out : (N, C, OH, OW) array
    """
    g = geometry
    if _is_all(g):
        global_avg_pool2d(x, out)
        return
    (above, _), (before, _) = g.padding
    counted = _counted(g, count_include_pad)
    numbers: tuple[int, ...]
    if g.R * g.S > _MOST_UNROLLED:
        total = g.N * g.C * g.OH * g.OW
        numbers = total, g.H, g.W, g.OH, g.OW, g.R, g.S, *g.stride, above, before, *counted
        kernel = _avg_of_any(x.dtype)
    else:
        rows = _rows_of_windows(g)
        groups = -(-g.OH // rows)
        total = g.N * g.C * groups * g.OW
        numbers = total, groups, g.H, g.W, g.OH, g.OW, above, before, *counted
        kernel = _avg(x.dtype, g.R, g.S, *g.stride, rows, _leave(g))
    kernel.launch((-(-total // THREADS),), x.address, out.address, *numbers)


def avg_pool2d_backward(
    grad: DeviceArray, geometry: PoolGeometry, count_include_pad: bool, out: DeviceArray
) -> None:
    """Each gradient in equal shares to the numbers of its window.

    Parameters
    ----------
    grad : (N, C, OH, OW) array
    geometry : PoolGeometry
    count_include_pad : bool
    out : (N, C, H, W) array
    """
    g = geometry
    if _is_all(g):
        global_avg_pool2d_backward(grad, out)
        return
    (above, _), (before, _) = g.padding
    counted = _counted(g, count_include_pad)
    numbers: tuple[int, ...]
    if math.prod(_windows_over(g)) > _MOST_UNROLLED:
        total = g.N * g.C * g.H * g.W
        numbers = total, g.H, g.W, g.OH, g.OW, g.R, g.S, *g.stride, above, before, *counted
        kernel = _avg_backward_of_any(grad.dtype)
    else:
        rows = _ROWS_OF_X if g.H >= _ROWS_OF_X else 1
        groups = -(-g.H // rows)
        total = g.N * g.C * groups * g.W
        numbers = total, groups, g.H, g.W, g.OH, g.OW, above, before, *counted
        kernel = _avg_backward(grad.dtype, g.R, g.S, *g.stride, rows, _count_alike(g, counted))
    kernel.launch((-(-total // THREADS),), grad.address, out.address, *numbers)


def global_avg_pool2d(x: DeviceArray, out: DeviceArray) -> None:
    """The mean of each plane of x (N, C, H, W), to `out` (N, C)."""
    planes = out.size
    size = x.size // planes
    aligned = size % 4 == 0 and is_aligned(x)
    if size > _MOST_IN_A_WARP:
        _mean_by_blocks(x.dtype, aligned).launch((planes,), x.address, out.address, size)
        return
    # Some eight numbers for each thread.
    lanes = min(WARP, 1 << (-(-size // 8) - 1).bit_length())
    kernel = _mean_by_warps(x.dtype, aligned, lanes)
    kernel.launch((-(-planes * lanes // THREADS),), x.address, out.address, planes, size)


def global_avg_pool2d_backward(grad: DeviceArray, out: DeviceArray) -> None:
    """Each gradient (N, C) in equal shares to its plane of `out` (N, C, H, W)."""
    total = out.size
    size = total // grad.size
    kernel = _spread(grad.dtype, size % 4 == 0 and is_aligned(out))
    kernel.launch((-(-total // (THREADS * NUMBERS)),), grad.address, out.address, total, size)


# --- what follows from a geometry ----------------------------------------------------------------


def _rows_of_windows(geometry: PoolGeometry) -> int:
    """How many windows, one below the other, a thread has."""
    down = geometry.stride[0]
    rows = 4 if down == 1 else 2 if down <= 4 else 1
    return rows if rows <= geometry.OH else 1


def _windows_over(geometry: PoolGeometry) -> tuple[int, int]:
    """In how many windows a number is at most: one below the other, and side by side."""
    down, right = geometry.stride
    return -(-geometry.R // down), -(-geometry.S // right)


def _leave(geometry: PoolGeometry) -> bool:
    """Whether any window goes beyond the image."""
    g = geometry
    (above, _), (before, _) = g.padding
    return bool(
        above
        or before
        or (g.OH - 1) * g.stride[0] + g.R > g.H
        or (g.OW - 1) * g.stride[1] + g.S > g.W
    )


def _is_all(geometry: PoolGeometry) -> bool:
    """Whether the window is the image."""
    g = geometry
    return g.OH == g.OW == 1 and (g.R, g.S) == (g.H, g.W) and not _leave(g)


def _counted(geometry: PoolGeometry, padded: bool) -> tuple[int, int, int, int]:
    """What counts: rows from the first to the one behind the last, and columns likewise."""
    g = geometry
    if not padded:
        return 0, g.H, 0, g.W
    (above, below), (before, behind) = g.padding
    return -above, g.H + below, -before, g.W + behind


def _count_alike(geometry: PoolGeometry, counted: tuple[int, int, int, int]) -> bool:
    """Whether all of every window counts."""
    g = geometry
    (above, _), (before, _) = g.padding
    first_row, end_row, first_column, end_column = counted
    return (
        first_row <= -above
        and (g.OH - 1) * g.stride[0] - above + g.R <= end_row
        and first_column <= -before
        and (g.OW - 1) * g.stride[1] - before + g.S <= end_column
    )


# --- words of the kernels below ------------------------------------------------------------------


@inlined
def _find(index, groups, rows, H, W):
    """Plane, first row and column of what a thread has: `rows` numbers one below the other.

    The last group of a plane is moved up to end with it, over some of the one before.
    """
    line = quotient(index, W)
    plane = quotient(line, groups)
    row = int32((line - plane * groups) * rows)
    return plane, (row if row <= H - rows else int32(H - rows)), int32(index - line * W)


@inlined
def _length(at, size, first, end):
    """How much of a window counts along an axis."""
    begin = at if at > first else first
    behind = int32(at + size)
    return (behind if behind < end else end) - begin


# --- the largest number --------------------------------------------------------------------------


@cache
def _max(dtype: np.dtype, R: int, S: int, down: int, right: int, rows: int, leave: bool) -> Kernel:
    real = number_type(dtype)
    span = (rows - 1) * down + R

    def max_pool(x, out, where, total, groups, H, W, OH, OW, above, before):
        # Of each row of x that the windows see, and of that part of it.
        largest = cuda.local.array(span, real)
        places = cuda.local.array(span, int32)
        index = int32(cuda.blockIdx.x * THREADS + cuda.threadIdx.x)
        if index < total:
            plane, oh, ow = _find(index, groups, rows, OH, OW)
            top, left = int32(oh * down - above), int32(ow * right - before)
            for k in range(span):
                if k % down < R:
                    row = int32(top + k)
                    start = int32((plane * H + row) * W + left)
                    best = real(_LOWEST)
                    # Of a window that is all infinitely low the first place in the image.
                    first = int32((row if row > 0 else 0) * W + (left if left > 0 else 0))
                    place = first
                    for s in range(S):
                        number = real(_LOWEST)
                        if leave:
                            if (uint32(row) < uint32(H)) & (uint32(left + s) < uint32(W)):
                                number = x[start + s]
                        else:
                            number = x[start + s]
                        takes = (number > best) | (number != number)
                        best = number if takes else best
                        place = int32(row * W + left + s) if takes else place
                    largest[k] = best
                    places[k] = place
            o = int32((plane * OH + oh) * OW + ow)
            for k in range(rows):
                best, place = largest[k * down], places[k * down]
                for r in range(1, R):
                    number = largest[k * down + r]
                    takes = (number > best) | (number != number)
                    best = number if takes else best
                    place = places[k * down + r] if takes else place
                out[o + k * OW] = best
                where[o + k * OW] = place

    parameters = [pointer_to(dtype), pointer_to(dtype), pointer(int32)] + [int32] * 8
    return Kernel(max_pool, parameters, THREADS)


@cache
def _max_of_any(dtype: np.dtype) -> Kernel:
    def max_pool(x, out, where, total, H, W, OH, OW, R, S, down, right, above, before):
        index = int32(cuda.blockIdx.x * THREADS + cuda.threadIdx.x)
        if index < total:
            plane, oh, ow = _find(index, OH, int32(1), OH, OW)
            top, left = int32(oh * down - above), int32(ow * right - before)
            row, first = int32(max(top, 0)), int32(max(left, 0))
            end_row, end = int32(min(top + R, H)), int32(min(left + S, W))
            start = int32(plane * H * W)
            place = int32(row * W + first)
            best = x[start + place]
            while row < end_row:
                column = first
                while column < end:
                    here = int32(row * W + column)
                    number = x[start + here]
                    takes = (number > best) | (number != number)
                    best = number if takes else best
                    place = here if takes else place
                    column = int32(column + 1)
                row = int32(row + 1)
            out[index] = best
            where[index] = place

    parameters = [pointer_to(dtype), pointer_to(dtype), pointer(int32)] + [int32] * 11
    return Kernel(max_pool, parameters, THREADS)


@cache
def _max_backward(dtype: np.dtype, R: int, S: int, down: int, right: int, rows: int) -> Kernel:
    real = number_type(dtype)
    tall, wide = -(-R // down), -(-S // right)

    def max_pool_backward(grad, where, out, total, groups, H, W, OH, OW, above, before):
        index = int32(cuda.blockIdx.x * THREADS + cuda.threadIdx.x)
        if index < total:
            plane, first_row, column = _find(index, groups, rows, H, W)
            across = int32(column + before)
            last_column = quotient(across, int32(right))
            first = int32(plane * OH * OW)
            for k in range(rows):
                row = int32(first_row + k)
                along = int32(row + above)
                last_row = quotient(along, int32(down))
                place = int32(row * W + column)
                sum_ = real(0)
                for i in range(tall):
                    oh = int32(last_row - (tall - 1 - i))
                    for j in range(wide):
                        ow = int32(last_column - (wide - 1 - j))
                        sees = (
                            (uint32(oh) < uint32(OH))
                            & (along - oh * down < R)
                            & (uint32(ow) < uint32(OW))
                            & (across - ow * right < S)
                        )
                        # No branches, so that all is read at once; of no window, the plane's first.
                        o = int32((plane * OH + oh) * OW + ow) if sees else first
                        share = grad[o]
                        sum_ = sum_ + share if sees & (where[o] == place) else sum_
                out[int32((plane * H + row) * W + column)] = sum_

    parameters = [pointer(real), pointer(int32), pointer(real)] + [int32] * 8
    return Kernel(max_pool_backward, parameters, THREADS)


@cache
def _scatter(dtype: np.dtype) -> Kernel:
    """For windows that nobody knows: a warp adds the gradients of a plane to their places.

    It takes one for each thread at a time. Of those with the same place the first adds the sum of
    all, so that there is one order.
    """
    real = number_type(dtype)
    warps = THREADS // WARP

    def max_pool_backward(grad, where, out, planes, windows, size):
        thread = int32(cuda.threadIdx.x)
        lane = int32(thread % WARP)
        plane = int32(cuda.blockIdx.x * warps + thread // WARP)
        if plane < planes:
            start, first = int32(plane * size), int32(plane * windows)
            i = lane
            while i < size:
                out[start + i] = real(0)
                i = int32(i + WARP)
            cuda.syncwarp()
            begin = int32(0)
            while begin < windows:
                i = int32(begin + lane)
                place, number = int32(-1), real(0)
                if i < windows:
                    place = where[first + i]
                    number = grad[first + i]
                sum_, writer = real(0), int32(WARP)
                for other in range(WARP):
                    its = cuda.shfl_sync(uint32(0xFFFFFFFF), place, int32(other))
                    that = cuda.shfl_sync(uint32(0xFFFFFFFF), number, int32(other))
                    if its == place:
                        sum_ += that
                        writer = int32(min(writer, other))
                if writer == lane and uint32(place) < uint32(size):
                    out[start + place] += sum_
                cuda.syncwarp()
                begin = int32(begin + WARP)

    parameters = [pointer(real), pointer(int32), pointer(real)] + [int32] * 3
    return Kernel(max_pool_backward, parameters, THREADS)


# --- the mean ------------------------------------------------------------------------------------


@cache
def _avg(dtype: np.dtype, R: int, S: int, down: int, right: int, rows: int, leave: bool) -> Kernel:
    real = number_type(dtype)
    span = (rows - 1) * down + R

    def avg_pool(
        x, out, total, groups, H, W, OH, OW, above, before,
        counted_row, end_row, counted_column, end_column,
    ):  # fmt: skip
        sums = cuda.local.array(span, real)
        index = int32(cuda.blockIdx.x * THREADS + cuda.threadIdx.x)
        if index < total:
            plane, oh, ow = _find(index, groups, rows, OH, OW)
            top, left = int32(oh * down - above), int32(ow * right - before)
            for k in range(span):
                if k % down < R:
                    row = int32(top + k)
                    start = int32((plane * H + row) * W + left)
                    sum_ = real(0)
                    for s in range(S):
                        if leave:
                            if (uint32(row) < uint32(H)) & (uint32(left + s) < uint32(W)):
                                sum_ += x[start + s]
                        else:
                            sum_ += x[start + s]
                    sums[k] = sum_
            width = _length(left, S, counted_column, end_column)
            o = int32((plane * OH + oh) * OW + ow)
            for k in range(rows):
                sum_ = sums[k * down]
                for r in range(1, R):
                    sum_ += sums[k * down + r]
                if leave:
                    height = _length(int32(top + k * down), R, counted_row, end_row)
                    out[o + k * OW] = sum_ / real(int32(height * width))
                else:
                    out[o + k * OW] = sum_ / real(R * S)

    return Kernel(avg_pool, [pointer_to(dtype), pointer_to(dtype)] + [int32] * 12, THREADS)


@cache
def _avg_of_any(dtype: np.dtype) -> Kernel:
    real = number_type(dtype)

    def avg_pool(
        x, out, total, H, W, OH, OW, R, S, down, right, above, before,
        counted_row, end_row, counted_column, end_column,
    ):  # fmt: skip
        index = int32(cuda.blockIdx.x * THREADS + cuda.threadIdx.x)
        if index < total:
            plane, oh, ow = _find(index, OH, int32(1), OH, OW)
            top, left = int32(oh * down - above), int32(ow * right - before)
            row, first = int32(max(top, 0)), int32(max(left, 0))
            last_row, end = int32(min(top + R, H)), int32(min(left + S, W))
            sum_ = real(0)
            while row < last_row:
                start, column = int32((plane * H + row) * W), first
                while column < end:
                    sum_ += x[int32(start + column)]
                    column = int32(column + 1)
                row = int32(row + 1)
            height = _length(top, R, counted_row, end_row)
            width = _length(left, S, counted_column, end_column)
            out[index] = sum_ / real(int32(height * width))

    return Kernel(avg_pool, [pointer_to(dtype), pointer_to(dtype)] + [int32] * 15, THREADS)


@cache
def _avg_backward(
    dtype: np.dtype, R: int, S: int, down: int, right: int, rows: int, alike: bool
) -> Kernel:
    real = number_type(dtype)
    tall, wide = -(-R // down), -(-S // right)

    def avg_pool_backward(
        grad, out, total, groups, H, W, OH, OW, above, before,
        counted_row, end_row, counted_column, end_column,
    ):  # fmt: skip
        index = int32(cuda.blockIdx.x * THREADS + cuda.threadIdx.x)
        if index < total:
            plane, first_row, column = _find(index, groups, rows, H, W)
            across = int32(column + before)
            last_column = quotient(across, int32(right))
            for k in range(rows):
                row = int32(first_row + k)
                along = int32(row + above)
                last_row = quotient(along, int32(down))
                sum_ = real(0)
                for i in range(tall):
                    oh = int32(last_row - (tall - 1 - i))
                    for j in range(wide):
                        ow = int32(last_column - (wide - 1 - j))
                        if (
                            (uint32(oh) < uint32(OH))
                            & (along - oh * down < R)
                            & (uint32(ow) < uint32(OW))
                            & (across - ow * right < S)
                        ):
                            share = grad[int32((plane * OH + oh) * OW + ow)]
                            if alike:
                                sum_ += share
                            else:
                                top, left = int32(oh * down - above), int32(ow * right - before)
                                height = _length(top, R, counted_row, end_row)
                                width = _length(left, S, counted_column, end_column)
                                sum_ += share / real(int32(height * width))
                if alike:
                    sum_ /= real(R * S)
                out[int32((plane * H + row) * W + column)] = sum_

    return Kernel(avg_pool_backward, [pointer(real), pointer(real)] + [int32] * 12, THREADS)


@cache
def _avg_backward_of_any(dtype: np.dtype) -> Kernel:
    real = number_type(dtype)

    def avg_pool_backward(
        grad, out, total, H, W, OH, OW, R, S, down, right, above, before,
        counted_row, end_row, counted_column, end_column,
    ):  # fmt: skip
        index = int32(cuda.blockIdx.x * THREADS + cuda.threadIdx.x)
        if index < total:
            plane, row, column = _find(index, H, int32(1), H, W)
            # The first window that reaches a place, and the last that begins before it.
            oh = quotient(int32(max(row + above - R + down, 0)), down)
            first = quotient(int32(max(column + before - S + right, 0)), right)
            last_row = int32(min(quotient(int32(row + above), down), OH - 1))
            last = int32(min(quotient(int32(column + before), right), OW - 1))
            sum_ = real(0)
            while oh <= last_row:
                height = _length(int32(oh * down - above), R, counted_row, end_row)
                start, ow = int32((plane * OH + oh) * OW), first
                while ow <= last:
                    width = _length(int32(ow * right - before), S, counted_column, end_column)
                    sum_ += grad[int32(start + ow)] / real(int32(height * width))
                    ow = int32(ow + 1)
                oh = int32(oh + 1)
            out[index] = sum_

    return Kernel(avg_pool_backward, [pointer(real), pointer(real)] + [int32] * 15, THREADS)


# --- the mean of a plane -------------------------------------------------------------------------


@cache
def _mean_by_warps(dtype: np.dtype, aligned: bool, lanes: int) -> Kernel:
    real = number_type(dtype)
    width, load, _ = access(aligned)
    step, planes_of_block = lanes * width, THREADS // lanes
    total = warp_total(lanes=lanes)

    def plane_means(x, out, planes, size):
        numbers = cuda.local.array(width, real)
        sums = cuda.local.array(width, real)
        thread = int32(cuda.threadIdx.x)
        plane = int32(cuda.blockIdx.x * planes_of_block + thread // lanes)
        # Behind the last plane the threads take it again, for all of a warp exchange numbers.
        start = int32((plane if plane < planes else planes - 1) * size)
        for k in range(width):
            sums[k] = real(0)
        i = int32(thread % lanes * width)
        while i < size:
            load(x, start + i, numbers, 0)
            for k in range(width):
                sums[k] += numbers[k]
            i = int32(i + step)
        for k in range(1, width):
            sums[0] += sums[k]
        mean = total(sums[0]) / real(size)
        if plane < planes and thread % lanes == 0:
            out[plane] = mean

    return Kernel(plane_means, [pointer_to(dtype), pointer_to(dtype), int32, int32], THREADS)


@cache
def _mean_by_blocks(dtype: np.dtype, aligned: bool) -> Kernel:
    real = number_type(dtype)
    width, load, _ = access(aligned)
    step, warps = _THREADS_OF_PLANE * width, _THREADS_OF_PLANE // WARP
    total = block_total(_THREADS_OF_PLANE)

    def plane_means(x, out, size):
        totals = cuda.shared.array(warps, real)
        numbers = cuda.local.array(width, real)
        sums = cuda.local.array(width, real)
        thread, plane = int32(cuda.threadIdx.x), int32(cuda.blockIdx.x)
        start = int32(plane * size)
        for k in range(width):
            sums[k] = real(0)
        i = int32(thread * width)
        while i < size:
            load(x, start + i, numbers, 0)
            for k in range(width):
                sums[k] += numbers[k]
            i = int32(i + step)
        for k in range(1, width):
            sums[0] += sums[k]
        mean = total(sums[0], totals, thread) / real(size)
        if thread == 0:
            out[plane] = mean

    return Kernel(plane_means, [pointer_to(dtype), pointer_to(dtype), int32], _THREADS_OF_PLANE)


@cache
def _spread(dtype: np.dtype, aligned: bool) -> Kernel:
    """A thread writes vectors, each of one plane, or single numbers."""
    real = number_type(dtype)
    width, _, store = access(aligned)
    times, step, block = NUMBERS // width, THREADS * width, THREADS * NUMBERS

    def spread_means(grad, out, total, size):
        numbers = cuda.local.array(width, real)
        first = int32(cuda.blockIdx.x * block + cuda.threadIdx.x * width)
        for k in range(times):
            i = int32(first + k * step)
            if i < total:
                share = grad[quotient(i, size)] / real(size)
                for j in range(width):
                    numbers[j] = share
                store(out, i, numbers, 0)

    return Kernel(spread_means, [pointer(real), pointer(real), int32, int32], THREADS)
