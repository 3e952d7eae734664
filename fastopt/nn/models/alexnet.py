"""AlexNet: LeNet grown a thousandfold, made trainable by rectifiers and dropout.

A sigmoid that is sure of itself has no slope, and a deep stack of them none that reaches the first
layer; max(x, 0) has slope 1 wherever it is on, and trained six times as fast. Sixty million
parameters, most of them in the dense layers, overfit a million images, so each hidden unit is
left out half the time: dropout. Large windows with a stride at the beginning keep the cost down.

A. Krizhevsky, I. Sutskever and G. E. Hinton, "ImageNet classification with deep convolutional
neural networks", NIPS 2012. The channels are those of A. Krizhevsky, "One weird trick for
parallelizing convolutional neural networks", arXiv:1404.5997: one column in place of two GPUs'.
"""

from __future__ import annotations

from typing import Any

from fastopt.nn.layers import Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU
from fastopt.nn.model import Model

__all__ = ["alexnet"]


def alexnet(
    classes: int = 1000,
    *,
    width: int = 64,
    hidden: int = 4096,
    dropout: float = 0.5,
    input_shape: tuple[int, int, int] = (3, 224, 224),
    **options: Any,
) -> Model:
    """AlexNet in one column, without local response normalization.

    Parameters
    ----------
    classes : int, default 1000
    width : int, default 64
        Channels of the first convolution; the others have 3, 6, 4 and 4 times as many.
    hidden : int, default 4096
        Units of each of the two hidden dense layers.
    dropout : float, default 0.5
        Probability with which what enters a hidden dense layer is left out in training.
    input_shape : (int, int, int), default (3, 224, 224)
        Channels, height and width of an image, at least 63 x 63.
    **options
        ``loss``, ``dtype`` and ``name`` of :class:`fastopt.nn.Model`.

    Returns
    -------
    Model

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.models.alexnet().n
    61100840
    """
    return Model(
        Conv2d(width, 11, stride=4, padding=2),
        ReLU(),
        MaxPool2d(3, stride=2),
        Conv2d(3 * width, 5, padding=2),
        ReLU(),
        MaxPool2d(3, stride=2),
        Conv2d(6 * width, 3, padding=1),
        ReLU(),
        Conv2d(4 * width, 3, padding=1),
        ReLU(),
        Conv2d(4 * width, 3, padding=1),
        ReLU(),
        MaxPool2d(3, stride=2),
        Flatten(),
        Dropout(dropout),
        Linear(hidden),
        ReLU(),
        Dropout(dropout),
        Linear(hidden),
        ReLU(),
        Linear(classes),
        input_shape=input_shape,
        **{"name": "alexnet"} | options,
    )
