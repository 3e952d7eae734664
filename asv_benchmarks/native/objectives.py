"""The objectives: functions for Numba, and the same as C functions of fastopt's own signature.

A function is ``fun(x, grad, *args) -> value``; it fills `grad` unless that is empty. The C function
around it (fastopt/core/abi.pxd has the signature) finds the arguments through its context. Its
pointers are typed as integers, which are passed alike and can be compared with null.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numba import carray, cfunc, njit, types
from numba.extending import intrinsic

SIGNATURE = types.int32(types.intp, types.intp, types.intp, types.intp, types.intp)

POINTS = 50

# What the context of a fit points to.
SPECTRUM = np.dtype([("t", np.intp), ("y", np.intp), ("m", np.intp)])


@dataclass(frozen=True)
class Problems:
    """A batch: one objective, and for each problem a start and arguments."""

    name: str
    fun: Callable[..., float]
    args: tuple[np.ndarray, ...]
    batched: tuple[bool, ...]  # which of `args` have a row for each problem
    function: Any  # `fun` as a cfunc
    starts: np.ndarray  # (problems, n)
    contexts: np.ndarray  # (problems,), addresses
    kept: np.ndarray | None = None  # what they are addresses of

    def first(self, count: int) -> Problems:
        pairs = zip(self.args, self.batched, strict=True)
        return replace(
            self,
            args=tuple(arg[:count] if each else arg for arg, each in pairs),
            starts=self.starts[:count],
            contexts=self.contexts[:count],
        )


@intrinsic
def pointer(context, address):
    """`address` as a pointer to doubles."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.float64)(types.intp), generate


@njit(error_model="numpy", forceinline=True)
def doubles(address, n):
    """The n doubles at `address`; none at null."""
    return carray(pointer(address), n if address != 0 else 0)


@njit(error_model="numpy", forceinline=True)
def rosenbrock(x, grad):
    """Chained: the sum of 100 (x[i + 1] - x[i]^2)^2 + (1 - x[i])^2."""
    value = 0.0
    if grad.size == 0:
        for i in range(x.size - 1):
            value += 100.0 * (x[i + 1] - x[i] * x[i]) ** 2 + (1.0 - x[i]) ** 2
        return value
    grad[0] = 0.0
    for i in range(x.size - 1):
        valley = x[i + 1] - x[i] * x[i]
        slope = 1.0 - x[i]
        value += 100.0 * valley * valley + slope * slope
        grad[i] -= 400.0 * valley * x[i] + 2.0 * slope
        grad[i + 1] = 200.0 * valley
    return value


@njit(error_model="numpy", forceinline=True)
def quartic(x, grad):
    """The sum of (x[i] - 1)^4 and of (x[i + 1] - x[i])^2: a tridiagonal Hessian, singular at 1."""
    value = 0.0
    before = 0.0
    for i in range(x.size):
        off = x[i] - 1.0
        after = x[i + 1] - x[i] if i + 1 < x.size else 0.0
        value += off * off * off * off + after * after
        if grad.size > 0:
            grad[i] = 4.0 * off * off * off + 2.0 * (before - after)
        before = after
    return value


@njit(error_model="numpy", forceinline=True)
def least_squares(p, grad, t, y):
    """Sum of squares of a exp(-z^2 / 2) + b - y, where z = (t - c) / w; p is a, c, w, b."""
    value = g0 = g1 = g2 = g3 = 0.0
    for i in range(t.size):
        z = (t[i] - p[1]) / p[2]
        shape = math.exp(-0.5 * z * z)
        residual = p[0] * shape + p[3] - y[i]
        value += residual * residual
        g0 += residual * shape
        g1 += residual * shape * z
        g2 += residual * shape * z * z
        g3 += residual
    if grad.size > 0:
        grad[0] = 2.0 * g0
        grad[1] = 2.0 * g1 * p[0] / p[2]
        grad[2] = 2.0 * g2 * p[0] / p[2]
        grad[3] = 2.0 * g3
    return value


@njit(error_model="numpy", forceinline=True)
def poisson(p, grad, t, y):
    """Of counts y: the sum of rate - y log(rate), the rate as above, positive for every p.

    p is the logarithm of a, c, and the logarithms of w and b.
    """
    amplitude = math.exp(p[0])
    width = math.exp(p[2])
    background = math.exp(p[3])
    value = g0 = g1 = g2 = g3 = 0.0
    for i in range(t.size):
        z = (t[i] - p[1]) / width
        line = amplitude * math.exp(-0.5 * z * z)
        rate = line + background
        excess = 1.0 - y[i] / rate
        value += rate - y[i] * math.log(rate)
        g0 += excess * line
        g1 += excess * line * z
        g2 += excess * line * z * z
        g3 += excess
    if grad.size > 0:
        grad[0] = g0
        grad[1] = g1 / width
        grad[2] = g2
        grad[3] = g3 * background
    return value


@cfunc(SIGNATURE, error_model="numpy")
def rosenbrock_function(x_at, value_at, grad_at, n, context):
    value = rosenbrock(doubles(x_at, n), doubles(grad_at, n))
    if value_at != 0:
        doubles(value_at, 1)[0] = value
    return 0


@cfunc(SIGNATURE, error_model="numpy")
def quartic_function(x_at, value_at, grad_at, n, context):
    value = quartic(doubles(x_at, n), doubles(grad_at, n))
    if value_at != 0:
        doubles(value_at, 1)[0] = value
    return 0


@cfunc(SIGNATURE, error_model="numpy")
def least_squares_function(p_at, value_at, grad_at, n, context):
    spectrum = doubles(context, 3).view(np.intp)
    t = doubles(spectrum[0], spectrum[2])
    y = doubles(spectrum[1], spectrum[2])
    value = least_squares(doubles(p_at, n), doubles(grad_at, n), t, y)
    if value_at != 0:
        doubles(value_at, 1)[0] = value
    return 0


@cfunc(SIGNATURE, error_model="numpy")
def poisson_function(p_at, value_at, grad_at, n, context):
    spectrum = doubles(context, 3).view(np.intp)
    t = doubles(spectrum[0], spectrum[2])
    y = doubles(spectrum[1], spectrum[2])
    value = poisson(doubles(p_at, n), doubles(grad_at, n), t, y)
    if value_at != 0:
        doubles(value_at, 1)[0] = value
    return 0


# --- Batches ---------------------------------------------------------------------------------


def rosenbrock_problems(n: int, count: int) -> Problems:
    """The same one `count` times, from the standard start."""
    return rosenbrock_from(f"rosenbrock {n}", np.tile(np.resize([-1.2, 1.0], n), (count, 1)))


def rosenbrock_near(n: int, count: int) -> Problems:
    """Likewise, but only the first variable starts off the valley's end: a short way."""
    start = np.ones(n)
    start[0] = -1.2
    return rosenbrock_from(f"rosenbrock {n} near", np.tile(start, (count, 1)))


def rosenbrock_scattered(count: int, seed: int = 0) -> Problems:
    """Easy and hard starts in two dimensions, from U(-5, 5)."""
    starts = np.random.default_rng(seed).uniform(-5.0, 5.0, (count, 2))
    return rosenbrock_from("rosenbrock scattered", starts)


def rosenbrock_from(name: str, starts: np.ndarray) -> Problems:
    contexts = np.zeros(len(starts), dtype=np.intp)
    return Problems(name, rosenbrock, (), (), rosenbrock_function, starts, contexts)


def least_squares_fits(count: int, seed: int = 0) -> Problems:
    """Spectral lines under noise of a constant strength; starts read off the data, as one would."""
    t, model = lines(count, seed)
    y = model + np.random.default_rng(seed + 1).normal(0.0, 3.0, model.shape)
    return fits("least squares", least_squares, least_squares_function, t, y, read_off(t, y))


def poisson_fits(count: int, seed: int = 0) -> Problems:
    """The same lines as counts of photons."""
    t, model = lines(count, seed)
    y = np.random.default_rng(seed + 1).poisson(model).astype(np.float64)
    starts = read_off(t, y)
    starts[:, [0, 2, 3]] = np.log(np.maximum(starts[:, [0, 2, 3]], 1.0))
    return fits("poisson", poisson, poisson_function, t, y, starts)


def lines(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Channels (POINTS,) and expected counts (count, POINTS): a line on a flat background."""
    rng = np.random.default_rng(seed)
    t = np.arange(float(POINTS))
    amplitude = rng.uniform(20.0, 200.0, (count, 1))
    centre = rng.uniform(15.0, 35.0, (count, 1))
    width = rng.uniform(2.0, 6.0, (count, 1))
    background = rng.uniform(5.0, 20.0, (count, 1))
    return t, amplitude * np.exp(-0.5 * ((t - centre) / width) ** 2) + background


def read_off(t: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Amplitude, centre, width and background by eye: highest point, median, four channels."""
    background = np.median(y, axis=1)
    height = y.max(axis=1) - background
    return np.column_stack([height, t[y.argmax(axis=1)], np.full(len(y), 4.0), background])


def fits(
    name: str,
    fun: Callable[..., float],
    function: Any,
    t: np.ndarray,
    y: np.ndarray,
    starts: np.ndarray,
) -> Problems:
    spectra = np.empty(len(y), dtype=SPECTRUM)
    spectra["t"] = t.ctypes.data
    spectra["y"] = y.ctypes.data + y.strides[0] * np.arange(len(y))
    spectra["m"] = len(t)
    contexts = spectra.ctypes.data + SPECTRUM.itemsize * np.arange(len(y), dtype=np.intp)
    return Problems(name, fun, (t, y), (False, True), function, starts, contexts, spectra)
