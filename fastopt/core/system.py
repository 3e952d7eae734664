"""What a bug report needs to know about the machine, the interpreter and the libraries.

Owns the gathering of facts, as text. Knows nothing of how they are printed. Nothing here may
raise: a report is most wanted where something is broken.
"""

from __future__ import annotations

import importlib.machinery
import os
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from fastopt._version import __version__
from fastopt.core._cuda import describe_cuda

__all__ = ["describe_system"]

PACKAGE = Path(__file__).resolve().parents[1]

OPTIONAL = ("matplotlib", "rich", "tqdm", "scikit-learn", "threadpoolctl", "distributed")

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMBA_THREADING_LAYER",
)


def describe_system() -> dict[str, dict[str, str]]:
    """Facts by section: name of the fact -> its value as text.

    Examples
    --------
    >>> from fastopt.core.system import describe_system
    >>> list(describe_system())
    ['Versions', 'Build', 'Machine', 'BLAS', 'Numba', 'CUDA']
    """
    return {
        "Versions": _versions(),
        "Build": _build(),
        "Machine": _machine(),
        "BLAS": _blas(),
        "Numba": _numba(),
        "CUDA": describe_cuda(),
    }


def _attempt(question: Callable[[], str]) -> str:
    try:
        return question()
    except Exception as error:
        return f"unknown ({type(error).__name__}: {error})"


def _version_of(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _versions() -> dict[str, str]:
    return {
        "fastopt": f"{__version__} ({PACKAGE})",
        "Python": f"{platform.python_version()} {platform.python_implementation()}, "
        f"{platform.python_compiler()}",
        "NumPy": np.__version__,
        "SciPy": scipy.__version__,
        "Numba": f"{_version_of('numba')}, llvmlite {_version_of('llvmlite')}",
        "Cython": _version_of("cython"),
        "optional": ", ".join(f"{package} {_version_of(package)}" for package in OPTIONAL),
    }


def _kind_of_build() -> str:
    debug = import_module("fastopt.core.abi").DEBUG_BUILD
    return "debug, with checks" if debug else "optimised"


def _build() -> dict[str, str]:
    sources = {_module(path): path for path in PACKAGE.rglob("*.pyx")}
    # A wheel holds the binaries without their sources.
    binaries = {
        _module(path): path
        for suffix in importlib.machinery.EXTENSION_SUFFIXES
        for path in PACKAGE.rglob(f"*{suffix}")
    }
    missing = sorted(sources.keys() - binaries.keys())
    stale = sorted(
        name
        for name in sources.keys() & binaries.keys()
        if binaries[name].stat().st_mtime < sources[name].stat().st_mtime
    )
    facts = {
        "extension modules": f"{len(binaries)} of {len(sources.keys() | binaries.keys())} compiled "
        f"({importlib.machinery.EXTENSION_SUFFIXES[0]})"
    }
    facts["kind"] = _attempt(_kind_of_build)
    if missing:
        facts["not compiled"] = ", ".join(missing)
    if stale:
        facts["older than their source"] = ", ".join(stale)
    facts["C compiler of this Python"] = str(sysconfig.get_config_var("CC") or "unknown")
    return facts


def _module(path: Path) -> str:
    name, _, _ = path.name.partition(".")
    return ".".join(path.with_name(name).relative_to(PACKAGE.parent).parts)


def _machine() -> dict[str, str]:
    variables = {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ}
    return {
        "platform": platform.platform(),
        "CPU": _attempt(_processor),
        "cores": f"{os.cpu_count()}, of which this process may use {_usable_cores()}",
        "SIMD found": _attempt(_simd),
        "thread variables": ", ".join(f"{k}={v}" for k, v in variables.items()) or "none set",
        "free threading": "no" if getattr(sys, "_is_gil_enabled", lambda: True)() else "yes",
    }


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return platform.processor() or platform.machine()


def _usable_cores() -> int | None:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _simd() -> str:
    config: Any = np.show_config(mode="dicts")
    extensions = config["SIMD Extensions"]
    baseline, found = (" ".join(extensions.get(key, [])) for key in ("baseline", "found"))
    return f"{found or 'nothing'} above the baseline {baseline or 'nothing'} (NumPy)"


def _blas() -> dict[str, str]:
    facts = {
        "NumPy": _attempt(lambda: _linked_blas(np)),
        "SciPy": _attempt(lambda: _linked_blas(scipy)),
    }
    try:
        pools = import_module("threadpoolctl").threadpool_info()
    except ImportError:
        facts["threads"] = "unknown: threadpoolctl is not installed"
        return facts
    # SciPy's pool shows up once its BLAS is loaded.
    for index, pool in enumerate(pools):
        details = (pool.get(key) for key in ("internal_api", "version", "architecture"))
        facts[f"thread pool {index + 1}"] = (
            f"{' '.join(str(each) for each in details if each)}, {pool['num_threads']} threads"
        )
    return facts


def _linked_blas(library: Any) -> str:
    blas = library.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{blas['name']} {blas['version']}"


def _numba() -> dict[str, str]:
    try:
        config = import_module("numba").config
    except Exception as error:
        return {"not usable": f"{type(error).__name__}: {error}"}
    return {
        "threads": str(config.NUMBA_NUM_THREADS),
        "threading layer": str(config.THREADING_LAYER),
        "SVML": _attempt(lambda: _svml(config)),
        "JIT": "disabled" if config.DISABLE_JIT else "enabled",
        "cache": str(config.CACHE_DIR or "beside the source, or in the user's cache folder"),
    }


def _svml(config: Any) -> str:
    """Whether Numba uses Intel's library of vectorised functions, and if not, what keeps it."""
    if config.USING_SVML:
        return "in use: exp, log, sin and the like are vectorised in loops"
    if config.DISABLE_INTEL_SVML:
        reason = "NUMBA_DISABLE_INTEL_SVML is set"
    elif not import_module("llvmlite.binding.targets").has_svml():
        reason = "this llvmlite is built without it (0.44, for Numba 0.61, has it on x86-64)"
    else:
        reason = (
            "the library is not found. pip install intel-cmplr-lib-rt, and have the loader look "
            f"where it is (on Linux LD_LIBRARY_PATH={sys.prefix}/lib)"
        )
    return f"not in use, so loops call exp, log, sin and the like number by number: {reason}"
