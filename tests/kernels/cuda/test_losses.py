"""Losses on a GPU: against the naive ones and PyTorch's, at extremes, and what they compile to."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from fastopt import kernels
from fastopt.kernels import reference
from fastopt.kernels.cuda import cross_entropy, losses, totals

from ..calls import CALLS, LOSSES, arguments
from .compilation import CAPABILITIES, machine_code

OF_EACH = ("l1_loss", "mse_loss", "smooth_l1_loss", "binary_cross_entropy", "multilabel")
REDUCTIONS = ("mean", "sum", "none")
DTYPES = (np.float32, np.float64)
# Beside a block of 2048 elements, and its half.
SHAPES = [(1, 1), (5, 3), (16, 64), (1, 2049), (2, 1600)]
# Rows of a thread, of parts of a warp, of a warp, of blocks; of lengths by fours and others.
ROWS = [(1, 1), (300, 3), (40, 10), (16, 128), (3, 1000), (2, 1026), (1, 8196)]
RECORD = json.loads((Path(__file__).parents[1] / "pytorch.json").read_text(encoding="utf-8"))


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


def assert_loss_is(found, expected, dtype, roundings=16):
    (value, grad), (expected_value, expected_grad) = found, expected
    eps = float(np.finfo(dtype).eps)
    scale = np.max(np.abs(expected_grad))
    assert grad.dtype == dtype
    np.testing.assert_allclose(grad, expected_grad, rtol=roundings * eps, atol=4 * eps * scale)
    if np.ndim(expected_value) == 0:
        assert value.dtype == np.float64
        assert value.shape == ()
        assert value == pytest.approx(expected_value, rel=roundings * eps, abs=1e-14)
    else:
        assert value.dtype == dtype
        np.testing.assert_allclose(value, expected_value, rtol=roundings * eps, atol=4 * eps)


def same_bits(one, other):
    return all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


# --- values ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", OF_EACH)
def test_loss_of_each_element_is_the_naive_one(on_device, name, shape, reduction, dtype):
    arrays = data(name, shape, dtype)
    found = getattr(on_device, name)(*arrays, reduction=reduction)
    assert_loss_is(found, getattr(reference, name)(*arrays, reduction=reduction), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", ROWS)
def test_softmax_cross_entropy_is_the_naive_one(on_device, shape, weighted, label_smoothing, dtype):
    logits, labels = labelled(shape, dtype)
    weight = np.random.default_rng(1).uniform(0, 2, shape[1]).astype(dtype) if weighted else None
    options = {"label_smoothing": label_smoothing, "weight": weight}
    found = on_device.softmax_cross_entropy(logits, labels, **options)
    expected = reference.softmax_cross_entropy(logits, labels, **options)
    # An exponential of -20 has the rounding of -20.
    assert_loss_is(found, expected, dtype, roundings=64)


@pytest.mark.parametrize("reduction", ["sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(70, 10), (2, 1100)])
def test_softmax_cross_entropy_need_not_be_the_mean(on_device, shape, weighted, reduction):
    logits, labels = labelled(shape, np.float64)
    weight = np.random.default_rng(1).uniform(0, 2, shape[1]) if weighted else None
    options = {"label_smoothing": 1.0, "weight": weight, "reduction": reduction}
    found = on_device.softmax_cross_entropy(logits, labels, **options)
    expected = reference.softmax_cross_entropy(logits, labels, **options)
    assert_loss_is(found, expected, np.float64, roundings=64)


@pytest.mark.parametrize("C", range(1, 10))
def test_rows_of_few_classes_share_a_warp(on_device, C):
    logits, labels = labelled((300, C), np.float64)
    found = on_device.softmax_cross_entropy(logits, labels, label_smoothing=0.1)
    expected = reference.softmax_cross_entropy(logits, labels, label_smoothing=0.1)
    assert_loss_is(found, expected, np.float64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "name", [name for name, case in RECORD["cases"].items() if case["kernel"] in LOSSES]
)
def test_loss_is_that_of_pytorch(on_device, name, dtype):
    case = RECORD["cases"][name]
    found = CALLS[case["kernel"]](on_device, **arguments(case, dtype))
    for output, expected in case["outputs"].items():
        scale = np.max(np.abs(expected), initial=1.0)
        np.testing.assert_allclose(
            found[output], expected, rtol=0, atol=20 * np.finfo(dtype).eps * scale
        )


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "uint64"])
def test_labels_are_of_any_integer_dtype(on_device, dtype):
    logits, labels = labelled((5, 4), np.float32)
    weight = np.array([1.0, 2.0, 0.5, 0.0], np.float32)
    expected = on_device.softmax_cross_entropy(logits, labels, weight=weight)
    found = on_device.softmax_cross_entropy(logits, labels.astype(dtype), weight=weight)
    assert same_bits(found, expected)


# --- memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OF_EACH[:4])
def test_arrays_may_begin_anywhere(device, name):
    prediction, target = data(name, (2100,), np.float32)
    expected = getattr(reference, name)(prediction[1:], target[1:])
    aligned = getattr(kernels, name)(device.array(prediction[1:]), device.array(target[1:]))
    shifted = getattr(kernels, name)(device.array(prediction)[1:], device.array(target)[1:])
    for value, grad in (aligned, shifted):
        assert_loss_is((value.get(), grad.get()), expected, np.float32)


def test_weights_may_begin_anywhere(device):
    logits, labels = labelled((4, 64), np.float64)
    weight = np.random.default_rng(1).uniform(0, 2, 65)
    value, grad = kernels.softmax_cross_entropy(
        device.array(logits), device.array(labels), weight=device.array(weight)[1:]
    )
    expected = reference.softmax_cross_entropy(logits, labels, weight=weight[1:])
    assert_loss_is((value.get(), grad.get()), expected, np.float64)


@pytest.mark.parametrize("shape", [(3, 4), (1, 2500)])
@pytest.mark.parametrize("name", OF_EACH)
def test_gradient_goes_where_it_is_asked_to(device, name, shape):
    prediction, target = map(device.array, data(name, shape, np.float32))
    value, grad = getattr(kernels, name)(prediction, target)
    out = device.empty(shape, np.float32)
    given = getattr(kernels, name)(prediction, target, out=out)
    assert given[1] is out
    replaced = getattr(kernels, name)(prediction, target, out=prediction)
    assert replaced[1] is prediction
    for each in (given, replaced):
        assert same_bits((each[0].get(), each[1].get()), (value.get(), grad.get()))


@pytest.mark.parametrize("shape", [(30, 50), (3, 1000), (2, 1500), (2, 1501)])
def test_gradient_of_softmax_cross_entropy_may_replace_the_logits(device, shape):
    logits, labels = map(device.array, labelled(shape, np.float32))
    value, grad = kernels.softmax_cross_entropy(logits, labels, label_smoothing=0.1)
    replaced = kernels.softmax_cross_entropy(logits, labels, label_smoothing=0.1, out=logits)
    assert replaced[1] is logits
    assert same_bits((replaced[0].get(), logits.get()), (value.get(), grad.get()))


def test_the_same_arguments_give_the_same_bits_again(on_device):
    prediction, target = data("multilabel", (3, 1700), np.float32)
    logits, labels = labelled((70, 40), np.float32)
    weight = np.random.default_rng(1).uniform(0, 2, 40).astype(np.float32)
    found = [
        (
            *on_device.multilabel(prediction, target),
            *on_device.softmax_cross_entropy(logits, labels, weight=weight, label_smoothing=0.1),
        )
        for _ in range(2)
    ]
    assert same_bits(*found)


# --- extremes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OF_EACH)
def test_value_and_gradient_are_finite_where_they_can_be(on_device, name, dtype):
    largest = np.finfo(dtype).max if name != "mse_loss" else np.sqrt(np.finfo(dtype).max) / 4
    prediction = np.array([[largest / 8, -largest / 8, 0.0, 300.0]], dtype)
    target = np.array([[0.0, 1.0, 0.5, 1.0]], dtype)
    value, grad = getattr(on_device, name)(prediction, target)
    assert math.isfinite(value)
    assert np.all(np.isfinite(grad))


@pytest.mark.parametrize("beta", [1e-300, 1e-40, 1e-3, 1e38])
def test_thresholds_may_be_beyond_single_precision(on_device, beta):
    prediction = np.array([0.0, 1.0, -2.0, 1e-42, np.nan], np.float32)
    _, grad = on_device.smooth_l1_loss(prediction, np.zeros(5, np.float32), beta=beta)
    _, expected = kernels.smooth_l1_loss(prediction, np.zeros(5, np.float32), beta=beta)
    np.testing.assert_allclose(grad, expected, rtol=1e-2 if beta == 1e-40 else 1e-6, atol=1e-44)


@pytest.mark.parametrize("C", [3, 4, 1000, 1100])
@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_cross_entropy_is_finite_at_the_largest_logits(on_device, dtype, C):
    largest = np.finfo(dtype).max / (4 * C)
    logits = np.zeros((2, C), dtype)
    logits[0, :2], logits[1, :3] = (largest, -largest), (0.0, 1e3, -1e3)
    value, grad = on_device.softmax_cross_entropy(logits, np.array([1, 0]), label_smoothing=0.1)
    assert math.isfinite(value)
    np.testing.assert_allclose(np.sum(grad, axis=1), 0, atol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("C", [3, 4, 600, 1100])
def test_classes_that_cannot_be_have_probability_0(on_device, C):
    logits = np.full((1, C), -np.inf)
    logits[0, [0, 2]] = 0.0
    value, grad = on_device.softmax_cross_entropy(logits, np.array([0]))
    assert value == pytest.approx(math.log(2))
    np.testing.assert_allclose(grad[0, :3], [-0.5, 0.0, 0.5])
    assert not np.any(grad[0, 3:])
    assert on_device.softmax_cross_entropy(logits, np.array([1]))[0] == math.inf


@pytest.mark.parametrize("C", [3, 4, 600, 1100])
@pytest.mark.parametrize("wrong", ["nan", "inf", "all -inf", "label -1", "label C", "label 2**40"])
def test_what_is_wrong_with_a_row_makes_it_nan_and_no_other(on_device, C, wrong):
    logits, labels = np.zeros((3, C)), np.array([1, 1, 1])
    if wrong.startswith("label"):
        labels[1] = {"label -1": -1, "label C": C, "label 2**40": 2**40}[wrong]
    elif wrong == "all -inf":
        logits[1] = -np.inf
    else:
        logits[1, 2] = float(wrong)
    values, grad = on_device.softmax_cross_entropy(logits, labels, reduction="none")
    value, mean = on_device.softmax_cross_entropy(logits, labels, weight=np.ones(C))
    for gradient in (grad, mean):
        assert np.all(np.isnan(gradient[1]))
        assert np.all(np.isfinite(gradient[[0, 2]]))
    np.testing.assert_allclose(values, [math.log(C), math.nan, math.log(C)])
    assert np.isnan(value)


@pytest.mark.parametrize("name", ["binary_cross_entropy", "multilabel"])
@pytest.mark.parametrize("wrong", [1.5, -0.25, np.nan])
def test_targets_that_are_no_probabilities_make_nan(on_device, name, wrong):
    target = np.array([[0.0, wrong, 1.0]])
    value, grad = getattr(on_device, name)(np.zeros((1, 3)), target)
    assert np.isnan(value)
    np.testing.assert_array_equal(np.isnan(grad), [[False, True, False]])


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_weights_that_are_negative_or_all_0_make_nan(on_device, label_smoothing):
    logits, labels = np.zeros((2, 3)), np.array([0, 1])
    for weight in ([-1.0, 1.0, 1.0], [0.0, 0.0, 1.0]):
        value, grad = on_device.softmax_cross_entropy(
            logits, labels, weight=np.array(weight), label_smoothing=label_smoothing
        )
        assert np.isnan(value)
        assert np.all(np.isnan(grad[0]))


def test_small_losses_and_gradients_keep_their_digits(on_device):
    for C in (3, 4, 600, 1100):
        logits = np.full((1, C), -np.inf)
        logits[0, :3] = 0.0, 50.0, -10.0
        value, grad = on_device.softmax_cross_entropy(logits, np.array([1]))
        beside = math.exp(-50) + math.exp(-60)
        assert value == pytest.approx(beside, rel=1e-14)
        np.testing.assert_allclose(grad[0, :3], [math.exp(-50), -beside, math.exp(-60)], rtol=1e-14)
    value, grad = on_device.binary_cross_entropy(np.array([50.0]), np.array([1.0]))
    assert value == pytest.approx(math.exp(-50), rel=1e-14)
    assert grad[0] == pytest.approx(-math.exp(-50), rel=1e-14)


@pytest.mark.parametrize("C", [4, 600, 1100])
def test_logits_that_tie_share_the_probability(on_device, C):
    value, grad = on_device.softmax_cross_entropy(np.full((1, C), 7.0), np.array([3]))
    assert value == pytest.approx(math.log(C))
    expected = np.full((1, C), 1 / C)
    expected[0, 3] -= 1
    np.testing.assert_allclose(grad, expected, rtol=1e-14)


def test_a_row_that_rises_is_summed_relative_to_its_end(on_device):
    """Each thread of a block meets a larger logit each time."""
    logits = np.linspace(0, 4000, 3000)[np.newaxis].astype(np.float32)
    found = on_device.softmax_cross_entropy(logits, np.array([2990]))
    expected = reference.softmax_cross_entropy(logits, np.array([2990]))
    assert_loss_is(found, expected, np.float32, roundings=300)


# --- what is refused ---------------------------------------------------------------------------


def test_labels_of_another_kind_are_refused(device):
    logits = device.array(np.zeros((2, 3)))
    for labels, error, message in (
        (np.zeros(2), TypeError, "`labels` must be of an integer dtype, got float64"),
        (np.zeros(3, int), ValueError, r"`labels` must be of shape \(2,\), got shape \(3,\)"),
    ):
        with pytest.raises(error, match=message):
            kernels.softmax_cross_entropy(logits, device.array(labels))
    with pytest.raises(ValueError, match="`labels` must be C-contiguous on a GPU"):
        kernels.softmax_cross_entropy(logits, device.array(np.zeros(4, int))[::2])
    with pytest.raises(TypeError, match="`labels` must be on the GPU as other arrays are"):
        kernels.softmax_cross_entropy(logits, np.zeros(2, int))


def test_gradient_may_not_overlap_what_is_read_later(device):
    memory, x = device.array(np.zeros((3, 3))), device.array(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="`out` must not overlap `target`"):
        kernels.l1_loss(x, memory[:2], out=memory[:2])
    with pytest.raises(ValueError, match="`out` must not overlap `logits`"):
        kernels.softmax_cross_entropy(memory[:2], device.array(np.zeros(2, int)), out=memory[1:])


# --- machine code ------------------------------------------------------------------------------


def compiled_kernels(dtype):
    """By a name: a kernel, its registers at most, and the bytes of a thread's first loads."""
    plain, full = (False,) * 4, (True,) * 4
    found = {
        name: (losses._pointwise(getattr(losses, name), dtype, 4, True), 64, 4)
        for name in ("_absolute", "_squared", "_huber", "_logistic")
    }
    found["one by one"] = losses._pointwise(losses._logistic, dtype, 1, True), 64, 0
    found["row means"] = losses._row_means(dtype, 256), 32, 0
    found["label weights"] = cross_entropy._label_weights(dtype, "int64"), 32, 0
    long = 8 if dtype == "float32" else 4
    for width in (4, 1):
        for name, flags in (("plain", plain), ("full", full)):
            case = cross_entropy._Case(dtype, "int64", width, *flags)
            threads = 4096 // np.dtype(dtype).itemsize
            found[f"parts of a warp, {name}, {width}"] = (
                cross_entropy._in_a_warp(case, 4, 1),
                64,
                width // 4,
            )
            found[f"a warp, {name}, {width}"] = (
                cross_entropy._in_a_warp(case, 32, long),
                128,
                width // 4 * long,
            )
            found[f"a block, {name}, {width}"] = (
                cross_entropy._in_a_block(case, threads),
                65536 // threads,
                width // 4 * 2,
            )
    return found


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("name", compiled_kernels("float32"))
def test_kernels_of_single_precision_compile_as_promised(name, capability, tmp_path):
    kernel, registers, loads = compiled_kernels("float32")[name]
    code = machine_code(kernel, capability, tmp_path)
    assert code.registers <= registers
    assert code.count("LDG.E.128") >= loads
    assert (code.count("STG.E.128") > 0) == (loads > 0)
    assert not code.doubles


@pytest.mark.slow
@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("name", compiled_kernels("float64"))
def test_kernels_of_double_precision_compile_as_promised(name, capability, tmp_path):
    kernel, registers, loads = compiled_kernels("float64")[name]
    code = machine_code(kernel, capability, tmp_path)
    assert code.registers <= max(registers, 88)
    assert code.count("LDG.E.128") >= 2 * loads


@pytest.mark.parametrize("threads", [128, 1024])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_over_blocks_compile(dtype, threads, tmp_path):
    for kernel in (
        totals._product(dtype, threads, True),
        totals._product(dtype, threads, False),
        totals._reciprocal(dtype, threads),
    ):
        assert machine_code(kernel, (9, 0), tmp_path).registers <= 64
