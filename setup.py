"""The extension modules and how they are compiled; all else is in pyproject.toml.

``FASTOPT_DEBUG=1`` builds with bounds checks, assertions and ``-O1 -g``.
"""

import os
import platform
import sys
import tempfile
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

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

# Loops over millions of variables are shared by threads where the compiler has OpenMP, as macOS's
# has not. The source is the same without.
OPENMP = "/openmp" if MSVC else "-fopenmp"
SHARED_BY_THREADS = {"limited_memory", "limited_memory_avx2"}

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


class BuildExtensions(build_ext):
    """Adds OpenMP to the modules that use it, if the compiler can link it."""

    def build_extensions(self) -> None:
        if self.has_openmp():
            for extension in self.extensions:
                if extension.name.rpartition(".")[2] in SHARED_BY_THREADS:
                    extension.extra_compile_args.append(OPENMP)
                    if not MSVC:
                        extension.extra_link_args.append(OPENMP)
        super().build_extensions()

    def has_openmp(self) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "openmp.c")
            source.write_text("#include <omp.h>\nint main(void) { return !omp_get_num_procs(); }\n")
            try:
                objects = self.compiler.compile(
                    [str(source)], output_dir=folder, extra_postargs=[OPENMP]
                )
                self.compiler.link_executable(
                    objects, "openmp", output_dir=folder, extra_postargs=[] if MSVC else [OPENMP]
                )
            except (CompileError, LinkError):
                return False
        return True


setup(
    ext_modules=cythonize(extensions(), compiler_directives=DIRECTIVES),
    cmdclass={"build_ext": BuildExtensions},
)
