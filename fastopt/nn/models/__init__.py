"""Families of convolutional networks, each in a module that says what it changed and why.

A builder describes a network by the layers of :mod:`fastopt.nn` alone and returns a
:class:`fastopt.nn.Model`. With the defaults it is the published network, with as many parameters;
``width`` (or ``growth``) scales the channels of all layers, and with a smaller ``input_shape`` the
same network fits a laptop. Nothing here computes: shapes are inferred, weights are made by
``Model.init``.
"""

from fastopt.nn.models.alexnet import alexnet
from fastopt.nn.models.densenet import (
    densenet,
    densenet121,
    densenet169,
    densenet201,
    densenet_small,
)
from fastopt.nn.models.googlenet import googlenet
from fastopt.nn.models.inception import inception_resnet_v2, inception_v3, inception_v4
from fastopt.nn.models.lenet import lenet5
from fastopt.nn.models.resnet import (
    resnet,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    resnet_small,
    resnext50,
)
from fastopt.nn.models.vgg import vgg, vgg11, vgg13, vgg16, vgg19

__all__ = [
    "alexnet",
    "densenet",
    "densenet121",
    "densenet169",
    "densenet201",
    "densenet_small",
    "googlenet",
    "inception_resnet_v2",
    "inception_v3",
    "inception_v4",
    "lenet5",
    "resnet",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnet_small",
    "resnext50",
    "vgg",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
]
