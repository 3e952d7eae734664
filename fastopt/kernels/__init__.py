"""Kernels of neural networks as functions of arrays: convolution, normalization, pooling, losses.

Arrays are NCHW, C-contiguous, and float32 or float64, never mixed and never converted. Each
function returns new arrays, or fills those given as ``out``. :mod:`fastopt.kernels.reference` has
each of them again, naive and in float64.
"""

from fastopt.kernels.convolution import (
    conv1d,
    conv1d_backward_bias,
    conv1d_backward_data,
    conv1d_backward_weight,
    conv2d,
    conv2d_backward_bias,
    conv2d_backward_data,
    conv2d_backward_weight,
    conv2d_workspace,
)
from fastopt.kernels.cpu.threads import get_num_threads, set_num_threads
from fastopt.kernels.dropout import dropout
from fastopt.kernels.linear import (
    linear,
    linear_backward_bias,
    linear_backward_data,
    linear_backward_weight,
)
from fastopt.kernels.losses import (
    binary_cross_entropy,
    l1_loss,
    mse_loss,
    multilabel,
    smooth_l1_loss,
    softmax_cross_entropy,
)

__all__ = [
    "binary_cross_entropy",
    "conv1d",
    "conv1d_backward_bias",
    "conv1d_backward_data",
    "conv1d_backward_weight",
    "conv2d",
    "conv2d_backward_bias",
    "conv2d_backward_data",
    "conv2d_backward_weight",
    "conv2d_workspace",
    "dropout",
    "get_num_threads",
    "l1_loss",
    "linear",
    "linear_backward_bias",
    "linear_backward_data",
    "linear_backward_weight",
    "mse_loss",
    "multilabel",
    "set_num_threads",
    "smooth_l1_loss",
    "softmax_cross_entropy",
]
