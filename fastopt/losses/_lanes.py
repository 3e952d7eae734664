"""Eight doubles as one value in compiled code.

Numba does not vectorise sums (their order is the program's) nor runs of like statements. With this
type a loop says what it wants: eight sums side by side, added up in a fixed order. It is vector
code wherever it runs, and has the same bits there, however wide the registers are.

Knows nothing of losses. Called from Python the functions do the same with arrays of eight, so that
what is built on them runs under NUMBA_DISABLE_JIT=1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel.models import PrimitiveModel
from numba.extending import intrinsic, overload, register_model
from numba.np.arrayobj import make_array

__all__ = ["LANES", "add", "add_product", "load", "scaled", "store", "total", "zeros"]

LANES = 8

_VECTOR = ir.VectorType(ir.DoubleType(), LANES)
_int32 = ir.IntType(32)


class _Lanes(types.Type):  # type: ignore[misc]  # Numba's are not typed
    """The type of eight doubles."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


_LANES = _Lanes()


@register_model(_Lanes)
class _LanesModel(PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, type_: Any) -> None:
        super().__init__(manager, type_, _VECTOR)


# --- in Python -------------------------------------------------------------------------------


def zeros() -> Any:
    """Eight zeros."""
    return np.zeros(LANES)


def load(matrix: Any, row: int, column: int) -> Any:
    """Eight entries of a row of a C-contiguous matrix, from `column` on."""
    return matrix[row, column : column + LANES].copy()


def store(matrix: Any, row: int, column: int, lanes: Any) -> None:
    """Write eight entries of a row of a C-contiguous matrix, from `column` on."""
    matrix[row, column : column + LANES] = lanes


def add(a: Any, b: Any) -> Any:
    """a + b."""
    return a + b


def scaled(factor: float, a: Any) -> Any:
    """factor a."""
    return factor * a


def add_product(sums: Any, a: Any, b: Any) -> Any:
    """sums + a b, rounded twice."""
    return sums + a * b


def total(a: Any) -> Any:
    """The sum of the eight, by halves."""
    return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]))


# --- in compiled code ------------------------------------------------------------------------


@overload(zeros, strict=False)
def _compile_zeros() -> Any:
    return lambda: _zeros()


@overload(load, strict=False)
def _compile_load(matrix: Any, row: Any, column: Any) -> Any:
    return lambda matrix, row, column: _load(matrix, row, column)


@overload(store, strict=False)
def _compile_store(matrix: Any, row: Any, column: Any, lanes: Any) -> Any:
    return lambda matrix, row, column, lanes: _store(matrix, row, column, lanes)


@overload(add, strict=False)
def _compile_add(a: Any, b: Any) -> Any:
    return lambda a, b: _add(a, b)


@overload(scaled, strict=False)
def _compile_scaled(factor: Any, a: Any) -> Any:
    return lambda factor, a: _scaled(factor, a)


@overload(add_product, strict=False)
def _compile_add_product(sums: Any, a: Any, b: Any) -> Any:
    return lambda sums, a, b: _add(sums, _multiply(a, b))


@overload(total, strict=False)
def _compile_total(a: Any) -> Any:
    return lambda a: _total(a)


def _address(context: Any, builder: Any, type_: Any, matrix: Any, place: Any) -> Any:
    view = make_array(type_)(context, builder, matrix)
    pointer = cgutils.get_item_pointer(context, builder, type_, view, place)
    return builder.bitcast(pointer, _VECTOR.as_pointer())


@intrinsic
def _zeros(typing: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(_VECTOR, [0.0] * LANES)

    return _LANES(), generate


@intrinsic
def _load(typing: Any, matrix: Any, row: Any, column: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _address(context, builder, matrix, args[0], args[1:])
        return builder.load(address, align=8)

    return _LANES(matrix, types.intp, types.intp), generate


@intrinsic
def _store(typing: Any, matrix: Any, row: Any, column: Any, lanes: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _address(context, builder, matrix, args[0], args[1:3])
        builder.store(args[3], address, align=8)
        return context.get_dummy_value()

    return types.none(matrix, types.intp, types.intp, lanes), generate


@intrinsic
def _add(typing: Any, a: Any, b: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fadd(*args)

    return _LANES(a, b), generate


@intrinsic
def _multiply(typing: Any, a: Any, b: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fmul(*args)

    return _LANES(a, b), generate


@intrinsic
def _scaled(typing: Any, factor: Any, a: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        nothing = ir.Constant(_VECTOR, ir.Undefined)
        first = builder.insert_element(nothing, args[0], _int32(0))
        everywhere = ir.Constant(ir.VectorType(_int32, LANES), [0] * LANES)
        return builder.fmul(builder.shuffle_vector(first, nothing, everywhere), args[1])

    return _LANES(types.float64, a), generate


@intrinsic
def _total(typing: Any, a: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sums = [builder.extract_element(args[0], _int32(k)) for k in (0, 4, 2, 6, 1, 5, 3, 7)]
        while len(sums) > 1:
            sums = [builder.fadd(sums[k], sums[k + 1]) for k in range(0, len(sums), 2)]
        return sums[0]

    return types.float64(a), generate
