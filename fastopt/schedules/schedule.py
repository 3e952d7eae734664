"""Schedules as values, and the functions that make them.

Owns their rows, which `_multiplier` evaluates, and how schedules combine. Knows nothing of Numba.
"""

from __future__ import annotations

import inspect
import itertools
import math
import numbers
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastopt.core.validate import Choice, Integer, Real, real_array
from fastopt.schedules._multiplier import (
    COLUMNS,
    CONSTANT,
    COSINE,
    COSINE_RESTARTS,
    EXPONENTIAL,
    INVERSE_SQRT,
    POLYNOMIAL,
    STEP,
    multiplier,
)
from fastopt.schedules._rows import Row, fold

__all__ = [
    "Schedule",
    "constant",
    "cosine",
    "cosine_restarts",
    "exponential",
    "inverse_sqrt",
    "linear",
    "one_cycle",
    "piecewise",
    "polynomial",
    "step",
    "warmup",
]

_Value = TypeVar("_Value")

_COUNT = Integer(low=1)
_MULTIPLIER = Real(low=0.0, open_high=True)
_POSITIVE = Real(low=0.0, open_low=True, open_high=True)


@dataclass(frozen=True, repr=False)
class Schedule:
    """What the step length is multiplied by, as a function of the number of the step.

    Made by the functions of `fastopt.schedules`, or from a table. It is a value: it never changes,
    and two are equal if they have the same table. It pickles, can be a key of a dict, and its
    ``repr`` makes it again.

    Attributes
    ----------
    table : ndarray of float64, shape (rows, 7)
        All of it as numbers.
    steps : int or inf
        After how many steps it changes no more.

    See Also
    --------
    Plateau : A multiplier that depends on how training goes.

    Notes
    -----
    In ``@njit`` code a schedule can be an argument or a global, and is called in the same way, with
    one integer. The multiplier has the same bits there.

    Examples
    --------
    >>> from fastopt import schedules
    >>> schedule = schedules.warmup(500).then(schedules.cosine(9500, end=0.01))
    >>> schedule
    warmup(500).then(cosine(9500, end=0.01), after=500)
    >>> schedule(1), schedule(501), schedule(10_001)
    (0.001996..., 1.0, 0.01)
    >>> schedule([1, 501, 5251]).round(3)
    array([0.002, 1.   , 0.505])

    In a training loop of your own:

    >>> import numpy as np
    >>> from numba import njit
    >>> from fastopt.rules import gd_step
    >>> @njit
    ... def train(x, steps, lr, schedule):
    ...     for t in range(1, steps + 1):
    ...         gd_step(x, 2 * x, np.empty((0, x.size)), (lr * schedule(t),), t)
    ...     return x
    >>> bool(train(np.ones(2), 100, 0.1, schedules.linear(100)).max() < 1e-4)
    True
    """

    _rows: tuple[Row, ...]

    # Or a NumPy number on the left would take a schedule for an array.
    __array_ufunc__ = None

    @overload
    def __call__(self, t: int | np.integer[Any]) -> float: ...
    @overload
    def __call__(self, t: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.float64]: ...

    def __call__(self, t: Any) -> Any:
        """The multiplier at step `t`.

        Parameters
        ----------
        t : int or array_like of int
            Numbers of steps; the first is 1.

        Returns
        -------
        float or ndarray of float64 of the shape of `t`

        Raises
        ------
        TypeError
            `t` is no integer and no array of integers.
        ValueError
            `t` is below 1.

        Examples
        --------
        >>> from fastopt import schedules
        >>> schedules.step(0.1, every=30)(31)
        0.1
        """
        try:
            number = np.asarray(t)
        except ValueError:  # rows of different lengths
            raise TypeError(f"`t` must be an integer or an array of integers, got {t!r}") from None
        if number.dtype.kind not in "iu":
            raise TypeError(f"`t` must be an integer or an array of integers, got {t!r}")
        if number.size and number.min() < 1:
            raise ValueError(f"`t` must count steps from 1, got {number.min()}")
        table, rows = self._numbers, len(self._rows)
        if number.ndim == 0:
            return multiplier(table, rows, number.item())
        values = [multiplier(table, rows, each) for each in number.ravel().tolist()]
        return np.array(values, dtype=np.float64).reshape(number.shape)

    def then(self, following: Schedule, after: int | None = None) -> Schedule:
        """This schedule for some steps, then another, which begins at its own beginning.

        Parameters
        ----------
        following : Schedule
            What comes next. At step ``after + 1`` it is at its step 1.
        after : int, optional
            For how many steps this schedule is in force; ``steps`` by default.

        Returns
        -------
        Schedule

        Raises
        ------
        TypeError
            `following` is no schedule.
        ValueError
            `after` is not positive, or is not given where this schedule has no end of its own.

        Examples
        --------
        >>> from fastopt import schedules
        >>> schedule = schedules.linear(10, end=0.5).then(schedules.step(0.5, every=5))
        >>> schedule([1, 6, 11, 16])
        array([1.  , 0.75, 1.  , 0.5 ])
        >>> hold = schedules.constant(1.0).then(schedules.linear(10), after=20)
        >>> hold.steps
        30
        """
        if not isinstance(following, Schedule):
            raise TypeError(f"`following` must be a Schedule, got {type(following).__name__}")
        if after is None:
            if not 0 < self.steps < math.inf:
                raise ValueError(f"`after` must be given, for {self!r} has no end of its own")
            after = int(self.steps)
        cut = float(_COUNT("after", after, 1))
        first = (row._replace(until=min(row.until, cut)) for row in self._rows if row.begin < cut)
        second = (
            row._replace(begin=row.begin + cut, until=row.until + cut) for row in following._rows
        )
        return Schedule((*first, *second))

    def __mul__(self, other: object) -> Schedule:
        """The product with another schedule, which runs beside this one, or with a number."""
        if isinstance(other, numbers.Real):
            other = constant(other)  # type: ignore[arg-type]
        if not isinstance(other, Schedule):
            return NotImplemented
        return Schedule(self._rows + other._rows)

    def __rmul__(self, other: object) -> Schedule:
        return constant(other) * self if isinstance(other, numbers.Real) else NotImplemented  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return fold(
            self._rows,
            leaf=_written,
            then=lambda first, second, after: (
                f"{f'({first})' if ' * ' in first else first}.then({second}, after={after})"
            ),
            times=lambda first, second: f"{first} * {second}",
        )

    @property
    def steps(self) -> float:
        """After how many steps it changes no more: 0 for a constant, inf if it never ends."""
        last = max(row.last for row in self._rows)
        return int(last) if last < math.inf else last

    @property
    def table(self) -> NDArray[np.float64]:
        """The schedule as numbers, an array of its own each time: what ``np.savez`` can hold.

        Examples
        --------
        >>> from fastopt import schedules
        >>> schedules.warmup(9).then(schedules.constant(1.0)).table.shape
        (2, 7)
        """
        return np.array(self._rows)

    @classmethod
    def from_table(cls, table: ArrayLike) -> Schedule:
        """The schedule that has this table.

        Parameters
        ----------
        table : array_like, shape (rows, 7)
            What ``table`` of a schedule was, from this version of fastopt or an earlier one.

        Returns
        -------
        Schedule

        Raises
        ------
        ValueError
            The table is none that a schedule has.

        Examples
        --------
        >>> from fastopt import schedules
        >>> schedule = schedules.warmup(10) * schedules.cosine(100)
        >>> schedules.Schedule.from_table(schedule.table) == schedule
        True
        """
        expected = f"an array of shape (rows, {COLUMNS})"
        array = real_array("table", expected, table)
        if array.ndim != 2 or array.shape[1] != COLUMNS or len(array) == 0:
            raise ValueError(f"`table` must be {expected}, got one of shape {array.shape}")
        rows = tuple(Row(*row) for row in array.tolist())
        try:
            fold(rows, leaf=_check, then=lambda *parts: None, times=lambda *factors: None)
        except (ValueError, OverflowError) as error:
            raise ValueError("`table` must be that of a schedule, got another") from error
        return cls(rows)

    @property
    def _numbers(self) -> tuple[float, ...]:
        """The rows, one after the other."""
        return tuple(itertools.chain.from_iterable(self._rows))

    @property
    def _numba_type_(self) -> Any:
        """What Numba asks an object for when it meets it for the first time."""
        return import_module("fastopt.schedules.compiled").SCHEDULE


# What help() shows. Schedules are made by the functions below, which check what they are given.
Schedule.__signature__ = inspect.Signature()  # type: ignore[attr-defined]


# --- shapes --------------------------------------------------------------------------------------


def constant(value: float) -> Schedule:
    """The same multiplier at every step.

    Parameters
    ----------
    value : float
        The multiplier, finite and not negative.

    Returns
    -------
    Schedule

    Raises
    ------
    ValueError, TypeError
        The argument is out of range, or no number.

    Examples
    --------
    >>> from fastopt import schedules
    >>> schedules.constant(0.5)(1000)
    0.5
    """
    value = _MULTIPLIER("value", value, 1)
    return _shape(CONSTANT, 0, value, value)


def linear(steps: int, *, start: float = 1.0, end: float = 0.0) -> Schedule:
    """Along a straight line from `start` to `end`, and constant from then on.

    Parameters
    ----------
    steps : int
        The multiplier is `start` at step 1 and `end` at step ``steps + 1``.
    start, end : float, default 1 and 0
        The first and the last multiplier.

    Returns
    -------
    Schedule

    Raises
    ------
    ValueError, TypeError
        An argument is out of range, or no number.

    Examples
    --------
    >>> from fastopt import schedules
    >>> schedules.linear(4)([1, 2, 3, 4, 5, 6])
    array([1.  , 0.75, 0.5 , 0.25, 0.  , 0.  ])
    """
    return polynomial(steps, 1.0, start=start, end=end)


def warmup(steps: int, *, start: float | None = None) -> Schedule:
    """Up along a straight line to 1: short steps first (Goyal et al. 2017, arXiv:1706.02677).

    Parameters
    ----------
    steps : int
        How many steps are shorter than the full one. At step ``steps + 1`` the multiplier is 1.
    start : float, optional
        The multiplier at step 1; ``1/(steps + 1)`` by default, so that at step ``t`` it is
        ``t/(steps + 1)``. With 0 the first step leads nowhere.

    Returns
    -------
    Schedule

    Raises
    ------
    ValueError, TypeError
        An argument is out of range, or no number.

    Examples
    --------
    >>> from fastopt import schedules
    >>> schedules.warmup(3)([1, 2, 3, 4, 5])
    array([0.25, 0.5 , 0.75, 1.  , 1.  ])
    """
    steps = _COUNT("steps", steps, 1)
    return linear(steps, start=1.0 / (steps + 1.0) if start is None else start, end=1.0)


def polynomial(steps: int, power: float, *, start: float = 1.0, end: float = 0.0) -> Schedule:
    """``end + (start - end)*(1 - s/steps)**power`` after s steps, and `end` from there on.

    Parameters
    ----------
    steps : int
        The multiplier is `start` at step 1 and `end` at step ``steps + 1``.
    power : float
        Positive; 1 is a straight line, more falls faster at first.
    start, end : float, default 1 and 0
        The first and the last multiplier.

    Returns
    -------
    Schedule

    Raises
    ------
    ValueError, TypeError
        An argument is out of range, or no number.

    Examples
    --------
    >>> from fastopt import schedules
    >>> schedules.polynomial(4, power=2)([1, 2, 3, 4, 5])
    array([1.    , 0.5625, 0.25  , 0.0625, 0.    ])
    """
    power = _POSITIVE("power", power, 1)
    return _curve(POLYNOMIAL, steps, start, end, power)


def cosine(steps: int, *, start: float = 1.0, end: float = 0.0) -> Schedule:
    """Half a wave of a cosine from `start` to `end`, and constant from then on.

    Loshchilov & Hutter (ICLR 2017, arXiv:1608.03983), equation 5.

    Parameters
    ----------
    steps : int
        The multiplier is `start` at step 1 and `end` at step ``steps + 1``.
    start, end : float, default 1 and 0
        The first and the last multiplier.

    Returns
    -------
    Schedule

    Raises
    ------
    ValueError, TypeError
        An argument is out of range, or no number.

    See Also
    --------
    cosine_restarts : The same again and again.

    Examples
    --------
    >>> from fastopt import schedules
    >>> schedules.cosine(4, end=0.2)([1, 2, 3, 4, 5, 6]).round(3)
    array([1.   , 0.883, 0.6  , 0.317, 0.2  , 0.2  ])
    """
    return _curve(COSINE, steps, start, end)


def cosine_restarts(
    steps: int, *, growth: int = 1, start: float = 1.0, end: float = 0.0
) -> Schedule:
    """Cosines from `start` towards `end`, one after the other (SGDR).

    Loshchilov & Hutter (ICLR 2017, arXiv:1608.03983), section 3.

    Parameters
    ----------
    steps : int
        How many steps the first cosine takes. It would be at `end` where the next one starts.
    growth : int, default 1
        Each takes `growth` times as many steps as the one before.
    start, end : float, default 1 and 0
        The ends of each cosine.

    Returns
    -------
    Schedule

    Raises
    ------
    ValueError, TypeError
        An argument is out of range, or no number.

    Examples
    --------
    >>> from fastopt import schedules
    >>> schedules.cosine_restarts(2, growth=2)([1, 2, 3, 4, 5, 6, 7]).round(3)
    array([1.   , 0.5  , 1.   , 0.854, 0.5  , 0.146, 1.   ])
    """
    growth = _COUNT("growth", growth, 1)
    return _curve(COSINE_RESTARTS, steps, start, end, float(growth))


def one_cycle(
    steps: int,
    *,
    rise: int | None = None,
    start: float = 1 / 25,
    end: float = 1 / 250_000,
    shape: str = "cosine",
) -> Schedule:
    """Up from `start` to 1, then down to `end` (Smith & Topin 2019, arXiv:1708.07120).

    The step length that it multiplies is the largest one.

    Parameters
    ----------
    steps : int
        How many steps it takes in all, at least 2. At step ``steps + 1`` the multiplier is `end`.
    rise : int, optional
        How many of them go up; three tenths by default.
    start, end : float, default 1/25 and 1/250000
        The first and the last multiplier.
    shape : {"cosine", "linear"}
        How it goes up and down.

    Returns
    -------
    Schedule

    Raises
    ------
    ValueError, TypeError
        An argument is out of range, or of another type.

    Examples
    --------
    >>> from fastopt import schedules
    >>> schedule = schedules.one_cycle(10, start=0.1, end=0.0, shape="linear")
    >>> schedule
    warmup(3, start=0.1).then(linear(7), after=3)
    >>> schedule([1, 4, 11])
    array([0.1, 1. , 0. ])
    """
    steps = Integer(low=2)("steps", steps, 1)
    rise = max(1, round(0.3 * steps)) if rise is None else _COUNT("rise", rise, 1)
    if rise >= steps:
        raise ValueError(f"`rise` must be below `steps`, which is {steps}, got {rise}")
    start, end = _MULTIPLIER("start", start, 1), _MULTIPLIER("end", end, 1)
    half = {"cosine": cosine, "linear": linear}[Choice(("cosine", "linear"))("shape", shape, 1)]
    return half(rise, start=start, end=1.0).then(half(steps - rise, end=end))


def step(gamma: float, *, every: int) -> Schedule:
    """Multiplied by `gamma` each time `every` steps have been taken.

    Parameters
    ----------
    gamma : float
        Positive.
    every : int
        For how many steps the multiplier stays as it is.

    Returns
    -------
    Schedule

    Raises
    ------
    ValueError, TypeError
        An argument is out of range, or no number.

    Examples
    --------
    >>> from fastopt import schedules
    >>> schedules.step(0.5, every=2)([1, 2, 3, 4, 5])
    array([1.  , 1.  , 0.5 , 0.5 , 0.25])
    """
    gamma, every = _POSITIVE("gamma", gamma, 1), _COUNT("every", every, 1)
    return _shape(STEP, every, 1.0, 0.0, gamma)


def exponential(gamma: float, *, every: int = 1) -> Schedule:
    """``gamma**(s/every)`` after s steps.

    Parameters
    ----------
    gamma : float
        Positive. Above 1 it grows, for trying which step length is too long (Smith 2017,
        arXiv:1506.01186).
    every : int, default 1
        After so many steps the multiplier is `gamma` times what it was.

    Returns
    -------
    Schedule

    Raises
    ------
    ValueError, TypeError
        An argument is out of range, or no number.

    Examples
    --------
    >>> from fastopt import schedules
    >>> schedules.exponential(0.25, every=2)([1, 2, 3, 4, 5])
    array([1.    , 0.5   , 0.25  , 0.125 , 0.0625])
    """
    gamma, every = _POSITIVE("gamma", gamma, 1), _COUNT("every", every, 1)
    return _shape(EXPONENTIAL, every, 1.0, 0.0, gamma)


def inverse_sqrt(steps: int) -> Schedule:
    """``sqrt(steps/(steps + s))`` after s steps: it falls for ever, and ever more slowly.

    ``warmup(k - 1).then(inverse_sqrt(k))`` is the schedule of Vaswani et al. (2017,
    arXiv:1706.03762), equation 3, with 1 as its largest value; ``inverse_sqrt(1)`` is
    ``1/sqrt(t)``.

    Parameters
    ----------
    steps : int
        The larger, the slower: after three times as many the multiplier is a half.

    Returns
    -------
    Schedule

    Raises
    ------
    ValueError, TypeError
        The argument is out of range, or no number.

    Examples
    --------
    >>> from fastopt import schedules
    >>> schedules.inverse_sqrt(100)([1, 301, 1501])
    array([1.  , 0.5 , 0.25])
    """
    return _shape(INVERSE_SQRT, _COUNT("steps", steps, 1), 1.0, 0.0)


def piecewise(boundaries: Sequence[int], values: Sequence[float]) -> Schedule:
    """One constant multiplier after the other.

    Parameters
    ----------
    boundaries : sequence of int, length k
        After how many steps in all the next value takes over: positive and increasing.
    values : sequence of float, length k + 1
        The multipliers.

    Returns
    -------
    Schedule

    Raises
    ------
    ValueError, TypeError
        An argument is out of range, or holds what is no number; or the lengths do not match.

    Examples
    --------
    >>> from fastopt import schedules
    >>> schedules.piecewise([30, 60], [1.0, 0.1, 0.01])([1, 30, 31, 60, 61])
    array([1.  , 1.  , 0.1 , 0.1 , 0.01])
    """
    limits = [_COUNT("boundaries", each, 1) for each in _listed("boundaries", boundaries)]
    heights = [_MULTIPLIER("values", each, 1) for each in _listed("values", values)]
    if len(heights) != len(limits) + 1:
        raise ValueError(
            f"`values` must hold one number more than `boundaries` ({len(limits)}), "
            f"got {len(heights)}"
        )
    if any(left >= right for left, right in itertools.pairwise(limits)):
        raise ValueError(f"`boundaries` must increase, got {limits}")
    edges = [0.0, *map(float, limits), math.inf]
    return Schedule(
        tuple(
            Row(CONSTANT, begin, until, 0.0, value, value, 1.0)
            for (begin, until), value in zip(itertools.pairwise(edges), heights, strict=True)
        )
    )


def _curve(kind: float, steps: int, start: float, end: float, form: float = 1.0) -> Schedule:
    steps = _COUNT("steps", steps, 1)
    return _shape(kind, steps, _MULTIPLIER("start", start, 1), _MULTIPLIER("end", end, 1), form)


def _shape(kind: float, steps: int, start: float, end: float, form: float = 1.0) -> Schedule:
    return Schedule((Row(kind, 0.0, math.inf, float(steps), start, end, form),))


def _listed(name: str, values: Iterable[_Value]) -> list[_Value]:
    try:
        return list(values)
    except TypeError:
        raise TypeError(
            f"`{name}` must be a sequence of numbers, got an object of type {type(values).__name__}"
        ) from None


# --- back from a row to what it was made by -----------------------------------------------------


def _call(row: Row) -> tuple[Callable[..., Schedule], tuple[float, ...], dict[str, float]]:
    """The function that makes the shape of a row, and its arguments."""
    steps, ends = int(row.steps), {"start": row.start, "end": row.end}
    if row.kind == CONSTANT:
        return constant, (row.start,), {}
    if row.kind == POLYNOMIAL and row.form != 1.0:
        return polynomial, (steps, row.form), ends
    if row.kind == POLYNOMIAL and row.end != 1.0:
        return linear, (steps,), ends
    if row.kind == POLYNOMIAL:
        usual = warmup(steps)._rows[0].start == row.start
        return warmup, (steps,), {} if usual else {"start": row.start}
    if row.kind == COSINE:
        return cosine, (steps,), ends
    if row.kind == COSINE_RESTARTS:
        return cosine_restarts, (steps,), {"growth": int(row.form), **ends}
    if row.kind == EXPONENTIAL:
        return exponential, (row.form,), {"every": steps}
    if row.kind == STEP:
        return step, (row.form,), {"every": steps}
    if row.kind == INVERSE_SQRT:
        return inverse_sqrt, (steps,), {}
    raise ValueError(f"there is no kind {row.kind}")


def _check(row: Row) -> None:
    """Raise ValueError or OverflowError unless the shape of a row is one of those above."""
    function, arguments, keywords = _call(row)
    (made,) = function(*arguments, **keywords)._rows
    if made != row._replace(begin=made.begin, until=made.until):
        raise ValueError("these numbers are not those of a shape")


def _written(row: Row) -> str:
    function, arguments, keywords = _call(row)
    parameters = inspect.signature(function).parameters
    changed = {name: value for name, value in keywords.items() if value != parameters[name].default}
    shown = [*map(repr, arguments), *(f"{name}={value!r}" for name, value in changed.items())]
    return f"{function.__name__}({', '.join(shown)})"
