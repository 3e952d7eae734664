"""Accelerated gradients: the bounds of theory, and lasso problems solved otherwise."""

import pickle

import numpy as np
import pytest
from scipy.optimize import minimize as scipy_minimize
from scipy.optimize import rosen, rosen_der

import fastopt
from fastopt.core.abi import Status
from fastopt.objectives.python import PythonObjective

from .conftest import UNLIMITED
from .test_barzilai_borwein import quadratic, run


class Lasso:
    """Half the squared residual, with a design of unequal columns."""

    def __init__(self, rows, n, seed=0):
        rng = np.random.default_rng(seed)
        self.X = rng.standard_normal((rows, n)) * np.geomspace(0.3, 3.0, n)
        truth = np.where(rng.random(n) < 0.2, rng.standard_normal(n), 0.0)
        self.y = self.X @ truth + 0.1 * rng.standard_normal(rows)
        self.n = n
        self.lipschitz = np.linalg.norm(self.X, 2) ** 2
        self.largest = np.abs(self.X.T @ self.y).max()  # from this weight on, x = 0

    def __call__(self, x):
        residual = self.X @ x - self.y
        return 0.5 * residual @ residual, self.X.T @ residual

    def total(self, x, l1):
        return self(x)[0] + np.sum(l1 * np.abs(x))

    def solve(self, l1, **options):
        return fastopt.minimize(
            self, np.zeros(self.n), method="fista", jac=True, options={"l1": l1, **options}
        )


def smallest_subgradient(x, gradient, l1):
    at_zero = np.sign(gradient) * np.maximum(np.abs(gradient) - l1, 0.0)
    return np.where(x != 0, gradient + l1 * np.sign(x), at_zero)


def by_splitting(fun, n, l1):
    """x = u - v with u, v >= 0: smooth, and solved by SciPy."""
    weights = np.broadcast_to(l1, n)

    def split(z):
        value, gradient = fun(z[:n] - z[n:])
        return value + weights @ (z[:n] + z[n:]), np.r_[gradient + weights, weights - gradient]

    options = {"gtol": 1e-9, "ftol": 1e-15, "maxiter": 50_000, "maxfun": 100_000, "maxcor": 50}
    found = scipy_minimize(
        split, np.zeros(2 * n), jac=True, bounds=[(0, None)] * (2 * n), options=options
    )
    return found.x[:n] - found.x[n:]


def plain_fista(fun, x, lipschitz, threshold, steps):
    """Beck & Teboulle's algorithm with a constant step, line by line: its values."""
    y, t = x, 1.0
    points = [x]
    for _ in range(steps):
        inner = y - fun(y)[1] / lipschitz
        x_next = np.sign(inner) * np.maximum(np.abs(inner) - threshold / lipschitz, 0.0)
        t_next = (1 + np.sqrt(1 + 4 * t**2)) / 2
        y = x_next + (t - 1) / t_next * (x_next - x)
        x, t = x_next, t_next
        points.append(x)
    return points


# --- without an l1 term ----------------------------------------------------------------------


@pytest.mark.parametrize("condition", [1e4, 1e6, 1e8])
def test_the_error_falls_as_one_over_the_square_of_the_iterations(make_state, condition):
    """The bound itself, with the largest L that backtracking can have come to."""
    n = 100
    fun, centre = quadratic(n, condition)
    state = make_state("nesterov-restart", np.zeros(n), gtol=1e-12)
    _, values, gradients = run(state, PythonObjective(fun, True, (), n), 2000)
    k = np.arange(len(values))
    largest = max(2 * condition, np.linalg.norm(gradients[0]))
    bound = 2 * largest * (centre @ centre) / (k + 1) ** 2
    assert (values <= bound).all()


@pytest.mark.parametrize("method", ["nesterov-restart", "fista"])
def test_f_never_rises_and_its_valley_is_followed_to_the_end(make_state, chained_start, method):
    """Rosenbrock's function is not convex."""
    state = make_state(method, chained_start(10), gtol=1e-6)
    _, values, _ = run(state, PythonObjective(rosen, rosen_der, (), 10), 3000)
    assert state.status == Status.GTOL
    rounding = 16 * np.finfo(float).eps * np.abs(values[1:])
    assert (np.diff(values) <= rounding).all()


@pytest.mark.parametrize("condition", [10.0, 1e3, 1e5])
def test_restarts_lose_little_where_they_do_not_win(make_state, condition):
    """Beside the same without restarts and with the Lipschitz constant known beforehand."""
    n = 60
    fun, _ = quadratic(n, condition)
    gtol = 1e-6 * np.abs(fun(np.zeros(n))[1]).max()
    state = make_state("nesterov-restart", np.zeros(n), gtol=gtol)
    state.advance(PythonObjective(fun, True, (), n), UNLIMITED)
    assert state.status == Status.GTOL
    points = plain_fista(fun, np.zeros(n), condition, 0.0, 20 * state.nit)
    plain = next((k for k, x in enumerate(points) if np.abs(fun(x)[1]).max() <= gtol), np.inf)
    assert state.nit <= 1.2 * plain


def test_the_estimate_of_curvature_shrinks_where_it_was_larger_at_the_start(make_state):
    """Quartic walls: a step that suits the start would take forever at the bottom."""
    n = 20
    slopes = np.geomspace(0.1, 1.0, n)

    def fun(x):
        return 0.25 * (x**4).sum() + 0.5 * slopes @ x**2, x**3 + slopes * x

    state = make_state("nesterov-restart", np.full(n, 100.0), gtol=1e-8)
    state.advance(PythonObjective(fun, True, (), n), UNLIMITED)
    assert state.status == Status.GTOL
    assert state.nit < 300  # at a step of 1 / (3 * 100**2), 1e6


def test_an_extrapolation_out_of_the_domain_is_not_the_end(make_state):
    """Momentum leads across walls beyond which f is NaN."""
    slopes = np.array([50.0, 1.0])
    beyond = []

    def fun(x):
        if (x <= 0).any():
            beyond.append(x)
            return np.nan, np.full(2, np.nan)
        return slopes @ x - np.log(x).sum(), slopes - 1 / x

    state = make_state("nesterov-restart", [3.0, 0.01], gtol=1e-7)
    state.advance(PythonObjective(fun, True, (), 2), UNLIMITED)
    assert beyond
    assert state.status == Status.GTOL
    np.testing.assert_allclose(state.x, 1 / slopes, rtol=1e-6)


# --- with an l1 term -------------------------------------------------------------------------


def test_an_orthonormal_design_leaves_soft_thresholding():
    rng = np.random.default_rng(1)
    orthonormal, _ = np.linalg.qr(rng.standard_normal((30, 12)))
    y = 3 * rng.standard_normal(30)

    def fun(x):
        residual = orthonormal @ x - y
        return 0.5 * residual @ residual, orthonormal.T @ residual

    weights = rng.uniform(0.0, 3.0, 12)
    for l1 in (0.0, 1.0, weights):
        result = fastopt.minimize(
            fun, np.ones(12), method="fista", jac=True, options={"l1": l1, "gtol": 1e-12}
        )
        inner = orthonormal.T @ y
        expected = np.sign(inner) * np.maximum(np.abs(inner) - l1, 0.0)
        assert result.converged_to == "gtol"
        np.testing.assert_allclose(result.x, expected, atol=1e-11)
        np.testing.assert_array_equal(result.x == 0, expected == 0)


@pytest.mark.parametrize(("rows", "n"), [(60, 20), (200, 300)])
@pytest.mark.parametrize("share", [0.5, 0.05])
def test_lasso_is_solved_as_by_splitting_the_variables(rows, n, share):
    problem = Lasso(rows, n)
    l1 = share * problem.largest
    result = problem.solve(l1, gtol=1e-8)
    assert result.converged_to == "gtol"
    other = by_splitting(problem, n, l1)
    assert result.fun <= problem.total(other, l1) * (1 + 1e-10)
    np.testing.assert_allclose(result.x, other, atol=1e-5)


def test_l1_regularised_logistic_regression_is_solved_as_by_splitting_the_variables():
    rng = np.random.default_rng(2)
    X = rng.standard_normal((150, 200)) * np.geomspace(0.2, 2.0, 200)
    signs = np.sign(X @ np.where(rng.random(200) < 0.1, 1.0, 0.0) + 0.3 * rng.standard_normal(150))

    def fun(x):
        margins = signs * (X @ x)
        weights = signs / (1 + np.exp(margins))
        return np.logaddexp(0.0, -margins).sum(), -X.T @ weights

    result = fastopt.minimize(
        fun, np.zeros(200), method="fista", jac=True, options={"l1": 1.0, "gtol": 1e-7}
    )
    assert result.converged_to == "gtol"
    other = by_splitting(fun, 200, 1.0)
    value = fun(other)[0] + np.abs(other).sum()
    assert abs(result.fun - value) <= 1e-9 * value
    assert 0 < np.count_nonzero(result.x) < 100


def test_lasso_has_the_coefficients_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model", reason="needs scikit-learn")
    problem = Lasso(80, 40)
    for share in (0.5, 0.1, 0.01):
        model = linear_model.Lasso(
            alpha=share * problem.largest / 80, fit_intercept=False, tol=1e-14, max_iter=10**6
        )
        model.fit(problem.X, problem.y)
        found = problem.solve(share * problem.largest, gtol=1e-9)
        np.testing.assert_allclose(found.x, model.coef_, atol=1e-9)
        np.testing.assert_array_equal(found.x == 0, model.coef_ == 0)


def test_lasso_has_the_coefficients_that_scikit_learn_was_seen_to_find():
    """Lasso(alpha=0.1, fit_intercept=False, tol=1e-15, max_iter=10**6), scikit-learn 1.9.1."""
    i, j = np.ogrid[:8, :5]
    X = np.cos(1.0 + i * (j + 1.0))
    y = np.arange(8.0) - 3.0

    def fun(x):
        residual = X @ x - y
        return 0.5 * residual @ residual / 8, X.T @ residual / 8

    found = fastopt.minimize(
        fun, np.zeros(5), method="fista", jac=True, options={"l1": 0.1, "gtol": 1e-13}
    )
    expected = [
        1.362737803886274,
        0.0,
        -0.44780328013184034,
        -0.5983821572307347,
        -0.4323752229818167,
    ]
    np.testing.assert_allclose(found.x, expected, atol=1e-11)


def test_values_include_the_term_and_gradients_do_not():
    problem = Lasso(50, 12)
    l1 = np.linspace(0.0, 0.2, 12) * problem.largest
    result = problem.solve(l1, gtol=1e-7, trace=True, return_all=True)
    assert result.fun == pytest.approx(problem.total(result.x, l1), rel=1e-15)
    np.testing.assert_array_equal(result.jac, problem(result.x)[1])
    for x, value, norm in zip(
        result.allvecs, result.trace["fun"], result.trace["gnorm"], strict=True
    ):
        assert value == pytest.approx(problem.total(x, l1), rel=1e-14)
        expected = np.abs(smallest_subgradient(x, problem(x)[1], l1)).max()
        assert norm == pytest.approx(expected, rel=1e-14)
    assert (np.diff(result.trace["fun"]) <= 0).all()


@pytest.mark.parametrize("norm", [np.inf, 2, 1])
def test_success_means_that_the_smallest_subgradient_is_small(norm):
    problem = Lasso(60, 30)
    for share in (0.9, 0.3, 0.03):
        l1 = share * problem.largest
        result = problem.solve(l1, gtol=1e-4, norm=norm)
        assert result.converged_to == "gtol"
        found = smallest_subgradient(result.x, problem(result.x)[1], l1)
        assert np.linalg.norm(found, norm) <= 1e-4


def test_from_the_largest_useful_weight_on_zero_is_the_minimum():
    problem = Lasso(60, 30)
    result = problem.solve(problem.largest * (1 + 1e-12), gtol=0.0)
    assert (result.nit, result.converged_to) == (0, "gtol")
    np.testing.assert_array_equal(result.x, np.zeros(30))
    away = fastopt.minimize(
        problem,
        np.ones(30),
        method="fista",
        jac=True,
        options={"l1": 2 * problem.largest, "gtol": 1e-10},
    )
    np.testing.assert_array_equal(away.x, np.zeros(30))


def test_the_term_alone_leads_to_zero_where_f_is_flat(make_state):
    state = make_state("fista", [1.0, -2.0, 1e-300], l1=np.array([1.0, 1e-6, 3.0]), gtol=0.0)
    state.advance(PythonObjective(lambda x: (5.0, np.zeros(3)), True, (), 3), UNLIMITED)
    assert state.status == Status.GTOL
    np.testing.assert_array_equal(state.x, np.zeros(3))
    assert state.fun == 5.0


@pytest.mark.parametrize("jac", ["2-point", "3-point"])
def test_differences_are_of_the_smooth_part(jac):
    problem = Lasso(60, 8)
    l1 = 0.2 * problem.largest
    result = fastopt.minimize(
        lambda x: problem(x)[0],
        np.zeros(8),
        method="fista",
        jac=jac,
        options={"l1": l1, "gtol": 1e-3},
    )
    assert result.success
    np.testing.assert_allclose(result.x, problem.solve(l1, gtol=1e-9).x, atol=1e-4)


def test_a_zero_gradient_by_differences_is_trusted_beside_a_term(make_state):
    """x = 0 is the minimum, however coarse the differences are beside the value 1e6."""
    objective = PythonObjective(lambda x: 1e6 + x @ x + x[0], "2-point", (), 3)
    state = make_state("fista", np.zeros(3), l1=10.0)
    state.advance(objective, UNLIMITED)
    assert (state.status, state.nit) == (Status.GTOL, 0)


def test_values_where_nothing_is_known_of_gradients_include_the_term(make_state):
    state = make_state("fista", [1.0, 2.0], l1=3.0)
    state.advance(PythonObjective(lambda x: (1.0, np.full(2, np.nan)), True, (), 2), UNLIMITED)
    assert (state.status, state.fun) == (Status.NOT_FINITE, 10.0)


def test_any_end_but_convergence_returns_the_lowest_sum_seen():
    problem = Lasso(60, 30)
    l1 = 0.05 * problem.largest
    for maxfev in range(1, 40):
        seen = []

        def fun(x, seen=seen):
            seen.append(problem.total(x, l1))
            return problem(x)

        result = fastopt.minimize(
            fun, np.ones(30), method="fista", jac=True, options={"l1": l1, "maxfev": maxfev}
        )
        assert (result.status, result.nfev) == (1, len(seen))
        assert result.fun == pytest.approx(min(seen), rel=1e-14)
        assert result.fun == pytest.approx(problem.total(result.x, l1), rel=1e-14)


def test_stopval_and_ftol_are_of_the_sum():
    problem = Lasso(60, 30)
    l1 = 0.05 * problem.largest
    lowest = problem.solve(l1, gtol=1e-9).fun
    stopped = problem.solve(l1, stopval=1.01 * lowest)
    assert stopped.converged_to == "stopval"
    assert lowest < stopped.fun <= 1.01 * lowest
    assert problem.solve(l1, gtol=0.0, ftol=1e-6).converged_to == "ftol"


@pytest.mark.parametrize("l1", [0.5, np.array([0.0, 1.0, 2.0, 0.5])])
def test_a_pickled_state_goes_on_with_the_same_bits(make_state, chained_start, l1):
    objective = PythonObjective(rosen, rosen_der, (), 4)
    whole = make_state("fista", chained_start(4), l1=l1)
    whole.advance(objective, UNLIMITED)
    for nit in (0, 1, 5, 20):
        state = make_state("fista", chained_start(4), l1=l1)
        state.advance(objective, nit)
        state = pickle.loads(pickle.dumps(state))
        state.advance(objective, UNLIMITED)
        np.testing.assert_array_equal(state.x, whole.x)
        assert (state.fun, state.nit, state.nfev) == (whole.fun, whole.nit, whole.nfev)


def test_weights_are_copied_and_zeros_are_no_term(make_state, chained_start):
    objective = PythonObjective(rosen, rosen_der, (), 4)
    weights = np.ones(4)
    state = make_state("fista", chained_start(4), l1=weights)
    weights[:] = 7.0
    other = make_state("fista", chained_start(4), l1=1.0)
    none = make_state("fista", chained_start(4), l1=np.zeros(4))
    plain = make_state("nesterov-restart", chained_start(4))
    for each in (state, other, none, plain):
        each.advance(objective, 50)
    np.testing.assert_array_equal(state.x, other.x)
    np.testing.assert_array_equal(none.x, plain.x)


@pytest.mark.parametrize(
    ("l1", "error"),
    [(-1.0, ValueError), ([1.0, 2.0], ValueError), (np.nan, ValueError), ("1", TypeError)],
)
def test_weights_that_are_none_are_refused_by_name(l1, error):
    with pytest.raises(error, match=r"^`l1` must be a finite nonnegative number or one for"):
        Lasso(10, 3).solve(l1)
