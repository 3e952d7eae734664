"""What a loss does with the scores of a block of rows: the two functions that a pass is given.

``evaluate(scores, losses, y, first, count, outputs, constants)`` puts the losses of the rows from
`first` on into `losses` and replaces their scores by the derivatives. ``curve(scores, changes, y,
first, count, outputs, constants)`` replaces `changes`, the scores along a direction, by the product
of the loss's Hessian, at `scores`, with them. `scores`, `losses` and `changes` are flat, with
`outputs` entries for each row; so is `y` if it has as many.

Losses of single scores come from scalar functions (:mod:`fastopt.rules.losses`). Their loops hold
nothing else, so that the compiler vectorises them. Softmax ties the scores of a row together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from fastopt.core._jit import RULE
from fastopt.rules import losses as scalar
from fastopt.rules._elementary import exp

__all__ = [
    "curve_absolute",
    "curve_huber",
    "curve_logistic",
    "curve_poisson",
    "curve_softmax",
    "curve_squared",
    "evaluate_absolute",
    "evaluate_huber",
    "evaluate_logistic",
    "evaluate_poisson",
    "evaluate_softmax",
    "evaluate_squared",
]


def evaluate_each(loss: Callable[..., float], slope: Callable[..., float]) -> Callable[..., None]:
    """`evaluate` for a loss that is the sum of one of each score."""

    @RULE
    def evaluate(
        scores: Any,
        losses: Any,
        y: Any,
        first: int,
        count: int,
        outputs: int,
        constants: tuple[float, ...],
    ) -> None:
        for e in range(count * outputs):
            z, observed = scores[e], float(y[first * outputs + e])
            losses[e] = loss(z, observed, *constants)
            scores[e] = slope(z, observed, *constants)

    return evaluate


def curve_each(curvature: Callable[..., float]) -> Callable[..., None]:
    """`curve` for a loss that is the sum of one of each score."""

    @RULE
    def curve(
        scores: Any,
        changes: Any,
        y: Any,
        first: int,
        count: int,
        outputs: int,
        constants: tuple[float, ...],
    ) -> None:
        for e in range(count * outputs):
            observed = float(y[first * outputs + e])
            changes[e] *= curvature(scores[e], observed, *constants)

    return curve


evaluate_squared = evaluate_each(scalar.squared, scalar.squared_slope)
evaluate_absolute = evaluate_each(scalar.absolute, scalar.absolute_slope)
evaluate_huber = evaluate_each(scalar.huber, scalar.huber_slope)
evaluate_logistic = evaluate_each(scalar.logistic, scalar.logistic_slope)
evaluate_poisson = evaluate_each(scalar.poisson, scalar.poisson_slope)

curve_squared = curve_each(scalar.squared_curvature)
curve_absolute = curve_each(scalar.absolute_curvature)
curve_huber = curve_each(scalar.huber_curvature)
curve_logistic = curve_each(scalar.logistic_curvature)
curve_poisson = curve_each(scalar.poisson_curvature)


# --- softmax: log(sum_k exp(z_k)) - z_y ------------------------------------------------------


@RULE
def evaluate_softmax(
    scores: Any,
    losses: Any,
    y: Any,
    first: int,
    count: int,
    outputs: int,
    constants: tuple[float, ...],
) -> None:
    """Cross-entropy of the probabilities exp(z_k)/sum_l exp(z_l) and a label.

    Scores are taken relative to the largest, so that no exponential overflows; its own, 1, is left
    to log1p, so that a small loss keeps its digits. The label's slope is minus the probability of
    all others, as their sum, since the difference of a probability near 1 and 1 would cancel.
    """
    for b in range(count):
        label = y[first + b]
        if label < 0 or label >= outputs:
            raise ValueError("`y` must hold class numbers below `n_classes`, got another number")
        subtract_largest(scores, b * outputs, outputs)
        losses[b * outputs] = -scores[b * outputs + label]
    for e in range(count * outputs):
        scores[e] = exp(scores[e])
    for b in range(count):
        row = b * outputs
        ones, rest = -1.0, 0.0  # without the largest's own
        for k in range(outputs):
            part = scores[row + k]
            ones += 1.0 if part == 1.0 else 0.0
            rest += 0.0 if part == 1.0 else part
        beside = ones + rest
        share = 1.0 / (1.0 + beside)
        own = scores[row + y[first + b]]
        # Beside a label that is not the largest there is a 1, and the difference keeps its digits.
        others = beside if own == 1.0 else (1.0 + beside) - own
        for k in range(outputs):
            scores[row + k] *= share
        scores[row + y[first + b]] = -others * share
        losses[row] += math.log1p(beside)
        for k in range(1, outputs):
            losses[row + k] = 0.0


@RULE
def curve_softmax(
    scores: Any,
    changes: Any,
    y: Any,
    first: int,
    count: int,
    outputs: int,
    constants: tuple[float, ...],
) -> None:
    """(diag(q) - q q') u for the probabilities q and each row u of `changes`."""
    for b in range(count):
        subtract_largest(scores, b * outputs, outputs)
    for e in range(count * outputs):
        scores[e] = exp(scores[e])
    for b in range(count):
        row = b * outputs
        parts, mean = 0.0, 0.0
        for k in range(outputs):
            parts += scores[row + k]
            mean += scores[row + k] * changes[row + k]
        share = 1.0 / parts
        mean *= share
        for k in range(outputs):
            changes[row + k] = scores[row + k] * share * (changes[row + k] - mean)


@RULE
def subtract_largest(scores: Any, row: int, outputs: int) -> None:
    """Subtract the largest of a row's scores from all of them."""
    largest = scores[row]
    for k in range(1, outputs):
        score = scores[row + k]
        largest = score if score > largest else largest
    for k in range(outputs):
        scores[row + k] -= largest
