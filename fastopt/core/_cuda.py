"""The only import of numba-cuda: what fastopt needs of it, and where its versions differ.

Importing numba-cuda takes a second, so nothing does until a GPU, or a kernel, is asked for. Nothing
here needs a driver but :func:`describe_device`: kernels are compiled where there is no GPU, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module, metadata
from textwrap import shorten
from types import ModuleType
from typing import Any

import numpy as np

__all__ = ["assemble", "compile_ptx", "describe_device", "load"]

Capability = tuple[int, int]


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
    try:
        metadata.version("numba-cuda")
    except metadata.PackageNotFoundError:
        raise ImportError(
            "arrays on a GPU need numba-cuda, which is not installed: pip install 'fastopt[cuda]'"
        ) from None
    with _row_stack():
        import_module("numba.cuda.np.arrayobj")
    return import_module("numba.cuda")


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


def describe_device() -> str:
    """The CUDA device that kernels would run on, or why there is none."""
    try:
        version = metadata.version("numba-cuda")
    except metadata.PackageNotFoundError:
        return "none: numba-cuda is not installed (pip install 'fastopt[cuda]')"
    try:
        device = load().get_current_device()
        major, minor = device.compute_capability
        name = device.name
    # A missing driver, a broken one and a mismatched one each raise a type of their own, and a
    # report on the machine has to come out in each case.
    except Exception as error:
        reason = shorten(str(error) or type(error).__name__, 160, placeholder=" ...")
        return f"none: numba-cuda {version} finds no device ({reason})"
    label = name.decode() if isinstance(name, bytes) else str(name)
    return f"{label}, compute capability {major}.{minor}, numba-cuda {version}"
