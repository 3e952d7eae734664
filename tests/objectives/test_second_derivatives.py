"""Hessians and their products, through the interpreter and compiled, for one problem and many."""

import gc
import pickle
import weakref

import numpy as np
import pytest
import scipy.sparse
from numba import njit
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import fastopt
from fastopt.interface.methods import METHODS
from fastopt.objectives.source import compiled_objective
from fastopt.objectives.wrappers import compile_wrapper
from fastopt.solvers.state import SolverState

from . import chained

METHODS_WITH = [name for name, row in METHODS.items() if row.second_order]
PRODUCT_METHODS = ("newton-cg", "trust-ncg")
ARGS = (100.0,)
FIELDS = ("x", "fun", "jac", "nit", "nfev", "njev", "nhev", "status")
WAYS = {
    "hess": {"hess": chained.hess},
    "hessp": {"hessp": chained.hessp},
    "both": {"hess": chained.hess, "hessp": chained.hessp},
    "neither": {},
}


def solve(method, n, *, fun=chained.value, compile=False, **keywords):
    options = {"compile": compile, "maxiter": 60, **keywords.pop("options", {})}
    return fastopt.minimize(
        fun, chained.start(n), ARGS, method, chained.grad, options=options, **keywords
    )


def assert_same(one, other):
    for name in FIELDS:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.mark.parametrize("n", [1, 2, 7, 120])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", METHODS_WITH)
def test_compiled_and_interpreted_solves_are_the_same_to_the_bit(method, way, n):
    interpreted = solve(method, n, **WAYS[way])
    assert_same(interpreted, solve(method, n, compile=True, **WAYS[way]))
    assert interpreted.nit >= 1 or n == 1


@pytest.mark.parametrize("method", METHODS_WITH)
def test_a_batch_is_solved_as_each_problem_alone(method):
    starts = np.random.default_rng(0).uniform(-1.5, 1.5, (9, 4))
    stiffness = np.linspace(1.0, 100.0, 9)
    for second in WAYS.values():
        for compile in (True, False):
            batch = fastopt.minimize_many(
                chained.value,
                starts,
                (stiffness,),
                batched=True,
                method=method,
                jac=chained.grad,
                options={"compile": compile},
                workers=2,
                **second,
            )
            assert batch.library == "fastopt"
            for i in range(9):
                alone = fastopt.minimize(
                    chained.value, starts[i], (stiffness[i],), method, chained.grad, **second
                )
                for name in FIELDS:
                    np.testing.assert_array_equal(batch[name][i], alone[name], err_msg=name)


@pytest.mark.parametrize("method", METHODS_WITH)
def test_multistart_takes_second_derivatives(method):
    result = fastopt.multistart(
        chained.value,
        [(-2.0, 2.0)] * 3,
        ARGS,
        starts=16,
        method=method,
        jac=chained.grad,
        hess=chained.hess,
    )
    assert result.fun < 1e-8
    assert result.nhev == result.batch.nhev.sum() > 16


@pytest.mark.parametrize("method", METHODS_WITH)
def test_what_products_are_made_of_changes_no_more_than_rounding(method):
    """Dense, sparse, an operator: all of them multiply, and matrices are made of those that can."""

    def sparse(x, stiffness):
        return scipy.sparse.csr_array(chained.hess(x, stiffness))

    def csc(x, stiffness):
        return scipy.sparse.csc_matrix(chained.hess(x, stiffness))

    dense = solve(method, 6, hess=chained.hess)
    kinds = {"csr": sparse, "csc": csc}
    if method in PRODUCT_METHODS:
        kinds["operator"] = lambda x, stiffness: aslinearoperator(chained.hess(x, stiffness))
    for hess in kinds.values():
        found = solve(method, 6, hess=hess)
        np.testing.assert_allclose(found.x, dense.x, atol=1e-6)
        assert (found.status, found.nhev) == (dense.status, dense.nhev)


def test_a_sparse_hessian_is_never_made_dense():
    """With 100 000 variables the matrix would have 80 GB."""
    n = 100_000

    def hess(x):
        return scipy.sparse.diags_array(np.cosh(x), format="csr")

    for method in PRODUCT_METHODS:
        result = fastopt.minimize(
            lambda x: np.cosh(x).sum(), np.full(n, 2.0), method=method, jac=np.sinh, hess=hess
        )
        assert result.success
        assert np.abs(result.x).max() < 1e-3
        assert result.nhev == result.nit


def test_a_hessian_is_evaluated_once_for_all_products_at_a_point():
    calls = []

    def hess(x, stiffness):
        calls.append(x.copy())
        return chained.hess(x, stiffness)

    result = solve("newton-cg", 8, hess=hess)
    assert len(calls) == result.nhev == result.nit
    assert len({call.tobytes() for call in calls}) == len(calls)


@pytest.mark.parametrize("compile", [True, False])
def test_products_are_counted_one_by_one(compile):
    result = solve("newton-cg", 8, hessp=chained.hessp, compile=compile)
    assert result.nhev > result.nit
    assert solve("newton", 8, hessp=chained.hessp, compile=compile).nhev % 8 == 0


def test_the_product_is_preferred_by_methods_that_multiply_and_the_matrix_by_the_others():
    def refuse(*_):
        raise AssertionError("not this one")

    assert solve("newton-cg", 4, hess=refuse, hessp=chained.hessp).success
    assert solve("newton", 4, hess=chained.hess, hessp=refuse).success


# --- errors ----------------------------------------------------------------------------------


@njit
def too_large(x, stiffness):
    return np.zeros((x.size + 1, x.size + 1))


@njit
def too_long(x, p, stiffness):
    return np.zeros(x.size + 1)


@njit
def refusing(x, stiffness):
    if x[0] > -1.0:
        raise ValueError("x[0] is above -1")
    return chained.hess(x, stiffness)


@njit
def refusing_product(x, p, stiffness):
    if x[0] > -1.0:
        raise ValueError("x[0] is above -1")
    return chained.hessp(x, p, stiffness)


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize("method", METHODS_WITH)
def test_what_a_hessian_returns_is_checked(method, compile):
    with pytest.raises(ValueError, match=r"^`hess` must return an array of shape \(2, 2\)"):
        solve(method, 2, compile=compile, hess=too_large)
    with pytest.raises(ValueError, match=r"^`hessp` must .*\(2,\)"):
        solve(method, 2, compile=compile, hessp=too_long)


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize("method", METHODS_WITH)
def test_what_a_hessian_raises_comes_out_unchanged(method, compile):
    for second in ({"hess": refusing}, {"hessp": refusing_product}):
        with pytest.raises(ValueError, match=r"^x\[0\] is above -1$"):
            solve(method, 2, compile=compile, **second)


@pytest.mark.parametrize("method", METHODS_WITH)
def test_in_a_batch_the_error_of_a_hessian_is_that_of_its_problem(method):
    starts = np.array([[-1.2, 1.0], [-1.0, 1.0], [-1.5, 2.0]])
    batch = fastopt.minimize_many(
        chained.value,
        starts,
        ARGS,
        method=method,
        jac=chained.grad,
        hess=refusing,
        options={"compile": True},
    )
    assert set(batch.errors) == {0, 1, 2}
    assert (batch.status == 9).all()
    assert all("above -1" in str(error) for error in batch.errors.values())


def test_what_cannot_be_compiled_is_refused_where_it_has_to_be():
    def plain(x, stiffness):
        return np.eye(2)

    with pytest.raises(TypeError, match=r"^`hess` must be an @njit function to be compiled"):
        solve("newton", 2, compile=True, hess=plain)

    @njit
    def vector(x, stiffness):
        return x

    with pytest.raises(TypeError, match=r"^`hess` must return an array of shape \(n, n\), got"):
        solve("newton", 2, compile=True, hess=vector)

    @njit
    def number(x, p, stiffness):
        return x[0]

    with pytest.raises(TypeError, match=r"^`hessp` must return a flat array of real numbers, got"):
        solve("newton", 2, compile=True, hessp=number)
    assert solve("newton", 2, compile="auto", hess=plain).library == "fastopt"


def test_a_c_function_has_no_hessian():
    from numba import cfunc, types

    @cfunc(
        types.int32(
            types.CPointer(types.float64),
            types.CPointer(types.float64),
            types.CPointer(types.float64),
            types.intp,
            types.voidptr,
        )
    )
    def bowl(x, value, grad, n, data):
        value[0] = x[0] * x[0]
        grad[0] = 2.0 * x[0]
        return 0

    assert fastopt.minimize(bowl, [3.0], method="newton", jac=True).nit == 1
    with pytest.raises(TypeError, match=r"^`hess` must be left out when `fun` is a C function"):
        fastopt.minimize(bowl, [3.0], method="newton", jac=True, hess=lambda x: np.eye(1))


# --- wrappers and states ---------------------------------------------------------------------


def test_wrappers_with_and_without_a_hessian_are_kept_apart():
    plain = compile_wrapper(chained.value, chained.grad, ARGS)
    full = compile_wrapper(chained.value, chained.grad, ARGS, chained.hess, chained.hessp)
    assert plain.hess is None
    assert full.hess is not None
    assert full.hessp is not None
    assert compile_wrapper(chained.value, chained.grad, ARGS) is plain
    again = compile_wrapper(chained.value, chained.grad, ARGS, chained.hess, chained.hessp)
    assert again is full


def test_a_wrapper_keeps_no_hessian_alive():
    @njit
    def hess(x, stiffness):
        return np.eye(x.size)

    solve("newton", 2, compile=True, hess=hess, options={"maxiter": 2})
    reference = weakref.ref(hess)
    del hess
    gc.collect()
    assert reference() is None


def test_a_hessian_compiled_anew_is_noticed():
    factor = 1.0

    @njit
    def hess(x, stiffness):
        return factor * np.eye(x.size)

    before = solve("newton", 2, compile=True, hess=hess, options={"maxiter": 3})
    factor = 1e3
    hess.recompile()
    after = solve("newton", 2, compile=True, hess=hess, options={"maxiter": 3})
    assert after.fun != before.fun


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize("method", METHODS_WITH)
def test_a_paused_solver_pickles_with_its_hessian(method, compile):
    def solver():
        return fastopt.Solver(
            chained.value,
            chained.start(5),
            ARGS,
            method,
            chained.grad,
            hess=chained.hess,
            options={"compile": compile},
        )

    whole = solver().run()
    paused = solver()
    paused.advance(3)
    assert paused.nhev == 3
    assert_same(pickle.loads(pickle.dumps(paused)).run(), whole)


def test_held_products_begin_anew_with_the_next_problem_of_a_batch():
    """Two problems with the same x but other arguments have other Hessians."""
    objective = compiled_objective(
        chained.value,
        chained.grad,
        (np.array([1.0, 100.0]),),
        2,
        None,
        None,
        (True,),
        chained.hess,
    )
    settings = {
        "gtol": 1e-9,
        "norm": np.inf,
        "ftol": 0.0,
        "xtol": 0.0,
        "stopval": -np.inf,
        "maxiter": 1,
        "maxfev": 100,
        "c1": 1e-4,
        "c2": 0.9,
        "maxls": 20,
        "line_search": "hager-zhang",
    }
    from fastopt.solvers.batch import Answers, BatchSolver

    starts = np.array([[-1.2, 1.0], [-1.2, 1.0]])
    answers = Answers(starts)
    BatchSolver("newton-cg", 2, settings).solve(objective, starts, answers, 0, 2)
    for i, stiffness in enumerate((1.0, 100.0)):
        state = SolverState("newton-cg", starts[i], settings)
        alone = compiled_objective(chained.value, chained.grad, (stiffness,), 2, hess=chained.hess)
        state.advance(alone, 1)
        np.testing.assert_array_equal(answers.x[i], state.x)


def test_an_operator_of_the_wrong_shape_is_refused():
    def hess(x):
        return LinearOperator((3, 3), matvec=lambda p: p, dtype=float)

    with pytest.raises(ValueError, match=r"^`hess` must return a matrix of shape \(2, 2\)"):
        fastopt.minimize(lambda x: x @ x, [1.0, 1.0], method="newton-cg", hess=hess)
