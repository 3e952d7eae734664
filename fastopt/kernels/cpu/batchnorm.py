"""Batch normalization of x (N, C, L), forth and back, with a ReLU behind it if wanted.

Statistics are float64 sums of differences: from the mean of the first image forth, from the mean
back, so that nothing cancels however far from zero the numbers are. Where L is small rows are read
as they lie, many channels side by side; otherwise a part is a channel, whose numbers are still in
the second-level cache when they are read again.

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
    before_line,
    fetch,
    gated,
    lanes_of,
    load,
    load_beside,
    load_part,
    multiply,
    spread,
    store,
    store_part,
    subtract,
    sums_for,
    total,
    widened,
)
from fastopt.kernels.cpu import threads

__all__ = ["backward", "backward_inference", "forward", "inference", "update_running"]

# From this L on a part is a channel. Below, its pieces are short and often a power of two apart, so
# that few fit into a cache at once.
LONG = 32
# Columns of a part below: as long a row comes at full speed, and what is kept for each column is
# still in the first-level cache for the next row.
BLOCK = 1024


def forward(
    x: Any,
    weight: Any,
    bias: Any,
    eps: float,
    relu: bool,
    out: Any,
    saved: Any,
    momentum: float = 0.0,
    running_mean: Any = None,
    running_var: Any = None,
) -> None:
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
    momentum, running_mean, running_var
        As `update_running` has them, if they are to move.
    """
    kernel, parts = _cut(x, _forward_columns, _forward)
    threads.run(kernel, parts, 3 * x.size, x, weight, bias, eps, relu, out, saved)
    if running_mean is not None:
        N, _, L = x.shape
        update_running(saved, N * L, momentum, running_mean, running_var)


def inference(
    x: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    eps: float,
    relu: bool,
    out: Any,
    saved: Any = None,
) -> None:
    """Normalize with given statistics, (C,) each; else as `forward`.

    They are copied to `saved`, (2, C) of float64, if it is not None. `out` may be `x`.
    """
    N, C, L = x.shape
    if saved is not None:
        saved[0], saved[1] = running_mean, running_var
    parts = N if L < LONG else N * C
    threads.run(
        _inference, parts, 2 * x.size, x, weight, bias, running_mean, running_var, eps, relu, out
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
    kernel, parts = _cut(x, _backward_columns, _backward)
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
    kernel, parts = _cut(x, _backward_columns, _backward)
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


def _cut(x: Any, by_columns: Any, by_channels: Any) -> Any:
    """The kernel for this shape, and the number of its parts."""
    _, C, L = x.shape
    return (by_columns, -(-C // _channels(L))) if L < LONG else (by_channels, C)


@RULE
def _channels(L: int) -> int:
    """How many channels a part has where L is not long."""
    return max(1, BLOCK // L)


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
    if whole < L:
        nothing = spread(rows.dtype.type(0))
        sums = add(sums, widened(load_part(rows, r, whole, L - whole, nothing)))
    return total(sums)


@RULE
def _statistics(rows: Any, N: int, C: int, c: int) -> Any:
    """Mean and biased variance of channel c: of rows c, C + c, ..."""
    L, step = rows.shape[1], lanes_of(rows)
    whole = L - L % step
    # A number of the first row would do as well, were it not for outliers.
    pivot = rows.dtype.type(_row_sum(rows, c) / L)
    pivots = spread(pivot)
    wide = widened(pivots)
    sums, squares = sums_for(rows), sums_for(rows)
    for r in range(c, N * C, C):
        for i in range(0, whole, step):
            fetch(rows, r + C, i)
            d = subtract(widened(load(rows, r, i)), wide)
            sums = add(sums, d)
            squares = add_product(squares, d, d)
        if whole < L:
            d = subtract(widened(load_part(rows, r, whole, L - whole, pivots)), wide)
            sums = add(sums, d)
            squares = add_product(squares, d, d)
    offset = total(sums) / (N * L)
    var = total(squares) / (N * L) - offset * offset
    return np.float64(pivot) + offset, max(var, 0.0) if var == var else var


@RULE
def _whole_lines(out: Any, r: int) -> Any:
    """Where in a row the first cache line begins, and where the last whole one ends."""
    L, step = out.shape[1], lanes_of(out)
    begin = min(before_line(out, r), L)
    return begin, L - (L - begin) % step


@RULE
def _normalize(
    rows: Any, r: int, centre: Any, scale: Any, shift: Any, relu: bool, out: Any
) -> None:
    L, step = rows.shape[1], lanes_of(rows)
    begin, end = _whole_lines(out, r)
    centres, scales, shifts = spread(centre), spread(scale), spread(shift)
    for i in range(begin, end, step):
        lanes = add(multiply(subtract(load(rows, r, i), centres), scales), shifts)
        store(out, r, i, gated(lanes, lanes) if relu else lanes)
    for first, last in ((0, begin), (end, L)):
        if first < last:
            x = load_part(rows, r, first, last - first, centres)
            lanes = add(multiply(subtract(x, centres), scales), shifts)
            store_part(out, r, first, last - first, gated(lanes, lanes) if relu else lanes)


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


@RULE
def _gradient_sums(
    grads: Any, rows: Any, N: int, C: int, c: int, centre: Any, scale: Any, shift: Any, relu: bool
) -> Any:
    """The sums over channel c of grad, and of grad (x - centre)."""
    L, step = rows.shape[1], lanes_of(rows)
    whole = L - L % step
    nothing = spread(rows.dtype.type(0))
    centres, scales, shifts = spread(centre), spread(scale), spread(shift)
    sums, products = sums_for(rows), sums_for(rows)
    for r in range(c, N * C, C):
        for i in range(0, whole, step):
            fetch(grads, r + C, i)
            fetch(rows, r + C, i)
            g = load(grads, r, i)
            d = subtract(load(rows, r, i), centres)
            if relu:
                g = gated(add(multiply(d, scales), shifts), g)
            wide = widened(g)
            sums = add(sums, wide)
            products = add_product(products, wide, widened(d))
        if whole < L:
            g = load_part(grads, r, whole, L - whole, nothing)
            d = subtract(load_part(rows, r, whole, L - whole, centres), centres)
            if relu:
                g = gated(add(multiply(d, scales), shifts), g)
            wide = widened(g)
            sums = add(sums, wide)
            products = add_product(products, wide, widened(d))
    return total(sums), total(products)


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
    L, step = rows.shape[1], lanes_of(rows)
    begin, end = _whole_lines(out, r)
    centres, scales, shifts = spread(centre), spread(scale), spread(shift)
    slopes, levels = spread(slope), spread(level)
    for i in range(begin, end, step):
        d, g = subtract(load(rows, r, i), centres), load(grads, r, i)
        if relu:
            g = gated(add(multiply(d, scales), shifts), g)
        store(out, r, i, subtract(multiply(g, scales), add(multiply(d, slopes), levels)))
    for first, last in ((0, begin), (end, L)):
        if first < last:
            d = subtract(load_part(rows, r, first, last - first, centres), centres)
            g = load_part(grads, r, first, last - first, centres)
            if relu:
                g = gated(add(multiply(d, scales), shifts), g)
            lanes = subtract(multiply(g, scales), add(multiply(d, slopes), levels))
            store_part(out, r, first, last - first, lanes)


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
    L, step = rows.shape[1], lanes_of(rows)
    begin, end = _whole_lines(out, r)
    centres, scales, shifts = spread(centre), spread(scale), spread(shift)
    for i in range(begin, end, step):
        g = load(grads, r, i)
        if relu:
            d = subtract(load(rows, r, i), centres)
            g = gated(add(multiply(d, scales), shifts), g)
        store(out, r, i, multiply(g, scales))
    for first, last in ((0, begin), (end, L)):
        if first < last:
            g = load_part(grads, r, first, last - first, centres)
            if relu:
                d = subtract(load_part(rows, r, first, last - first, centres), centres)
                g = gated(add(multiply(d, scales), shifts), g)
            store_part(out, r, first, last - first, multiply(g, scales))


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


# --- a part is a block of channels, whose columns are read row by row ------------------------
#
# A row is an example, in which a channel is L columns. Sums are kept for each column, and those of
# a channel added up in the end.


@RULE
def _affine_columns(
    weight: Any,
    bias: Any,
    mean: Any,
    var: Any,
    eps: float,
    first: int,
    last: int,
    L: int,
    factors: Any,
) -> None:
    """`_affine` of channels first to last - 1, for each of their columns."""
    for c in range(first, last):
        centre, scale, shift = _affine(
            weight, bias, c, np.float64(mean[c]), np.float64(var[c]), eps, factors.dtype
        )
        for j in range((c - first) * L, (c - first + 1) * L):
            factors[0, j], factors[1, j], factors[2, j] = centre, scale, shift


@RULE
def _normalize_columns(
    rows: Any, n: int, factors: Any, begin: int, end: int, relu: bool, out: Any
) -> None:
    """Columns begin to end - 1 of one row; the first has the first factors."""
    step = lanes_of(rows)
    whole = end - (end - begin) % step
    zero = rows.dtype.type(0)
    for i in range(begin, whole, step):
        j = i - begin
        d = subtract(load(rows, n, i), load(factors, 0, j))
        y = add(multiply(d, load(factors, 1, j)), load(factors, 2, j))
        store(out, n, i, gated(y, y) if relu else y)
    for i in range(whole, end):
        j = i - begin
        z = (rows[n, i] - factors[0, j]) * factors[1, j] + factors[2, j]
        out[n, i] = zero if relu and z <= zero else z


@RULE
def _add_rows(
    rows: Any, n: int, count: int, begin: int, whole: int, pivots: Any, sums: Any
) -> None:
    """Add `count` rows' differences from the pivots, and their squares, to the rows of `sums`."""
    for i in range(begin, whole, lanes_of(rows)):
        j = i - begin
        pivot = load_beside(sums_for(rows), pivots, 0, j)
        total_, squares = load_beside(pivot, sums, 0, j), load_beside(pivot, sums, 1, j)
        for k in range(count):
            d = subtract(widened(load(rows, n + k, i)), pivot)
            total_ = add(total_, d)
            squares = add_product(squares, d, d)
        store(sums, 0, j, total_)
        store(sums, 1, j, squares)


@RULE
def _statistics_columns(
    rows: Any, first: int, last: int, L: int, pivots: Any, sums: Any, saved: Any
) -> None:
    """Mean and biased variance of channels first to last - 1.

    Four rows go together: sums are loaded and stored once for all.
    """
    N, begin, end = rows.shape[0], first * L, last * L
    whole, fours = end - (end - begin) % lanes_of(rows), N - N % 4
    for c in range(first, last):
        pivot = 0.0
        for i in range(c * L, (c + 1) * L):
            pivot += rows[0, i]
        for j in range((c - first) * L, (c - first + 1) * L):
            pivots[0, j] = pivot / L
    sums[:] = 0.0
    for n in range(0, fours, 4):
        _add_rows(rows, n, 4, begin, whole, pivots, sums)
    for n in range(fours, N):
        _add_rows(rows, n, 1, begin, whole, pivots, sums)
    for n in range(N):
        for i in range(whole, end):
            d = np.float64(rows[n, i]) - pivots[0, i - begin]
            sums[0, i - begin] += d
            sums[1, i - begin] += d * d
    for c in range(first, last):
        offset, square = _channel_sums(sums, (c - first) * L, L)
        offset, square = offset / (N * L), square / (N * L)
        var = square - offset * offset
        saved[0, c] = pivots[0, (c - first) * L] + offset
        saved[1, c] = 0.0 if var < 0.0 else var


@RULE
def _channel_sums(sums: Any, j: int, L: int) -> Any:
    upper, lower = 0.0, 0.0
    for k in range(j, j + L):
        upper += sums[0, k]
        lower += sums[1, k]
    return upper, lower


@compile_named
def _forward_columns(
    x: Any,
    weight: Any,
    bias: Any,
    eps: float,
    relu: bool,
    out: Any,
    saved: Any,
    begin: int,
    end: int,
    slot: int,
) -> None:
    N, C, L = x.shape
    rows, outs, block = x.reshape(N, C * L), out.reshape(N, C * L), _channels(L)
    factors, sums = np.empty((3, block * L), x.dtype), np.empty((2, block * L))
    pivots = np.empty((1, block * L))
    for part in range(begin, end):
        first, last = part * block, min(C, (part + 1) * block)
        _statistics_columns(rows, first, last, L, pivots, sums, saved)
        _affine_columns(weight, bias, saved[0], saved[1], eps, first, last, L, factors)
        for n in range(N):
            _normalize_columns(rows, n, factors, first * L, last * L, relu, outs)


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
    """Parts are rows in the order of memory, however they are cut."""
    N, C, L = x.shape
    width = L if L < LONG else 1
    factors = np.empty((3, C * width), x.dtype)
    _affine_columns(weight, bias, running_mean, running_var, eps, 0, C, width, factors)
    if L < LONG:
        rows, outs = x.reshape(N, C * L), out.reshape(N, C * L)
        for n in range(first, last):
            _normalize_columns(rows, n, factors, 0, C * L, relu, outs)
    else:
        rows, outs = x.reshape(N * C, L), out.reshape(N * C, L)
        for r in range(first, last):
            c = r % C
            _normalize(rows, r, factors[0, c], factors[1, c], factors[2, c], relu, outs)


@RULE
def _add_gradients(
    grads: Any,
    rows: Any,
    n: int,
    count: int,
    factors: Any,
    begin: int,
    whole: int,
    relu: bool,
    sums: Any,
) -> None:
    """Add `count` rows of grad, and of grad (x - centre), to the rows of `sums`."""
    for i in range(begin, whole, lanes_of(rows)):
        j = i - begin
        centres, scales, shifts = load(factors, 0, j), load(factors, 1, j), load(factors, 2, j)
        total_, products = load_beside(centres, sums, 0, j), load_beside(centres, sums, 1, j)
        for k in range(count):
            g, d = load(grads, n + k, i), subtract(load(rows, n + k, i), centres)
            if relu:
                g = gated(add(multiply(d, scales), shifts), g)
            wide = widened(g)
            total_ = add(total_, wide)
            products = add_product(products, wide, widened(d))
        store(sums, 0, j, total_)
        store(sums, 1, j, products)


@RULE
def _gradient_sums_columns(
    grads: Any, rows: Any, factors: Any, begin: int, end: int, relu: bool, sums: Any
) -> None:
    """`_gradient_sums` of columns begin to end - 1, to the two rows of `sums`."""
    N = rows.shape[0]
    whole, fours = end - (end - begin) % lanes_of(rows), N - N % 4
    zero = rows.dtype.type(0)
    sums[:] = 0.0
    for n in range(0, fours, 4):
        _add_gradients(grads, rows, n, 4, factors, begin, whole, relu, sums)
    for n in range(fours, N):
        _add_gradients(grads, rows, n, 1, factors, begin, whole, relu, sums)
    for n in range(N):
        for i in range(whole, end):
            j = i - begin
            d = rows[n, i] - factors[0, j]
            closed = relu and d * factors[1, j] + factors[2, j] <= zero
            g = np.float64(zero if closed else grads[n, i])
            sums[0, j] += g
            sums[1, j] += g * np.float64(d)


@RULE
def _spread_gradient_columns(
    grads: Any,
    rows: Any,
    n: int,
    factors: Any,
    begin: int,
    end: int,
    relu: bool,
    training: bool,
    out: Any,
) -> None:
    """`_spread_gradient` or `_scale_gradient` for columns begin to end - 1 of one row."""
    step = lanes_of(rows)
    whole = end - (end - begin) % step
    zero = rows.dtype.type(0)
    for i in range(begin, whole, step):
        j = i - begin
        d, g = subtract(load(rows, n, i), load(factors, 0, j)), load(grads, n, i)
        scales = load(factors, 1, j)
        if relu:
            g = gated(add(multiply(d, scales), load(factors, 2, j)), g)
        y = multiply(g, scales)
        if training:
            y = subtract(y, add(multiply(d, load(factors, 3, j)), load(factors, 4, j)))
        store(out, n, i, y)
    for i in range(whole, end):
        j = i - begin
        e = rows[n, i] - factors[0, j]
        closed = relu and e * factors[1, j] + factors[2, j] <= zero
        h = (zero if closed else grads[n, i]) * factors[1, j]
        out[n, i] = h - (e * factors[3, j] + factors[4, j]) if training else h


@compile_named
def _backward_columns(
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
    begin: int,
    end: int,
    slot: int,
) -> None:
    N, C, L = x.shape
    grads, rows, outs = grad.reshape(N, C * L), x.reshape(N, C * L), grad_x.reshape(N, C * L)
    block = _channels(L)
    factors, sums = np.empty((5, block * L), x.dtype), np.empty((2, block * L))
    for part in range(begin, end):
        first, last = part * block, min(C, (part + 1) * block)
        _affine_columns(weight, bias, mean, var, eps, first, last, L, factors)
        _gradient_sums_columns(grads, rows, factors, first * L, last * L, relu, sums)
        for c in range(first, last):
            column = (c - first) * L
            inverse, w, _ = _factors(weight, bias, c, np.float64(var[c]), eps)
            total_, products = _channel_sums(sums, column, L)
            slope, level, steepness = _spread_factors(
                total_, products, np.float64(mean[c]), factors[0, column], inverse, w, N * L
            )
            for j in range(column, column + L):
                factors[3, j], factors[4, j] = slope, level
            if grad_weight is not None:
                grad_weight[c] = steepness
            if grad_bias is not None:
                grad_bias[c] = total_
        for n in range(N):
            _spread_gradient_columns(
                grads, rows, n, factors, first * L, last * L, relu, training, outs
            )
