"""GoogLeNet, or Inception v1: several windows side by side, made affordable by 1 x 1 convolutions.

Nobody knows which size of window a layer needs, so an Inception block has several, and puts their
channels together. That would be dear, and it would get dearer from block to block, but a 1 x 1
convolution in front first brings the channels down to a few. A mean over the whole image replaces
the hidden dense layers, where most of AlexNet's parameters are: 22 layers, a ninth of the weights.

C. Szegedy et al., "Going deeper with convolutions", CVPR 2015, arXiv:1409.4842, table 1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fastopt.nn.layers import (
    BatchNorm2d,
    Concat,
    Conv2d,
    Dropout,
    GlobalAvgPool2d,
    Layer,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
)
from fastopt.nn.model import Model

__all__ = ["googlenet"]


def googlenet(
    classes: int = 1000,
    *,
    width: int = 64,
    dropout: float = 0.2,
    input_shape: tuple[int, int, int] = (3, 224, 224),
    **options: Any,
) -> Model:
    """GoogLeNet without auxiliary heads, with batch normalization.

    As most implementations have it: convolutions are followed by batch normalization, which the
    paper did not know yet and which made the auxiliary heads superfluous, and the 5 x 5 windows
    are 3 x 3.

    Parameters
    ----------
    classes : int, default 1000
    width : int, default 64
        Channels of the first convolution. All others are in the paper's proportion to it.
    dropout : float, default 0.2
        Probability with which what enters the dense layer is left out in training.
    input_shape : (int, int, int), default (3, 224, 224)
        Channels, height and width of an image.
    **options
        ``loss``, ``dtype`` and ``name`` of :class:`fastopt.nn.Model`.

    Returns
    -------
    Model

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.models.googlenet().n
    6624904
    """
    conv = partial(convolution, scale=width / 64)
    halve = partial(MaxPool2d, stride=2, ceil_mode=True)
    return Model(
        conv(64, 7, 3, stride=2),
        halve(3),
        conv(64, 1),
        conv(192, 3, "same"),
        halve(3),
        inception(conv, 64, (96, 128), (16, 32), 32),
        inception(conv, 128, (128, 192), (32, 96), 64),
        halve(3),
        inception(conv, 192, (96, 208), (16, 48), 64),
        inception(conv, 160, (112, 224), (24, 64), 64),
        inception(conv, 128, (128, 256), (24, 64), 64),
        inception(conv, 112, (144, 288), (32, 64), 64),
        inception(conv, 256, (160, 320), (32, 128), 128),
        halve(2),
        inception(conv, 256, (160, 320), (32, 128), 128),
        inception(conv, 384, (192, 384), (48, 128), 128),
        GlobalAvgPool2d(),
        Dropout(dropout),
        Linear(classes),
        input_shape=input_shape,
        **{"name": "googlenet"} | options,
    )


def inception(
    conv: Callable[..., Layer],
    ones: int,
    middle: tuple[int, int],
    large: tuple[int, int],
    pool: int,
) -> Layer:
    """Figure 2b of the paper; pairs are channels of a 1 x 1 convolution, and of the one behind."""
    return Concat(
        conv(ones, 1),
        Sequential(conv(middle[0], 1), conv(middle[1], 3, "same")),
        Sequential(conv(large[0], 1), conv(large[1], 3, "same")),
        Sequential(MaxPool2d(3, stride=1, padding=1), conv(pool, 1)),
    )


def convolution(
    out_channels: int,
    kernel_size: int | tuple[int, int],
    padding: int | str = 0,
    *,
    stride: int = 1,
    scale: float = 1.0,
) -> Layer:
    """Convolution, batch normalization and rectifier; channels in the paper's numbers."""
    channels = max(1, round(scale * out_channels))
    return Sequential(
        Conv2d(channels, kernel_size, stride=stride, padding=padding, bias=False),
        BatchNorm2d(eps=1e-3),
        ReLU(),
    )
