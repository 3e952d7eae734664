"""exp, expm1 and log1p as arithmetic: close to the truth everywhere, and vector code in a loop."""

import math
import re
from decimal import Decimal, localcontext

import numpy as np
import pytest
from numba import njit

from fastopt.rules._elementary import exp, exp_alike, expm1_alike, log1p_up_to_1

EPS = np.finfo(float).eps


@njit
def exp_all(x, out):
    for i in range(x.size):
        out[i] = exp(x[i])


@njit
def log1p_all(t, out):
    for i in range(t.size):
        out[i] = log1p_up_to_1(t[i])


@njit
def exp_alike_all(x, out):
    for i in range(x.size):
        out[i] = exp_alike(x[i])


@njit
def expm1_alike_all(x, out):
    for i in range(x.size):
        out[i] = expm1_alike(x[i])


def relative_errors(found, arguments, function):
    """In units of eps, against 40 digits."""
    with localcontext(prec=40):
        truth = [function(Decimal(float(x))) for x in arguments]
        return [
            abs(float((Decimal(float(y)) - t) / t)) / EPS if t else 0.0
            for y, t in zip(found, truth, strict=True)
        ]


@pytest.mark.parametrize(("low", "high"), [(-1e-10, 1e-10), (-1, 1), (-40, 0), (-707, 709.78)])
def test_exp_is_within_one_ulp(low, high):
    x = np.random.default_rng(0).uniform(low, high, 2000)
    y = np.empty_like(x)
    exp_all(x, y)
    assert max(relative_errors(y, x, Decimal.exp)) < 0.8


@pytest.mark.parametrize("high", [1.0, 1e-3, 1e-10, 1e-200, 1e-300])
def test_log1p_keeps_its_relative_accuracy_however_small(high):
    t = np.append(np.random.default_rng(0).uniform(0, high, 2000), high)
    y = np.empty_like(t)
    log1p_all(t, y)
    if high > 1e-20:
        assert max(relative_errors(y, t, lambda d: (1 + d).ln())) < 1.6
    else:
        np.testing.assert_allclose(y, t, rtol=2 * EPS)


@pytest.mark.parametrize(("low", "high"), [(-1e-5, 1e-5), (-1, 1), (-86, 88.7)])
def test_exp_in_single_precision_is_within_one_ulp(low, high):
    x = np.random.default_rng(0).uniform(low, high, 20_000).astype(np.float32)
    exp_alike_all(x, y := np.empty_like(x))
    # The highest argument rounds up, and double precision is truth enough.
    np.testing.assert_allclose(y, np.exp(x.astype(float)), rtol=np.finfo(np.float32).eps)


@pytest.mark.parametrize("high", [40.0, 1.0, 1e-3, 1e-10, 1e-300])
def test_expm1_keeps_its_relative_accuracy_however_small(high):
    x = np.append(np.random.default_rng(0).uniform(0, high, 2000), high)
    expm1_alike_all(x, y := np.empty_like(x))
    if high > 1e-20:
        assert max(relative_errors(y, x, lambda d: d.exp() - 1)) < 2.0
    else:
        np.testing.assert_array_equal(y, x)
    single = x.astype(np.float32)
    expm1_alike_all(single, z := np.empty_like(single))
    np.testing.assert_allclose(z, np.expm1(single.astype(float)), rtol=2 * np.finfo(np.float32).eps)


def test_exp_in_single_precision_at_the_ends_of_the_range():
    x = np.array([88.73, 1e10, np.inf, -87.0, -1e10, -np.inf, np.nan, 0.0], np.float32)
    exp_alike_all(x, y := np.empty_like(x))
    np.testing.assert_array_equal(y, [np.inf] * 3 + [0] * 3 + [np.nan, 1])


@pytest.mark.parametrize("function", [exp_alike_all, expm1_alike_all])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_functions_of_either_precision_have_the_bits_of_python(dtype, function):
    x = np.random.default_rng(1).uniform(0, 40, 500).astype(dtype)
    function(x, y := np.empty_like(x))
    function.py_func(x, z := np.empty_like(x))
    np.testing.assert_array_equal(y, z)


@pytest.mark.parametrize("function", [exp_alike_all, expm1_alike_all])
def test_loop_in_single_precision_is_vectorised_and_single_throughout(function):
    function(np.zeros(9, np.float32), np.zeros(9, np.float32))
    code = next(
        code for types, code in function.inspect_llvm().items() if types[0].dtype.bitwidth == 32
    )
    assert re.search(r"fmul <\d+ x float>", code)
    assert not re.search(r"fpext|fptrunc|double", code)


def test_exp_at_the_ends_of_the_range():
    assert exp(709.782712893384) == pytest.approx(np.exp(709.782712893384), rel=1e-13)
    for x in (709.79, 1e10, 1e308, math.inf):
        assert exp(x) == math.inf
    for x in (-708.0, -1e10, -1e308, -math.inf):
        assert exp(x) == 0.0
    assert exp(0.0) == exp(-0.0) == 1.0
    assert math.isnan(exp(math.nan))
    assert math.isnan(log1p_up_to_1(math.nan))
    assert log1p_up_to_1(0.0) == 0.0


def test_compiled_functions_have_the_bits_of_python():
    special = [0.0, 1e308, -1e308, math.inf, -math.inf, math.nan, -707.0, -707.5, 709.79, 5e-324]
    x = np.concatenate([np.random.default_rng(1).uniform(-750, 750, 500), special])
    y = np.empty_like(x)
    exp_all(x, y)
    np.testing.assert_array_equal(y, [exp(float(each)) for each in x])
    t = np.random.default_rng(1).uniform(0, 1, 500)
    log1p_all(t, out := np.empty_like(t))
    np.testing.assert_array_equal(out, [log1p_up_to_1(float(each)) for each in t])


@pytest.mark.parametrize("function", [exp_all, log1p_all])
def test_loop_is_vectorised(function):
    function(np.zeros(9), np.zeros(9))
    (code,) = function.inspect_llvm().values()
    assert re.search(r"fmul <\d+ x double>", code)
    assert not re.search(r"call .*@(llvm\.)?(exp|log1p)\b", code)
