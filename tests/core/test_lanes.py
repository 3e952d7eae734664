"""Numbers side by side as one value: the same in compiled code and in Python, and vectors there."""

import re

import numpy as np
import pytest
from numba import njit

from fastopt.core._lanes import (
    LANES,
    add,
    add_product,
    before_line,
    chosen,
    divide,
    every_second,
    fetch,
    gated,
    lanes_of,
    largest,
    load,
    load_beside,
    load_part,
    maximum,
    multiply,
    places,
    scaled,
    spread,
    store,
    store_part,
    subtract,
    sums_for,
    total,
    widened,
    zeros,
)


def combine(a, b, factor, out):
    """Every operation once."""
    sums = add_product(load(a, 0, 1), load(a, 1, 2), load(b, 1, 0))
    sums = subtract(add(sums, scaled(factor, load(a, 1, 2))), spread(factor))
    store(out, 1, 1, multiply(sums, gated(load(b, 0, 1), sums)))
    return total(add(sums_for(a), widened(sums))), lanes_of(a)


def arrays(dtype, rng):
    wide = 64 // np.dtype(dtype).itemsize
    return rng.normal(size=(2, wide + 3)).astype(dtype), rng.normal(size=(2, wide + 1)).astype(
        dtype
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compiled_lanes_have_the_bits_of_python(dtype):
    a, b = arrays(dtype, np.random.default_rng(0))
    factor = dtype(0.1)
    outs = np.zeros((2, 2, a.shape[1]), dtype)
    sums = [
        function(a, b, factor, out)
        for function, out in zip((combine, njit(combine)), outs, strict=True)
    ]
    wide = 64 // np.dtype(dtype).itemsize
    assert sums[0] == sums[1]
    assert sums[0][1] == wide
    np.testing.assert_array_equal(*outs)
    expected = a[0, 1 : wide + 1] + a[1, 2 : wide + 2] * b[1, :wide]
    expected = expected + factor * a[1, 2 : wide + 2] - factor
    assert sums[0][0] == pytest.approx(expected.sum(dtype=float), rel=8 * np.finfo(float).eps)
    squares = np.where(b[0, 1 : wide + 1] > 0, expected * expected, 0)
    np.testing.assert_array_equal(outs[0][1, 1 : wide + 1], squares)
    outs[0][1, 1 : wide + 1] = 0
    assert not outs[0].any()


def choose(a, b, wide, numbers, out):
    """Every operation but those on sums."""
    fetch(a, 5, 0)
    first, second = load(a, 0, 0), load(a, 0, lanes_of(a) - 1)
    apart = every_second(first, second)
    here = places(first, 3, 2)
    best = chosen(apart, load(b, 0, 0), apart, load(b, 0, 0))
    store(out, 0, 0, maximum(best, divide(load(b, 1, 0), first)))
    store(numbers, 0, 1, chosen(apart, load(b, 0, 0), here, load_beside(first, numbers, 0, 1)))
    store(wide, 0, 2, widened(apart))
    return largest(load(b, 1, 0)), total(load_beside(first, wide, 0, 1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_choices_and_places_have_the_bits_of_python(dtype):
    rng, count = np.random.default_rng(0), 64 // np.dtype(dtype).itemsize
    a, b = rng.normal(size=(2, 2, 2 * count)).astype(dtype)
    a[0, 4] = np.nan
    results = []
    for function in (choose, njit(choose)):
        wide, numbers = np.ones((1, count + 3)), np.full((1, count + 1), -1, np.int32)
        out = np.zeros((1, count), dtype)
        found = function(a, b, wide, numbers, out)
        results.append((*found, wide, numbers, out))
    for found, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(found, expected)
    apart = a[0, : 2 * count : 2]
    takes = (apart > b[0, :count]) | np.isnan(apart)
    assert takes[2]
    largest_, _, wide, numbers, _ = results[0]
    np.testing.assert_array_equal(wide[0, 2 : count + 2], apart)
    np.testing.assert_array_equal(numbers[0, 1:], np.where(takes, 3 + 2 * np.arange(count), -1))
    assert largest_ == b[1, :count].max()


def test_zeros_are_eight_doubles():
    compiled = njit(lambda matrix: total(add(zeros(), load(matrix, 0, 0))))
    matrix = np.arange(8.0)[None]
    assert LANES == 8
    assert compiled(matrix) == total(add(zeros(), load(matrix, 0, 0))) == 28.0


def test_gate_that_is_not_a_number_is_open():
    gate, a = np.full((1, 8), np.nan), np.ones((1, 8))
    compiled = njit(lambda gate, a: total(gated(load(gate, 0, 0), load(a, 0, 0))))
    assert compiled(gate, a) == 8.0 == gated(gate, a).sum()


@pytest.mark.parametrize(("dtype", "type_"), [(np.float32, "16 x float"), (float, "8 x double")])
def test_lanes_are_vectors_and_products_are_rounded(dtype, type_):
    compiled = njit(combine)
    a, b = arrays(dtype, np.random.default_rng(0))
    compiled(a, b, np.dtype(dtype).type(1), np.ones_like(a))
    (code,) = compiled.inspect_llvm().values()
    assert re.search(rf"fmul <{type_}>", code)
    assert not re.search(r"fmuladd|llvm\.fma|contract|reassoc", code)


def copy_part(a, count, others, out):
    """A part of lanes from one place to another, and what the rest of them are."""
    lanes = load_part(a, 1, 2, count, load(others, 0, 0))
    store_part(out, 0, 1, count, lanes)
    return total(lanes)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_part_of_lanes_is_all_that_is_read_and_written(dtype):
    wide = 64 // np.dtype(dtype).itemsize
    others = np.arange(wide, dtype=dtype).reshape(1, wide)
    for count in range(wide + 1):
        # What is not to be read would show.
        a = np.full((2, wide + 4), np.nan, dtype)
        a[1, 2 : 2 + count] = 1 + np.arange(count)
        for function in (copy_part, njit(copy_part)):
            out = np.zeros((1, wide + 2), dtype)
            assert function(a, count, others, out) == others.sum() + count
            np.testing.assert_array_equal(out[0, 1 : 1 + count], a[1, 2 : 2 + count])
            out[0, 1 : 1 + count] = 0
            assert not out.any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_behind_the_end_of_a_row_the_next_begins(dtype):
    wide = 64 // np.dtype(dtype).itemsize
    a = np.arange(3 * wide, dtype=dtype).reshape(3, wide)

    def shift(a, out):
        store(out, 0, 3, load(a, 1, 2))

    for function in (shift, njit(shift)):
        out = np.zeros_like(a)
        function(a, out)
        np.testing.assert_array_equal(out.ravel()[3 : 3 + wide], a.ravel()[wide + 2 :][:wide])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cache_lines_begin_where_addresses_say(dtype):
    item = np.dtype(dtype).itemsize
    flat = np.zeros(200, dtype)
    for start in range(20):
        rows = flat[start : start + 90].reshape(9, 10)
        for row in range(9):
            before = before_line(rows, row)
            assert 0 <= before < 64 // item
            assert (rows[row:].ctypes.data + before * item) % 64 == 0
            assert njit_before_line(rows, row) == before


@njit
def njit_before_line(rows, row):
    return before_line(rows, row)
