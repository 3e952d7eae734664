"""Kernels of batch normalization forward: statistics, and numbers normalized with them.

Owns the factors of a channel, too, with which backward works out the ReLU's argument once more. How
kernels share the work is said in :mod:`batchnorm`, which launches them.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from fastopt.device.kernel import Kernel
from fastopt.device.language import (
    cuda,
    float64,
    inlined,
    int32,
    number_type,
    pointer,
    pointer_to,
    quotient,
    store2,
)
from fastopt.kernels.cuda.channels import MOST_TOGETHER, THREADS, access, gathering, placing

__all__ = [
    "channel_functions",
    "inference_kernel",
    "keep",
    "kept",
    "moments_kernel",
    "normalization_kernel",
    "units_of_thread",
    "update_kernel",
    "whole_forward_kernel",
]

# Bytes of x, or of x and grad together, that a thread has in registers at a time, by the numbers of
# a unit. Places of single numbers take registers of their own.
_HELD = {4: 64, 1: 56}


def units_of_thread(real: Any, arrays: int, width: int) -> int:
    """Units that a thread has in registers of each of some arrays."""
    return int(_HELD[width] // (arrays * width * real.bitwidth // 8))


# --- a channel -----------------------------------------------------------------------------------


@cache
def channel_functions(dtype: str) -> tuple[Any, Any, Any]:
    """Functions for kernels about one channel, in float64: its factors, moments and gradients."""
    real = number_type(dtype)

    @inlined
    def factors(mean, var, weight, bias, eps, given, c):
        """Centre, scale and shift of ``(x - centre) * scale + shift``, 1 / deviation, and weight.

        The centre is the mean in x's precision, and the shift takes up what is left of it.
        """
        inverse = float64(1) / math.sqrt(var + eps)
        w, b = float64(1), float64(0)
        if given & 1:
            w = float64(weight[c])
        if given & 2:
            b = float64(bias[c])
        centre = real(mean)
        shift = b - (mean - float64(centre)) * w * inverse
        return centre, real(w * inverse), real(shift), inverse, w

    @inlined
    def moments(total, square, count, pivot):
        """Mean and biased variance from sums of differences from a number, and their squares."""
        offset = total / count
        var = square / count - offset * offset
        if var < float64(0):
            var = float64(0)
        return float64(pivot) + offset, var

    @inlined
    def spread(total, product, count, mean, centre, inverse, w):
        """Slope and level of ``grad * scale - ((x - centre) * slope + level)``, and of the weight.

        With the mean m, 1/std = t, and sums over the channel of grad, s, and of grad (x - m), q,
        the gradient of x is ``w t (grad - s/M - (x - m) t**2 q/M)`` (Ioffe & Szegedy 2015, section
        3), and that of the weight is ``q t``.
        """
        left = mean - float64(centre)
        q = product - left * total
        slope = w * inverse * inverse * inverse * q / count
        return real(slope), real(w * inverse * total / count - left * slope), real(q * inverse)

    return factors, moments, spread


# A channel's centre, scale and shift wait in shared memory, from a slot on, for threads that have
# its numbers.


@inlined
def keep(table, slot, centre, scale, shift):
    """Put them there."""
    table[slot] = centre
    table[int32(slot + 1)] = scale
    table[int32(slot + 2)] = shift


@inlined
def kept(table, slot):
    """Take them from there."""
    return table[slot], table[int32(slot + 1)], table[int32(slot + 2)]


@inlined
def _moved(running, momentum, new):
    """A running statistic, `momentum` of the way to a new one."""
    return (float64(1) - momentum) * float64(running) + momentum * new


# --- kernels -------------------------------------------------------------------------------------


@cache
def _sums(dtype: str, width: int, count: int) -> tuple[Any, Any, Any]:
    """The moments of a thread's numbers: functions for kernels.

    Returns
    -------
    start : callable
        ``start(numbers, unit, end, depth)`` is the mean of the first numbers.
    add : callable
        ``add(numbers, shift, sums, squares, unit, end, depth)`` adds differences from it, and
        squares of them, to four sums each.
    lifted : callable
        ``lifted(sums, squares, shift, many, pivot)`` is the two totals, over `many` numbers, in
        float64 and of differences from another number.
    """
    real = number_type(dtype)

    @inlined
    def start(numbers, unit, end, depth):
        u, many, total = unit, int32(0), real(0)
        for k in range(count):
            if u < end:
                for j in range(width):
                    total += numbers[width * k + j]
                many = int32(many + width)
            u = int32(u + depth)
        if many > 0:
            total /= real(many)
        return total

    @inlined
    def add(numbers, shift, sums, squares, unit, end, depth):
        u = unit
        for k in range(count):
            if u < end:
                for j in range(width):
                    d = numbers[width * k + j] - shift
                    sums[(width * k + j) & 3] += d
                    squares[(width * k + j) & 3] += d * d
            u = int32(u + depth)

    @inlined
    def lifted(sums, squares, shift, many, pivot):
        total = float64((sums[0] + sums[1]) + (sums[2] + sums[3]))
        square = float64((squares[0] + squares[1]) + (squares[2] + squares[3]))
        lift, number = float64(shift) - float64(pivot), float64(many)
        return total + number * lift, square + lift * (total + total + number * lift)

    return start, add, lifted


@inlined
def _numbers_of(unit, end, depth, width):
    """How many numbers a thread has."""
    many = int32(0)
    if unit < end:
        many = int32(quotient(int32(end - unit + depth - 1), depth) * width)
    return many


@cache
def moments_kernel(dtype: str, width: int) -> Kernel:
    """Sums of a share of each channel: of differences from its first number, and of squares."""
    real = number_type(dtype)
    count = units_of_thread(real, 1, width)
    held = width * count
    place, (fetch, _), (gather, _) = (
        placing(THREADS, width),
        access(width, count),
        gathering(THREADS),
    )
    start, add, lifted = _sums(dtype, width, count)

    def moments(x, partials, channels, length, run, together, units, share, shares):
        left, right = cuda.shared.array(THREADS, float64), cuda.shared.array(THREADS, float64)
        numbers, sums = cuda.local.array(held, real), cuda.local.array(4, real)
        squares = cuda.local.array(4, real)
        thread, block = int32(cuda.threadIdx.x), int32(cuda.blockIdx.x)
        how = channels, length, run, together, units, share, shares
        first, part, channel, columns, unit, end, at, walk = place(thread, block, how)
        depth = walk[1]
        pivot = real(0)
        if channel < channels:
            pivot = x[int32(channel * length)]
        at, walk = fetch(x, numbers, unit, end, at, walk)
        many = _numbers_of(unit, end, depth, width)
        shift = start(numbers, unit, end, depth)
        for k in range(4):
            sums[k] = squares[k] = real(0)
        while unit < end:
            add(numbers, shift, sums, squares, unit, end, depth)
            unit = int32(unit + count * depth)
            at, walk = fetch(x, numbers, unit, end, at, walk)
        total, square = lifted(sums, squares, shift, many, pivot)
        total, square = gather(total, square, (left, right), thread, columns)
        channel = int32(first + thread)
        if thread < together and channel < channels:
            store2(partials, int32(2 * (part * channels + channel)), (total, square))

    return Kernel(moments, [pointer(real), pointer(float64)] + [int32] * 7, THREADS, 4)


@cache
def _settling(dtype: str) -> Any:
    """From the sums of a channel to its statistics and factors: a function for kernels."""
    factors, moments, _ = channel_functions(dtype)
    real = number_type(dtype)

    @inlined
    def settle(found, parameters, is_first, saved, running, c, channels, table, slot):
        total, square, pivot, size = found
        weight, bias, eps, given = parameters
        momentum, running_mean, running_var = running
        mean, var = moments(total, square, size, pivot)
        centre, scale, shift, _, _ = factors(mean, var, weight, bias, eps, given, c)
        keep(table, slot, centre, scale, shift)
        if is_first:
            saved[c] = mean
            saved[int32(channels + c)] = var
            if given & 4:
                unbiased = size / (size - float64(1)) * var
                running_mean[c] = real(_moved(running_mean[c], momentum, mean))
                running_var[c] = real(_moved(running_var[c], momentum, unbiased))

    return settle


@cache
def _normalizing(dtype: str, width: int, count: int, relu: bool) -> Any:
    """Normalize a thread's numbers where they are, in registers: a function for kernels."""
    real = number_type(dtype)

    @inlined
    def normalize(numbers, centre, scale, shift):
        for k in range(width * count):
            y = (numbers[k] - centre) * scale + shift
            if relu:
                y = real(0) if y <= real(0) else y
            numbers[k] = y

    return normalize


@cache
def normalization_kernel(dtype: str, width: int, relu: bool) -> Kernel:
    """What is left of `forward` behind `moments_kernel`."""
    real = number_type(dtype)
    count = units_of_thread(real, 1, width)
    held, room = width * count, 3 * MOST_TOGETHER
    place, (fetch, put), (_, combine) = (
        placing(THREADS, width),
        access(width, count),
        gathering(THREADS),
    )
    settle, normalize = _settling(dtype), _normalizing(dtype, width, count, relu)

    def normalization(
        x, partials, weight, bias, eps, given, saved, momentum, running_mean, running_var, out,
        channels, length, run, together, units, share, shares,
    ):  # fmt: skip
        left, right = cuda.shared.array(THREADS, float64), cuda.shared.array(THREADS, float64)
        table = cuda.shared.array(room, real)
        numbers = cuda.local.array(held, real)
        thread, block = int32(cuda.threadIdx.x), int32(cuda.gridDim.x - cuda.blockIdx.x - 1)
        parameters, running = (weight, bias, eps, given), (momentum, running_mean, running_var)
        how = channels, length, run, together, units, share, shares
        first, part, channel, _, unit, end, at, walk = place(thread, block, how)
        depth = walk[1]
        # On their way while the factors are computed.
        next_at, next_walk = fetch(x, numbers, unit, end, at, walk)
        total, square = combine(partials, (left, right), thread, first, channels, together, shares)
        c = int32(first + thread)
        if thread < together and c < channels:
            size = float64(units) * float64(length if run == 1 else width)
            found = total, square, x[int32(c * length)], size
            settle(
                found, parameters, part == 0, saved, running, c, channels, table, int32(3 * thread)
            )
        cuda.syncthreads()
        if unit < end:
            slot = int32(3 * (channel - first))
            centre, scale, shift = kept(table, slot)
            while unit < end:
                normalize(numbers, centre, scale, shift)
                put(numbers, out, unit, end, at, walk)
                unit = int32(unit + count * depth)
                at, walk = next_at, next_walk
                next_at, next_walk = fetch(x, numbers, unit, end, at, walk)

    parameters = [pointer(real), pointer(float64), *_forward_types(real)]
    return Kernel(normalization, parameters, THREADS, 4)


@cache
def whole_forward_kernel(dtype: str, width: int, relu: bool, threads: int) -> Kernel:
    """All of `forward`, for channels whose numbers fit into the registers of a block."""
    real = number_type(dtype)
    count = units_of_thread(real, 1, width)
    held, room = width * count, 3 * MOST_TOGETHER
    place, (fetch, put), (gather, _) = (
        placing(threads, width),
        access(width, count),
        gathering(threads),
    )
    start, add, lifted = _sums(dtype, width, count)
    settle, normalize = _settling(dtype), _normalizing(dtype, width, count, relu)

    def whole_forward(
        x, weight, bias, eps, given, saved, momentum, running_mean, running_var, out,
        channels, length, run, together, units, share, shares,
    ):  # fmt: skip
        left, right = cuda.shared.array(threads, float64), cuda.shared.array(threads, float64)
        table = cuda.shared.array(room, real)
        numbers, sums = cuda.local.array(held, real), cuda.local.array(4, real)
        squares = cuda.local.array(4, real)
        thread = int32(cuda.threadIdx.x)
        parameters, running = (weight, bias, eps, given), (momentum, running_mean, running_var)
        how = channels, length, run, together, units, share, shares
        first, _, channel, columns, unit, end, at, walk = place(thread, int32(cuda.blockIdx.x), how)
        depth = walk[1]
        pivot = real(0)
        if channel < channels:
            pivot = x[int32(channel * length)]
        fetch(x, numbers, unit, end, at, walk)
        many = _numbers_of(unit, end, depth, width)
        shift = start(numbers, unit, end, depth)
        for k in range(4):
            sums[k] = squares[k] = real(0)
        add(numbers, shift, sums, squares, unit, end, depth)
        total, square = lifted(sums, squares, shift, many, pivot)
        total, square = gather(total, square, (left, right), thread, columns)
        c = int32(first + thread)
        if thread < together and c < channels:
            size = float64(units) * float64(length if run == 1 else width)
            found = total, square, x[int32(c * length)], size
            settle(found, parameters, True, saved, running, c, channels, table, int32(3 * thread))
        cuda.syncthreads()
        if unit < end:
            slot = int32(3 * (channel - first))
            centre, scale, shift = kept(table, slot)
            normalize(numbers, centre, scale, shift)
            put(numbers, out, unit, end, at, walk)

    return Kernel(whole_forward, [pointer(real), *_forward_types(real)], threads)


def _forward_types(real: Any) -> list[Any]:
    """Of what the kernels have that end `forward`, from the weight on."""
    numbers = pointer(real)
    running = [float64, numbers, numbers]
    return [numbers, numbers, float64, int32, pointer(float64), *running, numbers] + [int32] * 7


@cache
def inference_kernel(dtype: str, width: int, relu: bool) -> Kernel:
    """All of `inference`."""
    real = number_type(dtype)
    count = units_of_thread(real, 1, width)
    held, room = width * count, 3 * MOST_TOGETHER
    place, (fetch, put) = placing(THREADS, width), access(width, count)
    factors, normalize = channel_functions(dtype)[0], _normalizing(dtype, width, count, relu)

    def inference(
        x, running_mean, running_var, weight, bias, eps, given, saved, out,
        channels, length, run, together, units, share, shares,
    ):  # fmt: skip
        table = cuda.shared.array(room, real)
        numbers = cuda.local.array(held, real)
        thread = int32(cuda.threadIdx.x)
        how = channels, length, run, together, units, share, shares
        first, part, channel, _, unit, end, at, walk = place(thread, int32(cuda.blockIdx.x), how)
        depth = walk[1]
        next_at, next_walk = fetch(x, numbers, unit, end, at, walk)
        c = int32(first + thread)
        if thread < together and c < channels:
            mean, var = float64(running_mean[c]), float64(running_var[c])
            centre, scale, shift, _, _ = factors(mean, var, weight, bias, eps, given, c)
            keep(table, int32(3 * thread), centre, scale, shift)
            if part == 0 and given & 4:
                saved[c] = mean
                saved[int32(channels + c)] = var
        cuda.syncthreads()
        if unit < end:
            slot = int32(3 * (channel - first))
            centre, scale, shift = kept(table, slot)
            while unit < end:
                normalize(numbers, centre, scale, shift)
                put(numbers, out, unit, end, at, walk)
                unit = int32(unit + count * depth)
                at, walk = next_at, next_walk
                next_at, next_walk = fetch(x, numbers, unit, end, at, walk)

    channel = [pointer(real)] * 4 + [float64, int32, pointer(float64)]
    arrays = [pointer_to(dtype), *channel, pointer_to(dtype)]
    return Kernel(inference, arrays + [int32] * 7, THREADS, 4)


@cache
def update_kernel(dtype: str) -> Kernel:
    """`update_running`, a channel for each thread."""
    real = number_type(dtype)

    def update(saved, unbiased, momentum, running_mean, running_var, channels):
        c = int32(cuda.blockIdx.x * THREADS + cuda.threadIdx.x)
        if c < channels:
            mean, var = saved[c], unbiased * saved[int32(channels + c)]
            running_mean[c] = real(_moved(running_mean[c], momentum, mean))
            running_var[c] = real(_moved(running_var[c], momentum, var))

    running = [pointer(real)] * 2
    return Kernel(update, [pointer(float64), float64, float64, *running, int32], THREADS)
