"""One pass over the data: the mean of a loss, its gradient, its Hessian and products with that.

Owns the loop over blocks of rows, the weights, the intercept and the penalty. Knows no loss: it is
given two functions that work on a block of scores, see :mod:`fastopt.losses._blocks`. Knows no form
of matrix: that is :mod:`fastopt.losses._matrices`' affair.

With K outputs the parameters are K rows of p coefficients, each followed by its intercept if there
is one; whether there is shows in their number. The objective is ::

    sum_i w_i loss(z_i, y_i) / (shares sum_i w_i)  +  l2/2 sum_kj coef_kj**2

    z_ik = x_i . coef_k + intercept_k

A block of rows is read from memory once: its scores are turned into losses and slopes at once, and
the rows, weighted by the slopes, added to the gradient while they are in the cache. Nothing is
allocated but room for one block's scores, and the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastopt.core._jit import RULE
from fastopt.core._lanes import LANES, add, load, total, zeros
from fastopt.losses._matrices import (
    MOST_ROWS,
    OUTER_ROWS,
    add_outer,
    add_rows,
    add_scores,
    add_squares,
    dot,
    rows_at_once,
    shape_of,
    square_room,
)

__all__ = ["hessian", "hessian_diagonal", "hessian_product", "value_gradient"]


@RULE
def value_gradient(
    evaluate: Callable[..., None],
    outputs: int,
    shares: int,
    constants: tuple[float, ...],
    theta: Any,
    grad: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    l2: float,
) -> float:
    """The objective at `theta`; its gradient goes to `grad`, unless that has no entries.

    Parameters
    ----------
    evaluate : callable
        Turns a block of scores into losses and slopes.
    outputs : int
        K, how many scores a row has.
    shares : int
        What a row's losses are divided by.
    constants : tuple
        What the loss takes besides score and observation.
    theta, grad : (K p,) or (K (p + 1),) array
        Parameters and gradient; the latter may be empty.
    X : (n, p) array or tuple
        See :mod:`fastopt.losses._matrices`.
    y : (n,) or (n, K) array
        What was observed.
    sample_weight : (n,) array
        Weights of the rows; empty if all are 1.
    l2 : float
        Strength of the penalty.

    Returns
    -------
    float
        The value.
    """
    n, p = shape_of(X)
    check_sizes(n, p, outputs, theta, y, sample_weight)
    if grad.size != 0 and grad.size != theta.size:
        raise ValueError("`grad` must have the size of `theta` or none, got another size")
    wanted = grad.size != 0
    width = theta.size // outputs
    coefs = theta.reshape(outputs, width)
    slopes = grad.reshape(outputs, width if wanted else 0)
    slopes[:] = 0.0
    observed = y.ravel()
    scale = 1.0 / (shares * sum_of_weights(n, sample_weight))
    scores, losses = np.empty(MOST_ROWS * outputs), np.empty(MOST_ROWS * outputs)

    value = 0.0
    rows = rows_at_once(X)
    for first in range(0, n, rows):
        count = min(rows, n - first)
        begin_scores(count, outputs, p, coefs, scores)
        add_scores(X, first, count, outputs, coefs, scores)
        evaluate(scores, losses, observed, first, count, outputs, constants)
        # A sum for each block: fewer roundings than one for all rows.
        value += weigh(scores, losses, first, count, outputs, sample_weight, scale)
        if wanted:
            add_rows(X, first, count, outputs, scores, slopes)
            add_intercepts(count, outputs, p, scores, slopes)
    if l2 != 0.0:
        for k in range(outputs):
            value += 0.5 * l2 * dot(coefs, k, coefs, k, p)
    if wanted:
        add_penalty(l2, outputs, p, coefs, slopes)
    return value


@RULE
def hessian_product(
    curve: Callable[..., None],
    outputs: int,
    shares: int,
    constants: tuple[float, ...],
    theta: Any,
    p: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    l2: float,
) -> Any:
    """The product of the objective's Hessian at `theta` with `p`.

    Parameters
    ----------
    curve : callable
        Turns the scores along `p` into the Hessian's product with them.
    outputs, shares, constants, theta, X, y, sample_weight, l2
        As in `value_gradient`.
    p : array of theta's shape
        The vector.

    Returns
    -------
    array of theta's shape
        The product.
    """
    n, features = shape_of(X)
    check_sizes(n, features, outputs, theta, y, sample_weight)
    if p.size != theta.size:
        raise ValueError("`p` must have the size of `theta`, got another size")
    width = theta.size // outputs
    coefs, directions = theta.reshape(outputs, width), p.reshape(outputs, width)
    product = np.zeros(theta.size)
    slopes = product.reshape(outputs, width)
    observed = y.ravel()
    scale = 1.0 / (shares * sum_of_weights(n, sample_weight))
    scores, changes = np.empty(MOST_ROWS * outputs), np.empty(MOST_ROWS * outputs)

    rows = rows_at_once(X)
    for first in range(0, n, rows):
        count = min(rows, n - first)
        begin_scores(count, outputs, features, coefs, scores)
        add_scores(X, first, count, outputs, coefs, scores)
        begin_scores(count, outputs, features, directions, changes)
        add_scores(X, first, count, outputs, directions, changes)
        curve(scores, changes, observed, first, count, outputs, constants)
        weigh(changes, scores, first, count, outputs, sample_weight, scale)
        add_rows(X, first, count, outputs, changes, slopes)
        add_intercepts(count, outputs, features, changes, slopes)
    add_penalty(l2, outputs, features, directions, slopes)
    return product


@RULE
def hessian(
    curve: Callable[..., None],
    outputs: int,
    shares: int,
    constants: tuple[float, ...],
    theta: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    l2: float,
) -> Any:
    """The objective's Hessian at `theta`.

    Parameters
    ----------
    curve, outputs, shares, constants, theta, X, y, sample_weight, l2
        As in `hessian_product`.

    Returns
    -------
    array of shape (n, n) for the n of theta
        All of it, both triangles.
    """
    n, p = shape_of(X)
    check_sizes(n, p, outputs, theta, y, sample_weight)
    width = theta.size // outputs
    coefs = theta.reshape(outputs, width)
    observed = y.ravel()
    scale = 1.0 / (shares * sum_of_weights(n, sample_weight))
    kept, scores = np.empty(OUTER_ROWS * outputs), np.empty(OUTER_ROWS * outputs)
    changes, weights = np.empty(OUTER_ROWS * outputs), np.empty(OUTER_ROWS)
    room, side = square_room(X)
    # The squares of outputs k >= m, one below the other, and their intercepts' rows.
    pairs = outputs * (outputs + 1) // 2
    sums = np.zeros((pairs * side, side))
    borders = np.zeros((pairs, p + 1))

    for first in range(0, n, OUTER_ROWS):
        count = min(OUTER_ROWS, n - first)
        begin_scores(count, outputs, p, coefs, kept)
        add_scores(X, first, count, outputs, coefs, kept)
        for m in range(outputs):
            curve_one(curve, m, kept, scores, changes, observed, first, count, outputs, constants)
            weigh(changes, scores, first, count, outputs, sample_weight, scale)
            for k in range(m, outputs):
                meet = False
                for b in range(count):
                    weights[b] = changes[b * outputs + k]
                    meet = meet or weights[b] != 0.0
                if meet:
                    pair = k * (k + 1) // 2 + m
                    add_outer(X, first, count, weights, room, pair * side, sums)
                    if width > p:
                        add_rows(X, first, count, 1, weights, borders[pair : pair + 1])
                        for b in range(count):
                            borders[pair, p] += weights[b]

    found = np.empty((theta.size, theta.size))
    for k in range(outputs):
        for m in range(k + 1):
            pair = k * (k + 1) // 2 + m
            for i in range(width):
                for j in range(i + 1):
                    entry = borders[pair, j] if i == p else sums[pair * side + i, j]
                    if k == m and i == j and i < p:
                        entry += l2
                    found[k * width + i, m * width + j] = entry
                    found[k * width + j, m * width + i] = entry
                    found[m * width + i, k * width + j] = entry
                    found[m * width + j, k * width + i] = entry
    return found


@RULE
def hessian_diagonal(
    curve: Callable[..., None],
    outputs: int,
    shares: int,
    constants: tuple[float, ...],
    theta: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    l2: float,
) -> Any:
    """The diagonal of the objective's Hessian at `theta`, of theta's shape.

    The parameters are those of `hessian`.
    """
    n, p = shape_of(X)
    check_sizes(n, p, outputs, theta, y, sample_weight)
    width = theta.size // outputs
    coefs = theta.reshape(outputs, width)
    diagonal = np.zeros(theta.size)
    rows_of_diagonal = diagonal.reshape(outputs, width)
    observed = y.ravel()
    scale = 1.0 / (shares * sum_of_weights(n, sample_weight))
    kept, scores = np.empty(MOST_ROWS * outputs), np.empty(MOST_ROWS * outputs)
    changes, weights = np.empty(MOST_ROWS * outputs), np.empty(MOST_ROWS * outputs)
    blank = np.zeros(p)

    rows = rows_at_once(X)
    for first in range(0, n, rows):
        count = min(rows, n - first)
        begin_scores(count, outputs, p, coefs, kept)
        add_scores(X, first, count, outputs, coefs, kept)
        for k in range(outputs):
            curve_one(curve, k, kept, scores, changes, observed, first, count, outputs, constants)
            for b in range(count):
                weights[b * outputs + k] = changes[b * outputs + k]
        weigh(weights, scores, first, count, outputs, sample_weight, scale)
        add_squares(X, first, count, outputs, weights, blank, rows_of_diagonal)
        add_intercepts(count, outputs, p, weights, rows_of_diagonal)
    for k in range(outputs):
        for j in range(p):
            rows_of_diagonal[k, j] += l2
    return diagonal


@RULE
def curve_one(
    curve: Callable[..., None],
    output: int,
    kept: Any,
    scores: Any,
    changes: Any,
    y: Any,
    first: int,
    count: int,
    outputs: int,
    constants: tuple[float, ...],
) -> None:
    """Column `output` of each row's Hessian of the loss, in `changes`; `kept` are the scores."""
    for e in range(count * outputs):
        scores[e] = kept[e]
        changes[e] = 0.0
    for b in range(count):
        changes[b * outputs + output] = 1.0
    curve(scores, changes, y, first, count, outputs, constants)


@RULE
def check_sizes(n: int, p: int, outputs: int, theta: Any, y: Any, sample_weight: Any) -> None:
    """Raise ValueError where a loop would read outside an array.

    The messages are constants: putting numbers into them, in compiled code, takes long to compile.
    """
    if theta.size != outputs * p and theta.size != outputs * (p + 1):
        raise ValueError(
            "`theta` must hold for each output a coefficient of each feature, and an intercept or "
            "none; got another size"
        )
    if len(y) != n:
        raise ValueError("`y` must have an entry for each row of `X`, got another length")
    if sample_weight.size != 0 and sample_weight.size != n:
        raise ValueError(
            "`sample_weight` must have an entry for each row of `X`, or none at all; got another "
            "size"
        )


@RULE
def sum_of_weights(n: int, sample_weight: Any) -> Any:
    if sample_weight.size == 0:
        return float(n)
    row = sample_weight.reshape(1, n)
    eights = n - n % LANES
    sums = zeros()
    for i in range(0, eights, LANES):
        sums = add(sums, load(row, 0, i))
    rest = 0.0
    for i in range(eights, n):
        rest += sample_weight[i]
    return total(sums) + rest


@RULE
def begin_scores(count: int, outputs: int, p: int, vectors: Any, scores: Any) -> None:
    """Set scores to what they are without features."""
    intercept = vectors.shape[1] > p
    for b in range(count):
        for k in range(outputs):
            scores[b * outputs + k] = vectors[k, p] if intercept else 0.0


@RULE
def weigh(
    scores: Any,
    losses: Any,
    first: int,
    count: int,
    outputs: int,
    sample_weight: Any,
    scale: float,
) -> float:
    """Multiply scores by their row's part in the mean; return the losses' sum, so weighted.

    A row of no weight is left out, whatever its loss: 0 times inf is not 0.
    """
    value = 0.0
    for b in range(count):
        weight = scale
        if sample_weight.size != 0:
            weight *= sample_weight[first + b]
        for e in range(b * outputs, (b + 1) * outputs):
            scores[e] = weight * scores[e] if weight != 0.0 else 0.0
            value += weight * losses[e] if weight != 0.0 else 0.0
    return value


@RULE
def add_intercepts(count: int, outputs: int, p: int, weights: Any, slopes: Any) -> None:
    if slopes.shape[1] > p:
        for b in range(count):
            for k in range(outputs):
                slopes[k, p] += weights[b * outputs + k]


@RULE
def add_penalty(l2: float, outputs: int, p: int, coefs: Any, slopes: Any) -> None:
    """Add the gradient of the penalty, which spares the intercepts."""
    if l2 != 0.0:
        for k in range(outputs):
            for j in range(p):
                slopes[k, j] += l2 * coefs[k, j]
