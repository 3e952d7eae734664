"""Named tuples that compiled code can hold: what goes into a solve, and what comes out.

Knows nothing of Numba. `Options` has a field for each option that is a number, of whatever method:
they are read off METHODS.
"""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Iterable
from inspect import Parameter, Signature
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastopt.core.validate import Integer, NormOrder, Real, Steps, Weights
from fastopt.interface.methods import METHODS, OPTIONS_OF_DATA, Option

__all__ = ["CompiledResult", "Options", "OptionsType"]


def _is_number(name: str, option: Option) -> bool:
    # SciPy's `iprint` has no effect, and compiled code has no minibatches.
    if name == "iprint" or name in OPTIONS_OF_DATA:
        return False
    return isinstance(option.check, Real | Integer | NormOrder | Steps | Weights)


_FIELDS = tuple(
    dict.fromkeys(
        name
        for row in METHODS.values()
        for name, option in row.options.items()
        if _is_number(name, option)
    )
)
_NUMBER = Real()


class OptionsType(type):
    """The class of the class `Options`, by which Numba tells it from other named tuples."""


# The name hides the call from mypy, which would look for the fields in it.
_make_base: Any = namedtuple


class Options(_make_base("_Fields", _FIELDS), metaclass=OptionsType):  # type: ignore[misc]
    """Options of a solve, for `minimize` in ``@njit`` code, where a dict cannot hold them.

    In Python it can take the place of the dict as well. It has a field for each option of any of
    fastopt's methods that is a number; what they mean is described at `minimize`.

    Parameters
    ----------
    gtol, norm, ftol, xtol, stopval : float, optional
        When to stop: tolerances, the norm that ``gtol`` bounds, and a value that is good enough.
    maxiter, maxfev, maxtime : int or float, optional
        When to give up: after so many iterations, evaluations, seconds.
    c1, c2, maxls : float, float and int, optional
        The line search of those methods that have one.
    maxcor : int, optional
        How many pairs ``"l-bfgs"`` remembers.
    threads : int, optional
        How many threads share the work of ``"l-bfgs"``.
    initial_trust_radius, max_trust_radius, eta : float, optional
        The steps of trust-region methods: the longest at first and ever, and the least gain.
    finite_diff_rel_step, eps : float, optional
        Steps of differences, the same for all variables. With the rules from ``"gd"`` to
        ``"adan"``, ``eps`` is theirs.
    l1 : float, optional
        The weight of the l1 term of ``"fista"``, the same for all variables.
    lr, momentum, decay, beta1, beta2, beta3 : float, optional
        Hyperparameters of those rules, in the textbook's form.
    dampening, lr_decay, initial_accumulator, eps_root, momentum_decay, threshold : float, optional
        Those that only other flavors have, which compiled code has not.
    clip_norm, clip_value, weight_decay : float, optional
        What is done to the gradient before their step.

    Raises
    ------
    TypeError
        If a name is no option, or a value not a number. (Its range is checked by `minimize`, for
        the method that reads it.)

    See Also
    --------
    minimize : The solve, and the options with their defaults.

    Notes
    -----
    Every field is a float, NaN where the option keeps the method's default: so all options have
    one type in compiled code, whichever are given. None is taken for NaN. An option that the
    method does not have is ignored in compiled code, and in Python, too, with a warning.

    Examples
    --------
    >>> import fastopt
    >>> from numba import njit
    >>> @njit
    ... def bowl(x, centre):
    ...     return ((x - centre) ** 2).sum()
    >>> @njit
    ... def lowest(centre, gtol):
    ...     options = fastopt.Options(gtol=gtol, maxiter=100)
    ...     return fastopt.minimize(bowl, np.zeros(2), args=(centre,), options=options)
    >>> import numpy as np
    >>> lowest(np.array([1.0, 2.0]), 1e-6).x.round(4)
    array([1., 2.])

    The same from Python:

    >>> options = fastopt.Options(gtol=1e-6, maxiter=100)
    >>> options
    Options(gtol=1e-06, maxiter=100)
    >>> result = fastopt.minimize(bowl, [0.0, 0.0], args=(np.array([1.0, 2.0]),), options=options)
    >>> result.x.round(4)
    array([1., 2.])
    """

    __slots__ = ()

    def __new__(cls, *values: float | None, **named: float | None) -> Options:
        given: dict[str, Any] = dict(zip(_FIELDS, values, strict=False))
        unknown = [name for name in named if name not in _FIELDS or name in given]
        if unknown or len(values) > len(_FIELDS):
            what = repr(unknown[0]) if unknown else f"{len(values)} values"
            raise TypeError(f"`Options` takes {', '.join(_FIELDS)}, each once, got {what}")
        given.update(named)
        return tuple.__new__(cls, [_as_float(name, given.get(name)) for name in _FIELDS])

    @classmethod
    def _make(cls, values: Iterable[float | None]) -> Options:
        return cls(*values)  # so that `_replace` makes floats as well

    def __repr__(self) -> str:
        shown = (f"{name}={_as_written(value)}" for name, value in self.given().items())
        return f"Options({', '.join(shown)})"

    def given(self) -> dict[str, float]:
        """The options that are not left at their defaults.

        Returns
        -------
        dict
            Their values by name.

        Examples
        --------
        >>> from fastopt import Options
        >>> Options(maxiter=5).given()
        {'maxiter': 5.0}
        """
        return {name: value for name, value in self._asdict().items() if not math.isnan(value)}


# What help() and the documentation show.
Options.__signature__ = Signature(
    [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=None) for name in _FIELDS]
)


def _as_float(name: str, value: Any) -> float:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return math.nan
    return _NUMBER(name, value, 1)


def _as_written(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


class CompiledResult(NamedTuple):
    """What `minimize` returns in ``@njit`` code: the numbers of an OptimizeResult.

    Attributes
    ----------
    x : ndarray of float64, shape (n,)
        The best point found.
    fun : float
        The value there.
    jac : ndarray of float64, shape (n,)
        The gradient there.
    nit, nfev, njev, nhev : int
        How many iterations were run, and how often the function (for differences too), its gradient
        and its Hessian (or a product with that) were evaluated.
    status : int
        How the solve ended, by SciPy's numbers, as in `minimize`.
    success : bool
        Whether it ended at a minimum or where it was asked to.
    """

    x: NDArray[np.float64]
    fun: float
    jac: NDArray[np.float64]
    nit: int
    nfev: int
    njev: int
    nhev: int
    status: int
    success: bool
