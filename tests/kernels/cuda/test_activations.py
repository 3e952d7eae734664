"""Activations on a device: as the naive ones, and as the CPU for what is no number; their code."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from fastopt import kernels
from fastopt.kernels import reference
from fastopt.kernels.cuda import activations, elementwise

from . import golden
from .compilation import CAPABILITIES, machine_code

DTYPES = (np.float32, np.float64)
TARGETS = [*((np.float32, capability) for capability in CAPABILITIES), (np.float64, (9, 0))]
NAMES = ("relu", "leaky_relu", "sigmoid", "tanh")
# Rows of one number, of a part of a warp, of a warp, and of a block; by fours and one by one.
ROWS = [
    (1, 1),
    (3, 2),
    (9, 10),
    (70, 4),
    (5, 33),
    (3, 128),
    (2, 250),
    (2, 1000),
    (1, 1024),
    (2, 1025),
    (1, 4100),
]


def numbers(shape, dtype, seed=0):
    return np.random.default_rng(seed).normal(size=shape, scale=3).astype(dtype)


def special(dtype):
    """What is no ordinary number, and the ends of what is."""
    tiny, largest = np.finfo(dtype).tiny, np.finfo(dtype).max
    ends = [0.0, tiny / 4, tiny, 1e-20, 1e-4, 0.5, 20.0, 90.0, 800.0, largest, np.inf]
    return np.array([*ends, *(-end for end in ends), np.nan], dtype)


def is_close(found, expected, dtype, ulps=8):
    assert found.dtype == dtype
    eps, tiny = np.finfo(dtype).eps, np.finfo(dtype).tiny
    # As on the CPU, what is below the normal numbers may be 0.
    np.testing.assert_allclose(found, expected, rtol=ulps * eps, atol=tiny)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_activation_and_derivative_are_the_naive_ones(on_device, name, dtype):
    x, grad = numbers((3, 5, 71), dtype), numbers((3, 5, 71), dtype, 1)
    y = getattr(on_device, name)(x)
    is_close(y, getattr(reference, name)(x), dtype)
    backward = getattr(on_device, f"{name}_backward")(grad, y)
    # Of 1 - y and 1 - y**2 the last bits may be any.
    expected = getattr(reference, f"{name}_backward")(grad, y)
    np.testing.assert_allclose(backward, expected, rtol=0, atol=40 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_number_is_treated_as_on_the_cpu(on_device, name, dtype):
    x = special(dtype)
    found, expected = getattr(on_device, name)(x), getattr(kernels, name)(x)
    is_close(found, expected, dtype)
    if name != "tanh":  # the CPU's makes 0 of -0
        np.testing.assert_array_equal(np.signbit(found[:-1]), np.signbit(expected[:-1]))
    y = np.array([0.5, 0.0, -0.0, -0.5, 1.0, np.nan], dtype)
    grad, y = (each.ravel() for each in np.meshgrid(special(dtype), y))
    with np.errstate(all="ignore"):
        expected = getattr(kernels, f"{name}_backward")(grad, y)
    is_close(getattr(on_device, f"{name}_backward")(grad, y), expected, dtype)


def test_slope_is_that_given(on_device):
    x, grad = numbers(50, np.float64), numbers(50, np.float64, 1)
    for slope in (0.0, 0.25, 3.0):
        np.testing.assert_array_equal(
            on_device.leaky_relu(x, slope), reference.leaky_relu(x, slope)
        )
        np.testing.assert_array_equal(
            on_device.leaky_relu_backward(grad, x, slope),
            reference.leaky_relu_backward(grad, x, slope),
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", ROWS)
def test_softmax_and_its_derivative_are_the_naive_ones(on_device, shape, dtype):
    x, grad = numbers(shape, dtype), numbers(shape, dtype, 1)
    y = on_device.softmax(x)
    is_close(y, reference.softmax(x), dtype, ulps=30)
    found = on_device.softmax_backward(grad, y)
    expected = reference.softmax_backward(grad, y)
    np.testing.assert_allclose(found, expected, rtol=0, atol=60 * np.finfo(dtype).eps)


@pytest.mark.parametrize("C", [3, 8, 1030])
def test_rows_with_numbers_that_are_none_are_as_on_the_cpu(on_device, C):
    x = numbers((7, C), np.float32)
    x[0, 1] = np.nan
    x[1, 0] = np.nan
    x[2, C - 1] = np.inf
    x[3, 0] = -np.inf
    x[4] = -np.inf
    x[5] = np.finfo(np.float32).max
    x[6, 0] = -np.finfo(np.float32).max
    with np.errstate(all="ignore"):
        expected = kernels.softmax(x)
    is_close(on_device.softmax(x), expected, np.float32, ulps=30)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("skipped", [0, 1])
@pytest.mark.parametrize("C", [12, 1028])
def test_results_may_go_where_arguments_are(device, C, skipped, dtype):
    def there(values):
        return device.array(np.concatenate([np.zeros(skipped, dtype), values]))[skipped:]

    shape = 2, C
    x, grad = numbers(2 * C, dtype), numbers(2 * C, dtype, 1)
    for name in NAMES:
        out = there(x)
        assert getattr(kernels, name)(out, out=out) is out
        is_close(out.get(), getattr(reference, name)(x), dtype)
        out, y = there(grad), there(x)
        assert getattr(kernels, f"{name}_backward")(out, y, out=out) is out
        expected = getattr(reference, f"{name}_backward")(grad, x)
        eps = np.finfo(dtype).eps
        # Where y**2 is almost 1, what 1 - y**2 is depends on how y**2 was rounded, if it was.
        least = eps * np.abs(grad).max() if name == "tanh" else 0.0
        np.testing.assert_allclose(out.get(), expected, rtol=40 * eps, atol=least)
    y = reference.softmax(x.reshape(shape)).astype(dtype)
    out = device.array(x.reshape(shape))
    assert kernels.softmax(out, out=out) is out
    is_close(out.get(), y, dtype, ulps=30)
    out = device.array(grad.reshape(shape))
    assert kernels.softmax_backward(out, device.array(y), out=out) is out
    expected = reference.softmax_backward(grad.reshape(shape), y)
    np.testing.assert_allclose(out.get(), expected, rtol=0, atol=60 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", golden.cases(*NAMES, "softmax"))
def test_values_are_those_of_pytorch(on_device, name, dtype):
    golden.check(on_device, name, dtype)


@pytest.mark.parametrize(("dtype", "capability"), TARGETS)
def test_code_of_single_elements_is_of_one_precision(dtype, capability, tmp_path):
    made = [
        (elementwise._of_one, ("_relu", "_leaky_relu", "_sigmoid", "_tanh")),
        (elementwise._of_two, tuple(f"_{name}_backward" for name in NAMES)),
    ]
    for make, names in made:
        for name in names:
            kernel = make(getattr(activations, name), np.dtype(dtype), True)
            code = machine_code(kernel, capability, tmp_path)
            assert code.registers <= 64
            assert code.count("LDG.E.128") > 0
            assert code.count("STG.E.128") > 0
            assert code.doubles == (dtype == np.float64)


@pytest.mark.parametrize(("dtype", "capability"), TARGETS)
@pytest.mark.parametrize("C", [10, 1000, 4096, 4097])
def test_code_of_rows_is_of_one_precision(C, dtype, capability, tmp_path):
    dtype, aligned = np.dtype(dtype), C % 4 == 0
    if C <= 1024:
        lanes, times = activations._lanes(C, 4 if aligned else 1)
        made = (
            activations._softmax_by_warps(dtype, aligned, lanes, times),
            activations._softmax_backward_by_warps(dtype, aligned, lanes, times),
        )
    else:
        made = (
            activations._softmax_by_blocks(dtype, aligned),
            activations._softmax_backward_by_blocks(dtype, aligned),
        )
    for kernel in made:
        code = machine_code(kernel, capability, tmp_path)
        # A thread may hold 32 numbers of a row, and as many of its gradient.
        assert code.registers <= (224 if C <= 1024 else 96)
        assert (code.count("LDG.E.128") > 0) == aligned
        assert code.doubles == (dtype == np.float64)
