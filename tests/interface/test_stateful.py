"""Functions whose evaluations leave a trace: which of them count."""

import pickle
from contextlib import contextmanager

import numpy as np
import pytest

import fastopt
from fastopt.interface.methods import METHODS

N_SAMPLES, BATCH_SIZE = 12, 4
# Methods that evaluate more than they go to, and those that go wherever they evaluate.
SEARCHING = ["bfgs", "l-bfgs", "cg", "sr1", "barzilai-borwein", "nesterov-restart"]
STEPPING = [name for name, row in METHODS.items() if row.solver == "first-order"]


class Recorder:
    """A quartic valley, and a list of the points that count."""

    def __init__(self):
        self.counted = []
        self.evaluations = 0
        self._last = None
        self._holds = 0

    @contextmanager
    def held(self):
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            self._last = None

    def commit(self):
        if self._last is not None:
            self.counted.append(self._last)
            self._last = None

    def value_and_grad(self, x, *batch):
        shift = sum(part.mean() for part in batch)
        rise = x[1] - x[0] ** 2
        value = 10 * rise**2 + (x[0] - 1 - 0.01 * shift) ** 2
        grad = np.array([-40 * rise * x[0] + 2 * (x[0] - 1 - 0.01 * shift), 20 * rise])
        self.evaluations += 1
        if self._holds:
            self._last = x.copy()
        else:
            self.counted.append(x.copy())
        return value, grad

    def fail_at_third(self, x):
        if self.evaluations == 2:
            raise ArithmeticError("third evaluation")
        return self.value_and_grad(x)


def test_rules_are_all_among_the_methods_that_are_tested():
    assert "adam" in STEPPING


@pytest.mark.parametrize("method", SEARCHING)
def test_of_a_search_one_evaluation_an_iteration_counts(method):
    recorder = Recorder()
    points = []
    result = fastopt.minimize(
        recorder.value_and_grad, [-1.2, 1.0], method=method, jac=True, callback=points.append
    )
    assert result.success
    assert result.nfev > result.nit + 1
    assert len(recorder.counted) <= result.nit + 1
    # The start and nearly all iterates: a search may end with a point before its last.
    visited = {point.tobytes() for point in points}
    counted = {point.tobytes() for point in recorder.counted[1:]}
    assert len(counted & visited) >= 0.8 * len(counted)


@pytest.mark.parametrize("method", SEARCHING)
def test_holding_changes_no_bit_of_the_solve(method):
    recorder = Recorder()
    held = fastopt.minimize(recorder.value_and_grad, [-1.2, 1.0], method=method, jac=True)
    free = fastopt.minimize(
        lambda x: Recorder().value_and_grad(x), [-1.2, 1.0], method=method, jac=True
    )
    assert np.array_equal(held.x, free.x)
    assert held.nfev == free.nfev


@pytest.mark.parametrize("method", STEPPING)
def test_of_a_rule_each_evaluation_counts(method):
    recorder = Recorder()
    result = fastopt.minimize(
        recorder.value_and_grad, [-1.2, 1.0], method=method, jac=True, options={"maxiter": 7}
    )
    assert len(recorder.counted) == recorder.evaluations == result.nfev


def test_of_data_each_batch_counts_and_no_evaluation_of_all_of_them():
    recorder = Recorder()
    data = fastopt.Minibatches(np.arange(float(N_SAMPLES)), batch_size=BATCH_SIZE)
    result = fastopt.minimize(
        recorder.value_and_grad,
        [-1.2, 1.0],
        method="adam",
        jac=True,
        data=data,
        options={"epochs": 3, "full_every": 1},
    )
    assert result.nit == 3 * N_SAMPLES // BATCH_SIZE
    assert len(recorder.counted) == result.nit + 1  # the last point is evaluated, too
    assert recorder.evaluations > result.nit + 1


def test_an_evaluation_that_raises_does_not_count_and_the_owner_is_let_go():
    recorder = Recorder()
    solver = fastopt.Solver(recorder.fail_at_third, [-1.2, 1.0], jac=True)
    with pytest.raises(ArithmeticError, match="third"):
        solver.run()
    assert len(recorder.counted) == 1  # the start
    assert recorder._holds == 0


def test_a_solver_and_its_owner_are_pickled_together():
    solver = fastopt.Solver(Recorder().value_and_grad, [-1.2, 1.0], jac=True)
    solver.advance(3)
    copy = pickle.loads(pickle.dumps(solver))
    result = copy.run()
    assert np.array_equal(result.x, solver.run().x)
    assert len(copy._owner.counted) > 4
