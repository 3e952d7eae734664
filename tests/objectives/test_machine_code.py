"""What machine code reaches, whether it was compiled here or comes from Numba's cache."""

import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from numba import njit, prange
from numba.core.codegen import CPUCodeLibrary
from numba.core.registry import cpu_target

import fastopt
from fastopt.objectives.machine_code import calls_interpreter, enters_threads

KEPT = []


def keep(array):
    KEPT.append(array)


@njit
def plain(x):
    if x[0] > 100.0:
        raise ValueError("too far", x[0])
    return ((x - 1.0) ** 2).sum()


@njit
def talking(x):
    with numba.objmode():
        keep(x)
    return plain(x)


@njit(parallel=True)
def threaded(x):
    total = 0.0
    for i in prange(x.size):
        total += (x[i] - 1.0) ** 2
    return total


def compiled(function):
    function(np.ones(3))
    return function


def test_an_ordinary_function_reaches_neither():
    assert not calls_interpreter(compiled(plain))
    assert not enters_threads(plain)


def test_what_is_reached_deeper_down_is_found():
    @njit
    def above(x):
        return talking(x) + threaded(x)

    assert not calls_interpreter(above)  # not compiled: nothing is known
    assert calls_interpreter(compiled(above))
    assert enters_threads(above)


def test_what_is_compiled_later_is_looked_at_then():
    @njit
    def either(x):
        return plain(x)

    assert not enters_threads(compiled(either))

    @njit
    def later(x, others):
        return others(x)

    later(np.ones(3), plain)
    assert not enters_threads(later)
    later(np.ones(3), threaded)
    assert enters_threads(later)


MODULE = """
import numba
import numpy as np
from numba import njit, prange

kept = []

def keep(array):
    kept.append(array)

@njit(cache=True)
def talking(x, y):
    with numba.objmode():
        keep(y)
    return ((x - y[0]) ** 2).sum()

@njit(cache=True, parallel=True)
def deep(x):
    total = 0.0
    for i in prange(100):
        total += (x[i % x.size] - 1.0) ** 2
    return total

@njit(cache=True, nogil=True)
def threaded(x):
    return deep(x)
"""

PROGRAM = """
import gc
import numpy as np
import fastopt
import functions

starts = np.random.default_rng(0).normal(size=(40, 2))
for compile in (True, False):
    ends = fastopt.minimize_many(
        functions.threaded, starts, workers=4, options={"compile": compile}
    )
    assert ends.success.all()

data = np.full(500_000, 7.0)
fastopt.minimize(functions.talking, [0.0], (data,), options={"compile": True, "maxiter": 1})
del data
gc.collect()
np.full(500_000, 1.0)  # would be put where the data were, if they were gone
assert functions.kept and all((array == 7.0).all() for array in functions.kept)
print(sum(functions.threaded.stats.cache_hits.values()))
"""


@pytest.mark.skipif(
    not hasattr(CPUCodeLibrary(cpu_target.target_context.codegen(), "probe"), "_reload_init"),
    reason="this version of Numba crashes where a cached function calls a parallel one",
)
def test_functions_from_numbas_cache_keep_their_arguments_and_threads_apart(tmp_path):
    (tmp_path / "functions.py").write_text(MODULE)
    root = Path(fastopt.__file__).parents[1]
    for hits in ("0", "1"):
        finished = subprocess.run(
            [sys.executable, "-W", "error", "-c", PROGRAM],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(root)))},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert finished.returncode == 0, finished.stderr
        assert finished.stdout.strip() == hits
