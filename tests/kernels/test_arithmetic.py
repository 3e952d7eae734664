"""Sums, and arrays side by side along their channels."""

import doctest
import sys

import numpy as np
import pytest

from fastopt import kernels
from fastopt.kernels import reference

DTYPES = (np.float32, np.float64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, 3, 61, 67)])
@pytest.mark.parametrize("name", ["add", "add_relu"])
def test_sums_are_the_naive_ones(name, shape, dtype):
    a, b = np.random.default_rng(0).normal(size=(2, *shape)).astype(dtype)
    eps = np.finfo(dtype).eps
    expected, out = getattr(reference, name)(a, b), np.full_like(a, np.nan)
    for found in (getattr(kernels, name)(a, b), getattr(kernels, name)(a, b, out=out)):
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=0, atol=8 * eps)


def test_sum_may_go_to_either_argument():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 40))
    expected = a + b
    np.testing.assert_array_equal(kernels.add(a.copy(), b, out=b), expected)
    b -= b - np.random.default_rng(0).normal(size=(2, 40))[1]
    np.testing.assert_array_equal(kernels.add(a, expected - a, out=a), a)


def test_gradient_of_a_sum_with_relu_is_that_of_relu():
    a, b, grad = np.random.default_rng(0).normal(size=(3, 50))
    found = kernels.relu_backward(grad, kernels.add_relu(a, b))
    np.testing.assert_array_equal(found, np.where(a + b > 0, grad, 0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rest", [(), (5,), (3, 7)])
def test_concatenation_is_undone_by_split(rest, dtype):
    rng, channels = np.random.default_rng(0), [3, 1, 4]
    arrays = [rng.normal(size=(2, C, *rest)).astype(dtype) for C in channels]
    joined = kernels.concatenate(arrays)
    np.testing.assert_array_equal(joined, reference.concatenate(arrays))
    assert joined.dtype == dtype
    out = np.full_like(joined, np.nan)
    assert kernels.concatenate(arrays, out=out) is out
    np.testing.assert_array_equal(out, joined)
    for found, expected in zip(kernels.split(joined, channels), arrays, strict=True):
        np.testing.assert_array_equal(found, expected)


X = np.ones((2, 3, 4))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: kernels.add(X, X[:1]), ValueError, r"`b` must be of shape \(2, 3, 4\)"),
        (lambda: kernels.add(X, X.astype("f")), TypeError, "`b` must be of dtype float64 as `a`"),
        (lambda: kernels.add_relu(X, X, out=X), ValueError, "`out` must not overlap `a`"),
        (lambda: kernels.concatenate(X), TypeError, "`arrays` must be a list of arrays"),
        (lambda: kernels.concatenate([]), ValueError, "`arrays` must have at least one array"),
        (lambda: kernels.split(X, 3), TypeError, "`channels` must be a list of integers, got int"),
        (lambda: kernels.concatenate([X, X[:1]]), ValueError, r"`arrays\[1\]` must be of shape"),
        (lambda: kernels.concatenate([np.ones(3)]), ValueError, r"`arrays\[0\]` must be of shape"),
        (lambda: kernels.split(X, [1, 1]), ValueError, "`channels` must add up to the 3 channels"),
        (lambda: kernels.split(X, [0, 3]), ValueError, r"`channels\[0\]` must be a positive"),
    ],
)
def test_arguments_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_examples_in_docstrings_hold():
    assert doctest.testmod(sys.modules["fastopt.kernels.arithmetic"]).failed == 0
