"""Schedules in compiled code: as a C function for solvers, and called in ``@njit`` code.

Owns what Numba has to know of them. Importing this module imports Numba; a schedule itself does
not need it, and `Schedule` asks for this module when Numba meets one.
"""

from __future__ import annotations

from typing import Any, Protocol

from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_constant
from numba.core.typing import signature
from numba.extending import (
    NativeValue,
    lower_builtin,
    make_attribute_wrapper,
    models,
    register_model,
    unbox,
)
from numba.np.arrayobj import make_array

from fastopt.core._jit import RULE, compile_c_function
from fastopt.schedules._multiplier import FUNCTIONS, multiplier

__all__ = ["SCHEDULE", "CMultiplier", "c_multiplier"]

for _function in FUNCTIONS:
    RULE(_function)


class CMultiplier(Protocol):
    """A compiled multiplier; see :func:`c_multiplier`."""

    @property
    def address(self) -> int:
        """Where the C function is, valid for as long as this object lives."""


_C_SIGNATURE = types.float64(
    types.CPointer(types.float64),  # table
    types.int64,  # rows
    types.int64,  # t
)

# Kept for the life of the process: solvers hold its bare address.
_C_MULTIPLIERS: list[CMultiplier] = []


def c_multiplier() -> CMultiplier:
    """The multiplier of any schedule as a C function.

    Its signature is ::

        double multiplier(const double *table, int64_t rows, int64_t t)

    `table` is a schedule's, in C order, and `rows` its number of rows. `t` counts from 1. Nothing
    is checked; no GIL is needed.

    Returns
    -------
    CMultiplier
        The same object at every call; its ``address`` stays valid until the process ends.

    Examples
    --------
    >>> import ctypes
    >>> from fastopt import schedules
    >>> number, pointer = ctypes.c_int64, ctypes.c_void_p
    >>> multiplier = ctypes.CFUNCTYPE(ctypes.c_double, pointer, number, number)(
    ...     c_multiplier().address
    ... )
    >>> table = schedules.linear(4).table
    >>> [multiplier(table.ctypes.data, len(table), t) for t in (1, 2, 5, 100)]
    [1.0, 0.75, 0.0, 0.0]
    """
    if not _C_MULTIPLIERS:
        compiled = compile_c_function(_C_SIGNATURE, _multiplier_in_c, multiplier)
        # Threads may get here at once. The first to arrive is kept, and no other is handed out.
        _C_MULTIPLIERS.append(compiled)
    return _C_MULTIPLIERS[0]


def _multiplier_in_c(table: Any, rows: int, t: int) -> float:
    return multiplier(table, rows, t)


# --- `schedule(t)` in @njit code -----------------------------------------------------------------

_TABLE = types.Array(types.float64, 2, "C", readonly=True)


class ScheduleType(types.Callable):  # type: ignore[misc]  # Numba's are not typed
    """The type of all schedules in compiled code, where one is its table."""

    def __init__(self) -> None:
        super().__init__("Schedule")

    def get_call_type(self, context: Any, args: Any, kws: Any) -> Any:
        if len(args) != 1 or kws:  # Numba cannot pass keywords on here
            raise TypeError("a schedule must be called with `t` alone, and by position")
        if not isinstance(types.unliteral(args[0]), types.Integer):
            raise TypeError(f"`t` must be an integer, got {args[0]}")
        return signature(types.float64, types.int64, recvr=self)

    def get_call_signatures(self) -> Any:
        return [types.float64(types.int64)], False

    def get_impl_key(self, sig: Any) -> Any:
        return ScheduleType


SCHEDULE = ScheduleType()

make_attribute_wrapper(ScheduleType, "table", "table")


@register_model(ScheduleType)
class _ScheduleModel(models.StructModel):  # type: ignore[misc]
    def __init__(self, manager: Any, type_: Any) -> None:
        super().__init__(manager, type_, [("table", _TABLE)])


@lower_builtin(ScheduleType, ScheduleType, types.int64)
def _compile_call(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    schedule = cgutils.create_struct_proxy(sig.args[0])(context, builder, args[0])
    table = make_array(_TABLE)(context, builder, schedule.table)
    rows, _ = cgutils.unpack_tuple(builder, table.shape)
    # By its address: references to an array would be counted, which takes longer than all the rest.
    return context.compile_internal(
        builder, _checked_multiplier, _C_SIGNATURE, (table.data, rows, args[1])
    )


def _checked_multiplier(table: Any, rows: int, t: int) -> float:
    if t < 1:
        raise ValueError("`t` must count steps from 1, got a smaller number")
    return multiplier(table, rows, t)


@unbox(ScheduleType)
def _unbox(type_: Any, schedule: Any, c: Any) -> Any:
    table = c.pyapi.object_getattr_string(schedule, "table")
    native = c.pyapi.to_native_value(_TABLE, table)
    c.pyapi.decref(table)
    value = cgutils.create_struct_proxy(type_)(c.context, c.builder)
    value.table = native.value
    return NativeValue(value._getvalue(), is_error=native.is_error)


@lower_constant(ScheduleType)
def _constant(context: Any, builder: Any, type_: Any, schedule: Any) -> Any:
    value = cgutils.create_struct_proxy(type_)(context, builder)
    value.table = context.get_constant_generic(builder, _TABLE, schedule.table)
    return value._getvalue()
