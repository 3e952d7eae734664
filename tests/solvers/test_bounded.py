"""L-BFGS-B against brute force, dense algebra, and problems whose solutions are known."""

import pickle

import numpy as np
import pytest
import scipy.optimize
from scipy.optimize import lsq_linear, rosen, rosen_der

from fastopt.core.abi import Status
from fastopt.objectives.python import PythonObjective
from fastopt.solvers.bounded import model_points
from fastopt.testing import hock_schittkowski, more_garbow_hillstrom, problem

from .conftest import UNLIMITED

PROBLEMS = {problem.name: problem for problem in more_garbow_hillstrom()}


def projected_norm(x, gradient, low, high):
    return np.abs(np.clip(x - gradient, low, high) - x).max()


def solve(make_state, fun, x0, low, high, jac=True, k=UNLIMITED, **settings):
    n = len(x0)
    ends = np.array(np.broadcast_arrays(low, high, np.zeros(n))[:2], dtype=float)
    state = make_state("l-bfgs-b", x0, bounds=ends, **settings)
    state.advance(PythonObjective(fun, jac, (), n, bounds=ends), k)
    return state


def quadratic(hessian, linear):
    def fun(x):
        product = hessian @ x
        return 0.5 * x @ product - linear @ x, product - linear

    return fun


def random_hessian(rng, n, condition=100.0):
    basis, _ = np.linalg.qr(rng.standard_normal((n, n)))
    return (basis * np.geomspace(1, condition, n)) @ basis.T


# --- the model ---------------------------------------------------------------------------------


def random_model(seed, n=8, m=4):
    """A point, a gradient, bounds (some infinite, some touched by the point) and pairs."""
    rng = np.random.default_rng(seed)
    hessian = random_hessian(rng, n)
    steps = rng.standard_normal((m, n))
    x = rng.standard_normal(n)
    low = x - rng.choice([0, 0.01, 0.3, np.inf], n) * rng.uniform(0.5, 1, n)
    high = x + rng.choice([0.01, 0.3, 3, np.inf], n) * rng.uniform(0.5, 1, n)
    low[np.isnan(low)] = -np.inf
    return x, 3 * rng.standard_normal(n), low, high, steps, steps @ hessian


def dense_hessian(theta, steps, changes):
    """The textbook's BFGS updates, one after another, from theta times the identity."""
    matrix = theta * np.eye(steps.shape[1])
    for s, y in zip(steps, changes, strict=True):
        image = matrix @ s
        matrix = matrix - np.outer(image, image) / (s @ image) + np.outer(y, y) / (s @ y)
    return matrix


def brute_cauchy_point(x, gradient, low, high, matrix):
    """The first minimiser along the projected path, piece by piece."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.where(gradient > 0, (x - low) / gradient, (x - high) / gradient)
    ends = np.where(gradient == 0, np.inf, ends)
    begin = 0.0
    for end in [*np.unique(ends[(ends > 0) & (ends < np.inf)]), np.inf]:
        direction = np.where(ends > begin, -gradient, 0.0)
        moved = np.where(ends > begin, -begin * gradient, -np.minimum(ends, begin) * gradient)
        moved[ends <= 0] = 0
        slope = direction @ (gradient + matrix @ moved)
        bend = direction @ matrix @ direction
        if slope >= 0:
            return x + moved
        if begin - slope / bend < end:
            return x + moved - slope / bend * direction
        begin = end
    raise AssertionError("a convex model has a minimiser")


@pytest.mark.parametrize("seed", range(200))
def test_the_cauchy_point_is_the_first_minimiser_along_the_path(seed):
    x, gradient, low, high, steps, changes = random_model(seed)
    theta, found, _ = model_points(x, gradient, low, high, steps, changes)
    matrix = dense_hessian(theta, steps, changes)
    expected = brute_cauchy_point(x, gradient, low, high, matrix)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(200))
def test_the_target_minimises_the_model_over_the_variables_that_are_free(seed):
    """Whatever is held at a bound there, the gradient of the model vanishes along the others."""
    x, gradient, low, high, steps, changes = random_model(seed)
    theta, cauchy_point, target = model_points(x, gradient, low, high, steps, changes)
    assert ((low <= target) & (target <= high)).all()
    matrix = dense_hessian(theta, steps, changes)
    at_bound = (np.abs(target - low) < 1e-12) | (np.abs(target - high) < 1e-12)
    model_gradient = gradient + matrix @ (target - x)
    turned_back = np.allclose(target, cauchy_point)
    if not turned_back:
        np.testing.assert_allclose(model_gradient[~at_bound], 0, atol=1e-8 * np.abs(matrix).max())
    assert gradient @ (target - x) < 0


def test_without_bounds_in_reach_the_target_is_that_of_the_inverse():
    x, gradient, *_, steps, changes = random_model(3)
    low, high = x - 1e6, x + 1e6
    theta, _, target = model_points(x, gradient, low, high, steps, changes)
    expected = x - np.linalg.solve(dense_hessian(theta, steps, changes), gradient)
    np.testing.assert_allclose(target, expected, rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-120, 1e-60, 1e60, 1e120])
def test_the_model_does_not_depend_on_units(scale):
    x, gradient, low, high, steps, changes = random_model(5)
    _, cauchy_point, target = model_points(x, gradient, low, high, steps, changes)
    _, scaled_cauchy, scaled_target = model_points(
        x, scale * gradient, low, high, steps, scale * changes
    )
    np.testing.assert_allclose(scaled_cauchy, cauchy_point, rtol=1e-10)
    np.testing.assert_allclose(scaled_target, target, rtol=1e-10)


# --- solutions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_least_squares_with_bounds_end_where_lsq_linear_does(make_state, seed):
    rng = np.random.default_rng(seed)
    matrix, target = rng.standard_normal((30, 12)), rng.standard_normal(30)
    low, high = np.full(12, -0.1), np.where(np.arange(12) % 3, 0.15, np.inf)

    def fun(x):
        residual = matrix @ x - target
        return 0.5 * residual @ residual, matrix.T @ residual

    state = solve(make_state, fun, np.zeros(12), low, high, gtol=1e-9)
    expected = lsq_linear(matrix, target, (low, high), tol=1e-14, method="bvls")
    assert state.status == Status.GTOL
    np.testing.assert_allclose(state.x, expected.x, atol=1e-7)
    np.testing.assert_array_equal(state.x == low, expected.active_mask == -1)
    np.testing.assert_array_equal(state.x == high, expected.active_mask == 1)


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_box_that_cuts_off_the_minimum_leads_no_higher_than_scipys(make_state, name):
    p = PROBLEMS[name]
    n = len(p.x0)
    rng = np.random.default_rng(n)
    side = rng.integers(0, 3, n)
    low = np.where(side == 0, p.x0 - rng.uniform(0, 0.2, n) * np.maximum(1, np.abs(p.x0)), -np.inf)
    high = np.where(side == 1, p.x0 + rng.uniform(0, 0.2, n) * np.maximum(1, np.abs(p.x0)), np.inf)
    with np.errstate(all="ignore"):
        state = solve(make_state, p.fun_and_grad, p.x0, low, high, gtol=1e-8, maxfev=5000)
        theirs = scipy.optimize.minimize(
            p.fun_and_grad,
            p.x0,
            jac=True,
            method="L-BFGS-B",
            bounds=np.stack((low, high), axis=1),
            options={"gtol": 1e-8, "ftol": 0, "maxfun": 5000, "maxiter": 5000},
        )
    assert ((low <= state.x) & (state.x <= high)).all()
    if state.status == Status.GTOL:
        assert projected_norm(state.x, p.grad(state.x), low, high) <= 1e-8
    assert state.fun <= theirs.fun + 1e-5 * max(abs(theirs.fun), 1e-3)


@pytest.mark.parametrize("form", ["joint", "2-point", "3-point", "cs"])
@pytest.mark.parametrize("x0", [[-1.2, 1.0, 0.3], [0.5, 1.0, -3.0], [9.0, -9.0, 9.0]])
def test_no_evaluation_leaves_the_bounds_by_an_ulp(make_state, form, x0):
    """Bounds that no sum of doubles meets by chance, some of them as close as doubles can be."""
    low = np.array([-1.2345678901234567, 0.1, 1 / 3])
    high = np.array([0.5000000000000001, 0.1 + 1e-9, np.nextafter(1 / 3, 1)])
    seen = []

    def value(x):
        seen.append(np.real(x).copy())
        return 100 * ((x[1:] - x[:-1] ** 2) ** 2).sum() + ((1 - x[:-1]) ** 2).sum()

    fun = (lambda x: (value(x), rosen_der(x))) if form == "joint" else value
    state = solve(make_state, fun, x0, low, high, jac=True if form == "joint" else form)
    points = np.array(seen)
    assert ((low <= points) & (points <= high)).all()
    assert state.nfev == len(seen)
    assert ((low <= state.x) & (state.x <= high)).all()


@pytest.mark.parametrize("form", ["2-point", "3-point", "cs"])
def test_differences_at_a_bound_are_as_accurate_as_elsewhere(make_state, form):
    low, high = np.array([0.3, -2.0, 0.7]), np.array([2.0, 0.4, 0.7 + 1e-7])

    def fun(x):
        return np.exp(x[0]) * x[1] ** 3 + x[2] ** 2 * x[0]

    x = np.array([0.3, 0.4, 0.7])
    exact = [np.exp(0.3) * 0.4**3 + 0.49, np.exp(0.3) * 3 * 0.16, 2 * 0.7 * 0.3]
    state = solve(make_state, fun, x, low, high, jac=form, k=0)
    tolerance = {"2-point": 1e-6, "3-point": 1e-8, "cs": 1e-14}[form]
    np.testing.assert_allclose(state.jac, exact, rtol=tolerance)


@pytest.mark.parametrize("form", ["2-point", "3-point", "cs"])
def test_a_fixed_variable_costs_no_evaluation(make_state, form):
    seen = []

    def fun(x):
        seen.append(x)
        return (x[0] - 1) ** 2 + (x[1] - 2) ** 2 * x[2]

    state = solve(make_state, fun, [0.0, 0.0, 3.0], [-5, -5, 3], [5, 5, 3], jac=form, k=0)
    assert state.nfev == len(seen) == {"2-point": 3, "3-point": 5, "cs": 5}[form]
    assert state.jac[2] == 0


def test_variables_that_are_all_fixed_are_a_solution(make_state):
    state = solve(make_state, lambda x: (rosen(x), rosen_der(x)), [7.0, 7.0], [1, 2], [1, 2])
    assert (state.status, state.nfev) == (Status.GTOL, 1)
    np.testing.assert_array_equal(state.x, [1, 2])


@pytest.mark.parametrize("x0", [-3.0, 0.25, 0.5, 8.0])
def test_one_variable(make_state, x0):
    state = solve(make_state, lambda x: (x[0] ** 4, 4 * x**3), [x0], 0.25, 8.0)
    assert state.status == Status.GTOL
    assert state.x[0] == 0.25


def test_bounds_on_one_side(make_state):
    fun = quadratic(np.diag([1.0, 10.0, 100.0]), np.array([-1.0, 20.0, 300.0]))
    state = solve(make_state, fun, np.ones(3), [0, -np.inf, -np.inf], [np.inf, np.inf, 2.5])
    np.testing.assert_allclose(state.x, [0, 2, 2.5], atol=1e-6)
    assert state.x[0] == 0
    assert state.x[2] == 2.5


def test_a_bound_with_a_multiplier_of_zero(make_state):
    """The unbounded minimum lies exactly on the bounds."""
    rng = np.random.default_rng(0)
    hessian = random_hessian(rng, 10)
    solution = rng.standard_normal(10)
    low = np.where(np.arange(10) % 2, solution, -np.inf)
    state = solve(make_state, quadratic(hessian, hessian @ solution), solution + 1, low, np.inf)
    assert state.status == Status.GTOL
    np.testing.assert_allclose(state.x, solution, atol=1e-5)


def test_iterates_are_those_of_lbfgs_where_no_bound_is_met(make_state, chained_start):
    objective = PythonObjective(lambda x: (rosen(x), rosen_der(x)), True, (), 6)
    wide = np.array([np.full(6, -1e6), np.full(6, 1e6)])
    ours = make_state("l-bfgs-b", chained_start(6), bounds=wide)
    plain = make_state("l-bfgs", chained_start(6))
    for _ in range(12):
        ours.advance(objective, 1)
        plain.advance(objective, 1)
        np.testing.assert_allclose(ours.x, plain.x, rtol=1e-6)
    for mine, theirs in (
        (ours.hess_inv().sk, plain.hess_inv().sk),
        (ours.hess_inv().yk, plain.hess_inv().yk),
    ):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


def test_a_hundred_thousand_variables_take_memory_in_proportion(make_state):
    n = 100_000
    weights = np.geomspace(1, 100, n)
    centre = np.sin(np.arange(n))
    low, high = np.full(n, -0.5), np.full(n, 0.5)
    state = solve(
        make_state, lambda x: (0.5 * weights @ (x - centre) ** 2, weights * (x - centre)),
        np.zeros(n), low, high, maxcor=5,
    )  # fmt: skip
    assert state.status == Status.GTOL
    np.testing.assert_allclose(state.x, np.clip(centre, low, high), atol=1e-5)
    assert len(pickle.dumps(state)) < 8 * n * 32


# --- a state like all others ---------------------------------------------------------------------


def bounded_rosen(make_state, **settings):
    low, high = np.full(6, -1.5), np.where(np.arange(6) % 2, 0.6, 2.0)
    ends = np.array([low, high])
    start = np.where(np.arange(6) % 2, 0.6, -1.2)
    return make_state("l-bfgs-b", start, bounds=ends, maxcor=3, **settings)


def everything(state):
    inverse = state.hess_inv()
    parts = (state.x, state.jac, np.array([state.fun, state.step]), inverse.sk, inverse.yk)
    return (state.status, state.nit, state.nfev), b"".join(part.tobytes() for part in parts)


@pytest.mark.parametrize("slice_", [1, 3])
def test_slices_and_pickles_change_no_bit(make_state, slice_):
    objective = PythonObjective(lambda x: (rosen(x), rosen_der(x)), True, (), 6)
    whole = bounded_rosen(make_state, gtol=1e-9)
    whole.advance(objective, UNLIMITED)
    assert whole.status == Status.GTOL
    state = bounded_rosen(make_state, gtol=1e-9)
    while state.advance(objective, slice_):
        state = pickle.loads(pickle.dumps(state))
    assert everything(state) == everything(whole)


def test_pairs_of_an_earlier_solve_are_begun_with(make_state):
    objective = PythonObjective(lambda x: (rosen(x), rosen_der(x)), True, (), 6)
    first = bounded_rosen(make_state)
    first.advance(objective, 10)
    known = first.hess_inv()
    second = bounded_rosen(make_state, hess_inv0=(known.sk, known.yk))
    np.testing.assert_array_equal(second.hess_inv().sk, known.sk)
    second.advance(objective, UNLIMITED)
    assert second.status == Status.GTOL


def test_damping_takes_every_pair(make_state):
    objective = PythonObjective(lambda x: (rosen(x), rosen_der(x)), True, (), 6)
    state = bounded_rosen(make_state, damping=True)
    state.advance(objective, UNLIMITED)
    assert state.status == Status.GTOL
    assert (np.sum(state.hess_inv().sk * state.hess_inv().yk, axis=1) > 0).all()


@pytest.mark.parametrize("order", [1, 2, np.inf])
def test_gtol_is_for_the_projected_gradient_in_any_norm(make_state, order):
    objective = PythonObjective(lambda x: (rosen(x), rosen_der(x)), True, (), 6)
    state = bounded_rosen(make_state, norm=order, gtol=1e-6)
    state.advance(objective, UNLIMITED)
    assert state.status == Status.GTOL
    low, high = np.full(6, -1.5), np.where(np.arange(6) % 2, 0.6, 2.0)
    projected = np.clip(state.x - state.jac, low, high) - state.x
    assert np.linalg.norm(projected, order) <= 1e-6 * (1 + 1e-9)
    assert np.abs(state.jac).max() > 1e-3


# --- endings -------------------------------------------------------------------------------------


def test_a_function_without_a_bottom_is_called_unbounded(make_state):
    with np.errstate(over="ignore"):
        state = solve(make_state, lambda x: (-x @ x, -2 * x), [1.0, 2.0], [0, 0], [5, np.inf])
    assert state.status == Status.UNBOUNDED
    assert np.isfinite(state.x).all()


def test_a_function_not_finite_at_the_clipped_start_says_so(make_state):
    state = solve(make_state, lambda x: (np.nan, np.full(2, np.nan)), [1.0, 2.0], -1, 0.5)
    assert state.status == Status.NOT_FINITE


def test_the_edge_of_the_domain_is_told_from_a_minimum(make_state):
    def fun(x):
        return (-x.sum(), -np.ones(2)) if x[0] <= 1 else (np.nan, np.full(2, np.nan))

    state = solve(make_state, fun, [0.0, 0.0], -1, [3, 2])
    assert state.status == Status.DOMAIN_EDGE
    assert state.x[0] == pytest.approx(1)


@pytest.mark.parametrize("seed", range(20))
def test_a_kink_is_not_called_converged(make_state, seed):
    def fun(x):
        bend = x[0] ** 2 - x[1]
        gradient = 8 * np.sign(bend) * np.array([2 * x[0], -1.0])
        return 8 * abs(bend) + (1 - x[0]) ** 2, gradient + np.array([-2 * (1 - x[0]), 0])

    start = np.random.default_rng(seed).uniform(-2, 0.5, 2)
    state = solve(make_state, fun, start, -2, [0.75, 2], k=1000)
    if state.status in (Status.GTOL, Status.ROUNDOFF):
        assert state.fun < 0.0625 + 1e-3


def test_a_wrong_gradient_is_found_out(make_state):
    state = solve(make_state, lambda x: (rosen(x), -rosen_der(x)), [-1.2, 1.0], -2, 2)
    assert state.status == Status.GRADIENT_MISMATCH


def test_an_unattainable_tolerance_ends_at_attainable_precision(make_state):
    p = problem("Wood")
    state = solve(make_state, p.fun_and_grad, p.x0, -5, [0.9, 5, 5, 5], gtol=0.0)
    assert state.status in (Status.ROUNDOFF, Status.GTOL)
    assert state.nit < 1000


@pytest.mark.parametrize("scale", [1e-160, 1e-15, 1e15, 1e160])
def test_the_scale_of_f_does_not_matter(make_state, scale):
    state = solve(
        make_state, lambda x: (scale * rosen(x), scale * rosen_der(x)), [-1.2, 1.0], -2, [0.5, 2],
        gtol=1e-6 * min(scale, 1.0),
    )  # fmt: skip
    assert state.status in (Status.GTOL, Status.ROUNDOFF)
    np.testing.assert_allclose(state.x, [0.5, 0.25], atol=1e-6)
    assert state.nfev < 80


@pytest.mark.parametrize("maxfev", range(1, 22, 3))
def test_any_end_but_convergence_returns_the_lowest_point_seen(make_state, maxfev):
    seen = []

    def fun(x):
        seen.append((rosen(x), tuple(x)))
        return seen[-1][0], rosen_der(x)

    state = solve(make_state, fun, [-1.2, 1.0, 0.3], -2, [0.5, 0.7, 2], maxfev=maxfev)
    assert state.status == Status.MAXFEV
    assert (state.fun, tuple(state.x)) == min(seen)


@pytest.mark.parametrize(
    "p", [p for p in hock_schittkowski() if p.is_bounded], ids=lambda p: p.name
)
def test_published_problems_end_at_points_that_pass_the_test(make_state, p):
    low, high = p.bounds
    with np.errstate(all="ignore"):
        state = solve(make_state, p.fun_and_grad, p.x0, low, high, gtol=1e-6)
    assert state.status == Status.GTOL
    assert projected_norm(state.x, p.grad(state.x), low, high) <= 1e-6 * (1 + 1e-9)
