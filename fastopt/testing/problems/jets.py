"""Values with first and second derivatives: forward differentiation of NumPy formulas.

A formula of ufuncs that is given jets for its variables returns its derivatives, exact to rounding.
Owns the chain rule; knows no formula.
"""

# NumPy types the elements of an array as Any, so every formula in them is Any as well.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from fastopt.testing.problems.definition import Array


@dataclass(frozen=True, eq=False)
class Jet(NDArrayOperatorsMixin):
    """A quantity at m data, and its derivatives by n variables.

    Attributes
    ----------
    value
        Shape (m,), or (1,) where it is the same at all.
    slope
        Shape (n, m).
    bend
        Second derivatives, shape (n, n, m); None where they are not asked for.
    """

    value: Array
    slope: Array
    bend: Array | None

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or options or ufunc not in _RULES:
            return NotImplemented
        return _RULES[ufunc](*inputs)


def variables(x: Array, *, second: bool) -> tuple[Jet, ...]:
    """Turn a point into one jet for each of its variables, with second derivatives or without."""
    n = x.size
    unit = np.eye(n, dtype=x.dtype)
    zero = np.zeros((n, n, 1), dtype=x.dtype) if second else None
    return tuple(Jet(x[k : k + 1], unit[:, k : k + 1], zero) for k in range(n))


def _outer(a: Array, b: Array) -> Array:
    return a[:, np.newaxis] * b[np.newaxis]


def _chain(a: Jet, value: Array, first: Any, second: Any) -> Jet:
    """A function of `a` alone, by its value and its two derivatives."""
    if a.bend is None:
        return Jet(value, first * a.slope, None)
    return Jet(value, first * a.slope, first * a.bend + second * _outer(a.slope, a.slope))


def _add(a: Any, b: Any) -> Jet:
    if not isinstance(b, Jet):
        return _chain(a, a.value + b, 1.0, 0.0)
    if not isinstance(a, Jet):
        return _add(b, a)
    bend = None if a.bend is None or b.bend is None else a.bend + b.bend
    return Jet(a.value + b.value, a.slope + b.slope, bend)


def _multiply(a: Any, b: Any) -> Jet:
    if not isinstance(b, Jet):
        return _chain(a, a.value * b, b, 0.0)
    if not isinstance(a, Jet):
        return _multiply(b, a)
    bend = None
    if a.bend is not None and b.bend is not None:
        mixed = _outer(a.slope, b.slope) + _outer(b.slope, a.slope)
        bend = a.value * b.bend + b.value * a.bend + mixed
    return Jet(a.value * b.value, a.value * b.slope + b.value * a.slope, bend)


def _divide(a: Any, b: Any) -> Jet:
    return _multiply(a, _power(b, -1.0) if isinstance(b, Jet) else 1.0 / b)


def _power(a: Any, b: Any) -> Jet:
    if not isinstance(b, Jet):
        value = a.value
        return _chain(a, value**b, b * value ** (b - 1.0), b * (b - 1.0) * value ** (b - 2.0))
    return _exp(_multiply(b, np.log(a)))


def _exp(a: Jet) -> Jet:
    growth = np.exp(a.value)
    return _chain(a, growth, growth, growth)


def _log(a: Jet) -> Jet:
    return _chain(a, np.log(a.value), 1.0 / a.value, -1.0 / a.value**2)


def _sin(a: Jet) -> Jet:
    sine = np.sin(a.value)
    return _chain(a, sine, np.cos(a.value), -sine)


def _cos(a: Jet) -> Jet:
    cosine = np.cos(a.value)
    return _chain(a, cosine, -np.sin(a.value), -cosine)


def _arctan(a: Jet) -> Jet:
    first = 1.0 / (1.0 + a.value**2)
    return _chain(a, np.arctan(a.value), first, -2.0 * a.value * first**2)


_RULES: dict[np.ufunc, Callable[..., Jet]] = {
    np.add: _add,
    np.subtract: lambda a, b: _add(a, -b),
    np.multiply: _multiply,
    np.divide: _divide,
    np.negative: lambda a: _multiply(a, -1.0),
    np.power: _power,
    np.exp: _exp,
    np.log: _log,
    np.sin: _sin,
    np.cos: _cos,
    np.arctan: _arctan,
}
