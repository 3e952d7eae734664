"""Nadam: Adam with Nesterov's momentum (Dozat, ICLR workshop 2016)."""

from __future__ import annotations

import math

from fastopt.core._jit import RULE
from fastopt.rules._precision import complement, correction, double


@RULE
def nadam(
    x: float,
    grad: float,
    mean: float,
    square: float,
    now: float,
    ahead: float,
    decay1: float,
    beta2: float,
    decay2: float,
    eps_root: float,
    eps: float,
) -> tuple[float, float, float]:
    """One step of Nadam for one parameter (Dozat 2016, algorithm 2).

    The recurrence, with m, v and g for `mean`, `square` and `grad`, and mu(t) for the momentum that
    its schedule gives at step t, M(t) for the product mu(1)...mu(t)::

        m = mu(t)*m + (1 - mu(t))*g
        v = beta2*v + (1 - beta2)*g*g      v_hat = v/(1 - beta2**t)
        n = (1 - mu(t))*g/(1 - M(t)) + mu(t + 1)*m/(1 - M(t + 1))
        x = x - lr*n/(sqrt(v_hat) + eps)

    The paper's algorithm has a further factor beta2 in v_hat, which its derivation has not, and
    which nobody uses. The quotient is expanded as in :func:`fastopt.rules.adam.adam`.

    Parameters
    ----------
    x : float
        The parameter.
    grad : float
        Its derivative.
    mean, square : float
        Moving averages of the derivative and of its square, without bias correction.
    now, ahead : float
        What multiplies `grad` and `mean` in the step.
    decay1, beta2, decay2, eps_root, eps : float
        With `now` and `ahead` from :func:`nadam_coefficients` or one of its kin.

    Returns
    -------
    tuple of float
        The new ``x``, ``mean`` and ``square``.

    Examples
    --------
    >>> x, mean, square = nadam(1.0, 50.0, 0.0, 0.0, *nadam_coefficients(1, 0.125, 0.9, 0.999, 0.0))
    >>> round(x, 3)
    0.836
    """
    mean += decay1 * (grad - mean)
    square = beta2 * square + decay2 * grad * grad
    slope = now * grad + ahead * mean
    return x - slope / (math.sqrt(square + eps_root) + eps), mean, square


@RULE
def nadam_coefficients(
    t: float, lr: float, beta1: float, beta2: float, eps: float
) -> tuple[float, float, float, float, float, float, float]:
    """The paper's form, with its schedule ``mu(t) = beta1*(1 - 0.5*0.96**(t/250))``.

    Examples
    --------
    >>> [round(each, 4) for each in nadam_coefficients(1, 0.5, 0.75, 0.75, 0.0)]
    [0.25, 0.1091, 0.6249, 0.75, 0.25, 0.0, 0.0]
    """
    rate = 0.004
    root2 = math.sqrt(correction(beta2, t))
    now, ahead = nadam_weights(double(t), beta1, rate)
    mu = nadam_momentum(double(t), beta1, rate)
    return lr * root2 * now, lr * root2 * ahead, 1.0 - mu, beta2, 1.0 - beta2, 0.0, eps * root2


@RULE
def nadam_torch_coefficients(
    t: float, lr: float, beta1: float, beta2: float, momentum_decay: float, eps: float
) -> tuple[float, float, float, float, float, float, float]:
    """PyTorch's form: the schedule weights the step, but `mean` decays by `beta1` throughout.

    Examples
    --------
    >>> [round(each, 4) for each in nadam_torch_coefficients(1, 0.5, 0.75, 0.75, 0.004, 0.0)]
    [0.25, 0.1091, 0.25, 0.75, 0.25, 0.0, 0.0]
    """
    root2 = math.sqrt(correction(beta2, t))
    now, ahead = nadam_weights(double(t), beta1, momentum_decay)
    return lr * root2 * now, lr * root2 * ahead, 1.0 - beta1, beta2, 1.0 - beta2, 0.0, eps * root2


@RULE
def nadam_keras_coefficients(
    t: float, lr: float, beta1: float, beta2: float, eps: float
) -> tuple[float, float, float, float, float, float, float]:
    """Keras' form: ``mu(t) = beta1*(1 - 0.5*0.96**t)``, which is near `beta1` after 100 steps.

    It is PyTorch's with a `momentum_decay` of 1, and for float32 with decays formed in float32.

    Examples
    --------
    >>> [round(each, 4) for each in nadam_keras_coefficients(1, 0.5, 0.75, 0.75, 0.0)]
    [0.25, 0.12, 0.25, 0.75, 0.25, 0.0, 0.0]
    """
    root2 = math.sqrt(correction(beta2, t))
    now, ahead = nadam_weights(double(t), beta1, 1.0)
    decay1, decay2 = complement(beta1, t), complement(beta2, t)
    return lr * root2 * now, lr * root2 * ahead, decay1, beta2, decay2, 0.0, eps * root2


@RULE
def nadam_optax_coefficients(
    t: float, lr: float, beta1: float, beta2: float, eps_root: float, eps: float
) -> tuple[float, float, float, float, float, float, float]:
    """optax's form: no schedule, ``mu(t) = beta1``.

    Examples
    --------
    >>> nadam_optax_coefficients(1, 0.4375, 0.75, 0.75, 0.0, 0.0)
    (0.21875, 0.375, 0.25, 0.75, 0.25, 0.0, 0.0)
    """
    correction2 = correction(beta2, t)
    root2 = math.sqrt(correction2)
    now = lr * root2 * (1.0 - beta1) / correction(beta1, t)
    ahead = lr * root2 * beta1 / correction(beta1, double(t) + 1.0)
    return now, ahead, 1.0 - beta1, beta2, 1.0 - beta2, eps_root * correction2, eps * root2


@RULE
def nadam_momentum(t: float, beta1: float, rate: float) -> float:
    """The momentum at step `t`: from half of `beta1` to `beta1`, the faster the larger `rate` is.

    Examples
    --------
    >>> nadam_momentum(0.0, 0.9, 0.004), nadam_momentum(1e7, 0.9, 0.004)
    (0.45, 0.9)
    """
    missing: float = 0.5 * 0.96 ** (t * rate)
    return beta1 * (1.0 - missing)


@RULE
def nadam_weights(t: float, beta1: float, rate: float) -> tuple[float, float]:
    """``(1 - mu(t))/(1 - M(t))`` and ``mu(t + 1)/(1 - M(t + 1))``.

    The product M is formed anew at every step, so that a rule needs no memory but its slots. Half
    of `beta1` at first, its factors have soon made it too small to matter, after some 60 of them
    with the paper's `rate`; or they have become `beta1`, and the rest of them are a power.

    Examples
    --------
    >>> [round(weight, 4) for weight in nadam_weights(2.0, 0.9, 0.004)]
    [0.6896, 0.4954]
    """
    negligible = 1e-20
    factor = 0.96**rate
    share = 0.5 * factor
    product = 1.0
    k = 1.0
    while k <= t and product > negligible and share > negligible:
        product *= beta1 * (1.0 - share)
        share *= factor
        k += 1.0
    if k <= t and product > negligible:
        product *= beta1 ** (t - k + 1.0)
    mu = nadam_momentum(t, beta1, rate)
    mu_next = nadam_momentum(t + 1.0, beta1, rate)
    return (1.0 - mu) / (1.0 - product), mu_next / (1.0 - product * mu_next)
