"""The naive kernels: against PyTorch, differences and properties that need no oracle."""

import json
from pathlib import Path

import numpy as np
import pytest

from fastopt.kernels import reference

from .calls import CALLS, arguments

RECORD = json.loads(Path(__file__).with_name("pytorch.json").read_text(encoding="utf-8"))
EPS = np.finfo(float).eps


@pytest.mark.parametrize("name", RECORD["cases"])
def test_reference_is_pytorch(name):
    case = RECORD["cases"][name]
    found = CALLS[case["kernel"]](reference, **arguments(case, np.float64))
    assert found.keys() == case["outputs"].keys()
    for output, expected in case["outputs"].items():
        scale = np.max(np.abs(expected), initial=1.0)
        # PyTorch subtracts means as they round; 1e4 in the batches that test it.
        offset = np.max(np.abs(case["inputs"]["x"])) if case["kernel"] == "batchnorm" else 1.0
        np.testing.assert_allclose(
            found[output], expected, rtol=0, atol=20 * EPS * scale * max(offset, 1.0)
        )


def test_every_kernel_with_a_reference_is_recorded_or_tested_here():
    forward = {name for name in reference.__all__ if "backward" not in name}
    tested_here = {"add", "add_relu", "concatenate", "dropout", "dropout_mask", "split"}
    recorded = {case["kernel"] for case in RECORD["cases"].values()}
    assert forward - tested_here == recorded - {"batchnorm"} | {"batchnorm_forward"}


# It says that it pads with a copy where an even window has more on one side.
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_recorded_values_are_those_of_the_installed_pytorch():
    pytest.importorskip("torch", reason="needs PyTorch, whose values are recorded")
    from .record_pytorch import record_all

    found = record_all()["cases"]
    assert found.keys() == RECORD["cases"].keys()
    for name, case in RECORD["cases"].items():
        for part in ("inputs", "outputs"):
            for key, values in case[part].items():
                np.testing.assert_allclose(found[name][part][key], values, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("relu", [True, False])
def test_graph_of_batch_normalization_has_the_derivatives_of_differences(training, relu):
    generator = np.random.default_rng(3)
    x, grad = generator.normal(size=(2, 2, 4, 3, 2))
    weight, bias, mean = generator.normal(size=(3, 4))
    var = generator.uniform(1, 2, 4)
    flat = np.concatenate([x.ravel(), weight, bias])

    def value(flat):
        x, weight, bias = np.split(flat, [grad.size, grad.size + 4])
        out, _ = reference.batchnorm_forward(
            x.reshape(grad.shape), weight, bias, mean.copy(), var.copy(), training, relu=relu
        )
        return np.sum(out * grad)

    h = 1e-5
    differences = [(value(flat + h * e) - value(flat - h * e)) / (2 * h) for e in np.eye(flat.size)]
    found = reference.batchnorm_backward(
        grad,
        x,
        weight,
        training=training,
        relu=relu,
        bias=bias,
        running_mean=mean,
        running_var=var,
    )
    np.testing.assert_allclose(
        np.concatenate([part.ravel() for part in found]), differences, rtol=0, atol=1e-8
    )


def test_greatest_of_a_window_with_nan_is_nan():
    x = np.array([[[[1.0, np.nan], [3.0, 2.0]]]])
    out, where = reference.max_pool2d(x, 2)
    assert np.isnan(out[0, 0, 0, 0])
    assert where[0, 0, 0, 0] == 1


def test_dropout_mask_holds_zeros_and_what_keeps_the_mean():
    mask = reference.dropout_mask((100, 50), 0.3, seed=5)
    assert set(np.unique(mask)) == {0.0, 1 / 0.7}
    # Four standard deviations of a mean of 5000 Bernoulli numbers.
    assert abs(np.mean(mask == 0) - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 5000)


def test_dropout_mask_is_the_sequence_of_splitmix64():
    """The first outputs for seed 0, as published with the generator's Java and C sources."""
    u = [x / 2**64 for x in (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F)]
    for p in (0.01, 0.2, 0.5, 0.9):
        mask = reference.dropout_mask((3,), p, seed=0)
        np.testing.assert_array_equal(mask == 0, np.less(u, p))


def test_pieces_of_what_was_concatenated_are_what_went_in():
    a, b = np.ones((2, 3, 4, 4)), np.zeros((2, 1, 4, 4))
    whole = reference.concatenate([a, b])
    assert whole.shape == (2, 4, 4, 4)
    pieces = reference.split(whole, [3, 1])
    np.testing.assert_array_equal(pieces[0], a)
    np.testing.assert_array_equal(pieces[1], b)


def test_sums():
    np.testing.assert_array_equal(reference.add([1, -3], [1, 1]), [2, -2])
    np.testing.assert_array_equal(reference.add_relu([1, -3], [1, 1]), [2, 0])
