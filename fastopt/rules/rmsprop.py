"""RMSProp (Tieleman & Hinton, lecture 6.5, 2012), and Graves' centred form with momentum (2013)."""

from __future__ import annotations

import math

from fastopt.core._jit import RULE


@RULE
def rmsprop(
    x: float,
    grad: float,
    square: float,
    decay: float,
    gain: float,
    lr: float,
    eps_root: float,
    eps: float,
) -> tuple[float, float]:
    """One step of RMSProp for one parameter (Tieleman & Hinton 2012, slide 29).

    The recurrence, with v and g for `square` and `grad`::

        v = decay*v + (1 - decay)*g*g
        x = x - lr*g/(sqrt(v + eps_root) + eps)

    Parameters
    ----------
    x : float
        The parameter.
    grad : float
        Its derivative.
    square : float
        Moving average of the square of the derivative.
    decay, gain, lr, eps_root, eps : float
        From :func:`rmsprop_coefficients` or one of its kin.

    Returns
    -------
    tuple of float
        The new ``x`` and ``square``.

    Examples
    --------
    >>> rmsprop(1.0, 8.0, 0.0, *rmsprop_coefficients(1, 0.25, 0.75, 0.0))
    (0.5, 16.0)
    """
    square = decay * square + gain * grad * grad
    return x - lr * grad / (math.sqrt(square + eps_root) + eps), square


@RULE
def rmsprop_coefficients(
    t: float, lr: float, decay: float, eps: float
) -> tuple[float, float, float, float, float]:
    """The textbook's form, optax's and Keras': `eps` under the root.

    Examples
    --------
    >>> rmsprop_coefficients(1, 0.001, 0.75, 1e-8)
    (0.75, 0.25, 0.001, 1e-08, 0.0)
    """
    return decay, 1.0 - decay, lr, eps, 0.0


@RULE
def rmsprop_torch_coefficients(
    t: float, lr: float, decay: float, eps: float
) -> tuple[float, float, float, float, float]:
    """PyTorch's form: `eps` outside the root.

    Examples
    --------
    >>> rmsprop_torch_coefficients(1, 0.01, 0.75, 1e-8)
    (0.75, 0.25, 0.01, 0.0, 1e-08)
    """
    return decay, 1.0 - decay, lr, 0.0, eps


@RULE
def rmsprop_momentum(
    x: float,
    grad: float,
    square: float,
    velocity: float,
    decay: float,
    gain: float,
    keep: float,
    inner: float,
    outer: float,
    eps_root: float,
    eps: float,
) -> tuple[float, float, float]:
    """One step of RMSProp with momentum for one parameter.

    The recurrence, with v, b and g for `square`, `velocity` and `grad`::

        v = decay*v + (1 - decay)*g*g
        b = keep*b + inner*g/(sqrt(v + eps_root) + eps)
        x = x - outer*b

    Parameters
    ----------
    x : float
        The parameter.
    grad : float
        Its derivative.
    square : float
        Moving average of the square of the derivative.
    velocity : float
        A decaying sum of the scaled derivatives so far.
    decay, gain, keep, inner, outer, eps_root, eps : float
        From :func:`rmsprop_momentum_coefficients` or one of its kin. One of `inner` and `outer` is
        the step length, the other is 1.

    Returns
    -------
    tuple of float
        The new ``x``, ``square`` and ``velocity``.

    Examples
    --------
    >>> coefficients = rmsprop_momentum_coefficients(1, 0.25, 0.75, 0.5, 0.0)
    >>> rmsprop_momentum(1.0, 8.0, 0.0, 0.0, *coefficients)
    (0.5, 16.0, 0.5)
    """
    square = decay * square + gain * grad * grad
    velocity = keep * velocity + inner * grad / (math.sqrt(square + eps_root) + eps)
    return x - outer * velocity, square, velocity


@RULE
def rmsprop_centered(
    x: float,
    grad: float,
    square: float,
    mean: float,
    velocity: float,
    decay: float,
    gain: float,
    keep: float,
    inner: float,
    outer: float,
    eps_root: float,
    eps: float,
) -> tuple[float, float, float, float]:
    """One step of centred RMSProp for one parameter (Graves 2013, equations 38 to 41).

    The recurrence, with v, m, b and g for `square`, `mean`, `velocity` and `grad`::

        v = decay*v + (1 - decay)*g*g
        m = decay*m + (1 - decay)*g
        b = keep*b + inner*g/(sqrt(v - m*m + eps_root) + eps)
        x = x - outer*b

    What is under the root is the variance of the derivative. Rounding may leave a trace of it below
    zero where there is none, so its magnitude is taken.

    Parameters
    ----------
    x : float
        The parameter.
    grad : float
        Its derivative.
    square, mean : float
        Moving averages of the square of the derivative and of the derivative.
    velocity : float
        A decaying sum of the scaled derivatives so far.
    decay, gain, keep, inner, outer, eps_root, eps : float
        As in :func:`rmsprop_momentum`.

    Returns
    -------
    tuple of float
        The new ``x``, ``square``, ``mean`` and ``velocity``.

    Examples
    --------
    >>> coefficients = rmsprop_momentum_coefficients(1, 0.25, 0.5, 0.0, 0.0)
    >>> rmsprop_centered(1.0, 8.0, 0.0, 0.0, 0.0, *coefficients)
    (0.5, 32.0, 4.0, 0.5)
    """
    square = decay * square + gain * grad * grad
    mean = decay * mean + gain * grad
    root = math.sqrt(abs(square - mean * mean + eps_root))
    velocity = keep * velocity + inner * grad / (root + eps)
    return x - outer * velocity, square, mean, velocity


@RULE
def rmsprop_momentum_coefficients(
    t: float, lr: float, decay: float, momentum: float, eps: float
) -> tuple[float, float, float, float, float, float, float]:
    """The textbook's form, optax's and Keras': the velocity is a step, and `eps` under the root.

    Examples
    --------
    >>> rmsprop_momentum_coefficients(1, 0.001, 0.75, 0.9, 1e-8)
    (0.75, 0.25, 0.9, 0.001, 1.0, 1e-08, 0.0)
    """
    return decay, 1.0 - decay, momentum, lr, 1.0, eps, 0.0


@RULE
def rmsprop_momentum_torch_coefficients(
    t: float, lr: float, decay: float, momentum: float, eps: float
) -> tuple[float, float, float, float, float, float, float]:
    """PyTorch's form: the step length multiplies the velocity, and `eps` is outside the root.

    Examples
    --------
    >>> rmsprop_momentum_torch_coefficients(1, 0.01, 0.75, 0.9, 1e-8)
    (0.75, 0.25, 0.9, 1.0, 0.01, 0.0, 1e-08)
    """
    return decay, 1.0 - decay, momentum, 1.0, lr, 0.0, eps
