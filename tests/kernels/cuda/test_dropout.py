"""Dropout on a device: the CPU's mask, whatever the length; a counter in memory; its code."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from fastopt import kernels
from fastopt.device.arrays import describe
from fastopt.kernels import reference
from fastopt.kernels.cuda import dropout

from .compilation import CAPABILITIES, machine_code

DTYPES = (np.float32, np.float64)
TARGETS = [*((np.float32, capability) for capability in CAPABILITIES), (np.float64, (9, 0))]


def numbers(shape, dtype):
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1 - 2**-53])
@pytest.mark.parametrize(("seed", "counter"), [(0, 0), (0, 1), (2**64 - 1, 2**64 - 1)])
def test_dropout_is_the_cpus(on_device, seed, counter, p, dtype):
    x = numbers((3, 7, 11), dtype)
    found = on_device.dropout(x, p, seed, counter)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found == 0, reference.dropout(x, p, seed, counter) == 0)
    expected = kernels.dropout(x, p, seed, counter)
    np.testing.assert_allclose(found, expected, rtol=np.finfo(dtype).eps)


@pytest.mark.parametrize("skipped", [0, 1])
@pytest.mark.parametrize("n", [1, 3, 4, 1023, 2048, 2501])
def test_mask_depends_on_the_place_alone(device, n, skipped):
    mask = reference.dropout(np.ones(n), 0.3, 4) != 0
    for dtype in DTYPES:
        x = device.array(np.ones(n + skipped, dtype))[skipped:]
        np.testing.assert_array_equal(kernels.dropout(x, 0.3, 4).get() != 0, mask)
        assert kernels.dropout(x, 0.3, 4, out=x) is x
        np.testing.assert_array_equal(x.get() != 0, mask)


def test_what_is_dropped_is_zero_whatever_it_was(on_device):
    x = np.full(100, np.nan)
    expected = reference.dropout(np.ones(100), 0.5, 1) == 0
    np.testing.assert_array_equal(on_device.dropout(x, 0.5, 1) == 0, expected)


def test_counter_in_memory_is_the_one_that_is_there_when_it_runs(device):
    x = numbers(70, np.float32)
    there, out = describe(device.array(x)), device.empty(x.shape, x.dtype)
    for step in (0, 5, 2**40):
        counter = device.array(np.array(step))
        dropout.dropout(there, 0.5, 3, describe(counter), describe(out))
        np.testing.assert_array_equal(out.get(), kernels.dropout(x, 0.5, 3, step))


@pytest.mark.parametrize(("dtype", "capability"), TARGETS)
@pytest.mark.parametrize("stored", [False, True])
def test_code_moves_vectors_and_has_no_doubles(stored, dtype, capability, tmp_path):
    code = machine_code(dropout._kernel(np.dtype(dtype), True, stored), capability, tmp_path)
    assert code.registers <= 64
    assert code.count("LDG.E.128") > 1
    assert code.count("STG.E.128") > 1
    if dtype == np.float32:
        assert not code.doubles
        machine_code(dropout._kernel(np.dtype(dtype), False, stored), capability, tmp_path)
