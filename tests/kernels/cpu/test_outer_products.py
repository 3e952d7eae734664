"""Tiles of sums of outer products, compiled and in Python."""

import numpy as np
import pytest
from numba import njit

from fastopt.kernels.cpu import registers
from fastopt.kernels.cpu.outer_products import (
    FEW_ROWS,
    ROWS,
    VECTORS,
    add_products,
    transpose,
)


@njit
def compiled_add_products(*args):
    add_products(*args)


@njit
def compiled_transpose(*args):
    transpose(*args)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("vectors", range(1, VECTORS + 1))
@pytest.mark.parametrize("rows", sorted({ROWS, FEW_ROWS}))
def test_compiled_sums_of_outer_products_are_those_in_python(rows, vectors, fresh, dtype):
    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal(600).astype(dtype) for _ in range(2))
    starts = np.array([99, 0, 30, 17], np.int64)
    sums = rng.standard_normal(3 + ROWS * VECTORS * registers.lanes_of(dtype)).astype(dtype)
    expected = sums.copy()
    where = (rows, vectors, 3, 4, starts, 1, left, 5, 20, right, 2)
    add_products(*where, expected, 3, fresh)
    compiled_add_products(*where, sums, 3, fresh)
    # Products are rounded or are not, as the processor has it.
    np.testing.assert_allclose(sums, expected, rtol=0, atol=64 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compiled_transposition_is_that_in_python(dtype):
    lanes = registers.lanes_of(dtype)
    source = np.arange(40 * lanes, dtype=dtype)
    starts = np.append(-1, np.random.default_rng(0).permutation(lanes) * (lanes + 1))
    target, expected = np.zeros((2, 1000), dtype)
    where = (5, lanes + 3, 2, 3, 9)
    transpose(source, 3, starts, 1, expected, *where)
    compiled_transpose(source, 3, starts, 1, target, *where)
    np.testing.assert_array_equal(target, expected)
    assert np.count_nonzero(target) == lanes**2
