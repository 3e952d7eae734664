"""Processes for finite differences."""

import os
import pickle
import re
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from scipy.optimize import rosen

import fastopt
from fastopt.interface.workers import ProcessPool

# Numerical libraries start threads of their own, which Python 3.12 and later mind when they fork.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

START = [-1.2, 1.0]


@pytest.fixture
def pool():
    pool = ProcessPool(2)
    yield pool
    pool.close()


def test_pool_maps_in_order_and_can_be_closed_and_used_again(pool):
    for _ in range(2):
        assert pool(abs, iter([-3, 1, -2])) == [3, 1, 2]
        pool.close()
    pool.close()


def test_pool_pickles_without_its_processes(pool):
    pool(abs, [-1])
    other = pickle.loads(pickle.dumps(pool))
    assert other(abs, [-4]) == [4]
    other.close()


def test_exception_in_a_process_comes_out(pool):
    with pytest.raises(ZeroDivisionError):
        pool(divmod_by_zero, [1])


def divmod_by_zero(number):
    return divmod(number, 0)


@pytest.mark.parametrize("workers", [1, 2])
def test_number_of_workers_changes_no_bit(workers):
    alone = fastopt.minimize(rosen, START, jac="2-point", options={"maxiter": 5})
    options = {"maxiter": 5, "workers": workers}
    shared = fastopt.minimize(rosen, START, jac="2-point", options=options)
    assert shared.x.tobytes() == alone.x.tobytes()
    assert shared.nfev == alone.nfev


def test_processes_end_with_the_solve():
    solver = fastopt.Solver(rosen, START, options={"workers": 2})
    assert solver.run().success
    assert solver._pool._finalizer is None


def test_solver_with_processes_pickles():
    solver = fastopt.Solver(rosen, START, options={"workers": 2})
    solver.advance(2)
    assert np.array_equal(pickle.loads(pickle.dumps(solver)).run().x, solver.run().x)


@pytest.mark.parametrize(
    ("fun", "args", "message"),
    [
        (
            lambda x: 0.0,
            (),
            "`fun` cannot be sent to worker processes: it does not pickle; define it at module "
            "level, or pass a thread pool's map as `workers`",
        ),
        (
            rosen,
            (threading.Lock(),),
            "`args` cannot be sent to worker processes: it does not pickle; pass a thread pool's "
            "map as `workers`",
        ),
    ],
    ids=["fun", "args"],
)
def test_what_does_not_pickle_is_refused_before_processes_start(fun, args, message):
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$") as refused:
        fastopt.minimize(fun, START, args, options={"workers": 2})
    assert "pickle" in str(refused.value.__cause__)


@pytest.mark.parametrize(
    ("jac", "workers"), [(lambda x: 2 * x, 2), (None, 1), (None, map)], ids=["jac", "one", "map"]
)
def test_what_does_not_pickle_will_do_where_no_process_is_needed(jac, workers):
    result = fastopt.minimize(lambda x: x @ x, START, jac=jac, options={"workers": workers})
    assert result.success


def test_processes_leave_ctrl_c_to_the_solve(pool):
    processes = set(pool(own_process, range(64)))
    for process in processes:
        os.kill(process, signal.SIGINT)
    assert pool(abs, [-3]) == [3]
    assert processes <= {worker.pid for worker in pool._pool._pool if worker.is_alive()}


def own_process(_item):
    return os.getpid()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no process groups of this kind")
def test_ctrl_c_of_a_terminal_ends_a_solve_with_processes_in_silence(tmp_path):
    """It goes to the whole group of processes."""
    module = """
import time
import fastopt
from scipy.optimize import rosen

def fun(x):
    print(end=".", flush=True)
    time.sleep(0.01)
    return rosen(x)

def solve():
    options = {"workers": 2, "on_interrupt": "return", "gtol": 0.0}
    return fastopt.minimize(fun, [3.0] * 50, options=options).status
"""
    (tmp_path / "slow.py").write_text(module)
    script = f"""
import sys
if __name__ == "__main__":
    sys.path.append({str(tmp_path)!r})
    import slow
    sys.exit(slow.solve())
"""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        process.stdout.read(100)  # by then both processes are at work
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (7, b"")
