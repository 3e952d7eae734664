"""`minimize` inside @njit code: the same bits as from Python, and what it refuses."""

import numpy as np
import pytest
from numba import njit

import fastopt
from fastopt.interface.methods import METHODS
from fastopt.interface.tuples import CompiledResult, Options
from tests.objectives.test_compiled import ARGS, FORMS, in_form, start

FIELDS = ("x", "fun", "jac", "nit", "nfev", "njev", "status", "success")


def caller(fun, jac, method):
    """A compiled function that minimises; `jac` and `method` are constants in it."""

    @njit
    def solve(x0, args, options):
        return fastopt.minimize(fun, x0, args, method, jac, options=options)

    return solve


def assert_same(expected, found):
    for name in FIELDS:
        np.testing.assert_array_equal(expected[name], getattr(found, name), err_msg=name)


@njit
def bowl(x, centre):
    total = 0.0
    for i in range(x.size):
        total += (x[i] - centre[i]) ** 2
    return total


@njit
def bowl_gradient(x, centre):
    return 2.0 * (x - centre)


@njit
def bowl_pair(x, centre):
    return bowl(x, centre), bowl_gradient(x, centre)


CENTRE = np.array([3.0, -4.0])


# --- the same bits ---------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", METHODS)
def test_result_is_that_of_python_to_the_bit(form, method):
    fun, jac = in_form(form)
    solve = caller(fun, jac, method)
    options = Options(maxiter=60, **({"lr": 1e-3} if METHODS[method].rule else {}))
    for n in (1, 2, 10, 100):
        found = solve(start(n), ARGS, options)
        assert_same(fastopt.minimize(fun, start(n), ARGS, method, jac, options=options), found)
        assert found.nit > 1
        assert isinstance(found, CompiledResult)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_chosen_at_run_time_changes_no_bit(method):
    fun, jac = in_form("joint")

    @njit
    def solve(x0, args, method, options):
        return fastopt.minimize(fun, x0, args, method=method, jac=True, options=options)

    options = Options(maxiter=30, lr=1e-3)
    plain = {"maxiter": 30, **({"lr": 1e-3} if METHODS[method].rule else {})}
    expected = fastopt.minimize(fun, start(3), ARGS, method, jac, options=plain)
    row = METHODS[method]
    for name in (row.name, row.name.upper(), *row.aliases):
        assert_same(expected, solve(start(3), ARGS, name, options))
