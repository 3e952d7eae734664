"""Sums over blocks, over the channels of images and the columns of matrices, always in the same
order.

Owns how partial results of a kernel's blocks are added up, and the gradients by a bias.
"""

from __future__ import annotations

from functools import cache

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
    quotient,
    uint32,
)
from fastopt.device.reductions import WARP, block_total
from fastopt.kernels.cuda.division import divided, reciprocal

__all__ = ["add_channels", "add_rows", "add_up"]

_THREADS = 256
# With more partial results than this, the threads of a block share those of an element.
_FEW = 8
_SLICES = 8
# How many blocks keep a GPU busy, and how many numbers make a thread worth its while.
_BLOCKS = 528
_LEAST_NUMBERS = 16
# Columns of a matrix that a block sums, and rows that are worth a block.
_COLUMNS = 32
_LEAST_ROWS = 64


def add_up(partial: DeviceArray, count: int, out: DeviceArray) -> None:
    """Put the sum of `count` arrays, which lie one after the other in `partial`, into `out`.

    The sums of float16 are of float32.
    """
    slices = 1 if count <= _FEW else _SLICES
    blocks = -(-out.size // (_THREADS // slices))
    kernel = _adding_kernel(out.dtype.name, slices)
    kernel.launch((blocks,), partial.address, out.address, count, out.size)


def add_channels(images: DeviceArray, out: DeviceArray) -> None:
    """Put into ``out[k]`` the sum of channel k of images (N, K, H, W)."""
    N, K, H, W = images.shape
    width = 4 if H * W % 4 == 0 and is_aligned(images) else 1
    area = H * W // width
    items = N * area
    shares = max(1, min(-(-_BLOCKS // K), items * width // (_THREADS * _LEAST_NUMBERS)))
    share = -(-items // shares)
    shares = -(-items // share)
    sums = out if shares == 1 else images.empty((shares * K,))
    kernel = _channel_kernel(out.dtype.name, width)
    kernel.launch(
        (shares * K,), images.address, sums.address, share, items, *reciprocal(area), area, K
    )
    if shares > 1:
        add_up(sums, shares, out)


def add_rows(matrix: DeviceArray, out: DeviceArray) -> None:
    """Put into `out` the sum of the rows of a matrix."""
    rows, columns = matrix.shape
    blocks = -(-columns // _COLUMNS)
    shares = max(1, min(_BLOCKS // 2 // blocks, rows // _LEAST_ROWS))
    share = -(-rows // shares)
    shares = -(-rows // share)
    sums = out if shares == 1 else matrix.empty((shares * columns,))
    kernel = _row_kernel(out.dtype.name)
    kernel.launch((blocks, shares), matrix.address, sums.address, rows, columns, share)
    if shares > 1:
        add_up(sums, shares, out)


@cache
def _adding_kernel(dtype: str, slices: int) -> Kernel:
    real = number_type(dtype)
    columns = _THREADS // slices

    def add_up(partial, out, count, size):
        room = cuda.shared.array(_THREADS, real, 16)
        thread = int32(cuda.threadIdx.x)
        part = int32(thread // columns)
        column = int32(thread - part * columns)
        element = int32(cuda.blockIdx.x * columns + column)
        a = b = c = d = real(0)
        if element < size:
            # Four loads at a time, none of which waits for another.
            while part + 3 * slices < count:
                at = int32(part * size + element)
                a += partial[at]
                b += partial[int32(at + slices * size)]
                c += partial[int32(at + 2 * slices * size)]
                d += partial[int32(at + 3 * slices * size)]
                part = int32(part + 4 * slices)
            while part < count:
                a += partial[int32(part * size + element)]
                part = int32(part + slices)
        total = (a + b) + (c + d)
        if slices > 1:
            room[thread] = total
            cuda.syncthreads()
            if thread < columns:
                for k in range(1, slices):
                    total += room[int32(thread + k * columns)]
        if thread < columns and element < size:
            out[element] = total

    return Kernel(add_up, [pointer(real), pointer_to(dtype)] + [int32] * 2, _THREADS)


@cache
def _channel_kernel(dtype: str, width: int) -> Kernel:
    real = number_type(dtype)
    total = block_total(_THREADS)
    warps = _THREADS // WARP
    read = _four if width == 4 else _one

    def add_channel(images, out, share, items, factor, shift, area, channels):
        room = cuda.shared.array(warps, real, 16)
        sums = cuda.local.array(4, real)
        for k in range(4):
            sums[k] = real(0)
        thread = int32(cuda.threadIdx.x)
        block = int32(cuda.blockIdx.x)
        share_index = quotient(block, channels)
        channel = int32(block - share_index * channels)
        start = int32(share_index * share)
        end = items if items - start < share else int32(start + share)
        item = int32(start + thread)
        # Four loads at a time, none of which waits for another.
        while item < int32(end - 3 * _THREADS):
            for k in range(4):
                each = int32(item + k * _THREADS)
                at = _place(each, factor, shift, area, channels, channel)
                sums[k] += read(images, at)
            item = int32(item + 4 * _THREADS)
        while item < end:
            sums[0] += read(images, _place(item, factor, shift, area, channels, channel))
            item = int32(item + _THREADS)
        number = total((sums[0] + sums[1]) + (sums[2] + sums[3]), room, thread)
        if thread == 0:
            out[block] = number

    numbers = [int32, int32, uint32, int32, int32, int32]
    return Kernel(add_channel, [pointer(real)] * 2 + numbers, _THREADS)


@inlined
def _place(item, factor, shift, area, channels, channel):
    """Where an item of a channel is in the images."""
    n = divided(item, factor, shift)
    return int32((n * (channels - 1) + channel) * area + item)


@inlined
def _one(images, at):
    return images[at]


@inlined
def _four(images, at):
    a, b, c, d = load4(images, int32(4 * at))
    return (a + b) + (c + d)


@cache
def _row_kernel(dtype: str) -> Kernel:
    real = number_type(dtype)
    groups = _THREADS // _COLUMNS

    def add_row(matrix, out, rows, columns, share):
        room = cuda.shared.array(_THREADS, real)
        thread = int32(cuda.threadIdx.x)
        column = int32(cuda.blockIdx.x * _COLUMNS + (thread & (_COLUMNS - 1)))
        row = int32(cuda.blockIdx.y * share)
        end = rows if rows - row < share else int32(row + share)
        total = real(0)
        if column < columns:
            for k in range(int32(row + thread // _COLUMNS), end, groups):
                total += matrix[int32(k * columns + column)]
        room[thread] = total
        cuda.syncthreads()
        if thread < _COLUMNS and column < columns:
            for group in range(1, groups):
                total += room[thread + group * _COLUMNS]
            out[int32(cuda.blockIdx.y * columns + column)] = total

    return Kernel(add_row, [pointer(real)] * 2 + [int32] * 3, _THREADS)
