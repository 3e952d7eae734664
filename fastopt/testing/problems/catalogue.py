"""The catalogue of Moré, Garbow & Hillstrom: a row per problem, and how to look one up.

Owns numbers, names and the dimensions that each problem takes; knows no formula.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from fastopt.testing.problems import fitting, scalable, small
from fastopt.testing.problems.definition import Definition
from fastopt.testing.problems.problem import Problem


@dataclass(frozen=True)
class _Scalable:
    """A row for a problem of any valid n."""

    number: int
    name: str
    define: Callable[[int], Definition]
    standard_n: int
    low: int = 1
    high: int | None = None
    multiple_of: int = 1

    def accepts(self, n: int) -> bool:
        return self.low <= n <= (self.high or n) and n % self.multiple_of == 0

    def expected(self) -> str:
        kind = f"a multiple of {self.multiple_of}" if self.multiple_of > 1 else "an integer"
        top = f" and at most {self.high}" if self.high else ""
        return f"{kind}, at least {self.low}{top},"

    def at(self, n: int) -> Problem:
        return Problem(self.number, self.name, partial(self.define, n))


@dataclass(frozen=True)
class _Fixed:
    """A row for a problem of one n."""

    number: int
    name: str
    define: Callable[[], Definition]
    standard_n: int

    def accepts(self, n: int) -> bool:
        return n == self.standard_n

    def expected(self) -> str:
        return str(self.standard_n)

    def at(self, n: int) -> Problem:
        return Problem(self.number, self.name, self.define)


_ROWS: tuple[_Fixed | _Scalable, ...] = (
    _Fixed(1, "Rosenbrock", partial(scalable.extended_rosenbrock, 2), 2),
    _Fixed(2, "Freudenstein and Roth", small.freudenstein_roth, 2),
    _Fixed(3, "Powell badly scaled", small.powell_badly_scaled, 2),
    _Fixed(4, "Brown badly scaled", small.brown_badly_scaled, 2),
    _Fixed(5, "Beale", small.beale, 2),
    _Fixed(6, "Jennrich and Sampson", fitting.jennrich_sampson, 2),
    _Fixed(7, "Helical valley", small.helical_valley, 3),
    _Fixed(8, "Bard", fitting.bard, 3),
    _Fixed(9, "Gaussian", fitting.gaussian, 3),
    _Fixed(10, "Meyer", fitting.meyer, 3),
    _Fixed(11, "Gulf research and development", fitting.gulf, 3),
    _Fixed(12, "Box three-dimensional", fitting.box, 3),
    _Fixed(13, "Powell singular", partial(scalable.extended_powell_singular, 4), 4),
    _Fixed(14, "Wood", small.wood, 4),
    _Fixed(15, "Kowalik and Osborne", fitting.kowalik_osborne, 4),
    _Fixed(16, "Brown and Dennis", fitting.brown_dennis, 4),
    _Fixed(17, "Osborne 1", fitting.osborne_1, 5),
    _Fixed(18, "Biggs EXP6", fitting.biggs_exp6, 6),
    _Fixed(19, "Osborne 2", fitting.osborne_2, 11),
    _Scalable(20, "Watson", scalable.watson, 6, low=2, high=31),
    _Scalable(21, "Extended Rosenbrock", scalable.extended_rosenbrock, 10, low=2, multiple_of=2),
    _Scalable(
        22, "Extended Powell singular", scalable.extended_powell_singular, 12, low=4, multiple_of=4
    ),
    _Scalable(23, "Penalty I", scalable.penalty_1, 10),
    _Scalable(24, "Penalty II", scalable.penalty_2, 10),
    _Scalable(25, "Variably dimensioned", scalable.variably_dimensioned, 10),
    _Scalable(26, "Trigonometric", scalable.trigonometric, 10),
    _Scalable(27, "Brown almost-linear", scalable.brown_almost_linear, 10, low=2),
    _Scalable(28, "Discrete boundary value", scalable.discrete_boundary_value, 10),
    _Scalable(29, "Discrete integral equation", scalable.discrete_integral_equation, 10),
    _Scalable(30, "Broyden tridiagonal", scalable.broyden_tridiagonal, 10),
    _Scalable(31, "Broyden banded", scalable.broyden_banded, 10),
    _Scalable(32, "Linear, full rank", scalable.linear_full_rank, 10),
    _Scalable(33, "Linear, rank 1", scalable.linear_rank_1, 10),
    _Scalable(
        34,
        "Linear, rank 1 with zero columns and rows",
        scalable.linear_rank_1_with_zeros,
        10,
        low=3,
    ),
    _Scalable(35, "Chebyquad", scalable.chebyquad, 8),
)


def more_garbow_hillstrom(n: int | None = None) -> tuple[Problem, ...]:
    """Make the unconstrained test problems of Moré, Garbow & Hillstrom.

    All 35, with exact gradients and Hessians. Four have a singular Hessian at every minimiser
    (13, 22, 33, 34), and several are known to defeat sound methods (4, 10, 11, 20).

    Parameters
    ----------
    n : int, optional
        Number of variables. By default each problem has its standard dimension, from 2 to 12;
        otherwise the problems are those that can be posed in `n` variables.

    Returns
    -------
    tuple of Problem
        In the order of their numbers.

    Raises
    ------
    TypeError
        If `n` is not an integer.
    ValueError
        If `n` is not positive.

    See Also
    --------
    problem : One problem, by name or number.

    References
    ----------
    J. J. Moré, B. S. Garbow, K. E. Hillstrom, "Testing unconstrained optimization software",
    ACM Transactions on Mathematical Software 7 (1981), 17-41, and its algorithm 566.

    V. Z. Averbukh, S. Figueroa, T. Schlick, "Remark on algorithm 566", ACM Transactions on
    Mathematical Software 20 (1994), 282-285: the Hessians.

    Examples
    --------
    >>> from fastopt.testing import more_garbow_hillstrom
    >>> len(more_garbow_hillstrom())
    35
    >>> for problem in more_garbow_hillstrom(n=3)[:4]:
    ...     print(problem)
    Problem(7, 'Helical valley', n=3, m=3)
    Problem(8, 'Bard', n=3, m=15)
    Problem(9, 'Gaussian', n=3, m=15)
    Problem(10, 'Meyer', n=3, m=16)
    """
    if n is None:
        return tuple(row.at(row.standard_n) for row in _ROWS)
    n = _integer("n", n)
    if n < 1:
        raise ValueError(f"`n` must be positive, got {n}")
    return tuple(row.at(n) for row in _ROWS if row.accepts(n))


def problem(name_or_number: str | int, n: int | None = None) -> Problem:
    """Make one test problem of Moré, Garbow & Hillstrom.

    Parameters
    ----------
    name_or_number : str or int
        Its published number, 1 to 35, or its name; case, punctuation and "and" do not matter.
    n : int, optional
        Number of variables, for a problem that leaves it free: any for which the publication
        defines it. Default: the standard dimension.

    Returns
    -------
    Problem
        The problem.

    Raises
    ------
    TypeError
        If `name_or_number` is neither a string nor an integer, or `n` is not an integer.
    ValueError
        If there is no such problem, or it cannot be posed in `n` variables.

    See Also
    --------
    more_garbow_hillstrom : All of them, with references.

    Examples
    --------
    >>> from fastopt.testing import problem
    >>> problem(16)
    Problem(16, 'Brown and Dennis', n=4, m=20)
    >>> large = problem("extended Rosenbrock", n=1_000_000)
    >>> large.fun(large.minimizers[0])
    0.0
    """
    row = _row(name_or_number)
    if n is None:
        return row.at(row.standard_n)
    n = _integer("n", n)
    if not row.accepts(n):
        raise ValueError(f"`n` must be {row.expected()} for {row.name}, got {n}")
    return row.at(n)


def _row(name_or_number: str | int) -> _Fixed | _Scalable:
    if isinstance(name_or_number, str):
        rows = {_key(row.name): row for row in _ROWS}
        key = _key(name_or_number)
        if key not in rows:
            close = difflib.get_close_matches(key, rows, n=1, cutoff=0.5)
            hint = f"; did you mean {rows[close[0]].name!r}?" if close else ""
            raise ValueError(
                f"`name_or_number` must be a problem's name, got {name_or_number!r}{hint}"
            )
        return rows[key]
    number = _integer("name_or_number", name_or_number, "a name or an integer")
    if not 1 <= number <= len(_ROWS):
        raise ValueError(f"`name_or_number` must be from 1 to {len(_ROWS)}, got {number}")
    return _ROWS[number - 1]


def _key(name: str) -> str:
    words = re.findall(r"[a-z0-9]+", name.lower())
    return " ".join(word for word in words if word != "and")


def _integer(argument: str, value: int, expected: str = "an integer") -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"`{argument}` must be {expected}, got {value!r}") from None
