"""Kernels of the CPU in the place of those of a GPU that are not written yet.

They are launched as those are, on the emulator, whose memory the CPU can read.
"""

from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest

from fastopt.device import driver
from fastopt.device.arrays import DeviceArray
from fastopt.device.language import float64, pointer
from fastopt.nn.places import Kernels

__all__ = ["KernelsOfAGPU", "let_launch"]

# What networks call.
NAMES = {
    "activations": [
        f"{name}{end}"
        for name in ("leaky_relu", "relu", "sigmoid", "tanh")
        for end in ("", "_backward")
    ],
    "arithmetic": ["accumulate", "add", "add_relu", "copy_channels"],
    "batchnorm": ["backward", "forward", "inference", "update_running"],
    "convolution": ["Convolution"],
    "copies": ["copy", "increment"],
    "dropout": ["dropout"],
    "linear": ["Linear", "backward_bias"],
    "losses": [
        "binary_cross_entropy",
        "l1",
        "mse",
        "multilabel",
        "smooth_l1",
        "softmax_cross_entropy",
    ],
    "pooling": [
        f"{name}_pool2d{end}" for name in ("avg", "global_avg", "max") for end in ("", "_backward")
    ],
}


class KernelsOfAGPU(Kernels):
    """The kernels of a GPU, and stand-ins where there are none."""

    def __init__(self, device):
        super().__init__("cuda")
        self._device = device

    def __getattr__(self, name):
        on_cpu = import_module(f"fastopt.kernels.cpu.{name}")
        try:
            module = import_module(f"fastopt.kernels.cuda.{name}")
        except ModuleNotFoundError:
            module = None
        chosen = SimpleNamespace(
            **{
                each: getattr(module, each, None) or self._stand_in(getattr(on_cpu, each))
                for each in NAMES[name]
            }
        )
        setattr(self, name, chosen)
        return chosen

    def _stand_in(self, function):
        if not hasattr(self._device, "launches"):
            pytest.skip("kernels of this network are not written yet")
        return _class_of(function) if isinstance(function, type) else _function_of(function)


def _function_of(function):
    def call(*arguments):
        return StandIn(function, arguments).launch()

    return call


def _class_of(plan):
    class Plan:
        def __init__(self, *arguments):
            self._plan = plan(*arguments)
            self.workspace = self._plan.workspace

        def __getattr__(self, name):
            return _function_of(getattr(self._plan, name))

    return Plan


class StandIn:
    """A kernel that a function of the CPU computes."""

    threads = 1

    def __init__(self, function, arguments):
        self.function, self.arguments = function, arguments
        self.arrays = [each for each in arguments if isinstance(each, DeviceArray)]
        self.result = None
        if function.__module__.endswith(".losses"):
            self.result = self.arrays[0].empty((), np.float64)
        self.parameters = [pointer(float64)] * (len(self.arrays) + 1)

    def launch(self):
        addresses = [each.address for each in self.arrays]
        addresses.append(0 if self.result is None else self.result.address)
        driver.current().launch(self, (1, 1, 1), addresses)
        return self.result

    def compute(self, device, addresses):
        known = {}

        def array(like, address):
            # One object for one array: by it kernels know that they overwrite what they read.
            key = address, like.shape, like.dtype
            if key not in known:
                memory, start = device._find(address, like.nbytes)
                part = memory[start : start + like.nbytes]
                known[key] = part.view(like.dtype).reshape(like.shape)
            return known[key]

        come = iter(addresses)
        with np.errstate(all="ignore"):
            value = self.function(
                *(
                    array(each, next(come)) if isinstance(each, DeviceArray) else each
                    for each in self.arguments
                )
            )
        if self.result is not None:
            array(self.result, next(come))[...] = value


def let_launch(device, monkeypatch):
    """Let the emulator launch stand-ins."""
    launch = device.launch

    def launch_any(kernel, grid, arguments):
        if not isinstance(kernel, StandIn):
            launch(kernel, grid, arguments)
            return
        device.launches.append((kernel, grid))
        kernel.compute(device, arguments)

    monkeypatch.setattr(device, "launch", launch_any)
