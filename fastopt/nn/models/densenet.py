"""DenseNet: every layer of a block sees what all layers before it have found.

A ResNet adds up; what has once been added can no longer be told apart. A DenseNet puts channels
side by side instead: a layer adds k new ones (the growth) to all that are there, and never has to
learn again what another one has found. So k may be as small as 12 to 32, and the same accuracy
takes a third of the parameters. A 1 x 1 convolution to 4 k channels in front of each 3 x 3 (B, for
bottleneck) and half the channels dropped between two blocks (C, for compression) keep the cost
down. Normalization and rectifier come before each convolution: each layer weighs the same channels
for itself.

G. Huang, Z. Liu, L. van der Maaten and K. Q. Weinberger, "Densely connected convolutional
networks", CVPR 2017, arXiv:1608.06993, table 1 and section 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastopt.nn.layers import (
    AvgPool2d,
    BatchNorm2d,
    Concat,
    Conv2d,
    GlobalAvgPool2d,
    Identity,
    Layer,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
)
from fastopt.nn.model import Model

__all__ = ["densenet", "densenet121", "densenet169", "densenet201", "densenet_small"]


def densenet(
    blocks: Sequence[int] = (6, 12, 24, 16),
    classes: int = 1000,
    *,
    growth: int = 32,
    width: int | None = None,
    input_shape: tuple[int, int, int] = (3, 224, 224),
    **options: Any,
) -> Model:
    """DenseNet-BC with so many layers in each of its blocks.

    Parameters
    ----------
    blocks : sequence of int, default (6, 12, 24, 16)
        Layers of each block. Two halvings stand before the first, and one between two.
    classes : int, default 1000
    growth : int, default 32
        Channels that each layer adds.
    width : int, optional
        Channels before the first block, by default ``2 * growth``.
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
    >>> nn.models.densenet((6, 12, 36, 24), growth=48).n  # DenseNet-161
    28681000
    """
    channels = 2 * growth if width is None else width
    return Model(
        Conv2d(channels, 7, stride=2, padding=3, bias=False),
        BatchNorm2d(),
        ReLU(),
        MaxPool2d(3, stride=2, padding=1),
        *dense_blocks(channels, blocks, growth),
        GlobalAvgPool2d(),
        Linear(classes),
        input_shape=input_shape,
        **{"name": "densenet"} | options,
    )


def densenet_small(
    blocks: Sequence[int] = (16, 16, 16),
    classes: int = 10,
    *,
    growth: int = 12,
    width: int | None = None,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    **options: Any,
) -> Model:
    """DenseNet-BC for small images: one 3 x 3 convolution before the first block.

    The default is the paper's DenseNet-BC of 100 layers with a growth of 12 for CIFAR-10.

    Parameters
    ----------
    blocks : sequence of int, default (16, 16, 16)
        Layers of each block; the image is halved between two.
    classes : int, default 10
    growth : int, default 12
        Channels that each layer adds.
    width : int, optional
        Channels before the first block, by default ``2 * growth``.
    input_shape : (int, int, int), default (3, 32, 32)
        Channels, height and width of an image.
    **options
        ``loss``, ``dtype`` and ``name`` of :class:`fastopt.nn.Model`.

    Returns
    -------
    Model

    Examples
    --------
    The paper's 0.8 million, and one for scikit-learn's digits:

    >>> from fastopt import nn
    >>> nn.models.densenet_small().n
    769162
    >>> nn.models.densenet_small((3, 3, 3), growth=6, input_shape=(1, 8, 8)).n
    18484
    """
    channels = 2 * growth if width is None else width
    return Model(
        Conv2d(channels, 3, padding=1, bias=False),
        *dense_blocks(channels, blocks, growth),
        GlobalAvgPool2d(),
        Linear(classes),
        input_shape=input_shape,
        **{"name": "densenet_small"} | options,
    )


def dense_blocks(channels: int, blocks: Sequence[int], growth: int) -> list[Layer]:
    """Blocks with a transition between two, of `channels` that come in."""
    layers: list[Layer] = []
    for index, count in enumerate(blocks):
        if index:
            channels //= 2
            layers += [*activated(channels, 1), AvgPool2d(2)]
        dense = (dense_layer(growth) for _ in range(count))
        layers.append(Sequential(*dense, name=f"block{index + 1}"))
        channels += count * growth
    return [*layers, BatchNorm2d(), ReLU()]


def dense_layer(growth: int) -> Layer:
    return Concat(Identity(), Sequential(*activated(4 * growth, 1), *activated(growth, 3)))


def activated(out_channels: int, size: int) -> list[Layer]:
    """Normalization and rectifier, then the convolution."""
    return [
        BatchNorm2d(),
        ReLU(),
        Conv2d(out_channels, size, padding=size // 2, bias=False),
    ]


def densenet121(classes: int = 1000, **options: Any) -> Model:
    """DenseNet of 121 layers.

    Parameters
    ----------
    classes : int, default 1000
    **options
        As those of :func:`densenet`.

    Returns
    -------
    Model

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.models.densenet121().n
    7978856
    """
    return densenet((6, 12, 24, 16), classes, **{"name": "densenet121"} | options)


def densenet169(classes: int = 1000, **options: Any) -> Model:
    """DenseNet of 169 layers.

    Parameters
    ----------
    classes : int, default 1000
    **options
        As those of :func:`densenet`.

    Returns
    -------
    Model

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.models.densenet169().n
    14149480
    """
    return densenet((6, 12, 32, 32), classes, **{"name": "densenet169"} | options)


def densenet201(classes: int = 1000, **options: Any) -> Model:
    """DenseNet of 201 layers.

    Parameters
    ----------
    classes : int, default 1000
    **options
        As those of :func:`densenet`.

    Returns
    -------
    Model

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.models.densenet201().n
    20013928
    """
    return densenet((6, 12, 48, 32), classes, **{"name": "densenet201"} | options)
