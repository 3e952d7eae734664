"""What kernels are launched on: the GPU of this machine, or what stands in for it in tests.

Owns loaded code and launches, through NVIDIA's own bindings of the CUDA driver. Knows
nothing of arrays and of what kernels compute. Nothing here waits for the GPU but :meth:`read` and
:meth:`wait`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NoReturn, Protocol

from fastopt.core import _cuda
from fastopt.device.recording import current_recording
from fastopt.device.streams import current_stream

__all__ = ["GPU", "Code", "Device", "current", "use"]


class Code(Protocol):
    """What a device has to know of a kernel."""

    parameters: tuple[Any, ...]
    threads: int

    def machine_code(self, capability: tuple[int, int]) -> tuple[bytes, str]: ...


class Device(Protocol):
    """What runs kernels."""

    def launch(self, kernel: Any, grid: tuple[int, int, int], arguments: tuple[Any, ...]) -> None:
        """Put a kernel with its arguments on the current stream."""

    def read(self, address: int, size: int) -> bytes:
        """Bytes of its memory, as they are after all that is on the current stream."""

    def write(self, address: int, data: bytes) -> None:
        """Put bytes into its memory, after all that is on the current stream."""

    def wait(self) -> None:
        """Until all is done that is on any stream, as the launches of a CUDA graph may be."""


class GPU:
    """The GPU whose context is current, or else the first."""

    def __init__(self) -> None:
        self._cuda = _cuda.load()
        self._driver: Any = import_module("cuda.bindings.driver")
        # What to launch, and its arguments' types, by the handle of a context and a kernel. The
        # context of a GPU lasts as long as the process, and all libraries share it.
        self._ready: dict[tuple[int, Code], tuple[Any, tuple[Any, ...]]] = {}
        self._functions: dict[tuple[Code, tuple[int, int]], Any] = {}

    def launch(self, kernel: Code, grid: tuple[int, int, int], arguments: tuple[Any, ...]) -> None:
        """Put a kernel with its arguments on the current stream."""
        _, context = self._driver.cuCtxGetCurrent()
        ready = self._ready.get((int(context), kernel))
        function, types = ready or self._prepare(kernel)
        x, y, z = grid
        (error,) = self._driver.cuLaunchKernel(
            function, x, y, z, kernel.threads, 1, 1, 0, current_stream(), (arguments, types), 0
        )
        if error:
            self._refuse(f"to launch {kernel}", error)

    def read(self, address: int, size: int) -> bytes:
        """Bytes of its memory, as they are after all that is on the current stream."""
        data = ctypes.create_string_buffer(size)
        self._context()
        self._call("cuMemcpyDtoHAsync", data, address, size, current_stream())
        self._call("cuStreamSynchronize", current_stream())
        return data.raw

    def write(self, address: int, data: bytes) -> None:
        """Put bytes into its memory, after all that is on the current stream."""
        self._context()
        # A graph would read this memory again, when it is long gone.
        if self._call("cuStreamIsCapturing", current_stream()):
            raise RuntimeError(f"memory of a GPU cannot be written to {_CAPTURING}")
        # From memory that is not pinned: the driver has taken a copy when this returns.
        self._call("cuMemcpyHtoDAsync", address, data, len(data), current_stream())

    def wait(self) -> None:
        """Until all is done that is on any stream, as the launches of a CUDA graph may be."""
        self._context()
        self._call("cuCtxSynchronize")

    def _prepare(self, kernel: Code) -> tuple[Any, tuple[Any, ...]]:
        """Load a kernel for the GPU of the current context, which is made if there is none."""
        context = self._context()
        key = kernel, self._capability()
        if key not in self._functions:
            self._functions[key] = self._load(*key)
        types = tuple(self._c_type(parameter) for parameter in kernel.parameters)
        ready = self._ready[context, kernel] = self._functions[key], types
        return ready

    def _context(self) -> int:
        """The handle of the current context; a thread that has none gets the first GPU's."""
        context = int(self._call("cuCtxGetCurrent"))
        if context == 0:
            self._cuda.current_context()
            context = int(self._call("cuCtxGetCurrent"))
        return context

    def _load(self, kernel: Code, capability: tuple[int, int]) -> Any:
        code, name = kernel.machine_code(capability)
        library = self._call("cuLibraryLoadData", code, [], [], 0, [], [], 0)
        function = self._call("cuLibraryGetKernel", library, name.encode())
        return self._driver.CUfunction(int(function))

    def _capability(self) -> tuple[int, int]:
        device = self._call("cuCtxGetDevice")
        names = self._driver.CUdevice_attribute
        major, minor = (
            self._call("cuDeviceGetAttribute", attribute, device)
            for attribute in (
                names.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                names.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            )
        )
        return major, minor

    def _c_type(self, parameter: Any) -> Any:
        if isinstance(parameter, self._cuda.types.CPointer):
            return ctypes.c_void_p
        return getattr(ctypes, _C_NAMES[str(parameter)])

    def _call(self, name: str, *arguments: Any) -> Any:
        """What a function of the driver gives."""
        error, *results = getattr(self._driver, name)(*arguments)
        if error:
            self._refuse(name, error)
        return results[0] if results else None

    def _refuse(self, what: str, error: Any) -> NoReturn:
        _, text = self._driver.cuGetErrorString(error)
        reason = text.decode() if isinstance(text, bytes) else str(error)
        if "STREAM_CAPTURE" in error.name:
            reason = f"it cannot be done {_CAPTURING} ({reason})"
        raise RuntimeError(f"the CUDA driver refuses {what}: {reason}")


_CAPTURING = "while a CUDA graph is captured: make what the graph uses, and run it once, before"
_C_NAMES = {
    "int32": "c_int32",
    "int64": "c_int64",
    "uint32": "c_uint32",
    "float32": "c_float",
    "float64": "c_double",
}

# --- the current device ----------------------------------------------------------------

_standing_in: list[Device] = []
_gpu: list[GPU] = []


def current() -> Device:
    """What kernels are launched on."""
    recording = current_recording()
    if recording is not None:
        return recording
    if _standing_in:
        return _standing_in[-1]
    if not _gpu:
        _gpu.append(GPU())
    return _gpu[0]


@contextmanager
def use(device: Device) -> Iterator[None]:
    """Let a device stand in for the GPU: in all threads, until the end of the ``with`` block."""
    _standing_in.append(device)
    try:
        yield
    finally:
        _standing_in.remove(device)
