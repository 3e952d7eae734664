"""The gradient of a convolution in its weight: a sum over pixels of outer products.

A pixel of grad multiplies each of its K channels with each of the C channels of those pixels of x
that it saw, one for each of the R S taps of the window. With the channels of a pixel side by side
that is an outer product, added to a tile of sums in registers. So both arrays are packed:

* x, padded with zeros, as ``[image][line][column][channel]``: a tap is an offset. Where taps are
  neighbours (dilation 1) so are their channels, and a row of S taps is one run of S C numbers, cut
  into tiles: few channels fill them, too.
* grad as ``[image][pixel][lane]``, a panel of some registers at a time. A slab, one register, is
  ``lanes`` channels; the last overlaps the one before it.

The parts of `_multiply` are tiles; the order in which one is summed depends on shapes alone. Each
thread packs what its tiles need, as many images or lines of an image at a time as its cache holds.
To pack once for all would save less than it costs to wait for one another. `_collect` writes the
sums as the weight has them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastopt.core._jit import RULE, compile_named
from fastopt.kernels.cpu import threads
from fastopt.kernels.cpu.outer_products import (
    FEW_ROWS,
    ROWS,
    VECTORS,
    add_products,
    transpose,
)
from fastopt.kernels.cpu.registers import lanes_of
from fastopt.kernels.geometry import ConvGeometry

__all__ = ["WeightGradient"]

# So many pixels of a panel, and of a tile's channels, fit the first-level cache together.
_BLOCK = 160
# Bytes that a thread packs at a time: what the second-level cache holds.
_PACKED_BYTES = 2**19


class WeightGradient:
    """The gradient of one convolution in its weight, planned.

    Parameters
    ----------
    geometry : ConvGeometry
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    workspace : int
        How many elements `backward_weight` needs.
    """

    def __init__(self, geometry: ConvGeometry, dtype: Any) -> None:
        g = geometry
        channels, kernels, lanes = g.C // g.groups, g.K // g.groups, lanes_of(dtype)
        top, left = g.padding[0][0], g.padding[1][0]
        (stride, step), dilation = g.stride, g.dilation
        columns = max((g.OW - 1) * step + (g.S - 1) * dilation[1] + 1, left + g.W)
        slabs = -(-kernels // lanes)

        # As many whole images as fit, or as many lines of one: `images` of `band` lines of output.
        room = _PACKED_BYTES // np.dtype(dtype).itemsize
        line = columns * channels * stride + g.OW * VECTORS * lanes
        halo = columns * channels * max(0, (g.R - 1) * dilation[0] + 1 - stride)
        images = max(1, min(g.N, room // (g.OH * line + halo)))
        band = max(1, min(g.OH, (room - halo) // line))
        lines = (band - 1) * stride + (g.R - 1) * dilation[0] + 1
        starts = np.arange(images)[:, None] * lines + np.arange(band) * stride
        self._starts = (starts * columns * channels).reshape(-1)

        # Where tiles begin in the channels that a pixel sees, how many rows each has, and where in
        # its tiles the sum for each number of a kernel is.
        taps = g.S if dilation[1] == 1 else 1
        tiles: list[tuple[int, int]] = []
        sources = np.empty((channels, g.R, g.S), np.int64)
        for r in range(g.R):
            for s in range(0, g.S, taps):
                start = (r * dilation[0] * columns + s * dilation[1]) * channels
                for row, rows in _cut(taps * channels, min(slabs, VECTORS)):
                    for i in range(row, min(row + rows, taps * channels)):
                        place = (len(tiles) * ROWS + i - row) * VECTORS * lanes
                        sources[i % channels, r, s + i // channels] = place
                    tiles.append((start + row, rows))
        self._tiles = np.array(tiles, np.int64)
        self._sources = sources.reshape(-1)
        self._parts = g.groups * -(-slabs // VECTORS) * len(tiles)
        # Where as many planes of x, and of grad, begin as a register has lanes.
        planes = np.arange(lanes) * np.array([[g.H * g.W], [g.OH * g.OW]])
        self._planes = planes.reshape(-1)

        # Rows behind the last channel are read, and not used.
        grad_at = _round_up(images * lines * columns * channels + ROWS, lanes)
        packed = grad_at + images * band * g.OW * VECTORS * lanes
        self._work = g.flops // 2 // threads.PRODUCTS
        self._threads = threads.slots(self._parts, self._work)
        sums_at = self._threads * packed
        # Some more, to begin where a cache line does.
        self.workspace = sums_at + self._parts * ROWS * VECTORS * lanes + lanes
        self._sizes = (
            *(g.N, channels, g.H, g.W, kernels, g.OH, g.OW, lanes, slabs),
            *(top, left, stride, step, images, band, lines, columns, grad_at, packed, sums_at),
        )
        self._geometry = g
        self._lanes = lanes

    def backward_weight(self, x: Any, grad: Any, out: Any, workspace: Any) -> None:
        """Fill `out` with the gradient in the weight.

        Parameters
        ----------
        x, grad : ndarray of shape (N, C, H, W) and (N, K, OH, OW)
        out : ndarray of shape (K, C // groups, R, S)
        workspace : ndarray of shape (n,)
            Of `workspace` elements or more.
        """
        g, tiles, sizes = self._geometry, self._tiles, self._sizes
        out = out.reshape(-1)
        # A load across the boundary of a cache line takes twice as long.
        workspace = workspace[-workspace.ctypes.data // out.itemsize % self._lanes :]
        threads.run(
            *(_multiply, self._parts, self._work, x.reshape(-1), grad.reshape(-1), g.groups),
            *(self._planes, tiles, self._starts, sizes, workspace),
            limit=self._threads,
            pieces=1,
        )
        parts = g.groups * -(-g.K // g.groups // self._lanes)
        threads.run(_collect, parts, out.size, self._sources, len(tiles), sizes, workspace, out)


def _round_up(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def _cut(length: int, vectors: int) -> list[tuple[int, int]]:
    """A run cut into tiles: first row and number of rows of each; the last may hang over."""
    cuts, first = [], 0
    while first < length:
        # Two small tiles are as fast as a large one that is not full, if there are sums enough in
        # one to hide the time that an addition takes.
        rows = ROWS if length - first > vectors * FEW_ROWS else FEW_ROWS
        cuts.append((first, rows))
        first += rows
    return cuts


@compile_named
def _multiply(
    x: Any, grad: Any, groups: int, planes: Any, tiles: Any, starts: Any, sizes: Any,
    workspace: Any, first: int, last: int, slot: int,
) -> None:  # fmt: skip
    """Sum the products. A part is a tile."""
    (
        N, channels, height, width, kernels, out_height, out_width, lanes, slabs,
        top, left, stride, step, images, band, lines, columns, grad_at, packed, sums_at,
    ) = sizes  # fmt: skip
    panels = (slabs + VECTORS - 1) // VECTORS
    x_at = slot * packed
    panel_at = x_at + grad_at
    block = max(1, _BLOCK // out_width)
    for image in range(0, N, images):
        count = min(images, N - image)
        for top_line in range(0, out_height, band):
            size = min(band, out_height - top_line)
            packed_group = -1
            part = first
            while part < last:
                panel = part // len(tiles)
                group, slab = panel // panels, panel % panels * VECTORS
                end = min(last, (panel + 1) * len(tiles))
                if group != packed_group:
                    packed_group = group
                    for i in range(count):
                        _pack_lines(
                            x, ((image + i) * groups + group) * channels * height * width, planes,
                            height, width, channels, lanes, top_line * stride - top, lines, left,
                            columns, workspace, x_at + i * lines * columns * channels,
                        )  # fmt: skip
                vectors = min(VECTORS, slabs - slab)
                for i in range(count):
                    _pack_panel(
                        grad, ((image + i) * groups + group) * kernels * out_height * out_width,
                        planes, kernels, out_height * out_width, top_line * out_width,
                        size * out_width, slab, vectors, lanes, workspace,
                        panel_at + i * size * out_width * vectors * lanes,
                    )  # fmt: skip
                for line in range(0, count * size, block):
                    for tile in range(part, end):
                        start = tiles[tile - panel * len(tiles)]
                        add_products(
                            start[1], vectors, min(block, count * size - line), out_width, starts,
                            line, workspace, x_at + start[0], step * channels, workspace,
                            panel_at + line * out_width * vectors * lanes, workspace,
                            sums_at + tile * ROWS * VECTORS * lanes,
                            image == 0 and top_line == 0 and line == 0,
                        )  # fmt: skip
                part = end


@RULE
def _pack_lines(
    x: Any, source: int, planes: Any, height: int, width: int, channels: int, lanes: int,
    first: int, lines: int, left: int, columns: int, workspace: Any, target: int,
) -> None:  # fmt: skip
    """Pack `lines` lines of one group of one image, with zeros around it."""
    begin, end = min(max(first, 0), height), max(min(first + lines, height), 0)
    # Zeros: above and left of the image, between its lines, and all that is behind.
    at, stop = target, target + (max(0, begin - first) * columns + left) * channels
    inside = stop
    for _ in range(begin, end):
        workspace[at:stop] = 0
        at = stop + width * channels
        stop = at + (columns - width) * channels
    workspace[at : target + lines * columns * channels] = 0
    _pack_channels(
        x, source + begin * width, planes, 0, max(0, end - begin) * width, channels, lanes,
        workspace, inside, channels, width, (columns - width) * channels,
    )  # fmt: skip


@RULE
def _pack_panel(
    grad: Any, source: int, planes: Any, kernels: int, pixels: int, first: int, count: int,
    first_slab: int, vectors: int, lanes: int, workspace: Any, target: int,
) -> None:  # fmt: skip
    """Pack `vectors` slabs of `count` pixels of one group of one image."""
    if kernels < lanes:
        workspace[target : target + count * lanes] = 0
    for slab in range(vectors):
        kernel = max(0, min((first_slab + slab) * lanes, kernels - lanes))
        _pack_channels(
            grad, source + kernel * pixels + first, planes, lanes, count, min(kernels, lanes),
            lanes, workspace, target + slab * lanes, vectors * lanes, count, 0,
        )  # fmt: skip


@RULE
def _pack_channels(
    source: Any, source_at: int, planes: Any, plane: int, pixels: int, channels: int, lanes: int,
    target: Any, target_at: int, target_step: int, columns: int, jump: int,
) -> None:  # fmt: skip
    """Lay the channels of each pixel side by side.

    In `source` channels begin where `planes` says, from entry `plane` on; in `target` a pixel is
    `target_step` from the next, and `jump` more at the end of a line of `columns`.
    """
    source_step = planes[plane + 1]
    if channels < lanes or pixels < lanes:
        for channel in range(channels):
            at = target_at + channel
            for line in range(pixels // columns):
                begin = source_at + channel * source_step + line * columns
                for column in range(columns):
                    target[at] = source[begin + column]
                    at += target_step
                at += jump
        return
    for begin in range(0, channels, lanes):
        channel = min(begin, channels - lanes)
        for start in range(0, pixels, lanes):
            pixel = min(start, pixels - lanes)
            line = pixel // columns
            transpose(
                source, source_at + channel * source_step + pixel, planes, plane, target,
                target_at + channel + pixel * target_step + line * jump, target_step,
                pixel - line * columns, columns, jump,
            )  # fmt: skip


@compile_named
def _collect(
    sources: Any, tiles: int, sizes: Any, workspace: Any, out: Any, first: int, last: int, slot: int
) -> None:
    """Write the sums to where the weight has them. A part is a slab."""
    kernels, lanes, slabs, sums_at = sizes[4], sizes[7], sizes[8], sizes[-1]
    panels = (slabs + VECTORS - 1) // VECTORS
    length = len(sources)
    for part in range(first, last):
        group, slab = part // slabs, part % slabs
        panel = group * panels + slab // VECTORS
        base = sums_at + (panel * tiles * ROWS * VECTORS + slab % VECTORS) * lanes
        start = max(0, min(slab * lanes, kernels - lanes))
        known = slab * lanes - start  # of the slab before
        target = (group * kernels + start) * length
        if known == 0 and kernels >= lanes and length >= lanes:
            for j in range(0, length, lanes):
                place = min(j, length - lanes)
                transpose(
                    workspace, base, sources, place, out, target + place, length, 0, lanes + 1, 0
                )
        else:
            for lane in range(known, min(lanes, kernels)):
                for j in range(length):
                    out[target + lane * length + j] = workspace[base + sources[j] + lane]
