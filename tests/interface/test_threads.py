"""Threads may call anything at once: the right bits, nothing left behind."""

import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from numba import njit
from scipy.optimize import rosen, rosen_der

import fastopt

START = np.array([-1.2, 1.0, 0.5])
STARTS = np.linspace(-2.0, 2.0, 60).reshape(20, 3)


@njit
def joint(x):
    value, slopes = 0.0, np.zeros(x.size)
    for i in range(x.size - 1):
        ahead, left = x[i + 1] - x[i] * x[i], 1.0 - x[i]
        value += 100.0 * ahead * ahead + left * left
        slopes[i] -= 400.0 * ahead * x[i] + 2.0 * left
        slopes[i + 1] += 200.0 * ahead
    return value, slopes


@njit
def value(x):
    return joint(x)[0]


@njit
def limited(x):
    if x[0] > 0.5:
        raise ValueError("beyond the limit")
    return joint(x)


@njit
def from_compiled_code(starts):
    ends = np.empty_like(starts)
    for i in range(len(starts)):
        ends[i] = fastopt.minimize(joint, starts[i], method="bfgs", jac=True).x
    return ends


def message_of(call):
    try:
        call()
    except ValueError as error:
        return str(error)
    return "no error"


def solve(**options):
    return fastopt.minimize(joint, START, jac=True, options=options)


# What a thread may do, each with a result that can be compared.
CALLS = {
    "interpreted": lambda: fastopt.minimize(rosen, START, jac=rosen_der).x,
    "by way of the interpreter": lambda: solve(compile=False).x,
    "compiled": lambda: solve(compile=True).x,
    "differences": lambda: fastopt.minimize(value, START, options={"compile": True}).x,
    "adam": lambda: fastopt.minimize(joint, START, jac=True, method="adam").x,
    "in pieces": lambda: fastopt.Solver(joint, START, jac=True).run().x,
    "raising": lambda: message_of(
        lambda: fastopt.minimize(limited, START, jac=True, options={"compile": True})
    ),
    "many": lambda: fastopt.minimize_many(joint, STARTS, jac=True, workers=2).x,
    "from compiled code": lambda: from_compiled_code(STARTS),
}


def call_everything_at_once(seconds, threads=8):
    """Runs each call over and over in several threads; which of them came out differently."""
    expected = {name: call() for name, call in CALLS.items()}
    end = time.monotonic() + seconds
    wrong, rounds = [], []

    def work(offset):
        names = list(CALLS)[offset:] + list(CALLS)[:offset]
        while time.monotonic() < end or len(rounds) < threads:
            for name in names:
                try:
                    same = np.array_equal(CALLS[name](), expected[name])
                except Exception as error:
                    same = False
                    name = f"{name}: {error!r}"
                if not same:
                    wrong.append(name)
            rounds.append(offset)

    workers = [threading.Thread(target=work, args=(k % len(CALLS),)) for k in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return wrong


def test_threads_that_call_everything_get_the_bits_of_one():
    assert call_everything_at_once(seconds=0) == []


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(time, "clock_gettime"), reason="needs /proc")
def test_threads_that_call_everything_for_a_minute_leave_nothing_behind():
    def resident():
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    assert call_everything_at_once(seconds=10) == []
    before = resident()
    assert call_everything_at_once(seconds=60) == []
    assert resident() - before < 20_000  # kB: threads leave arenas behind, but no more than that


FIRST_CALLS = """
import sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
import fastopt
{before}
def bowl(x):
    return (x * x).sum(), 2 * x

def solve(method):
    options = {options}
    return [
        fastopt.minimize(bowl, np.ones(3), method=method, jac=True, options=options).nit
        for _ in range(200)
    ]

with ThreadPoolExecutor(4) as pool:
    list(pool.map(solve, ["adam", "bfgs", "l-bfgs", "cg"]))
"""


@pytest.mark.parametrize(
    ("before", "options"),
    [("", {"maxiter": 20}), ("from numba import njit\n@njit", {"maxiter": 20, "compile": True})],
    ids=["plain", "jitted"],
)
def test_first_calls_in_several_threads_wait_for_what_is_loaded(before, options):
    """Numba, and what compiles with it, is loaded by the first call that needs it."""
    code = textwrap.dedent(FIRST_CALLS).format(before=before, options=options)
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
