"""Batch normalization: against the naive one, its graph and differences; what it refuses."""

import doctest
import sys

import numpy as np
import pytest

from fastopt import kernels
from fastopt.kernels import reference

DTYPES = (np.float32, np.float64)
# One number a row and more; channels and lengths around what is loaded at a time, more columns than
# one part has, and N = 1.
SHAPES = (
    (2, 3),
    (5, 1030),
    (9, 16),
    (7, 257),
    (3, 33, 1),
    (3, 70, 17),
    (1, 5, 7),
    (2, 2, 16),
    (1, 2, 129),
    (3, 1, 1, 2),
    (7, 64, 1, 1),
    (4, 3, 5, 5),
    (2, 3, 4, 33),
)


def problem(shape, dtype, seed=0, mean=0.0):
    rng = np.random.default_rng(seed)
    C = shape[1]
    x, grad = (mean + rng.normal(size=shape)).astype(dtype), rng.normal(size=shape).astype(dtype)
    weight, bias, running_mean = rng.normal(size=(3, C)).astype(dtype)
    return x, grad, weight, bias, running_mean + dtype(mean), rng.uniform(0.5, 2, C).astype(dtype)


def is_close(found, expected, dtype, factor=20):
    scale = max(1.0, np.max(np.abs(expected)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=factor * np.finfo(dtype).eps * scale)


def axes_of(x):
    return (0, *range(2, x.ndim))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_both_passes_are_the_naive_ones(affine, training, shape, dtype):
    x, grad, weight, bias, *running = problem(shape, dtype)
    if not affine:
        weight = bias = None
    ours, theirs = ([each.copy() for each in running] for _ in range(2))
    out, saved = kernels.batchnorm_forward(x, weight, bias, *ours, training)
    expected, expected_saved = reference.batchnorm_forward(x, weight, bias, *theirs, training)
    assert out.dtype == dtype
    is_close(out, expected, dtype)
    is_close(saved, expected_saved, float, 100)
    for found, truth in zip(ours, theirs, strict=True):
        is_close(found, truth, dtype)
    found = kernels.batchnorm_backward(grad, x, weight, saved, training=training, bias=bias)
    truth = reference.batchnorm_backward(
        grad,
        x,
        weight,
        training=training,
        bias=bias,
        running_mean=running[0],
        running_var=running[1],
    )
    for each, wanted in zip(found, truth, strict=True):
        assert each.dtype == dtype
        # Two numbers a channel leave next to nothing of the gradient, after a division by 1e-5.
        is_close(each, wanted, dtype, 200)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [True, False])
def test_relu_is_that_of_the_result_in_both_passes(training, shape, dtype):
    """Bit for bit: its argument is computed once more as it was."""
    x, grad, weight, bias, *running = problem(shape, dtype)
    plain, saved = kernels.batchnorm_forward(x, weight, bias, *running, training)
    out, _ = kernels.batchnorm_forward(x, weight, bias, *running, training, relu=True)
    np.testing.assert_array_equal(out, np.maximum(plain, 0))
    options = {"training": training, "bias": bias}
    found = kernels.batchnorm_backward(grad, x, weight, saved, relu=True, **options)
    masked = np.where(out > 0, grad, dtype(0))
    expected = kernels.batchnorm_backward(masked, x, weight, saved, **options)
    for each, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(each, wanted)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_those_of_differences(training, shape):
    x, grad, weight, bias, *running = problem(shape, float)
    saved = kernels.batchnorm_forward(x, weight, bias, *running, training, momentum=0.0)[1]
    gradients = kernels.batchnorm_backward(grad, x, weight, saved, training=training, bias=bias)
    rng, h = np.random.default_rng(1), 1e-5
    for place, gradient in enumerate(gradients):
        direction = rng.normal(size=gradient.shape)
        values = []
        for sign in (1, -1):
            arrays = [x, weight, bias]
            arrays[place] = arrays[place] + sign * h * direction
            out = kernels.batchnorm_forward(*arrays, *running, training, momentum=0.0)[0]
            values.append(np.sum(out * grad))
        slope = (values[0] - values[1]) / (2 * h)
        scale = np.sum(np.abs(gradient * direction)) + np.sum(np.abs(grad))
        assert abs(slope - np.sum(gradient * direction)) < 1e-6 * scale


@pytest.mark.parametrize("shape", [(6, 20), (3, 4, 5, 7)])
def test_backward_is_the_graph_step_by_step(shape):
    """Each node's derivative in turn, from the result back to x."""
    x, grad, weight, bias, *_ = problem(shape, float)
    axes, eps = axes_of(x), 1e-5
    count = x.size // x.shape[1]
    by_channel = (1, -1) + (1,) * (x.ndim - 2)
    mean = x.mean(axes, keepdims=True)
    centred = x - mean
    square = centred**2
    var = square.mean(axes, keepdims=True)
    root = np.sqrt(var + eps)
    inverse = 1 / root
    normal = centred * inverse

    d_normal = grad * weight.reshape(by_channel)
    d_weight, d_bias = np.sum(grad * normal, axes), np.sum(grad, axes)
    d_inverse = np.sum(d_normal * centred, axes, keepdims=True)
    d_root = -d_inverse / root**2
    d_var = d_root / (2 * root)
    d_square = np.ones_like(x) * d_var / count
    d_centred = d_normal * inverse + 2 * centred * d_square
    d_mean = -np.sum(d_centred, axes, keepdims=True)
    d_x = d_centred + np.ones_like(x) * d_mean / count

    out, saved = kernels.batchnorm_forward(x, weight, bias, eps=eps)
    is_close(out, normal * weight.reshape(by_channel) + bias.reshape(by_channel), float)
    found = kernels.batchnorm_backward(grad, x, weight, saved, eps=eps, bias=bias)
    for each, wanted in zip(found, (d_x, d_weight, d_bias), strict=True):
        is_close(each, wanted, float)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(64, 40), (16, 3, 11, 13)])
def test_nothing_cancels_far_from_zero(shape, dtype):
    x, grad, weight, bias, *_ = problem(shape, dtype, mean=1e4)
    out, saved = kernels.batchnorm_forward(x, weight, bias)
    wide = x.astype(np.longdouble)
    mean = wide.mean(axes_of(x))
    np.testing.assert_allclose(saved[0], mean.astype(float), rtol=4 * np.finfo(float).eps)
    np.testing.assert_allclose(saved[1], wide.var(axes_of(x)).astype(float), rtol=1e-12)
    is_close(out, reference.batchnorm_forward(x, weight, bias, None, None)[0], np.float32)
    found = kernels.batchnorm_backward(grad, x, weight, saved, bias=bias)
    for each, wanted in zip(found, reference.batchnorm_backward(grad, x, weight), strict=True):
        is_close(each, wanted, np.float32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(50, 20), (2, 3, 100)])
def test_variance_survives_an_outlier_in_front(shape, dtype):
    x = problem(shape, dtype)[0]
    x[0, :, ...] = 1e4
    saved = kernels.batchnorm_forward(x)[1]
    truth = x.astype(np.longdouble).var(axes_of(x)).astype(float)
    np.testing.assert_allclose(saved[1], truth, rtol=1e-12)


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 20)])
def test_constant_channel_has_variance_0(shape):
    x = np.full(shape, 0.1, np.float32)
    out, saved = kernels.batchnorm_forward(x, None, np.ones(4, np.float32))
    np.testing.assert_array_equal(saved[1], 0.0)
    np.testing.assert_allclose(out, 1.0, atol=1e-4)


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 20)])
def test_nan_stays_in_its_channel_and_is_seen(shape):
    x = problem(shape, float)[0]
    x[1, 2] = np.nan
    out, saved = kernels.batchnorm_forward(x, relu=True)
    assert np.isnan(out[:, 2]).all()
    assert np.isnan(saved[:, 2]).all()
    assert np.isfinite(np.delete(out, 2, axis=1)).all()


@pytest.mark.parametrize("shape", [(300, 1700), (16, 32, 33, 33), (300, 450, 2, 2)])
@pytest.mark.parametrize("training", [True, False])
def test_no_bit_depends_on_the_number_of_threads(training, shape):
    x, grad, weight, bias, *running = problem(shape, np.float32)
    results = []
    for count in (1, 2, 3):
        kernels.set_num_threads(count)
        out, saved = kernels.batchnorm_forward(
            x, weight, bias, *(each.copy() for each in running), training, relu=True
        )
        backward = kernels.batchnorm_backward(
            grad, x, weight, saved, training=training, relu=True, bias=bias
        )
        results.append((out, saved, *backward))
    for result in results[1:]:
        for found, expected in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_results_go_where_they_are_asked_to(shape):
    """And all of what was there before is overwritten."""
    x, grad, weight, bias, *_ = problem(shape, np.float32)
    expected = kernels.batchnorm_forward(x, weight, bias)
    out, saved = np.full_like(x, np.nan), np.full((2, shape[1]), np.nan)
    found = kernels.batchnorm_forward(x, weight, bias, out=out, saved=saved)
    assert found[0] is out
    assert found[1] is saved
    for each, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(each, wanted)
    expected = kernels.batchnorm_backward(grad, x, weight, saved, bias=bias)
    poisoned = tuple(np.full_like(each, np.nan) for each in (x, weight, weight))
    kernels.batchnorm_backward(grad, x, weight, saved, bias=bias, out=poisoned)
    in_place = grad, *(np.full_like(weight, np.nan) for _ in range(2))
    kernels.batchnorm_backward(grad, x, weight, saved, bias=bias, out=in_place)
    for found in (poisoned, in_place):
        for each, wanted in zip(found, expected, strict=True):
            np.testing.assert_array_equal(each, wanted)


@pytest.mark.parametrize("shape", SHAPES)
def test_inference_may_be_in_place(shape):
    x, _, weight, bias, *running = problem(shape, np.float32)
    expected, _ = kernels.batchnorm_forward(x, weight, bias, *running, False)
    found, _ = kernels.batchnorm_forward(x, weight, bias, *running, False, out=x)
    assert found is x
    np.testing.assert_array_equal(found, expected)


def test_running_statistics_serve_where_nothing_was_saved():
    x, grad, weight, bias, mean, var = problem((4, 3, 5), np.float32)
    saved = kernels.batchnorm_forward(x, weight, bias, mean, var, False)[1]
    expected = kernels.batchnorm_backward(grad, x, weight, saved, training=False)
    found = kernels.batchnorm_backward(
        grad, x, weight, None, training=False, running_mean=mean, running_var=var
    )
    for each, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(each, wanted)


def test_running_statistics_of_many_batches_are_those_of_the_population():
    rng = np.random.default_rng(0)
    mean, var = np.zeros(3), np.ones(3)
    for _ in range(2000):
        x = 5 + 2 * rng.normal(size=(4, 3))
        kernels.batchnorm_forward(x, None, None, mean, var, momentum=0.01)
    np.testing.assert_allclose(mean, 5, atol=0.4)
    np.testing.assert_allclose(var, 4, atol=0.8)  # a biased one would be 3


X, C = np.ones((2, 3, 4)), np.ones(3)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (([[1.0]],), {}, TypeError, "`x` must be a NumPy array"),
        ((X.astype(int),), {}, TypeError, "`x` must be of dtype float32 or float64, got int64"),
        ((np.ones(3),), {}, ValueError, r"`x` must be of shape \(N, C\), .* got shape \(3,\)"),
        ((np.ones((0, 3)),), {}, ValueError, r"`x` must not be empty, got shape \(0, 3\)"),
        ((X[:, :, ::2],), {}, ValueError, "`x` must be C-contiguous"),
        ((np.ones((1, 3)),), {}, ValueError, r"`x` must have two numbers or more .* \(1, 3\)"),
        ((np.ones((1, 3, 1, 1)),), {}, ValueError, "`x` must have two numbers or more"),
        ((X, np.ones(2)), {}, ValueError, r"`weight` must be of shape \(3,\), got shape \(2,\)"),
        ((X, C, C.astype("f")), {}, TypeError, "`bias` must be of dtype float64 as `x` is"),
        ((X, C, C, C), {}, TypeError, "`running_var` must be an array where the other"),
        ((X, C, C, C, np.ones(4)), {}, ValueError, r"`running_var` must be of shape \(3,\)"),
        ((X,), {"training": False}, TypeError, "`running_mean` must be an array where training"),
        ((X,), {"training": 1.0}, TypeError, "`training` must be True or False"),
        ((X,), {"momentum": 1.5}, ValueError, r"`momentum` must be a number in \[0, 1\], got 1.5"),
        ((X,), {"eps": 0.0}, ValueError, "`eps` must be a finite positive number, got 0.0"),
        ((X,), {"out": np.ones(3)}, ValueError, r"`out` must be of shape \(2, 3, 4\)"),
        ((X,), {"out": X}, ValueError, "`out` must not overlap `x`"),
        ((X,), {"saved": np.ones((2, 3), "f")}, TypeError, "`saved` must be of dtype float64"),
        ((X,), {"saved": np.ones((3, 2))}, ValueError, r"`saved` must be of shape \(2, 3\)"),
    ],
)
def test_arguments_of_forward_are_refused(arguments, options, error, message):
    with pytest.raises(error, match=message):
        kernels.batchnorm_forward(*arguments, **options)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X[:1], X, C, np.ones((2, 3))), {}, ValueError, r"`grad` must be of shape \(2, 3, 4\)"),
        ((X, X, C, None), {}, TypeError, "`saved` must be what batchnorm_forward returned"),
        ((X, X, C, None), {"training": False}, TypeError, "`running_mean` must be an array"),
        ((X, X, C, np.ones((2, 3))), {"out": X}, TypeError, r"`out` must be a tuple \(grad_x"),
        ((X, X, C, np.ones((2, 3))), {"out": (X, C, C)}, ValueError, r"`out\[0\]` must not over"),
    ],
)
def test_arguments_of_backward_are_refused(arguments, options, error, message):
    with pytest.raises(error, match=message):
        kernels.batchnorm_backward(*arguments, **options)


def test_running_statistics_that_cannot_be_written_are_refused_in_training_alone():
    frozen = np.ones(3)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="`running_mean` must be writeable"):
        kernels.batchnorm_forward(X, C, C, frozen, np.ones(3))
    kernels.batchnorm_forward(X, C, C, frozen, frozen, training=False)


def test_results_may_not_overlap_each_other_or_what_is_read():
    x, running = np.arange(6.0).reshape(2, 3), np.ones((2, 3))
    mean, var = running
    for name, changed in (
        ("saved", {"saved": x}),
        ("saved", {"out": running, "saved": running}),
        ("running_mean", {"weight": mean, "running_mean": mean, "running_var": var}),
        ("running_mean", {"running_mean": x[0], "running_var": var}),
        ("running_var", {"running_mean": mean, "running_var": mean}),
    ):
        with pytest.raises(ValueError, match=f"`{name}` must not overlap"):
            kernels.batchnorm_forward(x, **changed)
    np.testing.assert_array_equal(x.ravel(), np.arange(6.0))


def test_backward_reads_statistics_that_cannot_be_written():
    x = np.arange(6.0).reshape(2, 3)
    _, saved = kernels.batchnorm_forward(x)
    expected = kernels.batchnorm_backward(x, x, None, saved)
    saved.flags.writeable = False
    for found, each in zip(kernels.batchnorm_backward(x, x, None, saved), expected, strict=True):
        np.testing.assert_array_equal(found, each)


def test_examples_in_docstrings_hold():
    assert doctest.testmod(sys.modules["fastopt.kernels.batchnorm"]).failed == 0
