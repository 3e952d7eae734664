"""NIST's nonlinear regressions, and the forward differentiation behind their derivatives."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import least_squares

from fastopt.testing import LeastSquaresProblem, nist_strd, problem
from fastopt.testing.problems.jets import variables

EPS = np.finfo(np.float64).eps
EVERY = nist_strd()
every_problem = pytest.mark.parametrize("p", EVERY, ids=lambda p: p.name)


def complex_step(fun, x):
    """Differentiate an analytic function of x to full precision: last axis is the variable."""
    step = 1e-40
    columns = []
    for j in range(x.size):
        z = x.astype(np.complex128)
        z[j] += 1j * step
        columns.append(np.imag(fun(z)) / step)
    return np.stack(columns, axis=-1)


def test_the_collection_has_all_27_data_sets():
    assert [p.number for p in EVERY] == list(range(1, 28))
    assert len({p.name for p in EVERY}) == 27
    assert sum(p.m for p in EVERY) == 2176


@every_problem
def test_residual_sum_of_squares_is_the_certified_one(p):
    # Lanczos1 is fitted to rounding: what is left comes of the eleven digits of its parameters.
    (minimum,) = p.minima
    assert_allclose(p.fun(p.minimizers[0]), minimum, rtol=1e-9, atol=1e-20)


@every_problem
def test_standard_deviations_are_the_certified_ones(p):
    if p.name == "Lanczos1":
        pytest.skip("its residuals are rounding errors")
    (certified,) = p.minimizers
    jacobian = p.jacobian(certified)
    scale = np.linalg.norm(jacobian, axis=0)
    inverse = np.linalg.pinv(jacobian / scale, rcond=0)
    deviations = np.linalg.norm(inverse, axis=1) / scale * np.sqrt(p.minima[0] / (p.m - p.n))
    assert_allclose(deviations, p.standard_deviations, rtol=2e-7)


@every_problem
def test_a_least_squares_solver_finds_the_certified_parameters_from_the_near_start(p):
    fit = least_squares(
        p.residuals,
        p.starts[1],
        jac=p.jacobian,
        method="lm",
        x_scale="jac",
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-15,
        max_nfev=5000,
    )
    assert_allclose(fit.x, p.minimizers[0], rtol=1e-6)


@every_problem
def test_jacobian_matches_complex_step_at_both_starts(p):
    for x in p.starts:
        jacobian = p.jacobian(x)
        assert jacobian.shape == (p.m, p.n)
        atol = 1e3 * EPS * np.abs(jacobian).max(axis=0)
        expected = complex_step(p.residuals, x)
        assert np.all(np.abs(jacobian - expected) <= 1e-10 * np.abs(expected) + atol)


@every_problem
def test_hessian_matches_complex_step_of_the_gradient_at_both_starts(p):
    for x in p.starts:
        hessian = p.hess(x)
        assert hessian.dtype == np.float64
        size = np.sqrt(np.multiply.outer(*[np.abs(np.diag(hessian))] * 2))
        difference = np.abs(hessian - complex_step(p.grad, x))
        assert np.all(difference <= 1e-9 * (np.abs(hessian) + size))
        assert_allclose(hessian, hessian.T, rtol=1e-12)


@every_problem
def test_value_and_gradient_have_the_same_bits_alone_and_together(p):
    value, gradient = p.fun_and_grad(p.x0)
    assert type(value) is float
    assert value == p.fun(p.x0)
    assert_array_equal(gradient, p.grad(p.x0))


@every_problem
def test_certified_values_and_starts_are_read_only(p):
    assert p.starts[0] is p.x0
    for array in (*p.starts, *p.minimizers, p.standard_deviations):
        assert array.shape == (p.n,)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 7.0


@every_problem
def test_a_pickled_problem_evaluates_to_the_same_bits(p):
    copy = pickle.loads(pickle.dumps(p))
    assert repr(copy) == repr(p)
    assert copy.fun(p.x0) == p.fun(p.x0)
    assert_array_equal(copy.standard_deviations, p.standard_deviations)


@every_problem
@pytest.mark.parametrize("scale", [-1e308, 1e150, np.inf, np.nan])
def test_overflow_is_silent_far_from_the_solution(p, scale):
    x = np.full(p.n, scale)
    with np.errstate(all="raise"):
        _, gradient = p.fun_and_grad(x)
        hessian = p.hess(x)
    assert gradient.shape == (p.n,)
    assert hessian.shape == (p.n, p.n)


@every_problem
def test_a_problem_is_found_by_its_name_in_any_case(p):
    for key in (p.name, p.name.upper(), p.name.lower()):
        found = problem(key)
        assert isinstance(found, LeastSquaresProblem)
        assert repr(found) == repr(p)


FORMULAS = {
    "sum of a constant and a variable": lambda x, y: 3.0 + x - y,
    "difference from a constant": lambda x, y: (2.0 - x) + (y - 2.0),
    "product": lambda x, y: x * y * x * 3.0,
    "quotients": lambda x, y: x / y + 2.0 / y + x / 2.0,
    "powers": lambda x, y: x**3.0 + 2.0**y + x**y + y**-0.5,
    "exponential and logarithm": lambda x, y: np.exp(x * y) * np.log(x + y),
    "circular functions": lambda x, y: np.sin(x * y) * np.cos(x) - np.arctan(x / y),
    "negation": lambda x, y: -x * -y,
}


@pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS)
def test_jets_carry_the_derivatives_of_a_formula(formula):
    point = np.array([0.7, 1.3])

    def gradient(x):
        return formula(*variables(x, second=False)).slope[:, 0]

    jet = formula(*variables(point, second=True))
    assert_allclose(jet.value, formula(*point), rtol=10 * EPS)
    expected = complex_step(lambda x: formula(*x), point)
    assert_allclose(jet.slope[:, 0], expected, rtol=1e-13, atol=1e-14)
    assert_allclose(jet.bend[:, :, 0], complex_step(gradient, point), rtol=1e-13, atol=1e-14)
    assert formula(*variables(point, second=False)).bend is None


def test_a_function_that_jets_do_not_know_is_refused():
    (x,) = variables(np.ones(1), second=True)
    with pytest.raises(TypeError, match="tanh"):
        np.tanh(x)
