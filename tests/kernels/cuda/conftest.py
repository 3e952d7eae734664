"""Devices that kernels of a GPU are tested on: the emulator, and with ``-m gpu`` a real one."""

import numpy as np
import pytest

from fastopt import kernels
from fastopt.device.arrays import ALLOCATORS


@pytest.fixture(params=["emulator", pytest.param("gpu", marks=pytest.mark.gpu)])
def device(request, monkeypatch):
    """What makes arrays: ``array(ndarray)`` and ``empty(shape, dtype)``, which have ``get()``."""
    pytest.importorskip("numba_cuda")
    if request.param == "emulator":
        pytest.importorskip("greenlet")
        from fastopt.testing.cuda import emulated_device

        with emulated_device() as emulated:
            yield emulated
        return
    cupy = pytest.importorskip("cupy")
    if not cupy.cuda.is_available():
        pytest.skip("there is no GPU")
    monkeypatch.setitem(ALLOCATORS, "cupy", lambda like, *args: RealDevice.empty(*args))
    yield RealDevice


class RealDevice:
    """A GPU, by CuPy's arrays. New ones are NaN or -1, as the emulator's are."""

    @staticmethod
    def array(values):
        import cupy

        return cupy.asarray(values)

    @staticmethod
    def empty(shape, dtype=np.float64):
        import cupy

        out = cupy.empty(shape, dtype)
        out.view(np.uint8).fill(0xFF)
        return out


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
