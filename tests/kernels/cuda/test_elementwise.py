"""Functions of each element: arrays of all lengths, wherever they begin; and their code."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from fastopt.device.arrays import describe
from fastopt.device.language import inlined
from fastopt.kernels.cuda import elementwise

from .compilation import CAPABILITIES, machine_code

DTYPES = (np.float32, np.float64)
TARGETS = [*((np.float32, capability) for capability in CAPABILITIES), (np.float64, (9, 0))]
BLOCK = elementwise.THREADS * elementwise.NUMBERS
SIZES = (1, 3, 4, 5, 1023, 1024, BLOCK - 1, BLOCK, 2 * BLOCK + 1027)


@inlined
def half(x, number):
    return x * number


@inlined
def weighted(x, y, number):
    return x + number * y


def numbers(n, dtype, seed=0):
    return np.random.default_rng(seed).integers(-99, 99, n).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("skipped", [0, 1, 4])
def test_every_element_is_reached_once_and_nothing_else(device, n, skipped, dtype):
    x, y = numbers(n + skipped, dtype), numbers(n + skipped, dtype, 1)
    there = [device.array(values)[skipped:] for values in (x, y)]
    room = device.array(np.full(n + skipped + 5, 7, dtype))
    inputs = [describe(each) for each in there]
    elementwise.apply(half, inputs[:1], 0.5, describe(room[skipped : n + skipped]))
    expected = np.full(n + skipped + 5, 7, dtype)
    expected[skipped : n + skipped] = x[skipped:] / 2
    np.testing.assert_array_equal(room.get(), expected)
    elementwise.apply(weighted, inputs, 2.0, inputs[0])
    np.testing.assert_array_equal(there[0].get(), (x + 2 * y)[skipped:])


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_that_begin_differently_are_taken_one_by_one(device, dtype):
    x, y = numbers(101, dtype), numbers(100, dtype, 1)
    out = device.empty((100,), dtype)
    inputs = describe(device.array(x)[1:]), describe(device.array(y))
    elementwise.apply(weighted, inputs, 2.0, describe(out))
    np.testing.assert_array_equal(out.get(), x[1:] + 2 * y)


@pytest.mark.parametrize(("dtype", "capability"), TARGETS)
def test_code_reads_two_vectors_before_it_writes(dtype, capability, tmp_path):
    of_one = elementwise._of_one(half, np.dtype(dtype), True)
    of_two = elementwise._of_two(weighted, np.dtype(dtype), True)
    for kernel, reads in ((of_one, 2), (of_two, 4)):
        code = machine_code(kernel, capability, tmp_path)
        reads *= np.dtype(dtype).itemsize // 4
        assert code.count("LDG.E.128") == reads
        before = code.text.partition("STG.E.128")[0]
        assert before.count("LDG.E.128") == reads
        assert code.registers <= 64  # as many as leave room for 1024 threads
        assert code.doubles == (dtype == np.float64)


@pytest.mark.parametrize("dtype", DTYPES)
def test_code_for_arrays_that_begin_anywhere_compiles(dtype, tmp_path):
    for make, function in ((elementwise._of_one, half), (elementwise._of_two, weighted)):
        code = machine_code(make(function, np.dtype(dtype), False), (9, 0), tmp_path)
        assert code.registers <= 64
        assert code.doubles == (dtype == np.float64)
