"""float16 in inference: stored as such, computed in float32, and refused where it is not meant."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from fastopt import kernels
from fastopt.device.arrays import describe
from fastopt.kernels import reference
from fastopt.kernels.cuda import (
    activations,
    arithmetic,
    batchnorm_forward,
    correlation,
    depthwise,
    elementwise,
    linear,
    pooling,
    sums,
)
from fastopt.kernels.cuda.product import TILES

from .compilation import CAPABILITIES, machine_code

HALF = np.dtype(np.float16)
SHAPES = [(2, 5, 9, 8), (1, 3, 5, 7)]
PRODUCTS = ("ieee", "tf32")


def halves(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(HALF)


def floats(n, seed=0):
    return np.random.default_rng([seed, n]).uniform(0.5, 1.5, n).astype(np.float32)


def wide(*arrays):
    return [array.astype(np.float64) for array in arrays]


def assert_rounded_once(got, expected, size=None):
    """Half a unit in the last place of float16, and roundings of float32.

    `size` is the sum of the absolute values of what is summed, by default the result's.
    """
    assert got.dtype == HALF
    size = np.abs(expected) if size is None else size
    unit = np.spacing(np.abs(expected).astype(HALF)).astype(np.float64)
    error = np.abs(got.astype(np.float64) - expected)
    assert np.all(error <= unit / 2 + 64 * np.finfo(np.float32).eps * size)


# --- results -------------------------------------------------------------------------------------


@pytest.mark.parametrize("skipped", [0, 1, 4])
@pytest.mark.parametrize("n", [1, 7, 2051])
def test_elementwise_functions_are_rounded_once_wherever_arrays_begin(device, n, skipped):
    a, b = halves(skipped + n), halves(skipped + n, seed=1)
    on_device = [device.array(each)[skipped:] for each in (a, b)]
    a, b = wide(a[skipped:], b[skipped:])
    assert_rounded_once(kernels.relu(on_device[0]).get(), reference.relu(a))
    assert_rounded_once(kernels.leaky_relu(on_device[0], 0.3).get(), reference.leaky_relu(a, 0.3))
    assert_rounded_once(kernels.add(*on_device).get(), reference.add(a, b))
    assert_rounded_once(kernels.add_relu(*on_device).get(), reference.add_relu(a, b))


def test_results_may_take_the_place_of_arguments(device):
    a, b = halves(1030), halves(1030, seed=1)
    for function in (kernels.relu, kernels.leaky_relu):
        x = device.array(a)
        assert function(x, out=x) is x
        np.testing.assert_array_equal(x.get(), function(device.array(a)).get())
    x, y = device.array(a), device.array(b)
    assert_rounded_once(kernels.add(x, y, out=y).get(), np.add(*wide(a, b)))
    x = halves(2, 3, 4, 8)
    vectors = [device.array(floats(3, seed)) for seed in range(4)]
    expected = kernels.batchnorm_forward(device.array(x), *vectors, training=False)[0].get()
    x = device.array(x)
    kernels.batchnorm_forward(x, *vectors, training=False, out=x)
    np.testing.assert_array_equal(x.get(), expected)


def test_infinity_nan_and_the_smallest_numbers_are_kept(on_device):
    x = np.array([np.inf, -np.inf, np.nan, 2.0**-24, -(2.0**-24), 65504, 0], HALF)
    np.testing.assert_array_equal(on_device.relu(x), np.where(x <= 0, HALF.type(0), x))
    with np.errstate(over="ignore", invalid="ignore"):
        np.testing.assert_array_equal(on_device.add(x, x), x + x)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("window", [(2, {}), (3, {"stride": 2, "padding": 1}), (5, {"stride": 1})])
def test_pooling_is_rounded_once(on_device, shape, window):
    size, options = window
    x = halves(*shape)
    out, where = on_device.max_pool2d(x, size, **options)
    expected, places = kernels.max_pool2d(x.astype(np.float64), size, **options)
    assert out.dtype == HALF
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(where, places)
    out = on_device.avg_pool2d(x, size, **options)
    means = [kernels.avg_pool2d(each, size, **options) for each in wide(x, np.abs(x))]
    assert_rounded_once(out, *means)


@pytest.mark.parametrize("shape", [*SHAPES, (2, 2, 1, 4), (1, 2, 65, 64)])
def test_means_of_planes_are_rounded_once(on_device, shape):
    x = halves(*shape)
    expected = [reference.global_avg_pool2d(each) for each in wide(x, np.abs(x))]
    assert_rounded_once(on_device.global_avg_pool2d(x), *expected)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", [*SHAPES, (3, 6), (2, 3, 20)])
def test_batchnorm_in_inference_has_parameters_of_float32(on_device, shape, relu):
    x = halves(*shape)
    vectors = [floats(shape[1], seed) for seed in range(4)]
    out, saved = on_device.batchnorm_forward(x, *vectors, training=False, relu=relu)
    expected, _ = reference.batchnorm_forward(x, *vectors, training=False, relu=relu)
    assert_rounded_once(out, expected, 8 * (1 + np.abs(x.astype(np.float64))))
    assert saved.dtype == np.float64
    np.testing.assert_array_equal(saved, vectors[2:])
    alone, _ = on_device.batchnorm_forward(x, None, None, *vectors[2:], training=False)
    expected, _ = reference.batchnorm_forward(x, None, None, *vectors[2:], training=False)
    assert_rounded_once(alone, expected, 8 * (1 + np.abs(x.astype(np.float64))))


CONVOLUTIONS = {
    "a tile": ((2, 5, 9, 8), (16, 5, 3, 3), {"padding": 1}),
    "strides and groups": ((1, 26, 7, 6), (26, 13, 3, 2), {"stride": 2, "groups": 2}),
    "shares of taps": ((1, 64, 4, 4), (16, 64, 3, 3), {}),
    "shares that do not come by fours": ((1, 64, 5, 5), (15, 64, 3, 3), {}),
    "depthwise": ((2, 5, 9, 8), (5, 1, 3, 3), {"groups": 5, "padding": 1}),
    "dilation, and sides that differ": (
        (2, 3, 8, 11), (9, 3, 3, 2), {"dilation": (2, 3), "padding": ((2, 1), (0, 3))},
    ),
}  # fmt: skip


@pytest.mark.parametrize("precision", PRODUCTS)
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolution_sums_in_float32(on_device, case, biased, precision):
    shape, weight_shape, options = CONVOLUTIONS[case]
    x, weight = halves(*shape), halves(*weight_shape)
    bias = halves(weight_shape[0]) if biased else None
    out = on_device.conv2d(x, weight, bias, precision=precision, **options)
    absolute = np.abs(x), np.abs(weight), None if bias is None else np.abs(bias)
    expected = reference.conv2d(x, weight, bias, **options)
    assert_rounded_once(out, expected, reference.conv2d(*absolute, **options))


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_arrays_of_a_convolution_may_begin_anywhere(device, case):
    shape, weight_shape, options = CONVOLUTIONS[case]
    arrays = halves(*shape), halves(*weight_shape)
    moved = [at_one(device, each) for each in arrays]
    expected = kernels.conv2d(*map(device.array, arrays), **options).get()
    out = at_one(device, np.zeros_like(expected))
    kernels.conv2d(*moved, **options, out=out)
    np.testing.assert_array_equal(out.owner.get()[1:].reshape(out.shape), expected)


def at_one(device, values):
    """An array of a device that begins at an odd element."""
    flat = device.array(np.concatenate([np.zeros(1, HALF), values.ravel()]))
    return describe(flat).part(1, values.shape)


def test_convolution_of_series_takes_float16(on_device):
    x, weight = halves(2, 4, 19), halves(13, 4, 3)
    expected = reference.conv1d(x, weight, padding=1)
    size = reference.conv1d(np.abs(x), np.abs(weight), padding=1)
    assert_rounded_once(on_device.conv1d(x, weight, padding=1), expected, size)


def test_convolution_has_a_workspace_of_float32(device):
    shape, weight_shape, _ = CONVOLUTIONS["shares of taps"]
    size = kernels.conv2d_workspace(shape, weight_shape, dtype=HALF, device="cuda")
    assert size > 0
    x, weight = device.array(halves(*shape)), device.array(halves(*weight_shape))
    out = kernels.conv2d(x, weight, workspace=device.empty((size,), np.float32))
    np.testing.assert_array_equal(out.get(), kernels.conv2d(x, weight).get())
    with pytest.raises(TypeError, match="`workspace` must be of dtype float32, got float16"):
        kernels.conv2d(x, weight, workspace=device.empty((size,), HALF))


@pytest.mark.parametrize("precision", PRODUCTS)
@pytest.mark.parametrize("skipped", [0, 1])
@pytest.mark.parametrize(
    "sizes", [(3, 40, 7), (40, 16, 3), (33, 36, 132), (4, 300, 20), (3, 301, 21), (70, 300, 3)]
)
def test_linear_sums_in_float32(device, sizes, skipped, precision):
    N, C, K = sizes
    x, weight, bias = halves(N, C), halves(K, C), halves(K)
    moved = [
        device.array(np.concatenate([np.zeros((skipped, C), HALF), each]))[skipped:]
        for each in (x, weight)
    ]
    for each in (None, bias):
        added = None if each is None else device.array(each)
        size = reference.linear(*map(np.abs, (x, weight, np.zeros(K) if each is None else each)))
        out = kernels.linear(*moved, added, precision=precision).get()
        assert_rounded_once(out, reference.linear(x, weight, each), size)


# --- what is refused -----------------------------------------------------------------------------

X, WEIGHT, MATRIX = halves(2, 4, 6, 6), halves(3, 4, 3, 3), halves(5, 4)
ONES = np.ones(4, np.float32)
COVERED = {
    "relu": lambda k: k.relu(X),
    "leaky_relu": lambda k: k.leaky_relu(X),
    "add": lambda k: k.add(X, X),
    "add_relu": lambda k: k.add_relu(X, X),
    "max_pool2d": lambda k: k.max_pool2d(X, 2),
    "avg_pool2d": lambda k: k.avg_pool2d(X, 2),
    "global_avg_pool2d": lambda k: k.global_avg_pool2d(X),
    "batchnorm_forward": lambda k: k.batchnorm_forward(X, None, None, ONES, ONES, False),
    "conv2d": lambda k: k.conv2d(X, WEIGHT),
    "conv1d": lambda k: k.conv1d(X[0], WEIGHT[0]),
    "linear": lambda k: k.linear(MATRIX, MATRIX),
}
OTHERS = {
    "relu_backward": lambda k: k.relu_backward(X, X),
    "leaky_relu_backward": lambda k: k.leaky_relu_backward(X, X),
    "sigmoid": lambda k: k.sigmoid(X),
    "sigmoid_backward": lambda k: k.sigmoid_backward(X, X),
    "tanh": lambda k: k.tanh(X),
    "tanh_backward": lambda k: k.tanh_backward(X, X),
    "softmax": lambda k: k.softmax(MATRIX),
    "softmax_backward": lambda k: k.softmax_backward(MATRIX, MATRIX),
    "concatenate": lambda k: k.concatenate([X, X]),
    "split": lambda k: k.split(X, [2, 2]),
    "max_pool2d_backward": lambda k: k.max_pool2d_backward(
        X, np.zeros(X.shape, np.int32), X.shape, kernel_size=1
    ),
    "avg_pool2d_backward": lambda k: k.avg_pool2d_backward(X, X.shape, 1),
    "global_avg_pool2d_backward": lambda k: k.global_avg_pool2d_backward(MATRIX, (5, 4, 2, 2)),
    "batchnorm in training": lambda k: k.batchnorm_forward(X),
    "batchnorm_backward": lambda k: k.batchnorm_backward(
        X, X, None, None, training=False, running_mean=ONES, running_var=ONES
    ),
    "conv2d_backward_data": lambda k: k.conv2d_backward_data(X, halves(4, 4, 1, 1), X.shape),
    "conv2d_backward_weight": lambda k: k.conv2d_backward_weight(X, X, (4, 4, 1, 1)),
    "conv2d_backward_bias": lambda k: k.conv2d_backward_bias(X),
    "conv1d_backward_data": lambda k: k.conv1d_backward_data(X[0], halves(6, 6, 1), X[0].shape),
    "conv1d_backward_weight": lambda k: k.conv1d_backward_weight(X[0], X[0], (6, 6, 1)),
    "conv1d_backward_bias": lambda k: k.conv1d_backward_bias(X[0]),
    "linear_backward_data": lambda k: k.linear_backward_data(MATRIX, halves(4, 4)),
    "linear_backward_weight": lambda k: k.linear_backward_weight(MATRIX, MATRIX),
    "linear_backward_bias": lambda k: k.linear_backward_bias(MATRIX),
    "dropout": lambda k: k.dropout(X, 0.5, seed=0),
    "mse_loss": lambda k: k.mse_loss(MATRIX, MATRIX),
    "l1_loss": lambda k: k.l1_loss(MATRIX, MATRIX),
    "smooth_l1_loss": lambda k: k.smooth_l1_loss(MATRIX, MATRIX),
    "binary_cross_entropy": lambda k: k.binary_cross_entropy(MATRIX, MATRIX),
    "multilabel": lambda k: k.multilabel(MATRIX, MATRIX),
    "softmax_cross_entropy": lambda k: k.softmax_cross_entropy(MATRIX, np.zeros(5, np.int64)),
}
REFUSED = "must be of dtype float32 or float64, got float16, which is for "


def test_all_functions_of_arrays_are_here():
    others = {"conv2d_workspace", "get_num_threads", "set_num_threads"}
    assert {*COVERED, *OTHERS} - {"batchnorm in training"} == {*kernels.__all__} - others


@pytest.mark.parametrize("name", [*COVERED, *OTHERS])
def test_the_cpu_refuses_float16(name):
    with pytest.raises(TypeError, match=f"{REFUSED}inference on a GPU"):
        ({**COVERED, **OTHERS})[name](kernels)


@pytest.mark.parametrize("name", OTHERS)
def test_a_gpu_refuses_float16_where_it_is_not_inference(on_device, name):
    with pytest.raises(TypeError, match=f"{REFUSED}some functions of inference on a GPU"):
        OTHERS[name](on_device)


def test_arrays_of_other_dtypes_beside_float16_are_refused(on_device):
    with pytest.raises(TypeError, match="`weight` must be of dtype float16 as `x` is"):
        on_device.conv2d(X, WEIGHT.astype(np.float32))
    with pytest.raises(TypeError, match="`weight` must be of dtype float32 as `x` is, got float16"):
        on_device.linear(MATRIX.astype(np.float32), MATRIX)
    running = halves(4), halves(4)
    with pytest.raises(TypeError, match="`running_mean` must be of dtype float32, got float16"):
        on_device.batchnorm_forward(X, None, None, *running, training=False)
    with pytest.raises(TypeError, match="`out` must be of dtype float16"):
        on_device.relu(X, out=np.empty(X.shape, np.float32))
    with pytest.raises(ValueError, match="`precision` must be 'ieee' or 'tf32' for float16"):
        on_device.conv2d(X, WEIGHT, precision="3xtf32")


# --- machine code --------------------------------------------------------------------------------


def _wide_side():
    return linear._Side(True, True)


# A kernel of a dtype, and what it reads by fours.
KERNELS = {
    "of one": (lambda t: elementwise._of_one(activations._relu, np.dtype(t), True), 2),
    "of two": (lambda t: elementwise._of_two(arithmetic._sum, np.dtype(t), True), 4),
    "batchnorm": (lambda t: batchnorm_forward.inference_kernel(t, 4, True), 4),
    "means by warps": (lambda t: pooling._mean_by_warps(np.dtype(t), True, 32), 1),
    "means by blocks": (lambda t: pooling._mean_by_blocks(np.dtype(t), True), 1),
    "maximum": (lambda t: pooling._max(np.dtype(t), 3, 3, 2, 2, 2, True), 0),
    "mean": (lambda t: pooling._avg(np.dtype(t), 3, 3, 2, 2, 2, True), 0),
    **{
        f"convolution, {tile.rows} rows, {precision}": (
            lambda t, tile=tile, precision=precision: correlation._kernel(
                tile, t, precision, True, True
            ),
            0,
        )
        for tile in TILES
        for precision in PRODUCTS
    },
    "shares of taps": (lambda t: correlation._kernel(TILES[1], t, "ieee", True, True, True), 0),
    **{
        f"linear, {precision}": (
            lambda t, precision=precision: linear._product_kernel(
                TILES[0], t, precision, _wide_side(), _wide_side(), True, False, True
            ),
            2,
        )
        for precision in PRODUCTS
    },
    "depthwise": (lambda t: depthwise._kernel(t, depthwise.Shape(8, 1, 3, 1), True), 0),
    "sums of shares": (lambda t: sums._adding_kernel(t, 8), 0),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("name", KERNELS)
def test_code_computes_in_float32_and_reads_four_numbers_at_once(name, capability, tmp_path):
    make, vectors = KERNELS[name]
    code = machine_code(make("float16"), capability, tmp_path)
    assert code.count("LDG.E.64") >= vectors
    assert not code.doubles or name == "batchnorm"  # whose factors are
    assert code.registers <= 255
    assert make("float16").blocks == make("float32").blocks
