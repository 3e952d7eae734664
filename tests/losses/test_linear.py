"""Losses of linear models: what they compute, from which data, and who can use them."""

import dataclasses
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import scipy.special as sp
from numba import njit

import fastopt
from fastopt import losses
from fastopt.losses import _compiled

from .conftest import CLASSES, EACH, OUTPUTS, gradient, make_problem, value, value_and_gradient

EPS = np.finfo(float).eps
SETTINGS = pytest.mark.parametrize(
    "settings",
    [{}, {"l2": 0.3}, {"intercept": True}, {"l2": 0.3, "intercept": True}],
    ids=["plain", "l2", "intercept", "both"],
)
SMOOTH = [name for name in EACH if name != "absolute"]
CONVEX_DEGREES = {"squared", "huber", "logistic", "poisson", "softmax", "multilabel"}


def solve(loss, method="l-bfgs", **options):
    options |= {"gtol": 1e-8, "ftol": 0.0}
    return fastopt.minimize(
        loss.fun, loss.x0, loss.args, jac=loss.jac, method=method, options=options
    )


# --- value, gradient, Hessian products -------------------------------------------------------


@SETTINGS
def test_value_is_that_of_the_textbook(problem, settings):
    loss = problem.make(**settings)
    theta = problem.theta(loss)
    assert value(loss, theta) == pytest.approx(problem.naive(theta, **settings), rel=1e-13)


@SETTINGS
def test_gradient_agrees_with_differences(problem, settings):
    loss = problem.make(**settings, sample_weight=problem.rng.random(len(problem.X)))
    theta = problem.theta(loss)
    grad, h = gradient(loss, theta), 1e-6
    for i, unit in enumerate(np.eye(loss.n)):
        difference = (value(loss, theta + h * unit) - value(loss, theta - h * unit)) / (2 * h)
        assert grad[i] == pytest.approx(difference, rel=1e-7, abs=1e-8)


@SETTINGS
def test_hessian_product_agrees_with_differences_of_gradients(problem, settings):
    loss = problem.make(**settings, sample_weight=problem.rng.random(len(problem.X)))
    theta = problem.theta(loss)
    p, h = problem.rng.normal(size=loss.n), 1e-6
    product = loss.hessp(theta, p, *loss.args)
    difference = (gradient(loss, theta + h * p) - gradient(loss, theta - h * p)) / (2 * h)
    assert product.shape == (loss.n,)
    np.testing.assert_allclose(product, difference, rtol=1e-6, atol=1e-8)


@SETTINGS
def test_hessian_agrees_with_differences_of_gradients(problem, settings):
    loss = problem.make(**settings, sample_weight=problem.rng.random(len(problem.X)))
    theta, h = problem.theta(loss), 1e-6
    difference = np.array(
        [
            (gradient(loss, theta + h * unit) - gradient(loss, theta - h * unit)) / (2 * h)
            for unit in np.eye(loss.n)
        ]
    )
    found = loss.hess(theta, *loss.args)
    assert found.shape == (loss.n, loss.n)
    np.testing.assert_allclose(found, difference, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", SMOOTH)
def test_hessian_is_symmetric_and_positive_semidefinite(name):
    problem = make_problem(name)
    loss = problem.make(intercept=True)
    hessian = loss.hess(problem.theta(loss), *loss.args)
    np.testing.assert_array_equal(hessian, hessian.T)
    assert np.linalg.eigvalsh(hessian).min() > -1e-14


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
@SETTINGS
def test_hessian_its_diagonal_and_its_products_agree(problem, settings, sparse):
    X = np.where(problem.rng.random(problem.X.shape) < 0.4, problem.X, 0.0)
    weights = problem.rng.random(len(X))
    loss = problem.make(scipy.sparse.csr_array(X) if sparse else X, None, **settings)
    loss = dataclasses.replace(loss, args=(*loss.args[:2], weights, *loss.args[3:]))
    theta = problem.theta(loss)
    hessian = loss.hess(theta, *loss.args)
    products = [loss.hessp(theta, unit, *loss.args) for unit in np.eye(loss.n)]
    np.testing.assert_allclose(hessian, products, rtol=0, atol=1e-14)
    diagonal = loss.hess_diag(theta, *loss.args)
    np.testing.assert_allclose(diagonal, np.diag(hessian), rtol=1e-13)


# Around the eight columns of a panel, the four of a tile and the 64 rows of a block.
@pytest.mark.parametrize("n", [1, 63, 64, 65, 130])
@pytest.mark.parametrize("p", [1, 3, 4, 5, 8, 9, 16, 21])
def test_logistic_hessian_is_that_of_the_textbook(n, p):
    problem = make_problem("logistic", n, p)
    loss = problem.make(l2=0.1, intercept=True)
    theta = problem.theta(loss)
    X = np.column_stack([problem.X, np.ones(n)])
    q = sp.expit(X @ theta)
    expected = (X.T * (q * (1 - q) / n)) @ X + 0.1 * np.diag([*np.ones(p), 0.0])
    np.testing.assert_allclose(loss.hess(theta, *loss.args), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("n", [63, 64, 65])
def test_softmax_hessian_is_that_of_the_textbook(n):
    problem = make_problem("softmax", n, 9)
    loss = problem.make()
    theta = problem.theta(loss)
    q = sp.softmax(problem.X @ theta.reshape(CLASSES, 9).T, axis=1)
    curvature = np.einsum("bk,kl->bkl", q, np.eye(CLASSES)) - np.einsum("bk,bl->bkl", q, q)
    expected = np.einsum("bkl,bi,bj->kilj", curvature, problem.X, problem.X) / n
    np.testing.assert_allclose(
        loss.hess(theta, *loss.args), expected.reshape(loss.n, loss.n), rtol=1e-11, atol=1e-14
    )


def test_multilabel_hessian_keeps_labels_apart():
    problem = make_problem("multilabel")
    loss = problem.make(intercept=True)
    width = loss.n // OUTPUTS["multilabel"]
    blocks = loss.hess(problem.theta(loss), *loss.args).reshape(-1, width, loss.n // width, width)
    for k in range(len(blocks)):
        for other in range(len(blocks)):
            assert blocks[k, :, other].any() == (k == other)


def test_value_alone_has_the_bits_of_value_with_gradient(problem):
    loss = problem.make(l2=0.1, intercept=True)
    theta = problem.theta(loss)
    assert value(loss, theta) == value_and_gradient(loss, theta)[0]


# Around the eight numbers of a vector, the four rows of a group and the 32 of a block.
@pytest.mark.parametrize("n", [1, 3, 4, 31, 33, 70])
@pytest.mark.parametrize("p", [1, 7, 8, 9, 16, 21])
@pytest.mark.parametrize("name", ["logistic", "softmax"])
def test_any_number_of_rows_and_features(name, n, p):
    problem = make_problem(name, n, p)
    loss = problem.make(l2=0.1, intercept=True)
    theta = problem.theta(loss)
    expected = problem.naive(theta, l2=0.1, intercept=True)
    assert value(loss, theta) == pytest.approx(expected, rel=1e-13)
    rows = theta.reshape(OUTPUTS.get(name, 1), -1)
    z = problem.X @ rows[:, :-1].T + rows[:, -1]
    if name == "softmax":
        slopes = sp.softmax(z, axis=1) - np.eye(CLASSES)[problem.y]
    else:
        slopes = sp.expit(z) - problem.y[:, None]
    coef = slopes.T @ problem.X / n + 0.1 * rows[:, :-1]
    expected = np.column_stack([coef, slopes.mean(axis=0)]).ravel()
    np.testing.assert_allclose(gradient(loss, theta), expected, rtol=1e-12, atol=1e-15)


def test_wide_matrix_goes_by_fewer_rows():
    problem = make_problem("logistic", 11, 9001)
    loss = problem.make()
    theta = problem.theta(loss, scale=0.01)
    assert value(loss, theta) == pytest.approx(problem.naive(theta), rel=1e-13)
    slopes = sp.expit(problem.X @ theta) - problem.y
    np.testing.assert_allclose(gradient(loss, theta), problem.X.T @ slopes / 11, atol=1e-14)


def test_row_has_the_same_score_wherever_it_stands():
    """Alone or in a group of four: its loss depends on nothing but itself."""
    problem = make_problem("squared", 7, 21)
    whole, theta = problem.make(), np.random.default_rng(1).normal(size=21)
    for i in range(7):
        alone = problem.make(X=problem.X[i : i + 1], y=problem.y[i : i + 1])
        weights = np.eye(7)[i]
        weighted = dataclasses.replace(whole, args=(*whole.args[:2], weights, 0.0))
        assert value(alone, theta) == value(weighted, theta)


# --- extreme scores --------------------------------------------------------------------------


@pytest.mark.parametrize("size", [30.0, 1e3, 1e15, 1e300])
def test_logistic_of_huge_scores_is_finite_and_exact(size):
    X = np.array([[size], [size], [-size], [-size]])
    loss = losses.logistic(X, [1, 0, 1, 0])
    found, grad = value_and_gradient(loss, np.ones(1))
    small = np.log1p(np.exp(-size))
    assert found == pytest.approx((size + small) / 2, rel=4 * EPS)
    assert grad[0] == pytest.approx(size / 2 * np.tanh(size / 2), rel=4 * EPS)
    assert np.isfinite(loss.hessp(np.ones(1), np.ones(1), *loss.args)).all()


@pytest.mark.parametrize("z", [1.0, 20.0, 37.0, 50.0, 300.0, 700.0])
def test_small_losses_keep_their_relative_accuracy(z):
    tail = np.exp(-z)
    logistic = losses.logistic([[1.0]], [1])
    found, grad = value_and_gradient(logistic, np.array([z]))
    assert found == pytest.approx(np.log1p(tail), rel=4 * EPS)
    assert grad[0] == pytest.approx(-sp.expit(-z), rel=4 * EPS)
    softmax = losses.softmax([[1.0]], [1], n_classes=3)
    found, grad = value_and_gradient(softmax, np.array([0.0, z, 0.0]))
    assert found == pytest.approx(np.log1p(2 * tail), rel=4 * EPS)
    others = tail / (1 + 2 * tail)
    np.testing.assert_allclose(grad, [others, -2 * others, others], rtol=5 * EPS)


def test_softmax_of_huge_scores_is_finite():
    loss = losses.softmax(np.eye(3), [0, 1, 2])
    for size in (1e3, 1e100, 8e307):
        theta = size * np.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [-1.0, -1.0, 0.0]])
        found, grad = value_and_gradient(loss, theta.ravel())
        assert found == pytest.approx(np.log(3) / 3, rel=4 * EPS)
        assert np.isfinite(grad).all()
        # The worst class everywhere.
        found, grad = value_and_gradient(loss, -theta.ravel())
        assert found == pytest.approx(size / 3 * 4, rel=1e-3)
        assert np.isfinite(grad).all()
        assert np.isfinite(loss.hessp(theta.ravel(), np.ones(9), *loss.args)).all()


def test_poisson_out_of_range_is_infinite_and_solvers_come_back():
    loss = losses.poisson([[1.0], [2.0]], [1, 3])
    assert value(loss, np.array([1000.0])) == np.inf
    fit = fastopt.minimize(loss.fun, [-200.0], loss.args, jac=loss.jac, method="bfgs")
    assert fit.success
    assert abs(gradient(loss, fit.x)[0]) < 1e-5


# --- weights ---------------------------------------------------------------------------------


def test_weights_are_repetitions(problem):
    times = problem.rng.integers(0, 4, len(problem.X))
    weighted = problem.make(sample_weight=times, l2=0.1, intercept=True)
    repeated = problem.make(
        X=problem.X.repeat(times, axis=0),
        y=problem.y.repeat(times, axis=0),
        l2=0.1,
        intercept=True,
    )
    theta, p = problem.theta(weighted), problem.theta(weighted)
    assert value(weighted, theta) == pytest.approx(value(repeated, theta), rel=1e-13)
    np.testing.assert_allclose(
        gradient(weighted, theta), gradient(repeated, theta), rtol=1e-11, atol=1e-15
    )
    np.testing.assert_allclose(
        weighted.hessp(theta, p, *weighted.args),
        repeated.hessp(theta, p, *repeated.args),
        rtol=1e-11,
        atol=1e-15,
    )


def test_scale_of_the_weights_does_not_matter(problem):
    weights = problem.rng.random(len(problem.X))
    ones = problem.make(sample_weight=weights, l2=0.1)
    large = problem.make(sample_weight=2.0**900 * weights, l2=0.1)
    theta = problem.theta(ones)
    np.testing.assert_array_equal(gradient(ones, theta), gradient(large, theta))
    assert value(ones, theta) == value(large, theta)


def test_row_of_no_weight_is_ignored_even_where_its_loss_is_infinite():
    X, y = np.array([[1.0], [1000.0]]), [2.0, 0.0]
    loss = losses.poisson(X, y, sample_weight=[1.0, 0.0])
    alone = losses.poisson(X[:1], y[:1])
    theta = np.array([1.5])
    assert value_and_gradient(loss, theta) == value_and_gradient(alone, theta)
    assert loss.hessp(theta, theta, *loss.args) == alone.hessp(theta, theta, *alone.args)
    assert loss.hess(theta, *loss.args) == alone.hess(theta, *alone.args)
    assert loss.hess_diag(theta, *loss.args) == alone.hess_diag(theta, *alone.args)


# --- forms of the matrix ---------------------------------------------------------------------


@SETTINGS
@pytest.mark.parametrize("form", ["csr_matrix", "csc_matrix", "coo_matrix", "csr_array"])
def test_sparse_is_dense(problem, settings, form):
    X = np.where(problem.rng.random(problem.X.shape) < 0.3, problem.X, 0.0)
    X[3] = 0.0
    dense = problem.make(X=X, **settings)
    sparse = problem.make(X=getattr(scipy.sparse, form)(X), **settings)
    theta, p = problem.theta(dense), problem.theta(dense)
    assert value(sparse, theta) == pytest.approx(value(dense, theta), rel=1e-13)
    np.testing.assert_allclose(
        gradient(sparse, theta), gradient(dense, theta), rtol=1e-11, atol=1e-15
    )
    np.testing.assert_allclose(
        sparse.hessp(theta, p, *sparse.args),
        dense.hessp(theta, p, *dense.args),
        rtol=1e-11,
        atol=1e-15,
    )
    assert dataclasses.replace(sparse, args=()) is not sparse
    assert (sparse.n, sparse.n_features, sparse.n_outputs) == (
        dense.n,
        dense.n_features,
        dense.n_outputs,
    )


def test_csr_with_long_indices_and_repeated_entries():
    data, indices = np.array([1.0, 2.0, 4.0, 8.0]), np.array([1, 1, 0, 2], dtype=np.int64)
    X = scipy.sparse.csr_array((data, indices, np.array([0, 2, 4], dtype=np.int64)), (2, 3))
    loss = losses.squared(X, [0.0, 0.0])
    theta = np.array([1.0, 1.0, 1.0])
    assert value(loss, theta) == (9 + 144) / 4
    expected = np.array([[16.0, 0.0, 32.0], [0.0, 9.0, 0.0], [32.0, 0.0, 64.0]]) / 2
    np.testing.assert_array_equal(loss.hess(theta, *loss.args), expected)
    np.testing.assert_array_equal(loss.hess_diag(theta, *loss.args), np.diag(expected))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, bool])
def test_any_layout_and_real_dtype_is_taken(order, dtype):
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 2, (20, 3)), rng.integers(0, 2, 20)
    given = losses.logistic(np.asarray(X, dtype, order=order), y.astype(dtype))
    plain = losses.logistic(X.astype(float), y.astype(float))
    theta = rng.normal(size=3)
    assert value(given, theta) == value(plain, theta)


def test_data_in_the_right_form_are_referred_to_and_never_written_to():
    rng = np.random.default_rng(0)
    X, y, weights = rng.normal(size=(20, 3)), rng.random(20), rng.random(20)
    for array in (X, y, weights):
        array.flags.writeable = False
    loss = losses.logistic(X, y, weights)
    assert all(kept is given for kept, given in zip(loss.args, (X, y, weights), strict=False))
    value_and_gradient(loss, np.ones(3))
    sparse = scipy.sparse.csr_array(X)
    data, indices, indptr, _ = losses.logistic(sparse, y).args[0]
    assert np.shares_memory(data, sparse.data)
    assert np.shares_memory(indices, sparse.indices)
    assert np.shares_memory(indptr, sparse.indptr)
    classes = np.array([0, 1, 2])
    assert losses.softmax(np.eye(3), classes).args[1] is classes


def test_labels_may_be_bool_or_probabilities():
    X, theta = np.random.default_rng(0).normal(size=(10, 2)), np.array([0.5, -1.0])
    y = X[:, 0] > 0
    assert value(losses.logistic(X, y), theta) == value(losses.logistic(X, y * 1.0), theta)
    ones, zeros = (value(losses.logistic(X, np.full(10, label)), theta) for label in (1, 0))
    soft = value(losses.logistic(X, np.full(10, 0.25)), theta)
    assert soft == pytest.approx(0.25 * ones + 0.75 * zeros, rel=1e-13)


def test_multilabel_with_one_label_is_logistic():
    problem = make_problem("logistic")
    one, many = (
        problem.make(intercept=True),
        losses.multilabel(problem.X, problem.y[:, None], intercept=True),
    )
    theta = problem.theta(one)
    assert value(one, theta) == value(many, theta)
    np.testing.assert_array_equal(gradient(one, theta), gradient(many, theta))


def test_softmax_of_two_classes_is_logistic():
    problem = make_problem("logistic")
    one, two = problem.make(), losses.softmax(problem.X, problem.y)
    theta = problem.theta(one)
    both = np.concatenate([np.zeros_like(theta), theta])
    assert value(two, both) == pytest.approx(value(one, theta), rel=1e-14)
    np.testing.assert_allclose(gradient(two, both)[11:], gradient(one, theta), atol=1e-15)


# --- the object ------------------------------------------------------------------------------


def test_parameters_are_read_back():
    loss = losses.softmax(np.eye(2), [0, 2], intercept=True)
    theta = np.arange(9.0)
    assert (loss.n, loss.n_outputs, loss.jac) == (9, 3, "inplace")
    np.testing.assert_array_equal(loss.coef(theta), [[0, 1], [3, 4], [6, 7]])
    np.testing.assert_array_equal(loss.intercept(theta), [2, 5, 8])
    np.testing.assert_array_equal(loss.decision(theta, [[1.0, 1.0]]), [[3, 12, 21]])
    np.testing.assert_array_equal(
        loss.decision(theta, scipy.sparse.csr_array([[1.0, 1.0]])), [[3, 12, 21]]
    )
    plain = losses.squared(np.eye(2), [0, 2])
    np.testing.assert_array_equal(plain.coef([1.0, 2.0]), [1, 2])
    assert plain.intercept([1.0, 2.0]) == 0.0
    np.testing.assert_array_equal(plain.decision([1.0, 2.0], np.eye(2)), [1, 2])


@pytest.mark.parametrize("samples", [None, ..., "x", [["1", "2"]], [[1.0, 2.0], [1.0]], [[1j, 2]]])
def test_samples_that_are_no_numbers_are_named(samples):
    loss = losses.squared(np.eye(2), [0, 2])
    with pytest.raises((TypeError, ValueError), match="`X` must be"):
        loss.decision(loss.x0, samples)


def test_decision_agrees_with_the_loss(problem):
    loss = problem.make(intercept=True)
    theta = problem.theta(loss)
    scores = loss.decision(theta, problem.X)
    assert value(loss, theta) == pytest.approx(EACH[problem.name](scores, problem.y).mean())


def test_wrong_theta_or_matrix_is_named():
    loss = losses.squared(np.eye(2), [0, 2])
    with pytest.raises(ValueError, match="`theta` must have 2 elements, got 3"):
        loss.coef([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"`X` must be of shape \(m, 2\), got shape \(3, 3\)"):
        loss.decision([1.0, 2.0], np.eye(3))


def test_object_cannot_be_changed():
    loss = losses.squared(np.eye(2), [0, 2])
    with pytest.raises(dataclasses.FrozenInstanceError):
        loss.args = ()
    loss.x0[:] = 7.0
    np.testing.assert_array_equal(loss.x0, [0.0, 0.0])


def test_printed_form_is_short(problem):
    loss = problem.make(intercept=True)
    outputs = f", {loss.n_outputs} outputs" if loss.n_outputs else ""
    assert repr(loss) == (
        f"<LinearLoss {problem.name}: 57 samples, 11 features{outputs}, intercept, n = {loss.n}>"
    )


# --- compiled once, found again --------------------------------------------------------------


def test_one_function_serves_all_data(problem):
    first, other = problem.make(), problem.make(X=problem.X[:20, :3], y=problem.y[:20], l2=1.0)
    assert first.fun is other.fun
    assert first.hessp is other.hessp
    assert first.hess is other.hess
    assert first.hess_diag is other.hess_diag


def test_functions_are_pickled_by_name(problem):
    loss = problem.make()
    for function in (loss.fun, loss.hessp, loss.hess, loss.hess_diag):
        assert pickle.loads(pickle.dumps(function)) is function
        assert len(pickle.dumps(function)) < 100
    again = pickle.loads(pickle.dumps(loss))
    assert again.fun is loss.fun
    assert value(again, again.x0) == value(loss, loss.x0)


def test_every_compiled_function_belongs_to_a_loss():
    names = {f"{name}_{kind}" for name in EACH for kind in ("fun", "hessp", "hess", "hess_diag")}
    assert set(_compiled.__all__) == names
    assert set(losses.__all__) == {*EACH, "LinearLoss"}


def run_python(program, **environment):
    root = Path(fastopt.__file__).parents[1]
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), **environment},
    )
    assert not finished.returncode, finished.stderr
    return finished.stdout.split()


def test_second_process_loads_from_the_cache(tmp_path):
    program = """
        import numpy as np
        import fastopt
        loss = fastopt.losses.squared(np.eye(3), np.ones(3))
        print(fastopt.minimize(loss.fun, loss.x0, loss.args, jac=loss.jac).x)
        stats = loss.fun.stats
        print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
    """
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)}
    assert run_python(program, **cache)[-2:] == ["0", "1"]
    assert run_python(program, **cache)[-2:] == ["1", "0"]


def test_loss_runs_without_being_compiled(problem):
    """Under NUMBA_DISABLE_JIT=1, for someone who steps through it; to the same bits."""
    loss = problem.make(l2=0.1, intercept=True)
    theta = problem.theta(loss)
    compiled = [
        *value_and_gradient(loss, theta)[1],
        *loss.hessp(theta, theta, *loss.args),
        *loss.hess(theta, *loss.args).ravel(),
        *loss.hess_diag(theta, *loss.args),
    ]
    program = f"""
        import sys
        import numpy as np
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        from tests.losses.conftest import gradient, make_problem
        problem = make_problem({problem.name!r})
        loss = problem.make(l2=0.1, intercept=True)
        assert not hasattr(loss.fun, "py_func")
        theta = problem.theta(loss)
        print(*map(float, gradient(loss, theta)))
        print(*map(float, loss.hessp(theta, theta, *loss.args)))
        print(*map(float, loss.hess(theta, *loss.args).ravel()))
        print(*map(float, loss.hess_diag(theta, *loss.args)))
    """
    found = run_python(program, NUMBA_DISABLE_JIT="1")
    np.testing.assert_array_equal([float(each) for each in found], compiled)


# --- solvers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize("method", ["bfgs", "l-bfgs"])
def test_ridge_regression_solves_the_normal_equations(method, compile):
    rng = np.random.default_rng(0)
    X, y, weights = rng.normal(size=(80, 6)), rng.normal(size=80), rng.random(80)
    loss = losses.squared(X, y, weights, l2=0.2, intercept=True)
    fit = solve(loss, method, compile=compile)
    ones = np.column_stack([X, np.ones(80)])
    penalty = 0.2 * weights.sum() * np.diag([1.0] * 6 + [0.0])
    expected = np.linalg.solve(ones.T * weights @ ones + penalty, ones.T * weights @ y)
    np.testing.assert_allclose(fit.x, expected, atol=1e-7)


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_array])
@pytest.mark.parametrize("name", SMOOTH)
def test_solver_finds_where_the_gradient_vanishes(name, form):
    problem = make_problem(name, 100)
    loss = problem.make(X=form(problem.X), l2=1e-2, intercept=True)
    compiled, called = (solve(loss, compile=choice) for choice in (True, False))
    assert compiled.success
    assert np.abs(gradient(loss, compiled.x)).max() <= 1e-8
    np.testing.assert_array_equal(compiled.x, called.x)


@pytest.mark.parametrize("name", SMOOTH)
def test_methods_that_take_hessp_find_the_minimum(name):
    loss = make_problem(name).make(l2=0.1, intercept=True)
    for method in ("newton-cg", "trust-ncg"):
        fit = fastopt.minimize(
            loss.fun, loss.x0, loss.args, method, loss.jac, hessp=loss.hessp, tol=1e-6
        )
        assert np.abs(gradient(loss, fit.x)).max() < 1e-5


@pytest.mark.parametrize("method", ["newton", "newton-cg", "trust-exact"])
@pytest.mark.parametrize("name", SMOOTH)
def test_methods_that_take_hess_find_the_minimum(name, method):
    loss = make_problem(name).make(l2=0.1, intercept=True)
    compiled, called = (
        fastopt.minimize(
            *(loss.fun, loss.x0, loss.args, method, loss.jac),
            hess=loss.hess,
            tol=1e-6,
            options={"compile": choice},
        )
        for choice in (True, False)
    )
    assert np.abs(gradient(loss, compiled.x)).max() <= 1e-6
    np.testing.assert_array_equal(compiled.x, called.x)


@pytest.mark.parametrize("name", SMOOTH)
def test_hessian_at_the_start_spares_evaluations(name):
    """As its inverse, for BFGS; its diagonal for CG, where columns are of very different sizes."""
    problem = make_problem(name, 200)
    loss = problem.make(X=problem.X * np.logspace(-1.5, 0.0, 11), l2=1e-2)
    plain = solve(loss, "bfgs")
    hess_inv0 = np.linalg.inv(loss.hess(loss.x0, *loss.args))
    informed = solve(loss, "bfgs", hess_inv0=hess_inv0)
    assert np.abs(gradient(loss, informed.x)).max() <= 1e-8
    assert informed.nfev < plain.nfev
    plain = solve(loss, "cg")
    informed = solve(loss, "cg", preconditioner=1.0 / loss.hess_diag(loss.x0, *loss.args))
    assert np.abs(gradient(loss, informed.x)).max() <= 1e-8
    assert informed.nfev < plain.nfev


def test_many_targets_in_one_call():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(60, 4)), (rng.random((25, 60)) < 0.5).astype(float)
    loss = losses.logistic(X, Y[0], l2=0.1, intercept=True)
    fits = fastopt.minimize_many(
        loss.fun,
        np.zeros((25, loss.n)),
        (X, Y, *loss.args[2:]),
        batched=(False, True, False, False),
        jac=loss.jac,
        workers=2,
    )
    assert fits.success.all()
    for y, x in zip(Y, fits.x, strict=True):
        alone = losses.logistic(X, y, l2=0.1, intercept=True)
        found = fastopt.minimize(alone.fun, alone.x0, alone.args, jac=alone.jac)
        np.testing.assert_array_equal(x, found.x)


def test_path_of_penalties_and_bootstrap_weights_in_one_call():
    rng = np.random.default_rng(0)
    X, y = scipy.sparse.random_array((60, 4), density=0.5, rng=rng), rng.normal(size=60)
    weights, penalties = rng.multinomial(60, [1 / 60] * 60, 10) * 1.0, np.logspace(-3, 0, 10)
    loss = losses.squared(X, y, weights[0])
    matrix, targets, *_ = loss.args
    fits = fastopt.minimize_many(
        loss.fun,
        np.zeros((10, 4)),
        (matrix, targets, weights, penalties),
        batched=(False, False, True, True),
        jac=loss.jac,
    )
    assert fits.success.all()
    for w, l2, x in zip(weights, penalties, fits.x, strict=True):
        assert np.abs(gradient(losses.squared(X, y, w, l2), x)).max() < 1e-5


def test_in_njit_code():
    fun, hessp = losses.logistic([[1.0]], [1]).fun, losses.logistic([[1.0]], [1]).hessp

    @njit
    def fit(X, y, l2):
        nothing = np.empty(0)
        found = fastopt.minimize(
            fun, np.zeros(X.shape[1]), (X, y, nothing, l2), method="l-bfgs", jac="inplace"
        )
        return (
            found.x,
            fun(found.x, nothing, X, y, nothing, l2),
            hessp(found.x, found.x, X, y, nothing, l2),
        )

    problem = make_problem("logistic")
    loss = problem.make(l2=0.1)
    x, at_minimum, product = fit(problem.X, problem.y, 0.1)
    outside = fastopt.minimize(loss.fun, loss.x0, loss.args, "l-bfgs", "inplace")
    np.testing.assert_array_equal(x, outside.x)
    assert at_minimum == value(loss, x)
    np.testing.assert_array_equal(product, loss.hessp(x, x, *loss.args))


# --- misuse of the compiled functions --------------------------------------------------------


def test_compiled_functions_read_no_array_beyond_its_end(problem):
    loss = problem.make()
    X, y, weights, *rest = loss.args
    theta, none = loss.x0, np.empty(0)
    for grad, name, theta_, args in (
        (none, "theta", theta[:-1], (X, y, weights, *rest)),
        (none, "theta", np.zeros(theta.size + 100), (X, y, weights, *rest)),
        (theta[:-1].copy(), "grad", theta, (X, y, weights, *rest)),
        (none, "y", theta, (X, y[:-1], weights, *rest)),
        (none, "sample_weight", theta, (X, y, np.ones(3), *rest)),
    ):
        with pytest.raises(ValueError, match=f"^`{name}` must"):
            loss.fun(theta_, grad, *args)
        if name != "grad":
            with pytest.raises(ValueError, match=f"^`{name}` must"):
                loss.hessp(theta_, theta_, *args)
    with pytest.raises(ValueError, match=r"^`p` must"):
        loss.hessp(theta, theta[:-1].copy(), *loss.args)


def test_class_out_of_range_is_an_error_in_a_batch():
    loss = losses.softmax(np.eye(3), [0, 1, 2])
    X, _, *rest = loss.args
    for bad in (-1, 3):
        with pytest.raises(ValueError, match=r"^`y` must hold class numbers"):
            loss.fun(loss.x0, np.empty(0), X, np.array([0, 1, bad]), *rest)


@pytest.mark.parametrize("X", [np.eye(3, dtype=np.float32), np.ones((3, 4))[:, ::2], np.ones(3)])
def test_matrix_of_another_form_is_a_type_error_when_compiled(X):
    loss = losses.squared(np.eye(3), [0, 1, 2])
    with pytest.raises(TypeError, match=r"^`X` must be a C-contiguous array of float64"):
        loss.fun(np.zeros(3), np.empty(0), X, *loss.args[1:])
