"""The one loop of first-order methods: the rule's steps, and what surrounds them."""

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der

from fastopt.core.abi import Status
from fastopt.objectives.python import PythonObjective

from .conftest import UNLIMITED


def adam_of_the_paper(gradient, x, steps, lr, beta1, beta2, eps):
    """Algorithm 1 of Kingma and Ba (2015), line by line."""
    mean = np.zeros_like(x)
    square = np.zeros_like(x)
    for t in range(1, steps + 1):
        g = gradient(x)
        mean = beta1 * mean + (1 - beta1) * g
        square = beta2 * square + (1 - beta2) * g**2
        mean_hat = mean / (1 - beta1**t)
        square_hat = square / (1 - beta2**t)
        x = x - lr * mean_hat / (np.sqrt(square_hat) + eps)
    return x


def test_gd_walks_down_the_gradient_with_a_constant_step(make_state, chained_start):
    x = chained_start(5)
    state = make_state("gd", x, maxiter=50, hyperparameters=(2e-4,))
    state.advance(PythonObjective(rosen, rosen_der, (), 5), UNLIMITED)
    for _ in range(50):
        x = x - 2e-4 * rosen_der(x)
    np.testing.assert_array_equal(state.x, x)
    assert (state.status, state.nit, state.nfev) == (Status.MAXITER, 50, 51)


def test_gd_on_a_parabola_contracts_as_the_closed_form_says(make_state):
    curvatures = np.array([0.5, 1.0, 3.0])
    state = make_state("gd", np.ones(3), maxiter=40, hyperparameters=(0.1,))
    objective = PythonObjective(lambda x: (0.5 * x @ (curvatures * x), curvatures * x), True, (), 3)
    state.advance(objective, UNLIMITED)
    np.testing.assert_allclose(state.x, (1 - 0.1 * curvatures) ** 40, rtol=1e-12)


def test_adam_takes_the_steps_of_the_paper(make_state, chained_start):
    settings = (0.01, 0.9, 0.999, 1e-8)
    state = make_state("adam", chained_start(6), maxiter=400, hyperparameters=settings, gtol=0.0)
    last = []
    objective = PythonObjective(lambda x: (last.append(x.copy()), rosen(x))[1], rosen_der, (), 6)
    state.advance(objective, UNLIMITED)
    expected = adam_of_the_paper(rosen_der, chained_start(6), 400, *settings)
    np.testing.assert_allclose(last[-1], expected, rtol=1e-10, atol=1e-12)


def test_a_step_too_long_ends_with_the_best_point_before_it_blew_up(make_state, chained_start):
    seen = []

    def fun(x):
        value = rosen(x)
        if np.isfinite(value):
            seen.append((value, tuple(x)))
        return value, rosen_der(x)

    state = make_state("gd", chained_start(4), hyperparameters=(0.1,))
    with np.errstate(all="ignore"):
        state.advance(PythonObjective(fun, True, (), 4), UNLIMITED)
    assert state.status == Status.DIVERGED
    assert (state.fun, tuple(state.x)) == min(seen)


def test_a_limit_returns_the_best_point_not_the_last(make_state):
    seen = []

    def fun(x):
        value = float(abs(x[0]))
        seen.append((value, x[0]))
        return value, np.sign(x)

    state = make_state("gd", [1.03], hyperparameters=(0.25,), maxiter=21)
    state.advance(PythonObjective(fun, True, (), 1), UNLIMITED)
    assert seen[-1] != min(seen)
    assert (state.fun, state.x[0]) == min(seen)


def test_a_rise_of_f_is_not_taken_for_convergence(make_state):
    objective = PythonObjective(lambda x: (np.abs(x - 0.3).sum(), np.sign(x - 0.3)), True, (), 1)
    state = make_state("gd", [0.0], hyperparameters=(0.16,), ftol=0.01, maxiter=50)
    state.advance(objective, UNLIMITED)
    assert state.status == Status.MAXITER


def test_the_last_iterate_can_be_read_where_another_point_is_returned(make_state):
    state = make_state("gd", [1.05], hyperparameters=(0.4,), maxiter=4)
    state.advance(PythonObjective(lambda x: (np.abs(x).sum(), np.sign(x)), True, (), 1), UNLIMITED)
    assert state.x[0] == pytest.approx(-0.15)
    assert state.last_x[0] == pytest.approx(0.25)
    assert (state.fun, state.last_fun) == (abs(state.x[0]), abs(state.last_x[0]))
    assert (state.jac[0], state.last_jac[0]) == (-1, 1)


def test_the_value_may_stop_it(make_state, chained_start):
    state = make_state("adam", chained_start(4), stopval=5.0)
    state.advance(PythonObjective(rosen, rosen_der, (), 4), UNLIMITED)
    assert state.status == Status.STOPVAL
    assert state.fun <= 5


def test_a_function_without_a_bottom_is_called_unbounded(make_state):
    def fun(x):
        return (-np.inf if x[0] > 3 else -x[0]), np.array([-1.0])

    state = make_state("gd", [0.0], hyperparameters=(0.5,))
    state.advance(PythonObjective(fun, True, (), 1), UNLIMITED)
    assert state.status == Status.UNBOUNDED
    assert state.x[0] == pytest.approx(3.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(("n", "at"), [(5, 0), (5, 4), (43, 0), (43, 31), (43, 42)])
def test_a_gradient_that_is_not_finite_ends_it_wherever_it_is(make_state, bad, n, at):
    def fun(x):
        grad = x.copy()
        if x[0] < 1:
            grad[at] = bad
        return 0.5 * x @ x, grad

    state = make_state("gd", np.ones(n), hyperparameters=(0.5,))
    state.advance(PythonObjective(fun, True, (), n), UNLIMITED)
    assert (state.status, state.nit) == (Status.DIVERGED, 0)
    np.testing.assert_array_equal(state.x, np.ones(n))


@pytest.mark.parametrize("at", [0, 2, 4])
def test_gtol_bounds_every_entry_of_the_gradient(make_state, at):
    curvatures = np.full(5, 1.0)
    curvatures[at] = 0.25
    objective = PythonObjective(lambda x: (0.5 * x @ (curvatures * x), curvatures * x), True, (), 5)
    state = make_state("gd", np.ones(5), gtol=0.01, hyperparameters=(0.5,))
    state.advance(objective, UNLIMITED)
    steps = 25  # 0.25 (1 - 0.125)**steps falls below 0.01
    assert (state.status, state.nit) == (Status.GTOL, steps)
    assert 0.25 * 0.875**steps <= 0.01 < 0.25 * 0.875 ** (steps - 1)
