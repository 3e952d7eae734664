"""Sums over blocks and over channels."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from fastopt.device.arrays import describe
from fastopt.kernels.cuda import sums

from .compilation import CAPABILITIES, machine_code
from .test_convolution import DTYPES


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [2, 5, 8, 9, 40, 77])
@pytest.mark.parametrize("size", [1, 33, 300])
def test_partial_sums_are_added_up(device, size, count, dtype):
    values = np.random.default_rng(0).standard_normal((count, size)).astype(dtype)
    partial, out = device.array(values.reshape(-1)), device.empty((size,), dtype)
    sums.add_up(describe(partial), count, describe(out))
    bound = np.finfo(dtype).eps * np.abs(values).sum(0)
    assert (abs(out.get() - values.sum(0, dtype=float)) <= 4 * bound).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("blocks", [1, 20])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 5, 3, 7), (2, 3, 4, 6), (40, 2, 16, 13)])
def test_channels_are_summed_over_images_and_places(device, monkeypatch, shape, blocks, dtype):
    monkeypatch.setattr(sums, "_BLOCKS", blocks)
    values = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    expected = values.sum((0, 2, 3), dtype=float)
    bound = 4 * np.finfo(dtype).eps * np.abs(values).sum((0, 2, 3))
    for start in (0, 1):
        flat = device.array(np.concatenate([np.zeros(start, dtype), values.reshape(-1)]))
        out = device.empty((shape[1],), dtype)
        sums.add_channels(describe(flat[start:]).reshape(shape), describe(out))
        assert (abs(out.get() - expected) <= bound).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (7, 40), (150, 3), (600, 33)])
def test_rows_are_summed(device, shape, dtype):
    values = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    out = device.empty((shape[1],), dtype)
    sums.add_rows(describe(device.array(values)), describe(out))
    bound = 4 * np.finfo(dtype).eps * np.abs(values).sum(0)
    assert (abs(out.get() - values.sum(0, dtype=float)) <= bound).all()


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_kernels_are_small(dtype, capability, tmp_path):
    for slices in (1, 8):
        code = machine_code(sums._adding_kernel(dtype, slices), capability, tmp_path)
        assert code.registers <= 64
        assert code.doubles == (dtype == "float64")
    code = machine_code(sums._row_kernel(dtype), capability, tmp_path)
    assert code.registers <= 64
    assert code.doubles == (dtype == "float64")
    for width in (1, 4):
        code = machine_code(sums._channel_kernel(dtype, width), capability, tmp_path)
        assert code.registers <= 64
        assert code.doubles == (dtype == "float64")
        assert (code.count("LDG.E.128") > 0) == (width == 4)
