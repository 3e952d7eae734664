"""Convolution forward and by data, as a product of weights and shifted pixels (implicit GEMM).

One kernel does both. Its sums are those of a channel and a pixel; it adds the products of weights
and numbers of the source over *taps*: a channel of the source and a place in the window. Where a
tap is in the source, and which weight goes with it, is worked out by a few threads of each block,
for the next taps while the others multiply.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from functools import cache, cached_property

from fastopt.device.arrays import DeviceArray, is_aligned
from fastopt.device.kernel import Kernel
from fastopt.device.language import (
    cuda,
    inlined,
    int32,
    load4,
    number_type,
    pointer,
    pointer_to,
    put,
    quotient,
    store4,
    uint32,
)
from fastopt.kernels.cuda.counters import NOWHERE, begin_counter, counted_on, digits_of, set_step
from fastopt.kernels.cuda.product import COLUMNS, Tile, multiplication

__all__ = ["Correlation", "correlate"]


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
    first_row, row_step, first_column, column_step : int
        Where the first pixel of an image looks at the source, and the step to the next.
    source_height, source_width : int
    source_image, source_group, source_channel : int
        Steps in the source.
    window, window_width : int
        Places in the window, and in one of its rows.
    tap_row, tap_column : int
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
    share: int = 0,
) -> None:
    """Fill the pixels of `out` that `sizes` names.

    With a `share`, a multiple of 16, a block takes so many taps, and `out` has the sums of each
    share, one result after the other: the result is their sum. Those of float16 are of float32.
    """
    shares = -(-sizes.taps // share) if share else 1
    size = out.size // shares
    wide = sizes.in_fours and is_aligned(out) and (shares == 1 or size % 4 == 0)
    kernel = _kernel(tile, source.dtype.name, precision, bias is not None, wide, shares > 1)
    grid = -(-sizes.pixels // COLUMNS), -(-sizes.channels // tile.rows), sizes.groups * shares
    kernel.launch(
        grid,
        source.address,
        weight.address,
        0 if bias is None else bias.address,
        out.address,
        *sizes.numbers,
        sizes.groups,
        share,
        size,
    )


@cache
def _kernel(
    tile: Tile, dtype: str, precision: str, biased: bool, wide: bool, shared: bool = False
) -> Kernel:
    real = number_type(dtype)
    product = multiplication(tile, dtype, precision)
    multiply, corner, prepared = product.multiply, product.corner, product.prepared
    rows_of_thread, columns_of_thread = product.rows, product.columns
    depth, threads, sums_of_thread = product.depth, tile.threads, tile.sums
    rows, left_pitch, right_pitch = tile.rows, tile.left_pitch, tile.right_pitch
    left_size, right_size = depth * left_pitch, depth * right_pitch
    left_room, right_room = 2 * left_size, 2 * right_size
    slots = 2 * depth
    tap_room, counter_room = 4 * slots, 4 * (slots + 1)
    # Eight neighbours read a row of weights: more would write to the same banks.
    eights, left_stride = depth // 8, threads // 8
    left_rows = rows // left_stride
    left_loads, right_loads = left_rows * eights, COLUMNS * depth // threads
    right_stride = threads // COLUMNS
    thread_rows = tile.thread_rows

    @inlined
    def enter_tap(
        table, slot, there_is, channel, r, s, source_channel, source_width, tap_row, tap_column,
        weight_source, weight_row, weight_column,
    ):  # fmt: skip
        """Where a tap is in the source, from the place that it is for; and its weights."""
        h, w = int32(r * tap_row), int32(s * tap_column)
        offset = int32(channel * source_channel + h * source_width + w)
        weights = int32(channel * weight_source + r * weight_row + s * weight_column)
        if not there_is:
            h, offset, weights = int32(NOWHERE), int32(0), int32(-1)
        store4(table, int32(4 * slot), (offset, h, w, weights))

    def correlation(
        source, weight, bias, out,
        channels, taps, pixels, image, width,
        first_row, row_step, first_column, column_step,
        source_height, source_width, source_image, source_group, source_channel,
        window, window_width, tap_row, tap_column,
        weight_start, weight_group, weight_channel, weight_source, weight_row, weight_column,
        out_start, out_image, out_group, out_channel, out_row, out_column,
        groups, share, out_share,
    ):  # fmt: skip
        left = cuda.shared.array(left_room, real, 16)
        right = cuda.shared.array(right_room, real, 16)
        table = cuda.shared.array(tap_room, int32, 16)
        counters = cuda.shared.array(counter_room, int32, 16)
        row_table = cuda.shared.array(rows, int32, 16)
        sums = cuda.local.array(sums_of_thread, real)
        weights = cuda.local.array(left_loads, real)
        numbers = cuda.local.array(right_loads, real)
        row_places = cuda.local.array(left_rows, int32)
        places = cuda.local.array(8, int32)

        thread = int32(cuda.threadIdx.x)
        group = int32(cuda.blockIdx.z)
        first_tap = int32(0)
        if shared:
            part = quotient(group, groups)
            group = int32(group - part * groups)
            first_tap = int32(part * share)
            out_start = int32(out_start + part * out_share)
            if taps - first_tap > share:
                taps = int32(first_tap + share)
        first_pixel = int32(cuda.blockIdx.x * COLUMNS)
        first_channel = int32(cuda.blockIdx.y * rows)
        for k in range(sums_of_thread):
            sums[k] = real(0)

        # What this thread brings in: a column of pixels, and a row of weights.
        column = int32(thread & (COLUMNS - 1))
        depth_right = int32(thread >> 7)
        pixel = int32(first_pixel + column)
        n, y, x = digits_of(pixel, image, width)
        top = int32(first_row + y * row_step)
        start = int32(first_column + x * column_step)
        base = int32(n * source_image + group * source_group + top * source_width + start)
        if pixel >= pixels:
            top = int32(NOWHERE)
        # Rows that there are not are those of the last channel, and their sums are not used.
        depth_left = int32(thread & 7)
        row_left = int32(thread >> 3)
        weight_base = int32(weight_start + group * weight_group)
        if thread < rows:
            channel = int32(first_channel + thread)
            if channel >= channels:
                channel = int32(channels - 1)
            row_table[thread] = int32(weight_base + channel * weight_channel)
        to_left = int32(depth_left * left_pitch + row_left)
        to_right = int32(depth_right * right_pitch + column)

        if thread == slots:
            set_step(counters, slots, int32(slots), window, window_width)
        if thread < slots:
            of_source, r, s = begin_counter(
                counters, thread, int32(first_tap + thread), window, window_width
            )
            enter_tap(
                table, thread, int32(first_tap + thread) < taps, of_source, r, s, source_channel,
                source_width, tap_row, tap_column, weight_source, weight_row, weight_column,
            )  # fmt: skip
        cuda.syncthreads()
        # By way of shared memory, or they would be worked out anew for each tile.
        for i in range(left_rows):
            row_places[i] = row_table[row_left + i * left_stride]

        buffer = int32(0)
        tap = first_tap
        # Once more than there are tiles: the first time there is nothing to multiply yet.
        end = int32(taps + depth)
        while tap < end:
            if tap < taps:
                entries = int32(4 * depth * buffer)
                for k in range(eights):
                    _, _, _, of_tap = load4(table, int32(entries + 4 * (depth_left + 8 * k)))
                    for i in range(left_rows):
                        weights[k * left_rows + i] = real(0)
                        if of_tap >= 0:
                            at = int32(row_places[i] + of_tap)
                            weights[k * left_rows + i] = weight[at]
                for j in range(right_loads):
                    numbers[j] = real(0)
                    entry = int32(entries + 4 * (depth_right + j * right_stride))
                    offset, h, w, _ = load4(table, entry)
                    if (uint32(top + h) < uint32(source_height)) & (
                        uint32(start + w) < uint32(source_width)
                    ):
                        numbers[j] = source[int32(base + offset)]
            if tap > first_tap:
                multiply(left, right, int32(buffer ^ 1), thread, sums)
            if tap < taps:
                a = int32(buffer * left_size + to_left)
                for k in range(eights):
                    for i in range(left_rows):
                        beyond = 8 * k * left_pitch + i * left_stride
                        put(left, a, int32(beyond), prepared(weights[k * left_rows + i]))
                b = int32(buffer * right_size + to_right)
                for j in range(right_loads):
                    put(right, b, int32(j * right_stride * right_pitch), prepared(numbers[j]))
                cuda.syncthreads()
                if thread < depth:
                    slot = int32(buffer * depth + thread)
                    there_is = int32(tap + slots + thread) < taps
                    of_source, r, s = counted_on(counters, slot, slots, window_width)
                    enter_tap(
                        table, slot, there_is, of_source, r, s, source_channel, source_width,
                        tap_row, tap_column, weight_source, weight_row, weight_column,
                    )  # fmt: skip
                buffer = int32(buffer ^ 1)
            tap = int32(tap + depth)

        # Where the pixels of this thread go, for all of its channels.
        row, col = corner(thread)
        group_start = int32(out_start + group * out_group)
        for j in range(8):
            p = int32(first_pixel + col + columns_of_thread[j])
            places[j] = int32(-1)
            if p < pixels:
                n, y, x = digits_of(p, image, width)
                places[j] = int32(group_start + n * out_image + y * out_row + x * out_column)
        for i in range(thread_rows):
            m = int32(first_channel + row + rows_of_thread[i])
            if m < channels:
                channel_start = int32(m * out_channel)
                add = real(0)
                if biased:
                    add = bias[int32(group * channels + m)]
                    if shared and first_tap > 0:
                        add = real(0)
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

    sums_of = pointer(real) if shared else pointer_to(dtype)
    numbers = [pointer_to(dtype)] * 3 + [sums_of]
    numbers += [int32] * (len(Correlation.__dataclass_fields__) + 2)
    # What a share adds are a register or two: too many where they are counted to the last.
    blocks = product.blocks - 1 if shared and precision == "3xtf32" else product.blocks
    return Kernel(correlation, numbers, threads, max(1, blocks))
