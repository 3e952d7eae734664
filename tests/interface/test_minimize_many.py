"""Batches: each problem has the bits of `minimize`, whatever its neighbours and workers do."""

import copy
import gc
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from numba import carray, cfunc, njit, objmode
from numba.core.errors import TypingError
from numba.typed import List
from scipy import LowLevelCallable
from scipy.optimize import Bounds, OptimizeResult, OptimizeWarning, rosen, rosen_der

import fastopt
from fastopt import minimize_many
from fastopt.interface import batches
from fastopt.interface.methods import METHODS
from fastopt.objectives import source, wrappers
from fastopt.objectives.bodies import SIGNATURE
from fastopt.objectives.wrappers import known_wrapper
from tests.interface.test_leaks import resident
from tests.step_lengths import step_length

STARTS = np.array([[-1.2, 1.0], [1.0, 1.0], [3.0, -2.0], [0.0, 0.0], [0.3, 4.0]])
SHARED = ("x", "fun", "jac", "nit", "nfev", "njev", "status")


# --- one function in every form, with arguments ----------------------------------------------


@njit
def value(x, weight, shift):
    """Rosenbrock's function, and a quartic: analytic, so that complex steps are right."""
    ahead, left = x[1] - x[0] * x[0], 1.0 - x[0]
    total = weight * ahead * ahead + left * left
    for i in range(x.size):
        total += 0.1 * (x[i] - shift[i]) ** 4
    return total


@njit
def gradient(x, weight, shift):
    ahead = x[1] - x[0] * x[0]
    slopes = np.empty(2)
    slopes[0] = -4.0 * weight * ahead * x[0] - 2.0 * (1.0 - x[0])
    slopes[1] = 2.0 * weight * ahead
    for i in range(x.size):
        slopes[i] += 0.4 * (x[i] - shift[i]) ** 3
    return slopes


@njit
def joint(x, weight, shift):
    return value(x, weight, shift), gradient(x, weight, shift)


@njit
def inplace(x, grad, weight, shift):
    if grad.size:
        grad[:] = gradient(x, weight, shift)
    return value(x, weight, shift)


FORMS = {
    "joint": (joint, True),
    "separate": (value, gradient),
    "inplace": (inplace, "inplace"),
    "2-point": (value, "2-point"),
    "3-point": (value, "3-point"),
    "cs": (value, "cs"),
    "default": (value, None),
}
WEIGHTS = np.array([100.0, 50.0, 1.0, 10.0, 7.0])
SHIFTS = np.arange(10.0).reshape(5, 2) / 10
BATCHED = (True, True)


@njit
def rosen_pair(x):
    ahead, left = x[1] - x[0] * x[0], 1.0 - x[0]
    slopes = np.empty(2)
    slopes[0], slopes[1] = -400.0 * x[0] * ahead - 2.0 * left, 200.0 * ahead
    return 100.0 * ahead * ahead + left * left, slopes


@njit
def limited_pair(x):
    """As before, for those who do not start at 9 and do not mind an edge."""
    if x[0] == 9.0:
        raise ValueError("refused", x[1])
    if x[0] == 8.0:
        return np.nan, x
    if x[0] == 7.0:
        return -np.inf, x
    return rosen_pair(x)


def python_pair(x):
    return rosen(x), rosen_der(x)


def limited_python_pair(x):
    return limited_pair.py_func(x)


def options_of(method, **options):
    few = {"maxiter": 40} if METHODS[method].rule else {}
    return {**step_length(method, 1e-3), **few, **options}


def assert_same(batch, other):
    for name in (*SHARED, "success", "message", "converged_to"):
        np.testing.assert_array_equal(batch[name], other[name], err_msg=name)


def assert_solved_as_alone(batch, solve_alone):
    """`solve_alone(i)` is problem i by `minimize`."""
    for i in range(len(batch.x)):
        alone = solve_alone(i)
        for name in (*SHARED, "success", "message", "converged_to"):
            np.testing.assert_array_equal(batch[name][i], alone[name], err_msg=f"{name} of {i}")
        assert (batch.method, batch.library) == (alone.method, alone.library)


# --- the same bits ---------------------------------------------------------------------------


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", METHODS)
def test_each_problem_is_solved_as_minimize_solves_it(method, form, compiled):
    fun, jac = FORMS[form]
    options = options_of(method, compile=compiled)
    batch = minimize_many(
        fun, STARTS, (WEIGHTS, SHIFTS), BATCHED, method, jac, options=options, workers=2
    )
    assert_solved_as_alone(
        batch,
        lambda i: fastopt.minimize(
            fun, STARTS[i], (WEIGHTS[i], SHIFTS[i]), method, jac, options=options
        ),
    )
    assert batch.nit.max() > 3


@pytest.mark.parametrize(
    "options",
    [
        {"hess_inv0": np.array([[0.5, 0.1], [0.1, 0.3]])},
        {"line_search": "more-thuente", "c2": 0.5},
        {"stopval": 1.0},
        {"maxiter": 3},
        {"maxfev": 7},
        {"gtol": 1e-2, "norm": 2},
        {"xtol": 1e-3},
        fastopt.Options(gtol=1e-3),
    ],
    ids=str,
)
@pytest.mark.parametrize("fun", [rosen_pair, python_pair])
def test_options_reach_every_problem(fun, options):
    batch = minimize_many(fun, STARTS, jac=True, options=options)
    assert_solved_as_alone(
        batch, lambda i: fastopt.minimize(fun, STARTS[i], jac=True, options=options)
    )


@pytest.mark.parametrize("step", [1e-4, np.array([1e-5, -1e-6])])
def test_steps_of_differences_reach_every_problem(step):
    for jac, name in ((None, "eps"), ("3-point", "finite_diff_rel_step")):
        options = {name: step, "compile": True}
        batch = minimize_many(value, STARTS, (10.0, SHIFTS[1]), jac=jac, options=options)
        assert_solved_as_alone(
            batch,
            lambda i, jac=jac, options=options: fastopt.minimize(
                value, STARTS[i], (10.0, SHIFTS[1]), jac=jac, options=options
            ),
        )


@pytest.mark.parametrize("fun", [rosen_pair, python_pair])
@pytest.mark.parametrize("l1", [2.0, np.array([0.0, 2.0])])
def test_weights_of_an_l1_term_reach_every_problem(fun, l1):
    options = {"l1": l1}
    batch = minimize_many(fun, STARTS, method="fista", jac=True, options=options, workers=2)
    assert_solved_as_alone(
        batch, lambda i: fastopt.minimize(fun, STARTS[i], (), "fista", True, options=options)
    )
    assert (batch.fun > 0.1).all()


@pytest.mark.parametrize("method", METHODS)
def test_interpreter_and_machine_code_agree_on_problems_that_end_in_any_way(method):
    starts = np.array([[-1.2, 1.0], [9.0, 2.0], [8.0, 1.0], [7.0, 1.0], [1.0, 1.0], [50.0, 3.0]])
    results = [
        minimize_many(limited_pair, starts, jac=True, method=method, workers=workers,
                      options=options_of(method, compile=compiled))
        for compiled in (True, False)
        for workers in (1, 2)
    ]  # fmt: skip
    for other in results[1:]:
        assert_same(results[0], other)
        assert {i: error.args for i, error in other.errors.items()} == {1: ("refused", 2.0)}


def test_one_problem_never_harms_another():
    """Of those that end badly, each beside others that end well."""
    starts = np.repeat([[-1.2, 1.0]], 60, axis=0)
    starts[::5, 0] = [9.0, 8.0, 7.0] * 4
    for compiled in (True, False):
        options = {"compile": compiled}
        batch = minimize_many(limited_pair, starts, jac=True, options=options, workers=3)
        assert sorted(batch.errors) == [0, 15, 30, 45]
        assert batch.status[::5].tolist() == [9, 3, 4] * 4
        good = np.delete(np.arange(60), np.s_[::5])
        assert batch.success[good].all()
        assert len(np.unique(batch.x[good], axis=0)) == 1
        assert batch.success.sum() == 48


@pytest.mark.parametrize("fun", [rosen_pair, python_pair])
def test_the_number_of_threads_changes_no_bit(fun):
    starts = np.random.default_rng(1).uniform(-5, 5, (300, 2))
    options = {"compile": fun is rosen_pair}
    one, two, three, many = (
        minimize_many(fun, starts, jac=True, workers=workers, options=options)
        for workers in (1, 2, 3, 400)
    )
    for other in (two, three, many):
        assert_same(one, other)


def test_a_thousand_threads_get_along_with_chunks_of_one_problem():
    """The size of chunks grows with what was solved, not with what was asked for."""
    starts = np.random.default_rng(3).uniform(-1, 1, (4000, 2))
    batch = minimize_many(rosen_pair, starts, jac=True, workers=1000, options={"compile": True})
    assert batch.success.all()


def test_a_second_call_is_as_the_first():
    """The second one knows how long a problem takes, and starts no thread."""

    @njit
    def fun(x):
        return rosen_pair(x)

    first, second, third = (
        minimize_many(fun, STARTS, jac=True, options={"compile": True}) for _ in range(3)
    )
    assert_same(first, second)
    assert_same(first, third)


@pytest.mark.parametrize("problems", [0, 1])
@pytest.mark.parametrize("compile", [True, False, "auto"])
def test_few_problems_are_a_batch_too(problems, compile):
    starts = STARTS[:problems]
    batch = minimize_many(
        joint,
        starts,
        (WEIGHTS[:problems], SHIFTS[:problems]),
        True,
        jac=True,
        options={"compile": compile},
    )
    assert batch.x.shape == batch.jac.shape == (problems, 2)
    for name in ("fun", "nit", "nfev", "njev", "status", "success"):
        assert batch[name].shape == (problems,)
    assert batch.best == (0 if problems else None)
    assert repr(batch).startswith(f"{problems} problems of 2 variables by bfgs (fastopt)")


# --- arguments -------------------------------------------------------------------------------


@njit
def first_of_any(x, data, scale):
    """A bowl whose centre is made of whatever numbers come."""
    centre = abs(data.flat[0]) + 0.5 * abs(data.flat[data.size - 1])
    return scale * ((x - centre) ** 2).sum(), 2.0 * scale * (x - centre)


def rows_of(make):
    """Rows for five problems."""
    return make(np.arange(1, 61, dtype=float).reshape(5, 3, 4))


ARRAYS = {
    "2-D": lambda a: a[:, 0],
    "3-D": lambda a: a,
    "Fortran": np.asfortranarray,
    "2-D Fortran": lambda a: np.asfortranarray(a[:, 0]),
    "reversed": lambda a: a[::-1],
    "reversed within": lambda a: a[:, ::-1, ::-1],
    "every second": lambda a: np.repeat(a, 2, axis=0)[::2, :, ::2],
    "transposed": lambda a: a.transpose(0, 2, 1),
    "the same for all": lambda a: np.broadcast_to(a[0], a.shape),
    "float32": lambda a: a.astype(np.float32),
    "int16": lambda a: a.astype(np.int16),
    "complex": lambda a: a + 1j,
    "uint8": lambda a: a.astype(np.uint8),
    "list of arrays": lambda a: [row for row in a],  # noqa: C416 - it is to be a list
    "tuple of arrays": tuple,
}


def read_only(a):
    a.flags.writeable = False
    return a


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize("make", [*ARRAYS.values(), read_only], ids=[*ARRAYS, "read-only"])
def test_rows_may_lie_in_memory_as_they_like(make, compile):
    data = rows_of(make)
    batch = minimize_many(
        first_of_any,
        STARTS,
        (data, 2.0),
        (True, False),
        jac=True,
        options={"compile": compile},
    )
    assert_solved_as_alone(
        batch, lambda i: fastopt.minimize(first_of_any, STARTS[i], (data[i], 2.0), jac=True)
    )


@njit
def bowl_around(x, centre):
    return ((x - 1.0 * centre) ** 2).sum(), 2.0 * (x - 1.0 * centre)


NUMBERS = np.array([1, -2, 3, 4, 5])


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize(
    "centres",
    [
        NUMBERS * 0.5,
        NUMBERS[::-1],
        NUMBERS.astype(np.float32),
        NUMBERS.astype(np.int8),
        NUMBERS.astype(">f8"),
        NUMBERS.astype(">i4"),
        NUMBERS.tolist(),
        (NUMBERS * 0.5).tolist(),
        tuple(NUMBERS.tolist()),
        [True, False, True, True, False],
        [1, 2.5, 3, 4, 5],
    ],
    ids=lambda centres: f"{type(centres).__name__} {getattr(centres, 'dtype', centres)}",
)
def test_a_number_for_each_problem(centres, compile):
    batch = minimize_many(
        bowl_around, STARTS, (centres,), True, jac=True, options={"compile": compile}
    )
    expected = np.repeat(np.asarray(centres, dtype=float)[:, None], 2, axis=1)
    np.testing.assert_allclose(batch.x, expected, atol=1e-6)


@njit
def bowl_of_record(x, record):
    total = 0.0
    slopes = np.empty(2)
    for i in range(2):
        from_centre = x[i] - record["centre"][i]
        total += record["scale"] * from_centre * from_centre
        slopes[i] = 2.0 * record["scale"] * from_centre
    return total, slopes


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize("make", [lambda a: a, lambda a: a[::-1], lambda a: a.view(np.recarray)])
def test_a_record_for_each_problem(make, compile):
    records = np.zeros(5, dtype=[("tag", "i2"), ("scale", "f8"), ("centre", "f8", 2)])
    records["scale"], records["centre"] = [1, 2, 3, 4, 5], SHIFTS
    records = make(records)
    batch = minimize_many(
        bowl_of_record, STARTS, records, True, jac=True, options={"compile": compile}
    )
    np.testing.assert_allclose(batch.x, records["centre"], atol=1e-6)


@njit
def bowl_of_bundle(x, row, bundle, names):
    centre = row + bundle[1][0]
    return ((x - centre) ** 2).sum() + bundle[0], 2.0 * (x - centre) * len(names)


@pytest.mark.parametrize("compile", [True, False])
def test_all_problems_share_what_is_not_batched(compile):
    for names in ((1, 2), List([1, 2])):
        bundle = (0.5, (np.array([1.0, -1.0]), 3))
        batch = minimize_many(
            bowl_of_bundle,
            STARTS,
            (SHIFTS, bundle, names),
            [True, False, False],
            jac=True,
            options={"compile": compile},
        )
        np.testing.assert_allclose(batch.x, SHIFTS + bundle[1][0], atol=1e-5)
        np.testing.assert_allclose(batch.fun, 0.5, atol=1e-8)


RAGGED = [np.arange(1.0, 2.0 + i) for i in range(5)]
TUPLES = [(1.0, 2.0), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0), (9.0, 10.0)]


@njit
def bowl_of_data(x, data):
    centre = data[0] + 0.5 * data[len(data) - 1]
    return ((x - centre) ** 2).sum(), 2.0 * (x - centre)


def as_objects(rows):
    array = np.empty(len(rows), dtype=object)
    array[:] = rows
    return array


@pytest.mark.parametrize("rows", [RAGGED, as_objects(RAGGED), TUPLES], ids=["list", "array", "tup"])
def test_rows_of_any_kind_go_through_the_interpreter(rows, monkeypatch):
    """Compiled code would take what lies there for numbers."""
    monkeypatch.setattr("fastopt.interface.batches.PAYS_AFTER", 0)
    batch = minimize_many(bowl_of_data, STARTS, (rows,), True, jac=True)
    assert_solved_as_alone(
        batch, lambda i: fastopt.minimize(bowl_of_data, STARTS[i], (rows[i],), jac=True)
    )
    # The same where the function has been compiled for such rows before.
    compiled = {"compile": True}
    fastopt.minimize(bowl_of_data, STARTS[0], (rows[0],), jac=True, options=compiled)
    assert_same(batch, minimize_many(bowl_of_data, STARTS, (rows,), True, jac=True))
    with pytest.raises(TypeError, match=r"`args\[0\]` must be an array of numbers or records"):
        minimize_many(bowl_of_data, STARTS, (rows,), True, jac=True, options=compiled)


def test_arguments_and_starts_are_left_alone():
    data, starts = rows_of(lambda a: a), STARTS.copy()
    kept = data.copy()
    batch = minimize_many(
        first_of_any, starts, (data, 1.0), (1 > 0, False), jac=True, options={"compile": True}
    )
    np.testing.assert_array_equal(data, kept)
    np.testing.assert_array_equal(starts, STARTS)
    assert not np.shares_memory(batch.x, starts)


@pytest.mark.parametrize(
    "starts",
    [
        STARTS.tolist(),
        STARTS.astype(np.float32),
        np.asfortranarray(STARTS),
        STARTS[::-1],
        np.repeat(STARTS, 2, axis=1)[:, ::2],
        np.arange(10).reshape(5, 2),
        STARTS.astype(">f8"),
    ],
)
def test_starts_may_be_any_array_of_real_numbers(starts):
    batch = minimize_many(rosen_pair, starts, jac=True, options={"compile": True})
    assert_solved_as_alone(
        batch, lambda i: fastopt.minimize(rosen_pair, np.asarray(starts)[i], jac=True)
    )


# --- when it compiles ------------------------------------------------------------------------


def test_it_compiles_when_the_rest_pays_for_it(monkeypatch):
    @njit
    def fun(x):
        return rosen_pair(x)

    starts = np.repeat(STARTS, 10, axis=0)
    few = minimize_many(fun, starts, jac=True)
    assert known_wrapper(fun, True, ()) is None
    calls = int(few.nfev.sum())
    monkeypatch.setattr("fastopt.interface.batches.PAYS_AFTER", 2 * calls)
    many = minimize_many(fun, np.repeat(starts, 2, axis=0), jac=True)
    assert known_wrapper(fun, True, ()) is not None
    np.testing.assert_array_equal(many.x[::2], few.x)
    np.testing.assert_array_equal(many.nfev[::2], few.nfev)


def test_what_has_been_compiled_is_used(monkeypatch):
    @njit
    def fun(x):
        return rosen_pair(x)

    fastopt.minimize(fun, STARTS[0], jac=True, options={"compile": True})
    monkeypatch.setattr("fastopt.interface.batches.Solver", None)  # of the interpreter
    assert minimize_many(fun, STARTS, jac=True).success.all()


@njit
def wrong(x):
    return x.no_such_thing


@pytest.mark.parametrize("compile", [True, False, "auto"])
@pytest.mark.parametrize("workers", [1, 2])
def test_what_does_not_compile_is_said_once(compile, workers):
    with pytest.raises(Exception, match="no_such_thing") as caught:
        minimize_many(wrong, STARTS, options={"compile": compile}, workers=workers)
    assert type(caught.value).__name__ == "TypingError"


@njit
def unfinished(x):
    if x[1] == 4.0:
        raise NotImplementedError("later")
    return rosen_pair(x)


def test_an_exception_of_the_first_problem_is_that_problems_alone():
    batch = minimize_many(unfinished, np.roll(STARTS, 1, axis=0), jac=True)
    assert list(batch.errors) == [0]
    assert batch.status.tolist() == [9, 0, 0, 0, 0]


# --- exceptions ------------------------------------------------------------------------------

FAILING = np.array([[-1.2, 1.0], [9.0, 2.0], [1.0, 1.0], [9.0, 4.0]])


@pytest.mark.parametrize("fun", [limited_pair, limited_python_pair])
@pytest.mark.parametrize("workers", [1, 2])
def test_an_exception_is_recorded_with_its_problem(fun, workers):
    compile = fun is limited_pair
    batch = minimize_many(fun, FAILING, jac=True, workers=workers, options={"compile": compile})
    assert {i: error.args for i, error in batch.errors.items()} == {
        1: ("refused", 2.0),
        3: ("refused", 4.0),
    }
    assert batch.status.tolist() == [0, 9, 0, 9]
    np.testing.assert_array_equal(batch.x[1], FAILING[1])
    assert np.isnan(batch.fun[[1, 3]]).all()
    assert batch.best == 2


@pytest.mark.parametrize("fun", [limited_pair, limited_python_pair])
@pytest.mark.parametrize("workers", [1, 2])
def test_an_exception_ends_the_batch_if_asked_to_and_says_where_it_was_raised(fun, workers):
    starts = np.repeat(FAILING[:1], 40, axis=0)
    starts[20] = FAILING[1]
    compile = fun is limited_pair
    with pytest.raises(ValueError, match="refused") as caught:
        minimize_many(
            fun, starts, jac=True, workers=workers, errors="raise", options={"compile": compile}
        )
    assert caught.value.__notes__ == ["raised in problem 20 of 40"]
    if not compile:
        assert caught.traceback[-1].name == "limited_pair"


def test_recorded_exceptions_keep_only_one_traceback():
    batch = minimize_many(limited_python_pair, FAILING, jac=True)
    assert batch.errors[1].__traceback__ is not None
    assert batch.errors[3].__traceback__ is None


def not_analytic(x):
    return np.abs(x - 0.3).sum() + 0 * x[0]


not_analytic_compiled = njit(not_analytic)


@pytest.mark.parametrize("fun", [not_analytic, not_analytic_compiled])
def test_wrong_complex_steps_are_an_exception_of_each_problem(fun):
    compile = fun is not_analytic_compiled
    batch = minimize_many(fun, STARTS, jac="cs", options={"compile": compile})
    assert sorted(batch.errors) == [0, 1, 2, 3, 4]
    assert all("must be analytic" in str(error) for error in batch.errors.values())
    assert np.isnan(batch.fun).all()


@njit
def leaving(x):
    with objmode():
        raise_mine()
    return x.sum(), x


class Mine(Exception):
    """What the user's own code raises."""


class Worse(BaseException):
    """Not to be kept for later."""


def raise_mine():
    raise Mine("mine")


def test_what_may_be_meant_by_arguments_that_do_not_fit_is_said():
    @njit
    def fun(x, t, y):
        total = 0.0
        for i in range(t.size):
            total += (x[0] * t[i] - y[i]) ** 2
        return total

    t, y = np.linspace(0.0, 1.0, 5), np.ones((4, 5))
    with pytest.raises(TypingError) as caught:
        minimize_many(fun, np.zeros((4, 1)), (t, y))
    (note,) = caught.value.__notes__
    assert "each of the 4 problems in args[1]?" in note
    assert minimize_many(fun, np.zeros((4, 1)), (t, y), (False, True)).success.all()


def test_what_does_not_compile_is_not_tried_for_each_problem(monkeypatch):
    @njit
    def fun(x):
        return (x[0] - 1.0) ** 2, [2.0 * (x[0] - 1.0)]

    tries = []
    build = wrappers.build_wrapper
    monkeypatch.setattr(
        wrappers, "build_wrapper", lambda *given: (tries.append(given), build(*given))[1]
    )
    monkeypatch.setattr(source, "PAYS_AFTER", 10)
    monkeypatch.setattr(batches, "PAYS_AFTER", 10)
    assert minimize_many(fun, np.zeros((20, 1)), jac=True).success.all()
    for _ in range(20):
        assert fastopt.minimize(fun, np.zeros(1), jac=True).success
    assert len(tries) == 1


def test_rows_that_numba_does_not_know_end_the_batch():
    @njit
    def fun(x, centre):
        return ((x - centre) ** 2).sum()

    with pytest.raises(NotImplementedError, match="float16"):
        minimize_many(fun, np.zeros((4, 2)), np.ones((4, 2), dtype=np.float16), True)


class Labelled:
    """As pandas has it: `rows[i]` is the row whose label is i, wherever that stands."""

    def __init__(self, rows):
        self.iloc = rows

    def __len__(self):
        return len(self.iloc)

    def __array__(self, dtype=None, copy=None):
        return np.array(self.iloc, dtype)

    def __getitem__(self, label):
        return self.iloc[::-1][label]


@pytest.mark.parametrize("compile", [True, False, "auto"])
def test_rows_with_labels_are_those_in_their_places(compile):
    @njit
    def fun(x, centre):
        return ((x - centre) ** 2).sum()

    rows, options = np.arange(8.0).reshape(4, 2), {"compile": compile}
    batch = minimize_many(fun, np.zeros((4, 2)), Labelled(rows), True, options=options)
    assert_same(batch, minimize_many(fun, np.zeros((4, 2)), rows, True, options=options))


@pytest.mark.parametrize("compile", [True, False, "auto"])
def test_rows_of_pandas_are_those_in_their_places(compile):
    pandas = pytest.importorskip("pandas")

    @njit
    def fun(x, centre):
        return ((x - centre) ** 2).sum()

    table = pandas.DataFrame({"a": [1.0, 5.0, 3.0], "b": [2.0, 0.0, 9.0]}).sort_values("a")
    options = {"compile": compile}
    for rows in (table["a"], table["a"][table["a"] > 2], table):
        starts = np.zeros((len(rows), np.ndim(rows)))
        batch = minimize_many(fun, starts, rows, True, options=options)
        assert_same(batch, minimize_many(fun, starts, rows.to_numpy(), True, options=options))


@pytest.mark.parametrize("compile", [True, False, "auto"])
def test_masked_rows_are_refused_and_not_read_without_their_mask(compile):
    @njit
    def fun(x, centre):
        return ((x - centre) ** 2).sum()

    centres = np.ma.masked_greater(np.eye(2), 0.5)
    assert minimize_many(fun, np.zeros((2, 2)), centres.data, True).success.all()
    for _ in range(2):
        with pytest.raises(TypeError, match=r"args\[0\]. must"):
            minimize_many(fun, np.zeros((2, 2)), centres, True, options={"compile": compile})
        fastopt.minimize(fun, np.zeros(2), np.ones(2), options={"compile": True})


def test_what_is_no_exception_of_the_function_ends_the_batch():
    def fun(x):
        raise Worse

    for workers in (1, 2):
        with pytest.raises(Worse):
            minimize_many(fun, STARTS, workers=workers)


def test_an_exception_from_the_interpreter_within_compiled_code_is_kept():
    batch = minimize_many(leaving, STARTS, jac=True, options={"compile": True}, workers=2)
    assert {i: type(error) for i, error in batch.errors.items()} == dict.fromkeys(range(5), Mine)


# --- what is told on the way -----------------------------------------------------------------


class Listener:
    def __init__(self, then=None):
        self.heard = []
        self.threads = set()
        self.then = then

    def __call__(self, found):
        self.heard.append(found)
        self.threads.add(threading.get_ident())
        if self.then is not None:
            raise self.then


CALLBACK_KINDS = pytest.mark.parametrize(
    ("fun", "workers", "compile"),
    [(fun, workers, fun is rosen_pair) for fun in (rosen_pair, python_pair) for workers in (1, 2)],
)


@CALLBACK_KINDS
def test_the_callback_hears_of_every_problem_once(fun, workers, compile):
    starts = np.random.default_rng(2).uniform(-3, 3, (100, 2))
    listener = Listener()
    batch = minimize_many(
        fun,
        starts,
        jac=True,
        workers=workers,
        callback=listener,
        options={"compile": compile},
    )
    assert listener.threads == {threading.get_ident()}
    assert all(isinstance(found, OptimizeResult) for found in listener.heard)
    places = [i for found in listener.heard for i in range(100)[found.problems]]
    assert sorted(places) == list(range(100))
    assert [found.total for found in listener.heard] == [100] * len(listener.heard)
    done = np.cumsum([len(found.x) for found in listener.heard])
    assert [found.done for found in listener.heard] == done.tolist()
    for found in listener.heard:
        for name in ("x", "fun", "success"):
            np.testing.assert_array_equal(found[name], batch[name][found.problems])
            assert not np.shares_memory(found[name], batch[name])


@pytest.mark.parametrize("method", ["bfgs", "nelder-mead"])
def test_the_callback_hears_which_problems_ended_well(method):
    def fun(x):
        if x[0] == 0.0:
            raise Mine
        return rosen(x)

    listener = Listener()
    options = {"maxiter": 100}
    batch = minimize_many(fun, STARTS, method=method, callback=listener, options=options)
    assert set(batch.success) == {True, False}
    heard = np.concatenate([found.success for found in listener.heard])
    np.testing.assert_array_equal(heard, batch.success)


@CALLBACK_KINDS
def test_stop_iteration_ends_the_batch(fun, workers, compile):
    starts = np.repeat(STARTS, 2000 if compile else 20, axis=0)
    batch = minimize_many(
        fun,
        starts,
        jac=True,
        workers=workers,
        callback=Listener(StopIteration),
        options={"compile": compile},
    )
    assert set(batch.status) == {0, 99}
    left = batch.status == 99
    assert (batch.nit[left] == 0).sum() > 0
    np.testing.assert_array_equal(batch.x[batch.nfev == 0], starts[batch.nfev == 0])
    assert np.isnan(batch.fun[batch.nfev == 0]).all()


@CALLBACK_KINDS
def test_an_exception_of_the_callback_comes_out_and_nothing_runs_on(fun, workers, compile):
    starts = np.repeat(STARTS, 2000, axis=0)
    before = threading.active_count()
    with pytest.raises(Mine):
        minimize_many(
            fun,
            starts,
            jac=True,
            workers=workers,
            callback=Listener(Mine),
            options={"compile": compile},
        )
    assert threading.active_count() == before


@njit
def forever(x):
    return x.max(), np.sign(x)


def forever_in_python(x):
    return x.max(), np.sign(x)


FOREVER = {"method": "gd", "jac": True}
FOREVER_OPTIONS = {"lr": 0.0, "maxiter": np.inf}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("fun", [forever, forever_in_python])
def test_maxtime_ends_problems_in_the_middle(fun, workers):
    options = {**FOREVER_OPTIONS, "compile": fun is forever, "maxtime": 0.1}
    batch = minimize_many(fun, STARTS, **FOREVER, options=options, workers=workers)
    assert set(batch.status) == {6}
    assert batch.nit[0] > 0
    assert batch.nit[4] == 0
    assert batch.fun[0] == STARTS[0].max()
    assert np.isnan(batch.fun[4])


@pytest.mark.parametrize("workers", [1, 2])
def test_maxtime_ends_problems_that_scipy_solves(workers):
    def slow(x):
        time.sleep(0.01)
        return rosen(x)

    options = {"maxtime": 0.1}
    batch = minimize_many(slow, STARTS, method="nelder-mead", options=options, workers=workers)
    assert set(batch.status) == {6}


def test_no_time_at_all_leaves_the_starts():
    batch = minimize_many(rosen_pair, STARTS, jac=True, options={"compile": True, "maxtime": 0.0})
    assert set(batch.status) == {6}
    np.testing.assert_array_equal(batch.x, STARTS)


@pytest.mark.parametrize("fun", [rosen_pair, python_pair])
def test_the_progress_bar_counts_problems(fun, capsys):
    minimize_many(fun, STARTS, jac=True, options={"progress": True})
    shown = capsys.readouterr().err
    assert "bfgs: 100%" in shown
    assert "5/5" in shown
    assert "problems" in shown


def test_disp_prints_the_summary(capsys):
    batch = minimize_many(rosen_pair, STARTS, jac=True, options={"disp": True})
    assert capsys.readouterr().out == f"{batch}\n"


def test_an_unknown_option_is_warned_of_once():
    for compile in (True, False):
        options = {"compile": compile, "nonsense": 1}
        with pytest.warns(OptimizeWarning, match="no option 'nonsense'") as caught:
            minimize_many(rosen_pair, STARTS, jac=True, options=options, workers=2)
        assert len(caught) == 1
        assert caught[0].filename == __file__


# --- interrupts ------------------------------------------------------------------------------


@pytest.mark.parametrize("on_interrupt", ["raise", "return"])
@pytest.mark.parametrize("at", [1, 40])
def test_interrupt_in_the_function_ends_the_batch(on_interrupt, at):
    calls = []

    def fun(x):
        calls.append(x)
        if len(calls) == at:
            signal.raise_signal(signal.SIGINT)
        return python_pair(x)

    def solve():
        return minimize_many(fun, STARTS, jac=True, options={"on_interrupt": on_interrupt})

    if on_interrupt == "raise":
        with pytest.raises(KeyboardInterrupt):
            solve()
    else:
        batch = solve()
        assert set(batch.status) == ({7} if at == 1 else {0, 7})
        assert not batch.errors
        assert batch.nfev[-1] == 0
    assert len(calls) == at


def test_interrupt_in_the_callback_ends_the_batch():
    batch = minimize_many(
        rosen_pair,
        np.repeat(STARTS, 2000, axis=0),
        jac=True,
        callback=lambda found: signal.raise_signal(signal.SIGINT),
        options={"compile": True, "on_interrupt": "return"},
    )
    assert set(batch.status) == {0, 7}


PROGRAM = """
import signal, sys, threading, time
import numpy as np, fastopt
from numba import njit
signal.signal(signal.SIGINT, signal.default_int_handler)  # it may have been inherited as ignored
def endless(x):
    return x.max(), np.sign(x)
fun = njit(endless) if {compile} else endless
starts = np.ones((100, 2))
options = {{"lr": 0.0, "compile": {compile}, "on_interrupt": {on_interrupt!r}}}
def solve(maxiter):
    return fastopt.minimize_many(fun, starts, method="gd", jac=True, workers={workers},
                                 options={{**options, "maxiter": maxiter}})
solve(1)
threading.Timer(0.3, lambda: print("running", flush=True)).start()
begun = None
try:
    batch = solve(np.inf)
    print(sorted(set(batch.status.tolist())), bool(batch.nit[0] > 0), bool(batch.nit[-1] == 0))
except KeyboardInterrupt:
    print("KeyboardInterrupt")
print([thread.name for thread in threading.enumerate() if thread.name == "fastopt"])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize(
    ("compile", "workers", "on_interrupt", "signals"),
    [
        (True, 1, "raise", 1),
        (True, 2, "return", 1),
        (True, 2, "return", 3),
        (False, 1, "return", 1),
        (False, 2, "raise", 1),
        (False, 2, "return", 3),
    ],
)
def test_sigint_ends_a_batch_of_an_hour(on_interrupt, workers, compile, signals):
    program = PROGRAM.format(compile=compile, workers=workers, on_interrupt=on_interrupt)
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout.readline() == "running\n"
            for _ in range(signals):
                process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    if signals == 1:
        expected = {"raise": "KeyboardInterrupt\n[]\n", "return": "[7] True True\n[]\n"}
        assert output == expected[on_interrupt], errors
        assert process.returncode == 0
    else:
        # Those that come later may hit the program itself, but never leave it hanging.
        assert process.returncode in (0, 1, -signal.SIGINT), errors


# --- parallel functions, C functions, SciPy --------------------------------------------------

PARALLEL = """
import threading
import numpy as np, fastopt
from numba import njit, prange
@njit(parallel=True)
def fun(x):
    total = 0.0
    for i in prange(200):
        total += ((x - i / 200) ** 2).sum()
    return total
starts = np.zeros((20, 2))
found = []
def solve(compile):
    for _ in range(5):
        found.append(fastopt.minimize_many(fun, starts, workers=2, options={"compile": compile}))
threads = [threading.Thread(target=solve, args=(compile,)) for compile in (True, True, False)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert len(found) == 15
assert all(np.allclose(batch.x, 0.4975, atol=1e-4) for batch in found)
print("done")
"""


def test_parallel_functions_from_several_threads_do_not_abort():
    done = subprocess.run(
        [sys.executable, "-c", PARALLEL], capture_output=True, text=True, timeout=300
    )
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr


@cfunc(SIGNATURE)
def c_bowl(x, value, grad, n, context):
    point = carray(x, (n,))
    value[0] = ((point - 0.5) ** 2).sum()
    slopes = carray(grad, (n,))
    slopes[:] = 2.0 * (point - 0.5)
    return 1 if point[0] == 9.0 else 2 if point[0] == 8.0 else 0


def test_c_functions_are_solved_without_the_interpreter():
    starts = np.array([[1.0, 2.0], [9.0, 0.0], [8.0, 0.0], [-4.0, 3.0]])
    for form in (c_bowl, LowLevelCallable(c_bowl.ctypes)):
        for workers in (1, 2):
            batch = minimize_many(form, starts, jac=True, workers=workers)
            assert batch.status.tolist() == [0, 9, 8, 0]
            assert "answered 1" in str(batch.errors[1])
            np.testing.assert_array_equal(batch.x[3], fastopt.minimize(form, starts[3], jac=True).x)
    with pytest.raises(TypeError, match="`fun` must be callable from Python"):
        minimize_many(c_bowl, starts, method="tnc", jac=True, bounds=[(0, 1), (0, 1)])


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("method", ["nelder-mead", "SLSQP", "powell"])
def test_methods_of_scipy_solve_problem_by_problem(method, workers):
    batch = minimize_many(rosen, STARTS, method=method, workers=workers)
    for i, start in enumerate(STARTS):
        alone = fastopt.minimize(rosen, start, method=method)
        for name in ("x", "fun", "nit", "nfev", "status", "success", "message", "converged_to"):
            np.testing.assert_array_equal(batch[name][i], alone[name])
    assert (batch.library, batch.method) == ("scipy", method.lower())


def test_the_gradient_of_trust_constr_is_that_of_the_function():
    """Its result's `jac` is of constraints."""
    batch = minimize_many(rosen, STARTS[:2], method="trust-constr", options={"maxiter": 3})
    for i, start in enumerate(STARTS[:2]):
        alone = fastopt.minimize(rosen, start, method="trust-constr", options={"maxiter": 3})
        np.testing.assert_array_equal(batch.x[i], alone.x)
        np.testing.assert_array_equal(batch.jac[i], alone.grad)
    assert not batch.errors


@pytest.mark.parametrize("bounds", [[(0, 0.5), (None, 1)], Bounds([0, -np.inf], [0.5, 1.0])])
@pytest.mark.parametrize("form", ["joint", "separate", "inplace", "3-point", "default"])
def test_bounds_are_kept(bounds, form):
    fun, jac = FORMS[form]
    args = (WEIGHTS, SHIFTS)
    batch = minimize_many(fun, np.clip(STARTS, 0, 0.5), args, True, jac=jac, bounds=bounds)
    assert (batch.library, batch.method) == ("fastopt", "l-bfgs-b")
    assert (batch.x[:, 0] <= 0.5).all()
    alone = fastopt.minimize(
        fun, np.clip(STARTS, 0, 0.5)[2], (WEIGHTS[2], SHIFTS[2]), jac=jac, bounds=bounds
    )
    np.testing.assert_array_equal(batch.x[2], alone.x)
    options = {"compile": True}
    compiled = minimize_many(fun, STARTS, args, True, jac=jac, bounds=bounds, options=options)
    interpreted = minimize_many(
        fun, STARTS, args, True, jac=jac, bounds=bounds, options={"compile": False}
    )
    for name in ("x", "fun", "jac", "nit", "nfev", "status"):
        np.testing.assert_array_equal(compiled[name], interpreted[name])


def test_bounds_may_be_an_iterator():
    given = zip([0.0, 0.0], [0.5, 0.2], strict=True)
    batch = minimize_many(rosen, STARTS, bounds=given)
    again = minimize_many(rosen, STARTS, bounds=[(0.0, 0.5), (0.0, 0.2)])
    np.testing.assert_array_equal(batch.x, again.x)
    assert not batch.errors


@pytest.mark.parametrize("workers", [1, 2])
def test_what_scipy_refuses_is_raised_and_not_told_of_each_problem(workers):
    with pytest.raises(ValueError, match="Jacobian is required"):
        minimize_many(rosen, STARTS, method="trust-krylov", workers=workers)


def test_bounds_that_bound_nothing_are_none():
    batch = minimize_many(rosen_pair, STARTS, jac=True, bounds=[(None, None)] * 2)
    assert batch.library == "fastopt"


# --- the result ------------------------------------------------------------------------------


def test_the_result_pickles_and_copies():
    batch = minimize_many(limited_pair, FAILING, jac=True)
    for other in (pickle.loads(pickle.dumps(batch)), copy.deepcopy(batch), copy.copy(batch)):
        assert type(other) is fastopt.BatchResult
        assert_same(batch, other)
        assert repr(other) == repr(batch)
        assert {i: error.args for i, error in other.errors.items()} == {
            1: ("refused", 2.0),
            3: ("refused", 4.0),
        }


def test_the_printed_result_counts_the_ways_to_end():
    lines = repr(minimize_many(limited_pair, FAILING, jac=True)).splitlines()
    assert lines[0] == "4 problems of 2 variables by bfgs (fastopt): 2 succeeded"
    assert lines[1].startswith("  2 x status 0: Converged")
    assert lines[2].startswith("  2 x status 9: The function raised")
    assert lines[3].startswith("  lowest value 0 (problem 2); ")
    assert len(lines) == 4


def test_endings_of_one_status_are_told_apart():
    starts = np.array([[-1.2, 1.0], [1.0, 1.0], [3.0, 3.0]])
    batch = minimize_many(rosen_pair, starts, jac=True, options={"stopval": 1e-300})
    assert batch.converged_to.tolist() == ["gtol", "stopval", "gtol"]
    assert "at most gtol" in batch.message[0]
    assert "at most stopval" in batch.message[1]
    assert repr(batch).splitlines()[1:3] == [
        f"  2 x status 0: {batch.message[0]}",
        f"  1 x status 0: {batch.message[1]}",
    ]


@njit
def bowl(x):
    return (x**4).sum()


@njit
def bowl_gradient(x):
    return 4 * x**3


@njit
def bowl_hessian(x):
    return np.diag(12 * x**2) if x[0] > 0 else np.full((2, 2), np.nan)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_message_says_that_the_gradient_alone_showed_the_way(compiled):
    starts = np.array([[-2.0, -1.0], [2.0, 1.0], [-1.0, -3.0], [3.0, 2.0]])
    batch = minimize_many(
        bowl,
        starts,
        jac=bowl_gradient,
        hess=bowl_hessian,
        method="newton",
        options={"compile": compiled},
    )
    assert batch.success.all()
    remarks = ["`hess` was not finite in some iterations" in message for message in batch.message]
    assert remarks == [True, False, True, False]
    assert len(repr(batch).splitlines()) == 4


def test_best_leaves_out_what_is_not_a_number():
    starts = np.array([[8.0, 0.0], [-1.2, 1.0], [9.0, 0.0]])
    assert minimize_many(limited_pair, starts, jac=True).best == 1
    assert minimize_many(limited_pair, starts[[0, 2]], jac=True).best is None


def test_nothing_is_lower_than_minus_infinity():
    def slope(x):
        return (-np.inf if x[0] > 5.0 else x[0] ** 2), np.array([2.0 * x[0]])

    assert minimize_many(slope, np.array([[1.0], [9.0]]), jac=True).best == 1


# --- memory ----------------------------------------------------------------------------------


def batch_compiled():
    minimize_many(
        first_of_any, STARTS, (DATA, 1.0), (True, False), jac=True, options={"compile": True}
    )


def batch_in_threads():
    minimize_many(rosen_pair, MANY, jac=True, options={"compile": True, "maxiter": 2}, workers=2)


@njit
def refusing(x):
    if x[0] == 9.0:
        raise ValueError("refused")
    return rosen_pair(x)


def batch_raising():
    """Without a run-time value in the exception: Numba never frees those."""
    batch = minimize_many(refusing, FAILING, jac=True, options={"compile": True})
    assert len(batch.errors) == 2


def batch_interpreted():
    minimize_many(python_pair, STARTS[:2], jac=True, options={"maxiter": 2})


def batch_raising_in_python():
    batch = minimize_many(limited_python_pair, FAILING[[1, 3]], jac=True)
    assert len(batch.errors) == 2


def batch_of_scipy():
    minimize_many(rosen, STARTS[:2], method="nelder-mead", options={"maxiter": 2})


DATA = np.arange(1, 61, dtype=float).reshape(5, 3, 4)
MANY = np.repeat(STARTS, 1000, axis=0)


@pytest.mark.parametrize(
    ("run", "times"),
    [
        (batch_compiled, 20_000),
        (batch_in_threads, 500),
        (batch_raising, 10_000),
        (batch_interpreted, 4_000),
        (batch_raising_in_python, 4_000),
        (batch_of_scipy, 1_000),
    ],
)
def test_many_batches_leave_memory_flat(run, times):
    """20000 times 5 problems: a leak of 16 bytes in each would be 1.6 MB."""
    for _ in range(times // 5):
        run()
    gc.collect()
    blocks_before, before = sys.getallocatedblocks(), resident()
    for _ in range(times):
        run()
    gc.collect()
    assert resident() - before < 1_500_000
    assert sys.getallocatedblocks() - blocks_before < 1000


# --- wrong arguments -------------------------------------------------------------------------


class Untouched:
    """A function that is not to be called."""

    def __call__(self, x, *args):
        raise AssertionError("evaluated before its arguments were checked")


NO_LENGTH = object()
ONE_EACH = "`batched` must be a bool or a sequence of 1, one for each of `args`"
REFUSED = {
    "fun is no function": ({"fun": 3}, TypeError, "`fun` must be callable, got 3"),
    "fun is None": ({"fun": None}, TypeError, "`fun` must be callable, got None"),
    "X0 is one start": ({"X0": [1.0, 2.0]}, ValueError, "`X0` must be two-dimensional"),
    "X0 is a number": ({"X0": 1.0}, ValueError, "`X0` must be two-dimensional"),
    "X0 is a cube": ({"X0": np.zeros((2, 2, 2))}, ValueError, "`X0` must be two-dim"),
    "X0 has no variables": ({"X0": np.zeros((3, 0))}, ValueError, r"shape \(3, 0\)"),
    "X0 is ragged": ({"X0": [[1.0], [1.0, 2.0]]}, (TypeError, ValueError), "`X0` must be"),
    "X0 is complex": ({"X0": [[1j, 2.0]]}, TypeError, "`X0` must be"),
    "X0 is text": ({"X0": [["a", "b"]]}, TypeError, "`X0` must be"),
    "X0 is None": ({"X0": None}, TypeError, "`X0` must be"),
    "X0 has a NaN": ({"X0": [[1.0, 2.0], [3.0, np.nan]]}, ValueError, "nan in problem 1, at"),
    "X0 is infinite": ({"X0": [[np.inf, 2.0]]}, ValueError, "inf in problem 0, at index 0"),
    "batched is too long": ({"args": 1.0, "batched": [True, False]}, ValueError, ONE_EACH),
    "batched is a number": ({"args": 1.0, "batched": 1}, TypeError, ONE_EACH),
    "batched is None": ({"args": 1.0, "batched": None}, TypeError, ONE_EACH),
    "batched is text": ({"args": 1.0, "batched": "y"}, TypeError, ONE_EACH),
    "batched has numbers": ({"args": 1.0, "batched": [1]}, TypeError, ONE_EACH),
    "no rows": ({"args": 1.0, "batched": True}, TypeError, r"`args\[0\]` must have a row for each"),
    "no length": ({"args": NO_LENGTH, "batched": True}, TypeError, r"type object"),
    "a scalar array": ({"args": np.array(1.0), "batched": True}, TypeError, r"`args\[0\]`"),
    "rows missing": (
        {"args": (1.0, np.ones(3)), "batched": (False, True)},
        ValueError,
        r"`args\[1\]` must have a row for each of the 5 problems, .* got 3",
    ),
    "method is a number": ({"method": 3}, TypeError, "`method` must be a string or None, got int"),
    "method is a function": ({"method": rosen}, TypeError, "`method` must be a string"),
    "method is misspelt": ({"method": "bgfs"}, ValueError, "`method`: did you mean 'bfgs'"),
    "jac is a number": ({"jac": 3}, TypeError, "`jac` must be"),
    "jac is misspelt": ({"jac": "4-point"}, ValueError, "`jac` must be"),
    "bounds are too few": ({"bounds": [(0, 1)]}, ValueError, "`bounds` must be"),
    "bounds are a number": ({"bounds": 3}, TypeError, "`bounds` must be"),
    "bounds cross": ({"bounds": [(1, 0), (0, 1)]}, ValueError, "`bounds` must have no lower"),
    "options of data": (
        {"method": "adam", "options": {"epochs": 3}},
        ValueError,
        "`epochs` must not be among the options without `data`",
    ),
    "gd with bounds": ({"method": "gd", "bounds": [(0, 1)] * 2}, ValueError, "`method` must be"),
    "tol is text": ({"tol": "a"}, TypeError, "`tol` must be"),
    "tol is negative": ({"tol": -1.0}, ValueError, "`tol` must be"),
    "callback is no function": ({"callback": 3}, TypeError, "`callback` must be callable, got 3"),
    "options are a list": ({"options": [1]}, TypeError, "`options` must be a dict, got list"),
    "gtol is text": ({"options": {"gtol": "a"}}, TypeError, "`gtol` must be"),
    "trace": ({"options": {"trace": True}}, ValueError, "`trace` must not be among the options"),
    "all vectors": ({"options": {"return_all": True}}, ValueError, "`return_all` must not be"),
    "workers as option": ({"options": {"workers": 2}}, ValueError, "`workers` must not be"),
    "on_interrupt": ({"options": {"on_interrupt": "x"}}, ValueError, "`on_interrupt` must be"),
    "maxtime": ({"options": {"maxtime": -1}}, ValueError, "`maxtime` must be"),
    "SciPy's maxtime": (
        {"method": "powell", "options": {"maxtime": "a"}},
        TypeError,
        "`maxtime` must be",
    ),
    "SciPy's stopval": ({"method": "powell", "options": {"stopval": 0.0}}, ValueError, "`stopval`"),
    "compile": ({"options": {"compile": 3}}, (TypeError, ValueError), "`compile` must be"),
    "compile a class": ({"options": {"compile": True}}, TypeError, "`fun` must be an @njit"),
    "workers are none": ({"workers": 0}, ValueError, "`workers` must be a positive integer"),
    "workers are negative": ({"workers": -1}, ValueError, "`workers` must be a positive integer"),
    "workers are a half": ({"workers": 0.5}, TypeError, "`workers` must be a positive integer"),
    "workers are True": ({"workers": True}, TypeError, "`workers` must be a positive integer"),
    "workers are a map": ({"workers": map}, TypeError, "`workers` must be a positive integer"),
    "errors": ({"errors": "ignore"}, ValueError, "`errors` must be 'record' or 'raise', got 'ig"),
    "errors are an array": ({"errors": np.zeros(3)}, ValueError, "`errors` must be 'record'"),
    "errors are a list": ({"errors": []}, ValueError, "`errors` must be 'record' or 'raise'"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_arguments_are_named_before_anything_is_evaluated(name):
    arguments, error, message = REFUSED[name]
    before = threading.active_count()
    with pytest.raises(error, match=message):
        minimize_many(**{"fun": Untouched(), "X0": STARTS, **arguments})
    assert threading.active_count() == before
