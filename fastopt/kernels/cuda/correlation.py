"""Convolution forward and by data, as a product of weights and shifted pixels (implicit GEMM).

One kernel does both. Its sums are those of a channel and a pixel; it adds the products of weights
and numbers of the source over *taps*: a channel of the source and a place in the window. Where a
tap is in the source, and which weight goes with it, is worked out by a few threads of each block,
for the next taps while the others multiply.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from functools import cache, cached_property

from fastopt.device.arrays import DeviceArray
from fastopt.device.kernel import Kernel
from fastopt.device.language import (
    cuda,
    inlined,
    int32,
    load4,
    number_type,
    pointer,
    quotient,
    store4,
    uint32,
)
from fastopt.kernels.cuda.product import COLUMNS, DEPTH, Tile, multiplication

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

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """What the kernel takes."""
        return astuple(self)[1:]

    @cached_property
    def in_fours(self) -> bool:
        """Whether pixels can be stored by fours, if the result begins where that is allowed."""
        if self.out_column != 1:
            return False
        steps = (self.out_start, self.out_image, self.out_group, self.out_channel)
        # Rows that follow one another are as one.
        if self.out_row == self.width:
            return all(step % 4 == 0 for step in (self.image, *steps))
        return all(step % 4 == 0 for step in (self.width, self.out_row, *steps))


def correlate(
    sizes: Correlation,
    source: DeviceArray,
    weight: DeviceArray,
    bias: DeviceArray | None,
    out: DeviceArray,
    tile: Tile,
    precision: str = "ieee",
) -> None:
    """Fill the pixels of `out` that `sizes` names."""
    if precision != "ieee":
        raise NotImplementedError(precision)
    wide = sizes.in_fours and out.address % (4 * out.dtype.itemsize) == 0
    kernel = _kernel(tile, out.dtype.name, bias is not None, wide)
    grid = -(-sizes.pixels // COLUMNS), -(-sizes.channels // tile.rows), sizes.groups
    kernel.launch(
        grid,
        source.address,
        weight.address,
        0 if bias is None else bias.address,
        out.address,
        *sizes.numbers,
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
    thread_rows = tile.thread_rows

    @inlined
    def find_tap(
        table, slot, tap, taps, window, window_width, source_channel, source_width, tap_row,
        tap_column, weight_source, weight_row, weight_column,
    ):  # fmt: skip
        channel = quotient(tap, window)
        inside = int32(tap - channel * window)
        r = quotient(inside, window_width)
        s = int32(inside - r * window_width)
        h, w = int32(r * tap_row), int32(s * tap_column)
        offset = int32(channel * source_channel + h * source_width + w)
        weights = int32(channel * weight_source + r * weight_row + s * weight_column)
        if tap >= taps:
            h, offset, weights = int32(_NOWHERE), int32(0), int32(-1)
        store4(table, int32(4 * slot), (offset, h, w, weights))

    @inlined
    def find_pixel(pixel, image, width):
        n = quotient(pixel, image)
        rest = int32(pixel - n * image)
        y = quotient(rest, width)
        return n, y, int32(rest - y * width)

    def correlation(
        source, weight, bias, out,
        channels, taps, pixels, image, width,
        first_row, row_step, first_column, column_step,
        source_height, source_width, source_image, source_group, source_channel,
        window, window_width, tap_row, tap_column,
        weight_start, weight_group, weight_channel, weight_source, weight_row, weight_column,
        out_start, out_image, out_group, out_channel, out_row, out_column,
    ):  # fmt: skip
        left = cuda.shared.array(left_room, real, 16)
        right = cuda.shared.array(right_room, real, 16)
        table = cuda.shared.array(tap_room, int32, 16)
        sums = cuda.local.array(sums_of_thread, real)
        weights = cuda.local.array(left_loads, real)
        numbers = cuda.local.array(right_loads, real)
        places = cuda.local.array(8, int32)

        thread = int32(cuda.threadIdx.x)
        group = int32(cuda.blockIdx.z)
        first_pixel = int32(cuda.blockIdx.x * COLUMNS)
        first_channel = int32(cuda.blockIdx.y * rows)
        for k in range(sums_of_thread):
            sums[k] = real(0)

        # What this thread brings in: a column of pixels, and a row of weights.
        column = int32(thread % COLUMNS)
        depth_right = int32(thread // COLUMNS)
        pixel = int32(first_pixel + column)
        n, y, x = find_pixel(pixel, image, width)
        top = int32(first_row + y * row_step)
        start = int32(first_column + x * column_step)
        base = int32(n * source_image + group * source_group + top * source_width + start)
        if pixel >= pixels:
            top = int32(_NOWHERE)
        depth_left = int32(thread % DEPTH)
        row_left = int32(thread // DEPTH)
        channel = int32(first_channel + row_left)
        weight_base = int32(weight_start + group * weight_group + channel * weight_channel)
        to_left = int32(depth_left * left_pitch + row_left)
        to_right = int32(depth_right * right_pitch + column)

        if thread < 2 * DEPTH:
            find_tap(
                table,
                thread,
                thread,
                taps,
                window,
                window_width,
                source_channel,
                source_width,
                tap_row,
                tap_column,
                weight_source,
                weight_row,
                weight_column,
            )
        cuda.syncthreads()

        buffer = int32(0)
        tap = int32(0)
        row, col = corner(thread)
        # Once more than there are tiles: the first time there is nothing to multiply yet.
        while tap < taps + DEPTH:
            if tap < taps:
                entries = int32(4 * DEPTH * buffer)
                _, _, _, place_of_weight = load4(table, int32(entries + 4 * depth_left))
                for j in range(left_loads):
                    weights[j] = real(0)
                    step = int32(j * left_stride)
                    if place_of_weight >= 0 and channel + step < channels:
                        at = int32(weight_base + place_of_weight + step * weight_channel)
                        weights[j] = weight[at]
                for j in range(right_loads):
                    numbers[j] = real(0)
                    entry = int32(entries + 4 * (depth_right + j * right_stride))
                    offset, h, w, _ = load4(table, entry)
                    if uint32(top + h) < uint32(source_height):  # noqa: SIM102
                        if uint32(start + w) < uint32(source_width):
                            numbers[j] = source[int32(base + offset)]
            if tap > 0:
                multiply(left, right, int32(buffer ^ 1), row, col, sums)
            if tap < taps:
                for j in range(left_loads):
                    at = int32(buffer * left_size + to_left + j * left_stride)
                    left[at] = weights[j]
                for j in range(right_loads):
                    at = int32(buffer * right_size + to_right + j * right_stride * right_pitch)
                    right[at] = numbers[j]
                cuda.syncthreads()
                if thread < DEPTH:
                    find_tap(
                        table,
                        int32(buffer * DEPTH + thread),
                        int32(tap + 2 * DEPTH + thread),
                        taps,
                        window,
                        window_width,
                        source_channel,
                        source_width,
                        tap_row,
                        tap_column,
                        weight_source,
                        weight_row,
                        weight_column,
                    )
                buffer = int32(buffer ^ 1)
            tap = int32(tap + DEPTH)

        # Where the pixels of this thread go, for all of its channels.
        group_start = int32(out_start + group * out_group)
        for j in range(8):
            p = int32(first_pixel + col + place(j)[1])
            places[j] = int32(-1)
            if p < pixels:
                n, y, x = find_pixel(p, image, width)
                places[j] = int32(group_start + n * out_image + y * out_row + x * out_column)
        for i in range(thread_rows):
            m = int32(first_channel + row + place(8 * i)[0])
            if m < channels:
                channel_start = int32(m * out_channel)
                add = real(0)
                if biased:
                    add = bias[int32(group * channels + m)]
                if wide:
                    for j in range(0, 8, 4):
                        k = 8 * i + j
                        four = (
                            sums[k] + add,
                            sums[k + 1] + add,
                            sums[k + 2] + add,
                            sums[k + 3] + add,
                        )
                        if places[j] >= 0:
                            store4(out, int32(places[j] + channel_start), four)
                else:
                    for j in range(8):
                        if places[j] >= 0:
                            out[int32(places[j] + channel_start)] = sums[8 * i + j] + add

    numbers = [pointer(real)] * 4 + [int32] * (len(Correlation.__dataclass_fields__) - 1)
    return Kernel(correlation, numbers, threads, 2)
