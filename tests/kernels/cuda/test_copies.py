"""Copies on a GPU, in the emulator and as machine code."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from fastopt.device.arrays import describe
from fastopt.kernels.cuda import copies
from tests.kernels.cuda.compilation import CAPABILITIES, machine_code

PAIRS = [
    ("float32", "float64"),
    ("float64", "float32"),
    ("float32", "float32"),
    ("int64", "int64"),
    *((kind, "int64") for kind in ("int8", "uint8", "int16", "uint16", "int32", "uint32")),
    ("uint64", "int64"),
    ("bool", "float32"),
    ("int64", "float64"),
    ("uint8", "float32"),
]


@pytest.mark.parametrize(("source", "target"), PAIRS)
@pytest.mark.parametrize("begin", [0, 1])
def test_numbers_are_those_that_numpy_converts_to(device, source, target, begin):
    numbers = np.random.default_rng(0).normal(size=1030) * 50
    x = (abs(numbers) if source.startswith("u") else numbers).astype(source)
    out = device.empty((1030,), target)
    copies.copy(describe(device.array(x)[begin:]), describe(out[begin:]))
    assert np.array_equal(out.get()[begin:], x.astype(target)[begin:])


def test_numbers_too_large_become_infinite(device):
    out = device.empty((3,), "float32")
    copies.copy(describe(device.array(np.array([1e300, -1e300, np.nan]))), describe(out))
    assert np.array_equal(out.get(), np.array([np.inf, -np.inf, np.nan]), equal_nan=True)


def test_nothing_is_copied_of_nothing(device):
    copies.copy(describe(device.empty((0,))), describe(device.empty((0,))))


def test_each_count_is_one_more(device):
    counts = device.array(np.array([0, 7, -1, 2**40, 4]))
    copies.increment(describe(counts))
    assert counts.get().tolist() == [1, 8, 0, 2**40 + 1, 5]


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_copies_read_128_bits_at_once(source, target, capability, tmp_path):
    if source == "bool":
        source = "uint8"
    width = 4 if np.dtype(source).itemsize >= 4 else 1
    code = machine_code(copies._kernel(source, target, width), capability, tmp_path)
    assert code.registers <= 32
    assert (code.count("LDG.E.128") > 0) == (width == 4)
    assert code.doubles == ("float64" in (source, target))
