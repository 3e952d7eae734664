"""Momentum, also called the heavy ball (Polyak, USSR Comput. Math. Math. Phys. 4, 1964)."""

from __future__ import annotations

from fastopt.core._jit import RULE


@RULE
def momentum(
    x: float, grad: float, velocity: float, keep: float, gain: float, lr: float
) -> tuple[float, float]:
    """One step of momentum for one parameter (Polyak 1964, equation 9).

    The recurrence, with v and g for `velocity` and `grad`::

        v = keep*v + gain*g
        x = x - lr*v

    Parameters
    ----------
    x : float
        The parameter.
    grad : float
        Its derivative.
    velocity : float
        A decaying sum of the derivatives so far.
    keep, gain, lr : float
        From :func:`momentum_coefficients` or one of its kin.

    Returns
    -------
    tuple of float
        The new ``x`` and ``velocity``.

    Examples
    --------
    >>> momentum(1.0, 4.0, 0.5, *momentum_coefficients(2, 0.125, 0.5))
    (0.25, 0.75)
    """
    velocity = keep * velocity + gain * grad
    return x - lr * velocity, velocity


@RULE
def momentum_coefficients(t: float, lr: float, momentum: float) -> tuple[float, float, float]:
    """The textbook's form: the velocity is a step, ``v = momentum*v + lr*g``, ``x = x - v``.

    Examples
    --------
    >>> momentum_coefficients(1, 0.01, 0.9)
    (0.9, 0.01, 1.0)
    """
    return momentum, lr, 1.0


@RULE
def momentum_outside_coefficients(
    t: float, lr: float, momentum: float
) -> tuple[float, float, float]:
    """optax's form: the velocity is a gradient, ``v = momentum*v + g``, ``x = x - lr*v``.

    The two differ where `lr` changes: here a new `lr` reaches what is remembered as well.

    Examples
    --------
    >>> momentum_outside_coefficients(1, 0.01, 0.9)
    (0.9, 1.0, 0.01)
    """
    return momentum, 1.0, lr


@RULE
def momentum_torch_coefficients(
    t: float, lr: float, momentum: float, dampening: float
) -> tuple[float, float, float]:
    """PyTorch's form: optax's with a damped gradient, ``v = momentum*v + (1 - dampening)*g``.

    The first velocity is the whole gradient, undamped.

    Examples
    --------
    >>> momentum_torch_coefficients(1, 0.01, 0.9, 0.5)
    (0.9, 1.0, 0.01)
    >>> momentum_torch_coefficients(2, 0.01, 0.9, 0.5)
    (0.9, 0.5, 0.01)
    """
    return momentum, 1.0 if t == 1 else 1.0 - dampening, lr
