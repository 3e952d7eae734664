"""Pooling of x (N, C, H, W): the largest number in a window, or the mean, and their derivatives.

A part is a plane: what a window takes and gives stays in one, so that windows may overlap. Padding
is never read: windows are cut to the image.

Forward takes as many windows of a row at a time as lanes hold, if their stride is 1 or 2 and a row
has so many within the image; the others, and those over its edges, come one by one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastopt.core._jit import RULE, compile_named
from fastopt.core._lanes import (
    add,
    chosen,
    divide,
    every_second,
    lanes_of,
    load,
    places,
    spread,
    store,
    sums_for,
    total,
    widened,
)
from fastopt.kernels.cpu import threads
from fastopt.kernels.geometry import PoolGeometry

__all__ = [
    "PLACE",
    "avg_pool2d",
    "avg_pool2d_backward",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "max_pool2d",
    "max_pool2d_backward",
]

# The dtype of places in a plane: as wide as a float, with which they are compared side by side.
PLACE = np.dtype(np.int32)


def max_pool2d(x: Any, geometry: PoolGeometry, out: Any, where: Any) -> None:
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
    planes = geometry.N * geometry.C
    work = planes * geometry.OH * geometry.OW * geometry.R * geometry.S
    threads.run(
        _max_pool, planes, work, _planes(x), _numbers(geometry), _planes(out), _planes(where)
    )


def max_pool2d_backward(grad: Any, where: Any, geometry: PoolGeometry, out: Any) -> None:
    """Each gradient to the number that was the largest.

    Parameters
    ----------
    grad, where : (N, C, OH, OW) array
        `where` as `max_pool2d` left it.
    geometry : PoolGeometry
        Of which windows do not matter here.
    out : (N, C, H, W) array
    """
    planes, size = geometry.N * geometry.C, geometry.H * geometry.W
    arrays = grad.reshape(planes, -1), where.reshape(planes, -1), out.reshape(planes, size)
    threads.run(_max_pool_backward, planes, 3 * grad.size + out.size, *arrays)


def avg_pool2d(x: Any, geometry: PoolGeometry, count_include_pad: bool, out: Any) -> None:
    """The mean of each window.

    Parameters
    ----------
    x : (N, C, H, W) array
    geometry : PoolGeometry
    count_include_pad : bool
        Whether padding counts as zeros; what hangs over behind it never does.
    out : (N, C, OH, OW) array
    """
    planes = geometry.N * geometry.C
    work = planes * geometry.OH * geometry.OW * geometry.R * geometry.S
    numbers = _numbers(geometry)
    threads.run(_avg_pool, planes, work, _planes(x), numbers, count_include_pad, _planes(out))


def avg_pool2d_backward(
    grad: Any, geometry: PoolGeometry, count_include_pad: bool, out: Any
) -> None:
    """Each gradient in equal shares to the numbers of its window.

    Parameters
    ----------
    grad : (N, C, OH, OW) array
    geometry : PoolGeometry
    count_include_pad : bool
    out : (N, C, H, W) array
    """
    planes = geometry.N * geometry.C
    work = grad.size * geometry.R * geometry.S + out.size
    numbers = _numbers(geometry)
    threads.run(
        _avg_pool_backward, planes, work, _planes(grad), numbers, count_include_pad, _planes(out)
    )


def global_avg_pool2d(x: Any, out: Any) -> None:
    """The mean of each plane of x (N, C, H, W), to `out` (N, C)."""
    planes = x.reshape(out.size, -1)
    threads.run(_plane_means, out.size, x.size, planes, out.reshape(-1))


def global_avg_pool2d_backward(grad: Any, out: Any) -> None:
    """Each gradient (N, C) in equal shares to its plane of `out` (N, C, H, W)."""
    planes = out.reshape(grad.size, -1)
    threads.run(_spread_means, grad.size, out.size, grad.reshape(-1), planes)


def _planes(array: Any) -> Any:
    N, C, H, W = array.shape
    return array.reshape(N * C, H, W)


def _numbers(geometry: PoolGeometry) -> tuple[int, ...]:
    """Window, stride, and padding before and behind, of both axes."""
    (top, bottom), (left, right) = geometry.padding
    return geometry.R, geometry.S, *geometry.stride, top, bottom, left, right


@RULE
def _interior(window: int, stride: int, before: int, length: int, windows: int) -> Any:
    """The first window that lies within the image, and the one behind the last."""
    first = -(-before // stride)
    last = (length + before - window) // stride + 1 if length + before >= window else 0
    last = min(last, windows)
    return min(first, max(last, 0)), max(last, 0)


@RULE
def _side_by_side(rows: Any, row: int, column: int, stride: int) -> Any:
    """Numbers of a row, as many as lanes, 1 or 2 apart."""
    lanes = load(rows, row, column)
    if stride == 1:
        return lanes
    return every_second(lanes, load(rows, row, column + lanes_of(rows) - 1))


@RULE
def _block_starts(begin: int, end: int, step: int, stride: int) -> Any:
    """How many blocks of windows side by side there are from `begin` to `end`.

    The last is moved back to end there, over some of the one before.
    """
    return (end - begin + step - 1) // step if end - begin >= step and stride <= 2 else 0


@RULE
def _runs_over(
    begin: int,
    end: int,
    step: int,
    stride: int,
    left: int,
    row: int,
    width: int,
    rows: int,
    target: int,
    limit: int,
) -> bool:
    """Whether too few windows for a block, `begin` to `end`, may be one that runs over their end.

    What it makes of the next row lands where the next windows are, which come later. So it must
    not read behind the last of `rows` rows, `row` being the last that it reads and `left` the
    last column it begins at, nor write from `target` on as far as `limit`.
    """
    if begin >= end or end - begin >= step or stride > 2:
        return False
    return row * width + left + stride * step <= rows * width and target + step <= limit


@RULE
def _largest_at(
    rows: Any,
    top: int,
    begin: int,
    end: int,
    left: int,
    S: int,
    out: Any,
    where: Any,
    o: int,
    ow: int,
) -> None:
    """One window: rows `begin` to `end` - 1 of the plane that starts at row `top`."""
    W = rows.shape[1]
    from_, to = max(0, left), min(W, left + S)
    best, place = rows[top + begin, from_], begin * W + from_
    for ih in range(begin, end):
        for iw in range(from_, to):
            number = rows[top + ih, iw]
            if number > best or number != number:
                best, place = number, ih * W + iw
    out[o, ow], where[o, ow] = best, place


@compile_named
def _max_pool(x: Any, numbers: Any, out: Any, where: Any, first: int, last: int, slot: int) -> None:
    R, S, down, right, above, _, before, _ = numbers
    P, H, W = x.shape
    _, OH, OW = out.shape
    rows, outs, wheres = x.reshape(P * H, W), out.reshape(P * OH, OW), where.reshape(P * OH, OW)
    step = lanes_of(rows)
    inner, outer = _interior(S, right, before, W, OW)
    blocks = _block_starts(inner, outer, step, right)
    for p in range(first, last):
        for oh in range(OH):
            begin, end = max(0, oh * down - above), min(H, oh * down - above + R)
            o = p * OH + oh
            over = _runs_over(
                inner, outer, step, right, inner * right - before + S - 1, p * H + end - 1, W,
                P * H, o * OW + inner, last * OH * OW,
            )  # fmt: skip
            for block in range(1 if over else blocks):
                ow = inner if over else min(inner + block * step, outer - step)
                left = ow * right - before
                best = _side_by_side(rows, p * H + begin, left, right)
                place = places(best, begin * W + left, right)
                for ih in range(begin, end):
                    for s in range(S):
                        number = _side_by_side(rows, p * H + ih, left + s, right)
                        here = places(best, ih * W + left + s, right)
                        place = chosen(number, best, here, place)
                        best = chosen(number, best, number, best)
                store(outs, o, ow, best)
                store(wheres, o, ow, place)
            done = over or blocks > 0
            for side in range(2):
                for ow in range(outer if side else 0, OW if side else inner if done else outer):
                    left = ow * right - before
                    _largest_at(rows, p * H, begin, end, left, S, outs, wheres, o, ow)


@compile_named
def _max_pool_backward(grad: Any, where: Any, out: Any, first: int, last: int, slot: int) -> None:
    for p in range(first, last):
        out[p] = 0.0
        for i in range(grad.shape[1]):
            out[p, np.uint32(where[p, i])] += grad[p, i]


@RULE
def _counted(at: int, size: int, length: int, behind: int, padded: bool) -> int:
    """How many places along an axis the window at `at` counts."""
    begin, end = at, min(at + size, length + behind)
    if not padded:
        begin, end = max(begin, 0), min(end, length)
    return end - begin


@RULE
def _sum_at(rows: Any, top: int, begin: int, end: int, left: int, S: int) -> Any:
    """The sum of one window, as in `_largest_at`."""
    from_, to = max(0, left), min(rows.shape[1], left + S)
    total_ = rows.dtype.type(0)
    for ih in range(begin, end):
        for iw in range(from_, to):
            total_ += rows[top + ih, iw]
    return total_


@compile_named
def _avg_pool(
    x: Any, numbers: Any, padded: bool, out: Any, first: int, last: int, slot: int
) -> None:
    R, S, down, right, above, below, before, behind = numbers
    P, H, W = x.shape
    _, OH, OW = out.shape
    rows, outs = x.reshape(P * H, W), out.reshape(P * OH, OW)
    step = lanes_of(rows)
    inner, outer = _interior(S, right, before, W, OW)
    blocks = _block_starts(inner, outer, step, right)
    zero = spread(rows.dtype.type(0))
    for p in range(first, last):
        for oh in range(OH):
            begin, end = max(0, oh * down - above), min(H, oh * down - above + R)
            o, height = p * OH + oh, _counted(oh * down - above, R, H, below, padded)
            over = _runs_over(
                inner, outer, step, right, inner * right - before + S - 1, p * H + end - 1, W,
                P * H, o * OW + inner, last * OH * OW,
            )  # fmt: skip
            for block in range(1 if over else blocks):
                ow = inner if over else min(inner + block * step, outer - step)
                left, sums = ow * right - before, zero
                for ih in range(begin, end):
                    for s in range(S):
                        sums = add(sums, _side_by_side(rows, p * H + ih, left + s, right))
                store(outs, o, ow, divide(sums, spread(rows.dtype.type(height * S))))
            done = over or blocks > 0
            for side in range(2):
                for ow in range(outer if side else 0, OW if side else inner if done else outer):
                    left = ow * right - before
                    count = height * _counted(left, S, W, behind, padded)
                    outs[o, ow] = _sum_at(rows, p * H, begin, end, left, S) / rows.dtype.type(count)


@RULE
def _share_row(
    grads: Any,
    o: int,
    count: Any,
    offset: int,
    window: int,
    stride: int,
    inner: int,
    outer: int,
    rows: Any,
    row: int,
) -> None:
    """Give windows `inner` to `outer` - 1, which lie within the image, to one row of it."""
    upper, to = grads[o, inner:outer], rows[row, inner * stride + offset :]
    for j in range(upper.size):
        share = upper[j] / count
        for s in range(window):
            # Unsigned, or each would be looked at for its sign.
            to[np.uint64(j * stride + s)] += share


@compile_named
def _avg_pool_backward(
    grad: Any, numbers: Any, padded: bool, out: Any, first: int, last: int, slot: int
) -> None:
    R, S, down, right, above, below, before, behind = numbers
    P, H, W = out.shape
    _, OH, OW = grad.shape
    grads, rows = grad.reshape(P * OH, OW), out.reshape(P * H, W)
    inner, outer = _interior(S, right, before, W, OW)
    for p in range(first, last):
        out[p] = 0.0
        for oh in range(OH):
            begin, end = max(0, oh * down - above), min(H, oh * down - above + R)
            o, height = p * OH + oh, _counted(oh * down - above, R, H, below, padded)
            count = out.dtype.type(height * S)
            for row in range(p * H + begin, p * H + end):
                # The usual windows, so that their loops are unrolled.
                if S == 2 and right == 2:
                    _share_row(grads, o, count, -before, 2, 2, inner, outer, rows, row)
                elif S == 3 and right == 2:
                    _share_row(grads, o, count, -before, 3, 2, inner, outer, rows, row)
                else:
                    _share_row(grads, o, count, -before, S, right, inner, outer, rows, row)
            for side in range(2):
                for ow in range(outer if side else 0, OW if side else inner):
                    left = ow * right - before
                    narrow = out.dtype.type(height * _counted(left, S, W, behind, padded))
                    for row in range(p * H + begin, p * H + end):
                        for iw in range(max(0, left), min(W, left + S)):
                            rows[row, iw] += grads[o, ow] / narrow


@compile_named
def _plane_means(planes: Any, out: Any, first: int, last: int, slot: int) -> None:
    size, step = planes.shape[1], lanes_of(planes)
    whole = size - size % step
    for p in range(first, last):
        sums, rest = sums_for(planes), 0.0
        for i in range(0, whole, step):
            sums = add(sums, widened(load(planes, p, i)))
        for i in range(whole, size):
            rest += planes[p, i]
        out[p] = (total(sums) + rest) / size


@compile_named
def _spread_means(grad: Any, planes: Any, first: int, last: int, slot: int) -> None:
    size = planes.dtype.type(planes.shape[1])
    for p in range(first, last):
        planes[p] = grad[p] / size
