"""How each operation of a graph is carried out by kernels: one small class each.

An operation says what a plan must provide for a batch of N, and binds kernels to the arrays that
the plan has found places for. Owns which kernel does what. Knows nothing of memory and of order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np

from fastopt.kernels.geometry import ConvGeometry, PoolGeometry
from fastopt.nn.graph import Node, Shape
from fastopt.nn.losses import (
    L1,
    MSE,
    BinaryCrossEntropy,
    Loss,
    MultiLabel,
    SmoothL1,
    SoftmaxCrossEntropy,
)
from fastopt.nn.places import Kernels, Place

__all__ = ["Call", "Operation", "Site", "bind_loss", "operation"]

Array = Any  # of one place
Call = Callable[[], object]


@dataclass
class Site:
    """The arrays of one operation. Those of gradients are there for the backward pass alone."""

    inputs: list[Array]
    output: Array
    parameters: list[Array]
    buffers: list[Array]
    moments: Any  # (2, C): what batch normalization found in the batch
    saved: list[Array]
    workspace: Array
    grad_output: Any = None
    grad_inputs: list[Any] = field(default_factory=list)
    grad_parameters: list[Array] = field(default_factory=list)


class Operation:
    """One operation on a batch.

    Attributes
    ----------
    node : Node
    kernels : Kernels
        Of the place where it is carried out.
    reads_inputs, reads_output : bool
        What its backward pass needs of its forward pass.
    overwrites : tuple of int
        The inputs in whose place the output may be.
    overwrites_grad : bool
        Whether the gradient of the input may be in the place of that of the output.
    is_view : bool
        Whether the output is the input, in another shape, and so are their gradients.
    passes_grad : bool
        Whether the gradient of each input is that of the output.
    shares_grad : bool
        Whether all inputs have one gradient, of which ``grad_inputs`` has one array.
    fills_grad_inputs : bool
        Whether it makes the gradients of inputs even where nothing reads them.
    workspace : int
        Elements of scratch for either pass.
    saved : tuple
        Shape and dtype of what the forward pass leaves to the backward pass.
    """

    reads_inputs = False
    reads_output = False
    overwrites: tuple[int, ...] = ()
    overwrites_grad = False
    is_view = False
    passes_grad = False
    shares_grad = False
    fills_grad_inputs = False
    workspace = 0
    saved: tuple[tuple[Shape, Any], ...] = ()

    def __init__(self, node: Node, N: int, dtype: np.dtype[Any], kernels: Kernels) -> None:
        self.node, self.kernels = node, kernels

    def forward(self, at: Site) -> list[Call]:
        raise NotImplementedError

    def backward(self, at: Site) -> list[Call]:
        raise NotImplementedError


class _Conv2d(Operation):
    reads_inputs = True

    def __init__(self, node: Node, N: int, dtype: np.dtype[Any], kernels: Kernels) -> None:
        super().__init__(node, N, dtype, kernels)
        rows, columns = node.parameters[0].shape[2:]
        geometry = ConvGeometry(
            N, *_image(node), node.output.shape[0], rows, columns, **node.attributes
        )
        self.convolution = kernels.convolution.Convolution(geometry, dtype)
        self.workspace = self.convolution.workspace

    def forward(self, at: Site) -> list[Call]:
        weight, bias = _weight_and_bias(at.parameters)
        return [
            partial(self.convolution.forward, at.inputs[0], weight, bias, at.output, at.workspace)
        ]

    def backward(self, at: Site) -> list[Call]:
        (x,), (grad_x,), run = at.inputs, at.grad_inputs, self.convolution
        grad, (weight, bias) = at.grad_output, _weight_and_bias(at.grad_parameters)
        calls: list[Call] = [partial(run.backward_weight, x, grad, weight, at.workspace)]
        if bias is not None:
            calls.append(partial(run.backward_bias, grad, bias))
        if grad_x is not None:
            calls.append(partial(run.backward_data, grad, at.parameters[0], grad_x, at.workspace))
        return calls


class _Linear(Operation):
    reads_inputs = True

    def __init__(self, node: Node, N: int, dtype: np.dtype[Any], kernels: Kernels) -> None:
        super().__init__(node, N, dtype, kernels)
        K, C = node.parameters[0].shape
        self.product = kernels.linear.Linear(N, C, K, dtype)
        self.workspace = self.product.workspace

    def forward(self, at: Site) -> list[Call]:
        weight, bias = _weight_and_bias(at.parameters)
        return [partial(self.product.forward, at.inputs[0], weight, bias, at.output, at.workspace)]

    def backward(self, at: Site) -> list[Call]:
        (x,), (grad_x,), run = at.inputs, at.grad_inputs, self.product
        grad, (weight, bias) = at.grad_output, _weight_and_bias(at.grad_parameters)
        calls: list[Call] = [partial(run.backward_weight, x, grad, weight, at.workspace)]
        if bias is not None:
            calls.append(partial(self.kernels.linear.backward_bias, grad, bias))
        if grad_x is not None:
            calls.append(partial(run.backward_data, grad, at.parameters[0], grad_x, at.workspace))
        return calls


class _BatchNorm(Operation):
    """With the statistics of the batch."""

    reads_inputs = True
    overwrites_grad = True
    fills_grad_inputs = True

    def __init__(self, node: Node, N: int, dtype: np.dtype[Any], kernels: Kernels) -> None:
        super().__init__(node, N, dtype, kernels)
        if N * node.output.size == node.output.shape[0]:
            raise ValueError(
                f"layer {node.layer!r}: batch normalization takes the variance of a batch, but "
                "this one has one number for each channel: `x` must have more than one sample "
                "(Minibatches leave out a smaller last batch with drop_last=True)"
            )

    def forward(self, at: Site) -> list[Call]:
        x, out = map(_sequences, (at.inputs[0], at.output))
        weight, bias = at.parameters
        eps, relu = _eps_and_relu(self.node)
        kernel = self.kernels.batchnorm.forward
        return [partial(kernel, x, weight, bias, eps, relu, out, at.moments)]

    def backward(self, at: Site) -> list[Call]:
        grad, x, grad_x = map(_sequences, (at.grad_output, at.inputs[0], at.grad_inputs[0]))
        (weight, bias), (grad_weight, grad_bias) = at.parameters, at.grad_parameters
        eps, relu = _eps_and_relu(self.node)
        return [
            partial(
                self.kernels.batchnorm.backward,
                grad,
                x,
                weight,
                bias,
                at.moments,
                eps,
                relu,
                grad_x,
                grad_weight,
                grad_bias,
            )
        ]


class _BatchNormInference(Operation):
    """With running statistics."""

    overwrites = (0,)

    def forward(self, at: Site) -> list[Call]:
        x, out = map(_sequences, (at.inputs[0], at.output))
        (weight, bias), (mean, var) = at.parameters, at.buffers
        eps, relu = _eps_and_relu(self.node)
        kernel = self.kernels.batchnorm.inference
        return [partial(kernel, x, weight, bias, mean, var, eps, relu, out)]


class _Elementwise(Operation):
    """An activation, named as its kernel is, whose backward pass goes by its output."""

    reads_output = True
    overwrites = (0,)
    overwrites_grad = True

    def forward(self, at: Site) -> list[Call]:
        kernel = getattr(self.kernels.activations, self.node.op)
        return [partial(kernel, at.inputs[0], *self.options, at.output)]

    def backward(self, at: Site) -> list[Call]:
        kernel = getattr(self.kernels.activations, f"{self.node.op}_backward")
        return [partial(kernel, at.grad_output, at.output, *self.options, at.grad_inputs[0])]

    @property
    def options(self) -> tuple[Any, ...]:
        return tuple(self.node.attributes.values())


class _Dropout(Operation):
    """Its own backward pass, as the mask depends on the counter alone."""

    overwrites = (0,)
    overwrites_grad = True

    def forward(self, at: Site) -> list[Call]:
        return [self._call(at.inputs[0], at.output, at)]

    def backward(self, at: Site) -> list[Call]:
        return [self._call(at.grad_output, at.grad_inputs[0], at)]

    def _call(self, x: Array, out: Array, at: Site) -> Call:
        p, seed = self.node.attributes["p"], self.node.attributes["seed"]
        # Layers with the same seed drop differently.
        digest = hashlib.sha256(f"{seed} {self.node.layer}".encode()).digest()
        place = int.from_bytes(digest[:8], "little") >> 1
        (counter,) = at.buffers
        return partial(self.kernels.dropout.dropout, x, p, place, counter, out)


class _Flatten(Operation):
    is_view = True
    passes_grad = True


class _Pool(Operation):
    def __init__(self, node: Node, N: int, dtype: np.dtype[Any], kernels: Kernels) -> None:
        super().__init__(node, N, dtype, kernels)
        rows, columns = node.attributes["kernel_size"]
        options = {name: node.attributes[name] for name in ("stride", "padding", "ceil_mode")}
        self.geometry = PoolGeometry(N, *_image(node), rows, columns, **options)


class _MaxPool2d(_Pool):
    def __init__(self, node: Node, N: int, dtype: np.dtype[Any], kernels: Kernels) -> None:
        super().__init__(node, N, dtype, kernels)
        self.saved = ((self.geometry.output_shape, np.int32),)

    def forward(self, at: Site) -> list[Call]:
        (x,), (where,) = at.inputs, at.saved
        return [partial(self.kernels.pooling.max_pool2d, x, self.geometry, at.output, where)]

    def backward(self, at: Site) -> list[Call]:
        (where,), (grad_x,) = at.saved, at.grad_inputs
        kernel = self.kernels.pooling.max_pool2d_backward
        return [partial(kernel, at.grad_output, where, self.geometry, grad_x)]


class _AvgPool2d(_Pool):
    def forward(self, at: Site) -> list[Call]:
        with_pad = self.node.attributes["count_include_pad"]
        kernel = self.kernels.pooling.avg_pool2d
        return [partial(kernel, at.inputs[0], self.geometry, with_pad, at.output)]

    def backward(self, at: Site) -> list[Call]:
        with_pad, (grad_x,) = self.node.attributes["count_include_pad"], at.grad_inputs
        kernel = self.kernels.pooling.avg_pool2d_backward
        return [partial(kernel, at.grad_output, self.geometry, with_pad, grad_x)]


class _GlobalAvgPool2d(Operation):
    def forward(self, at: Site) -> list[Call]:
        return [partial(self.kernels.pooling.global_avg_pool2d, at.inputs[0], at.output)]

    def backward(self, at: Site) -> list[Call]:
        kernel = self.kernels.pooling.global_avg_pool2d_backward
        return [partial(kernel, at.grad_output, at.grad_inputs[0])]


class _Add(Operation):
    passes_grad = True

    def __init__(self, node: Node, N: int, dtype: np.dtype[Any], kernels: Kernels) -> None:
        super().__init__(node, N, dtype, kernels)
        if node.inputs[0] != node.inputs[1]:
            self.overwrites = (0, 1)

    def forward(self, at: Site) -> list[Call]:
        first, second = at.inputs
        if at.output is first:
            return [partial(self.kernels.arithmetic.accumulate, second, first)]
        if at.output is second:
            return [partial(self.kernels.arithmetic.accumulate, first, second)]
        return [partial(self.kernels.arithmetic.add, first, second, at.output)]


class _AddReLU(Operation):
    reads_output = True
    overwrites_grad = True
    shares_grad = True

    def forward(self, at: Site) -> list[Call]:
        first, second = at.inputs
        return [partial(self.kernels.arithmetic.add_relu, first, second, at.output)]

    def backward(self, at: Site) -> list[Call]:
        kernel = self.kernels.activations.relu_backward
        return [partial(kernel, at.grad_output, at.output, at.grad_inputs[0])]


class _Concat(Operation):
    def forward(self, at: Site) -> list[Call]:
        places = self._places(at.inputs)
        return [
            partial(self.kernels.arithmetic.copy_channels, x, 0, at.output, first, count)
            for x, first, count in places
        ]

    def backward(self, at: Site) -> list[Call]:
        places = self._places(at.grad_inputs)
        return [
            partial(self.kernels.arithmetic.copy_channels, at.grad_output, first, grad_x, 0, count)
            for grad_x, first, count in places
            if grad_x is not None
        ]

    def _places(self, parts: Sequence[Any]) -> list[tuple[Any, int, int]]:
        """Each part with its first channel in the whole, and how many it has."""
        counts = [value.shape[0] for value in self.node.inputs]
        firsts = accumulate(counts, initial=0)
        return [*zip(parts, firsts, counts, strict=False)]


_OPERATIONS: dict[str, type[Operation]] = {
    "add": _Add,
    "add_relu": _AddReLU,
    "avg_pool2d": _AvgPool2d,
    "batchnorm": _BatchNorm,
    "batchnorm_inference": _BatchNormInference,
    "concat": _Concat,
    "conv2d": _Conv2d,
    "dropout": _Dropout,
    "flatten": _Flatten,
    "global_avg_pool2d": _GlobalAvgPool2d,
    "leaky_relu": _Elementwise,
    "linear": _Linear,
    "max_pool2d": _MaxPool2d,
    "relu": _Elementwise,
    "sigmoid": _Elementwise,
    "tanh": _Elementwise,
}


def operation(node: Node, N: int, dtype: np.dtype[Any], kernels: Kernels) -> Operation:
    """What carries out a node on N samples."""
    return _OPERATIONS[node.op](node, N, dtype, kernels)


def bind_loss(
    loss: Loss, output: Array, target: Array, grad: Array, place: Place
) -> Callable[[], Any]:
    """A loss, and its gradient by the output, from arrays in their places."""
    losses = place.kernels.losses
    match loss:
        case SoftmaxCrossEntropy(label_smoothing=smoothing, weight=weight):
            by_class = None if weight is None else place.constant(np.array(weight, output.dtype))
            return partial(losses.softmax_cross_entropy, output, target, smoothing, by_class, grad)
        case SmoothL1(beta=beta):
            return partial(losses.smooth_l1, output, target, beta, grad)
        case L1():
            return partial(losses.l1, output, target, grad)
        case MSE():
            return partial(losses.mse, output, target, grad)
        case MultiLabel():
            return partial(losses.multilabel, output, target, grad)
        case BinaryCrossEntropy():
            return partial(losses.binary_cross_entropy, output, target, grad)
    raise AssertionError(loss)


def _image(node: Node) -> tuple[int, int, int]:
    channels, height, width = node.inputs[0].shape
    return channels, height, width


def _weight_and_bias(arrays: list[Array]) -> tuple[Array, Array | None]:
    return arrays[0], arrays[1] if len(arrays) > 1 else None


def _eps_and_relu(node: Node) -> tuple[float, bool]:
    return node.attributes["eps"], node.attributes["relu"]


def _sequences(x: Array) -> Array:
    """(N, C, H, W) or (N, C) as (N, C, L)."""
    return x.reshape(*x.shape[:2], -1)
