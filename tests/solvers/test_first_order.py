"""The one loop of first-order methods: the rule's steps, and what surrounds them."""

import pickle

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der

from fastopt import schedules
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


# --- clipping, decay, schedules ------------------------------------------------------------------


def test_gradient_is_clipped_and_decays_before_the_rule_sees_it(make_state, chained_start):
    """Longer than one of the blocks that it is shaped in."""
    n, scale = 10_000, 1e-3
    x = chained_start(n)
    changes = {"clip_norm": 150.0, "clip_value": 1.0, "weight_decay": 0.5}
    state = make_state("gd", x, maxiter=5, hyperparameters=(scale,), gtol=0.0, **changes)
    state.advance(PythonObjective(rosen, rosen_der, (), n), UNLIMITED)
    for _ in range(5):
        grad = rosen_der(x)
        norm = np.linalg.norm(grad)
        assert norm > 150
        grad = np.clip(150 / norm * grad, -1.0, 1.0)
        assert (np.abs(grad) == 1.0).any()
        x = x - scale * (grad + 0.5 * x)
    np.testing.assert_allclose(state.last_x, x, rtol=1e-12)


def test_clipped_gradient_is_not_the_one_that_is_tested(make_state):
    state = make_state("gd", [3.0], hyperparameters=(0.1,), clip_value=1e-9, maxiter=10, gtol=1e-5)
    state.advance(PythonObjective(lambda x: (x @ x, 2 * x), True, (), 1), UNLIMITED)
    assert state.status == Status.MAXITER


def test_schedule_is_asked_for_the_number_of_the_step(make_state):
    schedule = schedules.linear(8, start=1.0, end=0.25)
    state = make_state("gd", [1.0], hyperparameters=(0.5,), schedule=schedule, maxiter=12, gtol=0.0)
    objective = PythonObjective(lambda x: (0.5 * x @ x, x), True, (), 1)
    state.advance(objective, 5)
    state = pickle.loads(pickle.dumps(state))
    state.advance(objective, UNLIMITED)
    x = 1.0
    for t in range(1, 13):
        x -= 0.5 * schedule(t) * x
    assert state.x[0] == x


# --- averages ----------------------------------------------------------------------------------


def noisy(seed=0):
    rng = np.random.default_rng(seed)
    return PythonObjective(lambda x: (x @ x, 2 * x + rng.standard_normal(3)), True, (), 3)


def iterates_of(state, objective):
    points = []
    while state.advance(objective, 1):
        points.append(state.last_x)
    return np.array([*points, state.last_x])


@pytest.mark.parametrize("start", [0, 7])
@pytest.mark.parametrize(("kind", "decay"), [("polyak", 0.5), ("ema", 0.9), ("ema", 0.5)])
def test_average_is_the_mean_of_iterates(make_state, kind, decay, start):
    """One that forgets gives the newest a share of 1 - decay, and is plain before it is so old."""
    changes = {"averaging": kind, "average_decay": decay, "average_from": start, "maxiter": 40}
    state = make_state("adam", np.ones(3), gtol=0.0, **changes)
    points = iterates_of(state, noisy())
    plain = make_state("adam", np.ones(3), gtol=0.0, maxiter=40)
    np.testing.assert_array_equal(iterates_of(plain, noisy()), points)
    kept = points[start:]
    weights = np.full(len(kept), 1 / len(kept))
    if kind == "ema":
        weights = np.zeros(0)
        for k in range(1, len(kept) + 1):
            share = max(1 / k, 1 - decay)
            weights = np.append((1 - share) * weights, share)
    np.testing.assert_allclose(weights.sum(), 1.0)
    np.testing.assert_allclose(state.average, weights @ kept, rtol=1e-12)
    assert plain.average is None


def test_there_is_no_average_before_its_first_iterate(make_state):
    state = make_state("gd", np.ones(3), averaging="polyak", average_from=2)
    objective = noisy()
    for _ in range(2):
        state.advance(objective, 1)
        assert state.average is None
    state.advance(objective, 1)
    np.testing.assert_array_equal(state.average, state.last_x)


@pytest.mark.parametrize("averaging", ["polyak", "ema"])
def test_average_goes_through_slices_and_pickles(make_state, averaging):
    changes = {"averaging": averaging, "average_decay": 0.8, "maxiter": 30}
    whole, cut = (make_state("adam", np.zeros(3), **changes) for _ in range(2))
    objective = PythonObjective(lambda x: (rosen(x), rosen_der(x)), True, (), 3)
    whole.advance(objective, UNLIMITED)
    while cut.advance(objective, 7):
        cut = pickle.loads(pickle.dumps(cut))
    assert cut.average.tobytes() == whole.average.tobytes()
    cut.average[:] = np.nan
    assert cut.average.tobytes() == whole.average.tobytes()


# --- the last step of all ------------------------------------------------------------------------


def ending(calls):
    """A parabola that can be evaluated so many times."""

    def fun(x):
        nonlocal calls
        calls -= 1
        if calls < 0:
            raise EOFError
        return 0.5 * x @ x, x

    return PythonObjective(fun, True, (), 2)


@pytest.mark.parametrize("averaging", [None, "polyak"])
def test_step_without_an_evaluation_at_its_end_is_landed_on_once(make_state, averaging):
    state = make_state("gd", [1.0, 2.0], hyperparameters=(0.5,), averaging=averaging)
    with pytest.raises(EOFError):
        state.advance(ending(3), UNLIMITED)
    assert (state.nit, state.nfev) == (2, 4)  # the one that raised is counted
    np.testing.assert_array_equal(state.last_x, [0.25, 0.5])
    state = pickle.loads(pickle.dumps(state))
    for _ in range(2):
        state.land()
        assert state.nit == 3
        np.testing.assert_array_equal(state.last_x, [0.125, 0.25])
        np.testing.assert_array_equal(state.last_jac, [0.25, 0.5])
        if averaging:
            np.testing.assert_allclose(state.average, np.array([1, 2]) * (0.5 + 0.25 + 0.125) / 3)


def test_nothing_is_landed_on_before_the_first_step(make_state):
    state = make_state("gd", [1.0, 2.0])
    state.land()
    state.advance(ending(1), 0)
    state.land()
    assert state.nit == 0
    np.testing.assert_array_equal(state.last_x, [1.0, 2.0])


def test_a_step_to_infinity_is_not_landed_on(make_state):
    state = make_state("gd", [1e308, 1.0], hyperparameters=(-1e308,))
    with np.errstate(over="ignore"):
        state.advance(PythonObjective(lambda x: (1.0, x), True, (), 2), UNLIMITED)
    assert state.status == Status.DIVERGED
    state.land()
    np.testing.assert_array_equal(state.last_x, [1e308, 1.0])


def test_an_evaluation_that_raised_is_done_again_without_another_step(make_state):
    state = make_state("adam", [1.0, 2.0], maxiter=9, averaging="polyak", gtol=0.0)
    with pytest.raises(EOFError):
        state.advance(ending(4), UNLIMITED)
    state = pickle.loads(pickle.dumps(state))
    state.advance(ending(100), UNLIMITED)
    whole = make_state("adam", [1.0, 2.0], maxiter=9, averaging="polyak", gtol=0.0)
    whole.advance(ending(100), UNLIMITED)
    assert state.last_x.tobytes() == whole.last_x.tobytes()
    assert state.average.tobytes() == whole.average.tobytes()


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
