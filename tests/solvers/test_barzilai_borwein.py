"""Barzilai and Borwein's steps: those of the formulas, and what the search promises of f."""

import numpy as np
import pytest
from scipy.optimize import minimize as scipy_minimize
from scipy.optimize import rosen, rosen_der

from fastopt.core.abi import Status
from fastopt.objectives.python import PythonObjective

from .conftest import UNLIMITED


def quadratic(n, condition):
    """Value and gradient of a parabola, and its minimum."""
    curvatures = np.geomspace(1.0, condition, n)
    centre = np.random.default_rng(n).standard_normal(n)
    return lambda x: (0.5 * curvatures @ (x - centre) ** 2, curvatures * (x - centre)), centre


def run(state, objective, steps):
    """The points, values and gradients of so many iterations."""
    state.advance(objective, 0)
    found = [(state.last_x, state.last_fun, state.last_jac)]
    for _ in range(steps):
        if not state.advance(objective, 1):
            break
        found.append((state.last_x, state.last_fun, state.last_jac))
    return [np.array(column) for column in zip(*found, strict=True)]


def abbmin(fun, x, steps):
    """Frassoldati, Zanni & Zanghirati's ABBmin1, line by line, without a search."""
    points = [x]
    gradient = fun(x)[1]
    alpha = 1 / np.linalg.norm(gradient)
    shorts = []
    for _ in range(steps):
        x = x - alpha * gradient
        points.append(x)
        s, y = points[-1] - points[-2], fun(x)[1] - gradient
        gradient = fun(x)[1]
        shorts.append((s @ y) / (y @ y))
        long = (s @ s) / (s @ y)
        alpha = min(shorts[-7:]) if shorts[-1] / long < 0.5 else long
    return np.array(points)


def test_on_a_parabola_the_iterates_are_those_of_the_formulas(make_state):
    fun, _ = quadratic(10, 30.0)
    points, _, _ = run(
        make_state("barzilai-borwein", np.zeros(10)), PythonObjective(fun, True, (), 10), 25
    )
    # The errors of rounding grow from step to step.
    np.testing.assert_allclose(points, abbmin(fun, np.zeros(10), 25)[: len(points)], atol=1e-8)
    assert len(points) > 20


@pytest.mark.parametrize("n", [2, 9, 30])
def test_f_stays_below_the_highest_of_its_last_ten_values(make_state, chained_start, n):
    state = make_state("barzilai-borwein", chained_start(n))
    points, values, gradients = run(state, PythonObjective(rosen, rosen_der, (), n), 300)
    assert (np.diff(values) > 0).any()
    promised = -(np.diff(points, axis=0) * gradients[:-1]).sum(axis=1)
    for k in range(1, len(values)):
        assert values[k] < values[max(0, k - 10) : k].max() - 0.99e-4 * promised[k - 1]


def test_equal_curvatures_leave_two_steps(make_state):
    state = make_state("barzilai-borwein", np.full(5, 3.0), gtol=1e-12)
    state.advance(PythonObjective(lambda x: (2 * x @ x, 4 * x), True, (), 5), UNLIMITED)
    assert (state.status, state.nit) == (Status.GTOL, 2)
    np.testing.assert_allclose(state.x, 0.0, atol=1e-12)


@pytest.mark.parametrize("condition", [1e2, 1e4])
def test_parabolas_take_no_more_evaluations_than_scipys_conjugate_gradients(make_state, condition):
    fun, centre = quadratic(200, condition)
    gtol = 1e-6 * np.abs(fun(np.zeros(200))[1]).max()
    state = make_state("barzilai-borwein", np.zeros(200), gtol=gtol)
    state.advance(PythonObjective(fun, True, (), 200), UNLIMITED)
    other = scipy_minimize(fun, np.zeros(200), jac=True, method="CG", options={"gtol": gtol})
    assert state.status == Status.GTOL
    np.testing.assert_allclose(state.x, centre, atol=10 * gtol)
    assert state.nfev <= other.nfev


def test_no_step_is_shorter_than_what_can_be_seen_for_long(make_state):
    """At 1e12 + 1 the first step, and many after it, would be lost in the rounding of x."""
    centre = 1e12 * np.ones(3)
    state = make_state("barzilai-borwein", centre + 1e6, gtol=1e-3)
    objective = PythonObjective(
        lambda x: (0.5 * (x - centre) @ (x - centre), x - centre), True, (), 3
    )
    state.advance(objective, UNLIMITED)
    assert state.status == Status.GTOL


def test_a_search_that_is_interrupted_begins_again_with_the_same_bits(make_state, chained_start):
    calls = []

    def fragile(x):
        calls.append(0)
        if len(calls) % 7 == 0:
            raise LookupError
        return rosen(x), rosen_der(x)

    state = make_state("barzilai-borwein", chained_start(4))
    objective = PythonObjective(fragile, True, (), 4)
    for _ in range(100_000):
        try:
            if not state.advance(objective, UNLIMITED):
                break
        except LookupError:
            pass
    whole = make_state("barzilai-borwein", chained_start(4))
    whole.advance(PythonObjective(lambda x: (rosen(x), rosen_der(x)), True, (), 4), UNLIMITED)
    assert (state.status, state.nit) == (whole.status, whole.nit)
    np.testing.assert_array_equal(state.x, whole.x)
