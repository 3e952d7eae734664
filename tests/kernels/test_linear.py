"""The linear layer: against the naive one and differences, and what it refuses."""

import doctest
import sys

import numpy as np
import pytest

from fastopt import kernels
from fastopt.kernels import reference
from fastopt.testing import check_grad

DTYPES = (np.float32, np.float64)
SIZES = [(1, 1, 1), (1, 7, 3), (5, 1, 4), (3, 6, 1), (64, 84, 10), (33, 129, 65)]


def data(sizes, dtype):
    N, C, K = sizes
    generator = np.random.default_rng(0)
    return [generator.normal(size=shape).astype(dtype) for shape in ((N, C), (K, C), K, (N, K))]


def assert_sums_are(found, expected, terms):
    """Sums of so many products of numbers up to 5."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=terms * 10 * np.finfo(found.dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", SIZES)
def test_layer_and_its_derivatives_are_the_naive_ones(sizes, dtype):
    N, C, K = sizes
    x, weight, bias, grad = data(sizes, dtype)
    assert kernels.linear(x, weight, bias).dtype == dtype
    assert_sums_are(kernels.linear(x, weight, bias), reference.linear(x, weight, bias), C)
    assert_sums_are(kernels.linear(x, weight), reference.linear(x, weight), C)
    found = kernels.linear_backward_data(grad, weight)
    assert_sums_are(found, reference.linear_backward_data(grad, weight), K)
    found = kernels.linear_backward_weight(x, grad)
    assert_sums_are(found, reference.linear_backward_weight(x, grad), N)
    assert_sums_are(kernels.linear_backward_bias(grad), np.sum(grad, axis=0, dtype=float), N)


def test_derivatives_are_those_of_differences():
    N, C, K = 4, 5, 3
    x, weight, bias, grad = data((N, C, K), np.float64)

    def fun(z):
        x, weight, bias = np.split(z, [N * C, N * C + K * C])
        x, weight = x.reshape(N, C), weight.reshape(K, C)
        parts = (
            kernels.linear_backward_data(grad, weight),
            kernels.linear_backward_weight(x, grad),
            kernels.linear_backward_bias(grad),
        )
        value = np.sum(grad * kernels.linear(x, weight, bias))
        return value, np.concatenate([part.ravel() for part in parts])

    z = np.concatenate([x.ravel(), weight.ravel(), bias])
    assert check_grad(fun, z, jac=True).error < 1e-6


def test_results_go_where_they_are_asked_to():
    x, weight, bias, grad = data((4, 5, 3), np.float32)
    for call, shape in (
        (lambda out: kernels.linear(x, weight, bias, out=out), (4, 3)),
        (lambda out: kernels.linear_backward_data(grad, weight, out=out), (4, 5)),
        (lambda out: kernels.linear_backward_weight(x, grad, out=out), (3, 5)),
        (lambda out: kernels.linear_backward_bias(grad, out=out), (3,)),
    ):
        out = np.full(shape, np.nan, np.float32)
        assert call(out) is out
        np.testing.assert_array_equal(out, call(None))


X, W, B, G = data((4, 5, 3), np.float64)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: kernels.linear(X[0], W),
            ValueError,
            r"`x` must be of shape \(N, C\), got .*\(5,\)",
        ),
        (lambda: kernels.linear(X, W.T.copy()), ValueError, r"`weight` must be of shape \(K, 5\)"),
        (lambda: kernels.linear(X, W, B[:2]), ValueError, r"`bias` must be of shape \(3,\)"),
        (lambda: kernels.linear(X, W.astype("f")), TypeError, r"`weight` .* float64 as `x` is"),
        (
            lambda: kernels.linear(X[:0], W),
            ValueError,
            r"`x` must not be empty, got shape \(0, 5\)",
        ),
        (lambda: kernels.linear(X, W, out=G[:3]), ValueError, r"`out` must be of shape \(4, 3\)"),
        (lambda: kernels.linear(G, np.eye(3), out=G), ValueError, "`out` must not overlap `x`"),
        (
            lambda: kernels.linear_backward_data(G, W[:2]),
            ValueError,
            r"`weight` must be of shape \(3, C\), got shape \(2, 5\)",
        ),
        (
            lambda: kernels.linear_backward_data(G, W.astype("f")),
            TypeError,
            r"`weight` must be of dtype float64 as `grad` is, got float32",
        ),
        (
            lambda: kernels.linear_backward_weight(X, G[:2]),
            ValueError,
            r"`grad` must be of shape \(4, K\), got shape \(2, 3\)",
        ),
        (
            lambda: kernels.linear(X, W, precision="tf32"),
            ValueError,
            "`precision` must be 'ieee' on the CPU, got 'tf32'",
        ),
        (
            lambda: kernels.linear_backward_weight(X, G, precision="half"),
            ValueError,
            "`precision` must be 'ieee', '3xtf32' or 'tf32', got 'half'",
        ),
        (lambda: kernels.linear_backward_data(G, W, stream=1), TypeError, "`stream` must be None"),
        (lambda: kernels.linear_backward_bias(B), ValueError, r"`grad` must be of shape \(N, K\)"),
        (lambda: kernels.linear_backward_bias(None), TypeError, r"`grad` must be a NumPy array"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_examples_in_docstrings_hold():
    module = sys.modules["fastopt.kernels.linear"]  # the package's name is the function's
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("number", [3e38, np.inf, np.nan])
def test_numbers_too_large_are_infinite_or_nan_without_a_warning(number):
    x = np.full((3, 2), number, np.float32)
    results = [
        kernels.linear(x, x, x[:, 0].copy()),
        kernels.linear_backward_data(x.T.copy(), x),
        kernels.linear_backward_weight(x, x),
        kernels.linear_backward_bias(x),
    ]
    assert not any(np.isfinite(each).any() for each in results)
