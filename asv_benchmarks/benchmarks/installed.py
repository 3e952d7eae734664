"""Libraries that may be missing, each set up once to be timed.

A function returns the library's module, or raises NotImplementedError: in a benchmark's `setup`
that is asv's way to skip a combination of parameters. Imports nothing of fastopt's, so that an
interpreter without it can time the others.
"""

from __future__ import annotations

import os
import warnings
from importlib import import_module
from typing import Any


def find(name: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # jaxopt's farewell
            return import_module(name)
    except ImportError:
        raise NotImplementedError(f"{name.partition('.')[0]} is not installed") from None


def torch(threads: int = 1) -> Any:
    module = find("torch")
    module.set_num_threads(threads)
    return module


def jax() -> Any:
    """In double precision, and in the thread that calls it."""
    module = find("jax")
    module.config.update("jax_enable_x64", True)
    module.config.update("jax_cpu_enable_async_dispatch", False)
    return module


def bind_to_one_processor() -> None:
    """Where the system can; before a library counts the processors."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def limit_threads(of: str | None = None) -> Any:
    """BLAS, or all, to one thread from here on: the limits; None without threadpoolctl."""
    try:
        return find("threadpoolctl").threadpool_limits(1, user_api=of)
    except NotImplementedError:
        return None
