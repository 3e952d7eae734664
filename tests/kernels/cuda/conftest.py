"""Functions of kernels on a device, for arrays of the CPU."""

import numpy as np
import pytest

from fastopt import kernels


class OnDevice:
    """:mod:`fastopt.kernels` for arrays of the CPU: each goes to a device, and each result back."""

    def __init__(self, device, module=kernels):
        self._device, self._module = device, module

    def __getattr__(self, name):
        function = getattr(self._module, name)

        def call(*args, **named):
            args, named = _deep(self._there, args), _deep(self._there, named)
            return _deep(self._back, function(*args, **named))

        return call

    def _there(self, value):
        return self._device.array(value) if isinstance(value, np.ndarray) else value

    @staticmethod
    def _back(value):
        return value.get() if hasattr(value, "__cuda_array_interface__") else value


def _deep(change, value):
    """`change` of all that is in tuples, lists and dicts."""
    if isinstance(value, dict):
        return {name: _deep(change, each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_deep(change, each) for each in value)
    return change(value)


@pytest.fixture
def on_device(device):
    """The functions of :mod:`fastopt.kernels`, run on a device, for arrays of the CPU."""
    return OnDevice(device)
