"""Convolution: the passes of one layer, planned once.

Owns what forward and backward mean in terms of :mod:`fastopt.kernels.cpu.correlation`. The
gradient by the input is a convolution of the gradient by the output, with the window turned round
and the channels exchanged; with a stride, one for each remainder of an input's row and column.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np

from fastopt.core._jit import compile_named
from fastopt.core._lanes import add, lanes_of, load, sums_for, total, widened
from fastopt.kernels.cpu import registers, threads
from fastopt.kernels.cpu.correlation import Correlation, Operand, Sweep
from fastopt.kernels.cpu.depthwise import Depthwise
from fastopt.kernels.cpu.microkernel import copy
from fastopt.kernels.cpu.weight_gradient import WeightGradient
from fastopt.kernels.geometry import ConvGeometry

__all__ = ["Convolution"]


class Convolution:
    """The plan of a convolution of one shape and dtype; arrays and workspace are its caller's.

    Examples
    --------
    >>> import numpy as np
    >>> plan = Convolution(ConvGeometry(N=1, C=1, H=1, W=4, K=1, R=1, S=2), np.float64)
    >>> x, weight = np.array([[[[1.0, 2.0, 4.0, 8.0]]]]), np.array([[[[-1.0, 1.0]]]])
    >>> workspace = np.empty(plan.workspace)
    >>> out, grad = np.empty((1, 1, 1, 3)), np.empty((1, 1, 1, 4))
    >>> plan.forward(x, weight, None, out, workspace)
    >>> out.ravel()
    array([1., 2., 4.])
    >>> plan.backward_data(out, weight, grad, workspace)
    >>> grad.ravel()
    array([-1., -1., -2.,  4.])
    """

    def __init__(self, geometry: ConvGeometry, dtype: Any) -> None:
        self.geometry = geometry
        self.dtype = np.dtype(dtype)

    @property
    def workspace(self) -> int:
        """Elements of `dtype` that any of the passes needs, with as many threads as now."""
        gradient = self._gradient_in_weight.workspace
        if self._depthwise:
            return gradient
        return max(
            self._forward.workspace, self._transposed + self._backward_data.workspace, gradient
        )

    def forward(self, x: Any, weight: Any, bias: Any, out: Any, workspace: Any) -> None:
        """out = conv(x, weight) + bias; `bias` may be None."""
        if self._depthwise:
            self._depthwise.forward(x, weight, bias, out, workspace)
            return
        self._forward.run(x, weight, bias, out, workspace)

    def backward_data(self, grad: Any, weight: Any, out: Any, workspace: Any) -> None:
        """The gradient by x, of which `grad` is that by the output."""
        if self._depthwise:
            self._depthwise.backward_data(grad, weight, out, workspace)
            return
        g = self.geometry
        K, C = g.K // g.groups, g.C // g.groups
        transposed, rest = workspace[: weight.size], workspace[self._transposed :]
        parts = g.groups * -(-C // 8)
        threads.run(_transpose, parts, weight.size, weight.reshape(-1), transposed, K, C, g.R * g.S)
        self._backward_data.run(grad, transposed, None, out, rest)

    def backward_weight(self, x: Any, grad: Any, out: Any, workspace: Any) -> None:
        """The gradient by the weight."""
        self._gradient_in_weight.backward_weight(x, grad, out, workspace)

    def backward_bias(self, grad: Any, out: Any) -> None:
        """out[k] = sum of grad over images and places."""
        N, K, OH, OW = self.geometry.output_shape
        threads.run(_sum_channels, K, grad.size, grad.reshape(N, K, OH * OW), out)

    @cached_property
    def _depthwise(self) -> Depthwise | None:
        g = self.geometry
        return Depthwise(g, self.dtype) if g.groups == g.C > 1 else None

    @cached_property
    def _gradient_in_weight(self) -> Depthwise | WeightGradient:
        g = self.geometry
        # A few kernels of one channel fill no registers, where planes do.
        if g.C == 1 and registers.lanes_of(self.dtype) > g.K:
            return Depthwise(g, self.dtype)
        return self._depthwise or WeightGradient(g, self.dtype)

    @cached_property
    def _transposed(self) -> int:
        """Elements of workspace for the weight with its channels exchanged, whole cache lines."""
        return -(-math.prod(self.geometry.weight_shape) // 16) * 16

    @cached_property
    def _operands(self) -> tuple[Operand, Operand]:
        g = self.geometry
        return Operand(g.C // g.groups, g.H, g.W), Operand(g.K // g.groups, g.OH, g.OW)

    @cached_property
    def _forward(self) -> Correlation:
        g = self.geometry
        x, y = self._operands
        (top, _), (left, _) = g.padding
        return Correlation(
            g.N, g.groups, x, y, (g.R, g.S), g.stride,
            (_gathered(g.OH, g.R, top, g.dilation[0]),),
            (_gathered(g.OW, g.S, left, g.dilation[1]),),
            self.dtype,
        )  # fmt: skip

    @cached_property
    def _backward_data(self) -> Correlation:
        g = self.geometry
        x, y = self._operands
        (top, _), (left, _) = g.padding
        return Correlation(
            g.N, g.groups, y, x, (g.R, g.S), (1, 1),
            _scattered(g.H, g.R, g.stride[0], top, g.dilation[0]),
            _scattered(g.W, g.S, g.stride[1], left, g.dilation[1]),
            self.dtype,
        )  # fmt: skip


def _gathered(outputs: int, window: int, pad: int, dilation: int) -> Sweep:
    """Output o sees x[o stride + r dilation - pad]."""
    return Sweep(outputs, 0, 1, tuple((r, r * dilation - pad) for r in range(window)))


def _scattered(length: int, window: int, stride: int, pad: int, dilation: int) -> tuple[Sweep, ...]:
    """x[i] is seen as r by output (i + pad - r dilation) / stride, if that is an integer.

    Which r these are depends on the remainder of i + pad: a sweep for each.
    """
    sweeps = []
    for remainder in range(stride):
        start = (remainder - pad) % stride
        if start < length:
            taps = tuple(
                (r, (start + pad - r * dilation) // stride)
                for r in range(window)
                if r * dilation % stride == remainder
            )
            sweeps.append(Sweep(-(-(length - start) // stride), start, stride, taps))
    return tuple(sweeps)


@compile_named
def _transpose(weight, out, K, C, window, first, last, slot):
    """out[g, c, k] = weight[g, k, c], each of `window` elements; a part is 8 channels c."""
    blocks = (C + 7) // 8
    for part in range(first, last):
        group = part // blocks * K * C
        low = part % blocks * 8
        high = min(low + 8, C)
        for k in range(K):
            for c in range(low, high):
                source = (group + k * C + c) * window
                target = (group + c * K + k) * window
                if window == 1:
                    out[target] = weight[source]
                else:
                    copy(weight, source, out, target, window)


@compile_named
def _sum_channels(grad, out, first, last, slot):
    """A part is a channel; sums are of doubles."""
    N, K, area = grad.shape
    rows, step = grad.reshape(N * K, area), lanes_of(grad)
    whole = area - area % step
    for k in range(first, last):
        sums, rest = sums_for(rows), 0.0
        for row in range(k, N * K, K):
            for i in range(0, whole, step):
                sums = add(sums, widened(load(rows, row, i)))
            for i in range(whole, area):
                rest += rows[row, i]
        out[k] = total(sums) + rest
