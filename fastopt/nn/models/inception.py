"""Inception v2 to v4: windows taken apart, and shortcuts around them.

v2 and v3 factorise windows. Two 3 x 3 convolutions see what one of 5 x 5 does for 18/25 of the
cost; a 1 x n convolution and an n x 1 behind it see n x n for 2/n of it, which serves best on maps
of 12 to 20 pixels; where the maps are smallest and channels count for more, the two stand side by
side. An image is halved by convolutions and by pooling side by side, so that nothing is thrown away
before its features have been computed. v4 makes the blocks uniform. Inception-ResNet adds to a
block's input what the block has found, in place of replacing it: it trains faster, and ends up
about as good.

C. Szegedy et al., "Rethinking the Inception architecture for computer vision", CVPR 2016,
arXiv:1512.00567 (v2 and v3); "Inception-v4, Inception-ResNet and the impact of residual connections
on learning", AAAI 2017, arXiv:1602.07261 (v4 and both Inception-ResNets).

In each block below, ``conv`` is :func:`fastopt.nn.models.googlenet.convolution` with the network's
scale: convolution, batch normalization, rectifier.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fastopt.nn.layers import (
    AvgPool2d,
    Concat,
    Conv2d,
    Dropout,
    GlobalAvgPool2d,
    Layer,
    Linear,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
)
from fastopt.nn.model import Model
from fastopt.nn.models.googlenet import convolution

__all__ = ["inception_resnet_v2", "inception_v3", "inception_v4"]

Conv = Callable[..., Layer]


def inception_v3(
    classes: int = 1000,
    *,
    width: int = 32,
    dropout: float = 0.5,
    input_shape: tuple[int, int, int] = (3, 299, 299),
    **options: Any,
) -> Model:
    """Inception v3 without its auxiliary head.

    Parameters
    ----------
    classes : int, default 1000
    width : int, default 32
        Channels of the first convolution. All others are in the paper's proportion to it.
    dropout : float, default 0.5
        Probability with which what enters the dense layer is left out in training.
    input_shape : (int, int, int), default (3, 299, 299)
        Channels, height and width of an image, at least 75 x 75.
    **options
        ``loss``, ``dtype`` and ``name`` of :class:`fastopt.nn.Model`.

    Returns
    -------
    Model

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.models.inception_v3().n
    23834568
    """
    conv = partial(convolution, scale=width / 32)
    return Model(
        *stem_v3(conv),
        *(v3_square(conv, pool) for pool in (32, 64, 64)),
        Concat(
            conv(384, 3, stride=2),
            Sequential(conv(64, 1), conv(96, 3, "same"), conv(96, 3, stride=2)),
            MaxPool2d(3, stride=2),
        ),
        *(v3_asymmetric(conv, inner) for inner in (128, 160, 160, 192)),
        Concat(
            Sequential(conv(192, 1), conv(320, 3, stride=2)),
            Sequential(
                conv(192, 1),
                conv(192, (1, 7), "same"),
                conv(192, (7, 1), "same"),
                conv(192, 3, stride=2),
            ),
            MaxPool2d(3, stride=2),
        ),
        v3_spread(conv),
        v3_spread(conv),
        GlobalAvgPool2d(),
        Dropout(dropout),
        Linear(classes),
        input_shape=input_shape,
        **{"name": "inception_v3"} | options,
    )


def stem_v3(conv: Conv) -> list[Layer]:
    return [
        conv(32, 3, stride=2),
        conv(32, 3),
        conv(64, 3, "same"),
        MaxPool2d(3, stride=2),
        conv(80, 1),
        conv(192, 3),
        MaxPool2d(3, stride=2),
    ]


def v3_square(conv: Conv, pool: int) -> Layer:
    """Figure 5 of the v3 paper: 5 x 5 as two of 3 x 3; a 5 x 5 stays beside it, as published."""
    return Concat(
        conv(64, 1),
        Sequential(conv(48, 1), conv(64, 5, "same")),
        Sequential(conv(64, 1), conv(96, 3, "same"), conv(96, 3, "same")),
        Sequential(AvgPool2d(3, stride=1, padding=1), conv(pool, 1)),
    )


def v3_asymmetric(conv: Conv, inner: int) -> Layer:
    """Figure 6 of the v3 paper with n = 7: 7 x 7 as 1 x 7 and 7 x 1, once and twice."""
    return Concat(
        conv(192, 1),
        Sequential(conv(inner, 1), conv(inner, (1, 7), "same"), conv(192, (7, 1), "same")),
        Sequential(
            conv(inner, 1),
            conv(inner, (7, 1), "same"),
            conv(inner, (1, 7), "same"),
            conv(inner, (7, 1), "same"),
            conv(192, (1, 7), "same"),
        ),
        Sequential(AvgPool2d(3, stride=1, padding=1), conv(192, 1)),
    )


def v3_spread(conv: Conv) -> Layer:
    """Figure 7 of the v3 paper: 1 x 3 and 3 x 1 side by side."""
    return Concat(
        conv(320, 1),
        Sequential(conv(384, 1), Concat(conv(384, (1, 3), "same"), conv(384, (3, 1), "same"))),
        Sequential(
            conv(448, 1),
            conv(384, 3, "same"),
            Concat(conv(384, (1, 3), "same"), conv(384, (3, 1), "same")),
        ),
        Sequential(AvgPool2d(3, stride=1, padding=1), conv(192, 1)),
    )


def inception_v4(
    classes: int = 1000,
    *,
    width: int = 32,
    dropout: float = 0.2,
    input_shape: tuple[int, int, int] = (3, 299, 299),
    **options: Any,
) -> Model:
    """Inception v4.

    Parameters
    ----------
    classes : int, default 1000
    width : int, default 32
        Channels of the first convolution. All others are in the paper's proportion to it.
    dropout : float, default 0.2
        Probability with which what enters the dense layer is left out in training.
    input_shape : (int, int, int), default (3, 299, 299)
        Channels, height and width of an image, at least 75 x 75.
    **options
        ``loss``, ``dtype`` and ``name`` of :class:`fastopt.nn.Model`.

    Returns
    -------
    Model

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.models.inception_v4().n
    42679816
    """
    conv = partial(convolution, scale=width / 32)
    return Model(
        *stem_v4(conv),
        *(v4_square(conv) for _ in range(4)),
        Concat(
            conv(384, 3, stride=2),
            Sequential(conv(192, 1), conv(224, 3, "same"), conv(256, 3, stride=2)),
            MaxPool2d(3, stride=2),
        ),
        *(v4_asymmetric(conv) for _ in range(7)),
        Concat(
            Sequential(conv(192, 1), conv(192, 3, stride=2)),
            Sequential(
                conv(256, 1),
                conv(256, (1, 7), "same"),
                conv(320, (7, 1), "same"),
                conv(320, 3, stride=2),
            ),
            MaxPool2d(3, stride=2),
        ),
        *(v4_spread(conv) for _ in range(3)),
        GlobalAvgPool2d(),
        Dropout(dropout),
        Linear(classes),
        input_shape=input_shape,
        **{"name": "inception_v4"} | options,
    )


def stem_v4(conv: Conv) -> list[Layer]:
    """Figure 3 of the v4 paper."""
    return [
        conv(32, 3, stride=2),
        conv(32, 3),
        conv(64, 3, "same"),
        Concat(MaxPool2d(3, stride=2), conv(96, 3, stride=2)),
        Concat(
            Sequential(conv(64, 1), conv(96, 3)),
            Sequential(
                conv(64, 1), conv(64, (1, 7), "same"), conv(64, (7, 1), "same"), conv(96, 3)
            ),
        ),
        Concat(conv(192, 3, stride=2), MaxPool2d(3, stride=2)),
    ]


def v4_square(conv: Conv) -> Layer:
    """Figure 4 of the v4 paper, Inception-A."""
    return Concat(
        conv(96, 1),
        Sequential(conv(64, 1), conv(96, 3, "same")),
        Sequential(conv(64, 1), conv(96, 3, "same"), conv(96, 3, "same")),
        Sequential(mean_of_neighbours(), conv(96, 1)),
    )


def v4_asymmetric(conv: Conv) -> Layer:
    """Figure 5 of the v4 paper, Inception-B."""
    return Concat(
        conv(384, 1),
        Sequential(conv(192, 1), conv(224, (1, 7), "same"), conv(256, (7, 1), "same")),
        Sequential(
            conv(192, 1),
            conv(192, (7, 1), "same"),
            conv(224, (1, 7), "same"),
            conv(224, (7, 1), "same"),
            conv(256, (1, 7), "same"),
        ),
        Sequential(mean_of_neighbours(), conv(128, 1)),
    )


def v4_spread(conv: Conv) -> Layer:
    """Figure 6 of the v4 paper, Inception-C."""
    return Concat(
        conv(256, 1),
        Sequential(conv(384, 1), Concat(conv(256, (1, 3), "same"), conv(256, (3, 1), "same"))),
        Sequential(
            conv(384, 1),
            conv(448, (3, 1), "same"),
            conv(512, (1, 3), "same"),
            Concat(conv(256, (1, 3), "same"), conv(256, (3, 1), "same")),
        ),
        Sequential(mean_of_neighbours(), conv(256, 1)),
    )


def mean_of_neighbours() -> Layer:
    return AvgPool2d(3, stride=1, padding=1, count_include_pad=False)


def inception_resnet_v2(
    classes: int = 1000,
    *,
    width: int = 32,
    repeats: tuple[int, int, int] = (10, 20, 10),
    dropout: float = 0.2,
    input_shape: tuple[int, int, int] = (3, 299, 299),
    **options: Any,
) -> Model:
    """Inception-ResNet v2: light Inception blocks, each with a shortcut around it.

    The paper multiplies what a block adds by 0.1 to 0.3, because wide networks died otherwise. A
    block ends in a 1 x 1 convolution, so that is a matter of how its weights begin, and is left to
    them here.

    Parameters
    ----------
    classes : int, default 1000
    width : int, default 32
        Channels of the first convolution. All others are in the paper's proportion to it.
    repeats : (int, int, int), default (10, 20, 10)
        Blocks on the three sizes of maps, as in the authors' code; the paper's figure has half.
    dropout : float, default 0.2
        Probability with which what enters the dense layer is left out in training.
    input_shape : (int, int, int), default (3, 299, 299)
        Channels, height and width of an image, at least 75 x 75.
    **options
        ``loss``, ``dtype`` and ``name`` of :class:`fastopt.nn.Model`.

    Returns
    -------
    Model

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.models.inception_resnet_v2().n
    55843464
    """
    scale = width / 32
    conv = partial(convolution, scale=scale)
    # A sum needs as many channels as its block's input has, whatever rounding made of them.
    channels = [
        sum(max(1, round(scale * each)) for each in branches)
        for branches in ((96, 64, 96, 64), (384, 384), (384, 288, 320))
    ]
    channels[1] += channels[0]
    channels[2] += channels[1]
    return Model(
        *stem_v3(conv),
        Concat(
            conv(96, 1),
            Sequential(conv(48, 1), conv(64, 5, "same")),
            Sequential(conv(64, 1), conv(96, 3, "same"), conv(96, 3, "same")),
            Sequential(mean_of_neighbours(), conv(64, 1)),
        ),
        *(residual_square(conv, channels[0]) for _ in range(repeats[0])),
        Concat(
            conv(384, 3, stride=2),
            Sequential(conv(256, 1), conv(256, 3, "same"), conv(384, 3, stride=2)),
            MaxPool2d(3, stride=2),
        ),
        *(residual_asymmetric(conv, channels[1]) for _ in range(repeats[1])),
        Concat(
            Sequential(conv(256, 1), conv(384, 3, stride=2)),
            Sequential(conv(256, 1), conv(288, 3, stride=2)),
            Sequential(conv(256, 1), conv(288, 3, "same"), conv(320, 3, stride=2)),
            MaxPool2d(3, stride=2),
        ),
        *(residual_spread(conv, channels[2]) for _ in range(repeats[2] - 1)),
        residual_spread(conv, channels[2], rectified=False),
        conv(1536, 1),
        GlobalAvgPool2d(),
        Dropout(dropout),
        Linear(classes),
        input_shape=input_shape,
        **{"name": "inception_resnet_v2"} | options,
    )


def residual_square(conv: Conv, channels: int) -> Layer:
    """Figure 16 of the v4 paper, Inception-ResNet-A."""
    branches = Concat(
        conv(32, 1),
        Sequential(conv(32, 1), conv(32, 3, "same")),
        Sequential(conv(32, 1), conv(48, 3, "same"), conv(64, 3, "same")),
    )
    return Sequential(Residual(branches, Conv2d(channels, 1)), ReLU())


def residual_asymmetric(conv: Conv, channels: int) -> Layer:
    """Figure 17 of the v4 paper, Inception-ResNet-B."""
    branches = Concat(
        conv(192, 1),
        Sequential(conv(128, 1), conv(160, (1, 7), "same"), conv(192, (7, 1), "same")),
    )
    return Sequential(Residual(branches, Conv2d(channels, 1)), ReLU())


def residual_spread(conv: Conv, channels: int, rectified: bool = True) -> Layer:
    """Figure 19 of the v4 paper, Inception-ResNet-C."""
    branches = Concat(
        conv(192, 1),
        Sequential(conv(192, 1), conv(224, (1, 3), "same"), conv(256, (3, 1), "same")),
    )
    block = Residual(branches, Conv2d(channels, 1))
    return Sequential(block, ReLU()) if rectified else block
