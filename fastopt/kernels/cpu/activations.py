"""Activations and their derivatives, element by element; softmax by rows.

`y` is always the forward result: no derivative here needs more. Where `out` is the first argument
itself a kernel of its own runs: the compiler must know that it reads where it writes, or it gives
up vector code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastopt.core._jit import RULE, compile_named, compile_step
from fastopt.core._lanes import (
    add,
    add_product,
    lanes_of,
    largest,
    load,
    maximum,
    sums_for,
    total,
    widened,
)
from fastopt.kernels.cpu import threads
from fastopt.kernels.cpu.arithmetic import PIECE, piece, pieces
from fastopt.rules._elementary import exp_alike, expm1_alike

__all__ = [
    "leaky_relu",
    "leaky_relu_backward",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "softmax",
    "softmax_backward",
    "tanh",
    "tanh_backward",
]

# exp costs as much as reading so many numbers.
EXPONENTIAL = 4


def relu(x: Any, out: Any) -> None:
    """max(x, 0), and NaN where x is. `out` may be `x`."""
    _apply(_RELU, 2, x, out, x.dtype.type(0))


def relu_backward(grad: Any, y: Any, out: Any) -> None:
    """`grad` where y > 0, else 0. `out` may be `grad`."""
    _apply_backward(_RELU_BACKWARD, grad, y, out, y.dtype.type(0))


def leaky_relu(x: Any, slope: float, out: Any) -> None:
    """x where x > 0, else `slope` x. `out` may be `x`."""
    _apply(_LEAKY, 2, x, out, x.dtype.type(0), x.dtype.type(slope))


def leaky_relu_backward(grad: Any, y: Any, slope: float, out: Any) -> None:
    """`grad` where y > 0, else `slope` grad; `slope` is not negative. `out` may be `grad`."""
    _apply_backward(_LEAKY_BACKWARD, grad, y, out, y.dtype.type(0), y.dtype.type(slope))


def sigmoid(x: Any, out: Any) -> None:
    """1 / (1 + exp(-x)). `out` may be `x`."""
    _apply(_SIGMOID, 2 + EXPONENTIAL, x, out, x.dtype.type(0), x.dtype.type(1))


def sigmoid_backward(grad: Any, y: Any, out: Any) -> None:
    """grad y (1 - y). `out` may be `grad`."""
    _apply_backward(_SIGMOID_BACKWARD, grad, y, out, y.dtype.type(1))


def tanh(x: Any, out: Any) -> None:
    """The hyperbolic tangent. `out` may be `x`."""
    constants = (x.dtype.type(each) for each in (0, 2, 40))
    _apply(_TANH, 2 + EXPONENTIAL, x, out, *constants)


def tanh_backward(grad: Any, y: Any, out: Any) -> None:
    """grad (1 - y**2). `out` may be `grad`."""
    _apply_backward(_TANH_BACKWARD, grad, y, out, y.dtype.type(1))


def softmax(x: Any, out: Any) -> None:
    """exp(x) over its sum, for each row of x (N, C). `out` may be `x`."""
    rows = max(1, PIECE // x.shape[1])
    threads.run(_softmax, -(-x.shape[0] // rows), (4 + EXPONENTIAL) * x.size, x, rows, out)


def softmax_backward(grad: Any, y: Any, out: Any) -> None:
    """y (grad - y . grad), for each row of y (N, C). `out` may be `grad`."""
    rows = max(1, PIECE // y.shape[1])
    threads.run(_softmax_backward, -(-y.shape[0] // rows), 5 * y.size, grad, y, rows, out)


# --- element by element ----------------------------------------------------------------------


def _apply(kernels: Any, work: int, x: Any, out: Any, *constants: Any) -> None:
    flat, parts = out.reshape(-1), pieces(out)
    if _is_same(x, out):
        threads.run(kernels[1], parts, work * out.size, constants, flat)
    else:
        threads.run(kernels[0], parts, work * out.size, x.reshape(-1), constants, flat)


def _apply_backward(kernels: Any, grad: Any, y: Any, out: Any, *constants: Any) -> None:
    flat, parts = out.reshape(-1), pieces(out)
    if _is_same(grad, out):
        threads.run(kernels[1], parts, 3 * out.size, y.reshape(-1), constants, flat)
    else:
        arrays = grad.reshape(-1), y.reshape(-1)
        threads.run(kernels[0], parts, 3 * out.size, *arrays, constants, flat)


def _is_same(a: Any, out: Any) -> bool:
    return a is out or a.ctypes.data == out.ctypes.data


def _forward_kernels(function: Callable[..., Any]) -> Any:
    """`function` of each element, in two kernels: from x to `out`, and within `out`."""

    def apart(x: Any, constants: Any, out: Any, first: int, last: int, slot: int) -> None:
        x, out = piece(x, first, last), piece(out, first, last)
        for i in range(out.size):
            out[i] = function(x[i], *constants)

    def in_place(constants: Any, out: Any, first: int, last: int, slot: int) -> None:
        out = piece(out, first, last)
        for i in range(out.size):
            out[i] = function(out[i], *constants)

    return compile_step(apart, function), compile_step(in_place, function)


def _backward_kernels(function: Callable[..., Any]) -> Any:
    """The same of each gradient and each y."""

    def apart(
        grad: Any, y: Any, constants: Any, out: Any, first: int, last: int, slot: int
    ) -> None:
        grad, y, out = piece(grad, first, last), piece(y, first, last), piece(out, first, last)
        for i in range(out.size):
            out[i] = function(grad[i], y[i], *constants)

    def in_place(y: Any, constants: Any, out: Any, first: int, last: int, slot: int) -> None:
        y, out = piece(y, first, last), piece(out, first, last)
        for i in range(out.size):
            out[i] = function(out[i], y[i], *constants)

    return compile_step(apart, function), compile_step(in_place, function)


@RULE
def _relu_of(x: Any, zero: Any) -> Any:
    return zero if x <= zero else x


@RULE
def _relu_slope(grad: Any, y: Any, zero: Any) -> Any:
    return zero if y <= zero else grad


@RULE
def _leaky_of(x: Any, zero: Any, slope: Any) -> Any:
    return x * slope if x <= zero else x


@RULE
def _leaky_slope(grad: Any, y: Any, zero: Any, slope: Any) -> Any:
    return grad * slope if y <= zero else grad


@RULE
def _sigmoid_of(x: Any, zero: Any, one: Any) -> Any:
    # Of -|x|, which does not overflow.
    e = exp_alike(-abs(x))
    return (e if x < zero else one) / (one + e)


@RULE
def _sigmoid_slope(grad: Any, y: Any, one: Any) -> Any:
    return grad * (y * (one - y))


@RULE
def _tanh_of(x: Any, zero: Any, two: Any, enough: Any) -> Any:
    """With e = exp(2 |x|) - 1, it is e / (e + 2); from |x| = 20 on it is 1 in both precisions."""
    twice = two * abs(x)
    e = expm1_alike(enough if twice > enough else twice)
    t = e / (e + two)
    return -t if x < zero else t


@RULE
def _tanh_slope(grad: Any, y: Any, one: Any) -> Any:
    return grad * (one - y * y)


_RELU, _RELU_BACKWARD = _forward_kernels(_relu_of), _backward_kernels(_relu_slope)
_LEAKY, _LEAKY_BACKWARD = _forward_kernels(_leaky_of), _backward_kernels(_leaky_slope)
_SIGMOID, _SIGMOID_BACKWARD = _forward_kernels(_sigmoid_of), _backward_kernels(_sigmoid_slope)
_TANH, _TANH_BACKWARD = _forward_kernels(_tanh_of), _backward_kernels(_tanh_slope)


# --- by rows ---------------------------------------------------------------------------------


@RULE
def _row_maximum(x: Any, n: int) -> Any:
    C, step = x.shape[1], lanes_of(x)
    whole = C - C % step
    most = x[n, 0]
    if whole > 0:
        lanes = load(x, n, 0)
        for i in range(step, whole, step):
            lanes = maximum(lanes, load(x, n, i))
        most = largest(lanes)
    for i in range(whole, C):
        most = x[n, i] if x[n, i] > most else most
    return most


@RULE
def _row_sum(x: Any, n: int) -> Any:
    C, step = x.shape[1], lanes_of(x)
    whole = C - C % step
    sums, rest = sums_for(x), 0.0
    for i in range(0, whole, step):
        sums = add(sums, widened(load(x, n, i)))
    for i in range(whole, C):
        rest += x[n, i]
    return total(sums) + rest


@compile_named
def _softmax(x: Any, rows: int, out: Any, first: int, last: int, slot: int) -> None:
    N, C = x.shape
    one = x.dtype.type(1)
    for n in range(first * rows, min(last * rows, N)):
        most = _row_maximum(x, n)
        for i in range(C):
            out[n, i] = exp_alike(x[n, i] - most)
        share = x.dtype.type(one / _row_sum(out, n))
        for i in range(C):
            out[n, i] *= share


@compile_named
def _softmax_backward(
    grad: Any, y: Any, rows: int, out: Any, first: int, last: int, slot: int
) -> None:
    N, C = y.shape
    step = lanes_of(y)
    whole = C - C % step
    for n in range(first * rows, min(last * rows, N)):
        sums, rest = sums_for(y), 0.0
        for i in range(0, whole, step):
            sums = add_product(sums, widened(load(y, n, i)), widened(load(grad, n, i)))
        for i in range(whole, C):
            rest += y[n, i] * grad[n, i]
        mean = y.dtype.type(total(sums) + rest)
        for i in range(C):
            out[n, i] = y[n, i] * (grad[n, i] - mean)
