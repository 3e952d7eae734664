"""Sums and copies of channels on a device: the naive ones', bit by bit; and their code."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from fastopt import kernels
from fastopt.kernels import reference
from fastopt.kernels.cuda import arithmetic, elementwise

from .compilation import CAPABILITIES, machine_code

DTYPES = (np.float32, np.float64)
TARGETS = [*((np.float32, capability) for capability in CAPABILITIES), (np.float64, (9, 0))]


def numbers(shape, dtype, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1,), (3,), (4,), (7, 293), (2, 2, 4, 128)])
@pytest.mark.parametrize("name", ["add", "add_relu"])
def test_sums_are_those_of_the_cpu(device, on_device, name, shape, dtype):
    a, b = numbers(shape, dtype), numbers(shape, dtype, 1)
    expected = getattr(kernels, name)(a, b)
    np.testing.assert_array_equal(getattr(on_device, name)(a, b), expected)
    out = device.empty(shape, dtype)
    assert getattr(kernels, name)(device.array(a), device.array(b), out=out) is out
    np.testing.assert_array_equal(out.get(), expected)


def test_sum_may_go_to_either_argument(device):
    a, b = numbers(50, np.float32), numbers(50, np.float32, 1)
    for which in (0, 1):
        there = [device.array(a), device.array(b)]
        assert kernels.add(*there, out=there[which]) is there[which]
        np.testing.assert_array_equal(there[which].get(), a + b)
        np.testing.assert_array_equal(there[1 - which].get(), (b, a)[which])
    with pytest.raises(ValueError, match="`out` must not overlap `a`"):
        kernels.add_relu(there[0], there[1], out=there[0])


def test_what_is_no_number_is_treated_as_on_the_cpu(on_device):
    values = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-310, 1e308])
    a, b = (each.ravel() for each in np.meshgrid(values, values))
    for name in ("add", "add_relu"):
        with np.errstate(all="ignore"):
            expected = getattr(kernels, name)(a, b)
        found = getattr(on_device, name)(a, b)
        np.testing.assert_array_equal(found, expected)
        is_one = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(found)[is_one], np.signbit(expected)[is_one])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rest", [(), (4,), (5,), (3, 12)])
@pytest.mark.parametrize("channels", [[3, 1, 4], [4, 8], [71]])
def test_concatenation_is_undone_by_split(device, on_device, channels, rest, dtype):
    arrays = [numbers((5, C, *rest), dtype, C) for C in channels]
    joined = on_device.concatenate(arrays)
    np.testing.assert_array_equal(joined, reference.concatenate(arrays))
    assert joined.dtype == dtype
    out = device.empty(joined.shape, dtype)
    assert kernels.concatenate([device.array(each) for each in arrays], out=out) is out
    np.testing.assert_array_equal(out.get(), joined)
    pieces = on_device.split(joined, channels)
    for found, expected in zip(pieces, arrays, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_arrays_that_begin_anywhere_are_copied(device):
    x, y = numbers((2, 4, 1), np.float32), numbers((1, 8, 1), np.float32, 1)
    joined = kernels.concatenate([device.array(x[:, :3])[1:], device.array(y)])
    np.testing.assert_array_equal(joined.get(), np.concatenate([x[1:, :3], y], axis=1))


@pytest.mark.parametrize(("dtype", "capability"), TARGETS)
def test_code_moves_vectors(dtype, capability, tmp_path):
    dtype = np.dtype(dtype)
    for kernel in (
        elementwise._of_two(arithmetic._sum, dtype, True),
        elementwise._of_two(arithmetic._sum_or_zero, dtype, True),
        arithmetic._copy(dtype, True),
        arithmetic._copy(dtype, False),
    ):
        code = machine_code(kernel, capability, tmp_path)
        assert code.registers <= 64
        if kernel is not arithmetic._copy(dtype, False):
            assert code.count("LDG.E.128") > 1
            assert code.count("STG.E.128") > 1
        if dtype == np.float32:
            assert not code.doubles
