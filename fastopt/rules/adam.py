"""Adam (Kingma & Ba, ICLR 2015, arXiv:1412.6980)."""

from __future__ import annotations

import math

from fastopt.core._jit import RULE
from fastopt.rules._precision import correction


@RULE
def adam(
    x: float,
    grad: float,
    mean: float,
    square: float,
    step: float,
    decay1: float,
    beta2: float,
    decay2: float,
    eps_root: float,
    eps: float,
) -> tuple[float, float, float]:
    """One step of Adam for one parameter (Kingma & Ba 2015, algorithm 1).

    The recurrence, with m, v and g for `mean`, `square` and `grad`::

        m = beta1*m + (1 - beta1)*g        m_hat = m/(1 - beta1**t)
        v = beta2*v + (1 - beta2)*g*g      v_hat = v/(1 - beta2**t)
        x = x - lr*m_hat/(sqrt(v_hat) + eps)

    The quotient is expanded by ``sqrt(1 - beta2**t)``, as at the end of the paper's section 2, so
    that both corrections are part of `step` and `eps` and the loop divides once. `eps_root` stands
    under the root, for those who put a part of `eps` there.

    The decays ``1 - beta`` come from outside, in double: formed in float32, ``1 - 0.999`` alone is
    200 ulp off. The two averages are arranged differently on purpose. ``g*g + beta2*(v - g*g)``
    would cancel while v is far below g*g, and in float32 costs v about 1500 ulp in the first
    steps. And ``(decay2*g)*g`` overflows later than ``decay2*(g*g)``.

    Parameters
    ----------
    x : float
        The parameter.
    grad : float
        Its derivative.
    mean, square : float
        Moving averages of the derivative and of its square, without bias correction.
    step, decay1, beta2, decay2, eps_root, eps : float
        From :func:`adam_coefficients` or one of its kin.

    Returns
    -------
    tuple of float
        The new ``x``, ``mean`` and ``square``.

    Examples
    --------
    The first step has the length `lr`, whatever the derivative:

    >>> x, mean, square = adam(1.0, 50.0, 0.0, 0.0, *adam_coefficients(1, 0.125, 0.9, 0.999, 0.0))
    >>> round(x, 12)
    0.875
    """
    mean += decay1 * (grad - mean)
    square = beta2 * square + decay2 * grad * grad
    return x - step * mean / (math.sqrt(square + eps_root) + eps), mean, square


@RULE
def adam_coefficients(
    t: float, lr: float, beta1: float, beta2: float, eps: float
) -> tuple[float, float, float, float, float, float]:
    """What :func:`adam` needs besides the parameter and its slots, at step `t`.

    Parameters
    ----------
    t : float
        Number of the step, from 1.
    lr : float
        Step length.
    beta1, beta2 : float
        Decay rates of the two averages.
    eps : float
        Added to the root of the corrected `square`.

    Returns
    -------
    tuple of float
        ``step, decay1, beta2, decay2, eps_root, eps`` in the order of :func:`adam`'s arguments.

    Examples
    --------
    >>> adam_coefficients(1, 0.5, 0.75, 0.75, 0.0)
    (1.0, 0.25, 0.75, 0.25, 0.0, 0.0)
    """
    root2 = math.sqrt(correction(beta2, t))
    return lr * root2 / correction(beta1, t), 1.0 - beta1, beta2, 1.0 - beta2, 0.0, eps * root2


@RULE
def adam_optax_coefficients(
    t: float, lr: float, beta1: float, beta2: float, eps_root: float, eps: float
) -> tuple[float, float, float, float, float, float]:
    """optax's form: ``sqrt(v_hat + eps_root) + eps``.

    Examples
    --------
    >>> adam_optax_coefficients(1, 0.5, 0.75, 0.75, 1.0, 0.0)
    (1.0, 0.25, 0.75, 0.25, 0.25, 0.0)
    """
    correction2 = correction(beta2, t)
    root2 = math.sqrt(correction2)
    step = lr * root2 / correction(beta1, t)
    return step, 1.0 - beta1, beta2, 1.0 - beta2, eps_root * correction2, eps * root2


@RULE
def adam_keras_coefficients(
    t: float, lr: float, beta1: float, beta2: float, eps: float
) -> tuple[float, float, float, float, float, float]:
    """Keras' form: `eps` is added to the root before its correction (the paper's epsilon hat).

    In the first steps that is ``1/sqrt(1 - beta2)`` times as much, 32 by default.

    Examples
    --------
    >>> adam_keras_coefficients(1, 0.5, 0.75, 0.75, 1e-7)
    (1.0, 0.25, 0.75, 0.25, 0.0, 1e-07)
    """
    step = lr * math.sqrt(correction(beta2, t)) / correction(beta1, t)
    return step, 1.0 - beta1, beta2, 1.0 - beta2, 0.0, eps
