"""Losses of one prediction, and their first and second derivatives.

Each is a function of the prediction ``z``, a number of any size, and of what was observed, ``y``. A
loss is written so that it neither overflows where its value does not nor loses digits where it is
small; derivatives likewise. Where a derivative jumps, it is the mean of both sides (`absolute`) or
that of the inner side (`huber`).

The names are those of :mod:`fastopt.losses`, which sums them over data. They hold numbers, unlike
the rules of first-order methods, and are double precision alone.
"""

from __future__ import annotations

import math

from fastopt.core._jit import RULE
from fastopt.rules._elementary import exp, log1p_up_to_1

__all__ = [
    "absolute",
    "absolute_curvature",
    "absolute_slope",
    "huber",
    "huber_curvature",
    "huber_slope",
    "logistic",
    "logistic_curvature",
    "logistic_slope",
    "poisson",
    "poisson_curvature",
    "poisson_slope",
    "squared",
    "squared_curvature",
    "squared_slope",
]

# --- squared: (z - y)**2 / 2 -------------------------------------------------------------------


@RULE
def squared(z: float, y: float) -> float:
    """Half the square of the error.

    Examples
    --------
    >>> squared(3.0, 1.0), squared_slope(3.0, 1.0), squared_curvature(3.0, 1.0)
    (2.0, 2.0, 1.0)
    """
    error = z - y
    return 0.5 * error * error


@RULE
def squared_slope(z: float, y: float) -> float:
    """The derivative of `squared`."""
    return z - y


@RULE
def squared_curvature(z: float, y: float) -> float:
    """The second derivative of `squared`."""
    return 1.0


# --- absolute: |z - y| -------------------------------------------------------------------------


@RULE
def absolute(z: float, y: float) -> float:
    """The size of the error.

    Examples
    --------
    >>> absolute(3.0, 1.0), absolute_slope(3.0, 1.0), absolute_curvature(3.0, 1.0)
    (2.0, 1.0, 0.0)
    """
    return abs(z - y)


@RULE
def absolute_slope(z: float, y: float) -> float:
    """The derivative of `absolute`; 0 where there is none."""
    above = 1.0 if z > y else 0.0
    return -1.0 if z < y else above


@RULE
def absolute_curvature(z: float, y: float) -> float:
    """The second derivative of `absolute`; 0 where there is none."""
    return 0.0


# --- huber: squared up to an error of delta, beyond it the tangent -----------------------------


@RULE
def huber(z: float, y: float, delta: float) -> float:
    """Half the square of the error up to `delta`, and its tangent beyond (Huber 1964).

    Examples
    --------
    >>> huber(3.0, 1.0, 1.0), huber_slope(3.0, 1.0, 1.0), huber_curvature(3.0, 1.0, 1.0)
    (1.5, 1.0, 0.0)
    """
    size = abs(z - y)
    inside = 0.5 * size * size
    return inside if size <= delta else delta * (size - 0.5 * delta)


@RULE
def huber_slope(z: float, y: float, delta: float) -> float:
    """The derivative of `huber`."""
    error = z - y
    error = delta if error > delta else error
    return -delta if error < -delta else error


@RULE
def huber_curvature(z: float, y: float, delta: float) -> float:
    """The second derivative of `huber`; 1 where it jumps."""
    return 1.0 if abs(z - y) <= delta else 0.0


# --- logistic: log(1 + exp(z)) - y z -----------------------------------------------------------
#
# All three come from t = exp(-|z|), which cannot overflow: the probability of the likelier class is
# 1/(1 + t), that of the other t/(1 + t).


@RULE
def logistic(z: float, y: float) -> float:
    """Cross-entropy of the probability 1/(1 + exp(-z)) and the label `y`, from 0 to 1.

    The usual formula with exp(z) taken out of the logarithm where z > 0. For a label of 0 or 1 the
    first two terms are exactly 0 or abs(z), so that a small loss keeps all its digits.

    Examples
    --------
    >>> logistic(0.0, 1.0) == math.log(2), logistic(-1e308, 1.0), logistic(1e308, 1.0)
    (True, 1e+308, 0.0)
    """
    positive = z if z > 0.0 else 0.0
    return (positive - y * z) + log1p_up_to_1(exp(-abs(z)))


@RULE
def logistic_slope(z: float, y: float) -> float:
    """The derivative of `logistic`: 1/(1 + exp(-z)) - y.

    As a sum over both labels, since that difference would round to 0 from z = 37 on.

    Examples
    --------
    >>> logistic_slope(0.0, 1.0), logistic_slope(100.0, 1.0)
    (-0.5, -3.7200759760208356e-44)
    """
    t = exp(-abs(z))
    likelier = 1.0 / (1.0 + t)
    other = t * likelier
    one = likelier if z > 0.0 else other
    zero = other if z > 0.0 else likelier
    return (1.0 - y) * one - y * zero


@RULE
def logistic_curvature(z: float, y: float) -> float:
    """The second derivative of `logistic`, whatever `y` is.

    Examples
    --------
    >>> logistic_curvature(0.0, 1.0), logistic_curvature(1e308, 1.0)
    (0.25, 0.0)
    """
    t = exp(-abs(z))
    likelier = 1.0 / (1.0 + t)
    return t * likelier * likelier


# --- poisson: exp(z) - y z ---------------------------------------------------------------------


@RULE
def poisson(z: float, y: float) -> float:
    """Negative log-likelihood of the count `y` under the rate exp(z), without log(y!).

    Examples
    --------
    >>> poisson(0.0, 3.0), poisson_slope(0.0, 3.0), poisson_curvature(0.0, 3.0)
    (1.0, -2.0, 1.0)
    >>> poisson(1e308, 3.0)
    inf
    """
    rate = exp(z)
    return rate if rate == math.inf else rate - y * z  # 3e308 is infinite, too


@RULE
def poisson_slope(z: float, y: float) -> float:
    """The derivative of `poisson`."""
    return exp(z) - y


@RULE
def poisson_curvature(z: float, y: float) -> float:
    """The second derivative of `poisson`, whatever `y` is."""
    return exp(z)
