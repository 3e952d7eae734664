"""Activations and their derivatives, element by element; softmax by rows."""

from __future__ import annotations

from fastopt.device.arrays import DeviceArray
from fastopt.device.language import inlined
from fastopt.kernels.cuda.elementwise import apply

__all__ = ["leaky_relu", "relu", "relu_backward"]


def relu(x: DeviceArray, out: DeviceArray) -> None:
    """max(x, 0), and NaN where x is. `out` may be `x`."""
    apply(_relu, (x,), 0.0, out)


def relu_backward(grad: DeviceArray, y: DeviceArray, out: DeviceArray) -> None:
    """`grad` where y > 0, else 0. `out` may be `grad`."""
    apply(_relu_backward, (grad, y), 0.0, out)


def leaky_relu(x: DeviceArray, slope: float, out: DeviceArray) -> None:
    """x where x > 0, else `slope` x. `out` may be `x`."""
    apply(_leaky_relu, (x,), slope, out)


@inlined
def _relu(x, zero):
    return zero if x < zero else x


@inlined
def _relu_backward(grad, y, zero):
    return grad if y > zero else zero


@inlined
def _leaky_relu(x, slope):
    return x if x > slope - slope else slope * x
