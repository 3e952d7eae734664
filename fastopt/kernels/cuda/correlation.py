"""Convolution forward and by data, as a product of weights and shifted pixels (implicit GEMM).

One kernel does both. Its sums are those of a channel and a pixel; it adds the products of weights
and numbers of the source over *taps*: a channel of the source and a place in the window. Where a
tap is in the source, and which weight goes with it, is worked out by a few threads of each block,
for the next taps while the others multiply.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from functools import cache
from typing import Any

from fastopt.device.arrays import DeviceArray
from fastopt.device.kernel import Kernel
from fastopt.device.language import (
    cuda,
    inlined,
    int32,
    load4,
    number_type,
    pointer,
    store4,
    uint32,
)
from fastopt.kernels.cuda.product import COLUMNS, DEPTH, TILES, Tile, multiplication

__all__ = ["Correlation", "correlate"]

# A coordinate that lies in no image, and stays so when others are added.
_NOWHERE = 1 << 29


@dataclass(frozen=True)
class Correlation:
    """Sizes and steps of one correlation; steps are in elements.

    Attributes
    ----------
    groups : int
    channels : int
        Of the result, in a group.
    taps : int
        In a group: channels of the source times places of the window.
    pixels : int
        Of the result: images, rows and columns together.
    image, width : int
        Pixels of an image, and of one of its rows.
    row, column : (int, int)
        Where the first pixel of an image looks at the source, and the step to the next.
    height_of_source, width_of_source : int
    source_image, source_group, source_channel : int
        Steps in the source.
    window, window_width : int
        Places in the window, and in one of its rows.
    row_of_tap, column_of_tap : int
        The step in the source from one place in the window to the next.
    weight_start, weight_group, weight_channel, weight_source, weight_row, weight_column : int
        Where the weights begin, and the steps by group, channel of the result, channel of the
        source, and place in the window.
    out_start, out_image, out_group, out_channel, out_row, out_column : int
        The same of the result.
    """

    groups: int
    channels: int
    taps: int
    pixels: int
    image: int
    width: int
    first_row: int
    row_step: int
    first_column: int
    column_step: int
    source_height: int
    source_width: int
    source_image: int
    source_group: int
    source_channel: int
    window: int
    window_width: int
    tap_row: int
    tap_column: int
    weight_start: int
    weight_group: int
    weight_channel: int
    weight_source: int
    weight_row: int
    weight_column: int
    out_start: int
    out_image: int
    out_group: int
    out_channel: int
    out_row: int
    out_column: int


def correlate(
    sizes: Correlation,
    source: DeviceArray,
    weight: DeviceArray,
    bias: DeviceArray | None,
    out: DeviceArray,
) -> None:
    """Fill the pixels of `out` that `sizes` names."""
    tile = next((each for each in reversed(TILES) if sizes.channels <= each.rows), TILES[0])
    wide = sizes.out_column == 1 and all(
        step % 4 == 0
        for step in (
            sizes.width if sizes.out_row != sizes.width else sizes.image,
            sizes.out_row if sizes.out_row != sizes.width else 0,
            sizes.out_start,
            sizes.out_image,
            sizes.out_group,
            sizes.out_channel,
            out.address // out.dtype.itemsize,
        )
    )
    kernel = _kernel(tile, out.dtype.name, bias is not None, wide)
    grid = -(-sizes.pixels // COLUMNS), -(-sizes.channels // tile.rows), sizes.groups
    kernel.launch(
        grid,
        source.address,
        weight.address,
        0 if bias is None else bias.address,
        out.address,
        *astuple(sizes)[1:],
    )


@cache
def _kernel(tile: Tile, dtype: str, biased: bool, wide: bool) -> Kernel:
    real = number_type(dtype)
    multiply, corner, place = multiplication(tile)
    threads, sums_of_thread = tile.threads, tile.sums
    rows, left_pitch, right_pitch = tile.rows, tile.left_pitch, tile.right_pitch
    left_size, right_size = DEPTH * left_pitch, DEPTH * right_pitch
    left_room, right_room, tap_room = 2 * left_size, 2 * right_size, 2 * 4 * DEPTH
    left_loads, right_loads = rows * DEPTH // threads, COLUMNS * DEPTH // threads
    left_stride, right_stride = threads // DEPTH, threads // COLUMNS
    quads = sums_of_thread // 4

    @inlined
    def find_tap(  # type: ignore[no-untyped-def]
        table, slot, tap, taps, window, window_width, source_channel, source_width, tap_row,
        tap_column, weight_source, weight_row, weight_column,
    ):
        channel = tap // window
        inside = tap - channel * window
        r = inside // window_width
        s = inside - r * window_width
        h, w = r * tap_row, s * tap_column
        offset = channel * source_channel + h * source_width + w
        weights = channel * weight_source + r * weight_row + s * weight_column
        if tap >= taps:
            h, offset, weights = int32(_NOWHERE), int32(0), int32(-1)
        store4(table, int32(4) * slot, (offset, h, w, weights))

    def correlation(  # type: ignore[no-untyped-def]
        source, weight, bias, out,
        channels, taps, pixels, image, width,
        first_row, row_step, first_column, column_step,
        source_height, source_width, source_image, source_group, source_channel,
        window, window_width, tap_row, tap_column,
        weight_start, weight_group, weight_channel, weight_source, weight_row, weight_column,
        out_start, out_image, out_group, out_channel, out_row, out_column,
    ):
        left = cuda.shared.array(left_room, real, 16)
        right = cuda.shared.array(right_room, real, 16)
        table = cuda.shared.array(tap_room, int32, 16)
        sums = cuda.local.array(sums_of_thread, real)
        weights = cuda.local.array(left_loads, real)
        numbers = cuda.local.array(right_loads, real)

        thread = int32(cuda.threadIdx.x)
        group = int32(cuda.blockIdx.z)
        first_pixel = int32(cuda.blockIdx.x) * int32(COLUMNS)
        first_channel = int32(cuda.blockIdx.y) * int32(rows)
        for k in range(sums_of_thread):
            sums[k] = real(0)

        # What this thread brings in: a column of pixels, and a row of weights.
        column = thread % int32(COLUMNS)
        depth_right = thread // int32(COLUMNS)
        pixel = first_pixel + column
        n = pixel // image
        rest = pixel - n * image
        y = rest // width
        top = first_row + y * row_step
        start = first_column + (rest - y * width) * column_step
        base = n * source_image + group * source_group + top * source_width + start
        if pixel >= pixels:
            top = int32(_NOWHERE)
        depth_left = thread % int32(DEPTH)
        row_left = thread // int32(DEPTH)
        weight_base = weight_start + group * weight_group
        weight_base += (first_channel + row_left) * weight_channel

        if thread < int32(2 * DEPTH):
            find_tap(
                table, thread, thread, taps, window, window_width, source_channel, source_width,
                tap_row, tap_column, weight_source, weight_row, weight_column,
            )
        cuda.syncthreads()

        buffer = int32(0)
        tap = int32(0)
        row, col = corner(thread)
        # Once more than there are tiles: the first time there is nothing to multiply yet.
        while tap < taps + int32(DEPTH):
            if tap < taps:
                entries = buffer * int32(DEPTH)
                _, _, _, place_of_weight = load4(table, int32(4) * (entries + depth_left))
                for j in range(left_loads):
                    weights[j] = real(0)
                    m = first_channel + row_left + int32(j * left_stride)
                    if place_of_weight >= int32(0) and m < channels:
                        step = int32(j * left_stride) * weight_channel
                        weights[j] = weight[weight_base + place_of_weight + step]
                for j in range(right_loads):
                    numbers[j] = real(0)
                    entry = entries + depth_right + int32(j * right_stride)
                    offset, h, w, _ = load4(table, int32(4) * entry)
                    if uint32(top + h) < uint32(source_height):
                        if uint32(start + w) < uint32(source_width):
                            numbers[j] = source[base + offset]
            if tap > int32(0):
                multiply(left, right, buffer ^ int32(1), row, col, sums)
            if tap < taps:
                to_left = buffer * int32(left_size) + depth_left * int32(left_pitch) + row_left
                for j in range(left_loads):
                    left[to_left + int32(j * left_stride)] = weights[j]
                to_right = buffer * int32(right_size) + depth_right * int32(right_pitch) + column
                for j in range(right_loads):
                    right[to_right + int32(j * right_stride * right_pitch)] = numbers[j]
                cuda.syncthreads()
                if thread < int32(DEPTH):
                    find_tap(
                        table, buffer * int32(DEPTH) + thread, tap + int32(2 * DEPTH) + thread,
                        taps, window, window_width, source_channel, source_width, tap_row,
                        tap_column, weight_source, weight_row, weight_column,
                    )
                buffer ^= int32(1)
            tap += int32(DEPTH)

        group_start = out_start + group * out_group
        for quad in range(quads):
            i, j = place(4 * quad)
            m = first_channel + row + i
            p = first_pixel + col + j
            if m < channels:
                add = real(0)
                if biased:
                    add = bias[group * channels + m]
                a = sums[4 * quad] + add
                b = sums[4 * quad + 1] + add
                c = sums[4 * quad + 2] + add
                d = sums[4 * quad + 3] + add
                channel_start = group_start + m * out_channel
                if wide:
                    if p < pixels:
                        n = p // image
                        rest = p - n * image
                        y = rest // width
                        at = channel_start + n * out_image + y * out_row + (rest - y * width)
                        store4(out, at, (a, b, c, d))
                else:
                    for number in (a, b, c, d):
                        if p < pixels:
                            n = p // image
                            rest = p - n * image
                            y = rest // width
                            at = channel_start + n * out_image + y * out_row
                            out[at + (rest - y * width) * out_column] = number
                        p += int32(1)

    numbers = [pointer(real)] * 4 + [int32] * (len(Correlation.__dataclass_fields__) - 1)
    return Kernel(correlation, numbers, threads, 2)
