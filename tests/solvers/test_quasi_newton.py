"""BFGS and L-BFGS against what theory says of them, and against a plain NumPy transcription."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der

from fastopt.core.abi import Status
from fastopt.objectives.python import PythonObjective
from fastopt.solvers.quasi_newton import use_wide_registers

from .conftest import UNLIMITED

METHODS = ("bfgs", "l-bfgs", "dfp")
# Moré and Thuente's conditions are two-sided: with c2 near zero the search is exact.
EXACT_SEARCH = {"line_search": "more-thuente", "c1": 1e-14, "c2": 1e-8, "maxls": 200}


def quadratic(n, condition=100.0, seed=0):
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.standard_normal((n, n)))
    hessian = (basis * np.geomspace(1, condition, n)) @ basis.T
    hessian = (hessian + hessian.T) / 2
    centre = rng.standard_normal(n)

    def fun(x):
        residual = x - centre
        product = hessian @ residual
        return 0.5 * residual @ product, product

    return fun, hessian, centre


@pytest.fixture
def without_wide_registers():
    """``with`` them, where the processor has them, before; without in the test."""
    before = use_wide_registers(False)
    yield
    use_wide_registers(before)


def iterates(state, objective, count):
    found = []
    while len(found) < count:
        more = state.advance(objective, 1)
        found.append((state.x, state.jac))
        if not more:
            break
    return found


def conjugate_gradients(hessian, centre, count):
    """Hestenes and Stiefel's iterates from 0, the textbook's way."""
    x = np.zeros(len(centre))
    residual = hessian @ (centre - x)
    direction = residual
    found = []
    for _ in range(count):
        product = hessian @ direction
        step = residual @ residual / (direction @ product)
        x = x + step * direction
        updated = residual - step * product
        direction = updated + (updated @ updated) / (residual @ residual) * direction
        residual = updated
        found.append(x)
    return found


@pytest.mark.parametrize("method", METHODS)
def test_with_exact_search_the_iterates_on_a_quadratic_are_those_of_conjugate_gradients(
    make_state, method
):
    n = 12
    fun, hessian, centre = quadratic(n)
    memory = {"maxcor": n} if method == "l-bfgs" else {}
    state = make_state(method, np.zeros(n), gtol=1e-7, **EXACT_SEARCH, **memory)
    found = iterates(state, PythonObjective(fun, True, (), n), n)
    for (x, _), expected in zip(found, conjugate_gradients(hessian, centre, n), strict=False):
        np.testing.assert_allclose(x, expected, atol=1e-4)
    np.testing.assert_allclose(found[-1][0], centre, atol=1e-4)
    assert len(found) <= n


def test_lbfgs_with_full_memory_matches_bfgs_on_a_quadratic(make_state):
    n = 8
    fun, _, _ = quadratic(n)
    objective = PythonObjective(fun, True, (), n)
    dense = iterates(make_state("bfgs", np.zeros(n), **EXACT_SEARCH), objective, n)
    limited = iterates(make_state("l-bfgs", np.zeros(n), maxcor=n, **EXACT_SEARCH), objective, n)
    for (x, _), (y, _) in zip(dense, limited, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-7)


def test_bfgs_recovers_the_inverse_hessian_of_a_quadratic(make_state):
    n = 8
    fun, hessian, _ = quadratic(n)
    state = make_state("bfgs", np.zeros(n), hess_inv0=np.eye(n), **EXACT_SEARCH)
    state.advance(PythonObjective(fun, True, (), n), UNLIMITED)
    assert state.nit == n
    np.testing.assert_allclose(state.hess_inv(), np.linalg.inv(hessian), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_the_secant_equation_holds_after_every_iteration(make_state, chained_start, method):
    n = 7
    objective = PythonObjective(rosen, rosen_der, (), n)
    state = make_state(method, chained_start(n))
    state.advance(objective, 0)
    x, gradient = state.x, state.jac
    while state.advance(objective, 1):
        s, y = state.x - x, state.jac - gradient
        x, gradient = state.x, state.jac
        np.testing.assert_allclose(
            state.hess_inv() @ y, s, rtol=1e-7, atol=1e-9 * np.linalg.norm(s)
        )
    assert state.status == Status.GTOL


def test_bfgs_inverse_stays_symmetric_and_positive_definite(make_state, chained_start):
    n = 10
    objective = PythonObjective(rosen, rosen_der, (), n)
    state = make_state("bfgs", chained_start(n))
    while state.advance(objective, 1):
        inverse = state.hess_inv()
        assert np.array_equal(inverse, inverse.T)
        assert np.linalg.eigvalsh(inverse)[0] > 0


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 9])
@pytest.mark.parametrize("given", [False, True])
def test_bfgs_follows_the_update_formula_of_the_textbook(make_state, chained_start, given, n):
    """Equation 6.17 of Nocedal and Wright, on the pairs that the solver made.

    Unless a matrix is given, it begins by 6.20 and is scaled up to s'Bs / s'y in its first n
    updates, B being its inverse.
    """
    objective = PythonObjective(rosen, rosen_der, (), n)
    start = np.diag(np.linspace(1e-3, 1e-2, n)) if given else None
    state = make_state("bfgs", chained_start(n), hess_inv0=start)
    state.advance(objective, 0)
    x, gradient = state.x, state.jac
    inverse = start
    updates = 0
    while state.advance(objective, 1):
        s, y = state.x - x, state.jac - gradient
        x, gradient = state.x, state.jac
        rho = 1 / (s @ y)
        updates += 1
        if inverse is None:
            inverse = (s @ y) / (y @ y) * np.eye(n)
        elif not given and updates <= n:
            inverse = inverse * max(1, rho * s @ np.linalg.solve(inverse, s))
        left = np.eye(n) - rho * np.outer(s, y)
        inverse = left @ inverse @ left.T + rho * np.outer(s, s)
        scale = np.abs(inverse).max()
        np.testing.assert_allclose(state.hess_inv(), inverse, atol=1e-6 * scale)
    assert updates > 2 * n


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 9])
def test_dfp_follows_the_update_formula_of_the_textbook(make_state, chained_start, n):
    """Equation 6.15, from a given matrix."""
    objective = PythonObjective(rosen, rosen_der, (), n)
    inverse = np.diag(np.linspace(1e-3, 1e-2, n))
    state = make_state("dfp", chained_start(n), hess_inv0=inverse)
    state.advance(objective, 0)
    x, gradient = state.x, state.jac
    for _ in range(3 * n):
        state.advance(objective, 1)
        s, y = state.x - x, state.jac - gradient
        x, gradient = state.x, state.jac
        u = inverse @ y
        inverse = inverse - np.outer(u, u) / (y @ u) + np.outer(s, s) / (s @ y)
        scale = np.abs(inverse).max()
        np.testing.assert_allclose(state.hess_inv(), inverse, atol=1e-6 * scale)


@pytest.mark.parametrize("n", [2, 5, 9])
def test_damping_is_that_of_the_textbook(make_state, chained_start, n):
    """Procedure 18.2, on B itself, from the identity; a loose search leaves little curvature."""
    objective = PythonObjective(rosen, rosen_der, (), n)
    state = make_state("bfgs", chained_start(n), hess_inv0=np.eye(n), damping=True, c2=0.99)
    state.advance(objective, 0)
    x, gradient = state.x, state.jac
    hessian = np.eye(n)
    damped = 0
    for _ in range(25):
        if not state.advance(objective, 1):
            break
        s, y = state.x - x, state.jac - gradient
        x, gradient = state.x, state.jac
        expected = s @ hessian @ s
        if s @ y < 0.2 * expected:
            theta = 0.8 * expected / (expected - s @ y)
            y = theta * y + (1 - theta) * (hessian @ s)
            damped += 1
        product = hessian @ s
        hessian = hessian - np.outer(product, product) / expected + np.outer(y, y) / (s @ y)
        inverse = np.linalg.inv(hessian)
        np.testing.assert_allclose(state.hess_inv(), inverse, atol=1e-5 * np.abs(inverse).max())
    assert damped > 0


@pytest.mark.parametrize("n", [5, 9])
def test_damped_pairs_of_lbfgs_have_a_fifth_of_the_curvature_expected(make_state, chained_start, n):
    objective = PythonObjective(rosen, rosen_der, (), n)
    state = make_state("l-bfgs", chained_start(n), damping=True, c2=0.99, maxcor=50)
    state.advance(objective, 0)
    pairs = []
    while state.advance(objective, 1) and state.nit < 40:
        before = state.hess_inv()
        pairs.append((before, state.x, state.jac))
    damped = 0
    for (before, x, gradient), (after, x_new, gradient_new) in pairwise(pairs):
        s, y = after.sk[-1], after.yk[-1]
        np.testing.assert_array_equal(s, x_new - x)
        expected = s @ np.linalg.solve(before.todense(), s)  # s'Bs
        assert s @ y >= 0.2 * expected * (1 - 1e-6)
        damped += not np.array_equal(y, gradient_new - gradient)
    assert damped > 0


def test_lbfgs_goes_on_from_what_an_earlier_solve_has_learnt(make_state, chained_start):
    n, m = 8, 5
    objective = PythonObjective(rosen, rosen_der, (), n)
    first = make_state("l-bfgs", chained_start(n), maxcor=m)
    first.advance(objective, 20)
    pairs = first.hess_inv()
    start = first.x
    second = make_state("l-bfgs", start, maxcor=m, hess_inv0=(pairs.sk.copy(), pairs.yk.copy()))
    second.advance(objective, 0)
    np.testing.assert_array_equal(second.hess_inv().sk, pairs.sk)
    second.advance(objective, 1)
    first.advance(objective, 1)
    np.testing.assert_allclose(second.x, first.x, rtol=1e-10)

    shorter = make_state("l-bfgs", start, maxcor=2, hess_inv0=(pairs.sk.copy(), pairs.yk.copy()))
    shorter.advance(objective, 0)
    np.testing.assert_array_equal(shorter.hess_inv().sk, pairs.sk[-2:])


def test_lbfgs_remembers_only_the_last_pairs(make_state, chained_start):
    n, m = 9, 4
    objective = PythonObjective(rosen, rosen_der, (), n)
    state = make_state("l-bfgs", chained_start(n), maxcor=m)
    state.advance(objective, 0)
    points, gradients = [state.x], [state.jac]
    for _ in range(11):
        state.advance(objective, 1)
        points.append(state.x)
        gradients.append(state.jac)
    inverse = state.hess_inv()
    np.testing.assert_array_equal(inverse.sk, np.diff(points, axis=0)[-m:])
    np.testing.assert_array_equal(inverse.yk, np.diff(gradients, axis=0)[-m:])


def test_a_given_inverse_hessian_makes_the_first_step_newtons(make_state):
    n = 6
    fun, hessian, centre = quadratic(n)
    state = make_state("bfgs", np.zeros(n), gtol=1e-8, hess_inv0=np.linalg.inv(hessian))
    state.advance(PythonObjective(fun, True, (), n), UNLIMITED)
    assert state.status == Status.GTOL
    assert state.nit == 1
    np.testing.assert_allclose(state.x, centre, atol=1e-10)


@pytest.mark.parametrize("line_search", ["hager-zhang", "more-thuente"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [1, 2, 3, 10, 57])
def test_rosenbrock_is_minimised_whatever_the_search(
    make_state, chained_start, method, line_search, n
):
    objective = (
        PythonObjective(rosen, rosen_der, (), n)
        if n > 1
        else PythonObjective(lambda x: ((x[0] - 3) ** 4, 4 * (x - 3) ** 3), True, (), 1)
    )
    state = make_state(method, chained_start(n), line_search=line_search)
    state.advance(objective, UNLIMITED)
    assert state.status == Status.GTOL
    assert np.abs(state.jac).max() <= 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_a_curvature_too_small_to_be_inverted_is_not_learnt(make_state, method):
    scale = 1e-300
    state = make_state(method, [-1.2, 1.0], gtol=0)
    objective = PythonObjective(lambda x: (scale * rosen(x), scale * rosen_der(x)), True, (), 2)
    state.advance(objective, 200)
    assert state.status != Status.RUNNING
    np.testing.assert_allclose(state.x, [1, 1], atol=1e-8)
    inverse = state.hess_inv()
    assert np.isfinite(inverse.todense() if method == "l-bfgs" else inverse).all()


def test_a_recovery_does_not_wipe_the_inverse_hessian_that_is_reported(make_state):
    """With values that drown the search gives up; what was learnt before is still there."""
    fun, _, _ = quadratic(5)
    state = make_state("bfgs", np.zeros(5), gtol=0.0)
    state.advance(PythonObjective(fun, True, (), 5), UNLIMITED)
    assert state.status in (Status.ROUNDOFF, Status.GRADIENT_MISMATCH, Status.GTOL)
    diagonal = np.diag(state.hess_inv())
    assert np.ptp(diagonal) > 0.1 * diagonal.max()


@pytest.mark.parametrize("seed", range(100))
def test_every_pair_that_lbfgs_reports_has_positive_curvature(make_state, seed):
    """Kinks and noise make it refuse pairs, recover and start over."""
    rng = np.random.default_rng(seed)
    planes = rng.standard_normal((6, 3))

    def fun(x):
        at = np.argmax(planes @ x + 0.1)
        noise = 1e-9 * rng.standard_normal()
        return np.max(planes @ x + 0.1) + 0.1 * x @ x + noise, planes[at] + 0.2 * x

    state = make_state("l-bfgs", rng.uniform(-3, 3, 3), maxcor=3)
    objective = PythonObjective(fun, True, (), 3)
    while state.advance(objective, 1) and state.nit < 60:
        inverse = state.hess_inv()
        assert (np.sum(inverse.sk * inverse.yk, axis=1) > 0).all()


def test_a_memory_too_large_is_refused(make_state):
    with pytest.raises(MemoryError, match="maxcor"):
        make_state("l-bfgs", np.zeros(3), maxcor=2**62)


def test_a_matrix_too_large_is_told_from_other_memory(make_state):
    n = 10_000_000
    message = f"the bfgs solver keeps 372,529.. GiB for {n} variables; l-bfgs.* keep no matrix"
    with pytest.raises(MemoryError, match=message):
        make_state("bfgs", np.zeros(n))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [15, 16, 17, 18, 19, 50, 101])
def test_wide_registers_change_no_bit(make_state, method, n, without_wide_registers):
    fun, _, _ = quadratic(n, condition=1e4)
    objective = PythonObjective(fun, True, (), n)
    narrow = iterates(make_state(method, np.zeros(n)), objective, 60)
    use_wide_registers(True)
    wide = iterates(make_state(method, np.zeros(n)), objective, 60)
    np.testing.assert_array_equal(narrow, wide)
