"""Small kernels, run in the emulator."""

import numpy as np
import pytest


@pytest.fixture
def run():
    """A function that launches a kernel over arrays and numbers, and gives the arrays back."""
    pytest.importorskip("greenlet")
    from fastopt.testing.cuda import emulated_device

    def launch(kernel, *arguments, grid=(1,)):
        with emulated_device() as device:
            arrays = {
                k: device.array(value)
                for k, value in enumerate(arguments)
                if isinstance(value, np.ndarray)
            }
            kernel.launch(
                grid,
                *(
                    arrays[k].__cuda_array_interface__["data"][0] if k in arrays else value
                    for k, value in enumerate(arguments)
                ),
            )
            return [each.get() for each in arrays.values()]

    return launch
