"""The only import of numba-cuda: what fastopt needs of it, and where its versions differ.

Importing numba-cuda takes a second, so nothing does until a GPU, or a kernel, is asked for. Nothing
here needs a driver: kernels are compiled where there is no GPU, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module, metadata
from importlib.util import find_spec
from textwrap import shorten
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np

__all__ = ["assemble", "compile_ptx", "describe_cuda", "load"]

Capability = tuple[int, int]

# `cache` lets several threads in, of which one would take away the name that another needs.
_loading = Lock()


@cache
def load() -> ModuleType:
    """The module ``numba.cuda`` of numba-cuda.

    Returns
    -------
    module

    Raises
    ------
    ImportError
        If numba-cuda is not installed.
    """
    if not _is_installed():
        raise ImportError(
            "arrays on a GPU need numba-cuda, which is not installed: pip install 'fastopt[cuda]'"
        )
    with _loading, _row_stack():
        import_module("numba.cuda.np.arrayobj")
    return import_module("numba.cuda")


def _is_installed() -> bool:
    # numba.cuda alone may be Numba's own, which is an older one.
    return find_spec("numba_cuda") is not None


@contextmanager
def _row_stack() -> Iterator[None]:
    """numba-cuda 0.30.4 names ``np.row_stack``, which NumPy 2.5 has no more, where it is loaded."""
    if hasattr(np, "row_stack"):
        yield
        return
    np.row_stack = np.vstack  # noqa: NPY201
    try:
        yield
    finally:
        del np.row_stack  # noqa: NPY201


def compile_ptx(
    function: Callable[..., None],
    parameters: Sequence[Any],
    capability: Capability,
    threads: int,
    blocks: int = 1,
) -> tuple[str, str]:
    """The PTX of a kernel, without a driver.

    No ``fastmath``: it flushes denormals and approximates divisions and roots. Products and sums
    are contracted all the same.

    Parameters
    ----------
    function : callable
        A Python function that returns nothing.
    parameters : sequence of Numba types
        Those of its arguments.
    capability : (int, int)
        Compute capability to compile for, such as (9, 0).
    threads : int
        Threads of a block, at most.
    blocks : int, default 1
        Blocks that a multiprocessor must be able to hold at once, which bounds the registers.

    Returns
    -------
    ptx, name : str
        The code, and the name of the kernel in it.
    """
    ptx, _ = load().compile(
        function,
        tuple(parameters),
        device=False,
        abi="numba",
        cc=capability,
        output="ptx",
        launch_bounds=(threads, blocks),
    )
    found = re.search(r"\.visible \.entry (\w+)\(", ptx)
    assert found, "a kernel has one entry"
    return ptx, found[1]


def assemble(ptx: str, capability: Capability) -> bytes:
    """Machine code for GPUs of a compute capability, without a driver."""
    load()
    core = import_module("cuda.core")
    options = core.ProgramOptions(arch="sm_{}{}".format(*capability))
    code: bytes = core.Program(ptx, "ptx", options=options).compile("cubin").code
    return code


# --- what a report on the machine says ------------------------------------------------------------

# What compiles kernels; the names for CUDA 13, and for CUDA 12.
_COMPILERS = (
    *("cuda-toolkit", "nvidia-nvvm", "nvidia-nvjitlink", "nvidia-cuda-nvrtc"),
    *("nvidia-cuda-nvcc-cu12", "nvidia-nvjitlink-cu12", "nvidia-cuda-nvrtc-cu12"),
)
# To see whether kernels compile where there is no GPU to compile for.
_ANY_CAPABILITY = (8, 0)


def describe_cuda() -> dict[str, str]:
    """The GPU that kernels would run on, what they are compiled by, and whether they compile.

    Returns
    -------
    dict
        Name of a fact -> its value as text, which says what is missing or broken.
    """
    if not _is_installed():
        return {"device": "none: numba-cuda is not installed (pip install 'fastopt[cuda]')"}
    capability, device = _device()
    return {
        "device": device,
        "driver": _driver(),
        "numba-cuda": _versions("numba-cuda", "cuda-bindings", "cuda-core"),
        "compilers": _versions(*_COMPILERS),
        "kernels": _compilation(capability or _ANY_CAPABILITY),
    }


# A missing driver, a broken one and a mismatched one each raise a type of their own, and a report
# on the machine has to come out in each case: so these catch everything.


def _device() -> tuple[Capability | None, str]:
    try:
        device = load().get_current_device()
        major, minor = device.compute_capability
        name = device.name
    except Exception as error:
        return None, f"none that numba-cuda finds ({_reason(error)})"
    label = name.decode() if isinstance(name, bytes) else str(name)
    return (major, minor), f"{label}, compute capability {major}.{minor}"


def _driver() -> str:
    try:
        error, version = import_module("cuda.bindings.driver").cuDriverGetVersion()
    except Exception as missing:
        return f"none ({_reason(missing)})"
    return f"unknown ({error})" if error else f"for CUDA {version // 1000}.{version % 1000 // 10}"


def _versions(*packages: str) -> str:
    found = []
    for package in packages:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found) or "not from packages of Python"


def _compilation(capability: Capability) -> str:
    architecture = "sm_{}{}".format(*capability)
    try:
        types = load().types
        ptx, _ = compile_ptx(_store, [types.CPointer(types.float32)], capability, 32)
    except Exception as error:
        return f"cannot be compiled for {architecture} ({_reason(error)})"
    try:
        assemble(ptx, capability)
    except Exception as error:
        return f"compile to PTX, but not to machine code for {architecture} ({_reason(error)})"
    return f"compile for {architecture}"


def _store(numbers):  # type: ignore[no-untyped-def]
    """A kernel."""
    numbers[0] = 1


def _reason(error: Exception) -> str:
    return shorten(str(error) or type(error).__name__, 160, placeholder=" ...")
