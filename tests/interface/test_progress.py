"""What a running solve tells: callbacks, history, progress bar."""

import functools
import inspect
import sys

import numpy as np
import pytest
import scipy.optimize
from scipy.optimize import OptimizeResult, rosen, rosen_der

import fastopt
from fastopt.interface.methods import METHODS
from tests.step_lengths import step_length

START = np.array([-1.2, 1.0])
OWN = pytest.mark.parametrize("method", METHODS)


def solve(method="bfgs", callback=None, fun=rosen, **options):
    if METHODS[method].rule:
        options = {**step_length(method, 1e-3), "maxiter": 20, **options}
    return fastopt.minimize(
        fun, START, method=method, jac=rosen_der, callback=callback, options=options
    )


# --- callbacks ---------------------------------------------------------------------------------


@OWN
def test_callback_by_position_gets_each_iterate(method):
    seen = []
    result = solve(method, callback=lambda xk: seen.append(xk), return_all=True)
    np.testing.assert_array_equal(seen, result.allvecs[1:])
    assert len(seen) == result.nit


@OWN
def test_callback_by_keyword_gets_the_state_of_the_solve(method):
    seen = []

    def callback(intermediate_result):
        seen.append(intermediate_result)

    result = solve(method, callback=callback)
    assert [each.nit for each in seen] == list(range(1, result.nit + 1))
    before = START
    for each in seen:
        assert isinstance(each, OptimizeResult)
        assert each.fun == rosen(each.x)
        np.testing.assert_array_equal(each.jac, rosen_der(each.x))
        np.testing.assert_allclose(each.step, np.linalg.norm(each.x - before), rtol=1e-12)
        before = each.x
    last = seen[-1]
    assert (last.nfev, last.njev) == (result.nfev, result.njev)


class Watcher:
    def __init__(self):
        self.results = []

    def __call__(self, intermediate_result):
        self.results.append(intermediate_result)

    def method(self, *, intermediate_result):
        self.results.append(intermediate_result)


@pytest.mark.parametrize(
    "protocol",
    [
        lambda watcher: watcher,
        lambda watcher: watcher.method,
        lambda watcher: functools.partial(watcher.method),
        lambda watcher: lambda intermediate_result: watcher(intermediate_result),
    ],
    ids=["object", "method", "partial", "lambda"],
)
def test_protocol_is_chosen_by_signature_as_scipy_does(protocol):
    for library in (fastopt, scipy.optimize):
        watcher = Watcher()
        library.minimize(rosen, START, method="BFGS", jac=rosen_der, callback=protocol(watcher))
        assert watcher.results
        assert all(isinstance(each, OptimizeResult) for each in watcher.results)


def test_other_signatures_get_x():
    seen = []

    def two(x, intermediate_result=None):
        seen.append((x, intermediate_result))

    solve(callback=two)
    assert all(isinstance(x, np.ndarray) and other is None for x, other in seen)


def test_callback_without_a_signature_gets_x():
    with pytest.raises(ValueError, match="no signature"):
        inspect.signature(max)
    assert solve(callback=max).success


def test_callback_may_keep_and_change_its_argument():
    kept = []

    def callback(intermediate_result):
        kept.append(intermediate_result.x.copy())
        intermediate_result.x[:] = np.nan
        intermediate_result.jac[:] = np.nan
        intermediate_result.nit = -1

    def vandal(x):
        x[:] = np.nan

    untouched = solve(return_all=True)
    for each in (callback, vandal):
        result = solve(callback=each)
        assert result.x.tobytes() == untouched.x.tobytes()
    np.testing.assert_array_equal(kept, untouched.allvecs[1:])


@OWN
@pytest.mark.parametrize("last", [1, 4])
def test_stop_iteration_of_the_callback_ends_the_solve_with_status_99(method, last):
    calls = []

    def callback(intermediate_result):
        calls.append(intermediate_result)
        if len(calls) == last:
            raise StopIteration

    result = solve(method, callback=callback)
    assert (result.status, result.success, result.nit) == (99, False, last)
    assert result.converged_to is None
    assert result.fun <= calls[-1].fun


def test_stop_iteration_at_the_last_iteration_has_status_99_as_in_scipy():
    def stop_at(nit):
        calls = []

        def callback(x):
            calls.append(x)
            if len(calls) == nit:
                raise StopIteration

        return callback

    theirs = scipy.optimize.minimize(rosen, START, jac=rosen_der, method="BFGS")
    again = scipy.optimize.minimize(
        rosen, START, jac=rosen_der, method="BFGS", callback=stop_at(theirs.nit)
    )
    assert again.status == solve(callback=stop_at(solve().nit)).status == 99


@OWN
def test_exception_of_the_callback_comes_out_unchanged(method):
    problem = LookupError("mine")

    def callback(x):
        raise problem

    with pytest.raises(LookupError) as caught:
        solve(method, callback=callback)
    assert caught.value is problem


@OWN
def test_watching_changes_no_bit(method):
    plain = solve(method)
    watched = solve(method, callback=lambda x: None, trace=True, return_all=True)
    assert watched.x.tobytes() == plain.x.tobytes()
    assert (watched.nit, watched.nfev) == (plain.nit, plain.nfev)


# --- trace and return_all ----------------------------------------------------------------------


@OWN
def test_trace_starts_at_x0_and_has_a_row_for_each_iteration(method):
    result = solve(method, trace=True, return_all=True)
    trace = result.trace
    assert set(trace) == {"nit", "nfev", "njev", "time", "fun", "gnorm", "step"}
    assert {column.shape for column in trace.values()} == {(result.nit + 1,)}
    np.testing.assert_array_equal(trace["nit"], np.arange(result.nit + 1))
    points = np.array(result.allvecs)
    np.testing.assert_array_equal(points[0], START)
    np.testing.assert_array_equal(trace["fun"], [rosen(x) for x in points])
    np.testing.assert_array_equal(trace["gnorm"], [abs(rosen_der(x)).max() for x in points])
    np.testing.assert_allclose(
        trace["step"][1:], np.linalg.norm(np.diff(points, axis=0), axis=1), rtol=1e-12
    )
    assert np.isnan(trace["step"][0])
    assert (trace["nfev"][0], trace["nfev"][-1]) == (1, result.nfev)
    assert np.all(np.diff(trace["nfev"]) >= 1)
    assert np.all(np.diff(trace["time"]) >= 0)
    assert trace["nit"].dtype == trace["nfev"].dtype == np.int64


def test_trace_of_a_solve_that_ends_at_x0_has_one_row():
    result = fastopt.minimize(rosen, [1.0, 1.0], jac=rosen_der, options={"trace": True})
    assert (result.nit, len(result.trace["fun"])) == (0, 1)


def test_trace_of_a_solve_that_has_not_begun_is_empty():
    result = fastopt.Solver(rosen, START, options={"trace": True, "return_all": True}).result()
    assert {column.shape for column in result.trace.values()} == {(0,)}
    assert result.allvecs == []


def test_allvecs_are_the_users_to_keep():
    solver = fastopt.Solver(rosen, START, jac=rosen_der, options={"return_all": True})
    solver.run().allvecs[0][:] = np.nan
    np.testing.assert_array_equal(solver.result().allvecs[0], START)


def test_without_being_asked_for_there_is_no_history():
    assert not {"trace", "allvecs"} & set(solve())


# --- the progress bar --------------------------------------------------------------------------


class FakeBar:
    """Stands for tqdm, and remembers what became of it."""

    made = None

    def __init__(self, total, initial, desc, unit):
        self.total, self.n, self.desc = total, initial, desc
        self.closed = False
        self.postfix = ""
        FakeBar.made = self

    def set_postfix_str(self, text, refresh):
        self.postfix = text

    def update(self, count):
        self.n += count

    def close(self):
        self.closed = True


@pytest.fixture
def bar(monkeypatch):
    monkeypatch.setattr("tqdm.auto.tqdm", FakeBar)
    monkeypatch.setattr(FakeBar, "made", None)
    return lambda: FakeBar.made


@OWN
@pytest.mark.parametrize("callback", [None, lambda x: None], ids=["alone", "with a callback"])
def test_progress_bar_counts_iterations(method, callback, bar):
    result = solve(method, callback=callback, progress=True, maxiter=17)
    assert (bar().total, bar().n, bar().desc) == (17, result.nit, result.method)
    # The last iterate's, which need not be the best, and returned.
    last = {
        name: column[-1] for name, column in solve(method, maxiter=17, trace=True).trace.items()
    }
    assert bar().postfix == f"f={last['fun']:.6g}, |g|={last['gnorm']:.3g}"
    assert bar().closed


def test_progress_bar_without_a_limit_has_no_total(bar):
    solve(progress=True, maxiter=np.inf)
    assert bar().total is None


def test_progress_bar_of_a_resumed_solve_starts_where_it_was(bar):
    solver = fastopt.Solver(rosen, START, jac=rosen_der, options={"progress": True})
    solver.advance(5)
    assert bar() is None
    result = solver.run()
    assert bar().n == result.nit


def test_progress_bar_is_closed_when_the_function_raises(bar):
    calls = []

    def fun(x):
        calls.append(x)
        if len(calls) == 3:
            raise LookupError
        return rosen(x)

    with pytest.raises(LookupError):
        solve(fun=fun, progress=True)
    assert bar().closed


@pytest.mark.parametrize("error", [LookupError, StopIteration, KeyboardInterrupt])
@pytest.mark.parametrize("on_interrupt", ["raise", "return"])
def test_progress_bar_is_closed_when_the_callback_raises(error, on_interrupt, bar):
    def callback(x):
        raise error

    returns = error is StopIteration or (error, on_interrupt) == (KeyboardInterrupt, "return")
    if returns:
        assert not solve(callback=callback, progress=True, on_interrupt=on_interrupt).success
    else:
        with pytest.raises(error):
            solve(callback=callback, progress=True, on_interrupt=on_interrupt)
    assert bar().closed


def test_progress_bar_of_tqdm_itself_shows_value_and_gradient(capsys):
    result = solve(progress=True)
    shown = capsys.readouterr().err
    assert "bfgs" in shown
    assert f"f={result.fun:.6g}, |g|=" in shown


def test_progress_without_tqdm_says_what_to_install(monkeypatch, recorder):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match=r"`progress` needs tqdm.*pip install"):
        fastopt.minimize(recorder.fun, START, options={"progress": True})
    assert recorder.calls == 0
