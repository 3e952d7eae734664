"""Depthwise convolution: a group for each channel, and some kernels for each group.

Each plane is convolved by itself, so there are no channels to fill registers with: columns do. A
plane is copied to where it has zeros around it, with those columns side by side that are a stride
apart. Every tap of the window is then one shift of the whole plane.

Owns the tables of taps and places. The parts are planes of the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt.core._jit import RULE, compile_named
from fastopt.kernels.cpu import threads
from fastopt.kernels.cpu.registers import lanes_of
from fastopt.kernels.cpu.shifted_planes import (
    PLACES,
    TAPS,
    add_dot_products,
    copy_rows,
    split_rows,
    spread_rows,
    weighted_sums,
)
from fastopt.kernels.geometry import ConvGeometry

__all__ = ["Depthwise"]

Table = NDArray[np.int64]


class Depthwise:
    """The passes of one depthwise convolution, planned.

    Parameters
    ----------
    geometry : ConvGeometry
        With as many groups as channels.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    workspace : int
        How many elements any of the passes needs.
    """

    def __init__(self, geometry: ConvGeometry, dtype: Any) -> None:
        self._geometry = g = geometry
        self._lanes = lanes_of(dtype)
        copied = g.N * (g.C * g.H * g.W + g.K * g.OH * g.OW)
        self._work = g.flops // 2 // threads.PRODUCTS + copied
        self._threads = threads.slots(g.K, self._work)
        room = self._forward.room + len(self._forward.taps) * self._lanes
        self.workspace = self._threads * max(room, self._backward.room)

    def forward(self, x: Any, weight: Any, bias: Any, out: Any, workspace: Any) -> None:
        """out = x convolved with weight, plus bias, unless that is None."""
        g = self._geometry
        # Without a bias none of the array is read, but there has to be one.
        known = weight if bias is None else bias
        sizes = g.K, 1, g.K // g.C, g.OH * g.OW
        self._run(self._forward, x, weight, known, bias is not None, sizes, out, workspace)

    def backward_data(self, grad: Any, weight: Any, out: Any, workspace: Any) -> None:
        """The gradient in x, of which `grad` is that in the output."""
        g = self._geometry
        sizes = g.C, g.K // g.C, 1, g.H * g.W
        self._run(self._backward, grad, weight, weight, False, sizes, out, workspace)

    def backward_weight(self, x: Any, grad: Any, out: Any, workspace: Any) -> None:
        """The gradient in the weight."""
        g, tables = self._geometry, self._forward
        threads.run(
            *(_sum_over_images, g.K, self._work, x.reshape(-1), grad.reshape(-1), g.N),
            *(g.K // g.C, g.R * g.S, self._lanes, tables.taps, tables.places, tables.plane),
            *(tables.room, workspace, out.reshape(-1)),
            limit=self._threads,
        )

    def _run(
        self, tables: _Tables, source: Any, weight: Any, bias: Any, biased: bool, sizes: Any,
        out: Any, workspace: Any,
    ) -> None:  # fmt: skip
        threads.run(
            *(_correlate, self._geometry.N * sizes[0], self._work, source.reshape(-1)),
            *(weight.reshape(-1), bias.reshape(-1), biased, sizes, tables.taps, tables.used),
            *(tables.places, tables.plane, tables.room, workspace, out.reshape(-1)),
            limit=self._threads,
        )

    @cached_property
    def _forward(self) -> _Tables:
        g = self._geometry
        (down, right), (dilated, widened) = g.stride, g.dilation
        lines = (g.OH - 1) * down + (g.R - 1) * dilated + 1
        # The last register of a line reads on, to zeros.
        read = self._whole(g.OW) + (g.S - 1) * widened // right
        pitch = max(read, -(-(g.padding[1][0] + g.W) // right))
        taps = [
            (
                r * g.S + s,
                (r * dilated * right + s * widened % right) * pitch + s * widened // right,
            )
            for r in range(g.R)
            for s in range(g.S)
        ]
        plane = g.H, g.W, g.padding[0][0], g.padding[1][0], lines, pitch, right, 1, 1
        return self._tables(taps, plane, 1, down * right, g.OH, g.OW)

    @cached_property
    def _backward(self) -> _Tables:
        """The window turned around, over a gradient with zeros between what strides left out."""
        g = self._geometry
        (down, right), (dilated, widened) = g.stride, g.dilation
        top = (g.R - 1) * dilated - g.padding[0][0]
        left = (g.S - 1) * widened - g.padding[1][0]
        above, before = max(0, -top), max(0, -left)  # gradients that are in padding alone
        lines = above + g.H + (g.R - 1) * dilated
        read = before + self._whole(g.W) + (g.S - 1) * widened
        pitch = max(read, before + left + (g.OW - 1) * right + 1)
        taps = [
            (
                (kernel * g.R + r) * g.S + s,
                (kernel * lines + above + (g.R - 1 - r) * dilated) * pitch
                + before
                + (g.S - 1 - s) * widened,
            )
            for kernel in range(g.K // g.C)
            for r in range(g.R)
            for s in range(g.S)
        ]
        plane = g.OH, g.OW, top + above, left + before, lines, pitch, 1, down, right
        return self._tables(taps, plane, g.K // g.C, 1, g.H, g.W)

    def _whole(self, columns: int) -> int:
        return -(-columns // self._lanes) * self._lanes

    def _tables(
        self, taps: list[tuple[int, int]], plane: tuple[int, ...], copies: int, apart: int,
        height: int, width: int,
    ) -> _Tables:  # fmt: skip
        """For a result of some height and width, of whose lines `apart` lie between two."""
        lines, pitch, split = plane[4:7]
        places = [
            (row * apart * pitch + column, row * width + column, min(self._lanes, width - column))
            for row in range(height)
            for column in range(0, width, self._lanes)
        ]
        places += [(*places[-1][:2], 0)] * (-len(places) % PLACES)
        unused = [(0, 0)] * (-len(taps) % TAPS)
        return _Tables(
            taps=np.array(taps + unused, np.int64),
            places=np.array(places, np.int64),
            used=len(taps),
            plane=plane,
            room=copies * lines * split * pitch,
        )


@dataclass(frozen=True)
class _Tables:
    """What a pass reads.

    See :mod:`fastopt.kernels.cpu.shifted_planes` for `taps`, of which the first `used` count, and
    `places`. `plane` is the height and width of a source plane; the line and column of its copy
    where it begins; how many lines that has, how long they are, and over how many of them a row is
    split; and how many lines and columns there are from one to the next. `room` is for the copies.
    """

    taps: Table
    places: Table
    used: int
    plane: tuple[int, ...]
    room: int


@compile_named
def _correlate(
    source: Any, weight: Any, bias: Any, biased: bool, sizes: Any, taps: Any, used: int,
    places: Any, plane: Any, room: int, workspace: Any, out: Any, first: int, last: int, slot: int,
) -> None:  # fmt: skip
    """A part is a plane of `out`: a sum of some planes of `source`, shifted and weighted."""
    channels, copies, share, size = sizes
    weights = weight.size // channels
    start = slot * room
    workspace[start : start + room] = 0
    for part in range(first, last):
        for copy in range(copies):
            target = start + copy * (room // copies)
            _copy_plane(source, part // share * copies + copy, plane, workspace, target)
        channel = part % channels
        begin = bias[channel] if biased else bias.dtype.type(0)
        for place in range(0, len(places), PLACES):
            weighted_sums(
                taps, used, places, place, weight, channel * weights, begin, workspace, start, out,
                part * size,
            )  # fmt: skip


@compile_named
def _sum_over_images(
    x: Any, grad: Any, images: int, share: int, window: int, lanes: int, taps: Any, places: Any,
    plane: Any, room: int, workspace: Any, out: Any, first: int, last: int, slot: int,
) -> None:  # fmt: skip
    """A part is a kernel: for each of its taps the product of grad with x, shifted."""
    start = slot * (room + len(taps) * lanes)
    sums_at = start + room
    workspace[start:sums_at] = 0
    kernels = out.size // window
    channels = kernels // share
    grad_size = grad.size // (images * kernels)
    for kernel in range(first, last):
        workspace[sums_at : sums_at + len(taps) * lanes] = 0
        for image in range(images):
            _copy_plane(x, image * channels + kernel // share, plane, workspace, start)
            for tap in range(0, len(taps), TAPS):
                add_dot_products(
                    taps, tap, places, workspace, start, grad,
                    (image * kernels + kernel) * grad_size, workspace, sums_at + tap * lanes,
                )  # fmt: skip
        for tap in range(window):
            total = workspace[sums_at + tap * lanes]
            for lane in range(1, lanes):
                total += workspace[sums_at + tap * lanes + lane]
            out[kernel * window + tap] = total


@RULE
def _copy_plane(source: Any, index: int, plane: Any, workspace: Any, target: int) -> None:
    """Copy a plane to where there are zeros around it."""
    height, width, top, left, lines, pitch, split, down, right = plane
    rows = max(0, min(height, (lines - top + down - 1) // down))
    begin = index * height * width
    target += top * split * pitch
    step = down * split * pitch
    if split == 1 and right == 1:
        copy_rows(rows, width, source, begin, width, workspace, target + left, step)
    elif split == 2:
        even = target + left % 2 * pitch + left // 2
        odd = target + (left + 1) % 2 * pitch + (left + 1) // 2
        split_rows(rows, width, source, begin, width, workspace, even, odd, step)
    elif right == 2:
        spread_rows(rows, width, source, begin, width, workspace, target + left, step)
    else:
        for row in range(rows):
            for column in range(width):
                at = left + column * right
                at = at % split * pitch + at // split
                workspace[target + row * step + at] = source[begin + row * width + column]
