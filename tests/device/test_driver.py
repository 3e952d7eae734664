"""What the CUDA driver is asked for, by a driver that only takes notes."""

import ctypes
import threading
from enum import IntEnum
from types import SimpleNamespace

import pytest

pytest.importorskip("numba_cuda")

from fastopt.core import _cuda
from fastopt.device import driver
from fastopt.device.driver import GPU, current, use
from fastopt.device.language import float32, float64, int32, int64, pointer, uint32
from fastopt.device.streams import on_stream


class Result(IntEnum):
    """As ``CUresult`` of the bindings is."""

    SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900


class NotedDriver:
    """Has the functions of ``cuda.bindings.driver``, and keeps what they are given.

    Attributes
    ----------
    calls : list of tuple
    context, device : int
        The current one.
    capabilities : dict
        Of devices.
    failing : str
        The function that returns an error.
    error : Result
        Which one.
    capturing : bool
    """

    CUdevice_attribute = SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR=0,
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR=1,
    )

    def __init__(self):
        self.calls = []
        self.context, self.device = 100, 0
        self.capabilities = {0: (9, 0), 1: (8, 0)}
        self.failing, self.error = None, Result.CUDA_ERROR_INVALID_VALUE
        self.capturing = False

    def named(self, name):
        return [call[1:] for call in self.calls if call[0] == name]

    def CUfunction(self, handle):
        return "function", handle

    def __getattr__(self, name):
        if not name.startswith("cu"):
            raise AttributeError(name)

        def call(*arguments):
            self.calls.append((name, *arguments))
            if name == self.failing:
                return (self.error,)
            answer = getattr(self, f"_{name}", lambda *arguments: ())
            return Result.SUCCESS, *answer(*arguments)

        return call

    def _cuCtxGetCurrent(self):
        return (self.context,)

    def _cuCtxGetDevice(self):
        return (self.device,)

    def _cuDeviceGetAttribute(self, attribute, device):
        return (self.capabilities[device][attribute],)

    def _cuLibraryLoadData(self, *arguments):
        return (1000 + len(self.named("cuLibraryLoadData")),)

    def _cuLibraryGetKernel(self, library, name):
        return (library + 1000,)

    def _cuStreamIsCapturing(self, stream):
        return (self.capturing,)

    def _cuMemcpyDtoHAsync(self, data, address, size, stream):
        data.raw = bytes(range(size))
        return ()

    def cuGetErrorString(self, error):
        return Result.SUCCESS, b"invalid argument"


class Compiled:
    """A kernel that is there already."""

    threads = 96
    parameters = (pointer(float32), int32, int64, uint32, float32, float64, pointer(int64))
    c_types = (
        ctypes.c_void_p,
        ctypes.c_int32,
        ctypes.c_int64,
        ctypes.c_uint32,
        ctypes.c_float,
        ctypes.c_double,
        ctypes.c_void_p,
    )

    def __init__(self):
        self.capabilities = []

    def machine_code(self, capability):
        self.capabilities.append(capability)
        return f"code of {capability}".encode(), "its name"

    def __repr__(self):
        return "<a kernel>"


@pytest.fixture
def noted(monkeypatch):
    noted = NotedDriver()
    monkeypatch.setattr(driver, "import_module", {"cuda.bindings.driver": noted}.__getitem__)
    return noted


ARGUMENTS = (4096, -1, 2**40, 7, 0.5, 0.25, 0)


def test_launch_has_grid_block_stream_and_typed_arguments(noted):
    gpu, kernel = GPU(), Compiled()
    with on_stream(77):
        gpu.launch(kernel, (5, 6, 7), ARGUMENTS)
    (launch,) = noted.named("cuLaunchKernel")
    function, *sizes, shared, stream, arguments, extra = launch
    assert function == ("function", 2001)
    assert sizes == [5, 6, 7, 96, 1, 1]
    assert (shared, stream, extra) == (0, 77, 0)
    assert arguments == (ARGUMENTS, Compiled.c_types)


def test_code_is_loaded_by_its_name_and_once(noted):
    gpu, kernel = GPU(), Compiled()
    for _ in range(3):
        gpu.launch(kernel, (1, 1, 1), ARGUMENTS)
    assert [arguments[0] for arguments in noted.named("cuLibraryLoadData")] == [b"code of (9, 0)"]
    assert noted.named("cuLibraryGetKernel") == [(1001, b"its name")]
    assert len(noted.named("cuLaunchKernel")) == 3


def test_a_second_launch_asks_the_driver_for_the_context_alone(noted):
    gpu, kernel = GPU(), Compiled()
    gpu.launch(kernel, (1, 1, 1), ARGUMENTS)
    noted.calls.clear()
    gpu.launch(kernel, (1, 1, 1), ARGUMENTS)
    assert [call[0] for call in noted.calls] == ["cuCtxGetCurrent", "cuLaunchKernel"]


def test_code_is_loaded_once_for_each_capability_and_not_for_each_context(noted):
    gpu, kernel = GPU(), Compiled()
    for context, device in ((100, 0), (200, 1), (300, 0), (100, 0), (200, 1)):
        noted.context, noted.device = context, device
        gpu.launch(kernel, (1, 1, 1), ARGUMENTS)
    assert kernel.capabilities == [(9, 0), (8, 0)]
    handles = [launch[0][1] for launch in noted.named("cuLaunchKernel")]
    assert handles == [2001, 2002, 2001, 2001, 2002]


@pytest.mark.parametrize(
    "use",
    [
        lambda gpu: gpu.launch(Compiled(), (1, 1, 1), ARGUMENTS),
        lambda gpu: gpu.read(4096, 3),
        lambda gpu: gpu.write(4096, b"abc"),
        lambda gpu: gpu.wait(),
    ],
    ids=["launch", "read", "write", "wait"],
)
def test_a_context_is_made_where_there_is_none(noted, monkeypatch, use):
    def make():
        noted.context = 400

    monkeypatch.setattr(_cuda.load(), "current_context", make)
    noted.context = 0
    use(GPU())
    assert noted.context == 400


def test_reading_waits_for_the_stream(noted):
    with on_stream(5):
        assert GPU().read(4096, 3) == b"\x00\x01\x02"
    *_, copy, wait = noted.calls
    assert copy[0] == "cuMemcpyDtoHAsync"
    assert copy[2:] == (4096, 3, 5)
    assert wait == ("cuStreamSynchronize", 5)


def test_neither_launching_nor_writing_waits(noted):
    gpu = GPU()
    with on_stream(5):
        gpu.write(4096, b"abc")
        gpu.launch(Compiled(), (1, 1, 1), ARGUMENTS)
    assert noted.named("cuMemcpyHtoDAsync") == [(4096, b"abc", 3, 5)]
    assert not any("Synchronize" in call[0] for call in noted.calls)


def test_writing_into_a_graph_is_refused(noted):
    noted.capturing = True
    with pytest.raises(RuntimeError, match="written to while a CUDA graph is captured: make what"):
        GPU().write(4096, b"abc")
    assert noted.named("cuMemcpyHtoDAsync") == []


@pytest.mark.parametrize(
    ("failing", "use"),
    [
        ("cuCtxSynchronize", lambda gpu: gpu.wait()),
        ("cuStreamSynchronize", lambda gpu: gpu.read(4096, 3)),
    ],
)
def test_waiting_for_a_graph_is_refused_with_advice(noted, failing, use):
    noted.failing, noted.error = failing, Result.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED
    with pytest.raises(RuntimeError, match=f"{failing}: it cannot be done while a CUDA graph is"):
        use(GPU())


def test_waiting_is_for_all_streams(noted):
    with on_stream(5):
        GPU().wait()
    assert noted.calls[-1] == ("cuCtxSynchronize",)


@pytest.mark.parametrize(
    ("failing", "message"),
    [
        ("cuLaunchKernel", "the CUDA driver refuses to launch <a kernel>: invalid argument"),
        ("cuLibraryLoadData", "the CUDA driver refuses cuLibraryLoadData: invalid argument"),
        ("cuCtxGetDevice", "the CUDA driver refuses cuCtxGetDevice: invalid argument"),
    ],
)
def test_what_the_driver_refuses_is_said_in_its_words(noted, failing, message):
    noted.failing = failing
    with pytest.raises(RuntimeError, match=message):
        GPU().launch(Compiled(), (1, 1, 1), ARGUMENTS)


def test_a_launch_that_was_refused_can_be_repeated(noted):
    gpu, kernel = GPU(), Compiled()
    noted.failing = "cuLibraryLoadData"
    with pytest.raises(RuntimeError):
        gpu.launch(kernel, (1, 1, 1), ARGUMENTS)
    noted.failing = None
    gpu.launch(kernel, (1, 1, 1), ARGUMENTS)
    assert len(noted.named("cuLaunchKernel")) == 1


def test_the_gpu_is_opened_once_and_when_it_is_asked_for(noted, monkeypatch):
    monkeypatch.setattr(driver, "_gpu", [])
    stand_in = SimpleNamespace()
    with use(stand_in):
        assert current() is stand_in
    assert driver._gpu == []
    assert isinstance(current(), GPU)
    assert current() is current()


def test_what_stands_in_does_so_in_all_threads_and_ends_with_its_block():
    outer, inner, seen = object(), object(), []
    with use(outer):
        with use(inner):
            thread = threading.Thread(target=lambda: seen.append(current()))
            thread.start()
            thread.join()
        assert current() is outer
    assert seen == [inner]
    assert driver._standing_in == []
