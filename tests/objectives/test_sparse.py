"""Newton's step by a sparse Hessian, against LAPACK's and eigenvalues; and whole solves with it."""

import pickle

import numpy as np
import pytest
import scipy.sparse

import fastopt
from fastopt.objectives import sparse
from fastopt.objectives.sparse import SPARSE_FROM, newton_step

EPS = np.finfo(float).eps
FORMATS = ("bsr", "coo", "csc", "csr", "dia", "dok", "lil")


@pytest.fixture(params=["SuperLU", "CHOLMOD"], autouse=True)
def library(request, monkeypatch):
    if request.param == "SuperLU":
        monkeypatch.setattr(sparse, "cholmod", lambda: None)
    elif sparse.cholmod() is None:
        pytest.skip("scikit-sparse is not installed")
    return request.param


def random_symmetric(rng, n, density=0.05):
    upper = scipy.sparse.random_array((n, n), density=density, rng=rng, data_sampler=rng.normal)
    return scipy.sparse.csc_array(upper + upper.T)


def dominant(rng, n):
    matrix = random_symmetric(rng, n)
    return scipy.sparse.csc_array(matrix + scipy.sparse.diags_array(abs(matrix).sum(axis=0) + 0.1))


def path_laplacian(n):
    ends = np.full(n, 2.0)
    ends[[0, -1]] = 1.0
    return scipy.sparse.diags_array(
        [-np.ones(n - 1), ends, -np.ones(n - 1)], offsets=[-1, 0, 1], format="csc"
    )


# --- one step --------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 30, 200])
def test_a_positive_definite_hessian_is_solved_with_as_it_is(n):
    rng = np.random.default_rng(n)
    matrix, gradient = dominant(rng, n), rng.normal(size=n)
    step, shift = newton_step(matrix, gradient, 0.25)
    assert shift == 0.25  # the last one that was needed
    np.testing.assert_allclose(step, np.linalg.solve(matrix.toarray(), -gradient), rtol=1e-10)


@pytest.mark.parametrize("kind", ["array", "matrix"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_taken_and_left_as_it_is(name, kind):
    matrix = dominant(np.random.default_rng(0), 20)
    given = getattr(scipy.sparse, f"{name}_{kind}")(matrix)
    before = given.toarray()
    step, _ = newton_step(given, np.ones(20), 0.0)
    np.testing.assert_array_equal(step, newton_step(matrix, np.ones(20), 0.0)[0])
    np.testing.assert_array_equal(given.toarray(), before)
    assert given.format == name


def test_entries_that_come_in_parts_are_summed():
    rows, columns = [0, 1, 1, 1, 0], [0, 0, 1, 1, 1]
    given = scipy.sparse.coo_array(([2.0, 1.0, 1.0, 2.0, 1.0], (rows, columns)), shape=(2, 2))
    step, _ = newton_step(given, np.ones(2), 0.0)
    np.testing.assert_allclose(step, np.linalg.solve([[2.0, 1.0], [1.0, 3.0]], [-1.0, -1.0]))


@pytest.mark.parametrize("dtype", [np.int64, np.float32, bool])
def test_real_numbers_of_any_type_are_taken(dtype):
    step, _ = newton_step(scipy.sparse.eye_array(5, dtype=dtype, format="csr"), np.ones(5), 0.0)
    np.testing.assert_array_equal(step, -np.ones(5))


def test_indices_of_64_bits_are_taken():
    matrix = dominant(np.random.default_rng(0), 20)
    wide = matrix.copy()
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    step, _ = newton_step(wide, np.ones(20), 0.0)
    np.testing.assert_array_equal(step, newton_step(matrix, np.ones(20), 0.0)[0])


def test_only_the_lower_triangle_is_read():
    matrix = dominant(np.random.default_rng(0), 30)
    half = scipy.sparse.tril(matrix) + scipy.sparse.triu(matrix, 1) * np.nan
    step, _ = newton_step(half, np.ones(30), 0.0)
    np.testing.assert_array_equal(step, newton_step(matrix, np.ones(30), 0.0)[0])


@pytest.mark.parametrize("last", [0.0, 1e-12, 1e-3, 1.0, 1e6])
def test_the_shift_makes_the_hessian_positive_definite_and_no_more_than_that(last):
    rng = np.random.default_rng(3)
    for n in (2, 5, 40, 150):
        for _ in range(5):
            matrix, gradient = random_symmetric(rng, n, min(0.4, 4 / n)), rng.normal(size=n)
            least = np.linalg.eigvalsh(matrix.toarray())[0]
            norm = abs(matrix).sum(axis=0).max()
            if norm == 0:
                continue
            step, shift = newton_step(matrix, gradient, last)
            assert gradient @ step < 0
            assert least + shift > 0
            # What was enough for the last is halved; what was not enough grows by ten at most.
            assert shift <= max(0.5 * last, 10 * -least + 2e-8 * norm)
            residual = matrix @ step + shift * step + gradient
            assert abs(residual).max() <= 1e3 * n * EPS * (norm + shift) * abs(step).max()


@pytest.mark.parametrize("scale", [2.0**-900, 2.0**-500, 2.0**500, 2.0**900])
@pytest.mark.parametrize("definite", [True, False])
def test_the_units_of_the_function_do_not_matter(definite, scale):
    rng = np.random.default_rng(4)
    matrix = dominant(rng, 40) if definite else random_symmetric(rng, 40)
    gradient = rng.normal(size=40)
    step, shift = newton_step(matrix, gradient, 0.0)
    again, scaled = newton_step(scale * matrix, scale * gradient, 0.0)
    np.testing.assert_allclose(again, step, rtol=1e-10)
    assert scaled == pytest.approx(scale * shift, rel=1e-12)


def test_the_units_of_the_variables_do_not_matter_to_a_positive_definite_hessian():
    """Each pivot is compared with its own diagonal element, wherever the ordering has put it."""
    rng = np.random.default_rng(5)
    units = rng.permutation(np.logspace(-12, 12, 60))
    matrix, gradient = dominant(rng, 60), rng.normal(size=60)
    scaling = scipy.sparse.diags_array(units)
    step, shift = newton_step(scaling @ matrix @ scaling, units * gradient, 0.0)
    assert shift == 0.0
    np.testing.assert_allclose(units * step, newton_step(matrix, gradient, 0.0)[0], rtol=1e-8)


@pytest.mark.parametrize("n", [2, 3, 50, 400])
def test_a_singular_hessian_is_shifted_by_next_to_nothing(n):
    matrix = path_laplacian(n)
    gradient = np.random.default_rng(n).normal(size=n)
    gradient -= gradient.mean()  # in the range of the matrix
    step, shift = newton_step(matrix, gradient, 0.0)
    assert 0 < shift <= 1e-6
    np.testing.assert_allclose(matrix @ step, -gradient, atol=1e-5 * abs(step).max())


@pytest.mark.parametrize(
    "matrix",
    [
        [[0.0, 1.0], [1.0, 0.0]],
        [[1.0, 1.0], [1.0, 0.0]],
        [[1.0, 1.0], [1.0, 1.0]],
        [[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]],
        [[-1.0, 0.0], [0.0, -1.0]],
        [[-1e10, 0.0], [0.0, 1e-10]],
        [[0.0]],
        [[-3.0]],
    ],
)
def test_matrices_without_a_pivot(matrix):
    n = len(matrix)
    step, shift = newton_step(scipy.sparse.csc_array(np.array(matrix)), np.ones(n), 0.0)
    if not np.any(matrix):
        assert not step.any()
        return
    np.testing.assert_allclose(
        (np.array(matrix) + shift * np.eye(n)) @ step, -np.ones(n), atol=1e-6
    )
    assert step.sum() < 0
    assert np.linalg.eigvalsh(matrix)[0] + shift > 0


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (5, 2), (9, 9)])
def test_where_the_hessian_is_not_finite_there_is_no_step(wrong, place):
    matrix = scipy.sparse.lil_array(dominant(np.random.default_rng(0), 10))
    matrix[place] = wrong
    step, shift = newton_step(matrix, np.ones(10), 0.5)
    assert np.isnan(step).all()
    assert shift == 0.5


# --- whole solves ----------------------------------------------------------------------------


def chained(n):
    def fun(x):
        bend = x[1:] - x[:-1] ** 2
        gradient = np.zeros(n)
        gradient[:-1] = -400 * bend * x[:-1] - 2 * (1 - x[:-1])
        gradient[1:] += 200 * bend
        return 100 * bend @ bend + (1 - x[:-1]) @ (1 - x[:-1]), gradient

    def hess(x):
        diagonal = np.zeros(n)
        diagonal[:-1] = 1200 * x[:-1] ** 2 - 400 * x[1:] + 2
        diagonal[1:] += 200
        return scipy.sparse.diags_array(
            [-400 * x[:-1], diagonal, -400 * x[:-1]], offsets=[-1, 0, 1]
        )

    return fun, hess


def stiffness(m):
    """The five-point Laplacian of an m x m grid with zeros around it."""
    line = scipy.sparse.diags_array(
        [-np.ones(m - 1), np.full(m, 2.0), -np.ones(m - 1)], offsets=[-1, 0, 1]
    )
    eye = scipy.sparse.eye_array(m)
    return scipy.sparse.csr_array(scipy.sparse.kron(line, eye) + scipy.sparse.kron(eye, line))


def bratu(m):
    """The energy of -Laplacian(u) + 10 exp(u) = 0 on a square: convex."""
    laplacian, weight = stiffness(m), 10 / (m + 1) ** 2

    def fun(x):
        bent = laplacian @ x
        return x @ bent / 2 + weight * np.exp(x).sum(), bent + weight * np.exp(x)

    def hess(x):
        return laplacian + scipy.sparse.diags_array(weight * np.exp(x))

    return fun, hess


def double_well(m, width=0.05):
    """Allen and Cahn's energy: not convex, its Hessian at 0 has many negative eigenvalues."""
    laplacian = width**2 * (m + 1) ** 2 * stiffness(m)

    def fun(x):
        bent = laplacian @ x
        return x @ bent / 2 + ((x**2 - 1) ** 2).sum() / 4, bent + (x**2 - 1) * x

    def hess(x):
        return laplacian + scipy.sparse.diags_array(3 * x**2 - 1)

    return fun, hess


def dense_of(hess):
    return lambda x: hess(x).toarray()


def iterates(fun, x0, hess, **options):
    solver = fastopt.Solver(fun, x0, method="newton", jac=True, hess=hess, options=options)
    found = [solver.x]
    going = True
    while going:
        going = solver.advance()
        found.append(solver.x)
    return np.array(found), solver


@pytest.mark.parametrize("problem", ["chained", "bratu"])
def test_a_convex_problem_takes_the_iterates_of_the_dense_method(problem):
    fun, hess, x0 = {
        "chained": (*chained(400), 1 + 1e-3 * np.sin(np.arange(400.0))),
        "bratu": (*bratu(20), np.ones(400)),
    }[problem]
    found, solver = iterates(fun, x0, hess, gtol=1e-9)
    expected, other = iterates(fun, x0, dense_of(hess), gtol=1e-9)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)
    for name in ("nit", "nfev", "njev", "nhev", "status"):
        assert getattr(solver, name) == getattr(other, name)
    assert solver.result().converged_to == "gtol"


@pytest.mark.parametrize("n", [SPARSE_FROM - 1, SPARSE_FROM])
def test_what_is_small_is_solved_dense_with_the_same_answer(n):
    fun, hess = chained(n)
    x0 = 1 + 1e-3 * np.sin(np.arange(float(n)))
    found, solver = iterates(fun, x0, hess)
    np.testing.assert_allclose(found, iterates(fun, x0, dense_of(hess))[0], rtol=1e-8)
    assert solver.nhev == solver.nit


@pytest.mark.parametrize("problem", ["chained", "bratu"])
def test_a_large_problem_takes_the_steps_of_a_small_one(problem):
    """As a dense matrix the Hessian of the first would have 80 GB."""
    fun, hess, x0 = {
        "chained": (*chained(100_000), np.full(100_000, 0.8)),
        "bratu": (*bratu(150), np.zeros(150**2)),
    }[problem]
    calls = []

    def counted(x):
        calls.append(1)
        return hess(x)

    result = fastopt.minimize(fun, x0, method="newton", jac=True, hess=counted)
    assert result.success
    assert result.nit <= 8
    assert len(calls) == result.nhev == result.nit
    assert np.abs(fun(result.x)[1]).max() <= 1e-5


def test_an_indefinite_start_leads_down_to_a_minimum():
    fun, hess = double_well(24)
    x0 = 0.1 * np.random.default_rng(0).normal(size=24**2)
    assert (np.linalg.eigvalsh(hess(x0).toarray()) < 0).sum() > 10
    found, solver = iterates(fun, x0, hess, gtol=1e-8)
    assert solver.result().converged_to == "gtol"
    assert (np.diff([fun(x)[0] for x in found]) < 0).all()
    assert np.linalg.eigvalsh(hess(solver.x).toarray())[0] > -1e-6
    dense = fastopt.minimize(fun, x0, method="newton", jac=True, hess=dense_of(hess))
    assert solver.nit <= 2 * dense.nit


def test_a_saddle_is_left_along_its_negative_curvature():
    n = 400

    def fun(x):
        return ((x[0] ** 2 - 1) ** 2 / 4 + x[1:] @ x[1:] / 2), np.append(x[0] ** 3 - x[0], x[1:])

    def hess(x):
        return scipy.sparse.diags_array(np.append(3 * x[0] ** 2 - 1, np.ones(n - 1)))

    result = fastopt.minimize(fun, np.full(n, 1e-3), method="newton", jac=True, hess=hess)
    assert result.success
    np.testing.assert_allclose(result.x[0], 1.0, atol=1e-4)
    assert result.nit <= 15


def test_a_hessian_that_is_singular_everywhere_is_no_obstacle():
    """A chain of springs that nothing holds: only differences count."""
    n = 500

    def fun(x):
        stretch = np.diff(x) - 0.1
        gradient = np.zeros(n)
        gradient[1:] += np.sinh(stretch)
        gradient[:-1] -= np.sinh(stretch)
        return np.cosh(stretch).sum(), gradient

    def hess(x):
        curvature = np.cosh(np.diff(x) - 0.1)
        diagonal = np.append(curvature, 0.0) + np.append(0.0, curvature)
        return scipy.sparse.diags_array([-curvature, diagonal, -curvature], offsets=[-1, 0, 1])

    x0 = np.random.default_rng(0).normal(size=n)
    result = fastopt.minimize(
        fun, x0, method="newton", jac=True, hess=hess, options={"gtol": 1e-10}
    )
    assert result.success
    assert result.nit <= 15
    np.testing.assert_allclose(np.diff(result.x), 0.1, atol=1e-8)


def test_pattern_and_form_of_the_hessian_may_change_from_call_to_call():
    fun, hess = double_well(20)
    x0 = 0.1 * np.random.default_rng(1).normal(size=400)
    calls = []

    def changing(x):
        calls.append(1)
        matrix = hess(x).tolil()
        if len(calls) % 2:
            matrix[7, 300] = matrix[300, 7] = 0.0  # an entry that the others do not store
        k = len(calls) % (len(FORMATS) + 1)
        return matrix.asformat(FORMATS[k]) if k < len(FORMATS) else matrix.toarray()

    found, _ = iterates(fun, x0, changing)
    expected, _ = iterates(fun, x0, hess)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert len(calls) > 8


def test_a_first_hessian_that_is_dense_lets_the_others_be_made_dense():
    fun, hess = bratu(20)
    calls = []

    def changing(x):
        calls.append(1)
        return hess(x) if len(calls) > 1 else hess(x).toarray()

    found, solver = iterates(fun, np.ones(400), changing)
    np.testing.assert_array_equal(found, iterates(fun, np.ones(400), dense_of(hess))[0])
    assert len(calls) == solver.nhev


def test_the_hessian_is_only_asked_for_at_iterates_after_the_function():
    fun, hess = bratu(20)
    asked, valued = [], []

    def watched(x):
        valued.append(x)
        return fun(x)

    def watching(x):
        assert any((x == point).all() for point in valued)
        asked.append(x.copy())
        x[:] = np.nan
        return hess(asked[-1])

    found, _ = iterates(watched, np.ones(400), watching)
    np.testing.assert_array_equal(asked, found[:-1])


def test_it_is_not_asked_for_where_the_start_is_the_minimum():
    def refuse(x):
        raise AssertionError

    result = fastopt.minimize(
        lambda x: (x @ x, 2 * x), np.zeros(400), method="newton", jac=True, hess=refuse
    )
    assert (result.nit, result.success) == (0, True)


class Problem:
    """`double_well`, in a form that pickles."""

    def __init__(self, m):
        self.fun, self.hess = double_well(m)
        self.m = m

    def __reduce__(self):
        return Problem, (self.m,)

    def value(self, x):
        return self.fun(x)

    def matrix(self, x):
        return self.hess(x)

    def dense(self, x):
        return self.hess(x).toarray()


@pytest.mark.parametrize("form", ["matrix", "dense"])
@pytest.mark.parametrize("pause", [0, 1, 2, 5])
def test_a_copy_of_a_paused_solver_goes_on_to_the_same_bits(pause, form):
    problem = Problem(20)
    x0 = 0.1 * np.random.default_rng(2).normal(size=400)

    def start():
        return fastopt.Solver(
            problem.value, x0, method="newton", jac=True, hess=getattr(problem, form)
        )

    whole = start().run()
    paused = start()
    if pause:
        paused.advance(pause)
    copy = pickle.loads(pickle.dumps(paused))
    for solver in (paused, copy):
        found = solver.run()
        np.testing.assert_array_equal(found.x, whole.x)
        assert (found.nit, found.nfev, found.nhev) == (whole.nit, whole.nfev, whole.nhev)


@pytest.mark.parametrize("call", [1, 2, 4])
@pytest.mark.parametrize("kind", [LookupError, KeyboardInterrupt])
def test_what_the_hessian_raises_comes_out_and_the_solve_goes_on_to_the_same_bits(kind, call):
    fun, hess = double_well(20)
    x0 = 0.1 * np.random.default_rng(2).normal(size=400)
    calls = []

    def fragile(x):
        calls.append(1)
        if len(calls) == call:
            raise kind("mine")
        return hess(x)

    solver = fastopt.Solver(fun, x0, method="newton", jac=True, hess=fragile)
    with pytest.raises(kind, match="mine"):
        solver.run()
    assert (solver.nit, solver.nhev) == (call - 1, call - 1)
    whole = fastopt.minimize(fun, x0, method="newton", jac=True, hess=hess)
    found = solver.run()
    np.testing.assert_array_equal(found.x, whole.x)
    assert (found.nit, found.nfev, found.nhev) == (whole.nit, whole.nfev, whole.nhev)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        (scipy.sparse.eye_array(401), ValueError, r"must return .* \(400, 400\), got .*\(401, 4"),
        (scipy.sparse.eye_array(400, 1), ValueError, r"must return .* \(400, 4.*, got .*\(400, 1"),
        (1j * scipy.sparse.eye_array(400), TypeError, "must return .* real numbers, got .*complex"),
        (np.eye(3), ValueError, r"must return an array of shape \(400, 400\), got shape \(3, 3\)"),
        (None, TypeError, "must return .* got None"),
    ],
)
def test_what_is_no_hessian_is_refused_at_any_iterate(wrong, kind, message, late):
    fun, hess = bratu(20)
    calls = []

    def broken(x):
        calls.append(1)
        return hess(x) if late and len(calls) == 1 else wrong

    with pytest.raises(kind, match=f"^`hess` {message}"):
        fastopt.minimize(fun, np.ones(400), method="newton", jac=True, hess=broken)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_where_the_hessian_is_not_finite_the_gradient_shows_the_way(wrong):
    fun, hess = bratu(18)
    calls = []

    def broken(x):
        calls.append(1)
        return hess(x) * (wrong if len(calls) < 4 else 1.0)

    result = fastopt.minimize(fun, np.ones(18**2), method="newton", jac=True, hess=broken)
    assert result.success
    assert result.nit <= 12
    assert "`hess` was not finite in 3 iterations" in result.message


def test_a_wrong_hessian_costs_steps_but_not_the_minimum():
    fun, _ = bratu(18)
    result = fastopt.minimize(
        fun,
        np.ones(18**2),
        method="newton",
        jac=True,
        hess=lambda x: -scipy.sparse.eye_array(18**2),
    )
    assert result.success  # the steps are the gradient's


def test_time_that_runs_out_in_the_hessian_ends_the_solve():
    import time

    fun, hess = bratu(20)

    def slow(x):
        time.sleep(0.05)
        return hess(x)

    result = fastopt.minimize(
        fun, np.ones(400), method="newton", jac=True, hess=slow, options={"maxtime": 0.02}
    )
    assert result.status == 6
    assert result.nit <= 1


def test_a_callback_sees_every_iteration_and_may_stop_it():
    fun, hess = bratu(20)
    seen = []

    def callback(x):
        seen.append(x)
        if len(seen) == 2:
            raise StopIteration

    result = fastopt.minimize(
        fun, np.ones(400), method="newton", jac=True, hess=hess, callback=callback
    )
    assert (result.status, result.nit) == (99, 2)
    np.testing.assert_array_equal(seen[-1], result.x)


def test_a_batch_is_solved_as_each_problem_alone():
    fun, hess = bratu(18)
    starts = np.random.default_rng(0).normal(size=(3, 18**2))
    batch = fastopt.minimize_many(fun, starts, method="newton", jac=True, hess=hess, workers=2)
    for i in range(3):
        alone = fastopt.minimize(fun, starts[i], method="newton", jac=True, hess=hess)
        np.testing.assert_array_equal(batch.x[i], alone.x)
        assert batch.nhev[i] == alone.nhev


@pytest.mark.parametrize("method", ["trust-exact", "dogleg"])
def test_other_methods_make_it_dense(method):
    fun, hess = bratu(18)
    found, expected = (
        fastopt.minimize(fun, np.ones(18**2), method=method, jac=True, hess=form)
        for form in (hess, dense_of(hess))
    )
    np.testing.assert_array_equal(found.x, expected.x)
