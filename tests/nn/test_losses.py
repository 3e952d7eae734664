"""Losses at the end of networks: values, gradients and targets."""

import numpy as np
import pytest

from fastopt import nn
from fastopt.kernels import reference

from .conftest import differences

EPS = np.finfo(float).eps


def problem(loss, outputs=3, dtype="float64", **options):
    model = nn.Model(
        nn.Linear(5), nn.Tanh(), nn.Linear(outputs), input_shape=(4,), loss=loss, dtype=dtype
    )
    rng = np.random.default_rng(0)
    return model, model.init(1), rng.normal(size=(6, 4)).astype(dtype), rng


def real(rng):
    return rng.normal(size=(6, 3))


def share(rng):
    return rng.random((6, 3))


def label(rng):
    return rng.integers(0, 3, 6)


CASES = {
    "mse": ("mse", real, reference.mse_loss, {}),
    "l1": ("l1", real, reference.l1_loss, {}),
    "smooth_l1": (nn.SmoothL1(0.5), real, reference.smooth_l1_loss, {"beta": 0.5}),
    "binary": ("binary_cross_entropy", share, reference.binary_cross_entropy, {}),
    "multilabel": ("multilabel", share, reference.multilabel, {}),
    "softmax": ("softmax_cross_entropy", label, reference.softmax_cross_entropy, {}),
    "smoothed": (
        nn.SoftmaxCrossEntropy(label_smoothing=0.2, weight=[1, 2, 0.5]),
        label,
        reference.softmax_cross_entropy,
        {"label_smoothing": 0.2, "weight": [1, 2, 0.5]},
    ),
}


@pytest.mark.parametrize(("loss", "draw", "expected", "options"), CASES.values(), ids=CASES)
def test_value_is_the_references_and_the_gradient_its_derivative(loss, draw, expected, options):
    model, theta, x, rng = problem(loss)
    y = draw(rng)
    value, grad = model.value_and_grad(theta, x, y)
    prediction = model.predict(theta, x)
    assert value == pytest.approx(expected(prediction, y, **options)[0], rel=100 * EPS)
    assert model.value(theta, x, y) == value
    slopes = differences(model, theta, x, y, range(model.n))
    np.testing.assert_allclose(grad, slopes, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64"])
def test_labels_are_of_any_integer_dtype(dtype):
    model, theta, x, rng = problem("softmax_cross_entropy")
    y = label(rng)
    assert model.value(theta, x, y.astype(dtype)) == model.value(theta, x, y)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64"])
def test_labels_of_two_classes_are_integers_or_bool_as_well(dtype):
    model, theta, x, rng = problem("multilabel")
    y = rng.integers(0, 2, (6, 3))
    assert model.value(theta, x, y.astype(dtype)) == model.value(theta, x, y.astype(float))


def test_targets_of_a_single_output_are_a_vector_or_a_column():
    model, theta, x, rng = problem("mse", outputs=1)
    y = rng.normal(size=6)
    assert model.value(theta, x, y) == model.value(theta, x, y[:, None])


VALUE_ERRORS = {
    "classes from 0 to 2, as the last layer makes 3 logits, got 3": (
        "softmax_cross_entropy",
        [0, 1, 2, 3, 0, 0],
    ),
    "classes from 0 to 2, as the last layer makes 3 logits, got -1": (
        "softmax_cross_entropy",
        [0, 1, 2, -1, 0, 0],
    ),
    r"`y` must be of shape \(6,\), a class for each sample, got .* \(5,\)": (
        "softmax_cross_entropy",
        [0, 1, 2, 0, 1],
    ),
    r"`y` must be of shape \(6, 3\), as the model's output is, got .* \(6,\)": (
        "mse",
        np.zeros(6),
    ),
    "`y` must be from 0 to 1, got numbers from 0.0 to 2.0": ("multilabel", [[0.0, 1.0, 2.0]] * 6),
    "`y` must be from 0 to 1, got numbers from nan": ("multilabel", [[0.0, 1.0, np.nan]] * 6),
}


@pytest.mark.parametrize(
    ("message", "loss", "y"),
    [(message, *case) for message, case in VALUE_ERRORS.items()],
    ids=VALUE_ERRORS,
)
def test_targets_out_of_range_are_refused(message, loss, y):
    model, theta, x, _ = problem(loss)
    for evaluate in (model.value_and_grad, model.value):
        with pytest.raises(ValueError, match=message):
            evaluate(theta, x, y)


def test_a_mean_over_classes_of_no_weight_is_refused():
    model, theta, x, _ = problem(nn.SoftmaxCrossEntropy(weight=[0, 1, 1e-60]), dtype="float32")
    for label in (0, 2):  # the smallest positive float32 is 1e-45
        with pytest.raises(ValueError, match=r"`y` must have a class of positive weight"):
            model.value(theta, x, np.full(6, label))
    assert np.isfinite(model.value(theta, x, np.array([0, 0, 1, 0, 0, 2])))


def test_targets_of_another_dtype_are_refused():
    model, theta, x, rng = problem("mse", dtype="float32")
    with pytest.raises(TypeError, match="`y` must be of float32, as the model is, got float64"):
        model.value(theta, x, real(rng))
    model, theta, x, rng = problem("softmax_cross_entropy")
    with pytest.raises(TypeError, match="`y` must be of an integer dtype"):
        model.value(theta, x, label(rng).astype(float))
    model, theta, x, rng = problem("multilabel")
    with pytest.raises(TypeError, match=r"`y` must be of float64, .* integers or bool"):
        model.value(theta, x, share(rng).astype("float32"))


def test_a_loss_that_does_not_fit_the_last_layer_is_refused():
    image = {"input_shape": (3, 4, 4)}
    with pytest.raises(ValueError, match=r"takes a vector of logits, .* 3 channels, 4 x 4: end"):
        nn.Model(nn.ReLU(), **image)
    with pytest.raises(ValueError, match="multilabel takes a vector of logits"):
        nn.Model(nn.ReLU(), loss="multilabel", **image)
    with pytest.raises(ValueError, match="one number for each of 5 classes, got 2"):
        nn.Model(nn.Linear(5), input_shape=(3,), loss=nn.SoftmaxCrossEntropy(weight=[1, 2]))


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="`loss` must be one of 'softmax_cross_entropy'"):
        nn.Model(nn.Linear(5), input_shape=(3,), loss="hinge")
    with pytest.raises(TypeError, match="`loss` must be a loss of"):
        nn.Model(nn.Linear(5), input_shape=(3,), loss=nn.MSE)
    with pytest.raises(ValueError, match="`label_smoothing` must be"):
        nn.SoftmaxCrossEntropy(label_smoothing=1.5)
    with pytest.raises(ValueError, match="`weight` must not be negative"):
        nn.SoftmaxCrossEntropy(weight=[1.0, -1.0])
    with pytest.raises(ValueError, match="`beta` must be"):
        nn.SmoothL1(0.0)
