"""Kernels of neural networks as functions of arrays: convolution, normalization, pooling, losses.

Arrays are NCHW, C-contiguous, and float32 or float64, never mixed and never converted; on a GPU,
float16 for inference. Each function returns new arrays, or fills those given as ``out``.
:mod:`fastopt.kernels.reference` has each of them again, naive and in float64.
"""

from fastopt.kernels.activations import (
    leaky_relu,
    leaky_relu_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    softmax,
    softmax_backward,
    tanh,
    tanh_backward,
)
from fastopt.kernels.arithmetic import add, add_relu, concatenate, split
from fastopt.kernels.batchnorm import (
    batchnorm_backward,
    batchnorm_forward,
)
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
from fastopt.kernels.pooling import (
    avg_pool2d,
    avg_pool2d_backward,
    global_avg_pool2d,
    global_avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)

__all__ = [
    "add",
    "add_relu",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batchnorm_backward",
    "batchnorm_forward",
    "binary_cross_entropy",
    "concatenate",
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
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "l1_loss",
    "leaky_relu",
    "leaky_relu_backward",
    "linear",
    "linear_backward_bias",
    "linear_backward_data",
    "linear_backward_weight",
    "max_pool2d",
    "max_pool2d_backward",
    "mse_loss",
    "multilabel",
    "relu",
    "relu_backward",
    "set_num_threads",
    "sigmoid",
    "sigmoid_backward",
    "smooth_l1_loss",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "split",
    "tanh",
    "tanh_backward",
]
