"""The linear layer: products of matrices, as convolutions of images that are one row high.

With windows of one element, channels are what is summed over, kernels are rows of a product and
places are its columns. BLAS would do as well on one thread; but its threads wait for one another,
which takes long where a core is busy with something else, and sums come out by their number.

Owns which matrix is the image. The weight, mostly the largest, is never transposed.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from fastopt.core._jit import compile_named
from fastopt.kernels.cpu import arithmetic, threads
from fastopt.kernels.cpu.convolution import Convolution
from fastopt.kernels.cpu.outer_products import transpose
from fastopt.kernels.cpu.registers import lanes_of
from fastopt.kernels.geometry import ConvGeometry

__all__ = ["Linear", "backward_bias"]

# Rows of the weight that are multiplied at a time. Those of a wide one lie pages apart, and more of
# them than the processor knows the pages of take four times as long.
ROWS = 128


class Linear:
    """The plan of a linear layer of C numbers to K, for N examples.

    Parameters
    ----------
    N, C, K : int
    dtype : dtype

    Attributes
    ----------
    workspace : int
        How many elements any of the passes needs.
    """

    def __init__(self, N: int, C: int, K: int, dtype: Any) -> None:
        self.shape = N, C, K
        self.dtype = np.dtype(dtype)
        lanes = lanes_of(dtype)
        self._lanes = lanes
        self._starts = {n: np.arange(lanes) * n for n in {C, K, N}}

    @property
    def workspace(self) -> int:
        N, C, K = self.shape
        block = min(K, ROWS)
        return max(
            _whole(C * N) + _whole(K * N) + self._forward.workspace,
            _whole(N * block) + _whole(N * C) + max(each.workspace for each in self._by_rows),
            _whole(K * N) + self._backward_weight.workspace,
        )

    def forward(self, x: Any, weight: Any, bias: Any, out: Any, workspace: Any) -> None:
        """x (N, C), weight (K, C), bias (K,) or None -> out (N, K)."""
        N, C, K = self.shape
        turned, sums, rest = _pieces(workspace, C * N, K * N)
        self._transpose(x, turned)
        self._forward.forward(
            turned.reshape(1, C, 1, N), weight.reshape(K, C, 1, 1), bias,
            sums.reshape(1, K, 1, N), rest,
        )  # fmt: skip
        self._transpose(sums.reshape(K, N), out.reshape(-1))

    def backward_data(self, grad: Any, weight: Any, out: Any, workspace: Any) -> None:
        """grad (N, K), weight (K, C) -> out (N, C)."""
        N, C, K = self.shape
        factors, sums, rest = _pieces(workspace, N * min(K, ROWS), N * C)
        for first in range(0, K, ROWS):
            count = min(ROWS, K - first)
            some = factors[: N * count].reshape(N, count)
            np.copyto(some, grad[:, first : first + count])
            self._by_rows[count < min(K, ROWS)].forward(
                weight[first : first + count].reshape(1, count, 1, C),
                some.reshape(N, count, 1, 1), None,
                (sums if first else out).reshape(1, N, 1, C), rest,
            )  # fmt: skip
            if first:
                arithmetic.accumulate(sums, out)

    def backward_weight(self, x: Any, grad: Any, out: Any, workspace: Any) -> None:
        """x (N, C), grad (N, K) -> out (K, C)."""
        N, C, K = self.shape
        turned, rest = _pieces(workspace, K * N)
        self._transpose(grad, turned)
        self._backward_weight.forward(
            x.reshape(1, N, 1, C), turned.reshape(K, N, 1, 1), None, out.reshape(1, K, 1, C), rest
        )

    def _transpose(self, matrix: Any, out: Any) -> None:
        rows, columns = matrix.shape
        if 1 in (rows, columns):
            np.copyto(out, matrix.reshape(-1))
            return
        parts = -(-columns // self._lanes)
        source, starts = matrix.reshape(-1), self._starts[columns]
        threads.run(_transpose, parts, 2 * out.size, source, rows, columns, starts, out)

    def _product(self, summed: int, rows: int, columns: int) -> Convolution:
        return Convolution(ConvGeometry(1, summed, 1, columns, rows, 1, 1), self.dtype)

    @cached_property
    def _forward(self) -> Convolution:
        N, C, K = self.shape
        return self._product(C, K, N)

    @cached_property
    def _by_rows(self) -> tuple[Convolution, ...]:
        """For whole blocks of rows of the weight, and for those that are left."""
        N, C, K = self.shape
        counts = [min(K, ROWS), K % ROWS if K > ROWS else 0]
        return tuple(self._product(count, N, C) for count in counts if count)

    @cached_property
    def _backward_weight(self) -> Convolution:
        N, C, K = self.shape
        return self._product(N, K, C)


def backward_bias(grad: Any, out: Any) -> None:
    """grad (N, K) -> out (K,)."""
    _sum_rows(grad, out)


def _whole(count: int) -> int:
    """So many elements, and more up to a whole number of cache lines."""
    return -(-count // 16) * 16


def _pieces(workspace: Any, *counts: int) -> list[Any]:
    """So many elements each, and what is left."""
    pieces = []
    for count in counts:
        pieces.append(workspace[:count])
        workspace = workspace[_whole(count) :]
    return [*pieces, workspace]


@compile_named
def _transpose(source, rows, columns, starts, out, first, last, slot):
    """out[j, i] = source[i, j]; a part is as many columns as a register has lanes."""
    lanes = starts.size
    for part in range(first, last):
        begin, end = part * lanes, min((part + 1) * lanes, columns)
        whole = rows - rows % lanes if end - begin == lanes else 0
        for row in range(0, whole, lanes):
            transpose(
                source, row * columns + begin, starts, 0,
                out, begin * rows + row, rows, 0, lanes + 1, 0,
            )  # fmt: skip
        for row in range(whole, rows):
            for column in range(begin, end):
                out[column * rows + row] = source[row * columns + column]


@compile_named
def _sum_rows(grad, out):
    out[:] = 0.0
    for n in range(grad.shape[0]):
        for k in range(out.size):
            out[k] += grad[n, k]
