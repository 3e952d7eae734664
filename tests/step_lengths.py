"""Options with which first-order methods do what tests of every method ask of them."""

from fastopt.interface.methods import find_method


def step_length(method, lr):
    """A step length for those methods that have one."""
    row = find_method(method or "bfgs")
    return {"lr": lr} if row.rule and row.options["lr"].default is not None else {}


def converging(method):
    """With these, a first-order method brings the gradient of a parabola below its default gtol."""
    own = {
        "adadelta": {"eps": 0.01},
        "adagrad": {"lr": 1.0},
        "rmsprop-momentum": {"lr": 0.01, "decay": 0.999},
        "adamw": {"weight_decay": 0.0},
    }
    return {**step_length(method, 0.1), **own.get(method, {})}
