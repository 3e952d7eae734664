"""RAdam, rectified Adam (Liu et al., ICLR 2020, arXiv:1908.03265)."""

from __future__ import annotations

import math

from fastopt.core._jit import RULE
from fastopt.rules._precision import correction, double, power


@RULE
def radam(
    x: float,
    grad: float,
    mean: float,
    square: float,
    step: float,
    decay1: float,
    beta2: float,
    decay2: float,
    adapt: float,
    eps_root: float,
    eps: float,
) -> tuple[float, float, float]:
    """One step of RAdam for one parameter (Liu et al. 2020, algorithm 2).

    Adam's averages m and v, and the length rho(t) of the simple moving average that v resembles::

        rho_inf = 2/(1 - beta2) - 1
        rho(t) = rho_inf - 2*t*beta2**t/(1 - beta2**t)

    As long as rho(t) is small, v says too little of the derivative's variance to divide by, and the
    step is ``lr*m_hat``. Afterwards it is Adam's, times ::

        r = sqrt((rho - 4)*(rho - 2)*rho_inf/((rho_inf - 4)*(rho_inf - 2)*rho))

    Parameters
    ----------
    x : float
        The parameter.
    grad : float
        Its derivative.
    mean, square : float
        Moving averages of the derivative and of its square, without bias correction.
    step, decay1, beta2, decay2, adapt, eps_root, eps : float
        From :func:`radam_coefficients` or one of its kin. The step is divided by
        ``adapt*sqrt(square + eps_root) + eps``, where `adapt` is 1 or, at first, 0.

    Returns
    -------
    tuple of float
        The new ``x``, ``mean`` and ``square``.

    Examples
    --------
    >>> x, mean, square = radam(1.0, 4.0, 0.0, 0.0, *radam_coefficients(1, 0.125, 0.5, 0.999, 1e-8))
    >>> x, mean, round(square, 12)
    (0.5, 2.0, 0.016)
    """
    mean += decay1 * (grad - mean)
    square = beta2 * square + decay2 * grad * grad
    return x - step * mean / (adapt * math.sqrt(square + eps_root) + eps), mean, square


@RULE
def radam_coefficients(
    t: float, lr: float, beta1: float, beta2: float, eps: float
) -> tuple[float, float, float, float, float, float, float]:
    """The paper's form: adaptive where rho(t) is above 4.

    `eps`, which the paper leaves out, is added to the root of `square` as it is.

    Examples
    --------
    >>> radam_coefficients(1, 0.25, 0.75, 0.75, 1e-8)
    (1.0, 0.25, 0.75, 0.25, 0.0, 0.0, 1.0)
    """
    rho = radam_length(t, beta2)
    step = lr / correction(beta1, t)
    if rho <= 4.0:
        return step, 1.0 - beta1, beta2, 1.0 - beta2, 0.0, 0.0, 1.0
    step *= math.sqrt(correction(beta2, t)) * radam_rectification(rho, beta2)
    return step, 1.0 - beta1, beta2, 1.0 - beta2, 1.0, 0.0, eps


@RULE
def radam_torch_coefficients(
    t: float, lr: float, beta1: float, beta2: float, eps: float
) -> tuple[float, float, float, float, float, float, float]:
    """PyTorch's form: adaptive where rho(t) is above 5.

    Examples
    --------
    >>> radam_torch_coefficients(1, 0.25, 0.75, 0.75, 1e-8)
    (1.0, 0.25, 0.75, 0.25, 0.0, 0.0, 1.0)
    """
    if radam_length(t, beta2) <= 5.0:
        return lr / correction(beta1, t), 1.0 - beta1, beta2, 1.0 - beta2, 0.0, 0.0, 1.0
    return radam_coefficients(t, lr, beta1, beta2, eps)


@RULE
def radam_optax_coefficients(
    t: float,
    lr: float,
    beta1: float,
    beta2: float,
    eps_root: float,
    threshold: float,
    eps: float,
) -> tuple[float, float, float, float, float, float, float]:
    """optax's form: adaptive from `threshold` on, with ``sqrt(v_hat + eps_root) + eps``.

    Examples
    --------
    >>> radam_optax_coefficients(1, 0.25, 0.75, 0.75, 0.0, 5.0, 1e-8)
    (1.0, 0.25, 0.75, 0.25, 0.0, 0.0, 1.0)
    """
    rho = radam_length(t, beta2)
    step = lr / correction(beta1, t)
    if rho < threshold:
        return step, 1.0 - beta1, beta2, 1.0 - beta2, 0.0, 0.0, 1.0
    correction2 = correction(beta2, t)
    root2 = math.sqrt(correction2)
    step *= root2 * radam_rectification(rho, beta2)
    return step, 1.0 - beta1, beta2, 1.0 - beta2, 1.0, eps_root * correction2, eps * root2


@RULE
def radam_length(t: float, beta2: float) -> float:
    """rho(t): how many derivatives `square` is an average of, in effect.

    Examples
    --------
    >>> round(radam_length(1, 0.999), 9), round(radam_length(10**6, 0.999), 9)
    (1.0, 1999.0)
    """
    left = power(beta2, t)
    return 2.0 / (1.0 - beta2) - 1.0 - 2.0 * double(t) * left / (1.0 - left)


@RULE
def radam_rectification(rho: float, beta2: float) -> float:
    """r: how much shorter the step is than Adam's.

    Examples
    --------
    >>> round(radam_rectification(1999.0, 0.999), 9), round(radam_rectification(5.0, 0.999), 4)
    (1.0, 0.0174)
    """
    rho_inf = 2.0 / (1.0 - beta2) - 1.0
    shorter = (rho - 4.0) * (rho - 2.0) * rho_inf
    return math.sqrt(shorter / ((rho_inf - 4.0) * (rho_inf - 2.0) * rho))
