"""Nonlinear conjugate gradients against the linear ones, and against what theory says of beta."""

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der

from fastopt.core.abi import Status
from fastopt.objectives.python import PythonObjective

from .test_quasi_newton import EXACT_SEARCH, conjugate_gradients, iterates, quadratic

BETAS = ("hz", "pr+", "fr", "dy", "hs")


def chained(n):
    return np.where(np.arange(n) % 2, 1.0, -1.2)


@pytest.mark.parametrize("beta", BETAS)
def test_with_exact_search_the_iterates_on_a_quadratic_are_those_of_linear_cg(make_state, beta):
    n = 12
    fun, hessian, centre = quadratic(n)
    state = make_state("cg", np.zeros(n), gtol=1e-7, beta=beta, **EXACT_SEARCH)
    found = iterates(state, PythonObjective(fun, True, (), n), n)
    for (x, _), expected in zip(found, conjugate_gradients(hessian, centre, n), strict=False):
        np.testing.assert_allclose(x, expected, atol=1e-4)
    np.testing.assert_allclose(found[-1][0], centre, atol=1e-4)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("n", [2, 10, 51])
def test_every_beta_finds_the_minimum_of_the_chained_rosenbrock_function(make_state, n, beta):
    # The usual start leads to the other minimum for some n.
    state = make_state("cg", np.full(n, 0.5), beta=beta, gtol=1e-6)
    while state.advance(PythonObjective(rosen, rosen_der, (), n), 10_000):
        pass
    assert state.status == Status.GTOL
    np.testing.assert_allclose(state.x, np.ones(n), atol=1e-5)


def test_a_preconditioner_that_is_the_inverse_hessian_leaves_one_step(make_state):
    n, condition = 20, 1e6
    fun, hessian, centre = quadratic(n, condition=condition)
    inverse = np.linalg.inv(hessian)
    # As near to zero as a step can bring the gradient that is rounded on its way through both.
    gtol = np.finfo(float).eps * condition * np.abs(fun(np.zeros(n))[1]).max()
    state = make_state("cg", np.zeros(n), gtol=gtol)
    objective = PythonObjective(fun, True, (), n, preconditioner=lambda r: inverse @ r)
    assert not state.advance(objective, 100)
    assert state.nit == 1
    np.testing.assert_allclose(state.x, centre, atol=1e-6)


def test_a_diagonal_preconditioner_is_a_change_of_scale(make_state):
    """With P = S S, the iterates are S times those of the function of S z."""
    n = 6
    fun, _, _ = quadratic(n)
    scale = np.geomspace(0.1, 10.0, n)

    def scaled(z):
        value, gradient = fun(scale * z)
        return value, scale * gradient

    direct = make_state("cg", np.zeros(n), gtol=1e-6, beta="pr+", **EXACT_SEARCH)
    changed = make_state("cg", np.zeros(n), gtol=1e-6, beta="pr+", **EXACT_SEARCH)
    objective = PythonObjective(fun, True, (), n, preconditioner=scale**2)
    one = iterates(direct, objective, 4)
    other = iterates(changed, PythonObjective(scaled, True, (), n), 4)
    for (x, _), (z, _) in zip(one, other, strict=True):
        np.testing.assert_allclose(x, scale * z, atol=1e-5)


def test_an_array_and_a_callable_precondition_to_the_same_bits(make_state):
    n = 10
    diagonal = np.linspace(0.5, 2.0, n)
    found = []
    for preconditioner in (diagonal, lambda r: diagonal * r, lambda r: list(diagonal * r)):
        state = make_state("cg", chained(n))
        objective = PythonObjective(rosen, rosen_der, (), n, preconditioner=preconditioner)
        state.advance(objective, 30)
        found.append(state.x)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_what_a_preconditioner_raises_comes_out_and_the_solve_goes_on(make_state):
    n = 4
    calls = []

    def fragile(residual):
        calls.append(residual)
        if len(calls) == 3:
            raise LookupError("the third")
        return residual

    objective = PythonObjective(rosen, rosen_der, (), n, preconditioner=fragile)
    state = make_state("cg", chained(n))
    with pytest.raises(LookupError, match="the third"):
        state.advance(objective, 100)
    assert state.nit == 2
    state.advance(objective, 10)

    whole = make_state("cg", chained(n))
    same = PythonObjective(rosen, rosen_der, (), n, preconditioner=lambda residual: residual)
    whole.advance(same, 12)
    np.testing.assert_array_equal(state.x, whole.x)
    assert state.nfev == whole.nfev


@pytest.mark.parametrize("wrong", [np.ones(3), "text", None, np.ones((2, 2))])
def test_what_is_no_vector_of_the_right_length_is_refused(make_state, wrong):
    objective = PythonObjective(rosen, rosen_der, (), 2, preconditioner=lambda r: wrong)
    with pytest.raises(ValueError, match="`preconditioner` must return an array of real numbers"):
        make_state("cg", [-1.2, 1.0]).advance(objective, 1)


def test_directions_are_conjugate_until_the_restart(make_state):
    """On a quadratic with exact search successive directions d, d+ have d'H d+ = 0."""
    n = 9
    fun, hessian, _ = quadratic(n)
    state = make_state("cg", np.zeros(n), gtol=1e-8, **EXACT_SEARCH)
    found = [np.zeros(n)] + [x for x, _ in iterates(state, PythonObjective(fun, True, (), n), 7)]
    steps = np.diff(found, axis=0)
    steps /= np.linalg.norm(steps, axis=1)[:, np.newaxis]
    products = steps @ hessian @ steps.T
    off = products - np.diag(np.diag(products))
    assert np.abs(off).max() <= 1e-3 * np.abs(products).max()
