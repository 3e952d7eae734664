"""A `Solver` can be cut into slices, put away and gone on with: no bit of the solve changes."""

import copy
import pickle
import threading

import numpy as np
import pytest
from scipy.optimize import OptimizeWarning, rosen, rosen_der

import fastopt
from fastopt import Solver
from fastopt.interface.methods import METHODS
from tests.step_lengths import step_length

START = np.array([-1.2, 1.0, -0.5, 0.8])
OWN = pytest.mark.parametrize("method", METHODS)
COUNTS = ("nit", "nfev", "njev", "status", "message", "converged_to")


def rosen_pair(x):
    return rosen(x), rosen_der(x)


def options_of(method, **options):
    if METHODS[method].rule:
        return {**step_length(method, 1e-3), "maxiter": 300, **options}
    return options


def hess_inv_of(result):
    hess_inv = result.get("hess_inv")
    return hess_inv.todense() if hasattr(hess_inv, "todense") else hess_inv


def assert_same_bits(one, other):
    assert one.x.tobytes() == other.x.tobytes()
    assert one.jac.tobytes() == other.jac.tobytes()
    assert one.fun.hex() == other.fun.hex()
    assert [one[name] for name in COUNTS] == [other[name] for name in COUNTS]
    if "hess_inv" in one:
        assert hess_inv_of(one).tobytes() == hess_inv_of(other).tobytes()


def finish(solver, k):
    while solver.advance(k):
        pass
    return solver.result()


@OWN
@pytest.mark.parametrize("jac", [True, "2-point"])
@pytest.mark.parametrize("k", [1, 3, 1000])
def test_slices_change_no_bit(method, jac, k):
    fun = rosen_pair if jac is True else rosen
    whole = fastopt.minimize(fun, START, method=method, jac=jac, options=options_of(method))
    solver = Solver(fun, START, method=method, jac=jac, options=options_of(method))
    assert_same_bits(finish(solver, k), whole)


@OWN
@pytest.mark.parametrize("nit", [0, 1, 2, 13, 29])
def test_pickled_solver_goes_on_with_the_same_bits(method, nit):
    whole = fastopt.minimize(rosen_pair, START, method=method, jac=True, options=options_of(method))
    solver = Solver(rosen_pair, START, method=method, jac=True, options=options_of(method))
    solver.advance(nit)
    assert_same_bits(pickle.loads(pickle.dumps(solver)).run(), whole)
    assert_same_bits(copy.deepcopy(solver).run(), whole)
    assert_same_bits(copy.copy(solver).run(), whole)
    assert solver.nit == min(nit, whole.nit)
    assert_same_bits(solver.run(), whole)


@OWN
def test_solver_pickles_before_its_first_evaluation_and_after_its_end(method):
    solver = Solver(rosen_pair, START, method=method, jac=True, options=options_of(method))
    fresh = pickle.loads(pickle.dumps(solver))
    assert fresh.nfev == 0
    ended = pickle.loads(pickle.dumps(fresh))
    ended.run()
    assert not pickle.loads(pickle.dumps(ended)).advance()
    assert_same_bits(pickle.loads(pickle.dumps(ended)).result(), fresh.run())


@OWN
def test_history_goes_on_through_slices_and_pickles(method):
    options = options_of(method, trace=True, return_all=True)
    whole = fastopt.minimize(rosen_pair, START, method=method, jac=True, options=options)
    solver = Solver(rosen_pair, START, method=method, jac=True, options=options)
    solver.advance(0)
    solver.advance(5)
    solver = pickle.loads(pickle.dumps(solver))
    result = finish(solver, 3)
    for name, column in whole.trace.items():
        if name != "time":
            np.testing.assert_array_equal(result.trace[name], column)
    assert np.all(np.diff(result.trace["time"]) >= 0)
    np.testing.assert_array_equal(result.allvecs, whole.allvecs)


def test_advance_runs_at_most_k_iterations_and_says_whether_there_is_more():
    solver = Solver(rosen, START, jac=rosen_der)
    assert solver.advance(0)
    assert (solver.nit, solver.nfev) == (0, 1)
    assert solver.advance()
    assert solver.nit == 1
    assert solver.advance(np.int64(4))
    assert solver.nit == 5
    assert not solver.advance(10_000)
    at_end = solver.result()
    assert not solver.advance(10)
    assert_same_bits(solver.result(), at_end)


@pytest.mark.parametrize("trace", [False, True])
def test_advance_by_zero_of_an_ended_solve_says_that_it_has_ended(trace):
    solver = Solver(rosen, START, jac=rosen_der, options={"trace": trace})
    solver.run()
    assert not solver.advance(0)


@pytest.mark.parametrize(
    ("k", "error", "message"),
    [(-1, ValueError, "got -1"), (1.5, TypeError, "got float"), ("1", TypeError, "got str")],
)
def test_advance_takes_a_nonnegative_integer(k, error, message):
    with pytest.raises(error, match=f"`k` must be a nonnegative integer, {message}"):
        Solver(rosen, START).advance(k)


def test_result_of_a_running_solve_says_so():
    solver = Solver(rosen, START, jac=rosen_der)
    result = solver.result()
    assert (result.success, result.status, result.nfev) == (False, -1, 0)
    assert result.message.startswith("Not started")
    np.testing.assert_array_equal(result.x, START)
    assert np.isnan(result.fun)
    solver.advance(3)
    result = solver.result()
    assert (result.success, result.status, result.converged_to) == (False, -1, None)
    assert result.message.startswith("Still running; paused after 3 iterations")
    assert result.fun == rosen(result.x)


def test_properties_are_those_of_the_result_and_arrays_are_copies():
    solver = Solver(rosen, START, jac=rosen_der)
    solver.advance(3)
    result = solver.result()
    for name in ("fun", "nit", "nfev", "njev", "status"):
        assert getattr(solver, name) == result[name]
    for name in ("x", "jac"):
        np.testing.assert_array_equal(getattr(solver, name), result[name])
        getattr(solver, name)[:] = np.nan
        result[name][:] = np.nan
    assert_same_bits(solver.run(), fastopt.minimize(rosen, START, jac=rosen_der))


def test_repr_tells_how_far_it_is():
    solver = Solver(rosen, START, jac=rosen_der)
    solver.advance(2)
    assert repr(solver).startswith("<Solver: bfgs, 4 variables, 2 iterations, fun=")


@pytest.mark.parametrize(
    ("method", "error", "message"),
    [
        ("nelder-mead", ValueError, "got 'nelder-mead', which is SciPy's"),
        ("bfsg", ValueError, "did you mean 'bfgs'"),
        (print, TypeError, "`method` must be a string or None, got builtin_function"),
    ],
)
def test_only_fastopts_methods_can_be_paused(method, error, message):
    with pytest.raises(error, match=message):
        Solver(rosen, START, method=method)


def test_unknown_option_is_a_warning_to_the_caller():
    with pytest.warns(OptimizeWarning, match="did you mean 'maxcor'") as caught:
        Solver(rosen, START, method="l-bfgs", options={"maxcorr": 3})
    assert [warning.filename for warning in caught] == [__file__]


def test_maxtime_counts_no_pauses():
    solver = Solver(rosen_pair, START, jac=True, options={"maxtime": 3600.0, "trace": True})
    solver.advance(2)
    stopped = pickle.loads(pickle.dumps(solver))
    assert stopped.run().success
    assert stopped.result().trace["time"][-1] < 3600.0


# --- exceptions and other calls from inside ----------------------------------------------------


@OWN
@pytest.mark.parametrize("at", [1, 2, 7])
def test_exception_leaves_the_solver_where_it_can_go_on(method, at):
    calls = []

    def fragile(x):
        calls.append(None)
        if len(calls) == at:
            raise ConnectionError("try again")
        return rosen_pair(x)

    options = options_of(method)
    whole = fastopt.minimize(rosen_pair, START, method=method, jac=True, options=options)
    solver = Solver(fragile, START, method=method, jac=True, options=options)
    with pytest.raises(ConnectionError, match="try again"):
        solver.run()
    assert solver.result().status == -1
    assert solver.nit <= at
    result = solver.run()
    assert result.status == whole.status
    np.testing.assert_allclose(result.x, whole.x, atol=1e-3)


def test_solver_cannot_be_advanced_from_inside_its_own_function():
    seen = []

    def fun(x):
        for inside in (solver.advance, solver.run):
            with pytest.raises(RuntimeError, match="this solver is running already"):
                inside()
        seen.append(None)
        return rosen_pair(x)

    solver = Solver(fun, START, jac=True, options={"maxtime": 3600.0})
    assert_same_bits(solver.run(), fastopt.minimize(rosen_pair, START, jac=True))
    assert seen


def test_solver_cannot_be_pickled_in_the_middle_of_an_iteration():
    def fun(x):
        with pytest.raises(RuntimeError, match="running already"):
            pickle.dumps(solver._state)
        return rosen_pair(x)

    solver = Solver(fun, START, jac=True)
    assert solver.advance(2)


def test_solver_cannot_be_advanced_by_two_threads_at_once():
    inside = threading.Event()
    leave = threading.Event()

    def fun(x):
        inside.set()
        leave.wait(60)
        return rosen_pair(x)

    solver = Solver(fun, START, jac=True)
    thread = threading.Thread(target=solver.run)
    thread.start()
    try:
        assert inside.wait(60)
        with pytest.raises(RuntimeError, match="by two threads at once"):
            solver.advance()
    finally:
        leave.set()
        thread.join()
    assert solver.result().success


def test_solvers_in_many_threads_do_not_meet():
    whole = fastopt.minimize(rosen_pair, START, jac=True)
    results = [None] * 8

    def solve(index):
        results[index] = fastopt.minimize(rosen_pair, START, jac=True)

    threads = [threading.Thread(target=solve, args=(index,)) for index in range(len(results))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        assert_same_bits(result, whole)
