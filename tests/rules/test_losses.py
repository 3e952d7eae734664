"""Pointwise losses: against SciPy and closed forms, and their derivatives against each other."""

import math

import numpy as np
import pytest
import scipy.special as sp
from numba import njit

from fastopt.rules import losses

EPS = np.finfo(float).eps

# Losses by name: an independent form, the constants, and observations they are for.
NAIVE = {
    "squared": (lambda z, y: (z - y) ** 2 / 2, (), (-1.5, 0.0, 2.0)),
    "absolute": (lambda z, y: np.abs(z - y), (), (-1.5, 0.0, 2.0)),
    "huber": (lambda z, y, delta: sp.huber(delta, z - y), (0.7,), (-1.5, 0.0, 2.0)),
    "logistic": (lambda z, y: np.logaddexp(0, z) - y * z, (), (0.0, 0.3, 1.0)),
    "poisson": (lambda z, y: np.exp(z) - y * z, (), (0.0, 1.0, 7.5)),
}
NAMES = pytest.mark.parametrize("name", NAIVE)


def functions(name):
    return [getattr(losses, name + ending) for ending in ("", "_slope", "_curvature")]


def test_every_loss_has_its_derivatives_and_is_tested():
    assert set(losses.__all__) == {function.__name__ for n in NAIVE for function in functions(n)}


@NAMES
def test_loss_agrees_with_its_formula(name):
    naive, constants, observations = NAIVE[name]
    for y in observations:
        for z in np.linspace(-6, 6, 101):
            found = functions(name)[0](z, y, *constants)
            assert found == pytest.approx(naive(z, y, *constants), rel=1e-13, abs=1e-13)


@NAMES
def test_derivatives_agree_with_differences(name):
    _, constants, observations = NAIVE[name]
    h = 1e-6
    for y in observations:
        for z in np.linspace(-5.03, 5.07, 47):  # on no kink
            for f, slope in zip(functions(name)[:2], functions(name)[1:], strict=True):
                difference = (f(z + h, y, *constants) - f(z - h, y, *constants)) / (2 * h)
                assert slope(z, y, *constants) == pytest.approx(difference, rel=1e-7, abs=1e-7)


@NAMES
def test_compiled_function_has_the_bits_of_python(name):
    _, constants, observations = NAIVE[name]
    scores = [*np.random.default_rng(0).normal(0, 20, 50), 0.0, 1e308, -1e308, 800.0, -800.0]
    for function in functions(name):

        @njit(error_model="numpy")
        def compiled(z, y, constants, function=function):
            return function(z, y, *constants)

        for y in observations:
            for z in map(float, scores):
                np.testing.assert_equal(compiled(z, y, constants), function(z, y, *constants))


def test_logistic_keeps_its_digits_where_it_is_small():
    for z in (1e-300, 0.1, 1.0, 5.0, 20.0, 36.0, 40.0, 300.0, 700.0):
        small = math.log1p(math.exp(-z))
        assert losses.logistic(z, 1.0) == pytest.approx(small, rel=4 * EPS)
        assert losses.logistic(-z, 0.0) == pytest.approx(small, rel=4 * EPS)
        assert losses.logistic(-z, 1.0) == pytest.approx(z + small, rel=4 * EPS)
        assert losses.logistic_slope(z, 1.0) == pytest.approx(-sp.expit(-z), rel=4 * EPS)
        assert losses.logistic_slope(-z, 0.0) == pytest.approx(sp.expit(-z), rel=4 * EPS)
        assert losses.logistic_curvature(z, 1.0) == pytest.approx(
            sp.expit(z) * sp.expit(-z), rel=6 * EPS
        )


def test_logistic_takes_any_finite_score():
    for size in (1e3, 1e100, 1e308):
        assert losses.logistic(size, 1.0) == losses.logistic(-size, 0.0) == 0.0
        assert losses.logistic(-size, 1.0) == losses.logistic(size, 0.0) == size
        assert losses.logistic_slope(-size, 1.0) == -1.0
        assert losses.logistic_slope(size, 0.0) == 1.0
        assert losses.logistic_slope(size, 1.0) == losses.logistic_slope(-size, 0.0) == 0.0
        assert losses.logistic_curvature(size, 1.0) == losses.logistic_curvature(-size, 1.0) == 0.0


def test_poisson_beyond_the_range_of_doubles_is_infinite_and_not_nan():
    for z in (710.0, 1e300, 1e308):
        assert losses.poisson(z, 3.0) == losses.poisson_slope(z, 3.0) == math.inf
    assert losses.poisson(-1e308, 0.0) == 0.0
    assert losses.poisson(-1e307, 3.0) == 3e307
    assert losses.poisson_slope(-1e308, 3.0) == -3.0


def test_huber_of_a_huge_error_is_finite():
    assert losses.huber(1e308, 0.0, 0.5) == pytest.approx(5e307)
    assert losses.huber_slope(1e308, 0.0, 0.5) == 0.5
    assert losses.huber_slope(-1e308, 0.0, 0.5) == -0.5


def test_absolute_has_no_slope_at_its_kink():
    assert losses.absolute_slope(2.0, 2.0) == 0.0
