"""What every test may assume: no display, reproducible examples, nothing left behind.

And what the tests of several folders share: devices that kernels of a GPU run on, the emulator and,
with ``-m gpu``, a real one.
"""

import os
import signal
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from fastopt.device.arrays import ALLOCATORS

os.environ.setdefault("MPLBACKEND", "Agg")

# Examples are derived from the test itself, so that a red run is red again on the next machine;
# the nightly run draws fresh ones. No deadline: a test never measures time.
hypothesis.settings.register_profile("fastopt", derandomize=True, deadline=None)
hypothesis.settings.register_profile("nightly", max_examples=1000, deadline=None)
hypothesis.settings.load_profile("fastopt")


IN_CHECKOUT = Path(__file__).resolve().parents[1].joinpath(".ci").is_dir()


def pytest_runtest_setup(item):
    if item.get_closest_marker("checkout") and not IN_CHECKOUT:
        pytest.skip("reads files of a checkout, and this is none")


@pytest.fixture(autouse=True)
def interrupt_handler_is_restored():
    """A solve may borrow the handler of Ctrl-C; when it ends, however it ends, it gives it back."""
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before


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

        dtype = np.dtype(dtype)
        return cupy.full(shape, np.nan if dtype.kind == "f" else np.array(-1).astype(dtype), dtype)
