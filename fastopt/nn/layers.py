"""Layers as descriptions: what to compute, in words, before there are any numbers.

A layer is immutable and holds no parameters. Sizes of inputs are inferred when a
:class:`fastopt.nn.Model` is made of layers; the same description may stand in several places, and
has parameters of its own in each. Owns the shapes, and which operations and parameters a layer
stands for. Knows nothing of arrays and of how operations are carried out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, Self

from fastopt.core.validate import Choice, Flag, Integer, Real
from fastopt.kernels.geometry import ConvGeometry, PoolGeometry, same_padding
from fastopt.nn.graph import Graph, Value, describe

__all__ = [
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Concat",
    "Conv2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "Identity",
    "Layer",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "ReLU",
    "Residual",
    "Sequential",
    "Sigmoid",
    "Tanh",
]

Pair = tuple[int, int]

_FLAG = Flag()
_NONNEGATIVE = Integer(low=0)
_POSITIVE = Integer(low=1)
_INIT = Choice(("he", "glorot", "lecun"))
_EPS = Real(low=0.0, open_low=True, open_high=True)
_SHARE = Real(low=0.0, high=1.0)
_RATE = Real(low=0.0, high=1.0, open_high=True)
_SLOPE = Real(low=0.0, open_high=True)


@dataclass(frozen=True, repr=False)
class _Counted:
    """Counts arguments by position before `__init__` does, to say more about one too many.

    (Apart from `Layer`: a class that has both has the signature of `__new__`.)
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        wanted = [each.name for each in fields(cls) if each.init and not each.kw_only]
        if not issubclass(cls, _Composite) and len(args) > len(wanted):
            takes = f"({', '.join(wanted)}) by position" if wanted else "nothing by position"
            raise TypeError(
                f"{cls.__name__} takes {takes}, got {len(args)}: sizes of inputs are "
                "inferred, and options are given by name"
            )
        return super().__new__(cls)


@dataclass(frozen=True, repr=False)
class Layer(_Counted):
    """What all layers are: immutable, equal if they say the same, and with a `name`.

    Parameters
    ----------
    name : str, optional
        What the layer is called in the names of its parameters and in error messages, in place of
        its number among its neighbours.

    Examples
    --------
    >>> from fastopt import nn
    >>> isinstance(nn.ReLU(), nn.Layer)
    True
    >>> nn.Conv2d(16, 3) == nn.Conv2d(16, (3, 3))
    True
    """

    _: KW_ONLY
    name: str | None = None

    def __post_init__(self) -> None:
        if self.name is None:
            return
        if not isinstance(self.name, str):
            raise TypeError(f"`name` must be a string or None, got {self.name!r}")
        if not self.name or "." in self.name:
            raise ValueError(f"`name` must have letters, and no dots, got {self.name!r}")

    def __repr__(self) -> str:
        words = [_short(getattr(self, each.name)) for each in fields(self) if not each.kw_only]
        options = {each.name: each.default for each in fields(self) if each.kw_only}
        options["name"] = options.pop("name")  # last
        words += [
            f"{name}={_short(getattr(self, name))}"
            for name, default in options.items()
            if not self._is_default(name, default)
        ]
        return f"{type(self).__name__}({', '.join(words)})"

    def _is_default(self, name: str, default: Any) -> bool:
        return getattr(self, name) in (default, _pair(default))

    def _set(self, name: str, value: Any) -> None:
        """Keep an argument in the one form that is compared and read."""
        object.__setattr__(self, name, value)

    def _emit(self, graph: Graph, x: Value) -> Value:
        """Append this layer's operations and parameters, and return what it makes of `x`."""
        raise NotImplementedError


def emit(layer: Layer, graph: Graph, key: str, x: Value) -> Value:
    """Append a layer under its name, or else under `key`.

    Parameters
    ----------
    layer : Layer
    graph : Graph
    key : str
    x : Value

    Returns
    -------
    Value
    """
    label = type(layer).__name__ if isinstance(layer, _Composite) else repr(layer)
    with graph.within(layer.name or key, label):
        return layer._emit(graph, x)


# --- convolution and linear ------------------------------------------------------------------


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
        self._set("out_channels", _POSITIVE("out_channels", self.out_channels, 0))
        self._set("kernel_size", _as_pair("kernel_size", self.kernel_size))
        self._set("stride", _as_pair("stride", self.stride))
        self._set("dilation", _as_pair("dilation", self.dilation))
        self._set("padding", _as_padding(self))
        self._set("groups", _POSITIVE("groups", self.groups, 0))
        self._set("bias", _FLAG("bias", self.bias, 0))
        self._set("init", _INIT("init", self.init, 0))

    def _emit(self, graph: Graph, x: Value) -> Value:
        channels, height, width = _image(graph, x)
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
        _check_fit(graph, x, geometry, self.kernel_size, self.dilation)
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


@dataclass(frozen=True, repr=False)
class Linear(Layer):
    """All features times a matrix: ``x @ weight.T + bias``, for vectors.

    Parameters: ``weight`` (out_features, features) and ``bias`` (out_features,).

    Parameters
    ----------
    out_features : int
    bias : bool, default True
        Whether a number is added to each output.
    init : {"he", "glorot", "lecun"}, default "he"
        The distribution of weights that ``init`` of a model draws from.
    name : str, optional
        See :class:`Layer`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or if more than one is given by position.

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.Model(nn.Linear(10), input_shape=(64,)).n
    650
    """

    out_features: int
    _: KW_ONLY
    bias: bool = True
    init: str = "he"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("out_features", _POSITIVE("out_features", self.out_features, 0))
        self._set("bias", _FLAG("bias", self.bias, 0))
        self._set("init", _INIT("init", self.init, 0))

    def _emit(self, graph: Graph, x: Value) -> Value:
        if len(x.shape) != 1:
            raise graph.error(
                f"takes vectors, got {describe(x.shape)}: put Flatten() or GlobalAvgPool2d() "
                "before it"
            )
        (features,) = x.shape
        weight = graph.parameter(
            "weight",
            (self.out_features, features),
            self.init,
            fan_in=features,
            fan_out=self.out_features,
        )
        bias = (graph.parameter("bias", (self.out_features,), 0.0),) if self.bias else ()
        return graph.add(
            "linear",
            x,
            shape=(self.out_features,),
            parameters=(weight, *bias),
            flops=2 * features * self.out_features,
        )


# --- batch normalization ---------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class _BatchNorm(Layer):
    _: KW_ONLY
    eps: float = 1e-5
    momentum: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("eps", _EPS("eps", self.eps, 0))
        self._set("momentum", _SHARE("momentum", self.momentum, 0))

    def _emit(self, graph: Graph, x: Value) -> Value:
        self._check(graph, x)
        channels = (x.shape[0],)
        return graph.add(
            "batchnorm",
            x,
            shape=x.shape,
            parameters=(
                graph.parameter("weight", channels, 1.0),
                graph.parameter("bias", channels, 0.0),
            ),
            buffers=(
                graph.buffer("running_mean", channels, 0),
                graph.buffer("running_var", channels, 1),
            ),
            flops=2 * x.size,
            eps=self.eps,
            momentum=self.momentum,
            relu=False,
        )

    def _check(self, graph: Graph, x: Value) -> None:
        raise NotImplementedError


class BatchNorm2d(_BatchNorm):
    """Batch normalization [1]_ of images: each channel to mean 0, variance 1, then scaled, shifted.

    In training with the mean and variance of the batch; in inference with running averages of
    them. Parameters: ``weight``, ``bias``; buffers: ``running_mean``, ``running_var``, all of shape
    (channels,).

    Parameters
    ----------
    eps : float, default 1e-5
        Added to the variance.
    momentum : float, default 0.1
        How far the running averages move towards those of a batch, as PyTorch has it; the variance
        that they take is the unbiased one.
    name : str, optional
        See :class:`Layer`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or given by position: the number of channels is inferred.

    References
    ----------
    .. [1] S. Ioffe and C. Szegedy, "Batch normalization: accelerating deep network training by
       reducing internal covariate shift", ICML 2015.

    Examples
    --------
    >>> from fastopt import nn
    >>> model = nn.Model(
    ...     nn.BatchNorm2d(name="norm"), nn.GlobalAvgPool2d(), input_shape=(3, 8, 8)
    ... )
    >>> model.n
    6
    >>> sorted(model.buffers)
    ['norm.running_mean', 'norm.running_var']
    """

    def _check(self, graph: Graph, x: Value) -> None:
        if len(x.shape) != 3:
            raise graph.error(f"takes images, got {describe(x.shape)}: BatchNorm1d is for vectors")


class BatchNorm1d(_BatchNorm):
    """Batch normalization of vectors, each feature by itself, or of sequences (channels, length).

    As :class:`BatchNorm2d`, whose arguments, parameters and buffers it has.

    Parameters
    ----------
    eps : float, default 1e-5
        Added to the variance.
    momentum : float, default 0.1
        How far the running averages move towards those of a batch.
    name : str, optional
        See :class:`Layer`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or given by position.

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.Model(nn.Linear(16, bias=False), nn.BatchNorm1d(), input_shape=(4,)).n
    96
    """

    def _check(self, graph: Graph, x: Value) -> None:
        if len(x.shape) > 2:
            raise graph.error(
                f"takes vectors or sequences, got {describe(x.shape)}: BatchNorm2d is for images"
            )


# --- element by element ----------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class ReLU(Layer):
    """The larger of x and 0.

    Parameters
    ----------
    name : str, optional
        See :class:`Layer`.

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.Sequential(nn.Linear(8), nn.ReLU())
    Sequential(Linear(8), ReLU())
    """

    def _emit(self, graph: Graph, x: Value) -> Value:
        return graph.add("relu", x, shape=x.shape, flops=x.size)


@dataclass(frozen=True, repr=False)
class LeakyReLU(Layer):
    """x where it is positive, `slope` times x elsewhere.

    Parameters
    ----------
    slope : float, default 0.01
        Finite and not negative.
    name : str, optional
        See :class:`Layer`.

    Raises
    ------
    TypeError, ValueError
        If `slope` is not as above.

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.LeakyReLU(0.2)
    LeakyReLU(0.2)
    """

    slope: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("slope", _SLOPE("slope", self.slope, 0))

    def _emit(self, graph: Graph, x: Value) -> Value:
        return graph.add("leaky_relu", x, shape=x.shape, flops=x.size, slope=self.slope)


@dataclass(frozen=True, repr=False)
class Sigmoid(Layer):
    """1 / (1 + exp(-x)), between 0 and 1.

    The losses on probabilities take logits: no Sigmoid stands before them.

    Parameters
    ----------
    name : str, optional
        See :class:`Layer`.

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.Sigmoid()
    Sigmoid()
    """

    def _emit(self, graph: Graph, x: Value) -> Value:
        return graph.add("sigmoid", x, shape=x.shape, flops=x.size)


@dataclass(frozen=True, repr=False)
class Tanh(Layer):
    """The hyperbolic tangent, between -1 and 1.

    Parameters
    ----------
    name : str, optional
        See :class:`Layer`.

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.Tanh()
    Tanh()
    """

    def _emit(self, graph: Graph, x: Value) -> Value:
        return graph.add("tanh", x, shape=x.shape, flops=x.size)


@dataclass(frozen=True, repr=False)
class Identity(Layer):
    """x as it is: the branch that does nothing.

    Parameters
    ----------
    name : str, optional
        See :class:`Layer`.

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.Concat(nn.Identity(), nn.Conv2d(12, 3, padding=1))     # as in DenseNet
    Concat(Identity(), Conv2d(12, 3, padding=1))
    """

    def _emit(self, graph: Graph, x: Value) -> Value:
        return x


@dataclass(frozen=True, repr=False)
class Dropout(Layer):
    """In training, each element is 0 with probability `p`, and otherwise divided by 1 - p [1]_.

    In inference it does nothing. What is dropped depends on `seed`, the layer's name and a counter
    alone; the counter is a buffer of the model, and moves on with each training evaluation, as
    running statistics do.

    Parameters
    ----------
    p : float, default 0.5
        From 0 to below 1.
    seed : int, default 0
        Not negative.
    name : str, optional
        See :class:`Layer`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.

    References
    ----------
    .. [1] N. Srivastava et al., "Dropout: a simple way to prevent neural networks from
       overfitting", JMLR 15, 2014.

    Examples
    --------
    >>> from fastopt import nn
    >>> model = nn.Model(nn.Dropout(0.2, name="drop"), nn.Linear(10), input_shape=(64,))
    >>> model.buffers
    {'drop.counter': array(0)}
    """

    p: float = 0.5
    _: KW_ONLY
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("p", _RATE("p", self.p, 0))
        self._set("seed", _NONNEGATIVE("seed", self.seed, 0))

    def _emit(self, graph: Graph, x: Value) -> Value:
        counter = graph.buffer("counter", (), 0, is_count=True)
        return graph.add(
            "dropout", x, shape=x.shape, buffers=(counter,), flops=x.size, p=self.p, seed=self.seed
        )


# --- shapes ----------------------------------------------------------------------------------


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
        self._set("kernel_size", _as_pair("kernel_size", self.kernel_size))
        stride = self.kernel_size if self.stride is None else _as_pair("stride", self.stride)
        self._set("stride", stride)
        self._set("padding", _as_padding(self))
        self._set("ceil_mode", _FLAG("ceil_mode", self.ceil_mode, 0))
        for pads, window in zip(self.padding, self.kernel_size, strict=True):
            if max(pads) > window // 2:
                raise ValueError(
                    f"`padding` must be at most half of `kernel_size`, {_short(self.kernel_size)}, "
                    f"got {_short(self.padding)}"
                )

    def _is_default(self, name: str, default: Any) -> bool:
        if name == "stride":
            return bool(self.stride == self.kernel_size)
        return super()._is_default(name, default)

    def _pool(self, graph: Graph, op: str, x: Value, **attributes: Any) -> Value:
        channels, height, width = _image(graph, x)
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
        _check_fit(graph, x, geometry, self.kernel_size)
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
        self._set("count_include_pad", _FLAG("count_include_pad", self.count_include_pad, 0))

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
        channels, _, _ = _image(graph, x)
        return graph.add("global_avg_pool2d", x, shape=(channels,), flops=x.size)


# --- layers of layers ------------------------------------------------------------------------


@dataclass(frozen=True, repr=False, init=False)
class _Composite(Layer):
    layers: tuple[Layer, ...]

    def __init__(self, *layers: Layer, name: str | None = None) -> None:
        self._set("layers", layers)
        self._set("name", name)
        self.__post_init__()

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_layers(self.layers)

    def __repr__(self) -> str:
        words = [*map(repr, self.layers)]
        words += [
            f"{each.name}={getattr(self, each.name)!r}"
            for each in fields(self)
            if each.kw_only and getattr(self, each.name) is not None
        ]
        return f"{type(self).__name__}({', '.join(words)})"

    def _named(self) -> Iterator[tuple[str, Layer]]:
        return ((str(i), layer) for i, layer in enumerate(self.layers))


def emit_in_order(parent: _Composite, graph: Graph, x: Value) -> Value:
    """Append layers one after the other, and return what the last makes of `x`."""
    for key, layer in parent._named():
        x = emit(layer, graph, key, x)
    return x


class Sequential(_Composite):
    """Layers one after the other.

    Parameters
    ----------
    *layers : Layer
        At least one.
    name : str, optional
        See :class:`Layer`.

    Raises
    ------
    TypeError, ValueError
        If there are no layers, if something else is among them, or if two have one name.

    Examples
    --------
    >>> from fastopt import nn
    >>> block = nn.Sequential(nn.Conv2d(8, 3, bias=False), nn.BatchNorm2d(), nn.ReLU())
    >>> model = nn.Model(block, nn.GlobalAvgPool2d(), input_shape=(1, 8, 8))
    >>> [*model.parameters(model.init(0))]
    ['0.0.weight', '0.1.weight', '0.1.bias']
    """

    def _emit(self, graph: Graph, x: Value) -> Value:
        return emit_in_order(self, graph, x)


@dataclass(frozen=True, repr=False, init=False)
class Residual(_Composite):
    """Layers one after the other, plus a shortcut around them: ``f(x) + shortcut(x)`` [1]_.

    Parameters
    ----------
    *layers : Layer
        The main branch, f.
    shortcut : Layer, optional
        Where f changes the shape, what gives x the same one, such as a convolution of 1 x 1. By
        default x itself is added.
    name : str, optional
        See :class:`Layer`.

    Raises
    ------
    TypeError, ValueError
        As in :class:`Sequential`; a model is refused whose branches differ in shape.

    References
    ----------
    .. [1] K. He, X. Zhang, S. Ren and J. Sun, "Deep residual learning for image recognition",
       CVPR 2016.

    Examples
    --------
    >>> from fastopt import nn
    >>> block = nn.Residual(
    ...     nn.Conv2d(8, 3, stride=2, padding=1), shortcut=nn.Conv2d(8, 1, stride=2)
    ... )
    >>> model = nn.Model(block, nn.ReLU(), nn.GlobalAvgPool2d(), input_shape=(3, 8, 8))
    >>> [*model.parameters(model.init(0))]
    ['0.0.weight', '0.0.bias', '0.shortcut.weight', '0.shortcut.bias']
    """

    _: KW_ONLY
    shortcut: Layer | None = None

    def __init__(
        self, *layers: Layer, shortcut: Layer | None = None, name: str | None = None
    ) -> None:
        self._set("shortcut", shortcut)
        super().__init__(*layers, name=name)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shortcut is None:
            return
        if not isinstance(self.shortcut, Layer):
            raise TypeError(f"`shortcut` must be a layer or None, got {self.shortcut!r}")
        _check_layers((*self.layers, self.shortcut), last="shortcut")

    def _emit(self, graph: Graph, x: Value) -> Value:
        main = emit_in_order(self, graph, x)
        short = x if self.shortcut is None else emit(self.shortcut, graph, "shortcut", x)
        if main.shape != short.shape:
            raise graph.error(
                f"the branches must have one shape, but the layers make {describe(main.shape)}, "
                f"and the shortcut {describe(short.shape)}"
            )
        return graph.add("add", main, short, shape=main.shape, flops=main.size)


class Concat(_Composite):
    """Branches side by side on the same input, what they make put together along the channels.

    Parameters
    ----------
    *layers : Layer
        The branches; those of several layers are :class:`Sequential`.
    name : str, optional
        See :class:`Layer`.

    Raises
    ------
    TypeError, ValueError
        As in :class:`Sequential`; a model is refused whose branches make images of several sizes.

    Examples
    --------
    >>> from fastopt import nn
    >>> block = nn.Concat(nn.Conv2d(8, 1), nn.Conv2d(4, 3, padding="same"), nn.Identity())
    >>> print(nn.Model(block, input_shape=(3, 8, 8), loss="mse").output_shape)
    (15, 8, 8)
    """

    def _emit(self, graph: Graph, x: Value) -> Value:
        parts = [emit(branch, graph, key, x) for key, branch in self._named()]
        first = parts[0].shape
        for i, part in enumerate(parts):
            if part.shape[1:] != first[1:] or len(part.shape) != len(first):
                raise graph.error(
                    "the branches must differ in their channels alone, but branch 0 makes "
                    f"{describe(first)}, and branch {i} {describe(part.shape)}"
                )
        if len(parts) == 1:
            return parts[0]
        channels = sum(part.shape[0] for part in parts)
        return graph.add("concat", *parts, shape=(channels, *first[1:]))


def _check_layers(layers: Sequence[Layer], last: str | None = None) -> None:
    """Whether these are layers that can stand side by side; the last may have a key of its own."""
    if not layers:
        raise ValueError("there must be at least one layer")
    keys: set[str] = set()
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            hint = f", write {layer.__name__}(...)" if isinstance(layer, type) else ""
            raise TypeError(f"layer {i} must be a layer of fastopt.nn, got {layer!r}{hint}")
        key = layer.name or (last if last and i == len(layers) - 1 else str(i))
        if key in keys:
            raise ValueError(f"layers side by side must differ in `name`, got {key!r} twice")
        keys.add(key)


# --- arguments -------------------------------------------------------------------------------


def _as_pair(name: str, value: Any) -> Pair:
    if isinstance(value, tuple | list):
        if len(value) != 2:
            raise ValueError(f"`{name}` must be one integer or two, got {value!r}")
        return _POSITIVE(name, value[0], 0), _POSITIVE(name, value[1], 0)
    both = _POSITIVE(name, value, 0)
    return both, both


def _as_padding(layer: Conv2d | _Pool) -> tuple[Pair, Pair]:
    value = layer.padding
    if isinstance(value, str):
        if value == "valid":
            return (0, 0), (0, 0)
        if value != "same":
            raise ValueError(f"`padding` must be 'same', 'valid' or integers, got {value!r}")
        if layer.stride != (1, 1):
            raise ValueError(f"`padding` 'same' is for stride 1, got stride {layer.stride}")
        rows, columns = layer.kernel_size
        dilation = getattr(layer, "dilation", (1, 1))
        return same_padding(rows, dilation[0]), same_padding(columns, dilation[1])
    sides = value if isinstance(value, tuple | list) else (value, value)
    if len(sides) != 2:
        raise ValueError(f"`padding` must be one integer, two, or two pairs, got {value!r}")
    return _as_sides(sides[0], value), _as_sides(sides[1], value)


def _as_sides(sides: Any, padding: Any) -> Pair:
    if not isinstance(sides, tuple | list):
        sides = (sides, sides)
    if len(sides) != 2:
        raise ValueError(f"`padding` must be one integer, two, or two pairs, got {padding!r}")
    return _NONNEGATIVE("padding", sides[0], 0), _NONNEGATIVE("padding", sides[1], 0)


def _pair(value: Any) -> Any:
    """The form that a default has once it is kept."""
    if type(value) is not int:
        return value
    return ((0, 0), (0, 0)) if value == 0 else (value, value)


def _short(value: Any) -> str:
    """As one would write it: 3 for (3, 3) and for ((3, 3), (3, 3))."""
    if isinstance(value, tuple) and all(isinstance(each, tuple) for each in value):
        if any(before != after for before, after in value):
            return repr(value)
        value = tuple(before for before, _ in value)
    if isinstance(value, tuple) and value[0] == value[1]:
        value = value[0]
    return repr(value)


def _image(graph: Graph, x: Value) -> tuple[int, int, int]:
    if len(x.shape) != 3:
        raise graph.error(f"takes images (channels, height, width), got {describe(x.shape)}")
    channels, height, width = x.shape
    return channels, height, width


def _check_fit(
    graph: Graph,
    x: Value,
    geometry: ConvGeometry | PoolGeometry,
    window: Pair,
    dilation: Pair = (1, 1),
) -> None:
    if geometry.OH >= 1 and geometry.OW >= 1:
        return
    rows, columns = (d * (w - 1) + 1 for w, d in zip(window, dilation, strict=True))
    (top, bottom), (left, right) = geometry.padding
    raise graph.error(
        f"a window of {rows} x {columns} does not fit on {describe(x.shape)}, which padding makes "
        f"{geometry.H + top + bottom} x {geometry.W + left + right}"
    )
