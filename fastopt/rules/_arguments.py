"""What a step over arrays accepts: checks, and hyperparameters in either form.

Knows nothing of rules and loops. Each function runs in Python too, so that steps do under
NUMBA_DISABLE_JIT=1.
"""

# Numba's type system has few annotations.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from typing import Any

import numpy as np
from numba import typeof, types
from numba.extending import overload, register_jitable

from fastopt.rules._unroll import cast, take


def as_tuple(hyperparameters: Any, count: int) -> tuple[float, ...]:
    """Hyperparameters given as a tuple of numbers or as an array, as a tuple of `count` doubles."""
    return cast(hyperparameters, np.float64)


@overload(as_tuple, strict=False)
def _compile_as_tuple(hyperparameters: Any, count: Any) -> Any:
    if isinstance(hyperparameters, types.BaseTuple):
        return lambda hyperparameters, count: cast(hyperparameters, np.float64)
    return lambda hyperparameters, count: cast(
        take(hyperparameters[:, np.newaxis], 0, count), np.float64
    )


def check_types(x: Any, grad: Any, slots: Any, hyperparameters: Any, t: Any, count: int) -> None:
    """Raise TypeError for arguments of a step that it would misread or silently convert.

    In compiled code this happens while compiling, and costs nothing at run time.
    """
    _refuse_types(typeof(x), typeof(grad), typeof(slots), typeof(hyperparameters), typeof(t), count)


@overload(check_types, strict=False, prefer_literal=True)
def _compile_check_types(
    x: Any, grad: Any, slots: Any, hyperparameters: Any, t: Any, count: Any
) -> Any:
    _refuse_types(x, grad, slots, hyperparameters, t, count.literal_value)
    return lambda x, grad, slots, hyperparameters, t, count: None


def _refuse_types(x: Any, grad: Any, slots: Any, hyperparameters: Any, t: Any, count: int) -> None:
    """Raise TypeError unless the Numba types are those of a step's arguments.

    Not a Numba TypingError: that would reach the user inside Numba's account of its search for an
    implementation, where any other exception comes out as it is.
    """
    if not (_is_array(x, 1) and x.dtype in (types.float32, types.float64) and x.mutable):
        raise TypeError(f"`x` must be a writable 1-D array of float32 or float64, got {x}")
    if not (_is_array(grad, 1) and grad.dtype == x.dtype):
        raise TypeError(f"`grad` must be a 1-D array of {x.dtype} as `x` is, got {grad}")
    if not (_is_array(slots, 2) and slots.dtype == x.dtype and slots.mutable):
        raise TypeError(f"`slots` must be a writable 2-D array of {x.dtype} as `x` is, got {slots}")
    real = (types.Integer, types.Float)
    in_tuple = isinstance(hyperparameters, types.BaseTuple)
    if in_tuple:
        valid = len(hyperparameters) == count and all(
            isinstance(types.unliteral(item), real) for item in hyperparameters
        )
    else:
        valid = _is_array(hyperparameters, 1) and isinstance(hyperparameters.dtype, real)
    if not valid:
        raise TypeError(
            f"`hyperparameters` must be a tuple of {count} real numbers or a 1-D array of them, "
            f"got {hyperparameters}"
        )
    if not isinstance(types.unliteral(t), types.Integer):
        raise TypeError(f"`t` must be an integer, got {t}")


def _is_array(type_: Any, ndim: int) -> bool:
    return isinstance(type_, types.Array) and type_.ndim == ndim


@register_jitable
def check_lengths(
    x: Any, grad: Any, slots: Any, hyperparameters: Any, t: int, slot_count: int, count: int
) -> None:
    """Raise ValueError where the loop would read or write outside an array, and for `t` below 1.

    The messages are constants: putting the numbers into them, in compiled code, makes the first
    compilation three times as long, and each compilation of a function that calls the step by half.
    """
    if grad.size != x.size:
        raise ValueError("`grad` must have the length of `x`, got another length")
    if slots.shape != (slot_count, x.size):
        raise ValueError(
            "`slots` must hold one row of the length of `x` for each slot of the rule, "
            "got another shape"
        )
    if len(hyperparameters) != count:
        raise ValueError(
            "`hyperparameters` must hold one number for each hyperparameter of the rule, "
            "got another length"
        )
    if t < 1:
        raise ValueError("`t` must count steps from 1, got a smaller number")
