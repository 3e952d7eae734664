"""Parts of a batch in other processes: the same bits, and what is lost is known."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from concurrent.futures import (
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from numba import njit
from scipy.optimize import rosen, rosen_der

from fastopt import minimize_many
from fastopt.interface import executors
from fastopt.interface.executors import workers_of
from tests.interface.test_minimize_many import bowl, bowl_gradient, bowl_hessian

ROOT = Path(__file__).resolve().parents[2]
SHARED = ("x", "fun", "jac", "nit", "nfev", "njev", "status", "success", "message")


def assert_same(first, second):
    for name in SHARED:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    assert list(first.errors) == list(second.errors)


@njit
def gaussian(p, grad, t, y):
    """Squared residuals of a peak: height, place, width and floor."""
    total = 0.0
    grad[:] = 0.0
    for i in range(t.size):
        away = (t[i] - p[1]) / p[2]
        peak = np.exp(-0.5 * away * away)
        residual = p[0] * peak + p[3] - y[i]
        total += residual * residual
        grad[0] += 2.0 * residual * peak
        grad[1] += 2.0 * residual * p[0] * peak * away / p[2]
        grad[2] += 2.0 * residual * p[0] * peak * away * away / p[2]
        grad[3] += 2.0 * residual
    return total


def peaks(count):
    """What `minimize_many` takes to fit so many of them."""
    rng = np.random.default_rng(3)
    t = np.linspace(-3.0, 3.0, 50)
    true = rng.uniform([1.0, -1.0, 0.5, 0.0], [3.0, 1.0, 1.5, 1.0], (count, 4))
    y = true[:, :1] * np.exp(-0.5 * ((t - true[:, 1:2]) / true[:, 2:3]) ** 2) + true[:, 3:]
    y += rng.normal(0.0, 0.05, y.shape)
    return {
        "fun": gaussian,
        "X0": np.tile([2.0, 0.0, 1.0, 0.5], (count, 1)),
        "args": (t, y),
        "batched": (False, True),
        "jac": "inplace",
        "options": {"compile": True},
    }


@njit
def limited(x, scale):
    if x[0] == 9.0:
        raise ValueError("refused", x[1])
    return scale * (x[0] - 1.0) ** 2 + (x[1] + 2.0) ** 2, np.array(
        [2.0 * scale * (x[0] - 1.0), 2.0 * (x[1] + 2.0)]
    )


@njit
def wrong(x):
    return x.no_such_thing


def slow(x):
    time.sleep(0.02)
    return rosen(x)


class Unsendable(Exception):
    """An exception that holds what cannot be pickled."""

    def __init__(self, message):
        super().__init__(message)
        self.held = threading.Lock()


def raising_unsendable(x):
    raise Unsendable("mine")


def deadly(x, folder, times):
    """Rosenbrock's function, whose worker dies at some starts, so many times."""
    if x[0] == 9.0:
        for k in range(times):
            try:
                os.mkdir(os.path.join(folder, str(k)))
            except FileExistsError:
                continue
            os._exit(1)
    return rosen(np.minimum(x, 8.0))


class Here(Executor):
    """Runs what it gets at once, from bytes to bytes as a process would."""

    def __init__(self, workers=2):
        self._max_workers = workers
        self.sizes = []

    def submit(self, function, /, *args, **kwargs):
        future = Future()
        sent = pickle.dumps((function, args, kwargs))
        self.sizes.append(len(sent))
        function, args, kwargs = pickle.loads(sent)
        try:
            future.set_result(pickle.loads(pickle.dumps(function(*args, **kwargs))))
        except BaseException as error:
            future.set_exception(error)
        return future


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        yield executor


STARTS = np.array([[-1.2, 1.0], [9.0, 2.0], [3.0, -2.0], [0.0, 0.0], [9.0, 4.0], [0.3, 4.0]])
SCALES = np.arange(1.0, 7.0)

# --- the same bits ---------------------------------------------------------------------------

TASKS = {
    "compiled": peaks(40),
    "interpreted": {"fun": rosen, "X0": np.random.default_rng(4).uniform(-2, 2, (20, 2))},
    "with its gradient": {"fun": rosen, "X0": STARTS[::2], "jac": rosen_der},
    "raising": {"fun": limited, "X0": STARTS, "args": SCALES, "batched": True, "jac": True},
    "scipy": {"fun": rosen, "X0": STARTS[::2], "method": "nelder-mead"},
    "bounds": {"fun": rosen, "X0": STARTS[::2], "bounds": [(0, 0.5), (None, None)]},
    "rows of any kind": {
        "fun": limited,
        "X0": STARTS,
        "args": ([1.0, 2, 3, 4, 5, 6],),
        "batched": True,
        "jac": True,
        "options": {"compile": False},
    },
    "no problems": {"fun": rosen, "X0": np.zeros((0, 2))},
    "one problem": {"fun": rosen, "X0": STARTS[:1], "options": {"maxiter": 3}},
}


@pytest.mark.parametrize("name", TASKS)
def test_a_process_pool_gives_the_bits_of_threads(name, pool):
    with ThreadPoolExecutor(2) as threads:
        for executor in (pool, threads, Here()):
            result = minimize_many(**TASKS[name], workers=executor)
            assert_same(result, minimize_many(**TASKS[name], workers=1))


@pytest.mark.parametrize("workers", [1, 3, 100])
def test_the_number_of_parts_changes_no_bit(workers):
    for name in ("compiled", "raising"):
        result = minimize_many(**TASKS[name], workers=Here(workers))
        assert_same(result, minimize_many(**TASKS[name], workers=1))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_pool_that_forks_gives_the_bits_of_threads():
    """In a process of its own: to fork one with threads is asking for trouble."""
    program = """
    import sys
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context
    from tests.interface.test_executors import assert_same, minimize_many, peaks
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as executor:
        there = minimize_many(**peaks(200), workers=executor)
    assert_same(there, minimize_many(**peaks(200), workers=1))
    print("same")
    """
    assert output_of([sys.executable, "-c", textwrap.dedent(program)]) == "same\n"


def output_of(command, **environment):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240, cwd=ROOT, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_thread_pool_counts_as_its_threads(monkeypatch):
    with ThreadPoolExecutor(3) as threads:
        monkeypatch.setattr(threads, "submit", None)  # they need not wait for its queue
        minimize_many(**peaks(10), workers=threads)


def test_workers_are_counted_where_an_executor_tells():
    assert workers_of(Here(5)) == 5
    with ThreadPoolExecutor(3) as threads:
        assert workers_of(threads) == 3
    assert workers_of(Executor()) >= 16


def test_each_part_gets_its_own_rows_only():
    task = peaks(400)
    executor = Here(2)
    minimize_many(**task, workers=executor)
    assert len(executor.sizes) == 16
    data = task["X0"].nbytes + task["args"][1].nbytes
    assert sum(executor.sizes) < data + 16 * 10_000


def test_a_function_is_kept_for_the_next_parts(monkeypatch):
    monkeypatch.setattr(executors, "_kept", executors.OrderedDict())
    for _ in range(3):
        minimize_many(**TASKS["raising"], workers=Here())
    assert len(executors._kept) == 1
    for scale in range(2 * executors.KEPT):
        minimize_many(limited, STARTS, float(scale), jac=True, workers=Here())
    assert len(executors._kept) == executors.KEPT


# --- errors ----------------------------------------------------------------------------------


def test_exceptions_come_back_with_their_problems(pool):
    result = minimize_many(**TASKS["raising"], workers=pool)
    assert {i: error.args for i, error in result.errors.items()} == {
        1: ("refused", 2.0),
        4: ("refused", 4.0),
    }
    with pytest.raises(ValueError, match="refused") as caught:
        minimize_many(**TASKS["raising"], workers=pool, errors="raise")
    assert caught.value.__notes__[0] in (
        "raised in problem 1 of 6",
        "raised in problem 4 of 6",
    )


def test_exceptions_that_do_not_pickle_are_told_of():
    result = minimize_many(raising_unsendable, STARTS[:2], workers=Here())
    assert [str(error) for error in result.errors.values()] == ["Unsendable: mine"] * 2


@pytest.mark.parametrize("compile", [True, False, "auto"])
def test_what_does_not_compile_is_said_once(compile, pool):
    for executor in (pool, Here()):
        with pytest.raises(Exception, match="no_such_thing") as caught:
            minimize_many(wrong, STARTS, workers=executor, options={"compile": compile})
        assert type(caught.value).__name__ in ("TypingError", "RuntimeError")


class Unpicklable:
    def __call__(self, x):
        raise AssertionError("evaluated")

    def __reduce__(self):
        raise ValueError("no way")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"fun": Unpicklable()}, "fun"),
        ({"jac": Unpicklable()}, "jac"),
        ({"args": threading.Lock()}, "args"),
        ({"args": [Unpicklable()] * 6, "batched": True}, "args"),
    ],
)
def test_what_does_not_pickle_is_named_before_anything_is_sent(arguments, name):
    executor = Here()
    with pytest.raises(TypeError, match=f"`{name}` cannot be sent to an executor's workers"):
        minimize_many(**{"fun": rosen, "X0": STARTS, **arguments}, workers=executor)
    assert executor.sizes == []


def test_functions_without_a_module_need_cloudpickle(monkeypatch):
    def arguments(shift):
        return {"fun": lambda x: rosen(x - shift), "X0": STARTS[:1] - shift}

    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(TypeError, match="`fun` cannot be sent"):
        minimize_many(**arguments(1.0), workers=Here())
    monkeypatch.undo()
    pytest.importorskip("cloudpickle")
    assert_same(
        minimize_many(**arguments(1.0), workers=Here()),
        minimize_many(**arguments(1.0), workers=1),
    )


# --- lost workers ----------------------------------------------------------------------------


def test_finished_parts_are_kept_when_a_worker_dies(tmp_path):
    starts = np.repeat([[-1.2, 1.0]], 64, axis=0)
    starts[50] = [9.0, 1.0]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        result = minimize_many(deadly, starts, (str(tmp_path), 1), workers=executor)
    assert result.status[:40].tolist() == [0] * 40
    assert result.status[50] == 10
    lost = np.flatnonzero(result.status == 10)
    assert list(result.errors) == lost.tolist()
    np.testing.assert_array_equal(result.x[lost], starts[lost])
    # Eight parts of eight problems.
    assert str(result.errors[50]).startswith("problems 48 to 55 were lost with their worker")
    assert "BrokenProcessPool" in str(result.errors[50])
    assert type(result.errors[50].__cause__).__name__ == "BrokenProcessPool"
    assert len({str(error) for error in result.errors.values()}) == (64 - lost[0]) / 8
    assert "was lost" in result.message[50]


class Failing(Here):
    """Its parts end in `error`; it takes no more than `accepts`."""

    def __init__(self, error, accepts=100):
        super().__init__()
        self.error = error
        self.accepts = accepts

    def submit(self, function, /, *args, **kwargs):
        if len(self.sizes) == self.accepts:
            raise self.error
        if len(self.sizes) % 2 or self.accepts < 100:
            return super().submit(function, *args, **kwargs)
        self.sizes.append(0)
        future = Future()
        if isinstance(self.error, CancelledError):
            future.cancel()
            future.set_running_or_notify_cancel()
        else:
            future.set_exception(self.error)
        return future


@pytest.mark.parametrize("error", [RuntimeError("gone"), CancelledError(), OSError("no host")])
def test_parts_that_fail_are_lost_and_the_others_kept(error):
    result = minimize_many(rosen, STARTS, workers=Failing(error))
    assert result.status.tolist() == [10, 0] * 3
    assert str(result.errors[2]).startswith("problems 2 to 2 were lost")
    with pytest.raises(RuntimeError, match="problems 0 to 0 were lost") as caught:
        minimize_many(rosen, STARTS, workers=Failing(error), errors="raise")
    assert not hasattr(caught.value, "__notes__")


def test_an_executor_that_takes_no_more_loses_what_is_left():
    result = minimize_many(rosen, STARTS, workers=Failing(RuntimeError("broken"), 2))
    assert result.status.tolist() == [0, 0, 10, 10, 10, 10]
    assert str(result.errors[5]).startswith("problems 2 to 5 were lost")


def test_an_executor_that_has_been_shut_down_is_an_error():
    executor = ProcessPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="shutdown"):
        minimize_many(rosen, STARTS, workers=executor)


def test_what_is_no_exception_comes_out():
    with pytest.raises(KeyboardInterrupt):
        minimize_many(rosen, STARTS, workers=Failing(KeyboardInterrupt()))


# --- what ends it ----------------------------------------------------------------------------


def touching(x, folder):
    Path(folder, str(x[0])).touch()
    time.sleep(0.05)
    return 1.0


@pytest.mark.parametrize("on_interrupt", ["raise", "return"])
def test_an_interrupt_cancels_what_is_pending(on_interrupt, pool, tmp_path):
    starts = np.arange(64.0)[:, None]

    def solve():
        return minimize_many(
            touching,
            starts,
            str(tmp_path),
            workers=pool,
            callback=lambda found: signal.raise_signal(signal.SIGINT),
            options={"on_interrupt": on_interrupt, "maxiter": 0},
        )

    if on_interrupt == "raise":
        with pytest.raises(KeyboardInterrupt):
            solve()
    else:
        result = solve()
        assert set(result.status) == {0, 7}
    minimize_many(rosen, STARTS[:1], workers=pool)  # behind all that was not cancelled
    assert {"0.0"} <= set(os.listdir(tmp_path))
    assert "63.0" not in os.listdir(tmp_path)


def test_the_callback_hears_of_every_part(pool):
    heard = []
    result = minimize_many(**TASKS["compiled"], workers=pool, callback=heard.append)
    assert sorted(i for found in heard for i in range(40)[found.problems]) == list(range(40))
    assert heard[-1].done == 40
    for found in heard:
        np.testing.assert_array_equal(found.x, result.x[found.problems])


class Three(Here):
    """The first three tasks are done at once, the others never."""

    def submit(self, function, /, *args, **kwargs):
        if len(self.sizes) == 3:
            return Future()
        return super().submit(function, *args, **kwargs)


@pytest.mark.parametrize("raised", [StopIteration, KeyboardInterrupt])
def test_what_was_finished_when_the_batch_ended_is_kept(raised):
    heard = []

    def stop(found):
        heard.append(found)
        raise raised

    options = {"on_interrupt": "return"}
    result = minimize_many(rosen, STARTS, workers=Three(), callback=stop, options=options)
    ending = 99 if raised is StopIteration else 7
    assert result.status.tolist() == [0, 0, 0, ending, ending, ending]
    assert len(heard) == 1


def test_maxtime_ends_parts_in_the_middle(pool):
    minimize_many(slow, STARTS[:2], workers=pool, options={"maxiter": 0})  # they are awake
    result = minimize_many(slow, STARTS, workers=pool, options={"maxtime": 0.3})
    assert set(result.status) == {6}
    assert (result.nfev > 0).any()
    assert np.isfinite(result.fun[result.nfev > 0]).all()


# --- Dask and MPI ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dask_executor():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client.get_executor()


def test_dask_gives_the_bits_of_threads(dask_executor):
    assert workers_of(dask_executor) == 2
    for name in ("compiled", "raising", "interpreted"):
        there = minimize_many(**TASKS[name], workers=dask_executor)
        assert_same(there, minimize_many(**TASKS[name], workers=1))


def shifted(x, shifts):
    return rosen(x - shifts[0])


def test_dask_is_sent_large_arguments_once(dask_executor):
    """It warns, which here is an error, of what is large and sent with every part."""
    shifts = np.full(3_000_000, 0.5)
    result = minimize_many(shifted, STARTS[::2], (shifts,), workers=dask_executor)
    np.testing.assert_array_equal(
        result.x, minimize_many(shifted, STARTS[::2], (shifts,), workers=1).x
    )


def test_dask_recovers_from_a_worker_that_dies(dask_executor, tmp_path):
    starts = np.repeat([[-1.2, 1.0]], 32, axis=0)
    starts[20] = [9.0, 1.0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Dask tells of the death
        result = minimize_many(deadly, starts, (str(tmp_path), 1), workers=dask_executor)
    assert os.listdir(tmp_path) == ["0"]
    assert not result.errors
    assert set(result.status[:20]) == {0}


MPI_PROGRAM = """
import numpy as np
from mpi4py.futures import MPIPoolExecutor
from fastopt.interface.executors import workers_of
from tests.interface.test_executors import TASKS, assert_same, minimize_many, peaks
if __name__ == "__main__":
    with MPIPoolExecutor() as executor:
        assert workers_of(executor) == 2
        for task in (peaks(1000), TASKS["raising"], TASKS["interpreted"]):
            there = minimize_many(**task, workers=executor)
            assert_same(there, minimize_many(**task, workers=1))
    print("same")
"""


# Open MPI, version 4 or 5, wants to be told that all this is meant.
OPEN_MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


def test_mpi_gives_the_bits_of_threads(tmp_path):
    pytest.importorskip("mpi4py")
    if shutil.which("mpiexec") is None:
        pytest.skip("needs mpiexec")
    program = tmp_path / "fits.py"
    program.write_text(MPI_PROGRAM)
    command = ["mpiexec", "-n", "3", sys.executable, "-m", "mpi4py.futures", str(program)]
    assert "same\n" in output_of(command, **OPEN_MPI)


def test_messages_say_there_too_that_the_gradient_alone_showed_the_way(pool):
    given = {"jac": bowl_gradient, "hess": bowl_hessian, "method": "newton"}
    starts = np.array([[-2.0, -1.0], [2.0, 1.0], [-1.0, -3.0], [3.0, 2.0]])
    there, here = (minimize_many(bowl, starts, workers=w, **given) for w in (pool, 1))
    assert_same(there, here)
    assert ["`hess` was not finite" in each for each in there.message] == [True, False] * 2
