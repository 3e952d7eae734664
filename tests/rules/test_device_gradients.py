"""The length of a gradient on a GPU, and whether it is finite, known to the GPU alone."""

import math

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from fastopt.device.arrays import describe
from fastopt.rules.device_gradients import SURVEYED, limit_kernel, survey_blocks, survey_kernel
from tests.kernels.cuda.compilation import CAPABILITIES, machine_code

DTYPES = ["float32", "float64"]


def control_of(device, grad, longest=math.inf, careful=0, offset=0):
    """`scale` and `go`."""
    array = device.array(np.concatenate([np.full(offset, np.nan, grad.dtype), grad]))[offset:]
    blocks = survey_blocks(grad.size)
    found = device.empty((SURVEYED * blocks,), np.float64)
    control = device.empty((2,), grad.dtype)
    width = 1 if offset % 4 else 4
    survey_kernel(grad.dtype.name, width).launch(
        (blocks,), describe(array).address, grad.size, describe(found).address
    )
    limit_kernel(grad.dtype.name).launch(
        (1,), describe(found).address, blocks, longest, careful, describe(control).address
    )
    return tuple(control.get())


@pytest.mark.parametrize("offset", [0, 1, 4])
@pytest.mark.parametrize("n", [1, 3, 4, 255, 4099, 9001])
@pytest.mark.parametrize("dtype", DTYPES)
def test_long_gradient_is_shortened_to_what_is_allowed(dtype, n, offset, device):
    grad = np.random.default_rng(n).standard_normal(n).astype(dtype)
    length = np.linalg.norm(grad.astype(np.float64))
    scale, go = control_of(device, grad, 0.5 * length, 1, offset)
    assert abs(scale - 0.5) <= 4 * np.finfo(dtype).eps
    assert go == 1
    assert control_of(device, grad, 1.5 * length, 1, offset) == (1, 1)


@pytest.mark.parametrize("place", [0, 2, 1500, 4100])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("dtype", DTYPES)
def test_number_that_is_not_finite_is_found(dtype, value, place, device):
    grad = np.ones(4101, dtype)
    grad[place] = value
    _, go = control_of(device, grad, careful=1)
    assert go == 0
    scale, go = control_of(device, grad, longest=1.0, careful=0)
    assert go == 1
    assert scale == (1 if np.isnan(value) else 0)


@pytest.mark.parametrize(
    ("dtype", "size"), [("float32", 1e30), ("float64", 1e200), ("float64", 1e300)]
)
def test_length_of_large_numbers_does_not_overflow(dtype, size, device):
    scale, go = control_of(device, np.full(4, size, dtype), longest=size, careful=1)
    assert abs(scale - 0.5) <= 4 * np.finfo(dtype).eps
    assert go == 1


@pytest.mark.parametrize("capability", CAPABILITIES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_is_read_128_bits_at_once(dtype, capability, tmp_path):
    code = machine_code(survey_kernel(dtype, 4), capability, tmp_path)
    assert code.count("LDG.E.128") >= 1 + (dtype == "float64")
    assert code.registers <= 64
    machine_code(limit_kernel(dtype), capability, tmp_path)
