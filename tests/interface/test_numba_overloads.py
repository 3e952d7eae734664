"""`minimize` inside @njit code: the same bits as from Python, and what it refuses."""

import gc
import math
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numba
import numpy as np
import pytest
from numba import njit, prange, types
from numba.core.runtime import _nrt_python, rtsys
from numba.typed import List

import fastopt
from fastopt.interface.methods import METHODS
from fastopt.interface.tuples import CompiledResult, Options
from tests.objectives import chained
from tests.objectives.test_compiled import ARGS, ARGUMENTS, FORMS, in_form, start
from tests.step_lengths import step_length

FIELDS = ("x", "fun", "jac", "nit", "nfev", "njev", "nhev", "status", "success")


@cache
def caller(form):
    """A compiled function that minimises the function of this form, by any method."""
    fun, jac = in_form(form)

    @njit
    def solve(x0, args, method, options):
        return fastopt.minimize(fun, x0, args, method, jac, options=options)

    return solve


def assert_same(expected, found):
    for name in FIELDS:
        np.testing.assert_array_equal(expected[name], getattr(found, name), err_msg=name)


def assert_both_ways_same(form, method, n, options):
    """Solve in Python and in compiled code; what is found is the same to the bit."""
    if math.isnan(options.lr):
        options = options._replace(**step_length(method, 1e-3))
    known = {
        name: value for name, value in options.given().items() if name in METHODS[method].options
    }
    fun, jac = in_form(form)
    expected = fastopt.minimize(fun, start(n), ARGS, method, jac, options=known)
    found = caller(form)(start(n), ARGS, method, options)
    assert_same(expected, found)
    return found


@njit
def bowl(x, centre):
    total = 0.0
    for i in range(x.size):
        total += (x[i] - centre[i]) ** 2
    return total


@njit
def bowl_gradient(x, centre):
    return 2.0 * (x - centre)


@njit
def bowl_pair(x, centre):
    return bowl(x, centre), bowl_gradient(x, centre)


@njit
def large(x, centre):
    return np.ones((x.size + 1, x.size))


@njit
def long(x, p, centre):
    return np.ones(x.size + 1)


@njit
def refusing(x, centre):
    if x[0] != -12345.0:
        raise ArithmeticError("no Hessian")
    return np.eye(x.size)


CENTRE = np.array([3.0, -4.0])


# --- the same bits ---------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_result_is_that_of_python_to_the_bit(form):
    for method in METHODS:
        for n in (1, 2, 10, 100):
            found = assert_both_ways_same(form, method, n, Options(maxiter=60))
            assert found.nit > 1
            assert type(found) is CompiledResult


@pytest.mark.parametrize("n", [1, 2, 10, 120])
@pytest.mark.parametrize("method", [name for name, row in METHODS.items() if row.second_order])
def test_second_derivatives_change_no_bit_either(method, n):
    @njit
    def by_hess(x0, stiffness):
        return fastopt.minimize(chained.value, x0, (stiffness,), method, chained.grad, chained.hess)

    @njit
    def by_product(x0, stiffness):
        return fastopt.minimize(
            chained.value, x0, (stiffness,), method, chained.grad, hessp=chained.hessp
        )

    for solve, second in (
        (by_hess, {"hess": chained.hess}),
        (by_product, {"hessp": chained.hessp}),
    ):
        x0 = chained.start(n)
        expected = fastopt.minimize(chained.value, x0, (100.0,), method, chained.grad, **second)
        assert_same(expected, solve(x0, 100.0))
        assert expected.nhev > 0 or n == 1


def test_a_method_chosen_at_run_time_takes_second_derivatives_if_it_can():
    @njit
    def solve(x0, method):
        return fastopt.minimize(
            chained.value, x0, (100.0,), method, chained.grad, chained.hess, chained.hessp
        )

    second = {"hess": chained.hess, "hessp": chained.hessp}
    for name, row in METHODS.items():
        if row.rule:
            continue
        x0 = chained.start(3)
        known = second if row.second_order else {}
        expected = fastopt.minimize(chained.value, x0, (100.0,), name, chained.grad, **known)
        assert_same(expected, solve(x0, name))


@pytest.mark.parametrize("method", [None, *METHODS, "L-BFGS-B"])
def test_a_method_that_is_known_when_compiled_changes_no_bit(method):
    fun, jac = in_form("joint")

    @njit
    def solve(x0, args, options):
        return fastopt.minimize(fun, x0, args, method=method, jac=True, options=options)

    options = Options(maxiter=30, **step_length(method, 1e-3))
    expected = fastopt.minimize(fun, start(3), ARGS, method, jac, options=options)
    assert_same(expected, solve(start(3), ARGS, options))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", [None, "l-bfgs", "L-BFGS-B"])
def test_bounds_change_no_bit(form, method):
    fun, jac = in_form(form)
    low, high = np.array([0.5, -np.inf, 0.25]), np.array([2.0, 0.75, 0.25])
    pairs = np.stack((low, high), axis=1)

    @njit
    def in_vectors(x0, args, low, high):
        return fastopt.minimize(fun, x0, args, method, jac, bounds=(low, high))

    @njit
    def in_pairs(x0, args, pairs):
        return fastopt.minimize(fun, x0, args, method, jac, bounds=pairs)

    expected = fastopt.minimize(fun, start(3), ARGS, method, jac, bounds=pairs)
    assert expected.method == "l-bfgs-b"
    assert_same(expected, in_vectors(start(3), ARGS, low, high))
    assert_same(expected, in_pairs(start(3), ARGS, pairs))
    assert_same(expected, in_pairs(start(3), ARGS, np.asfortranarray(pairs)))
    endless = np.full((3, 2), np.inf) * [-1, 1]
    expected = fastopt.minimize(fun, start(3), ARGS, "l-bfgs", jac)
    assert_same(expected, in_pairs(start(3), ARGS, endless))


@pytest.mark.parametrize(
    ("bounds", "method", "message"),
    [
        (np.zeros((2, 2)), "l-bfgs", "got other numbers"),
        (np.zeros((3, 3)), "l-bfgs", "got other numbers"),
        (np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]), "l-bfgs", "no lower bound above"),
        (np.full((3, 2), np.nan), "l-bfgs", "no NaN"),
        (np.array([[0.0, 1.0]] * 3), "bfgs", "`method` must be one that takes bounds"),
    ],
)
def test_bounds_that_cannot_be_are_refused_at_run_time(bounds, method, message):
    fun, _ = in_form("joint")

    @njit
    def solve(x0, args, method, bounds):
        return fastopt.minimize(fun, x0, args, method, True, bounds=bounds)

    with pytest.raises(ValueError, match=message):
        solve(start(3), ARGS, method, bounds)


@pytest.mark.parametrize("name", ["BFGS", "L-BFGS-B", "l-bfgs-b", "Adam"])
def test_a_method_chosen_at_run_time_goes_by_any_of_its_names(name):
    fun, jac = in_form("joint")
    expected = fastopt.minimize(fun, start(3), ARGS, name, jac, options={"maxiter": 9})
    assert_same(expected, caller("joint")(start(3), ARGS, name, Options(maxiter=9)))


@pytest.mark.parametrize(
    "name", ["", "b", "bfg", "bfgs ", "l-bfgs-b-", "bfgs l-bfgs", "\uff42fgs", "\U0001d41bfgs"]
)
def test_an_unknown_method_is_refused_at_run_time(name):
    with pytest.raises(ValueError, match=r"`method` must be one of 'bfgs', .* got another"):
        caller("joint")(start(3), ARGS, name, Options())


@pytest.mark.parametrize("form", ["2-point", "3-point", "cs", "default"])
@pytest.mark.parametrize("step", ["finite_diff_rel_step", "eps"])
def test_steps_of_differences_are_those_of_python(form, step):
    for method in ("bfgs", "l-bfgs", "gd"):
        assert_both_ways_same(form, method, 3, Options(maxiter=9, **{step: -1e-4}))


STOPS = {
    "gtol": Options(gtol=1e-2),
    "norm": Options(gtol=1.0, norm=-math.inf),
    "ftol": Options(ftol=1e-2, gtol=0),
    "xtol": Options(xtol=1e-2, gtol=0),
    "stopval": Options(stopval=10.0),
    "maxiter": Options(maxiter=3),
    "maxiter 0": Options(maxiter=0),
    "maxfev": Options(maxfev=5),
    "maxtime": Options(maxtime=0),
    "line search": Options(c1=0.3, c2=0.4, maxls=5),
    "memory": Options(maxcor=2),
    "no limit": Options(maxiter=math.inf, maxfev=math.inf, maxtime=math.inf),
}


@pytest.mark.parametrize("name", STOPS)
def test_options_mean_what_they_do_in_python(name):
    found = assert_both_ways_same("joint", "l-bfgs", 4, STOPS[name])
    plain = assert_both_ways_same("joint", "l-bfgs", 4, Options())
    assert name == "no limit" or (found.nit, found.nfev) != (plain.nit, plain.nfev)


@pytest.mark.parametrize("l1", [0.0, 0.5, 1e3])
def test_the_weight_of_an_l1_term_is_that_of_python(l1):
    found = assert_both_ways_same("joint", "fista", 4, Options(l1=l1))
    assert l1 < 1e3 or (found.x == 0).all()
    with pytest.raises(ValueError, match="`l1` must be a finite nonnegative number"):
        caller("joint")(start(4), ARGS, "fista", Options(l1=-1.0))


@njit
def solve_to_tol(x0, method, tol, options):
    return fastopt.minimize(bowl_pair, x0, CENTRE, method, True, tol=tol, options=options)


@pytest.mark.parametrize("tol", [1e-2, 0, None])
@pytest.mark.parametrize("method", METHODS)
def test_tol_sets_what_it_does_in_python(method, tol):
    for options in (Options(maxiter=20), Options(gtol=0.1, maxiter=20)):
        expected = fastopt.minimize(
            bowl_pair, start(2), CENTRE, method, True, tol=tol, options=options
        )
        assert_same(expected, solve_to_tol(start(2), method, tol, options))


def test_an_option_that_the_method_does_not_have_is_ignored():
    fun, jac = in_form("joint")
    expected = fastopt.minimize(fun, start(2), ARGS, jac=jac)
    assert_same(expected, caller("joint")(start(2), ARGS, "bfgs", Options(maxcor=1, lr=3.0)))


@njit
def trouble(x, kind):
    if kind == 0:
        return -math.inf if x[0] > 3.0 else -x[0]  # unbounded
    if kind == 1:
        return x[0] if x[0] > 1.0 else math.nan  # the edge of its domain
    if kind == 2:
        return abs(x[0] - 0.3) + 1e3  # a kink
    return 1.0  # flat


@pytest.mark.parametrize("jac", [None, "3-point"])
def test_numerical_trouble_has_the_status_of_python(jac):
    @njit
    def solve(x0, kind):
        return fastopt.minimize(trouble, x0, kind, jac=jac)

    ends = set()
    for kind in range(4):
        for x0 in (0.0, 2.0):
            expected = fastopt.minimize(trouble, x0, kind, jac=jac)
            assert_same(expected, solve(x0, kind))
            ends.add(expected.status)
    assert len(ends) >= 4


# --- what comes in ---------------------------------------------------------------------------

STARTS = {
    "array": np.array([3.0, 1.0, 2.0]),
    "strided": np.arange(9.0)[::-3],
    "column": np.arange(9.0).reshape(3, 3)[:, 1],
    "float32": np.array([3.0, 1.0, 2.0], np.float32),
    "int8": np.array([3, 1, 2], np.int8),
    "uint64": np.array([3, 1, 2], np.uint64),
    "bool": np.array([True, False, True]),
    "read-only": np.broadcast_to(np.array([2.0]), (3,)),
    "list": List([3.0, 1.0, 2.0]),
    "list of ints": List([3, 1, 2]),
    "tuple": (3.0, 1.0, 2.0),
    "mixed tuple": (3, 1.0, True),
    "float": 3.0,
    "int": 3,
}


@pytest.mark.parametrize("name", STARTS)
def test_x0_of_any_form_is_converted_and_not_written_to(name):
    x0 = STARTS[name]
    plain = np.array(list(x0) if isinstance(x0, List) else x0)
    before = plain.copy()

    @njit
    def solve(x0):
        return fastopt.minimize(total_of_squares, x0)

    assert_same(fastopt.minimize(total_of_squares, plain), solve(x0))
    np.testing.assert_array_equal(list(x0) if isinstance(x0, List) else x0, before)


@njit
def total_of_squares(x):
    return (x * x).sum()


def test_a_list_of_the_callers_own_is_a_starting_point():
    @njit
    def solve():
        return fastopt.minimize(total_of_squares, [3.0, 1.0])

    assert_same(fastopt.minimize(total_of_squares, [3.0, 1.0]), solve())


# Of each kind one: how they are laid out is tested with the objectives.
SOME_ARGUMENTS = (
    "int8",
    "bool",
    "complex",
    "none",
    "strided",
    "record",
    "tuple",
    "empty tuple",
    "named tuple",
    "function",
    "string",
    "list of arrays",
    "typed dict",
    "jitted class",
)


@pytest.mark.parametrize("name", SOME_ARGUMENTS)
def test_arguments_of_any_type_arrive(name):
    argument, read = ARGUMENTS[name]

    @njit
    def fun(x, before, argument, after):
        miss = x[0] - read(argument)
        return miss * miss + before + after, np.array([2.0 * miss])

    @njit
    def solve(argument):
        return fastopt.minimize(fun, 0.0, (1, argument, 3.0), jac=True)

    found = solve(argument)
    assert found.fun == pytest.approx(4.0)
    assert found.x[0] == pytest.approx(read(argument), abs=1e-5)


def test_one_argument_needs_no_tuple():
    @njit
    def solve(centre):
        return fastopt.minimize(bowl, np.zeros(2), centre, jac=bowl_gradient)

    assert_same(fastopt.minimize(bowl, np.zeros(2), CENTRE, jac=bowl_gradient), solve(CENTRE))


def test_jac_may_be_a_flag_that_comes_at_run_time():
    @njit
    def pair(x0, joint):
        return fastopt.minimize(bowl_pair, x0, CENTRE, jac=joint)

    @njit
    def alone(x0, joint):
        return fastopt.minimize(bowl, x0, CENTRE, jac=joint)

    assert_same(fastopt.minimize(bowl_pair, start(2), CENTRE, jac=True), pair(start(2), True))
    assert_same(fastopt.minimize(bowl, start(2), CENTRE), alone(start(2), False))
    for solve, wrong in ((pair, False), (alone, True)):
        with pytest.raises(ValueError, match="`jac` must be True if and only if `fun` returns"):
            solve(start(2), wrong)


# --- Options ---------------------------------------------------------------------------------


def test_options_are_made_in_compiled_code_as_in_python():
    @njit
    def make(gtol, maxiter):
        return (
            fastopt.Options(),
            fastopt.Options(gtol),
            fastopt.Options(gtol=gtol, maxiter=maxiter, lr=None),
            fastopt.Options(maxiter=100 if maxiter > 5 else None),
        )

    expected = (
        Options(),
        Options(1e-3),
        Options(gtol=1e-3, maxiter=7),
        Options(maxiter=100),
    )
    for found, wanted in zip(make(1e-3, 7), expected, strict=True):
        assert type(found) is Options
        assert repr(found) == repr(wanted)
        assert numba.typeof(found) == numba.typeof(wanted)
    assert make(1e-3, 3)[3].given() == {}


def test_options_have_one_type_whichever_are_given():
    @njit
    def solve(options):
        return fastopt.minimize(bowl_pair, np.zeros(2), CENTRE, jac=True, options=options)

    for options in (Options(), Options(maxiter=1), Options(gtol=1e-9, maxcor=3)):
        solve(options)
    assert len(solve.signatures) == 1


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ("gtool=1", TypeError, "`Options` takes gtol, .* got an unexpected keyword"),
        ("gtol='a'", TypeError, "`gtol` must be a number or None"),
        ("maxiter=True", TypeError, "`maxiter` must be a number or None"),
    ],
)
def test_options_refuse_what_they_do_in_python(keywords, error, message):
    namespace = {"fastopt": fastopt}
    exec(f"def make(): return fastopt.Options({keywords})", namespace)
    with pytest.raises(error, match=r"`Options` takes|must be a number"):
        namespace["make"]()
    with pytest.raises(error, match=message):
        njit(namespace["make"])()


# --- what is refused -------------------------------------------------------------------------

REFUSED = {
    "bowl, X, bounds=((0, 1), (0, 1))": (
        TypeError,
        "`bounds` must be None, a pair of vectors",
    ),
    "bowl, X, constraints=(1,)": (TypeError, r"`constraints` must be \(\) in @njit code"),
    "bowl, X, data=(X, X)": (TypeError, "`data` must be None in @njit code"),
    "bowl, X, callback=bowl": (TypeError, "`callback` must be None in @njit code"),
    "bowl, X, hess=3": (TypeError, "`hess` must be an @njit function or None in @njit code"),
    "bowl, X, hessp='exact'": (TypeError, "`hessp` must be an @njit function or None in @njit"),
    "bowl, X, hess=bowl": (TypeError, "`hess` must be left out: method bfgs does not use it"),
    "bowl, X, method='cg', hessp=bowl": (TypeError, "`hessp` must be left out: method cg does"),
    "bowl, X, CENTRE, 'newton', hess=bowl": (
        TypeError,
        r"`hess` must return an array of shape \(n",
    ),
    "bowl, X, CENTRE, 'newton', hess=large": (
        ValueError,
        r"`hess` must return an array of shape \(",
    ),
    "bowl, X, CENTRE, 'newton-cg', hess=large": (ValueError, "`hess` must return an array of sh"),
    "bowl, X, CENTRE, 'newton', hessp=long": (ValueError, "`hessp` must return an array of the le"),
    "bowl, X, CENTRE, 'newton', hess=refusing": (ArithmeticError, "no Hessian"),
    "bowl, X, CENTRE, 'dogleg', options=Options(initial_trust_radius=2, max_trust_radius=1)": (
        ValueError,
        "`initial_trust_radius` must be at most `max_trust_radius`",
    ),
    "bowl, X, CENTRE, 'sr1', options=Options(eta=1)": (
        ValueError,
        r"`eta` must be a number in \[0,",
    ),
    "3, X": (TypeError, "`fun` must be an @njit function; got"),
    "bowl, X, jac=3": (TypeError, "`jac` must be an @njit function, True, False, None, or 'inpl"),
    "bowl, X, jac='4-point'": (ValueError, "`jac` must be .*; got '4-point'"),
    "bowl, X, CENTRE, jac=True": (TypeError, r"`fun` must return a pair \(value, gradient\)"),
    "bowl_pair, X, CENTRE": (TypeError, "`fun` must return a real scalar, got Tuple"),
    "bowl, X, method='Powell'": (ValueError, "`method` must be one of .* which is SciPy's"),
    "bowl, X, method='bgfs'": (ValueError, "`method`: did you mean 'bfgs'"),
    "bowl, X, method=3": (TypeError, "`method` must be a string or None"),
    "bowl, X, options={'gtol': 1}": (TypeError, "`options` must be a fastopt.Options .* got Dict"),
    "bowl, X, options=(1e-3,)": (TypeError, "`options` must be a fastopt.Options"),
    "bowl, X, tol='a'": (TypeError, "`tol` must be a nonnegative number or None"),
    "bowl, X, tol=True": (TypeError, "`tol` must be a nonnegative number or None"),
    "bowl, np.ones((2, 2))": (TypeError, "`x0` must be a one-dimensional array.*got array.*2d"),
    "bowl, 1j": (TypeError, "`x0` must be a one-dimensional array.*got complex"),
    "bowl, 'abc'": (TypeError, "`x0` must be a one-dimensional array"),
    "bowl": (TypeError, "missing a required argument: 'x0'"),
    "bowl, X, foo=3": (TypeError, "unexpected keyword argument 'foo'"),
    # These are values, and refused at run time.
    "bowl, np.empty(0), CENTRE": (ValueError, "`x0` must have at least one element"),
    "bowl, (), CENTRE": (ValueError, "`x0` must have at least one element"),
    "bowl, X * np.nan, CENTRE": (ValueError, "`x0` must be finite"),
    "bowl, X, CENTRE, tol=-1": (ValueError, "`tol` must be a nonnegative number"),
    "bowl, X, CENTRE, tol=np.nan": (ValueError, "`tol` must be a nonnegative number"),
    "bowl, X, CENTRE, options=Options(gtol=-1)": (ValueError, "`gtol` must be a nonnegative num"),
    "bowl, X, CENTRE, options=Options(maxiter=1.5)": (ValueError, "`maxiter` must be a nonneg"),
    "bowl, X, CENTRE, options=Options(maxls=np.inf)": (ValueError, "`maxls` must be a positive"),
    "bowl, X, CENTRE, options=Options(norm=0)": (ValueError, "`norm` must be the order of a norm"),
    "bowl, X, CENTRE, options=Options(c2=1)": (ValueError, r"`c2` must be a number in \(0, 1\)"),
    "bowl, X, CENTRE, options=Options(c1=0.95)": (ValueError, "`c1` must be less than `c2`"),
    "bowl, X, CENTRE, options=Options(eps=0)": (ValueError, "`eps` must be a finite nonzero num"),
    "bowl, X, CENTRE, 'gd', options=Options(lr=-1)": (ValueError, "`lr` must be a finite nonneg"),
    "bowl, X, CENTRE, 'l-bfgs', options=Options(maxcor=2**60)": (MemoryError, "no memory for"),
}


@pytest.mark.parametrize("call", REFUSED)
def test_what_is_wrong_is_named(call):
    error, message = REFUSED[call]
    namespace = {**globals(), "minimize": fastopt.minimize, "X": np.ones(2)}
    exec(f"def solve(): return minimize({call})", namespace)
    with pytest.raises(error, match=message):
        njit(namespace["solve"])()


def test_a_function_that_does_not_compile_has_numbas_own_account():
    @njit
    def fun(x):
        return x.no_such_attribute

    @njit
    def solve():
        return fastopt.minimize(fun, 1.0)

    with pytest.raises(numba.TypingError, match="Unknown attribute 'no_such_attribute'"):
        solve()


def test_returns_of_another_size_are_refused():
    @njit
    def many(x):
        return x * x

    @njit
    def short(x):
        return x[:1].copy()

    @njit
    def solve(x0):
        return fastopt.minimize(many, x0)

    @njit
    def solve_short(x0):
        return fastopt.minimize(total_of_squares, x0, jac=short)

    assert solve(np.ones(1)).success
    with pytest.raises(ValueError, match="`fun` must return a scalar, got an array of another"):
        solve(np.ones(2))
    with pytest.raises(ValueError, match="the gradient must be an array of the length of x"):
        solve_short(np.ones(2))


def test_complex_steps_that_are_lost_are_refused():
    @njit
    def lossy(x):
        return abs(x[0]) ** 2 + x[1] * x[1]

    @njit
    def solve(x0):
        return fastopt.minimize(lossy, x0, jac="cs")

    with pytest.raises(ValueError, match="`fun` must be analytic when jac='cs'"):
        solve(np.ones(2))


# --- exceptions ------------------------------------------------------------------------------


class OwnError(Exception):
    pass


@njit
def fussy(x, limit):
    if x[0] > limit:
        raise OwnError("beyond", 7)
    return -x[0], np.array([-1.0])


@njit
def solve_fussy(limit):
    return fastopt.minimize(fussy, 0.0, (limit,), "gd", True)


@njit
def talkative(x):
    if x[0] > 1.0:
        raise ValueError("got this far:", x[0])
    return -x[0], np.array([-1.0])


def test_what_the_users_function_raises_comes_out_unchanged():
    with pytest.raises(OwnError) as caught:
        solve_fussy(2.0)
    assert caught.value.args == ("beyond", 7)

    @njit
    def solve():
        return fastopt.minimize(talkative, 0.0, jac=True, method="gd")

    with pytest.raises(ValueError, match="got this far") as caught:
        solve()
    assert 1.0 < caught.value.args[1] < 1.1


def test_exceptions_can_be_caught_in_compiled_code():
    @njit
    def count(limits):
        caught = 0
        for limit in limits:
            # By position: inside `try` Numba takes keywords for positions.
            try:
                fastopt.minimize(fussy, 0.0, (limit,), None, True)
            except Exception:
                caught += 1
            try:
                fastopt.minimize(fussy, np.empty(0), (limit,), None, True)
            except Exception:
                caught += 100
        return caught

    assert count(np.array([1.0, np.inf, 2.0])) == 302


@njit
def descend(x0, limit):
    return fastopt.minimize(slope, x0, (limit,))


@njit
def slope(x, limit):
    if x[0] > limit:
        raise OwnError("beyond")
    return -x[0]


def test_nothing_of_ours_is_left_in_numbas_memory():
    # No function of the user's has arrays of its own when it raises: those Numba would leave there.
    def solve():
        assert descend(0.0, math.inf).status == 4
        with pytest.raises(OwnError):
            descend(0.0, 1.0)
        with pytest.raises(ValueError, match="x0"):
            descend(math.nan, 1.0)

    solve()
    _nrt_python.memsys_enable_stats()
    try:
        before = rtsys.get_allocation_stats()
        for _ in range(10):
            solve()
        gc.collect()
        after = rtsys.get_allocation_stats()
    finally:
        _nrt_python.memsys_disable_stats()
    assert after.alloc - before.alloc == after.free - before.free
    assert after.mi_alloc - before.mi_alloc == after.mi_free - before.mi_free


def test_no_function_is_kept_alive():
    references = solve_once()
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def solve_once():
    @njit
    def fun(x):
        return (x * x).sum()

    @njit
    def solve(x0):
        return fastopt.minimize(fun, x0)

    solve(np.ones(2))
    return weakref.ref(fun), weakref.ref(solve)


def test_what_the_function_keeps_of_its_arguments_stays():
    @njit
    def keep(x, kept, array):
        kept.append(array)
        return (x * x).sum(), 2.0 * x

    @njit
    def solve(kept):
        fastopt.minimize(keep, np.ones(2), (kept, np.arange(1000.0)), jac=True)

    kept = List.empty_list(types.float64[::1])
    solve(kept)
    solve(kept)  # takes the memory that would be free
    assert len(kept) >= 4
    assert all((np.asarray(array) == np.arange(1000.0)).all() for array in kept)


# --- where it is called ----------------------------------------------------------------------


def test_a_function_may_come_as_an_argument():
    @njit
    def solve(fun, jac, x0):
        return fastopt.minimize(fun, x0, CENTRE, jac=jac)

    for jac in (bowl_gradient, None):
        assert_same(
            fastopt.minimize(bowl, np.zeros(2), CENTRE, jac=jac), solve(bowl, jac, np.zeros(2))
        )


def test_an_objective_may_minimise():
    @njit
    def inner(y, x):
        return (y[0] - x) ** 4 + y[0] ** 2, np.array([4.0 * (y[0] - x) ** 3 + 2.0 * y[0]])

    @njit
    def outer(x):
        lowest = fastopt.minimize(inner, 0.0, x[0], jac=True, options=fastopt.Options(gtol=1e-9))
        return lowest.fun + (x[0] - 2.0) ** 2

    def outer_in_python(x):
        options = {"gtol": 1e-9}
        lowest = fastopt.minimize(inner, 0.0, x[0], jac=True, options=options)
        return lowest.fun + (x[0] - 2.0) ** 2

    @njit
    def solve(x0):
        return fastopt.minimize(outer, x0, jac="3-point")

    assert_same(fastopt.minimize(outer_in_python, 5.0, jac="3-point"), solve(5.0))


def test_problems_in_parallel_are_solved_as_one_by_one():
    @njit(parallel=True)
    def solve(centres, limit):
        x = np.empty_like(centres)
        nfev = np.empty(len(centres), np.int64)
        for i in prange(len(centres)):
            found = fastopt.minimize(walled, np.zeros(2), (centres[i], limit), jac=True)
            x[i] = found.x
            nfev[i] = found.nfev
        return x, nfev

    centres = np.random.default_rng(1).normal(size=(10_000, 2))
    x, nfev = solve(centres, np.inf)
    every = fastopt.minimize_many(
        walled, np.zeros_like(centres), (centres, np.inf), batched=(True, False), jac=True
    )
    np.testing.assert_array_equal(x, every.x)
    np.testing.assert_array_equal(nfev, every.nfev)


@njit
def walled(x, centre, limit):
    if x[0] > limit:
        raise OwnError("beyond")
    return bowl_pair(x, centre)


def test_threads_do_not_disturb_each_other():
    @njit(nogil=True)
    def solve_many(x0, count):
        total = 0.0
        for _ in range(count):
            total += fastopt.minimize(walled, x0, (CENTRE, np.inf), jac=True).x.sum()
        return total

    expected = solve_many(np.zeros(2), 2000)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(solve_many, [np.zeros(2)] * 16, [2000] * 16))
    assert found == [expected] * 16


def test_flags_of_the_caller_change_no_bit():
    @njit
    def fun(x, centre):
        return bowl(x, centre)  # compiled here for the first time

    @njit(fastmath=True, error_model="numpy", boundscheck=True, nogil=True)
    def solve(x0):
        return fastopt.minimize(fun, x0, CENTRE, jac="3-point")

    assert_same(fastopt.minimize(bowl, start(2), CENTRE, jac="3-point"), solve(start(2)))


def test_arguments_are_those_at_the_time_of_the_call():
    @njit
    def solve():
        centre = np.array([1.0, 2.0])
        total = 0.0
        for _ in range(3):
            found = fastopt.minimize(bowl, np.zeros(2), centre, jac=bowl_gradient)
            total += found.x.sum()
            centre += 1.0
        return total

    assert solve() == pytest.approx(3 + 5 + 7, abs=1e-4)
