"""`minimize` inside @njit code: the same bits as from Python, and what it refuses."""

import math

import numba
import numpy as np
import pytest
from numba import njit
from numba.typed import List

import fastopt
from fastopt.core.result import ENDINGS
from fastopt.interface.methods import METHODS
from fastopt.interface.tuples import CompiledResult, Options
from tests.objectives.test_compiled import ARGS, ARGUMENTS, FORMS, in_form, start

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


@pytest.mark.parametrize("form", ["2-point", "3-point", "cs", "default"])
@pytest.mark.parametrize("method", ["bfgs", "gd"])
def test_steps_of_differences_are_those_of_python(form, method):
    fun, jac = in_form(form)
    solve = caller(fun, jac, method)
    for name in ("finite_diff_rel_step", "eps") if method == "bfgs" else ("finite_diff_rel_step",):
        options = Options(maxiter=9, **{name: -1e-4}, **({"lr": 1e-3} if method == "gd" else {}))
        given = options.given()
        assert_same(
            fastopt.minimize(fun, start(3), ARGS, method, jac, options=given),
            solve(start(3), ARGS, options),
        )


STOPS = {
    "gtol": Options(gtol=1e-2),
    "norm": Options(gtol=1.0, norm=-math.inf),
    "ftol": Options(ftol=1e-2, gtol=0),
    "xtol": Options(xtol=1e-2, gtol=0),
    "stopval": Options(stopval=10.0),
    "maxiter": Options(maxiter=3),
    "maxiter 0": Options(maxiter=0),
    "maxfev": Options(maxfev=5),
    "maxtime": Options(maxtime=0),
    "line search": Options(c1=0.3, c2=0.4, maxls=5),
    "memory": Options(maxcor=2),
    "no limit": Options(maxiter=math.inf, maxfev=math.inf, maxtime=math.inf),
}


@pytest.mark.parametrize("name", STOPS)
def test_options_mean_what_they_do_in_python(name):
    fun, jac = in_form("joint")
    solve = caller(fun, jac, "l-bfgs")
    given = STOPS[name].given()
    expected = fastopt.minimize(fun, start(4), ARGS, "l-bfgs", jac, options=given)
    assert_same(expected, solve(start(4), ARGS, STOPS[name]))
    plain = solve(start(4), ARGS, Options())
    assert name == "no limit" or (expected.nit, expected.nfev) != (plain.nit, plain.nfev)


@pytest.mark.parametrize("tol", [1e-2, 0, 1e-9])
@pytest.mark.parametrize("method", METHODS)
def test_tol_sets_what_it_does_in_python(method, tol):
    @njit
    def solve(x0, tol, options):
        return fastopt.minimize(bowl_pair, x0, CENTRE, method, True, tol=tol, options=options)

    for options in (Options(maxiter=20), Options(gtol=0.1, maxiter=20)):
        expected = fastopt.minimize(
            bowl_pair, start(2), CENTRE, method, True, tol=tol, options=options.given()
        )
        assert_same(expected, solve(start(2), tol, options))


@njit
def cliff(x):
    return -math.inf if x[0] > 3.0 else -x[0]


@njit
def wall(x):
    return x[0] if x[0] > 1.0 else math.nan


ENDS = {
    "unbounded": (cliff, 0.0),
    "edge": (wall, 2.0),
    "not finite": (wall, 0.0),
    "kink": (njit(lambda x: abs(x[0] - 0.3) + 1e3), 0.0),
    "flat": (njit(lambda x: 1.0), 0.0),
}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("jac", [None, "3-point"])
def test_numerical_trouble_has_the_status_of_python(name, jac):
    fun, x0 = ENDS[name]

    @njit
    def solve(x0):
        return fastopt.minimize(fun, x0, jac=jac)

    assert_same(fastopt.minimize(fun, x0, jac=jac), solve(x0))


def test_every_ending_of_python_has_its_status_here():
    # RUNNING and the transient codes never get out: what is between them is in the table.
    assert min(ENDINGS) > 0
    assert {ending.success for ending in ENDINGS.values()} == {True, False}


# --- what comes in ---------------------------------------------------------------------------

STARTS = {
    "array": np.array([3.0, 1.0, 2.0]),
    "strided": np.arange(9.0)[::-3],
    "column": np.arange(9.0).reshape(3, 3)[:, 1],
    "float32": np.array([3.0, 1.0, 2.0], np.float32),
    "int8": np.array([3, 1, 2], np.int8),
    "uint64": np.array([3, 1, 2], np.uint64),
    "bool": np.array([True, False, True]),
    "read-only": np.broadcast_to(np.array([2.0]), (3,)),
    "list": List([3.0, 1.0, 2.0]),
    "list of ints": List([3, 1, 2]),
    "tuple": (3.0, 1.0, 2.0),
    "mixed tuple": (3, 1.0, True),
    "float": 3.0,
    "int": 3,
}


@pytest.mark.parametrize("name", STARTS)
def test_x0_of_any_form_is_converted_and_not_written_to(name):
    x0 = STARTS[name]
    plain = np.array(list(x0) if isinstance(x0, List) else x0)
    before = plain.copy()

    @njit
    def solve(x0):
        return fastopt.minimize(total_of_squares, x0)

    assert_same(fastopt.minimize(total_of_squares, plain), solve(x0))
    np.testing.assert_array_equal(list(x0) if isinstance(x0, List) else x0, before)


@njit
def total_of_squares(x):
    return (x * x).sum()


def test_a_list_of_the_callers_own_is_a_starting_point():
    @njit
    def solve():
        return fastopt.minimize(total_of_squares, [3.0, 1.0])

    assert_same(fastopt.minimize(total_of_squares, [3.0, 1.0]), solve())


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_of_any_type_arrive(name):
    argument, read = ARGUMENTS[name]

    @njit
    def fun(x, before, argument, after):
        miss = x[0] - read(argument)
        return miss * miss + before + after, np.array([2.0 * miss])

    @njit
    def solve(argument):
        return fastopt.minimize(fun, 0.0, (1, argument, 3.0), jac=True)

    found = solve(argument)
    assert found.fun == pytest.approx(4.0)
    assert found.x[0] == pytest.approx(read(argument), abs=1e-5)


def test_one_argument_needs_no_tuple():
    @njit
    def solve(centre):
        return fastopt.minimize(bowl, np.zeros(2), centre, jac=bowl_gradient)

    assert_same(fastopt.minimize(bowl, np.zeros(2), CENTRE, jac=bowl_gradient), solve(CENTRE))


def test_jac_may_be_a_flag_that_comes_at_run_time():
    @njit
    def pair(x0, joint):
        return fastopt.minimize(bowl_pair, x0, CENTRE, jac=joint)

    @njit
    def alone(x0, joint):
        return fastopt.minimize(bowl, x0, CENTRE, jac=joint)

    assert_same(fastopt.minimize(bowl_pair, start(2), CENTRE, jac=True), pair(start(2), True))
    assert_same(fastopt.minimize(bowl, start(2), CENTRE), alone(start(2), False))
    for solve, wrong in ((pair, False), (alone, True)):
        with pytest.raises(ValueError, match="`jac` must be True if and only if `fun` returns"):
            solve(start(2), wrong)


# --- Options ---------------------------------------------------------------------------------


def test_options_are_made_in_compiled_code_as_in_python():
    @njit
    def make(gtol, maxiter):
        return (
            fastopt.Options(),
            fastopt.Options(gtol),
            fastopt.Options(gtol=gtol, maxiter=maxiter, lr=None),
            fastopt.Options(maxiter=100 if maxiter > 5 else None),
        )

    expected = (
        Options(),
        Options(1e-3),
        Options(gtol=1e-3, maxiter=7),
        Options(maxiter=100),
    )
    for found, wanted in zip(make(1e-3, 7), expected, strict=True):
        assert type(found) is Options
        assert repr(found) == repr(wanted)
        assert numba.typeof(found) == numba.typeof(wanted)
    assert make(1e-3, 3)[3].given() == {}


def test_options_have_one_type_whichever_are_given():
    @njit
    def solve(options):
        return fastopt.minimize(bowl_pair, np.zeros(2), CENTRE, jac=True, options=options)

    for options in (Options(), Options(maxiter=1), Options(gtol=1e-9, maxcor=3)):
        solve(options)
    assert len(solve.signatures) == 1


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ("gtool=1", TypeError, "`Options` takes gtol, .* got an unexpected keyword"),
        ("gtol='a'", TypeError, "`gtol` must be a number or None"),
        ("maxiter=True", TypeError, "`maxiter` must be a number or None"),
    ],
)
def test_options_refuse_what_they_do_in_python(keywords, error, message):
    namespace = {"fastopt": fastopt}
    exec(f"def make(): return fastopt.Options({keywords})", namespace)
    with pytest.raises(error, match=r"`Options` takes|must be a number"):
        namespace["make"]()
    with pytest.raises(error, match=message):
        njit(namespace["make"])()
