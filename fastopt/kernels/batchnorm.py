"""Batch normalization, and its derivatives.

Owns the arguments and what running statistics are; the work is done by the modules of this name
for the CPU and for GPUs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt.core.validate import Flag, Real
from fastopt.kernels import arguments
from fastopt.kernels.dispatch import anywhere, kernels

__all__ = ["batchnorm_backward", "batchnorm_forward"]

Array = NDArray[Any]

_kernels = kernels("batchnorm")
_FLAG = Flag()
_FRACTION = Real(low=0.0, high=1.0)
_POSITIVE = Real(low=0.0, open_low=True, open_high=True)
_SHAPES = {2: ("N", "C"), 3: ("N", "C", "L"), 4: ("N", "C", "H", "W")}


@anywhere
def batchnorm_forward(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    training: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    relu: bool = False,
    out: Array | None = None,
    saved: Array | None = None,
    stream: Any = None,
) -> tuple[Array, Array]:
    """Each channel with mean 0 and variance 1, times a weight, plus a bias.

    ``out = (x - mean) / sqrt(var + eps) * weight + bias``, channel by channel [1]_, algorithm 1. In
    training the statistics are those of the batch, over all axes but the second, and the running
    ones move towards them; otherwise they are the running ones.

    Parameters
    ----------
    x : ndarray of shape (N, C), (N, C, L) or (N, C, H, W)
        float32 or float64, C-contiguous; or float16, on a GPU and not in training. In training,
        with two numbers a channel or more.
    weight, bias : ndarray of shape (C,), optional
        Of x's dtype, or float32 for float16; None for ones and zeros.
    running_mean, running_var : ndarray of shape (C,), optional
        Of x's dtype, or float32 for float16; both or neither. In training they are changed in
        place, and not needed.
    training : bool, default True
    momentum : float, default 0.1
        How far running statistics move: ``running = (1 - momentum) running + momentum batch``, with
        the batch's unbiased variance, as in PyTorch.
    eps : float, default 1e-5
        Added to the variance.
    relu : bool, default False
        Whether negative results become 0, in the same pass.
    out : ndarray of x's shape, optional
        Where the result goes. Without training it may be `x`.
    saved : ndarray of shape (2, C) and dtype float64, optional
        Where the statistics go.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    out : ndarray of x's shape
    saved : ndarray of shape (2, C), float64
        Mean and biased variance that were used, for :func:`batchnorm_backward`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, dtype or shape; in training, if a channel has one
        number alone; without it, if there are no running statistics.

    See Also
    --------
    batchnorm_backward

    Notes
    -----
    Sums are float64 and of differences from a number in the channel's midst: nothing cancels where
    the mean is large. The same bits for any number of threads. On a GPU some tens or hundreds of
    numbers are added up in x's precision before their sums are in float64; squares of differences
    are numbers of x's precision, for float32 up to 3e38.

    References
    ----------
    .. [1] S. Ioffe & C. Szegedy, "Batch normalization: accelerating deep network training by
           reducing internal covariate shift", ICML 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> x = np.array([[1.0, 10.0], [3.0, 10.0], [5.0, 40.0]])
    >>> out, saved = kernels.batchnorm_forward(x)
    >>> saved.round(3)
    array([[  3.   ,  20.   ],
           [  2.667, 200.   ]])
    >>> out.round(3)
    array([[-1.225, -0.707],
           [ 0.   , -0.707],
           [ 1.225,  1.414]])
    """
    C, planes = _check_x(x, training, half=True)
    _check_vectors(C, x, weight=weight, bias=bias)
    momentum, eps = _FRACTION("momentum", momentum, 0), _POSITIVE("eps", eps, 0)
    relu = _FLAG("relu", relu, 0)
    running = _check_running(running_mean, running_var, C, x, needed=not training)
    read = [("weight", weight), ("bias", bias)]
    for name, array in (("running_mean", running_mean), ("running_var", running_var)):
        if training and array is not None:
            arguments.output(name, array, (C,), x, [*read, ("x", x)])
        read.append((name, array))
    if training or out is not x:
        read.append(("x", x))
    out = arguments.output("out", out, x.shape, x, read)
    read += [("x", x), ("out", out)]
    if saved is not None:
        _check_saved(saved, C)
    saved = arguments.output("saved", saved, (2, C), x, read, np.float64)
    images = out.reshape(planes.shape)
    work = _kernels(x)
    if training:
        moving = (momentum, *running) if running is not None else ()
        work.forward(planes, weight, bias, eps, relu, images, saved, *moving)
    else:
        assert running is not None
        work.inference(planes, weight, bias, *running, eps, relu, images, saved)
    return out, saved


@anywhere
def batchnorm_backward(
    grad: Array,
    x: Array,
    weight: Array | None,
    saved: Array | None,
    *,
    training: bool = True,
    eps: float = 1e-5,
    relu: bool = False,
    bias: Array | None = None,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    out: tuple[Array, Array, Array] | None = None,
    stream: Any = None,
) -> tuple[Array, Array, Array]:
    """The gradients of a loss in x, weight and bias, from that in the normalized x.

    With ``t = 1 / sqrt(var + eps)``, ``z = (x - mean) t``, and means over the channel, ::

        grad_bias   = sum of grad
        grad_weight = sum of grad z
        grad_x      = weight t (grad - mean of grad - z mean of (grad z))      in training
        grad_x      = weight t grad                                            otherwise

    because in training mean and variance depend on x as well.

    Parameters
    ----------
    grad : ndarray of x's shape
        The gradient in the result of :func:`batchnorm_forward`.
    x, weight, bias, training, eps, relu
        As :func:`batchnorm_forward` had them. `bias` matters only with `relu`, which is taken into
        account where ``out > 0`` is computed once more.
    saved : ndarray of shape (2, C), float64
        What :func:`batchnorm_forward` returned. Without training it may be None if there are
        running statistics.
    running_mean, running_var : ndarray of shape (C,), optional
        Read if `saved` is None, and otherwise not.
    out : tuple of three ndarrays, optional
        Where the results go; the first may be `grad`.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    grad_x : ndarray of x's shape
    grad_weight, grad_bias : ndarray of shape (C,)

    Raises
    ------
    TypeError, ValueError
        As :func:`batchnorm_forward`.

    See Also
    --------
    batchnorm_forward

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> x = np.array([[1.0], [3.0], [5.0]])
    >>> out, saved = kernels.batchnorm_forward(x)
    >>> grad = np.array([[1.0], [0.0], [0.0]])
    >>> grad_x, grad_weight, grad_bias = kernels.batchnorm_backward(grad, x, None, saved)
    >>> grad_x.round(3).T, grad_weight.round(3), grad_bias
    (array([[ 0.102, -0.204,  0.102]]), array([-1.225]), array([1.]))
    """
    C, planes = _check_x(x, training)
    arguments.array("grad", grad, x.shape, x.dtype)
    _check_vectors(C, x, weight=weight, bias=bias)
    eps, relu = _POSITIVE("eps", eps, 0), _FLAG("relu", relu, 0)
    running = _check_running(running_mean, running_var, C, x, needed=saved is None and not training)
    if saved is not None:
        _check_saved(saved, C)
    elif training:
        raise TypeError("`saved` must be what batchnorm_forward returned, got None")
    if out is not None and not (isinstance(out, tuple | list) and len(out) == 3):
        raise TypeError("`out` must be a tuple (grad_x, grad_weight, grad_bias) of arrays")
    to_x, to_weight, to_bias = (None, None, None) if out is None else out
    read = [("x", x), ("weight", weight), ("bias", bias), ("saved", saved)]
    if to_x is not grad:
        read.append(("grad", grad))
    grad_x = arguments.output("out[0]", to_x, x.shape, x, read)
    read += [("grad", grad), ("out[0]", grad_x)]
    grad_weight = arguments.output("out[1]", to_weight, (C,), x, read)
    grad_bias = arguments.output("out[2]", to_bias, (C,), x, [*read, ("out[1]", grad_weight)])
    grads, grads_x = grad.reshape(planes.shape), grad_x.reshape(planes.shape)
    work = _kernels(x)
    if training:
        work.backward(
            grads, planes, weight, bias, saved, eps, relu, grads_x, grad_weight, grad_bias
        )
    else:
        mean, var = running if saved is None else saved  # type: ignore[misc]
        work.backward_inference(
            grads, planes, weight, bias, mean, var, eps, relu, grads_x, grad_weight, grad_bias
        )
    return grad_x, grad_weight, grad_bias


def _check_x(x: Any, training: bool, half: bool = False) -> tuple[int, Array]:
    """How many channels there are, and x as (N, C, L)."""
    _FLAG("training", training, 0)
    ndim = getattr(x, "ndim", 4)
    if ndim not in _SHAPES:
        raise ValueError(
            f"`x` must be of shape (N, C), (N, C, L) or (N, C, H, W), got shape {x.shape}"
        )
    arguments.array("x", x, _SHAPES[ndim], half=half and not training)
    N, C = x.shape[:2]
    if training and x.size == C:
        raise ValueError(
            "`x` must have two numbers or more for each channel in training, where their variance "
            f"is divided by, got shape {x.shape}"
        )
    return C, x.reshape(N, C, -1)


def _check_vectors(C: int, x: Array, **arrays: Array | None) -> None:
    dtype = arguments.computed(x.dtype)
    like = "x" if dtype == x.dtype else None
    for name, array in arrays.items():
        if array is not None:
            arguments.array(name, array, (C,), dtype, like)


def _check_running(
    running_mean: Any, running_var: Any, C: int, x: Array, needed: bool
) -> tuple[Array, Array] | None:
    if (running_mean is None) != (running_var is None):
        missing = "running_mean" if running_mean is None else "running_var"
        raise TypeError(f"`{missing}` must be an array where the other statistic is, got None")
    if running_mean is None:
        if needed:
            raise TypeError("`running_mean` must be an array where training is False, got None")
        return None
    _check_vectors(C, x, running_mean=running_mean, running_var=running_var)
    return running_mean, running_var


def _check_saved(saved: Any, C: int) -> None:
    if arguments.is_array(saved) and saved.dtype != np.float64:
        raise TypeError(f"`saved` must be of dtype float64 whatever x's is, got {saved.dtype}")
    arguments.array("saved", saved, (2, C))
