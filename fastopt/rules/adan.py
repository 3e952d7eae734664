"""Adan, adaptive Nesterov momentum (Xie et al., IEEE TPAMI 46, 2024, arXiv:2208.06677)."""

from __future__ import annotations

import math

from fastopt.core._jit import RULE
from fastopt.rules._precision import correction


@RULE
def adan(
    x: float,
    grad: float,
    mean: float,
    change: float,
    square: float,
    previous: float,
    seen: float,
    shrink: float,
    step: float,
    step_change: float,
    decay1: float,
    decay2: float,
    decay3: float,
    keep3: float,
    look: float,
    eps_root: float,
    eps: float,
) -> tuple[float, float, float, float, float]:
    """One step of Adan for one parameter (Xie et al. 2024, algorithm 1).

    The recurrence, with m, v, n, p and g for `mean`, `change`, `square`, `previous` and `grad`, and
    the decay rates as fractions that are kept (1 minus the paper's)::

        d = g - p                          (0 at the first step)
        m = beta1*m + (1 - beta1)*g
        v = beta2*v + (1 - beta2)*d
        n = beta3*n + (1 - beta3)*(g + beta2*d)**2
        x = (x - lr*(m + beta2*v)/(sqrt(n) + eps))/(1 + lr*weight_decay)
        p = g

    Parameters
    ----------
    x : float
        The parameter.
    grad : float
        Its derivative.
    mean, change, square : float
        Moving averages of the derivative, of its change, and of the square of the derivative that
        is expected one step ahead.
    previous : float
        The derivative at the step before.
    seen : float
        1 where there was a step before, at the first step 0.
    shrink, step, step_change, decay1, decay2, decay3, keep3, look, eps_root, eps : float
        With `seen` from :func:`adan_coefficients` or one of its kin.

    Returns
    -------
    tuple of float
        The new ``x``, ``mean``, ``change``, ``square`` and ``previous``.

    Examples
    --------
    At the first step the averages are what they average:

    >>> adan(1.0, 8.0, 0.0, 0.0, 0.0, 0.0, *adan_coefficients(1, 0.25, 0.98, 0.92, 0.99, 0.0, 0.0))
    (0.75, 8.0, 0.0, 64.0, 8.0)
    """
    difference = seen * (grad - previous)
    mean += decay1 * (grad - mean)
    change += decay2 * (difference - change)
    ahead = grad + look * difference
    square = keep3 * square + decay3 * ahead * ahead
    slope = step * mean + step_change * change
    x = x - shrink * x - slope / (math.sqrt(square + eps_root) + eps)
    return x, mean, change, square, grad


@RULE
def adan_coefficients(
    t: float,
    lr: float,
    beta1: float,
    beta2: float,
    beta3: float,
    eps: float,
    weight_decay: float,
) -> tuple[float, float, float, float, float, float, float, float, float, float, float]:
    """The paper's form: each average begins with the first number that it averages.

    Examples
    --------
    >>> adan_coefficients(3, 0.25, 0.5, 0.75, 0.875, 1e-8, 0.0)
    (1.0, 0.0, 0.25, 0.1875, 0.5, 0.25, 0.125, 0.875, 0.75, 0.0, 1e-08)
    """
    first, second = t == 1, t == 2
    remaining = 1.0 / (1.0 + lr * weight_decay)
    return (
        0.0 if first else 1.0,
        lr * weight_decay * remaining,
        lr * remaining,
        lr * remaining * beta2,
        1.0 if first else 1.0 - beta1,
        1.0 if second else 1.0 - beta2,
        1.0 if first else 1.0 - beta3,
        0.0 if first else beta3,
        beta2,
        0.0,
        eps,
    )


@RULE
def adan_optax_coefficients(
    t: float,
    lr: float,
    beta1: float,
    beta2: float,
    beta3: float,
    eps_root: float,
    eps: float,
    weight_decay: float,
) -> tuple[float, float, float, float, float, float, float, float, float, float, float]:
    """optax's form: bias corrections, AdamW's decay, and ``1 - beta2`` where the paper has `beta2`.

    With the default, 0.92, the latter makes it look less than a tenth as far ahead.

    Examples
    --------
    >>> adan_optax_coefficients(1, 0.25, 0.5, 0.75, 0.75, 0.0, 0.0, 0.0)
    (0.0, 0.0, 0.25, 0.125, 0.5, 0.25, 0.25, 0.75, 0.25, 0.0, 0.0)
    """
    correction3 = correction(beta3, t)
    root3 = math.sqrt(correction3)
    return (
        0.0 if t == 1 else 1.0,
        lr * weight_decay,
        lr * root3 / correction(beta1, t),
        lr * root3 * (1.0 - beta2) / correction(beta2, t),
        1.0 - beta1,
        1.0 - beta2,
        1.0 - beta3,
        beta3,
        1.0 - beta2,
        eps_root * correction3,
        eps * root3,
    )
