"""Checks of what a caller passes, made before anything is compiled or evaluated.

Owns the wording: every error names the argument, what was expected and what came. Knows no
method and no option; the tables of `fastopt.interface.methods` combine the checks below.

A check is an immutable object: `expected` says in words what it takes, and calling it with the
argument's name, its value and the number of variables returns the value in the one form that
the solvers read. A value of the wrong type is a TypeError, one out of range a ValueError.
"""

from __future__ import annotations

import math
import numbers
import reprlib
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import LbfgsInvHessProduct

__all__ = [
    "UNLIMITED",
    "Callback",
    "Check",
    "Choice",
    "CurvaturePairs",
    "Flag",
    "Integer",
    "InverseHessian",
    "NormOrder",
    "Preconditioner",
    "Real",
    "StepSchedule",
    "Steps",
    "Switch",
    "Weights",
    "Workers",
    "check_callable",
    "is_valid_csr",
    "parameter_vector",
    "real_array",
    "real_vector",
    "warn_caller",
]

Vector = NDArray[np.float64]

# What a count's `inf` becomes: no solve gets there, and adding a few to it does not overflow.
UNLIMITED = 2**62

_PLAIN_KINDS = "biuf"
_PRECISIONS = (np.dtype(np.float32), np.dtype(np.float64))


class Check(Protocol):
    """What every check below is."""

    @property
    def expected(self) -> str: ...

    def __call__(self, name: str, value: Any, n: int) -> Any: ...


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn, and blame the first frame outside fastopt, however deep the call came from."""
    level = 2
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_inside(frame.f_globals.get("__name__")):
        frame = frame.f_back
        level += 1
    warnings.warn(message, category, stacklevel=level)


def _is_inside(module: object) -> bool:
    return isinstance(module, str) and module.partition(".")[0] == "fastopt"


def _wrong_type(name: str, expected: str, value: object) -> NoReturn:
    raise TypeError(f"`{name}` must be {expected}, got {_describe(value)}")


def _out_of_range(name: str, expected: str, value: object) -> NoReturn:
    raise ValueError(f"`{name}` must be {expected}, got {reprlib.repr(value)}")


def _describe(value: object) -> str:
    """A value in an error message: short, and never by running a large object's own repr."""
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    if isinstance(value, str | bytes | numbers.Number):
        return f"{reprlib.repr(value)} ({type(value).__name__})"
    return f"an object of type {type(value).__name__}"


def check_callable(name: str, value: object) -> None:
    if not callable(value):
        _wrong_type(name, "callable", value)


def real_vector(name: str, value: Any) -> Vector:
    """A scalar or one-dimensional sequence of finite real numbers, as contiguous float64.

    The result may share memory with `value`; whoever keeps it copies it.
    """
    array = real_array(name, "a one-dimensional array of real numbers", value)
    if array.ndim == 0:
        array = array.reshape(1)
    if array.ndim != 1:
        raise ValueError(f"`{name}` must be one-dimensional, got an array of shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"`{name}` must have at least one element, got an empty array")
    finite = np.isfinite(array)
    if np.count_nonzero(finite) < array.size:  # a microsecond less than `all`
        at = int(finite.argmin())
        raise ValueError(f"`{name}` must be finite, got {float(array[at])!r} at index {at}")
    return array


def parameter_vector(name: str, value: Any) -> NDArray[Any]:
    """A vector that is to be stepped in place, as it is: never a copy.

    Of the CPU; those of a GPU are `fastopt.solvers.device_stepper`'s to check.
    """
    if hasattr(value, "__cuda_array_interface__"):
        expected = "an array on the CPU here; those on a GPU are for first-order methods"
        _wrong_type(name, expected, value)
    if not isinstance(value, np.ndarray):
        _wrong_type(name, "an array of float32 or float64", value)
    if value.dtype not in _PRECISIONS or isinstance(value, np.ma.MaskedArray):
        _wrong_type(name, "an array of float32 or float64", value)
    if value.ndim != 1 or value.size == 0:
        raise ValueError(
            f"`{name}` must be one-dimensional with at least one element, got an array of shape "
            f"{value.shape}; fastopt.flatten makes one vector of several arrays"
        )
    if not value.flags.c_contiguous:
        raise ValueError(f"`{name}` must be contiguous, got an array with strides {value.strides}")
    if not value.flags.writeable:
        raise ValueError(f"`{name}` must be writeable, got a read-only array")
    return value


def real_array(name: str, expected: str, value: Any) -> Vector:
    if type(value) is np.ndarray and value.dtype == np.float64:
        return np.ascontiguousarray(value) if value.ndim else value
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"`{name}` must be {expected}, got a masked array, whose mask would be lost"
        )
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` must be {expected}, got {reprlib.repr(value)}") from error
    if array.dtype.kind not in _PLAIN_KINDS:
        if isinstance(value, list | tuple | np.ndarray):
            raise TypeError(f"`{name}` must be {expected}, got dtype {array.dtype}")
        _wrong_type(name, expected, value)
    with np.errstate(over="ignore"):  # an extended float out of range is then reported as inf
        return np.asarray(array, dtype=np.float64, order="C")


def is_valid_csr(csr: Any) -> bool:
    """Whether compiled loops can trust a CSR matrix of `scipy.sparse`.

    As SciPy's `check_format`, which would tidy up the user's object besides.
    """
    n, p = csr.shape
    indptr, entries = csr.indptr, min(len(csr.indices), len(csr.data))
    if len(indptr) != n + 1 or indptr[0] != 0 or indptr[-1] > entries:
        return False
    used = csr.indices[: indptr[-1]]
    in_range = used.size == 0 or (used.min() >= 0 and used.max() < p)
    return bool(in_range and (indptr[1:] >= indptr[:-1]).all())


def _real_number(name: str, expected: str, value: Any) -> float:
    """`value` as a float, if it is one real number, alone or in an array of one element."""
    if type(value) is float:
        return value
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "iuf":
        value = value.item()
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        _wrong_type(name, expected, value)
    try:
        return float(value)
    except OverflowError:
        _out_of_range(name, expected, value)


@dataclass(frozen=True, slots=True)
class Real:
    """A real number from `low` to `high`; `open_low` and `open_high` exclude the ends."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    @property
    def expected(self) -> str:
        if self.high < math.inf:
            ends = "(["[not self.open_low], ")]"[not self.open_high]
            return f"a number in {ends[0]}{self.low:g}, {self.high:g}{ends[1]}"
        finite = "finite " if self.open_high else ""
        if self.low == -math.inf:
            return f"a {finite}number"
        if self.low == 0.0:
            return f"a {finite}{'positive' if self.open_low else 'nonnegative'} number"
        return f"a {finite}number {'above' if self.open_low else 'of at least'} {self.low:g}"

    def __call__(self, name: str, value: Any, n: int) -> float:
        number = _real_number(name, self.expected, value) if type(value) is not float else value
        above = number > self.low if self.open_low else number >= self.low
        below = number < self.high if self.open_high else number <= self.high
        if not (above and below):  # so written, a NaN fails
            _out_of_range(name, self.expected, value)
        return number


@dataclass(frozen=True, slots=True)
class NormOrder:
    """The order of a vector norm: any number but 0 and NaN; ``-inf`` is the smallest element."""

    @property
    def expected(self) -> str:
        return "the order of a norm: inf, -inf or a nonzero number"

    def __call__(self, name: str, value: Any, n: int) -> float:
        number = _real_number(name, self.expected, value)
        if number == 0.0 or number != number:
            _out_of_range(name, self.expected, value)
        return number


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer of at least `low`. Integral floats pass, as ``maxiter=1e4`` is often written.

    With `unlimited`, ``inf`` passes too and becomes `UNLIMITED`.
    """

    low: int = -UNLIMITED
    unlimited: bool = False

    @property
    def expected(self) -> str:
        named = {-UNLIMITED: "an integer", 0: "a nonnegative integer", 1: "a positive integer"}
        words = named.get(self.low, f"an integer of at least {self.low}")
        return words + " or inf" if self.unlimited else words

    def __call__(self, name: str, value: Any, n: int) -> int:
        number: int = value
        if type(value) is not int:
            real = _real_number(name, self.expected, value)
            if self.unlimited and real == math.inf:
                return UNLIMITED
            if not real.is_integer():
                _out_of_range(name, self.expected, value)
            number = int(real)
        if number < self.low:
            _out_of_range(name, self.expected, value)
        return min(number, UNLIMITED)


@dataclass(frozen=True, slots=True)
class Flag:
    """True or False; an integer counts as nonzero or zero, as in verbosity levels."""

    @property
    def expected(self) -> str:
        return "True or False"

    def __call__(self, name: str, value: Any, n: int) -> bool:
        if not isinstance(value, bool | np.bool_ | numbers.Integral):
            _wrong_type(name, self.expected, value)
        return bool(value)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    values: tuple[str, ...]

    @property
    def expected(self) -> str:
        return "one of " + ", ".join(map(repr, self.values))

    def __call__(self, name: str, value: Any, n: int) -> str:
        if not isinstance(value, str):
            _wrong_type(name, self.expected, value)
        if value not in self.values:
            _out_of_range(name, self.expected, value)
        return value


@dataclass(frozen=True, slots=True)
class Switch:
    """True, False or one of a few words."""

    words: tuple[str, ...]

    @property
    def expected(self) -> str:
        return ", ".join(map(repr, (True, False, *self.words[:-1]))) + f" or {self.words[-1]!r}"

    def __call__(self, name: str, value: Any, n: int) -> bool | str:
        if isinstance(value, bool | np.bool_):
            return bool(value)
        if not isinstance(value, str):
            _wrong_type(name, self.expected, value)
        if value not in self.words:
            _out_of_range(name, self.expected, value)
        return value


@dataclass(frozen=True, slots=True)
class Steps:
    """A difference step: one for all variables, or one for each. A negative one looks backward."""

    @property
    def expected(self) -> str:
        return "a finite nonzero number or one for each variable"

    def __call__(self, name: str, value: Any, n: int) -> float | Vector:
        array = real_array(name, self.expected, value)
        if array.size != 1 and array.shape != (n,):
            raise ValueError(
                f"`{name}` must be {self.expected} ({n}), got an array of shape {array.shape}"
            )
        if not np.isfinite(array).all() or not array.all():
            _out_of_range(name, self.expected, value)
        return float(array.item()) if array.size == 1 else array.copy()


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of a term in each variable: one for all variables, or one for each."""

    low: float = 0.0
    open_high: bool = True

    @property
    def expected(self) -> str:
        return "a finite nonnegative number or one for each variable"

    def __call__(self, name: str, value: Any, n: int) -> float | Vector:
        array = real_array(name, self.expected, value)
        if array.size != 1 and array.shape != (n,):
            raise ValueError(
                f"`{name}` must be {self.expected} ({n}), got an array of shape {array.shape}"
            )
        possible = (array >= 0.0) & (array < math.inf)  # False for a NaN
        if not possible.all():
            _out_of_range(name, self.expected, value)
        return float(array.item()) if array.size == 1 else array.copy()


@dataclass(frozen=True, slots=True)
class InverseHessian:
    """A symmetric positive definite matrix of the problem's size."""

    @property
    def expected(self) -> str:
        return "a symmetric positive definite matrix of shape (n, n)"

    def __call__(self, name: str, value: Any, n: int) -> Vector:
        if isinstance(value, LbfgsInvHessProduct):
            value = value.todense()
        matrix = real_array(name, self.expected, value)
        if matrix.shape != (n, n):
            raise ValueError(
                f"`{name}` must be of shape {(n, n)}, got an array of shape {matrix.shape}"
            )
        if not np.isfinite(matrix).all():
            raise ValueError(f"`{name}` must be {self.expected}, got one with non-finite elements")
        # An inverse Hessian that another solve ended with is symmetric up to rounding alone.
        rounding = math.sqrt(np.finfo(np.float64).eps) * np.abs(matrix).max()
        if np.abs(matrix - matrix.T).max() > rounding:
            raise ValueError(f"`{name}` must be {self.expected}, got one that is not symmetric")
        symmetric = 0.5 * (matrix + matrix.T)
        try:
            np.linalg.cholesky(symmetric)
        except np.linalg.LinAlgError:
            raise ValueError(
                f"`{name}` must be {self.expected}, got one that is not positive definite"
            ) from None
        return symmetric


@dataclass(frozen=True, slots=True)
class CurvaturePairs:
    """The pairs of steps and gradient changes that L-BFGS ended with."""

    @property
    def expected(self) -> str:
        return "the hess_inv of a result of 'l-bfgs', a LbfgsInvHessProduct"

    def __call__(self, name: str, value: Any, n: int) -> tuple[Vector, Vector]:
        if not isinstance(value, LbfgsInvHessProduct):
            _wrong_type(name, self.expected, value)
        steps, changes = (
            np.array(each, dtype=np.float64, order="C") for each in (value.sk, value.yk)
        )
        if steps.shape[1] != n:
            raise ValueError(f"`{name}` must be of shape {(n, n)}, got one of shape {value.shape}")
        curvatures = (steps * changes).sum(axis=1)
        if not (np.isfinite(curvatures) & (curvatures > 0)).all():
            raise ValueError(f"`{name}` must be positive definite, got one that is not")
        return steps, changes


@dataclass(frozen=True, slots=True)
class Preconditioner:
    """An approximate inverse Hessian: its diagonal, or what multiplies a vector by it."""

    @property
    def expected(self) -> str:
        return (
            "an array of n positive numbers, a matrix of shape (n, n), a LinearOperator or a "
            "callable"
        )

    def __call__(self, name: str, value: Any, n: int) -> Any:
        if getattr(value, "shape", None) == (n, n) and hasattr(value, "dot"):
            return value.dot
        if callable(value):
            return value
        diagonal = real_array(name, self.expected, value)
        if diagonal.shape != (n,):
            raise ValueError(
                f"`{name}` must be {self.expected} with n = {n}, got an array of shape "
                f"{diagonal.shape}"
            )
        if not (np.isfinite(diagonal) & (diagonal > 0)).all():
            raise ValueError(f"`{name}` must be positive and finite, got {reprlib.repr(value)}")
        return diagonal.copy()


@dataclass(frozen=True, slots=True)
class Callback:
    """Something to be called."""

    @property
    def expected(self) -> str:
        return "callable"

    def __call__(self, name: str, value: Any, n: int) -> Any:
        check_callable(name, value)
        return value


@dataclass(frozen=True, slots=True)
class StepSchedule:
    """A schedule of step lengths, known by the table that it can be kept as."""

    @property
    def expected(self) -> str:
        return "one of fastopt.schedules"

    def __call__(self, name: str, value: Any, n: int) -> Any:
        if not isinstance(getattr(value, "table", None), np.ndarray):
            _wrong_type(name, self.expected, value)
        return value


@dataclass(frozen=True, slots=True)
class Workers:
    """A number of processes, -1 for one a core, or something that maps like `map`."""

    @property
    def expected(self) -> str:
        return "a positive integer, -1 or a map-like callable"

    def __call__(self, name: str, value: Any, n: int) -> int | Callable[..., Any]:
        if callable(value):
            return value  # type: ignore[no-any-return]
        if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
            _wrong_type(name, self.expected, value)
        number = int(value)
        if number < 1 and number != -1:
            _out_of_range(name, self.expected, value)
        return number
