"""Processes for finite differences."""

import pickle

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
