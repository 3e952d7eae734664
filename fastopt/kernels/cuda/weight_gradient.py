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
    quotient,
    store4,
    uint32,
)
from fastopt.kernels.cuda.product import COLUMNS, DEPTH, Tile, multiplication

__all__ = ["WeightGradient", "weight_gradient"]

_NOWHERE = 1 << 29


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
    if precision != "ieee":
        raise NotImplementedError(precision)
    kernel = _kernel(tile, out.dtype.name)
    shares = -(-sizes.pixels // share)
    grid = -(-sizes.taps // COLUMNS), -(-sizes.channels // tile.rows), sizes.groups * shares
    kernel.launch(grid, source.address, grad.address, out.address, share, *sizes.numbers)


@cache
def _kernel(tile: Tile, dtype: str) -> Kernel:
    real = number_type(dtype)
    multiply, corner, place = multiplication(tile)
    threads, sums_of_thread, thread_rows = tile.threads, tile.sums, tile.thread_rows
    rows, left_pitch, right_pitch = tile.rows, tile.left_pitch, tile.right_pitch
    left_size, right_size = DEPTH * left_pitch, DEPTH * right_pitch
    left_room, right_room = 2 * left_size, 2 * right_size
    pixel_room, tap_room = 2 * 4 * DEPTH, 4 * COLUMNS
    left_loads, right_loads = rows * DEPTH // threads, COLUMNS * DEPTH // threads
    stride = threads // DEPTH

    @inlined
    def find_pixel(
        table, slot, pixel, pixels, image, width, first_row, row_step, first_column, column_step,
        source_width, source_image, grad_image,
    ):  # fmt: skip
        n = quotient(pixel, image)
        rest = int32(pixel - n * image)
        y = quotient(rest, width)
        top = int32(first_row + y * row_step)
        start = int32(first_column + (rest - y * width) * column_step)
        offset = int32(n * source_image + top * source_width + start)
        at = int32(n * grad_image + rest)
        if pixel >= pixels:
            top, offset, at = int32(_NOWHERE), int32(0), int32(-1)
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
        sums = cuda.local.array(sums_of_thread, real)
        grads = cuda.local.array(left_loads, real)
        numbers = cuda.local.array(right_loads, real)

        thread = int32(cuda.threadIdx.x)
        share_index = quotient(int32(cuda.blockIdx.z), groups)
        group = int32(cuda.blockIdx.z - share_index * groups)
        first_tap = int32(cuda.blockIdx.x * COLUMNS)
        first_channel = int32(cuda.blockIdx.y * rows)
        for k in range(sums_of_thread):
            sums[k] = real(0)
        pixel = int32(share_index * share)
        end = pixels if pixels - pixel < share else int32(pixel + share)

        depth = int32(thread % DEPTH)
        column = int32(thread // DEPTH)
        channel = int32(first_channel + column)
        grad_base = int32(group * grad_group + channel * image)
        source_base = int32(group * source_group)
        to_left = int32(depth * left_pitch + column)
        to_right = int32(depth * right_pitch + column)

        slot = thread
        while slot < COLUMNS:
            tap = int32(first_tap + slot)
            of_source = quotient(tap, window)
            inside = int32(tap - of_source * window)
            r = quotient(inside, window_width)
            h, w = int32(r * tap_row), int32((inside - r * window_width) * tap_column)
            offset = int32(of_source * source_channel + h * source_width + w)
            if tap >= taps:
                h, offset = int32(_NOWHERE), int32(0)
            store4(tap_table, int32(4 * slot), (offset, h, w, int32(0)))
            slot = int32(slot + threads)
        if thread < 2 * DEPTH:
            find_pixel(
                pixel_table,
                thread,
                int32(pixel + thread),
                end,
                image,
                width,
                first_row,
                row_step,
                first_column,
                column_step,
                source_width,
                source_image,
                grad_image,
            )
        cuda.syncthreads()

        buffer = int32(0)
        row, col = corner(thread)
        begin = pixel
        while pixel < end + DEPTH:
            if pixel < end:
                entry = int32(4 * (DEPTH * buffer + depth))
                offset, top, start, at = load4(pixel_table, entry)
                for j in range(left_loads):
                    grads[j] = real(0)
                    if at >= 0 and channel + j * stride < channels:
                        grads[j] = grad[int32(grad_base + at + j * stride * image)]
                for j in range(right_loads):
                    numbers[j] = real(0)
                    of_tap, h, w, _ = load4(tap_table, int32(4 * (column + j * stride)))
                    if uint32(top + h) < uint32(source_height):  # noqa: SIM102
                        if uint32(start + w) < uint32(source_width):
                            numbers[j] = source[int32(source_base + offset + of_tap)]
            if pixel > begin:
                multiply(left, right, int32(buffer ^ 1), row, col, sums)
            if pixel < end:
                for j in range(left_loads):
                    left[int32(buffer * left_size + to_left + j * stride)] = grads[j]
                for j in range(right_loads):
                    right[int32(buffer * right_size + to_right + j * stride)] = numbers[j]
                cuda.syncthreads()
                if thread < DEPTH:
                    find_pixel(
                        pixel_table,
                        int32(buffer * DEPTH + thread),
                        int32(pixel + 2 * DEPTH + thread),
                        end,
                        image,
                        width,
                        first_row,
                        row_step,
                        first_column,
                        column_step,
                        source_width,
                        source_image,
                        grad_image,
                    )
                buffer = int32(buffer ^ 1)
            pixel = int32(pixel + DEPTH)

        block_start = int32((share_index * groups + group) * channels * taps)
        for i in range(thread_rows):
            m = int32(first_channel + row + place(8 * i)[0])
            if m < channels:
                for j in range(8):
                    t = int32(first_tap + col + place(j)[1])
                    if t < taps:
                        out[int32(block_start + m * taps + t)] = sums[8 * i + j]

    numbers = [pointer(real)] * 3 + [int32] * (len(WeightGradient.__dataclass_fields__) + 1)
    return Kernel(weight_gradient, numbers, threads, 2 if dtype == "float32" else 1)
