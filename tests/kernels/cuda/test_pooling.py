"""Pooling on a device: the naive one, over windows of all kinds; and its code."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from fastopt import kernels
from fastopt.kernels import reference
from fastopt.kernels.cuda import pooling

from . import golden
from .compilation import CAPABILITIES, machine_code

DTYPES = (np.float32, np.float64)
TARGETS = [*((np.float32, capability) for capability in CAPABILITIES), (np.float64, (9, 0))]
NAMES = ("max_pool2d", "avg_pool2d", "global_avg_pool2d")
# Height and width, window, and options. Beyond 16 places of a window there are loops.
CASES = {
    "2x2": ((6, 8), 2, {}),
    "one number": ((1, 1), 1, {}),
    "one place": ((4, 5), 1, {"stride": 2}),
    "odd": ((5, 7), 2, {}),
    "3x3 overlapping": ((9, 9), 3, {"stride": 2, "padding": 1}),
    "3x3 inside": ((9, 11), 3, {"stride": 2}),
    "ceil": ((6, 6), 3, {"stride": 2, "ceil_mode": True}),
    "ceil and padding": ((7, 8), 3, {"stride": 2, "padding": 1, "ceil_mode": True}),
    "stride beyond the window": ((9, 11), 2, {"stride": 3}),
    "stride far beyond it": ((13, 7), 2, {"stride": (6, 5)}),
    "asymmetric": ((5, 9), (1, 3), {"stride": (1, 2), "padding": ((0, 0), (2, 1))}),
    "stride 1": ((6, 17), 3, {"stride": 1, "padding": 1}),
    "5x7": ((9, 12), (5, 7), {"stride": (2, 1), "padding": (2, 3)}),
    "5x4 over the end": ((8, 9), (5, 4), {"stride": 4, "padding": 1, "ceil_mode": True}),
    "window of all": ((4, 5), (4, 5), {}),
    "small window of all": ((3, 3), 3, {}),
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
def test_maximum_is_the_naive_one(on_device, case, dtype):
    size, window, options = case
    x = np.round(2 * images(size, dtype))  # with equals
    out, where = on_device.max_pool2d(x, window, **options)
    expected, places = reference.max_pool2d(x, window, **options)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(where, places)
    assert (out.dtype, where.dtype) == (dtype, np.int32)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_of_the_maximum_is_the_naive_one(device, case, dtype):
    """Whether or not it is told the windows."""
    size, window, options = case
    x = np.round(2 * images(size, dtype))
    out, where = reference.max_pool2d(x, window, **options)
    grad, where = images(out.shape[2:], dtype, 1), where.astype(np.int32)
    expected = reference.max_pool2d_backward(grad, where, x.shape)
    there = device.array(grad), device.array(where)
    is_close(kernels.max_pool2d_backward(*there, x.shape).get(), expected, dtype)
    found = kernels.max_pool2d_backward(*there, x.shape, kernel_size=window, **options)
    is_close(found.get(), expected, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_is_the_largest_and_padding_never(on_device, case, dtype):
    size, window, options = case
    x = images(size, dtype)
    x[np.random.default_rng(1).random(x.shape) < 0.1] = np.nan
    x[:, 1] = -np.inf
    out, where = on_device.max_pool2d(x, window, **options)
    expected, places = reference.max_pool2d(x, window, **options)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(where, places)


def test_nan_as_a_gradient_stays_where_it_belongs(device):
    size, window, options = (9, 9), 3, {"stride": 2, "padding": 1}
    x, grad = images(size, np.float32), images((5, 5), np.float32, 1)
    grad[0, 0, 2, 2], grad[1, 1, 0, 0] = np.nan, np.inf
    _, where = kernels.max_pool2d(x, window, **options)
    expected = kernels.max_pool2d_backward(grad, where, x.shape)
    there = device.array(grad), device.array(where)
    for named in ({}, {"kernel_size": window, **options}):
        found = kernels.max_pool2d_backward(*there, x.shape, **named).get()
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_gradients_from_places_that_are_none_go_nowhere(device):
    grad, where = np.ones((2, 3, 3, 4), np.float32), np.zeros((2, 3, 3, 4), np.int32)
    where[0] = [-1, 48, 2**31 - 1, -(2**31)]
    expected = np.zeros((2, 3, 6, 8), np.float32)
    expected[1, :, 0, 0] = 12
    there = device.array(grad), device.array(where)
    found = kernels.max_pool2d_backward(*there, expected.shape)
    np.testing.assert_array_equal(found.get(), expected)
    found = kernels.max_pool2d_backward(*there, expected.shape, kernel_size=2)
    expected[1, :, 0, 0] = 1  # of the only window that it is in
    np.testing.assert_array_equal(found.get(), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("padded", [True, False])
def test_mean_is_the_naive_one(on_device, case, padded, dtype):
    size, window, options = case
    options = {**options, "count_include_pad": padded}
    x = images(size, dtype)
    out = on_device.avg_pool2d(x, window, **options)
    is_close(out, reference.avg_pool2d(x, window, **options), dtype)
    grad = images(out.shape[2:], dtype, 1)
    is_close(
        on_device.avg_pool2d_backward(grad, x.shape, window, **options),
        reference.avg_pool2d_backward(grad, x.shape, window, **options),
        dtype,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(1, 1), (1, 3), (7, 7), (4, 4), (3, 11), (16, 20), (64, 65)])
def test_global_mean_is_the_naive_one(on_device, size, dtype):
    x = images(size, dtype)
    out = on_device.global_avg_pool2d(x)
    is_close(out, reference.global_avg_pool2d(x), dtype)
    is_close(
        on_device.global_avg_pool2d_backward(out, x.shape),
        reference.global_avg_pool2d_backward(out, x.shape),
        dtype,
    )


def test_results_go_where_they_are_asked_to(device):
    x = images((5, 6), np.float32)
    out, where = kernels.max_pool2d(x, 2)
    there = device.array(x)
    rooms = device.empty(out.shape, np.float32), device.empty(out.shape, np.int32)
    found = kernels.max_pool2d(there, 2, out=rooms[0], where=rooms[1])
    assert found[0] is rooms[0]
    assert found[1] is rooms[1]
    np.testing.assert_array_equal(rooms[0].get(), out)
    np.testing.assert_array_equal(rooms[1].get(), where)
    back, mean = device.empty(x.shape, np.float32), device.empty(x.shape[:2], np.float32)
    assert kernels.max_pool2d_backward(*rooms, x.shape, out=back) is back
    assert kernels.avg_pool2d_backward(rooms[0], x.shape, 2, out=back) is back
    assert kernels.avg_pool2d(there, 2, out=rooms[0]) is rooms[0]
    assert kernels.global_avg_pool2d(there, out=mean) is mean
    assert kernels.global_avg_pool2d_backward(mean, x.shape, out=back) is back
    is_close(mean.get(), x.mean((2, 3)), np.float32)


def test_arrays_may_begin_anywhere(device):
    x = np.random.default_rng(0).normal(size=(3, 1, 5, 5)).astype(np.float32)
    there = device.array(x)[1:]  # at a multiple of 4 bytes and no more
    out, where = kernels.max_pool2d(there, 2)
    np.testing.assert_array_equal(out.get(), kernels.max_pool2d(x[1:], 2)[0])
    np.testing.assert_array_equal(where.get(), kernels.max_pool2d(x[1:], 2)[1])
    is_close(kernels.global_avg_pool2d(there).get(), x[1:].mean((2, 3)), np.float32)
    grad = device.array(np.ones((9, 1), np.float32))[1:]
    found = kernels.global_avg_pool2d_backward(grad, (8, 1, 2, 2))
    np.testing.assert_array_equal(found.get(), np.full((8, 1, 2, 2), 0.25, np.float32))


def test_places_on_a_device_are_checked_for_what_is_known_of_them(device):
    shape, grad = (1, 1, 4, 4), device.array(np.ones((1, 1, 2, 2)))
    for where, error, message in (
        (np.zeros((1, 1, 2, 2)), TypeError, "`where` must be an array of int32, got float64"),
        (np.zeros((1, 1, 2, 1), np.int32), ValueError, r"`where` must be of shape \(1, 1, 2, 2\)"),
    ):
        with pytest.raises(error, match=message):
            kernels.max_pool2d_backward(grad, device.array(where), shape)
    where = device.array(np.zeros((1, 1, 2, 4), np.int32))[:, :, :, ::2]
    with pytest.raises(ValueError, match="`where` must be C-contiguous"):
        kernels.max_pool2d_backward(grad, where, shape)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", golden.cases(*NAMES))
def test_values_are_those_of_pytorch(on_device, name, dtype):
    golden.check(on_device, name, dtype)


@pytest.mark.parametrize(("dtype", "capability"), TARGETS)
@pytest.mark.parametrize(
    ("R", "stride", "rows", "leave"), [(2, 2, 2, False), (3, 2, 2, True), (3, 1, 4, True)]
)
def test_code_of_usual_windows_reads_all_before_it_writes(
    R, stride, rows, leave, dtype, capability, tmp_path
):
    dtype = np.dtype(dtype)
    window, loads = (R, R, stride, stride, rows, leave), R * ((rows - 1) * stride + R)
    for kernel in (pooling._max(dtype, *window), pooling._avg(dtype, *window)):
        code = machine_code(kernel, capability, tmp_path)
        assert code.registers <= 64
        assert code.count("LDG.E") == code.text.partition("STG.E")[0].count("LDG.E") == loads
        assert code.doubles == (dtype == np.float64)
    window = R, R, stride, stride, pooling._ROWS_OF_X
    for kernel in (
        pooling._max_backward(dtype, *window),
        pooling._avg_backward(dtype, *window, stride == 1),
    ):
        code = machine_code(kernel, capability, tmp_path)
        assert code.registers <= 64
        assert code.doubles == (dtype == np.float64)


@pytest.mark.parametrize(("dtype", "capability"), TARGETS)
def test_code_of_other_windows_and_of_planes_has_one_precision(dtype, capability, tmp_path):
    dtype = np.dtype(dtype)
    vectors = {
        pooling._mean_by_warps(dtype, True, 32): "LDG.E.128",
        pooling._mean_by_blocks(dtype, True): "LDG.E.128",
        pooling._spread(dtype, True): "STG.E.128",
    }
    for kernel in (
        *vectors,
        pooling._max_of_any(dtype),
        pooling._avg_of_any(dtype),
        pooling._avg_backward_of_any(dtype),
        pooling._scatter(dtype),
        pooling._mean_by_warps(dtype, False, 8),
        pooling._mean_by_blocks(dtype, False),
        pooling._spread(dtype, False),
    ):
        code = machine_code(kernel, capability, tmp_path)
        assert code.registers <= 64
        assert code.doubles == (dtype == np.float64)
        if kernel in vectors:
            assert code.count(vectors[kernel]) > 0
