"""Tiles of products: correlation and the gradient by weights, in each precision."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from fastopt.device.arrays import describe
from fastopt.kernels import reference
from fastopt.kernels.cuda import correlation, weight_gradient
from fastopt.kernels.cuda.correlation import Correlation
from fastopt.kernels.cuda.product import TILES, multiplication
from fastopt.kernels.cuda.weight_gradient import WeightGradient
from tests.kernels.cuda.compilation import CAPABILITIES, machine_code

ERRORS = {"ieee": 1e-6, "3xtf32": 1e-6, "tf32": 1e-3}
WAYS = [("float32", precision) for precision in ERRORS] + [("float64", "ieee")]
# N, C, H, W, K, R, S, stride, padding, dilation, groups
CASES = {
    "wide": (1, 3, 4, 8, 33, 3, 3, 1, 1, 1, 1),
    "odd": (2, 3, 5, 7, 6, 3, 2, 2, 1, 1, 1),
    "groups": (2, 4, 7, 6, 8, 3, 3, 1, 2, 2, 2),
    "points": (3, 20, 5, 7, 5, 1, 1, 1, 0, 1, 1),
}


def case_of(name, dtype):
    """Sizes of a convolution, arrays, and the options that the naive one takes."""
    N, C, H, W, K, R, S, stride, padding, dilation, groups = CASES[name]
    P = (H + 2 * padding - dilation * (R - 1) - 1) // stride + 1
    Q = (W + 2 * padding - dilation * (S - 1) - 1) // stride + 1
    c, k = C // groups, K // groups
    forward = Correlation(
        groups, k, c * R * S, N * P * Q, P * Q, Q,
        -padding, stride, -padding, stride,
        H, W, C * H * W, c * H * W, H * W, R * S, S, dilation, dilation,
        0, k * c * R * S, c * R * S, R * S, S, 1,
        0, K * P * Q, k * P * Q, P * Q, Q, 1,
    )  # fmt: skip
    backward = WeightGradient(
        groups, k, c * R * S, N * P * Q, P * Q, Q,
        -padding, stride, -padding, stride,
        H, W, C * H * W, c * H * W, H * W, R * S, S, dilation, dilation,
        K * P * Q, k * P * Q,
    )  # fmt: skip
    generator = np.random.default_rng(0)
    shapes = (N, C, H, W), (K, c, R, S), (K,), (N, K, P, Q)
    arrays = [generator.normal(size=shape).astype(dtype) for shape in shapes]
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return forward, backward, arrays, options


def assert_close(found, expected, precision):
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert error < (ERRORS[precision] if found.dtype == np.float32 else 1e-14)


@pytest.mark.parametrize(("dtype", "precision"), WAYS)
@pytest.mark.parametrize("tile", TILES, ids=lambda tile: tile.rows)
@pytest.mark.parametrize("name", CASES)
def test_correlation_is_the_naive_convolution(device, name, tile, dtype, precision):
    sizes, _, (x, weight, bias, grad), options = case_of(name, dtype)
    out = device.empty(grad.shape, dtype)
    there = [describe(device.array(each)) for each in (x, weight, bias)]
    correlation.correlate(sizes, *there, describe(out), tile, precision)
    expected = reference.conv2d(*(each.astype(float) for each in (x, weight, bias)), **options)
    assert_close(out.get(), expected, precision)


@pytest.mark.parametrize(("dtype", "precision"), WAYS)
@pytest.mark.parametrize("name", CASES)
def test_shares_of_a_correlation_add_up_to_it(device, name, dtype, precision):
    sizes, _, (x, weight, bias, grad), options = case_of(name, dtype)
    share = 16
    out = device.empty((-(-sizes.taps // share), *grad.shape), dtype)
    there = [describe(device.array(each)) for each in (x, weight, bias)]
    correlation.correlate(sizes, *there, describe(out), TILES[-1], precision, share)
    expected = reference.conv2d(*(each.astype(float) for each in (x, weight, bias)), **options)
    assert_close(out.get().sum(axis=0), expected, precision)


@pytest.mark.parametrize(("dtype", "precision"), WAYS)
@pytest.mark.parametrize("tile", TILES, ids=lambda tile: tile.rows)
@pytest.mark.parametrize("name", CASES)
def test_shares_of_the_gradient_by_weights_add_up_to_it(device, name, tile, dtype, precision):
    _, sizes, (x, weight, _, grad), options = case_of(name, dtype)
    share = 24  # no multiple of what some tiles take at a time
    shares = -(-sizes.pixels // share)
    out = device.empty((shares, *weight.shape), dtype)
    there = [describe(device.array(each)) for each in (x, grad)]
    weight_gradient.weight_gradient(sizes, tile, share, *there, describe(out), precision)
    expected = reference.conv2d_backward_weight(
        x.astype(float), grad.astype(float), weight.shape, **options
    )
    assert_close(out.get().sum(axis=0), expected, precision)


@pytest.mark.parametrize("precision", ["3xtf32", "tf32"])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_numbers_that_are_not_finite_do_not_vanish_in_tensor_cores(device, number, precision):
    sizes, _, (x, weight, bias, grad), _ = case_of("points", "float32")
    x[1, 2, 3, 4] = number
    out = device.empty(grad.shape, np.float32)
    there = [describe(device.array(each)) for each in (x, weight, bias)]
    correlation.correlate(sizes, *there, describe(out), TILES[-1], precision)
    finite = np.isfinite(out.get())
    assert not finite[1, :, 3, 4].any()
    finite[1, :, 3, 4] = True
    assert finite.all()


@pytest.mark.parametrize(("dtype", "precision"), WAYS)
@pytest.mark.parametrize("tile", TILES, ids=lambda tile: tile.rows)
def test_threads_of_a_block_have_each_sum_once(tile, dtype, precision):
    product = multiplication(tile, dtype, precision)
    places = {
        (row + i, column + j)
        for row, column in map(product.corner.py_func, range(tile.threads))
        for i in product.rows
        for j in product.columns
    }
    assert places == {(i, j) for i in range(tile.rows) for j in range(128)}
    assert len(product.rows) * len(product.columns) * tile.threads == len(places)


@pytest.mark.parametrize(("dtype", "precision"), WAYS)
@pytest.mark.parametrize("tile", TILES, ids=lambda tile: tile.rows)
@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.slow
def test_machine_code_keeps_sums_in_registers(tmp_path, capability, tile, dtype, precision):
    kernels = (
        correlation._kernel(tile, dtype, precision, True, True),
        correlation._kernel(tile, dtype, precision, False, False),
        correlation._kernel(tile, dtype, precision, True, True, True),
        correlation._kernel(tile, dtype, precision, False, False, True),
        weight_gradient._kernel(tile, dtype, precision),
    )
    for kernel in kernels:
        code = machine_code(kernel, capability, tmp_path)
        assert code.doubles == (dtype == "float64")
        assert (code.count("HMMA") > 0) == (precision != "ieee")
        assert code.count("LDS.128") >= 4
        if (dtype, precision) == ("float32", "ieee"):
            assert code.count("FFMA") >= 8 * tile.sums
            assert code.registers <= 128 or tile.threads < 256
    assert machine_code(kernels[0], capability, tmp_path).count("STG.E.128") > 0


def test_most_of_a_tile_is_multiplication(tmp_path):
    """A thread has eight products of each of its 64 sums; of the rest a warp in eight does some."""
    for kernel in (
        correlation._kernel(TILES[0], "float32", "ieee", True, True),
        weight_gradient._kernel(TILES[0], "float32", "ieee"),
    ):
        code = machine_code(kernel, (9, 0), tmp_path)
        assert code.count("FFMA") == 512
        assert code.longest_loop() <= 512 / 0.7
        assert code.registers <= 128
