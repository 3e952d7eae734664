"""Callers of `minimize` in Numba's cache: loaded by another process, and never out of date."""

import importlib.util
import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from numba.core.codegen import CPUCodeLibrary
from numba.core.registry import cpu_target

import fastopt
from fastopt.interface.cached_code import OutdatedCode

ROOT = Path(fastopt.__file__).parents[1]

OBJECTIVE = """
from numba import njit

@njit
def shifted(x, target):
    return x - target

@njit
def distance(x, target):
    miss = shifted(x, target)
    return miss @ miss + {level}, 2.0 * miss
"""

CALLER = """
from numba import njit
import numpy as np
import fastopt
from objective import distance

@njit(cache=True)
def lowest(target):
    return fastopt.minimize(distance, np.zeros(2), target, "adam", True)
"""

CALLER_OF_CALLER = """
from numba import njit
from caller import lowest

@njit(cache=True)
def twice(target):
    return 2.0 * lowest(target).fun
"""

SOLVE = """
import numpy as np
from caller import lowest
found = lowest(np.array([1.0, 2.0]))
print(found.fun.hex(), found.nit, *[number.hex() for number in found.x])
print(sum(lowest.stats.cache_hits.values()))
"""


@pytest.fixture
def run(tmp_path):
    """Run a program in a process of its own, where fastopt is installed, and these modules are."""
    (tmp_path / "objective.py").write_text(OBJECTIVE.format(level=1.0))
    (tmp_path / "caller.py").write_text(CALLER)
    (tmp_path / "caller_of_caller.py").write_text(CALLER_OF_CALLER)
    installed = tmp_path / "tested-0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: tested\nVersion: 0")
    entry_points = "\n".join(
        f"[{point.group}]\n{point.name} = {point.value}"
        for point in distribution("fastopt").entry_points
    )
    (installed / "entry_points.txt").write_text(entry_points)

    def run(program):
        finished = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert finished.returncode == 0, finished.stderr
        return finished.stdout.split("\n")[:-1]

    run.folder = tmp_path
    return run


# Older versions of Numba have no place for what keeps a function fresh: they must not cache it.
can_cache = hasattr(CPUCodeLibrary(cpu_target.target_context.codegen(), "probe"), "_reload_init")
needs_cache = pytest.mark.skipif(not can_cache, reason="this version of Numba cannot cache callers")


@needs_cache
def test_a_second_process_loads_the_caller_and_solves_to_the_same_bits(run):
    first, compiled = run(SOLVE)
    second, loaded = run(SOLVE)
    assert second == first
    assert (compiled, loaded) == ("0", "1")


@needs_cache
def test_what_has_changed_is_compiled_anew(run):
    first, _ = run(SOLVE)
    # Another fastopt.
    another = "import fastopt.interface.cached_code as c\nc._own_stamp = lambda: (0, 0)\n"
    assert run(another + SOLVE) == [first, "0"]
    assert run(another + SOLVE) == [first, "1"]
    # Another objective, in a file of which Numba knows nothing.
    (run.folder / "objective.py").write_text(OBJECTIVE.format(level=17.0))
    changed, hits = run(another + SOLVE)
    assert hits == "0"
    assert float.fromhex(changed.split()[0]) == pytest.approx(17.0)


DEEPER = """
from numba import njit
import numpy as np
import fastopt
import levels
from levels import level
from objective import shifted

@njit
def by_name(x):
    return (x * x).sum() + level

@njit
def by_module(x):
    return (x * x).sum() + levels.level

@njit
def within(x):
    def squares(x):
        return [shifted(each, 0.0) ** 2 for each in x]
    return sum(squares(x))

@njit(cache=True)
def solve_by_name():
    return fastopt.minimize(by_name, np.zeros(1)).fun

@njit(cache=True)
def solve_by_module():
    return fastopt.minimize(by_module, np.zeros(1)).fun

@njit(cache=True)
def solve_within():
    return fastopt.minimize(within, np.zeros(1)).x[0]
"""


@needs_cache
def test_what_is_reached_in_a_roundabout_way_is_compiled_anew_as_well(run):
    program = """
from deeper import solve_by_module, solve_by_name, solve_within
for solve in (solve_by_name, solve_by_module, solve_within):
    print(round(solve(), 6), sum(solve.stats.cache_hits.values()))
"""
    (run.folder / "deeper.py").write_text(DEEPER)
    (run.folder / "levels.py").write_text("level = 1.0")
    assert run(program) == ["1.0 0", "1.0 0", "0.0 0"]
    assert run(program) == ["1.0 1", "1.0 1", "0.0 1"]
    (run.folder / "levels.py").write_text("level = 2.0")
    assert run(program) == ["2.0 0", "2.0 0", "0.0 1"]
    moved = OBJECTIVE.format(level=1.0).replace("x - target", "x - target - 3.0")
    (run.folder / "objective.py").write_text(moved)
    assert run(program) == ["2.0 1", "2.0 1", "3.0 0"]


@needs_cache
def test_a_cached_function_may_call_one_that_came_from_the_cache(run):
    program = """
import numpy as np
from caller_of_caller import lowest, twice
print(twice(np.array([1.0, 2.0])).hex())
print(sum(lowest.stats.cache_hits.values()), sum(twice.stats.cache_hits.values()))
"""
    found, _ = run(SOLVE)
    value = 2.0 * float.fromhex(found.split()[0])
    assert run(program) == [value.hex(), "1 0"]
    assert run(program) == [value.hex(), "0 1"]


ORDERS = {
    "fastopt first": "from fastopt import minimize as min, Options as opt\nimport numba",
    "after compiling": """
import numba
numba.njit(lambda: 1)()
from fastopt import minimize as min, Options as opt
""",
}


@pytest.mark.parametrize("order", [*ORDERS, "by attribute"])
def test_numba_knows_minimize_whichever_is_imported_first(run, order):
    imports = ORDERS.get(order, "import fastopt, numba")
    names = ("min", "opt") if order in ORDERS else ("fastopt.minimize", "fastopt.Options")
    (found,) = run(f"""
{imports}
@numba.njit
def fun(x):
    return (x * x).sum()
@numba.njit
def solve(x0):
    return {names[0]}(fun, x0, options={names[1]}(gtol=1e-3))
print(solve(1.0).success)
""")
    assert found == "True"


def test_the_entry_point_loads_next_to_nothing(run):
    loaded = run("""
import sys, numba
before = set(sys.modules)
numba.njit(lambda: 1)
import fastopt
fastopt._meet_numba()
print("\\n".join(set(sys.modules) - before))
""")
    assert "fastopt.solvers.entry" in loaded
    assert not {"scipy.optimize", "fastopt.interface.minimize", "fastopt.rules"} & set(loaded)


def test_where_numba_cannot_keep_it_fresh_a_caller_is_not_cached(tmp_path, monkeypatch):
    monkeypatch.setattr("fastopt.interface.numba_call.keep_fresh", lambda *_: False)
    source = tmp_path / "uncached.py"
    source.write_text(
        "from numba import njit\n"
        "import fastopt\n"
        "@njit\n"
        "def fun(x):\n"
        "    return (x * x).sum()\n"
        "@njit(cache=True)\n"
        "def solve(x0):\n"
        "    return fastopt.minimize(fun, x0)\n"
    )
    spec = importlib.util.spec_from_file_location("uncached", source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.warns(match="Cannot cache compiled function"):
        assert module.solve(1.0).success
    assert not list(tmp_path.rglob("*.nbc"))


def test_outdated_code_looks_like_a_missing_file():
    # That is what Numba takes for a reason to compile.
    assert issubclass(OutdatedCode, OSError)
