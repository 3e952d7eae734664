"""Losses: against the naive ones and differences, at extremes, and what they refuse."""

import doctest
import math

import numpy as np
import pytest
from scipy.special import log_softmax

from fastopt import kernels
from fastopt.kernels import losses, reference
from fastopt.testing import check_grad

OF_EACH = ("l1_loss", "mse_loss", "smooth_l1_loss", "binary_cross_entropy", "multilabel")
REDUCTIONS = ("mean", "sum", "none")
DTYPES = (np.float32, np.float64)
# Beside a block of 2048, and rows that fill one, several or a part of it.
SHAPES = [(1, 1), (5, 3), (16, 128), (1, 2049), (3, 1000), (700, 3), (2, 5000)]


def data(name, shape, dtype, seed=0):
    generator = np.random.default_rng(seed)
    prediction = generator.normal(0, 3, shape).astype(dtype)
    if name in ("binary_cross_entropy", "multilabel"):
        return prediction, generator.uniform(0, 1, shape).astype(dtype)
    return prediction, generator.normal(0, 3, shape).astype(dtype)


def labelled(shape, dtype, seed=0):
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 3, shape).astype(dtype)
    return logits, generator.integers(0, shape[1], shape[0])


def assert_loss_is(found, expected, dtype):
    """A value in double precision, unless it is an array, and a gradient that rounds once."""
    (value, grad), (expected_value, expected_grad) = found, expected
    assert grad.dtype == dtype
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(grad, expected_grad, rtol=2 * eps, atol=1e-15 * np.max(np.abs(grad)))
    if isinstance(value, np.ndarray):
        assert value.dtype == dtype
        np.testing.assert_allclose(value, expected_value, rtol=4 * eps, atol=1e-15)
    else:
        assert type(value) is float
        assert value == pytest.approx(expected_value, rel=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", OF_EACH)
def test_loss_of_each_element_is_the_naive_one(name, shape, reduction, dtype):
    arrays = data(name, shape, dtype)
    found = getattr(kernels, name)(*arrays, reduction=reduction)
    assert_loss_is(found, getattr(reference, name)(*arrays, reduction=reduction), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_softmax_cross_entropy_is_the_naive_one(shape, weighted, label_smoothing, reduction, dtype):
    logits, labels = labelled(shape, dtype)
    weight = np.random.default_rng(1).uniform(0, 2, shape[1]).astype(dtype) if weighted else None
    options = {"label_smoothing": label_smoothing, "weight": weight, "reduction": reduction}
    value, grad = kernels.softmax_cross_entropy(logits, labels, **options)
    expected, expected_grad = reference.softmax_cross_entropy(logits, labels, **options)
    eps = np.finfo(dtype).eps
    # The naive gradient is a difference of numbers of the size of the weights.
    size = np.max(np.abs(expected_grad), initial=1e-3)
    np.testing.assert_allclose(grad, expected_grad, rtol=4 * eps, atol=1e-13 * size)
    np.testing.assert_allclose(value, expected, rtol=4 * eps, atol=1e-13)
    if reduction != "none":
        assert value == pytest.approx(expected, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", OF_EACH)
def test_gradient_is_that_of_differences(name, reduction):
    prediction, target = data(name, (4, 5), np.float64)

    def fun(z):
        value, grad = getattr(kernels, name)(z.reshape(4, 5), target, reduction=reduction)
        return value, grad.ravel()

    assert check_grad(fun, prediction.ravel(), jac=True).error < 1e-6


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weight", [None, np.array([0.5, 2.0, 0.0, 1.0, 0.25])])
def test_gradient_of_softmax_cross_entropy_is_that_of_differences(weight, label_smoothing):
    logits, labels = labelled((6, 5), np.float64)

    def fun(z):
        value, grad = kernels.softmax_cross_entropy(
            z.reshape(6, 5), labels, weight=weight, label_smoothing=label_smoothing
        )
        return value, grad.ravel()

    assert check_grad(fun, logits.ravel(), jac=True).error < 1e-6


@pytest.mark.parametrize("count", [1, 2, 3])
def test_no_bit_depends_on_the_number_of_threads(count):
    prediction, target = data("binary_cross_entropy", (1500, 1001), np.float32)
    _, labels = labelled(prediction.shape, np.float32)
    found = []
    for threads in (1, count):
        kernels.set_num_threads(threads)
        found.append(
            (
                kernels.binary_cross_entropy(prediction, target),
                kernels.softmax_cross_entropy(prediction, labels, label_smoothing=0.1),
            )
        )
    for (value, grad), (value_of_one, grad_of_one) in zip(*found, strict=True):
        assert value == value_of_one
        np.testing.assert_array_equal(grad, grad_of_one)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OF_EACH)
def test_value_and_gradient_are_finite_where_they_can_be(name, dtype):
    largest = np.finfo(dtype).max if name != "mse_loss" else np.sqrt(np.finfo(dtype).max) / 4
    prediction = np.array([[largest / 8, -largest / 8, 0.0, 300.0]], dtype)
    target = np.array([[0.0, 1.0, 0.5, 1.0]], dtype)
    value, grad = getattr(kernels, name)(prediction, target)
    assert math.isfinite(value)
    assert np.all(np.isfinite(grad))


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_cross_entropy_is_finite_at_the_largest_logits(dtype):
    largest = np.finfo(dtype).max / 4
    logits = np.array([[largest, -largest, 0.0], [0.0, 1e3, -1e3]], dtype)
    value, grad = kernels.softmax_cross_entropy(logits, np.array([1, 0]), label_smoothing=0.1)
    assert math.isfinite(value)
    np.testing.assert_allclose(np.sum(grad, axis=1), 0, atol=4 * np.finfo(dtype).eps)


def test_classes_that_cannot_be_have_probability_0():
    logits = np.array([[0.0, -np.inf, 0.0]])
    value, grad = kernels.softmax_cross_entropy(logits, np.array([0]))
    assert value == pytest.approx(math.log(2))
    np.testing.assert_allclose(grad, [[-0.5, 0.0, 0.5]])
    assert kernels.softmax_cross_entropy(logits, np.array([1]))[0] == math.inf


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("label", [0, 1])
def test_a_logit_that_is_nan_makes_its_row_nan_and_no_other(place, label):
    logits = np.zeros((2, 3))
    logits[0, place] = np.nan
    values, grad = kernels.softmax_cross_entropy(logits, np.array([label, 1]), reduction="none")
    assert np.isnan(values[0])
    assert np.all(np.isnan(grad[0]))
    assert values[1] == pytest.approx(math.log(3))
    assert np.all(np.isfinite(grad[1]))


def test_small_losses_and_gradients_keep_their_digits():
    logits = np.array([[0.0, 50.0, -10.0]])
    value, grad = kernels.softmax_cross_entropy(logits, np.array([1]))
    beside = math.exp(-50) + math.exp(-60)
    assert value == pytest.approx(beside, rel=1e-14)
    np.testing.assert_allclose(grad, [[math.exp(-50), -beside, math.exp(-60)]], rtol=1e-14)
    value, grad = kernels.binary_cross_entropy(np.array([50.0]), np.array([1.0]))
    assert value == pytest.approx(math.exp(-50), rel=1e-14)
    assert grad[0] == pytest.approx(-math.exp(-50), rel=1e-14)


def test_logits_that_tie_share_the_probability():
    value, grad = kernels.softmax_cross_entropy(np.full((1, 4), 7.0), np.array([3]))
    assert value == pytest.approx(math.log(4))
    np.testing.assert_allclose(grad, [[0.25, 0.25, 0.25, -0.75]], rtol=1e-15)


def test_softmax_cross_entropy_agrees_with_scipy():
    logits, labels = labelled((50, 7), np.float64)
    values, _ = kernels.softmax_cross_entropy(logits, labels, reduction="none")
    expected = -log_softmax(logits, axis=1)[np.arange(50), labels]
    np.testing.assert_allclose(values, expected, rtol=1e-13)


def test_value_in_single_precision_is_summed_in_double():
    """A million times 1/3 in float32 would be off by 1e-3."""
    prediction = np.full(1_000_000, 1 / 3, np.float32)
    value, _ = kernels.l1_loss(prediction, np.zeros_like(prediction), reduction="sum")
    assert value == pytest.approx(1e6 * float(np.float32(1 / 3)), rel=1e-14)


@pytest.mark.parametrize("name", OF_EACH)
def test_gradient_goes_where_it_is_asked_to(name):
    prediction, target = data(name, (3, 4), np.float32)
    value, grad = getattr(kernels, name)(prediction, target)
    out = np.empty_like(prediction)
    assert getattr(kernels, name)(prediction, target, out=out) == (value, out)
    np.testing.assert_array_equal(out, grad)
    assert getattr(kernels, name)(prediction, target, out=prediction)[1] is prediction
    np.testing.assert_array_equal(prediction, grad)


def test_gradient_of_softmax_cross_entropy_may_replace_the_logits():
    logits, labels = labelled((300, 50), np.float32)
    expected = kernels.softmax_cross_entropy(logits, labels, label_smoothing=0.1)
    value, grad = kernels.softmax_cross_entropy(logits, labels, label_smoothing=0.1, out=logits)
    assert grad is logits
    assert value == expected[0]
    np.testing.assert_array_equal(grad, expected[1])


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
def test_labels_are_of_any_integer_dtype(dtype):
    logits, labels = labelled((5, 4), np.float64)
    found = kernels.softmax_cross_entropy(logits, labels.astype(dtype))
    assert found[0] == kernels.softmax_cross_entropy(logits, labels)[0]


X = np.zeros((2, 3))
Y = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (([0.0], X), {}, TypeError, r"`{0}` must be a NumPy array, got \[0.0\] \(list\)"),
        ((X, Y), {}, TypeError, r"`target` must be of dtype float64 as `{0}` is, got float32"),
        ((X, X[:1]), {}, ValueError, r"`target` must be of shape \(2, 3\), got shape \(1, 3\)"),
        ((X[:0], X[:0]), {}, ValueError, r"`{0}` must not be empty, got shape \(0, 3\)"),
        ((X, X), {"reduction": "all"}, ValueError, r"`reduction` must be one of 'mean', 'sum'"),
        ((X, X), {"out": Y}, TypeError, r"`out` must be of dtype float64"),
    ],
)
@pytest.mark.parametrize("name", OF_EACH)
def test_loss_of_each_element_refuses(name, arguments, options, error, message):
    first = "logits" if name in ("binary_cross_entropy", "multilabel") else "prediction"
    with pytest.raises(error, match=message.format(first)):
        getattr(kernels, name)(*arguments, **options)


@pytest.mark.parametrize("name", OF_EACH)
def test_gradient_may_not_overlap_what_is_read_later(name):
    memory = np.zeros((3, 3))
    with pytest.raises(ValueError, match="`out` must not overlap `target`"):
        getattr(kernels, name)(X, memory[:2], out=memory[:2])
    with pytest.raises(ValueError, match=r"`out` must not overlap `(logits|prediction)`"):
        getattr(kernels, name)(memory[:2], X, out=memory[1:])


@pytest.mark.parametrize("wrong", [1.5, -0.25, np.nan])
@pytest.mark.parametrize("name", ["binary_cross_entropy", "multilabel"])
def test_probabilities_out_of_range_are_refused(name, wrong):
    target = X.copy()
    target[1, 2] = wrong
    message = rf"`target` must be from 0 to 1, got {wrong} at index \(1, 2\)"
    with pytest.raises(ValueError, match=message):
        getattr(kernels, name)(X, target)


@pytest.mark.parametrize("beta", [0.0, -1.0, np.inf, np.nan])
def test_beta_that_is_not_positive_is_refused(beta):
    with pytest.raises(ValueError, match="`beta` must be a finite positive number, got"):
        kernels.smooth_l1_loss(X, X, beta=beta)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0, 1], TypeError, r"`labels` must be a NumPy array, got an object of type list"),
        (np.array([0.0, 1.0]), TypeError, r"`labels` must be of an integer dtype, got float64"),
        (np.array([True, False]), TypeError, r"`labels` must be of an integer dtype, got bool"),
        (np.array([0]), ValueError, r"`labels` must be of shape \(2,\), got shape \(1,\)"),
        (np.array([[0], [1]]), ValueError, r"`labels` must be of shape \(2,\), got shape \(2, 1\)"),
        (np.array([0, 3]), ValueError, r"`labels` must be from 0 to 2, got 3 at index 1"),
        (np.array([-1, 7]), ValueError, r"`labels` must be from 0 to 2, got -1 at index 0"),
        (
            np.array([0, 2**64 - 1], np.uint64),
            ValueError,
            r"`labels` must be from 0 to 2, got 18446744073709551615 at index 1",
        ),
    ],
)
def test_labels_that_are_none_are_refused(labels, error, message):
    with pytest.raises(error, match=message):
        kernels.softmax_cross_entropy(X, labels)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"label_smoothing": 1.5}, ValueError, r"`label_smoothing` must be a number in \[0, 1\]"),
        ({"weight": [1.0, 1.0, 1.0]}, TypeError, r"`weight` must be a NumPy array"),
        ({"weight": np.ones(2)}, ValueError, r"`weight` must be of shape \(3,\), got shape \(2,\)"),
        ({"weight": np.ones(3, np.float32)}, TypeError, r"`weight` must be of dtype float64"),
        (
            {"weight": np.array([1.0, -1.0, 1.0])},
            ValueError,
            r"`weight` must be nonnegative, got -1.0 at index 1",
        ),
        (
            {"weight": np.array([0.0, 0.0, 1.0])},
            ValueError,
            r"`weight` must be positive for one of `labels`, got 0 for all of them",
        ),
    ],
)
def test_softmax_cross_entropy_refuses(options, error, message):
    with pytest.raises(error, match=message):
        kernels.softmax_cross_entropy(X, np.array([0, 1]), **options)


def test_examples_in_docstrings_hold():
    assert doctest.testmod(losses).failed == 0
