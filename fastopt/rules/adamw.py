"""AdamW: Adam with decoupled weight decay (Loshchilov & Hutter, ICLR 2019, arXiv:1711.05101)."""

from __future__ import annotations

import math

from fastopt.core._jit import RULE
from fastopt.rules.adam import (
    adam_coefficients,
    adam_keras_coefficients,
    adam_optax_coefficients,
)


@RULE
def adamw(
    x: float,
    grad: float,
    mean: float,
    square: float,
    shrink: float,
    step: float,
    decay1: float,
    beta2: float,
    decay2: float,
    eps_root: float,
    eps: float,
) -> tuple[float, float, float]:
    """One step of AdamW for one parameter (Loshchilov & Hutter 2019, algorithm 2).

    Adam's step, and besides it each parameter shrinks by a part of itself::

        x = x - shrink*x - lr*m_hat/(sqrt(v_hat) + eps)

    The decay does not pass through the averages, and so is not divided by them.

    Parameters
    ----------
    x : float
        The parameter.
    grad : float
        Its derivative.
    mean, square : float
        Moving averages of the derivative and of its square, without bias correction.
    shrink : float
        The part of `x` that decays.
    step, decay1, beta2, decay2, eps_root, eps : float
        As in :func:`fastopt.rules.adam.adam`.

    Returns
    -------
    tuple of float
        The new ``x``, ``mean`` and ``square``.

    Examples
    --------
    >>> coefficients = adamw_coefficients(1, 0.125, 0.9, 0.999, 0.0, 0.25)
    >>> x, mean, square = adamw(1.0, 50.0, 0.0, 0.0, *coefficients)
    >>> round(x, 12)
    0.625
    """
    mean += decay1 * (grad - mean)
    square = beta2 * square + decay2 * grad * grad
    decayed = x - shrink * x
    return decayed - step * mean / (math.sqrt(square + eps_root) + eps), mean, square


@RULE
def adamw_coefficients(
    t: float, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float
) -> tuple[float, float, float, float, float, float, float]:
    """The paper's form: the decay is `weight_decay`, whatever `lr` is.

    Its schedule multiplies both, so they are scheduled alike.

    Examples
    --------
    >>> adamw_coefficients(1, 0.5, 0.75, 0.75, 0.0, 0.01)
    (0.01, 1.0, 0.25, 0.75, 0.25, 0.0, 0.0)
    """
    return weight_decay, *adam_coefficients(t, lr, beta1, beta2, eps)


@RULE
def adamw_torch_coefficients(
    t: float, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float
) -> tuple[float, float, float, float, float, float, float]:
    """PyTorch's form: the decay is `lr` times `weight_decay`.

    Examples
    --------
    >>> adamw_torch_coefficients(1, 0.5, 0.75, 0.75, 0.0, 0.01)
    (0.005, 1.0, 0.25, 0.75, 0.25, 0.0, 0.0)
    """
    return lr * weight_decay, *adam_coefficients(t, lr, beta1, beta2, eps)


@RULE
def adamw_optax_coefficients(
    t: float,
    lr: float,
    beta1: float,
    beta2: float,
    eps_root: float,
    eps: float,
    weight_decay: float,
) -> tuple[float, float, float, float, float, float, float]:
    """optax's form: PyTorch's decay, optax's Adam.

    Examples
    --------
    >>> adamw_optax_coefficients(1, 0.5, 0.75, 0.75, 1.0, 0.0, 0.01)
    (0.005, 1.0, 0.25, 0.75, 0.25, 0.25, 0.0)
    """
    return lr * weight_decay, *adam_optax_coefficients(t, lr, beta1, beta2, eps_root, eps)


@RULE
def adamw_keras_coefficients(
    t: float, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float
) -> tuple[float, float, float, float, float, float, float]:
    """Keras' form: PyTorch's decay, Keras' Adam.

    Examples
    --------
    >>> adamw_keras_coefficients(1, 0.5, 0.75, 0.75, 1e-7, 0.01)
    (0.005, 1.0, 0.25, 0.75, 0.25, 0.0, 1e-07)
    """
    return lr * weight_decay, *adam_keras_coefficients(t, lr, beta1, beta2, eps)
