"""Activations: against the naive ones and differences, to a few roundings; what they refuse."""

import doctest
import sys

import numpy as np
import pytest

from fastopt import kernels
from fastopt.kernels import reference

DTYPES = (np.float32, np.float64)
NAMES = ("relu", "leaky_relu", "sigmoid", "tanh", "softmax")
# Around what is loaded at a time, and more than one part of 16384.
SHAPES = ((1, 1), (3, 5), (2, 16), (1, 17), (5, 33), (7, 1000), (20000, 1), (2, 16390))


def numbers(shape, dtype, seed=0):
    return (3 * np.random.default_rng(seed).normal(size=shape)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_both_passes_are_the_naive_ones(name, shape, dtype):
    x, grad = numbers(shape, dtype), numbers(shape, dtype, 1)
    y = getattr(kernels, name)(x)
    gradient = getattr(kernels, f"{name}_backward")(grad, y)
    assert y.dtype == gradient.dtype == dtype
    eps = np.finfo(dtype).eps
    # Exponents reach -20 or so, and are rounded before they are raised.
    rounded = 20 if name == "softmax" else 0
    np.testing.assert_allclose(y, getattr(reference, name)(x), rtol=(8 + rounded) * eps)
    expected = getattr(reference, f"{name}_backward")(grad, y)
    scale = np.max(np.abs(expected), initial=1.0)
    np.testing.assert_allclose(gradient, expected, rtol=8 * eps, atol=8 * eps * scale)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_differences(name):
    rng, h = np.random.default_rng(0), 1e-6
    x = rng.normal(size=(4, 9))
    x[np.abs(x) < 1e-3] = 0.5  # clear of the corner
    grad, direction = rng.normal(size=(2, 4, 9))
    forward = getattr(kernels, name)
    change = (forward(x + h * direction) - forward(x - h * direction)) / (2 * h)
    gradient = getattr(kernels, f"{name}_backward")(grad, forward(x))
    assert np.sum(gradient * direction) == pytest.approx(np.sum(change * grad), abs=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e-3, 0.3, 1.0, 10.0, 80.0])
def test_relative_accuracy_is_that_of_a_few_roundings(scale, name, dtype):
    x = np.linspace(-scale, scale, 4001).astype(dtype)
    truth = getattr(reference, name)(x.astype(np.longdouble) if dtype is float else x)
    np.testing.assert_allclose(getattr(kernels, name)(x), truth, rtol=5 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_overflows(dtype):
    x = np.array([[-np.inf, -1e30, -1e4, 0.0, 1e4, 1e30]], dtype)
    np.testing.assert_array_equal(kernels.sigmoid(x), [[0, 0, 0, 0.5, 1, 1]])
    np.testing.assert_array_equal(kernels.tanh(x), [[-1, -1, -1, 0, 1, 1]])
    np.testing.assert_array_equal(kernels.softmax(x), [[0, 0, 0, 0, 0, 1]])
    np.testing.assert_array_equal(kernels.softmax(np.full((1, 4), 1e4, dtype)), 0.25)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_nan_is_passed_on(name, dtype):
    x = np.ones((2, 40), dtype)
    x[1, [3, 39]] = np.nan
    y = getattr(kernels, name)(x)
    assert np.isfinite(y[0]).all()
    if name == "softmax":
        assert np.isnan(y[1]).all()
    else:
        np.testing.assert_array_equal(np.isnan(y), np.isnan(x))
        assert np.isnan(getattr(kernels, f"{name}_backward")(np.ones_like(x), y)[1, 3]) == (
            name in ("sigmoid", "tanh")
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_of_softmax_add_up_to_1(shape, dtype):
    y = kernels.softmax(numbers(shape, dtype))
    np.testing.assert_allclose(y.sum(1, dtype=float), 1, rtol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_results_go_where_they_are_asked_to(name, shape):
    """And all of what was there before is overwritten, or read first if it is the argument."""
    x, grad = numbers(shape, np.float32), numbers(shape, np.float32, 1)
    forward, backward = getattr(kernels, name), getattr(kernels, f"{name}_backward")
    y, out = forward(x), np.full_like(x, np.nan)
    assert forward(x, out=out) is out
    np.testing.assert_array_equal(out, y)
    assert forward(x, out=x) is x
    np.testing.assert_array_equal(x, y)
    gradient, out = backward(grad, y), np.full_like(x, np.nan)
    assert backward(grad, y, out=out) is out
    np.testing.assert_array_equal(out, gradient)
    assert backward(grad, y, out=grad) is grad
    np.testing.assert_array_equal(grad, gradient)


@pytest.mark.parametrize("name", NAMES)
def test_no_bit_depends_on_the_number_of_threads(name):
    x, results = numbers((901, 1003), np.float32), []
    for count in (1, 2, 3):
        kernels.set_num_threads(count)
        y = getattr(kernels, name)(x)
        results.append((y, getattr(kernels, f"{name}_backward")(x, y)))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_slope_is_what_is_left_of_negative_numbers():
    x = np.array([-2.0, 3.0])
    np.testing.assert_array_equal(kernels.leaky_relu(x, 0.25), [-0.5, 3.0])
    np.testing.assert_array_equal(kernels.leaky_relu_backward(x, x, 0.25), [-0.5, 3.0])


X = np.ones((2, 3))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        ([1.0], {}, TypeError, "`x` must be a NumPy array"),
        (X.astype(int), {}, TypeError, "`x` must be of dtype float32 or float64"),
        (X[:0], {}, ValueError, r"`x` must not be empty, got shape \(0, 3\)"),
        (X[:, ::2], {}, ValueError, "`x` must be C-contiguous"),
        (X, {"out": np.ones((3, 2))}, ValueError, r"`out` must be of shape \(2, 3\)"),
        (X, {"out": X[:]}, ValueError, "`out` must not overlap `x`"),
    ],
)
def test_arguments_are_refused(name, x, options, error, message):
    with pytest.raises(error, match=message):
        getattr(kernels, name)(x, **options)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_of_another_shape_or_dtype_is_refused(name):
    backward = getattr(kernels, f"{name}_backward")
    with pytest.raises(ValueError, match=r"`grad` must be of shape \(2, 3\), got shape \(3, 2\)"):
        backward(np.ones((3, 2)), X)
    with pytest.raises(TypeError, match="`grad` must be of dtype float64 as `y` is"):
        backward(X.astype(np.float32), X)
    with pytest.raises(ValueError, match="`out` must not overlap `y`"):
        backward(np.ones((2, 3)), X, out=X)


def test_softmax_takes_rows_and_slopes_are_not_negative():
    with pytest.raises(ValueError, match=r"`x` must be of shape \(N, C\), got shape \(3,\)"):
        kernels.softmax(np.ones(3))
    with pytest.raises(ValueError, match=r"`slope` must be a finite nonnegative number, got -1\.0"):
        kernels.leaky_relu(X, -1.0)


def test_examples_in_docstrings_hold():
    assert doctest.testmod(sys.modules["fastopt.kernels.activations"]).failed == 0
