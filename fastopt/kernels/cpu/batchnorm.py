"""Batch normalization of x (N, C, L), forth and back, with a ReLU behind it if wanted.

Statistics are float64 sums of differences: from the mean of the first image forth, from the mean
back, so that nothing cancels however far from zero the numbers are. With L = 1 rows are read as
they lie, many channels side by side; otherwise a part is a channel, whose numbers are still in the
second-level cache when they are read again.

The ReLU is no pass of its own and saves nothing: backward computes its argument once more from x,
with the same roundings. `weight` and `bias` may be None, for 1 and 0, and so may their gradients.

(Numbers are widened by `np.float64`: `float` leaves a float32 as it is in compiled code.)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastopt.core._jit import RULE, compile_named
from fastopt.core._lanes import (
    add,
    add_product,
    gated,
    lanes_of,
    load,
    spread,
    subtract,
    sums_for,
    total,
    widened,
)
from fastopt.kernels.cpu import threads

__all__ = ["backward", "backward_inference", "forward", "inference", "update_running"]

# Channels of a part where L = 1: a row of them is 512 bytes or more, which come at full speed, and
# their sums stay in the first-level cache.
BLOCK = 128


def forward(x: Any, weight: Any, bias: Any, eps: float, relu: bool, out: Any, saved: Any) -> None:
    """Normalize with the batch's own statistics, and leave these in `saved`.

    Parameters
    ----------
    x, out : (N, C, L) array
    weight, bias : (C,) array or None
    eps : float
        Added to the variance.
    relu : bool
        Whether negative results become 0.
    saved : (2, C) array of float64
        Becomes mean and biased variance of each channel.
    """
    kernel, parts = _cut(x, _forward_rows, _forward)
    threads.run(kernel, parts, 3 * x.size, x, weight, bias, eps, relu, out, saved)


def inference(
    x: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    eps: float,
    relu: bool,
    out: Any,
) -> None:
    """Normalize with given statistics, (C,) each; else as `forward`."""
    kernel, parts = _cut(x, _inference_rows, _inference)
    threads.run(
        kernel, parts, 2 * x.size, x, weight, bias, running_mean, running_var, eps, relu, out
    )


def backward(
    grad: Any,
    x: Any,
    weight: Any,
    bias: Any,
    saved: Any,
    eps: float,
    relu: bool,
    grad_x: Any,
    grad_weight: Any,
    grad_bias: Any,
) -> None:
    """The gradients of x, weight and bias from that of `forward`'s result.

    Parameters
    ----------
    grad, x, grad_x : (N, C, L) array
        `grad_x` may be `grad`.
    weight, bias, eps, relu
        As `forward` had them.
    saved : (2, C) array of float64
        What `forward` left there.
    grad_weight, grad_bias : (C,) array or None
    """
    kernel, parts = _cut(x, _backward_rows, _backward)
    threads.run(
        kernel,
        parts,
        5 * x.size,
        grad,
        x,
        weight,
        bias,
        saved[0],
        saved[1],
        eps,
        relu,
        True,
        grad_x,
        grad_weight,
        grad_bias,
    )


def backward_inference(
    grad: Any,
    x: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    eps: float,
    relu: bool,
    grad_x: Any,
    grad_weight: Any,
    grad_bias: Any,
) -> None:
    """As `backward`, for `inference`, whose statistics do not depend on x."""
    kernel, parts = _cut(x, _backward_rows, _backward)
    threads.run(
        kernel,
        parts,
        5 * x.size,
        grad,
        x,
        weight,
        bias,
        running_mean,
        running_var,
        eps,
        relu,
        False,
        grad_x,
        grad_weight,
        grad_bias,
    )


def update_running(
    saved: Any, count: int, momentum: float, running_mean: Any, running_var: Any
) -> None:
    """Move running statistics towards those of a batch, `momentum` of the way, as PyTorch does.

    Parameters
    ----------
    saved : (2, C) array of float64
        What `forward` left there.
    count : int
        N L, above 1: the running variance is that of a population, ``count / (count - 1)`` times
        the batch's.
    momentum : float
    running_mean, running_var : (C,) array
    """
    _update_running(saved, count, momentum, running_mean, running_var)


def _cut(x: Any, by_rows: Any, by_channels: Any) -> Any:
    """The kernel for this shape, and the number of its parts."""
    _, C, L = x.shape
    return (by_rows, -(-C // BLOCK)) if L == 1 else (by_channels, C)


@compile_named
def _update_running(
    saved: Any, count: int, momentum: float, running_mean: Any, running_var: Any
) -> None:
    unbiased = count / (count - 1)
    for c in range(running_mean.size):
        running_mean[c] = (1.0 - momentum) * running_mean[c] + momentum * saved[0, c]
        running_var[c] = (1.0 - momentum) * running_var[c] + momentum * unbiased * saved[1, c]


@RULE
def _factors(weight: Any, bias: Any, c: int, var: float, eps: float) -> Any:
    """1 / the standard deviation, weight and bias of a channel."""
    inverse = 1.0 / math.sqrt(var + eps)
    w = 1.0 if weight is None else np.float64(weight[c])
    b = 0.0 if bias is None else np.float64(bias[c])
    return inverse, w, b


@RULE
def _affine(weight: Any, bias: Any, c: int, mean: float, var: float, eps: float, dtype: Any) -> Any:
    """What one entry needs: ``(x - centre) * scale + shift``, in x's precision.

    The centre is the mean in that precision, and the shift takes up what is left of it.
    """
    inverse, w, b = _factors(weight, bias, c, var, eps)
    centre, scale = dtype.type(mean), w * inverse
    return centre, dtype.type(scale), dtype.type(b - (mean - np.float64(centre)) * scale)


# --- a part is a channel ---------------------------------------------------------------------


@RULE
def _row_sum(rows: Any, r: int) -> Any:
    L, step = rows.shape[1], lanes_of(rows)
    sums = sums_for(rows)
    whole = L - L % step
    for i in range(0, whole, step):
        sums = add(sums, widened(load(rows, r, i)))
    rest = 0.0
    for i in range(whole, L):
        rest += rows[r, i]
    return total(sums) + rest


@RULE
def _statistics(rows: Any, N: int, C: int, c: int) -> Any:
    """Mean and biased variance of channel c: of rows c, C + c, ..."""
    L, step = rows.shape[1], lanes_of(rows)
    whole = L - L % step
    # A number of the first row would do as well, were it not for outliers.
    pivot = rows.dtype.type(_row_sum(rows, c) / L)
    pivots = spread(pivot)
    sums, squares = sums_for(rows), sums_for(rows)
    rest, rest_squares = 0.0, 0.0
    for r in range(c, N * C, C):
        for i in range(0, whole, step):
            d = widened(subtract(load(rows, r, i), pivots))
            sums = add(sums, d)
            squares = add_product(squares, d, d)
        for i in range(whole, L):
            e = np.float64(rows[r, i] - pivot)
            rest += e
            rest_squares += e * e
    offset = (total(sums) + rest) / (N * L)
    var = (total(squares) + rest_squares) / (N * L) - offset * offset
    return np.float64(pivot) + offset, max(var, 0.0) if var == var else var


@RULE
def _normalize(
    rows: Any, r: int, centre: Any, scale: Any, shift: Any, relu: bool, out: Any
) -> None:
    zero = rows.dtype.type(0)
    if relu:
        for i in range(rows.shape[1]):
            y = (rows[r, i] - centre) * scale + shift
            out[r, i] = zero if y <= zero else y
    else:
        for i in range(rows.shape[1]):
            out[r, i] = (rows[r, i] - centre) * scale + shift


@compile_named
def _forward(
    x: Any,
    weight: Any,
    bias: Any,
    eps: float,
    relu: bool,
    out: Any,
    saved: Any,
    first: int,
    last: int,
    slot: int,
) -> None:
    N, C, L = x.shape
    rows, outs = x.reshape(N * C, L), out.reshape(N * C, L)
    for c in range(first, last):
        mean, var = _statistics(rows, N, C, c)
        saved[0, c], saved[1, c] = mean, var
        centre, scale, shift = _affine(weight, bias, c, mean, var, eps, x.dtype)
        for r in range(c, N * C, C):
            _normalize(rows, r, centre, scale, shift, relu, outs)


@compile_named
def _inference(
    x: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    eps: float,
    relu: bool,
    out: Any,
    first: int,
    last: int,
    slot: int,
) -> None:
    N, C, L = x.shape
    rows, outs = x.reshape(N * C, L), out.reshape(N * C, L)
    for c in range(first, last):
        centre, scale, shift = _affine(
            weight, bias, c, np.float64(running_mean[c]), np.float64(running_var[c]), eps, x.dtype
        )
        for r in range(c, N * C, C):
            _normalize(rows, r, centre, scale, shift, relu, outs)


@RULE
def _gradient_sums(
    grads: Any, rows: Any, N: int, C: int, c: int, centre: Any, scale: Any, shift: Any, relu: bool
) -> Any:
    """The sums over channel c of grad, and of grad (x - centre)."""
    L, step = rows.shape[1], lanes_of(rows)
    whole = L - L % step
    zero = rows.dtype.type(0)
    centres, scales, shifts = spread(centre), spread(scale), spread(shift)
    sums, products = sums_for(rows), sums_for(rows)
    rest, rest_products = 0.0, 0.0
    for r in range(c, N * C, C):
        for i in range(0, whole, step):
            g = load(grads, r, i)
            d = subtract(load(rows, r, i), centres)
            if relu:
                g = gated(add_product(shifts, d, scales), g)
            wide = widened(g)
            sums = add(sums, wide)
            products = add_product(products, wide, widened(d))
        for i in range(whole, L):
            g0 = grads[r, i]
            d0 = rows[r, i] - centre
            if relu and d0 * scale + shift <= zero:
                g0 = zero
            rest += np.float64(g0)
            rest_products += np.float64(g0) * np.float64(d0)
    return total(sums) + rest, total(products) + rest_products


@RULE
def _spread_gradient(
    grads: Any,
    rows: Any,
    r: int,
    centre: Any,
    scale: Any,
    shift: Any,
    slope: Any,
    level: Any,
    relu: bool,
    out: Any,
) -> None:
    """``grad * scale - (x - centre) * slope - level``, where grad is 0 where the ReLU was."""
    zero = rows.dtype.type(0)
    if relu:
        for i in range(rows.shape[1]):
            d = rows[r, i] - centre
            g = zero if d * scale + shift <= zero else grads[r, i]
            out[r, i] = g * scale - (d * slope + level)
    else:
        for i in range(rows.shape[1]):
            out[r, i] = grads[r, i] * scale - ((rows[r, i] - centre) * slope + level)


@RULE
def _scale_gradient(
    grads: Any,
    rows: Any,
    r: int,
    centre: Any,
    scale: Any,
    shift: Any,
    relu: bool,
    out: Any,
) -> None:
    """The same where the statistics do not depend on x."""
    zero = rows.dtype.type(0)
    if relu:
        for i in range(rows.shape[1]):
            y = (rows[r, i] - centre) * scale + shift
            out[r, i] = zero if y <= zero else grads[r, i] * scale
    else:
        for i in range(rows.shape[1]):
            out[r, i] = grads[r, i] * scale


@RULE
def _spread_factors(
    sums: float, products: float, mean: float, centre: Any, inverse: float, w: float, count: int
) -> Any:
    """Slope and level of `_spread_gradient`, and the gradient of the weight.

    With the mean m, 1/std = t, and sums over the channel of grad, s, and of grad (x - m), q, the
    gradient of x is ``w t (grad - s/M - (x - m) t**2 q/M)`` (Ioffe & Szegedy 2015, section 3).
    """
    left = mean - np.float64(centre)
    q = products - left * sums
    slope = w * inverse * inverse * inverse * q / count
    return slope, w * inverse * sums / count - left * slope, q * inverse


@compile_named
def _backward(
    grad: Any,
    x: Any,
    weight: Any,
    bias: Any,
    mean: Any,
    var: Any,
    eps: float,
    relu: bool,
    training: bool,
    grad_x: Any,
    grad_weight: Any,
    grad_bias: Any,
    first: int,
    last: int,
    slot: int,
) -> None:
    N, C, L = x.shape
    grads, rows = grad.reshape(N * C, L), x.reshape(N * C, L)
    outs = grad_x.reshape(N * C, L)
    for c in range(first, last):
        m, v = np.float64(mean[c]), np.float64(var[c])
        inverse, w, _ = _factors(weight, bias, c, v, eps)
        centre, scale, shift = _affine(weight, bias, c, m, v, eps, x.dtype)
        sums, products = _gradient_sums(grads, rows, N, C, c, centre, scale, shift, relu)
        slope, level, steepness = _spread_factors(sums, products, m, centre, inverse, w, N * L)
        if grad_weight is not None:
            grad_weight[c] = steepness
        if grad_bias is not None:
            grad_bias[c] = sums
        slope, level = x.dtype.type(slope), x.dtype.type(level)
        for r in range(c, N * C, C):
            if training:
                _spread_gradient(grads, rows, r, centre, scale, shift, slope, level, relu, outs)
            else:
                _scale_gradient(grads, rows, r, centre, scale, shift, relu, outs)


# --- a part is a block of channels, of which each row has one number -------------------------


@RULE
def _affine_block(
    weight: Any, bias: Any, mean: Any, var: Any, eps: float, begin: int, end: int, factors: Any
) -> None:
    """`_affine` of channels begin to end - 1."""
    for c in range(begin, end):
        j = c - begin
        factors[0, j], factors[1, j], factors[2, j] = _affine(
            weight, bias, c, np.float64(mean[c]), np.float64(var[c]), eps, factors.dtype
        )


@RULE
def _normalize_block(rows: Any, factors: Any, begin: int, end: int, relu: bool, out: Any) -> None:
    zero = rows.dtype.type(0)
    for n in range(rows.shape[0]):
        row, to = rows[n, begin:end], out[n, begin:end]
        if relu:
            for j in range(row.size):
                y = (row[j] - factors[0, j]) * factors[1, j] + factors[2, j]
                to[j] = zero if y <= zero else y
        else:
            for j in range(row.size):
                to[j] = (row[j] - factors[0, j]) * factors[1, j] + factors[2, j]


@compile_named
def _forward_rows(
    x: Any,
    weight: Any,
    bias: Any,
    eps: float,
    relu: bool,
    out: Any,
    saved: Any,
    first: int,
    last: int,
    slot: int,
) -> None:
    N, C, _ = x.shape
    rows, outs = x.reshape(N, C), out.reshape(N, C)
    factors = np.empty((3, BLOCK), x.dtype)
    for part in range(first, last):
        begin, end = part * BLOCK, min(C, (part + 1) * BLOCK)
        sums, squares = saved[0, begin:end], saved[1, begin:end]
        pivots = rows[0, begin:end]
        sums[:] = 0.0
        squares[:] = 0.0
        for n in range(N):
            row = rows[n, begin:end]
            for j in range(row.size):
                d = np.float64(row[j] - pivots[j])
                sums[j] += d
                squares[j] += d * d
        for j in range(end - begin):
            offset = sums[j] / N
            var = squares[j] / N - offset * offset
            sums[j] = np.float64(pivots[j]) + offset
            squares[j] = 0.0 if var < 0.0 else var
        _affine_block(weight, bias, saved[0], saved[1], eps, begin, end, factors)
        _normalize_block(rows, factors, begin, end, relu, outs)


@compile_named
def _inference_rows(
    x: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    eps: float,
    relu: bool,
    out: Any,
    first: int,
    last: int,
    slot: int,
) -> None:
    N, C, _ = x.shape
    factors = np.empty((3, BLOCK), x.dtype)
    for part in range(first, last):
        begin, end = part * BLOCK, min(C, (part + 1) * BLOCK)
        _affine_block(weight, bias, running_mean, running_var, eps, begin, end, factors)
        _normalize_block(x.reshape(N, C), factors, begin, end, relu, out.reshape(N, C))


@RULE
def _gradient_sums_block(
    grads: Any, rows: Any, factors: Any, begin: int, end: int, relu: bool, sums: Any
) -> None:
    """`_gradient_sums` of channels begin to end - 1, to the two rows of `sums`."""
    zero = rows.dtype.type(0)
    sums[:] = 0.0
    for n in range(rows.shape[0]):
        grad, row = grads[n, begin:end], rows[n, begin:end]
        for j in range(row.size):
            d = row[j] - factors[0, j]
            closed = relu and d * factors[1, j] + factors[2, j] <= zero
            g = zero if closed else grad[j]
            sums[0, j] += np.float64(g)
            sums[1, j] += np.float64(g) * np.float64(d)


@compile_named
def _backward_rows(
    grad: Any,
    x: Any,
    weight: Any,
    bias: Any,
    mean: Any,
    var: Any,
    eps: float,
    relu: bool,
    training: bool,
    grad_x: Any,
    grad_weight: Any,
    grad_bias: Any,
    first: int,
    last: int,
    slot: int,
) -> None:
    N, C, _ = x.shape
    grads, rows, outs = grad.reshape(N, C), x.reshape(N, C), grad_x.reshape(N, C)
    factors, sums = np.empty((5, BLOCK), x.dtype), np.empty((2, BLOCK))
    zero = x.dtype.type(0)
    for part in range(first, last):
        begin, end = part * BLOCK, min(C, (part + 1) * BLOCK)
        _affine_block(weight, bias, mean, var, eps, begin, end, factors)
        _gradient_sums_block(grads, rows, factors, begin, end, relu, sums)
        for c in range(begin, end):
            j = c - begin
            inverse, w, _ = _factors(weight, bias, c, np.float64(var[c]), eps)
            factors[3, j], factors[4, j], steepness = _spread_factors(
                sums[0, j], sums[1, j], np.float64(mean[c]), factors[0, j], inverse, w, N
            )
            if grad_weight is not None:
                grad_weight[c] = steepness
            if grad_bias is not None:
                grad_bias[c] = sums[0, j]
        for n in range(N):
            upper, row, to = grads[n, begin:end], rows[n, begin:end], outs[n, begin:end]
            for j in range(row.size):
                d = row[j] - factors[0, j]
                closed = relu and d * factors[1, j] + factors[2, j] <= zero
                g = zero if closed else upper[j]
                if training:
                    to[j] = g * factors[1, j] - (d * factors[3, j] + factors[4, j])
                else:
                    to[j] = g * factors[1, j]
