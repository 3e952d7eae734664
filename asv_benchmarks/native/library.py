"""Each library's solvers, compiled once with the system's C++ compiler and called by ctypes."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from .objectives import Problems

SOURCES = Path(__file__).parent

# As fastopt itself is built, see setup.py.
FLAGS = ("-std=c++17", "-O3", "-DNDEBUG", "-ffp-contract=off", "-fopenmp", "-fPIC", "-shared")

ANSWER = np.dtype(
    [("value", "f8"), ("gradient_norm", "f8"), ("nfev", np.intp), ("iterations", np.intp)]
)


class Limits(ctypes.Structure):
    """When a solve ends, and how many pairs limited memory keeps."""

    _fields_ = (
        ("gtol", ctypes.c_double),
        ("maxiter", ctypes.c_ssize_t),
        ("pairs", ctypes.c_ssize_t),
    )


class Timed(ctypes.Structure):
    """An objective that is timed, whoever calls it: the context of `harness_timed`."""

    _fields_ = (
        ("function", ctypes.c_void_p),
        ("context", ctypes.c_void_p),
        ("seconds", ctypes.c_double),
        ("calls", ctypes.c_ssize_t),
    )


class Unavailable(NotImplementedError):
    """This machine lacks the compiler or the library: asv skips what raises it in its `setup`."""


@dataclass(frozen=True)
class Solutions:
    """Answers to a batch of problems, and how long they took."""

    x: np.ndarray  # (problems, n)
    answers: np.ndarray  # (problems,), of ANSWER
    seconds: float


@dataclass(frozen=True)
class Library:
    """One library: its source here, the header that shows that it is installed, how to link it."""

    name: str
    source: str
    header: str = ""
    link: tuple[str, ...] = ()
    package: str = ""  # pkg-config's name for where the headers are

    def solve(
        self,
        method: str,
        problems: Problems,
        *,
        gtol: float = 1e-5,
        maxiter: int = 10_000,
        pairs: int = 10,
        threads: int = 1,
    ) -> Solutions:
        """Each problem from its start until the largest element of the gradient is `gtol`."""
        x = np.array(problems.starts, dtype=np.float64, order="C")
        answers = np.zeros(len(x), dtype=ANSWER)
        limits = Limits(gtol, maxiter, pairs)
        seconds = self.loaded.harness_solve(
            method.encode(),
            problems.function.address,
            problems.contexts.ctypes.data,
            *x.shape,
            ctypes.byref(limits),
            x.ctypes.data,
            answers.ctypes.data,
            threads,
        )
        if seconds < 0:
            raise Unavailable(f"{self.name} has no {method}")
        return Solutions(x, answers, seconds)

    def evaluate(self, problems: Problems, *, repeats: int, threads: int = 1) -> float:
        """Seconds that the objective alone takes, `repeats` times at each start."""
        x = np.array(problems.starts, dtype=np.float64, order="C")
        return self.loaded.harness_evaluate(
            problems.function.address,
            problems.contexts.ctypes.data,
            *x.shape,
            repeats,
            x.ctypes.data,
            threads,
        )

    @cached_property
    def methods(self) -> tuple[str, ...]:
        names = []
        while (name := self.loaded.harness_method(len(names))) is not None:
            names.append(name.decode())
        return tuple(names)

    @cached_property
    def loaded(self) -> ctypes.CDLL:
        library = ctypes.CDLL(str(self.build()))
        size, address, threads = ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_int
        batch = (address, address, size, size)
        library.harness_method.argtypes = (size,)
        library.harness_method.restype = ctypes.c_char_p
        library.harness_solve.argtypes = (
            *(ctypes.c_char_p, *batch, address, address, address),
            threads,
        )
        library.harness_solve.restype = ctypes.c_double
        library.harness_evaluate.argtypes = (*batch, size, address, threads)
        library.harness_evaluate.restype = ctypes.c_double
        library.harness_read.argtypes = (address, size, size)
        library.harness_read.restype = ctypes.c_double
        return library

    def build(self) -> Path:
        """The shared library, compiled unless these sources have been already."""
        sources = [SOURCES / self.source, SOURCES / "harness.cpp"]
        include = self.include_flags()
        if self.header and not has_header(self.header, include):
            raise Unavailable(f"{self.header} is not installed")
        command = [*FLAGS, *include, *map(str, sources), "-Wl,-z,defs", *self.link]
        texts = [path.read_text() for path in (*sources, SOURCES / "harness.h")]
        key = hashlib.sha256("\0".join([compiler_version(), *command, *texts]).encode())
        built = cache_folder() / f"{Path(self.source).stem}-{key.hexdigest()[:16]}.so"
        if not built.exists():
            unfinished = built.with_suffix(f".{os.getpid()}")
            run_compiler(*command, "-o", str(unfinished))
            unfinished.replace(built)
        return built

    def include_flags(self) -> list[str]:
        if not (self.package and shutil.which("pkg-config")):
            return []
        asked = subprocess.run(
            ["pkg-config", "--cflags", self.package], capture_output=True, text=True
        )
        return asked.stdout.split() if asked.returncode == 0 else []


def cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(root) / "fastopt" / "native"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run_compiler(*arguments: str, source: str = "") -> str:
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        raise Unavailable("there is no C++ compiler")
    ended = subprocess.run([compiler, *arguments], input=source, capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(f"{compiler} {' '.join(arguments)}\n{ended.stderr[:2000]}")
    return ended.stdout


@cache
def compiler_version() -> str:
    return run_compiler("--version")


def has_header(header: str, include: Sequence[str]) -> bool:
    question = f"#if !__has_include(<{header}>)\n#error\n#endif\n"
    try:
        run_compiler("-fsyntax-only", "-x", "c++", *include, "-", source=question)
    except RuntimeError:
        return False
    return True


BARE_LOOP = Library("bare loop", "bare.cpp")

LIBRARIES = {
    library.name: library
    for library in (
        BARE_LOOP,
        Library("liblbfgs", "liblbfgs.cpp", "lbfgs.h", ("-llbfgs",)),
        Library("LBFGSpp", "lbfgspp.cpp", "LBFGS.h", package="eigen3"),
        Library("GSL", "gsl.cpp", "gsl/gsl_multimin.h", ("-lgsl", "-lgslcblas")),
        Library("dlib", "dlib.cpp", "dlib/optimization.h"),
        Library("NLopt", "nlopt.cpp", "nlopt.h", ("-lnlopt",)),
    )
}
