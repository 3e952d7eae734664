"""A gradient by complex steps is checked at x0: what loses the step is found, nothing else is."""

import pickle

import numpy as np
import pytest
from numba import njit
from scipy.optimize import rosen

import fastopt
from fastopt.core.abi import Status
from fastopt.objectives.python import PythonObjective
from fastopt.solvers.state import SolverState
from fastopt.testing import more_garbow_hillstrom
from tests.solvers.conftest import OWN, SHARED

SETTINGS = {**SHARED, **OWN["bfgs"]}
MATRIX = np.random.default_rng(0).standard_normal((20, 5))
RIGHT = np.random.default_rng(1).standard_normal(20)


def start(fun, x0):
    """The state of a solve that has evaluated `fun` at x0, by complex steps."""
    x0 = np.array(x0, dtype=float)

    def returning(x):
        with np.errstate(all="ignore"):
            value = fun(x)
        return complex(value) if np.iscomplexobj(x) else float(np.real(value))

    state = SolverState("bfgs", x0, SETTINGS)
    state.advance(PythonObjective(returning, "cs", (), x0.size), 0)
    return state


def in_single_precision(x):
    return x.astype(np.complex64 if np.iscomplexobj(x) else np.float32)


NOT_ANALYTIC = {
    "magnitude": (lambda x: np.sum(np.abs(x) ** 2), [3.0, -2.0, 0.1]),
    "magnitude beside more": (lambda x: np.sum(x**4) + 1e-3 * np.abs(x[1]) ** 2, [3.0, -2.0, 0.1]),
    "magnitude of one of many": (lambda x: np.sum(x**2) + np.abs(x[7]) ** 2, np.ones(1000)),
    "magnitude of one variable": (lambda x: np.abs(x[0]) ** 3, [2.0]),
    "magnitude far above zero": (lambda x: 1e8 + np.abs(x[0]) ** 2, [3.0]),
    "magnitude beside curvature": (lambda x: 1e4 * x[0] ** 2 + np.abs(x[1]) ** 2, [0.0, 1.0]),
    "magnitude in a steep function": (lambda x: np.exp(1e3 * np.abs(x[0])), [0.5]),
    "norm": (lambda x: np.linalg.norm(x - 1) ** 2 + x[0], [3.0, -2.0, 0.1]),
    "conjugate": (lambda x: np.conj(x) @ [1.0, 2.0, 3.0], [3.0, -2.0, 0.1]),
    "inner product": (lambda x: np.vdot(MATRIX @ x - RIGHT, MATRIX @ x - RIGHT), np.zeros(5)),
    "real part": (lambda x: np.sum(x.real * x), [3.0, -2.0, 0.1]),
    "largest magnitude": (lambda x: np.max(np.abs(x)) * x[0], [3.0, 1.0]),
    "maximum of real parts": (lambda x: max(x.real) * x[0] + x[1] ** 2, [3.0, 1.0]),
}


@pytest.mark.parametrize(("fun", "x0"), NOT_ANALYTIC.values(), ids=NOT_ANALYTIC)
def test_a_function_that_loses_the_step_is_refused_with_the_alternatives(fun, x0):
    with pytest.raises(ValueError, match=r"^`fun` must be analytic when jac='cs', .*'3-point'"):
        start(fun, x0)


ANALYTIC = {
    "stationary": (lambda x: np.sum((x - 1) ** 2), np.ones(3)),
    "almost stationary": (lambda x: np.sum((x - 1) ** 2), [1 + 1e-9, 1.0, 1.0]),
    "stationary, to third order": (lambda x: x[0] ** 4, [0.0]),
    "inflection": (lambda x: x[0] ** 3, [0.0]),
    "saddle": (lambda x: x[0] * x[1], [0.0, 0.0]),
    "least squares at its solution": (
        lambda x: np.sum((MATRIX @ x - RIGHT) ** 2),
        np.linalg.lstsq(MATRIX, RIGHT)[0],
    ),
    "far above zero": (lambda x: 1e8 + x[0] ** 2, [3.0]),
    "too far to see": (lambda x: 1e16 + x[0] ** 2, [3.0]),
    "rounded": (lambda x: (x[0] + 1e8) - 1e8, [3.0]),
    "rounded away": (lambda x: (x[0] + 1e12) - 1e12, [3.0]),
    "rounded away beside more": (lambda x: (x[0] + 1e12) - 1e12 + x[1] ** 2, [3.0, 1.0]),
    "single precision": (lambda x: np.sum(in_single_precision(x) ** 2), np.arange(1.0, 9.0)),
    "single precision, regularised": (
        lambda x: np.float32(1e4) + np.sum(in_single_precision(x)) + 0.1 * x @ x,
        np.ones(5),
    ),
    "flat": (lambda x: np.exp(-(x[0] ** 2)), [10.0]),
    "steep": (lambda x: np.exp(1e3 * x[0]), [0.5]),
    "very steep": (lambda x: np.exp(1e6 * (x[0] - 1)), [1.0]),
    "high power": (lambda x: x[0] ** -20, [1e-3]),
    "oscillating": (lambda x: np.sin(x[0]), [1e8]),
    "oscillating below rounding": (lambda x: np.sin(x[0]), [1.7e12]),
    "curved": (lambda x: 1e15 * x[0] ** 2 + x[1], [1e-8, 1.0]),
    "bad scale": (lambda x: (x[0] / 1e-10 - 1) ** 2 + (x[1] / 1e10) ** 2, [1e-10, 2e10]),
    "bad scale, from zero": (lambda x: np.tanh(1e12 * x[0]), [0.0]),
    "close to a wall": (lambda x: np.log(x[0]) + x[0], [1e-12]),
    "overflow nearby": (lambda x: x[0] * 1e-8, [1.797693e308]),
    "kink": (lambda x: np.sum(np.sqrt((x - 1) ** 2)), [1.0, 3.0]),
    "kink nearby": (lambda x: np.sum(np.sqrt((x - 1) ** 2)), [1 + 1e-13, 1 - 1e-8]),
    "kink of the slope": (lambda x: np.sum(np.where(x.real > 0, x, 0) ** 2), np.zeros(2)),
    "two pieces": (lambda x: np.sum(np.where(x.real > 0, x**2, -x)), [1.0, -1.0]),
    "constant": (lambda x: 0 * x[0] + 5, [1.0]),
}


@pytest.mark.parametrize(("fun", "x0"), ANALYTIC.values(), ids=ANALYTIC)
def test_a_function_that_keeps_the_step_passes_wherever_it_starts(fun, x0):
    assert start(fun, x0).started


@njit
def chained(x):
    total = 0 * x[0]
    for i in range(x.size - 1):
        total += 100 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2
    return total


@njit
def steep(x):
    return np.exp(1e6 * (x[0] - 1))


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize(
    ("fun", "x0"),
    [
        (chained, np.ones(2)),
        (chained, np.zeros(5)),
        (chained, [-1.2, 1.0, -1.2]),
        (chained, [1 + 1e-9, 1 - 1e-8]),
        (steep, [1.0]),
    ],
)
def test_rounding_and_curvature_of_the_longer_steps_in_jitted_code_are_no_reason(fun, x0, compile):
    solver = fastopt.Solver(fun, x0, jac="cs", options={"compile": compile})
    solver.advance(0)
    assert solver.njev == 1


def test_steps_that_are_long_by_choice_are_not_checked():
    """Their gradient is inexact without being wrong; here by a part in a thousand."""

    def fun(x):
        return np.exp(1e3 * x[0])

    exact = 1e3 * np.exp(500)
    state = SolverState("bfgs", np.array([0.5]), SETTINGS)
    state.advance(PythonObjective(fun, "cs", (), 1, abs_step=1e-4), 0)
    assert state.nfev == 2
    assert state.jac[0] == pytest.approx(exact, rel=3e-3)
    assert state.jac[0] != pytest.approx(exact, rel=1e-3)


@pytest.mark.parametrize("problem", more_garbow_hillstrom(), ids=lambda problem: problem.name)
def test_every_problem_passes_with_two_evaluations_more(problem):
    assert start(problem.fun, problem.x0).nfev == 1 + problem.x0.size + 2


@pytest.mark.parametrize("name", ["oscillating", "steep", "stationary", "rounded away beside more"])
def test_evaluations_that_the_check_takes_are_counted(name):
    fun, x0 = ANALYTIC[name]
    calls = []
    state = start(lambda x: calls.append(x) or fun(x), x0)
    assert len(calls) == state.nfev > 1 + len(x0)
    assert state.njev == 1


def test_the_check_is_made_once_however_often_the_solve_is_put_away():
    def fun(x):
        return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    def make():
        return SolverState("bfgs", np.array([-1.2, 1.0]), SETTINGS)

    whole, put_away = make(), make()
    whole.advance(PythonObjective(fun, "cs", (), 2), 1000)
    while put_away.advance(PythonObjective(fun, "cs", (), 2), 1):
        put_away = pickle.loads(pickle.dumps(put_away))
    assert (put_away.nfev, put_away.njev) == (whole.nfev, whole.njev)
    np.testing.assert_array_equal(put_away.x, whole.x)


def test_the_check_leaves_no_trace_in_the_solve():
    """Through an exact gradient of the same bits the iterates are the same."""

    def fun(x):
        return np.sum((x - np.arange(3)) ** 4)

    def jac(x):
        steps = 1e-20 * np.maximum(1, np.abs(x))
        return np.array([fun(point).imag for point in x + 1j * np.diag(steps)]) / steps

    by_steps = fastopt.minimize(fun, [0.5, 0.25, 0.75], jac="cs", tol=1e-3)
    exact = fastopt.minimize(fun, [0.5, 0.25, 0.75], jac=jac, tol=1e-3)
    assert by_steps.nit == exact.nit
    np.testing.assert_array_equal(by_steps.x, exact.x)


def test_a_solver_that_was_refused_can_only_be_refused_again():
    solver = fastopt.Solver(lambda x: np.sum(np.abs(x) ** 2) + 0 * x[0], [1.0, 2.0], jac="cs")
    for _ in range(2):
        with pytest.raises(ValueError, match="must be analytic"):
            solver.run()
    assert solver.result().message.startswith("Not started yet")


def test_what_the_function_raises_during_the_check_comes_out():
    calls = []

    def fun(x):
        calls.append(x)
        if len(calls) == 4:
            raise ZeroDivisionError
        return np.sum(x**2)

    state = SolverState("bfgs", np.ones(2), SETTINGS)
    with pytest.raises(ZeroDivisionError):
        state.advance(PythonObjective(fun, "cs", (), 2), 0)
    assert state.status == Status.RAISED
    assert not state.started


def test_other_gradients_are_not_checked():
    calls = []

    def fun(x):
        calls.append(x)
        return rosen(x)

    state = SolverState("bfgs", np.ones(2), SETTINGS)
    state.advance(PythonObjective(fun, "3-point", (), 2), 0)
    assert len(calls) == state.nfev == 5
