"""Instructions that a solver executes: a number that load and clock rates leave alone.

Counted by valgrind's callgrind, in a process of its own; skipped where there is no valgrind.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from fastopt.interface.methods import METHODS

from . import latency  # asv takes a class that is imported by name for one more benchmark
from .libraries import LIBRARIES, minimizer

N = 10
SOLVES = 20


class Instructions:
    """Of a solver, for each evaluation, with a recording in place of the function: see OwnTime."""

    params = (LIBRARIES, list(METHODS))
    param_names = ("library", "method")
    unit = "instructions"
    timeout = 600

    def setup(self, library: str, method: str) -> None:
        find_valgrind()
        minimizer(library, method)

    def track_instructions(self, library: str, method: str) -> float:
        instructions, nfev = counted("benchmarks.instructions", library, method)
        return round(instructions / (SOLVES * nfev))


def find_valgrind() -> None:
    if not (shutil.which("valgrind") and shutil.which("callgrind_control")):
        raise NotImplementedError("valgrind is not installed")


def counted(module: str, *arguments: str) -> tuple[int, int]:
    """Instructions that a module executes while it has `count` switched on, and what it prints."""
    command = ["valgrind", "--tool=callgrind", "--instr-atstart=no"]
    command += ["--callgrind-out-file=/dev/null"]
    command += [sys.executable, "-m", module, *arguments]
    # Hashes and BLAS threads vary from run to run.
    fixed = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
    ended = subprocess.run(
        command,
        cwd=Path(__file__).parents[1],
        env=os.environ | fixed,
        capture_output=True,
        text=True,
        check=True,
    )
    collected = re.search(r"Collected : (\d+)", ended.stderr)
    assert collected is not None, ended.stderr
    return int(collected[1]), int(ended.stdout)


def solve_while_counted(library: str, method: str) -> None:
    """Run under callgrind, which counts the solves alone; print the evaluations of one."""
    own = latency.OwnTime()
    own.setup(library, method, N, "alone")
    own.solve(own.replay())
    count("on")
    for _ in range(SOLVES):
        own.solve(own.replay())
    count("off")
    print(own.nfev)


def count(switch: str) -> None:
    command = ["callgrind_control", "-i", switch, str(os.getpid())]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    solve_while_counted(*sys.argv[1:])
