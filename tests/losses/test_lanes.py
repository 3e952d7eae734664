"""Eight doubles as one value: the same in compiled code and in Python, and vector code there."""

import re

import numpy as np
from numba import njit

from fastopt.losses._lanes import LANES, add, add_product, load, scaled, store, total, zeros


def combine(a, b, out):
    """Every operation once."""
    sums = add_product(zeros(), load(a, 0, 1), load(b, 1, 0))
    sums = add(sums, scaled(0.1, load(a, 1, 2)))
    store(out, 1, 1, sums)
    return total(sums)


def test_compiled_lanes_have_the_bits_of_python():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 11)), rng.normal(size=(2, 9))
    outs = np.zeros((2, 2, 10))
    sums = [
        function(a, b, out) for function, out in zip((combine, njit(combine)), outs, strict=True)
    ]
    assert sums[0] == sums[1]
    np.testing.assert_array_equal(*outs)
    expected = a[0, 1:9] * b[1, :8] + 0.1 * a[1, 2:10]
    np.testing.assert_array_equal(outs[0][1, 1:9], expected)
    assert np.count_nonzero(outs[0]) == LANES


def test_lanes_are_vectors_and_products_are_rounded():
    compiled = njit(combine)
    compiled(np.ones((2, 11)), np.ones((2, 9)), np.ones((2, 10)))
    (code,) = compiled.inspect_llvm().values()
    assert re.search(r"fmul <8 x double>", code)
    assert not re.search(r"fmuladd|llvm\.fma|contract|reassoc", code)
