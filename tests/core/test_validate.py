"""Checks accept what they should, in one form, and say what is wrong with the rest."""

import math
import re
import warnings
from fractions import Fraction

import numpy as np
import pytest

from fastopt.core.validate import (
    UNLIMITED,
    Choice,
    Flag,
    Integer,
    InverseHessian,
    NormOrder,
    Real,
    Steps,
    Weights,
    Workers,
    check_callable,
    real_vector,
    warn_caller,
)

NONNEGATIVE = Real(low=0.0)
OPEN_UNIT = Real(0.0, 1.0, open_low=True, open_high=True)
COUNT = Integer(low=0, unlimited=True)
RECTANGLE = np.ones((2, 3))

ACCEPTED = [
    (NONNEGATIVE, 0, 0.0),
    (NONNEGATIVE, math.inf, math.inf),
    (NONNEGATIVE, np.float32(0.5), 0.5),
    (NONNEGATIVE, np.array(0.5), 0.5),
    (NONNEGATIVE, np.array([2]), 2.0),
    (NONNEGATIVE, Fraction(1, 4), 0.25),
    (OPEN_UNIT, 0.5, 0.5),
    (Real(), -math.inf, -math.inf),
    (NormOrder(), -math.inf, -math.inf),
    (NormOrder(), 2, 2.0),
    (COUNT, 0, 0),
    (COUNT, 1e4, 10_000),
    (COUNT, np.int32(7), 7),
    (COUNT, math.inf, UNLIMITED),
    (COUNT, 10**30, UNLIMITED),
    (Integer(), -3, -3),
    (Flag(), np.True_, True),
    (Flag(), 2, True),
    (Flag(), 0, False),
    (Choice(("a", "b")), "b", "b"),
    (Steps(), 1e-6, 1e-6),
    (Steps(), [-1e-6], -1e-6),
    (Weights(), 0, 0.0),
    (Weights(), [0.5], 0.5),
    (Workers(), map, map),
    (Workers(), -1, -1),
    (Workers(), np.int64(2), 2),
]

REFUSED = [
    (NONNEGATIVE, -1.0, ValueError, "a nonnegative number, got -1.0"),
    (NONNEGATIVE, math.nan, ValueError, "a nonnegative number, got nan"),
    (NONNEGATIVE, "1e-5", TypeError, "a nonnegative number, got '1e-5' (str)"),
    (NONNEGATIVE, True, TypeError, "a nonnegative number, got True (bool)"),
    (NONNEGATIVE, 1j, TypeError, "a nonnegative number, got 1j (complex)"),
    (NONNEGATIVE, [1.0], TypeError, "a nonnegative number, got an object of type list"),
    (NONNEGATIVE, np.ones(2), TypeError, "got an array of shape (2,) and dtype float64"),
    (NONNEGATIVE, 10**400, ValueError, "a nonnegative number, got 1000"),
    (Real(0.0, open_low=True), 0.0, ValueError, "a positive number, got 0.0"),
    (Real(0.0, open_high=True), math.inf, ValueError, "a finite nonnegative number, got inf"),
    (Real(low=2.0), 1.0, ValueError, "a number of at least 2, got 1.0"),
    (Real(low=2.0, open_low=True), 2.0, ValueError, "a number above 2, got 2.0"),
    (OPEN_UNIT, 1.0, ValueError, "a number in (0, 1), got 1.0"),
    (Real(0.0, 1.0, open_high=True), 1.0, ValueError, "a number in [0, 1), got 1.0"),
    (NormOrder(), 0, ValueError, "the order of a norm: inf, -inf or a nonzero number, got 0"),
    (NormOrder(), math.nan, ValueError, "got nan"),
    (COUNT, -1, ValueError, "a nonnegative integer or inf, got -1"),
    (COUNT, 2.5, ValueError, "a nonnegative integer or inf, got 2.5"),
    (COUNT, math.nan, ValueError, "got nan"),
    (COUNT, "10", TypeError, "got '10' (str)"),
    (Integer(low=1), 0, ValueError, "a positive integer, got 0"),
    (Integer(low=1), math.inf, ValueError, "a positive integer, got inf"),
    (Integer(low=3), 2, ValueError, "an integer of at least 3, got 2"),
    (Flag(), "yes", TypeError, "True or False, got 'yes' (str)"),
    (Flag(), 1.0, TypeError, "True or False, got 1.0 (float)"),
    (Choice(("a", "b")), "c", ValueError, "one of 'a', 'b', got 'c'"),
    (Choice(("a", "b")), 1, TypeError, "one of 'a', 'b', got 1 (int)"),
    (Steps(), 0.0, ValueError, "a finite nonzero number or one for each variable, got 0.0"),
    (Steps(), [1.0, math.inf, 1.0], ValueError, "got [1.0, inf, 1.0]"),
    (Steps(), [1.0, 2.0], ValueError, "one for each variable (3), got an array of shape (2,)"),
    (Steps(), "small", TypeError, "got 'small' (str)"),
    (Weights(), -1.0, ValueError, "a finite nonnegative number or one for each variable, got -1.0"),
    (Weights(), [1.0, 0.0, math.nan], ValueError, "got [1.0, 0.0, nan]"),
    (Weights(), math.inf, ValueError, "got inf"),
    (Weights(), [1.0, 2.0], ValueError, "one for each variable (3), got an array of shape (2,)"),
    (Weights(), "small", TypeError, "got 'small' (str)"),
    (InverseHessian(), np.eye(2), ValueError, "of shape (3, 3), got an array of shape (2, 2)"),
    (InverseHessian(), np.full((3, 3), math.nan), ValueError, "with non-finite elements"),
    (InverseHessian(), np.triu(np.ones((3, 3))), ValueError, "that is not symmetric"),
    (InverseHessian(), -np.eye(3), ValueError, "that is not positive definite"),
    (InverseHessian(), np.eye(3) * 1j, TypeError, "got dtype complex128"),
    (Workers(), 0, ValueError, "a positive integer, -1 or a map-like callable, got 0"),
    (Workers(), 1.5, TypeError, "a map-like callable, got 1.5 (float)"),
]


@pytest.mark.parametrize(("check", "value", "expected"), ACCEPTED)
def test_check_returns_the_one_form_that_solvers_read(check, value, expected):
    found = check("option", value, 3)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(("check", "value", "error", "message"), REFUSED)
def test_check_names_the_argument_what_was_expected_and_what_came(check, value, error, message):
    with pytest.raises(error, match=rf"^`option` must be .*{re.escape(message)}"):
        check("option", value, 3)


def test_steps_for_each_variable_are_a_copy():
    steps = np.array([1e-6, 2e-6, 3e-6])
    found = Steps()("eps", steps, 3)
    np.testing.assert_array_equal(found, steps)
    assert not np.shares_memory(found, steps)


def test_inverse_hessian_that_is_symmetric_up_to_rounding_becomes_symmetric():
    matrix = np.diag([1.0, 2.0, 3.0])
    matrix[0, 1] = 1e-13
    found = InverseHessian()("hess_inv0", matrix, 3)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_allclose(found, matrix, atol=1e-12)


@pytest.mark.parametrize(
    "value",
    [
        2,
        [1, 2],
        (1.0, 2.0),
        np.arange(3, dtype=np.int8),
        np.arange(3, dtype=np.float32),
        np.arange(8.0)[::3],
        np.float64(1.5),
        np.array(1.5),
        [True, False],
        np.array([1.0, 2.0], dtype=">f8"),
        np.array([1.5, 2.5], dtype=np.longdouble),
    ],
    ids=repr,
)
def test_real_vector_makes_contiguous_float64_of_what_holds_real_numbers(value):
    found = real_vector("x0", value)
    np.testing.assert_array_equal(found, np.atleast_1d(np.asarray(value, dtype=np.float64)))
    assert found.dtype == np.float64
    assert found.dtype.isnative
    assert found.flags.c_contiguous


def test_real_vector_takes_a_contiguous_float64_array_as_it_is():
    x0 = np.arange(3.0)
    assert real_vector("x0", x0) is x0


def test_real_vector_refuses_a_masked_array_rather_than_drop_its_mask():
    with pytest.raises(TypeError, match=r"`x0` must be .* got a masked array"):
        real_vector("x0", np.ma.array([1.0, 2.0], mask=[0, 1]))


def test_real_vector_reports_an_extended_float_that_is_out_of_range():
    huge = np.array([1.0, np.finfo(np.longdouble).max])
    if huge.dtype == np.float64 or np.finfo(np.longdouble).max == np.finfo(np.float64).max:
        pytest.skip("long double is double here")
    with pytest.raises(ValueError, match="`x0` must be finite, got inf at index 1"):
        real_vector("x0", huge)


def test_check_callable_names_what_came():
    check_callable("fun", math.sin)
    with pytest.raises(TypeError, match=r"^`fun` must be callable, got 3 \(int\)$"):
        check_callable("fun", 3)


def test_message_does_not_print_a_large_value():
    with pytest.raises(ValueError, match="got an array of shape") as caught:
        Steps()("eps", np.ones(100_000), 3)
    assert len(str(caught.value)) < 200


def test_warning_blames_the_first_frame_outside_fastopt():
    inside = {"__name__": "fastopt.somewhere", "warn_caller": warn_caller}
    exec(
        compile(
            "def inner():\n    warn_caller('look', RuntimeWarning)\ndef outer():\n    inner()\n",
            "inside.py",
            "exec",
        ),
        inside,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        inside["outer"]()
    assert [warning.filename for warning in caught] == [__file__]
