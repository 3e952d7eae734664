"""Losses as `fastopt.nn` calls them: into arrays that are there already."""

import tracemalloc

import numpy as np
import pytest

from fastopt.kernels import reference, set_num_threads
from fastopt.kernels.cpu import losses

N, C = 40, 100  # two parts of rows, and two of elements
generator = np.random.default_rng(0)
X = generator.normal(0, 2, (N, C))
TARGET = generator.uniform(0, 1, (N, C))
LABELS = generator.integers(0, C, N)
WEIGHT = generator.uniform(0, 2, C)

# The function, its arguments before `grad`, and the naive one with its own.
CASES = {
    "l1": (losses.l1, (X, TARGET), reference.l1_loss, {}),
    "mse": (losses.mse, (X, TARGET), reference.mse_loss, {}),
    "smooth_l1": (losses.smooth_l1, (X, TARGET, 0.5), reference.smooth_l1_loss, {"beta": 0.5}),
    "binary_cross_entropy": (
        losses.binary_cross_entropy,
        (X, TARGET),
        reference.binary_cross_entropy,
        {},
    ),
    "multilabel": (losses.multilabel, (X, TARGET), reference.multilabel, {}),
    "softmax_cross_entropy": (
        losses.softmax_cross_entropy,
        (X, LABELS, 0.1, WEIGHT),
        reference.softmax_cross_entropy,
        {"label_smoothing": 0.1, "weight": WEIGHT},
    ),
}
NAMES = pytest.mark.parametrize("name", CASES)


@NAMES
def test_value_is_the_mean_unless_a_share_is_given(name):
    function, arguments, naive, options = CASES[name]
    grad = np.full_like(X, np.nan)
    for share, reduction in ((None, "mean"), (1.0, "sum")):
        expected, expected_grad = naive(*arguments[:2], reduction=reduction, **options)
        assert function(*arguments, grad, share) == pytest.approx(expected, rel=1e-13)
        np.testing.assert_allclose(grad, expected_grad, rtol=1e-12, atol=1e-15)
    assert function(*arguments, grad, 0.25) == pytest.approx(expected / 4, rel=1e-13)
    np.testing.assert_allclose(grad, expected_grad / 4, rtol=1e-12, atol=1e-15)


@NAMES
def test_steps_leave_no_memory_behind(name):
    function, arguments, _, _ = CASES[name]
    grad = np.empty_like(X)
    set_num_threads(1)  # others would be behind with looking at their jobs
    function(*arguments, grad)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(100):
            function(*arguments, grad)
        assert tracemalloc.get_traced_memory()[0] - before < 1000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("labels", "place"),
    [([0, 1, 2], -1), ([3, 1], 0), ([0, -1], 1), ([2, 2, 2**62], 2)],
)
def test_the_first_label_that_is_none_is_found(labels, place):
    assert losses.first_outside(np.array(labels), 3) == place
