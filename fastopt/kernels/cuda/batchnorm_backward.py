"""Kernels of batch normalization backward: sums of the gradient, and the gradient of x.

How they share the work is said in :mod:`batchnorm`, which launches them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from fastopt.device.kernel import Kernel
from fastopt.device.language import cuda, float64, inlined, int32, number_type, pointer, store2
from fastopt.kernels.cuda.batchnorm_forward import channel_functions, keep, kept, units_of_thread
from fastopt.kernels.cuda.channels import MOST_TOGETHER, THREADS, access, gathering, placing

__all__ = [
    "gradient_kernel",
    "gradient_sums_kernel",
    "parameter_gradients_kernel",
    "whole_backward_kernel",
]


@cache
def _gradients(dtype: str, width: int, count: int, relu: bool) -> tuple[Any, Any, Any]:
    """What backward does with a thread's numbers: functions for kernels.

    Returns
    -------
    close : callable
        ``close(grads, numbers, centre, scale, shift)`` makes grads 0 where the ReLU did.
    add : callable
        ``add(grads, numbers, centre, sums, products, unit, end, depth)`` adds them, and their
        products with x - centre, to four sums each.
    turn : callable
        ``turn(grads, numbers, centre, scale, slope, level)`` makes them gradients of x.
    """
    real = number_type(dtype)

    @inlined
    def close(grads, numbers, centre, scale, shift):
        if relu:
            for k in range(width * count):
                y = (numbers[k] - centre) * scale + shift
                if y <= real(0):
                    grads[k] = real(0)

    @inlined
    def add(grads, numbers, centre, sums, products, unit, end, depth):
        u = unit
        for k in range(count):
            if u < end:
                for j in range(width):
                    g = grads[width * k + j]
                    sums[(width * k + j) & 3] += g
                    products[(width * k + j) & 3] += g * (numbers[width * k + j] - centre)
            u = int32(u + depth)

    @inlined
    def turn(grads, numbers, centre, scale, slope, level):
        for k in range(width * count):
            grads[k] = grads[k] * scale - ((numbers[k] - centre) * slope + level)

    return close, add, turn


@inlined
def _total(sums):
    return float64((sums[0] + sums[1]) + (sums[2] + sums[3]))


@cache
def gradient_sums_kernel(
    dtype: str, statistics: str, width: int, relu: bool, training: bool
) -> Kernel:
    """Sums of a share of each channel: of grad, and of grad (x - centre).

    Without training the gradient of x does not depend on them, and is worked out at once.
    """
    real = number_type(dtype)
    count = units_of_thread(real, 2, width)
    held, room = width * count, 3 * MOST_TOGETHER
    place, (gather, _) = placing(THREADS, width), gathering(THREADS)
    fetch, put = access(width, count)
    factors = channel_functions(dtype)[0]
    close, add, _ = _gradients(dtype, width, count, relu)

    def gradient_sums(
        grad, x, grad_x, mean, var, weight, bias, eps, given, partials,
        channels, length, run, together, units, share, shares,
    ):  # fmt: skip
        left, right = cuda.shared.array(THREADS, float64), cuda.shared.array(THREADS, float64)
        table = cuda.shared.array(room, real)
        grads, numbers = cuda.local.array(held, real), cuda.local.array(held, real)
        sums, products = cuda.local.array(4, real), cuda.local.array(4, real)
        thread, block = int32(cuda.threadIdx.x), int32(cuda.blockIdx.x)
        how = channels, length, run, together, units, share, shares
        first, part, channel, columns, unit, end, at, walk = place(thread, block, how)
        depth = walk[1]
        fetch(grad, grads, unit, end, at, walk)
        next_at, next_walk = fetch(x, numbers, unit, end, at, walk)
        c = int32(first + thread)
        if thread < together and c < channels:
            m, v = float64(mean[c]), float64(var[c])
            centre, scale, shift, _, _ = factors(m, v, weight, bias, eps, given, c)
            keep(table, int32(3 * thread), centre, scale, shift)
        cuda.syncthreads()
        for k in range(4):
            sums[k] = products[k] = real(0)
        if unit < end:
            slot = int32(3 * (channel - first))
            centre, scale, shift = kept(table, slot)
            while unit < end:
                close(grads, numbers, centre, scale, shift)
                add(grads, numbers, centre, sums, products, unit, end, depth)
                if not training:
                    for k in range(held):
                        grads[k] *= scale
                    put(grads, grad_x, unit, end, at, walk)
                unit = int32(unit + count * depth)
                at, walk = next_at, next_walk
                fetch(grad, grads, unit, end, at, walk)
                next_at, next_walk = fetch(x, numbers, unit, end, at, walk)
        total, product = gather(_total(sums), _total(products), (left, right), thread, columns)
        if thread < together and c < channels:
            store2(partials, int32(2 * (part * channels + c)), (total, product))

    numbers = [pointer(real)] * 3 + _channel_types(real, statistics)
    return Kernel(gradient_sums, numbers + [pointer(float64)] + [int32] * 7, THREADS, 4)


@cache
def gradient_kernel(dtype: str, width: int, relu: bool) -> Kernel:
    """What is left of `backward` behind `gradient_sums_kernel`."""
    real = number_type(dtype)
    count = units_of_thread(real, 2, width)
    held, room = width * count, 5 * MOST_TOGETHER
    place, (_, combine) = placing(THREADS, width), gathering(THREADS)
    fetch, put = access(width, count)
    factors, _, spread = channel_functions(dtype)
    close, _, turn = _gradients(dtype, width, count, relu)

    def gradient(
        grad, x, grad_x, mean, var, weight, bias, eps, given, partials, grad_weight, grad_bias,
        channels, length, run, together, units, share, shares,
    ):  # fmt: skip
        left, right = cuda.shared.array(THREADS, float64), cuda.shared.array(THREADS, float64)
        table = cuda.shared.array(room, real)
        grads, numbers = cuda.local.array(held, real), cuda.local.array(held, real)
        thread, block = int32(cuda.threadIdx.x), int32(cuda.gridDim.x - cuda.blockIdx.x - 1)
        how = channels, length, run, together, units, share, shares
        first, part, channel, _, unit, end, at, walk = place(thread, block, how)
        depth = walk[1]
        fetch(grad, grads, unit, end, at, walk)
        next_at, next_walk = fetch(x, numbers, unit, end, at, walk)
        total, product = combine(partials, (left, right), thread, first, channels, together, shares)
        c = int32(first + thread)
        if thread < together and c < channels:
            size = float64(units) * float64(length if run == 1 else width)
            m = mean[c]
            centre, scale, shift, inverse, w = factors(m, var[c], weight, bias, eps, given, c)
            slope, level, steepness = spread(total, product, size, m, centre, inverse, w)
            k = int32(5 * thread)
            keep(table, k, centre, scale, shift)
            table[int32(k + 3)] = slope
            table[int32(k + 4)] = level
            if part == 0:
                if given & 4:
                    grad_weight[c] = steepness
                if given & 8:
                    grad_bias[c] = real(total)
        cuda.syncthreads()
        if unit < end:
            slot = int32(5 * (channel - first))
            centre, scale, shift = kept(table, slot)
            slope, level = table[int32(slot + 3)], table[int32(slot + 4)]
            while unit < end:
                close(grads, numbers, centre, scale, shift)
                turn(grads, numbers, centre, scale, slope, level)
                put(grads, grad_x, unit, end, at, walk)
                unit = int32(unit + count * depth)
                at, walk = next_at, next_walk
                fetch(grad, grads, unit, end, at, walk)
                next_at, next_walk = fetch(x, numbers, unit, end, at, walk)

    numbers = [pointer(real)] * 3 + _channel_types(real, "float64")
    results = [pointer(real)] * 2
    return Kernel(gradient, numbers + [pointer(float64), *results] + [int32] * 7, THREADS, 3)


@cache
def whole_backward_kernel(
    dtype: str, statistics: str, width: int, relu: bool, training: bool, threads: int
) -> Kernel:
    """All of `backward`, for channels whose numbers fit into the registers of a block."""
    real = number_type(dtype)
    count = units_of_thread(real, 2, width)
    held, room = width * count, 5 * MOST_TOGETHER
    place, (gather, _) = placing(threads, width), gathering(threads)
    fetch, put = access(width, count)
    factors, _, spread = channel_functions(dtype)
    close, add, turn = _gradients(dtype, width, count, relu)

    def whole_backward(
        grad, x, grad_x, mean, var, weight, bias, eps, given, grad_weight, grad_bias,
        channels, length, run, together, units, share, shares,
    ):  # fmt: skip
        left, right = cuda.shared.array(threads, float64), cuda.shared.array(threads, float64)
        table = cuda.shared.array(room, real)
        grads, numbers = cuda.local.array(held, real), cuda.local.array(held, real)
        sums, products = cuda.local.array(4, real), cuda.local.array(4, real)
        thread = int32(cuda.threadIdx.x)
        how = channels, length, run, together, units, share, shares
        first, _, channel, columns, unit, end, at, walk = place(thread, int32(cuda.blockIdx.x), how)
        depth = walk[1]
        fetch(grad, grads, unit, end, at, walk)
        fetch(x, numbers, unit, end, at, walk)
        c, k = int32(first + thread), int32(5 * thread)
        m, inverse, w = float64(0), float64(0), float64(0)
        if thread < together and c < channels:
            m = float64(mean[c])
            v = float64(var[c])
            centre, scale, shift, inverse, w = factors(m, v, weight, bias, eps, given, c)
            keep(table, k, centre, scale, shift)
        cuda.syncthreads()
        for j in range(4):
            sums[j] = products[j] = real(0)
        slot = int32(5 * (channel - first))
        centre, scale = real(0), real(0)
        if unit < end:
            centre, scale, shift = kept(table, slot)
            close(grads, numbers, centre, scale, shift)
            add(grads, numbers, centre, sums, products, unit, end, depth)
        total, product = gather(_total(sums), _total(products), (left, right), thread, columns)
        if thread < together and c < channels:
            size = float64(units) * float64(length if run == 1 else width)
            slope, level, steepness = spread(total, product, size, m, table[k], inverse, w)
            table[int32(k + 3)] = slope
            table[int32(k + 4)] = level
            if given & 4:
                grad_weight[c] = steepness
            if given & 8:
                grad_bias[c] = real(total)
        cuda.syncthreads()
        if unit < end:
            if training:
                slope, level = table[int32(slot + 3)], table[int32(slot + 4)]
                turn(grads, numbers, centre, scale, slope, level)
            else:
                for j in range(held):
                    grads[j] *= scale
            put(grads, grad_x, unit, end, at, walk)

    numbers = [pointer(real)] * 3 + _channel_types(real, statistics)
    return Kernel(whole_backward, numbers + [pointer(real)] * 2 + [int32] * 7, threads)


@cache
def parameter_gradients_kernel(dtype: str, statistics: str) -> Kernel:
    """The gradients of weight and bias from the sums that `gradient_sums_kernel` left."""
    real = number_type(dtype)
    _, combine = gathering(THREADS)
    factors, _, spread = channel_functions(dtype)

    def parameter_gradients(
        mean, var, weight, bias, eps, given, partials, grad_weight, grad_bias,
        channels, length, run, together, units, share, shares,
    ):  # fmt: skip
        left, right = cuda.shared.array(THREADS, float64), cuda.shared.array(THREADS, float64)
        thread = int32(cuda.threadIdx.x)
        first = int32(cuda.blockIdx.x * together)
        total, product = combine(partials, (left, right), thread, first, channels, together, shares)
        c = int32(first + thread)
        if thread < together and c < channels:
            m, v = float64(mean[c]), float64(var[c])
            centre, _, _, inverse, w = factors(m, v, weight, bias, eps, given, c)
            _, _, steepness = spread(total, product, float64(1), m, centre, inverse, w)
            if given & 4:
                grad_weight[c] = steepness
            if given & 8:
                grad_bias[c] = real(total)

    numbers = [*_channel_types(real, statistics), pointer(float64)]
    return Kernel(parameter_gradients, numbers + [pointer(real)] * 2 + [int32] * 7, THREADS)


def _channel_types(real: Any, statistics: str) -> list[Any]:
    """Of mean, var, weight, bias, eps and what is given."""
    return [pointer(number_type(statistics))] * 2 + [pointer(real)] * 2 + [float64, int32]
