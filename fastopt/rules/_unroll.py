"""Tuples whose length is known when the code is compiled, to and from arrays.

A rule takes its slots and coefficients as separate scalars, and how many there are differs from
rule to rule. These functions let one loop serve all of them: in compiled code each becomes a run
of loads or stores without a loop, and the tuples live in registers. Called from Python they do
the same with ordinary tuples, so that everything built on them runs under NUMBA_DISABLE_JIT=1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.core.errors import RequireLiteralValue
from numba.extending import intrinsic, overload
from numba.np.arrayobj import load_item, make_array, store_item


def take(array: Any, column: int, count: int) -> tuple[Any, ...]:
    """The first `count` entries of a column of a 2-D array; `count` is a compile-time constant.

    Examples
    --------
    >>> import numpy as np
    >>> take(np.array([[1, 2], [3, 4], [5, 6]]), 1, 2) == (2, 4)
    True
    """
    return tuple(array[k, column] for k in range(count))


def put(array: Any, column: int, values: tuple[Any, ...]) -> None:
    """Write a tuple to the beginning of a column of a 2-D array.

    Examples
    --------
    >>> import numpy as np
    >>> array = np.zeros((3, 2))
    >>> put(array, 1, (1.0, 2.0))
    >>> array
    array([[0., 1.],
           [0., 2.],
           [0., 0.]])
    """
    for k, value in enumerate(values):
        array[k, column] = value


def cast(values: tuple[Any, ...], dtype: Any) -> tuple[Any, ...]:
    """The numbers of a tuple, converted to `dtype`: an array's, or a NumPy scalar class.

    Examples
    --------
    >>> import numpy as np
    >>> cast((1, 0.5), np.float32) == (np.float32(1), np.float32(0.5))
    True
    """
    return tuple(np.dtype(dtype).type(value) for value in values)


@overload(take, strict=False)
def _compile_take(array: Any, column: Any, count: Any) -> Any:
    return lambda array, column, count: _take(array, column, count)


@overload(put, strict=False)
def _compile_put(array: Any, column: Any, values: Any) -> Any:
    return lambda array, column, values: _put(array, column, values)


@overload(cast, strict=False)
def _compile_cast(values: Any, dtype: Any) -> Any:
    return lambda values, dtype: _cast(values, dtype)


@intrinsic
def _take(typing_context: Any, array: Any, column: Any, count: Any) -> Any:
    if not isinstance(count, types.IntegerLiteral):
        raise RequireLiteralValue("`count` must be a compile-time constant")
    result = types.UniTuple(array.dtype, count.literal_value)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointers = _pointers(context, builder, array, args[0], args[1], len(result))
        values = [load_item(context, builder, array, pointer) for pointer in pointers]
        return context.make_tuple(builder, result, values)

    return result(array, types.intp, count), generate


@intrinsic
def _put(typing_context: Any, array: Any, column: Any, values: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointers = _pointers(context, builder, array, args[0], args[1], len(values))
        items = cgutils.unpack_tuple(builder, args[2])
        for pointer, item, given in zip(pointers, items, values, strict=True):
            item = context.cast(builder, item, given, array.dtype)
            store_item(context, builder, array, item, pointer)
        return context.get_dummy_value()

    return types.none(array, types.intp, values), generate


@intrinsic
def _cast(typing_context: Any, values: Any, dtype: Any) -> Any:
    result = types.UniTuple(dtype.dtype, len(values))

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        items = cgutils.unpack_tuple(builder, args[0])
        converted = [
            context.cast(builder, item, given, result.dtype)
            for item, given in zip(items, values, strict=True)
        ]
        return context.make_tuple(builder, result, converted)

    return result(values, dtype), generate


def _pointers(
    context: Any, builder: Any, array_type: Any, array: Any, column: Any, count: int
) -> list[Any]:
    """To the first `count` entries of a column.

    Straight from the array: through a view of the column, ``slots[:, i]``, the compiler may lose
    sight of which addresses the loop visits, and then does not vectorise it.
    """
    view = make_array(array_type)(context, builder, array)
    rows = [context.get_constant(types.intp, k) for k in range(count)]
    return [
        cgutils.get_item_pointer(context, builder, array_type, view, [row, column]) for row in rows
    ]
