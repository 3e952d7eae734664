"""From what a caller passes as `bounds` to the arrays that solvers and objectives read.

Owns the checks, and the choice between a method with bounds and its twin without.
"""

from __future__ import annotations

import math
import reprlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds

from fastopt.interface.methods import METHODS, Method

__all__ = ["Box", "bound_arrays", "fit_method", "read_bounds", "refuse_bounds"]

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Box:
    """Bounds that have been checked, at least one of them finite: an array of shape (2, n)."""

    ends: NDArray[np.float64]


def read_bounds(bounds: Any, n: int) -> Box | None:
    """The bounds of n variables, checked; None if no bound is finite."""
    if bounds is None or isinstance(bounds, Box):
        return bounds
    low, high = bound_arrays(bounds, n)
    possible = (low <= high) & (low < math.inf) & (high > -math.inf)  # False for a NaN
    if not possible.all():
        at = int(possible.argmin())
        raise ValueError(
            "`bounds` must have no lower bound above its upper bound and no NaN, "
            f"got ({low[at]}, {high[at]}) at index {at}"
        )
    ends = np.stack((low, high))
    return Box(ends) if np.isfinite(ends).any() else None


def bound_arrays(bounds: Any, n: int) -> tuple[Vector, Vector]:
    """Lower and upper bounds, each of shape (n,)."""
    expected = f"`bounds` must be a Bounds or a sequence of {n} pairs (low, high)"
    if isinstance(bounds, Bounds):
        low, high = bounds.lb, bounds.ub
    else:
        if isinstance(bounds, np.ndarray) and bounds.shape != (n, 2):
            raise ValueError(f"{expected}, got an array of shape {bounds.shape}")
        try:
            pairs = [(low, high) for low, high in bounds]
        except (TypeError, ValueError):
            raise TypeError(f"{expected}, got {reprlib.repr(bounds)}") from None
        if len(pairs) != n:
            raise ValueError(f"{expected}, got {len(pairs)}")
        low = [-math.inf if low is None else low for low, _ in pairs]
        high = [math.inf if high is None else high for _, high in pairs]
    try:
        return _ends(low, n), _ends(high, n)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{expected} of real numbers, got {reprlib.repr(bounds)}") from None


def _ends(given: Any, n: int) -> Vector:
    """Lower or upper bounds as doubles; one stands for all."""
    array = np.asarray(given)
    if array.dtype.kind not in "biufO":
        raise TypeError
    with np.errstate(over="ignore"):  # an extended float out of range is no bound
        return np.broadcast_to(np.asarray(array, dtype=np.float64).ravel(), (n,))


def fit_method(row: Method, box: Box | None) -> Method | None:
    """The method's twin for such bounds; None if it takes none."""
    name = row.unbounded if box is None else row.bounded
    if name is None and box is not None:
        return None
    return METHODS[name] if name else row


def refuse_bounds(row: Method) -> ValueError:
    """What to raise for a method that takes no bounds."""
    return ValueError(
        f"`method` must be one that takes bounds, got {row.name!r}; leave `method` out, or "
        "transform the variables"
    )
