"""Nesterov's accelerated gradient with a fixed momentum (Nesterov, Dokl. Akad. Nauk 269, 1983)."""

from __future__ import annotations

from fastopt.core._jit import RULE


@RULE
def nesterov(
    x: float, grad: float, velocity: float, keep: float, gain: float, lr: float
) -> tuple[float, float]:
    """One step of Nesterov's momentum for one parameter (Sutskever et al. 2013, equations 3 and 4).

    The textbook takes the gradient ahead of the iterate, at theta - momentum*v::

        v = momentum*v + lr*gradient(theta - momentum*v)
        theta = theta - v

    Here `x` is that point ahead, so that the gradient is the one at `x`, as in every other rule.
    Written for it, with g for `grad`, the same recurrence is ::

        v = keep*v + gain*g
        x = x - lr*(gain*g + keep*v)

    and theta, if it is asked for, ``x + momentum*v``. The two meet where v vanishes.

    Parameters
    ----------
    x : float
        The parameter.
    grad : float
        Its derivative.
    velocity : float
        A decaying sum of the derivatives so far.
    keep, gain, lr : float
        From :func:`fastopt.rules.momentum.momentum_coefficients` (the textbook's and Keras' form)
        or :func:`fastopt.rules.momentum.momentum_outside_coefficients` (PyTorch's and optax's).

    Returns
    -------
    tuple of float
        The new ``x`` and ``velocity``.

    Examples
    --------
    >>> from fastopt.rules.momentum import momentum_coefficients
    >>> nesterov(1.0, 4.0, 0.5, *momentum_coefficients(2, 0.125, 0.5))
    (0.125, 0.75)
    """
    step = gain * grad
    velocity = keep * velocity + step
    return x - lr * (step + keep * velocity), velocity
