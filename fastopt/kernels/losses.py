"""Losses of predictions, with their gradients: one call gives both.

Owns the arguments and the meaning of ``reduction``; the work is done by the modules of this name
for the CPU and for GPUs. Values are looked at on the CPU alone: a label that is none, a target that
is no probability and a negative weight make NaN on a GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt.core.validate import Choice, Real
from fastopt.device.arrays import DeviceArray
from fastopt.kernels import arguments
from fastopt.kernels.dispatch import anywhere, kernels

__all__ = [
    "binary_cross_entropy",
    "check_labels",
    "l1_loss",
    "mse_loss",
    "multilabel",
    "smooth_l1_loss",
    "softmax_cross_entropy",
]

Array = NDArray[Any]
Loss = tuple[Any, Array]  # the value is a float, or an array if it is not reduced or on a GPU

_kernels = kernels("losses")
_REDUCTION = Choice(("mean", "sum", "none"))
_BETA = Real(low=0.0, open_low=True, open_high=True)
_SMOOTHING = Real(low=0.0, high=1.0)


@anywhere
def l1_loss(
    prediction: Array,
    target: Array,
    *,
    reduction: str = "mean",
    out: Array | None = None,
    stream: Any = None,
) -> Loss:
    """Absolute error, ``|prediction - target|``, and its gradient.

    Parameters
    ----------
    prediction, target : ndarray
        Of one shape, whichever it is, and one dtype, float32 or float64.
    reduction : {"mean", "sum", "none"}, default "mean"
        Whether the value is the mean or the sum over all elements, or an array of them.
    out : ndarray, optional
        Where the gradient goes; like `prediction`, which it may be.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    value : float or ndarray
        Accumulated in double precision. On a GPU it is an array of no dimensions.
    grad : ndarray
        The derivative of the value by `prediction`, 0 where the error is; of the sum if the value
        is not reduced.

    Raises
    ------
    TypeError, ValueError
        If an array is of another shape or dtype.

    See Also
    --------
    mse_loss, smooth_l1_loss

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> value, grad = kernels.l1_loss(np.array([1.0, 2.0]), np.array([0.0, 5.0]))
    >>> value
    2.0
    >>> grad
    array([ 0.5, -0.5])
    """
    return _of_each("l1", "prediction", prediction, target, (), reduction, out)


@anywhere
def mse_loss(
    prediction: Array,
    target: Array,
    *,
    reduction: str = "mean",
    out: Array | None = None,
    stream: Any = None,
) -> Loss:
    """Squared error, ``(prediction - target)**2``, and its gradient.

    Parameters
    ----------
    prediction, target : ndarray
        Of one shape, whichever it is, and one dtype, float32 or float64.
    reduction : {"mean", "sum", "none"}, default "mean"
        Whether the value is the mean or the sum over all elements, or an array of them.
    out : ndarray, optional
        Where the gradient goes; like `prediction`, which it may be.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    value : float or ndarray
        Accumulated in double precision. On a GPU it is an array of no dimensions.
    grad : ndarray
        The derivative of the value by `prediction`; of the sum if the value is not reduced.

    Raises
    ------
    TypeError, ValueError
        If an array is of another shape or dtype.

    See Also
    --------
    l1_loss, smooth_l1_loss

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> value, grad = kernels.mse_loss(np.array([1.0, 2.0]), np.array([0.0, 5.0]))
    >>> value
    5.0
    >>> grad
    array([ 1., -3.])
    """
    return _of_each("mse", "prediction", prediction, target, (), reduction, out)


@anywhere
def smooth_l1_loss(
    prediction: Array,
    target: Array,
    *,
    beta: float = 1.0,
    reduction: str = "mean",
    out: Array | None = None,
    stream: Any = None,
) -> Loss:
    """Absolute error, rounded off below `beta`, and its gradient.

    Of the error e, it is ``e**2 / (2 beta)`` where ``|e| <= beta``, and ``|e| - beta/2`` beyond:
    Huber's function over its threshold [1]_, [2]_.

    Parameters
    ----------
    prediction, target : ndarray
        Of one shape, whichever it is, and one dtype, float32 or float64.
    beta : float, default 1.0
        Positive: where the parabola ends.
    reduction : {"mean", "sum", "none"}, default "mean"
        Whether the value is the mean or the sum over all elements, or an array of them.
    out : ndarray, optional
        Where the gradient goes; like `prediction`, which it may be.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    value : float or ndarray
        Accumulated in double precision. On a GPU it is an array of no dimensions.
    grad : ndarray
        The derivative of the value by `prediction`, which is continuous; of the sum if the value is
        not reduced.

    Raises
    ------
    TypeError, ValueError
        If an array is of another shape or dtype, or `beta` is not a positive number.

    See Also
    --------
    l1_loss, mse_loss

    References
    ----------
    .. [1] P. J. Huber, "Robust estimation of a location parameter", Annals of Mathematical
           Statistics 35, 1964, equation (1.9).
    .. [2] R. Girshick, "Fast R-CNN",
           ICCV 2015, equation (3): with beta = 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> value, grad = kernels.smooth_l1_loss(np.array([1.0, 2.0]), np.array([0.5, 5.0]))
    >>> value
    1.3125
    >>> grad
    array([ 0.25, -0.5 ])
    """
    beta = _BETA("beta", beta, 0)
    return _of_each("smooth_l1", "prediction", prediction, target, (beta,), reduction, out)


@anywhere
def binary_cross_entropy(
    logits: Array,
    target: Array,
    *,
    reduction: str = "mean",
    out: Array | None = None,
    stream: Any = None,
) -> Loss:
    """Cross-entropy of the probabilities ``p = 1/(1 + exp(-logits))``, and its gradient.

    It is ``-target log(p) - (1 - target) log(1 - p)``, computed from the logits as
    ``max(logits, 0) - target logits + log(1 + exp(-|logits|))``: it does not overflow, and small
    losses keep their digits. The derivative is ``p - target``. No sigmoid stands before it.

    Parameters
    ----------
    logits, target : ndarray
        Of one shape, whichever it is, and one dtype, float32 or float64. Targets are from 0 to 1.
    reduction : {"mean", "sum", "none"}, default "mean"
        Whether the value is the mean or the sum over all elements, or an array of them.
    out : ndarray, optional
        Where the gradient goes; like `logits`, which it may be.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    value : float or ndarray
        Accumulated in double precision. On a GPU it is an array of no dimensions.
    grad : ndarray
        The derivative of the value by `logits`; of the sum if the value is not reduced.

    Raises
    ------
    TypeError, ValueError
        If an array is of another shape or dtype, or a target is not from 0 to 1.

    See Also
    --------
    multilabel, softmax_cross_entropy

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> value, grad = kernels.binary_cross_entropy(np.array([0.0, 800.0]), np.array([1.0, 0.0]))
    >>> round(value, 6)
    400.346574
    >>> grad
    array([-0.25,  0.5 ])
    """
    return _of_each(
        "binary_cross_entropy", "logits", logits, target, (), reduction, out, probabilities=True
    )


@anywhere
def multilabel(
    logits: Array,
    target: Array,
    *,
    reduction: str = "mean",
    out: Array | None = None,
    stream: Any = None,
) -> Loss:
    """Of examples with several labels each: the mean of their `binary_cross_entropy`.

    Parameters
    ----------
    logits, target : (N, C) ndarray
        A logit for each of C labels, and whether the example has it: 1, 0 or a probability between.
        Of one dtype, float32 or float64.
    reduction : {"mean", "sum", "none"}, default "mean"
        Whether the value is the mean or the sum over the examples, or (N,), one for each.
    out : (N, C) ndarray, optional
        Where the gradient goes; it may be `logits`.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    value : float or (N,) ndarray
        Accumulated in double precision; of an example, the mean over its labels. On a GPU it is an
        array of no dimensions.
    grad : (N, C) ndarray
        The derivative of the value by `logits`; of the sum if the value is not reduced.

    Raises
    ------
    TypeError, ValueError
        If an array is of another shape or dtype, or a target is not from 0 to 1.

    See Also
    --------
    binary_cross_entropy, softmax_cross_entropy

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> logits, target = np.array([[0.0, 0.0], [90.0, 10.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    >>> value, grad = kernels.multilabel(logits, target, reduction="none")
    >>> value.round(4)
    array([0.6931, 5.    ])
    >>> grad.round(4)
    array([[-0.25,  0.25],
           [-0.  ,  0.5 ]])
    """
    arguments.array("logits", logits, ("N", "C"))
    return _of_each(
        "multilabel",
        "logits",
        logits,
        target,
        (),
        reduction,
        out,
        probabilities=True,
        items=logits.shape[:1],
    )


@anywhere
def softmax_cross_entropy(
    logits: Array,
    labels: Array,
    *,
    label_smoothing: float = 0.0,
    weight: Array | None = None,
    reduction: str = "mean",
    out: Array | None = None,
    stream: Any = None,
) -> Loss:
    """Cross-entropy of the probabilities ``p = softmax(logits)`` and one label each.

    The loss of an example is ``-sum_c weight_c q_c log(p_c)``, where the distribution q has
    ``1 - label_smoothing`` for the label, and ``label_smoothing / C`` for each of the C classes on
    top [1]_. It is computed from the logits relative to their largest: nothing overflows, and small
    losses and gradients keep their digits. No softmax stands before it.

    Parameters
    ----------
    logits : (N, C) ndarray
        float32 or float64. One of -inf is a class that cannot be.
    labels : (N,) ndarray
        Numbers of classes, from 0 to C - 1, of any integer dtype. On a GPU, one out of range makes
        NaN of the value and of its example's gradient.
    label_smoothing : float, default 0.0
        From 0 to 1.
    weight : (C,) ndarray, optional
        Nonnegative weights of the classes, of the dtype of `logits`; all 1 if None.
    reduction : {"mean", "sum", "none"}, default "mean"
        Whether the value is the mean or the sum over the examples, or (N,), one for each. The mean
        is the sum over that of the labels' weights.
    out : (N, C) ndarray, optional
        Where the gradient goes; it may be `logits`.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    value : float or (N,) ndarray
        Accumulated in double precision. On a GPU it is an array of no dimensions.
    grad : (N, C) ndarray
        The derivative of the value by `logits`; of the sum if the value is not reduced.

    Raises
    ------
    TypeError, ValueError
        If an array is of another shape or dtype, a label is not from 0 to C - 1, a weight is
        negative, or the weights of all labels are 0 and a mean is asked for.

    See Also
    --------
    binary_cross_entropy, multilabel

    References
    ----------
    .. [1] C. Szegedy et al., "Rethinking the Inception architecture for computer vision", CVPR
           2016, section 7.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> logits = np.array([[0.0, 0.0], [0.0, 800.0]])
    >>> value, grad = kernels.softmax_cross_entropy(logits, np.array([1, 0]))
    >>> round(value, 6)
    400.346574
    >>> grad
    array([[ 0.25, -0.25],
           [-0.5 ,  0.5 ]])
    """
    reduction = _REDUCTION("reduction", reduction, 0)
    N, C = arguments.array("logits", logits, ("N", "C")).shape
    labels = check_labels("labels", labels, N, C)
    label_smoothing = _SMOOTHING("label_smoothing", label_smoothing, 0)
    if weight is not None:
        arguments.array("weight", weight, (C,), logits.dtype, like="logits")
        if isinstance(weight, np.ndarray):
            _check_weight(weight, labels, reduction)
    apart = [("labels", labels), ("weight", weight), *_unless_it_is(out, "logits", logits)]
    grad = arguments.output("out", out, logits.shape, logits, apart)
    values = arguments.empty((N,), logits) if reduction == "none" else None
    share = None if reduction == "mean" else 1.0
    value = _kernels(logits).softmax_cross_entropy(
        logits, labels, label_smoothing, weight, grad, share, values
    )
    return (value if values is None else values), grad


def check_labels(name: str, value: Any, N: int, C: int) -> Array:
    """`value` as N labels from 0 to C - 1: itself if it is int64 and contiguous, otherwise a copy.

    On a GPU it is itself; whether its values are labels is not known.

    Parameters
    ----------
    name : str
        Of the argument.
    value : object
        What came.
    N, C : int
        How many labels there must be, and of how many classes.

    Returns
    -------
    (N,) ndarray of int64, or of any integers on a GPU

    Raises
    ------
    TypeError, ValueError
        If it is not an array of integers of that shape, or a label is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> check_labels("labels", np.array([0, 2], np.uint8), 2, 3)
    array([0, 2])
    >>> check_labels("labels", np.array([0, 3]), 2, 3)
    Traceback (most recent call last):
        ...
    ValueError: `labels` must be from 0 to 2, got 3 at index 1
    """
    if not arguments.is_array(value):
        raise TypeError(f"`{name}` must be a NumPy array, got an object of type {_type(value)}")
    if value.dtype.kind not in "iu":
        raise TypeError(f"`{name}` must be of an integer dtype, got {value.dtype}")
    if value.shape != (N,):
        arguments.wrong_shape(name, (N,), value.shape)
    if isinstance(value, DeviceArray):
        if value.strides is not None or value.address % value.dtype.itemsize:
            raise ValueError(f"`{name}` must be C-contiguous on a GPU, got strides {value.strides}")
        return value  # type: ignore[return-value]
    # Before they are converted: a large uint64 would become something else.
    if value.dtype == np.uint64 and np.any(value >= C):
        place = int(np.argmax(value >= C))
    else:
        labels = np.ascontiguousarray(value, np.int64)
        place = _kernels(labels).first_outside(labels, C)
    if place >= 0:
        raise ValueError(f"`{name}` must be from 0 to {C - 1}, got {value[place]} at index {place}")
    return labels


def _of_each(
    function: str,
    name: str,
    prediction: Array,
    target: Array,
    constants: tuple[float, ...],
    reduction: str,
    out: Array | None,
    probabilities: bool = False,
    items: tuple[int, ...] | None = None,
) -> Loss:
    """A loss that is the sum of one for each element, or for each of fewer `items`."""
    reduction = _REDUCTION("reduction", reduction, 0)
    arguments.array(name, prediction, getattr(prediction, "shape", ()))
    arguments.array("target", target, prediction.shape, prediction.dtype, like=name)
    if probabilities and isinstance(target, np.ndarray):
        _check_probabilities(target)
    apart = [("target", target), *_unless_it_is(out, name, prediction)]
    grad = arguments.output("out", out, prediction.shape, prediction, apart)
    values = None
    if reduction == "none":
        values = arguments.empty(prediction.shape if items is None else items, prediction)
    share = None if reduction == "mean" else 1.0
    of_place = getattr(_kernels(prediction), function)
    value = of_place(prediction, target, *constants, grad, share, values)
    return (value if values is None else values), grad


def _unless_it_is(out: Array | None, name: str, value: Array) -> list[tuple[str, Array]]:
    """What `out` may be, but not overlap in part."""
    return [] if out is value else [(name, value)]


def _check_probabilities(target: Array) -> None:
    if np.min(target) >= 0.0 and np.max(target) <= 1.0:  # so written, a NaN fails
        return
    place = tuple(map(int, np.argwhere(~((target >= 0.0) & (target <= 1.0)))[0]))
    raise ValueError(f"`target` must be from 0 to 1, got {target[place]} at index {place}")


def _check_weight(weight: Array, labels: Array, reduction: str) -> None:
    if not np.min(weight) >= 0.0:
        place = int(np.argmax(~(weight >= 0.0)))
        raise ValueError(f"`weight` must be nonnegative, got {weight[place]} at index {place}")
    if reduction == "mean" and not np.any(weight[labels]):
        raise ValueError("`weight` must be positive for one of `labels`, got 0 for all of them")


def _type(value: object) -> str:
    return type(value).__name__
