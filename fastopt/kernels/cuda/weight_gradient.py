"""The gradient of a convolution by its weights, as a product of gradients and shifted pixels.

The sums are those of a weight: a channel of the gradient, and a *tap*, which is a channel of the
source and a place in the window. Each adds products over all pixels of all images. As there are
few weights and many pixels, the pixels are split among blocks, whose partial sums are added by a
second kernel, in a fixed order.
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
    put,
    quotient,
    store4,
    uint32,
)
from fastopt.kernels.cuda.counters import NOWHERE, begin_counter, counted_on, digits_of, set_step
from fastopt.kernels.cuda.product import COLUMNS, Tile, multiplication

__all__ = ["WeightGradient", "weight_gradient"]


@dataclass(frozen=True)
class WeightGradient:
    """Sizes and steps of one gradient by weights; steps are in elements.

    Attributes
    ----------
    groups : int
    channels : int
        Of the gradient, in a group.
    taps : int
        In a group: channels of the source times places of the window.
    pixels : int
        Of the gradient: images, rows and columns together.
    image, width : int
        Pixels of an image of the gradient, and of one of its rows.
    first_row, row_step, first_column, column_step : int
        Where the first pixel of an image looks at the source, and the step to the next.
    source_height, source_width : int
    source_image, source_group, source_channel : int
        Steps in the source.
    window, window_width : int
        Places in the window, and in one of its rows.
    tap_row, tap_column : int
        The step in the source from one place in the window to the next.
    grad_image, grad_group : int
        Steps in the gradient.
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
    grad_image: int
    grad_group: int

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """What the kernel takes."""
        return astuple(self)


def weight_gradient(
    sizes: WeightGradient,
    tile: Tile,
    share: int,
    source: DeviceArray,
    grad: DeviceArray,
    out: DeviceArray,
    precision: str = "ieee",
) -> None:
    """Fill the partial sums of each share of the pixels, one array of weights after the other."""
    kernel = _kernel(tile, out.dtype.name, precision)
    shares = -(-sizes.pixels // share)
    grid = -(-sizes.taps // COLUMNS), -(-sizes.channels // tile.rows), sizes.groups * shares
    kernel.launch(grid, source.address, grad.address, out.address, share, *sizes.numbers)


@cache
def _kernel(tile: Tile, dtype: str, precision: str) -> Kernel:
    real = number_type(dtype)
    product = multiplication(tile, dtype, precision)
    multiply, corner, prepared = product.multiply, product.corner, product.prepared
    rows_of_thread, columns_of_thread = product.rows, product.columns
    depth, threads, sums_of_thread = product.depth, tile.threads, tile.sums
    thread_rows = tile.thread_rows
    rows, left_pitch, right_pitch = tile.rows, tile.left_pitch, tile.right_pitch
    left_size, right_size = depth * left_pitch, depth * right_pitch
    left_room, right_room = 2 * left_size, 2 * right_size
    slots = 2 * depth
    pixel_room, counter_room, tap_room = 4 * slots, 4 * (slots + 1), 4 * COLUMNS
    # Eight neighbours read pixels side by side: more would write to the same banks.
    eights, stride = depth // 8, threads // 8
    left_rows, right_rows = rows // stride, COLUMNS // stride
    left_loads, right_loads = left_rows * eights, right_rows * eights

    @inlined
    def enter_pixel(
        table, slot, there_is, n, y, x, first_row, row_step, first_column, column_step,
        source_width, source_image, grad_image, width,
    ):  # fmt: skip
        """Where a pixel looks at the source, from the first tap; and where its gradients are."""
        top = int32(first_row + y * row_step)
        start = int32(first_column + x * column_step)
        offset = int32(n * source_image + top * source_width + start)
        at = int32(n * grad_image + y * width + x)
        if not there_is:
            top, offset, at = int32(NOWHERE), int32(0), int32(-1)
        store4(table, int32(4 * slot), (offset, top, start, at))

    def weight_gradient(
        source, grad, out, share,
        groups, channels, taps, pixels, image, width,
        first_row, row_step, first_column, column_step,
        source_height, source_width, source_image, source_group, source_channel,
        window, window_width, tap_row, tap_column, grad_image, grad_group,
    ):  # fmt: skip
        left = cuda.shared.array(left_room, real, 16)
        right = cuda.shared.array(right_room, real, 16)
        pixel_table = cuda.shared.array(pixel_room, int32, 16)
        tap_table = cuda.shared.array(tap_room, int32, 16)
        counters = cuda.shared.array(counter_room, int32, 16)
        row_table = cuda.shared.array(rows, int32, 16)
        sums = cuda.local.array(sums_of_thread, real)
        grads = cuda.local.array(left_loads, real)
        numbers = cuda.local.array(right_loads, real)
        row_places = cuda.local.array(left_rows, int32)

        thread = int32(cuda.threadIdx.x)
        share_index = quotient(int32(cuda.blockIdx.z), groups)
        group = int32(cuda.blockIdx.z - share_index * groups)
        first_tap = int32(cuda.blockIdx.x * COLUMNS)
        first_channel = int32(cuda.blockIdx.y * rows)
        for k in range(sums_of_thread):
            sums[k] = real(0)
        pixel = int32(share_index * share)
        end = pixels if pixels - pixel < share else int32(pixel + share)

        # Rows that there are not are those of the last channel, and their sums are not used.
        across = int32(thread & 7)
        column = int32(thread >> 3)
        if thread < rows:
            channel = int32(first_channel + thread)
            if channel >= channels:
                channel = int32(channels - 1)
            row_table[thread] = int32(group * grad_group + channel * image)
        source_base = int32(group * source_group)
        to_left = int32(across * left_pitch + column)
        to_right = int32(across * right_pitch + column)

        slot = thread
        while slot < COLUMNS:
            tap = int32(first_tap + slot)
            of_source, r, s = digits_of(tap, window, window_width)
            h, w = int32(r * tap_row), int32(s * tap_column)
            offset = int32(of_source * source_channel + h * source_width + w)
            if tap >= taps:
                h, offset = int32(NOWHERE), int32(0)
            store4(tap_table, int32(4 * slot), (offset, h, w, int32(0)))
            slot = int32(slot + threads)
        if thread == slots:
            set_step(counters, slots, int32(slots), image, width)
        if thread < slots:
            first = int32(pixel + thread)
            n, y, x = begin_counter(counters, thread, first, image, width)
            enter_pixel(
                pixel_table, thread, first < end, n, y, x, first_row, row_step, first_column,
                column_step, source_width, source_image, grad_image, width,
            )  # fmt: skip
        cuda.syncthreads()
        # By way of shared memory, or they would be worked out anew for each tile.
        for i in range(left_rows):
            row_places[i] = row_table[column + i * stride]

        buffer = int32(0)
        begin, last = pixel, int32(end + depth)
        while pixel < last:
            if pixel < end:
                for k in range(eights):
                    entry = int32(4 * (depth * buffer + across + 8 * k))
                    offset, top, start, of_pixel = load4(pixel_table, entry)
                    for i in range(left_rows):
                        grads[k * left_rows + i] = real(0)
                        if of_pixel >= 0:
                            at = int32(row_places[i] + of_pixel)
                            grads[k * left_rows + i] = grad[at]
                    offset = int32(source_base + offset)
                    for i in range(right_rows):
                        numbers[k * right_rows + i] = real(0)
                        of_tap, h, w, _ = load4(tap_table, int32(4 * (column + i * stride)))
                        if (uint32(top + h) < uint32(source_height)) & (
                            uint32(start + w) < uint32(source_width)
                        ):
                            numbers[k * right_rows + i] = source[int32(offset + of_tap)]
            if pixel > begin:
                multiply(left, right, int32(buffer ^ 1), thread, sums)
            if pixel < end:
                a = int32(buffer * left_size + to_left)
                b = int32(buffer * right_size + to_right)
                for k in range(eights):
                    for i in range(left_rows):
                        beyond = 8 * k * left_pitch + i * stride
                        put(left, a, int32(beyond), prepared(grads[k * left_rows + i]))
                    for i in range(right_rows):
                        beyond = 8 * k * right_pitch + i * stride
                        put(right, b, int32(beyond), prepared(numbers[k * right_rows + i]))
                cuda.syncthreads()
                if thread < depth:
                    slot = int32(buffer * depth + thread)
                    there_is = int32(pixel + slots + thread) < end
                    n, y, x = counted_on(counters, slot, slots, width)
                    enter_pixel(
                        pixel_table, slot, there_is, n, y, x, first_row, row_step, first_column,
                        column_step, source_width, source_image, grad_image, width,
                    )  # fmt: skip
                buffer = int32(buffer ^ 1)
            pixel = int32(pixel + depth)

        row, col = corner(thread)
        block_start = int32((share_index * groups + group) * channels * taps)
        for i in range(thread_rows):
            m = int32(first_channel + row + rows_of_thread[i])
            if m < channels:
                for j in range(8):
                    t = int32(first_tap + col + columns_of_thread[j])
                    if t < taps:
                        out[int32(block_start + m * taps + t)] = sums[8 * i + j]

    numbers = [pointer(real)] * 3 + [int32] * (len(WeightGradient.__dataclass_fields__) + 1)
    return Kernel(weight_gradient, numbers, threads, product.blocks)
