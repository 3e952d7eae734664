"""AdaGrad (Duchi, Hazan & Singer, J. Mach. Learn. Res. 12, 2011)."""

from __future__ import annotations

import math

from fastopt.core._jit import RULE
from fastopt.rules._precision import double


@RULE
def adagrad(
    x: float, grad: float, total: float, start: float, lr: float, eps_root: float, eps: float
) -> tuple[float, float]:
    """One step of AdaGrad for one parameter (Duchi et al. 2011, figure 1, diagonal matrix).

    The recurrence, with G and g for `total` and `grad`::

        G = G + g*g
        x = x - lr*g/(sqrt(G + eps_root) + eps)

    The paper adds its constant, delta, to the root; most textbooks add it to the sum.

    Parameters
    ----------
    x : float
        The parameter.
    grad : float
        Its derivative.
    total : float
        The sum of the squares of the derivatives so far.
    start, lr, eps_root, eps : float
        From :func:`adagrad_coefficients` or one of its kin. `start` is what `total` begins with:
        it is added at the first step, and 0 after it.

    Returns
    -------
    tuple of float
        The new ``x`` and ``total``.

    Examples
    --------
    The first step has the length `lr`, whatever the derivative:

    >>> adagrad(1.0, 50.0, 0.0, *adagrad_coefficients(1, 0.25, 0.0))
    (0.75, 2500.0)
    """
    total = total + start + grad * grad
    return x - lr * grad / (math.sqrt(total + eps_root) + eps), total


@RULE
def adagrad_coefficients(t: float, lr: float, eps: float) -> tuple[float, float, float, float]:
    """The textbook's form, with `eps` under the root.

    Examples
    --------
    >>> adagrad_coefficients(1, 0.01, 1e-8)
    (0.0, 0.01, 1e-08, 0.0)
    """
    return 0.0, lr, eps, 0.0


@RULE
def adagrad_started_coefficients(
    t: float, lr: float, initial_accumulator: float, eps: float
) -> tuple[float, float, float, float]:
    """optax's and Keras' form: the sum does not begin at 0.

    Examples
    --------
    >>> adagrad_started_coefficients(1, 0.01, 0.1, 1e-7)
    (0.1, 0.01, 1e-07, 0.0)
    >>> adagrad_started_coefficients(2, 0.01, 0.1, 1e-7)
    (0.0, 0.01, 1e-07, 0.0)
    """
    return initial_accumulator if t == 1 else 0.0, lr, eps, 0.0


@RULE
def adagrad_torch_coefficients(
    t: float, lr: float, lr_decay: float, initial_accumulator: float, eps: float
) -> tuple[float, float, float, float]:
    """PyTorch's form: `eps` outside the root, and a step length that falls as 1/t.

    Examples
    --------
    >>> adagrad_torch_coefficients(3, 0.5, 0.5, 0.0, 1e-10)
    (0.0, 0.25, 0.0, 1e-10)
    """
    start = initial_accumulator if t == 1 else 0.0
    return start, lr / (1.0 + (double(t) - 1.0) * lr_decay), 0.0, eps
