"""Losses and their gradients in one pass.

Each function here writes the gradient of ``share`` times the sum of what each item costs, and
returns that product: the mean if `share` is None. The sum is in double precision, in an order that
depends on shapes alone. What each item costs goes to ``values``, unless that is None.

Losses of single predictions come from scalar functions (:mod:`fastopt.rules.losses`), computed in
double precision. Their loop holds nothing else, so that the compiler vectorises it. Softmax ties
the logits of a row together. (In compiled code `float` leaves a float32 as it is; `np.float64` does
not.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt.core._jit import RULE, compile_named, compile_step
from fastopt.kernels.cpu import threads
from fastopt.rules import losses as scalar
from fastopt.rules._elementary import exp

__all__ = [
    "binary_cross_entropy",
    "first_outside",
    "l1",
    "mse",
    "multilabel",
    "smooth_l1",
    "softmax_cross_entropy",
]

Array = NDArray[Any]

# Elements of a part: their losses, in double precision, stay in the fastest cache.
BLOCK = 2048


# --- losses of single predictions --------------------------------------------------------------


def l1(
    prediction: Array,
    target: Array,
    grad: Array,
    share: float | None = None,
    values: Array | None = None,
) -> float:
    """Of ``|prediction - target|``."""
    passes = _pointwise(scalar.absolute, scalar.absolute_slope)
    return _evaluate(passes, prediction, target, (), 1.0, share, values, grad)


def mse(
    prediction: Array,
    target: Array,
    grad: Array,
    share: float | None = None,
    values: Array | None = None,
) -> float:
    """Of ``(prediction - target)**2``, twice the scalar function's half."""
    passes = _pointwise(scalar.squared, scalar.squared_slope)
    return _evaluate(passes, prediction, target, (), 2.0, share, values, grad)


def smooth_l1(
    prediction: Array,
    target: Array,
    beta: float,
    grad: Array,
    share: float | None = None,
    values: Array | None = None,
) -> float:
    """Of Huber's function over its threshold `beta`."""
    passes = _pointwise(scalar.huber, scalar.huber_slope)
    return _evaluate(passes, prediction, target, (beta,), 1.0 / beta, share, values, grad)


def binary_cross_entropy(
    logits: Array,
    target: Array,
    grad: Array,
    share: float | None = None,
    values: Array | None = None,
) -> float:
    """Of the cross-entropy of the probability ``1/(1 + exp(-logits))`` and `target`."""
    passes = _pointwise(scalar.logistic, scalar.logistic_slope)
    return _evaluate(passes, logits, target, (), 1.0, share, values, grad)


def multilabel(
    logits: Array,
    target: Array,
    grad: Array,
    share: float | None = None,
    values: Array | None = None,
) -> float:
    """Of the mean over a row of its `binary_cross_entropy`."""
    share = share if share is None else share / logits.shape[1]
    if values is None:
        return binary_cross_entropy(logits, target, grad, share)
    each = np.empty_like(logits)
    value = binary_cross_entropy(logits, target, grad, share, each)
    with np.errstate(over="ignore"):
        np.mean(each, axis=1, out=values)
    return value


def _evaluate(
    kernel: Callable[..., None],
    prediction: Array,
    target: Array,
    constants: tuple[float, ...],
    times: float,
    share: float | None,
    values: Array | None,
    grad: Array,
) -> float:
    n = prediction.size
    parts = -(-n // BLOCK)
    share = 1.0 / n if share is None else share
    sums = np.empty(parts)
    threads.run(
        kernel,
        parts,
        n,
        prediction.reshape(-1),
        target.reshape(-1),
        constants,
        times,
        times * share,
        sums,
        _no_values(prediction) if values is None else values.reshape(-1),
        grad.reshape(-1),
    )
    return float(np.sum(sums)) * share


@cache
def _pointwise(loss: Callable[..., float], slope: Callable[..., float]) -> Any:
    """The compiled kernel for the loss of a prediction and its derivative."""

    def evaluate(
        prediction: Any,
        target: Any,
        constants: tuple[float, ...],
        times: float,
        scale: float,
        sums: Any,
        values: Any,
        grad: Any,
        first: int,
        last: int,
        slot: int,
    ) -> None:
        losses = np.empty(BLOCK)
        for part in range(first, last):
            begin = part * BLOCK
            count = min(BLOCK, prediction.size - begin)
            # Slices, since an index that might be negative, and count from the end, costs a test.
            predicted = prediction[begin : begin + count]
            observed = target[begin : begin + count]
            slopes = grad[begin : begin + count]
            for e in range(count):
                z, y = np.float64(predicted[e]), np.float64(observed[e])
                losses[e] = times * loss(z, y, *constants)
                slopes[e] = scale * slope(z, y, *constants)
            sums[part] = total(losses, count)
            if values.size != 0:
                values[begin : begin + count] = losses[:count]

    return compile_step(evaluate, loss, slope)


@RULE
def total(values: Any, count: int) -> float:
    """The sum of the first `count`: four sums side by side, which need not wait for each other."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    whole = count - count % 4
    for e in range(0, whole, 4):
        a += values[e]
        b += values[e + 1]
        c += values[e + 2]
        d += values[e + 3]
    for e in range(whole, count):
        a += values[e]
    return (a + b) + (c + d)


def _no_values(like: Array) -> Array:
    return np.empty(0, like.dtype)


# --- softmax cross-entropy ---------------------------------------------------------------------


def softmax_cross_entropy(
    logits: Array,
    labels: NDArray[np.int64],
    smoothing: float,
    class_weight: Array | None,
    grad: Array,
    share: float | None = None,
    values: Array | None = None,
) -> float:
    """Of the cross-entropy of softmax and labels, (N, C) and (N,); labels are not checked here.

    With the label y of a row, smoothing s and weights w, the loss of the row is
    ``sum_c a_c (log sum_k exp(z_k) - z_c)`` for ``a_c = w_c s/C``, and ``w_y (1 - s)`` more at y.
    The mean is over the labels' weights.
    """
    N, C = logits.shape
    if class_weight is None:
        class_weight = _no_values(logits)
        weights, label_weights = float(C), float(N)
    else:
        weights = float(np.sum(class_weight, dtype=np.float64))
        label_weights = sum_at(class_weight, labels)
    share = 1.0 / label_weights if share is None else share
    rows = rows_of_a_part(C)
    parts = -(-N // rows)
    sums = np.empty(parts)
    threads.run(
        cross_entropies,
        parts,
        4 * logits.size,  # exponentials, of which each takes as long as several additions
        logits,
        labels,
        smoothing,
        class_weight,
        weights,
        share,
        sums,
        _no_values(logits) if values is None else values,
        grad,
    )
    return float(np.sum(sums)) * share


@RULE
def rows_of_a_part(C: int) -> int:
    """How many rows are turned into exponentials at a time."""
    return max(1, BLOCK // C)


@compile_named
def sum_at(class_weight: Any, labels: Any) -> float:
    """The sum of the weights of all labels."""
    result = 0.0
    for n in range(labels.size):
        result += np.float64(class_weight[labels[n]])
    return result


@compile_named
def cross_entropies(
    logits: Any,
    labels: Any,
    smoothing: float,
    class_weight: Any,
    weights: float,
    share: float,
    sums: Any,
    values: Any,
    grad: Any,
    first: int,
    last: int,
    slot: int,
) -> None:
    """The losses of some blocks of rows, and ``share`` times their gradient.

    Logits are taken relative to the row's largest, so that no exponential overflows; its own, 1, is
    left to log1p, so that a small loss keeps its digits.
    """
    N, C = logits.shape
    rows = rows_of_a_part(C)
    each = smoothing / C
    scores, powers = np.empty(rows * C), np.empty(rows * C)
    for part in range(first, last):
        begin = part * rows
        count = min(rows, N - begin)
        for b in range(count):
            subtract_largest(logits[begin + b], scores[b * C : (b + 1) * C])
        for e in range(count * C):
            powers[e] = exp(scores[e])
        sums[part] = 0.0
        for b in range(count):
            label = labels[begin + b]
            score, power = scores[b * C : (b + 1) * C], powers[b * C : (b + 1) * C]
            slope = grad[begin + b]
            beside = sum_beside_largest(score, power)
            # Beside a label that is not the largest there is a 1: the difference keeps its digits.
            others = beside if power[label] == 1.0 else (1.0 + beside) - power[label]
            probability = 1.0 / (1.0 + beside)
            logarithm = math.log1p(beside)
            weight = 1.0 if class_weight.size == 0 else np.float64(class_weight[label])
            weight_own = weight * (1.0 - smoothing + each)
            weight_beside = each * (weights - weight)  # the sum of a_c but for the label's

            loss = weight * (1.0 - smoothing) * (logarithm - score[label])
            factor = share * (weight_beside + weight_own) * probability
            if smoothing == 0.0:
                for c in range(C):
                    slope[c] = factor * power[c]
            else:  # only then: zero times the infinity of a logit of -inf
                for c in range(C):
                    weight_c = 1.0 if class_weight.size == 0 else np.float64(class_weight[c])
                    loss += each * weight_c * (logarithm - score[c])
                    slope[c] = factor * power[c] - share * each * weight_c
            # The label's: without the difference of a probability near 1 and 1.
            own = weight_beside * power[label] - weight_own * others
            slope[label] = share * probability * own
            sums[part] += loss
            if values.size != 0:
                values[begin + b] = loss


@RULE
def subtract_largest(logit: Any, score: Any) -> None:
    """Put a row of logits, less its largest, into `score`."""
    C = logit.size
    a = b = c = d = np.float64(logit[0])  # maxima side by side, which need not wait for each other
    whole = C - C % 4
    for k in range(0, whole, 4):
        a = max_of(a, np.float64(logit[k]))
        b = max_of(b, np.float64(logit[k + 1]))
        c = max_of(c, np.float64(logit[k + 2]))
        d = max_of(d, np.float64(logit[k + 3]))
    for k in range(whole, C):
        a = max_of(a, np.float64(logit[k]))
    largest = max_of(max_of(a, b), max_of(c, d))
    for k in range(C):
        score[k] = np.float64(logit[k]) - largest


@RULE
def max_of(a: Any, b: Any) -> Any:
    """The greater of two numbers, by an instruction; `max` would ask whether one is NaN."""
    return a if a > b else b


@RULE
def sum_beside_largest(score: Any, power: Any) -> float:
    """The sum of a row's exponentials without one that is 1, the largest's."""
    largest = 0
    for c in range(score.size):
        if score[c] == 0.0:
            largest = c
            break
    kept = power[largest]
    power[largest] = 0.0
    result = total(power, power.size)
    power[largest] = kept
    return result if kept == 1.0 else kept  # NaN


@compile_named
def first_outside(labels: Any, C: int) -> int:
    """The index of the first label that is not from 0 to C - 1; -1 if there is none."""
    for n in range(labels.size):
        if labels[n] < 0 or labels[n] >= C:
            return n
    return -1
