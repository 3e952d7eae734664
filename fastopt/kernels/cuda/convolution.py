"""Convolution on a GPU: the passes of one layer, planned once.

Owns what forward and backward mean in terms of :mod:`correlation` and :mod:`weight_gradient`, and
which kernels do the work: tiles of a product of matrices, or those of :mod:`depthwise` where there
are few channels in a group. The gradient by the input is a correlation of the gradient by the
output, with weights whose channels change places; with a stride, one for each remainder of an
input's row and column.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from fastopt.device.arrays import DeviceArray
from fastopt.device.language import inlined
from fastopt.kernels.cuda.correlation import Correlation, correlate
from fastopt.kernels.cuda.depthwise import Direct, DirectWeightGradient, Strided
from fastopt.kernels.cuda.elementwise import apply
from fastopt.kernels.cuda.product import COLUMNS, DEPTH, TILES, Tile
from fastopt.kernels.cuda.sums import add_channels, add_up
from fastopt.kernels.cuda.weight_gradient import WeightGradient, weight_gradient
from fastopt.kernels.geometry import ConvGeometry

__all__ = ["Convolution"]

Pass = Callable[[DeviceArray, DeviceArray, DeviceArray | None, DeviceArray, DeviceArray], None]

# What kernels count and reach with an int32.
_MOST_ELEMENTS, _MOST_EXTENT = 2**31 - 2**20, 2**29
# Results per group that are too few for a tile.
_FEW_CHANNELS = 12
# A tile of weights of which less than this is used, for each of the first places of a window, is
# filled more slowly than weights are summed one by one.
_LEAST_FILLED, _MOST_PLACES = 1 / 30, 9
# float64 has half the registers, so to speak.
_MOST_ROWS = {"float16": 128, "float32": 128, "float64": 64}
# Into how many shares taps are divided at most, and the steps that a share is to have.
_MOST_SHARES, _LEAST_STEPS = 8, 4
# Multiprocessors of the GPU that tiles are chosen for: not of the one there is, so that results do
# not depend on it.
_PROCESSORS = 132
# As multiplications: what it costs to bring in a number, and to store a partial sum and add it up.
_BRINGING, _STORING = 16, 256


class Convolution:
    """The plan of a convolution of one shape and dtype; arrays and workspace are its caller's.

    Parameters
    ----------
    geometry : ConvGeometry
    dtype : dtype
        float32 or float64, or float16 for the forward pass, which sums in float32.
    precision : str, default "ieee"
        Of products; see :func:`fastopt.kernels.linear`.
    """

    def __init__(self, geometry: ConvGeometry, dtype: Any, precision: str = "ieee") -> None:
        g = self.geometry = geometry
        self.dtype = np.dtype(dtype)
        self.precision = precision
        largest = max(map(math.prod, (g.input_shape, g.weight_shape, g.output_shape)))
        extents = (
            size + sum(padding) + stride + dilation * (window - 1)
            for size, window, stride, padding, dilation in zip(
                (g.H, g.W), (g.R, g.S), g.stride, g.padding, g.dilation, strict=True
            )
        )
        if largest > _MOST_ELEMENTS or max(extents) > _MOST_EXTENT:
            raise ValueError(
                f"`x`, `weight` and the result must have at most {_MOST_ELEMENTS} elements on a "
                f"GPU, and windows must lie within {_MOST_EXTENT} of them, got {g}"
            )

    @cached_property
    def workspace(self) -> int:
        """Elements of `dtype` that any pass needs, for partial sums."""
        return max(self.forward_workspace, self.data_workspace, self.weight_workspace)

    @cached_property
    def forward_workspace(self) -> int:
        """Those that the forward pass needs, of float32 for float16."""
        return getattr(self._forward, "workspace", 0)

    @cached_property
    def data_workspace(self) -> int:
        """Those that the gradient by the input needs."""
        return max(getattr(each, "workspace", 0) for each in self._backward_data)

    @property
    def weight_workspace(self) -> int:
        """Those that the gradient by the weight needs."""
        return self._gradient_in_weight.workspace

    def forward(self, x: Any, weight: Any, bias: Any, out: Any, workspace: Any) -> None:
        """out = conv(x, weight) + bias; `bias` may be None."""
        self._forward(x, weight, bias, out, workspace)

    def backward_data(self, grad: Any, weight: Any, out: Any, workspace: Any) -> None:
        """The gradient by x, of which `grad` is that by the output."""
        for each in self._backward_data:
            each(grad, weight, None, out, workspace)

    def backward_weight(self, x: Any, grad: Any, out: Any, workspace: Any) -> None:
        """The gradient by the weight."""
        self._gradient_in_weight.run(x, grad, out, workspace)

    def backward_bias(self, grad: Any, out: Any) -> None:
        """out[k] = sum of grad over images and places."""
        add_channels(grad, out)

    @cached_property
    def _forward(self) -> Pass:
        g = self.geometry
        (top, _), (left, _) = g.padding
        channels, taps = g.K // g.groups, g.C // g.groups * g.R * g.S
        return self._pass(
            Correlation(
                groups=g.groups, channels=channels, taps=taps,
                pixels=g.N * g.OH * g.OW, image=g.OH * g.OW, width=g.OW,
                first_row=-top, row_step=g.stride[0],
                first_column=-left, column_step=g.stride[1],
                source_height=g.H, source_width=g.W, source_image=g.C * g.H * g.W,
                source_group=g.C // g.groups * g.H * g.W, source_channel=g.H * g.W,
                window=g.R * g.S, window_width=g.S,
                tap_row=g.dilation[0], tap_column=g.dilation[1],
                weight_start=0, weight_group=channels * taps, weight_channel=taps,
                weight_source=g.R * g.S, weight_row=g.S, weight_column=1,
                out_start=0, out_image=g.K * g.OH * g.OW, out_group=channels * g.OH * g.OW,
                out_channel=g.OH * g.OW, out_row=g.OW, out_column=1,
            )
        )  # fmt: skip

    @cached_property
    def _backward_data(self) -> list[Pass]:
        """What has to be run, one after the other."""
        g = self.geometry
        if self._few(g.C // g.groups) and g.stride != (1, 1) and Strided.fits(g):
            return [_without_workspace(Strided(g, self.dtype).run)]
        rows = _classes(g.H, g.R, g.stride[0], g.padding[0][0], g.dilation[0])
        columns = _classes(g.W, g.S, g.stride[1], g.padding[1][0], g.dilation[1])
        # Pixels that no window sees are of no class.
        seen = sum(row.count for row in rows) * sum(column.count for column in columns)
        whole = len(rows) == len(columns) == 1 and seen == g.H * g.W
        passes = [
            self._pass(self._by_data(row, column), whole) for row in rows for column in columns
        ]
        return passes if seen == g.H * g.W else [_fill_with_zeros, *passes]

    def _by_data(self, row: _Class, column: _Class) -> Correlation:
        """The gradient by the pixels of two classes."""
        g = self.geometry
        channels, kernels = g.C // g.groups, g.K // g.groups
        return Correlation(
            groups=g.groups, channels=channels, taps=kernels * row.taps * column.taps,
            pixels=g.N * row.count * column.count, image=row.count * column.count,
            width=column.count,
            first_row=row.place, row_step=1, first_column=column.place, column_step=1,
            source_height=g.OH, source_width=g.OW, source_image=g.K * g.OH * g.OW,
            source_group=kernels * g.OH * g.OW, source_channel=g.OH * g.OW,
            window=row.taps * column.taps, window_width=column.taps,
            tap_row=row.place_step, tap_column=column.place_step,
            weight_start=row.tap * g.S + column.tap,
            weight_group=kernels * channels * g.R * g.S, weight_channel=g.R * g.S,
            weight_source=channels * g.R * g.S,
            weight_row=row.tap_step * g.S, weight_column=column.tap_step,
            out_start=row.start * g.W + column.start, out_image=g.C * g.H * g.W,
            out_group=channels * g.H * g.W, out_channel=g.H * g.W,
            out_row=g.stride[0] * g.W, out_column=g.stride[1],
        )  # fmt: skip

    def _pass(self, sizes: Correlation, whole: bool = True) -> Pass:
        """Who does it; taps are shared out among blocks only where it fills the `whole` result."""
        if self._few(sizes.channels):
            return _without_workspace(Direct(sizes, self.dtype).run)
        return _Tiled(sizes, self.dtype, self.precision, whole)

    def _few(self, channels: int) -> bool:
        return channels <= _FEW_CHANNELS

    @cached_property
    def _gradient_in_weight(self) -> DirectWeightGradient | _TiledWeightGradient:
        g = self.geometry
        (top, _), (left, _) = g.padding
        sizes = WeightGradient(
            groups=g.groups, channels=g.K // g.groups, taps=g.C // g.groups * g.R * g.S,
            pixels=g.N * g.OH * g.OW, image=g.OH * g.OW, width=g.OW,
            first_row=-top, row_step=g.stride[0], first_column=-left, column_step=g.stride[1],
            source_height=g.H, source_width=g.W, source_image=g.C * g.H * g.W,
            source_group=g.C // g.groups * g.H * g.W, source_channel=g.H * g.W,
            window=g.R * g.S, window_width=g.S,
            tap_row=g.dilation[0], tap_column=g.dilation[1],
            grad_image=g.K * g.OH * g.OW, grad_group=g.K // g.groups * g.OH * g.OW,
        )  # fmt: skip
        least = TILES[-1].rows
        room = -(-sizes.channels // least) * least * -(-sizes.taps // COLUMNS) * COLUMNS
        filled = sizes.channels * sizes.taps / room
        if filled < _LEAST_FILLED * min(sizes.window, _MOST_PLACES):
            return DirectWeightGradient(sizes, self.dtype)
        return _TiledWeightGradient(sizes, self.dtype, self.precision)


class _TiledWeightGradient:
    """A gradient by weights as a product of matrices, and the sum over its shares."""

    def __init__(self, sizes: WeightGradient, dtype: np.dtype[Any], precision: str) -> None:
        self._sizes, self._precision = sizes, precision
        self._tile, self._share = _tile_and_share(sizes, dtype.name)
        self._shares = -(-sizes.pixels // self._share)
        size = sizes.groups * sizes.channels * sizes.taps
        self.workspace = 0 if self._shares == 1 else self._shares * size

    def run(self, x: Any, grad: Any, out: Any, workspace: Any) -> None:
        """Fill `out` with the gradient by the weights."""
        sums = out if self._shares == 1 else workspace
        weight_gradient(self._sizes, self._tile, self._share, x, grad, sums, self._precision)
        if self._shares > 1:
            add_up(sums, self._shares, out)


class _Tiled:
    """A correlation as a product of matrices, and the sum over its shares of the taps."""

    def __init__(
        self, sizes: Correlation, dtype: np.dtype[Any], precision: str, whole: bool
    ) -> None:
        self._sizes, self._precision = sizes, precision
        self._tile, self._share = _tile_and_taps(sizes, dtype.name, whole)
        self._shares = -(-sizes.taps // self._share) if self._share else 1
        self.workspace = 0
        if self._shares > 1:
            self.workspace = self._shares * sizes.pixels * sizes.channels * sizes.groups

    def __call__(
        self, source: DeviceArray, weight: DeviceArray, bias: DeviceArray | None, out: DeviceArray,
        workspace: DeviceArray,
    ) -> None:  # fmt: skip
        sums = out if self._shares == 1 else workspace.part(0, (self.workspace,))
        arrays = source, weight, bias, sums
        correlate(self._sizes, *arrays, self._tile, self._precision, self._share)
        if self._shares > 1:
            add_up(sums, self._shares, out)


def _without_workspace(run: Callable[..., None]) -> Pass:
    return lambda source, weight, bias, out, workspace: run(source, weight, bias, out)


@inlined
def _number(x, number):
    return number


def _fill_with_zeros(
    grad: DeviceArray, weight: DeviceArray, bias: DeviceArray | None, out: DeviceArray,
    workspace: DeviceArray,
) -> None:  # fmt: skip
    apply(_number, (out,), 0.0, out)


# --- rows and columns of the gradient by data -----------------------------------------------------


class _Class:
    """Places of an axis which the same taps of a window see.

    ``start + i stride`` for i below `count` is seen, as tap ``tap + j tap_step`` for j below
    `taps`, by the window at ``place + i + j place_step``.
    """

    def __init__(
        self, start: int, count: int, tap: int, taps: int, tap_step: int, place: int,
        place_step: int,
    ) -> None:  # fmt: skip
        self.start, self.count = start, count
        self.tap, self.taps, self.tap_step = tap, taps, tap_step
        self.place, self.place_step = place, place_step


def _classes(length: int, window: int, stride: int, pad: int, dilation: int) -> list[_Class]:
    """Those that are seen at all.

    Place x is seen as tap r by the window at ``(x + pad - r dilation) / stride``, where that is an
    integer. If it is for one r, then for those ``stride / gcd(stride, dilation)`` apart.
    """
    common = math.gcd(stride, dilation)
    tap_step, place_step = stride // common, -(dilation // common)
    found = []
    for tap in range(min(window, tap_step)):
        start = (tap * dilation - pad) % stride
        if start < length:
            count = -(-(length - start) // stride)
            taps = -(-(window - tap) // tap_step)
            place = (start + pad - tap * dilation) // stride
            found.append(_Class(start, count, tap, taps, tap_step, place, place_step))
    return found


# --- how the work is shared out -------------------------------------------------------------------


def _tile_and_taps(sizes: Correlation, dtype: str, whole: bool) -> tuple[Tile, int]:
    """The tile with which the last block is done first, and how many taps a block takes, if not
    all: where there are too few blocks to keep all multiprocessors at work."""
    best = math.inf, TILES[-1], 0
    steps = -(-sizes.taps // DEPTH)
    for tile in _tiles(dtype):
        columns = -(-sizes.pixels // COLUMNS)
        blocks = columns * -(-sizes.channels // tile.rows) * sizes.groups
        most = min(steps // _LEAST_STEPS, 4 * _PROCESSORS // blocks, _MOST_SHARES) if whole else 1
        for shares in range(1, max(1, most) + 1):
            share = -(-steps // shares) * DEPTH
            ending = 0 if shares == 1 else tile.rows * COLUMNS * _STORING
            time = _time(blocks * shares, tile, min(share, sizes.taps) * _work(tile) + ending)
            # What adding them up takes is not in it.
            time *= 1 if shares == 1 else 1.15
            if time < best[0]:
                best = time, tile, share if shares > 1 else 0
    return best[1:]


def _tile_and_share(sizes: WeightGradient, dtype: str) -> tuple[Tile, int]:
    """A tile, and into how many parts the pixels are divided, so that it is."""
    steps = -(-sizes.pixels // DEPTH)
    best = math.inf, TILES[-1], steps
    for tile in _tiles(dtype):
        blocks = -(-sizes.taps // COLUMNS) * -(-sizes.channels // tile.rows) * sizes.groups
        ending = tile.rows * COLUMNS * _STORING
        for shares in range(1, min(steps, max(1, 8 * _PROCESSORS // blocks)) + 1):
            share = -(-steps // shares)
            time = _time(blocks * shares, tile, share * DEPTH * _work(tile) + ending)
            if time < best[0]:
                best = time, tile, share
    return best[1], best[2] * DEPTH


def _tiles(dtype: str) -> list[Tile]:
    return [tile for tile in TILES if tile.rows <= _MOST_ROWS[dtype]]


def _work(tile: Tile) -> int:
    """Of a block, for a product of each of its sums."""
    return tile.rows * COLUMNS + _BRINGING * (tile.rows + COLUMNS)


def _time(blocks: int, tile: Tile, work: int) -> float:
    """Until the busiest multiprocessor is done; with few warps it often waits for memory."""
    each = -(-blocks // _PROCESSORS)
    warps = each * tile.threads / 32
    return each * work * (1 + 4 / warps)
