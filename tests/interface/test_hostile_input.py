"""What `minimize` does with every kind of wrong, odd or malicious input.

Each row says what is passed and what becomes of it: an error (its type, and a pattern for its
message), or the statuses that the result may have. A row without a method is tried with each of
fastopt's. Whatever happens, x0 and args are what they were, and an error in an argument is found
before anything is evaluated.
"""

import copy
import math
import pickle
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from scipy.optimize import Bounds, LbfgsInvHessProduct, OptimizeWarning

import fastopt
from fastopt.interface.methods import METHODS
from tests.step_lengths import converging

FIRST_ORDER = tuple(name for name, row in METHODS.items() if row.family == "first-order")
SMOOTH = tuple(name for name in METHODS if name not in FIRST_ORDER)
WITH_SEARCH = tuple(name for name, row in METHODS.items() if "c1" in row.options)
IN_TRUST_REGION = tuple(name for name, row in METHODS.items() if "eta" in row.options)
SECOND_ORDER = tuple(name for name, row in METHODS.items() if row.second_order)
# They go by values, which do not change on a stair.
BY_VALUES = ("sr1", "nesterov-restart", "fista")
NOT_SECOND_ORDER = tuple(name for name in METHODS if name not in SECOND_ORDER)
DENSE = ("bfgs", "dfp")


PAIRS_OF_THREE = LbfgsInvHessProduct(np.eye(3), np.eye(3))


class Mine(Exception):
    """What the user's own code raises."""


def bowl(x):
    return float((x - 1.0) @ (x - 1.0))


def bowl_gradient(x):
    return 2.0 * (x - 1.0)


@dataclass
class Row:
    """What is passed, besides a bowl from (3, -2) with its gradient; and what comes of it."""

    name: str
    arguments: dict[str, Any]
    error: type[Exception] | None = None
    message: str | None = None
    status: tuple[int, ...] = ()
    evaluated: bool = False  # an error that only an evaluation can find
    warns: type[Warning] | None = None
    methods: tuple[str | None, ...] = tuple(METHODS)


def refused(name, error, message, /, *, methods=tuple(METHODS), **arguments):
    """An argument that is found wrong before anything is evaluated."""
    return Row(name, arguments, error=error, message=message, methods=methods)


def raises(name, error, message, /, *, methods=tuple(METHODS), **arguments):
    """Something that only shows in what a function returns or does."""
    return Row(name, arguments, error=error, message=message, evaluated=True, methods=methods)


def ends(name, status, /, *, methods=tuple(METHODS), warns=None, **arguments):
    """No exception; the result has `status`, or one of them."""
    statuses = status if isinstance(status, tuple) else (status,)
    return Row(name, arguments, status=statuses, methods=methods, warns=warns)


def option(name, value, error, message, methods=tuple(METHODS)):
    label = f"option {name}={value!r}"
    return refused(
        label, error, f"^`{name}` must be .*{message}", methods=methods, options={name: value}
    )


class After:
    """The bowl, and from call number `count` on whatever `then` makes of x."""

    def __init__(self, count, then):
        self.calls = 0
        self.count = count
        self.then = then

    def __call__(self, x):
        self.calls += 1
        return bowl(x) if self.calls < self.count else self.then(x)


def raise_mine(*_):
    raise Mine("mine")


def wreck(x):
    value = bowl(x)
    x[:] = np.nan
    return value


def wreck_in_gradient(x):
    gradient = bowl_gradient(x)
    x[:] = np.nan
    return gradient


def wreck_in_hessian(x):
    x[:] = np.nan
    return 2.0 * np.eye(2)


def wreck_in_product(x, p):
    product = 2.0 * p
    x[:] = p[:] = np.nan
    return product


class Hoarder:
    """Keeps what it is given, and looks at the end whether it is as it was."""

    def __init__(self):
        self.kept = []

    def __call__(self, x):
        self.kept.append((x, x.copy()))
        return bowl(x)

    def is_content(self):
        distinct = len({id(x) for x, _ in self.kept}) == len(self.kept)
        return distinct and all(np.array_equal(x, then) for x, then in self.kept)


class SameBuffer:
    """A gradient that writes into one array of its own, again and again."""

    def __init__(self):
        self.buffer = np.empty(2)

    def __call__(self, x):
        self.buffer[:] = bowl_gradient(x)
        return self.buffer


def nested(x):
    inner = fastopt.minimize(bowl, x, jac=bowl_gradient)
    return bowl(x) + inner.fun


with np.errstate(over="ignore"):  # where it is no more than a double
    BEYOND_DOUBLES = np.longdouble(1e308) * np.longdouble(1e308)

READ_ONLY = np.array([3.0, -2.0])
READ_ONLY.flags.writeable = False

ROWS = [
    # --- x0 ---
    refused(
        "x0 with NaN", ValueError, "^`x0` must be finite, got nan at index 1", x0=[1, math.nan]
    ),
    refused(
        "x0 with inf", ValueError, "^`x0` must be finite, got -inf at index 0", x0=[-math.inf, 1]
    ),
    refused("x0 empty", ValueError, "^`x0` must have at least one element", x0=[]),
    refused("x0 2-D", ValueError, r"^`x0` must be one-dim.* shape \(1, 2\)", x0=[[3.0, -2.0]]),
    refused("x0 np.matrix-like column", ValueError, r"shape \(2, 1\)", x0=[[3.0], [-2.0]]),
    refused("x0 complex", TypeError, "^`x0` must be .* got dtype complex128", x0=[3j, 1]),
    refused("x0 complex scalar", TypeError, r"^`x0` must be .* got 3j \(complex\)", x0=3j),
    refused("x0 object", TypeError, "got dtype object", x0=np.array([3, -2], dtype=object)),
    refused("x0 of Fractions", TypeError, "got dtype object", x0=[Fraction(1, 2), Fraction(3)]),
    refused("x0 with None", TypeError, "got dtype object", x0=[3.0, None]),
    refused("x0 of huge ints", TypeError, "got dtype object", x0=[10**400, 1]),
    refused("x0 string", TypeError, r"^`x0` must be .* got '3, -2' \(str\)", x0="3, -2"),
    refused("x0 of strings", TypeError, "^`x0` must be .* got dtype <U2", x0=["3", "-2"]),
    refused("x0 of dates", TypeError, "got dtype datetime64", x0=np.array(["2026-01-01"], "M8[D]")),
    refused("x0 None", TypeError, "^`x0` must be .* got None", x0=None),
    refused("x0 dict", TypeError, "^`x0` must be .* got an object of type dict", x0={"a": 1.0}),
    refused("x0 function", TypeError, "got an object of type function", x0=bowl),
    refused("x0 ragged", ValueError, "^`x0` must be a one-dim", x0=[[1.0, 2.0], [3.0]]),
    refused("x0 masked", TypeError, "got a masked array", x0=np.ma.array([1, 2], mask=[0, 1])),
    ends("x0 0-d", 0, x0=np.array(3.0)),
    ends("x0 float", 0, x0=3.0),
    ends("x0 int", 0, x0=3),
    ends("x0 integers", 0, x0=np.array([3, -2])),
    ends("x0 unsigned bytes", 0, x0=np.array([3, 2], dtype=np.uint8)),
    ends("x0 booleans", 0, x0=[True, False]),
    ends("x0 float16", 0, x0=np.array([3, -2], dtype=np.float16)),
    ends("x0 float32", 0, x0=np.array([3, -2], dtype=np.float32)),
    ends("x0 long double", 0, x0=np.array([3, -2], dtype=np.longdouble)),
    ends("x0 big-endian", 0, x0=np.array([3, -2], dtype=">f8")),
    ends("x0 strided", 0, x0=np.arange(12.0)[::5]),
    ends("x0 reversed", 0, x0=np.arange(3.0)[::-1]),
    ends("x0 read-only", 0, x0=READ_ONLY),
    ends("x0 tuple", 0, x0=(3.0, -2.0)),
    ends("x0 range", 0, x0=range(3)),
    ends("x0 at the minimum", 0, x0=[1.0, 1.0]),
    ends("x0 where fun overflows", 3, x0=[1e200, 1.0]),
    # --- fun ---
    refused("fun None", TypeError, "^`fun` must be callable, got None", fun=None),
    refused("fun number", TypeError, r"^`fun` must be callable, got 3.0 \(float\)", fun=3.0),
    raises("fun returns None", TypeError, "^`fun` must return .* got None", fun=lambda x: None),
    raises("fun returns a string", TypeError, "^`fun` must return .* got '1'", fun=lambda x: "1"),
    raises("fun returns complex", TypeError, "^`fun` must return a real", fun=lambda x: 1j),
    raises(
        "fun returns a complex array",
        TypeError,
        "^`fun` must return a real",
        fun=lambda x: np.array([1j]),
    ),
    raises(
        "fun returns a vector",
        ValueError,
        r"^`fun` must return a scalar, got an array of shape \(2,\)",
        fun=lambda x: x,
    ),
    raises("fun returns an empty array", ValueError, "^`fun` must return", fun=lambda x: x[:0]),
    raises("fun returns a dict", TypeError, "^`fun` must return", fun=lambda x: {"f": 1}),
    raises("fun returns a pair", TypeError, "^`fun` must return", fun=lambda x: (1.0, x)),
    raises("fun returns None later", TypeError, "^`fun` must return", fun=After(2, lambda x: None)),
    raises("fun takes no argument", TypeError, "positional argument", fun=lambda: 1.0),
    raises("fun takes another argument", TypeError, "positional argument", fun=lambda x, y: 1.0),
    raises("fun raises", Mine, "^mine$", fun=raise_mine),
    raises("fun raises later", Mine, "^mine$", fun=After(2, raise_mine)),
    raises("fun divides by zero", ZeroDivisionError, None, fun=lambda x: 1 / float(x[0] - 3)),
    ends("fun returns an array of one", 0, fun=lambda x: np.array([bowl(x)])),
    ends("fun returns a 0-d array", 0, fun=lambda x: np.array(bowl(x))),
    ends("fun returns a nested list of one", 0, fun=lambda x: [[bowl(x)]]),
    ends("fun returns float32", 0, fun=lambda x: np.float32(bowl(x))),
    ends("fun returns Decimal", 0, fun=lambda x: Decimal(bowl(x))),
    ends("fun returns Fraction", 0, fun=lambda x: Fraction(bowl(x))),
    ends(
        "fun returns an integer",
        0,
        fun=lambda x: int(bowl(x)),
        methods=tuple(name for name in METHODS if name not in BY_VALUES),
    ),
    ends("fun returns an integer, too coarse", 2, fun=lambda x: int(bowl(x)), methods=BY_VALUES),
    ends("fun returns a bool", 0, fun=lambda x: True, jac=lambda x: [0, 0]),
    ends("fun constant", 0, fun=lambda x: 7.0, jac=lambda x: np.zeros(2)),
    ends("fun constant, gradient not", 2, fun=lambda x: 7.0, methods=SMOOTH),
    ends("fun constant, gradient not, unnoticed", 0, fun=lambda x: 7.0, methods=FIRST_ORDER),
    ends("fun NaN at x0", 3, fun=lambda x: math.nan),
    ends("fun masked at x0", 3, fun=lambda x: np.ma.masked),
    ends("fun masked array at x0", 3, fun=lambda x: np.ma.array(3, mask=True)),
    ends("fun beyond all floats at x0", 3, fun=lambda x: 10**400),
    ends("fun below all floats at x0", 4, fun=lambda x: Fraction(-(10**400))),
    ends("jac beyond all floats at x0", 3, jac=lambda x: [10**400, -(10**400)]),
    ends("jac beyond all doubles", 3, jac=lambda x: np.full(2, BEYOND_DOUBLES)),
    ends("fun +inf at x0", 3, fun=lambda x: math.inf),
    ends("fun -inf at x0", 4, fun=lambda x: -math.inf),
    ends("fun NaN from call 2 on", 5, fun=After(2, lambda x: math.nan), methods=SMOOTH),
    ends(
        "fun NaN from call 3 on, no way", 3, fun=After(3, lambda x: math.nan), methods=FIRST_ORDER
    ),
    ends("fun -inf from call 2 on", 4, fun=After(2, lambda x: -math.inf)),
    ends(
        "fun +inf beyond a wall",
        (0, 5),
        fun=lambda x: bowl(x) if x[0] > 2.0 else math.inf,
        methods=SMOOTH,
    ),
    ends(
        "fun NaN beyond a wall, differences",
        (0, 5),
        fun=lambda x: bowl(x) if x[0] > 2.0 else math.nan,
        jac=None,
        methods=SMOOTH,
    ),
    ends(
        "fun +inf beyond a wall, run into",
        3,
        fun=lambda x: bowl(x) if x[0] > 2.0 else math.inf,
        methods=FIRST_ORDER,
    ),
    ends(
        "fun unbounded below",
        4,
        fun=lambda x: -float(x @ x),
        jac=lambda x: -2.0 * x,
        methods=(*SMOOTH, "gd"),
    ),
    ends("fun linear", 4, fun=lambda x: x.sum(), jac=np.ones_like, methods=SMOOTH),
    ends("fun linear, slowly", 1, fun=lambda x: x.sum(), jac=np.ones_like, methods=FIRST_ORDER),
    ends("fun overflows", 3, fun=lambda x: float(x @ x) * 1e308, jac=lambda x: x * 1e308),
    ends("fun mutates x", 0, fun=wreck),
    ends("fun keeps x", 0, fun=Hoarder()),
    ends("fun calls minimize", 0, fun=nested),
    # --- jac ---
    refused("jac number", TypeError, "^`jac` must be .* got an object of type int", jac=3),
    refused("jac unknown word", ValueError, "^`jac` must be .* got '4-point'", jac="4-point"),
    refused("jac array", TypeError, "^`jac` must be .* type ndarray", jac=np.ones(2)),
    raises(
        "jac too long",
        ValueError,
        r"^`jac` must return an array of shape \(2,\), got shape \(3,\)",
        jac=lambda x: np.ones(3),
    ),
    raises("jac too short", ValueError, r"got shape \(1,\)", jac=lambda x: np.ones(1)),
    raises("jac scalar", ValueError, r"^`jac` must return an array", jac=lambda x: 1.0),
    raises("jac square", ValueError, r"got shape \(2, 2\)", jac=lambda x: np.ones((2, 2))),
    raises("jac empty", ValueError, r"got shape \(0,\)", jac=lambda x: []),
    raises("jac returns None", TypeError, "^`jac` must return .* got None", jac=lambda x: None),
    raises("jac complex", TypeError, "^`jac` must return", jac=lambda x: x + 0j),
    raises("jac of strings", TypeError, "^`jac` must return", jac=lambda x: ["a", "b"]),
    raises("jac ragged", ValueError, "^`jac` must return", jac=lambda x: [[1.0], [1.0, 2.0]]),
    raises("jac raises", Mine, "^mine$", jac=raise_mine),
    raises("jac=True, fun alone", TypeError, r"^`fun` must return a pair", jac=True),
    raises(
        "jac=True, a triple",
        TypeError,
        "^`fun` must return a pair .* got a tuple of length 3",
        fun=lambda x: (bowl(x), bowl_gradient(x), 0),
        jac=True,
    ),
    raises(
        "jac=True, gradient too long",
        ValueError,
        r"^`fun` \(jac=True\) must return an array of shape \(2,\)",
        fun=lambda x: (bowl(x), np.ones(5)),
        jac=True,
    ),
    raises(
        "jac='cs', fun not complex",
        TypeError,
        "^`fun` must return a complex number",
        fun=lambda x: np.abs(x).sum(),
        jac="cs",
    ),
    ends("jac a list", 0, jac=lambda x: list(bowl_gradient(x))),
    ends("jac of integers", 0, jac=lambda x: bowl_gradient(x).astype(int)),
    ends("jac float32", 0, jac=lambda x: bowl_gradient(x).astype(np.float32)),
    ends("jac a column", 0, jac=lambda x: bowl_gradient(x).reshape(2, 1)),
    ends("jac of objects", 0, jac=lambda x: bowl_gradient(x).astype(object)),
    ends("jac strided", 0, jac=lambda x: np.repeat(bowl_gradient(x), 2)[::2]),
    ends("jac in one buffer", 0, jac=SameBuffer()),
    ends("jac mutates x", 0, jac=wreck_in_gradient),
    ends("jac NaN", 3, jac=lambda x: x * math.nan),
    ends("jac masked", 3, jac=lambda x: np.ma.array(bowl_gradient(x), mask=[False, True])),
    ends("jac inf", 3, jac=lambda x: x * math.inf),
    ends("jac of the wrong sign", 2, jac=lambda x: -bowl_gradient(x), methods=SMOOTH),
    ends("jac uphill", (1, 3), jac=lambda x: -bowl_gradient(x), methods=FIRST_ORDER),
    ends("jac zero where it is not", 0, jac=np.zeros_like),
    # --- hess, hessp ---
    refused("hess number", TypeError, "^`hess` must be .* type int", hess=3),
    refused("hess unknown word", ValueError, "^`hess` must be .* got 'exact'", hess="exact"),
    refused("hessp number", TypeError, "^`hessp` must be callable", hessp=3),
    ends(
        "hess unused",
        0,
        hess=lambda x: np.eye(7),
        warns=RuntimeWarning,
        methods=NOT_SECOND_ORDER,
    ),
    ends("hessp unused", 0, hessp=lambda x, p: p, warns=RuntimeWarning, methods=NOT_SECOND_ORDER),
    raises(
        "hess of the wrong shape",
        ValueError,
        r"^`hess` must return an array of shape \(2, 2\), got shape \(3, 3\)",
        hess=lambda x: np.eye(3),
        methods=SECOND_ORDER,
    ),
    raises(
        "hess sparse, of the wrong shape",
        ValueError,
        r"^`hess` must return .* of shape \(2, 2\), got shape \(3, 3\)",
        hess=lambda x: scipy.sparse.eye_array(3, format="csr"),
        methods=SECOND_ORDER,
    ),
    raises("hess a vector", ValueError, "^`hess` must", hess=np.ones_like, methods=SECOND_ORDER),
    raises(
        "hess returns None",
        TypeError,
        "^`hess` must return .* got None",
        hess=lambda x: None,
        methods=SECOND_ORDER,
    ),
    raises(
        "hess complex",
        TypeError,
        "^`hess` must",
        hess=lambda x: 1j * np.eye(2),
        methods=SECOND_ORDER,
    ),
    raises("hess raises", Mine, "^mine$", hess=raise_mine, methods=SECOND_ORDER),
    raises(
        "hessp too long",
        ValueError,
        r"^`hessp` must .* \(2,\), got shape \(3,\)",
        hessp=lambda x, p: np.ones(3),
        methods=SECOND_ORDER,
    ),
    raises(
        "hessp returns None",
        TypeError,
        "^`hessp` must return .* got None",
        hessp=lambda x, p: None,
        methods=SECOND_ORDER,
    ),
    raises("hessp raises", Mine, "^mine$", hessp=raise_mine, methods=SECOND_ORDER),
    ends("hess a list", 0, hess=lambda x: [[2.0, 0.0], [0.0, 2.0]], methods=SECOND_ORDER),
    ends("hess of integers", 0, hess=lambda x: 2 * np.eye(2, dtype=int), methods=SECOND_ORDER),
    ends(
        "hess in Fortran's order", 0, hess=lambda x: 2 * np.eye(2, order="F"), methods=SECOND_ORDER
    ),
    ends("hess lower", 0, hess=lambda x: np.array([[2, np.nan], [0, 2]]), methods=SECOND_ORDER),
    ends("hess sparse", 0, hess=lambda x: 2 * scipy.sparse.eye_array(2), methods=SECOND_ORDER),
    ends("hess zero", 0, hess=lambda x: np.zeros((2, 2)), methods=SECOND_ORDER),
    ends("hess NaN", 0, hess=lambda x: np.full((2, 2), math.nan), methods=SECOND_ORDER),
    ends("hess inf", 0, hess=lambda x: np.full((2, 2), math.inf), methods=SECOND_ORDER),
    ends("hess negative", 0, hess=lambda x: -2 * np.eye(2), methods=SECOND_ORDER),
    ends("hess mutates x", 0, hess=wreck_in_hessian, methods=SECOND_ORDER),
    ends("hessp a list", 0, hessp=lambda x, p: list(2 * p), methods=SECOND_ORDER),
    ends("hessp mutates p", 0, hessp=wreck_in_product, methods=SECOND_ORDER),
    ends("hess by differences", 0, hess="2-point", methods=SECOND_ORDER),
    ends("hess by SciPy", 0, hess="cs", methods=("newton-cg", "trust-ncg")),
    refused(
        "hess by no one",
        ValueError,
        "^`hess` must be callable, '2-point' or None, got 'cs'",
        hess="cs",
        methods=("newton", "trust-exact", "dogleg"),
    ),
    # --- method ---
    refused(
        "method unknown",
        ValueError,
        "^`method`: did you mean 'bfgs'\\? It must be one of .* got 'bfsg'$",
        methods=("bfsg",),
    ),
    refused("method empty", ValueError, "^`method` must be one of .* got ''", methods=("",)),
    refused("method a number", TypeError, "^`method` must be .* got int", methods=(3,)),
    refused("method bytes", TypeError, "^`method` must be .* got bytes", methods=(b"bfgs",)),
    ends("method in capitals", 0, jac=None, methods=("BFGS", "L-BFGS-B", "L-BFGS", "Nelder-Mead")),
    # --- args ---
    ends(
        "args a number", 0, fun=lambda x, y: bowl(x) + y, jac=lambda x, y: bowl_gradient(x), args=3
    ),
    ends(
        "args an array, alone",
        0,
        fun=lambda x, y: bowl(x) + y[1],
        jac=lambda x, y: bowl_gradient(x),
        args=np.arange(2.0),
    ),
    raises("args too many", TypeError, "positional argument", args=(1, 2)),
    # --- tol ---
    refused("tol negative", ValueError, "^`tol` must be a nonnegative number, got -1", tol=-1.0),
    refused("tol NaN", ValueError, "^`tol` must be a nonnegative number, got nan", tol=math.nan),
    refused("tol string", TypeError, "^`tol` must be .* got 'tight'", tol="tight"),
    ends("tol inf", 0, tol=math.inf),
    ends("tol zero", (0, 1), tol=0.0),
    # --- bounds and constraints ---
    refused("bounds reversed", ValueError, "^`bounds` must have no lower", bounds=[(0, 1), (2, 1)]),
    refused("bounds NaN", ValueError, "^`bounds` must have .*nan", bounds=[(0, 1), (math.nan, 1)]),
    refused(
        "bounds above inf", ValueError, "^`bounds` must have", bounds=Bounds(math.inf, math.inf)
    ),
    refused("bounds too few", ValueError, "^`bounds` must be .* 2 pairs .* got 1", bounds=[(0, 1)]),
    refused(
        "bounds of the wrong shape", ValueError, "^`bounds` must be", bounds=Bounds([0] * 3, 1)
    ),
    refused("bounds a number", TypeError, "^`bounds` must be .* got 3", bounds=3),
    refused(
        "bounds a table of another length",
        ValueError,
        r"^`bounds` must be .* 2 pairs .* got an array of shape \(3, 2\)",
        bounds=np.zeros((3, 2)),
    ),
    refused("bounds not pairs", TypeError, "^`bounds` must be", bounds=[(0, 1), (0, 1, 2)]),
    refused("bounds of words", ValueError, "^`bounds` must be", bounds=[("a", "b"), (0, 1)]),
    refused("bounds of digits", ValueError, "^`bounds` must be", bounds=[("0", "1"), (0, 1)]),
    refused("bounds complex", ValueError, "^`bounds` must be", bounds=[(0, 1j), (0, 1)]),
    refused("bounds of huge ints", ValueError, "^`bounds` must be", bounds=[(0, 10**400)] * 2),
    ends("bounds beyond doubles", 0, bounds=[(-BEYOND_DOUBLES, BEYOND_DOUBLES)] * 2),
    ends("bounds infinite", 0, bounds=[(-math.inf, None), (None, math.inf)]),
    refused("constraints a number", TypeError, "^`constraints` must be .* type int", constraints=3),
    refused("constraints of words", TypeError, "^`constraints` must be", constraints=["x > 0"]),
    # --- callback ---
    refused("callback number", TypeError, "^`callback` must be callable, got 3", callback=3),
    raises("callback raises", Mine, "^mine$", callback=raise_mine),
    raises("callback takes no argument", TypeError, "positional argument", callback=lambda: None),
    raises("callback raises KeyError", KeyError, "x", callback=lambda x: {}["x"]),
    ends("callback stops", 99, callback=lambda x: next(iter(()))),
    ends("callback writes to x", 0, callback=lambda x: x.fill(math.nan)),
    ends("callback returns True", 0, callback=lambda x: True),
    ends(
        "callback empties its argument",
        0,
        callback=lambda intermediate_result: intermediate_result.clear(),
    ),
    # --- options ---
    refused("options a list", TypeError, "^`options` must be a dict, got list", options=["gtol"]),
    refused("options an empty list", TypeError, "^`options` must be a dict", options=[]),
    refused("options an array", TypeError, "^`options` must be a dict", options=np.zeros(3)),
    refused("options a string", TypeError, "^`options` must be a dict, got str", options="gtol"),
    ends("options with an unknown name", 0, options={"gtoll": 1}, warns=OptimizeWarning),
    ends("options with a number for a name", 0, options={3: 1}, warns=OptimizeWarning),
    ends("options all None", 0, options={"gtol": None, "maxiter": None, "norm": None}),
    option("gtol", -1e-5, ValueError, "got -1e-05"),
    option("gtol", math.nan, ValueError, "got nan"),
    option("gtol", "small", TypeError, "got 'small'"),
    option("gtol", 1j, TypeError, "got 1j"),
    option("ftol", -1.0, ValueError, "got -1.0"),
    option("xtol", [1.0], TypeError, "got an object of type list"),
    option("norm", 0, ValueError, "got 0"),
    option("stopval", math.nan, ValueError, "got nan"),
    option("maxiter", -1, ValueError, "got -1"),
    option("maxiter", 1.5, ValueError, "got 1.5"),
    option("maxiter", "many", TypeError, "got 'many'"),
    option("maxiter", True, TypeError, r"got True \(bool\)"),
    option("maxfev", -1, ValueError, "got -1"),
    option("maxfun", math.nan, ValueError, "got nan"),
    option("maxtime", -1.0, ValueError, "got -1.0"),
    option("maxtime", "1 s", TypeError, "got '1 s'"),
    option("finite_diff_rel_step", 0.0, ValueError, "got 0.0"),
    option("finite_diff_rel_step", [1e-8] * 3, ValueError, r"got an array of shape \(3,\)"),
    option("workers", 0, ValueError, "got 0"),
    option("workers", "all", TypeError, "got 'all'"),
    option("disp", "yes", TypeError, "got 'yes'"),
    option("trace", 1.0, TypeError, "got 1.0"),
    option("on_interrupt", "ignore", ValueError, "got 'ignore'"),
    option("c1", 0.0, ValueError, "got 0.0", WITH_SEARCH),
    option("c2", 1.0, ValueError, "got 1.0", WITH_SEARCH),
    option("c1", 0.95, ValueError, r"less than `c2`, got c1=0.95 and c2=0\.", WITH_SEARCH),
    option("maxls", 0, ValueError, "got 0", WITH_SEARCH),
    option("line_search", "backtracking", ValueError, "got 'backtracking'", WITH_SEARCH),
    option("eps", 0.0, ValueError, "got 0.0", (*SMOOTH, "adam")),
    option("eps", math.nan, ValueError, "got nan", SMOOTH),
    option("maxcor", 0, ValueError, "got 0", ("l-bfgs",)),
    option("maxcor", 2.5, ValueError, "got 2.5", ("l-bfgs",)),
    option("hess_inv0", np.eye(3), ValueError, r"got an array of shape \(3, 3\)", DENSE),
    option("hess_inv0", -np.eye(2), ValueError, "not positive definite", DENSE),
    option("hess_inv0", np.triu(np.ones((2, 2))), ValueError, "not symmetric", DENSE),
    option("hess_inv0", np.ones((2, 2)), TypeError, "got an array of shape", ("l-bfgs",)),
    option("hess_inv0", PAIRS_OF_THREE, ValueError, r"got one of shape \(3, 3\)", ("l-bfgs",)),
    option("damping", "yes", TypeError, "got 'yes'", (*DENSE, "l-bfgs")),
    option("beta", "pr", ValueError, "got 'pr'", ("cg",)),
    option("preconditioner", np.ones(3), ValueError, r"got an array of shape \(3,\)", ("cg",)),
    option("preconditioner", [1.0, -1.0], ValueError, r"got \[1.0, -1.0\]", ("cg",)),
    option("preconditioner", "jacobi", TypeError, "got 'jacobi'", ("cg",)),
    option("initial_trust_radius", 0.0, ValueError, "got 0.0", IN_TRUST_REGION),
    option("max_trust_radius", -1.0, ValueError, "got -1.0", IN_TRUST_REGION),
    option("eta", 0.25, ValueError, "got 0.25", IN_TRUST_REGION),
    refused(
        "radii the wrong way round",
        ValueError,
        "^`initial_trust_radius` must be at most `max_trust_radius`, got .*=2.0 and .*=1.0",
        options={"initial_trust_radius": 2.0, "max_trust_radius": 1.0},
        methods=IN_TRUST_REGION,
    ),
    option("lr", -1.0, ValueError, "got -1.0", FIRST_ORDER),
    option("lr", math.inf, ValueError, "got inf", FIRST_ORDER),
    option("weight_decay", math.inf, ValueError, "got inf", FIRST_ORDER),
    option("lr", "auto", TypeError, "got 'auto'", FIRST_ORDER),
    option("beta1", 1.0, ValueError, "got 1.0", ("adam",)),
    option("beta2", -0.1, ValueError, "got -0.1", ("adam",)),
]

CASES = [(row, method) for row in ROWS for method in row.methods]


def as_bytes(value):
    """Something that tells whether `value` has changed."""
    try:
        return pickle.dumps(value)
    except (TypeError, AttributeError, pickle.PicklingError):
        return repr(value)


def test_the_table_has_its_fifty_rows_and_names_each_once():
    assert len(ROWS) >= 50
    assert len({row.name for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize(
    ("row", "method"), CASES, ids=[f"{row.name}-{method}" for row, method in CASES]
)
def test_outcome(row, method):
    arguments = {"fun": bowl, "x0": [3.0, -2.0], "jac": bowl_gradient, "method": method}
    arguments |= copy.deepcopy(row.arguments)  # some of the functions count their calls
    x0 = arguments["x0"] = row.arguments.get("x0", arguments["x0"])  # a copy would be contiguous
    calls = []
    fun = arguments["fun"]
    if callable(fun):

        def counted(*given):
            calls.append(given)
            return fun(*given)

        arguments["fun"] = counted
    if method in FIRST_ORDER and row.status:
        arguments["options"] = {**converging(method), **row.arguments.get("options", {})}
    before = as_bytes(x0), as_bytes(arguments.get("args"))

    with np.errstate(all="ignore"):
        if row.error is not None:
            with pytest.raises(row.error, match=row.message):
                fastopt.minimize(**arguments)
            assert bool(calls) == row.evaluated
        else:
            result = solve(row, arguments)
            assert result.status in row.status, result
            assert result.success == (result.status == 0)
            if isinstance(fun, Hoarder):
                assert fun.is_content()
            assert not np.shares_memory(result.x, x0)
            if result.success and row.arguments.keys() <= {"x0", "callback", "options", "bounds"}:
                np.testing.assert_allclose(result.x, 1.0, atol=1e-3)
    assert (as_bytes(x0), as_bytes(arguments.get("args"))) == before


def solve(row, arguments):
    if row.warns is None:
        return fastopt.minimize(**arguments)
    with pytest.warns(row.warns):
        return fastopt.minimize(**arguments)
