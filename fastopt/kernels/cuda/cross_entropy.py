"""Softmax and cross-entropy, with labels, weights of classes and smoothing, in one pass over rows.

A short row is held in the registers of a warp, or of a part of one; a long one is read twice, by a
block. What holds for losses, see :mod:`losses`, holds here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from fastopt.device.arrays import DeviceArray, is_aligned
from fastopt.device.kernel import Kernel
from fastopt.device.language import (
    cuda,
    inlined,
    int32,
    int64,
    load4,
    number_type,
    pointer,
    store4,
)
from fastopt.device.reductions import WARP, block_total, larger, warp_total
from fastopt.kernels.cuda.totals import BLOCK, THREADS, reciprocal, spoken, total

__all__ = ["softmax_cross_entropy"]

# Up to so many bytes, a row is held in the registers of a warp or of a part of it.
_MOST_IN_A_WARP = 4096
# Beyond so many, larger blocks have fewer rows at a time, which are still in the cache when they
# are read again.
_LONG_ROW = 32768
_NAN, _INFINITY = math.nan, math.inf


def softmax_cross_entropy(
    logits: DeviceArray,
    labels: DeviceArray,
    smoothing: float,
    class_weight: DeviceArray | None,
    grad: DeviceArray,
    share: float | None = None,
    values: DeviceArray | None = None,
) -> DeviceArray:
    """Of the cross-entropy of softmax and labels, (N, C) and (N,).

    With the label y of a row, smoothing s and weights w, the loss of the row is
    ``sum_c a_c (log sum_k exp(z_k) - z_c)`` for ``a_c = w_c s/C``, and ``w_y (1 - s)`` more at y.
    The mean is over the labels' weights, which are added up on the device.
    """
    N, C = logits.shape
    scale: float | DeviceArray = 1.0 / N if share is None else share
    if class_weight is not None and share is None:
        scale = _share_of_labels(labels, class_weight)
    number, address = spoken(scale)
    arrays = [logits, grad] if class_weight is None else [logits, grad, class_weight]
    case = _Case(
        logits.dtype.name,
        labels.dtype.name,
        4 if C % 4 == 0 and is_aligned(*arrays) else 1,
        smoothing > 0.0,
        class_weight is not None,
        address != 0,
        values is not None,
    )
    row = C * logits.dtype.itemsize
    if row <= _MOST_IN_A_WARP:
        lanes = min(_power_of_two(-(-C // 4)), WARP)
        kernel = _in_a_warp(case, lanes, _power_of_two(-(-C // (4 * lanes))))
        blocks = -(-N // (THREADS // lanes))
    else:
        # As many threads as have registers enough.
        most = 4096 // logits.dtype.itemsize
        kernel, blocks = _in_a_block(case, THREADS if row <= _LONG_ROW else most), N
    sums = logits.empty((blocks,))
    kernel.launch(
        (blocks,),
        logits.address,
        labels.address,
        0 if class_weight is None else class_weight.address,
        1.0 - smoothing,
        smoothing / C,
        number,
        address,
        grad.address,
        0 if values is None else values.address,
        sums.address,
        N,
        C,
    )
    return total(sums, scale)


def _power_of_two(least: int) -> int:
    """The first that is no less."""
    return 1 << (least - 1).bit_length()


class _Case(NamedTuple):
    """What a kernel is compiled for."""

    dtype: str
    labels: str  # their dtype
    width: int  # how many logits are read at once
    smooth: bool
    weighted: bool
    shared: bool  # whether the share is in memory
    keeps: bool  # whether there are `values`

    @property
    def parameters(self) -> list[Any]:
        real = number_type(self.dtype)
        numbers, labels = pointer(real), pointer(number_type(self.labels))
        inputs = [numbers, labels, numbers, real, real, real, numbers]
        return [*inputs, numbers, numbers, numbers, int32, int32]


@cache
def _in_a_warp(case: _Case, lanes: int, fours: int) -> Kernel:
    """The kernel in which so many threads have a row, and each of them so many times four classes.

    They hold the row while it is worked on, so that logits are read once.
    """
    real = number_type(case.dtype)
    smooth, shared, keeps = case.smooth, case.shared, case.keeps
    of_row, largest_of_row = warp_total(lanes=lanes), warp_total(larger, lanes)
    of_block = block_total(THREADS)
    warps, rows, held = THREADS // WARP, THREADS // lanes, 4 * fours
    width, stride, step = case.width, 1 if case.width == 4 else lanes, 4 * lanes
    read, write = _pieces(case, stride)
    label_of, weight_of, settle, slopes_of = _row(case, stride)

    def softmax_cross_entropy(
        logits, labels, weight, keep, each, share, shares, grad, values, sums, N, C
    ):
        room = cuda.shared.array(warps, real)
        powers = cuda.local.array(held, real)
        thread = int32(cuda.threadIdx.x)
        lane = int32(thread % lanes)
        row = int32(cuda.blockIdx.x * rows + thread // lanes)
        # Behind the last row there are rows of no class, so that all threads exchange their sums.
        count = C if row < N else int32(0)
        begin = int32(row * C)
        first = int32(lane * width)
        label = label_of(labels, row, count)

        for q in range(fours):
            a, b, c, d = read(logits, begin, int32(first + q * step), count)
            powers[4 * q] = a
            powers[4 * q + 1] = b
            powers[4 * q + 2] = c
            powers[4 * q + 3] = d
        largest = powers[0]
        for k in range(1, held):
            largest = larger(largest, powers[k])
        largest = largest_of_row(largest)

        own, beside, ties = real(0), real(0), real(0)
        others_weight, away = real(0), real(0)
        for k in range(held):
            place = int32(first + k // 4 * step + k % 4 * stride)
            score = powers[k] - largest
            powers[k] = math.exp(score)
            # Exponentials of the largest are counted, so that a small sum beside keeps its digits.
            if score == real(0):
                ties += real(1)
            else:
                beside += powers[k]
            if place == label:
                own = score
            if smooth and place < count:
                class_weight = weight_of(weight, place)
                away -= class_weight * score
                if place != label:
                    others_weight += class_weight
        own = of_row(own)
        beside = of_row(beside) + (of_row(ties) - real(1))
        if smooth:
            others_weight = of_row(others_weight)
            away = of_row(away)

        if shared:
            share = shares[0]
        label_weight = weight_of(weight, label) if label >= 0 else real(_NAN)
        loss, factor, slope = settle(own, beside, label_weight, others_weight, keep, each, share)
        for q in range(fours):
            place = int32(first + q * step)
            slopes = slopes_of(
                factor * powers[4 * q],
                factor * powers[4 * q + 1],
                factor * powers[4 * q + 2],
                factor * powers[4 * q + 3],
                weight,
                share * each,
                place,
                count,
                label,
                slope,
            )
            write(grad, begin, place, count, slopes)
        loss += each * away
        speaks = lane == 0 and row < N
        if keeps and speaks:
            values[row] = loss
        total = of_block(loss if speaks else real(0), room, thread)
        if thread == 0:
            sums[cuda.blockIdx.x] = total

    return Kernel(softmax_cross_entropy, case.parameters, THREADS)


@cache
def _in_a_block(case: _Case, threads: int) -> Kernel:
    """The kernel in which a block has a row.

    Each thread keeps the largest logit that it has seen, and sums relative to that, so that logits
    are read twice and not three times.
    """
    real = number_type(case.dtype)
    smooth, shared, keeps = case.smooth, case.shared, case.keeps
    of_block, largest_of_block = block_total(threads), block_total(threads, larger)
    warps = threads // WARP
    width, stride, step = case.width, 1 if case.width == 4 else threads, 4 * threads
    lowest = float(np.finfo(case.dtype).min)
    read, write = _pieces(case, stride)
    label_of, weight_of, settle, slopes_of = _row(case, stride)

    def softmax_cross_entropy(
        logits, labels, weight, keep, each, share, shares, grad, values, sums, N, C
    ):
        room = cuda.shared.array(warps, real)
        second_room = cuda.shared.array(warps, real)
        third_room = cuda.shared.array(warps, real)
        fourth_room = cuda.shared.array(warps, real)
        numbers = cuda.local.array(4, real)
        thread = int32(cuda.threadIdx.x)
        row = int32(cuda.blockIdx.x)
        begin = int32(row * C)
        label = label_of(labels, row, C)
        own = logits[int32(begin + label)] if label >= 0 else real(_NAN)

        largest = real(lowest)
        beside, ties, others_weight = real(0), real(0), real(0)
        place = int32(thread * width)
        while place < C:
            numbers[0], numbers[1], numbers[2], numbers[3] = read(logits, begin, place, C)
            top = larger(larger(numbers[0], numbers[1]), larger(numbers[2], numbers[3]))
            if top > largest:
                beside = (beside + ties) * math.exp(largest - top)
                ties = real(0)
                largest = top
            for k in range(4):
                score = numbers[k] - largest
                if score == real(0):
                    ties += real(1)
                else:
                    beside += math.exp(score)
                at = int32(place + k * stride)
                if smooth and at < C and at != label:
                    others_weight += weight_of(weight, at)
            place = int32(place + step)
        top = largest_of_block(largest, room, thread)
        if largest < top:
            beside = (beside + ties) * math.exp(largest - top)
            ties = real(0)
        beside = of_block(beside, second_room, thread)
        ties = of_block(ties, third_room, thread)
        # Nothing is as large as the largest where all are -inf.
        beside = beside + (ties - real(1)) if ties > real(0) else real(_NAN)
        if smooth:
            others_weight = of_block(others_weight, fourth_room, thread)

        if shared:
            share = shares[0]
        label_weight = weight_of(weight, label) if label >= 0 else real(_NAN)
        own -= top
        loss, factor, slope = settle(own, beside, label_weight, others_weight, keep, each, share)
        away = real(0)
        place = int32(thread * width)
        while place < C:
            numbers[0], numbers[1], numbers[2], numbers[3] = read(logits, begin, place, C)
            for k in range(4):
                numbers[k] -= top
                at = int32(place + k * stride)
                if smooth and at < C:
                    away -= weight_of(weight, at) * numbers[k]
            slopes = slopes_of(
                factor * math.exp(numbers[0]),
                factor * math.exp(numbers[1]),
                factor * math.exp(numbers[2]),
                factor * math.exp(numbers[3]),
                weight,
                share * each,
                place,
                C,
                label,
                slope,
            )
            write(grad, begin, place, C, slopes)
            place = int32(place + step)
        if smooth:
            loss += each * of_block(away, room, thread)
        if thread == 0:
            sums[row] = loss
            if keeps:
                values[row] = loss

    return Kernel(softmax_cross_entropy, case.parameters, threads)


def _pieces(case: _Case, stride: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Functions that read and write four numbers of a row, of those that there are.

    They are neighbours, all there or none, where four are read at once, and else at a stride. Those
    that are not there are -inf.
    """
    real = number_type(case.dtype)

    @inlined
    def read_neighbours(where, begin, place, count):
        nothing = real(-_INFINITY)
        a, b, c, d = nothing, nothing, nothing, nothing
        if place < count:
            a, b, c, d = load4(where, int32(begin + place))
        return a, b, c, d

    @inlined
    def write_neighbours(where, begin, place, count, numbers):
        if place < count:
            store4(where, int32(begin + place), numbers)

    @inlined
    def read_each(where, begin, place, count):
        return (
            read_one(where, begin, place, count),
            read_one(where, begin, int32(place + stride), count),
            read_one(where, begin, int32(place + 2 * stride), count),
            read_one(where, begin, int32(place + 3 * stride), count),
        )

    @inlined
    def read_one(where, begin, place, count):
        return where[int32(begin + place)] if place < count else real(-_INFINITY)

    @inlined
    def write_each(where, begin, place, count, numbers):
        write_one(where, begin, place, count, numbers[0])
        write_one(where, begin, int32(place + stride), count, numbers[1])
        write_one(where, begin, int32(place + 2 * stride), count, numbers[2])
        write_one(where, begin, int32(place + 3 * stride), count, numbers[3])

    @inlined
    def write_one(where, begin, place, count, number):
        if place < count:
            where[int32(begin + place)] = number

    if case.width == 4:
        return read_neighbours, write_neighbours
    return read_each, write_each


def _row(case: _Case, stride: int) -> tuple[Callable[..., Any], ...]:
    """Functions for what the two kernels have in common."""
    real = number_type(case.dtype)
    smooth, weighted = case.smooth, case.weighted

    @inlined
    def label_of(labels, row, count):
        """The label of a row of so many classes; -1 if it is none of these."""
        label = int32(-1)
        if count > int32(0):
            number = int64(labels[row])
            if int64(0) <= number < int64(count):
                label = int32(number)
        return label

    @inlined
    def weight_of(weight, place):
        number = weight[place] if weighted else real(1)
        return number if number >= real(0) else real(_NAN)

    @inlined
    def settle(score, beside, label_weight, others_weight, keep, each, share):
        """The loss, but for what other classes' scores add to it; by what exponentials are
        multiplied in the gradient; and the label's gradient.

        As on the CPU: without the difference of a probability near 1 and 1.
        """
        power = math.exp(score)
        logarithm = math.log1p(beside)
        probability = real(1) / (real(1) + beside)
        others = beside if power == real(1) else (real(1) + beside) - power
        loss = label_weight * keep * (logarithm - score)
        weight_beside = real(0)
        if smooth:
            loss += each * (others_weight + label_weight) * logarithm
            weight_beside = each * others_weight
        weight_own = label_weight * (keep + each)
        factor = share * (weight_beside + weight_own) * probability
        slope = share * probability * (weight_beside * power - weight_own * others)
        return loss, factor, slope

    @inlined
    def slopes_of(a, b, c, d, weight, part, place, count, label, slope):
        """The gradient by four classes: without what smoothing adds they would be a, b, c, d."""
        return (
            slope_at(a, weight, part, place, count, label, slope),
            slope_at(b, weight, part, int32(place + stride), count, label, slope),
            slope_at(c, weight, part, int32(place + 2 * stride), count, label, slope),
            slope_at(d, weight, part, int32(place + 3 * stride), count, label, slope),
        )

    @inlined
    def slope_at(number, weight, part, place, count, label, slope):
        if smooth and place < count:
            number -= part * weight_of(weight, place)
        return slope if place == label else number

    return label_of, weight_of, settle, slopes_of


def _share_of_labels(labels: DeviceArray, class_weight: DeviceArray) -> DeviceArray:
    """An array of one number: 1 over the sum of the labels' weights."""
    N, C = labels.size, class_weight.size
    dtype = class_weight.dtype.name
    sums = class_weight.empty((-(-N // BLOCK),))
    _label_weights(dtype, labels.dtype.name).launch(
        sums.shape, labels.address, class_weight.address, sums.address, N, C
    )
    return reciprocal(sums)


@cache
def _label_weights(dtype: str, labels_dtype: str) -> Kernel:
    """The kernel for the sum of the weights of labels; one that is none weighs nothing."""
    real = number_type(dtype)
    of_block = block_total(THREADS)
    warps = THREADS // WARP

    def label_weights(labels, weight, sums, N, C):
        room = cuda.shared.array(warps, real)
        thread = int32(cuda.threadIdx.x)
        total = real(0)
        for k in range(BLOCK // THREADS):
            n = int32(cuda.blockIdx.x * BLOCK + k * THREADS + thread)
            if n < N:
                label = int64(labels[n])
                if int64(0) <= label < int64(C):
                    total += weight[label]
        total = of_block(total, room, thread)
        if thread == 0:
            sums[cuda.blockIdx.x] = total

    numbers, labels = pointer(real), pointer(number_type(labels_dtype))
    return Kernel(label_weights, [labels, numbers, numbers, int32, int32], THREADS)
