"""A small tile of a sum of outer products, held in vector registers, and what packs for it.

The inner loops of :mod:`fastopt.kernels.cpu.weight_gradient`. Knows nothing of images: where a line
of pixels starts is read from a table.

Numba keeps no tile of sums in registers, so this is LLVM's language. Called from Python the
functions do the same with NumPy, so that what is built on them runs under NUMBA_DISABLE_JIT=1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic, overload
from numba.np.arrayobj import make_array

from fastopt.kernels.cpu.registers import COUNT, WIDTH, lanes_of

__all__ = ["FEW_ROWS", "ROWS", "VECTORS", "add_products", "transpose"]

# A tile: rows by registers, so that the sums, a panel's lanes and one factor fit. A tile of few
# rows takes what is left over.
VECTORS = 2
ROWS = 12 if COUNT == 32 else 4
FEW_ROWS = 4

_int32 = ir.IntType(32)
_intp = ir.IntType(types.intp.bitwidth)

# A product and the sum that it goes into may be rounded once, where there is an instruction for
# it. (The intrinsic `llvm.fma` asks for it everywhere, and calls a function elsewhere.)
_CONTRACT = ("contract",)


# --- in Python -------------------------------------------------------------------------------


def add_products(
    rows: int,
    vectors: int,
    lines: int,
    columns: int,
    starts: Any,
    line: int,
    left: Any,
    left_at: int,
    left_step: int,
    right: Any,
    right_at: int,
    sums: Any,
    sums_at: int,
    fresh: bool,
) -> None:
    """Add the outer products of `rows` numbers and `vectors` registers of numbers over pixels.

    Pixel (l, m), for l < lines and m < columns, has its `rows` numbers from ``left[left_at +
    starts[line + l] + m left_step]`` on, and its vectors from ``right[right_at + (l columns + m)
    width]`` on, `width` being that of `vectors` registers. The sum over all pixels, in this order,
    is added to the tile at ``sums[sums_at]``, or written there if `fresh`; a row of that is
    VECTORS registers. All arrays are flat. `rows` is ROWS or FEW_ROWS, `vectors` 1 to VECTORS.
    """
    lanes = lanes_of(right.dtype)
    width = vectors * lanes
    total = np.zeros((rows, width), right.dtype)
    for place in range(lines * columns):
        start = left_at + starts[line + place // columns] + place % columns * left_step
        lane = right_at + place * width
        total += np.outer(left[start : start + rows], right[lane : lane + width])
    for row in range(rows):
        target = sums[sums_at + row * VECTORS * lanes :][:width]
        target[:] = total[row] if fresh else target + total[row]


def transpose(
    source: Any,
    source_at: int,
    starts: Any,
    row: int,
    target: Any,
    target_at: int,
    target_step: int,
    column: int,
    columns: int,
    jump: int,
) -> None:
    """Transpose a square as wide as a register.

    Its rows begin at ``source[source_at + starts[row]]`` and the following starts. They become
    columns: row `column` of the result is at ``target[target_at]``, the others follow `target_step`
    apart, and `jump` more whenever `columns` of them are complete. All arrays are flat.
    """
    lanes = lanes_of(source.dtype)
    places = source_at + starts[row : row + lanes]
    for lane in range(lanes):
        target[target_at : target_at + lanes] = source[places + lane]
        target_at += target_step
        column += 1
        if column == columns:
            column = 0
            target_at += jump


# --- in compiled code ------------------------------------------------------------------------


@overload(add_products, strict=False)
def _compile_add_products(
    rows: Any, vectors: Any, lines: Any, columns: Any, starts: Any, line: Any, left: Any,
    left_at: Any, left_step: Any, right: Any, right_at: Any, sums: Any, sums_at: Any, fresh: Any,
) -> Any:  # fmt: skip
    def compiled(
        rows, vectors, lines, columns, starts, line, left, left_at, left_step, right, right_at,
        sums, sums_at, fresh,
    ):  # fmt: skip
        _add_products(
            rows, vectors, lines, columns, starts, line, left, left_at, left_step, right, right_at,
            sums, sums_at, fresh,
        )  # fmt: skip

    return compiled


@overload(transpose, strict=False)
def _compile_transpose(
    source: Any, source_at: Any, starts: Any, row: Any, target: Any, target_at: Any,
    target_step: Any, column: Any, columns: Any, jump: Any,
) -> Any:  # fmt: skip
    def compiled(
        source, source_at, starts, row, target, target_at, target_step, column, columns, jump
    ):
        _transpose(
            source, source_at, starts, row, target, target_at, target_step, column, columns, jump
        )

    return compiled


def _from(context: Any, builder: Any, type_: Any, array: Any, place: Any) -> Any:
    """The address of an element of a flat array."""
    return builder.gep(make_array(type_)(context, builder, value=array).data, [place])


def _number_size(number: Any) -> int:
    return int(number.get_abi_size(cpu_target.target_context.target_data))


def _times(builder: Any, value: Any, factor: int) -> Any:
    return builder.mul(value, ir.Constant(_intp, factor))


@intrinsic
def _add_products(
    typing: Any, rows: Any, vectors: Any, lines: Any, columns: Any, starts: Any, line: Any,
    left: Any, left_at: Any, left_step: Any, right: Any, right_at: Any, sums: Any, sums_at: Any,
    fresh: Any,
) -> Any:  # fmt: skip
    n = types.intp

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows, vectors, lines, columns = args[:4]
        given = [
            lines,
            columns,
            _from(context, builder, starts, args[4], args[5]),
            _from(context, builder, left, args[6], args[7]),
            args[8],
            _from(context, builder, right, args[9], args[10]),
            _from(context, builder, sums, args[11], args[12]),
            args[13],
        ]
        number = context.get_value_type(sums.dtype)
        done = builder.append_basic_block("added")
        switch = builder.switch(builder.add(_times(builder, rows, VECTORS + 1), vectors), done)
        for height in sorted({ROWS, FEW_ROWS}):
            for width in range(1, VECTORS + 1):
                with builder.goto_block(builder.append_basic_block("add")):
                    switch.add_case(
                        ir.Constant(_intp, height * (VECTORS + 1) + width), builder.block
                    )
                    builder.call(_sums_of_products(builder.module, number, height, width), given)
                    builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    signature = types.none(n, n, n, n, starts, n, left, n, n, right, n, sums, n, types.boolean)
    return signature, generate


def _sums_of_products(module: Any, number: Any, rows: int, vectors: int) -> Any:
    """The LLVM function that does what `add_products` says for one size of tile."""
    align = _number_size(number)
    lanes = WIDTH // align
    vector, pointer = ir.VectorType(number, lanes), number.as_pointer()
    name = f"fastopt_outer_products_{number.intrinsic_name}_{rows}_{vectors}"
    if name in module.globals:
        return module.globals[name]
    arguments = [
        _intp, _intp, _intp.as_pointer(), pointer, _intp, pointer, pointer, ir.IntType(1)
    ]  # fmt: skip
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    lines, columns, starts, left, left_step, right, tile, fresh = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))

    def vector_at(base: Any, index: int) -> Any:
        address = builder.gep(base, [ir.Constant(_intp, index * lanes)])
        return builder.bitcast(address, vector.as_pointer())

    def everywhere(value: Any) -> Any:
        nothing = ir.Constant(vector, ir.Undefined)
        first = builder.insert_element(nothing, value, _int32(0))
        return builder.shuffle_vector(
            first, nothing, ir.Constant(ir.VectorType(_int32, lanes), [0] * lanes)
        )

    zero = ir.Constant(vector, [0.0] * lanes)
    sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(vectors)] for _ in range(rows)]
    right_at = cgutils.alloca_once_value(builder, right)
    with cgutils.for_range(builder, lines, intp=_intp) as line:
        start = builder.load(builder.gep(starts, [line.index]))
        left_at = cgutils.alloca_once(builder, pointer)
        builder.store(builder.gep(left, [start]), left_at)
        with cgutils.for_range(builder, columns, intp=_intp):
            factors, lane = builder.load(left_at), builder.load(right_at)
            loaded = [builder.load(vector_at(lane, j), align=align) for j in range(vectors)]
            for i in range(rows):
                factor = everywhere(builder.load(builder.gep(factors, [ir.Constant(_intp, i)])))
                for j in range(vectors):
                    product = builder.fmul(factor, loaded[j], flags=_CONTRACT)
                    total = builder.fadd(builder.load(sums[i][j]), product, flags=_CONTRACT)
                    builder.store(total, sums[i][j])
            builder.store(builder.gep(factors, [left_step]), left_at)
            builder.store(builder.gep(lane, [ir.Constant(_intp, vectors * lanes)]), right_at)
    with builder.if_else(fresh) as (written, added):
        with written:
            for i in range(rows):
                for j in range(vectors):
                    target = vector_at(tile, i * VECTORS + j)
                    builder.store(builder.load(sums[i][j]), target, align=align)
        with added:
            for i in range(rows):
                for j in range(vectors):
                    target = vector_at(tile, i * VECTORS + j)
                    total = builder.fadd(
                        builder.load(target, align=align), builder.load(sums[i][j])
                    )
                    builder.store(total, target, align=align)
    builder.ret_void()
    return function


@intrinsic
def _transpose(
    typing: Any, source: Any, source_at: Any, starts: Any, row: Any, target: Any, target_at: Any,
    target_step: Any, column: Any, columns: Any, jump: Any,
) -> Any:  # fmt: skip
    n = types.intp

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = context.get_value_type(source.dtype)
        given = [
            _from(context, builder, source, args[0], args[1]),
            _from(context, builder, starts, args[2], args[3]),
            _from(context, builder, target, args[4], args[5]),
            *args[6:],
        ]
        builder.call(_transposition(builder.module, number), given)
        return context.get_dummy_value()

    return types.none(source, n, starts, n, target, n, n, n, n, n), generate


def _transposition(module: Any, number: Any) -> Any:
    """The LLVM function that does what `transpose` says."""
    align = _number_size(number)
    lanes = WIDTH // align
    vector, pointer = ir.VectorType(number, lanes), number.as_pointer()
    name = f"fastopt_transpose_{number.intrinsic_name}"
    if name in module.globals:
        return module.globals[name]
    arguments = [pointer, _intp.as_pointer(), pointer, _intp, _intp, _intp, _intp]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    source, starts, target, target_step, column, columns, jump = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    rows = []
    for lane in range(lanes):
        start = builder.load(builder.gep(starts, [ir.Constant(_intp, lane)]))
        address = builder.gep(source, [start])
        address = builder.bitcast(address, vector.as_pointer())
        rows.append(builder.load(address, align=align))
    # Squares of side 2 `half` swap their off-diagonal quarters, for `half` = 1, 2, 4, ...
    half = 1
    while half < lanes:
        upper = [lane + lanes - half if lane & half else lane for lane in range(lanes)]
        lower = [lane + lanes if lane & half else lane + half for lane in range(lanes)]
        for lane in range(lanes):
            if not lane & half:
                pair = rows[lane], rows[lane + half]
                rows[lane], rows[lane + half] = (
                    builder.shuffle_vector(*pair, ir.Constant(ir.VectorType(_int32, lanes), mask))
                    for mask in (upper, lower)
                )
        half *= 2
    for lane in range(lanes):
        builder.store(rows[lane], builder.bitcast(target, vector.as_pointer()), align=align)
        column = builder.add(column, ir.Constant(_intp, 1))
        complete = builder.icmp_signed("==", column, columns)
        column = builder.select(complete, ir.Constant(_intp, 0), column)
        step = builder.add(target_step, builder.select(complete, jump, ir.Constant(_intp, 0)))
        target = builder.gep(target, [step])
    builder.ret_void()
    return function
