"""Wrong arguments, and what every public function promises of them.

A call either answers, or it raises a TypeError or a ValueError whose message has the name of an
argument in backticks, or what the user's own code raised; or there is not enough memory for what is
asked. It does not warn, and what it was given is as it was.
"""

import copy
import re
import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import scipy.sparse
from hypothesis import strategies as st

__all__ = ["Mine", "keep_promise", "mine", "odd_values", "replaced", "variations"]


class Mine(Exception):
    """What the user's own code raises."""


def mine(*args, **kwargs):
    raise Mine("mine")


class Opaque:
    """Equal to nothing, not to be converted to anything."""

    def __repr__(self):
        return "Opaque()"

    def __eq__(self, other):
        return False

    __hash__ = None


NUMBERS = (
    *(0, 1, 2, 3, -1, 7, 2.5, 0.0, -0.0, 1.0, -1.0, 1e-300, 1e300, 5e-324),
    *(float("nan"), float("inf"), -float("inf"), True, False),
    *(2**31 - 1, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30, -(10**30), 10**400),
    *(1j, complex("nan"), Fraction(1, 3), Decimal("0.5"), Decimal("NaN"), Decimal("sNaN")),
    *(np.float16(0.5), np.float32(2), np.float64(3), np.longdouble("1e4000"), np.int8(-1)),
    *(np.uint64(2**64 - 1), np.bool_(True), np.complex64(1), np.datetime64("2026-01-01")),
)
THINGS = (
    *(None, Ellipsis, NotImplemented, "", "x", "mean", "same", "auto", "2-point", "\0", b"x"),
    *((), [], {}, set(), [1], (1, 2), [1.0, 2.0, 3.0], [None], ["a"], [[1.0], [1.0, 2.0]], [[]]),
    *({"a": 1}, {1, 2}, range(0), range(3), slice(None), slice(0, 2), [(0, 1)], [(1, 0)]),
    *([(0.0, 1.0)] * 2, [(None, None)] * 2, [(float("nan"), 1)] * 2, ((1, 2), (3, 4))),
    *(Opaque(), [Opaque()], object, len, mine, lambda: None, lambda *args: args),
)
ARRAYS = (
    *(np.zeros(()), np.ones(1), np.zeros(0), np.zeros((0, 2)), np.zeros((2, 0)), np.zeros(3)),
    *(np.ones((2, 2)), np.ones((1, 1, 1, 1)), np.arange(6.0).reshape(2, 3).T, np.arange(4)),
    *(np.full(2, np.nan), np.array([1.0, np.inf]), np.array([2.5]), np.array("x")),
    *(np.array([1, None]), np.array([Opaque()]), np.array(["a", "b"]), np.array([1j, 2])),
    *(np.ma.array([1.0, 2.0], mask=[0, 1]), np.ones((1, 2)).view(np.matrix), np.float16([1, 2])),
    *(np.array(["2026-01-01"], "M8[D]"), np.zeros(2, "i4,f8"), np.zeros(2, ">f8")),
    # Of a size that no machine has.
    *(np.broadcast_to(np.float64(1), (2**40,)), np.broadcast_to(np.float64(1), (2**29, 2**29))),
    *(scipy.sparse.eye_array(2, format="csr"), scipy.sparse.eye_array(3, format="coo")),
)


def odd_values():
    return st.one_of(
        *map(st.sampled_from, (NUMBERS, THINGS, ARRAYS)),
        st.integers(-5, 70),
        st.floats(-3, 3),
    ).map(_own)


def _own(value):
    """A copy, so that no call sees what another one has done; of huge arrays there is one."""
    if isinstance(value, np.ndarray) and value.size < 2**20:
        return value.copy(order="K")
    return copy.copy(value) if isinstance(value, list | dict | set) else value


def variations(value):
    """What is nearly `value`."""
    if isinstance(value, np.ndarray):
        if value.size > 2**20 or value.dtype.kind not in "biuf":
            return st.just(value)
        return st.sampled_from(VARIATIONS).map(lambda vary: vary(value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return st.just(value)
    return st.sampled_from([-value, value + 1, value * 1000, str(value), [value]])


def _writable(array):
    return array.copy(order="K")


def _with_first(entry):
    def vary(array):
        changed = array.copy()
        with np.errstate(all="ignore"):
            if changed.size and changed.dtype.kind == "f":
                changed.flat[0] = entry
        return changed

    return vary


def _as(dtype):
    def vary(array):
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return array.astype(dtype)

    return vary


def _read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def _with_gaps(array):
    return np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array


def _unaligned(array):
    room = np.empty(array.nbytes + 1, np.uint8)
    there = room[1:].view(array.dtype).reshape(array.shape)
    there[...] = array
    return there


VARIATIONS = (
    *(_writable, _read_only, _with_gaps, _unaligned, np.asfortranarray, np.ma.asarray),
    *map(_with_first, (np.nan, np.inf, -np.inf, 1e300, -1e30, -0.0, 5e-324)),
    *map(_as, ("f4", "f8", "f2", "c16", "O", "i8", "i1", "u8", "?", ">f8", ">f4", "g", "U8")),
    lambda array: array[::-1] if array.ndim else array,
    lambda array: array[..., ::-1] if array.ndim else array,
    lambda array: array[:0] if array.ndim else array,
    lambda array: array[:1] if array.ndim else array,
    lambda array: array[1:] if array.ndim else array,
    lambda array: array[None],
    lambda array: array[..., None],
    lambda array: array.ravel(),
    lambda array: array.T,
    lambda array: np.concatenate([array, array]) if array.ndim else array,
    lambda array: np.broadcast_to(array.flat[0] if array.size else 0.0, array.shape),
    lambda array: array.tolist(),
    lambda array: tuple(array.tolist()) if array.ndim else array,
    lambda array: memoryview(array.copy()) if array.dtype.kind in "fiu" else array,
    lambda array: array.view(np.recarray) if array.ndim else array,
)


@st.composite
def replaced(draw, valid, odd=None):
    """The arguments of `valid`, functions that make each, with a few replaced.

    `odd` has strategies of its own for some of them.
    """
    odd = odd or {}
    names = sorted({*valid, *odd})
    arguments = {name: make() for name, make in valid.items()}
    for name in draw(st.lists(st.sampled_from(names), max_size=3, unique=True)):
        strategies = [odd_values()]
        if name in arguments:
            strategies.append(variations(arguments[name]))
        if name in odd:
            strategies.append(odd[name])
        arguments[name] = draw(st.one_of(strategies))
    return arguments


# An argument, or a layer or the loss of a network.
NAMED = re.compile(r"`\w+|^layer '|^the loss ")


def keep_promise(function, arguments, written=(), warns=(), own=()):
    """Call, and see that the promise is kept; the answer, or None where there is none.

    Parameters
    ----------
    function : callable
        What is called, with `arguments` by name.
    written : sequence of str
        Arguments that are written to.
    warns : sequence of str
        How warnings may begin.
    own : sequence of type
        Exceptions of the user's own code, besides `Mine`.
    """
    before = {name: _contents(value) for name, value in arguments.items() if name not in written}
    answer = None
    try:
        with warnings.catch_warnings():
            for message in warns:
                warnings.filterwarnings("ignore", message)
            answer = function(**arguments)
    except (Mine, MemoryError, *own):
        pass
    except (TypeError, ValueError) as error:
        message = str(error)
        calling = re.search(r"\(\) (takes|missing|got).*argument", message)  # the user's function
        if not NAMED.search(message) and not calling:
            raise AssertionError(f"names no argument: {type(error).__name__}: {message}") from error
    for name, contents in before.items():
        assert _contents(arguments[name]) == contents, f"`{name}` was written to"
    return answer


def _contents(value):
    """Something that tells whether `value` has changed, as far as that is easily seen."""
    if isinstance(value, np.ndarray) and value.dtype != object and value.size < 2**20:
        return value.shape, value.dtype.str, value.strides, value.tobytes()
    if isinstance(value, list | tuple):
        return [_contents(each) for each in value]
    if isinstance(value, dict):
        return {name: _contents(each) for name, each in value.items()}
    return id(value)
