"""AdaMax, Adam in the infinity norm (Kingma & Ba, ICLR 2015, arXiv:1412.6980)."""

from __future__ import annotations

from fastopt.core._jit import RULE
from fastopt.rules._precision import correction


@RULE
def adamax(
    x: float,
    grad: float,
    mean: float,
    norm: float,
    step: float,
    decay1: float,
    beta2: float,
    eps_slope: float,
    eps: float,
) -> tuple[float, float, float]:
    """One step of AdaMax for one parameter (Kingma & Ba 2015, algorithm 2).

    The recurrence, with m, u and g for `mean`, `norm` and `grad`::

        m = beta1*m + (1 - beta1)*g        m_hat = m/(1 - beta1**t)
        u = max(beta2*u, |g| + eps_slope)
        x = x - lr*m_hat/(u + eps)

    Parameters
    ----------
    x : float
        The parameter.
    grad : float
        Its derivative.
    mean : float
        Moving average of the derivative, without bias correction.
    norm : float
        The largest magnitude of the derivative, with a memory that decays.
    step, decay1, beta2, eps_slope, eps : float
        From :func:`adamax_coefficients` or one of its kin.

    Returns
    -------
    tuple of float
        The new ``x``, ``mean`` and ``norm``.

    Examples
    --------
    >>> adamax(1.0, 8.0, 0.0, 4.0, *adamax_coefficients(1, 0.25, 0.5, 0.5, 0.0))
    (0.75, 4.0, 8.0)
    """
    mean += decay1 * (grad - mean)
    norm = max(beta2 * norm, abs(grad) + eps_slope)
    return x - step * mean / (norm + eps), mean, norm


@RULE
def adamax_coefficients(
    t: float, lr: float, beta1: float, beta2: float, eps: float
) -> tuple[float, float, float, float, float]:
    """The paper's form and Keras'; the paper leaves `eps` out.

    Examples
    --------
    >>> adamax_coefficients(1, 0.25, 0.75, 0.5, 1e-8)
    (1.0, 0.25, 0.5, 0.0, 1e-08)
    """
    return lr / correction(beta1, t), 1.0 - beta1, beta2, 0.0, eps


@RULE
def adamax_inside_coefficients(
    t: float, lr: float, beta1: float, beta2: float, eps: float
) -> tuple[float, float, float, float, float]:
    """PyTorch's form and optax's: `eps` is added to the derivative's magnitude, and remembered.

    Examples
    --------
    >>> adamax_inside_coefficients(1, 0.25, 0.75, 0.5, 1e-8)
    (1.0, 0.25, 0.5, 1e-08, 0.0)
    """
    return lr / correction(beta1, t), 1.0 - beta1, beta2, eps, 0.0
