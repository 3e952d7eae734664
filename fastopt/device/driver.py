"""What kernels are launched on: the GPU of this machine, or what stands in for it in tests.

Owns loaded code and launches, through NVIDIA's own bindings of the CUDA driver. Knows
nothing of arrays and of what kernels compute. Nothing here waits for the GPU but :meth:`read`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Protocol

from fastopt.core import _cuda
from fastopt.device.streams import current_stream

__all__ = ["GPU", "Code", "Device", "current", "use"]


class Code(Protocol):
    """What a device has to know of a kernel."""

    parameters: tuple[Any, ...]
    threads: int

    def machine_code(self, capability: tuple[int, int]) -> tuple[bytes, str]: ...


class Device(Protocol):
    """What runs kernels."""

    def launch(self, kernel: Any, grid: tuple[int, int, int], arguments: Sequence[Any]) -> None:
        """Put a kernel with its arguments on the current stream."""

    def read(self, address: int, size: int) -> bytes:
        """Bytes of its memory, as they are after all that is on the current stream."""

    def write(self, address: int, data: bytes) -> None:
        """Put bytes into its memory, after all that is on the current stream."""


class GPU:
    """The GPU whose context is current, or else the first."""

    def __init__(self) -> None:
        _cuda.load()
        self._driver = import_module("cuda.bindings.driver")
        self._capabilities: dict[int, tuple[int, int]] = {}
        self._functions: dict[tuple[Code, tuple[int, int]], tuple[Any, tuple[Any, ...]]] = {}

    def launch(self, kernel: Code, grid: tuple[int, int, int], arguments: Sequence[Any]) -> None:
        """Put a kernel with its arguments on the current stream."""
        key = kernel, self._capability()
        found = self._functions.get(key)
        if found is None:
            types = tuple(map(_c_type, kernel.parameters))
            found = self._functions[key] = self._load(*key), types
        function, types = found
        self._call(
            "cuLaunchKernel",
            function,
            *grid,
            kernel.threads,
            1,
            1,
            0,
            current_stream(),
            (tuple(arguments), types),
            0,
        )

    def read(self, address: int, size: int) -> bytes:
        """Bytes of its memory, as they are after all that is on the current stream."""
        data = ctypes.create_string_buffer(size)
        self._call("cuMemcpyDtoHAsync", data, address, size, current_stream())
        self._call("cuStreamSynchronize", current_stream())
        return data.raw

    def write(self, address: int, data: bytes) -> None:
        """Put bytes into its memory, after all that is on the current stream."""
        self._call("cuMemcpyHtoDAsync", address, data, len(data), current_stream())

    def _load(self, kernel: Code, capability: tuple[int, int]) -> Any:
        code, name = kernel.machine_code(capability)
        library = self._call("cuLibraryLoadData", code, [], [], 0, [], [], 0)
        function = self._call("cuLibraryGetKernel", library, name.encode())
        return self._driver.CUfunction(int(function))

    def _capability(self) -> tuple[int, int]:
        """Of the device of the current context, which is made if there is none."""
        if int(self._call("cuCtxGetCurrent")) == 0:
            _cuda.load().current_context()
        device = self._call("cuCtxGetDevice")
        if int(device) not in self._capabilities:
            names = self._driver.CUdevice_attribute
            major, minor = (
                self._call("cuDeviceGetAttribute", attribute, device)
                for attribute in (
                    names.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                    names.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                )
            )
            self._capabilities[int(device)] = major, minor
        return self._capabilities[int(device)]

    def _call(self, name: str, *arguments: Any) -> Any:
        """A function of the driver; its result, or RuntimeError with what went wrong."""
        error, *results = getattr(self._driver, name)(*arguments)
        if int(error):
            _, text = self._driver.cuGetErrorString(error)
            reason = text.decode() if isinstance(text, bytes) else str(error)
            raise RuntimeError(f"the CUDA driver refuses {name}: {reason}")
        return results[0] if results else None


def _c_type(parameter: Any) -> Any:
    types = _cuda.load().types
    if isinstance(parameter, types.CPointer):
        return ctypes.c_void_p
    return getattr(ctypes, _C_NAMES[str(parameter)])


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
