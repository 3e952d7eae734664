"""The linear layer: products of matrices, whose tiles :mod:`product` multiplies.

Owns how two matrices are brought in, each with its numbers side by side along what is summed over
or along the other index; and how a product of few tiles is split into shares of its sums, so that
there is work for all of a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from fastopt.device.arrays import DeviceArray, is_aligned
from fastopt.device.kernel import Kernel
from fastopt.device.language import (
    cuda,
    inlined,
    int32,
    load2,
    load4,
    number_type,
    pointer,
    pointer_to,
    put,
    store2,
    store4,
)
from fastopt.kernels.cuda.product import COLUMNS, DEPTH, TILES, Multiplication, Tile, multiplication
from fastopt.kernels.cuda.sums import add_rows, add_up

__all__ = ["Linear", "backward_bias"]

# Blocks that keep the largest GPU busy, two for each of its multiprocessors; and products of a sum
# that are worth a block.
_BLOCKS = 264
_SHARE = 128


class Linear:
    """The plan of a linear layer of C numbers to K, for N examples.

    Parameters
    ----------
    N, C, K : int
    dtype : dtype
    precision : {"ieee", "3xtf32", "tf32"}, default "ieee"
        Of products; see :func:`fastopt.kernels.linear`.

    Attributes
    ----------
    workspace : int
        How many elements any of the passes needs.
    forward_workspace, data_workspace, weight_workspace : int
        How many each of them does.
    """

    def __init__(self, N: int, C: int, K: int, dtype: Any, precision: str = "ieee") -> None:
        self.shape = N, C, K
        self.dtype = np.dtype(dtype)
        self.precision = precision
        self._forward = _Product.of(N, K, C)
        self._backward_data = _Product.of(N, C, K)
        self._backward_weight = _Product.of(K, C, N)
        self.forward_workspace = self._forward.workspace
        self.data_workspace = self._backward_data.workspace
        self.weight_workspace = self._backward_weight.workspace
        self.workspace = max(self.forward_workspace, self.data_workspace, self.weight_workspace)

    def forward(self, x: Any, weight: Any, bias: Any, out: Any, workspace: Any) -> None:
        """x (N, C), weight (K, C), bias (K,) or None -> out (N, K)."""
        self._run(self._forward, x, True, weight, True, bias, out, workspace)

    def backward_data(self, grad: Any, weight: Any, out: Any, workspace: Any) -> None:
        """grad (N, K), weight (K, C) -> out (N, C)."""
        self._run(self._backward_data, grad, True, weight, False, None, out, workspace)

    def backward_weight(self, x: Any, grad: Any, out: Any, workspace: Any) -> None:
        """x (N, C), grad (N, K) -> out (K, C)."""
        self._run(self._backward_weight, grad, False, x, False, None, out, workspace)

    def _run(
        self,
        product: _Product,
        left: DeviceArray,
        left_by_depth: bool,
        right: DeviceArray,
        right_by_depth: bool,
        bias: DeviceArray | None,
        out: DeviceArray,
        workspace: DeviceArray,
    ) -> None:
        """``out = left right' + bias``, of matrices that lie by rows of the product or by depth."""
        sums = workspace if product.shares > 1 else out
        if product.turned:
            left, left_by_depth, right, right_by_depth = right, right_by_depth, left, left_by_depth
        rows, columns, depth = product.rows, product.columns, product.depth
        kernel = _product_kernel(
            product.tile,
            self.dtype.name,
            self.precision,
            _Side(left_by_depth, _is_wide(left, depth if left_by_depth else rows)),
            _Side(right_by_depth, _is_wide(right, depth if right_by_depth else columns)),
            bias is not None,
            product.turned,
            not product.turned and _is_wide(sums, columns),
            product.shares > 1,
        )
        kernel.launch(
            product.grid,
            left.address,
            right.address,
            0 if bias is None else bias.address,
            sums.address,
            rows,
            columns,
            depth,
            product.share,
        )
        if product.shares > 1:
            add_up(sums, product.shares, out)


def backward_bias(grad: DeviceArray, out: DeviceArray) -> None:
    """grad (N, K) -> out (K,)."""
    add_rows(grad, out)


def _is_wide(matrix: DeviceArray, width: int) -> bool:
    """Whether four neighbours in a row, the first a multiple of four, can be accessed at once."""
    return width % 4 == 0 and is_aligned(matrix)


@dataclass(frozen=True)
class _Product:
    """How a product is shared out.

    Attributes
    ----------
    rows, columns, depth : int
    turned : bool
        Whether rows are the columns of the result, because there are few.
    tile : Tile
    share : int
        Products of each sum that a block adds.
    """

    rows: int
    columns: int
    depth: int
    turned: bool
    tile: Tile
    share: int

    @classmethod
    def of(cls, rows: int, columns: int, depth: int) -> _Product:
        """For a result of so many rows and columns."""
        turned = columns < min(rows, COLUMNS // 2)
        if turned:
            rows, columns = columns, rows
        tile = next((each for each in reversed(TILES) if rows <= each.rows), TILES[0])
        tiles = -(-rows // tile.rows) * -(-columns // COLUMNS)
        shares = max(1, min(_BLOCKS // tiles, depth // _SHARE))
        share = -(-depth // (DEPTH * shares)) * DEPTH
        return cls(rows, columns, depth, turned, tile, share)

    @cached_property
    def shares(self) -> int:
        """How many parts sums are split into."""
        return -(-self.depth // self.share)

    @cached_property
    def workspace(self) -> int:
        """Elements of the partial sums."""
        return self.shares * self.rows * self.columns if self.shares > 1 else 0

    @cached_property
    def grid(self) -> tuple[int, int, int]:
        """Of blocks."""
        return -(-self.columns // COLUMNS), -(-self.rows // self.tile.rows), self.shares


# --- the product ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Side:
    """How one of two matrices lies: along the depth or the other index, read by fours or singly."""

    by_depth: bool
    wide: bool


@cache
def _product_kernel(
    tile: Tile,
    dtype: str,
    precision: str,
    left_side: _Side,
    right_side: _Side,
    biased: bool,
    turned: bool,
    wide: bool,
    shared: bool = False,
) -> Kernel:
    real = number_type(dtype)
    product = multiplication(tile, dtype, precision)
    multiply, corner = product.multiply, product.corner
    rows_of_thread, columns_of_thread = product.rows, product.columns
    depth, threads, sums_of_thread = product.depth, tile.threads, tile.sums
    rows, thread_rows = tile.rows, tile.thread_rows
    left_size, right_size = depth * tile.left_pitch, depth * tile.right_pitch
    left_room, right_room = 2 * left_size, 2 * right_size
    left_loads, right_loads = rows * depth // threads, COLUMNS * depth // threads
    begin_left, fetch_left, put_left = _loader(
        left_side, rows, tile.left_pitch, product, threads, real
    )
    begin_right, fetch_right, put_right = _loader(
        right_side, COLUMNS, tile.right_pitch, product, threads, real
    )

    def matrix_product(left, right, bias, out, row_count, column_count, total, share):
        left_tile = cuda.shared.array(left_room, real, 16)
        right_tile = cuda.shared.array(right_room, real, 16)
        sums = cuda.local.array(sums_of_thread, real)
        lefts = cuda.local.array(left_loads, real)
        rights = cuda.local.array(right_loads, real)
        left_places = cuda.local.array(left_loads, int32)
        right_places = cuda.local.array(right_loads, int32)
        biases = cuda.local.array(8, real)

        thread = int32(cuda.threadIdx.x)
        first_row = int32(cuda.blockIdx.y * rows)
        first_column = int32(cuda.blockIdx.x * COLUMNS)
        k = int32(cuda.blockIdx.z * share)
        end = total if total - k < share else int32(k + share)
        last = int32(end + depth)
        begin = k
        for i in range(sums_of_thread):
            sums[i] = real(0)
        begin_left(left_places, thread, first_row, row_count, total, k)
        begin_right(right_places, thread, first_column, column_count, total, k)

        buffer = int32(0)
        # Once more than there are tiles: the first time there is nothing to multiply yet.
        while k < last:
            if k < end:
                fetch_left(left, left_places, lefts, thread, k, end, row_count)
                fetch_right(right, right_places, rights, thread, k, end, column_count)
            if k > begin:
                multiply(left_tile, right_tile, int32(buffer ^ 1), thread, sums)
            if k < end:
                put_left(left_tile, int32(buffer * left_size), lefts, thread)
                put_right(right_tile, int32(buffer * right_size), rights, thread)
                cuda.syncthreads()
                buffer = int32(buffer ^ 1)
            k = int32(k + depth)

        row, column = corner(thread)
        row = int32(first_row + row)
        column = int32(first_column + column)
        start = int32(cuda.blockIdx.z * row_count * column_count)
        # Of the shares of a sum, the first has the bias.
        first = not shared or cuda.blockIdx.z == 0
        for j in range(8):
            biases[j] = real(0)
            if biased and not turned and first:
                at = int32(column + columns_of_thread[j])
                if at < column_count:
                    biases[j] = bias[at]
        for i in range(thread_rows):
            m = int32(row + rows_of_thread[i])
            if m < row_count:
                add = real(0)
                if biased and turned and first:
                    add = bias[m]
                for j in range(0, 8, 4):
                    n = int32(column + columns_of_thread[j])
                    s = 8 * i + j
                    four = (
                        sums[s] + add + biases[j],
                        sums[s + 1] + add + biases[j + 1],
                        sums[s + 2] + add + biases[j + 2],
                        sums[s + 3] + add + biases[j + 3],
                    )
                    if wide:
                        if n < column_count:
                            store4(out, int32(start + m * column_count + n), four)
                    else:
                        for e in range(4):
                            if n + e < column_count:
                                if turned:
                                    out[int32(start + (n + e) * row_count + m)] = four[e]
                                else:
                                    out[int32(start + m * column_count + n + e)] = four[e]

    # Others need a few registers more than three blocks of the largest leave.
    spare = left_side.wide and right_side.wide and right_side.by_depth
    blocks = product.blocks if spare else min(product.blocks, 2)
    arrays = [pointer_to(dtype)] * 3 + [pointer(real) if shared else pointer_to(dtype)]
    return Kernel(matrix_product, arrays + [int32] * 4, threads, blocks)


# --- matrices brought in --------------------------------------------------------------------------

# Of a tile: where a thread begins, what it reads into registers, and what it puts into shared
# memory.
_Loader = tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]
_LOADS = {1: None, 2: load2, 4: load4}
_STORES = {1: None, 2: store2, 4: store4}


def _loader(
    side: _Side, size: int, pitch: int, product: Multiplication, threads: int, real: Any
) -> _Loader:
    """What brings in tiles of so many lines of a matrix.

    Lines that there are not are the last one again, as their sums are not used. Past the end of
    the depth there are zeros.
    """
    # Fewer at a time where there are fewer for a thread to read.
    width = (4 if size * 8 >= threads * 4 else 2) if side.wide else 1
    make = _loader_by_depth if side.by_depth else _loader_by_lines
    return make(width, size, pitch, product, threads, real)


def _loader_by_depth(
    width: int, size: int, pitch: int, product: Multiplication, threads: int, real: Any
) -> _Loader:
    """Of a matrix whose numbers lie side by side along the depth.

    Neighbouring threads read eight numbers of a line: more would be written to the same banks.
    """
    depth, prepared, load = product.depth, product.prepared, _LOADS[width]
    units = 8 // width
    bits, mask = units.bit_length() - 1, units - 1
    lines = threads // units
    passes, eights = size // lines, depth // 8

    @inlined
    def begin(places, thread, first, count, total, k):
        for i in range(passes):
            line = int32(first + (thread >> bits) + i * lines)
            if line >= count:
                line = int32(count - 1)
            places[i] = int32(line * total + k + (thread & mask) * width)

    @inlined
    def fetch(matrix, places, numbers, thread, k, end, count):
        for e in range(eights):
            there_is = int32(k + 8 * e + (thread & mask) * width) < end
            for i in range(passes):
                n = (e * passes + i) * width
                for c in range(width):
                    numbers[n + c] = real(0)
                if there_is:
                    at = int32(places[i] + 8 * e)
                    if width == 1:
                        numbers[n] = matrix[at]
                    else:
                        some = load(matrix, at)
                        for c in range(width):
                            numbers[n + c] = some[c]
        for i in range(passes):
            places[i] = int32(places[i] + depth)

    @inlined
    def put_down(tile, start, numbers, thread):
        at = int32(start + (thread & mask) * (width * pitch) + (thread >> bits))
        for e in range(eights):
            for i in range(passes):
                for c in range(width):
                    number = numbers[(e * passes + i) * width + c]
                    put(tile, at, int32((8 * e + c) * pitch + i * lines), prepared(number))

    return begin, fetch, put_down


def _loader_by_lines(
    width: int, size: int, pitch: int, product: Multiplication, threads: int, real: Any
) -> _Loader:
    """Of a matrix in which lines lie side by side."""
    depth, prepared = product.depth, product.prepared
    load, store = _LOADS[width], _STORES[width]
    units = size // width
    bits, mask = units.bit_length() - 1, units - 1
    steps = threads // units
    passes = depth // steps

    @inlined
    def begin(places, thread, first, count, total, k):
        line = int32(first + (thread & mask) * width)
        if line >= count:
            line = int32(count - width)
        places[0] = int32((k + (thread >> bits)) * count + line)

    @inlined
    def fetch(matrix, places, numbers, thread, k, end, count):
        for i in range(passes):
            for c in range(width):
                numbers[i * width + c] = real(0)
            if int32(k + (thread >> bits) + i * steps) < end:
                at = int32(places[0] + i * steps * count)
                if width == 1:
                    numbers[i] = matrix[at]
                else:
                    some = load(matrix, at)
                    for c in range(width):
                        numbers[i * width + c] = some[c]
        places[0] = int32(places[0] + depth * count)

    @inlined
    def put_down(tile, start, numbers, thread):
        at = int32(start + (thread >> bits) * pitch + (thread & mask) * width)
        for i in range(passes):
            if width == 1:
                put(tile, at, int32(i * steps * pitch), prepared(numbers[i]))
            elif width == 2:
                two = prepared(numbers[2 * i]), prepared(numbers[2 * i + 1])
                store(tile, int32(at + i * steps * pitch), two)
            else:
                four = (
                    prepared(numbers[4 * i]),
                    prepared(numbers[4 * i + 1]),
                    prepared(numbers[4 * i + 2]),
                    prepared(numbers[4 * i + 3]),
                )
                store(tile, int32(at + i * steps * pitch), four)

    return begin, fetch, put_down
