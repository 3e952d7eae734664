"""A state can be left between iterations, copied, pickled and gone on with."""

import pickle
import threading

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der

from fastopt.core.abi import Status
from fastopt.objectives.python import PythonObjective

from .conftest import OWN, UNLIMITED

N = 6
LIMITED = {
    "l-bfgs": {"maxcor": 3},
    "l-bfgs-b": {"maxcor": 3, "bounds": np.array([np.full(N, -1.5), np.full(N, 0.75)])},
    "gd": {"maxiter": 300},
    "adam": {"maxiter": 300},
}


def rosen_and_der(x):
    return rosen(x), rosen_der(x)


def everything(state):
    inverse = state.hess_inv()
    parts = [state.x, state.jac, np.array([state.fun, state.step])]
    if inverse is not None:
        parts.append(inverse if isinstance(inverse, np.ndarray) else inverse.sk)
    counts = (state.status, state.nit, state.nfev, state.njev, state.nhev)
    return counts, b"".join(part.tobytes() for part in parts)


@pytest.fixture(params=OWN)
def method(request):
    return request.param


@pytest.fixture
def objective():
    return PythonObjective(rosen_and_der, True, (), N)


@pytest.mark.parametrize("slice_", [1, 3, 1000])
def test_slices_do_not_change_a_bit(make_state, chained_start, method, objective, slice_):
    whole = make_state(method, chained_start(N), **LIMITED.get(method, {}))
    whole.advance(objective, UNLIMITED)
    sliced = make_state(method, chained_start(N), **LIMITED.get(method, {}))
    while sliced.advance(objective, slice_):
        assert sliced.status == Status.RUNNING
        assert sliced.nit % slice_ == 0
    assert everything(sliced) == everything(whole)
    assert whole.status in (Status.GTOL, Status.MAXITER)


@pytest.mark.parametrize("pause", [0, 1, 2, 7, 30])
def test_an_unpickled_state_continues_with_the_same_bits(
    make_state, chained_start, method, objective, pause
):
    state = make_state(method, chained_start(N), **LIMITED.get(method, {}))
    state.advance(objective, pause)
    copy = pickle.loads(pickle.dumps(state))
    assert everything(copy) == everything(state)
    state.advance(objective, UNLIMITED)
    copy.advance(objective, UNLIMITED)
    assert everything(copy) == everything(state)


def test_pickling_in_every_iteration_changes_nothing(make_state, chained_start, method, objective):
    whole = make_state(method, chained_start(N), **LIMITED.get(method, {}))
    whole.advance(objective, UNLIMITED)
    state = make_state(method, chained_start(N), **LIMITED.get(method, {}))
    while state.advance(objective, 1):
        state = pickle.loads(pickle.dumps(state))
    assert everything(state) == everything(whole)


def test_a_state_of_another_build_is_refused(make_state, chained_start):
    state = make_state("bfgs", chained_start(N))
    function, (solver, x0, settings, header, vectors, layout) = state.__reduce__()
    with pytest.raises(ValueError, match="another version"):
        function(solver, x0, settings, header + b"\0", vectors, layout)
    with pytest.raises(ValueError, match="another version"):
        function(solver, x0, settings, header, vectors[:-1], layout)


def test_a_pickle_whose_numbers_meant_something_else_is_refused(make_state, chained_start):
    """L-BFGS once kept s'y where it keeps 1 / s'y now: as many numbers, and no layout named."""
    function, arguments = make_state("l-bfgs", chained_start(N)).__reduce__()
    with pytest.raises(ValueError, match="another version"):
        function(*arguments[:-1])
    with pytest.raises(ValueError, match="another version"):
        function(*arguments[:-1], arguments[-1] + 1)


def test_an_evaluation_that_raises_leaves_the_last_iterate_and_the_solve_goes_on(
    make_state, chained_start, method, objective
):
    """Interrupted at every single evaluation, and gone on with, the solve ends where it would."""

    class Interrupted(BaseException):
        pass

    whole = make_state(method, chained_start(N), **LIMITED.get(method, {}))
    whole.advance(objective, UNLIMITED)
    state = make_state(method, chained_start(N), **LIMITED.get(method, {}))
    calls = [0]
    fail_at = None

    def flaky(x):
        calls[0] += 1
        if calls[0] == fail_at:
            raise Interrupted
        return rosen_and_der(x)

    flaky_objective = PythonObjective(flaky, True, (), N)
    interruptions = 0
    while state.status in (Status.RUNNING, Status.RAISED):
        calls[0], fail_at = 0, 1 + interruptions % 3
        before = state.nit
        try:
            state.advance(flaky_objective, UNLIMITED)
        except Interrupted:
            interruptions += 1
            assert state.status == Status.RAISED
            assert state.nit <= before + 2
            if state.started:
                assert state.fun == rosen(state.x)
        fail_at = None
        state.advance(flaky_objective, 1)
    assert interruptions > 10
    state.advance(objective, UNLIMITED)
    assert state.status == whole.status
    assert state.nit == whole.nit
    np.testing.assert_array_equal(state.x, whole.x)


def test_a_state_does_not_run_inside_itself(make_state, chained_start, method):
    state = make_state(method, chained_start(N))

    def greedy(x):
        state.advance(objective, 1)
        return 0.0, np.zeros(N)

    objective = PythonObjective(greedy, True, (), N)
    with pytest.raises(RuntimeError, match="running already"):
        state.advance(objective, 1)
    assert state.advance(PythonObjective(rosen_and_der, True, (), N), 1)


def test_a_state_does_not_run_in_two_threads(make_state, chained_start):
    state = make_state("bfgs", chained_start(N))
    inside, leave = threading.Event(), threading.Event()

    def waiting(x):
        inside.set()
        leave.wait(10)
        return rosen_and_der(x)

    objective = PythonObjective(waiting, True, (), N)
    thread = threading.Thread(target=state.advance, args=(objective, 1))
    thread.start()
    inside.wait(10)
    for intrude in (lambda: state.advance(objective, 1), lambda: pickle.dumps(state)):
        with pytest.raises(RuntimeError, match="running already"):
            intrude()
    leave.set()
    thread.join()
    assert state.nit == 1


def test_a_finished_state_does_nothing_more(make_state, chained_start, method, objective):
    state = make_state(method, chained_start(N), maxiter=3)
    assert not state.advance(objective, UNLIMITED)
    before = everything(state)
    assert not state.advance(objective, UNLIMITED)
    assert everything(state) == before


def test_finish_from_outside_keeps_its_reason(make_state, chained_start, method, objective):
    state = make_state(method, chained_start(N))
    state.advance(objective, 2)
    state.finish(Status.CALLBACK)
    assert state.status == Status.CALLBACK
    assert not state.advance(objective, 1)


def test_before_the_first_evaluation_there_is_only_x0(make_state, chained_start, method):
    x0 = chained_start(N)
    state = make_state(method, x0)
    assert not state.started
    np.testing.assert_array_equal(state.x, x0)
    assert np.isnan(state.fun)
    assert np.isnan(state.jac).all()
    assert (state.nit, state.nfev, state.njev, state.nhev) == (0, 0, 0, 0)


def test_what_is_read_is_the_readers_own(make_state, chained_start, method, objective):
    state = make_state(method, chained_start(N))
    state.advance(objective, 2)
    x, jac = state.x, state.jac
    x[:] = 0
    jac[:] = 0
    assert state.x.any()
    assert state.jac.any()


@pytest.mark.parametrize("n", [1, 7, 33])
def test_a_solver_that_lets_the_gil_go_gives_the_same_bits(make_state, n):
    """Above a size of its own work the GIL is let go; the evaluation takes it back."""
    size = 1600 if n == 33 else n
    rng = np.random.default_rng(n)
    scales = rng.uniform(1, 10, size)
    threads = set()

    def fun(x):
        threads.add(threading.get_ident())
        return 0.5 * x @ (scales * x), scales * x

    state = make_state("bfgs", np.ones(size), maxiter=5)
    state.advance(PythonObjective(fun, True, (), size), UNLIMITED)
    assert threads == {threading.get_ident()}
    assert state.nit <= 5
    assert np.isfinite(state.fun)


REVISITING = pytest.mark.parametrize("solver", ["l-bfgs", "newton-cg"])


@REVISITING
@pytest.mark.parametrize("pause", [0, 3, 1000])
def test_a_point_that_is_revisited_changes_no_bit(
    make_state, chained_start, solver, objective, pause
):
    whole = make_state(solver, chained_start(N))
    whole.advance(objective, UNLIMITED)
    state = make_state(solver, chained_start(N))
    state.advance(objective, pause)
    nfev = state.nfev
    state.revisit(objective, state.last_x)
    assert state.nfev == nfev + 1
    state.advance(objective, UNLIMITED)
    assert state.x.tobytes() == whole.x.tobytes()
    assert (state.status, state.nit, state.nfev) == (whole.status, whole.nit, whole.nfev + 1)


@REVISITING
def test_a_solve_that_has_ended_goes_on_elsewhere(make_state, chained_start, solver, objective):
    state = make_state(solver, chained_start(N))
    state.advance(objective, UNLIMITED)
    assert state.status == Status.GTOL
    state.revisit(objective, np.full(N, 1.5))
    assert (state.status, state.fun) == (Status.RUNNING, rosen(np.full(N, 1.5)))
    np.testing.assert_array_equal(state.jac, rosen_der(np.full(N, 1.5)))
    state.advance(objective, UNLIMITED)
    assert state.status == Status.GTOL
    np.testing.assert_allclose(state.x, 1, atol=1e-4)


@REVISITING
def test_a_point_that_cannot_be_evaluated_is_not_gone_to(
    make_state, chained_start, solver, objective
):
    def fail(x):
        raise ZeroDivisionError

    state = make_state(solver, chained_start(N))
    state.advance(objective, 3)
    before = everything(state)
    with pytest.raises(ZeroDivisionError):
        state.revisit(PythonObjective(fail, True, (), N), np.zeros(N))
    assert everything(state)[1] == before[1]
    assert state.status == Status.RUNNING


def test_other_solvers_and_sizes_are_not_revisited(make_state, chained_start, method, objective):
    state = make_state(method, chained_start(N), **LIMITED.get(method, {}))
    if method in ("l-bfgs", "newton-cg"):
        with pytest.raises(ValueError, match=r"`x` must be of shape \(6,\), got \(2,\)"):
            state.revisit(objective, np.zeros(2))
    else:
        with pytest.raises(ValueError, match="cannot be sent to another point"):
            state.revisit(objective, np.zeros(N))
