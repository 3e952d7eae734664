"""AdaDelta (Zeiler, arXiv:1212.5701, 2012)."""

from __future__ import annotations

import math

from fastopt.core._jit import RULE


@RULE
def adadelta(
    x: float,
    grad: float,
    square: float,
    change: float,
    decay: float,
    gain: float,
    eps: float,
    lr: float,
) -> tuple[float, float, float]:
    """One step of AdaDelta for one parameter (Zeiler 2012, algorithm 1).

    The recurrence, with E and D for `square` and `change`, g for `grad`::

        E = decay*E + (1 - decay)*g*g
        d = sqrt(D + eps)*g/sqrt(E + eps)
        D = decay*D + (1 - decay)*d*d
        x = x - lr*d

    The paper has no `lr`; d is a length in the units of x already.

    Parameters
    ----------
    x : float
        The parameter.
    grad : float
        Its derivative.
    square, change : float
        Moving averages of the squares of the derivative and of the step.
    decay, gain, eps, lr : float
        From :func:`adadelta_coefficients` or one of its kin.

    Returns
    -------
    tuple of float
        The new ``x``, ``square`` and ``change``.

    Examples
    --------
    >>> x, square, change = adadelta(1.0, 2.0, 0.0, 0.0, *adadelta_coefficients(1, 0.75, 1e-6))
    >>> round(x, 6), square, round(change, 9)
    (0.998, 1.0, 1e-06)
    """
    square = decay * square + gain * grad * grad
    # In this order: a quotient of two roots would be one of doubles where float32 runs in Python.
    step = math.sqrt(change + eps) * grad / math.sqrt(square + eps)
    change = decay * change + gain * step * step
    return x - lr * step, square, change


@RULE
def adadelta_coefficients(t: float, decay: float, eps: float) -> tuple[float, float, float, float]:
    """The paper's form, without a step length.

    Examples
    --------
    >>> adadelta_coefficients(1, 0.75, 1e-6)
    (0.75, 0.25, 1e-06, 1.0)
    """
    return decay, 1.0 - decay, eps, 1.0


@RULE
def adadelta_scaled_coefficients(
    t: float, lr: float, decay: float, eps: float
) -> tuple[float, float, float, float]:
    """The frameworks' form: the step is multiplied by `lr`, what is remembered of it is not.

    Examples
    --------
    >>> adadelta_scaled_coefficients(1, 0.5, 0.75, 1e-6)
    (0.75, 0.25, 1e-06, 0.5)
    """
    return decay, 1.0 - decay, eps, lr
