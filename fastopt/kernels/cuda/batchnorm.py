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

from typing import Any

from fastopt.device.arrays import DeviceArray, is_aligned
from fastopt.device.language import number_type
from fastopt.kernels.cuda.batchnorm_backward import (
    gradient_kernel,
    gradient_sums_kernel,
    parameter_gradients_kernel,
    whole_backward_kernel,
)
from fastopt.kernels.cuda.batchnorm_forward import (
    inference_kernel,
    moments_kernel,
    normalization_kernel,
    units_of_thread,
    update_kernel,
    whole_forward_kernel,
)
from fastopt.kernels.cuda.channels import THREADS, is_wide, shared, whole

__all__ = ["backward", "backward_inference", "forward", "inference", "update_running"]


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
        kernel = whole_forward_kernel(dtype, width, relu, threads)
        kernel.launch((how.tiles,), x.address, *results, *how)
        return
    how = shared(shape, width, count)
    partials = x.empty((2 * how.shares * how.channels,), "float64")
    moments_kernel(dtype, width).launch((how.blocks,), x.address, partials.address, *how)
    kernel = normalization_kernel(dtype, width, relu)
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
    inference_kernel(dtype, width, relu).launch(
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
    update_kernel(running_mean.dtype.name).launch(
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
        kernel = whole_backward_kernel(dtype, statistics, width, relu, training, threads)
        arrays = grad.address, x.address, grad_x.address
        kernel.launch((how.tiles,), *arrays, *channel, *results, *how)
        return
    how = shared(shape, width, count)
    partials = x.empty((2 * how.shares * how.channels,), "float64")
    kernel = gradient_sums_kernel(dtype, statistics, width, relu, training)
    arrays = grad.address, x.address, grad_x.address
    kernel.launch((how.blocks,), *arrays, *channel, partials.address, *how)
    if training:
        kernel = gradient_kernel(dtype, width, relu)
        kernel.launch((how.blocks,), *arrays, *channel, partials.address, *results, *how)
    elif results != (0, 0):
        kernel = parameter_gradients_kernel(dtype, statistics)
        kernel.launch((how.tiles,), *channel, partials.address, *results, *how)


def _units(dtype: str, arrays: int, *all_arrays: DeviceArray) -> tuple[int, int]:
    """Numbers of a unit, and units that a thread has of each of some arrays."""
    width = 4 if is_wide(all_arrays[0].shape[2]) and is_aligned(*all_arrays) else 1
    return width, units_of_thread(number_type(dtype), arrays, width)


def _address(array: DeviceArray | None) -> int:
    return 0 if array is None else array.address


def _given(*arrays: DeviceArray | None) -> int:
    """Which of some arrays are not None, a bit for each."""
    return sum(1 << k for k, array in enumerate(arrays) if array is not None)
