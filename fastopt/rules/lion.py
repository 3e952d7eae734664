"""Lion, evolved sign momentum (Chen et al., NeurIPS 2023, arXiv:2302.06675)."""

from __future__ import annotations

from numpy import sign

from fastopt.core._jit import RULE
from fastopt.rules._precision import complement


@RULE
def lion(
    x: float,
    grad: float,
    mean: float,
    shrink: float,
    step: float,
    decay1: float,
    decay2: float,
) -> tuple[float, float]:
    """One step of Lion for one parameter (Chen et al. 2023, algorithm 2).

    The recurrence, with m and g for `mean` and `grad`::

        c = beta1*m + (1 - beta1)*g
        m = beta2*m + (1 - beta2)*g
        x = x - lr*(sign(c) + weight_decay*x)

    Every parameter moves by `lr`, up or down, or not at all where c is 0.

    Parameters
    ----------
    x : float
        The parameter.
    grad : float
        Its derivative.
    mean : float
        Moving average of the derivative.
    shrink, step, decay1, decay2 : float
        From :func:`lion_coefficients`.

    Returns
    -------
    tuple of float
        The new ``x`` and ``mean``.

    Examples
    --------
    >>> x, mean = lion(1.0, -8.0, 4.0, *lion_coefficients(1, 0.25, 0.5, 0.75, 0.0))
    >>> float(x), mean
    (1.25, 1.0)
    """
    blend = mean + decay1 * (grad - mean)
    mean += decay2 * (grad - mean)
    return x - shrink * x - step * sign(blend), mean


@RULE
def lion_coefficients(
    t: float, lr: float, beta1: float, beta2: float, weight_decay: float
) -> tuple[float, float, float, float]:
    """What :func:`lion` needs besides the parameter and its slot, the same at every step.

    Examples
    --------
    >>> lion_coefficients(1, 0.25, 0.5, 0.75, 0.5)
    (0.125, 0.25, 0.5, 0.25)
    """
    return lr * weight_decay, lr, 1.0 - beta1, 1.0 - beta2


@RULE
def lion_keras_coefficients(
    t: float, lr: float, beta1: float, beta2: float, weight_decay: float
) -> tuple[float, float, float, float]:
    """Keras' form: for float32, decays formed in float32.

    Examples
    --------
    >>> lion_keras_coefficients(1, 0.25, 0.5, 0.75, 0.5)
    (0.125, 0.25, 0.5, 0.25)
    """
    return lr * weight_decay, lr, complement(beta1, t), complement(beta2, t)
