"""LeNet-5: convolutions that share their weights, pooling, and dense layers at the end.

A digit is the same digit a pixel further to the right. A dense layer has to learn that at every
place; a convolution looks through a small window, with the same weights everywhere, so it has
hundreds of weights in place of millions and what it has learned holds at every place. Pooling then
forgets where exactly a feature was, and each level sees a larger part of the image.

Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document
recognition", Proc. IEEE 86 (1998) 2278-2324, section II.
"""

from __future__ import annotations

from typing import Any

from fastopt.nn.layers import Conv2d, Flatten, Linear, MaxPool2d, ReLU
from fastopt.nn.model import Model

__all__ = ["lenet5"]


def lenet5(
    classes: int = 10,
    *,
    width: int = 6,
    input_shape: tuple[int, int, int] = (1, 28, 28),
    **options: Any,
) -> Model:
    """LeNet-5 as it is written today: rectifiers, maxima and softmax.

    The paper has tanh, means with a trainable scale, a table of which maps of the second
    convolution see which of the first, and radial basis functions at the end; its 32 x 32 images
    are digits of 28 x 28 with a border, which is the first convolution's padding here.

    Parameters
    ----------
    classes : int, default 10
    width : int, default 6
        Channels of the first convolution; those of the second, and the hidden units, follow in
        the paper's proportions.
    input_shape : (int, int, int), default (1, 28, 28)
        Channels, height and width of an image.
    **options
        ``loss``, ``dtype`` and ``name`` of :class:`fastopt.nn.Model`.

    Returns
    -------
    Model

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.models.lenet5().n
    61706
    """
    return Model(
        Conv2d(width, 5, padding=2),
        ReLU(),
        MaxPool2d(2),
        Conv2d(16 * width // 6, 5),
        ReLU(),
        MaxPool2d(2),
        Flatten(),
        Linear(20 * width),
        ReLU(),
        Linear(14 * width),
        ReLU(),
        Linear(classes),
        input_shape=input_shape,
        **{"name": "lenet5"} | options,
    )
