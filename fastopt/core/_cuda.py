"""The only import of numba-cuda.

Importing it takes a second and may look for a driver, so nothing does until a GPU is asked for.
"""

from __future__ import annotations

from importlib import import_module, metadata
from textwrap import shorten

__all__ = ["describe_device"]


def describe_device() -> str:
    """The CUDA device that kernels would run on, or why there is none."""
    try:
        version = metadata.version("numba-cuda")
    except metadata.PackageNotFoundError:
        return "none: numba-cuda is not installed (pip install 'fastopt[cuda]')"
    try:
        device = import_module("numba.cuda").get_current_device()
        major, minor = device.compute_capability
        name = device.name
    # A missing driver, a broken one and a mismatched one each raise a type of their own, and a
    # report on the machine has to come out in each case.
    except Exception as error:
        reason = shorten(str(error) or type(error).__name__, 160, placeholder=" ...")
        return f"none: numba-cuda {version} finds no device ({reason})"
    label = name.decode() if isinstance(name, bytes) else str(name)
    return f"{label}, compute capability {major}.{minor}, numba-cuda {version}"
