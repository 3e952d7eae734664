"""L-BFGS with many variables: the pairs are streamed, and threads may share them.

The recursion vector by vector, which few variables have, is the oracle: in exact arithmetic both
are one.
"""

import multiprocessing
import pickle
import tracemalloc

import numpy as np
import pytest
import scipy.optimize
from numba import njit

import fastopt
from fastopt import Solver
from fastopt.objectives.python import PythonObjective
from fastopt.solvers.quasi_newton import stream_from, use_wide_registers

NEVER = 2**60
ALWAYS = 1

# More than a piece and a half, and no whole number of lines.
LONG = 7001


@pytest.fixture
def streaming():
    """``streaming(wanted)``: whether pairs are streamed, whatever n."""
    before = stream_from(ALWAYS)
    yield lambda wanted: stream_from(ALWAYS if wanted else NEVER)
    stream_from(before)


@njit
def rosenbrock(x, grad):
    """Chained, with a gradient filled in."""
    value = 0.0
    grad[:] = 0.0
    for i in range(x.size - 1):
        valley = x[i + 1] - x[i] * x[i]
        slope = 1.0 - x[i]
        value += 100.0 * valley * valley + slope * slope
        grad[i] -= 400.0 * valley * x[i] + 2.0 * slope
        grad[i + 1] += 200.0 * valley
    return value


def ill_conditioned(n, condition=1e4, scale=1.0):
    """A quadratic, diagonal, with a minimum at 1, 2, 3, 1, 2, 3, ..."""
    curvature = scale * np.geomspace(1, condition, n)
    centre = 1.0 + np.arange(n) % 3

    def fun(x):
        return 0.5 * (x - centre) @ (curvature * (x - centre)), curvature * (x - centre)

    return fun


def points_of(state, objective, count):
    found = []
    while len(found) < count:
        more = state.advance(objective, 1)
        found.append(np.concatenate([state.x, state.jac]))
        if not more:
            break
    return np.array(found)


def both_ways(make_state, streaming, fun, x0, count, **settings):
    found = []
    for wanted in (False, True):
        streaming(wanted)
        objective = PythonObjective(fun, True, (), len(x0))
        found.append(points_of(make_state("l-bfgs", x0, **settings), objective, count))
    return found


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 513, LONG])
@pytest.mark.parametrize("m", [1, 3, 10])
def test_streamed_iterates_are_those_of_the_recursion(make_state, streaming, n, m):
    loop, streamed = both_ways(
        make_state, streaming, ill_conditioned(n), np.zeros(n), 12, maxcor=m, gtol=1e-3
    )
    assert len(loop) == len(streamed)
    np.testing.assert_allclose(streamed, loop, rtol=1e-7, atol=1e-7 * np.abs(loop).max())


@pytest.mark.parametrize("damping", [False, True])
def test_damped_pairs_are_streamed_as_they_are_stored(make_state, streaming, damping):
    n = 50
    x0 = np.resize([-1.2, 1.0], n)

    def fun(x):
        grad = np.empty(n)
        return rosenbrock(x, grad), grad

    loop, streamed = both_ways(make_state, streaming, fun, x0, 15, damping=damping, c2=0.99)
    np.testing.assert_allclose(streamed, loop, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("seed", range(30))
def test_streamed_pairs_survive_refusals_and_fresh_starts(make_state, streaming, seed):
    """On kinks under noise; only pairs of positive curvature are kept, and what is reported is."""
    rng = np.random.default_rng(seed)
    planes = rng.standard_normal((6, 3))

    def fun(x):
        at = np.argmax(planes @ x + 0.1)
        noise = 1e-9 * rng.standard_normal()
        return np.max(planes @ x + 0.1) + 0.1 * x @ x + noise, planes[at] + 0.2 * x

    state = make_state("l-bfgs", rng.uniform(-3, 3, 3), maxcor=3)
    objective = PythonObjective(fun, True, (), 3)
    state.advance(objective, 0)
    first = state.fun
    while state.advance(objective, 1) and state.nit < 60:
        inverse = state.hess_inv()
        assert (np.sum(inverse.sk * inverse.yk, axis=1) > 0).all()
    assert state.fun <= first
    assert np.isfinite(state.x).all()


@pytest.mark.parametrize("scale", [1e-200, 1e-160, 1e150])
def test_where_squares_leave_the_range_of_doubles_it_recurs_vector_by_vector(
    make_state, streaming, scale
):
    n = 40
    fun = ill_conditioned(n, scale=scale)
    loop, streamed = both_ways(make_state, streaming, fun, np.zeros(n), 30, gtol=0.0)
    assert len(streamed) == len(loop) == 30
    np.testing.assert_allclose(streamed[-1][:n], loop[-1][:n], rtol=1e-3)


def test_ten_thousand_variables_end_where_scipy_ends():
    n = 10_000
    centre = np.random.default_rng(0).uniform(-5, 5, n)

    def fun(x):
        apart = np.diff(x)
        grad = np.tanh(x - centre)
        grad[:-1] -= apart
        grad[1:] += apart
        return np.logaddexp(x - centre, centre - x).sum() + 0.5 * apart @ apart, grad

    expected = scipy.optimize.minimize(
        fun, np.zeros(n), jac=True, method="L-BFGS-B", options={"gtol": 1e-9, "ftol": 0.0}
    )
    result = fastopt.minimize(
        fun, np.zeros(n), jac=True, method="l-bfgs", options={"gtol": 1e-9, "ftol": 0.0}
    )
    assert result.converged_to == "gtol"
    assert np.abs(fun(result.x)[1]).max() <= 1e-9
    np.testing.assert_allclose(result.x, expected.x, atol=1e-5)


@pytest.mark.parametrize("n", [300, 513, LONG])
def test_wide_registers_change_no_bit(make_state, streaming, n):
    objective = PythonObjective(ill_conditioned(n), True, (), n)
    before = use_wide_registers(False)
    try:
        narrow = points_of(make_state("l-bfgs", np.zeros(n)), objective, 25)
        use_wide_registers(True)
        wide = points_of(make_state("l-bfgs", np.zeros(n)), objective, 25)
    finally:
        use_wide_registers(before)
    np.testing.assert_array_equal(narrow, wide)


def test_threads_change_no_bit():
    """Of them, or of a limit on how many there are: sums are over the same parts."""
    n = 150_001
    x0 = np.resize([-1.2, 1.0], n)
    found = [
        fastopt.minimize(
            rosenbrock,
            x0,
            method="l-bfgs",
            jac="inplace",
            options={"threads": threads, "maxiter": 25},
        )
        for threads in (1, 2, 3, 10**12)
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(other.x, found[0].x)
        np.testing.assert_array_equal(other.hess_inv.yk, found[0].hess_inv.yk)
        assert other.fun == found[0].fun


def solve_with_threads(n):
    fun = ill_conditioned(n)
    options = {"threads": 2, "maxiter": 5}
    return fastopt.minimize(fun, np.zeros(n), method="l-bfgs", jac=True, options=options).fun


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="processes cannot be forked here"
)
def test_a_forked_process_does_not_wait_for_threads_of_its_parent():
    n = 120_000
    expected = solve_with_threads(n)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(solve_with_threads, (n,)).get(timeout=120) == expected


def test_paused_pickled_and_resumed_it_takes_the_same_steps(make_state, streaming):
    n = LONG
    objective = PythonObjective(ill_conditioned(n), True, (), n)
    whole = points_of(make_state("l-bfgs", np.zeros(n), maxcor=4), objective, 20)
    state = make_state("l-bfgs", np.zeros(n), maxcor=4)
    for _ in range(20):
        state = pickle.loads(pickle.dumps(state))
        state.advance(objective, 1)
    np.testing.assert_array_equal(np.concatenate([state.x, state.jac]), whole[-1])


@pytest.mark.parametrize("steps", [3, 4, 5, 6, 7, 30])
def test_pairs_of_a_solve_that_has_ended_are_in_order(make_state, streaming, steps):
    """Wherever in the ring the oldest is: they are not copied, but put in order where they are."""
    n, m = 23, 4
    objective = PythonObjective(ill_conditioned(n), True, (), n)
    state = make_state("l-bfgs", np.zeros(n), maxcor=m, maxiter=steps, gtol=0.0)
    state.advance(objective, 0)
    points, gradients = [state.x], [state.jac]
    while state.advance(objective, 1):
        points.append(state.x)
        gradients.append(state.jac)
    points.append(state.x)
    gradients.append(state.jac)
    for _ in range(2):  # asked again it says the same
        inverse = state.hess_inv()
        np.testing.assert_array_equal(inverse.sk, np.diff(points, axis=0)[-m:])
        np.testing.assert_array_equal(inverse.yk, np.diff(gradients, axis=0)[-m:])
    copies = inverse.sk.copy(), inverse.yk.copy()
    again = make_state("l-bfgs", state.x, maxcor=m, hess_inv0=copies)
    again.advance(objective, 0)
    np.testing.assert_array_equal(again.hess_inv().sk, inverse.sk)


def test_it_goes_on_from_what_an_earlier_solve_has_learnt(make_state, streaming):
    n, m = LONG, 5
    objective = PythonObjective(ill_conditioned(n), True, (), n)
    first = make_state("l-bfgs", np.zeros(n), maxcor=m)
    first.advance(objective, 20)
    pairs = first.hess_inv()
    second = make_state("l-bfgs", first.x, maxcor=m, hess_inv0=(pairs.sk, pairs.yk))
    second.advance(objective, 1)
    first.advance(objective, 1)
    np.testing.assert_allclose(second.x, first.x, rtol=1e-9)


@pytest.mark.parametrize("m", [5, 10])
def test_memory_is_two_vectors_a_pair_and_eight_more(m):
    """And the result: x, its gradient and the copy of x0. Nothing is as large as n^2."""
    n = 100_000
    x0 = np.resize([-1.2, 1.0], n)
    options = {"maxcor": m, "maxiter": 30, "compile": True}
    fastopt.minimize(rosenbrock, x0[:400], method="l-bfgs", jac="inplace", options=options)
    tracemalloc.start()
    try:
        solver = Solver(rosenbrock, x0, method="l-bfgs", jac="inplace", options=options)
        held = tracemalloc.get_traced_memory()[0]
        result = solver.run()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.nit == 30
    assert result.hess_inv.sk.shape == (m, n)
    assert held <= (2 * m + 8) * n * 8 + 500_000
    assert peak <= (2 * m + 11) * n * 8 + 1_000_000


def test_in_compiled_code_it_takes_the_same_steps(streaming):
    n = 1003
    x0 = np.resize([-1.2, 1.0], n)

    @njit
    def solve(x0, options):
        return fastopt.minimize(rosenbrock, x0, (), "l-bfgs", "inplace", options=options)

    options = fastopt.Options(maxiter=30, threads=2)
    inside = solve(x0, options)
    outside = fastopt.minimize(
        rosenbrock, x0, method="l-bfgs", jac="inplace", options={"maxiter": 30, "compile": True}
    )
    np.testing.assert_array_equal(inside.x, outside.x)
    assert inside.nit == outside.nit


@pytest.mark.parametrize(
    ("threads", "error", "said"),
    [(0, ValueError, "got 0"), (1.5, ValueError, "got 1.5"), ("two", TypeError, "'two'")],
)
def test_threads_must_be_a_positive_integer(threads, error, said):
    with pytest.raises(error, match=f"threads.*{said}"):
        fastopt.minimize(
            ill_conditioned(3), np.zeros(3), jac=True, method="l-bfgs", options={"threads": threads}
        )
