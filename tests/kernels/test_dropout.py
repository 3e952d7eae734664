"""Dropout: its mask is that of the naive one, reproducible and fair; and what is refused."""

import doctest
import sys

import numpy as np
import pytest
from scipy import stats

from fastopt import kernels
from fastopt.kernels import reference

DTYPES = (np.float32, np.float64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.875, 1 - 2**-53])
@pytest.mark.parametrize(("seed", "counter"), [(0, 0), (1, 0), (0, 1), (2**64 - 1, 2**64 - 1)])
def test_dropout_is_the_naive_one(seed, counter, p, dtype):
    x = np.random.default_rng(0).normal(size=(5, 3, 7, 11)).astype(dtype)
    found = kernels.dropout(x, p, seed, counter)
    assert found.dtype == dtype
    expected = reference.dropout(x, p, seed, counter)
    np.testing.assert_array_equal(found == 0, expected == 0)
    np.testing.assert_allclose(found, expected, rtol=2 * np.finfo(dtype).eps)


def test_mask_depends_on_the_place_alone():
    """Not on shape, dtype, values, or where a part of 16384 elements ends."""
    n = 3 * 16384 + 9
    mask = kernels.dropout(np.ones(n), 0.3, seed=4) != 0
    np.testing.assert_array_equal(kernels.dropout(np.ones(100), 0.3, seed=4) != 0, mask[:100])
    x = np.random.default_rng(0).normal(size=n).astype(np.float32).reshape(n // 7, 7)
    np.testing.assert_array_equal((kernels.dropout(x, 0.3, seed=4) != 0).ravel(), mask)


def test_no_bit_depends_on_the_number_of_threads():
    x = np.random.default_rng(0).normal(size=1_500_000)
    kernels.set_num_threads(1)
    expected = kernels.dropout(x, 0.5, seed=3, counter=9)
    for count in (2, 3):
        kernels.set_num_threads(count)
        np.testing.assert_array_equal(kernels.dropout(x, 0.5, seed=3, counter=9), expected)


def test_bits_are_those_of_earlier_releases():
    """A checkpoint resumed under another release must meet the same masks."""
    mask = kernels.dropout(np.ones(64), 0.5, seed=123, counter=45) != 0
    assert np.packbits(mask).tobytes().hex() == "b06724b3965e7a8e"


@pytest.mark.parametrize("p", [0.001, 0.2, 0.5, 0.9])
def test_as_many_are_dropped_as_asked_for(p):
    n = 1_000_000
    dropped = np.sum(kernels.dropout(np.ones(n), p, seed=11) == 0)
    assert stats.binomtest(int(dropped), n, p).pvalue > 1e-3


@pytest.mark.parametrize("lag", [1, 2, 3, 8, 64, 4096])
def test_neighbours_are_independent(lag):
    mask = kernels.dropout(np.ones(1_000_000), 0.5, seed=6) != 0
    differ = np.sum(mask[lag:] != mask[:-lag])
    assert stats.binomtest(int(differ), mask.size - lag, 0.5).pvalue > 1e-3


@pytest.mark.parametrize("other", [{"seed": 7}, {"counter": 1}, {"seed": 7, "counter": 1}])
def test_masks_of_other_seeds_and_counters_are_independent(other):
    x = np.ones(1_000_000)
    mask = kernels.dropout(x, 0.5, seed=6) != 0
    another = kernels.dropout(x, 0.5, **{"seed": 6, "counter": 0, **other}) != 0
    assert stats.binomtest(int(np.sum(mask != another)), x.size, 0.5).pvalue > 1e-3


def test_masks_of_many_steps_keep_each_element_equally_often():
    kept = sum(kernels.dropout(np.ones(50), 0.5, seed=0, counter=t) != 0 for t in range(2000))
    assert stats.chisquare(kept).pvalue > 1e-3
    assert stats.binomtest(int(np.sum(kept)), 50 * 2000, 0.5).pvalue > 1e-3


def test_dropout_is_its_own_backward_pass():
    generator = np.random.default_rng(0)
    x, grad = generator.normal(size=(2, 1000))
    forward = kernels.dropout(x, 0.4, seed=8)
    backward = kernels.dropout(grad, 0.4, seed=8)
    assert np.dot(forward, grad) == pytest.approx(np.dot(x, backward), rel=1e-12)


def test_what_is_dropped_is_zero_whatever_it_was():
    x = np.full(100, np.nan)
    found = kernels.dropout(x, 0.5, seed=1)
    np.testing.assert_array_equal(found == 0, reference.dropout(x, 0.5, seed=1) == 0)
    assert np.any(found == 0)


def test_nothing_is_dropped_with_probability_0():
    x = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    np.testing.assert_array_equal(kernels.dropout(x, 0.0, seed=1), x)


def test_result_goes_where_it_is_asked_to():
    x = np.random.default_rng(0).normal(size=(10, 10)).astype(np.float32)
    expected = kernels.dropout(x, 0.5, seed=1)
    out = np.empty_like(x)
    assert kernels.dropout(x, 0.5, seed=1, out=out) is out
    np.testing.assert_array_equal(out, expected)
    assert kernels.dropout(x, 0.5, seed=1, out=x) is x
    np.testing.assert_array_equal(x, expected)


X = np.ones((3, 4))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([1.0], 0.5, 1), TypeError, r"`x` must be a NumPy array"),
        ((X[:0], 0.5, 1), ValueError, r"`x` must not be empty, got shape \(0, 4\)"),
        ((X.astype(int), 0.5, 1), TypeError, r"`x` must be of dtype float32 or float64, got int"),
        ((X, 1.0, 1), ValueError, r"`p` must be a number in \[0, 1\), got 1.0"),
        ((X, -0.1, 1), ValueError, r"`p` must be a number in \[0, 1\), got -0.1"),
        ((X, np.nan, 1), ValueError, r"`p` must be a number in \[0, 1\), got nan"),
        ((X, 0.5, 1.0), TypeError, r"`seed` must be an integer, got 1.0 \(float\)"),
        ((X, 0.5, -1), ValueError, r"`seed` must be an integer from 0 to 2\*\*64 - 1, got -1"),
        ((X, 0.5, 1, 2**64), ValueError, r"`counter` must be an integer from 0 to 2\*\*64 - 1"),
        ((X, 0.5, 1, None), TypeError, r"`counter` must be an integer, got None \(NoneType\)"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        kernels.dropout(*arguments)


def test_result_may_not_overlap_x_in_part():
    memory = np.ones(10)
    with pytest.raises(ValueError, match="`out` must not overlap `x`, which is still read"):
        kernels.dropout(memory[:9], 0.5, seed=1, out=memory[1:])


def test_examples_in_docstrings_hold():
    module = sys.modules["fastopt.kernels.dropout"]  # the package's name is the function's
    assert doctest.testmod(module).failed == 0
