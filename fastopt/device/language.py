"""The words that kernels are written in.

A kernel is a plain Python function of pointers and numbers, and runs once for each thread. Besides
Python it uses what is here: ``cuda`` for the thread's place, barriers and shuffles, numbers of a
certain width, and loads and stores of several numbers at once. The emulator of
:mod:`fastopt.testing` has its own meaning for each of them. Importing this module imports
numba-cuda.

Numbers are written ``real(0)``: a bare literal would make a float32 kernel compute in float64. What
Numba makes of two int32 is an int64, which takes two registers: indices that are kept are written
``int32(row + step)``.

float16 is a dtype of memory alone: what a kernel loads by a pointer to such numbers is float32, and
what it stores is rounded, to nearest and ties to even.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from llvmlite import ir

from fastopt.core import _cuda

__all__ = [
    "as_float",
    "bits_of",
    "cuda",
    "dtype_behind",
    "float32",
    "float64",
    "inlined",
    "int32",
    "int64",
    "load2",
    "load4",
    "multiply_tf32",
    "number_type",
    "pointer",
    "pointer_to",
    "put",
    "quotient",
    "rounded_tf32",
    "split_tf32",
    "store2",
    "store4",
    "uint32",
    "uint64",
]

cuda: Any = _cuda.load()
int32, int64 = numba.int32, numba.int64
uint32, uint64 = numba.uint32, numba.uint64
float32, float64 = numba.float32, numba.float64

_Function = TypeVar("_Function", bound=Callable[..., Any])
_FLOAT, _INT, _HALF = ir.FloatType(), ir.IntType(32), ir.IntType(16)


def number_type(dtype: Any) -> Any:
    """The type that numbers of a dtype have in kernels, whatever they are in memory."""
    name = np.dtype(dtype).name
    return float32 if name == "float16" else getattr(numba, name)


def pointer(number: Any) -> Any:
    """The type of an argument that points to numbers of a type, which they have in memory, too."""
    return cuda.types.CPointer(number)


def pointer_to(dtype: Any) -> Any:
    """The type of an argument that points to numbers of a dtype, which may be float16."""
    return _HALVES if np.dtype(dtype) == np.float16 else pointer(number_type(dtype))


def dtype_behind(where: Any) -> np.dtype[Any]:
    """Of the numbers in memory that an argument of such a type points to."""
    return np.dtype(np.float16 if where == _HALVES else str(where.dtype))


def inlined(function: _Function) -> _Function:
    """Make a function callable from kernels, in which its source takes the place of each call."""
    compiled: _Function = numba.njit(inline="always")(function)
    return compiled


@cuda.extending.intrinsic
def quotient(typing: Any, number: Any, divisor: Any) -> Any:
    """``number // divisor`` of two int32 that are not negative, in 32 bits.

    Numba divides them as 64 bits, which a GPU has no instruction for.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.udiv(*arguments)

    return int32(int32, int32), generate


# --- float16 in memory ---------------------------------------------------------------------------
#
# Numba's own float16 needs headers of CUDA and a linker. To LLVM these are integers of 16 bits: as
# its type `half` they would be computed with as such, and loaded by twos where four are asked for.


class _HalfPointer(cuda.types.CPointer):  # type: ignore[misc]
    """To numbers that are float32 as soon as they are loaded."""

    def __init__(self) -> None:
        super().__init__(float32)
        self.name = "float16*"


_HALVES = _HalfPointer()


@cuda.extending.register_model(_HalfPointer)
class _HalfPointerModel(cuda.extending.models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, models: Any, type_: Any) -> None:
        super().__init__(models, type_, _HALF.as_pointer())


def _loaded(builder: Any, number: Any) -> Any:
    """A number of float16 as kernels have it."""
    return _converted(builder, number, _FLOAT, "cvt.f32.f16 $0, $1;", "=f,h")


def _to_store(builder: Any, number: Any) -> Any:
    """A number as memory of float16 has it."""
    return _converted(builder, number, _HALF, "cvt.rn.f16.f32 $0, $1;", "=h,f")


def _converted(builder: Any, number: Any, type_: Any, code: str, constraints: str) -> Any:
    function = ir.FunctionType(type_, [number.type])
    return builder.call(ir.InlineAsm(function, code, constraints), [number])


@cuda.extending.lower_builtin(operator.getitem, _HalfPointer, cuda.types.Integer)
def _load_half(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return _loaded(builder, builder.load(builder.gep(arguments[0], [arguments[1]])))


@cuda.extending.lower_builtin(operator.setitem, _HalfPointer, cuda.types.Integer, cuda.types.Float)
def _store_half(context: Any, builder: Any, signature: Any, arguments: Any) -> None:
    where, index, number = arguments
    builder.store(_to_store(builder, number), builder.gep(where, [index]))


# --- several numbers at once ---------------------------------------------------------------------


def _address(context: Any, builder: Any, where: Any, arguments: Any, count: int) -> Any:
    """A pointer to a vector, from a pointer or a shared array and an index to its first number."""
    value, index = arguments[0], arguments[1]
    if not isinstance(where, cuda.types.CPointer):
        value = context.make_array(where)(context, builder, value=value).data
    place = builder.gep(value, [index])
    vector = ir.VectorType(place.type.pointee, count)
    return builder.bitcast(place, vector.as_pointer(place.type.addrspace))


def _constant(number: int) -> Any:
    return ir.Constant(_INT, number)


def _vector_access(count: int) -> tuple[Any, Any]:
    @cuda.extending.intrinsic
    def load(typing: Any, where: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            place = _address(context, builder, signature.args[0], arguments, count)
            vector = builder.load(place)
            vector.align = count * _bytes(where)
            numbers = [builder.extract_element(vector, _constant(k)) for k in range(count)]
            if where == _HALVES:
                numbers = [_loaded(builder, number) for number in numbers]
            return cuda.cgutils.pack_array(builder, numbers)

        return cuda.types.UniTuple(where.dtype, count)(where, index), generate

    @cuda.extending.intrinsic
    def store(typing: Any, where: Any, index: Any, numbers: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            place = _address(context, builder, signature.args[0], arguments, count)
            vector = ir.Constant(place.type.pointee, ir.Undefined)
            for k in range(count):
                number = builder.extract_value(arguments[2], k)
                if where == _HALVES:
                    number = _to_store(builder, number)
                vector = builder.insert_element(vector, number, _constant(k))
            builder.store(vector, place).align = count * _bytes(where)
            return context.get_dummy_value()

        vector = cuda.types.UniTuple(where.dtype, count)
        return cuda.types.void(where, index, vector), generate

    return load, store


def _bytes(where: Any) -> int:
    """Of a number in memory."""
    return 2 if where == _HALVES else int(where.dtype.bitwidth // 8)


load2, store2 = _vector_access(2)
load4, store4 = _vector_access(4)


@cuda.extending.intrinsic
def put(typing: Any, where: Any, index: Any, beyond: Any, number: Any) -> Any:
    """``where[index + beyond] = number``, in one instruction if `beyond` is a constant.

    Other accesses take more: to sum in int32, and to see whether the index is negative.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _address(context, builder, signature.args[0], arguments, 1)
        place = builder.bitcast(
            place, ir.PointerType(place.type.pointee.element, place.type.addrspace)
        )
        builder.store(arguments[3], builder.gep(place, [arguments[2]]))
        return context.get_dummy_value()

    return cuda.types.void(where, int32, int32, where.dtype), generate


# --- tensor cores --------------------------------------------------------------------------------


@cuda.extending.intrinsic
def rounded_tf32(typing: Any, number: Any) -> Any:
    """The bits of a float32 rounded to the 10 of a TF32's mantissa, ties away from zero."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function = ir.FunctionType(_INT, [_FLOAT])
        return builder.call(ir.InlineAsm(function, "cvt.rna.tf32.f32 $0, $1;", "=r,f"), arguments)

    return uint32(float32), generate


@cuda.extending.intrinsic
def as_float(typing: Any, bits: Any) -> Any:
    """The float32 with these bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], _FLOAT)

    return float32(uint32), generate


@cuda.extending.intrinsic
def bits_of(typing: Any, number: Any) -> Any:
    """The bits of a float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], _INT)

    return uint32(float32), generate


@cuda.extending.intrinsic
def split_tf32(typing: Any, number: Any) -> Any:
    """The bits of two TF32 whose sum is a float32 to a rounding; of infinity and NaN, one is NaN.

    Three instructions; that of :func:`rounded_tf32`, which heeds infinities, becomes four.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.add(builder.bitcast(arguments[0], _INT), _constant(0x1000))
        high = builder.and_(bits, _constant(0xFFFFE000))
        # What of this is beyond a TF32 is for the tensor core to ignore.
        low = builder.fsub(arguments[0], builder.bitcast(high, _FLOAT))
        return cuda.cgutils.pack_array(builder, [high, builder.bitcast(low, _INT)])

    return cuda.types.UniTuple(uint32, 2)(float32), generate


@cuda.extending.intrinsic
def multiply_tf32(typing: Any, total: Any, left: Any, right: Any) -> Any:
    """``total + left right`` of a 16 by 8 and an 8 by 8 matrix, by the 32 threads of a warp.

    With ``g, q = divmod(lane, 4)`` a thread holds of `total`, and of the result, the entries
    (g, 2q), (g, 2q + 1), (g + 8, 2q), (g + 8, 2q + 1); of `left`, in TF32, (g, q), (g + 8, q),
    (g, q + 4), (g + 8, q + 4); of `right` (q, g), (q + 4, g). Of factors the last 13 bits are
    ignored. That is the instruction
    ``mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32`` of PTX.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sums, lefts, rights = (
            [builder.extract_value(numbers, k) for k in range(count)]
            for numbers, count in zip(arguments, (4, 4, 2), strict=True)
        )
        four = ir.LiteralStructType([_FLOAT] * 4)
        function = ir.FunctionType(four, [_INT] * 6 + [_FLOAT] * 4)
        code = (
            "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
            "{$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};"
        )
        constraints = ",".join(["=f"] * 4 + ["r"] * 6 + ["f"] * 4)
        result = builder.call(ir.InlineAsm(function, code, constraints), lefts + rights + sums)
        numbers = [builder.extract_value(result, k) for k in range(4)]
        return cuda.cgutils.pack_array(builder, numbers)

    return cuda.types.UniTuple(float32, 4)(total, left, right), generate
