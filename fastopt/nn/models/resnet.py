"""ResNet: blocks that add to their input what they have found; pre-activation; ResNeXt.

A plain network of 56 layers fits the training images worse than one of 20, though it could copy
it: layers that have nothing to add do not find the identity. So a block computes x + f(x), for
which the identity is f = 0, and the gradient reaches every block undiminished through the sums.

* A *basic* block is two 3 x 3 convolutions. A *bottleneck* brings the channels down by a 1 x 1
  convolution, looks through 3 x 3, and brings them up again: cheaper, for 50 layers and more.
* *Pre-activation* (v2) puts normalization and rectifier in front of each convolution. Nothing
  stands on the path of sums any more, and a thousand layers train.
* *ResNeXt* parts the channels of the 3 x 3 convolution into groups (cardinality), each a
  bottleneck of its own: for the same cost, more of them is better than deeper or wider.

K. He, X. Zhang, S. Ren and J. Sun, "Deep residual learning for image recognition", CVPR 2016,
arXiv:1512.03385, table 1 and section 4.2; "Identity mappings in deep residual networks", ECCV 2016,
arXiv:1603.05027; S. Xie, R. Girshick, P. Dollar, Z. Tu and K. He, "Aggregated residual
transformations for deep neural networks", CVPR 2017, arXiv:1611.05431, table 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastopt.nn.layers import (
    BatchNorm2d,
    Conv2d,
    GlobalAvgPool2d,
    Layer,
    Linear,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
)
from fastopt.nn.model import Model

__all__ = [
    "resnet",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnet_small",
    "resnext50",
]

# Blocks in each of the four stages; from 50 layers on they are bottlenecks.
STAGES = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


def resnet(
    depth: int = 50,
    classes: int = 1000,
    *,
    width: int = 64,
    cardinality: int = 1,
    group_width: int | None = None,
    preactivation: bool = False,
    input_shape: tuple[int, int, int] = (3, 224, 224),
    **options: Any,
) -> Model:
    """ResNet of 18, 34, 50, 101 or 152 layers, its pre-activation form, or ResNeXt.

    Where a block halves the image, a bottleneck does so in its 3 x 3 convolution, and a 1 x 1
    convolution with stride 2 is the shortcut.

    Parameters
    ----------
    depth : {18, 34, 50, 101, 152}, default 50
    classes : int, default 1000
    width : int, default 64
        Channels of the first stage, inside its bottlenecks; each stage has twice as many as the
        one before.
    cardinality : int, default 1
        Groups of the 3 x 3 convolution in bottlenecks.
    group_width : int, optional
        Channels of one group in the first stage. By default all groups together have `width`.
    preactivation : bool, default False
        Whether normalization and rectifier come before the convolutions (v2) or after (v1).
    input_shape : (int, int, int), default (3, 224, 224)
        Channels, height and width of an image.
    **options
        ``loss``, ``dtype`` and ``name`` of :class:`fastopt.nn.Model`.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        If there is no ResNet of that depth, or none of that depth has groups.

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.models.resnet(50, preactivation=True).n
    25549352
    """
    if depth not in STAGES:
        raise ValueError(f"`depth` must be one of {', '.join(map(str, STAGES))}, got {depth!r}")
    bottlenecks = depth >= 50
    if not bottlenecks and (cardinality, group_width) != (1, None):
        raise ValueError(
            f"`cardinality` and `group_width` need a `depth` of at least 50, got {depth}"
        )
    inner = width if group_width is None else cardinality * group_width

    def block(stage: int, stride: int) -> list[Conv2d]:
        grown = 2**stage
        if bottlenecks:
            return bottleneck(inner * grown, 4 * width * grown, stride, cardinality)
        return basic(width * grown, stride)

    return Model(
        convolution(width, 7, stride=2),
        BatchNorm2d(),
        ReLU(),
        MaxPool2d(3, stride=2, padding=1),
        *residual_stages(width, STAGES[depth], block, preactivation),
        GlobalAvgPool2d(),
        Linear(classes),
        input_shape=input_shape,
        **{"name": f"resnet{depth}"} | options,
    )


def resnet_small(
    depth: int = 20,
    classes: int = 10,
    *,
    width: int = 16,
    preactivation: bool = False,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    **options: Any,
) -> Model:
    """ResNet for small images: three stages of basic blocks, and nothing that halves before them.

    As in section 4.2 of the first paper, but that a 1 x 1 convolution is the shortcut where the
    channels double (option B), in place of zeros for the new channels (option A).

    Parameters
    ----------
    depth : int, default 20
        Layers with weights on the longest path, 6 n + 2 for n blocks a stage.
    classes : int, default 10
    width : int, default 16
        Channels of the first stage; the others have 2 and 4 times as many.
    preactivation : bool, default False
        Whether normalization and rectifier come before the convolutions (v2) or after (v1).
    input_shape : (int, int, int), default (3, 32, 32)
        Channels, height and width of an image.
    **options
        ``loss``, ``dtype`` and ``name`` of :class:`fastopt.nn.Model`.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        If `depth` is not 6 n + 2.

    Examples
    --------
    For scikit-learn's digits, 8 x 8:

    >>> from fastopt import nn
    >>> nn.models.resnet_small(8, width=8, input_shape=(1, 8, 8)).n
    19810
    """
    if depth < 8 or depth % 6 != 2:
        raise ValueError(f"`depth` must be 6 n + 2 for a positive integer n, got {depth!r}")
    return Model(
        convolution(width, 3),
        BatchNorm2d(),
        ReLU(),
        *residual_stages(
            width,
            (depth // 6,) * 3,
            lambda stage, stride: basic(width * 2**stage, stride),
            preactivation,
        ),
        GlobalAvgPool2d(),
        Linear(classes),
        input_shape=input_shape,
        **{"name": f"resnet_small{depth}"} | options,
    )


def residual_stages(
    channels: int,
    counts: Sequence[int],
    block: Callable[[int, int], list[Conv2d]],
    preactivation: bool,
) -> list[Layer]:
    """Blocks in stages, the first of each but the first stage with stride 2.

    ``block(stage, stride)`` are the convolutions of one; `channels` come in. The last sum of
    pre-activation is followed by what no further block would do.
    """
    stages: list[Layer] = []
    for stage, count in enumerate(counts):
        layers: list[Layer] = []
        for index in range(count):
            stride = 2 if stage and not index else 1
            convolutions = block(stage, stride)
            out_channels = convolutions[-1].out_channels
            project = stride > 1 or out_channels != channels
            shortcut = convolution(out_channels, 1, stride=stride) if project else None
            if preactivation:
                layers += preactivated(convolutions, shortcut, activated=not stage and not index)
            else:
                layers += original(convolutions, shortcut)
            channels = out_channels
        stages.append(Sequential(*layers, name=f"stage{stage + 1}"))
    return [*stages, BatchNorm2d(), ReLU()] if preactivation else stages


def original(convolutions: list[Conv2d], shortcut: Conv2d | None) -> list[Layer]:
    """v1, figure 4a of the second paper: the sum, then the rectifier."""
    *first, last = convolutions
    main = [layer for each in first for layer in (each, BatchNorm2d(), ReLU())]
    projection = None if shortcut is None else Sequential(shortcut, BatchNorm2d())
    return [Residual(*main, last, BatchNorm2d(), shortcut=projection), ReLU()]


def preactivated(
    convolutions: list[Conv2d], shortcut: Conv2d | None, activated: bool
) -> list[Layer]:
    """v2, figure 4e of the second paper: where there is a projection, it is activated as well.

    `activated` says that what comes in is so already, as behind the network's first convolution.
    """
    first, *others = convolutions
    main = [first, *(layer for each in others for layer in (BatchNorm2d(), ReLU(), each))]
    if activated:
        return [Residual(*main, shortcut=shortcut)]
    if shortcut is None:
        return [Residual(BatchNorm2d(), ReLU(), *main)]
    return [BatchNorm2d(), ReLU(), Residual(*main, shortcut=shortcut)]


def basic(channels: int, stride: int) -> list[Conv2d]:
    return [convolution(channels, 3, stride=stride), convolution(channels, 3)]


def bottleneck(inner: int, out_channels: int, stride: int, cardinality: int) -> list[Conv2d]:
    return [
        convolution(inner, 1),
        convolution(inner, 3, stride=stride, groups=cardinality),
        convolution(out_channels, 1),
    ]


def convolution(out_channels: int, size: int, *, stride: int = 1, groups: int = 1) -> Conv2d:
    """Without a bias, which the normalization behind it would take away again."""
    return Conv2d(out_channels, size, stride=stride, padding=size // 2, groups=groups, bias=False)


def resnet18(classes: int = 1000, **options: Any) -> Model:
    """ResNet of 18 layers, of basic blocks.

    Parameters
    ----------
    classes : int, default 1000
    **options
        As those of :func:`resnet`.

    Returns
    -------
    Model

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.models.resnet18().n
    11689512
    """
    return resnet(18, classes, **options)


def resnet34(classes: int = 1000, **options: Any) -> Model:
    """ResNet of 34 layers, of basic blocks.

    Parameters
    ----------
    classes : int, default 1000
    **options
        As those of :func:`resnet`.

    Returns
    -------
    Model

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.models.resnet34().n
    21797672
    """
    return resnet(34, classes, **options)


def resnet50(classes: int = 1000, **options: Any) -> Model:
    """ResNet of 50 layers, of bottleneck blocks.

    Parameters
    ----------
    classes : int, default 1000
    **options
        As those of :func:`resnet`.

    Returns
    -------
    Model

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.models.resnet50().n
    25557032
    """
    return resnet(50, classes, **options)


def resnet101(classes: int = 1000, **options: Any) -> Model:
    """ResNet of 101 layers, of bottleneck blocks.

    Parameters
    ----------
    classes : int, default 1000
    **options
        As those of :func:`resnet`.

    Returns
    -------
    Model

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.models.resnet101().n
    44549160
    """
    return resnet(101, classes, **options)


def resnet152(classes: int = 1000, **options: Any) -> Model:
    """ResNet of 152 layers, of bottleneck blocks.

    Parameters
    ----------
    classes : int, default 1000
    **options
        As those of :func:`resnet`.

    Returns
    -------
    Model

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.models.resnet152().n
    60192808
    """
    return resnet(152, classes, **options)


def resnext50(
    classes: int = 1000, *, cardinality: int = 32, group_width: int = 4, **options: Any
) -> Model:
    """ResNeXt of 50 layers, 32 x 4d: bottlenecks of 32 groups of 4 channels.

    Parameters
    ----------
    classes : int, default 1000
    cardinality : int, default 32
        Groups of the 3 x 3 convolutions.
    group_width : int, default 4
        Channels of one group in the first stage.
    **options
        As those of :func:`resnet`.

    Returns
    -------
    Model

    Examples
    --------
    As many parameters as ResNet-50, within 2 %, and twice as many channels between them:

    >>> from fastopt import nn
    >>> nn.models.resnext50().n
    25028904
    """
    named = {"name": "resnext50"} | options
    return resnet(50, classes, cardinality=cardinality, group_width=group_width, **named)
