"""How each kernel is called, forward and backward, by its row in ``pytorch.json``.

Each function takes the module whose kernels are called, :mod:`fastopt.kernels` or its `reference`,
then the inputs of a recorded case and its options by name. It returns the outputs by name:
``grad_x`` is the derivative by the input ``x`` of the sum of ``out * grad``, and so on.
"""

import numpy as np

__all__ = ["CALLS", "arguments"]


def conv2d(k, x, weight, grad, bias=None, **options):
    found = {
        "out": k.conv2d(x, weight, bias, **options),
        "grad_x": k.conv2d_backward_data(grad, weight, x.shape, **options),
        "grad_weight": k.conv2d_backward_weight(x, grad, weight.shape, **options),
    }
    return found if bias is None else found | {"grad_bias": k.conv2d_backward_bias(grad)}


def conv1d(k, x, weight, grad, bias=None, **options):
    found = {
        "out": k.conv1d(x, weight, bias, **options),
        "grad_x": k.conv1d_backward_data(grad, weight, x.shape, **options),
        "grad_weight": k.conv1d_backward_weight(x, grad, weight.shape, **options),
    }
    return found if bias is None else found | {"grad_bias": k.conv1d_backward_bias(grad)}


def batchnorm(
    k,
    x,
    grad,
    weight=None,
    bias=None,
    running_mean=None,
    running_var=None,
    training=True,
    momentum=0.1,
    eps=1e-5,
    relu=False,
):
    running = {
        name: None if values is None else values.copy()
        for name, values in (("running_mean", running_mean), ("running_var", running_var))
    }
    out, saved = k.batchnorm_forward(
        x, weight, bias, **running, training=training, momentum=momentum, eps=eps, relu=relu
    )
    backward = k.batchnorm_backward(
        grad, x, weight, saved, training=training, eps=eps, relu=relu, bias=bias, **running
    )
    found = {"out": out} | dict(zip(("grad_x", "grad_weight", "grad_bias"), backward, strict=True))
    if weight is None:
        del found["grad_weight"], found["grad_bias"]
    return found | {name: values for name, values in running.items() if values is not None}


def linear(k, x, weight, grad, bias=None):
    found = {
        "out": k.linear(x, weight, bias),
        "grad_x": k.linear_backward_data(grad, weight),
        "grad_weight": k.linear_backward_weight(x, grad),
    }
    return found if bias is None else found | {"grad_bias": k.linear_backward_bias(grad)}


def max_pool2d(k, x, grad, kernel_size, **options):
    out, where = k.max_pool2d(x, kernel_size, **options)
    return {"out": out, "grad_x": k.max_pool2d_backward(grad, where, x.shape)}


def avg_pool2d(k, x, grad, kernel_size, **options):
    return {
        "out": k.avg_pool2d(x, kernel_size, **options),
        "grad_x": k.avg_pool2d_backward(grad, x.shape, kernel_size, **options),
    }


def global_avg_pool2d(k, x, grad):
    return {
        "out": k.global_avg_pool2d(x),
        "grad_x": k.global_avg_pool2d_backward(grad, x.shape),
    }


def activation(name):
    def call(k, x, grad, **options):
        out = getattr(k, name)(x, **options)
        return {"out": out, "grad_x": getattr(k, f"{name}_backward")(grad, out, **options)}

    return call


def loss(name):
    def call(k, x, **arguments):
        value, grad = getattr(k, name)(x, **arguments)
        return {"out": value, "grad_x": grad}

    return call


ACTIVATIONS = ("relu", "leaky_relu", "sigmoid", "tanh", "softmax")
LOSSES = (
    "l1_loss",
    "mse_loss",
    "smooth_l1_loss",
    "binary_cross_entropy",
    "multilabel",
    "softmax_cross_entropy",
)

CALLS = (
    {
        function.__name__: function
        for function in (
            conv2d,
            conv1d,
            batchnorm,
            linear,
            max_pool2d,
            avg_pool2d,
            global_avg_pool2d,
        )
    }
    | {name: activation(name) for name in ACTIVATIONS}
    | {name: loss(name) for name in LOSSES}
)


def arguments(case, dtype):
    """Inputs and options of a recorded case, by name."""
    inputs = {
        name: np.array(values, np.int64 if name == "labels" else dtype)
        for name, values in case["inputs"].items()
    }
    return inputs | case["options"]
