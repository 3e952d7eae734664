"""Schedules in @njit code and as a C function: the same bits as in Python."""

import ctypes
import gc
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from numba import njit
from numba.core.runtime import rtsys
from numba.core.runtime._nrt_python import memsys_disable_stats as count_no_allocations
from numba.core.runtime._nrt_python import memsys_enable_stats as count_allocations

from fastopt import schedules
from fastopt.schedules.compiled import c_multiplier

from .test_schedule import FORMULAS, made

TEXTS = [
    *FORMULAS,
    "cosine_restarts(3, growth=2, end=0.1)",
    "cosine_restarts(7, growth=3, start=0.3, end=0.9)",
    "polynomial(5000, 0.37, end=1e-5)",
    "cosine(5000, end=0.01)",
    "exponential(0.9987)",
    "exponential(1.01)",
    "step(0.97, every=7)",
    "step(2.0, every=1)",
    "inverse_sqrt(333)",
    "one_cycle(1000)",
    "warmup(50).then(cosine(950, end=0.01)).then(exponential(0.99))",
    "warmup(50) * cosine(1000) * piecewise([10, 20, 500], [1, 0.3, 0.2, 0.7])",
    "(warmup(5) * (linear(7).then(step(0.9, every=3)) * 0.3)).then(cosine_restarts(9), after=40)",
]
T = [*range(1, 2001), 10**4, 10**6 + 1, 2**31, 10**12 + 7, 2**53]
NUMBER, POINTER = ctypes.c_int64, ctypes.c_void_p


@njit
def in_njit(schedule, t):
    return schedule(t)


def in_c(schedule, t):
    prototype = ctypes.CFUNCTYPE(ctypes.c_double, POINTER, NUMBER, NUMBER)
    table = schedule.table
    return prototype(c_multiplier().address)(table.ctypes.data, len(table), t)


@pytest.mark.parametrize("text", TEXTS)
def test_same_bits_in_python_in_njit_code_and_in_c(text):
    schedule = made(text)
    expected = schedule(T)
    assert not np.isnan(expected).any()
    assert np.array_equal([in_njit(schedule, t) for t in T], expected)
    assert np.array_equal([in_c(schedule, t) for t in T], expected)


@pytest.mark.parametrize("text", TEXTS)
def test_same_bits_in_a_loop(text):
    """Where the compiler may turn it into something else."""

    @njit
    def loop(schedule, n):
        found = np.empty(n)
        for t in range(1, n + 1):
            found[t - 1] = schedule(t)
        return found

    schedule = made(text)
    assert np.array_equal(loop(schedule, 3000), schedule(np.arange(1, 3001)))


def test_steps_may_be_any_integers():
    schedule = schedules.linear(4)
    for t in (np.int32(2), np.uint8(2), np.uint64(2)):
        assert in_njit(schedule, t) == 0.75


def test_schedules_have_one_type():
    before = len(in_njit.signatures)
    for text in TEXTS:
        in_njit(made(text), 3)
    assert len(in_njit.signatures) == max(before, 1)


def test_schedule_as_a_global_a_closure_and_in_a_tuple():
    inner = schedules.warmup(3)

    @njit
    def f(t, both):
        a, b = both
        return inner(t) + GLOBAL(t) + a(t) + b(t)

    both = (schedules.cosine(3), schedules.cosine(4))
    expected = inner(2) + GLOBAL(2) + both[0](2) + both[1](2)
    assert f(2, both) == expected


GLOBAL = schedules.one_cycle(20)


def test_table_can_be_read_in_njit_code():
    @njit
    def f(schedule):
        return schedule.table.shape, schedule.table[1, 4]

    assert f(schedules.piecewise([3], [1.0, 0.5])) == ((2, 7), 0.5)


def test_nothing_leaks():
    schedule = made("warmup(5).then(cosine(5))")

    @njit
    def f(schedule, t):
        kept = [schedule, schedule]
        return kept[0](t) + kept[1](t)

    f(schedule, 3)
    count_allocations()
    try:
        gc.collect()
        before, references = rtsys.get_allocation_stats(), sys.getrefcount(schedule)
        for _ in range(100):
            f(schedule, 3)
        after = rtsys.get_allocation_stats()
    finally:
        count_no_allocations()
    assert sys.getrefcount(schedule) == references
    assert after.mi_alloc > before.mi_alloc
    assert after.mi_alloc - before.mi_alloc == after.mi_free - before.mi_free
    assert after.alloc - before.alloc == after.free - before.free


@pytest.mark.parametrize("t", [0, -1, -(2**40)])
def test_steps_are_counted_from_1(t):
    with pytest.raises(ValueError, match=r"`t` must count steps from 1, got a smaller number"):
        in_njit(schedules.linear(4), t)


@pytest.mark.parametrize("t", [1.0, 1j, (1,), True, np.ones(2, int)])
def test_step_that_is_no_integer_is_refused_when_compiled(t):
    with pytest.raises(TypeError, match=r"`t` must be an integer, got "):
        in_njit(schedules.linear(4), t)


def test_call_with_other_arguments_is_refused_when_compiled():
    for function in (lambda s: s(), lambda s: s(1, 2), lambda s: s(t=1)):
        with pytest.raises(TypeError, match=r"must be called with `t` alone, and by position"):
            njit(function)(schedules.linear(4))


def test_one_c_function_for_all_threads():
    found = []
    threads = [threading.Thread(target=lambda: found.append(c_multiplier())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(each is c_multiplier() for each in found)
    assert c_multiplier().address != 0


# In what order Numba, schedules and a first use meet.
IMPORTS = {
    "schedules first": "from fastopt import schedules\nfrom numba import njit",
    "Numba first": "from numba import njit\nfrom fastopt import schedules",
    "Numba at work first": (
        "from numba import njit\nassert njit(lambda x: x + 1)(1) == 2\nimport fastopt.schedules\n"
        "from fastopt import schedules"
    ),
}


@pytest.mark.parametrize("imports", IMPORTS.values(), ids=IMPORTS)
@pytest.mark.parametrize("first", ["f(schedule, 3)", "g(3)"])
def test_numba_knows_schedules_whatever_was_imported_first(imports, first):
    program = (
        f"{imports}\n"
        "schedule = schedules.linear(4)\n"
        "@njit\ndef f(s, t): return s(t)\n"
        "@njit\ndef g(t): return schedule(t)\n"
        f"assert {first} == f(schedule, 3) == g(3) == 0.5\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_works_from_the_cache_of_another_process(tmp_path):
    (tmp_path / "user.py").write_text(
        "from numba import njit\n"
        "from fastopt import schedules\n"
        "HALF = schedules.constant(0.5)\n"
        "@njit(cache=True)\n"
        "def f(s, t):\n    return s(t) * HALF(t)\n"
        "print(f(schedules.linear(4), 3), sum(f.stats.cache_hits.values()))\n",
        encoding="utf-8",
    )
    printed = [
        subprocess.run(
            [sys.executable, "user.py"], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert printed == [["0.25", "0"], ["0.25", "1"]]


def test_runs_under_a_debugger():
    program = (
        "import ctypes\n"
        "from numba import njit\n"
        "from fastopt import schedules\n"
        "from fastopt.schedules.compiled import c_multiplier\n"
        "s = schedules.warmup(3).then(schedules.cosine(4))\n"
        "n, p = ctypes.c_int64, ctypes.c_void_p\n"
        "c = ctypes.CFUNCTYPE(ctypes.c_double, p, n, n)(c_multiplier().address)\n"
        "table = s.table\n"
        "f = njit(lambda s, t: s(t))\n"
        "assert [c(table.ctypes.data, 2, t) for t in range(1, 9)] == list(s(range(1, 9)))\n"
        "assert f(s, 5) == s(5)\n"
    )
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
