"""A small tile of a product with a convolution's patches, held in vector registers.

The inner loop of :mod:`fastopt.kernels.cpu.correlation`. Knows nothing of images: what a tap of a
window is, and where an output goes, is read from tables.

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
from numba.extending import intrinsic, overload
from numba.np.arrayobj import make_array

from fastopt.kernels.cpu.registers import (
    COUNT,
    FUSES,
    INTP,
    Vectors,
    address,
    begun,
    lanes_of,
    times,
)

__all__ = ["Tile", "copy", "gather_second", "multiply", "scatter_second", "tile"]

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
    # The sums, the vectors that are loaded and a factor fill the registers; without an instruction
    # for both, a product needs one as well.
    rows, vectors = (8, 3) if COUNT == 32 else (4, 3 if FUSES else 2)
    return Tile(lanes_of(dtype), rows, vectors)


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


@intrinsic
def _multiply(
    typing: Any, rows: Any, vectors: Any, taps: Any, offsets: Any, first_tap: Any, weight: Any,
    weight_at: Any, weight_step: Any, x: Any, x_at: Any, places: Any, place: Any,
    segments: Any, bias: Any, bias_at: Any, y: Any, y_at: Any, y_step: Any,
) -> Any:  # fmt: skip
    n = types.intp

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        begin = ir.Constant(INTP, 0)
        pieces = _length(context, builder, signature.args[12], args[12], 1)
        (
            rows, vectors, taps, offsets, first_tap, weight, weight_at, weight_step, x, x_at,
            places, place, segments, bias, bias_at, y, y_at, y_step,
        ) = (
            address(context, builder, type_, value, begin)
            if isinstance(type_, types.Array)
            else value
            for type_, value in zip(signature.args, args, strict=True)
        )  # fmt: skip
        given = [
            taps,
            builder.gep(offsets, [times(builder, first_tap, 2)]),
            builder.gep(weight, [weight_at]),
            weight_step,
            builder.gep(x, [x_at]),
            builder.gep(places, [place]),
            builder.gep(segments, [times(builder, builder.mul(place, pieces), 2)]),
            pieces,
            builder.gep(bias, [bias_at]),
            builder.gep(y, [y_at]),
            y_step,
        ]
        dtype = signature.args[8].dtype
        largest, number = tile(str(dtype)), context.get_value_type(dtype)
        done = builder.append_basic_block("multiplied")
        shape = builder.add(times(builder, rows, 16), vectors)
        switch = builder.switch(shape, done)
        height = largest.rows
        while height:
            for width in range(1, largest.vectors + 1):
                with builder.goto_block(builder.append_basic_block("multiply")):
                    switch.add_case(ir.Constant(INTP, height * 16 + width), builder.block)
                    function = _product(builder.module, number, height, width)
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


def _product(module: Any, number: Any, rows: int, vectors: int) -> Any:
    """The LLVM function that does what `multiply` says for one size of tile."""
    pointer, table = number.as_pointer(), INTP.as_pointer()
    function, builder = begun(
        module,
        f"fastopt_product_{number.intrinsic_name}_{rows}_{vectors}",
        [INTP, table, pointer, INTP, pointer, table, table, INTP, pointer, pointer, INTP],
    )
    if builder is None:
        return function
    taps, offsets, weight, weight_step, x, places, segments, pieces, bias, y, y_step = function.args
    code = Vectors(builder, number)

    def at(base: Any, index: int) -> Any:
        return builder.load(builder.gep(base, [ir.Constant(INTP, index)]))

    vector_at = [builder.gep(x, [at(places, j)]) for j in range(vectors)]
    starts = [code.everywhere(at(bias, i)) for i in range(rows)]
    row_at = [times(builder, weight_step, i) for i in range(rows)]
    sums = [
        [cgutils.alloca_once_value(builder, starts[i]) for j in range(vectors)] for i in range(rows)
    ]
    with cgutils.for_range(builder, taps, intp=INTP) as loop:
        pair = builder.gep(offsets, [times(builder, loop.index, 2)])
        to_weight, to_x = at(pair, 0), at(pair, 1)
        loaded = [code.load(base, to_x) for base in vector_at]
        tap = builder.gep(weight, [to_weight])
        for i in range(rows):
            factor = code.everywhere(builder.load(builder.gep(tap, [row_at[i]])))
            for j in range(vectors):
                code.add_product(sums[i][j], factor, loaded[j])

    bits = ir.IntType(code.lanes)
    with cgutils.for_range(builder, pieces, intp=INTP) as loop:
        for j in range(vectors):
            piece = builder.add(times(builder, pieces, j), loop.index)
            pair = builder.gep(segments, [times(builder, piece, 2)])
            mask = builder.bitcast(builder.trunc(at(pair, 1), bits), code.chosen)
            place = builder.gep(y, [at(pair, 0)])
            for i in range(rows):
                code.store_chosen(builder.load(sums[i][j]), place, times(builder, y_step, i), mask)
    builder.ret_void()
    return function


def _copying(name: str, source_step: int, target_step: int) -> Any:
    def copying(
        typing: Any, source: Any, source_at: Any, target: Any, target_at: Any, count: Any
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            number = context.get_value_type(source.dtype)
            function = _copy_function(builder.module, number, source_step, target_step)
            from_, to = (
                address(context, builder, signature.args[k], args[k], args[k + 1]) for k in (0, 2)
            )
            builder.call(function, [from_, to, args[4]])
            return context.get_dummy_value()

        return types.none(source, types.intp, target, types.intp, types.intp), generate

    copying.__name__ = copying.__qualname__ = name
    return intrinsic(copying)


_copy = _copying("_copy", 1, 1)
_gather_second = _copying("_gather_second", 2, 1)
_scatter_second = _copying("_scatter_second", 1, 2)


def _copy_function(module: Any, number: Any, source_step: int, target_step: int) -> Any:
    """The LLVM function of `copy` and its kind: whole vectors, and a last one under a mask.

    For rows of an image, which are too short for `memcpy`.
    """
    pointer = number.as_pointer()
    function, builder = begun(
        module,
        f"fastopt_copy_{number.intrinsic_name}_{source_step}_{target_step}",
        [pointer, pointer, INTP],
        inline=True,
    )
    if builder is None:
        return function
    source, target, count = function.args
    memory = _Memory(builder, number)
    zero, lanes = ir.Constant(INTP, 0), ir.Constant(INTP, memory.lanes)
    whole = builder.sub(count, builder.urem(count, lanes))
    with cgutils.for_range_slice(builder, zero, whole, lanes, intp=INTP) as (index, _):
        memory.store(memory.load(source, index, source_step), target, index, target_step)
    rest = builder.sub(count, whole)
    with builder.if_then(builder.icmp_unsigned("!=", rest, zero)):
        value = memory.load(source, whole, source_step, rest)
        memory.store(value, target, whole, target_step, rest)
    builder.ret_void()
    return function


class _Memory:
    """Loads and stores of a vector of neighbours (step 1) or of each second number (step 2).

    Of the vector's lanes the first `count` are meant, or all. What is not meant is not touched.
    """

    def __init__(self, builder: Any, number: Any) -> None:
        self._builder, self._code = builder, Vectors(builder, number)
        self.lanes = self._code.lanes

    def load(self, base: Any, index: Any, step: int, count: Any = None) -> Any:
        code = self._code
        if step == 1 and count is None:
            return code.load(base, index)
        pieces = [
            code.load_chosen(base, place, mask, code.nothing)
            for place, mask in self._pieces(index, step, count)
        ]
        if step == 1:
            return pieces[0]
        return code.shuffled(pieces[0], pieces[1], [2 * k for k in range(self.lanes)])

    def store(self, value: Any, base: Any, index: Any, step: int, count: Any = None) -> None:
        code = self._code
        if step == 1 and count is None:
            code.store(value, base, index)
            return
        values = [value]
        if step == 2:
            values = [
                code.shuffled(value, value, [first + k // 2 for k in range(self.lanes)])
                for first in (0, self.lanes // 2)
            ]
        for part, (place, mask) in zip(values, self._pieces(index, step, count), strict=True):
            code.store_chosen(part, base, place, mask)

    def _pieces(self, index: Any, step: int, count: Any) -> list[tuple[Any, Any]]:
        """(place, mask) of the `step` vectors in memory that hold the lanes of one."""
        lanes = self.lanes
        limit = ir.Constant(INTP, lanes) if count is None else count
        start = times(self._builder, index, step)
        pieces = []
        for first in range(0, step * lanes, lanes):
            # The lane that each number in memory belongs to; behind all of them, if to none.
            numbers = range(first, first + lanes)
            owners = [number // step if number % step == 0 else lanes for number in numbers]
            place = self._builder.add(start, ir.Constant(INTP, first))
            pieces.append((place, self._code.below(owners, limit)))
        return pieces
