"""Convolution on a GPU, as users call it, against the reference; and its plans."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from fastopt import kernels
from fastopt.kernels import convolution, reference
from fastopt.kernels.cuda import convolution as plans
from fastopt.kernels.cuda.product import TILES
from fastopt.kernels.geometry import ConvGeometry

from ..calls import CALLS, arguments

DTYPES = ["float32", "float64"]

# input shape, weight shape, options; more than twelve channels are for tiles, in both directions
CASES = {
    "tiles": ((1, 13, 3, 4), (14, 13, 2, 2), {"padding": 1}),
    "tiles, 1x1": ((2, 14, 4, 5), (13, 14, 1, 1), {}),
    "tiles, stored by fours": ((1, 13, 2, 8), (13, 13, 1, 1), {}),
    "tiles, stride": ((1, 13, 5, 6), (13, 13, 2, 3), {"stride": 2, "padding": 1}),
    "tiles, stride beyond the window": ((2, 13, 5, 7), (13, 13, 1, 1), {"stride": (2, 3)}),
    "tiles, dilation": ((1, 13, 5, 6), (13, 13, 2, 2), {"stride": (2, 1), "dilation": (3, 2)}),
    "tiles, groups": ((1, 26, 3, 3), (26, 13, 2, 1), {"groups": 2, "padding": (1, 0)}),
    "tiles, taps in shares": ((1, 40, 3, 3), (40, 40, 3, 3), {"padding": 1}),
    "few to many": ((1, 2, 5, 6), (13, 2, 3, 3), {"stride": 2, "padding": 1}),
    "one of all": ((1, 1, 1, 1), (1, 1, 1, 1), {}),
    "3x3": ((2, 3, 5, 7), (4, 3, 3, 3), {"padding": 1}),
    "window of the image's size": ((2, 3, 4, 5), (2, 3, 4, 5), {}),
    "stride": ((1, 2, 7, 8), (3, 2, 3, 3), {"stride": (2, 3), "padding": (1, 0)}),
    "stride beyond the window": ((1, 2, 7, 8), (3, 2, 2, 2), {"stride": (3, 4)}),
    "dilation": ((1, 2, 8, 9), (3, 2, 3, 3), {"dilation": (2, 3), "padding": 2}),
    "stride and dilation": ((1, 2, 9, 8), (2, 2, 3, 3), {"stride": (4, 3), "dilation": (2, 3)}),
    "uneven padding": ((1, 3, 4, 5), (2, 3, 3, 3), {"padding": ((2, 0), (1, 3))}),
    "padding alone is seen": ((1, 2, 2, 2), (3, 2, 2, 2), {"padding": 3, "stride": 2}),
    "same": ((1, 2, 5, 6), (3, 2, 4, 5), {"padding": "same", "dilation": (1, 2)}),
    "large window": ((1, 2, 12, 11), (2, 2, 9, 8), {"stride": 2, "padding": 2}),
    "groups": ((1, 6, 4, 5), (4, 3, 3, 3), {"groups": 2, "padding": 1}),
}
SERIES = {
    "plain": ((2, 3, 9), (2, 3, 3), {}),
    "all options": ((2, 4, 11), (6, 2, 3), {"stride": 2, "padding": (2, 1), "dilation": 2,
                                             "groups": 2}),
    "tiles": ((1, 13, 7), (13, 13, 3), {"padding": "same"}),
    "depthwise": ((2, 4, 12), (4, 1, 5), {"groups": 4, "padding": 2}),
}  # fmt: skip
RECORD = json.loads((Path(__file__).parents[1] / "pytorch.json").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def plans_are_made_anew():
    """Some tests change what they are made with."""
    convolution._kept_plan.cache_clear()
    yield
    convolution._kept_plan.cache_clear()


def arrays(case, dtype):
    """x, weight, bias and a gradient in the result."""
    input_shape, weight_shape, options = case
    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(shape) for shape in (input_shape, weight_shape))
    bias = rng.standard_normal(weight_shape[0])
    convolve = reference.conv2d if x.ndim == 4 else reference.conv1d
    grad = rng.standard_normal(convolve(x, weight, **options).shape)
    return [array.astype(dtype) for array in (x, weight, bias, grad)]


def assert_close(got, function, *operands, **options):
    """To some roundings of the sum of all terms' sizes."""
    expected = function(*operands, **options)
    sizes = function(*(abs(a) if isinstance(a, np.ndarray) else a for a in operands), **options)
    assert got.shape == expected.shape
    assert got.dtype == operands[0].dtype
    assert (abs(got - expected) <= 16 * np.finfo(got.dtype).eps * sizes).all()


def assert_all_passes_agree(k, case, dtype):
    input_shape, weight_shape, options = case
    x, weight, bias, grad = arrays(case, dtype)
    axes = "2d" if x.ndim == 4 else "1d"
    forward, data, weights, biases = (
        f"conv{axes}{name}" for name in ("", "_backward_data", "_backward_weight", "_backward_bias")
    )
    right = reference
    got = getattr(k, forward)(x, weight, bias, **options)
    assert_close(got, getattr(right, forward), x, weight, bias, **options)
    got = getattr(k, data)(grad, weight, input_shape, **options)
    assert_close(got, getattr(right, data), grad, weight, input_shape, **options)
    got = getattr(k, weights)(x, grad, weight_shape, **options)
    assert_close(got, getattr(right, weights), x, grad, weight_shape, **options)
    got = getattr(k, biases)(grad)
    assert_close(got, getattr(right, biases), grad)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_images_agree_with_the_reference(on_device, case, dtype):
    assert_all_passes_agree(on_device, case, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SERIES.values(), ids=SERIES)
def test_series_agree_with_the_reference(on_device, case, dtype):
    assert_all_passes_agree(on_device, case, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "name", [name for name, case in RECORD["cases"].items() if case["kernel"].startswith("conv")]
)
def test_convolution_is_that_of_pytorch(on_device, name, dtype):
    case = RECORD["cases"][name]
    found = CALLS[case["kernel"]](on_device, **arguments(case, dtype))
    for output, expected in case["outputs"].items():
        scale = np.max(np.abs(expected), initial=1.0)
        bound = 20 * np.finfo(dtype).eps * scale
        np.testing.assert_allclose(found[output], expected, rtol=0, atol=bound)


@pytest.mark.parametrize("tile", TILES, ids=lambda tile: f"{tile.rows} rows")
def test_each_tile_does_all_passes(on_device, monkeypatch, tile):
    monkeypatch.setattr(plans, "TILES", (tile,))
    assert_all_passes_agree(on_device, CASES["tiles, stored by fours"], np.float32)


@pytest.mark.parametrize("case", [CASES["tiles"], CASES["tiles, stored by fours"], CASES["3x3"]])
def test_arrays_may_begin_anywhere(device, case):
    input_shape, weight_shape, options = case
    x, weight, bias, grad = arrays(case, np.float32)

    def moved(array):
        return device.array(np.concatenate([np.zeros((1, *array.shape), array.dtype), [array]]))[1]

    def room(shape):
        flat = device.empty((1 + int(np.prod(shape)),), np.float32)[1:]
        return flat.reshape(shape) if hasattr(flat, "reshape") else flat

    there = [moved(each) for each in (x, weight, bias, grad)]
    size = kernels.conv2d_workspace(input_shape, weight_shape, device="cuda", **options)
    workspace = {"workspace": device.empty((size + 1,), np.float32)[1:]} if size else {}
    x_there, weight_there, bias_there, grad_there = there
    got = kernels.conv2d(x_there, weight_there, bias_there, **options)
    assert_close(got.get(), reference.conv2d, x, weight, bias, **options)
    got = kernels.conv2d_backward_weight(x_there, grad_there, weight_shape, **options, **workspace)
    assert_close(got.get(), reference.conv2d_backward_weight, x, grad, weight_shape, **options)
    got = kernels.conv2d_backward_bias(grad_there)
    assert_close(got.get(), reference.conv2d_backward_bias, grad)


@pytest.mark.parametrize("case", [CASES["tiles"], CASES["3x3"]])
def test_results_go_where_they_are_wanted(device, case):
    input_shape, weight_shape, options = case
    x, weight, bias, grad = arrays(case, np.float32)
    there = [device.array(each) for each in (x, weight, bias, grad)]
    out = [device.empty(each.shape, np.float32) for each in (grad, x, weight, bias)]
    size = kernels.conv2d_workspace(input_shape, weight_shape, device="cuda", **options)
    room = {"workspace": device.empty((max(1, size),), np.float32)}
    results = (
        kernels.conv2d(there[0], there[1], there[2], out=out[0], **room, **options),
        kernels.conv2d_backward_data(
            there[3], there[1], input_shape, out=out[1], **room, **options
        ),
        kernels.conv2d_backward_weight(
            there[0], there[3], weight_shape, out=out[2], **room, **options
        ),
        kernels.conv2d_backward_bias(there[3], out=out[3]),
    )
    assert all(result is given for result, given in zip(results, out, strict=True))
    assert all(np.isfinite(given.get()).all() for given in out)
    for before, after in zip((x, weight, bias, grad), there, strict=True):
        np.testing.assert_array_equal(after.get(), before)


@pytest.mark.parametrize("case", [CASES["tiles"], CASES["3x3"], CASES["groups"]])
def test_a_second_run_gives_the_same_bits(on_device, case):
    input_shape, weight_shape, options = case
    x, weight, bias, grad = arrays(case, np.float32)
    one, other = (
        (
            on_device.conv2d(x, weight, bias, **options),
            on_device.conv2d_backward_data(grad, weight, input_shape, **options),
            on_device.conv2d_backward_weight(x, grad, weight_shape, **options),
            on_device.conv2d_backward_bias(grad),
        )
        for _ in range(2)
    )
    for first, second in zip(one, other, strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_not_a_number_spreads_to_the_results_that_see_it_and_no_further(on_device):
    for channels in (3, 13):
        x, weight = np.ones((2, channels, 4, 5), "f4"), np.ones((channels, channels, 3, 3), "f4")
        x[1, 2, 0, 4] = np.nan
        out = on_device.conv2d(x, weight, padding=1)
        sees = np.zeros(out.shape, bool)
        sees[1, :, :2, 3:] = True
        np.testing.assert_array_equal(np.isnan(out), sees)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda there, here: kernels.conv2d(there["x"], here["weight"]),
            TypeError,
            "`weight` must be on the GPU as other arrays are",
        ),
        (
            lambda there, here: kernels.conv2d(there["x"], there["weight"], out=here["out"]),
            TypeError,
            "`out` must be on the GPU",
        ),
        (
            lambda there, here: kernels.conv2d(there["x"], there["weight"], precision="fp16"),
            ValueError,
            "`precision` must be 'ieee', '3xtf32' or 'tf32', got 'fp16'",
        ),
        (
            lambda there, here: kernels.conv2d(there["x"], there["weight"], precision="tf32"),
            ValueError,
            "`precision` must be 'ieee' for float64, got 'tf32'",
        ),
        (
            lambda there, here: kernels.conv2d(here["x"], here["weight"], precision="tf32"),
            ValueError,
            "`precision` must be 'ieee' on the CPU, got 'tf32'",
        ),
        (
            lambda there, here: kernels.conv2d(here["x"], here["weight"], stream=0),
            TypeError,
            "`stream` must be None where no array is on a GPU",
        ),
        (
            lambda there, here: kernels.conv2d(there["x"], there["weight"], out=there["x"]),
            ValueError,
            "`out` must be of shape",
        ),
        (
            lambda there, here: kernels.conv2d_backward_weight(
                there["x"], there["out"], (2, 3, 2, 2), workspace=there["x"]
            ),
            ValueError,
            r"`workspace` must be of shape \(n,\)",
        ),
        (
            lambda there, here: kernels.conv2d(there["x"], there["weight"], padding=2**30),
            ValueError,
            "windows must lie within 536870912 of them",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_a_sentence(device, call, error, message):
    here = {
        "x": np.zeros((1, 3, 4, 4)),
        "weight": np.zeros((2, 3, 2, 2)),
        "out": np.zeros((1, 2, 3, 3)),
    }
    there = {name: device.array(each) for name, each in here.items()}
    with pytest.raises(error, match=message):
        call(there, here)


def test_a_workspace_has_to_be_of_the_size_that_is_told(device):
    shapes = (1, 40, 9, 9), (40, 40, 1, 1)
    size = kernels.conv2d_workspace(*shapes, device="cuda")
    assert size > 0
    x = device.empty(shapes[0], np.float32)
    with pytest.raises(ValueError, match=f"must have at least {size} elements, got {size - 1}"):
        kernels.conv2d_backward_weight(
            x, x, shapes[1], workspace=device.empty((size - 1,), np.float32)
        )
    with pytest.raises(ValueError, match="`device` must be 'cpu' or 'cuda', got 'gpu'"):
        kernels.conv2d_workspace(*shapes, device="gpu")


# --- plans ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pad", [0, 1, 3, 7])
@pytest.mark.parametrize("stride", [1, 2, 3, 4, 6])
def test_classes_are_the_places_that_windows_see(stride, pad):
    for length, window, dilation in itertools.product((1, 2, 5, 12), (1, 2, 3, 5), (1, 2, 3, 4)):
        expected = {
            (position * stride + tap * dilation - pad, tap, position)
            for position in range(-20, 20)
            for tap in range(window)
            if 0 <= position * stride + tap * dilation - pad < length
        }
        found = {
            (
                each.start + i * stride,
                each.tap + j * each.tap_step,
                each.place + i + j * each.place_step,
            )
            for each in plans._classes(length, window, stride, pad, dilation)
            for i in range(each.count)
            for j in range(each.taps)
        }
        assert found == expected, (length, window, dilation)


def test_tiles_are_as_large_as_there_is_work_for():
    def rows(N, C, size, K, dtype="float32"):
        plan = plans.Convolution(ConvGeometry(N, C, size, size, K, 1, 1), dtype)
        return plan._forward._tile.rows

    assert rows(64, 128, 56, 128) == 128
    assert rows(64, 128, 56, 64) == 64
    assert rows(64, 128, 56, 24) == 32
    assert rows(1, 128, 14, 128) == 32
    assert rows(64, 128, 56, 128, "float64") == 64


def test_taps_are_shared_out_where_pixels_are_few():
    def plan(N, size, stride=1):
        geometry = ConvGeometry(
            N, 512, size, size, 512, 3, 3, (stride, stride), padding=((1, 1), (1, 1))
        )
        return plans.Convolution(geometry, "float32")

    for few in (plan(1, 7), plan(32, 7)):
        assert few._forward._shares > 1
        assert few._backward_data[0]._shares > 1
        assert few.forward_workspace == few._forward._shares * math.prod(few.geometry.output_shape)
    many = plan(32, 56)
    assert many.forward_workspace == many.data_workspace == 0
    # Several launches fill the result together.
    assert plan(1, 7, stride=2).data_workspace == 0


@pytest.mark.parametrize("size", [7, 14, 56, 112])
def test_shares_of_pixels_keep_all_multiprocessors_busy(size):
    geometry = ConvGeometry(32, 64, size, size, 64, 3, 3, padding=((1, 1), (1, 1)))
    plan = plans.Convolution(geometry, "float32")._gradient_in_weight
    blocks = plan._shares * -(-64 // plan._tile.rows) * -(-64 * 9 // 128)
    assert blocks >= 120
    assert plan._share % 8 == 0
