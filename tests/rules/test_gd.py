"""Gradient descent against its closed form."""

import doctest

import numpy as np
import pytest

import fastopt.rules.gd
from fastopt.rules.steps import njit_step


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_on_a_quadratic_each_error_shrinks_by_its_own_factor(dtype):
    # f = sum(curvature*(x - minimum)**2)/2, so the error after t steps is (1 - lr*curvature)**t.
    curvature = np.array([0.1, 1.0, 3.0, 9.0], dtype)
    minimum = np.array([1.0, -2.0, 0.5, 4.0], dtype)
    start = np.array([2.0, 2.0, -3.0, 5.0], dtype)
    x, slots, lr, steps = start.copy(), np.zeros((0, 4), dtype), 0.125, 40
    for t in range(1, steps + 1):
        njit_step("gd")(x, curvature * (x - minimum), slots, (lr,), t)
    expected = minimum + (1 - lr * curvature.astype(float)) ** steps * (start - minimum)
    np.testing.assert_allclose(x, expected, rtol=steps * np.finfo(dtype).eps)


def test_docstring_examples_hold():
    result = doctest.testmod(fastopt.rules.gd)
    assert result.attempted > 0
    assert result.failed == 0
