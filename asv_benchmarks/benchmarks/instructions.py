"""Instructions that the core loops execute: a number that load and clock rates leave alone.

Counted by valgrind's callgrind, in one process for all, with a dump after each loop; skipped where
there is no valgrind. Loops run once before they count, so that compiling is no part of it.
``python -m benchmarks.instructions``, from the folder above, prints them.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import fastopt
from fastopt.interface import batches
from fastopt.interface.methods import METHODS

# asv takes a class that is imported by name for one more benchmark.
from . import latency, peers, steps

# Long enough for talking to callgrind to be less than a part in a thousand.
SOLVES = 100
BATCH = 2_000

# A loop, and how many times it does what is counted.
Loop = tuple[Callable[[], Any], int]


def an_evaluation(library: str, method: str) -> Loop:
    """Of a solver, with a recording in place of the function: see OwnTime."""
    own = latency.OwnTime()
    own.setup(library, method)

    # SciPy's take so many more that few are long enough.
    count = SOLVES if library == "fastopt" else SOLVES // 20

    def solves() -> None:
        for _ in range(count):
            own.solve(own.replay())

    return solves, count * own.nfev


def compiled_iteration(method: str, **options: Any) -> Loop:
    """Of a solve without the interpreter, the Rosenbrock function included."""
    made = peers.rosenbrock_problems(10, BATCH)
    solve = partial(
        fastopt.minimize_many,
        made.fun,
        made.starts,
        method=method,
        jac="inplace",
        workers=1,
        options={"compile": True, **options},
    )
    return solve, int(solve().nit.sum())


def call_inside_njit(method: str) -> Loop:
    inside = latency.InsideNjit()
    inside.setup(method)
    return inside.solve, 1_000


def step(rule: str) -> Loop:
    """Of a thousand parameters."""
    take = steps.make("fastopt", rule, 1_000, "float32")

    def take_steps() -> None:
        for _ in range(BATCH):
            take()

    return take_steps, BATCH


LOOPS: dict[str, Callable[[], Loop]] = {
    **{
        f"fastopt {method}, an evaluation": partial(an_evaluation, "fastopt", method)
        for method in METHODS
    },
    **{
        f"scipy {method}, an evaluation": partial(an_evaluation, "scipy", method)
        for method in ("bfgs", "l-bfgs", "cg")
    },
    **{
        f"{method}, an iteration": partial(compiled_iteration, method)
        for method in ("bfgs", "l-bfgs", "cg", "newton-cg")
    },
    "adam, an iteration": partial(compiled_iteration, "adam", lr=1e-2, maxiter=100),
    # Its default is in the iterations above.
    "more-thuente in bfgs, an iteration": partial(
        compiled_iteration, "bfgs", line_search="more-thuente"
    ),
    "minimize inside njit, a call": partial(call_inside_njit, "bfgs"),
    **{f"{rule}, a step": partial(step, rule) for rule in ("gd", "momentum", "adam", "adamw")},
}


class Instructions:
    """Of each loop."""

    params = (list(LOOPS),)
    param_names = ("loop",)
    unit = "instructions"
    version = "2"  # batches in one part
    timeout = 900

    def setup_cache(self) -> dict[str, float]:
        return counted(list(LOOPS)) if has_valgrind() else {}

    setup_cache.timeout = 900

    def setup(self, found: dict[str, float], loop: str) -> None:
        if loop not in found:
            raise NotImplementedError("there is no valgrind")

    def track_instructions(self, found: dict[str, float], loop: str) -> float:
        return found[loop]


def has_valgrind() -> bool:
    return bool(shutil.which("valgrind") and shutil.which("vgdb"))


def counted(loops: list[str]) -> dict[str, float]:
    """Instructions of each, run in a process under callgrind."""
    with tempfile.TemporaryDirectory() as folder:
        dumps = Path(folder) / "callgrind.out"
        command = ["valgrind", "--tool=callgrind", "--instr-atstart=no"]
        command += [f"--callgrind-out-file={dumps}", f"--vgdb-prefix={folder}/vgdb"]
        command += [sys.executable, "-m", "benchmarks.instructions", folder, *loops]
        # Hashes and BLAS threads vary from run to run.
        fixed = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
        ended = subprocess.run(
            command,
            cwd=Path(__file__).parents[1],
            env=os.environ | fixed,
            capture_output=True,
            text=True,
        )
        if ended.returncode:
            raise RuntimeError(ended.stderr)
        times = json.loads(ended.stdout.splitlines()[-1])
        talk = instructions_in(Path(f"{dumps}.1"))
        return {
            loop: round((instructions_in(Path(f"{dumps}.{number}")) - talk) / count)
            for number, (loop, count) in enumerate(times.items(), start=2)
        }


def instructions_in(dump: Path) -> int:
    total = re.search(r"^totals: (\d+)$", dump.read_text(), re.MULTILINE)
    assert total is not None, dump
    return int(total[1])


def run_while_counted(folder: str, loops: list[str]) -> dict[str, int]:
    """Under callgrind, which dumps what each loop took; returns how many times each did it."""
    # Batches as a whole, in this thread: in how many parts others take them depends on the clock.
    batches.AT_ONCE_SECONDS = 1e6
    made = {name: LOOPS[name]() for name in loops}
    for loop, _ in made.values():
        loop()
    # Once: whenever it is switched, valgrind forgets what it has translated.
    tell_callgrind(folder, "instrumentation on")
    for loop in (nothing, *(loop for loop, _ in made.values())):
        tell_callgrind(folder, "zero")
        loop()
        tell_callgrind(folder, "dump")
    return {name: times for name, (_, times) in made.items()}


def nothing() -> None:
    """What talking to callgrind takes by itself."""


def tell_callgrind(folder: str, *commands: str) -> None:
    words = ["vgdb", f"--pid={os.getpid()}", f"--vgdb-prefix={folder}/vgdb"]
    for command in commands:
        words += ["-c", *command.split()]
    subprocess.run(words, check=True, capture_output=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(run_while_counted(sys.argv[1], sys.argv[2:])))
    elif has_valgrind():
        for loop, instructions in counted(list(LOOPS)).items():
            print(f"{loop:40}{instructions:12.0f}")
    else:
        print("valgrind is not installed")
