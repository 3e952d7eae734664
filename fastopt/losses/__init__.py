"""Losses of linear models as compiled objectives, ready for `fastopt.minimize`.

Each function takes data and returns a `LinearLoss`: an ``@njit`` function with its gradient,
another for products with its Hessian, and the arguments of both. They are compiled once for all
data, kept in Numba's cache, and work in `minimize`, in `minimize_many` and in ``@njit`` code.
"""

from fastopt.losses.linear import (
    LinearLoss,
    absolute,
    huber,
    logistic,
    multilabel,
    poisson,
    softmax,
    squared,
)

__all__ = [
    "LinearLoss",
    "absolute",
    "huber",
    "logistic",
    "multilabel",
    "poisson",
    "softmax",
    "squared",
]
