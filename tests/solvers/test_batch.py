"""A workspace that solves one problem after another gives each the bits of a state of its own."""

import threading

import numpy as np
import pytest
from numba import njit

from fastopt.core.abi import Status
from fastopt.objectives.source import compiled_objective
from fastopt.solvers.batch import Answers, BatchSolver
from fastopt.solvers.state import SolverState
from tests.solvers.conftest import OWN, SHARED

STARTS = np.array([[-1.2, 1.0], [1.0, 1.0], [np.nan, 0.0], [3.0, -2.0], [9.0, 9.0], [0.5, 0.5]])
RAISES, BAD_START = 4, 2


@njit
def rosen(x, grad):
    """Rosenbrock's function, which refuses to be 9.0."""
    if x[0] == 9.0:
        raise ValueError("refused")
    ahead, left = x[1] - x[0] * x[0], 1.0 - x[0]
    if grad.size:
        grad[0] = -400.0 * x[0] * ahead - 2.0 * left
        grad[1] = 200.0 * ahead
    return 100.0 * ahead * ahead + left * left


@njit
def endless(x, grad):
    grad[:] = 1.0
    return x.max()


def settings_of(method, **changes):
    return {**SHARED, **OWN[method], **changes}


def solver_of(method, settings):
    return BatchSolver("first-order" if "rule" in OWN[method] else method, 2, settings)


def objective():
    return compiled_objective(rosen, "inplace", (), 2)


def solve(method, starts=STARTS, **changes):
    answers = Answers(starts)
    solver = solver_of(method, settings_of(method, **changes))
    assert solver.solve(objective(), starts, answers, 0, len(starts)) == len(starts)
    return answers


VARIANTS = [
    ("bfgs", {}),
    ("bfgs", {"line_search": "more-thuente"}),
    ("bfgs", {"hess_inv0": np.array([[2.0, 0.5], [0.5, 1.0]])}),
    ("l-bfgs", {}),
    ("l-bfgs", {"maxcor": 1}),
    ("gd", {"maxiter": 50}),
    ("adam", {"maxiter": 50}),
]


@pytest.mark.parametrize(("method", "changes"), VARIANTS)
def test_each_problem_has_the_bits_of_a_state_of_its_own(method, changes):
    """The ones before it, whatever became of them, have left nothing behind."""
    answers = solve(method, **changes)
    for i, start in enumerate(STARTS):
        if i == RAISES:
            continue
        name = "first-order" if "rule" in OWN[method] else method
        state = SolverState(name, start, settings_of(method, **changes))
        state.advance(objective(), 10**9)
        assert answers.status[i] == state.status
        for array in ("x", "fun", "jac", "nit", "nfev", "njev"):
            np.testing.assert_array_equal(getattr(answers, array)[i], getattr(state, array))
    assert answers.status[RAISES] == Status.RAISED
    assert answers.status[BAD_START] == Status.NOT_FINITE


def test_the_order_of_problems_changes_no_bit():
    forward, backward = solve("bfgs"), solve("bfgs", STARTS[::-1].copy())
    for array in ("x", "fun", "jac", "nit", "nfev", "njev", "status"):
        np.testing.assert_array_equal(getattr(forward, array), getattr(backward, array)[::-1])


def test_an_exception_is_kept_without_what_it_refers_to():
    answers = solve("bfgs", np.array([[9.0, 9.0], [7.9, 0.0]]))
    assert {i: str(error) for i, error in answers.errors.items()} == {0: "refused"}
    assert np.isnan(answers.fun[0])
    assert np.isnan(answers.jac[0]).all()
    np.testing.assert_array_equal(answers.x[0], [9.0, 9.0])
    assert answers.errors[0].__traceback__ is None


def test_answers_do_not_share_memory_with_the_starts():
    starts = STARTS.copy()
    answers = solve("bfgs", starts)
    np.testing.assert_array_equal(starts, STARTS)
    assert not np.shares_memory(answers.x, starts)


@pytest.mark.parametrize(("first", "last"), [(-1, 2), (3, 2), (0, 7), (7, 7)])
def test_problems_that_are_not_there_are_refused(first, last):
    solver = solver_of("bfgs", settings_of("bfgs"))
    with pytest.raises(ValueError, match="no problems"):
        solver.solve(objective(), STARTS, Answers(STARTS), first, last)


@pytest.mark.parametrize(
    ("starts", "answers"),
    [
        (np.zeros((6, 3)), Answers(STARTS)),
        (STARTS, Answers(STARTS[:5])),
        (np.zeros((6, 1)), Answers(np.zeros((6, 1)))),
    ],
)
def test_sizes_that_do_not_fit_are_refused(starts, answers):
    solver = solver_of("bfgs", settings_of("bfgs"))
    with pytest.raises(ValueError, match="not of one size"):
        solver.solve(objective(), starts, answers, 0, 5)


def test_only_the_problems_asked_for_are_solved():
    answers = Answers(STARTS)
    solver_of("bfgs", settings_of("bfgs")).solve(objective(), STARTS, answers, 3, 4)
    assert answers.status.tolist() == [0, 0, 0, Status.GTOL, 0, 0]
    np.testing.assert_array_equal(np.delete(answers.x, 3, 0), np.delete(STARTS, 3, 0))


def test_a_number_of_iterations_that_is_not_enough_ends_it_and_changes_no_bit():
    solver = solver_of("bfgs", settings_of("bfgs"))
    answers, whole = Answers(STARTS), solve("bfgs")
    need = int(whole.nit[0])
    assert solver.solve(objective(), STARTS, answers, 0, 4, need - 1) == 0
    assert answers.status[0] == Status.RUNNING
    assert 0 < answers.nit[0] < need
    assert solver.solve(objective(), STARTS, answers, 0, 4, 0) == 0
    # At its start each problem counts as an iteration, too.
    assert solver.solve(objective(), STARTS, answers, 0, 4, need + 1) == 1
    assert solver.solve(objective(), STARTS, answers, 1, 6) == 6
    for array in ("x", "fun", "jac", "nit", "nfev", "njev", "status"):
        np.testing.assert_array_equal(getattr(answers, array), getattr(whole, array))


def test_a_stopped_objective_leaves_a_problem_that_can_be_solved_again():
    target = compiled_objective(endless, "inplace", (), 2)
    settings = settings_of("gd", maxiter=2**62, hyperparameters=(0.0,))
    solver, answers = solver_of("gd", settings), Answers(STARTS[3:])
    left = []
    thread = threading.Thread(
        target=lambda: left.append(solver.solve(target, STARTS[3:], answers, 0, 3))
    )
    thread.start()
    target.stop()
    thread.join()
    assert left == [0]
    assert answers.status.tolist() == [Status.RUNNING] * 3
    assert solver.solve(target, STARTS[3:], answers, 0, 3) == 0
    target.stop(False)
    assert solver.solve(target, STARTS[3:], answers, 0, 3, 10) == 0
    assert answers.nit[0] == 10


def test_a_state_notes_how_far_it_got():
    state = SolverState("bfgs", STARTS[0], settings_of("bfgs"))
    state.advance(objective(), 3)
    answers = Answers(STARTS)
    answers.note(1, state)
    assert (answers.nit[1], answers.fun[1]) == (3, state.fun)
    np.testing.assert_array_equal(answers.x[1], state.x)
    for i in (-1, 6):
        with pytest.raises(ValueError, match=f"no place for problem {i}"):
            answers.note(i, state)
    with pytest.raises(ValueError, match="no place"):
        Answers(np.zeros((2, 3))).note(0, state)
