"""Interpreter callables as objectives: fresh arrays, checked returns, exceptions, differences."""

import gc
import pickle
import time
import weakref

import numpy as np
import pytest
from scipy.optimize import approx_fprime, rosen, rosen_der
from scipy.optimize._numdiff import approx_derivative

from fastopt.core.abi import Status
from fastopt.objectives.python import PythonObjective
from fastopt.solvers.state import SolverState
from tests.solvers.conftest import OWN, SHARED

SETTINGS = {**SHARED, **OWN["bfgs"]}


def first_evaluation(objective, x0):
    """Value and gradient at x0 as a solver gets them, with its counts."""
    state = SolverState("bfgs", np.array(x0, dtype=float), SETTINGS)
    state.advance(objective, 0)
    return state


def solve(objective, x0):
    state = SolverState("bfgs", np.array(x0, dtype=float), SETTINGS)
    state.advance(objective, 10_000)
    return state


def test_every_call_gets_an_array_of_its_own():
    kept = []

    def fun(x):
        kept.append(x)
        return rosen(x)

    def jac(x):
        kept.append(x)
        return rosen_der(x)

    solve(PythonObjective(fun, jac, (), 3), [-1.2, 1.0, 2.0])
    assert len({array.ctypes.data for array in kept}) == len(kept)
    for array in kept:
        assert array.dtype == np.float64
        assert array.flags.owndata
        assert array.flags.writeable


def test_a_function_that_scribbles_on_x_changes_nothing():
    def fun(x):
        value = rosen(x)
        x[:] = np.nan
        return value

    def jac(x):
        gradient = rosen_der(x)
        x[:] = np.nan
        return gradient

    scribbling = solve(PythonObjective(fun, jac, (), 3), [-1.2, 1.0, 2.0])
    clean = solve(PythonObjective(rosen, rosen_der, (), 3), [-1.2, 1.0, 2.0])
    np.testing.assert_array_equal(scribbling.x, clean.x)


@pytest.mark.parametrize("jac", [rosen_der, True])
def test_an_evaluation_from_python_gives_what_is_asked_for(jac):
    x = np.array([-1.2, 1.0, 2.0])
    fun = rosen if callable(jac) else lambda x: (rosen(x), rosen_der(x))
    objective = PythonObjective(fun, jac, (), 3)
    value, gradient = objective.evaluate(x)
    assert value == rosen(x)
    np.testing.assert_array_equal(gradient, rosen_der(x))
    assert np.isnan(objective.evaluate(x, gradient=False)[1]).all()
    value, gradient = objective.evaluate(x, value=False)
    assert np.isnan(value)
    np.testing.assert_array_equal(gradient, rosen_der(x))


def test_an_evaluation_from_python_raises_what_the_users_code_raises():
    objective = PythonObjective(lambda x: 1 / 0, rosen_der, (), 3)
    with pytest.raises(ZeroDivisionError):
        objective.evaluate(np.ones(3))


def test_a_gradient_that_is_reused_between_calls_is_copied():
    buffer = np.empty(3)

    def jac(x):
        buffer[:] = rosen_der(x)
        return buffer

    reused = solve(PythonObjective(rosen, jac, (), 3), [-1.2, 1.0, 2.0])
    clean = solve(PythonObjective(rosen, rosen_der, (), 3), [-1.2, 1.0, 2.0])
    np.testing.assert_array_equal(reused.x, clean.x)


@pytest.mark.parametrize(
    "value",
    [
        3.5,
        np.float64(3.5),
        np.float32(3.5),
        np.array(3.5),
        np.array([3.5]),
        np.array([[3.5]]),
        [3.5],
        (3.5,),
    ],
    ids=repr,
)
def test_a_scalar_is_taken_in_every_form_that_scipy_takes(value):
    state = first_evaluation(PythonObjective(lambda x: value, lambda x: [1.0], (), 1), [0.0])
    assert state.fun == 3.5


@pytest.mark.parametrize("value", [7, True, np.int32(7), np.bool_(True), np.array(7)], ids=repr)
def test_integers_and_booleans_are_numbers(value):
    state = first_evaluation(PythonObjective(lambda x: value, lambda x: [1.0], (), 1), [0.0])
    assert state.fun == float(value)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (None, TypeError, r"`fun` must return a real scalar, got None"),
        ((1.0, np.ones(2)), TypeError, r"got .*; if that is the value .* gradient, pass jac=True"),
        ("3.5", TypeError, r"`fun` must return a real scalar, got '3.5' \(str\)"),
        (b"3", TypeError, r"`fun` must return a real scalar"),
        (1 + 2j, TypeError, r"`fun` must return a real scalar, got \(1\+2j\)"),
        (np.complex128(1), TypeError, r"`fun` must return a real scalar"),
        (np.array([1j]), TypeError, r"`fun` must return a real scalar"),
        (np.ones(2), ValueError, r"`fun` must return a scalar, got an array of shape \(2,\)"),
        ([], ValueError, r"`fun` must return a scalar"),
        ([[1.0], [2.0, 3.0]], TypeError, r"`fun` must return a real scalar"),
        ((1.0, np.ones(1)), TypeError, r"`fun` must return a real scalar, got a tuple of length 2"),
        (..., TypeError, r"`fun` must return a real scalar"),
        ({}, TypeError, r"`fun` must return a real scalar"),
    ],
    ids=repr,
)
def test_what_is_no_scalar_is_refused_by_name(value, error, message):
    objective = PythonObjective(lambda x: value, lambda x: np.ones(1), (), 1)
    with pytest.raises(error, match=message):
        first_evaluation(objective, [0.0])


@pytest.mark.parametrize(
    "gradient",
    [
        [1.0, 2.0, 3.0],
        (1, 2, 3),
        np.array([1, 2, 3]),
        np.array([1, 2, 3], dtype=np.float32),
        np.array([[1.0, 2.0, 3.0]]),
        np.array([[1.0], [2.0], [3.0]]),
        np.array([1.0, 0, 2, 0, 3, 0])[::2],
        np.array([1.0, 2, 3], dtype=object),
        np.array([1.0, 2, 3], dtype=">f8"),
        np.array([3.0, 2, 1])[::-1],
    ],
    ids=repr,
)
def test_a_gradient_is_taken_in_every_form_of_three_numbers(gradient):
    state = first_evaluation(PythonObjective(lambda x: 0.0, lambda x: gradient, (), 3), np.zeros(3))
    np.testing.assert_array_equal(state.jac, [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("gradient", "error", "message"),
    [
        (None, TypeError, r"`jac` must return an array of real numbers, got None"),
        (np.ones(2), ValueError, r"`jac` must return an array of shape \(3,\), got shape \(2,\)"),
        (np.ones(4), ValueError, r"got shape \(4,\)"),
        (1.0, ValueError, r"got shape \(1?,?\)"),
        (np.ones((3, 3)), ValueError, r"got shape \(3, 3\)"),
        (np.ones(3) * 1j, TypeError, r"dtype complex128"),
        (["a", "b", "c"], TypeError, r"`jac` must return an array of real numbers"),
        ([1.0, [2.0], 3.0], ValueError, r"`jac` must return an array of numbers"),
        ([None, 1.0, 2.0], TypeError, r"`jac` must return an array of real numbers"),
    ],
    ids=repr,
)
def test_what_is_no_gradient_is_refused_by_name(gradient, error, message):
    objective = PythonObjective(lambda x: 0.0, lambda x: gradient, (), 3)
    with pytest.raises(error, match=message):
        first_evaluation(objective, np.zeros(3))


@pytest.mark.parametrize(
    ("pair", "error", "message"),
    [
        (1.0, TypeError, r"pair \(value, gradient\) when jac=True, got 1.0"),
        ((1.0,), TypeError, r"got a tuple of length 1"),
        ((1.0, np.ones(3), 2.0), TypeError, r"got a tuple of length 3"),
        ((1.0, np.ones(2)), ValueError, r"`fun` \(jac=True\) must return an array of shape"),
        ((None, np.ones(3)), TypeError, r"`fun` must return a real scalar"),
        ((1.0, None), TypeError, r"`fun` \(jac=True\) must return an array of real numbers"),
    ],
    ids=repr,
)
def test_what_is_no_pair_is_refused_by_name(pair, error, message):
    with pytest.raises(error, match=message):
        first_evaluation(PythonObjective(lambda x: pair, True, (), 3), np.zeros(3))


def filling(x, grad):
    """Rosenbrock's function in the form of `jac="inplace"`."""
    grad[:] = rosen_der(x)
    return rosen(x)


def test_a_filled_gradient_is_as_good_as_a_returned_one():
    filled = solve(PythonObjective(filling, "inplace", (), 3), [-1.2, 1.0, 2.0])
    returned = solve(PythonObjective(lambda x: (rosen(x), rosen_der(x)), True, (), 3),
                     [-1.2, 1.0, 2.0])  # fmt: skip
    np.testing.assert_array_equal(filled.x, returned.x)
    assert (filled.nfev, filled.njev) == (returned.nfev, returned.njev)


def test_every_call_gets_a_gradient_of_its_own_to_fill():
    kept = []

    def fun(x, grad):
        kept.extend([x, grad])
        assert np.isnan(grad).all()
        return filling(x, grad)

    solve(PythonObjective(fun, "inplace", (), 3), [-1.2, 1.0, 2.0])
    assert len({array.ctypes.data for array in kept}) == len(kept)
    for array in kept:
        assert array.dtype == np.float64
        assert array.shape == (3,)
        assert array.flags.owndata
        assert array.flags.writeable


def test_an_entry_of_the_gradient_that_is_forgotten_is_not_a_zero():
    def forgetful(x, grad):
        grad[:2] = 0.0
        return 1.0

    state = first_evaluation(PythonObjective(forgetful, "inplace", (), 3), np.zeros(3))
    assert state.status == Status.NOT_FINITE
    np.testing.assert_array_equal(state.jac, [0.0, 0.0, np.nan])


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (None, TypeError, r"`fun` must return a real scalar, got None"),
        ((1.0, np.ones(3)), TypeError, r"`fun` must return a real scalar, got a tuple of length 2"),
    ],
    ids=repr,
)
def test_a_function_that_fills_the_gradient_returns_the_value(value, error, message):
    objective = PythonObjective(lambda x, grad: value, "inplace", (), 3)
    with pytest.raises(error, match=message):
        first_evaluation(objective, np.zeros(3))


@pytest.mark.parametrize("where", ["fun", "jac", "joint", "inplace", "difference"])
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, StopIteration])
def test_what_the_users_code_raises_comes_out_as_it_is(where, kind):
    error = kind("mine")
    calls = []

    def broken(x, *grad):
        calls.append(x)
        if where != "difference" or len(calls) == 3:
            raise error
        return rosen(x)

    fun, jac = {
        "fun": (broken, rosen_der),
        "jac": (rosen, broken),
        "joint": (broken, True),
        "inplace": (broken, "inplace"),
        "difference": (broken, "2-point"),
    }[where]
    with pytest.raises(kind) as caught:
        first_evaluation(PythonObjective(fun, jac, (), 3), np.zeros(3))
    assert caught.value is error
    assert "broken" in [entry.name for entry in caught.traceback]


def test_arguments_reach_the_functions():
    def fun(x, scale, shift):
        return scale * (x[0] - shift) ** 2

    def jac(x, scale, shift):
        return 2 * scale * (x - shift)

    def filling(x, grad, scale, shift):
        grad[:] = jac(x, scale, shift)
        return fun(x, scale, shift)

    for objective in (
        PythonObjective(fun, jac, (3.0, 2.0), 1),
        PythonObjective(filling, "inplace", (3.0, 2.0), 1),
    ):
        assert solve(objective, [10.0]).x[0] == pytest.approx(2.0)


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize(
    ("scheme", "cost", "tolerance"), [("2-point", 1, 1e-5), ("3-point", 2, 1e-8), ("cs", 1, 1e-13)]
)
def test_differences_approximate_the_gradient_and_are_counted(scheme, cost, tolerance, n):
    def fun(x):
        calls.append(x)
        return np.exp(x @ np.arange(1, n + 1)) + np.sum(x**4)

    x = np.linspace(0.3, -0.7, n)
    exact = np.exp(x @ np.arange(1, n + 1)) * np.arange(1, n + 1) + 4 * x**3
    calls = []
    state = first_evaluation(PythonObjective(fun, scheme, (), n), x)
    np.testing.assert_allclose(state.jac, exact, rtol=tolerance, atol=tolerance)
    check = 2 if scheme == "cs" else 0
    assert len(calls) == state.nfev == 1 + cost * n + check
    assert state.njev == 1


@pytest.mark.parametrize("x", [[0.0, 1.0, -1.0], [1e8, -1e-8, 3.0], [1e-300, 1e15, 5.0]])
@pytest.mark.parametrize("scheme", ["2-point", "3-point"])
@pytest.mark.parametrize("rel_step", [None, 1e-4])
def test_points_of_differences_are_those_that_scipy_takes(scheme, rel_step, x):
    points = {"ours": [], "scipy": []}

    def record(name):
        return lambda x: (points[name].append(x.copy()), float(np.sum(np.cos(x))))[1]

    objective = PythonObjective(record("ours"), scheme, (), 3, rel_step=rel_step)
    first_evaluation(objective, x)
    approx_derivative(record("scipy"), np.array(x), method=scheme, rel_step=rel_step)
    ours = {tuple(point) for point in points["ours"]}
    theirs = {tuple(point) for point in points["scipy"]}
    assert ours == theirs


def test_an_absolute_step_is_taken_as_it_is():
    points = []
    x = np.array([0.5, -2.0])
    objective = PythonObjective(
        lambda x: (points.append(x.copy()), np.sum(x**2))[1], "2-point", (), 2, abs_step=0.25
    )
    state = first_evaluation(objective, x)
    np.testing.assert_array_equal(points[1], [0.75, -2.0])
    np.testing.assert_array_equal(points[2], [0.5, -1.75])
    np.testing.assert_allclose(state.jac, approx_fprime(x, lambda x: np.sum(x**2), 0.25))


def test_steps_may_differ_by_variable():
    points = []
    objective = PythonObjective(
        lambda x: (points.append(x.copy()), 0.0)[1],
        "2-point", (), 2, abs_step=np.array([0.5, 0.125]),
    )  # fmt: skip
    first_evaluation(objective, [1.0, 1.0])
    np.testing.assert_array_equal(points[1:], [[1.5, 1.0], [1.0, 1.125]])


def test_workers_evaluate_the_differences():
    batches = []

    def workers(function, iterable):
        points = list(iterable)
        batches.append(len(points))
        return [function(point) for point in points]

    def fun(x, power):
        return np.sum((x - 1) ** power)

    alone = solve(PythonObjective(fun, "2-point", (4,), 5), np.zeros(5))
    helped = solve(PythonObjective(fun, "2-point", (4,), 5, workers=workers), np.zeros(5))
    np.testing.assert_array_equal(alone.x, helped.x)
    assert set(batches) == {5}
    assert len(batches) == helped.njev


@pytest.mark.parametrize("args", [(), (1.0,)])
def test_stop_iteration_from_a_difference_is_not_turned_into_something_else(args):
    def fun(x, *args):
        if x[0] != 0:
            raise StopIteration
        return 1.0

    with pytest.raises(StopIteration):
        first_evaluation(PythonObjective(fun, "2-point", args, 2), np.zeros(2))


def test_workers_that_lose_a_value_are_named():
    objective = PythonObjective(rosen, "2-point", (), 3, workers=lambda fun, points: [1.0])
    with pytest.raises(ValueError, match="`workers` must return a value for each of the 3 points"):
        first_evaluation(objective, np.zeros(3))


def test_an_objective_of_another_size_is_refused():
    with pytest.raises(ValueError, match="objective has 4 variables, the solver 3"):
        first_evaluation(PythonObjective(rosen, rosen_der, (), 4), np.zeros(3))


def test_complex_steps_need_a_function_that_keeps_them():
    objective = PythonObjective(lambda x: float(np.abs(x).sum()), "cs", (), 2)
    with pytest.raises(TypeError, match=r"complex number .*jac='cs', got .*'3-point'"):
        first_evaluation(objective, [1.0, 2.0])


def test_the_gradient_is_not_asked_for_where_the_value_is_not_finite():
    def jac(x):
        if x[0] > 1:
            raise ValueError("there is no gradient here")
        return np.array([2 * (x[0] - 0.9)])

    def fun(x):
        return np.inf if x[0] > 1 else (x[0] - 0.9) ** 2

    state = solve(PythonObjective(fun, jac, (), 1), [0.5])
    assert state.x[0] == pytest.approx(0.9)
    assert state.njev < state.nfev


def test_a_deadline_ends_the_solve_after_the_evaluation_that_passes_it():
    calls = []

    def slow(x):
        calls.append(x)
        time.sleep(0.02)
        return rosen(x)

    objective = PythonObjective(slow, rosen_der, (), 4)
    objective.deadline = time.perf_counter() + 0.1
    state = SolverState("bfgs", np.full(4, -3.0), SETTINGS)
    assert state.advance(objective, 1000)
    assert state.stopped
    assert state.nfev == len(calls) <= 8
    assert state.fun == rosen(state.x)


def test_it_pickles_in_every_form():
    copy = pickle.loads(pickle.dumps(PythonObjective(filling, "inplace", (), 3)))
    np.testing.assert_array_equal(
        first_evaluation(copy, [1.0, 2.0, 3.0]).jac, rosen_der(np.array([1.0, 2.0, 3.0]))
    )


def test_it_pickles_with_all_its_settings():
    objective = PythonObjective(
        rosen, "3-point", (), 3, abs_step=None, rel_step=np.array([1e-5, 0.0, 1e-6])
    )
    copy = pickle.loads(pickle.dumps(objective))
    np.testing.assert_array_equal(
        first_evaluation(objective, [1.0, 2.0, 3.0]).jac,
        first_evaluation(copy, [1.0, 2.0, 3.0]).jac,
    )


def test_nothing_keeps_an_exception_or_a_function_alive():
    class Marker:
        pass

    marker = Marker()
    alive = weakref.ref(marker)

    def fun(x, marker=marker):
        raise ValueError("gone")

    objective = PythonObjective(fun, rosen_der, (), 3)
    with pytest.raises(ValueError, match="gone"):
        first_evaluation(objective, np.zeros(3))
    del objective, fun, marker
    gc.collect()
    assert alive() is None
