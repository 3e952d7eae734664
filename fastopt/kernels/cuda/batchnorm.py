"""Batch normalization of x (N, C, L), forth and back, with a ReLU behind it if wanted.

Where a channel's numbers fit into the registers of one block, one kernel does all, and reads x
once. Otherwise a first kernel leaves sums of each block's share in memory, and each block of a
second adds up those of its channel, in a fixed order, and works out its share of the result. It
starts with what the first came to last, some of which is still in the second-level cache.

Sums of a thread are of x's precision, and of differences: forth from the mean of the first numbers
that it has, back from the channel's mean, so that nothing cancels however far from zero the numbers
are. They are added up in float64, in which a channel's factors are computed, too; no loop over
numbers has float64 in it where x is float32. The ReLU is no pass of its own and saves nothing:
backward computes its argument once more from x, with the same roundings. Squares of deviations must
be numbers of x's precision: below 1e19 in float32.

What moves, in units of x's bytes, and the microseconds that it takes at 3 TB/s for float32 of shape
(32, 256, 56, 56) and (256, 64, 28, 28), if no cache helps:

==========================  ========  ===  ==
kernel                      bytes     (1)  (2)
==========================  ========  ===  ==
moments                     1         34   17
normalization               2         69   34
forward, both               3         103  51
whole_forward               2         69   34
gradient_sums               2         69   34
gradient_sums (inference)   3         103  51
gradient                    3         103  51
backward, both              5         171  86
whole_backward              3         103  51
==========================  ========  ===  ==

`weight` and `bias` may be None, for 1 and 0, and so may their gradients.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from fastopt.device.arrays import DeviceArray, is_aligned
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
from fastopt.kernels.cuda.channels import (
    MOST_TOGETHER,
    THREADS,
    access,
    gathering,
    is_wide,
    placing,
    shared,
    whole,
)

__all__ = ["backward", "backward_inference", "forward", "inference", "update_running"]

# Bytes of x, or of x and grad together, that a thread has in registers at a time, by the numbers of
# a unit. Places of single numbers take registers of their own.
_HELD = {4: 64, 1: 56}


def forward(
    x: DeviceArray,
    weight: DeviceArray | None,
    bias: DeviceArray | None,
    eps: float,
    relu: bool,
    out: DeviceArray,
    saved: DeviceArray,
    momentum: float = 0.0,
    running_mean: DeviceArray | None = None,
    running_var: DeviceArray | None = None,
) -> None:
    """Normalize with the batch's own statistics, and leave these in `saved`.

    Parameters
    ----------
    x, out : (N, C, L) array
    weight, bias : (C,) array or None
    eps : float
        Added to the variance.
    relu : bool
        Whether negative results become 0.
    saved : (2, C) array of float64
        Becomes mean and biased variance of each channel.
    momentum, running_mean, running_var
        As `update_running` has them, if they are to move.
    """
    dtype, shape = x.dtype.name, x.shape
    width, count = _units(dtype, 1, x, out)
    results = (
        _address(weight),
        _address(bias),
        eps,
        _given(weight, bias, running_mean),
        saved.address,
        momentum,
        _address(running_mean),
        _address(running_var),
        out.address,
    )
    fit = whole(shape, width, count)
    if fit is not None:
        how, threads = fit
        kernel = _whole_forward(dtype, width, relu, threads)
        kernel.launch((how.tiles,), x.address, *results, *how)
        return
    how = shared(shape, width, count)
    partials = x.empty((2 * how.shares * how.channels,), "float64")
    _moments(dtype, width).launch((how.blocks,), x.address, partials.address, *how)
    kernel = _normalization(dtype, width, relu)
    kernel.launch((how.blocks,), x.address, partials.address, *results, *how)


def inference(
    x: DeviceArray,
    weight: DeviceArray | None,
    bias: DeviceArray | None,
    running_mean: DeviceArray,
    running_var: DeviceArray,
    eps: float,
    relu: bool,
    out: DeviceArray,
    saved: DeviceArray | None = None,
) -> None:
    """Normalize with given statistics, (C,) each; else as `forward`.

    They are copied to `saved`, (2, C) of float64, if it is not None. `out` may be `x`.
    """
    dtype = x.dtype.name
    width, count = _units(dtype, 1, x, out)
    how = shared(x.shape, width, count)
    _inference(dtype, width, relu).launch(
        (how.blocks,),
        x.address,
        running_mean.address,
        running_var.address,
        _address(weight),
        _address(bias),
        eps,
        _given(weight, bias, saved),
        _address(saved),
        out.address,
        *how,
    )


def backward(
    grad: DeviceArray,
    x: DeviceArray,
    weight: DeviceArray | None,
    bias: DeviceArray | None,
    saved: DeviceArray,
    eps: float,
    relu: bool,
    grad_x: DeviceArray,
    grad_weight: DeviceArray | None,
    grad_bias: DeviceArray | None,
) -> None:
    """The gradients of x, weight and bias from that of `forward`'s result.

    Parameters
    ----------
    grad, x, grad_x : (N, C, L) array
        `grad_x` may be `grad`.
    weight, bias, eps, relu
        As `forward` had them.
    saved : (2, C) array of float64
        What `forward` left there.
    grad_weight, grad_bias : (C,) array or None
    """
    factors = saved[0], saved[1], weight, bias, eps
    _backward(grad, x, factors, relu, True, grad_x, grad_weight, grad_bias)


def backward_inference(
    grad: DeviceArray,
    x: DeviceArray,
    weight: DeviceArray | None,
    bias: DeviceArray | None,
    running_mean: DeviceArray,
    running_var: DeviceArray,
    eps: float,
    relu: bool,
    grad_x: DeviceArray,
    grad_weight: DeviceArray | None,
    grad_bias: DeviceArray | None,
) -> None:
    """As `backward`, for `inference`, whose statistics do not depend on x."""
    factors = running_mean, running_var, weight, bias, eps
    _backward(grad, x, factors, relu, False, grad_x, grad_weight, grad_bias)


def update_running(
    saved: DeviceArray,
    count: int,
    momentum: float,
    running_mean: DeviceArray,
    running_var: DeviceArray,
) -> None:
    """Move running statistics towards those of a batch, `momentum` of the way, as PyTorch does.

    Parameters
    ----------
    saved : (2, C) array of float64
        What `forward` left there.
    count : int
        N L, above 1: the running variance is that of a population, ``count / (count - 1)`` times
        the batch's.
    momentum : float
    running_mean, running_var : (C,) array
    """
    C = running_mean.size
    _update(running_mean.dtype.name).launch(
        (-(-C // THREADS),),
        saved.address,
        count / (count - 1),
        momentum,
        running_mean.address,
        running_var.address,
        C,
    )


def _backward(
    grad: DeviceArray,
    x: DeviceArray,
    factors: Any,
    relu: bool,
    training: bool,
    grad_x: DeviceArray,
    grad_weight: DeviceArray | None,
    grad_bias: DeviceArray | None,
) -> None:
    dtype, shape = x.dtype.name, x.shape
    mean, var, weight, bias, eps = factors
    width, count = _units(dtype, 2, x, grad, grad_x)
    given = _given(weight, bias, grad_weight, grad_bias)
    statistics = mean.dtype.name
    channel = mean.address, var.address, _address(weight), _address(bias), eps, given
    results = _address(grad_weight), _address(grad_bias)
    fit = whole(shape, width, count)
    if fit is not None:
        how, threads = fit
        kernel = _whole_backward(dtype, statistics, width, relu, training, threads)
        arrays = grad.address, x.address, grad_x.address
        kernel.launch((how.tiles,), *arrays, *channel, *results, *how)
        return
    how = shared(shape, width, count)
    partials = x.empty((2 * how.shares * how.channels,), "float64")
    kernel = _gradient_sums(dtype, statistics, width, relu, training)
    arrays = grad.address, x.address, grad_x.address
    kernel.launch((how.blocks,), *arrays, *channel, partials.address, *how)
    if training:
        kernel = _gradient(dtype, width, relu)
        kernel.launch((how.blocks,), *arrays, *channel, partials.address, *results, *how)
    elif results != (0, 0):
        kernel = _parameter_gradients(dtype, statistics)
        kernel.launch((how.tiles,), *channel, partials.address, *results, *how)


def _units(dtype: str, arrays: int, *all_arrays: DeviceArray) -> tuple[int, int]:
    """Numbers of a unit, and units that a thread has of each of some arrays."""
    width = 4 if is_wide(all_arrays[0].shape[2]) and is_aligned(*all_arrays) else 1
    return width, _count(number_type(dtype), arrays, width)


def _count(real: Any, arrays: int, width: int) -> int:
    """Units that a thread has in registers of each of some arrays."""
    return int(_HELD[width] // (arrays * width * real.bitwidth // 8))


def _address(array: DeviceArray | None) -> int:
    return 0 if array is None else array.address


def _given(*arrays: DeviceArray | None) -> int:
    """Which of some arrays are not None, a bit for each."""
    return sum(1 << k for k, array in enumerate(arrays) if array is not None)


# --- a channel -----------------------------------------------------------------------------------


@cache
def _channel(dtype: str) -> tuple[Any, Any, Any]:
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


@inlined
def _moved(running, momentum, new):
    """A running statistic, `momentum` of the way to a new one."""
    return (float64(1) - momentum) * float64(running) + momentum * new


# --- forward -------------------------------------------------------------------------------------


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
def _moments(dtype: str, width: int) -> Kernel:
    """Sums of a share of each channel: of differences from its first number, and of squares."""
    real = number_type(dtype)
    count = _count(real, 1, width)
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
        thread = int32(cuda.threadIdx.x)
        first, part, channel, columns, unit, end, at, walk = place(
            thread,
            int32(cuda.blockIdx.x),
            channels,
            length,
            run,
            together,
            units,
            share,
            shares,
        )
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
    factors, moments, _ = _channel(dtype)
    real = number_type(dtype)

    @inlined
    def settle(
        total, square, pivot, size, weight, bias, eps, given, is_first, saved, momentum,
        running_mean, running_var, c, channels, table, k,
    ):  # fmt: skip
        mean, var = moments(total, square, size, pivot)
        centre, scale, shift, _, _ = factors(mean, var, weight, bias, eps, given, c)
        table[3 * k] = centre
        table[int32(3 * k + 1)] = scale
        table[int32(3 * k + 2)] = shift
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
def _normalization(dtype: str, width: int, relu: bool) -> Kernel:
    """What is left of `forward` behind `_moments`."""
    real = number_type(dtype)
    count = _count(real, 1, width)
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
        thread = int32(cuda.threadIdx.x)
        first, part, channel, _, unit, end, at, walk = place(
            thread,
            int32(cuda.gridDim.x - cuda.blockIdx.x - 1),
            channels,
            length,
            run,
            together,
            units,
            share,
            shares,
        )
        depth = walk[1]
        # On their way while the factors are computed.
        next_at, next_walk = fetch(x, numbers, unit, end, at, walk)
        total, square = combine(partials, (left, right), thread, first, channels, together, shares)
        c = int32(first + thread)
        if thread < together and c < channels:
            size = float64(units) * float64(length if run == 1 else width)
            settle(
                total,
                square,
                x[int32(c * length)],
                size,
                weight,
                bias,
                eps,
                given,
                part == 0,
                saved,
                momentum,
                running_mean,
                running_var,
                c,
                channels,
                table,
                thread,
            )
        cuda.syncthreads()
        if unit < end:
            slot = int32(3 * (channel - first))
            centre, scale, shift = table[slot], table[int32(slot + 1)], table[int32(slot + 2)]
            while unit < end:
                normalize(numbers, centre, scale, shift)
                put(numbers, out, unit, end, at, walk)
                unit = int32(unit + count * depth)
                at, walk = next_at, next_walk
                next_at, next_walk = fetch(x, numbers, unit, end, at, walk)

    parameters = [pointer(real), pointer(float64), *_forward_types(real)]
    return Kernel(normalization, parameters, THREADS, 4)


@cache
def _whole_forward(dtype: str, width: int, relu: bool, threads: int) -> Kernel:
    """All of `forward`, for channels whose numbers fit into the registers of a block."""
    real = number_type(dtype)
    count = _count(real, 1, width)
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
        first, _, channel, columns, unit, end, at, walk = place(
            thread,
            int32(cuda.blockIdx.x),
            channels,
            length,
            run,
            together,
            units,
            share,
            shares,
        )
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
            settle(
                total,
                square,
                x[int32(c * length)],
                size,
                weight,
                bias,
                eps,
                given,
                True,
                saved,
                momentum,
                running_mean,
                running_var,
                c,
                channels,
                table,
                thread,
            )
        cuda.syncthreads()
        if unit < end:
            slot = int32(3 * (channel - first))
            normalize(numbers, table[slot], table[int32(slot + 1)], table[int32(slot + 2)])
            put(numbers, out, unit, end, at, walk)

    return Kernel(whole_forward, [pointer(real), *_forward_types(real)], threads)


def _forward_types(real: Any) -> list[Any]:
    """Of what the kernels have that end `forward`, from the weight on."""
    numbers = pointer(real)
    running = [float64, numbers, numbers]
    return [numbers, numbers, float64, int32, pointer(float64), *running, numbers] + [int32] * 7


@cache
def _inference(dtype: str, width: int, relu: bool) -> Kernel:
    """All of `inference`."""
    real = number_type(dtype)
    count = _count(real, 1, width)
    held, room = width * count, 3 * MOST_TOGETHER
    place, (fetch, put) = placing(THREADS, width), access(width, count)
    factors, normalize = _channel(dtype)[0], _normalizing(dtype, width, count, relu)

    def inference(
        x, running_mean, running_var, weight, bias, eps, given, saved, out,
        channels, length, run, together, units, share, shares,
    ):  # fmt: skip
        table = cuda.shared.array(room, real)
        numbers = cuda.local.array(held, real)
        thread = int32(cuda.threadIdx.x)
        first, part, channel, _, unit, end, at, walk = place(
            thread,
            int32(cuda.blockIdx.x),
            channels,
            length,
            run,
            together,
            units,
            share,
            shares,
        )
        depth = walk[1]
        next_at, next_walk = fetch(x, numbers, unit, end, at, walk)
        c = int32(first + thread)
        if thread < together and c < channels:
            mean, var = float64(running_mean[c]), float64(running_var[c])
            centre, scale, shift, _, _ = factors(mean, var, weight, bias, eps, given, c)
            table[3 * thread] = centre
            table[int32(3 * thread + 1)] = scale
            table[int32(3 * thread + 2)] = shift
            if part == 0 and given & 4:
                saved[c] = mean
                saved[int32(channels + c)] = var
        cuda.syncthreads()
        if unit < end:
            slot = int32(3 * (channel - first))
            centre, scale, shift = table[slot], table[int32(slot + 1)], table[int32(slot + 2)]
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
def _update(dtype: str) -> Kernel:
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


# --- backward ------------------------------------------------------------------------------------


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
def _gradient_sums(dtype: str, statistics: str, width: int, relu: bool, training: bool) -> Kernel:
    """Sums of a share of each channel: of grad, and of grad (x - centre).

    Without training the gradient of x does not depend on them, and is worked out at once.
    """
    real = number_type(dtype)
    count = _count(real, 2, width)
    held, room = width * count, 3 * MOST_TOGETHER
    place, (gather, _) = placing(THREADS, width), gathering(THREADS)
    fetch, put = access(width, count)
    factors = _channel(dtype)[0]
    close, add, _ = _gradients(dtype, width, count, relu)

    def gradient_sums(
        grad, x, grad_x, mean, var, weight, bias, eps, given, partials,
        channels, length, run, together, units, share, shares,
    ):  # fmt: skip
        left, right = cuda.shared.array(THREADS, float64), cuda.shared.array(THREADS, float64)
        table = cuda.shared.array(room, real)
        grads, numbers = cuda.local.array(held, real), cuda.local.array(held, real)
        sums, products = cuda.local.array(4, real), cuda.local.array(4, real)
        thread = int32(cuda.threadIdx.x)
        first, part, channel, columns, unit, end, at, walk = place(
            thread,
            int32(cuda.blockIdx.x),
            channels,
            length,
            run,
            together,
            units,
            share,
            shares,
        )
        depth = walk[1]
        fetch(grad, grads, unit, end, at, walk)
        next_at, next_walk = fetch(x, numbers, unit, end, at, walk)
        c = int32(first + thread)
        if thread < together and c < channels:
            m, v = float64(mean[c]), float64(var[c])
            centre, scale, shift, _, _ = factors(m, v, weight, bias, eps, given, c)
            table[3 * thread] = centre
            table[int32(3 * thread + 1)] = scale
            table[int32(3 * thread + 2)] = shift
        cuda.syncthreads()
        for k in range(4):
            sums[k] = products[k] = real(0)
        if unit < end:
            slot = int32(3 * (channel - first))
            centre, scale, shift = table[slot], table[int32(slot + 1)], table[int32(slot + 2)]
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
def _gradient(dtype: str, width: int, relu: bool) -> Kernel:
    """What is left of `backward` behind `_gradient_sums`."""
    real = number_type(dtype)
    count = _count(real, 2, width)
    held, room = width * count, 5 * MOST_TOGETHER
    place, (_, combine) = placing(THREADS, width), gathering(THREADS)
    fetch, put = access(width, count)
    factors, _, spread = _channel(dtype)
    close, _, turn = _gradients(dtype, width, count, relu)

    def gradient(
        grad, x, grad_x, mean, var, weight, bias, eps, given, partials, grad_weight, grad_bias,
        channels, length, run, together, units, share, shares,
    ):  # fmt: skip
        left, right = cuda.shared.array(THREADS, float64), cuda.shared.array(THREADS, float64)
        table = cuda.shared.array(room, real)
        grads, numbers = cuda.local.array(held, real), cuda.local.array(held, real)
        thread = int32(cuda.threadIdx.x)
        first, part, channel, _, unit, end, at, walk = place(
            thread,
            int32(cuda.gridDim.x - cuda.blockIdx.x - 1),
            channels,
            length,
            run,
            together,
            units,
            share,
            shares,
        )
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
            table[k] = centre
            table[int32(k + 1)] = scale
            table[int32(k + 2)] = shift
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
            centre, scale, shift = table[slot], table[int32(slot + 1)], table[int32(slot + 2)]
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
def _whole_backward(
    dtype: str, statistics: str, width: int, relu: bool, training: bool, threads: int
) -> Kernel:
    """All of `backward`, for channels whose numbers fit into the registers of a block."""
    real = number_type(dtype)
    count = _count(real, 2, width)
    held, room = width * count, 5 * MOST_TOGETHER
    place, (gather, _) = placing(threads, width), gathering(threads)
    fetch, put = access(width, count)
    factors, _, spread = _channel(dtype)
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
        first, _, channel, columns, unit, end, at, walk = place(
            thread,
            int32(cuda.blockIdx.x),
            channels,
            length,
            run,
            together,
            units,
            share,
            shares,
        )
        depth = walk[1]
        fetch(grad, grads, unit, end, at, walk)
        fetch(x, numbers, unit, end, at, walk)
        c, k = int32(first + thread), int32(5 * thread)
        m, inverse, w = float64(0), float64(0), float64(0)
        if thread < together and c < channels:
            m = float64(mean[c])
            v = float64(var[c])
            centre, scale, shift, inverse, w = factors(m, v, weight, bias, eps, given, c)
            table[k] = centre
            table[int32(k + 1)] = scale
            table[int32(k + 2)] = shift
        cuda.syncthreads()
        for j in range(4):
            sums[j] = products[j] = real(0)
        slot = int32(5 * (channel - first))
        centre, scale = real(0), real(0)
        if unit < end:
            centre, scale = table[slot], table[int32(slot + 1)]
            close(grads, numbers, centre, scale, table[int32(slot + 2)])
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
def _parameter_gradients(dtype: str, statistics: str) -> Kernel:
    """The gradients of weight and bias from the sums that `_gradient_sums` left."""
    real = number_type(dtype)
    _, combine = gathering(THREADS)
    factors, _, spread = _channel(dtype)

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
