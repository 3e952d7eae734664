"""What the tests of losses share: a small problem for each, and its value by NumPy and SciPy."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import scipy.special as sp

from fastopt import losses

DELTA = 0.8
CLASSES = 4
LABELS = 3


def softmax_each(z, y):
    return sp.logsumexp(z, axis=1) - np.take_along_axis(z, y[:, None], axis=1)[:, 0]


def multilabel_each(z, y):
    return (np.logaddexp(0, z) - y * z).mean(axis=1)


# Each sample's loss from its scores, written as in a textbook.
EACH = {
    "squared": lambda z, y: 0.5 * (z - y) ** 2,
    "absolute": lambda z, y: np.abs(z - y),
    "huber": lambda z, y: sp.huber(DELTA, z - y),
    "logistic": lambda z, y: np.logaddexp(0, z) - y * z,
    "poisson": lambda z, y: np.exp(z) - y * z,
    "softmax": softmax_each,
    "multilabel": multilabel_each,
}
OUTPUTS = {"softmax": CLASSES, "multilabel": LABELS}
EXTRA = {"huber": {"delta": DELTA}, "softmax": {"n_classes": CLASSES}}


def observations(name, rng, n):
    return {
        "squared": lambda: rng.normal(size=n),
        "absolute": lambda: rng.normal(size=n),
        "huber": lambda: rng.normal(size=n),
        "logistic": lambda: (rng.random(n) < 0.5).astype(float),
        "poisson": lambda: rng.poisson(2.0, n).astype(float),
        "softmax": lambda: rng.integers(0, CLASSES, n),
        "multilabel": lambda: (rng.random((n, LABELS)) < 0.5).astype(float),
    }[name]()


@dataclass
class Problem:
    """Data of a loss, and what can be done with it."""

    name: str
    X: Any
    y: Any
    rng: np.random.Generator

    def make(self, X=None, y=None, **keywords):
        X, y = self.X if X is None else X, self.y if y is None else y
        return getattr(losses, self.name)(X, y, **EXTRA.get(self.name, {}), **keywords)

    def theta(self, loss, scale=0.3):
        return scale * self.rng.normal(size=loss.n)

    def naive(self, theta, sample_weight=None, l2=0.0, intercept=False):
        rows = theta.reshape(OUTPUTS.get(self.name, 1), -1)
        coef = rows[:, : self.X.shape[1]]
        z = self.X @ coef.T + (rows[:, -1] if intercept else 0.0)
        each = EACH[self.name](z if self.name in OUTPUTS else z[:, 0], self.y)
        return np.average(each, weights=sample_weight) + 0.5 * l2 * (coef**2).sum()


def make_problem(name, n=57, p=11, seed=0):
    rng = np.random.default_rng(seed)
    return Problem(name, rng.normal(size=(n, p)), observations(name, rng, n), rng)


def value(loss, theta):
    return loss.fun(theta, np.empty(0), *loss.args)


def gradient(loss, theta):
    grad = np.full(loss.n, np.nan)
    loss.fun(theta, grad, *loss.args)
    return grad


def value_and_gradient(loss, theta):
    grad = np.full(loss.n, np.nan)
    return loss.fun(theta, grad, *loss.args), grad


@pytest.fixture(params=list(EACH))
def problem(request):
    return make_problem(request.param)
