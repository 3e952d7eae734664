"""Steps over whole vectors, made from the scalar rules.

Owns the one loop of all first-order methods and its two compiled forms: a C function for the
solvers, and a function over arrays for training loops. Knows no rule by name; a rule is looked up
in the table. Importing this module imports Numba; a rule is compiled when it is first asked for,
and kept in Numba's cache on disk.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numba import carray, types
from numpy.typing import DTypeLike

from fastopt.core._jit import RULE, compile_c_function, compile_step
from fastopt.rules._arguments import as_tuple, check_lengths, check_types
from fastopt.rules._precision import in_double, in_own_precision
from fastopt.rules._unroll import cast, put, take
from fastopt.rules.table import Rule, find_rule


class CStep(Protocol):
    """A compiled step; see :func:`c_step`."""

    @property
    def address(self) -> int:
        """Where the C function is, valid for as long as this object lives."""


def _c_signature(real: Any) -> Any:
    return types.void(
        types.CPointer(real),  # x
        types.CPointer(real),  # grad
        types.CPointer(real),  # slots
        types.CPointer(types.float64),  # hyperparameters
        types.int64,  # t
        types.int64,  # n
        types.int64,  # stride
    )


_C_SIGNATURES = {
    np.dtype(np.float32): _c_signature(types.float32),
    np.dtype(np.float64): _c_signature(types.float64),
}

# Kept for the life of the process: solvers hold bare addresses of what is in here. The keys name
# what is compiled; several flavors of a rule may be one.
_C_STEPS: dict[Any, CStep] = {}
_ARRAY_STEPS: dict[Any, Callable[..., None]] = {}


def c_step(name: str, flavor: str = "textbook", dtype: DTypeLike = np.float64) -> CStep:
    """The rule as a C function over vectors.

    Its signature, with `real` for the type of the parameters, is ::

        void step(real *x, const real *grad, real *slots, const double *hyperparameters,
                  int64_t t, int64_t n, int64_t stride)

    `x` and `grad` hold n numbers, and each slot's n numbers begin `stride` after those of the one
    before it, so that a piece of a vector can be stepped with the same slots (they are never
    touched where the rule has none). `hyperparameters` are those of the table's row, in its order.
    `t` counts from 1. `x` and the slots are updated in place. Nothing is checked; no GIL is needed.

    Parameters
    ----------
    name : str
        A key of :data:`fastopt.rules.table.RULES`.
    flavor : str, default "textbook"
        Whose form of it.
    dtype : float32 or float64, default float64
        That of the parameters.

    Returns
    -------
    CStep
        The same object at every call; its ``address`` stays valid until the process ends.

    Raises
    ------
    ValueError
        There is no such rule, or it has no such flavor.

    Examples
    --------
    >>> import ctypes
    >>> import numpy as np
    >>> prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4, *[ctypes.c_int64] * 3)
    >>> step = prototype(c_step("gd").address)
    >>> x, grad, lr = np.array([1.0, 2.0]), np.array([4.0, 8.0]), np.array([0.25])
    >>> step(x.ctypes.data, grad.ctypes.data, None, lr.ctypes.data, 1, 2, 2)
    >>> x
    array([0., 0.])
    """
    rule = find_rule(name, flavor)
    dtype = np.dtype(dtype)
    key = (*_identity(rule), dtype)
    if key not in _C_STEPS:
        parts = _parts(rule)
        step = make_c_step(*parts, rule.slots, len(rule.hyperparameters))
        compiled = compile_c_function(_C_SIGNATURES[dtype], step, *parts)
        # Threads may get here at once, and a lock could deadlock with Numba's own. The first to
        # arrive is kept, and no other address is ever handed out.
        _C_STEPS.setdefault(key, compiled)
    return _C_STEPS[key]


def njit_step(name: str, flavor: str = "textbook") -> Callable[..., None]:
    """The rule as an in-place step over arrays, for training loops in ``@njit`` code or Python.

    The function is ``step(x, grad, slots, hyperparameters, t)``:

    * `x`, `grad`: 1-D arrays of one length, both float32 or both float64;
    * `slots`: (slots, n) array of the same dtype, zero before the first step, ``(0, n)`` for a rule
      that remembers nothing;
    * `hyperparameters`: a tuple of numbers or a 1-D array, those of the table's row in its order;
    * `t`: number of the step, from 1.

    It updates `x` and `slots`. What the whole vector shares is computed in double; the loop over
    the parameters is in their own dtype throughout. Contiguous arrays make it fast, others work.
    It raises TypeError for dtypes and dimensions, when it is compiled for them, and ValueError for
    lengths and `t`. The values of the hyperparameters are not checked.

    Parameters
    ----------
    name : str
        A key of :data:`fastopt.rules.table.RULES`.
    flavor : str, default "textbook"
        Whose form of it.

    Returns
    -------
    callable
        A Numba dispatcher, the same at every call, compiled at its first use with each dtype.

    Raises
    ------
    ValueError
        There is no such rule.

    Examples
    --------
    >>> import numpy as np
    >>> from numba import njit
    >>> adam_step = njit_step("adam")       # or: from fastopt.rules import adam_step
    >>> @njit
    ... def fit(target, steps, hyperparameters):
    ...     x = np.zeros_like(target)
    ...     slots = np.zeros((2, x.size), x.dtype)
    ...     for t in range(1, steps + 1):
    ...         adam_step(x, x - target, slots, hyperparameters, t)
    ...     return x
    >>> fit(np.array([1.0, -2.0, 3.0]), 2000, (0.01, 0.9, 0.999, 1e-8)).round(6)
    array([ 1., -2.,  3.])
    """
    rule = find_rule(name, flavor)
    key = (rule.name, rule.flavor)
    if key not in _ARRAY_STEPS:
        parts = _parts(rule)
        step = make_step(*parts, rule.slots, len(rule.hyperparameters))
        step.__name__, step.__doc__ = f"{rule.identifier}_step", _describe(rule)
        _ARRAY_STEPS.setdefault(key, compile_step(step, *parts))
    return _ARRAY_STEPS[key]


def rule_functions(
    name: str, flavor: str = "textbook"
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The scalar function of a rule and the function for its coefficients.

    Both are plain Python functions, and can be called from ``@njit`` code as they are.

    Parameters
    ----------
    name : str
        A key of :data:`fastopt.rules.table.RULES`.
    flavor : str, default "textbook"
        Whose form of it.

    Returns
    -------
    rule, coefficients : callable
        See :mod:`fastopt.rules` for what they take and return.

    Raises
    ------
    ValueError
        There is no such rule, or it has no such flavor.

    Examples
    --------
    >>> gd, coefficients = rule_functions("gd")
    >>> gd(1.0, 4.0, *coefficients(1, 0.25))
    (0.0,)
    """
    rule = find_rule(name, flavor)
    return _find(rule.module, rule.function), _find(rule.module, rule.coefficients)


def _find(module: str, name: str) -> Callable[..., Any]:
    home, _, name = name.rpartition(".")
    function: Callable[..., Any] = getattr(importlib.import_module(home or module), name)
    return function


def _parts(rule: Rule) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """What a step is made from: the rule, its coefficients and the precision of these."""
    function, coefficients = rule_functions(rule.name, rule.flavor)
    return function, coefficients, in_own_precision if rule.single else in_double


def _identity(rule: Rule) -> tuple[object, ...]:
    """What two flavors have in common if their steps are the same."""
    return rule.module, rule.function, rule.coefficients, rule.single


def make_c_step(
    rule: Callable[..., Any],
    coefficients: Callable[..., Any],
    number: Callable[..., Any],
    slots: int,
    hyperparameters: int,
) -> Callable[..., None]:
    """The body of a C step, to be compiled with ``numba.cfunc``.

    Parameters
    ----------
    rule, coefficients, number : callable
        Importable functions decorated with ``RULE``; `number` is ``number(t, x)``, the number of
        the step in the precision in which bias corrections are to be had.
    slots, hyperparameters : int
        How many the rule has.

    Returns
    -------
    callable
        A closure that can be cached: all it holds are these functions, by name, and two numbers.
    """
    slot_count, hyperparameter_count = slots, hyperparameters

    def c_step(
        x: Any, grad: Any, slots: Any, hyperparameters: Any, t: int, n: int, stride: int
    ) -> None:
        update(
            rule,
            coefficients,
            number,
            slot_count,
            carray(x, (n,)),
            carray(grad, (n,)),
            carray(slots, (slot_count, stride)),
            take(carray(hyperparameters, (hyperparameter_count, 1)), 0, hyperparameter_count),
            t,
        )

    return c_step


def make_step(
    rule: Callable[..., Any],
    coefficients: Callable[..., Any],
    number: Callable[..., Any],
    slots: int,
    hyperparameters: int,
) -> Callable[..., None]:
    """The body of a step over arrays, to be compiled with ``numba.njit`` or run as it is.

    Parameters
    ----------
    rule, coefficients, number : callable
        Importable functions decorated with ``RULE``; `number` is ``number(t, x)``, the number of
        the step in the precision in which bias corrections are to be had.
    slots, hyperparameters : int
        How many the rule has.

    Returns
    -------
    callable
        ``step(x, grad, slots, hyperparameters, t)``, see :func:`njit_step`. Like
        :func:`make_c_step`'s, a closure that can be cached.
    """
    slot_count, hyperparameter_count = slots, hyperparameters

    def step(x: Any, grad: Any, slots: Any, hyperparameters: Any, t: int) -> None:
        check_types(x, grad, slots, hyperparameters, t, hyperparameter_count)
        check_lengths(x, grad, slots, hyperparameters, t, slot_count, hyperparameter_count)
        numbers = as_tuple(hyperparameters, hyperparameter_count)
        update(rule, coefficients, number, slot_count, x, grad, slots, numbers, t)

    return step


@RULE
def update(
    rule: Callable[..., Any],
    coefficients: Callable[..., Any],
    number: Callable[..., Any],
    slot_count: int,
    x: Any,
    grad: Any,
    slots: Any,
    hyperparameters: tuple[float, ...],
    t: int,
) -> None:
    """Apply `rule` to every entry of `x`: the loop of every first-order method.

    Parameters
    ----------
    rule, coefficients, number : callable
        See :mod:`fastopt.rules` and :func:`make_step`.
    slot_count : int
        How many slots the rule has, a constant when this is compiled.
    x, grad : (n,) array
        Parameters, updated in place, and their derivatives.
    slots : (slot_count, n or more) array
        The first n of each row are updated in place.
    hyperparameters : tuple of float
        In the order of `coefficients`.
    t : int
        Number of the step, from 1.
    """
    # Converted once, here: a double coefficient would promote the whole loop of a float32 vector.
    shared = cast(coefficients(number(t, x), *hyperparameters), x.dtype)
    for i in range(x.size):
        new = rule(x[i], grad[i], *take(slots, i, slot_count), *shared)
        x[i] = new[0]
        put(slots, i, new[1:])


def _describe(rule: Rule) -> str:
    """The docstring of a rule's step."""
    return f"""One step of {rule.name} over a vector, in place ({rule.reference}).

    The {rule.flavor} form{": " if rule.differs else ""}{rule.differs}.

    Parameters
    ----------
    x : ndarray of float32 or float64, shape (n,)
        The parameters; updated.
    grad : ndarray of the dtype of `x`, shape (n,)
        Their gradient.
    slots : ndarray of the dtype of `x`, shape ({rule.slots}, n)
        What the rule remembers: {", ".join(rule.slot_names) or "nothing"}. Zero before the first
        step; updated.
    hyperparameters : tuple of float or ndarray, {len(rule.hyperparameters)} numbers
        {", ".join(hyperparameter.name for hyperparameter in rule.hyperparameters)}.
    t : int
        The number of the step, from 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.rules.steps import njit_step
    >>> step = njit_step({rule.name!r}, {rule.flavor!r})
    >>> x, slots = np.array([1.0, -2.0]), np.zeros(({rule.slots}, 2))
    >>> step(x, 2 * x, slots, {rule.defaults}, 1)
    >>> bool(x @ x < 5.0)
    True
    """
