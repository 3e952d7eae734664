"""Sums over the parts of data that Dask's workers have."""

import os
import re
import signal
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
from numba import njit

import fastopt
from fastopt.testing import check_grad

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
da = pytest.importorskip("dask.array")

from fastopt.distributed import SumObjective  # noqa: E402

ROWS, COLUMNS = 240, 4


@contextmanager
def connected(workers, processes=False):
    """A client of a cluster on this machine; by default its workers are threads of this process."""
    with (
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=processes,
            dashboard_address=":0",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def client():
    with connected(2) as client:
        yield client


def data(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(ROWS, COLUMNS))
    y = (X @ [1.0, -2.0, 0.5, 0.0] + rng.logistic(size=ROWS) > 0) * 2.0 - 1.0
    return X, y


def logistic(w, X, y):
    margins = y * (X @ w)
    return np.logaddexp(0, -margins).sum(), -X.T @ (y / (1 + np.exp(margins)))


def logistic_hess(w, X, y):
    p = 1 / (1 + np.exp(-(X @ w)))
    return (X.T * (p * (1 - p))) @ X


def logistic_hessp(w, v, X, y):
    return logistic_hess(w, X, y) @ v


def chunked(*arrays, size=50):
    return tuple(da.from_array(each, chunks=(size, *each.shape[1:])) for each in arrays)


def ridge(objective):
    """Its sum and a term that no part has."""

    def fun(w):
        value, grad = objective(w)
        return value + 0.5 * w @ w, grad + w

    return fun


def test_value_and_gradient_are_those_of_all_data(client):
    X, y = data()
    objective = SumObjective(logistic, chunked(X, y), hess=logistic_hess, hessp=logistic_hessp)
    assert len(objective) == 5
    w, v = np.array([0.3, -0.2, 0.1, 1.0]), np.array([1.0, 2.0, -1.0, 0.5])
    value, grad = objective(w)
    expected = logistic(w, X, y)
    assert isinstance(value, float)
    np.testing.assert_allclose(value, expected[0], rtol=1e-14)
    np.testing.assert_allclose(grad, expected[1], rtol=1e-13)
    np.testing.assert_allclose(objective.hess(w), logistic_hess(w, X, y), rtol=1e-13)
    np.testing.assert_allclose(objective.hessp(w, v), logistic_hessp(w, v, X, y), rtol=1e-12)
    assert check_grad(objective, w, jac=True).ok


@pytest.mark.parametrize(
    ("method", "needs"),
    [
        ("bfgs", ()),
        ("l-bfgs", ()),
        ("l-bfgs-b", ()),
        ("cg", ()),
        ("newton", ("hess",)),
        ("newton-cg", ("hessp",)),
        ("trust-ncg", ("hessp",)),
        ("trust-exact", ("hess",)),
        ("barzilai-borwein", ()),
        ("adam", ()),
    ],
)
def test_every_kind_of_method_finds_the_minimum(client, method, needs):
    X, y = data()
    objective = SumObjective(logistic, chunked(X, y), hess=logistic_hess, hessp=logistic_hessp)
    options = {"lr": 0.1, "maxiter": 400, "gtol": 1e-6} if method == "adam" else {"gtol": 1e-6}
    derivatives = {name: getattr(objective, name) for name in needs}
    found = fastopt.minimize(
        objective, np.zeros(COLUMNS), jac=True, method=method, options=options, **derivatives
    )
    alone = fastopt.minimize(logistic, np.zeros(COLUMNS), (X, y), jac=True)
    assert found.success
    np.testing.assert_allclose(found.x, alone.x, atol=1e-4)


def test_a_term_of_its_own_can_be_added(client):
    X, y = data()
    found = fastopt.minimize(
        ridge(SumObjective(logistic, chunked(X, y))), np.zeros(COLUMNS), jac=True
    )
    whole = fastopt.minimize(ridge(lambda w: logistic(w, X, y)), np.zeros(COLUMNS), jac=True)
    np.testing.assert_allclose(found.x, whole.x, atol=1e-6)


@pytest.mark.parametrize("parts", [1, 2, 7, 8, 9, 70])
def test_bits_do_not_depend_on_workers(client, parts):
    """Nor on which part is done first."""
    X, y = data()
    pieces = [dask.delayed((X[rows], y[rows])) for rows in np.array_split(np.arange(ROWS), parts)]
    w = np.array([0.3, -0.2, 0.1, 1.0])
    value, grad = SumObjective(logistic, pieces)(w)
    with connected(1) as other:
        again = SumObjective(logistic, pieces, other)(w)
    assert value == again[0]
    np.testing.assert_array_equal(grad, again[1])
    np.testing.assert_allclose(grad, logistic(w, X, y)[1], rtol=1e-12)


def sum_of_squares(x, numbers):
    away = x[0] - np.array(list(numbers))
    return away @ away, np.array([2 * away.sum()])


def test_parts_may_be_of_an_array_a_bag_delayed_or_futures(client):
    bag = pytest.importorskip("dask.bag")
    numbers = np.arange(20.0)
    expected = sum_of_squares([3.0], numbers)
    for partitions in (
        da.from_array(numbers, chunks=6),
        bag.from_sequence(numbers.tolist(), npartitions=3),
        [dask.delayed(each) for each in np.split(numbers, 4)],
        client.scatter(np.split(numbers, 2)),
    ):
        objective = SumObjective(sum_of_squares, partitions)
        for _ in range(2):
            value, grad = objective(np.array([3.0]))
            assert value == expected[0]
            assert grad == expected[1]


def test_parts_are_made_once_and_stay_where_they_are(client, tmp_path):
    def make(k):
        (tmp_path / str(k)).open("x").close()  # fails the second time
        return np.arange(3.0) + k

    with SumObjective(sum_of_squares, [dask.delayed(make)(k) for k in range(4)]) as objective:
        for _ in range(3):
            objective(np.zeros(1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2", "3"]
    with pytest.raises(RuntimeError, match="this SumObjective has been closed"):
        objective(np.zeros(1))


def test_a_jitted_function_is_sent_with_its_code(client):
    @njit
    def misfit(x, A):
        residual = A @ x - 1.0
        return residual @ residual, 2.0 * (A.T @ residual)

    A = np.eye(3) + 0.1
    objective = SumObjective(misfit, da.from_array(A, chunks=(1, 3)))
    value, grad = objective(np.zeros(3))
    assert value == 3.0
    np.testing.assert_allclose(grad, -2 * A.sum(axis=0))


@pytest.mark.parametrize("n", [4, 20_000, 2_000_000])
def test_vectors_of_any_length_reach_the_parts(client, n):
    """Dask warns, which here is an error, of what is large and sent with a task."""

    def part(x, k):
        grad = np.zeros(n)
        grad[k] = 2 * (x[k] - 1)
        return (x[k] - 1) ** 2, grad

    objective = SumObjective(part, [dask.delayed(k) for k in range(3)])
    x = np.zeros(n)
    for start, expected in ((0.0, -2.0), (2.0, 2.0)):
        x[:] = start
        value, grad = objective(x)
        assert value == 3.0
        assert grad[:4].tolist() == [expected, expected, expected, 0.0]


def test_what_a_part_does_to_x_stays_there(client):
    def greedy(x, part):
        x += 1
        return float(x @ x), 2 * x

    x = np.zeros(2)
    value, _ = SumObjective(greedy, [dask.delayed(k) for k in range(5)])(x)
    assert value == 10.0
    assert x.tolist() == [0.0, 0.0]


class OwnError(Exception):
    pass


def test_what_a_part_raises_comes_out(client):
    def fun(x, k):
        if k == 2:
            raise OwnError(f"of part {k}")
        return 0.0, np.zeros(1)

    objective = SumObjective(fun, [dask.delayed(k) for k in range(4)])
    with pytest.raises(OwnError, match="of part 2"):
        fastopt.minimize(objective, np.zeros(1), jac=True)


def test_a_nan_of_one_part_is_one_of_the_sum(client):
    def fun(x, k):
        return (np.nan if k == 1 else 1.0), np.ones(1)

    value, grad = SumObjective(fun, [dask.delayed(k) for k in range(3)])(np.zeros(1))
    assert np.isnan(value)
    assert grad == 3.0


# --- a worker is lost -----------------------------------------------------------------------------


def deadly(x, part, path):
    """The first worker that gets here dies."""
    if x[0] == 1.0 and part == 3:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            pass
        else:
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGKILL)
    return float((x[0] - part) ** 2), 2 * (x - part)


@pytest.mark.skipif(sys.platform == "win32", reason="kills by a signal")
@pytest.mark.filterwarnings("ignore")  # Dask tells of the death
def test_parts_of_a_worker_that_dies_are_computed_again(tmp_path):
    with connected(2, processes=True) as client:
        path = str(tmp_path / "died")
        parts = [dask.delayed(_pair)(k, path) for k in range(6)]
        objective = SumObjective(deadly, parts, client)
        assert objective(np.zeros(1))[0] == 55.0
        value, grad = objective(np.ones(1))
        assert os.path.exists(path)
        assert value == 31.0
        assert grad == 2 * (6 - 15)


def _pair(k, path):
    return k, path


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((3, [dask.delayed(1)]), TypeError, "`fun` must be callable, got int"),
        ((logistic, []), ValueError, "`partitions` must have at least one part, got none"),
        (
            (logistic, 3),
            TypeError,
            "`partitions` must be a Dask array, bag or dataframe, .* got int",
        ),
        (
            (logistic, [np.zeros(3)]),
            TypeError,
            r"`partitions\[0\]` must be a dask.delayed or a distributed.Future, got ndarray; ",
        ),
        (
            (logistic, da.zeros((4, 4), chunks=2)),
            ValueError,
            r"`partitions` must be chunked along its first axis alone, got chunks \(\(2, 2\), ",
        ),
        (
            (logistic, (da.zeros(4, chunks=2), da.zeros(4, chunks=4))),
            ValueError,
            r"`partitions\[1\]` must be chunked along its first axis as `partitions\[0\]` is, got ",
        ),
        (
            (logistic, (da.zeros(4, chunks=2), np.zeros(4))),
            TypeError,
            r"`partitions\[1\]` must be a Dask array, got ndarray",
        ),
        (
            (logistic, [dask.delayed(1)], "scheduler:8786"),
            TypeError,
            "`client` must be a distributed.Client, got str",
        ),
    ],
)
def test_wrong_arguments_are_said(client, arguments, error, message):
    with pytest.raises(error, match=message):
        SumObjective(*arguments)


def test_no_client_is_said():
    if distributed.client._get_global_client() is not None:
        pytest.skip("there is one")
    with pytest.raises(ValueError, match=re.escape("`client` must be a distributed.Client where")):
        SumObjective(logistic, [dask.delayed(1)])


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (1.0, TypeError, "`fun` must return a value and a gradient, got float"),
        (
            (1.0, np.zeros(3)),
            ValueError,
            r"the gradient of `fun` must have shape \(2,\), got \(3,\)",
        ),
        (
            (np.zeros(2), np.zeros(2)),
            ValueError,
            r"the value of `fun` must be a scalar, got shape \(2,\)",
        ),
    ],
)
def test_wrong_answers_of_a_part_are_said(client, returned, error, message):
    objective = SumObjective(lambda x, part: returned, [dask.delayed(1)])
    with pytest.raises(error, match=message):
        objective(np.zeros(2))


def test_a_value_may_be_an_array_of_one(client):
    objective = SumObjective(lambda x, part: (np.array([part]), x), [dask.delayed(1.5)] * 2)
    assert objective(np.ones(2))[0] == 3.0


def test_a_derivative_that_was_not_given_is_said(client):
    objective = SumObjective(logistic, [dask.delayed(1)])
    with pytest.raises(TypeError, match="`hessp` has not been given to this SumObjective"):
        objective.hessp(np.zeros(2), np.zeros(2))
