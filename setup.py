"""The extension modules and how they are compiled; all else is in pyproject.toml.

``FASTOPT_DEBUG=1`` builds with bounds checks, assertions and ``-O1 -g``.
"""

import os
import platform
import sys
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("FASTOPT_DEBUG", "0") == "1"
MSVC = sys.platform == "win32"

# No -march=native: wheels run on other machines. No -ffast-math, and no contraction to fused
# multiply-adds: the same input gives the same bits everywhere.
if MSVC:
    COMPILE_ARGS = ["/Od", "/Zi"] if DEBUG else ["/O2", "/fp:precise"]
else:
    COMPILE_ARGS = ["-O1", "-g"] if DEBUG else ["-O3"]
    COMPILE_ARGS += ["-ffp-contract=off"]

# Modules of this ending are chosen at run time, on processors that have the instructions; on
# others they are never called, and compiled like the rest. Fused multiply-adds are not among them.
AVX2_ENDING = "_avx2"
AVX2_ARGS: list[str] = []
if not MSVC and platform.machine().lower() in ("x86_64", "amd64"):
    AVX2_ARGS = ["-Xarch_x86_64", "-mavx2"] if sys.platform == "darwin" else ["-mavx2"]

MACROS = [("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")]
if not DEBUG:
    MACROS.append(("NDEBUG", "1"))

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": False,
    "initializedcheck": DEBUG,
    "cdivision": True,
    "embedsignature": True,
    "embedsignature.format": "python",
}


def extensions() -> list[Extension]:
    return [
        Extension(
            ".".join(source.with_suffix("").parts),
            [str(source)],
            include_dirs=[np.get_include()],
            define_macros=MACROS,
            undef_macros=["NDEBUG"] if DEBUG else [],
            extra_compile_args=COMPILE_ARGS
            + (AVX2_ARGS if source.stem.endswith(AVX2_ENDING) else []),
        )
        for source in sorted(Path("fastopt").rglob("*.pyx"))
    ]


setup(ext_modules=cythonize(extensions(), compiler_directives=DIRECTIVES))
