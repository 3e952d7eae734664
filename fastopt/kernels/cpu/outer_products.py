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
from numba.extending import intrinsic, overload

from fastopt.kernels.cpu.registers import (
    COUNT,
    INTP,
    Vectors,
    address,
    begun,
    lanes_of,
    times,
)

__all__ = ["FEW_ROWS", "ROWS", "VECTORS", "add_products", "transpose"]

# A tile: rows by registers, so that the sums, a panel's lanes and one factor fit. A tile of few
# rows takes what is left over.
VECTORS = 2
ROWS = 12 if COUNT == 32 else 4
FEW_ROWS = 4


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
            address(context, builder, starts, args[4], args[5]),
            address(context, builder, left, args[6], args[7]),
            args[8],
            address(context, builder, right, args[9], args[10]),
            address(context, builder, sums, args[11], args[12]),
            args[13],
        ]
        number = context.get_value_type(sums.dtype)
        done = builder.append_basic_block("added")
        switch = builder.switch(builder.add(times(builder, rows, VECTORS + 1), vectors), done)
        for height in sorted({ROWS, FEW_ROWS}):
            for width in range(1, VECTORS + 1):
                with builder.goto_block(builder.append_basic_block("add")):
                    switch.add_case(
                        ir.Constant(INTP, height * (VECTORS + 1) + width), builder.block
                    )
                    builder.call(_sums_of_products(builder.module, number, height, width), given)
                    builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    signature = types.none(n, n, n, n, starts, n, left, n, n, right, n, sums, n, types.boolean)
    return signature, generate


def _sums_of_products(module: Any, number: Any, rows: int, vectors: int) -> Any:
    """The LLVM function that does what `add_products` says for one size of tile."""
    pointer = number.as_pointer()
    function, builder = begun(
        module,
        f"fastopt_outer_products_{number.intrinsic_name}_{rows}_{vectors}",
        [INTP, INTP, INTP.as_pointer(), pointer, INTP, pointer, pointer, ir.IntType(1)],
    )
    if builder is None:
        return function
    lines, columns, starts, left, left_step, right, tile, fresh = function.args
    code = Vectors(builder, number)

    def place(index: int) -> Any:
        return ir.Constant(INTP, index * code.lanes)

    sums = [
        [cgutils.alloca_once_value(builder, code.zero) for _ in range(vectors)] for _ in range(rows)
    ]
    right_at = cgutils.alloca_once_value(builder, right)
    with cgutils.for_range(builder, lines, intp=INTP) as line:
        start = builder.load(builder.gep(starts, [line.index]))
        left_at = cgutils.alloca_once(builder, pointer)
        builder.store(builder.gep(left, [start]), left_at)
        with cgutils.for_range(builder, columns, intp=INTP):
            factors, lane = builder.load(left_at), builder.load(right_at)
            loaded = [code.load(lane, place(j)) for j in range(vectors)]
            for i in range(rows):
                factor = builder.load(builder.gep(factors, [ir.Constant(INTP, i)]))
                factor = code.everywhere(factor)
                for j in range(vectors):
                    code.add_product(sums[i][j], factor, loaded[j])
            builder.store(builder.gep(factors, [left_step]), left_at)
            builder.store(builder.gep(lane, [place(vectors)]), right_at)
    with builder.if_else(fresh) as (written, added):
        with written:
            for i in range(rows):
                for j in range(vectors):
                    code.store(builder.load(sums[i][j]), tile, place(i * VECTORS + j))
        with added:
            for i in range(rows):
                for j in range(vectors):
                    at = place(i * VECTORS + j)
                    total = builder.fadd(code.load(tile, at), builder.load(sums[i][j]))
                    code.store(total, tile, at)
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
            address(context, builder, source, args[0], args[1]),
            address(context, builder, starts, args[2], args[3]),
            address(context, builder, target, args[4], args[5]),
            *args[6:],
        ]
        builder.call(_transposition(builder.module, number), given)
        return context.get_dummy_value()

    return types.none(source, n, starts, n, target, n, n, n, n, n), generate


def _transposition(module: Any, number: Any) -> Any:
    """The LLVM function that does what `transpose` says."""
    pointer = number.as_pointer()
    function, builder = begun(
        module,
        f"fastopt_transpose_{number.intrinsic_name}",
        [pointer, INTP.as_pointer(), pointer, INTP, INTP, INTP, INTP],
    )
    if builder is None:
        return function
    source, starts, target, target_step, column, columns, jump = function.args
    code, zero, one = Vectors(builder, number), ir.Constant(INTP, 0), ir.Constant(INTP, 1)
    lanes = code.lanes
    rows = []
    for lane in range(lanes):
        start = builder.load(builder.gep(starts, [ir.Constant(INTP, lane)]))
        rows.append(code.load(source, start))
    # Squares of side 2 `half` swap their off-diagonal quarters, for `half` = 1, 2, 4, ...
    half = 1
    while half < lanes:
        upper = [lane + lanes - half if lane & half else lane for lane in range(lanes)]
        lower = [lane + lanes if lane & half else lane + half for lane in range(lanes)]
        for lane in range(lanes):
            if not lane & half:
                pair = rows[lane], rows[lane + half]
                rows[lane], rows[lane + half] = (
                    code.shuffled(*pair, mask) for mask in (upper, lower)
                )
        half *= 2
    for lane in range(lanes):
        code.store(rows[lane], target, zero)
        column = builder.add(column, one)
        complete = builder.icmp_signed("==", column, columns)
        column = builder.select(complete, zero, column)
        step = builder.add(target_step, builder.select(complete, jump, zero))
        target = builder.gep(target, [step])
    builder.ret_void()
    return function
