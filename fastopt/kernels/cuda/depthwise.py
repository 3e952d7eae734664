"""Convolution with few channels in a group, of which a depthwise one has a single one.

A product of matrices would leave most of its tile empty. Here a thread makes sums of its own: some
results below one another, for one or a few channels, from numbers of the source that it reads once
for all of them. Its neighbours in a row are those of the next thread, so that a warp reads and
writes lines of memory. What bounds these kernels is memory, as long as a thread has little else to
do.

Owns these kernels, and how the results are shared out among threads. The passes are described as
for :mod:`correlation` and :mod:`weight_gradient`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from fastopt.device.arrays import DeviceArray
from fastopt.device.kernel import Kernel
from fastopt.device.language import cuda, int32, number_type, pointer, pointer_to, quotient, uint32
from fastopt.device.reductions import WARP, warp_total
from fastopt.kernels.cuda.correlation import Correlation
from fastopt.kernels.cuda.division import divided, reciprocal
from fastopt.kernels.cuda.sums import add_up
from fastopt.kernels.cuda.weight_gradient import WeightGradient
from fastopt.kernels.geometry import ConvGeometry

__all__ = ["Direct", "DirectWeightGradient", "Strided"]

THREADS = 256
# Of a multiprocessor at a time: float64 takes twice the registers.
_BLOCKS = {"float16": 2, "float32": 2, "float64": 1}
# Results of a thread, below one another and of neighbouring channels, at most.
_MOST_ROWS, _MOST_CHANNELS = 8, 4
# A window of more rows is gone through row by row, and so are rows of results that lie further
# apart.
_MOST_TAPS, _MOST_STEP = 7, 2
# Sums of a thread in the gradient by weights, at most.
_MOST_WEIGHTS = {"float32": 49, "float64": 25}
_MOST_WAITING = 100
# Threads with which a GPU is busy, blocks that it has at a time, and items of a thread that are
# worth a sum over the block.
_BUSY, _WAVE, _LEAST_ITEMS = 132 * 1024, 132 * 8, 2
# An index that no array has.
_NOWHERE = -(1 << 31)


# --- forward and by data -------------------------------------------------------------------------


class Direct:
    """A correlation, by threads that each make a few results.

    Parameters
    ----------
    sizes : Correlation
    dtype : dtype
    """

    def __init__(self, sizes: Correlation, dtype: Any) -> None:
        self._dtype = dtype.name
        height, N = sizes.image // sizes.width, sizes.pixels // sizes.image
        taps = sizes.window // sizes.window_width
        whole = 1 < taps <= _MOST_TAPS and abs(sizes.tap_row) == 1 and sizes.row_step <= _MOST_STEP
        if whole and sizes.tap_row < 0:
            sizes = replace(
                sizes,
                first_row=sizes.first_row - (taps - 1),
                tap_row=1,
                weight_start=sizes.weight_start + (taps - 1) * sizes.weight_row,
                weight_row=-sizes.weight_row,
            )
        lines = N * sizes.groups * sizes.width
        rows, made = _shares_of_thread(height, sizes.channels, lines, 1)
        self._shape = Shape(rows, made, taps if whole else 1, sizes.row_step if whole else 1)
        splits, parts = -(-height // rows), sizes.channels // made
        blocks = parts * sizes.groups
        items = lines * parts * splits
        self._grid = (-(-items // THREADS),)
        self._numbers = (
            items,
            *reciprocal(sizes.width),
            *reciprocal(splits),
            *reciprocal(blocks),
            *reciprocal(parts),
            *(sizes.width, height, splits, blocks, parts, 1 if whole else sizes.row_step),
            *(sizes.channels, sizes.taps // sizes.window, 1 if whole else taps),
            *(sizes.window_width, sizes.first_row, sizes.row_step),
            *(sizes.first_column, sizes.column_step, sizes.source_height, sizes.source_width),
            *(sizes.source_image, sizes.source_group, sizes.source_channel),
            *(sizes.tap_row, sizes.tap_column, sizes.weight_start, sizes.weight_group),
            *(sizes.weight_channel, sizes.weight_source, sizes.weight_row, sizes.weight_column),
            *(sizes.out_start, sizes.out_image, sizes.out_group, sizes.out_channel),
            *(sizes.out_row, sizes.out_column),
        )

    def run(
        self, source: DeviceArray, weight: DeviceArray, bias: DeviceArray | None, out: DeviceArray
    ) -> None:
        """Fill the pixels of `out` that are described."""
        kernel = _kernel(self._dtype, self._shape, bias is not None)
        addresses = source.address, weight.address, 0 if bias is None else bias.address
        kernel.launch(self._grid, *addresses, out.address, *self._numbers)


def _shares_of_thread(height: int, channels: int, lines: int, unit: int) -> tuple[int, int]:
    """How many rows, a multiple of `unit`, and channels a thread makes of so many."""
    made = next(m for m in range(_MOST_CHANNELS, 0, -1) if channels % m == 0)
    most = max(1, _MOST_ROWS // unit)
    count = -(-height // unit)
    while True:
        rows = -(-count // -(-count // most))
        threads = lines * (channels // made) * -(-count // rows)
        if threads >= _BUSY or most == made == 1:
            return rows * unit, made
        if made > 1:
            made = next(m for m in range(made - 1, 0, -1) if channels % m == 0)
        else:
            most //= 2


@dataclass(frozen=True)
class Shape:
    """What a thread makes, and from how much of a window at a time.

    Attributes
    ----------
    rows, channels : int
        Results of a thread: below one another, and of neighbouring channels.
    taps : int
        Rows of the window, all of which are used at once if they lie side by side in the source;
        else 1.
    step : int
        Rows of the source from one row of results to the next, where `taps` is not 1.
    """

    rows: int
    channels: int
    taps: int
    step: int

    @property
    def reach(self) -> int:
        """Rows of the source that are read at a time."""
        return (self.rows - 1) * self.step + self.taps


@cache
def _kernel(dtype: str, shape: Shape, biased: bool) -> Kernel:
    real = number_type(dtype)
    rows, made, taps, step, reach = shape.rows, shape.channels, shape.taps, shape.step, shape.reach
    sums_of_thread = made * rows

    def direct(
        source, weight, bias, out,
        items, width_factor, width_shift, height_factor, height_shift, block_factor, block_shift,
        group_factor, group_shift, width, height, splits, blocks, parts, spacing,
        channels, channels_of_source, windows, window_width,
        first_row, row_step, first_column, column_step,
        source_height, source_width, source_image, source_group, source_channel,
        tap_row, tap_column,
        weight_start, weight_group, weight_channel, weight_source, weight_row, weight_column,
        out_start, out_image, out_group, out_channel, out_row, out_column,
    ):  # fmt: skip
        sums = cuda.local.array(sums_of_thread, real)
        numbers = cuda.local.array(reach, real)
        places = cuda.local.array(reach, int32)
        for k in range(sums_of_thread):
            sums[k] = real(0)

        item = int32(cuda.blockIdx.x * THREADS + cuda.threadIdx.x)
        if item >= items:
            return
        line = divided(item, width_factor, width_shift)
        x = int32(item - line * width)
        plane = divided(line, height_factor, height_shift)
        y = int32((line - plane * splits) * rows)
        n = divided(plane, block_factor, block_shift)
        block = int32(plane - n * blocks)
        group = divided(block, group_factor, group_shift)
        channel = int32((block - group * parts) * made)

        start = int32(first_column + x * column_step)
        top = int32(first_row + y * row_step)
        at = int32(n * source_image + group * source_group)
        of_channel = int32(weight_start + group * weight_group + channel * weight_channel)
        for _ in range(channels_of_source):
            low, of_row = top, of_channel
            for _ in range(windows):
                for i in range(reach):
                    row = int32(low + i * spacing)
                    places[i] = int32(at + row * source_width)
                    if uint32(row) >= uint32(source_height):
                        places[i] = int32(_NOWHERE)
                column, of_tap = start, of_row
                for _ in range(window_width):
                    inside = uint32(column) < uint32(source_width)
                    for i in range(reach):
                        numbers[i] = real(0)
                        if inside and places[i] != _NOWHERE:
                            numbers[i] = source[int32(places[i] + column)]
                    for r in range(taps):
                        for m in range(made):
                            factor = weight[int32(of_tap + r * weight_row + m * weight_channel)]
                            for q in range(rows):
                                sums[m * rows + q] += numbers[q * step + r] * factor
                    column = int32(column + tap_column)
                    of_tap = int32(of_tap + weight_column)
                low = int32(low + tap_row)
                of_row = int32(of_row + weight_row)
            at = int32(at + source_channel)
            of_channel = int32(of_channel + weight_source)

        to = int32(out_start + n * out_image + group * out_group + x * out_column)
        for m in range(made):
            add = real(0)
            if biased:
                add = bias[int32(group * channels + channel + m)]
            to_row = int32(to + (channel + m) * out_channel + y * out_row)
            for q in range(rows):
                if y < int32(height - q):
                    out[int32(to_row + q * out_row)] = sums[m * rows + q] + add

    numbers = [int32] + [uint32, int32] * 4 + [int32] * 33
    return Kernel(direct, [pointer_to(dtype)] * 4 + numbers, THREADS, _BLOCKS[dtype])


# --- by data, with a stride ----------------------------------------------------------------------


class Strided:
    """The gradient by data of a convolution with a stride, in one launch.

    Rows of the result that are a stride apart are seen by the same rows of a window: a thread has
    some of each kind. Which columns of the window see its column, it finds for itself.

    Parameters
    ----------
    geometry : ConvGeometry
        For which :meth:`fits` holds.
    dtype : dtype
    """

    @staticmethod
    def fits(geometry: ConvGeometry) -> bool:
        """Whether there is a kernel for it."""
        near = geometry.stride[0] <= _MOST_ROWS and geometry.dilation == (1, 1)
        return near and geometry.R <= _MOST_TAPS

    def __init__(self, geometry: ConvGeometry, dtype: Any) -> None:
        g = geometry
        (top, _), (left, _) = g.padding
        stride, column_stride = g.stride
        channels, kernels = g.C // g.groups, g.K // g.groups
        lines = g.N * g.groups * g.W
        rows, made = _shares_of_thread(g.H, channels, lines, stride)
        first_row, remainder = divmod(top, stride)
        self._kernel = _strided_kernel(dtype.name, rows, made, g.R, stride, remainder)
        splits, parts = -(-g.H // rows), channels // made
        items = lines * parts * splits
        self._grid = (-(-items // THREADS),)
        self._numbers = (
            items,
            *reciprocal(g.W),
            *reciprocal(splits),
            *reciprocal(parts),
            *reciprocal(g.groups),
            *reciprocal(column_stride),
            *(g.W, g.H, splits, parts, g.groups, first_row, left, column_stride),
            *(kernels, g.S, g.OH, g.OW, g.OH * g.OW, g.R * g.S, channels * g.R * g.S),
        )

    def run(
        self, grad: DeviceArray, weight: DeviceArray, bias: DeviceArray | None, out: DeviceArray
    ) -> None:
        """Fill `out`, the gradient by data; there is no bias."""
        addresses = grad.address, weight.address, out.address
        self._kernel.launch(self._grid, *addresses, *self._numbers)


@cache
def _strided_kernel(
    dtype: str, rows: int, made: int, taps: int, stride: int, remainder: int
) -> Kernel:
    """`rows`, a multiple of the stride, are those of the source of the convolution.

    Row ``i`` of it was seen, as row r of a window, by row ``(i + remainder - r) / stride`` of the
    gradient, where that is an integer: of a thread's rows, by those that are a stride apart.
    """
    real = number_type(dtype)
    seen = [(r - remainder) % stride for r in range(taps)]
    offsets = [(row + remainder - r) // stride for r, row in enumerate(seen)]
    lowest = min(offsets)
    reach = rows // stride + max(offsets) - lowest
    sums_of_thread = made * rows

    def strided(
        grad, weight, out,
        items, width_factor, width_shift, height_factor, height_shift, part_factor, part_shift,
        group_factor, group_shift, stride_factor, stride_shift,
        width, height, splits, parts, groups, first_row, left, column_stride,
        kernels, window_width, grad_height, grad_width, grad_channel,
        weight_channel, weight_kernel,
    ):  # fmt: skip
        sums = cuda.local.array(sums_of_thread, real)
        numbers = cuda.local.array(reach, real)
        places = cuda.local.array(reach, int32)
        for k in range(sums_of_thread):
            sums[k] = real(0)

        item = int32(cuda.blockIdx.x * THREADS + cuda.threadIdx.x)
        if item >= items:
            return
        line = divided(item, width_factor, width_shift)
        x = int32(item - line * width)
        plane = divided(line, height_factor, height_shift)
        split = int32(line - plane * splits)
        whole = divided(plane, part_factor, part_shift)
        channel = int32((plane - whole * parts) * made)
        group = int32(whole - divided(whole, group_factor, group_shift) * groups)

        start = divided(int32(x + left), stride_factor, stride_shift)
        first_tap = int32(x + left - start * column_stride)
        top = int32(first_row + lowest + split * (rows // stride))
        at = int32(whole * kernels * grad_channel)
        of_channel = int32(group * kernels * weight_kernel + channel * weight_channel)
        for _ in range(kernels):
            for i in range(reach):
                row = int32(top + i)
                places[i] = int32(at + row * grad_width)
                if uint32(row) >= uint32(grad_height):
                    places[i] = int32(_NOWHERE)
            column, s = start, first_tap
            while s < window_width:
                inside = uint32(column) < uint32(grad_width)
                for i in range(reach):
                    numbers[i] = real(0)
                    if inside and places[i] != _NOWHERE:
                        numbers[i] = grad[int32(places[i] + column)]
                for r in range(taps):
                    for m in range(made):
                        factor = weight[
                            int32(of_channel + m * weight_channel + r * window_width + s)
                        ]
                        for i in range(rows // stride):
                            row = (r + remainder * (stride - 1)) % stride
                            place = (row + remainder - r + stride * taps) // stride - taps - lowest
                            sums[m * rows + i * stride + row] += numbers[i + place] * factor
                column = int32(column - 1)
                s = int32(s + column_stride)
            at = int32(at + grad_channel)
            of_channel = int32(of_channel + weight_kernel)

        y = int32(split * rows)
        to = int32((plane * made * height + y) * width + x)
        for m in range(made):
            for q in range(rows):
                if y < int32(height - q):
                    out[int32(to + (m * height + q) * width)] = sums[m * rows + q]

    numbers = [int32] + [uint32, int32] * 5 + [int32] * 15
    return Kernel(strided, [pointer(real)] * 3 + numbers, THREADS, _BLOCKS[dtype])


# --- by the weights ------------------------------------------------------------------------------


class DirectWeightGradient:
    """A gradient by weights, in which a block has a few weights of one kernel and channel.

    The pixels are shared out among blocks where there are not enough of these otherwise, and then
    the partial sums need a workspace.

    Parameters
    ----------
    sizes : WeightGradient
    dtype : dtype

    Attributes
    ----------
    workspace : int
        Elements.
    """

    def __init__(self, sizes: WeightGradient, dtype: Any) -> None:
        height, N = sizes.image // sizes.width, sizes.pixels // sizes.image
        width, taps = sizes.window_width, sizes.window // sizes.window_width
        of_source = sizes.taps // sizes.window
        whole = 2 < taps <= _MOST_TAPS and sizes.tap_row == 1 and sizes.row_step <= _MOST_STEP
        rows = -(-height // -(-height // _MOST_ROWS))
        at_once = taps if whole else 1
        columns = min(width, _MOST_WEIGHTS[dtype.name] // at_once, _MOST_TAPS)
        columns = -(-width // -(-width // columns))
        step = sizes.row_step if whole else 1
        self._kernel = _weight_kernel(dtype.name, rows, at_once, columns, step)

        splits = -(-height // rows)
        items = N * splits * sizes.width
        pairs = sizes.groups * sizes.channels * of_source
        parts = -(-width // columns) * (1 if whole else taps)
        shares = max(1, min(-(-_WAVE // (pairs * parts)), items // (THREADS * _LEAST_ITEMS)))
        share = -(-items // shares)
        self._shares = -(-items // share)
        size = pairs * sizes.window
        self.workspace = 0 if self._shares == 1 else self._shares * size
        self._grid = (self._shares * pairs * parts,)
        self._numbers = (
            *(share, items, *reciprocal(sizes.width), *reciprocal(splits)),
            *(sizes.width, height, splits, pairs, parts, sizes.window, width),
            *(1 if whole else sizes.row_step, sizes.channels, of_source),
            *(sizes.first_row, sizes.row_step, sizes.first_column, sizes.column_step),
            *(sizes.source_height, sizes.source_width),
            *(sizes.source_image, sizes.source_channel, sizes.tap_row, sizes.tap_column),
            sizes.grad_image,
        )

    def run(
        self,
        source: DeviceArray,
        grad: DeviceArray,
        out: DeviceArray,
        workspace: DeviceArray,
    ) -> None:
        """Fill `out` with the gradient by the weights."""
        sums = out if self._shares == 1 else workspace
        addresses = source.address, grad.address, sums.address
        self._kernel.launch(self._grid, *addresses, *self._numbers)
        if self._shares > 1:
            add_up(sums, self._shares, out)


@cache
def _weight_kernel(dtype: str, rows: int, taps: int, columns: int, step: int) -> Kernel:
    real = number_type(dtype)
    reach = (rows - 1) * step + taps
    sums_of_thread = taps * columns
    warps = THREADS // WARP
    room_size = warps * sums_of_thread
    total = warp_total()

    def weights(
        source, grad, out,
        share, items, width_factor, width_shift, height_factor, height_shift,
        width, height, splits, pairs, parts, window, window_width, spacing,
        channels, channels_of_source,
        first_row, row_step, first_column, column_step,
        source_height, source_width, source_image, source_channel, tap_row, tap_column,
        grad_image,
    ):  # fmt: skip
        room = cuda.shared.array(room_size, real, 16)
        sums = cuda.local.array(sums_of_thread, real)
        numbers = cuda.local.array(reach, real)
        places = cuda.local.array(reach, int32)
        grads = cuda.local.array(rows, real)
        for k in range(sums_of_thread):
            sums[k] = real(0)

        thread = int32(cuda.threadIdx.x)
        block = int32(cuda.blockIdx.x)
        rest = quotient(block, parts)
        part = int32(block - rest * parts)
        share_index = quotient(rest, pairs)
        pair = int32(rest - share_index * pairs)
        # Which rows and columns of the window: a number of parts of a row, then the next row.
        strips = quotient(int32(window_width + columns - 1), int32(columns))
        first_r = quotient(part, strips)
        first_s = int32((part - first_r * strips) * columns)
        channel = quotient(pair, channels_of_source)
        group = quotient(channel, channels)
        of_source = int32(group * channels_of_source + pair - channel * channels_of_source)

        item = int32(share_index * share + thread)
        end = items if items - share_index * share < share else int32((share_index + 1) * share)
        while item < end:
            line = divided(item, width_factor, width_shift)
            x = int32(item - line * width)
            n = divided(line, height_factor, height_shift)
            y = int32((line - n * splits) * rows)
            at = int32(n * grad_image + (channel * height + y) * width + x)
            for q in range(rows):
                grads[q] = real(0)
                if y < int32(height - q):
                    grads[q] = grad[int32(at + q * width)]
            base = int32(n * source_image + of_source * source_channel)
            top = int32(first_row + y * row_step + first_r * tap_row)
            column = int32(first_column + x * column_step + first_s * tap_column)
            for i in range(reach):
                row = int32(top + i * spacing)
                places[i] = int32(base + row * source_width)
                if uint32(row) >= uint32(source_height):
                    places[i] = int32(_NOWHERE)
            for s in range(columns):
                inside = uint32(column) < uint32(source_width)
                for i in range(reach):
                    numbers[i] = real(0)
                    if inside and places[i] != _NOWHERE:
                        numbers[i] = source[int32(places[i] + column)]
                for r in range(taps):
                    for q in range(rows):
                        sums[r * columns + s] += numbers[q * step + r] * grads[q]
                column = int32(column + tap_column)
            item = int32(item + THREADS)

        warp = int32(thread // WARP)
        for k in range(sums_of_thread):
            number = total(sums[k])
            if thread % WARP == 0:
                room[int32(warp * sums_of_thread + k)] = number
        cuda.syncthreads()
        if thread < sums_of_thread:
            number = real(0)
            for k in range(warps):
                number += room[int32(k * sums_of_thread + thread)]
            r = quotient(thread, int32(columns))
            s = int32(first_s + thread - r * columns)
            if s < window_width:
                to = int32((share_index * pairs + pair) * window + (first_r + r) * window_width + s)
                out[to] = number

    numbers = [int32] * 2 + [uint32, int32] * 2 + [int32] * 21
    # The compiler lets many loads of a thread wait at a time, and then needs registers for them.
    waiting = reach * columns + sums_of_thread
    blocks = _BLOCKS[dtype] if waiting <= _MOST_WAITING else 1
    return Kernel(weights, [pointer(real)] * 3 + numbers, THREADS, blocks)
