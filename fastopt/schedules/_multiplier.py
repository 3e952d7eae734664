"""What a schedule's table means: the multiplier at a step, as scalar functions, written once.

Plain Python, which knows nothing of Numba: `fastopt.schedules.compiled` decorates these functions
with ``RULE``, so that the same lines run in the interpreter, in ``@njit`` code and as a C function.
They use what all three do alike: arithmetic, and the C library's pow, sin, sqrt and log.

A row of a table is one shape, in force from step ``begin`` to step ``until``::

    kind, begin, until, steps, start, end, form

Its multiplier goes from `start` to `end`: ``end + (start - end)*remaining``, where what remains of
the way, from 1 to 0, depends on the kind, on how many steps have been taken since `begin`, and on
`steps` and `form`. Where several rows are in force, the multiplier is their product. So a sequence
of schedules is their rows, cut off and moved; and a product is the rows of both. Steps are counted
from 0 here: ``begin`` is how many steps have been taken when the row takes over.
"""

from __future__ import annotations

import math
from typing import Any

__all__ = [
    "COLUMNS",
    "CONSTANT",
    "COSINE",
    "COSINE_RESTARTS",
    "EXPONENTIAL",
    "FUNCTIONS",
    "INVERSE_SQRT",
    "POLYNOMIAL",
    "STEP",
    "multiplier",
]

COLUMNS = 7

# The kinds of rows. Saved tables hold these numbers, so they never change.
CONSTANT = 0.0
POLYNOMIAL = 1.0
COSINE = 2.0
COSINE_RESTARTS = 3.0
EXPONENTIAL = 4.0
STEP = 5.0
INVERSE_SQRT = 6.0

_QUARTER_TURN = 0.5 * math.pi
_LOG_OF_LARGEST = 709.0


def multiplier(table: Any, rows: int, t: int) -> float:
    """What a schedule multiplies the step length by, at step `t`.

    Parameters
    ----------
    table : array, sequence or C pointer of float64
        The numbers of the rows, one row after the other; see the top of this file.
    rows : int
        How many there are.
    t : int
        Number of the step, from 1.

    Returns
    -------
    float

    Examples
    --------
    >>> halved_at_the_third_step = (
    ...     *(CONSTANT, 0.0, 2.0, 0.0, 1.0, 1.0, 1.0),
    ...     *(CONSTANT, 2.0, math.inf, 0.0, 0.5, 0.5, 1.0),
    ... )
    >>> [multiplier(halved_at_the_third_step, 2, t) for t in (1, 2, 3)]
    [1.0, 1.0, 0.5]
    """
    taken = float(t) - 1.0
    product = 1.0
    for i in range(0, COLUMNS * rows, COLUMNS):
        begin = table[i + 1]
        if begin <= taken < table[i + 2]:
            left = remaining(table[i], taken - begin, table[i + 3], table[i + 6])
            product *= between(table[i + 4], table[i + 5], left)
    return product


def remaining(kind: float, taken: float, steps: float, form: float) -> float:
    """What remains of the way from `start` to `end` after `taken` steps: 1 before the first."""
    if kind == CONSTANT:
        return 1.0
    if kind == POLYNOMIAL:
        left = max(steps - taken, 0.0) / steps
        return left if form == 1.0 else math.pow(left, form)
    if kind == COSINE:
        return half_wave(max(steps - taken, 0.0) / steps)
    if kind == COSINE_RESTARTS:
        if form == 1.0:
            return half_wave((steps - taken + steps * math.floor(taken / steps)) / steps)
        while taken >= steps:
            taken -= steps
            steps *= form
        return half_wave((steps - taken) / steps)
    if kind == EXPONENTIAL:
        return power(form, taken / steps)
    if kind == STEP:
        return power(form, float(math.floor(taken / steps)))
    return math.sqrt(steps / (steps + taken))  # INVERSE_SQRT


def half_wave(left: float) -> float:
    """``(1 - cos(pi*left))/2``, as a square: near the end, where it is small, it keeps its digits.

    Examples
    --------
    >>> half_wave(1.0), round(half_wave(0.5), 15), half_wave(0.0)
    (1.0, 0.5, 0.0)
    """
    root = math.sin(_QUARTER_TURN * left)
    return root * root


def power(base: float, exponent: float) -> float:
    """``base**exponent`` for a positive base; infinity where it overflows.

    Examples
    --------
    >>> power(0.5, 3.0), power(0.5, 1e9), power(2.0, 1e9)
    (0.125, 0.0, inf)
    """
    # In Python, pow would raise.
    if base > 1.0 and exponent * math.log(base) > _LOG_OF_LARGEST:
        return math.inf
    return math.pow(base, exponent)


def between(start: float, end: float, left: float) -> float:
    """``end + (start - end)*left``, exact at both ends and never, by rounding, outside of them.

    Examples
    --------
    >>> between(0.3, 0.1, 1.0), between(0.3, 0.1, 0.0), between(1.0, 0.0, 2.0)
    (0.3, 0.1, 2.0)
    """
    if left == 1.0:
        return start
    value = end + (start - end) * left
    outside = left < 1.0 and (value > start) == (start > end)
    return start if outside else value


#: All that has to be known to Numba for `multiplier` to be compiled.
FUNCTIONS = (multiplier, remaining, half_wave, power, between)
