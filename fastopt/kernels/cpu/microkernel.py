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

__all__ = ["Tile", "copy", "gather_second", "multiply", "scatter_second", "tile"]

_int32 = ir.IntType(32)
_intp = ir.IntType(types.intp.bitwidth)

# A product and the sum that it goes into may be rounded once, where there is an instruction for
# it. (The intrinsic `llvm.fma` asks for it everywhere, and calls a function elsewhere.)
_CONTRACT = ("contract",)

# A call would pass each field of each array.
_INLINE = {"forceinline": True}


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

    summed in this order, goes to ``y[y_at + i y_step + segments[place + j, s, 0] + l]`` for those
    s whose mask ``segments[place + j, s, 1]`` has bit l. (All have as many s, some with no bit:
    a loop that always has one length is foreseen by the processor, which begins the next tile.)

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
            for target, mask in segments[j]:
                chosen = lanes[(mask >> lanes) & 1 == 1]
                y[y_at + i * y_step + target + chosen] = sums[chosen]


def copy(source: Any, source_at: int, target: Any, target_at: int, count: int) -> None:
    """target[target_at + k] = source[source_at + k] for k < count, in flat arrays."""
    target[target_at : target_at + count] = source[source_at : source_at + count]


def gather_second(source: Any, source_at: int, target: Any, target_at: int, count: int) -> None:
    """target[target_at + k] = source[source_at + 2 k] for k < count, in flat arrays."""
    target[target_at : target_at + count] = source[source_at : source_at + 2 * count : 2]


def scatter_second(source: Any, source_at: int, target: Any, target_at: int, count: int) -> None:
    """target[target_at + 2 k] = source[source_at + k] for k < count, in flat arrays."""
    target[target_at : target_at + 2 * count : 2] = source[source_at : source_at + count]


# --- in compiled code ------------------------------------------------------------------------


@overload(multiply, strict=False, jit_options=_INLINE)
def _compile_multiply(
    rows: Any, vectors: Any, taps: Any, offsets: Any, first_tap: Any, weight: Any, weight_at: Any,
    weight_step: Any, x: Any, x_at: Any, places: Any, place: Any, segments: Any,
    bias: Any, bias_at: Any, y: Any, y_at: Any, y_step: Any,
) -> Any:  # fmt: skip
    def compiled(
        rows, vectors, taps, offsets, first_tap, weight, weight_at, weight_step, x, x_at,
        places, place, segments, bias, bias_at, y, y_at, y_step,
    ):  # fmt: skip
        _multiply(
            rows, vectors, taps, offsets, first_tap, weight, weight_at, weight_step, x, x_at,
            places, place, segments, bias, bias_at, y, y_at, y_step,
        )  # fmt: skip

    return compiled


@overload(copy, strict=False, jit_options=_INLINE)
def _compile_copy(source: Any, source_at: Any, target: Any, target_at: Any, count: Any) -> Any:
    return lambda source, source_at, target, target_at, count: _copy(
        source, source_at, target, target_at, count
    )


@overload(gather_second, strict=False, jit_options=_INLINE)
def _compile_gather(source: Any, source_at: Any, target: Any, target_at: Any, count: Any) -> Any:
    return lambda source, source_at, target, target_at, count: _gather_second(
        source, source_at, target, target_at, count
    )


@overload(scatter_second, strict=False, jit_options=_INLINE)
def _compile_scatter(source: Any, source_at: Any, target: Any, target_at: Any, count: Any) -> Any:
    return lambda source, source_at, target, target_at, count: _scatter_second(
        source, source_at, target, target_at, count
    )


def _length(context: Any, builder: Any, type_: Any, array: Any, axis: int) -> Any:
    return builder.extract_value(make_array(type_)(context, builder, value=array).shape, axis)


def _data(context: Any, builder: Any, type_: Any, array: Any) -> Any:
    return make_array(type_)(context, builder, value=array).data


@intrinsic
def _multiply(
    typing: Any, rows: Any, vectors: Any, taps: Any, offsets: Any, first_tap: Any, weight: Any,
    weight_at: Any, weight_step: Any, x: Any, x_at: Any, places: Any, place: Any,
    segments: Any, bias: Any, bias_at: Any, y: Any, y_at: Any, y_step: Any,
) -> Any:  # fmt: skip
    n = types.intp

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pieces = _length(context, builder, signature.args[12], args[12], 1)
        (
            rows, vectors, taps, offsets, first_tap, weight, weight_at, weight_step, x, x_at,
            places, place, segments, bias, bias_at, y, y_at, y_step,
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
            builder.gep(segments, [builder.mul(builder.mul(place, pieces), pair)]),
            pieces,
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
        types.none(n, n, n, offsets, n, weight, n, n, x, n, places, n, segments, bias, n,
                   y, n, n),
        generate,
    )  # fmt: skip


def _product(module: Any, number: Any, lanes: int, rows: int, vectors: int) -> Any:
    """The LLVM function that does what `multiply` says for one size of tile."""
    vector = ir.VectorType(number, lanes)
    pointer, table = number.as_pointer(), _intp.as_pointer()
    arguments = [
        _intp, table, pointer, _intp, pointer, table, table, _intp, pointer, pointer, _intp
    ]  # fmt: skip
    name = f"fastopt_product_{number.intrinsic_name}_{rows}_{vectors}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    taps, offsets, weight, weight_step, x, places, segments, pieces, bias, y, y_step = function.args
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
    with cgutils.for_range(builder, pieces, intp=_intp) as loop:
        for j in range(vectors):
            vector_pieces = builder.mul(pieces, ir.Constant(_intp, j))
            piece = builder.mul(builder.add(vector_pieces, loop.index), ir.Constant(_intp, 2))
            pair = builder.gep(segments, [piece])
            mask = builder.bitcast(builder.trunc(at(pair, 1), bits), chosen)
            place = builder.gep(y, [at(pair, 0)])
            for i in range(rows):
                target = builder.gep(place, [builder.mul(y_step, ir.Constant(_intp, i))])
                target = builder.bitcast(target, vector.as_pointer())
                builder.call(store, [builder.load(sums[i][j]), target, _int32(align), mask])
    builder.ret_void()
    return function


def _copying(name: str, source_step: int, target_step: int) -> Any:
    def copying(
        typing: Any, source: Any, source_at: Any, target: Any, target_at: Any, count: Any
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            source, target = (_data(context, builder, signature.args[k], args[k]) for k in (0, 2))
            dtype = signature.args[0].dtype
            number, lanes = context.get_value_type(dtype), tile(str(dtype)).lanes
            function = _copy_function(builder.module, number, lanes, source_step, target_step)
            builder.call(
                function, [builder.gep(source, [args[1]]), builder.gep(target, [args[3]]), args[4]]
            )
            return context.get_dummy_value()

        return types.none(source, types.intp, target, types.intp, types.intp), generate

    copying.__name__ = copying.__qualname__ = name
    return intrinsic(copying)


_copy = _copying("_copy", 1, 1)
_gather_second = _copying("_gather_second", 2, 1)
_scatter_second = _copying("_scatter_second", 1, 2)


def _copy_function(module: Any, number: Any, lanes: int, source_step: int, target_step: int) -> Any:
    """The LLVM function of `copy` and its kind: whole vectors, and a last one under a mask.

    For rows of an image, which are too short for `memcpy`.
    """
    name = f"fastopt_copy_{number.intrinsic_name}_{source_step}_{target_step}"
    if name in module.globals:
        return module.globals[name]
    pointer = number.as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer, pointer, _intp]), name)
    function.linkage = "internal"
    source, target, count = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    memory = _Memory(builder, number, lanes)
    whole = builder.sub(count, builder.urem(count, ir.Constant(_intp, lanes)))
    with cgutils.for_range_slice(
        builder, ir.Constant(_intp, 0), whole, ir.Constant(_intp, lanes), intp=_intp
    ) as (index, _):
        memory.store(memory.load(source, index, source_step), target, index, target_step)
    rest = builder.trunc(builder.sub(count, whole), _int32)
    with builder.if_then(builder.icmp_unsigned("!=", rest, _int32(0))):
        value = memory.load(source, whole, source_step, rest)
        memory.store(value, target, whole, target_step, rest)
    builder.ret_void()
    return function


class _Memory:
    """Loads and stores of a vector of neighbours (step 1) or of each second number (step 2).

    Of the vector's lanes the first `count` are meant, or all. What is not meant is not touched.
    """

    def __init__(self, builder: Any, number: Any, lanes: int) -> None:
        self.builder, self.number, self.lanes = builder, number, lanes
        self.vector = ir.VectorType(number, lanes)
        self.chosen = ir.VectorType(ir.IntType(1), lanes)
        self.align = number.get_abi_size(cpu_target.target_context.target_data)
        self.suffix = f"v{lanes}{number.intrinsic_name}.p0"
        self.nothing = ir.Constant(self.vector, ir.Undefined)

    def load(self, base: Any, index: Any, step: int, count: Any = None) -> Any:
        if step == 1 and count is None:
            return self.builder.load(self._address(base, index), align=self.align)
        types_ = [self.vector.as_pointer(), _int32, self.chosen, self.vector]
        load = self._intrinsic("load", self.vector, types_)
        pieces = [
            self.builder.call(load, [address, _int32(self.align), mask, self.nothing])
            for address, mask in self._pieces(base, index, step, count)
        ]
        if step == 1:
            return pieces[0]
        return self._shuffle(pieces[0], pieces[1], [2 * k for k in range(self.lanes)])

    def store(self, value: Any, base: Any, index: Any, step: int, count: Any = None) -> None:
        if step == 1 and count is None:
            self.builder.store(value, self._address(base, index), align=self.align)
            return
        values = [value]
        if step == 2:
            half = self.lanes // 2
            values = [
                self._shuffle(value, value, [first + k // 2 for k in range(self.lanes)])
                for first in (0, half)
            ]
        types_ = [self.vector, self.vector.as_pointer(), _int32, self.chosen]
        store = self._intrinsic("store", ir.VoidType(), types_)
        for part, (address, mask) in zip(
            values, self._pieces(base, index, step, count), strict=True
        ):
            self.builder.call(store, [part, address, _int32(self.align), mask])

    def _pieces(self, base: Any, index: Any, step: int, count: Any) -> list[tuple[Any, Any]]:
        """(address, mask) of the `step` vectors in memory that hold the lanes of one."""
        builder, lanes = self.builder, self.lanes
        numbers = ir.VectorType(_int32, lanes)
        first = builder.insert_element(
            ir.Constant(numbers, ir.Undefined), _int32(lanes) if count is None else count, _int32(0)
        )
        limit = self._shuffle(first, first, [0] * lanes)
        start = builder.mul(index, ir.Constant(_intp, step))
        pieces = []
        for piece in range(step):
            # The lane that each number in memory belongs to; behind all of them, if to none.
            places = range(piece * lanes, (piece + 1) * lanes)
            owners = [place // step if place % step == 0 else lanes for place in places]
            mask = builder.icmp_unsigned("<", ir.Constant(numbers, owners), limit)
            place = builder.add(start, ir.Constant(_intp, piece * lanes))
            pieces.append((self._address(base, place), mask))
        return pieces

    def _address(self, base: Any, index: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(base, [index]), self.vector.as_pointer())

    def _shuffle(self, a: Any, b: Any, lanes: list[int]) -> Any:
        return self.builder.shuffle_vector(
            a, b, ir.Constant(ir.VectorType(_int32, self.lanes), lanes)
        )

    def _intrinsic(self, name: str, result: Any, arguments: list[Any]) -> Any:
        return cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(result, arguments),
            f"llvm.masked.{name}.{self.suffix}",
        )
