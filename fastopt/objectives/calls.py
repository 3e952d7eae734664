"""What generated code does that Numba's language has no words for.

Reading and writing C memory, calling the user's function and finding out whether it raised, and
raising its exception later. Importing this module imports Numba.

A wrapper never raises. `guarded` turns an exception into a flag and leaves it in the context (see
`context.pxd`), from where `reraise` takes it: the user gets the exception itself, not that of a
second run.
"""

from __future__ import annotations

import inspect
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.callconv import Status, excinfo_ptr_t
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

__all__ = [
    "ARGUMENTS",
    "COMPLEX_VECTOR",
    "NOT_A_GRADIENT",
    "NOT_A_HESSIAN",
    "NOT_A_PRODUCT",
    "NOT_A_SCALAR",
    "NO_MEMORY",
    "POINTER",
    "VECTOR",
    "abs_step_of",
    "as_number",
    "complain",
    "element",
    "empty_vector",
    "given",
    "guarded",
    "high_of",
    "imaginary_part",
    "load_arguments",
    "low_of",
    "point_of",
    "propagate",
    "rel_step_of",
    "reraise",
    "stopped",
    "value_of",
    "view",
]

# The struct `Context`: offsets of its members, and of the arguments behind it.
_VALUE, _POINT, _ABS_STEP, _REL_STEP, _STOP, _EXCEPTION, _CODE, _DETAIL = range(0, 64, 8)
_LOW, _HIGH = 96, 104
ARGUMENTS = 112

# The enum `Complaint`.
NO_MEMORY, NOT_A_SCALAR, NOT_A_GRADIENT, NOT_A_HESSIAN, NOT_A_PRODUCT = range(-1001, -1006, -1)

POINTER = types.CPointer(types.float64)
VECTOR = types.Array(types.float64, 1, "C")
COMPLEX_VECTOR = types.Array(types.complex128, 1, "C")

_int32 = ir.IntType(32)
_double_pointer = ir.DoubleType().as_pointer()


def _member(context: Any, builder: Any, address: Any, offset: int, type_: Any) -> Any:
    """A pointer to the member of the struct at `address`."""
    place = builder.gep(address, [context.get_constant(types.intp, offset)])
    return builder.bitcast(place, type_.as_pointer())


@intrinsic
def guarded(typing: Any, function: Any, leading: Any, args: Any, address: Any) -> Any:
    """``function(*leading, *args)``, as the pair (raised, what it returned)."""
    arguments = (*leading, *args)
    called = typing.resolve_function_type(function, arguments, {})

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        compiled = function.dispatcher.get_compile_result(called)
        context.add_linking_libs([compiled.library])
        passed = [
            *cgutils.unpack_tuple(builder, values[1], len(leading)),
            *cgutils.unpack_tuple(builder, values[2], len(args)),
        ]
        starred = bool(function.dispatcher.py_func.__code__.co_flags & inspect.CO_VARARGS)
        folded = _fold(context, builder, called.args, starred, arguments, passed)
        code = context.declare_function(builder.module, compiled.fndesc)
        # Inlined, a function of a few flops is called in 3 ns instead of 10.
        status, result = context.call_conv.call_function(
            builder, code, called.return_type, called.args, folded, attrs=("alwaysinline",)
        )
        with builder.if_then(status.is_error, likely=False):
            exception = _member(context, builder, values[3], _EXCEPTION, excinfo_ptr_t)
            builder.store(status.excinfoptr, exception)
            builder.store(status.code, _member(context, builder, values[3], _CODE, _int32))
        return context.make_tuple(builder, signature.return_type, (status.is_error, result))

    result = types.Tuple((types.boolean, called.return_type))
    return result(function, leading, args, address), generate


def _fold(
    context: Any, builder: Any, targets: Any, starred: bool, sources: Any, values: Any
) -> list[Any]:
    """The values in the form of a function's own parameters: defaults filled in, and packed into
    the last one, if that is `*args`."""
    pairs = iter(zip(sources, values, strict=True))
    folded = []
    for i, target in enumerate(targets):
        if isinstance(target, types.Omitted):
            folded.append(context.get_constant_generic(builder, target, None))
        elif starred and i == len(targets) - 1:
            rest = [
                context.cast(builder, value, source, element)
                for element, (source, value) in zip(target, pairs, strict=True)
            ]
            folded.append(context.make_tuple(builder, target, rest))
        else:
            source, value = next(pairs)
            folded.append(context.cast(builder, value, source, target))
    return folded


@intrinsic
def reraise(typing: Any, address: Any) -> Any:
    """Raise what `guarded` left in the context at `address`, a pointer or an integer."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = values[0]
        if isinstance(address, types.Integer):
            place = builder.inttoptr(place, cgutils.voidptr_t)
        propagate(context, builder, place)
        return context.get_dummy_value()

    return types.void(address), generate


def propagate(context: Any, builder: Any, address: Any) -> None:
    """The code of `reraise`."""
    exception = _member(context, builder, address, _EXCEPTION, excinfo_ptr_t)
    code = _member(context, builder, address, _CODE, _int32)
    flags = dict.fromkeys(Status._fields, cgutils.true_bit)
    flags |= {"code": builder.load(code), "excinfoptr": builder.load(exception)}
    context.call_conv.return_status_propagate(builder, Status(**flags))


@intrinsic
def load_arguments(typing: Any, address: Any, kind: Any) -> Any:
    """The arguments, of a Numba type, from behind the context at `address`."""
    type_ = kind.instance_type

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        value_type = context.get_value_type(type_)
        value = builder.load(_member(context, builder, values[0], ARGUMENTS, value_type))
        context.nrt.incref(builder, type_, value)
        return value

    return type_(address, kind), generate


@intrinsic
def complain(typing: Any, address: Any, complaint: Any, detail: Any) -> Any:
    """Note in the context what is wrong with what the user's function returned."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code = builder.trunc(values[1], _int32)
        builder.store(code, _member(context, builder, values[0], _CODE, _int32))
        kind = context.get_value_type(types.intp)
        builder.store(values[2], _member(context, builder, values[0], _DETAIL, kind))
        return context.get_dummy_value()

    return types.void(address, types.intp, types.intp), generate


@intrinsic
def stopped(typing: Any, address: Any) -> Any:
    """Whether somebody has asked for the end."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        flag = builder.load(_member(context, builder, values[0], _STOP, _int32.as_pointer()))
        found = builder.load_atomic(flag, "monotonic", align=4)
        return builder.icmp_signed("!=", found, _int32(0))

    return types.boolean(address), generate


@intrinsic
def value_of(typing: Any, address: Any) -> Any:
    """A pointer to the context's `value`."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _member(context, builder, values[0], _VALUE, ir.DoubleType())

    return POINTER(address), generate


def _vector_member(offset: int) -> Any:
    def typed(typing: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.load(_member(context, builder, values[0], offset, _double_pointer))

        return POINTER(address), generate

    return typed


point_of = intrinsic(_vector_member(_POINT))
abs_step_of = intrinsic(_vector_member(_ABS_STEP))
rel_step_of = intrinsic(_vector_member(_REL_STEP))
low_of = intrinsic(_vector_member(_LOW))
high_of = intrinsic(_vector_member(_HIGH))


@intrinsic
def element(typing: Any, pointer: Any, i: Any) -> Any:
    """A pointer to the i-th of the numbers at `pointer`."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.gep(values[0], [values[1]])

    return POINTER(pointer, types.intp), generate


@intrinsic
def given(typing: Any, pointer: Any) -> Any:
    """Whether a pointer is not NULL."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return cgutils.is_not_null(builder, values[0])

    return types.boolean(pointer), generate


@intrinsic
def view(typing: Any, pointer: Any, n: Any) -> Any:
    """The n numbers at `pointer` as an array that owns nothing."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array = make_array(VECTOR)(context, builder)
        size = context.get_constant(types.intp, 8)
        populate_array(array, values[0], [values[1]], [size], size, meminfo=None)
        return array._getvalue()

    return VECTOR(pointer, types.intp), generate


@intrinsic
def empty_vector(typing: Any, n: Any, like: Any) -> Any:
    """An array of n numbers of the type of `like`, or of none where memory has run out.

    `numpy.empty` would raise there, which a wrapper must not.
    """
    result = COMPLEX_VECTOR if isinstance(like, types.Complex) else VECTOR

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = context.get_value_type(result.dtype)
        itemsize = context.get_constant(types.intp, context.get_abi_sizeof(kind))
        memory = context.nrt.meminfo_alloc_unchecked(builder, builder.mul(values[0], itemsize))
        have = cgutils.is_not_null(builder, memory)
        n = builder.select(have, values[0], values[0].type(0))
        data = cgutils.alloca_once_value(builder, cgutils.get_null_value(kind.as_pointer()))
        with builder.if_then(have, likely=True):
            start = context.nrt.meminfo_data(builder, memory)
            builder.store(builder.bitcast(start, kind.as_pointer()), data)
        array = make_array(result)(context, builder)
        populate_array(array, builder.load(data), [n], [itemsize], itemsize, meminfo=memory)
        return array._getvalue()

    return result(types.intp, like), generate


@intrinsic
def as_number(typing: Any, found: Any) -> Any:
    """What a function returned, as the pair (how many numbers that is, the first as a double)."""

    def from_scalar(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        number = context.cast(builder, values[0], found, types.float64)
        one = context.get_constant(types.intp, 1)
        return context.make_tuple(builder, signature.return_type, (one, number))

    def from_array(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array = make_array(found)(context, builder, values[0])
        number = cgutils.alloca_once_value(builder, context.get_constant(types.float64, 0.0))
        with builder.if_then(cgutils.is_not_null(builder, array.nitems)):
            first = context.unpack_value(builder, found.dtype, array.data)
            builder.store(context.cast(builder, first, found.dtype, types.float64), number)
        pair = (array.nitems, builder.load(number))
        return context.make_tuple(builder, signature.return_type, pair)

    generate = from_array if isinstance(found, types.Array) else from_scalar
    return types.Tuple((types.intp, types.float64))(found), generate


@intrinsic
def imaginary_part(typing: Any, found: Any) -> Any:
    """As `as_number`, of a complex result's imaginary part."""
    scalar = found.dtype if isinstance(found, types.Array) else found

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        number = cgutils.alloca_once_value(builder, context.get_constant(types.float64, 0.0))
        size = context.get_constant(types.intp, 1)
        value = values[0]
        if scalar is not found:
            array = make_array(found)(context, builder, value)
            size = array.nitems
        with builder.if_then(cgutils.is_not_null(builder, size)):
            if scalar is not found:
                value = context.unpack_value(builder, scalar, array.data)
            parts = context.make_complex(builder, scalar, value)
            real = context.cast(builder, parts.imag, scalar.underlying_float, types.float64)
            builder.store(real, number)
        pair = (size, builder.load(number))
        return context.make_tuple(builder, signature.return_type, pair)

    return types.Tuple((types.intp, types.float64))(found), generate
