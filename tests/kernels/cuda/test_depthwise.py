"""Convolution on a GPU with few channels in a group."""

import doctest

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from fastopt.kernels import convolution
from fastopt.kernels.cuda import convolution as plans
from fastopt.kernels.cuda import depthwise, division
from fastopt.kernels.geometry import ConvGeometry

from .compilation import CAPABILITIES, machine_code
from .test_convolution import DTYPES, assert_all_passes_agree

# input shape, weight shape, options
CASES = {
    "3x3": ((2, 3, 9, 7), (3, 1, 3, 3), {"padding": 1}),
    "3x3, stride": ((1, 3, 10, 7), (3, 1, 3, 3), {"padding": 1, "stride": 2}),
    "5x5": ((1, 2, 10, 6), (2, 1, 5, 5), {"padding": 2}),
    "7x7": ((1, 2, 9, 8), (2, 1, 7, 7), {"padding": 3}),
    "7x7, stride": ((1, 2, 9, 8), (2, 1, 7, 7), {"padding": 3, "stride": 2}),
    "1x1": ((1, 3, 9, 4), (3, 1, 1, 1), {}),
    "several kernels": ((1, 2, 9, 6), (6, 1, 3, 5), {"stride": (2, 1)}),
    "uneven padding": ((1, 2, 7, 6), (4, 1, 3, 4), {"padding": ((0, 3), (2, 1))}),
    "uneven padding, stride": ((1, 2, 7, 6), (2, 1, 4, 3), {"padding": ((2, 0), (1, 3)),
                                                            "stride": (3, 2)}),
    "dilation": ((1, 2, 9, 8), (2, 1, 3, 3), {"dilation": (2, 3), "padding": 2}),
    "stride and dilation": ((1, 2, 9, 8), (2, 1, 3, 3), {"dilation": 2, "stride": (2, 3),
                                                         "padding": 2}),
    "stride beyond the window": ((1, 2, 9, 8), (2, 1, 2, 1), {"stride": (3, 4)}),
    "stride of many rows": ((1, 2, 19, 4), (2, 1, 3, 2), {"stride": (9, 3)}),
    "large window": ((1, 2, 12, 11), (2, 1, 9, 10), {"padding": 1}),
    "channels in groups": ((1, 8, 6, 5), (12, 4, 3, 3), {"groups": 2, "padding": 1}),
    "three channels": ((1, 3, 6, 5), (6, 3, 3, 3), {"stride": 2, "padding": 1}),
}  # fmt: skip


def case_of(name):
    input_shape, weight_shape, options = CASES[name]
    return input_shape, weight_shape, {"groups": input_shape[1] // weight_shape[1], **options}


@pytest.fixture(params=["many", "few"], ids=lambda count: f"{count} results")
def results_of_a_thread(request, monkeypatch):
    """As of large arrays, and of small ones."""
    convolution._kept_plan.cache_clear()
    if request.param == "many":
        monkeypatch.setattr(depthwise, "_BUSY", 1)
    yield
    convolution._kept_plan.cache_clear()


@pytest.mark.usefixtures("results_of_a_thread")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_all_passes_agree_with_the_reference(on_device, name, dtype):
    assert_all_passes_agree(on_device, case_of(name), dtype)


def test_the_sums_of_blocks_are_added_up(on_device, monkeypatch):
    monkeypatch.setattr(depthwise, "_LEAST_ITEMS", 1)
    convolution._kept_plan.cache_clear()
    case = (4, 2, 1, 150), (2, 1, 1, 3), {"groups": 2, "padding": (0, 1)}
    geometry = ConvGeometry(4, 2, 1, 150, 2, 1, 3, padding=((0, 0), (1, 1)), groups=2)
    assert plans.Convolution(geometry, "float32").workspace > 0
    assert_all_passes_agree(on_device, case, np.float32)


def test_a_stride_takes_one_launch(device):
    geometry = ConvGeometry(1, 2, 9, 8, 2, 3, 3, (2, 2), ((1, 1), (1, 1)), groups=2)
    assert len(plans.Convolution(geometry, "float32")._backward_data) == 1


def test_division_by_multiplication_is_exact():
    rng = np.random.default_rng(0)
    divisors = [*range(1, 70), *rng.integers(1, 2**31, 200).tolist(), 2**30, 2**31 - 1]
    for divisor in divisors:
        factor, shift = division.reciprocal(divisor)
        assert factor < 2**32
        near = [k * divisor + d for k in (1, 2, (2**31 - 1) // divisor) for d in (-1, 0, 1)]
        for number in [0, 1, 2**31 - 1, *near, *rng.integers(0, 2**31, 20).tolist()]:
            if number < 2**31:
                assert number * factor >> shift == number // divisor


def test_examples_in_docstrings_hold():
    assert doctest.testmod(division).failed == 0


# --- machine code ---------------------------------------------------------------------------------

_Shape = depthwise.Shape
KERNELS = {
    "3x3": (depthwise._kernel, _Shape(8, 1, 3, 1), True),
    "3x3, stride": (depthwise._kernel, _Shape(7, 1, 3, 2), False),
    "most registers": (depthwise._kernel, _Shape(8, 4, 7, 2), True),
    "row by row": (depthwise._kernel, _Shape(8, 4, 1, 1), False),
    "strided 3x3": (depthwise._strided_kernel, 8, 1, 3, 2, 1),
    "strided, most registers": (depthwise._strided_kernel, 8, 4, 7, 1, 0),
    "weights 3x3": (depthwise._weight_kernel, 8, 3, 3, 1),
    "weights 3x3, stride": (depthwise._weight_kernel, 7, 3, 3, 2),
    "weights 5x5, stride": (depthwise._weight_kernel, 8, 5, 5, 2),
    "weights row by row": (depthwise._weight_kernel, 8, 1, 7, 1),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("name", KERNELS)
def test_kernels_keep_all_in_registers(name, capability, tmp_path):
    make, *shape = KERNELS[name]
    kernel = make("float32", *shape)
    code = machine_code(kernel, capability, tmp_path)
    assert code.registers <= (128 if kernel.blocks == 2 else 255)
    assert not code.doubles
    assert code.count("FFMA") >= 8
    code = machine_code(make("float64", *shape), capability, tmp_path)
    assert code.registers <= 255


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("taps", range(3, 8))
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_by_weights_of_any_window_keep_all_in_registers(dtype, taps, step, tmp_path):
    columns = min(7, depthwise._MOST_WEIGHTS[dtype] // taps)
    kernel = depthwise._weight_kernel(dtype, 8, taps, columns, step)
    machine_code(kernel, CAPABILITIES[-1], tmp_path)
