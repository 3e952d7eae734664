"""`minimize` and its kin with arguments and functions of every kind of wrong."""

import math

import numpy as np
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds
from scipy.sparse.linalg import aslinearoperator

import fastopt
from fastopt.core.result import BATCH_ENDINGS, ENDINGS
from fastopt.interface.methods import METHODS, find_method
from tests.fuzz.promise import Mine, keep_promise, mine, odd_values, replaced

FEW = settings(max_examples=150, suppress_health_check=list(HealthCheck))
STATUSES = {ending.status for ending in ENDINGS.values()} | {-1}
BATCH_STATUSES = {ending.status for ending in BATCH_ENDINGS.values()} | {-1}
# Of an option and of a Hessian that a method does not have, which the documentation tells of.
WARNINGS = [r"method .* has no option", r"method .* does not use `hess"]
# No solve here is meant to take so many evaluations: one that does has no end.
ENDLESS = 5000


def bowl(x):
    with np.errstate(all="ignore"):
        value = (x - 1.0) @ (x - 1.0)
    return value if np.iscomplexobj(x) else float(value)


def bowl_gradient(x):
    with np.errstate(all="ignore"):
        return 2.0 * (x - 1.0)


def bowl_hess(x):
    return 2.0 * np.eye(x.size)


def bowl_hessp(x, p):
    return 2.0 * p


def nested(x):
    return fastopt.minimize(bowl, x, jac=bowl_gradient, options={"maxiter": 2}).fun


def overwritten(x):
    x.fill(np.nan)
    return 1.0


# What becomes of a call, of x and of what the function ought to return.
ANSWERS = (
    *(lambda x, right, value=value: value for value in (None, "1", b"1", 1j, math.nan, math.inf)),
    *(lambda x, right, value=value: value for value in (-math.inf, 10**400, -(10**400), True)),
    lambda x, right: np.longdouble("1e4000"),
    lambda x, right: np.full(3, np.longdouble("1e4000")),
    lambda x, right: x,
    lambda x, right: x[:1],
    lambda x, right: x[:0],
    lambda x, right: x[::-1],
    lambda x, right: [right],
    lambda x, right: (right, right),
    lambda x, right: (right, right, right),
    lambda x, right: right.tolist() if isinstance(right, np.ndarray) else right,
    lambda x, right: np.asarray(right)[None],
    lambda x, right: np.ravel(right)[:1],
    lambda x, right: np.append(right, 1.0),
    lambda x, right: np.float32(right),
    lambda x, right: np.float16(right),
    lambda x, right: np.asarray(right, dtype=object),
    lambda x, right: np.asarray(right, dtype=complex),
    lambda x, right: np.asarray(right).astype("U8"),
    lambda x, right: np.asarray(right).astype(">f8"),
    lambda x, right: np.asarray(right).astype("g"),
    lambda x, right: np.ma.array(right),
    lambda x, right: -right,
    lambda x, right: 1e200 * right,
    lambda x, right: 1e-200 * right,
    lambda x, right: right * np.nan,
    lambda x, right: right * 0,
    lambda x, right: [[1.0], [1.0, 2.0]],
    lambda x, right: {"f": right},
    lambda x, right: iter([1.0]),
    lambda x, right: np.array([1, None]),
    lambda x, right: scipy.sparse.csr_array(np.atleast_2d(right)),
    lambda x, right: scipy.sparse.csc_array(np.atleast_2d(right) * np.nan),
    lambda x, right: aslinearoperator(np.atleast_2d(right)),
    lambda x, right: overwritten(x),
    lambda x, right: nested(x),
    lambda x, right: mine(),
)


class Odd:
    """A function whose answer to call number `at`, or from there on, is not what it ought to be."""

    def __init__(self, right, answer, at=0, always=False, name=None):
        self.right, self.answer, self.at, self.always, self.name = right, answer, at, always, name
        self.calls = 0

    def __repr__(self):
        return f"Odd({self.right.__name__}, {self.name}, at={self.at}, always={self.always})"

    def __call__(self, x, *others):
        self.calls += 1
        if self.calls > ENDLESS:
            raise Mine
        with np.errstate(all="ignore"):
            right = self.right(x, *others)
            if self.calls - 1 == self.at or (self.always and self.calls > self.at):
                return self.answer(x, right)
        return right


def odd_functions(right):
    def make(number, at, always):
        return Odd(right, ANSWERS[number], at, always, f"ANSWERS[{number}]")

    return st.builds(make, st.integers(0, len(ANSWERS) - 1), st.integers(0, 6), st.booleans())


def pair(x):
    return bowl(x), bowl_gradient(x)


def odd_pairs():
    """With jac=True: one of the two is not right, or the pair itself."""

    def make(function, which):
        def answer(x, right):
            found = list(right)
            if which < 2:
                found[which] = function.answer(x, right[which])
            return tuple(found)

        return Odd(pair, answer, function.at, function.always, f"{which}: {function.name}")

    return st.one_of(
        st.builds(make, odd_functions(bowl), st.integers(0, 1)),
        st.sampled_from([Odd(pair, lambda x, right: right[:1]), Odd(pair, lambda x, right: x)]),
    )


def odd_bounds(low, high):
    try:
        return Bounds(low, high)
    except Exception:  # SciPy's
        return low, high


@st.composite
def options_of(draw, method):
    row = METHODS.get(method, METHODS["bfgs"]) if isinstance(method, str) else METHODS["bfgs"]
    # They start processes, and print.
    known = sorted({*row.options, *row.option_aliases} - {"workers", "progress", "disp"})
    options = {"maxiter": 30}
    for name in draw(st.lists(st.sampled_from([*known, "gtoll", "", 3]), max_size=3)):
        check = row.options[row.option_aliases.get(name, name)].check if name in known else None
        likely = [0, 1, 0.5, 0.1, 1e-8, True, np.eye(2), -np.eye(2), np.ones(2), np.full(2, 0.5)]
        likely += getattr(check, "values", ())
        options[name] = draw(st.one_of(st.sampled_from(likely), odd_values()))
    return options


STARTS = {
    "x0": lambda: np.array([3.0, -2.0]),
    "fun": lambda: Odd(bowl, None, -1),
    "jac": lambda: Odd(bowl_gradient, None, -1),
}


def methods():
    return st.one_of(st.sampled_from([None, *METHODS]), st.just("bfgss"), odd_values())


@st.composite
def arguments_of_minimize(draw):
    method = draw(methods())
    odd = {
        "fun": odd_functions(bowl),
        "jac": st.one_of(
            odd_functions(bowl_gradient),
            st.sampled_from([None, True, False, "2-point", "3-point", "cs", "inplace"]),
        ),
        "hess": st.one_of(odd_functions(bowl_hess), st.sampled_from(["2-point", None])),
        "hessp": odd_functions(bowl_hessp),
        "tol": st.floats(0, 1),
        "callback": st.one_of(st.just(mine), st.just(lambda x: x.fill(3)), st.just(lambda x: 1)),
        "bounds": st.one_of(
            st.lists(st.tuples(st.floats(), st.floats()), min_size=1, max_size=3),
            st.builds(odd_bounds, odd_values(), odd_values()),
            st.just([(-1.0, 0.5)] * 2),
        ),
        "options": options_of(method),
        "args": st.just(()),
    }
    arguments = draw(replaced(STARTS | {"method": lambda: method}, odd))
    if arguments["jac"] is True and draw(st.integers(0, 3)):
        arguments["fun"] = draw(odd_pairs())
    arguments.setdefault("options", {"maxiter": 30})
    return without_scipy(arguments)


def without_scipy(arguments):
    """What SciPy makes of nonsense, and a method of the user's own, is their affair."""
    method = None if callable(arguments["method"]) else arguments["method"]
    arguments = arguments | {"method": method}
    row = find_method(method) if isinstance(method, str) else None
    if row is not None and not row.takes_bounds and row.scipy:
        arguments.pop("bounds", None)
    if isinstance(arguments.get("hess"), str) and arguments["hess"] in ("3-point", "cs"):
        del arguments["hess"]
    return arguments


def check_result(result, n):
    assert result.x.shape == result.jac.shape == (n,)
    assert result.x.dtype == result.jac.dtype == np.float64
    assert isinstance(result.fun, float)
    assert result.status in STATUSES
    assert result.success == (result.status == 0)
    assert isinstance(result.message, str)
    assert np.isfinite(result.x).all()
    assert min(result.nit, result.nfev, result.njev, result.nhev) >= 0
    if result.success:
        assert np.isfinite(result.fun) or result.converged_to == "stopval"


@FEW
@given(arguments_of_minimize())
def test_minimize_answers_or_names_what_is_wrong(arguments):
    result = keep_promise(fastopt.minimize, arguments, warns=WARNINGS)
    if result is not None:
        check_result(result, np.size(arguments["x0"]))


@FEW
@given(arguments_of_minimize(), st.integers(0, 5), odd_values())
def test_solver_answers_or_names_what_is_wrong(arguments, k, value):
    arguments.pop("callback", None)
    solver = keep_promise(fastopt.Solver, arguments, warns=WARNINGS)
    if solver is None:
        return
    keep_promise(solver.run, {"callback": value} if not callable(value) else {"callback": 1})
    keep_promise(lambda k: solver.advance(k % 50 if isinstance(k, int) else k), {"k": value})
    keep_promise(solver.advance, {"k": k})
    check_result(solver.result(), np.size(arguments["x0"]))


@FEW
@given(
    arguments_of_minimize(),
    st.data(),
    st.sampled_from([None, 1, 2]),
    st.sampled_from(["record", "raise"]),
)
def test_batch_answers_or_names_what_is_wrong(arguments, data, workers, errors):
    del arguments["x0"]
    arguments.pop("callback", None)  # which gets something else here
    arguments |= {"X0": np.array([[3.0, -2.0], [0.0, 1.0]]), "workers": workers, "errors": errors}
    odd = {"batched": odd_values(), "workers": odd_values()}
    arguments = data.draw(replaced({name: as_is(value) for name, value in arguments.items()}, odd))
    arguments = without_scipy(arguments)
    result = keep_promise(fastopt.minimize_many, arguments, warns=WARNINGS)
    if result is not None:
        problems, n = np.shape(arguments["X0"])
        assert result.x.shape == result.jac.shape == (problems, n)
        assert result.fun.shape == result.success.shape == (problems,)
        assert set(result.status.tolist()) <= BATCH_STATUSES
        assert np.isfinite(result.x).all()
        assert all(isinstance(message, str) for message in result.message)
        assert str(result)


@FEW
@given(arguments_of_minimize(), st.data())
def test_multistart_answers_or_names_what_is_wrong(arguments, data):
    arguments = without_scipy({name: arguments[name] for name in ("fun", "jac", "method")})
    arguments |= {"bounds": [(-3.0, 2.0)] * 2, "starts": 3, "options": {"maxiter": 5}}
    odd = {"sampler": st.sampled_from(["sobol", "halton", "lhs", "uniform", "grid"])}
    odd |= {"rng": odd_values(), "args": odd_values()}
    arguments = data.draw(replaced({name: as_is(value) for name, value in arguments.items()}, odd))
    starts = arguments["starts"]
    if isinstance(starts, int) and starts > 1000:
        return
    arguments = without_scipy(arguments)
    result = keep_promise(fastopt.multistart, arguments, warns=WARNINGS)
    if result is not None:
        assert result.x.shape == result.start.shape
        assert np.isfinite(result.fun) or result.fun == -math.inf


def as_is(value):
    return lambda: value
