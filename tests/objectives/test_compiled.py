"""@njit and C functions as objectives: the same bits, any arguments, errors that come out whole."""

import ctypes
import gc
import math
import pickle
import threading
import weakref
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest
from numba import carray, jit, njit, types
from numba.core import types as core_types
from numba.core.errors import TypingError
from numba.experimental import jitclass
from numba.typed import Dict, List
from scipy import LowLevelCallable

import fastopt
from fastopt.interface import solver as solver_module
from fastopt.interface.methods import METHODS
from fastopt.objectives import wrappers
from fastopt.objectives.bodies import SIGNATURE
from fastopt.objectives.source import compiled_objective, is_parallel
from fastopt.objectives.wrappers import compile_wrapper, known_wrapper
from fastopt.solvers.state import SolverState
from tests.solvers.conftest import OWN, SHARED
from tests.step_lengths import step_length

SETTINGS = {**SHARED, **OWN["bfgs"]}
FORMS = ("joint", "separate", "inplace", "2-point", "3-point", "cs", "default")


# --- a function in every form ----------------------------------------------------------------


@njit
def value(x, weight, shift):
    """Rosenbrock's chained function, and a quartic: analytic, so that complex steps are right."""
    total = 0.0 * x[0]
    for i in range(x.size - 1):
        ahead = x[i + 1] - x[i] * x[i]
        total += weight * ahead * ahead + (1.0 - x[i]) * (1.0 - x[i])
    for i in range(x.size):
        from_shift = x[i] - shift[i % shift.size]
        total += 0.1 * from_shift * from_shift * from_shift * from_shift
    return total


@njit
def gradient(x, weight, shift):
    slopes = np.zeros(x.size)
    for i in range(x.size - 1):
        ahead = x[i + 1] - x[i] * x[i]
        slopes[i] += -4.0 * weight * ahead * x[i] - 2.0 * (1.0 - x[i])
        slopes[i + 1] += 2.0 * weight * ahead
    for i in range(x.size):
        from_shift = x[i] - shift[i % shift.size]
        slopes[i] += 0.4 * from_shift * from_shift * from_shift
    return slopes


@njit
def joint(x, weight, shift):
    return value(x, weight, shift), gradient(x, weight, shift)


@njit
def inplace(x, grad, weight, shift):
    if grad.size:
        grad[:] = gradient(x, weight, shift)
    return value(x, weight, shift)


def in_form(form):
    """The function and `jac` in one of the forms."""
    if form == "joint":
        return joint, True
    if form == "inplace":
        return inplace, "inplace"
    return value, {"separate": gradient, "default": None}.get(form, form)


ARGS = (50.0, np.array([0.5, -0.25]))


def start(n):
    return np.resize([-1.2, 1.0, 0.3], n)


def both_ways(form, method="bfgs", n=2, **options):
    fun, jac = in_form(form)
    options = {**step_length(method, 1e-3), **options}
    return [
        fastopt.minimize(fun, start(n), ARGS, method, jac, options={**options, "compile": compiled})
        for compiled in (False, True)
    ]


def assert_same_bits(first, second):
    for name in ("x", "fun", "jac", "nit", "nfev", "njev", "status"):
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_compiled_and_interpreted_solves_are_the_same_to_the_bit(form, method, n):
    interpreted, compiled = both_ways(form, method, n, maxiter=60)
    assert_same_bits(interpreted, compiled)
    assert compiled.nit > 1


@pytest.mark.parametrize("form", ["2-point", "3-point", "cs"])
@pytest.mark.parametrize("steps", [1e-4, np.array([1e-5, -1e-6])])
def test_steps_of_differences_are_the_same_to_the_bit(form, steps):
    assert_same_bits(*both_ways(form, finite_diff_rel_step=steps))


@pytest.mark.parametrize("steps", [1e-4, np.array([1e-5, -1e-6])])
def test_absolute_steps_are_the_same_to_the_bit(steps):
    assert_same_bits(*both_ways("default", eps=steps))


def test_slices_and_threads_change_no_bit(monkeypatch):
    whole, _ = both_ways("joint")
    monkeypatch.setattr("fastopt.interface.solver.THREAD_SECONDS", 0.0)
    solver = fastopt.Solver(joint, start(2), ARGS, jac=True, options={"compile": True})
    while solver.advance(3):
        assert threading.active_count() >= 1
    assert_same_bits(whole, solver.result())


@pytest.mark.parametrize(("times", "in_a_thread"), [(2.0, False), (40.0, False), (1e3, True)])
def test_a_thread_is_started_where_x0_takes_far_longer_than_expected(
    monkeypatch, times, in_a_thread
):
    """And not for what may be chance, or for a few iterations: the clock here says what each call
    of the solver takes."""

    @njit
    def fun(x):
        return (x * x).sum(), 2.0 * x

    options = {"compile": True, "lr": 0.01}
    first = fastopt.minimize(fun, start(2), jac=True, method="gd", options=options)
    assert first.nit > 100
    expected = 1e-5
    known_wrapper(fun, True, ()).pace.note(expected, 2, 1)
    now = [0.0]
    interruptible = solver_module.interruptible
    threads = []

    class Slow(SolverState):
        def advance(self, *arguments, **keywords):
            now[0] += times * expected
            return super().advance(*arguments, **keywords)

    def watched(*arguments):
        threads.append(arguments)
        return interruptible(*arguments)

    monkeypatch.setattr(solver_module, "SolverState", Slow)
    monkeypatch.setattr(solver_module, "interruptible", watched)
    monkeypatch.setattr(solver_module, "perf_counter", lambda: now[0])
    solver = fastopt.Solver(fun, start(2), jac=True, method="gd", options=options)
    assert solver.advance(50)
    assert solver.result().nit == 50
    assert bool(threads) == in_a_thread
    assert_same_bits(first, solver.run())


def test_a_solve_changes_over_to_the_compiled_function_without_a_trace(monkeypatch):
    @njit
    def fun(x, weight, shift):
        return joint(x, weight, shift)

    monkeypatch.setattr("fastopt.objectives.source.PAYS_AFTER", 10)
    solver = fastopt.Solver(fun, start(2), ARGS, jac=True)
    assert solver.advance(2)
    assert known_wrapper(fun, True, ARGS) is None
    while solver.advance(2):
        pass
    assert known_wrapper(fun, True, ARGS) is not None
    assert_same_bits(both_ways("joint")[0], solver.result())


def test_no_time_is_enough_for_x0_and_for_no_more():
    for _ in range(2):  # the second time its pace is known
        result = fastopt.minimize(
            joint, start(2), ARGS, jac=True, options={"compile": True, "maxtime": 0}
        )
        assert (result.nit, result.nfev) == (0, 1)
        fastopt.minimize(joint, start(2), ARGS, jac=True, options={"compile": True})


def test_a_short_solve_compiles_nothing_and_the_calls_of_many_add_up(monkeypatch):
    @njit
    def fun(x):
        return (x**2).sum(), 2.0 * x

    result = fastopt.minimize(fun, [3.0, 4.0], jac=True)
    assert known_wrapper(fun, True, ()) is None
    monkeypatch.setattr("fastopt.objectives.source.PAYS_AFTER", 5 * result.nfev)
    for _ in range(4):
        assert known_wrapper(fun, True, ()) is None
        fastopt.minimize(fun, [3.0, 4.0], jac=True)
    assert known_wrapper(fun, True, ()) is not None


def test_what_cannot_be_compiled_goes_on_in_the_interpreter(monkeypatch):
    @njit
    def fun(x):
        return (x**2).sum()

    @njit
    def jac(x):
        return [2.0 * x[0], 2.0 * x[1]]  # a list: the interpreter takes it

    monkeypatch.setattr("fastopt.objectives.source.PAYS_AFTER", 1)
    assert fastopt.minimize(fun, [3.0, 4.0], jac=jac).success
    with pytest.raises(TypeError, match=r"`jac` must return a flat array of real numbers, got"):
        fastopt.minimize(fun, [3.0, 4.0], jac=jac, options={"compile": True})


# --- arguments -------------------------------------------------------------------------------

Pair = namedtuple("Pair", "first second")


@njit
def double_it(number):
    return 2.0 * number


@jitclass([("level", numba.float64)])
class Box:
    def __init__(self, level):
        self.level = level


def numbers_in(*items):
    typed = List()
    for item in items:
        typed.append(item)
    return typed


def table(**entries):
    typed = Dict.empty(core_types.unicode_type, core_types.float64)
    for name, entry in entries.items():
        typed[name] = entry
    return typed


ONE_SECOND = np.timedelta64(1, "s")
RECORDS = np.array([(1.5, 2), (2.5, 3)], dtype=[("level", "f8"), ("count", "i4")])
CUBE = np.arange(24.0).reshape(2, 3, 4)

# An argument, and a jitted function that makes a number of it.
ARGUMENTS = {
    "float": (2.5, njit(lambda a: a)),
    "int": (7, njit(lambda a: a)),
    "large int": (2**62, njit(lambda a: a % 1000)),
    "bool": (True, njit(lambda a: 3.0 if a else 4.0)),
    "complex": (1.5 - 2j, njit(lambda a: a.real + 10 * a.imag)),
    "float32": (np.float32(1.1), njit(lambda a: a)),
    "int8": (np.int8(-5), njit(lambda a: a)),
    "uint64": (np.uint64(2**63), njit(lambda a: a / 2.0**60)),
    "numpy bool": (np.bool_(True), njit(lambda a: 3.0 if a else 4.0)),
    "datetime": (np.timedelta64(5, "s"), njit(lambda a: a / ONE_SECOND)),
    "none": (None, njit(lambda a: 1.0 if a is None else 2.0)),
    "vector": (np.array([1.0, 2.0, 4.0]), njit(lambda a: a[0] + 10 * a[2])),
    "float32 array": (np.array([1.1, 2.2], np.float32), njit(lambda a: a[0] + 10 * a[1])),
    "int array": (np.array([3, -4]), njit(lambda a: a[0] + 10 * a[1])),
    "bool array": (np.array([True, False]), njit(lambda a: a[0] + 10 * a[1])),
    "complex array": (np.array([1j, 2.0]), njit(lambda a: a[0].imag + 10 * a[1].real)),
    "cube": (CUBE, njit(lambda a: a[1, 2, 3] + 100 * a[0, 1, 2])),
    "fortran": (np.asfortranarray(CUBE), njit(lambda a: a[1, 2, 3] + 100 * a[0, 1, 2])),
    "strided": (CUBE[:, ::2, ::-1], njit(lambda a: a[1, 1, 3] + 100 * a[0, 1, 2])),
    "transposed": (CUBE.T, njit(lambda a: a[3, 2, 1] + 100 * a[2, 1, 0])),
    "empty": (np.empty((0, 3)), njit(lambda a: a.shape[0] + 10 * a.shape[1])),
    "zero-dimensional": (np.array(2.5), njit(lambda a: a[()])),
    "read-only": (np.broadcast_to(np.arange(3.0), (2, 3)), njit(lambda a: a[1, 2])),
    "records": (RECORDS, njit(lambda a: a[0].level + 10 * a[1].count)),
    "record": (RECORDS[1], njit(lambda a: a.level + 10 * a.count)),
    "tuple": ((1, 2.5, (True, np.ones(3))), njit(lambda a: a[0] + a[1] + a[2][1].sum() * a[2][0])),
    "uniform tuple": ((1.0, 2.0, 4.0), njit(lambda a: a[0] + 10 * a[2])),
    "tuple of bools": ((True, False, True), njit(lambda a: a[0] + 10 * a[1] + 100 * a[2])),
    "empty tuple": ((), njit(lambda a: len(a) + 1.0)),
    "named tuple": (Pair(2.0, np.arange(3)), njit(lambda a: a.first + a.second[2])),
    "function": (double_it, njit(lambda a: a(3.0))),
    "string": ("abc", njit(lambda a: len(a) + 10.0 * (a == "abc"))),
    "typed list": (numbers_in(1.0, 4.0), njit(lambda a: a[0] + 10 * a[1])),
    "list of arrays": (
        numbers_in(np.ones(2), np.arange(3.0)),
        njit(lambda a: a[0][1] + 10 * a[1][2]),
    ),
    "typed dict": (table(a=2.0, b=3.0), njit(lambda a: a["a"] + 10 * a["b"])),
    "jitted class": (Box(2.5), njit(lambda a: a.level)),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_of_any_type_arrive(name):
    argument, read = ARGUMENTS[name]

    @njit
    def fun(x, before, argument, after):
        miss = x[0] - read(argument)
        return miss * miss + before + after, np.array([2.0 * miss])

    expected = read(argument)
    options = {"compile": True, "gtol": 1e-12}
    result = fastopt.minimize(fun, 0.0, (1.0, argument, 3.0), jac=True, options=options)
    assert result.fun == pytest.approx(4.0)
    assert result.x[0] == pytest.approx(expected, abs=1e-9)


def test_defaults_and_starred_parameters_are_filled_in():
    @njit
    def fun(x, target=3.0, *more):
        miss = x[0] - target - len(more)
        return miss * miss, np.array([2.0 * miss])

    for args, expected in (((), 3.0), ((5.0,), 5.0), ((5.0, 1, 2.0), 7.0)):
        result = fastopt.minimize(fun, 0.0, args, jac=True, options={"compile": True})
        assert result.x[0] == pytest.approx(expected)


@pytest.mark.parametrize("args", [(), (1.0,), (1.0, 2.0), (1.0, 2), (np.ones(2), 2.0)])
@pytest.mark.parametrize("form", ["2-point", "inplace"])
def test_starred_parameters_of_any_number_and_kind_arrive(args, form):
    @njit
    def fun(x, *args):
        return ((x - 1.0) ** 2).sum() + len(args)

    @njit
    def filling(x, grad, *args):
        if grad.size:
            grad[:] = 2.0 * (x - 1.0)
        return fun(x, *args)

    function = filling if form == "inplace" else fun
    compiled, interpreted = (
        fastopt.minimize(function, start(2), args, jac=form, options={"compile": compile})
        for compile in (True, False)
    )
    assert_same_bits(compiled, interpreted)
    assert compiled.fun == pytest.approx(len(args))


def test_a_function_with_a_signature_of_its_own_gets_what_it_declares():
    @njit("Tuple((float64, float64[:]))(float64[:], float64)")
    def fun(x, target):
        return ((x - target) ** 2).sum(), 2.0 * (x - target)

    result = fastopt.minimize(fun, [0.0, 1.0], (3,), jac=True, options={"compile": True})
    np.testing.assert_allclose(result.x, 3.0)


def test_arguments_are_not_written_to_nor_kept():
    shift = np.array([0.5, -0.25])
    shift.flags.writeable = False
    references = shift.__array_interface__, gc.get_referrers(shift)
    fun, jac = in_form("joint")
    fastopt.minimize(fun, start(2), (50.0, shift), jac=jac, options={"compile": True})
    alive = weakref.ref(shift)
    del shift, references
    gc.collect()
    assert alive() is None


def test_x_is_the_users_to_write_to():
    @njit
    def scribble(x, weight, shift):
        pair = joint(x, weight, shift)
        x[:] = np.nan
        return pair

    untouched, _ = both_ways("joint")
    result = fastopt.minimize(scribble, start(2), ARGS, jac=True, options={"compile": True})
    assert_same_bits(untouched, result)


def test_x_is_the_users_to_keep():
    kept = List.empty_list(types.float64[::1])

    @njit
    def keep(x, kept):
        kept.append(x)
        return (x**2).sum(), 2.0 * x

    result = fastopt.minimize(keep, [3.0, 4.0], (kept,), jac=True, options={"compile": True})
    assert len(kept) == result.nfev
    np.testing.assert_array_equal(kept[0], [3.0, 4.0])
    assert any((point == result.x).all() for point in kept)


# --- errors ----------------------------------------------------------------------------------


class OwnError(Exception):
    pass


@njit
def check_limit(x, limit):
    if x > limit:
        raise OwnError("beyond the limit", 42)


@njit
def raising(x, limit):
    check_limit(x[0], limit)
    return -x.sum(), np.full(x.size, -1.0)


@njit
def raising_with_a_number(x, limit):
    if x[0] > limit:
        raise ValueError("x is", x[0])
    return -x.sum(), np.full(x.size, -1.0)


def test_an_exception_comes_out_as_the_users_own():
    with pytest.raises(OwnError, match="beyond the limit") as caught:
        fastopt.minimize(raising, [0.0, 1.0], (10.0,), jac=True, options={"compile": True})
    assert caught.value.args == ("beyond the limit", 42)


def test_an_exception_carries_the_numbers_of_its_point():
    found = []
    for compiled in (False, True):
        with pytest.raises(ValueError, match="x is") as caught:
            fastopt.minimize(
                raising_with_a_number, [0.0], (10.0,), jac=True, options={"compile": compiled}
            )
        found.append(caught.value.args)
    assert found[0] == found[1]
    assert found[0][1] > 10.0


@pytest.mark.parametrize("form", ["separate", "inplace", "2-point", "3-point", "cs"])
def test_an_exception_comes_out_of_every_form(form):
    @njit
    def fun(x, limit):
        if x[0].real > limit:
            raise OwnError("beyond")
        return -x[0] * 1.0

    @njit
    def jac(x, limit):
        if x[0] > 0.5 * limit:
            raise OwnError("beyond")
        return np.array([-1.0])

    @njit
    def filling(x, grad, limit):
        grad[0] = -1.0
        return fun(x, limit)

    function = filling if form == "inplace" else fun
    with pytest.raises(OwnError, match="beyond"):
        fastopt.minimize(
            function,
            0.0,
            (10.0,),
            jac=jac if form == "separate" else form,
            options={"compile": True},
        )


def refuse_beyond(limit, number):
    if number > limit:
        raise LookupError("from the interpreter")


def test_an_exception_of_the_interpreter_passes_through_compiled_code():
    @njit
    def fun(x):
        with numba.objmode():
            refuse_beyond(10.0, x[0])
        return -x[0], np.array([-1.0])

    with pytest.raises(LookupError, match="from the interpreter"):
        fastopt.minimize(fun, 0.0, jac=True, options={"compile": True})


def test_a_solver_goes_on_after_an_exception():
    broken = np.array([1.0])

    @njit
    def fun(x, broken):
        if x[0] > -0.5 and broken[0] > 0.0:
            raise OwnError("broken")
        return joint(x, 50.0, np.array([0.5, -0.25]))

    solver = fastopt.Solver(fun, start(2), (broken,), jac=True, options={"compile": True})
    with pytest.raises(OwnError):
        solver.run()
    assert np.isfinite(solver.x).all()
    broken[0] = 0.0
    assert solver.run().success


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (njit(lambda x: np.zeros(2)), "`fun` must return a scalar, got an array of 2 numbers"),
        (njit(lambda x: 1j * x[0]), "`fun` must return a real scalar, got complex128"),
        (njit(lambda x: None), "`fun` must return a real scalar, got none"),
        (njit(lambda x: (1.0, 2 * x)), "value and the gradient, pass jac=True"),
        (njit(lambda x: "a"), "`fun` must return a real scalar, got Literal"),
    ],
    ids=["vector", "complex", "none", "pair", "string"],
)
def test_a_value_that_is_none_is_refused(returned, message):
    with pytest.raises((TypeError, ValueError), match=message):
        fastopt.minimize(returned, [1.0, 2.0], jac=gradient_of_two, options={"compile": True})


@njit
def gradient_of_two(x):
    return 2.0 * x


@pytest.mark.parametrize("jit", [jit(forceobj=True), njit("float64(float32[:])")])
def test_what_has_no_compiled_version_is_refused_or_interpreted(jit, monkeypatch):
    fun = jit(lambda x: np.float64(x[0] * x[0]))
    with pytest.raises(TypeError, match=r"`fun` must compile for .* \(array\(float64, 1d, C\)"):
        fastopt.minimize(fun, [1.0], options={"compile": True})
    monkeypatch.setattr("fastopt.objectives.source.PAYS_AFTER", 0)
    monkeypatch.setattr("fastopt.interface.batches.PAYS_AFTER", 0)
    if fun.nopython_signatures:  # then calling it raises as well
        with pytest.raises(TypeError, match="No matching definition"):
            fastopt.minimize(fun, [1.0])
    else:
        assert fastopt.minimize(fun, [1.0]).success
        assert fastopt.minimize_many(fun, np.ones((3, 1))).success.all()


def test_an_array_of_one_number_is_a_value():
    @njit
    def fun(x):
        return np.array([[(x**2).sum()]])

    options = {"compile": True}
    assert fastopt.minimize(fun, [1.0, 2.0], jac=gradient_of_two, options=options).success


@pytest.mark.parametrize(
    ("jac", "message"),
    [
        (njit(lambda x: np.zeros(3)), r"`jac` must return an array of shape \(2,\), got one of 3"),
        (njit(lambda x: 1.0), "`jac` must return a flat array of real numbers, got float64"),
        (
            njit(lambda x: 1j * x),
            "`jac` must return a flat array of real numbers, got array.complex",
        ),
        (njit(lambda x: x.reshape(2, 1)), "`jac` must return a flat array of real numbers"),
    ],
    ids=["too long", "scalar", "complex", "column"],
)
def test_a_gradient_that_is_none_is_refused(jac, message):
    @njit
    def fun(x):
        return (x**2).sum()

    with pytest.raises((TypeError, ValueError), match=message):
        fastopt.minimize(fun, [1.0, 2.0], jac=jac, options={"compile": True})


def test_a_function_without_its_gradient_is_refused_with_jac_true():
    with pytest.raises(
        TypeError, match=r"`fun` must return a pair \(value, gradient\) when jac=True"
    ):
        fastopt.minimize(value, start(2), ARGS, jac=True, options={"compile": True})


def test_an_entry_that_an_inplace_function_forgets_is_noticed():
    @njit
    def fun(x, grad):
        grad[0] = 2.0 * x[0]
        return (x**2).sum()

    result = fastopt.minimize(fun, [1.0, 2.0], jac="inplace", options={"compile": True})
    assert result.status == 3


def test_complex_steps_need_a_function_of_complex_numbers():
    @njit
    def real(x):
        return np.abs(x[0]) ** 2

    @njit
    def ordered(x):
        return max(x[0], 0.0)

    with pytest.raises(TypeError, match=r"complex number at a complex x .* use jac='3-point'"):
        fastopt.minimize(real, 1.0, jac="cs", options={"compile": True})
    with pytest.raises(TypeError, match=r"`fun` must compile for a complex x .* use jac='3-point'"):
        fastopt.minimize(ordered, 1.0, jac="cs", options={"compile": True})


def test_only_numba_functions_can_be_compiled():
    with pytest.raises(TypeError, match="`fun` must be an @njit function to be compiled, got func"):
        fastopt.minimize(lambda x: x @ x, [1.0], options={"compile": True})
    with pytest.raises(TypeError, match="`jac` must be an @njit function to be compiled, got func"):
        fastopt.minimize(
            value, start(2), ARGS, jac=lambda x, *args: 2 * x, options={"compile": True}
        )


def test_what_numba_says_about_the_users_function_is_not_hidden():
    @njit
    def fun(x):
        return x.no_such_attribute

    for compiled in (False, True):
        with pytest.raises(numba.TypingError, match="no_such_attribute"):
            fastopt.minimize(fun, [1.0], jac=True, options={"compile": compiled})


# --- C functions -----------------------------------------------------------------------------


@numba.cfunc(SIGNATURE)
def bowl(x, value, grad, n, context):
    """Both at once: what a C function of ours is asked for, except at no points."""
    points = carray(x, (n,))
    value[0] = ((points - 3.0) ** 2).sum()
    slopes = carray(grad, (n,))
    slopes[:] = 2.0 * (points - 3.0)
    return 0


@numba.cfunc(SIGNATURE)
def bowl_with_data(x, value, grad, n, context):
    target = carray(context, (1,), np.float64)[0]
    value[0] = (x[0] - target) ** 2
    grad[0] = 2.0 * (x[0] - target)
    return 0


def answering(answer):
    return numba.cfunc(SIGNATURE)(lambda x, value, grad, n, context: answer)


@numba.cfunc(SIGNATURE)
def failing(x, value, grad, n, context):
    value[0] = -x[0]
    grad[0] = -1.0
    return 1 if x[0] > 10.0 else 0


@numba.cfunc(SIGNATURE)
def stopping(x, value, grad, n, context):
    value[0] = -x[0]
    grad[0] = -1.0
    return 2 if x[0] > 10.0 else 0


def test_a_cfunc_is_taken_as_it_is():
    result = fastopt.minimize(bowl, [0.0, 1.0], jac=True)
    np.testing.assert_allclose(result.x, 3.0)
    assert result.success


def test_a_low_level_callable_brings_its_data():
    target = ctypes.c_double(2.5)
    data = ctypes.cast(ctypes.pointer(target), ctypes.c_void_p)
    function = LowLevelCallable(bowl_with_data.ctypes, data)
    assert fastopt.minimize(function, 0.0, jac=True).x[0] == pytest.approx(2.5)


def test_a_c_function_that_fails_is_an_error_and_one_that_stops_an_ending():
    with pytest.raises(RuntimeError, match="answered 1"):
        fastopt.minimize(failing, 0.0, jac=True)
    for answer in (-1, 3, 255):
        with pytest.raises(RuntimeError, match=f"answered {answer}: its code has failed"):
            fastopt.minimize(answering(answer), 0.0, jac=True)
    result = fastopt.minimize(stopping, 0.0, jac=True)
    assert (result.status, result.success) == (8, False)
    assert 0.0 < result.x[0] <= 10.0


def test_c_functions_of_other_types_and_uses_are_refused():
    other = numba.cfunc("float64(float64)")(lambda x: x)
    with pytest.raises(TypeError, match=r"`fun` must be a C function of the type .*, got 'double"):
        fastopt.minimize(other, 0.0, jac=True)
    with pytest.raises(ValueError, match="`jac` must be True when `fun` is a C function"):
        fastopt.minimize(bowl, 0.0)
    with pytest.raises(ValueError, match="`args` must be empty when `fun` is a C function"):
        fastopt.minimize(bowl, 0.0, (1.0,), jac=True)
    with pytest.raises(TypeError, match="`fun` must be callable from Python where SciPy solves"):
        fastopt.minimize(bowl, 0.0, method="tnc", jac=True, bounds=[(0, 1)])


# --- life and threads ------------------------------------------------------------------------


def test_wrappers_are_found_again_and_die_with_their_function():
    @njit
    def fun(x):
        return (x**2).sum(), 2.0 * x

    first = compile_wrapper(fun, True, ())
    assert compile_wrapper(fun, True, ()) is first
    assert known_wrapper(fun, True, (1.0,)) is None
    ends = weakref.ref(fun), weakref.ref(first)
    del fun, first
    gc.collect()
    assert [end() for end in ends] == [None, None]


@pytest.mark.parametrize("form", ["separate", "joint", "2-point", "3-point", "cs"])
def test_functions_that_refer_to_each_other_die_with_their_wrapper(form):
    ends = wrapped_once(form)
    gc.collect()
    assert [end() for end in ends] == [None] * 4


def wrapped_once(form):
    @njit
    def fun(x):
        return (x * x).sum()

    @njit
    def slopes(x):
        return 2.0 * x + 0.0 * fun(x)

    @njit
    def both(x):
        return fun(x), slopes(x)

    objective, jac = {"separate": (fun, slopes), "joint": (both, True)}.get(form, (fun, form))
    wrapper = compile_wrapper(objective, jac, ())
    return [weakref.ref(each) for each in (fun, slopes, both, wrapper)]


def test_wrappers_of_functions_that_come_and_go_do_not_pile_up():
    @njit
    def fun(x, target):
        return ((x - target) ** 2).sum(), 2.0 * (x - target)

    limit = 32
    wrapper = compile_wrapper(fun, True, (1.0,))
    kept = fun._fastopt_wrappers
    for stale in range(2 * limit):
        kept.setdefault(("stale", stale), wrapper)
    compile_wrapper(fun, True, (1,))
    assert len(kept) <= limit


def test_a_solver_of_a_jitted_function_pickles_and_goes_on_with_the_same_bits():
    whole = fastopt.minimize(joint, start(2), ARGS, jac=True)
    solver = fastopt.Solver(joint, start(2), ARGS, jac=True, options={"compile": True})
    solver.advance(5)
    assert_same_bits(whole, pickle.loads(pickle.dumps(solver)).run())
    assert_same_bits(whole, solver.run())


def test_an_objective_stops_when_another_thread_asks(recwarn):
    @njit
    def slow(x):
        total = 0.0
        for i in range(3_000_000):
            total += math.sin(i * x[0]) * 1e-9
        return total + x.sum() ** 2

    objective = compiled_objective(slow, "3-point", (), 2000)
    state = SolverState("bfgs", np.ones(2000), SETTINGS)
    threading.Timer(0.2, objective.stop).start()
    assert state.advance(objective, 1, release=True)
    assert state.stopped
    objective.stop(False)


def test_threads_share_a_function_and_get_the_same_bits():
    whole = fastopt.minimize(joint, start(40), ARGS, jac=True)
    results = []

    def solve():
        for _ in range(20):
            results.append(
                fastopt.minimize(joint, start(40), ARGS, jac=True, options={"compile": True})
            )

    threads = [threading.Thread(target=solve) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 160
    for result in results:
        assert_same_bits(whole, result)


def test_nothing_is_left_in_numbas_memory():
    from numba.core.runtime import _nrt_python, rtsys

    kept = List.empty_list(types.float64[::1])
    kept.append(np.ones(2))

    @njit
    def fun(x, kept, limit):
        if x[0] > limit:
            raise OwnError("beyond")
        return -x[0] + 0.0 * kept[0][0], np.array([-1.0])

    def solve(limit):
        with pytest.raises(OwnError):
            fastopt.minimize(fun, 0.0, (kept, limit), jac=True, options={"compile": True})

    solve(10.0)
    _nrt_python.memsys_enable_stats()
    try:
        before = rtsys.get_allocation_stats()
        for _ in range(10):
            solve(10.0)
        gc.collect()
        after = rtsys.get_allocation_stats()
    finally:
        _nrt_python.memsys_disable_stats()
    assert after.alloc - before.alloc == after.free - before.free
    assert after.mi_alloc - before.mi_alloc == after.mi_free - before.mi_free


def test_complex_steps_survive_numbas_powers():
    @njit
    def fun(x):
        return ((x + 2.0) ** 4).sum() + (x**2).sum()

    for compiled in (False, True):
        result = fastopt.minimize(
            fun, [-3.0, -5.0], jac="cs", options={"compile": compiled, "gtol": 1e-7}
        )
        assert result.success
        np.testing.assert_allclose(4 * (result.x + 2.0) ** 3 + 2 * result.x, 0.0, atol=1e-6)


def test_a_function_that_is_compiled_anew_is_wrapped_anew():
    namespace = {"njit": njit, "centre": 1.0}
    exec("@njit\ndef fun(x): return ((x - centre) ** 2).sum()", namespace)
    fun = namespace["fun"]
    options = {"compile": True}
    assert fastopt.minimize(fun, [0.0], options=options).x[0] == pytest.approx(1.0)
    namespace["centre"] = 5.0
    fun.recompile()
    assert fastopt.minimize(fun, [0.0]).x[0] == pytest.approx(5.0)
    assert fastopt.minimize(fun, [0.0], options=options).x[0] == pytest.approx(5.0)


def test_an_array_that_the_interpreter_keeps_has_an_owner():
    kept = []

    def keep(array):
        kept.append(array)

    @njit
    def fun(x, y):
        with numba.objmode():
            keep(y)
        return ((x - y[0]) ** 2).sum()

    data = np.full(500_000, 7.0)
    fastopt.minimize(fun, [0.0], args=(data,), options={"compile": True, "maxiter": 1})
    assert kept
    del data
    gc.collect()
    np.full(500_000, 1.0)  # would be put where the data were, if they were gone
    assert all((array == 7.0).all() for array in kept)


def test_arrays_that_an_inplace_function_keeps_are_its_own():
    kept = List.empty_list(types.float64[::1])

    @njit
    def fun(x, grad, kept):
        if grad.size > 0:
            grad[:] = 2.0 * x
            kept.append(grad)
        kept.append(x)
        return (x * x).sum()

    @njit
    def solve(x0, kept):
        options = fastopt.Options(maxiter=1)
        return fastopt.minimize(fun, x0, (kept,), "l-bfgs", "inplace", options=options)

    options = {"compile": True, "maxiter": 1}
    fastopt.minimize(fun, np.full(100_000, 7.0), (kept,), "l-bfgs", "inplace", options=options)
    solve(np.full(100_000, 7.0), kept)
    gc.collect()
    np.zeros(100_000)
    assert (kept[0] == 14.0).all()
    assert (kept[1] == 7.0).all()
    half = len(kept) // 2
    assert (kept[half] == 14.0).all()
    assert (kept[half + 1] == 7.0).all()


def test_a_known_wrapper_is_not_taken_for_arguments_of_another_byte_order():
    @njit
    def fun(x, centre):
        return ((x - centre) ** 2).sum()

    options = {"compile": True}
    centre = np.arange(3.0)
    fastopt.minimize(fun, start(3), centre, options=options)
    swapped = centre.astype(centre.dtype.newbyteorder())
    for compile in (True, False, "auto"):
        with pytest.raises((TypeError, TypingError)):
            fastopt.minimize(fun, start(3), swapped, options={"compile": compile})
    with pytest.raises(TypeError, match=r"`args\[1\]` must be of a type that Numba knows, got an"):
        fastopt.minimize(fun, start(3), (centre, {}), options=options)


@pytest.mark.parametrize("attributes", [{"__slots__": ()}, {"__hash__": None}])
def test_a_gradient_that_is_any_callable_goes_with_a_known_function(attributes):
    @njit
    def fun(x):
        return (x * x).sum()

    gradient = type("Gradient", (), {"__call__": lambda self, x: 2.0 * x, **attributes})()
    for _ in range(2):
        assert fastopt.minimize(fun, start(3), jac=gradient).success
        fastopt.minimize(fun, start(3), options={"compile": True})


def test_threads_that_need_a_wrapper_at_once_compile_it_once(monkeypatch):
    @njit
    def fun(x):
        return (x * x).sum()

    built = []
    build = wrappers.build_wrapper
    monkeypatch.setattr(
        wrappers, "build_wrapper", lambda *given: (built.append(given), build(*given))[1]
    )
    fun(np.ones(2))
    with ThreadPoolExecutor(6) as pool:
        found = set(pool.map(lambda _: compile_wrapper(fun, "2-point", ()), range(6)))
    assert len(found) == len(built) == 1


def test_a_parallel_function_further_down_keeps_threads_apart():
    @njit(parallel=True)
    def deep(x):
        total = 0.0
        for i in numba.prange(1000):
            total += (x[i % x.size] - 1.0) ** 2
        return total

    @njit
    def fun(x):
        return deep(x)

    assert compile_wrapper(fun, "2-point", ()).exclusive
    assert compiled_objective(fun, "2-point", (), 2) is not None
    assert is_parallel(fun, released=True)
    assert not is_parallel(fun)  # it holds the GIL
    assert not is_parallel(joint, released=True)
