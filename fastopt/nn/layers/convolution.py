"""The convolution of an image."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

from fastopt.kernels.geometry import ConvGeometry
from fastopt.nn.graph import Graph, Value
from fastopt.nn.layers.arguments import (
    FLAG,
    INIT,
    POSITIVE,
    as_image,
    as_padding,
    as_pair,
    check_fit,
)
from fastopt.nn.layers.layer import Layer

__all__ = ["Conv2d"]


@dataclass(frozen=True, repr=False)
class Conv2d(Layer):
    """Convolution of an image with `out_channels` windows, as deep learning has it (not flipped).

    Parameters: ``weight`` (out_channels, channels // groups, height, width) and ``bias``
    (out_channels,).

    Parameters
    ----------
    out_channels : int
    kernel_size : int or (int, int)
        Height and width of the window.
    stride, dilation : int or (int, int), default 1
        Between two windows, and between two elements of a window.
    padding : int, (int, int), ((int, int), (int, int)), "same" or "valid", default 0
        Zeros around the image: on all sides, at (top and bottom, left and right), or
        ((top, bottom), (left, right)). ``"same"``, with stride 1, keeps the size, ``"valid"`` is 0.
    groups : int, default 1
        Into how many parts the channels are cut, each convolved by itself; as many as there are
        channels is depthwise convolution.
    bias : bool, default True
        Whether a number is added to each channel.
    init : {"he", "glorot", "lecun"}, default "he"
        The distribution of weights that ``init`` of a model draws from, see
        :meth:`fastopt.nn.Model.init`.
    name : str, optional
        See :class:`Layer`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or if more than two are given by position: the number of
        input channels is inferred.

    Examples
    --------
    >>> from fastopt import nn
    >>> model = nn.Model(
    ...     nn.Conv2d(6, 5, padding=2), nn.GlobalAvgPool2d(), input_shape=(1, 28, 28)
    ... )
    >>> model.n      # 6 windows of 25, and 6 biases
    156
    """

    out_channels: int
    kernel_size: Any
    _: KW_ONLY
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1
    bias: bool = True
    init: str = "he"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("out_channels", POSITIVE("out_channels", self.out_channels, 0))
        self._set("kernel_size", as_pair("kernel_size", self.kernel_size))
        self._set("stride", as_pair("stride", self.stride))
        self._set("dilation", as_pair("dilation", self.dilation))
        self._set("padding", as_padding(self))
        self._set("groups", POSITIVE("groups", self.groups, 0))
        self._set("bias", FLAG("bias", self.bias, 0))
        self._set("init", INIT("init", self.init, 0))

    def _emit(self, graph: Graph, x: Value) -> Value:
        channels, height, width = as_image(graph, x)
        if channels % self.groups or self.out_channels % self.groups:
            raise graph.error(
                f"groups must divide the channels, {channels} in and {self.out_channels} out, got "
                f"groups={self.groups}"
            )
        rows, columns = self.kernel_size
        geometry = ConvGeometry(
            1,
            channels,
            height,
            width,
            self.out_channels,
            rows,
            columns,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
        )
        check_fit(graph, x, geometry, self.kernel_size, self.dilation)
        window = rows * columns
        weight = graph.parameter(
            "weight",
            geometry.weight_shape,
            self.init,
            fan_in=channels // self.groups * window,
            fan_out=self.out_channels // self.groups * window,
        )
        bias = (graph.parameter("bias", (self.out_channels,), 0.0),) if self.bias else ()
        return graph.add(
            "conv2d",
            x,
            shape=geometry.output_shape[1:],
            parameters=(weight, *bias),
            flops=geometry.flops,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
