"""Sums over the shifts of a plane, in vector registers: what depthwise convolution does.

The inner loops of :mod:`fastopt.kernels.cpu.depthwise`. Knows nothing of windows: shifts, and where
registers of a plane are, are read from tables.

A table of places has three columns: where a register of places is in one plane and in the other,
and how many of its lanes count. One of taps has two: the weight, and the shift. The last entries of
both repeat: PLACES and TAPS are worked on at once.

Numba vectorises no sums, so this is LLVM's language. Called from Python the functions do the same
with NumPy, so that what is built on them runs under NUMBA_DISABLE_JIT=1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from fastopt.kernels.cpu.registers import INTP, Vectors, address, begun, lanes_of, times

__all__ = [
    "PLACES",
    "TAPS",
    "add_dot_products",
    "copy_rows",
    "split_rows",
    "spread_rows",
    "weighted_sums",
]

# Sums that are under way at once: enough to hide the time that one addition takes, and a window of
# 3 x 3; both fit in 16 registers.
PLACES = 8
TAPS = 9


# --- in Python -------------------------------------------------------------------------------


def weighted_sums(
    taps: Any,
    used: int,
    places: Any,
    first_place: int,
    weight: Any,
    weight_at: int,
    start: float,
    source: Any,
    source_at: int,
    target: Any,
    target_at: int,
) -> None:
    """For PLACES registers write the sum over taps of a weight times the shifted plane.

    Lane l of place p, if it counts, becomes ``start`` plus the sum over the first `used` taps t of
    ``weight[weight_at + t[0]] source[source_at + p[0] + t[1] + l]``, in this order, and goes to
    ``target[target_at + p[1] + l]``. All arrays but the tables are flat.
    """
    lanes = np.arange(lanes_of(source.dtype))
    for from_, to, count in places[first_place : first_place + PLACES]:
        total = np.full(len(lanes), start, source.dtype)
        for factor, shift in taps[:used]:
            total += weight[weight_at + factor] * source[source_at + from_ + shift + lanes]
        target[target_at + to : target_at + to + count] = total[:count]


def add_dot_products(
    taps: Any,
    first_tap: int,
    places: Any,
    source: Any,
    source_at: int,
    other: Any,
    other_at: int,
    sums: Any,
    sums_at: int,
) -> None:
    """For TAPS taps add the product of one plane with the other, shifted, lane by lane.

    Lane l of the sum for the t-th tap, at ``sums[sums_at + t lanes + l]``, grows by the sum of
    ``other[other_at + p[1] + l] source[source_at + p[0] + shift + l]`` over the places p in which
    it counts.
    """
    lanes = lanes_of(source.dtype)
    for t, (_, shift) in enumerate(taps[first_tap : first_tap + TAPS]):
        total = np.zeros(lanes, source.dtype)
        for from_, to, count in places:
            values = source[source_at + from_ + shift :][:count]
            total[:count] += values * other[other_at + to :][:count]
        sums[sums_at + t * lanes :][:lanes] += total


def copy_rows(
    rows: int, width: int, source: Any, source_at: int, source_step: int, target: Any,
    target_at: int, target_step: int,
) -> None:  # fmt: skip
    """Copy `rows` rows of `width` numbers that are a step apart in either flat array."""
    for row in range(rows):
        values = source[source_at + row * source_step :][:width]
        target[target_at + row * target_step :][:width] = values


def split_rows(
    rows: int, width: int, source: Any, source_at: int, source_step: int, target: Any,
    even_at: int, odd_at: int, target_step: int,
) -> None:  # fmt: skip
    """As `copy_rows`, but every other number, from the second on, to the rows at `odd_at`."""
    for row in range(rows):
        values = source[source_at + row * source_step :][:width]
        target[even_at + row * target_step :][: (width + 1) // 2] = values[::2]
        target[odd_at + row * target_step :][: width // 2] = values[1::2]


def spread_rows(
    rows: int, width: int, source: Any, source_at: int, source_step: int, target: Any,
    target_at: int, target_step: int,
) -> None:  # fmt: skip
    """As `copy_rows`, with a zero between each two numbers."""
    for row in range(rows):
        values = target[target_at + row * target_step :][: 2 * width - 1]
        values[::2] = source[source_at + row * source_step :][:width]
        values[1::2] = 0


# --- in compiled code ------------------------------------------------------------------------


@overload(weighted_sums, strict=False)
def _compile_weighted_sums(
    taps: Any, used: Any, places: Any, first_place: Any, weight: Any,
    weight_at: Any, start: Any, source: Any, source_at: Any, target: Any, target_at: Any,
) -> Any:  # fmt: skip
    def compiled(
        taps, used, places, first_place, weight, weight_at, start, source,
        source_at, target, target_at,
    ):  # fmt: skip
        _weighted_sums(
            taps, used, places, first_place, weight, weight_at, start, source,
            source_at, target, target_at,
        )  # fmt: skip

    return compiled


@overload(add_dot_products, strict=False)
def _compile_add_dot_products(
    taps: Any, first_tap: Any, places: Any, source: Any, source_at: Any, other: Any, other_at: Any,
    sums: Any, sums_at: Any,
) -> Any:  # fmt: skip
    def compiled(taps, first_tap, places, source, source_at, other, other_at, sums, sums_at):
        _add_dot_products(
            taps, first_tap, places, len(places), source, source_at, other, other_at, sums, sums_at
        )

    return compiled


@overload(copy_rows, strict=False)
def _compile_copy_rows(
    rows: Any, width: Any, source: Any, source_at: Any, source_step: Any, target: Any,
    target_at: Any, target_step: Any,
) -> Any:  # fmt: skip
    def compiled(rows, width, source, source_at, source_step, target, target_at, target_step):
        _move(
            "copy", rows, width, source, source_at, source_step, target, target_at, target_at,
            target_step,
        )  # fmt: skip

    return compiled


@overload(split_rows, strict=False)
def _compile_split_rows(
    rows: Any, width: Any, source: Any, source_at: Any, source_step: Any, target: Any,
    even_at: Any, odd_at: Any, target_step: Any,
) -> Any:  # fmt: skip
    def compiled(rows, width, source, source_at, source_step, target, even_at, odd_at, target_step):
        _move(
            "split", rows, width, source, source_at, source_step, target, even_at, odd_at,
            target_step,
        )  # fmt: skip

    return compiled


@overload(spread_rows, strict=False)
def _compile_spread_rows(
    rows: Any, width: Any, source: Any, source_at: Any, source_step: Any, target: Any,
    target_at: Any, target_step: Any,
) -> Any:  # fmt: skip
    def compiled(rows, width, source, source_at, source_step, target, target_at, target_step):
        _move(
            "spread", rows, width, source, source_at, source_step, target, target_at, target_at,
            target_step,
        )  # fmt: skip

    return compiled


def _entry(builder: Any, table: Any, place: int) -> Any:
    return builder.load(builder.gep(table, [ir.Constant(INTP, place)]))


@intrinsic
def _weighted_sums(
    typing: Any, taps: Any, used: Any, places: Any, first_place: Any,
    weight: Any, weight_at: Any, start: Any, source: Any, source_at: Any, target: Any,
    target_at: Any,
) -> Any:  # fmt: skip
    n = types.intp

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        given = [
            address(context, builder, taps, args[0], ir.Constant(INTP, 0)),
            args[1],
            address(context, builder, places, args[2], times(builder, args[3], 3)),
            address(context, builder, weight, args[4], args[5]),
            args[6],
            address(context, builder, source, args[7], args[8]),
            address(context, builder, target, args[9], args[10]),
        ]
        number = context.get_value_type(source.dtype)
        builder.call(_function_of_weighted_sums(builder.module, number), given)
        return context.get_dummy_value()

    signature = types.none(taps, n, places, n, weight, n, source.dtype, source, n, target, n)
    return signature, generate


def _function_of_weighted_sums(module: Any, number: Any) -> Any:
    """The LLVM function that does what `weighted_sums` says."""
    table, pointer = INTP.as_pointer(), number.as_pointer()
    arguments = [table, INTP, table, pointer, number, pointer, pointer]
    function, builder = begun(module, f"fastopt_weighted_sums_{number.intrinsic_name}", arguments)
    if builder is None:
        return function
    taps, count, places, weight, start, source, target = function.args
    vectors = Vectors(builder, number)
    begin = vectors.everywhere(start)
    sums = [cgutils.alloca_once_value(builder, begin) for _ in range(PLACES)]
    sources = [builder.gep(source, [_entry(builder, places, 3 * p)]) for p in range(PLACES)]
    with cgutils.for_range(builder, count, intp=INTP) as loop:
        tap = builder.gep(taps, [times(builder, loop.index, 2)])
        factor, shift = _entry(builder, tap, 0), _entry(builder, tap, 1)
        factor = vectors.everywhere(builder.load(builder.gep(weight, [factor])))
        for p in range(PLACES):
            value = vectors.load(sources[p], shift)
            vectors.add_product(sums[p], factor, value)
    for p in range(PLACES):
        to, lanes = _entry(builder, places, 3 * p + 1), _entry(builder, places, 3 * p + 2)
        vectors.store_first(builder.load(sums[p]), target, to, lanes)
    builder.ret_void()
    return function


@intrinsic
def _add_dot_products(
    typing: Any, taps: Any, first_tap: Any, places: Any, count: Any, source: Any, source_at: Any,
    other: Any, other_at: Any, sums: Any, sums_at: Any,
) -> Any:  # fmt: skip
    n = types.intp

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        given = [
            address(context, builder, taps, args[0], times(builder, args[1], 2)),
            address(context, builder, places, args[2], ir.Constant(INTP, 0)),
            args[3],
            address(context, builder, source, args[4], args[5]),
            address(context, builder, other, args[6], args[7]),
            address(context, builder, sums, args[8], args[9]),
        ]
        number = context.get_value_type(source.dtype)
        builder.call(_function_of_dot_products(builder.module, number), given)
        return context.get_dummy_value()

    return types.none(taps, n, places, n, source, n, other, n, sums, n), generate


def _function_of_dot_products(module: Any, number: Any) -> Any:
    """The LLVM function that does what `add_dot_products` says."""
    table, pointer = INTP.as_pointer(), number.as_pointer()
    arguments = [table, table, INTP, pointer, pointer, pointer]
    function, builder = begun(module, f"fastopt_dot_products_{number.intrinsic_name}", arguments)
    if builder is None:
        return function
    taps, places, count, source, other, results = function.args
    vectors = Vectors(builder, number)
    sums = [cgutils.alloca_once_value(builder, vectors.zero) for _ in range(TAPS)]
    sources = [builder.gep(source, [_entry(builder, taps, 2 * t + 1)]) for t in range(TAPS)]
    with cgutils.for_range(builder, count, intp=INTP) as loop:
        place = builder.gep(places, [times(builder, loop.index, 3)])
        from_, to, lanes = (_entry(builder, place, column) for column in range(3))
        factor = vectors.load_first(other, to, lanes)
        for t in range(TAPS):
            value = vectors.load(sources[t], from_)
            vectors.add_product(sums[t], factor, value)
    for t in range(TAPS):
        place = ir.Constant(INTP, t * vectors.lanes)
        total = builder.fadd(vectors.load(results, place), builder.load(sums[t]))
        vectors.store(total, results, place)
    builder.ret_void()
    return function


@intrinsic(prefer_literal=True)
def _move(
    typing: Any, how: Any, rows: Any, width: Any, source: Any, source_at: Any, source_step: Any,
    target: Any, target_at: Any, target_odd_at: Any, target_step: Any,
) -> Any:  # fmt: skip
    n = types.intp

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        given = [
            args[1],
            args[2],
            address(context, builder, source, args[3], args[4]),
            args[5],
            *(address(context, builder, target, args[6], args[k]) for k in (7, 8)),
            args[9],
        ]
        number = context.get_value_type(source.dtype)
        function = _function_of_moves(builder.module, number, how.literal_value)
        builder.call(function, given)
        return context.get_dummy_value()

    return types.none(how, n, n, source, n, n, target, n, n, n), generate


def _function_of_moves(module: Any, number: Any, how: str) -> Any:
    """The LLVM function that does what `copy_rows`, `split_rows` or `spread_rows` says."""
    pointer = number.as_pointer()
    arguments = [INTP, INTP, pointer, INTP, pointer, pointer, INTP]
    function, builder = begun(module, f"fastopt_{how}_{number.intrinsic_name}", arguments)
    if builder is None:
        return function
    rows, width, source, source_step, target, target_odd, target_step = function.args
    vectors = Vectors(builder, number)
    lanes, one = vectors.lanes, ir.Constant(INTP, 1)

    def shuffled(a: Any, b: Any, lane: Callable[[int], int]) -> Any:
        return vectors.shuffled(a, b, [lane(k) for k in range(lanes)])

    # Numbers on the side where they are together; those where they are apart are half as many.
    extent = builder.sub(builder.shl(width, one), one) if how == "spread" else width
    step = ir.Constant(INTP, lanes if how == "copy" else 2 * lanes)
    with cgutils.for_range(builder, rows, intp=INTP) as loop:
        from_ = builder.gep(source, [builder.mul(loop.index, source_step)])
        to, to_odd = (
            builder.gep(base, [builder.mul(loop.index, target_step)])
            for base in (target, target_odd)
        )
        with cgutils.for_range_slice(builder, ir.Constant(INTP, 0), extent, step, intp=INTP) as (
            index,
            _,
        ):
            rest = builder.sub(extent, index)
            next_ = builder.add(index, ir.Constant(INTP, lanes))
            rest_next = builder.sub(extent, next_)
            half = builder.ashr(index, one)
            evens, odds = builder.ashr(builder.add(rest, one), one), builder.ashr(rest, one)
            if how == "copy":
                value = vectors.load_first(from_, index, rest)
                vectors.store_first(value, to, index, rest)
            elif how == "split":
                pair = (
                    vectors.load_first(from_, index, rest),
                    vectors.load_first(from_, next_, rest_next),
                )
                even = shuffled(*pair, lambda lane: 2 * lane)
                odd = shuffled(*pair, lambda lane: 2 * lane + 1)
                vectors.store_first(even, to, half, evens)
                vectors.store_first(odd, to_odd, half, odds)
            else:
                value = vectors.load_first(from_, half, evens)
                low = shuffled(value, vectors.zero, lambda lane: lane // 2 + lane % 2 * lanes)
                high = shuffled(
                    value, vectors.zero, lambda lane: (lane + lanes) // 2 + lane % 2 * lanes
                )
                vectors.store_first(low, to, index, rest)
                vectors.store_first(high, to, next_, rest_next)
    builder.ret_void()
    return function
