"""The rows of a schedule's table, and what they say: which sequences and products it was made by.

Knows nothing of schedules: what a row, a sequence and a product are made into is the caller's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from fastopt.schedules._multiplier import COSINE_RESTARTS, EXPONENTIAL, INVERSE_SQRT, STEP

__all__ = ["Row", "fold"]

Value = TypeVar("Value")


class Row(NamedTuple):
    """A shape and when it is in force; see `_multiplier`."""

    kind: float
    begin: float
    until: float
    steps: float
    start: float
    end: float
    form: float

    @property
    def last(self) -> float:
        """After how many steps it changes no more, or is no more in force."""
        endless = self.kind in (COSINE_RESTARTS, EXPONENTIAL, STEP, INVERSE_SQRT)
        return min(self.until, math.inf if endless else self.begin + self.steps)


class _Part(NamedTuple):
    """Something made from a few rows, and when it is in force."""

    begin: float
    until: float
    value: Any


def fold(
    rows: Sequence[Row],
    leaf: Callable[[Row], Value],
    then: Callable[[Value, Value, int], Value],
    times: Callable[[Value, Value], Value],
) -> Value:
    """Put together what the rows of a schedule say, by sequences and products.

    Raises ValueError where they are neither.

    The rows of a sequence are those of its parts, in order, and so are those of a product. Which of
    the two it was shows in when they are in force: one after the other, or at the same time. The
    parts found so far that wait for more are on a stack. Two neighbours there follow each other in
    time, or the upper one is the beginning of a factor, and the lower one the factor before it.
    """

    malformed = ValueError("these rows are not those of a schedule")

    def in_sequence(parts: Sequence[_Part]) -> _Part:
        if any(lower.until != upper.begin for lower, upper in itertools.pairwise(parts)):
            raise malformed
        begin = parts[0].begin
        value = parts[0].value
        for part in parts[1:]:
            value = then(value, part.value, int(part.begin - begin))
        return _Part(begin, parts[-1].until, value)

    stack: list[_Part] = []
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        if stack and row.begin < stack[-1].until:
            # A factor begins. The one before it began at the same time, and is complete.
            begins = [part.begin for part in stack]
            if row.begin not in begins:
                raise malformed
            first = len(begins) - 1 - begins[::-1].index(row.begin)
            stack[first:] = [in_sequence(stack[first:])]
        elif row.begin != (stack[-1].until if stack else 0.0):
            raise malformed
        stack.append(_Part(row.begin, row.until, leaf(row)))
        for k in range(len(stack) - 1, 0, -1):
            lower, upper, until = stack[k - 1], stack[k], stack[-1].until
            if lower.until == upper.begin:
                continue
            # Unless the next row belongs to a factor within this one.
            inside = following is not None and upper.begin < following.begin < until
            if lower.until != until or inside:
                break
            product = times(lower.value, in_sequence(stack[k:]).value)
            stack[k - 1 :] = [_Part(lower.begin, until, product)]
    whole = in_sequence(stack)
    if whole.until != math.inf:
        raise malformed
    value: Value = whole.value
    return value
