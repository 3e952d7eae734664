"""Endings that have to be honest, whatever the method: noise, edges, lies, kinks, scales."""

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der, rosen_hess

from fastopt.core.abi import Status
from fastopt.interface.methods import METHODS as ROWS
from fastopt.objectives.python import PythonObjective
from fastopt.testing import problem

from .conftest import OWN, UNLIMITED

METHODS = [method for method in OWN if "rule" not in OWN[method]]
# Along a valley they creep, and are there when others have long ended.
CREEPING = [method for method in METHODS if ROWS[method].family == "gradient"]
WITH_SEARCH = [method for method in METHODS if "line_search" in OWN[method]]


@pytest.mark.parametrize("method", METHODS)
def test_values_that_drown_in_rounding_do_not_stop_the_slopes(make_state, method):
    """1e10 added to f leaves six digits of it; the gradient still says where the minimum is."""
    objective = PythonObjective(
        lambda x: (1e10 + rosen(x), rosen_der(x)), True, (), 2, hess=rosen_hess
    )
    state = make_state(method, [-1.2, 1.0], gtol=1e-6)
    state.advance(objective, UNLIMITED)
    assert state.status == Status.GTOL
    np.testing.assert_allclose(state.x, [1.0, 1.0], atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_gradient_that_lies_is_named_as_the_cause(make_state, method):
    objective = PythonObjective(lambda x: (x @ x, -2 * x), True, (), 3)
    state = make_state(method, np.ones(3))
    state.advance(objective, UNLIMITED)
    assert state.status == Status.GRADIENT_MISMATCH
    np.testing.assert_array_equal(state.x, np.ones(3))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("offset", [1e8, 1e10])
def test_differences_that_rounding_hides_are_no_proof_of_a_minimum(make_state, method, offset):
    """f + 1e10 is the same at all points of the differences, a long way from the minimum."""
    objective = PythonObjective(lambda x: rosen(x) + offset, "2-point", (), 2)
    state = make_state(method, [-1.2, 1.0])
    state.advance(objective, UNLIMITED)
    if state.status == Status.ROUNDOFF:  # it got to where that is true: what is left is nothing
        assert np.abs(rosen_der(state.x)).max() <= 1e-6 * offset
    else:
        assert state.status == Status.NOISY_DIFFERENCES


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0.0, 5.0])
def test_a_constant_function_is_at_its_minimum_by_differences_too(make_state, method, value):
    state = make_state(method, [-1.2, 1.0])
    state.advance(PythonObjective(lambda x: value, "2-point", (), 2), UNLIMITED)
    assert (state.status, state.nfev) == (Status.GTOL, 3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scheme", ["2-point", "3-point"])
def test_a_valley_too_fine_for_differences_is_not_called_converged(make_state, method, scheme):
    """Meyer's problem by differences: steps that gain nothing, some of them far above 87.9."""
    p = problem("Meyer")
    state = make_state(method, p.x0, maxiter=1000)
    state.advance(PythonObjective(p.fun, scheme, (), 3), UNLIMITED)
    assert state.status in (Status.NOISY_DIFFERENCES, Status.MAXITER)
    assert state.fun < p.fun(p.x0)


@pytest.mark.parametrize("method", [name for name in METHODS if name not in CREEPING])
def test_an_unattainable_tolerance_ends_at_attainable_precision(make_state, method):
    def fun(x):
        r = np.array([1e4 * x[0] * x[1] - 1, np.exp(-x[0]) + np.exp(-x[1]) - 1.0001, 1e-3 * x[0]])
        jacobian = np.array(
            [[1e4 * x[1], 1e4 * x[0]], [-np.exp(-x[0]), -np.exp(-x[1])], [1e-3, 0.0]]
        )
        return r @ r, 2 * jacobian.T @ r

    def hess(x):
        first = 1e4 * x[0] * x[1] - 1
        second = np.exp(-x[0]) + np.exp(-x[1]) - 1.0001
        jacobian = np.array(
            [[1e4 * x[1], 1e4 * x[0]], [-np.exp(-x[0]), -np.exp(-x[1])], [1e-3, 0.0]]
        )
        bend = first * np.array([[0, 1e4], [1e4, 0]]) + second * np.diag(np.exp(-x))
        return 2 * (jacobian.T @ jacobian + bend)

    state = make_state(method, [0.0, 1.0], gtol=0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        state.advance(PythonObjective(fun, True, (), 2, hess=hess), UNLIMITED)
    assert state.status == Status.ROUNDOFF
    assert state.nit < 1000


@pytest.mark.parametrize("method", CREEPING)
@pytest.mark.parametrize("offset", [0.5, 1e6])
def test_creeping_ends_at_attainable_precision_too(make_state, method, offset):
    """Where no tolerance of the gradient can be met, as rounding errors of x keep it from that."""
    curvatures = np.array([1.0, 30.0, 1000.0])
    target = np.array([0.1, 0.7, -1.3])

    def fun(x):
        return offset + 0.5 * curvatures @ (x - target) ** 2, curvatures * (x - target) + 1e-9

    state = make_state(method, np.zeros(3), gtol=0.0)
    state.advance(PythonObjective(fun, True, (), 3), UNLIMITED)
    assert state.status in (Status.ROUNDOFF, Status.GTOL)
    assert state.nit < 2000
    np.testing.assert_allclose(state.x, target, atol=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_the_edge_of_the_domain_is_told_from_a_minimum(make_state, method):
    """f falls towards a wall, to the last double before it."""

    def fun(x):
        return (-x[0], np.array([-1.0])) if x[0] <= 1 else (np.nan, np.array([np.nan]))

    state = make_state(method, [0.0])
    state.advance(PythonObjective(fun, True, (), 1), UNLIMITED)
    assert state.status == Status.DOMAIN_EDGE
    assert 0.999 < state.x[0] <= 1


@pytest.mark.parametrize("method", WITH_SEARCH)
@pytest.mark.parametrize("test", ["ftol", "xtol"])
@pytest.mark.parametrize("beyond", [np.nan, -1.5])  # with an infinite slope, as of a root at 0
def test_steps_that_the_edge_cuts_short_pass_no_test(make_state, method, test, beyond):
    """However small they are: the minimum is elsewhere."""

    def fun(x):
        return (-x[0], np.array([-1.0])) if x[0] <= 1 else (beyond, np.array([np.inf]))

    state = make_state(method, [0.0], **{test: 1e-3})
    state.advance(PythonObjective(fun, True, (), 1), UNLIMITED)
    assert state.status == Status.DOMAIN_EDGE
    assert 0.999 < state.x[0] <= 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fun", [lambda x: (-x.sum(), -np.ones(2)), lambda x: (-x @ x, -2 * x)])
def test_a_function_without_a_bottom_is_called_unbounded(make_state, method, fun):
    state = make_state(method, [1.0, 2.0])
    with np.errstate(over="ignore"):
        state.advance(PythonObjective(fun, True, (), 2), UNLIMITED)
    assert state.status == Status.UNBOUNDED
    assert np.isfinite(state.x).all()
    assert np.isfinite(state.fun)


@pytest.mark.parametrize("method", METHODS)
def test_any_end_but_convergence_returns_the_lowest_point_seen(make_state, chained_start, method):
    seen = []

    def fun(x):
        value = rosen(x)
        seen.append((value, tuple(x)))
        return value, rosen_der(x)

    for maxfev in range(1, 40, 3):
        seen.clear()
        state = make_state(method, chained_start(4), maxfev=maxfev)
        state.advance(PythonObjective(fun, True, (), 4, hess=rosen_hess), UNLIMITED)
        if state.status == Status.GTOL:
            break
        assert state.nfev == len(seen) == maxfev
        assert state.status == Status.MAXFEV
        assert (state.fun, tuple(state.x)) == min(seen)
        np.testing.assert_array_equal(state.jac, rosen_der(state.x))
    assert maxfev > 15


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [1e-160, 1e-15, 1e15, 1e160])
def test_the_scale_of_f_does_not_matter(make_state, method, scale):
    """The same points at every scale, until gradients leave the range where squares are exact."""
    state = make_state(method, [-1.2, 1.0], gtol=1e-6 * scale)
    objective = PythonObjective(
        lambda x: (scale * rosen(x), scale * rosen_der(x)),
        True,
        (),
        2,
        hess=lambda x: scale * rosen_hess(x),
    )
    state.advance(objective, UNLIMITED)
    assert state.status == Status.GTOL
    np.testing.assert_allclose(state.x, [1, 1], atol=1e-5)
    most = {"dfp": 160, "barzilai-borwein": 200, "nesterov-restart": 800, "fista": 800}
    assert state.nfev < most.get(method, 90)


@pytest.mark.parametrize("method", WITH_SEARCH)
@pytest.mark.parametrize("line_search", ["hager-zhang", "more-thuente"])
def test_gradients_whose_squares_underflow_still_point_downhill(make_state, method, line_search):
    state = make_state(method, [1e-200, 3e-201], gtol=1e-300, line_search=line_search)
    state.advance(PythonObjective(lambda x: (x @ x, 2 * x), True, (), 2), 50)
    assert state.status in (Status.GTOL, Status.ROUNDOFF, Status.GRADIENT_MISMATCH)
    assert np.isfinite(state.x).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(20))
def test_hills_on_a_high_plateau_are_not_climbed(make_state, method, seed):
    """Variation a millionth or less of f is real, if f is computed accurately: no end above x0."""
    rng = np.random.default_rng(seed)
    offset, amplitude = 10 ** rng.uniform(3, 6), 10 ** rng.uniform(-3, 0)
    waves = rng.uniform(0.5, 3, 4)

    def fun(x):
        value = offset + amplitude * (np.sin(waves * x).sum() + 0.02 * x @ x)
        return value, amplitude * (waves * np.cos(waves * x) + 0.04 * x)

    x0 = rng.uniform(-5, 5, 4)
    state = make_state(method, x0, gtol=1e-7 * amplitude)
    state.advance(PythonObjective(fun, True, (), 4), 500)
    assert state.fun <= fun(x0)[0]


@pytest.mark.parametrize("method", METHODS)
def test_a_kink_is_not_called_converged(make_state, method):
    def fun(x):
        bend = x[0] ** 2 - x[1]
        gradient = 8 * np.sign(bend) * np.array([2 * x[0], -1.0])
        return 8 * abs(bend) + (1 - x[0]) ** 2, gradient + np.array([-2 * (1 - x[0]), 0])

    for seed in range(30):
        start = np.random.default_rng(seed).uniform(-2, 2, 2)
        state = make_state(method, start)
        state.advance(PythonObjective(fun, True, (), 2), 1000)
        if state.status in (Status.GTOL, Status.ROUNDOFF):
            assert state.fun < 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_a_start_far_from_the_origin_takes_a_step_that_can_be_seen(make_state, method):
    state = make_state(method, [1e40])
    state.advance(PythonObjective(lambda x: ((x[0] - 1) ** 2, 2 * (x - 1)), True, (), 1), 500)
    assert state.fun < 1e40


@pytest.mark.parametrize("method", METHODS)
def test_maxfev_zero_still_evaluates_the_start(make_state, chained_start, method):
    state = make_state(method, chained_start(3), maxfev=0)
    state.advance(PythonObjective(rosen, rosen_der, (), 3), UNLIMITED)
    assert (state.status, state.nfev) == (Status.MAXFEV, 1)
    assert state.fun == rosen(chained_start(3))
