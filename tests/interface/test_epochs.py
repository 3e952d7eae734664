"""Solves over minibatches: a literal loop over the batches, and what comes after each epoch."""

import copy
import itertools
import math
import pickle
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import scipy.sparse
from numba import cfunc, njit
from scipy.optimize import OptimizeResult, OptimizeWarning

import fastopt
from fastopt import schedules
from fastopt.interface.methods import METHODS, OPTIONS_OF_DATA
from fastopt.objectives.bodies import SIGNATURE
from fastopt.rules.steps import njit_step
from fastopt.rules.table import FLAVORS

EPS = np.finfo(float).eps
RNG = np.random.default_rng(0)
N = 23
X = RNG.standard_normal((N, 4))
Y = X @ [1.0, -2.0, 0.5, 0.0] + 0.1 * RNG.standard_normal(N)
START = np.array([0.5, -1.0, 2.0, 0.25])
LAM = 0.1
FIRST_ORDER = [name for name, row in METHODS.items() if row.family == "first-order"]
BATCHES = 5  # in an epoch, with SIZE
SIZE = 5


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


jitted = njit(squares)


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


def whole(theta):
    """Value and gradient of all the data."""
    return squares(theta, X, Y, LAM)


def distance(theta):
    """A validation that has its minimum on the way."""
    return float(np.abs(theta - [0.9, -1.5, 0.8, 0.1]).sum())


def arrays(**keywords):
    return fastopt.Minibatches(X, Y, **{"batch_size": SIZE, "seed": 3, **keywords})


def listed():
    return [(X[k : k + SIZE], Y[k : k + SIZE]) for k in range(0, N, SIZE)]


class Again:
    """Batches that can be gone through again, of no known length."""

    def __iter__(self):
        return iter(listed())


def minimize(fun=squares, data=None, method="adam", callback=None, args=(LAM,), **options):
    data = arrays() if data is None else data
    options = {"lr": 0.05, **options}
    return fastopt.minimize(
        fun, START, args, method, True, callback=callback, options=options, data=data
    )


def solver_of(fun=squares, data=None, method="adam", args=(LAM,), **options):
    data = arrays() if data is None else data
    return fastopt.Solver(
        fun, START, args, method, True, options={"lr": 0.05, **options}, data=data
    )


def walk(data, epochs, rule="adam", flavor="textbook", schedule=None, fun=squares, **changes):
    """The loop that everybody writes: iterates, from the start on, and losses of batches."""
    table = FLAVORS[rule][flavor]
    numbers = {each.name: each.default for each in table.hyperparameters}
    numbers |= {"lr": 0.05} if "lr" in numbers else {}
    numbers |= changes
    step = njit_step(rule, flavor)
    data = copy.copy(data)
    theta, slots, t = START.copy(), np.zeros((table.slots, START.size)), 0
    iterates, losses = [theta.copy()], []
    for _ in range(epochs):
        for batch in data:
            value, grad = fun(theta, *batch, LAM)
            t += 1
            scale = 1.0 if schedule is None else schedule(t)
            step(
                theta,
                grad,
                slots,
                tuple(v * scale if name in table.scheduled else v for name, v in numbers.items()),
                t,
            )
            iterates.append(theta.copy())
            losses.append(value)
    return np.array(iterates), np.array(losses)


def iterates_of(solver):
    points = [solver.x]
    while solver.advance(1):
        points.append(solver.x)
    points.append(solver.x)
    return np.array(points)


# --- iterates ----------------------------------------------------------------------------------


@pytest.mark.parametrize("flavor", ["textbook", "torch"])
@pytest.mark.parametrize("method", FIRST_ORDER)
def test_iterates_are_those_of_a_loop_over_the_batches(method, flavor):
    if flavor not in FLAVORS[method]:
        pytest.skip("there is no such form")
    expected, _ = walk(arrays(), 3, method, flavor)
    options = {"epochs": 3, "flavor": flavor}
    if "lr" not in [each.name for each in FLAVORS[method][flavor].hyperparameters]:
        options["lr"] = None
    solver = solver_of(method=method, **options)
    np.testing.assert_array_equal(iterates_of(solver), expected)
    assert (solver.nit, solver.result().epochs) == (3 * BATCHES, 3)


@pytest.mark.parametrize("size", [None, 1, 5, 22, 23, 100])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("compiled", [True, False, None])
def test_batches_of_all_sizes_are_gone_through(size, shuffle, drop_last, compiled):
    keywords = {"batch_size": size, "shuffle": shuffle, "drop_last": drop_last}
    if drop_last and size == 100:
        keywords["batch_size"] = 23
    fun, options = (squares, {}) if compiled is None else (jitted, {"compile": compiled})
    expected, losses = walk(arrays(**keywords), 3)
    result = minimize(fun, arrays(**keywords), epochs=3, return_all=True, trace=True, **options)
    batches = len(arrays(**keywords))
    np.testing.assert_array_equal(result.x, expected[-1])
    np.testing.assert_array_equal(result.allvecs, expected[batches::batches])
    assert result.nit == 3 * batches == len(losses)
    last = losses[-batches:]
    size = arrays(**keywords).batch_size
    weights = np.full(batches, size)
    if not drop_last and N % size:
        weights[-1] = N % size
    np.testing.assert_allclose(result.loss, np.average(last, weights=weights), rtol=8 * EPS)
    assert result.loss == result.trace["loss"][-1]


def test_one_batch_of_all_rows_is_gradient_descent():
    plain = fastopt.Solver(
        squares, START, (X, Y, LAM), "gd", True, options={"lr": 0.05, "gtol": 0.0, "maxiter": 30}
    )
    batch = solver_of(data=arrays(batch_size=None), method="gd", epochs=30)
    np.testing.assert_array_equal(iterates_of(batch), iterates_of(plain))
    assert batch.result().fun == plain.result().fun


@pytest.mark.parametrize("source", [listed, Again, lambda: iter(listed())])
@pytest.mark.parametrize("fun", [squares, jitted])
@pytest.mark.parametrize("compile", ["auto", True])
def test_stream_is_what_arrays_in_order_are(source, fun, compile):
    if fun is squares and compile is True:
        pytest.skip("not to be compiled")
    data = fastopt.Minibatches(source())
    epochs = 1 if data.stream.once else 3
    expected = minimize(data=arrays(shuffle=False), epochs=epochs, trace=True)
    result = minimize(fun, data, epochs=3, trace=True, compile=compile)
    assert (result.nit, result.epochs) == (epochs * BATCHES, epochs)
    assert (result.success, result.converged_to) == (True, "epochs")
    np.testing.assert_array_equal(result.x, expected.x)
    assert result.loss == expected.loss
    for name in ("epoch", "nit", "loss", "lr"):
        np.testing.assert_array_equal(result.trace[name], expected.trace[name])
    if not data.stream.once:
        np.testing.assert_allclose(result.fun, whole(result.x)[0], rtol=32 * EPS)


@pytest.mark.parametrize("fun", [squares, jitted])
def test_iterators_steps_are_one_a_batch(fun):
    """The last batch's step is taken, too, though nothing is left to evaluate behind it."""
    expected, losses = walk(arrays(shuffle=False), 1)
    result = minimize(fun, fastopt.Minibatches(iter(listed())), trace=True)
    np.testing.assert_array_equal(result.x, expected[-1])
    assert result.fun == result.loss == result.trace["loss"][0]
    assert (result.nfev, result.njev) == (BATCHES, BATCHES)
    np.testing.assert_allclose(result.loss, np.average(losses, weights=[5, 5, 5, 5, 3]))


@pytest.mark.parametrize("fun", [squares, jitted])
def test_stream_without_batches_is_an_error(fun):
    for source in ([], iter([])):
        with pytest.raises(ValueError, match="a stream must have at least one batch"):
            minimize(fun, fastopt.Minibatches(source))


def test_sparse_data_give_what_dense_ones_give():
    matrix = scipy.sparse.csr_array(np.where(np.abs(X) > 0.5, X, 0.0))

    def with_scipy(theta, X, y, lam):
        return squares(theta, X.toarray(), y, lam)

    dense = minimize(data=arrays_of(matrix.toarray()), epochs=3, full_every=1)
    for fun, compile in ((sparse_squares, True), (sparse_squares, False), (with_scipy, "auto")):
        result = minimize(fun, arrays_of(matrix), epochs=3, full_every=1, compile=compile)
        np.testing.assert_allclose(result.x, dense.x, rtol=1e-10)
        np.testing.assert_allclose(result.fun, dense.fun, rtol=1e-12)


def arrays_of(matrix):
    return fastopt.Minibatches(matrix, Y, batch_size=SIZE, seed=3)


def test_differences_are_taken_on_the_batch_of_the_value():
    options = {"lr": 0.05, "epochs": 4, "full_every": 2}
    calls = []

    def value(theta, X, y, lam):
        calls.append(1)
        return squares(theta, X, y, lam)[0]

    exact = minimize(epochs=4)
    for jac, cost in ((None, 5), ("3-point", 9)):
        calls.clear()
        result = fastopt.minimize(value, START, (LAM,), "adam", jac, options=options, data=arrays())
        np.testing.assert_allclose(result.x, exact.x, atol=1e-5)
        assert result.nfev == len(calls) == cost * (4 * BATCHES + 1 + 2 * BATCHES)
        assert result.njev == 4 * BATCHES + 1 + 2 * BATCHES


def test_separate_gradient_is_that_of_the_batch():
    result = fastopt.minimize(
        lambda *given: squares(*given)[0],
        START,
        (LAM,),
        "adam",
        lambda *given: squares(*given)[1],
        options={"lr": 0.05, "epochs": 4},
        data=arrays(),
    )
    np.testing.assert_array_equal(result.x, minimize(epochs=4).x)


@pytest.mark.parametrize("place", [(0, 2), (1, 0), (2, 4)])
def test_solve_begins_at_the_place_of_the_data(place):
    data = arrays()
    data.seek(*place)
    whole_run, _ = walk(data, 3)
    points = [START]
    result = minimize(data=data, epochs=3, callback=lambda x: points.append(x), trace=True)
    left = BATCHES - place[1]
    np.testing.assert_array_equal(points[1:], whole_run[[left, left + BATCHES, left + 2 * BATCHES]])
    np.testing.assert_array_equal(result.trace["nit"], [left, left + 5, left + 10])
    assert result.epochs == 3
    assert (data.epoch, data.batch) == place  # it is left as it was


def test_schedule_multiplies_the_step_length_at_each_batch():
    schedule = schedules.warmup(4).then(schedules.cosine(8, end=0.1))
    expected, _ = walk(arrays(), 3, schedule=schedule)
    result = minimize(schedule=schedule, epochs=3, trace=True)
    np.testing.assert_array_equal(result.x, expected[-1])
    np.testing.assert_array_equal(result.trace["lr"], [0.05 * schedule(t) for t in (5, 10, 15)])


@pytest.mark.parametrize("flavor", ["textbook", "keras"])
def test_gradients_are_clipped_and_weights_decay(flavor):
    data, theta = arrays(), START.copy()
    for _ in range(3):
        for batch in data:
            grad = squares(theta, *batch, LAM)[1]
            norm = np.sqrt(grad @ grad)
            grad *= min(1.0, 2.0 / norm)
            grad = np.clip(grad, -1.5, 1.5)
            if flavor == "keras":
                theta -= 0.05 * 0.01 * theta
            else:
                grad += 0.01 * theta
            theta -= 0.05 * grad
    options = {"clip_norm": 2.0, "clip_value": 1.5, "weight_decay": 0.01, "flavor": flavor}
    for fun in (squares, jitted):
        result = minimize(fun, method="gd", epochs=3, **options)
        np.testing.assert_allclose(result.x, theta, rtol=64 * EPS)
    assert np.abs(minimize(method="gd", epochs=3, flavor=flavor).x - theta).max() > 0.01


# --- averages ----------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [0, 1, 2])
@pytest.mark.parametrize("place", [0, 3])
@pytest.mark.parametrize("fun", [squares, jitted])
def test_polyak_average_is_the_mean_of_the_iterates(start, place, fun):
    data = arrays()
    data.seek(0, place)
    iterates, _ = walk(data, 4)
    result = minimize(fun, data, epochs=4, averaging="polyak", average_from=start, trace=True)
    left_out = 1 if start == 0 else 1 + start * BATCHES - place
    np.testing.assert_allclose(result.x, iterates[left_out:].mean(axis=0), rtol=64 * EPS)
    np.testing.assert_allclose(result.fun, whole(result.x)[0], rtol=32 * EPS)
    np.testing.assert_allclose(result.jac, whole(result.x)[1], rtol=1e-12)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 0.999])
def test_mean_that_forgets_gives_each_iterate_its_share(decay):
    iterates, _ = walk(arrays(), 4)
    mean = np.zeros(4)
    for k, theta in enumerate(iterates[1:], 1):
        mean += max(1 / k, 1 - decay) * (theta - mean)
    result = minimize(epochs=4, averaging="ema", average_decay=decay)
    np.testing.assert_allclose(result.x, mean, rtol=64 * EPS)
    if decay == 0.0:
        np.testing.assert_array_equal(result.x, iterates[-1])


def test_average_does_not_change_the_iterates_and_is_what_is_looked_at():
    seen = []
    result = minimize(
        epochs=3, averaging="polyak", validation=lambda x: seen.append(x) or -len(seen),
        return_all=True, full_every=1, trace=True,
    )  # fmt: skip
    iterates, losses = walk(arrays(), 3)
    means = [iterates[1 : 1 + k].mean(axis=0) for k in (5, 10, 15)]
    np.testing.assert_allclose(seen, means, rtol=64 * EPS)
    np.testing.assert_array_equal(result.allvecs, seen)
    np.testing.assert_allclose(result.trace["fun"], [whole(mean)[0] for mean in means], rtol=1e-12)
    assert result.trace["loss"][0] == pytest.approx(np.average(losses[:5], weights=[5, 5, 5, 5, 3]))


def test_before_there_is_an_average_the_iterate_is_looked_at():
    iterates, _ = walk(arrays(), 3)
    result = minimize(epochs=3, averaging="polyak", average_from=3)
    np.testing.assert_array_equal(result.x, iterates[-1])
    solver = solver_of(epochs=3, averaging="polyak", average_from=1)
    solver.advance(3)
    np.testing.assert_array_equal(solver.x, iterates[3])


def test_iterators_last_point_is_in_the_average():
    iterates, _ = walk(arrays(shuffle=False), 1)
    result = minimize(data=fastopt.Minibatches(iter(listed())), averaging="polyak")
    np.testing.assert_allclose(result.x, iterates[1:].mean(axis=0), rtol=64 * EPS)


# --- tests on all of the data --------------------------------------------------------------------


def assert_is_of_all_data(result):
    value, grad = whole(result.x)
    np.testing.assert_allclose(result.fun, value, rtol=64 * EPS)
    np.testing.assert_allclose(result.jac, grad, rtol=1e-10, atol=64 * EPS)


TIGHT = {"method": "gd", "epochs": 2000, "schedule": schedules.inverse_sqrt(500)}


@pytest.mark.parametrize("fun", [squares, jitted])
@pytest.mark.parametrize("full_every", [1, 3])
def test_gtol_is_tested_on_all_of_the_data(fun, full_every):
    result = minimize(fun, full_every=full_every, gtol=0.02, trace=True, norm=2, **TIGHT)
    assert (result.success, result.converged_to) == (True, "gtol")
    assert result.epochs % full_every == 0
    assert result.epochs < 2000
    assert_is_of_all_data(result)
    assert np.linalg.norm(whole(result.x)[1]) <= 0.02
    looked = result.trace["epoch"] % full_every == 0
    assert np.array_equal(np.isfinite(result.trace["gnorm"]), looked)
    assert np.array_equal(np.isfinite(result.trace["fun"]), looked)
    assert (result.trace["gnorm"][looked][:-1] > 0.02).all()


def test_ftol_compares_two_values_of_all_of_the_data():
    result = minimize(full_every=2, ftol=1e-4, gtol=0.0, trace=True, **TIGHT)
    assert result.converged_to == "ftol"
    values = result.trace["fun"][1::2]
    changes = np.abs(np.diff(values)) / np.maximum(1.0, np.maximum(values[1:], values[:-1]))
    assert changes[-1] <= 1e-4
    assert (changes[:-1] > 1e-4).all()
    assert_is_of_all_data(result)


def test_stopval_is_tested_on_all_of_the_data():
    limit = 1.0 + whole(minimize(full_every=1, **TIGHT).x)[0]
    result = minimize(full_every=1, stopval=limit, trace=True, **TIGHT)
    assert result.converged_to == "stopval"
    assert whole(result.x)[0] <= limit
    assert (result.trace["fun"][:-1] > limit).all()


def test_nothing_is_tested_on_single_batches():
    with pytest.warns(OptimizeWarning, match="is tested on all of the data, where") as caught:
        result = minimize(epochs=3, gtol=1e9, ftol=1e9, xtol=1e9, stopval=1e9)
    assert (result.converged_to, result.epochs) == ("epochs", 3)
    named = {str(each.message).split("`")[1] for each in caught}
    assert named == {"gtol", "ftol", "stopval"}
    assert {each.filename for each in caught} == {__file__}


def test_evaluations_of_all_of_the_data_are_counted():
    calls = []

    def counted(*given):
        calls.append(1)
        return squares(*given)

    seen = []

    def callback(intermediate_result):
        seen.append((intermediate_result.nfev, intermediate_result.njev, len(calls)))

    result = minimize(counted, epochs=4, full_every=2, trace=True, callback=callback)
    assert result.nfev == result.njev == len(calls) == 4 * 5 + 1 + 2 * 5
    for (nfev, njev, count), row, again in zip(
        seen, result.trace["nfev"], result.trace["njev"], strict=True
    ):
        assert nfev == njev == count == row == again


def test_result_evaluates_all_of_the_data_once():
    calls = []

    def counted(*given):
        calls.append(1)
        return squares(*given)

    solver = solver_of(counted, epochs=2)
    solver.run()
    count = len(calls)
    assert count == 2 * 5 + 1 + 5
    first, second = solver.result(), solver.result()
    assert len(calls) == count == first.nfev == solver.nfev
    first.jac[:] = np.nan
    np.testing.assert_array_equal(second.jac, solver.result().jac)
    assert_is_of_all_data(second)


# --- validation --------------------------------------------------------------------------------


@pytest.mark.parametrize("fun", [squares, jitted])
def test_point_of_the_best_validation_is_returned(fun):
    result = minimize(fun, epochs=40, validation=distance, return_all=True, trace=True)
    scores = [distance(x) for x in result.allvecs]
    np.testing.assert_array_equal(result.trace["validation"], scores)
    best = int(np.argmin(scores))
    assert 0 < best < len(scores) - 1
    np.testing.assert_array_equal(result.x, result.allvecs[best])
    assert result.validation == scores[best]
    assert_is_of_all_data(result)


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_patience_ends_it_when_so_many_epochs_have_not_improved(patience):
    scores = iter([5.0, 4.0, 4.5, 3.0, 3.0, 3.5, 2.0, 4.0, 4.0, 4.0, 4.0, 4.0, 1.0])
    ends_after = {1: 3, 2: 6, 5: 12}[patience]
    result = minimize(epochs=50, validation=lambda x: next(scores), patience=patience, trace=True)
    assert (result.converged_to, result.success, result.status) == ("patience", True, 0)
    assert result.epochs == ends_after
    assert result.validation == min(result.trace["validation"])


def test_validation_that_is_no_number_counts_as_no_better():
    result = minimize(epochs=50, validation=lambda x: math.nan, patience=3)
    assert (result.epochs, result.converged_to) == (3, "patience")
    np.testing.assert_array_equal(result.x, walk(arrays(), 3)[0][-1])


def test_validation_of_the_wrong_type_is_named():
    for answer in (None, "low", [1.0, 2.0]):
        with pytest.raises(TypeError, match="`validation` must return a number, got an object of"):
            minimize(epochs=2, validation=lambda x, answer=answer: answer)


def test_validations_x_is_its_own():
    def spoil(x):
        score = distance(x)
        x[:] = np.nan
        return score

    expected = minimize(epochs=10, validation=distance, full_every=1)
    result = minimize(epochs=10, validation=spoil, full_every=1, callback=lambda x: x.fill(0.0))
    np.testing.assert_array_equal(result.x, expected.x)


def test_a_test_ends_it_only_where_validation_is_at_its_best():
    """Or else either x were not where the test holds, or not where validation was best."""
    loose = {"gtol": 1e9, "full_every": 1}
    rising = itertools.count()
    result = minimize(epochs=4, validation=lambda x: next(rising), **loose)
    assert (result.epochs, result.converged_to) == (1, "gtol")
    scores = iter([2.0, 3.0, 1.0, 4.0])
    result = minimize(
        epochs=4, validation=lambda x: next(scores), full_every=2, gtol=1e9, return_all=True
    )
    assert (result.epochs, result.converged_to) == (4, "epochs")
    np.testing.assert_array_equal(result.x, result.allvecs[2])


# --- what comes from the user's functions --------------------------------------------------------


class Refused(Exception):
    pass


def refusing(function, at, error=Refused):
    """`function`, which raises at call number `at`, once."""
    calls = itertools.count(1)

    def call(*given, **named):
        if next(calls) == at:
            raise error("once")
        return function(*given, **named)

    return call


WATCH = {"validation": distance, "full_every": 1, "trace": True, "return_all": True}


def assert_same(one, other):
    assert set(one) == set(other)
    for name in one:
        if name == "trace":
            assert set(one.trace) == set(other.trace)
            for column in set(one.trace) - {"time", "nfev", "njev"}:
                np.testing.assert_array_equal(one.trace[column], other.trace[column])
        elif name not in ("nfev", "njev"):
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize("epoch", [1, 2, 4])
@pytest.mark.parametrize("watch", [WATCH, {"validation": distance}])
def test_exception_of_validation_comes_out_and_the_epoch_is_looked_at_again(epoch, watch):
    expected = minimize(epochs=4, **watch)
    solver = solver_of(epochs=4, **(watch | {"validation": refusing(distance, epoch)}))
    with pytest.raises(Refused, match="once"):
        solver.run()
    assert solver.nit == epoch * BATCHES
    assert solver.status == -1
    assert_same(solver.run(), expected)


@pytest.mark.parametrize("which", ["validation", "callback"])
def test_exception_at_the_end_of_an_iterator_costs_no_step(which):
    def data():
        return fastopt.Minibatches(iter(listed()))

    expected = minimize(data=data(), epochs=3, trace=True, validation=distance)
    once = refusing(distance, 1)
    validation, callback = (once, None) if which == "validation" else (distance, once)
    solver = solver_of(data=data(), epochs=3, trace=True, validation=validation)
    with pytest.raises(Refused):
        solver.run(callback)
    assert_same(solver.run(), expected)
    assert not solver.advance()
    assert_same(solver.result(), expected)


# Batches 1 to 6 are x0 and the first epoch; the next 5 are all of the data, for `full_every`.
@pytest.mark.parametrize("at", [1, 2, 5, 6, 7, 9, 11, 12, 40, 41, 46])
def test_exception_of_the_function_comes_out_and_the_batch_comes_again(at):
    expected = minimize(epochs=4, **WATCH)
    assert expected.nfev >= 41
    solver = solver_of(refusing(squares, at), epochs=4, **WATCH)
    if at <= expected.nfev:
        with pytest.raises(Refused, match="once"):
            solver.run()
    assert_same(solver.run(), expected)


@njit
def jitted_refusing(theta, X, y, lam, left):
    left[0] -= 1
    if left[0] == 0:
        raise ValueError("once")
    return jitted(theta, X, y, lam)


@pytest.mark.parametrize("at", [1, 2, 6, 9, 12, 40])
@pytest.mark.parametrize("compile", [True, False])
def test_exception_of_an_njit_function_comes_out(at, compile):
    """Raised again where it is looked for, at the cost of one more call."""
    left = np.array([10**6])
    expected = minimize(jitted_refusing, args=(LAM, left), epochs=4, compile=compile, **WATCH)
    solver = solver_of(jitted_refusing_always, args=(LAM, left), epochs=4, compile=compile, **WATCH)
    left[0] = at
    with pytest.raises(ValueError, match="always"):
        solver.run()
    left[0] = 10**6
    assert_same(solver.run(), expected)


@njit
def jitted_refusing_always(theta, X, y, lam, left):
    left[0] -= 1
    if left[0] <= 0:
        raise ValueError("always")
    return jitted(theta, X, y, lam)


@pytest.mark.parametrize("epoch", [1, 2, 4])
@pytest.mark.parametrize("watch", [WATCH, {}])
def test_exception_of_the_callback_comes_out_and_the_solve_goes_on(epoch, watch):
    expected = minimize(epochs=4, **watch)
    solver = solver_of(epochs=4, **watch)
    with pytest.raises(Refused, match="once"):
        solver.run(refusing(lambda x: None, epoch))
    assert solver.nit == epoch * BATCHES
    assert_same(solver.run(), expected)


@pytest.mark.parametrize("epoch", [1, 2, 4])
def test_callback_may_stop_it(epoch):
    result = minimize(epochs=4, callback=refusing(lambda x: None, epoch, StopIteration), trace=True)
    assert (result.status, result.epochs, result.nit) == (99, epoch, epoch * BATCHES)
    assert not result.success
    assert result.trace["epoch"].tolist() == list(range(1, epoch + 1))


def test_stop_iteration_of_validation_is_an_exception_like_others():
    with pytest.raises(StopIteration):
        minimize(epochs=4, validation=refusing(distance, 2, StopIteration))


def test_callback_is_called_once_an_epoch_by_both_protocols():
    seen, points = [], []

    def described(intermediate_result):
        seen.append(intermediate_result)

    result = minimize(epochs=3, callback=described, trace=True)
    minimize(epochs=3, callback=lambda x: points.append(x))
    iterates, _ = walk(arrays(), 3)
    np.testing.assert_array_equal(points, iterates[5::5])
    np.testing.assert_array_equal([each.x for each in seen], points)
    for name, column in (("epoch", "epoch"), ("nit", "nit"), ("nfev", "nfev"), ("fun", "loss")):
        assert [each[name] for each in seen] == result.trace[column].tolist()
    assert all(type(each) is OptimizeResult for each in seen)
    steps = np.linalg.norm(np.diff(iterates, axis=0), axis=1)
    np.testing.assert_allclose([each.step for each in seen], steps[4::5], rtol=1e-12)


@pytest.mark.parametrize("data", [arrays, lambda: fastopt.Minibatches(Again())])
def test_what_an_epoch_calls_cannot_advance_the_solve(data):
    def inside(x):
        with pytest.raises(RuntimeError, match="running already"):
            solver.advance()
        return 0.0

    solver = solver_of(data=data(), epochs=2, validation=inside)
    assert solver.run(inside).epochs == 2


# --- limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [arrays, lambda: fastopt.Minibatches(Again())])
def test_no_epochs_are_an_evaluation_and_no_step(data):
    result = minimize(data=data(), epochs=0, trace=True)
    assert (result.nit, result.epochs, result.converged_to) == (0, 0, "epochs")
    np.testing.assert_array_equal(result.x, START)
    np.testing.assert_allclose(result.fun, whole(START)[0], rtol=64 * EPS)
    assert result.trace["epoch"].size == 0


@pytest.mark.parametrize(
    ("limit", "status"), [({"maxiter": 12}, 1), ({"maxfev": 13}, 1), ({"maxtime": 0.0}, 6)]
)
def test_other_limits_end_endless_epochs(limit, status):
    result = minimize(epochs=math.inf, trace=True, **limit)
    assert (result.status, result.success, result.converged_to) == (status, False, None)
    if status == 1:
        assert (result.nit, result.epochs) == (12, 2)
        np.testing.assert_array_equal(result.x, walk(arrays(), 3)[0][12])
        assert result.trace["epoch"].tolist() == [1, 2]
    assert_is_of_all_data(result)


@pytest.mark.parametrize("fun", [squares, jitted])
def test_maxtime_ends_endless_epochs(fun):
    result = minimize(fun, epochs=math.inf, maxtime=0.2)
    assert (result.status, result.success) == (6, False)
    assert result.epochs == result.nit // BATCHES


def test_a_limit_at_the_end_of_an_epoch_closes_it():
    result = minimize(epochs=5, maxiter=10, trace=True, validation=distance)
    assert (result.status, result.epochs, result.nit) == (1, 2, 10)
    assert result.trace["epoch"].tolist() == [1, 2]


def test_maxiter_has_no_default_with_data():
    result = minimize(jitted, epochs=3000, compile=True)
    assert (result.nit, result.epochs) == (3000 * BATCHES, 3000)


def test_losses_that_are_not_finite_end_it_at_the_last_finite_point():
    def breaking(theta, X, y, lam):
        value, grad = squares(theta, X, y, lam)
        breaking.calls += 1
        return (math.nan if breaking.calls == 9 else value), grad

    breaking.calls = 0
    result = minimize(breaking, epochs=4, trace=True)
    assert (result.status, result.success, result.epochs) == (3, False, 1)
    np.testing.assert_array_equal(result.x, walk(arrays(), 2)[0][7])
    assert_is_of_all_data(result)


def test_step_too_long_ends_at_a_finite_point():
    with np.errstate(all="ignore"):
        result = minimize(method="gd", lr=1e3, epochs=1000)
    assert result.status == 3
    assert np.isfinite(result.x).all()


def test_value_that_is_not_finite_at_the_start_says_so():
    result = minimize(lambda theta, X, y, lam: (math.nan, theta), epochs=2, validation=distance)
    assert (result.status, result.nit, result.epochs) == (3, 0, 0)
    np.testing.assert_array_equal(result.x, START)


def test_progress_and_summary_are_shown(capsys):
    pytest.importorskip("tqdm")
    minimize(epochs=3, progress=True, disp=True)
    shown = capsys.readouterr()
    assert "adam" in shown.err
    assert "all epochs have been run" in shown.out


def test_trace_has_a_row_an_epoch():
    result = minimize(epochs=3, trace=True)
    trace = result.trace
    assert list(trace) == [
        "epoch", "nit", "nfev", "njev", "time", "loss", "fun", "gnorm", "lr", "validation"
    ]  # fmt: skip
    assert trace["epoch"].tolist() == [1, 2, 3]
    assert trace["nit"].tolist() == [5, 10, 15]
    assert trace["nfev"].tolist() == trace["njev"].tolist() == [6, 11, 16]
    assert (np.diff(trace["time"]) >= 0).all()
    assert (trace["lr"] == 0.05).all()
    for name in ("fun", "gnorm", "validation"):
        assert np.isnan(trace[name]).all()
    _, losses = walk(arrays(), 3)
    means = [np.average(each, weights=[5, 5, 5, 5, 3]) for each in losses.reshape(3, 5)]
    np.testing.assert_allclose(trace["loss"], means, rtol=8 * EPS)
    assert np.isnan(minimize(method="adadelta", lr=None, epochs=1, trace=True).trace["lr"]).all()


# --- pauses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 3, 7])
@pytest.mark.parametrize("averaging", [None, "polyak", "ema"])
@pytest.mark.parametrize(
    "data", [arrays, lambda: fastopt.Minibatches(Again()), lambda: fastopt.Minibatches(listed())]
)
def test_slices_and_pickles_change_no_bit(k, averaging, data):
    options = {**WATCH, "epochs": 4, "averaging": averaging, "schedule": schedules.cosine(30)}
    for fun in (squares, jitted):
        expected = minimize(fun, data(), **options)
        solver = solver_of(fun, data(), **options)
        while solver.advance(k):
            solver = pickle.loads(pickle.dumps(solver))
        assert_same(solver.result(), expected)


def test_solve_paused_between_two_batches_says_so():
    solver = solver_of(epochs=3, trace=True)
    assert solver.result().status == -1
    assert math.isnan(solver.fun)
    solver.advance(7)
    result = solver.result()
    assert (result.status, result.nit, result.epochs) == (-1, 7, 1)
    assert result.trace["epoch"].tolist() == [1]
    np.testing.assert_array_equal(result.x, walk(arrays(), 2)[0][7])
    assert_is_of_all_data(result)


PROGRAM = """
    import pickle, sys
    import numpy as np
    from tests.interface import test_epochs
    path = sys.argv[1]
    with open(path, "rb") as file:
        solver = pickle.load(file)
    result = solver.run()
    trace = {f"trace {name}": column for name, column in result.trace.items()}
    np.savez(path + ".npz", x=result.x, fun=result.fun, nit=result.nit, **trace)
"""


@pytest.mark.parametrize("fun", [squares, jitted])
def test_another_process_goes_on_in_the_middle_of_an_epoch(fun, tmp_path, pytestconfig):
    options = {**WATCH, "epochs": 4, "averaging": "ema"}
    if fun is jitted:
        options["compile"] = True
    expected = minimize(fun, **options)
    solver = solver_of(fun, **options)
    solver.advance(8)
    path = tmp_path / "solver.pickle"
    path.write_bytes(pickle.dumps(solver))
    program = textwrap.dedent(PROGRAM)
    subprocess.run([sys.executable, "-c", program, path], check=True, cwd=pytestconfig.rootpath)
    with np.load(f"{path}.npz") as found:
        assert found["x"].tobytes() == expected.x.tobytes()
        assert (found["fun"], found["nit"]) == (expected.fun, expected.nit)
        np.testing.assert_array_equal(found["trace loss"], expected.trace["loss"])
        np.testing.assert_array_equal(found["trace validation"], expected.trace["validation"])


def interrupting(at):
    calls = itertools.count(1)

    def fun(*given):
        if next(calls) == at:
            signal.raise_signal(signal.SIGINT)
        return squares(*given)

    return fun


# In the middle of an epoch, at its end, and in the evaluation of all of the data.
@pytest.mark.parametrize("at", [2, 6, 8, 15])
def test_interrupt_comes_out_and_the_solve_goes_on(at):
    expected = minimize(epochs=4, **WATCH)
    solver = solver_of(interrupting(at), epochs=4, **WATCH)
    with pytest.raises(KeyboardInterrupt):
        solver.run()
    assert solver.status == -1
    assert_same(solver.run(), expected)


@pytest.mark.parametrize("at", [2, 4, 6, 8])
def test_interrupt_returns_the_last_point_if_asked_to(at):
    result = minimize(interrupting(at), epochs=4, on_interrupt="return", trace=True)
    assert (result.status, result.success, result.nit) == (7, False, at - 2)
    np.testing.assert_array_equal(result.x, walk(arrays(), 2)[0][at - 2])
    assert_is_of_all_data(result)


@pytest.mark.parametrize("at", [2, 12, 14])
def test_epochs_before_an_interrupt_are_counted(at):
    watched = minimize(interrupting(at), epochs=4, on_interrupt="return", trace=True)
    result = minimize(interrupting(at), epochs=4, on_interrupt="return")
    assert (result.status, result.epochs) == (7, (at - 2) // BATCHES)
    np.testing.assert_array_equal((result.epochs, result.loss), (watched.epochs, watched.loss))

    solver = solver_of(interrupting(at), epochs=4)
    with pytest.raises(KeyboardInterrupt):
        solver.run()
    assert solver.result().epochs == result.epochs
    assert_same(solver.run(), minimize(epochs=4))


@njit
def slow(theta, X, y, lam):
    total = 0.0
    for i in range(300_000):
        total += math.sin(i * theta[0])
    value, grad = jitted(theta, X, y, lam)
    return value + 1e-30 * total, grad


@pytest.mark.parametrize("on_interrupt", ["raise", "return"])
@pytest.mark.parametrize("watch", [{}, {"full_every": 1}])
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")
def test_interrupt_ends_endless_epochs_of_machine_code(on_interrupt, watch):
    solver = solver_of(slow, epochs=math.inf, compile=True, on_interrupt=on_interrupt, **watch)
    solver.advance(1)
    handler = signal.signal(signal.SIGVTALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.15)
        if on_interrupt == "raise":
            with pytest.raises(KeyboardInterrupt):
                solver.run()
            assert solver.status == -1
            nit = solver.nit
            assert solver.advance(2)
            assert solver.nit == nit + 2
        else:
            assert solver.run().status == 7
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, handler)
    expected, _ = walk(arrays(), 1 + solver.nit // BATCHES, fun=slow)
    np.testing.assert_array_equal(solver.x, expected[solver.nit])


# --- errors ------------------------------------------------------------------------------------

GIVEN = {
    "epochs": 3,
    "full_every": 2,
    "validation": distance,
    "patience": 3,
    "averaging": "polyak",
    "average_decay": 0.9,
    "average_from": 1,
}
C_FUNCTION = cfunc(SIGNATURE)(lambda x, value, grad, n, context: 0)
WRONG = {
    "no data at all": ({"data": 3}, TypeError, "`data` must be fastopt.Minibatches or None, got"),
    "arrays": ({"data": (X, Y)}, TypeError, "`data` must be fastopt.Minibatches or None, got"),
    "bfgs": ({"method": "bfgs"}, ValueError, "`method` must be a first-order one, .* got 'bfgs'"),
    "no method": ({"method": None}, ValueError, "`method` must be a first-order one"),
    "newton": ({"method": "newton"}, ValueError, "got 'newton', which needs the same function"),
    "nesterov-restart": ({"method": "nesterov-restart"}, ValueError, "`method` must be a first-"),
    "misspelt": ({"method": "adamm"}, ValueError, "`method`: did you mean 'adam'"),
    "SciPy": ({"method": "nelder-mead"}, ValueError, "`data` must be None with 'nelder-mead'"),
    "callable": ({"method": lambda *a, **k: 0}, ValueError, "`data` must be None where `method`"),
    "bounds": ({"bounds": [(0, 1)] * 4}, ValueError, "`data` must be None with `bounds`"),
    "constraints": (
        {"constraints": {"type": "eq", "fun": np.sum}}, ValueError,
        "`data` must be None with `constraints`",
    ),
    "C function": ({"fun": C_FUNCTION}, TypeError, "`fun` must be a Python or an @njit function"),
    "epochs": ({"options": {"epochs": -1}}, ValueError, "`epochs` must be a nonnegative integer"),
    "half epochs": ({"options": {"epochs": 1.5}}, ValueError, "`epochs`"),
    "full_every": ({"options": {"full_every": -1}}, ValueError, "`full_every`"),
    "validation": ({"options": {"validation": 3}}, TypeError, "`validation` must be callable"),
    "patience": ({"options": {"patience": 0}}, ValueError, "`patience` must be a positive"),
    "patience alone": ({"options": {"patience": 2}}, ValueError, "`patience` .* `validation`"),
    "average_from alone": ({"options": {"average_from": 2}}, ValueError, "`average_from` .* `av"),
    "averaging": ({"options": {"averaging": "mean"}}, ValueError, "`averaging` must be"),
    "average_decay": ({"options": {"average_decay": 1.0}}, ValueError, "`average_decay`"),
    "average_from": ({"options": {"average_from": -1}}, ValueError, "`average_from`"),
    "callback": ({"callback": 3}, TypeError, "`callback`"),
    "iterator": (
        {"data": fastopt.Minibatches(iter(listed())), "options": {"full_every": 1}},
        ValueError,
        "`full_every` must be 0 if the batches come from an iterator",
    ),
    "stream": (
        {
            "data": fastopt.Minibatches(Again()),
            "options": {"averaging": "polyak", "average_from": 1},
        },
        ValueError,
        "`average_from` must be 0 for a stream",
    ),
    **{
        f"{name} without data": (
            {"data": None, "options": {name: value}},
            ValueError,
            f"`{name}` must not be among the options without `data`",
        )
        for name, value in GIVEN.items()
    },
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_combination_is_refused_before_anything_is_evaluated(case):
    changes, error, message = WRONG[case]

    def untouched(*given):
        raise AssertionError("it was evaluated")

    arguments = {
        "fun": untouched,
        "x0": START,
        "args": (),
        "method": "adam",
        "jac": True,
        "data": arrays(),
        **changes,
    }
    with pytest.raises(error, match=message):
        fastopt.minimize(**arguments)


def test_every_option_of_data_is_tested_without_data():
    assert set(GIVEN) == OPTIONS_OF_DATA


def test_options_of_data_are_refused_where_there_cannot_be_any():
    starts = np.tile(START, (3, 1))
    for name, value in GIVEN.items():
        with pytest.raises(ValueError, match=f"`{name}` must not be among the options"):
            fastopt.minimize_many(
                squares, starts, (X, Y, LAM), method="adam", jac=True, options={name: value}
            )


def test_options_of_data_given_as_none_are_left_out():
    options = dict.fromkeys(GIVEN) | {"maxiter": 3}
    fastopt.minimize(squares, START, (X, Y, LAM), "adam", True, options=options)
    result = minimize(epochs=None, validation=None, patience=None)
    assert result.epochs == 10


# --- memory ------------------------------------------------------------------------------------


def test_many_solves_leave_memory_flat():
    import gc

    def run():
        minimize(epochs=2, averaging="polyak", **WATCH)
        minimize(jitted, epochs=2, averaging="ema", compile=True, **WATCH)
        minimize(data=fastopt.Minibatches(iter(listed())))
        solver = pickle.loads(pickle.dumps(solver_of(epochs=3)))
        solver.advance(7)
        try:
            solver_of(refusing(squares, 8), epochs=2, **WATCH).run()
        except Refused:
            return
        raise AssertionError("it was to raise")

    # NumPy keeps small blocks for later, which ends after some hundred runs; a leak of one object a
    # run does not.
    runs, grown = 100, []
    for _ in range(5):
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(runs):
            run()
        gc.collect()
        grown.append(sys.getallocatedblocks() - before)
    assert min(grown) < runs // 2
