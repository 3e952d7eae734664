"""What a benchmark consists of, before anything is measured.

Owns how answers are compared. Knows neither suites nor clocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Answers",
    "Call",
    "Case",
    "Contest",
    "Work",
    "apart_by_at_most",
    "right_digits",
    "unchecked",
]

MOST_DIGITS = 15.0


@dataclass(frozen=True)
class Call:
    """What is timed of one library; it returns its answer.

    `part` is how much of the row's work it does, where all of it would take a minute.
    """

    function: Callable[[], Any]
    part: float = 1.0


@dataclass(frozen=True)
class Work:
    """How much a row does, for a rate: `amount` of `unit` in each call."""

    amount: float
    unit: str


@dataclass(frozen=True)
class Answers:
    """Whether two libraries did the same, in short and in numbers."""

    text: str
    agree: bool
    numbers: Mapping[str, float] = field(default_factory=dict)


# Of fastopt's answer and a peer's, which is None where there is no peer.
Compare = Callable[[Any, Any], Answers]


@dataclass(frozen=True)
class Contest:
    """All who do the same work, ready to be timed."""

    ours: Call
    peers: Mapping[str, Call]
    compare: Compare


@dataclass(frozen=True)
class Case:
    """A row of the table. `prepare` makes its data, and compiles; `threads` are fastopt's."""

    name: str
    prepare: Callable[[], Contest]
    work: Work | None = None
    threads: int = 1


def unchecked(_ours: Any, _theirs: Any) -> Answers:
    return Answers("", agree=True)


def apart_by_at_most(tolerance: float) -> Compare:
    """Compare arrays, or sequences of them: the largest difference, relative to the largest entry.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.commands.bench.cases import apart_by_at_most
    >>> apart_by_at_most(1e-6)(np.array([4.0, 1.0]), np.array([4.0, 1.001])).text
    '2e-04'
    """

    def compare(ours: Any, theirs: Any) -> Answers:
        if theirs is None:
            return unchecked(ours, theirs)
        pairs = zip(as_arrays(ours), as_arrays(theirs), strict=True)
        apart = max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)
        return Answers(f"{apart:.0e}", apart <= tolerance, {"apart": apart})

    return compare


def as_arrays(answer: Any) -> list[NDArray[Any]]:
    return [np.asarray(each) for each in (answer if isinstance(answer, tuple) else (answer,))]


def right_digits(minimizer: NDArray[np.float64], needed: float) -> Compare:
    """Compare points with the known one; they agree if both have `needed` digits of it.

    A point's digits are those of its worst variable: -log10 of the relative error, or of the
    absolute one where the variable is to be 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.commands.bench.cases import right_digits
    >>> compare = right_digits(np.array([2.0, 0.0]), needed=3)
    >>> answers = compare(np.array([2.0, 1e-9]), np.array([2.1, 0.0]))
    >>> answers.text, answers.agree
    ('9 | 1', False)
    """

    def digits(x: NDArray[np.float64]) -> float:
        error = np.abs(x - minimizer) / np.where(minimizer == 0.0, 1.0, np.abs(minimizer))
        largest = float(error.max())
        if not math.isfinite(largest):
            return 0.0
        return min(MOST_DIGITS, max(0.0, -math.log10(max(largest, 1e-300))))

    def compare(ours: Any, theirs: Any) -> Answers:
        found = {"fastopt": digits(ours)}
        if theirs is not None:
            found["peer"] = digits(theirs)
        text = " | ".join(f"{math.floor(each)}" for each in found.values())
        return Answers(text, min(found.values()) >= needed, found)

    return compare
