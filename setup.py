"""The extension modules and how they are compiled; all else is in pyproject.toml.

``FASTOPT_DEBUG=1`` builds with bounds checks, assertions and ``-O1 -g``.
"""

import os
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
    COMPILE_ARGS = ["/Od", "/Z7"] if DEBUG else ["/O2", "/fp:precise"]
else:
    # Python's own flags may ask for debugging symbols, which make a wheel of 2 MB one of 9.
    COMPILE_ARGS = ["-O1", "-g"] if DEBUG else ["-O3", "-g0"]
    COMPILE_ARGS += ["-ffp-contract=off"]

# Modules of this ending are called only on processors that have the instructions, and have them in
# their loops only (`fastopt_wide` in core/four.pxd): by a flag for the whole file the code that
# loads the module would use them, too, and end the process on every other processor.
AVX2_ENDING = "_avx2"
AVX2_MACROS = [("FASTOPT_AVX2", "1")]

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
            define_macros=MACROS + (AVX2_MACROS if source.stem.endswith(AVX2_ENDING) else []),
            undef_macros=["NDEBUG"] if DEBUG else [],
            extra_compile_args=list(COMPILE_ARGS),
        )
        for source in sorted(Path("fastopt").rglob("*.pyx"))
    ]


class BuildExtensions(build_ext):
    """Adds OpenMP to the modules that use it, if the compiler can link it; uses all processors."""

    def initialize_options(self) -> None:
        super().initialize_options()
        self.parallel = os.cpu_count()

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
