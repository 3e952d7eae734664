"""Batches: every row once an epoch, the same order for the same seed, the same values compiled."""

import copy
import gc
import itertools
import pickle
import re
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest
import scipy.sparse
import scipy.stats
from numba import njit, objmode

import fastopt
from fastopt.objectives.gathering import Gatherer
from fastopt.objectives.minibatches import Stream, buffers, take_rows
from fastopt.objectives.shuffling import permutation
from fastopt.objectives.source import ObjectiveSource

RNG = np.random.default_rng(0)
X = RNG.standard_normal((23, 4))
Y = RNG.standard_normal(23)
THETA = np.array([0.5, -1.0, 2.0, 0.25])
LAM = 0.1
EPS = np.finfo(float).eps


def squares(theta, X, y, lam):
    """Mean of squares, and its gradient, in an order of operations that Numba keeps."""
    value = lam * (theta[0] * theta[0])
    grad = np.zeros(theta.size)
    grad[0] = 2.0 * lam * theta[0]
    for i in range(y.size):
        error = -y[i]
        for j in range(theta.size):
            error += X[i, j] * theta[j]
        value += error * error / y.size
        for j in range(theta.size):
            grad[j] += 2.0 * error * X[i, j] / y.size
    return value, grad


jitted_squares = njit(squares)


@njit
def sparse_squares(theta, X, y, lam):
    value = lam * (theta[0] * theta[0])
    grad = np.zeros(theta.size)
    grad[0] = 2.0 * lam * theta[0]
    for i in range(y.size):
        error = -y[i]
        for k in range(X.indptr[i], X.indptr[i + 1]):
            error += X.data[k] * theta[X.indices[k]]
        value += error * error / y.size
        for k in range(X.indptr[i], X.indptr[i + 1]):
            grad[X.indices[k]] += 2.0 * error * X.data[k] / y.size
    return value, grad


def objective_of(fun, data, args=(LAM,), jac=True, n=4, **keywords):
    return ObjectiveSource(fun, jac, args, n, data=data, **keywords).objective


def compiled_of(data, fun=jitted_squares, **keywords):
    return objective_of(fun, data, compile=True, **keywords)


def sequence(objective, count, theta=THETA):
    found = []
    for _ in range(count):
        value, grad = objective.evaluate(theta)
        found.append((value, *grad))
    return np.array(found)


# --- the order -------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "size"), [(1, 1), (7, 3), (8, 4), (23, 23), (23, 100), (300, 1)])
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_row_comes_once_an_epoch(n, size, shuffle):
    data = fastopt.Minibatches(np.arange(n), batch_size=size, shuffle=shuffle)
    for _ in range(3):
        batches = [batch for (batch,) in data]
        assert len(batches) == len(data) == -(-n // size)
        assert {len(batch) for batch in batches[:-1]} <= {min(size, n)}
        assert sorted(np.concatenate(batches)) == list(range(n))


def test_order_depends_on_seed_and_epoch_alone():
    first, second = (fastopt.Minibatches(np.arange(50), batch_size=7, seed=3) for _ in range(2))
    epochs = [np.concatenate([batch for (batch,) in first]) for _ in range(4)]
    second.seek(2)
    np.testing.assert_array_equal(np.concatenate([batch for (batch,) in second]), epochs[2])
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert tuple(permutation(50, 4, 0)) != tuple(epochs[0])


def test_order_is_the_same_on_all_machines():
    """Recorded with the transcription below, in integers of any size."""
    assert permutation(10, 0, 0).tolist() == transcribed(10, 0, 0)
    assert permutation(1000, 2**64 - 1, 12345).tolist() == transcribed(1000, 2**64 - 1, 12345)
    assert permutation(5, 7, 2**40).tolist() == transcribed(5, 7, 2**40)


def transcribed(n, seed, epoch):
    mask, increment = 2**64 - 1, 0x9E3779B97F4A7C15

    def mix(z):
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return z ^ (z >> 31)

    counter = mix((mix((seed + increment) & mask) + epoch * increment) & mask)
    order = list(range(n))
    for i in range(n, 1, -1):
        while True:
            counter = (counter + increment) & mask
            product = (mix(counter) >> 32) * i
            if product % 2**32 >= 2**32 % i:
                break
        j = product >> 32
        order[i - 1], order[j] = order[j], order[i - 1]
    return order


def test_all_orders_of_four_rows_are_equally_likely():
    counts = dict.fromkeys(itertools.permutations(range(4)), 0)
    for epoch in range(24_000):
        counts[tuple(permutation(4, 1, epoch))] += 1
    assert scipy.stats.chisquare(list(counts.values())).pvalue > 1e-3


@pytest.mark.parametrize("vary", ["seed", "epoch"])
def test_each_row_is_equally_likely_at_each_place(vary):
    n, draws = 13, 13_000
    counts = np.zeros((n, n))
    for k in range(draws):
        order = permutation(n, k, 5) if vary == "seed" else permutation(n, 5, k)
        counts[np.arange(n), order] += 1
    expected = draws / n
    # The rows and columns of the table are given: (n - 1)^2 degrees of freedom.
    statistic = ((counts - expected) ** 2 / expected).sum() * (n - 1) / n
    assert scipy.stats.chi2.sf(statistic, (n - 1) ** 2) > 1e-3


def test_consecutive_epochs_are_independent():
    """The number of rows at the same place in two epochs has mean 1 and variance 1."""
    n, pairs = 50, 4000
    orders = [permutation(n, 9, epoch) for epoch in range(pairs + 1)]
    fixed = [np.count_nonzero(a == b) for a, b in itertools.pairwise(orders)]
    assert abs(np.mean(fixed) - 1) < 4 / np.sqrt(pairs)


# --- batches in Python -----------------------------------------------------------------------


def test_last_short_batch_is_kept_or_dropped():
    sizes = [len(y) for _, y in fastopt.Minibatches(X, Y, batch_size=10)]
    assert sizes == [10, 10, 3]
    data = fastopt.Minibatches(X, Y, batch_size=10, drop_last=True)
    assert [len(y) for _, y in data] == [10, 10]
    assert len(data) == 2


def test_rows_of_all_arrays_stay_together():
    data = fastopt.Minibatches(X, np.arange(23), scipy.sparse.csr_array(X), batch_size=5)
    for dense, numbers, sparse in data:
        np.testing.assert_array_equal(dense, X[numbers])
        assert scipy.sparse.issparse(sparse)
        np.testing.assert_array_equal(sparse.toarray(), dense)


@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_are_contiguous_and_never_change(shuffle):
    data = fastopt.Minibatches(np.asfortranarray(X), Y[::-1], batch_size=6, shuffle=shuffle)
    kept = list(data)
    copies = copy.deepcopy(kept)
    list(data)
    for batch, same in zip(kept, copies, strict=True):
        for array, before in zip(batch, same, strict=True):
            assert array.flags.c_contiguous
            np.testing.assert_array_equal(array, before)


def test_rows_in_order_are_not_copied():
    data = fastopt.Minibatches(X, Y, batch_size=6, shuffle=False)
    assert all(np.shares_memory(batch, X) for batch, _ in data)


def test_epoch_left_in_the_middle_goes_on():
    data = fastopt.Minibatches(np.arange(20), batch_size=3, seed=5)
    whole = list(copy.copy(data))
    begun = [batch for _, batch in zip(range(2), data, strict=False)]
    assert (data.epoch, data.batch) == (0, 2)
    rest = list(data)
    assert [list(b) for (b,) in begun + rest] == [list(b) for (b,) in whole]
    assert (data.epoch, data.batch) == (1, 0)


@pytest.mark.parametrize("way", ["pickle", "state", "savez"])
def test_place_is_saved_and_resumed(way, tmp_path):
    data = fastopt.Minibatches(X, Y, batch_size=4, seed=11)
    list(data)
    next(iter(data))
    if way == "pickle":
        other = pickle.loads(pickle.dumps(data))
    else:
        state = data.state_dict()
        if way == "savez":
            np.savez(tmp_path / "state.npz", **state)
            with np.load(tmp_path / "state.npz") as loaded:
                state = dict(loaded)
        other = fastopt.Minibatches(X, Y, batch_size=4)
        other.load_state_dict(state)
    for _ in range(2):
        for (a, b), (c, d) in zip(data, other, strict=True):
            np.testing.assert_array_equal(a, c)
            np.testing.assert_array_equal(b, d)


# --- the objective ---------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("size", [None, 1, 5, 23])
@pytest.mark.parametrize("drop_last", [False, True])
def test_compiled_and_python_give_the_same_sequence(shuffle, size, drop_last):
    data = fastopt.Minibatches(X, Y, batch_size=size, shuffle=shuffle, drop_last=drop_last)
    count = 2 * len(data) + 1
    expected = np.array(
        [
            (value, *grad)
            for _, (X_batch, y_batch) in zip(range(count), forever(data), strict=False)
            for value, grad in [squares(THETA, X_batch, y_batch, LAM)]
        ]
    )
    data.seek(0)
    for objective in (
        objective_of(squares, data),
        objective_of(jitted_squares, data, compile=False),
        compiled_of(data),
    ):
        np.testing.assert_array_equal(sequence(objective, count), expected)
        assert objective.position == divmod(count, len(data))


def forever(data):
    while True:
        yield from data


@pytest.mark.parametrize("kind", ["separate", "inplace", "2-point"])
def test_gradients_are_those_of_the_batch_of_the_value(kind):
    fun, jac = {
        "separate": (value_of, gradient_of),
        "inplace": (inplace, "inplace"),
        "2-point": (value_of, "2-point"),
    }[kind]
    data = fastopt.Minibatches(X, Y, batch_size=5)
    exact = sequence(objective_of(squares, data), 7)
    for objective in (objective_of(fun, data, jac=jac), compiled_of(data, fun, jac=jac)):
        for row in exact:
            value, _ = objective.evaluate(THETA, gradient=False)
            _, grad = objective.evaluate(THETA, value=False)
            # A forward difference of half the digits, of a second derivative of order 10.
            rtol, atol = (0, 1e3 * np.sqrt(EPS)) if kind == "2-point" else (8 * EPS, 0)
            np.testing.assert_allclose(grad, row[1:], rtol, atol)
            assert value == row[0]


@njit
def value_of(theta, X, y, lam):
    return jitted_squares(theta, X, y, lam)[0]


@njit
def gradient_of(theta, X, y, lam):
    return jitted_squares(theta, X, y, lam)[1]


@njit
def inplace(theta, grad, X, y, lam):
    value, slopes = jitted_squares(theta, X, y, lam)
    if grad.size:
        grad[:] = slopes
    return value


@njit
def with_blas(theta, X, y, lam):
    error = X @ theta - y
    return error @ error / y.size, 2.0 / y.size * (X.T @ error)


@pytest.mark.parametrize("shuffle", [True, False])
def test_products_of_matrices_see_the_batch(shuffle):
    """Arguments of such a function are counted: Numba takes it for one that calls Python."""
    data = fastopt.Minibatches(X, Y, batch_size=5, shuffle=shuffle)
    expected = [
        (error @ error / y.size, *(2 / y.size * (x.T @ error)))
        for x, y in list(data)
        for error in [x @ THETA - y]
    ]
    data.seek(0)
    np.testing.assert_allclose(sequence(compiled_of(data, with_blas), 5), expected, 64 * EPS)


def test_array_kept_by_code_that_goes_back_to_python_outlives_the_objective():
    kept = []

    def keep(X):
        kept.append(X)

    @njit
    def keeping(theta, X):
        with objmode():
            keep(X)
        return X[0], theta

    globals()["keep"] = keep
    data = fastopt.Minibatches(np.arange(6.0), batch_size=2, shuffle=False)
    objective = compiled_of(data, keeping, args=())
    sequence(objective, 3)
    del objective
    gc.collect()
    assert kept[-1].tolist() == [4.0, 5.0]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_sparse_rows_give_what_dense_ones_give(shuffle, index):
    dense = np.where(RNG.random((23, 6)) < 0.3, RNG.standard_normal((23, 6)), 0.0)
    dense[3] = dense[22] = 0.0
    matrix = scipy.sparse.csr_array(dense)
    matrix.indices, matrix.indptr = matrix.indices.astype(index), matrix.indptr.astype(index)
    theta = RNG.standard_normal(6)

    def with_scipy(theta, X, y, lam):
        assert scipy.sparse.issparse(X)
        return squares(theta, X.toarray(), y, lam)

    keywords = {"batch_size": 5, "shuffle": shuffle}
    expected = sequence(compiled_of(fastopt.Minibatches(dense, Y, **keywords), n=6), 11, theta)
    data = fastopt.Minibatches(matrix, Y, **keywords)
    for objective in (
        compiled_of(data, sparse_squares, n=6),
        objective_of(sparse_squares, data, n=6, compile=False),
        objective_of(with_scipy, data, n=6),
    ):
        np.testing.assert_allclose(sequence(objective, 11, theta), expected, 32 * EPS)
        whole = squares(theta, dense, Y, LAM)
        found = objective.evaluate_all(theta)
        np.testing.assert_allclose(found[0], whole[0], 32 * EPS)
        np.testing.assert_allclose(found[1], whole[1], 256 * EPS)


def test_losses_of_linear_models_take_batches():
    matrix = scipy.sparse.csr_array(np.where(X > 0, X, 0))
    labels = (Y > 0).astype(float)
    found = []
    for given in (matrix, matrix.toarray()):
        loss = fastopt.losses.logistic(given, labels)
        data = fastopt.Minibatches(given, labels, batch_size=5)
        objective = compiled_of(data, loss.fun, args=loss.args[2:], jac=loss.jac)
        found.append(sequence(objective, 9))
    np.testing.assert_allclose(*found, 64 * EPS)


@pytest.mark.parametrize("order", ["F", "reversed", "sliced", "transposed"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int16, np.bool_, np.complex128])
def test_arrays_need_not_be_contiguous(order, dtype):
    block = (10 * RNG.standard_normal((9, 4, 3, 2))).astype(dtype)
    block = {
        "F": np.asfortranarray(block),
        "reversed": block[::-1, :, ::-1],
        "sliced": block[:, 1:3, :, :1],
        "transposed": block.transpose(0, 3, 1, 2),
    }[order]
    expected = [(abs(each) ** 2).sum() for each in block.astype(complex)]
    for shuffle in (True, False):
        data = fastopt.Minibatches(block, np.arange(9), batch_size=1, shuffle=shuffle)
        objective = compiled_of(data, sum_of_squares, args=(), n=1)
        for _ in range(9):
            value, (number,) = objective.evaluate(np.zeros(1))
            assert value == pytest.approx(expected[int(number)], rel=1e-6)


@njit
def sum_of_squares(x, block, number):
    total = 0.0
    for each in block.ravel():
        total += abs(1.0 * each) ** 2
    return total, number * 1.0


def test_memory_mapped_arrays_are_served(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for shuffle in (True, False):
        keywords = {"batch_size": 5, "shuffle": shuffle}
        expected = sequence(compiled_of(fastopt.Minibatches(X, Y, **keywords)), 7)
        data = fastopt.Minibatches(mapped, Y, **keywords)
        for objective in (objective_of(squares, data), compiled_of(data)):
            np.testing.assert_array_equal(sequence(objective, 7), expected)


def test_compiled_code_that_writes_to_its_batch_leaves_read_only_data_alone():
    @njit
    def writing(theta, X):
        X[:] = 0.0
        return X.sum(), theta

    fixed = X.copy()
    fixed.setflags(write=False)
    sequence(compiled_of(fastopt.Minibatches(fixed, shuffle=False), writing, args=()), 2)
    np.testing.assert_array_equal(fixed, X)


@pytest.mark.parametrize("is_compiled", [True, False])
@pytest.mark.parametrize("after", [0, 3, 5, 8])
def test_resumed_in_the_middle_is_as_uninterrupted(is_compiled, after):
    def make(seed):
        data = fastopt.Minibatches(X, Y, batch_size=5, seed=seed)
        return compiled_of(data) if is_compiled else objective_of(squares, data)

    whole, first, second = make(2), make(2), make(2)
    sequence(first, after)
    expected = sequence(whole, after + 7)[after:]
    second.load_state_dict(first.state_dict())
    np.testing.assert_array_equal(sequence(second, 7), expected)
    assert second.running_loss == whole.running_loss
    assert second.state_dict() == whole.state_dict()


def test_source_pickles_with_its_place():
    source = ObjectiveSource(squares, True, (LAM,), 4, data=fastopt.Minibatches(X, Y, batch_size=5))
    source.objective.epochs = 2
    sequence(source.objective, 3)
    other = pickle.loads(pickle.dumps(source))
    assert other.objective.epochs == 2
    np.testing.assert_array_equal(sequence(other.objective, 5), sequence(source.objective, 5))


def test_change_to_compiled_code_keeps_the_place(monkeypatch):
    monkeypatch.setattr("fastopt.objectives.source.PAYS_AFTER", 0)
    fun = njit(squares)
    source = ObjectiveSource(fun, True, (LAM,), 4, data=fastopt.Minibatches(X, Y, batch_size=5))
    first = source.objective
    found = [sequence(first, 3)]
    source.note_calls(3, 3)
    assert source.objective is not first
    found.append(sequence(source.objective, 6))
    expected = sequence(objective_of(squares, fastopt.Minibatches(X, Y, batch_size=5)), 9)
    np.testing.assert_array_equal(np.concatenate(found), expected)
    assert source.objective.position == (1, 4)


@pytest.mark.parametrize("is_compiled", [True, False])
def test_full_evaluation_is_the_mean_over_all_rows(is_compiled):
    data = fastopt.Minibatches(X, Y, batch_size=5, drop_last=True)
    objective = compiled_of(data) if is_compiled else objective_of(squares, data)
    expected = sequence(objective_of(squares, data), 6)
    sequence(objective, 2)
    value, grad = objective.evaluate_all(THETA)
    whole = squares(THETA, X, Y, LAM)
    np.testing.assert_allclose(value, whole[0], 32 * EPS)
    np.testing.assert_allclose(grad, whole[1], 256 * EPS)
    assert objective.evaluate_all(THETA, gradient=False)[0] == value
    assert objective.position == (0, 2)
    assert (objective.nfev, objective.njev) == (10, 5)
    np.testing.assert_array_equal(sequence(objective, 4), expected[2:])


def test_one_batch_of_all_is_the_full_evaluation():
    objective = compiled_of(fastopt.Minibatches(X, Y))
    value, grad = objective.evaluate(THETA)
    full = objective.evaluate_all(THETA)
    assert full[0] == value
    np.testing.assert_array_equal(full[1], grad)


def test_gradient_alone_after_a_full_evaluation_is_that_of_the_last_batch():
    for make in (compiled_of, lambda data: objective_of(squares, data)):
        objective = make(fastopt.Minibatches(X, Y, batch_size=5))
        _, expected = objective.evaluate(THETA)
        objective.evaluate_all(THETA)
        _, grad = objective.evaluate(THETA, value=False)
        np.testing.assert_array_equal(grad, expected)


def test_running_loss_is_the_mean_of_the_epoch():
    objective = compiled_of(fastopt.Minibatches(X, Y, batch_size=10))
    assert np.isnan(objective.running_loss)
    values = sequence(objective, 3)[:, 0]
    np.testing.assert_allclose(objective.running_loss, values @ [10, 10, 3] / 23, 8 * EPS)
    assert objective.evaluate(THETA)[0] == objective.running_loss


def test_epochs_end_the_solve():
    for make in (compiled_of, lambda data: objective_of(squares, data)):
        objective = make(fastopt.Minibatches(X, Y, batch_size=10))
        objective.epochs = 2
        assert np.isfinite(sequence(objective, 6)).all()
        assert objective.ended
        assert np.isnan(objective.evaluate(THETA)[0])
        assert objective.position == (2, 0)
        objective.epochs = 3
        assert np.isfinite(objective.evaluate(THETA)[0])


class Refused(Exception):
    pass


def test_batch_of_an_evaluation_that_raised_comes_again():
    served = []
    refuse = [False]

    def picky(theta, X, y, lam):
        served.append(y)
        if refuse.pop():
            raise error
        refuse.append(False)
        return squares(theta, X, y, lam)

    error = Refused("not this one")
    objective = objective_of(picky, fastopt.Minibatches(X, Y, batch_size=5))
    sequence(objective, 2)
    refuse[:] = [False, True]
    with pytest.raises(Refused) as caught:
        objective.evaluate(THETA)
    assert caught.value is error
    assert objective.position == (0, 2)
    sequence(objective, 1)
    np.testing.assert_array_equal(served[2], served[3])
    assert objective.position == (0, 3)


def test_batch_of_a_compiled_evaluation_that_raised_comes_again():
    @njit
    def picky(theta, X, y, lam):
        if theta[0] < 0:
            raise ValueError("negative")
        return jitted_squares(theta, X, y, lam)

    objective = compiled_of(fastopt.Minibatches(X, Y, batch_size=5), picky)
    expected = sequence(compiled_of(fastopt.Minibatches(X, Y, batch_size=5)), 3)
    sequence(objective, 2)
    with pytest.raises(ValueError, match=r"^negative$"):
        objective.evaluate(-THETA)
    np.testing.assert_array_equal(sequence(objective, 1), expected[2:])


def test_batch_whose_gradient_raised_comes_again():
    failing = [True]

    def slopes(theta, X, y, lam):
        if failing.pop():
            raise Refused
        return squares(theta, X, y, lam)[1]

    objective = objective_of(
        lambda *args: squares(*args)[0], fastopt.Minibatches(X, Y, batch_size=5), jac=slopes
    )
    value, _ = objective.evaluate(THETA, gradient=False)
    with pytest.raises(Refused):
        objective.evaluate(THETA, value=False)
    assert objective.position == (0, 0)
    assert objective.evaluate(THETA, gradient=False)[0] == value


def test_raised_in_a_full_evaluation_comes_out():
    def raising(theta, X, y, lam):
        raise Refused

    with pytest.raises(Refused):
        objective_of(raising, fastopt.Minibatches(X, Y)).evaluate_all(THETA)


def test_stopped_evaluation_serves_its_batch_later():
    objective = compiled_of(fastopt.Minibatches(X, Y, batch_size=5), value_of, jac="2-point")
    expected = sequence(
        compiled_of(fastopt.Minibatches(X, Y, batch_size=5), value_of, jac="2-point"), 1
    )
    objective.stop()
    assert np.isnan(objective.evaluate(THETA)[0])
    objective.stop(False)
    np.testing.assert_array_equal(sequence(objective, 1), expected)


# --- streams ---------------------------------------------------------------------------------


def batches_of(size=5):
    return [(X[k : k + size], Y[k : k + size]) for k in range(0, 23, size)]


class Again:
    """Batches that can be gone through again."""

    def __iter__(self):
        return iter(batches_of())


@pytest.mark.parametrize("is_compiled", [True, False])
def test_iterator_ends_the_solve(is_compiled):
    data = fastopt.Minibatches(iter(batches_of()))
    objective = compiled_of(data) if is_compiled else objective_of(squares, data)
    expected = sequence(compiled_of(fastopt.Minibatches(X, Y, batch_size=5, shuffle=False)), 5)
    np.testing.assert_array_equal(sequence(objective, 5), expected)
    assert not objective.ended
    assert np.isnan(objective.evaluate(THETA)[0])
    assert objective.ended
    assert objective.position == (0, 5)
    with pytest.raises(ValueError, match="got an iterator"):
        objective.evaluate_all(THETA)


def test_iterator_without_batches_is_an_error_where_it_is_first_asked_for_one():
    used = iter(batches_of())
    list(used)
    for source in (iter([]), used):
        with pytest.raises(ValueError, match="a stream must have at least one batch"):
            objective_of(squares, fastopt.Minibatches(source)).evaluate(THETA)


@pytest.mark.parametrize("source", [batches_of, Again])
@pytest.mark.parametrize("is_compiled", [True, False])
def test_iterable_is_gone_through_once_an_epoch(source, is_compiled):
    data = fastopt.Minibatches(source())
    objective = compiled_of(data) if is_compiled else objective_of(squares, data)
    arrays = compiled_of(fastopt.Minibatches(X, Y, batch_size=5, shuffle=False))
    objective.epochs = arrays.epochs = 3
    np.testing.assert_array_equal(sequence(objective, 7), sequence(arrays, 7))
    assert objective.position == (1, 2)
    state = objective.state_dict()
    for found, expected in zip(
        objective.evaluate_all(THETA), arrays.evaluate_all(THETA), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    rest = sequence(objective, 8)
    np.testing.assert_array_equal(rest, sequence(arrays, 8))
    assert np.isnan(objective.evaluate(THETA)[0])
    assert objective.ended
    objective.load_state_dict(state)
    np.testing.assert_array_equal(sequence(objective, 8), rest)


def test_iterator_loses_no_batch_to_the_change_to_compiled_code(monkeypatch):
    monkeypatch.setattr("fastopt.objectives.source.PAYS_AFTER", 0)
    source = ObjectiveSource(
        njit(squares), True, (LAM,), 4, data=fastopt.Minibatches(iter(batches_of()))
    )
    found = [sequence(source.objective, 2)]
    source.note_calls(2, 2)
    found.append(sequence(source.objective, 3))
    expected = sequence(objective_of(squares, fastopt.Minibatches(batches_of())), 5)
    np.testing.assert_array_equal(np.concatenate(found), expected)


def test_batch_of_a_stream_comes_again_if_it_raised():
    failing = [False, True, False]

    def picky(theta, X, y, lam):
        if failing.pop(0):
            raise Refused
        return squares(theta, X, y, lam)

    objective = objective_of(picky, fastopt.Minibatches(iter(batches_of())))
    sequence(objective, 1)
    with pytest.raises(Refused):
        objective.evaluate(THETA)
    expected = sequence(objective_of(squares, fastopt.Minibatches(batches_of())), 2)
    np.testing.assert_array_equal(sequence(objective, 1), expected[1:])


def test_what_a_stream_raises_comes_out():
    def broken():
        yield X[:5], Y[:5]
        raise Refused

    for make in (compiled_of, lambda data: objective_of(squares, data)):
        objective = make(fastopt.Minibatches(broken()))
        sequence(objective, 1)
        with pytest.raises(Refused):
            objective.evaluate(THETA)


def test_stream_served_to_a_function_that_multiplies_matrices():
    found = sequence(compiled_of(fastopt.Minibatches(batches_of()), with_blas), 5)
    data = fastopt.Minibatches(X, Y, batch_size=5, shuffle=False)
    np.testing.assert_allclose(found, sequence(compiled_of(data, with_blas), 5), 64 * EPS)


def test_stream_in_a_loop_of_ones_own():
    data = fastopt.Minibatches(batches_of())
    assert len(data) == 5
    served = list(data)
    assert (data.epoch, data.batch) == (1, 0)
    np.testing.assert_array_equal(np.concatenate([y for _, y in served]), Y)
    data.seek(1, 3)
    assert len(list(data)) == 2
    with pytest.raises(TypeError, match="length"):
        len(fastopt.Minibatches(Again()))


def test_batches_of_a_stream_may_be_bare_arrays():
    data = fastopt.Minibatches([np.arange(3.0), np.arange(2.0)])
    assert [batch.size for (batch,) in data] == [3, 2]


# --- errors ----------------------------------------------------------------------------------

BAD_ARRAYS = {
    "lengths": ((X, Y[:5]), ValueError, r"`arrays\[1\]` must have the length of `arrays\[0\]`, 23"),
    "length of the third": ((X, Y, Y[1:]), ValueError, r"`arrays\[2\]` .* got shape \(22,\)"),
    "none": ((), TypeError, "one array or more"),
    "empty": ((X[:0], Y[:0]), ValueError, "at least one row"),
    "scalar": ((X, np.float64(1.0)), ValueError, r"`arrays\[1\]` .* got one number"),
    "strings": ((X, np.array(["a"] * 23)), TypeError, r"`arrays\[1\]` .* dtype <U1"),
    "objects": ((np.array([None] * 3),), TypeError, "dtype object"),
    "text": (("text",), TypeError, "dtype <U4"),
    "masked": ((np.ma.masked_array(Y, Y > 0),), TypeError, "masked"),
    "ragged": ((X, [[1], [1, 2]]), ValueError, r"`arrays\[1\]`"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays_are_named(case):
    arrays, error, message = BAD_ARRAYS[case]
    with pytest.raises(error, match=message):
        fastopt.Minibatches(*arrays)


BAD_OPTIONS = {
    "size of zero": ({"batch_size": 0}, ValueError, "`batch_size` must be a positive integer"),
    "size of a half": ({"batch_size": 0.5}, ValueError, "`batch_size`"),
    "size of text": ({"batch_size": "all"}, TypeError, "`batch_size`"),
    "nothing left": ({"batch_size": 24, "drop_last": True}, ValueError, "at most .*, 23"),
    "negative seed": ({"seed": -1}, ValueError, "`seed` must be an integer from 0"),
    "large seed": ({"seed": 2**64}, ValueError, "`seed`"),
    "no seed": ({"seed": None}, TypeError, "`seed`"),
    "shuffle": ({"shuffle": "yes"}, TypeError, "`shuffle` must be True or False"),
    "drop_last": ({"drop_last": None}, TypeError, "`drop_last` must be True or False"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_options_are_named(case):
    options, error, message = BAD_OPTIONS[case]
    with pytest.raises(error, match=message):
        fastopt.Minibatches(X, Y, **options)


def test_sparse_matrices_are_checked():
    matrix = scipy.sparse.csr_array(np.eye(3))
    matrix.indices[1] = 7
    with pytest.raises(ValueError, match=r"`arrays\[0\]` must be a valid sparse matrix"):
        fastopt.Minibatches(matrix)


@pytest.mark.parametrize("name", ["batch_size", "drop_last"])
def test_stream_is_not_cut_into_batches(name):
    with pytest.raises(ValueError, match=f"`{name}` must be left out for a stream"):
        fastopt.Minibatches(batches_of(), **{name: 2})


BAD_STREAMS = {
    "number": ([1.0], "array 0 of batch 0 of the stream .* got one number"),
    "lengths": ([(X, Y[:3])], "array 1 of batch 0 .* length of array 0 of batch 0"),
    "empty batch": ([(X[:0], Y[:0])], "batch 0 of the stream must have at least one row"),
    "no arrays": ([()], "batch 0 of the stream must have at least one row"),
    "columns": ([(X, Y), (X[:, :2], Y)], "batch 1 of the stream must have the form of the first"),
    "dtype": ([(X, Y), (X.astype(np.float32), Y)], r"batch 1 .* got \(ndarray of float32"),
    "count": ([(X, Y), (X,)], "batch 1 of the stream must have the form"),
    "without batches": ([], "a stream must have at least one batch"),
}


@pytest.mark.parametrize("case", BAD_STREAMS)
@pytest.mark.parametrize("fun", [squares, jitted_squares])
def test_bad_batches_of_a_stream_are_named(case, fun):
    batches, message = BAD_STREAMS[case]
    with pytest.raises((ValueError, TypeError), match=message):
        sequence(objective_of(fun, fastopt.Minibatches(batches)), 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 6}, "batch_size = 5, got 6"),
        ({"n_samples": 22}, "n_samples = 23"),
        ({"shuffle": 0}, "shuffle = 1"),
        ({"batch": 5}, "`batch` must be less than 5"),
        ({"epoch": -1}, r"`state\['epoch'\]` must be a nonnegative integer"),
        ({"other": 1}, "must have the keys"),
        ({3: 1}, "must have the keys"),
        ({"batch_size": "5"}, r"`state\['batch_size'\]` must be a nonnegative integer, got '5'"),
        ({"seed": 2**64}, "`seed` must be an integer from 0"),
    ],
)
def test_state_of_other_data_is_refused(change, message):
    data = fastopt.Minibatches(X, Y, batch_size=5, seed=4)
    next(iter(data))
    before = data.state_dict()
    with pytest.raises((TypeError, ValueError), match=message):
        data.load_state_dict({**before, "seed": 9, **change})
    assert data.state_dict() == before


@pytest.mark.parametrize("state", [None, 3, "state", ["epoch"]])
def test_what_is_no_state_is_refused(state):
    with pytest.raises(TypeError, match="`state` must be a mapping, got"):
        fastopt.Minibatches(X).load_state_dict(state)


def test_c_functions_take_no_batches():
    from numba import cfunc

    from fastopt.objectives.bodies import SIGNATURE

    fun = cfunc(SIGNATURE)(lambda x, value, grad, n, context: 0)
    with pytest.raises(TypeError, match="C function"):
        objective_of(fun, fastopt.Minibatches(X), args=())


# --- gathering, memory and threads -----------------------------------------------------------


@pytest.mark.parametrize("array", [X, X.T.copy().T, Y, np.zeros((23, 0)), X.astype(np.float32)])
def test_gathered_rows_are_those_that_numpy_takes(array):
    data = fastopt.Minibatches(array, batch_size=6)
    (buffer,) = room = buffers(data)
    order = permutation(23, 0, 0)
    Gatherer(data.arrays, room).gather(6, 5, order)
    (expected,) = take_rows(data.arrays, 6, 5, order)
    np.testing.assert_array_equal(buffer[:5], expected)


def test_buffers_of_sparse_rows_hold_the_fullest_batch():
    lengths = RNG.integers(0, 9, 40)
    matrix = scipy.sparse.csr_array(np.arange(9) < lengths[:, None], dtype=float)
    data = fastopt.Minibatches(matrix, batch_size=7)
    (room,) = buffers(data)
    assert room.data.size == np.sort(lengths)[-7:].sum()


def test_other_threads_run_while_batches_are_served_to_compiled_code():
    """Waiting for the thread in the function itself would not end if it held the GIL."""

    @njit
    def waiting(theta, rows, flag, k):
        while flag[k] == 0:
            flag[1] += 1  # which may be flag[k]: so that is read each time
        return rows[0], theta

    flag = np.zeros(2, dtype=np.int64)
    data = fastopt.Minibatches(np.arange(6.0), batch_size=2)
    objective = compiled_of(data, waiting, args=(flag, 0), n=1)
    seen = []

    def full():
        seen.append(objective.evaluate_all(np.zeros(1), gradient=False)[0])

    thread = threading.Thread(target=full, daemon=True)
    thread.start()
    while not flag[1]:
        pass
    flag[0] = 1
    thread.join(30)
    assert seen == [2.0]


def test_solver_serves_compiled_batches_without_the_interpreter():
    """Each of a thousand evaluations has its batch, and no Python code runs meanwhile."""
    from fastopt.solvers.state import SolverState
    from tests.solvers.conftest import OWN, SHARED

    data = fastopt.Minibatches(X, Y, batch_size=5)
    objective = compiled_of(data)
    state = SolverState("l-bfgs", np.zeros(4), {**SHARED, **OWN["l-bfgs"]})
    calls = []
    sys.setprofile(lambda *event: calls.append(event))
    try:
        state.advance(objective, 3, True)
    finally:
        sys.setprofile(None)
    assert divmod(state.nfev, 5) == objective.position > (0, 3)
    assert {event for _, event, _ in calls} <= {"c_call", "c_return", "return", "call"}
    assert len(calls) < 10


def test_no_references_are_left():
    class Array(np.ndarray):
        pass

    @njit
    def first(theta, rows, y):
        return rows[0, 0], theta

    for make in (
        lambda data: objective_of(first.py_func, data, args=()),
        lambda data: compiled_of(data, first, args=()),
    ):
        rows = X.copy().view(Array)
        data = fastopt.Minibatches(rows, Y, batch_size=5)
        objective = make(data)
        sequence(objective, 12)
        objective.evaluate_all(THETA)
        dead = weakref.ref(rows), weakref.ref(data)
        del rows, data, objective
        gc.collect()
        assert [each() for each in dead] == [None, None]


def test_many_epochs_leave_memory_flat():
    data = fastopt.Minibatches(X, scipy.sparse.csr_array(X), Y, batch_size=5)
    stream = fastopt.Minibatches(batches_of())

    def run():
        sequence(objective_of(lambda theta, a, b, y, lam: (a[0, 0], theta), data), 12)
        sequence(objective_of(squares, stream), 12)
        sequence(compiled_of(stream), 12)
        compiled_of(data, three).evaluate_all(THETA)
        list(data)

    # NumPy and SciPy keep small blocks for later, which ends after some hundred runs; a leak of one
    # object a run does not.
    runs, grown = 200, []
    for _ in range(5):
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(runs):
            run()
        gc.collect()
        grown.append(sys.getallocatedblocks() - before)
    assert min(grown) < runs // 2


@njit
def three(theta, a, b, y, lam):
    return a[0, 0] + b.indptr[-1] + y[0], theta


def test_minibatches_load_no_numba():
    code = "import sys, fastopt; fastopt.Minibatches([[1.0]]); assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_repr_says_what_there_is():
    data = fastopt.Minibatches(X, Y, batch_size=5, seed=3)
    assert repr(data) == (
        "<Minibatches: 23 samples, 5 batches of 5, shuffled, seed 3, epoch 0, batch 0>"
    )
    assert re.match("<Minibatches: a stream", repr(fastopt.Minibatches(batches_of())))
    assert Stream([1]).once is False
