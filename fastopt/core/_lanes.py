"""Eight doubles, or sixteen floats, as one value in compiled code.

Numba does not vectorise sums (their order is the program's) nor runs of like statements. With this
type a loop says what it wants: so many sums side by side, added up in a fixed order. It is vector
code wherever it runs, and has the same bits there, however wide the registers are.

What an array is loaded as depends on its dtype: 64 bytes, `lanes_of` of its entries. Sums of floats
are best kept in doubles: `sums_for` and `widened`.

Knows nothing of what is summed. Called from Python the functions do the same with arrays, so that
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

__all__ = [
    "LANES",
    "add",
    "add_product",
    "before_line",
    "chosen",
    "divide",
    "every_second",
    "fetch",
    "gated",
    "lanes_of",
    "largest",
    "load",
    "load_beside",
    "load_part",
    "maximum",
    "multiply",
    "places",
    "scaled",
    "spread",
    "store",
    "store_part",
    "subtract",
    "sums_for",
    "total",
    "widened",
    "zeros",
]

_BYTES = 64
LANES = _BYTES // 8  # of doubles

_int32 = ir.IntType(32)
_NUMBERS = {types.float32: ir.FloatType(), types.float64: ir.DoubleType(), types.int32: _int32}


class _Lanes(types.Type):  # type: ignore[misc]  # Numba's are not typed
    """The type of `count` numbers of a Numba type."""

    def __init__(self, dtype: Any, count: int) -> None:
        self.dtype, self.count = dtype, count
        super().__init__(name=f"Lanes({dtype} x {count})")

    @property
    def vector(self) -> Any:
        return ir.VectorType(_NUMBERS[self.dtype], self.count)


def _whole(dtype: Any) -> _Lanes:
    """What an array of this Numba type is loaded as."""
    return _Lanes(dtype, _BYTES // (dtype.bitwidth // 8))


@register_model(_Lanes)
class _LanesModel(PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, type_: Any) -> None:
        super().__init__(manager, type_, type_.vector)


# --- in Python -------------------------------------------------------------------------------


def lanes_of(array: Any) -> int:
    """How many entries of `array` are loaded at a time."""
    return _BYTES // int(array.itemsize)


def zeros() -> Any:
    """Eight doubles of zero."""
    return np.zeros(LANES)


def sums_for(array: Any) -> Any:
    """A double of zero for each entry of `array` that is loaded at a time."""
    return np.zeros(lanes_of(array))


def spread(value: Any) -> Any:
    """`value` in every lane, as many as its type has."""
    return np.full(lanes_of(value), value)


def load(matrix: Any, row: int, column: int) -> Any:
    """As many entries of a C-contiguous matrix as it has lanes, from `column` of a row on.

    Behind the end of a row the next one begins, here and in `load_beside` and `store`.
    """
    return _entries(matrix, row, column, lanes_of(matrix)).copy()


def load_beside(lanes: Any, matrix: Any, row: int, column: int) -> Any:
    """As `load`, but as many entries as `lanes` has, whatever the dtype of `matrix`."""
    return _entries(matrix, row, column, lanes.size).copy()


def load_part(matrix: Any, row: int, column: int, count: int, others: Any) -> Any:
    """As `load`, but only `count` entries are read; the lanes behind are those of `others`."""
    lanes = others.copy()
    lanes[:count] = _entries(matrix, row, column, count)
    return lanes


def _entries(matrix: Any, row: int, column: int, count: int) -> Any:
    start = row * matrix.shape[1] + column
    return matrix.reshape(-1)[start : start + count]


def fetch(matrix: Any, row: int, column: int) -> None:
    """Ask for the memory of that entry, which is soon to be loaded. It need not be in the matrix.

    For loops that jump: the processor foresees no jumps beyond a page.
    """


def before_line(matrix: Any, row: int) -> int:
    """How many entries of a row come before one at which a cache line begins: less than 64 bytes.

    What is stored from there on is in one line each time.
    """
    return int(-matrix[row:].ctypes.data % _BYTES // matrix.itemsize)


def every_second(a: Any, b: Any) -> Any:
    """Entries 0, 2, ... of a, then 1, 3, ... of b.

    From a load and one that begins one less than `lanes_of` further on, those that stand two apart,
    with nothing read behind the last.
    """
    return np.concatenate((a[::2], b[1::2]))


def store(matrix: Any, row: int, column: int, lanes: Any) -> None:
    """Write as many entries of a C-contiguous matrix, from `column` of a row on."""
    _entries(matrix, row, column, lanes.size)[:] = lanes


def store_part(matrix: Any, row: int, column: int, count: int, lanes: Any) -> None:
    """Write the first `count` lanes."""
    _entries(matrix, row, column, count)[:] = lanes[:count]


def add(a: Any, b: Any) -> Any:
    """a + b."""
    return a + b


def subtract(a: Any, b: Any) -> Any:
    """a - b."""
    return a - b


def multiply(a: Any, b: Any) -> Any:
    """a b, lane by lane."""
    return a * b


def divide(a: Any, b: Any) -> Any:
    """a / b, lane by lane."""
    return a / b


def scaled(factor: float, a: Any) -> Any:
    """factor a."""
    return factor * a


def add_product(sums: Any, a: Any, b: Any) -> Any:
    """sums + a b, rounded twice."""
    return sums + a * b


def gated(gate: Any, a: Any) -> Any:
    """`a`, and 0 in the lanes in which `gate` is 0 or less."""
    return np.where(gate <= 0, a.dtype.type(0), a)


def places(lanes: Any, start: int, step: int) -> Any:
    """start, start + step, ...: an int32 for each of `lanes`."""
    return np.arange(lanes.size, dtype=np.int32) * np.int32(step) + np.int32(start)


def chosen(number: Any, best: Any, a: Any, b: Any) -> Any:
    """`a` in the lanes in which `number` is larger than `best`, or NaN; `b` in the others."""
    return np.where((number > best) | np.isnan(number), a, b)


def maximum(a: Any, b: Any) -> Any:
    """The larger of two in each lane; b if one is NaN."""
    return np.where(a > b, a, b)


def largest(a: Any) -> Any:
    """The largest lane, by halves, if none is NaN."""
    while a.size > 1:
        a = maximum(a[: a.size // 2], a[a.size // 2 :])
    return a[0]


def widened(a: Any) -> Any:
    """The same numbers as doubles."""
    return a.astype(np.float64)


def total(a: Any) -> Any:
    """The sum of all lanes, by halves."""
    while a.size > 1:
        a = a[: a.size // 2] + a[a.size // 2 :]
    return a[0]


# --- in compiled code ------------------------------------------------------------------------


@overload(lanes_of, strict=False)
def _compile_lanes_of(array: Any) -> Any:
    count = _whole(array.dtype).count
    return lambda array: count


@overload(zeros, strict=False)
def _compile_zeros() -> Any:
    return lambda: _zeros()


@overload(sums_for, strict=False)
def _compile_sums_for(array: Any) -> Any:
    return lambda array: _sums_for(array)


@overload(spread, strict=False)
def _compile_spread(value: Any) -> Any:
    return lambda value: _spread(value)


@overload(load, strict=False)
def _compile_load(matrix: Any, row: Any, column: Any) -> Any:
    return lambda matrix, row, column: _load(matrix, row, column)


@overload(store, strict=False)
def _compile_store(matrix: Any, row: Any, column: Any, lanes: Any) -> Any:
    return lambda matrix, row, column, lanes: _store(matrix, row, column, lanes)


@overload(load_part, strict=False)
def _compile_load_part(matrix: Any, row: Any, column: Any, count: Any, others: Any) -> Any:
    return lambda matrix, row, column, count, others: _load_part(matrix, row, column, count, others)


@overload(store_part, strict=False)
def _compile_store_part(matrix: Any, row: Any, column: Any, count: Any, lanes: Any) -> Any:
    return lambda matrix, row, column, count, lanes: _store_part(matrix, row, column, count, lanes)


@overload(add, strict=False)
def _compile_add(a: Any, b: Any) -> Any:
    return lambda a, b: _add(a, b)


@overload(subtract, strict=False)
def _compile_subtract(a: Any, b: Any) -> Any:
    return lambda a, b: _subtract(a, b)


@overload(multiply, strict=False)
def _compile_multiply(a: Any, b: Any) -> Any:
    return lambda a, b: _multiply(a, b)


@overload(load_beside, strict=False)
def _compile_load_beside(lanes: Any, matrix: Any, row: Any, column: Any) -> Any:
    return lambda lanes, matrix, row, column: _load_beside(lanes, matrix, row, column)


@overload(fetch, strict=False)
def _compile_fetch(matrix: Any, row: Any, column: Any) -> Any:
    return lambda matrix, row, column: _fetch(matrix, row, column)


@overload(before_line, strict=False)
def _compile_before_line(matrix: Any, row: Any) -> Any:
    return lambda matrix, row: _before_line(matrix, row)


@overload(every_second, strict=False)
def _compile_every_second(a: Any, b: Any) -> Any:
    return lambda a, b: _every_second(a, b)


@overload(divide, strict=False)
def _compile_divide(a: Any, b: Any) -> Any:
    return lambda a, b: _divide(a, b)


@overload(places, strict=False)
def _compile_places(lanes: Any, start: Any, step: Any) -> Any:
    return lambda lanes, start, step: _places(lanes, start, step)


@overload(chosen, strict=False)
def _compile_chosen(number: Any, best: Any, a: Any, b: Any) -> Any:
    return lambda number, best, a, b: _chosen(number, best, a, b)


@overload(scaled, strict=False)
def _compile_scaled(factor: Any, a: Any) -> Any:
    return lambda factor, a: _multiply(_spread(factor), a)


@overload(add_product, strict=False)
def _compile_add_product(sums: Any, a: Any, b: Any) -> Any:
    return lambda sums, a, b: _add(sums, _multiply(a, b))


@overload(gated, strict=False)
def _compile_gated(gate: Any, a: Any) -> Any:
    return lambda gate, a: _gated(gate, a)


@overload(maximum, strict=False)
def _compile_maximum(a: Any, b: Any) -> Any:
    return lambda a, b: _maximum(a, b)


@overload(largest, strict=False)
def _compile_largest(a: Any) -> Any:
    return lambda a: _largest(a)


@overload(widened, strict=False)
def _compile_widened(a: Any) -> Any:
    return lambda a: _widened(a)


@overload(total, strict=False)
def _compile_total(a: Any) -> Any:
    return lambda a: _total(a)


def _address(context: Any, builder: Any, type_: Any, matrix: Any, place: Any, lanes: _Lanes) -> Any:
    view = make_array(type_)(context, builder, matrix)
    pointer = cgutils.get_item_pointer(context, builder, type_, view, place)
    return builder.bitcast(pointer, lanes.vector.as_pointer())


def _binary(operation: str) -> Any:
    """The intrinsic for an instruction on two values of one type."""

    def typed(typing: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, operation)(*args)

        return (a(a, b) if a == b else None), generate

    return intrinsic(typed)


_add, _subtract = _binary("fadd"), _binary("fsub")
_multiply, _divide = _binary("fmul"), _binary("fdiv")


def _no_lanes(type_: _Lanes) -> Any:
    return ir.Constant(type_.vector, [0.0] * type_.count)


@intrinsic
def _zeros(typing: Any) -> Any:
    type_ = _whole(types.float64)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _no_lanes(type_)

    return type_(), generate


@intrinsic
def _sums_for(typing: Any, array: Any) -> Any:
    type_ = _Lanes(types.float64, _whole(array.dtype).count)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _no_lanes(type_)

    return type_(array), generate


@intrinsic
def _spread(typing: Any, value: Any) -> Any:
    type_ = _whole(value)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _everywhere(builder, type_, args[0])

    return type_(value), generate


def _everywhere(builder: Any, lanes: _Lanes, number: Any) -> Any:
    nothing = ir.Constant(lanes.vector, ir.Undefined)
    first = builder.insert_element(nothing, number, _int32(0))
    return builder.shuffle_vector(first, nothing, _numbers([0] * lanes.count))


@intrinsic
def _load(typing: Any, matrix: Any, row: Any, column: Any) -> Any:
    lanes = _whole(matrix.dtype)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _address(context, builder, matrix, args[0], args[1:], lanes)
        return builder.load(address, align=matrix.dtype.bitwidth // 8)

    return lanes(matrix, types.intp, types.intp), generate


@intrinsic
def _load_beside(typing: Any, lanes: Any, matrix: Any, row: Any, column: Any) -> Any:
    loaded = _Lanes(matrix.dtype, lanes.count)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _address(context, builder, matrix, args[1], args[2:], loaded)
        return builder.load(address, align=matrix.dtype.bitwidth // 8)

    return loaded(lanes, matrix, types.intp, types.intp), generate


@intrinsic
def _store(typing: Any, matrix: Any, row: Any, column: Any, lanes: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _address(context, builder, matrix, args[0], args[1:3], lanes)
        builder.store(args[3], address, align=matrix.dtype.bitwidth // 8)
        return context.get_dummy_value()

    if matrix.dtype != lanes.dtype:
        return None
    return types.none(matrix, types.intp, types.intp, lanes), generate


@intrinsic
def _load_part(typing: Any, matrix: Any, row: Any, column: Any, count: Any, others: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _address(context, builder, matrix, args[0], args[1:3], others)
        align = _int32(matrix.dtype.bitwidth // 8)
        function = _masked(builder.module, "load", others)
        return builder.call(function, [address, align, _first(builder, others, args[3]), args[4]])

    if matrix.dtype != others.dtype:
        return None
    return others(matrix, types.intp, types.intp, types.intp, others), generate


@intrinsic
def _store_part(typing: Any, matrix: Any, row: Any, column: Any, count: Any, lanes: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _address(context, builder, matrix, args[0], args[1:3], lanes)
        align = _int32(matrix.dtype.bitwidth // 8)
        function = _masked(builder.module, "store", lanes)
        builder.call(function, [args[4], address, align, _first(builder, lanes, args[3])])
        return context.get_dummy_value()

    if matrix.dtype != lanes.dtype:
        return None
    return types.none(matrix, types.intp, types.intp, types.intp, lanes), generate


def _first(builder: Any, lanes: _Lanes, count: Any) -> Any:
    """A mask: the first `count` lanes."""
    numbers = ir.VectorType(_int32, lanes.count)
    nothing = ir.Constant(numbers, ir.Undefined)
    limit = builder.insert_element(nothing, builder.trunc(count, _int32), _int32(0))
    limits = builder.shuffle_vector(limit, nothing, _numbers([0] * lanes.count))
    return builder.icmp_signed("<", _numbers([*range(lanes.count)]), limits)


def _masked(module: Any, operation: str, lanes: _Lanes) -> Any:
    """LLVM's intrinsic that loads or stores some of the lanes."""
    vector, chosen = lanes.vector, ir.VectorType(ir.IntType(1), lanes.count)
    where = [vector.as_pointer(), _int32, chosen]
    loads = operation == "load"
    type_ = ir.FunctionType(vector, [*where, vector])
    if not loads:
        type_ = ir.FunctionType(ir.VoidType(), [vector, *where])
    name = f"llvm.masked.{operation}.v{lanes.count}{vector.element.intrinsic_name}.p0"
    return cgutils.get_or_insert_function(module, type_, name)


@intrinsic
def _fetch(typing: Any, matrix: Any, row: Any, column: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes = _whole(matrix.dtype)
        address = _address(context, builder, matrix, args[0], args[1:], lanes)
        byte = ir.IntType(8).as_pointer()
        type_ = ir.FunctionType(ir.VoidType(), [byte, _int32, _int32, _int32])
        prefetch = cgutils.get_or_insert_function(builder.module, type_, "llvm.prefetch.p0")
        # For reading, into the second-level cache, as data.
        builder.call(prefetch, [builder.bitcast(address, byte), _int32(0), _int32(2), _int32(1)])
        return context.get_dummy_value()

    return types.none(matrix, types.intp, types.intp), generate


@intrinsic
def _before_line(typing: Any, matrix: Any, row: Any) -> Any:
    lanes = _whole(matrix.dtype)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        start = context.get_constant(types.intp, 0)
        address = _address(context, builder, matrix, args[0], [args[1], start], lanes)
        intp = context.get_value_type(types.intp)
        bytes_ = builder.and_(builder.neg(builder.ptrtoint(address, intp)), intp(_BYTES - 1))
        return builder.udiv(bytes_, intp(matrix.dtype.bitwidth // 8))

    return types.intp(matrix, types.intp), generate


@intrinsic
def _every_second(typing: Any, a: Any, b: Any) -> Any:
    numbers = [*range(0, a.count, 2), *range(a.count + 1, 2 * a.count, 2)]

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.shuffle_vector(*args, _numbers(numbers))

    return a(a, b), generate


def _numbers(values: list[int]) -> Any:
    return ir.Constant(ir.VectorType(_int32, len(values)), values)


@intrinsic
def _places(typing: Any, lanes: Any, start: Any, step: Any) -> Any:
    type_ = _Lanes(types.int32, lanes.count)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first, apart = (_everywhere(builder, type_, number) for number in args[1:])
        return builder.add(first, builder.mul(apart, _numbers([*range(type_.count)])))

    return type_(lanes, types.int32, types.int32), generate


@intrinsic
def _chosen(typing: Any, number: Any, best: Any, a: Any, b: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        larger = builder.fcmp_ordered(">", args[0], args[1])
        nan = builder.fcmp_unordered("uno", args[0], args[0])
        return builder.select(builder.or_(larger, nan), args[2], args[3])

    return a(number, best, a, b), generate


@intrinsic
def _gated(typing: Any, gate: Any, a: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        closed = builder.fcmp_ordered("<=", args[0], _no_lanes(gate))
        return builder.select(closed, _no_lanes(a), args[1])

    return a(gate, a), generate


@intrinsic
def _widened(typing: Any, a: Any) -> Any:
    type_ = _Lanes(types.float64, a.count)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return args[0] if a == type_ else builder.fpext(args[0], type_.vector)

    return type_(a), generate


@intrinsic
def _maximum(typing: Any, a: Any, b: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _larger(builder, *args)

    return (a(a, b) if a == b else None), generate


def _larger(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def _by_halves(combine: Any) -> Any:
    """The intrinsic that combines the lower half with the upper until one lane is left."""

    def typed(typing: Any, a: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            lanes, count = args[0], a.count
            while count > 1:
                count //= 2
                halves = (_numbers([*range(start, start + count)]) for start in (0, count))
                parts = (builder.shuffle_vector(lanes, lanes, half) for half in halves)
                lanes = combine(builder, *parts)
            return builder.extract_element(lanes, _int32(0))

        return a.dtype(a), generate

    return intrinsic(typed)


_total = _by_halves(lambda builder, a, b: builder.fadd(a, b))
_largest = _by_halves(_larger)
