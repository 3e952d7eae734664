"""scikit-learn's linear models: the same minima, with its penalty in its own measure."""

import numpy as np
import pytest

import fastopt
from fastopt import losses

from .conftest import make_problem

linear_model = pytest.importorskip("sklearn.linear_model", reason="needs scikit-learn")
L2 = 0.05


def fit(name):
    problem = make_problem(name, 200, 5)
    weights = problem.rng.random(200)
    loss = problem.make(sample_weight=weights, l2=L2, intercept=True)
    options = {"gtol": 1e-9, "ftol": 0.0}
    found = fastopt.minimize(loss.fun, loss.x0, loss.args, "l-bfgs", loss.jac, options=options)
    return problem, weights, loss.coef(found.x), loss.intercept(found.x)


def assert_same_minimum(model, name):
    problem, weights, coef, intercept = fit(name)
    model.fit(problem.X, problem.y, sample_weight=weights)
    np.testing.assert_allclose(coef, np.reshape(model.coef_, coef.shape), atol=1e-5)
    np.testing.assert_allclose(
        intercept, np.reshape(model.intercept_, np.shape(intercept)), atol=1e-5
    )


def sum_of_weights(name):
    return fit(name)[1].sum()


@pytest.mark.parametrize("name", ["logistic", "softmax"])
def test_logistic_regression(name):
    inverse = 1 / (L2 * sum_of_weights(name))
    model = linear_model.LogisticRegression(C=inverse, tol=1e-8, max_iter=10_000)
    assert_same_minimum(model, name)


def test_ridge_regression():
    model = linear_model.Ridge(alpha=L2 * sum_of_weights("squared"), tol=1e-10)
    assert_same_minimum(model, "squared")


def test_poisson_regression():
    assert_same_minimum(linear_model.PoissonRegressor(alpha=L2, tol=1e-8, max_iter=1000), "poisson")


def test_scores_are_those_of_predictions():
    problem = make_problem("logistic", 200, 5)
    loss = losses.logistic(problem.X, problem.y, l2=L2, intercept=True)
    found = fastopt.minimize(loss.fun, loss.x0, loss.args, jac=loss.jac, tol=1e-9)
    model = linear_model.LogisticRegression(C=1 / (L2 * 200), tol=1e-8).fit(problem.X, problem.y)
    scores = loss.decision(found.x, problem.X)
    np.testing.assert_allclose(scores, model.decision_function(problem.X), atol=1e-5)
