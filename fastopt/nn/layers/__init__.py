"""Layers as descriptions: what to compute, in words, before there are any numbers.

A layer is immutable and holds no parameters. Sizes of inputs are inferred when a
:class:`fastopt.nn.Model` is made of layers; the same description may stand in several places, and
has parameters of its own in each. Owns the shapes, and which operations and parameters a layer
stands for. Knows nothing of arrays and of how operations are carried out.
"""

from fastopt.nn.layers.activations import Dropout, Identity, LeakyReLU, ReLU, Sigmoid, Tanh
from fastopt.nn.layers.composites import Concat, Residual, Sequential
from fastopt.nn.layers.convolution import Conv2d
from fastopt.nn.layers.layer import Layer
from fastopt.nn.layers.linear import Linear
from fastopt.nn.layers.normalization import BatchNorm1d, BatchNorm2d
from fastopt.nn.layers.pooling import AvgPool2d, Flatten, GlobalAvgPool2d, MaxPool2d

__all__ = [
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Concat",
    "Conv2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "Identity",
    "Layer",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "ReLU",
    "Residual",
    "Sequential",
    "Sigmoid",
    "Tanh",
]
