"""Pooling: against the naive one and differences, over windows of all kinds; what it refuses."""

import doctest
import sys

import numpy as np
import pytest

from fastopt import kernels
from fastopt.kernels import reference

DTYPES = (np.float32, np.float64)
# Height and width, window, and options. Rows of 40 windows and more are taken side by side.
CASES = {
    "2x2": ((6, 8), 2, {}),
    "one number": ((1, 1), 1, {}),
    "odd": ((5, 7), 2, {}),
    "3x3 overlapping": ((9, 9), 3, {"stride": 2, "padding": 1}),
    "ceil": ((6, 6), 3, {"stride": 2, "ceil_mode": True}),
    "ceil and padding": ((7, 8), 3, {"stride": 2, "padding": 1, "ceil_mode": True}),
    "stride beyond the window": ((9, 11), 2, {"stride": 3}),
    "asymmetric": ((5, 9), (1, 3), {"stride": (1, 2), "padding": ((0, 0), (2, 1))}),
    "wide, stride 1": ((4, 45), 3, {"stride": 1, "padding": 1}),
    "wide, stride 2": ((5, 90), 3, {"stride": 2, "padding": 1, "ceil_mode": True}),
    "wide 2x2": ((4, 64), 2, {}),
    "wide 5x7": ((9, 70), (5, 7), {"stride": (2, 1), "padding": (2, 3)}),
    "wide, stride 3": ((4, 99), (2, 3), {}),
    "window of all": ((4, 5), (4, 5), {}),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def images(size, dtype, seed=0):
    return np.random.default_rng(seed).normal(size=(2, 3, *size)).astype(dtype)


def is_close(found, expected, dtype):
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=20 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_maximum_is_the_naive_one(case, dtype):
    size, window, options = case
    x = np.round(2 * images(size, dtype))  # with equals
    out, where = kernels.max_pool2d(x, window, **options)
    expected, places = reference.max_pool2d(x, window, **options)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(where, places)
    assert (out.dtype, where.dtype) == (dtype, np.int32)
    grad = images(out.shape[2:], dtype, 1)
    found = kernels.max_pool2d_backward(grad, where, x.shape)
    is_close(found, reference.max_pool2d_backward(grad, places, x.shape), dtype)
    again = kernels.max_pool2d_backward(grad, where, x.shape, kernel_size=window, **options)
    np.testing.assert_array_equal(again, found)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_is_the_largest_and_padding_never(case, dtype):
    size, window, options = case
    x = images(size, dtype)
    x[np.random.default_rng(1).random(x.shape) < 0.1] = np.nan
    x[:, 1] = -np.inf
    out, where = kernels.max_pool2d(x, window, **options)
    expected, places = reference.max_pool2d(x, window, **options)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(where, places)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("padded", [True, False])
def test_mean_is_the_naive_one(case, padded, dtype):
    size, window, options = case
    options = {**options, "count_include_pad": padded}
    x = images(size, dtype)
    out = kernels.avg_pool2d(x, window, **options)
    is_close(out, reference.avg_pool2d(x, window, **options), dtype)
    grad = images(out.shape[2:], dtype, 1)
    is_close(
        kernels.avg_pool2d_backward(grad, x.shape, window, **options),
        reference.avg_pool2d_backward(grad, x.shape, window, **options),
        dtype,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(1, 1), (7, 7), (4, 4), (3, 11), (56, 56)])
def test_global_mean_is_the_naive_one(size, dtype):
    x = images(size, dtype)
    out = kernels.global_avg_pool2d(x)
    is_close(out, reference.global_avg_pool2d(x), dtype)
    is_close(
        kernels.global_avg_pool2d_backward(out, x.shape),
        reference.global_avg_pool2d_backward(out, x.shape),
        dtype,
    )


def test_gradients_are_those_of_differences(case):
    size, window, options = case
    x, h = images(size, float), 1e-6
    direction = images(size, float, 1)
    # Numbers far enough apart that none overtakes another.
    x = np.argsort(np.argsort(x.ravel())).reshape(x.shape) * 1e-3
    forwards = {
        "max": lambda x: kernels.max_pool2d(x, window, **options)[0],
        "avg": lambda x: kernels.avg_pool2d(x, window, **options),
        "global": kernels.global_avg_pool2d,
    }
    where = kernels.max_pool2d(x, window, **options)[1]
    backwards = {
        "max": lambda grad: kernels.max_pool2d_backward(grad, where, x.shape),
        "avg": lambda grad: kernels.avg_pool2d_backward(grad, x.shape, window, **options),
        "global": lambda grad: kernels.global_avg_pool2d_backward(grad, x.shape),
    }
    for name, forward in forwards.items():
        change = (forward(x + h * direction) - forward(x - h * direction)) / (2 * h)
        grad = np.random.default_rng(2).normal(size=change.shape)
        slope = np.sum(backwards[name](grad) * direction)
        assert slope == pytest.approx(np.sum(change * grad), abs=1e-6 * np.sum(np.abs(grad)))


def test_all_of_an_output_is_overwritten(case):
    size, window, options = case
    x = images(size, np.float32)
    out, where = kernels.max_pool2d(x, window, **options)
    poisoned, places = np.full_like(out, np.nan), np.full_like(where, -1)
    found = kernels.max_pool2d(x, window, **options, out=poisoned, where=places)
    assert found[0] is poisoned
    assert found[1] is places
    np.testing.assert_array_equal(poisoned, out)
    np.testing.assert_array_equal(places, where)
    calls = {
        x.shape: [
            lambda **to: kernels.max_pool2d_backward(out, where, x.shape, **to),
            lambda **to: kernels.avg_pool2d_backward(out, x.shape, window, **options, **to),
            lambda **to: kernels.global_avg_pool2d_backward(x.mean((2, 3)), x.shape, **to),
        ],
        out.shape: [lambda **to: kernels.avg_pool2d(x, window, **options, **to)],
        x.shape[:2]: [lambda **to: kernels.global_avg_pool2d(x, **to)],
    }
    for shape, functions in calls.items():
        for function in functions:
            room = np.full(shape, np.nan, np.float32)
            assert function(out=room) is room
            np.testing.assert_array_equal(room, function())


def test_no_bit_depends_on_the_number_of_threads():
    x = np.random.default_rng(0).normal(size=(8, 40, 50, 50)).astype(np.float32)
    options, results = {"stride": 2, "padding": 1}, []
    for count in (1, 2, 3):
        kernels.set_num_threads(count)
        out, where = kernels.max_pool2d(x, 3, **options)
        mean = kernels.avg_pool2d(x, 3, **options)
        results.append(
            (
                out,
                where,
                mean,
                kernels.max_pool2d_backward(out, where, x.shape),
                kernels.avg_pool2d_backward(mean, x.shape, 3, **options),
                kernels.global_avg_pool2d(x),
            )
        )
    for result in results[1:]:
        for found, expected in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(found, expected)


X = np.ones((1, 2, 4, 6))


@pytest.mark.parametrize("function", [kernels.max_pool2d, kernels.avg_pool2d])
@pytest.mark.parametrize(
    ("x", "window", "options", "error", "message"),
    [
        ([1.0], 2, {}, TypeError, "`x` must be a NumPy array"),
        (X[0], 2, {}, ValueError, r"`x` must be of shape \(N, C, H, W\), got shape \(2, 4, 6\)"),
        (X[:0], 2, {}, ValueError, "`x` must not be empty"),
        (X, 0, {}, ValueError, "`kernel_size` must be a positive integer, got 0"),
        (X, 2.5, {}, TypeError, "`kernel_size` must be a positive integer or a pair"),
        (X, 5, {}, ValueError, r"`kernel_size` must fit into the padded image, got \(5, 5\)"),
        (X, 2, {"stride": 0}, ValueError, "`stride` must be a positive integer, got 0"),
        (X, 2, {"padding": 2}, ValueError, "`padding` must be less than `kernel_size`"),
        (X, 2, {"padding": -1}, ValueError, "`padding` must be a nonnegative integer, got -1"),
        (X, 2, {"ceil_mode": "yes"}, TypeError, "`ceil_mode` must be True or False"),
        (X, 2, {"out": np.ones(3)}, ValueError, r"`out` must be of shape \(1, 2, 2, 3\)"),
    ],
)
def test_arguments_are_refused(function, x, window, options, error, message):
    with pytest.raises(error, match=message):
        function(x, window, **options)


def test_places_that_are_none_are_refused():
    grad, where = np.ones((1, 2, 2, 3)), np.zeros((1, 2, 2, 3), np.int32)
    with pytest.raises(TypeError, match="`where` must be an array of int32, got int64"):
        kernels.max_pool2d_backward(grad, where.astype(np.int64), X.shape)
    with pytest.raises(ValueError, match=r"`where` must be of shape \(1, 2, 2, 3\)"):
        kernels.max_pool2d_backward(grad, where[:, :1], X.shape)
    for place in (-1, 24):
        where[0, 1, 1, 1] = place
        with pytest.raises(ValueError, match="`where` must hold places from 0 to 23, got"):
            kernels.max_pool2d_backward(grad, where, X.shape)


def test_places_may_not_overlap_what_is_read_or_written():
    x, out = np.ones((1, 2, 4, 6), np.float32), np.ones((1, 2, 4, 6), np.float32)
    with pytest.raises(ValueError, match="`where` must not overlap `out`"):
        kernels.max_pool2d(x, 1, out=out, where=out.view(np.int32))
    with pytest.raises(ValueError, match="`where` must not overlap `x`"):
        kernels.max_pool2d(x, 1, where=x.view(np.int32))
    out[:] = 0
    with pytest.raises(ValueError, match="`out` must not overlap `where`"):
        kernels.max_pool2d_backward(x, out.view(np.int32), x.shape, out=out)


def test_gradients_of_other_shapes_are_refused():
    where = np.zeros((1, 2, 2, 2), np.int32)
    with pytest.raises(ValueError, match=r"`grad` must be of shape \(1, 2, 2, 3\), got shape"):
        kernels.max_pool2d_backward(np.ones(where.shape), where, X.shape, kernel_size=2)
    with pytest.raises(ValueError, match=r"`grad` must be of shape \(1, 2, 2, 3\), got shape"):
        kernels.avg_pool2d_backward(np.ones((1, 2, 3, 3)), X.shape, 2)
    with pytest.raises(ValueError, match=r"`grad` must be of shape \(1, 2\), got shape \(2, 1\)"):
        kernels.global_avg_pool2d_backward(np.ones((2, 1)), X.shape)
    with pytest.raises(TypeError, match="`input_shape` must be a tuple"):
        kernels.global_avg_pool2d_backward(np.ones((1, 2)), 24)


def test_examples_in_docstrings_hold():
    assert doctest.testmod(sys.modules["fastopt.kernels.pooling"]).failed == 0
