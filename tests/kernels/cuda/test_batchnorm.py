"""Batch normalization on a GPU: the naive one, in one kernel or two; and what its kernels are."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from fastopt import kernels
from fastopt.device.arrays import describe
from fastopt.device.language import number_type
from fastopt.kernels import reference
from fastopt.kernels.cuda import batchnorm, batchnorm_backward, batchnorm_forward, channels

from ..calls import CALLS, arguments
from .compilation import CAPABILITIES, machine_code

DTYPES = (np.float32, np.float64)
# One number a row and more, a row shorter and longer than a block's columns, planes whose length
# four divides or not, a single channel, and N = 1.
SHAPES = (
    (2, 3),
    (70, 33),
    (300, 1),
    (3, 5, 3),
    (2, 2, 15),
    (7, 5, 1, 1),
    (3, 2, 17),
    (2, 2, 4, 8),
    (1, 1, 129),
)
# More than a block takes at a time, for channels side by side, and for both kinds of planes.
LONG = ((150, 33), (130, 3, 9), (2, 1, 2001), (4, 1, 1300))

RECORD = json.loads((Path(__file__).parents[1] / "pytorch.json").read_text(encoding="utf-8"))
forward, backward = kernels.batchnorm_forward, kernels.batchnorm_backward
GOLDEN = [name for name, case in RECORD["cases"].items() if case["kernel"] == "batchnorm"]


@pytest.fixture(params=["at once", "in shares"])
def sharing(request, monkeypatch):
    """Small channels are a block's; here also as large ones are, which are shared out."""
    if request.param == "in shares":
        monkeypatch.setattr(channels, "WHOLE", ())
    return request.param


def problem(shape, dtype, mean=0.0, seed=0):
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


def check(device, shape, dtype, training, relu, affine=True):
    """Both passes against the naive ones, and running statistics."""
    x, grad, weight, bias, *running = problem(shape, dtype)
    if not affine:
        weight = bias = None
    theirs = [each.copy() for each in running]
    ours = [device.array(each) for each in running]
    on = {
        name: None if values is None else device.array(values)
        for name, values in (("x", x), ("weight", weight), ("bias", bias), ("grad", grad))
    }
    out, saved = kernels.batchnorm_forward(
        on["x"], on["weight"], on["bias"], *ours, training, 0.3, relu=relu
    )
    expected, expected_saved = reference.batchnorm_forward(
        x, weight, bias, *theirs, training, 0.3, relu=relu
    )
    assert out.dtype == dtype
    assert saved.dtype == np.float64
    is_close(out.get(), expected, dtype)
    is_close(saved.get(), expected_saved, dtype)
    for found, truth in zip(ours, theirs, strict=True):
        is_close(found.get(), truth, dtype)
    options = {"training": training, "relu": relu}
    found = kernels.batchnorm_backward(
        on["grad"], on["x"], on["weight"], saved, bias=on["bias"], **options
    )
    truth = reference.batchnorm_backward(
        grad,
        x,
        weight,
        bias=bias,
        running_mean=running[0],
        running_var=running[1],
        **options,
    )
    for each, wanted in zip(found, truth, strict=True):
        assert each.dtype == dtype
        is_close(each.get(), wanted, dtype, 200)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("training", "relu"), [(True, False), (False, True)])
def test_both_passes_are_the_naive_ones(training, relu, shape, device, sharing):
    check(device, shape, np.float32, training, relu)


@pytest.mark.parametrize("shape", [(5, 3, 2), (2, 2, 20)])
@pytest.mark.parametrize("training", [True, False])
def test_both_passes_are_the_naive_ones_in_float64(training, shape, device, sharing):
    check(device, shape, np.float64, training, True)


@pytest.mark.parametrize("shape", LONG)
@pytest.mark.parametrize(("training", "relu"), [(True, True), (False, False)])
def test_shares_of_a_channel_add_up(training, relu, shape, device, monkeypatch):
    monkeypatch.setattr(channels, "WHOLE", ())
    check(device, shape, np.float32, training, relu)
    if hasattr(device, "launches"):
        _, (blocks, _, _) = device.launches[0]
        assert blocks > -(-shape[1] // channels.MOST_TOGETHER)


@pytest.mark.parametrize("shape", [(6, 5), (2, 3, 20)])
@pytest.mark.parametrize("training", [True, False])
def test_weight_and_bias_are_1_and_0_if_none(training, shape, device, sharing):
    check(device, shape, np.float32, training, True, affine=False)


@pytest.mark.parametrize("shape", [(5, 40), (3, 1, 18), (2, 1, 16)])
@pytest.mark.parametrize("training", [True, False])
def test_relu_is_that_of_the_result_in_both_passes(training, shape, on_device, sharing):
    """Bit for bit: its argument is computed once more as it was."""
    x, grad, weight, bias, *running = problem(shape, np.float32)
    plain, saved = on_device.batchnorm_forward(x, weight, bias, *running, training)
    out, _ = on_device.batchnorm_forward(x, weight, bias, *running, training, relu=True)
    np.testing.assert_array_equal(out, np.maximum(plain, 0))
    options = {"training": training, "bias": bias}
    found = on_device.batchnorm_backward(grad, x, weight, saved, relu=True, **options)
    masked = np.where(out > 0, grad, np.float32(0))
    expected = on_device.batchnorm_backward(masked, x, weight, saved, **options)
    for each, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(each, wanted)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(64, 10), (16, 1, 5, 13), (4, 1, 8, 16)])
def test_nothing_cancels_far_from_zero(shape, dtype, on_device, sharing):
    x, grad, weight, bias, *_ = problem(shape, dtype, mean=1e4)
    out, saved = on_device.batchnorm_forward(x, weight, bias)
    wide, eps = x.astype(np.longdouble), np.finfo(dtype).eps
    mean, var = (each(wide, axes_of(x)).astype(float) for each in (np.mean, np.var))
    # In units of the deviation, which is 1; float64 has no digits for less than 1e4 of its eps.
    np.testing.assert_allclose(saved[0], mean, rtol=0, atol=4 * eps * (1e4 if eps < 1e-9 else 1))
    np.testing.assert_allclose(saved[1], var, rtol=1e-12 if eps < 1e-9 else 4 * eps)
    is_close(out, reference.batchnorm_forward(x, weight, bias, None, None)[0], np.float32)
    found = on_device.batchnorm_backward(grad, x, weight, saved, bias=bias)
    for each, wanted in zip(found, reference.batchnorm_backward(grad, x, weight), strict=True):
        is_close(each, wanted, np.float32)


@pytest.mark.parametrize("shape", [(50, 20), (2, 1, 100)])
def test_variance_survives_an_outlier_in_front(shape, on_device, sharing):
    x = problem(shape, np.float32)[0]
    x[0, :, ...] = 1e4
    saved = on_device.batchnorm_forward(x)[1]
    truth = x.astype(np.longdouble).var(axes_of(x)).astype(float)
    np.testing.assert_allclose(saved[1], truth, rtol=20 * np.finfo(np.float32).eps)


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 20)])
def test_constant_channel_has_variance_0(shape, on_device, sharing):
    """But for the square of a rounding: of the mean of its first numbers."""
    x = np.full(shape, 0.1, np.float32)
    out, saved = on_device.batchnorm_forward(x, None, np.ones(4, np.float32))
    np.testing.assert_allclose(saved[1], 0.0, atol=(0.1 * np.finfo(np.float32).eps) ** 2)
    np.testing.assert_allclose(out, 1.0, atol=1e-4)


@pytest.mark.parametrize("shape", [(5, 4), (3, 4, 20)])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_stays_in_its_channel_and_is_seen(bad, shape, on_device, sharing):
    x, grad, weight, *_ = problem(shape, np.float32)
    x[1, 2] = bad
    out, saved = on_device.batchnorm_forward(x, relu=True)
    assert np.isnan(out[:, 2]).all()
    assert np.isnan(saved[1, 2])
    assert np.isfinite(np.delete(out, 2, axis=1)).all()
    grad_x = on_device.batchnorm_backward(grad, x, weight, saved)[0]
    assert np.isnan(grad_x[:, 2]).all()
    assert np.isfinite(np.delete(grad_x, 2, axis=1)).all()


@pytest.mark.parametrize("shape", [(5, 40), (2, 1, 129), (5, 2, 32)])
@pytest.mark.parametrize("training", [True, False])
def test_results_go_where_they_are_asked_to_and_have_the_same_bits_again(
    training, shape, device, sharing
):
    x, grad, weight, bias, *running = map(device.array, problem(shape, np.float32))
    C = shape[1]
    options = {"training": training}

    def moving():
        return (device.array(each.get()) for each in running)

    expected = kernels.batchnorm_forward(x, weight, bias, *moving(), **options)
    out, saved = device.empty(shape, np.float32), device.empty((2, C))
    found = kernels.batchnorm_forward(x, weight, bias, *moving(), out=out, saved=saved, **options)
    assert found[0] is out
    assert found[1] is saved
    for each, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(each.get(), wanted.get())
    options |= {"bias": bias, "relu": True}
    expected = kernels.batchnorm_backward(grad, x, weight, saved, **options)
    places = tuple(device.empty(each, np.float32) for each in (shape, (C,), (C,)))
    in_place = grad, *(device.empty((C,), np.float32) for _ in range(2))
    for out in (places, in_place):
        found = kernels.batchnorm_backward(grad, x, weight, saved, out=out, **options)
        for each, wanted, given in zip(found, expected, out, strict=True):
            assert each is given
            np.testing.assert_array_equal(each.get(), wanted.get())


@pytest.mark.parametrize("shape", [(9, 5), (3, 2, 21), (2, 2, 64)])
def test_inference_may_be_in_place(shape, device):
    x, _, weight, bias, *running = map(device.array, problem(shape, np.float32))
    expected, _ = kernels.batchnorm_forward(x, weight, bias, *running, False)
    found, _ = kernels.batchnorm_forward(x, weight, bias, *running, False, out=x)
    assert found is x
    np.testing.assert_array_equal(found.get(), expected.get())


@pytest.mark.parametrize("training", [True, False])
def test_arrays_may_begin_anywhere(training, device, sharing):
    """Then numbers are read one by one."""
    shape = 2, 1, 32
    x, grad, weight, bias, *running = problem(shape, np.float32)

    def shifted(values):
        flat = np.concatenate([np.zeros(1, np.float32), values.ravel()])
        return describe(device.array(flat)).part(1, shape)

    weight, bias, *running = map(device.array, (weight, bias, *running))
    results = []
    for place in (shifted, device.array):
        moved = [device.array(each.get()) for each in running]
        out, saved = kernels.batchnorm_forward(place(x), weight, bias, *moved, training)
        backward = kernels.batchnorm_backward(
            place(grad), place(x), weight, saved, bias=bias, training=training
        )
        results.append((out, saved, *backward))
    for found, expected in zip(*results, strict=True):
        is_close(found.get(), expected.get(), np.float32)


def test_running_statistics_serve_where_nothing_was_saved(on_device):
    x, grad, weight, bias, mean, var = problem((4, 3, 5), np.float32)
    saved = on_device.batchnorm_forward(x, weight, bias, mean, var, False)[1]
    np.testing.assert_array_equal(saved, (mean, var))
    options = {"training": False, "relu": True, "bias": bias}
    expected = on_device.batchnorm_backward(grad, x, weight, saved, **options)
    found = on_device.batchnorm_backward(
        grad, x, weight, None, running_mean=mean, running_var=var, **options
    )
    for each, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(each, wanted)


def test_running_statistics_move_with_the_forward_pass_or_behind_it(device, sharing):
    x, _, _, _, *running = problem((40, 300), np.float32)
    together, apart = ([device.array(each) for each in running] for _ in range(2))
    _, saved = kernels.batchnorm_forward(device.array(x), None, None, *together, momentum=0.3)
    batchnorm.update_running(describe(saved), 40, 0.3, *map(describe, apart))
    for one, other in zip(together, apart, strict=True):
        is_close(one.get(), other.get(), np.float32, 1)


class Moving:
    """:mod:`fastopt.kernels` on a device, for arrays of the CPU, whose running statistics move."""

    def __init__(self, device, on_device):
        self._device, self.batchnorm_backward = device, on_device.batchnorm_backward

    def batchnorm_forward(self, *arrays, running_mean, running_var, **options):
        given = (*arrays, running_mean, running_var)
        there = [None if each is None else self._device.array(each) for each in given]
        results = kernels.batchnorm_forward(*there, **options)
        for values, moved in zip(given[-2:], there[-2:], strict=True):
            if values is not None:
                values[...] = moved.get()
        return tuple(each.get() for each in results)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", GOLDEN)
def test_kernel_is_that_of_pytorch(name, dtype, device, on_device, sharing):
    case = RECORD["cases"][name]
    found = CALLS["batchnorm"](Moving(device, on_device), **arguments(case, dtype))
    assert found.keys() == case["outputs"].keys()
    # PyTorch subtracts means as they round in double precision; one is 1e4.
    eps = np.finfo(dtype).eps + np.finfo(float).eps * np.max(np.abs(case["inputs"]["x"]))
    for output, expected in case["outputs"].items():
        assert found[output].dtype == dtype
        scale = np.max(np.abs(expected), initial=1.0)
        np.testing.assert_allclose(found[output], expected, rtol=0, atol=20 * eps * scale)


def test_arguments_are_refused_as_on_the_cpu(device):
    x, C, saved = (device.array(np.ones(shape)) for shape in ((2, 3, 4), (3,), (2, 3)))
    single = device.array(np.ones(3, np.float32))
    for error, message, call in (
        (TypeError, "`weight` must be on the GPU", lambda: forward(x, np.ones(3))),
        (TypeError, "`bias` must be of dtype float64 as", lambda: forward(x, C, single)),
        (ValueError, r"`weight` must be of shape \(3,\)", lambda: forward(x, C[:2])),
        (ValueError, "two numbers or more", lambda: forward(device.array(np.ones((1, 3))))),
        (ValueError, "`out` must not overlap `x`", lambda: forward(x, out=x)),
        (ValueError, "`running_var` must not overlap", lambda: forward(x, None, None, C, C)),
        (TypeError, "`saved` must be of dtype float64", lambda: forward(x, saved=single)),
        (ValueError, r"`saved` must be of shape \(2, 3\)", lambda: forward(x, saved=C)),
        (TypeError, "`stream` must be a stream", lambda: forward(x, stream="0")),
        (TypeError, "`saved` must be what", lambda: backward(x, x, C, None)),
        (ValueError, r"`grad` must be of shape", lambda: backward(C, x, C, saved)),
        (ValueError, r"`out\[0\]` must not over", lambda: backward(x, x, C, saved, out=(x, C, C))),
    ):
        with pytest.raises(error, match=message):
            call()


def kernels_of(dtype, width, relu=True):
    """Each kernel, and how many loads and stores of a unit it has at least."""
    n = batchnorm_forward.units_of_thread(number_type(dtype), 1, width)
    half = batchnorm_forward.units_of_thread(number_type(dtype), 2, width)
    return {
        "moments": (batchnorm_forward.moments_kernel(dtype, width), n, 0),
        "normalization": (batchnorm_forward.normalization_kernel(dtype, width, relu), n, n),
        "whole_forward": (batchnorm_forward.whole_forward_kernel(dtype, width, relu, 1024), n, n),
        "inference": (batchnorm_forward.inference_kernel(dtype, width, relu), n, n),
        "gradient_sums": (
            batchnorm_backward.gradient_sums_kernel(dtype, "float64", width, relu, True),
            2 * half,
            0,
        ),
        "gradient_sums_inference": (
            batchnorm_backward.gradient_sums_kernel(dtype, dtype, width, relu, False),
            2 * half,
            half,
        ),
        "gradient": (batchnorm_backward.gradient_kernel(dtype, width, relu), 2 * half, half),
        "whole_backward": (
            batchnorm_backward.whole_backward_kernel(dtype, "float64", width, relu, True, 1024),
            2 * half,
            half,
        ),
        "parameter_gradients": (batchnorm_backward.parameter_gradients_kernel(dtype, dtype), 0, 0),
        "update": (batchnorm_forward.update_kernel(dtype), 0, 0),
    }


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("name", kernels_of("float32", 4))
@pytest.mark.parametrize(
    ("dtype", "width"),
    [
        ("float32", 4),
        pytest.param("float32", 1, marks=pytest.mark.slow),
        pytest.param("float64", 4, marks=pytest.mark.slow),
        pytest.param("float64", 1, marks=pytest.mark.slow),
    ],
)
def test_kernels_are_in_registers_and_read_many_numbers_at_once(
    dtype, width, name, capability, tmp_path
):
    kernel, loads, stores = kernels_of(dtype, width)[name]
    code = machine_code(kernel, capability, tmp_path)
    # A multiprocessor has room for a thousand threads, or three quarters of it.
    assert code.registers <= (80 if name == "gradient" else 64)
    if width == 4:
        vectors = np.dtype(dtype).itemsize // 4
        assert code.count("LDG.E.128") >= loads * vectors
        assert code.count("STG.E.128") >= stores * vectors
    if dtype == "float32":
        loops = loops_with(code.text, "FADD")
        assert len(loops) == (name in LOOPS)
        assert not any(instruction.startswith(DOUBLE) for loop in loops for instruction in loop)


# Kernels that go over a share of the numbers of a channel. The combination of sums is in float64,
# and only that.
LOOPS = (
    "moments",
    "normalization",
    "inference",
    "gradient_sums",
    "gradient_sums_inference",
    "gradient",
)
DOUBLE = ("DADD", "DMUL", "DFMA", "F2F")


def loops_with(text, start):
    """The instructions of each innermost loop that has one beginning with a word."""
    labels, instructions, found = {}, [], []
    for line in text.splitlines():
        if label := re.match(r"^(\.L_x_\d+):", line):
            labels[label[1]] = len(instructions)
        if code := re.match(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\d+\s+)?(.*?);", line):
            instructions.append(code[1])
    for k, instruction in enumerate(instructions):
        target = re.match(r"BRA.*`\((\.L_x_\d+)\)", instruction)
        if target and labels[target[1]] <= k:
            loop = instructions[labels[target[1]] : k]
            if any(each.startswith(start) for each in loop):
                found.append(loop)
    return found
