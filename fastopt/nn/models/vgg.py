"""VGG: nothing but 3 x 3 windows, and depth.

Two 3 x 3 convolutions see as much of the image as one of 5 x 5, three as much as one of 7 x 7, with
18 and 27 weights a pair of channels in place of 25 and 49, and a rectifier after each. So one
window is enough for a whole network: stages of it, with twice the channels wherever pooling halves
the image. Without normalization the deeper ones would not train from a random start, and were
begun from shallow ones.

K. Simonyan and A. Zisserman, "Very deep convolutional networks for large-scale image recognition",
ICLR 2015, arXiv:1409.1556, table 1. Batch normalization came later.
"""

from __future__ import annotations

from typing import Any

from fastopt.nn.layers import (
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
)
from fastopt.nn.model import Model

__all__ = ["vgg", "vgg11", "vgg13", "vgg16", "vgg19"]

# Convolutions in each of the five stages: the paper's configurations A, B, D and E.
STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def vgg(
    depth: int = 16,
    classes: int = 1000,
    *,
    width: int = 64,
    hidden: int = 4096,
    batchnorm: bool = False,
    dropout: float = 0.5,
    input_shape: tuple[int, int, int] = (3, 224, 224),
    **options: Any,
) -> Model:
    """VGG of 11, 13, 16 or 19 layers with weights.

    Parameters
    ----------
    depth : {11, 13, 16, 19}, default 16
    classes : int, default 1000
    width : int, default 64
        Channels of the first stage; the others have 2, 4, 8 and 8 times as many.
    hidden : int, default 4096
        Units of each of the two hidden dense layers.
    batchnorm : bool, default False
        Whether each convolution is followed by batch normalization.
    dropout : float, default 0.5
        Probability with which what leaves a hidden dense layer is left out in training.
    input_shape : (int, int, int), default (3, 224, 224)
        Channels, height and width of an image, at least 32 x 32.
    **options
        ``loss``, ``dtype`` and ``name`` of :class:`fastopt.nn.Model`.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        If there is no VGG of that depth.

    Examples
    --------
    A network for small images, and what the two forms of VGG-16 differ by:

    >>> from fastopt import nn
    >>> small = nn.models.vgg(11, 10, width=8, hidden=32, input_shape=(3, 32, 32))
    >>> nn.models.vgg(16, batchnorm=True).n - nn.models.vgg(16).n
    8448
    """
    if depth not in STAGES:
        raise ValueError(f"`depth` must be one of {', '.join(map(str, STAGES))}, got {depth!r}")
    stages: list[Layer] = []
    for index, (count, times) in enumerate(zip(STAGES[depth], (1, 2, 4, 8, 8), strict=True)):
        stage: list[Layer] = []
        for _ in range(count):
            stage.append(Conv2d(times * width, 3, padding=1))
            if batchnorm:
                stage.append(BatchNorm2d())
            stage.append(ReLU())
        stages.append(Sequential(*stage, MaxPool2d(2), name=f"stage{index + 1}"))
    return Model(
        *stages,
        Flatten(),
        Linear(hidden),
        ReLU(),
        Dropout(dropout),
        Linear(hidden),
        ReLU(),
        Dropout(dropout),
        Linear(classes),
        input_shape=input_shape,
        **{"name": f"vgg{depth}"} | options,
    )


def vgg11(classes: int = 1000, **options: Any) -> Model:
    """Configuration A of the paper, of 11 layers.

    Parameters
    ----------
    classes : int, default 1000
    **options
        As those of :func:`vgg`.

    Returns
    -------
    Model

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.models.vgg11().n
    132863336
    """
    return vgg(11, classes, **options)


def vgg13(classes: int = 1000, **options: Any) -> Model:
    """Configuration B of the paper, of 13 layers.

    Parameters
    ----------
    classes : int, default 1000
    **options
        As those of :func:`vgg`.

    Returns
    -------
    Model

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.models.vgg13().n
    133047848
    """
    return vgg(13, classes, **options)


def vgg16(classes: int = 1000, **options: Any) -> Model:
    """Configuration D of the paper, of 16 layers: the one that is meant by "VGG".

    Parameters
    ----------
    classes : int, default 1000
    **options
        As those of :func:`vgg`.

    Returns
    -------
    Model

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.models.vgg16().n
    138357544
    """
    return vgg(16, classes, **options)


def vgg19(classes: int = 1000, **options: Any) -> Model:
    """Configuration E of the paper, of 19 layers.

    Parameters
    ----------
    classes : int, default 1000
    **options
        As those of :func:`vgg`.

    Returns
    -------
    Model

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.models.vgg19().n
    143667240
    """
    return vgg(19, classes, **options)
