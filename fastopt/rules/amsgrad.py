"""AMSGrad (Reddi, Kale & Kumar, ICLR 2018, arXiv:1904.09237)."""

from __future__ import annotations

import math

from fastopt.core._jit import RULE
from fastopt.rules._precision import correction


@RULE
def amsgrad(
    x: float,
    grad: float,
    mean: float,
    square: float,
    largest: float,
    step: float,
    decay1: float,
    beta2: float,
    decay2: float,
    scale: float,
    eps_root: float,
    eps: float,
) -> tuple[float, float, float, float]:
    """One step of AMSGrad for one parameter (Reddi et al. 2018, algorithm 2).

    The recurrence, with m, v, w and g for `mean`, `square`, `largest` and `grad`::

        m = beta1*m + (1 - beta1)*g
        v = beta2*v + (1 - beta2)*g*g
        w = max(w, scale*v)
        x = x - step*m/(sqrt(w + eps_root) + eps)

    As `w` never falls, the step lengths never rise, which Adam's convergence proof needed.

    Parameters
    ----------
    x : float
        The parameter.
    grad : float
        Its derivative.
    mean, square : float
        Moving averages of the derivative and of its square, without bias correction.
    largest : float
        The largest ``scale*square`` so far.
    step, decay1, beta2, decay2, scale, eps_root, eps : float
        From :func:`amsgrad_coefficients` or one of its kin.

    Returns
    -------
    tuple of float
        The new ``x``, ``mean``, ``square`` and ``largest``.

    Examples
    --------
    >>> amsgrad(1.0, 4.0, 0.0, 0.0, 9.0, *amsgrad_coefficients(1, 0.75, 0.5, 0.5, 0.0))
    (0.5, 2.0, 8.0, 9.0)
    """
    mean += decay1 * (grad - mean)
    square = beta2 * square + decay2 * grad * grad
    largest = max(largest, scale * square)
    return x - step * mean / (math.sqrt(largest + eps_root) + eps), mean, square, largest


@RULE
def amsgrad_coefficients(
    t: float, lr: float, beta1: float, beta2: float, eps: float
) -> tuple[float, float, float, float, float, float, float]:
    """The paper's form, without bias corrections; with `eps`, which the paper leaves out.

    Examples
    --------
    >>> amsgrad_coefficients(1, 0.5, 0.75, 0.75, 1e-8)
    (0.5, 0.25, 0.75, 0.25, 1.0, 0.0, 1e-08)
    """
    return lr, 1.0 - beta1, beta2, 1.0 - beta2, 1.0, 0.0, eps


@RULE
def amsgrad_torch_coefficients(
    t: float, lr: float, beta1: float, beta2: float, eps: float
) -> tuple[float, float, float, float, float, float, float]:
    """PyTorch's form: the largest is of the uncorrected averages, and corrected where it is used.

    Examples
    --------
    >>> amsgrad_torch_coefficients(1, 0.5, 0.75, 0.75, 0.0)
    (1.0, 0.25, 0.75, 0.25, 1.0, 0.0, 0.0)
    """
    root2 = math.sqrt(correction(beta2, t))
    step = lr * root2 / correction(beta1, t)
    return step, 1.0 - beta1, beta2, 1.0 - beta2, 1.0, 0.0, eps * root2


@RULE
def amsgrad_optax_coefficients(
    t: float, lr: float, beta1: float, beta2: float, eps_root: float, eps: float
) -> tuple[float, float, float, float, float, float, float]:
    """optax's form: the largest is of the corrected averages.

    Examples
    --------
    >>> amsgrad_optax_coefficients(1, 0.5, 0.75, 0.75, 0.0, 0.0)
    (2.0, 0.25, 0.75, 0.25, 4.0, 0.0, 0.0)
    """
    step, scale = lr / correction(beta1, t), 1.0 / correction(beta2, t)
    return step, 1.0 - beta1, beta2, 1.0 - beta2, scale, eps_root, eps


@RULE
def amsgrad_keras_coefficients(
    t: float, lr: float, beta1: float, beta2: float, eps: float
) -> tuple[float, float, float, float, float, float, float]:
    """Keras' form: PyTorch's, but that `eps` is added to the root before its correction.

    Examples
    --------
    >>> amsgrad_keras_coefficients(1, 0.5, 0.75, 0.75, 1e-7)
    (1.0, 0.25, 0.75, 0.25, 1.0, 0.0, 1e-07)
    """
    step = lr * math.sqrt(correction(beta2, t)) / correction(beta1, t)
    return step, 1.0 - beta1, beta2, 1.0 - beta2, 1.0, 0.0, eps
