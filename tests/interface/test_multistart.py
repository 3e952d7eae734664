"""`multistart`: the lowest of many minima, from starts that a number determines."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numba import njit
from scipy.optimize import Bounds, rosen
from scipy.stats import qmc

import fastopt
from fastopt import multistart
from fastopt.interface.multistart import SAMPLERS

BOX = [(-2.1, 2.3), (-1.0, 1.5)]
LOW, HIGH = np.array(BOX).T


@njit
def rastrigin(x):
    """Many minima; the lowest is 0 at 0."""
    turn = 2 * np.pi * x
    return (x**2 - 10 * np.cos(turn) + 10).sum(), 2 * x + 20 * np.pi * np.sin(turn)


@njit
def tilted(x):
    """Lowest where both variables are as large as they may be."""
    return -x.sum(), -np.ones(2)


@njit
def shifted(x, shift):
    return ((x - shift) ** 2).sum(), 2 * (x - shift)


@njit
def never(x):
    return np.nan, x


@njit
def refusing(x):
    if x[0] > -10.0:
        raise ValueError("refused")
    return 0.0, x


def free(fun, bounds=BOX, **arguments):
    """Many searches that do not know of the box."""
    return multistart(fun, bounds, **{"method": "bfgs", "jac": True, **arguments})


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_it_finds_the_lowest_minimum(sampler):
    result = free(rastrigin, starts=200, sampler=sampler)
    assert result.fun < 1e-9
    np.testing.assert_allclose(result.x, 0.0, atol=1e-5)
    assert result.batch.x.shape == (200, 2)
    assert result.fun == result.batch.fun.min()


def test_the_result_is_that_of_the_best_search():
    result = free(rastrigin, starts=50)
    alone = fastopt.minimize(rastrigin, result.start, method="bfgs", jac=True)
    ending = ("status", "success", "message", "converged_to", "method", "library")
    for name in ("x", "fun", "jac", "nit", *ending):
        np.testing.assert_array_equal(result[name], alone[name], err_msg=name)
    assert result.index == result.batch.best
    assert result.nfev == result.batch.nfev.sum()
    assert result.njev == result.batch.njev.sum()
    assert not np.shares_memory(result.x, result.batch.x)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("count", [1, 7, 64])
def test_starts_fill_the_box_and_nothing_else(sampler, count):
    starts = batch_starts(starts=count, sampler=sampler)
    assert starts.shape == (count, 2)
    assert (starts >= LOW).all()
    assert (starts <= HIGH).all()
    if count == 64:
        # In each half of each side about half of them.
        assert (np.abs((starts < (LOW + HIGH) / 2).mean(axis=0) - 0.5) < 0.2).all()


def batch_starts(**arguments):
    """Where the searches begin: with no iterations, they end there."""
    return free(rastrigin, options={"maxiter": 0}, **arguments).batch.x


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_one_number_means_the_same_starts(sampler):
    first, again, other = (batch_starts(sampler=sampler, rng=rng) for rng in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(
        batch_starts(sampler=sampler), batch_starts(sampler=sampler, rng=0)
    )


def test_a_generator_gives_new_starts_each_time():
    generator = np.random.default_rng(5)
    first, second = (batch_starts(rng=generator) for _ in range(2))
    np.testing.assert_array_equal(first, batch_starts(rng=5))
    assert not np.array_equal(first, second)


def test_samplers_differ():
    starts = [batch_starts(sampler=sampler) for sampler in SAMPLERS]
    for k, one in enumerate(starts):
        for other in starts[k + 1 :]:
            assert not np.array_equal(one, other)


def test_sobol_points_of_any_number_are_the_first_of_the_next_power_of_two():
    np.testing.assert_array_equal(batch_starts(starts=50), batch_starts(starts=64)[:50])


def test_an_engine_gives_its_next_points():
    engine, twin = (qmc.Halton(2, scramble=False) for _ in range(2))
    for _ in range(2):
        starts = batch_starts(starts=5, sampler=engine)
        np.testing.assert_allclose(starts, qmc.scale(twin.random(5), LOW, HIGH), atol=1e-15)


def test_starts_may_be_given():
    given = np.array([[2.0, 1.0], [0.1, 0.1], [9.0, 9.0]])
    result = free(rastrigin, starts=given)
    assert (result.index, result.fun < 1e-9) == (1, True)
    np.testing.assert_array_equal(result.start, given[1])
    result = free(rastrigin, starts=given.tolist(), options={"maxiter": 0})
    np.testing.assert_array_equal(result.batch.x, given)


@pytest.mark.parametrize("bounds", [BOX, Bounds(LOW, HIGH), zip(LOW, HIGH, strict=True)])
def test_the_default_method_keeps_the_bounds(bounds):
    result = multistart(tilted, bounds, starts=4, jac=True)
    np.testing.assert_array_equal(result.x, HIGH)
    assert (result.method, result.library) == ("l-bfgs-b", "fastopt")


@pytest.mark.parametrize("method", ["L-BFGS-B", "l-bfgs", "Nelder-Mead", "SLSQP"])
def test_methods_that_take_bounds_get_them(method):
    result = multistart(lambda x: -x.sum(), BOX, starts=2, method=method)
    np.testing.assert_allclose(result.x, HIGH, atol=1e-6)
    assert (result.batch.x <= HIGH).all()


@pytest.mark.parametrize("method", ["bfgs", "sr1", "gd", "CG"])
def test_methods_that_take_none_may_leave_the_box(method):
    far = np.array([5.0, 5.0])
    options = {"lr": 0.1} if method == "gd" else None
    result = multistart(shifted, BOX, (far,), 2, method=method, jac=True, options=options)
    np.testing.assert_allclose(result.x, far, atol=1e-3)


def test_a_box_may_be_flat():
    starts = batch_starts(bounds=[(1.0, 1.0), (-1.0, 1.0)])
    assert (starts[:, 0] == 1.0).all()


def test_a_box_may_be_as_wide_as_numbers_go():
    starts = multistart(lambda x: 0.0, [(-1.7e308, 1.7e308)] * 2, method="bfgs").batch.x
    assert np.isfinite(starts).all()
    assert starts.min() < 0 < starts.max()


def test_workers_callbacks_and_options_reach_the_batch():
    heard = []
    with ThreadPoolExecutor(2) as threads:
        results = [
            free(rastrigin, starts=32, workers=workers, callback=heard.append, tol=0.1)
            for workers in (1, 2, threads)
        ]
    for other in results[1:]:
        np.testing.assert_array_equal(other.batch.x, results[0].batch.x)
    assert sum(len(found.x) for found in heard) == 3 * 32
    assert results[0].nfev < free(rastrigin, starts=32).nfev


def test_one_search_that_fails_does_not_harm_the_others():
    @njit
    def fun(x):
        if x[0] > 0.5:
            raise ValueError("refused")
        return rastrigin(x)

    result = free(fun, starts=64, options={"compile": False})
    assert result.fun < 1e-9
    assert result.batch.errors


def test_the_result_pickles_and_copies():
    result = free(rastrigin, starts=8)
    for other in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):
        np.testing.assert_array_equal(other.batch.x, result.batch.x)
        assert other.fun == result.fun
    assert "problems of 2 variables" in repr(result)


def test_where_every_search_fails_it_says_why():
    with pytest.raises(ValueError, match="`fun` must be finite at one of the 4 starts, got none"):
        free(never, starts=4)
    with pytest.raises(ValueError, match="`fun` must be finite at one of the 2 starts, got none"):
        multistart(lambda x: np.inf, BOX, starts=2)
    with pytest.raises(ValueError, match="refused"):
        free(refusing, starts=4)


def test_no_time_at_all_is_a_result():
    result = free(rastrigin, starts=4, options={"maxtime": 0.0})
    assert (result.status, result.success, result.nfev) == (6, False, 0)
    assert "maxtime" in result.message
    np.testing.assert_array_equal(result.x, result.start)


REFUSED = {
    "fun": ({"fun": 3}, TypeError, "`fun` must be callable"),
    "no bounds": ({"bounds": None}, TypeError, "`bounds` must be a Bounds or a sequence of pairs"),
    "a number": ({"bounds": 3}, TypeError, "`bounds` must be a Bounds or a sequence of pairs"),
    "empty": ({"bounds": []}, ValueError, "`bounds` must be finite, .* got none"),
    "no pairs": ({"bounds": [1, 2]}, TypeError, "`bounds` must be a Bounds or a sequence"),
    "open": (
        {"bounds": [(0, 1), (0, None)]},
        ValueError,
        r"`bounds` must be finite, low <= high, for each variable, got \(0.0, inf\) at index 1",
    ),
    "infinite": ({"bounds": Bounds([0, -np.inf], [1, 1])}, ValueError, "`bounds` must be finite"),
    "NaN": ({"bounds": [(0, np.nan)]}, ValueError, "`bounds` must be finite"),
    "crossed": ({"bounds": [(1, 0)]}, ValueError, "`bounds` must be finite, low <= high"),
    "no starts": ({"starts": 0}, ValueError, "`starts` must be a positive integer or an array"),
    "fewer": ({"starts": -1}, ValueError, "`starts` must be a positive integer or an array, got -"),
    "True": ({"starts": True}, ValueError, "`starts` must be a positive integer or an array"),
    "a half": (
        {"starts": 0.5},
        ValueError,
        "`starts` must be a positive integer or an array of",
    ),
    "text": ({"starts": "ab"}, TypeError, "`starts` must be an integer or a two-dimensional"),
    "None": ({"starts": None}, TypeError, "`starts` must be an integer or a two-dimensional"),
    "wide": ({"starts": np.zeros((2, 3))}, ValueError, r"array of shape \(B, 2\), got .*\(2, 3\)"),
    "NaNs": ({"starts": [[np.nan, 0.0]]}, ValueError, "`starts` must be finite, got nan in row 0"),
    "none given": ({"starts": np.zeros((0, 2))}, ValueError, "`starts`"),
    "sampler": ({"sampler": "sobel"}, ValueError, "`sampler` must be one of 'sobol', 'halton'"),
    "sampler's type": ({"sampler": 3}, TypeError, "`sampler` must be a string or a QMCEngine"),
    "sampler's size": ({"sampler": qmc.Sobol(3)}, ValueError, "for 2 variables, got one for 3"),
    "rng": ({"rng": "x"}, TypeError, "`rng` must be a nonnegative integer or a numpy.random.Gen"),
    "bounds a long vector": (
        {"bounds": np.broadcast_to(1.0, (2**40,))},
        ValueError,
        "`bounds` must be a Bounds or a sequence of pairs .* got an array of shape",
    ),
    "rng a matrix": (
        {"rng": np.ones((1, 2)).view(np.matrix)},
        TypeError,
        "`rng` must be .* type matrix",
    ),
    "starts without end": ({"starts": 2**64 - 1}, ValueError, r"`starts` must be at most 2\*\*30"),
    "rng True": ({"rng": True}, TypeError, "`rng` must be .* type bool"),
    "rng below 0": ({"rng": -1}, (TypeError, ValueError), "`rng` must be a nonnegative integer"),
    "method": ({"method": "bgfs"}, ValueError, "`method`: did you mean 'bfgs'"),
    "method's type": ({"method": 3}, TypeError, "`method` must be a string"),
    "jac": ({"jac": 3}, TypeError, "`jac` must be"),
    "options": ({"options": 3}, TypeError, "`options` must be a dict"),
    "workers": ({"workers": 0}, ValueError, "`workers` must be a positive integer"),
    "callback": ({"callback": 3}, TypeError, "`callback` must be callable"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_arguments_are_named_before_anything_is_evaluated(name):
    arguments, error, message = REFUSED[name]

    def fun(x):
        raise AssertionError("evaluated before its arguments were checked")

    with pytest.raises(error, match=message):
        multistart(**{"fun": fun, "bounds": BOX, "method": "bfgs", **arguments})


def test_interpreted_functions_will_do():
    assert multistart(rosen, BOX, starts=3).fun < 1e-6
