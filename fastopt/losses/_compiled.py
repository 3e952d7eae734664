"""The compiled functions, four for each loss: what solvers call.

``fun(theta, grad, X, y, sample_weight, l2, ...) -> float`` fills `grad`, unless it has no entries,
as ``jac="inplace"`` has it; ``hessp(theta, p, X, y, sample_weight, l2, ...)`` returns the product
of the Hessian with `p`, ``hess(theta, X, y, sample_weight, l2, ...)`` the Hessian, and `hess_diag`
its diagonal. They stand here by name, so that they pickle by name, and so that one
compilation serves all data. What they share is in :mod:`fastopt.losses._passes`.
"""

from __future__ import annotations

from fastopt.core._jit import compile_named
from fastopt.losses._blocks import (
    curve_absolute,
    curve_huber,
    curve_logistic,
    curve_poisson,
    curve_softmax,
    curve_squared,
    evaluate_absolute,
    evaluate_huber,
    evaluate_logistic,
    evaluate_poisson,
    evaluate_softmax,
    evaluate_squared,
)
from fastopt.losses._passes import hessian, hessian_diagonal, hessian_product, value_gradient

__all__ = [
    "absolute_fun",
    "absolute_hess",
    "absolute_hess_diag",
    "absolute_hessp",
    "huber_fun",
    "huber_hess",
    "huber_hess_diag",
    "huber_hessp",
    "logistic_fun",
    "logistic_hess",
    "logistic_hess_diag",
    "logistic_hessp",
    "multilabel_fun",
    "multilabel_hess",
    "multilabel_hess_diag",
    "multilabel_hessp",
    "poisson_fun",
    "poisson_hess",
    "poisson_hess_diag",
    "poisson_hessp",
    "softmax_fun",
    "softmax_hess",
    "softmax_hess_diag",
    "softmax_hessp",
    "squared_fun",
    "squared_hess",
    "squared_hess_diag",
    "squared_hessp",
]


@compile_named
def squared_fun(theta, grad, X, y, sample_weight, l2):
    return value_gradient(evaluate_squared, 1, 1, (), theta, grad, X, y, sample_weight, l2)


@compile_named
def squared_hessp(theta, p, X, y, sample_weight, l2):
    return hessian_product(curve_squared, 1, 1, (), theta, p, X, y, sample_weight, l2)


@compile_named
def squared_hess(theta, X, y, sample_weight, l2):
    return hessian(curve_squared, 1, 1, (), theta, X, y, sample_weight, l2)


@compile_named
def squared_hess_diag(theta, X, y, sample_weight, l2):
    return hessian_diagonal(curve_squared, 1, 1, (), theta, X, y, sample_weight, l2)


@compile_named
def absolute_fun(theta, grad, X, y, sample_weight, l2):
    return value_gradient(evaluate_absolute, 1, 1, (), theta, grad, X, y, sample_weight, l2)


@compile_named
def absolute_hessp(theta, p, X, y, sample_weight, l2):
    return hessian_product(curve_absolute, 1, 1, (), theta, p, X, y, sample_weight, l2)


@compile_named
def absolute_hess(theta, X, y, sample_weight, l2):
    return hessian(curve_absolute, 1, 1, (), theta, X, y, sample_weight, l2)


@compile_named
def absolute_hess_diag(theta, X, y, sample_weight, l2):
    return hessian_diagonal(curve_absolute, 1, 1, (), theta, X, y, sample_weight, l2)


@compile_named
def huber_fun(theta, grad, X, y, sample_weight, l2, delta):
    return value_gradient(evaluate_huber, 1, 1, (delta,), theta, grad, X, y, sample_weight, l2)


@compile_named
def huber_hessp(theta, p, X, y, sample_weight, l2, delta):
    return hessian_product(curve_huber, 1, 1, (delta,), theta, p, X, y, sample_weight, l2)


@compile_named
def huber_hess(theta, X, y, sample_weight, l2, delta):
    return hessian(curve_huber, 1, 1, (delta,), theta, X, y, sample_weight, l2)


@compile_named
def huber_hess_diag(theta, X, y, sample_weight, l2, delta):
    return hessian_diagonal(curve_huber, 1, 1, (delta,), theta, X, y, sample_weight, l2)


@compile_named
def logistic_fun(theta, grad, X, y, sample_weight, l2):
    return value_gradient(evaluate_logistic, 1, 1, (), theta, grad, X, y, sample_weight, l2)


@compile_named
def logistic_hessp(theta, p, X, y, sample_weight, l2):
    return hessian_product(curve_logistic, 1, 1, (), theta, p, X, y, sample_weight, l2)


@compile_named
def logistic_hess(theta, X, y, sample_weight, l2):
    return hessian(curve_logistic, 1, 1, (), theta, X, y, sample_weight, l2)


@compile_named
def logistic_hess_diag(theta, X, y, sample_weight, l2):
    return hessian_diagonal(curve_logistic, 1, 1, (), theta, X, y, sample_weight, l2)


@compile_named
def multilabel_fun(theta, grad, X, y, sample_weight, l2):
    return value_gradient(
        evaluate_logistic, y.shape[1], y.shape[1], (), theta, grad, X, y, sample_weight, l2
    )


@compile_named
def multilabel_hessp(theta, p, X, y, sample_weight, l2):
    return hessian_product(
        curve_logistic, y.shape[1], y.shape[1], (), theta, p, X, y, sample_weight, l2
    )


@compile_named
def multilabel_hess(theta, X, y, sample_weight, l2):
    return hessian(curve_logistic, y.shape[1], y.shape[1], (), theta, X, y, sample_weight, l2)


@compile_named
def multilabel_hess_diag(theta, X, y, sample_weight, l2):
    return hessian_diagonal(
        curve_logistic, y.shape[1], y.shape[1], (), theta, X, y, sample_weight, l2
    )


@compile_named
def softmax_fun(theta, grad, X, y, sample_weight, l2, n_classes):
    return value_gradient(evaluate_softmax, n_classes, 1, (), theta, grad, X, y, sample_weight, l2)


@compile_named
def softmax_hessp(theta, p, X, y, sample_weight, l2, n_classes):
    return hessian_product(curve_softmax, n_classes, 1, (), theta, p, X, y, sample_weight, l2)


@compile_named
def softmax_hess(theta, X, y, sample_weight, l2, n_classes):
    return hessian(curve_softmax, n_classes, 1, (), theta, X, y, sample_weight, l2)


@compile_named
def softmax_hess_diag(theta, X, y, sample_weight, l2, n_classes):
    return hessian_diagonal(curve_softmax, n_classes, 1, (), theta, X, y, sample_weight, l2)


@compile_named
def poisson_fun(theta, grad, X, y, sample_weight, l2):
    return value_gradient(evaluate_poisson, 1, 1, (), theta, grad, X, y, sample_weight, l2)


@compile_named
def poisson_hessp(theta, p, X, y, sample_weight, l2):
    return hessian_product(curve_poisson, 1, 1, (), theta, p, X, y, sample_weight, l2)


@compile_named
def poisson_hess(theta, X, y, sample_weight, l2):
    return hessian(curve_poisson, 1, 1, (), theta, X, y, sample_weight, l2)


@compile_named
def poisson_hess_diag(theta, X, y, sample_weight, l2):
    return hessian_diagonal(curve_poisson, 1, 1, (), theta, X, y, sample_weight, l2)
