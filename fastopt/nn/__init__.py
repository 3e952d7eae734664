"""Networks as functions of one flat vector of parameters.

A :class:`Model` is made of layers, and what it computes, :meth:`Model.value_and_grad`, is an
objective for :func:`fastopt.minimize` and for training loops. It holds no parameters: they are the
vector, and belong to the caller.
"""

from fastopt.nn import models as models
from fastopt.nn.layers import (
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Identity,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    Tanh,
)
from fastopt.nn.losses import (
    L1,
    MSE,
    BinaryCrossEntropy,
    Loss,
    MultiLabel,
    SmoothL1,
    SoftmaxCrossEntropy,
)
from fastopt.nn.model import Model

__all__ = [
    "L1",
    "MSE",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "BinaryCrossEntropy",
    "Concat",
    "Conv2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "Identity",
    "Layer",
    "LeakyReLU",
    "Linear",
    "Loss",
    "MaxPool2d",
    "Model",
    "MultiLabel",
    "ReLU",
    "Residual",
    "Sequential",
    "Sigmoid",
    "SmoothL1",
    "SoftmaxCrossEntropy",
    "Tanh",
]
