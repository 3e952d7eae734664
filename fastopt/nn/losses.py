"""What a network's output is measured by, as descriptions.

Owns the arguments of losses, which outputs and targets they take, and the checks of both. Knows
nothing of how a loss is computed.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from fastopt.core.validate import Real, real_vector
from fastopt.device.arrays import DeviceArray
from fastopt.nn.graph import Shape, describe

__all__ = [
    "L1",
    "LOSSES",
    "MSE",
    "BinaryCrossEntropy",
    "Loss",
    "MultiLabel",
    "SmoothL1",
    "SoftmaxCrossEntropy",
    "as_array",
    "as_loss",
]

Array = Any  # of the CPU or of a GPU

_SMOOTHING = Real(low=0.0, high=1.0)
_BETA = Real(low=0.0, open_low=True, open_high=True)


@dataclass(frozen=True)
class Loss:
    """What all losses are: immutable, and equal if they say the same.

    Examples
    --------
    >>> from fastopt import nn
    >>> isinstance(nn.MSE(), nn.Loss)
    True
    """

    def _check_output(self, shape: Shape) -> None:
        """Whether a network whose output has this shape can be trained with the loss."""

    def _check_target(self, y: Any, N: int, shape: Shape, dtype: np.dtype[Any]) -> Array:
        """The targets of N samples as an array that can be copied into `_target`'s."""
        target = as_array("y", y)
        if target.dtype != dtype:
            raise TypeError(f"`y` must be of {dtype}, as the model is, got {target.dtype}")
        return _in_shape(target, N, shape)

    def _target(self, N: int, shape: Shape, dtype: np.dtype[Any]) -> tuple[Shape, np.dtype[Any]]:
        """Shape and dtype of the targets of N samples."""
        return (N, *shape), dtype


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Loss):
    """Minus the log of the probability of the right class, from logits; the mean over samples.

    The network's output are logits (classes,), of which softmax would make probabilities; targets
    are numbers of classes, of any integer dtype.

    Parameters
    ----------
    label_smoothing : float, default 0.0
        The share of each target that is spread over all classes evenly, from 0 to 1.
    weight : sequence of float, optional
        The weight of each class: the mean is one of weighted samples.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.

    Examples
    --------
    >>> from fastopt import nn
    >>> loss = nn.SoftmaxCrossEntropy(label_smoothing=0.1)
    >>> nn.Model(nn.Linear(3), input_shape=(4,), loss=loss).loss
    SoftmaxCrossEntropy(label_smoothing=0.1, weight=None)
    """

    _: KW_ONLY
    label_smoothing: float = 0.0
    weight: Any = None

    def __post_init__(self) -> None:
        smoothing = _SMOOTHING("label_smoothing", self.label_smoothing, 0)
        object.__setattr__(self, "label_smoothing", smoothing)
        if self.weight is None:
            return
        weight = real_vector("weight", self.weight)
        if (weight < 0.0).any():
            raise ValueError(f"`weight` must not be negative, got {float(weight.min())!r}")
        object.__setattr__(self, "weight", tuple(map(float, weight)))

    def _check_output(self, shape: Shape) -> None:
        if len(shape) != 1:
            raise ValueError(
                "the loss softmax_cross_entropy takes a vector of logits, but the last layer makes "
                f"{describe(shape)}: end with GlobalAvgPool2d(), or Flatten() and Linear(classes)"
            )
        if self.weight is not None and len(self.weight) != shape[0]:
            raise ValueError(
                f"`weight` must have one number for each of {shape[0]} classes, got "
                f"{len(self.weight)}"
            )

    def _check_target(self, y: Any, N: int, shape: Shape, dtype: np.dtype[Any]) -> Array:
        labels = as_array("y", y)
        if labels.dtype.kind not in "iu":
            raise TypeError(f"`y` must be of an integer dtype, as classes are, got {labels.dtype}")
        if labels.shape != (N,):
            raise ValueError(
                f"`y` must be of shape ({N},), a class for each sample, got an array of shape "
                f"{labels.shape}"
            )
        if isinstance(labels, DeviceArray):  # whose labels are for the GPU to read
            return labels
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= shape[0]:
            raise ValueError(
                f"`y` must have classes from 0 to {shape[0] - 1}, as the last layer makes "
                f"{shape[0]} logits, got {low if low < 0 else high}"
            )
        if self.weight is not None and not np.array(self.weight, dtype)[labels].any():
            raise ValueError(
                "`y` must have a class of positive weight, for the mean is one of weighted "
                f"samples, got classes whose `weight` is 0 in {dtype}"
            )
        return labels

    def _target(self, N: int, shape: Shape, dtype: np.dtype[Any]) -> tuple[Shape, np.dtype[Any]]:
        return (N,), np.dtype(np.int64)


@dataclass(frozen=True)
class MSE(Loss):
    """The mean of squared differences, over all elements.

    Targets have the output's shape, or (N,) where the output is a vector of 1, and the model's
    dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import nn
    >>> model = nn.Model(nn.Linear(1), input_shape=(1,), loss=nn.MSE(), dtype="float64")
    >>> float(model.value(np.array([2.0, 0.0]), np.array([[1.0], [2.0]]), np.array([1.0, 4.0])))
    0.5
    """


@dataclass(frozen=True)
class L1(Loss):
    """The mean of absolute differences, over all elements; targets as for :class:`MSE`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import nn
    >>> model = nn.Model(nn.Linear(1), input_shape=(1,), loss=nn.L1(), dtype="float64")
    >>> float(model.value(np.array([2.0, 0.0]), np.array([[1.0], [2.0]]), np.array([1.0, 4.0])))
    0.5
    """


@dataclass(frozen=True)
class SmoothL1(Loss):
    """The mean of abs(d) - beta / 2, or of d**2 / (2 beta) for differences d below beta.

    Targets as for :class:`MSE`.

    Parameters
    ----------
    beta : float, default 1.0
        Positive and finite.

    Raises
    ------
    TypeError, ValueError
        If `beta` is not as above.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import nn
    >>> loss = nn.SmoothL1(beta=2.0)
    >>> model = nn.Model(nn.Linear(1), input_shape=(1,), loss=loss, dtype="float64")
    >>> float(model.value(np.array([2.0, 0.0]), np.array([[1.0], [2.0]]), np.array([1.0, 1.0])))
    1.125
    """

    beta: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", _BETA("beta", self.beta, 0))


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """Minus the log of the probability of the right one of two, from logits; over all elements.

    Sigmoid would make the probability of 1 of an output. Targets have the output's shape, or (N,)
    where the output is a vector of 1, and are from 0 to 1, or integers or bool.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import nn
    >>> model = nn.Model(
    ...     nn.Linear(1), input_shape=(2,), loss="binary_cross_entropy", dtype="float64"
    ... )
    >>> x, y = np.ones((2, 2)), np.array([0, 1])
    >>> round(model.value(np.zeros(model.n), x, y), 6)      # log 2
    0.693147
    """

    def _check_target(self, y: Any, N: int, shape: Shape, dtype: np.dtype[Any]) -> Array:
        target = as_array("y", y)
        if target.dtype.kind not in "biu" and target.dtype != dtype:
            raise TypeError(
                f"`y` must be of {dtype}, as the model is, integers or bool, got {target.dtype}"
            )
        target = _in_shape(target, N, shape)
        if isinstance(target, DeviceArray):
            return target
        if not (target.min() >= 0 and target.max() <= 1):  # so written, a NaN fails
            raise ValueError(
                f"`y` must be from 0 to 1, got numbers from {target.min()} to {target.max()}"
            )
        return target


@dataclass(frozen=True)
class MultiLabel(BinaryCrossEntropy):
    """Binary cross-entropies of several labels, any number of which may hold for one sample.

    Their mean over labels and samples. The network's output are logits (labels,); targets are
    (N, labels), as for :class:`BinaryCrossEntropy`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import nn
    >>> model = nn.Model(nn.Linear(3), input_shape=(2,), loss="multilabel", dtype="float64")
    >>> x, y = np.ones((2, 2)), np.array([[0, 1, 1], [0, 0, 0]])
    >>> round(model.value(np.zeros(model.n), x, y), 6)
    0.693147
    """

    def _check_output(self, shape: Shape) -> None:
        if len(shape) != 1:
            raise ValueError(
                "the loss multilabel takes a vector of logits, but the last layer makes "
                f"{describe(shape)}"
            )


LOSSES: dict[str, type[Loss]] = {
    "softmax_cross_entropy": SoftmaxCrossEntropy,
    "mse": MSE,
    "l1": L1,
    "smooth_l1": SmoothL1,
    "binary_cross_entropy": BinaryCrossEntropy,
    "multilabel": MultiLabel,
}


def as_array(name: str, value: Any) -> Array:
    """What came as an array, if nothing of it is lost; an array of a GPU as it is.

    Parameters
    ----------
    name : str
        Of the argument.
    value : object

    Returns
    -------
    ndarray or DeviceArray
    """
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"`{name}` must not be a masked array, whose mask would be lost")
    if isinstance(value, DeviceArray):
        return value
    return np.asarray(value)


def as_loss(loss: Any) -> Loss:
    """A loss, or the one of that name.

    Parameters
    ----------
    loss : Loss or str

    Returns
    -------
    Loss
    """
    if isinstance(loss, Loss):
        return loss
    names = ", ".join(map(repr, LOSSES))
    if not isinstance(loss, str):
        raise TypeError(f"`loss` must be a loss of fastopt.nn or one of {names}, got {loss!r}")
    if loss not in LOSSES:
        raise ValueError(f"`loss` must be one of {names}, got {loss!r}")
    return LOSSES[loss]()


def _in_shape(target: Array, N: int, shape: Shape) -> Array:
    wanted = (N, *shape)
    if target.shape == wanted:
        return target
    if target.shape == (N,) and shape == (1,):
        return target.reshape(wanted)
    raise ValueError(
        f"`y` must be of shape {wanted}, as the model's output is, got an array of shape "
        f"{target.shape}"
    )
