"""Layers that leave less of an image, or make a vector of it."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Any

from fastopt.kernels.geometry import PoolGeometry
from fastopt.nn.graph import Graph, Value
from fastopt.nn.layers.arguments import (
    FLAG,
    as_image,
    as_padding,
    as_pair,
    check_fit,
    shortest,
)
from fastopt.nn.layers.layer import Layer

__all__ = ["AvgPool2d", "Flatten", "GlobalAvgPool2d", "MaxPool2d"]


@dataclass(frozen=True, repr=False)
class Flatten(Layer):
    """An image as a vector, channel by channel and row by row. Nothing is copied.

    Parameters
    ----------
    name : str, optional
        See :class:`Layer`.

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.Model(nn.Flatten(), nn.Linear(2), input_shape=(3, 4, 4)).n
    98
    """

    def _emit(self, graph: Graph, x: Value) -> Value:
        return x if len(x.shape) == 1 else graph.add("flatten", x, shape=(x.size,))


@dataclass(frozen=True, repr=False)
class _Pool(Layer):
    kernel_size: Any
    _: KW_ONLY
    stride: Any = None
    padding: Any = 0
    ceil_mode: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("kernel_size", as_pair("kernel_size", self.kernel_size))
        stride = self.kernel_size if self.stride is None else as_pair("stride", self.stride)
        self._set("stride", stride)
        self._set("padding", as_padding(self))
        self._set("ceil_mode", FLAG("ceil_mode", self.ceil_mode, 0))
        for pads, window in zip(self.padding, self.kernel_size, strict=True):
            if max(pads) > window // 2:
                raise ValueError(
                    "`padding` must be at most half of `kernel_size`, "
                    f"{shortest(self.kernel_size)}, got {shortest(self.padding)}"
                )

    def _is_default(self, name: str, default: Any) -> bool:
        if name == "stride":
            return bool(self.stride == self.kernel_size)
        return super()._is_default(name, default)

    def _pool(self, graph: Graph, op: str, x: Value, **attributes: Any) -> Value:
        channels, height, width = as_image(graph, x)
        rows, columns = self.kernel_size
        geometry = PoolGeometry(
            1,
            channels,
            height,
            width,
            rows,
            columns,
            self.stride,
            self.padding,
            self.ceil_mode,
        )
        check_fit(graph, x, geometry, self.kernel_size)
        shape = geometry.output_shape[1:]
        return graph.add(
            op,
            x,
            shape=shape,
            flops=math.prod(shape) * rows * columns,
            kernel_size=self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            ceil_mode=self.ceil_mode,
            **attributes,
        )


@dataclass(frozen=True, repr=False)
class MaxPool2d(_Pool):
    """The largest element of each window, channel by channel.

    Parameters
    ----------
    kernel_size : int or (int, int)
        Height and width of the window.
    stride : int or (int, int), optional
        Between two windows; by default `kernel_size`.
    padding : int, (int, int), ((int, int), (int, int)), "same" or "valid", default 0
        As in :class:`Conv2d`, at most half of the window. Padding is never the largest.
    ceil_mode : bool, default False
        Whether the last window may hang over the end.
    name : str, optional
        See :class:`Layer`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or if more than one is given by position.

    Examples
    --------
    >>> from fastopt import nn
    >>> print(nn.Model(nn.MaxPool2d(3, stride=2), input_shape=(3, 9, 9), loss="mse").output_shape)
    (3, 4, 4)
    """

    def _emit(self, graph: Graph, x: Value) -> Value:
        return self._pool(graph, "max_pool2d", x)


@dataclass(frozen=True, repr=False)
class AvgPool2d(_Pool):
    """The mean of each window, channel by channel.

    Parameters
    ----------
    kernel_size : int or (int, int)
        Height and width of the window.
    stride : int or (int, int), optional
        Between two windows; by default `kernel_size`.
    padding : int, (int, int), ((int, int), (int, int)), "same" or "valid", default 0
        As in :class:`Conv2d`, at most half of the window.
    ceil_mode : bool, default False
        Whether the last window may hang over the end.
    count_include_pad : bool, default True
        Whether the zeros of the padding count in the mean.
    name : str, optional
        See :class:`Layer`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or if more than one is given by position.

    Examples
    --------
    >>> from fastopt import nn
    >>> print(nn.Model(nn.AvgPool2d(2), input_shape=(3, 8, 8), loss="mse").output_shape)
    (3, 4, 4)
    """

    _: KW_ONLY
    count_include_pad: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("count_include_pad", FLAG("count_include_pad", self.count_include_pad, 0))

    def _emit(self, graph: Graph, x: Value) -> Value:
        return self._pool(graph, "avg_pool2d", x, count_include_pad=self.count_include_pad)


@dataclass(frozen=True, repr=False)
class GlobalAvgPool2d(Layer):
    """The mean of each channel: an image becomes a vector of its channels.

    Parameters
    ----------
    name : str, optional
        See :class:`Layer`.

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.Model(nn.GlobalAvgPool2d(), nn.Linear(2), input_shape=(3, 4, 4)).n
    8
    """

    def _emit(self, graph: Graph, x: Value) -> Value:
        channels, _, _ = as_image(graph, x)
        return graph.add("global_avg_pool2d", x, shape=(channels,), flops=x.size)
