"""Gradient descent with a step length that the caller gives."""

from __future__ import annotations

from fastopt.core._jit import RULE


@RULE
def gd(x: float, grad: float, lr: float) -> tuple[float]:
    """One step of gradient descent for one parameter: ``x - lr*grad``.

    With the gradient of a sample, or of a few, in place of the whole sum's it is stochastic, or
    mini-batch, gradient descent (Robbins & Monro 1951, equation 6); the rule is the same.

    Parameters
    ----------
    x : float
        The parameter.
    grad : float
        Its derivative.
    lr : float
        Step length, from :func:`gd_coefficients`.

    Returns
    -------
    tuple of float
        The new ``x`` (alone: the method remembers nothing).

    Examples
    --------
    >>> gd(1.0, 4.0, 0.25)
    (0.0,)
    """
    return (x - lr * grad,)


@RULE
def gd_coefficients(t: float, lr: float) -> tuple[float]:
    """What :func:`gd` needs besides the parameter: the step length, the same at every step.

    Parameters
    ----------
    t : float
        Number of the step, from 1.
    lr : float
        Step length.

    Returns
    -------
    tuple of float
        ``(lr,)``.

    Examples
    --------
    >>> gd_coefficients(1, 0.01)
    (0.01,)
    """
    return (lr,)
