"""Pooling of x (N, C, H, W): the largest number in a window, or the mean, and their derivatives.

A part is a plane: what a window takes and gives stays in one, so that windows may overlap. Padding
is never read: windows are cut to the image.

Forward goes over the places in a window and, inside, along a row of windows, which is vector code;
for that, strides 1 and 2 are known when the inner loop is compiled.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastopt.core._jit import RULE, compile_named
from fastopt.core._lanes import add, lanes_of, load, sums_for, total, widened
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
    out : (N, C, H, W) array
    """
    planes = geometry.N * geometry.C
    shape = planes, geometry.OH * geometry.OW
    to = out.reshape(planes, geometry.H * geometry.W)
    work = 3 * grad.size + out.size
    threads.run(_max_pool_backward, planes, work, grad.reshape(shape), where.reshape(shape), to)


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
def _inside(offset: int, stride: int, windows: int, length: int) -> Any:
    """The first window whose place `offset` is inside the image, and the one behind the last."""
    first = 0 if offset >= 0 else (-offset + stride - 1) // stride
    last = 0 if offset >= length else (length - 1 - offset) // stride + 1
    return first, min(last, windows)


@RULE
def _keep_larger(
    x: Any,
    p: int,
    ih: int,
    offset: int,
    stride: int,
    begin: int,
    end: int,
    oh: int,
    out: Any,
    where: Any,
) -> None:
    """Compare a row of windows with one number of each."""
    # From 0, so that no index has to be looked at for its sign.
    row, best, places = x[p, ih], out[p, oh], where[p, oh]
    row, best, places = row[begin * stride + offset :], best[begin:end], places[begin:end]
    place, step = np.int32(ih * x.shape[2] + begin * stride + offset), np.int32(stride)
    for j in range(best.size):
        number = row[j * stride]
        takes = number > best[j] or number != number
        best[j] = number if takes else best[j]
        places[j] = place + np.int32(j) * step if takes else places[j]


@compile_named
def _max_pool(x: Any, numbers: Any, out: Any, where: Any, first: int, last: int, slot: int) -> None:
    R, S, down, right, top, _, left, _ = numbers
    _, H, W = x.shape
    _, OH, OW = out.shape
    lowest = out.dtype.type(-math.inf)
    for p in range(first, last):
        for oh in range(OH):
            begin_row = max(0, top - oh * down)
            for ow in range(OW):
                # A window of nothing but -inf has its first place.
                out[p, oh, ow] = lowest
                where[p, oh, ow] = (oh * down - top + begin_row) * W + max(0, ow * right - left)
            for r in range(begin_row, min(R, H + top - oh * down)):
                ih = oh * down - top + r
                for s in range(S):
                    begin, end = _inside(s - left, right, OW, W)
                    if right == 1:
                        _keep_larger(x, p, ih, s - left, 1, begin, end, oh, out, where)
                    elif right == 2:
                        _keep_larger(x, p, ih, s - left, 2, begin, end, oh, out, where)
                    else:
                        _keep_larger(x, p, ih, s - left, right, begin, end, oh, out, where)


@compile_named
def _max_pool_backward(grad: Any, where: Any, out: Any, first: int, last: int, slot: int) -> None:
    for p in range(first, last):
        out[p] = 0.0
        for i in range(grad.shape[1]):
            out[p, np.uint32(where[p, i])] += grad[p, i]


@RULE
def _counted(window: int, at: int, size: int, length: int, behind: int, padded: bool) -> int:
    """How many places along an axis the window at `at` counts."""
    begin, end = at, min(at + size, length + behind)
    if not padded:
        begin, end = max(begin, 0), min(end, length)
    return end - begin


@RULE
def _add_places(
    x: Any, p: int, ih: int, offset: int, stride: int, begin: int, end: int, oh: int, out: Any
) -> None:
    row, sums = x[p, ih], out[p, oh]
    row, sums = row[begin * stride + offset :], sums[begin:end]
    for j in range(sums.size):
        sums[j] += row[j * stride]


@compile_named
def _avg_pool(
    x: Any, numbers: Any, padded: bool, out: Any, first: int, last: int, slot: int
) -> None:
    R, S, down, right, top, bottom, left, behind = numbers
    _, H, W = x.shape
    _, OH, OW = out.shape
    for p in range(first, last):
        for oh in range(OH):
            out[p, oh] = 0.0
            for r in range(max(0, top - oh * down), min(R, H + top - oh * down)):
                ih = oh * down - top + r
                for s in range(S):
                    begin, end = _inside(s - left, right, OW, W)
                    if right == 1:
                        _add_places(x, p, ih, s - left, 1, begin, end, oh, out)
                    elif right == 2:
                        _add_places(x, p, ih, s - left, 2, begin, end, oh, out)
                    else:
                        _add_places(x, p, ih, s - left, right, begin, end, oh, out)
            rows = _counted(oh, oh * down - top, R, H, bottom, padded)
            for ow in range(OW):
                count = rows * _counted(ow, ow * right - left, S, W, behind, padded)
                out[p, oh, ow] /= out.dtype.type(count)


@compile_named
def _avg_pool_backward(
    grad: Any, numbers: Any, padded: bool, out: Any, first: int, last: int, slot: int
) -> None:
    R, S, down, right, top, bottom, left, behind = numbers
    _, H, W = out.shape
    _, OH, OW = grad.shape
    for p in range(first, last):
        out[p] = 0.0
        for oh in range(OH):
            rows = _counted(oh, oh * down - top, R, H, bottom, padded)
            for ow in range(OW):
                count = rows * _counted(ow, ow * right - left, S, W, behind, padded)
                share = grad[p, oh, ow] / out.dtype.type(count)
                for ih in range(max(0, oh * down - top), min(H, oh * down - top + R)):
                    for iw in range(max(0, ow * right - left), min(W, ow * right - left + S)):
                        out[p, ih, iw] += share


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
