"""A small tile of a product with a convolution's patches, held in vector registers.

The inner loop of :mod:`fastopt.kernels.cpu.correlation` and the one place where the processor's
vectors are spelled out: their width and number come from the processor that Numba compiles for,
a tile from how many registers there are. Knows nothing of images: what a tap of a window is, and
where an output goes, is read from tables.

Numba vectorises no sums and keeps no tile of them in registers, so this is LLVM's language. Called
from Python the functions do the same with NumPy, so that what is built on them runs under
NUMBA_DISABLE_JIT=1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic, overload
from numba.np.arrayobj import make_array

__all__ = ["Tile", "copy", "multiply", "tile"]

_int32 = ir.IntType(32)
_intp = ir.IntType(types.intp.bitwidth)

# A product and the sum that it goes into may be rounded once, where there is an instruction for
# it. (The intrinsic `llvm.fma` asks for it everywhere, and calls a function elsewhere.)
_CONTRACT = ("contract",)


class Tile(NamedTuple):
    """What fits in the registers: `rows` times `vectors` sums, each of `lanes` numbers."""

    lanes: int
    rows: int
    vectors: int


def tile(dtype: Any) -> Tile:
    """The tile for arrays of `dtype` on the processor that Numba compiles for.

    Examples
    --------
    >>> small, large = tile("float64"), tile("float32")
    >>> large.lanes == 2 * small.lanes and large.rows == small.rows
    True
    """
    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    # "+avx2,-avx512f": of a feature that is named twice the last holds.
    has = {name[1:]: name[0] == "+" for name in features.split(",") if name}
    fuses = has.get("fma", False)
    width, rows, vectors = 16, 4, 2
    if has.get("avx512f", False):
        width, rows, vectors = 64, 8, 3
    elif has.get("avx2", False):
        width, rows, vectors = 32, 4, 3 if fuses else 2
    elif triple.startswith(("aarch64", "arm64")):
        rows, vectors = 8, 3
    return Tile(width // np.dtype(dtype).itemsize, rows, vectors)


# --- in Python -------------------------------------------------------------------------------


def multiply(
    rows: int,
    vectors: int,
    taps: int,
    offsets: Any,
    first_tap: int,
    weight: Any,
    weight_at: int,
    weight_step: int,
    x: Any,
    x_at: int,
    places: Any,
    place: int,
    firsts: Any,
    segments: Any,
    bias: Any,
    bias_at: int,
    y: Any,
    y_at: int,
    y_step: int,
) -> None:
    """Sums over taps, for `rows` channels at `vectors` runs of places, and where they go.

    For row i < rows, vector j < vectors and each of its lanes l::

        bias[bias_at + i] + sum over t in first_tap ... first_tap + taps - 1 of
            weight[weight_at + i weight_step + offsets[t, 0]]
            x[x_at + places[place + j] + l + offsets[t, 1]]

    summed in this order, goes to ``y[y_at + i y_step + segments[s, 0] + l]`` for those s from
    ``firsts[place + j]`` to ``firsts[place + j + 1] - 1`` whose mask ``segments[s, 1]`` has bit l.

    All arrays but `offsets` and `segments` are flat. `rows` is a tile's or half of it, a quarter
    and so on; `vectors` is at most a tile's.
    """
    lanes = np.arange(tile(x.dtype).lanes)
    for j in range(place, place + vectors):
        for i in range(rows):
            sums = np.full(len(lanes), bias[bias_at + i])
            for to_weight, to_x in offsets[first_tap : first_tap + taps]:
                factor = weight[weight_at + i * weight_step + to_weight]
                sums += factor * x[x_at + places[j] + to_x + lanes]
            for target, mask in segments[firsts[j] : firsts[j + 1]]:
                chosen = lanes[(mask >> lanes) & 1 == 1]
                y[y_at + i * y_step + target + chosen] = sums[chosen]


def copy(source: Any, source_at: int, target: Any, target_at: int, count: int) -> None:
    """target[target_at + k] = source[source_at + k] for k < count, in flat arrays."""
    target[target_at : target_at + count] = source[source_at : source_at + count]


# --- in compiled code ------------------------------------------------------------------------


@overload(multiply, strict=False)
def _compile_multiply(
    rows: Any, vectors: Any, taps: Any, offsets: Any, first_tap: Any, weight: Any, weight_at: Any,
    weight_step: Any, x: Any, x_at: Any, places: Any, place: Any, firsts: Any, segments: Any,
    bias: Any, bias_at: Any, y: Any, y_at: Any, y_step: Any,
) -> Any:  # fmt: skip
    def compiled(
        rows, vectors, taps, offsets, first_tap, weight, weight_at, weight_step, x, x_at,
        places, place, firsts, segments, bias, bias_at, y, y_at, y_step,
    ):  # fmt: skip
        _multiply(
            rows, vectors, taps, offsets, first_tap, weight, weight_at, weight_step, x, x_at,
            places, place, firsts, segments, bias, bias_at, y, y_at, y_step,
        )  # fmt: skip

    return compiled


@overload(copy, strict=False)
def _compile_copy(source: Any, source_at: Any, target: Any, target_at: Any, count: Any) -> Any:
    return lambda source, source_at, target, target_at, count: _copy(
        source, source_at, target, target_at, count
    )


def _data(context: Any, builder: Any, type_: Any, array: Any) -> Any:
    return make_array(type_)(context, builder, value=array).data


@intrinsic
def _multiply(
    typing: Any, rows: Any, vectors: Any, taps: Any, offsets: Any, first_tap: Any, weight: Any,
    weight_at: Any, weight_step: Any, x: Any, x_at: Any, places: Any, place: Any, firsts: Any,
    segments: Any, bias: Any, bias_at: Any, y: Any, y_at: Any, y_step: Any,
) -> Any:  # fmt: skip
    n = types.intp

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        (
            rows, vectors, taps, offsets, first_tap, weight, weight_at, weight_step, x, x_at,
            places, place, firsts, segments, bias, bias_at, y, y_at, y_step,
        ) = (
            _data(context, builder, type_, value) if isinstance(type_, types.Array) else value
            for type_, value in zip(signature.args, args, strict=True)
        )  # fmt: skip
        pair = ir.Constant(_intp, 2)
        given = [
            taps,
            builder.gep(offsets, [builder.mul(first_tap, pair)]),
            builder.gep(weight, [weight_at]),
            weight_step,
            builder.gep(x, [x_at]),
            builder.gep(places, [place]),
            builder.gep(firsts, [place]),
            segments,
            builder.gep(bias, [bias_at]),
            builder.gep(y, [y_at]),
            y_step,
        ]
        dtype = signature.args[8].dtype
        largest = tile(str(dtype))
        number = context.get_value_type(dtype)
        done = builder.append_basic_block("multiplied")
        shape = builder.add(builder.mul(rows, ir.Constant(_intp, 16)), vectors)
        switch = builder.switch(shape, done)
        height = largest.rows
        while height:
            for width in range(1, largest.vectors + 1):
                with builder.goto_block(builder.append_basic_block("multiply")):
                    switch.add_case(ir.Constant(_intp, height * 16 + width), builder.block)
                    function = _product(builder.module, number, largest.lanes, height, width)
                    builder.call(function, given)
                    builder.branch(done)
            height //= 2
        builder.position_at_end(done)
        return context.get_dummy_value()

    return (
        types.none(n, n, n, offsets, n, weight, n, n, x, n, places, n, firsts, segments, bias, n,
                   y, n, n),
        generate,
    )  # fmt: skip


def _product(module: Any, number: Any, lanes: int, rows: int, vectors: int) -> Any:
    """The LLVM function that does what `multiply` says for one size of tile."""
    vector = ir.VectorType(number, lanes)
    pointer, table = number.as_pointer(), _intp.as_pointer()
    arguments = [
        _intp, table, pointer, _intp, pointer, table, table, table, pointer, pointer, _intp
    ]  # fmt: skip
    name = f"fastopt_product_{number.intrinsic_name}_{rows}_{vectors}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    taps, offsets, weight, weight_step, x, places, firsts, segments, bias, y, y_step = function.args
    align = number.get_abi_size(cpu_target.target_context.target_data)
    builder = ir.IRBuilder(function.append_basic_block("entry"))

    def everywhere(value: Any) -> Any:
        nothing = ir.Constant(vector, ir.Undefined)
        first = builder.insert_element(nothing, value, _int32(0))
        return builder.shuffle_vector(
            first, nothing, ir.Constant(ir.VectorType(_int32, lanes), [0] * lanes)
        )

    def at(base: Any, index: int) -> Any:
        return builder.load(builder.gep(base, [ir.Constant(_intp, index)]))

    vector_at = [builder.gep(x, [at(places, j)]) for j in range(vectors)]
    starts = [everywhere(at(bias, i)) for i in range(rows)]
    row_at = [builder.mul(weight_step, ir.Constant(_intp, i)) for i in range(rows)]
    sums = [
        [cgutils.alloca_once_value(builder, starts[i]) for j in range(vectors)] for i in range(rows)
    ]
    with cgutils.for_range(builder, taps, intp=_intp) as loop:
        pair = builder.gep(offsets, [builder.mul(loop.index, ir.Constant(_intp, 2))])
        to_weight, to_x = at(pair, 0), at(pair, 1)
        loaded = []
        for base in vector_at:
            address = builder.bitcast(builder.gep(base, [to_x]), vector.as_pointer())
            loaded.append(builder.load(address, align=align))
        tap = builder.gep(weight, [to_weight])
        for i in range(rows):
            factor = everywhere(builder.load(builder.gep(tap, [row_at[i]])))
            for j in range(vectors):
                product = builder.fmul(factor, loaded[j], flags=_CONTRACT)
                total = builder.fadd(builder.load(sums[i][j]), product, flags=_CONTRACT)
                builder.store(total, sums[i][j])

    bits = ir.IntType(lanes)
    chosen = ir.VectorType(ir.IntType(1), lanes)
    store = cgutils.get_or_insert_function(
        module,
        ir.FunctionType(ir.VoidType(), [vector, vector.as_pointer(), _int32, chosen]),
        f"llvm.masked.store.v{lanes}{number.intrinsic_name}.p0",
    )
    for j in range(vectors):
        with cgutils.for_range_slice(
            builder, at(firsts, j), at(firsts, j + 1), ir.Constant(_intp, 1), intp=_intp
        ) as (segment, _):
            pair = builder.gep(segments, [builder.mul(segment, ir.Constant(_intp, 2))])
            mask = builder.bitcast(builder.trunc(at(pair, 1), bits), chosen)
            place = builder.gep(y, [at(pair, 0)])
            for i in range(rows):
                target = builder.gep(place, [builder.mul(y_step, ir.Constant(_intp, i))])
                target = builder.bitcast(target, vector.as_pointer())
                builder.call(store, [builder.load(sums[i][j]), target, _int32(align), mask])
    builder.ret_void()
    return function


@intrinsic
def _copy(
    typing: Any, source: Any, source_at: Any, target: Any, target_at: Any, count: Any
) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, target = (_data(context, builder, signature.args[k], args[k]) for k in (0, 2))
        dtype = signature.args[0].dtype
        function = _copying(builder.module, context.get_value_type(dtype), tile(str(dtype)).lanes)
        builder.call(
            function, [builder.gep(source, [args[1]]), builder.gep(target, [args[3]]), args[4]]
        )
        return context.get_dummy_value()

    return types.none(source, types.intp, target, types.intp, types.intp), generate


def _copying(module: Any, number: Any, lanes: int) -> Any:
    """The LLVM function that does what `copy` says: whole vectors, and one under a mask.

    For rows of an image, which are too short to call `memcpy`.
    """
    vector = ir.VectorType(number, lanes)
    name = f"fastopt_copy_{number.intrinsic_name}"
    if name in module.globals:
        return module.globals[name]
    pointer = number.as_pointer()
    function = ir.Function(
        module, ir.FunctionType(ir.VoidType(), [pointer, pointer, _intp]), name
    )
    function.linkage = "internal"
    source, target, count = function.args
    align = number.get_abi_size(cpu_target.target_context.target_data)
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    step = ir.Constant(_intp, lanes)
    whole = builder.sub(count, builder.urem(count, step))

    def places(index: Any) -> list[Any]:
        return [
            builder.bitcast(builder.gep(base, [index]), vector.as_pointer())
            for base in (source, target)
        ]

    with cgutils.for_range_slice(
        builder, ir.Constant(_intp, 0), whole, step, intp=_intp
    ) as (index, _):
        from_, to = places(index)
        builder.store(builder.load(from_, align=align), to, align=align)
    rest = builder.trunc(builder.sub(count, whole), _int32)
    with builder.if_then(builder.icmp_unsigned("!=", rest, _int32(0))):
        numbers = ir.VectorType(_int32, lanes)
        nothing = ir.Constant(numbers, ir.Undefined)
        first = builder.insert_element(nothing, rest, _int32(0))
        limit = builder.shuffle_vector(first, nothing, ir.Constant(numbers, [0] * lanes))
        mask = builder.icmp_unsigned("<", ir.Constant(numbers, list(range(lanes))), limit)
        chosen = ir.VectorType(ir.IntType(1), lanes)
        suffix = f"v{lanes}{number.intrinsic_name}.p0"
        load = cgutils.get_or_insert_function(
            module,
            ir.FunctionType(vector, [vector.as_pointer(), _int32, chosen, vector]),
            f"llvm.masked.load.{suffix}",
        )
        store = cgutils.get_or_insert_function(
            module,
            ir.FunctionType(ir.VoidType(), [vector, vector.as_pointer(), _int32, chosen]),
            f"llvm.masked.store.{suffix}",
        )
        from_, to = places(whole)
        last = builder.call(
            load, [from_, _int32(align), mask, ir.Constant(vector, ir.Undefined)]
        )
        builder.call(store, [last, to, _int32(align), mask])
    builder.ret_void()
    return function
