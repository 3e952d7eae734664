"""Sums over the shifts of a plane, compiled and in Python."""

import numpy as np
import pytest
from numba import njit

from fastopt.kernels.cpu import registers
from fastopt.kernels.cpu.shifted_planes import (
    PLACES,
    TAPS,
    add_dot_products,
    copy_rows,
    split_rows,
    spread_rows,
    weighted_sums,
)

PRECISIONS = (np.float32, np.float64)


@njit
def compiled_weighted_sums(*args):
    weighted_sums(*args)


@njit
def compiled_add_dot_products(*args):
    add_dot_products(*args)


@njit
def compiled_copy_rows(*args):
    copy_rows(*args)


@njit
def compiled_split_rows(*args):
    split_rows(*args)


@njit
def compiled_spread_rows(*args):
    spread_rows(*args)


def tables(rng, dtype):
    lanes = registers.lanes_of(dtype)
    taps = rng.integers(0, 60, (2 * TAPS, 2))
    counts = [lanes, 1, 0, lanes - 1, *rng.integers(0, lanes + 1, 2 * PLACES - 4)]
    places = [(rng.integers(0, 400), k * lanes, count) for k, count in enumerate(counts)]
    return taps, np.array(places, np.int64)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_compiled_weighted_sums_are_those_in_python(dtype):
    rng = np.random.default_rng(0)
    taps, places = tables(rng, dtype)
    weight, source = (rng.standard_normal(500).astype(dtype) for _ in range(2))
    target, expected = np.full((2, 400), 7, dtype)
    where = (taps, 11, places, PLACES, weight, 5, dtype(0.25), source, 3)
    weighted_sums(*where, expected, 2)
    compiled_weighted_sums(*where, target, 2)
    # Products are rounded or are not, as the processor has it; what does not count is left alone.
    np.testing.assert_allclose(target, expected, rtol=0, atol=64 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(target == 7, expected == 7)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_compiled_dot_products_are_those_in_python(dtype):
    rng = np.random.default_rng(1)
    taps, places = tables(rng, dtype)
    source, other = (rng.standard_normal(500).astype(dtype) for _ in range(2))
    sums = rng.standard_normal(TAPS * registers.lanes_of(dtype) + 4).astype(dtype)
    expected = sums.copy()
    where = (taps, TAPS, places, source, 3, other, 1)
    add_dot_products(*where, expected, 4)
    compiled_add_dot_products(*where, sums, 4)
    np.testing.assert_allclose(sums, expected, rtol=0, atol=64 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("width", [1, 2, 7, 16, 17, 32, 45])
def test_compiled_rows_are_where_those_in_python_are(width, dtype):
    source = np.arange(1, 301, dtype=dtype)
    for function, compiled, where in (
        (copy_rows, compiled_copy_rows, (4, 60)),
        (split_rows, compiled_split_rows, (4, 604, 30)),
        (spread_rows, compiled_spread_rows, (4, 100)),
    ):
        target, expected = np.full((2, 1000), -1, dtype)
        function(3, width, source, 5, 50, expected, *where)
        compiled(3, width, source, 5, 50, target, *where)
        np.testing.assert_array_equal(target, expected)
        zeros = 3 * (width - 1) if function is spread_rows else 0
        assert np.count_nonzero(target > 0) == 3 * width
        assert np.count_nonzero(target == 0) == zeros
