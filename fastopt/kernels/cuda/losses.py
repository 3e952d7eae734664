"""Losses and their gradients in one pass.

As on the CPU, each function writes the gradient of ``share`` times the sum of what each item costs,
and returns that product, here as an array of no dimensions, in double precision. What an item costs
is computed in the precision of the arrays. Each block adds up its items as a tree, and a second
kernel adds up these sums in double precision, in an order that depends on shapes alone.

Nobody looks at values before a kernel does: a label that is none, a target that is no probability
and a negative weight make NaN of the value, and of the gradient by the row or the element.
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
    float64,
    inlined,
    int32,
    int64,
    load4,
    number_type,
    pointer,
    store4,
)
from fastopt.device.reductions import WARP, block_total, larger, warp_total

__all__ = [
    "binary_cross_entropy",
    "l1",
    "mse",
    "multilabel",
    "smooth_l1",
    "softmax_cross_entropy",
]

THREADS = 256
# Elements of a block, of which each thread has two times four.
BLOCK = 8 * THREADS
# Up to so many bytes, a row is held in the registers of a warp or of a part of it.
_MOST_IN_A_WARP = 4096
# Beyond so many, larger blocks have fewer rows at a time, which are still in the cache when they
# are read again.
_LONG_ROW = 32768
_NAN, _INFINITY = math.nan, math.inf


# --- losses of single predictions --------------------------------------------------------------


def l1(
    prediction: DeviceArray,
    target: DeviceArray,
    grad: DeviceArray,
    share: float | None = None,
    values: DeviceArray | None = None,
) -> DeviceArray:
    """Of ``|prediction - target|``."""
    return _evaluate(_absolute, prediction, target, 0.0, 1.0, share, values, grad)


def mse(
    prediction: DeviceArray,
    target: DeviceArray,
    grad: DeviceArray,
    share: float | None = None,
    values: DeviceArray | None = None,
) -> DeviceArray:
    """Of ``(prediction - target)**2``."""
    return _evaluate(_squared, prediction, target, 0.0, 2.0, share, values, grad)


def smooth_l1(
    prediction: DeviceArray,
    target: DeviceArray,
    beta: float,
    grad: DeviceArray,
    share: float | None = None,
    values: DeviceArray | None = None,
) -> DeviceArray:
    """Of Huber's function over its threshold `beta`."""
    return _evaluate(_huber, prediction, target, beta, 1.0, share, values, grad)


def binary_cross_entropy(
    logits: DeviceArray,
    target: DeviceArray,
    grad: DeviceArray,
    share: float | None = None,
    values: DeviceArray | None = None,
) -> DeviceArray:
    """Of the cross-entropy of the probability ``1/(1 + exp(-logits))`` and `target`."""
    return _evaluate(_logistic, logits, target, 0.0, 1.0, share, values, grad)


def multilabel(
    logits: DeviceArray,
    target: DeviceArray,
    grad: DeviceArray,
    share: float | None = None,
    values: DeviceArray | None = None,
) -> DeviceArray:
    """Of the mean over a row of its `binary_cross_entropy`."""
    N, C = logits.shape
    share = share if share is None else share / C
    if values is None:
        return binary_cross_entropy(logits, target, grad, share)
    each = logits.empty((N, C))
    value = binary_cross_entropy(logits, target, grad, share, each)
    kernel = _row_means(logits.dtype.name, WARP if C <= 1024 else THREADS)
    kernel.launch((N,), each.address, C, values.address)
    return value


def _evaluate(
    function: Callable[..., Any],
    prediction: DeviceArray,
    target: DeviceArray,
    constant: float,
    times: float,
    share: float | None,
    values: DeviceArray | None,
    grad: DeviceArray,
) -> DeviceArray:
    n = prediction.size
    share = 1.0 / n if share is None else share
    arrays = [each for each in (prediction, target, grad, values) if each is not None]
    kernel = _pointwise(
        function, prediction.dtype.name, 4 if is_aligned(*arrays) else 1, values is not None
    )
    sums = prediction.empty((-(-n // BLOCK),))
    kernel.launch(
        sums.shape,
        prediction.address,
        target.address,
        constant,
        times * share,
        grad.address,
        0 if values is None else values.address,
        sums.address,
        n,
    )
    return _total(sums, share)


@cache
def _pointwise(define: Callable[..., Any], dtype: str, width: int, keeps: bool) -> Kernel:
    """The kernel for a loss of one number; `keeps` says whether there are `values`.

    A thread reads all that it needs before it writes: the gradient may replace the predictions, so
    that the compiler could not move a load before a store.
    """
    real = number_type(dtype)
    function = define(real)
    of_block = block_total(THREADS)
    warps = THREADS // WARP
    stride = 1 if width == 4 else THREADS
    half = BLOCK // 2
    get4, put4 = _access(width, stride)

    def evaluate(prediction, target, constant, scale, grad, values, sums, n):
        room = cuda.shared.array(warps, real)
        thread = int32(cuda.threadIdx.x)
        i = int64(cuda.blockIdx.x) * int64(BLOCK) + int64(thread * width)
        j = i + int64(half)
        cost = real(0)
        if j + int64(3 * stride) < n:
            a, y = get4(prediction, i), get4(target, i)
            b, z = get4(prediction, j), get4(target, j)
            losses, slopes = of_four(a, y, constant, scale)
            more_losses, more_slopes = of_four(b, z, constant, scale)
            put4(grad, i, slopes)
            put4(grad, j, more_slopes)
            if keeps:
                put4(values, i, losses)
                put4(values, j, more_losses)
            cost = sum4(losses) + sum4(more_losses)
        else:
            for k in range(8):
                e = i + int64(k // 4 * half + k % 4 * stride)
                if e < n:
                    loss, slope = function(prediction[e], target[e], constant)
                    grad[e] = scale * slope
                    if keeps:
                        values[e] = loss
                    cost += loss
        cost = of_block(cost, room, thread)
        if thread == 0:
            sums[cuda.blockIdx.x] = cost

    @inlined
    def of_four(z, y, constant, scale):
        a, p = function(z[0], y[0], constant)
        b, q = function(z[1], y[1], constant)
        c, r = function(z[2], y[2], constant)
        d, s = function(z[3], y[3], constant)
        return (a, b, c, d), (scale * p, scale * q, scale * r, scale * s)

    @inlined
    def sum4(numbers):
        return (numbers[0] + numbers[1]) + (numbers[2] + numbers[3])

    parameters = [pointer(real), pointer(real), real, real, *[pointer(real)] * 3, int64]
    return Kernel(evaluate, parameters, THREADS)


def _access(width: int, stride: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Functions that load and store four numbers: neighbours at once, or each at a stride."""

    @inlined
    def get4(where, i):
        return where[i], where[i + stride], where[i + 2 * stride], where[i + 3 * stride]

    @inlined
    def put4(where, i, numbers):
        where[i] = numbers[0]
        where[i + stride] = numbers[1]
        where[i + 2 * stride] = numbers[2]
        where[i + 3 * stride] = numbers[3]

    return (load4, store4) if width == 4 else (get4, put4)


# Functions of a prediction, what was observed and a constant: a loss and its derivative. They are
# those of fastopt.rules.losses, in the precision that is given.


@cache
def _absolute(real: Any) -> Callable[..., Any]:
    @inlined
    def absolute(z, y, constant):
        return abs(z - y), sign(z, y)

    sign = _sign(real)
    return absolute


@cache
def _squared(real: Any) -> Callable[..., Any]:
    @inlined
    def squared(z, y, constant):
        error = z - y
        return error * error, error

    return squared


@cache
def _huber(real: Any) -> Callable[..., Any]:
    """Divided by its threshold, which may be 0 or infinite in single precision."""

    @inlined
    def huber(z, y, beta):
        size = abs(z - y)
        if size < beta:
            ratio = (z - y) / beta
            return real(0.5) * size * abs(ratio), ratio
        if size >= beta:
            return size - real(0.5) * beta, sign(z, y)
        return size, size

    sign = _sign(real)
    return huber


@cache
def _sign(real: Any) -> Callable[..., Any]:
    @inlined
    def sign(z, y):
        above = real(1) if z > y else real(0)
        return real(-1) if z < y else above

    return sign


@cache
def _logistic(real: Any) -> Callable[..., Any]:
    """NaN of a target that is not from 0 to 1."""

    @inlined
    def logistic(z, y, constant):
        y = y if real(0) <= y <= real(1) else real(_NAN)
        t = math.exp(-abs(z))
        likelier = real(1) / (real(1) + t)
        other = t * likelier
        one, zero = (likelier, other) if z > real(0) else (other, likelier)
        # max(z, 0) - y z, without a difference where z > 0 and y is near 1.
        linear = (real(1) - y) * z if z > real(0) else -(y * z)
        return linear + math.log1p(t), (real(1) - y) * one - y * zero

    return logistic


@cache
def _row_means(dtype: str, threads: int) -> Kernel:
    """The kernel for the means of the rows of a matrix, of which a block has one."""
    real = number_type(dtype)
    of_block = block_total(threads)
    warps = threads // WARP

    def row_means(numbers, C, means):
        room = cuda.shared.array(warps, real)
        thread = int32(cuda.threadIdx.x)
        begin = int32(cuda.blockIdx.x * C)
        total = real(0)
        c = thread
        while c < C:
            total += numbers[int32(begin + c)]
            c = int32(c + threads)
        total = of_block(total, room, thread)
        if thread == 0:
            means[cuda.blockIdx.x] = total / real(C)

    return Kernel(row_means, [pointer(real), int32, pointer(real)], threads)


# --- softmax cross-entropy ---------------------------------------------------------------------


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
    number, address = _spoken(scale)
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
    return _total(sums, scale)


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
    share = class_weight.empty((1,))
    _reciprocal(dtype, _threads_for(sums.size)).launch((1,), sums.address, sums.size, share.address)
    return share


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


# --- sums over blocks ----------------------------------------------------------------------------


def _total(sums: DeviceArray, share: float | DeviceArray) -> DeviceArray:
    """The sum of what blocks have left, times `share`: a number, or an array of one."""
    value = sums.empty((), np.float64)
    number, address = _spoken(share)
    kernel = _product(sums.dtype.name, _threads_for(sums.size), address != 0)
    kernel.launch((1,), sums.address, sums.size, number, address, value.address)
    return value


def _spoken(share: float | DeviceArray) -> tuple[float, int]:
    """A share as kernels are told of it: a number, and where it is if the device knows it."""
    return (1.0, share.address) if isinstance(share, DeviceArray) else (share, 0)


def _threads_for(count: int) -> int:
    return 128 if count <= 512 else 1024


@cache
def _product(dtype: str, threads: int, shared: bool) -> Kernel:
    """The kernel for a sum times a share, which is in memory if it is `shared`."""
    real = number_type(dtype)
    add_up = _adding(threads)
    warps = threads // WARP

    def product(sums, count, share, shares, out):
        room = cuda.shared.array(warps, float64)
        thread = int32(cuda.threadIdx.x)
        total = add_up(sums, count, room, thread)
        if shared:
            share = float64(shares[0])
        if thread == 0:
            out[0] = total * share

    parameters = [pointer(real), int32, float64, pointer(real), pointer(float64)]
    return Kernel(product, parameters, threads)


@cache
def _reciprocal(dtype: str, threads: int) -> Kernel:
    """The kernel for 1 over a sum."""
    real = number_type(dtype)
    add_up = _adding(threads)
    warps = threads // WARP

    def reciprocal(sums, count, out):
        room = cuda.shared.array(warps, float64)
        thread = int32(cuda.threadIdx.x)
        total = add_up(sums, count, room, thread)
        if thread == 0:
            out[0] = real(float64(1) / total if total > float64(0) else float64(_NAN))

    return Kernel(reciprocal, [pointer(real), int32, pointer(real)], threads)


@cache
def _adding(threads: int) -> Callable[..., Any]:
    """A function that adds up an array in double precision, by the threads of one block."""
    of_block = block_total(threads)

    @inlined
    def add_up(numbers, count, room, thread):
        a, b, c, d = float64(0), float64(0), float64(0), float64(0)
        k = thread
        while k < count - 3 * threads:
            a += float64(numbers[k])
            b += float64(numbers[int32(k + threads)])
            c += float64(numbers[int32(k + 2 * threads)])
            d += float64(numbers[int32(k + 3 * threads)])
            k = int32(k + 4 * threads)
        while k < count:
            a += float64(numbers[k])
            k = int32(k + threads)
        return of_block((a + b) + (c + d), room, thread)

    return add_up
