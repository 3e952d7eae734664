"""Ctrl-C ends a running solve on every path, and the best point is not lost if it is wanted."""

import _thread
import contextlib
import gc
import math
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import nullcontext

import numpy as np
import pytest
from numba import njit
from scipy.optimize import rosen, rosen_der

import fastopt
from fastopt.interface.methods import METHODS
from tests.step_lengths import step_length

START = np.array([-1.2, 1.0])
OWN = pytest.mark.parametrize("method", METHODS)


@pytest.fixture(autouse=True)
def no_callbacks_of_the_garbage_collector():
    """Python drops an exception, KeyboardInterrupt too, that is raised in one; and hypothesis
    leaves one there once it has run a test."""
    callbacks = gc.callbacks[:]
    gc.callbacks.clear()
    yield
    gc.callbacks.extend(callbacks)


def options_of(method, **options):
    return {**step_length(method, 1e-3), **options}


def interrupting(at):
    """Rosenbrock's function, with Ctrl-C in the middle of call number `at`."""
    calls = []

    def fun(x):
        calls.append(x)
        if len(calls) == at:
            signal.raise_signal(signal.SIGINT)
        return rosen(x)

    return fun


@OWN
@pytest.mark.parametrize("at", [1, 2, 5])
def test_interrupt_in_the_function_is_raised_by_default(method, at):
    with pytest.raises(KeyboardInterrupt):
        fastopt.minimize(
            interrupting(at), START, method=method, jac=rosen_der, options=options_of(method)
        )


@OWN
@pytest.mark.parametrize("at", [2, 5])
@pytest.mark.parametrize("trace", [False, True])
def test_interrupt_returns_the_best_point_if_asked_to(method, at, trace):
    options = options_of(method, on_interrupt="return", trace=trace)
    result = fastopt.minimize(
        interrupting(at), START, method=method, jac=rosen_der, options=options
    )
    assert (result.status, result.success, result.converged_to) == (7, False, None)
    assert result.fun == rosen(result.x) <= rosen(START)
    np.testing.assert_array_equal(result.jac, rosen_der(result.x))
    assert result.nfev == at
    if trace:
        assert result.trace["nit"].tolist() == list(range(result.nit + 1))


@OWN
def test_interrupt_of_the_first_evaluation_returns_x0(method):
    options = options_of(method, on_interrupt="return")
    result = fastopt.minimize(interrupting(1), START, method=method, jac=rosen_der, options=options)
    assert (result.status, result.nit) == (7, 0)
    assert np.isnan(result.fun)
    np.testing.assert_array_equal(result.x, START)


@OWN
def test_interrupt_in_the_callback_returns_the_best_point(method):
    def callback(x):
        signal.raise_signal(signal.SIGINT)

    options = options_of(method, on_interrupt="return")
    result = fastopt.minimize(
        rosen, START, method=method, jac=rosen_der, callback=callback, options=options
    )
    assert (result.status, result.nit) == (7, 1)


@OWN
def test_interrupted_solver_can_go_on(method):
    options = options_of(method, maxiter=200)
    whole = fastopt.minimize(rosen, START, method=method, jac=rosen_der, options=options)
    solver = fastopt.Solver(interrupting(4), START, method=method, jac=rosen_der, options=options)
    with pytest.raises(KeyboardInterrupt):
        solver.run()
    assert solver.run().status == whole.status


# The biggest element, and signs as its "gradient": nothing here runs the interpreter, which looks
# for signals between its own instructions only. With a step length of 0 it goes on for ever.
ENDLESS_IN_C = {
    "fun": np.maximum.reduce,
    "x0": [1.0, 2.0],
    "method": "gd",
    "jac": np.sign,
}
ENDLESS = {"lr": 0.0, "maxiter": np.inf}


@njit
def quick(x):
    return x.max(), np.sign(x)


@njit
def slow(x):
    """About 20 ms."""
    total = 0.0
    for i in range(2_000_000):
        total += math.sin(i * x[0])
    return x.max() + 1e-9 * total, np.sign(x)


# The same for machine code, which looks for no signals at all.
ENDLESS_KINDS = {
    "in C": ENDLESS_IN_C,
    "compiled": {**ENDLESS_IN_C, "fun": quick, "jac": True},
    "compiled and slow": {**ENDLESS_IN_C, "fun": slow, "jac": True},
}
KINDS = pytest.mark.parametrize("kind", ENDLESS_KINDS)

WATCHERS = pytest.mark.parametrize(
    ("callback", "options"),
    [
        (None, {}),
        (None, {"trace": True}),
        (None, {"progress": True}),
        (lambda x: None, {}),
        (None, {"maxtime": 3600.0}),
    ],
    ids=["alone", "trace", "progress", "callback", "maxtime"],
)


@contextlib.contextmanager
def interrupted_once_it_runs(solver):
    over = threading.Event()  # also where the solve never began

    def interrupt():
        while solver.nit == 0 and not over.wait(0.001):
            pass
        while not over.is_set():
            _thread.interrupt_main()
            over.wait(5.0)  # if it is lost all the same, once more

    # What is raised while the collector runs finalizers is lost, with a warning: a matter of luck.
    gc.collect()
    gc.disable()
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        gc.enable()


def endless_solver(kind, **options):
    compiled = kind != "in C"
    return fastopt.Solver(
        **ENDLESS_KINDS[kind], options={**ENDLESS, "compile": compiled, **options}
    )


@KINDS
@WATCHERS
def test_interrupt_from_another_thread_ends_an_endless_solve(callback, options, kind):
    solver = endless_solver(kind, on_interrupt="return", **options)
    with interrupted_once_it_runs(solver):
        result = solver.run(callback)
    assert result.status == 7
    assert result.nit > 0


@KINDS
@WATCHERS
def test_interrupt_ends_a_long_advance(callback, options, kind):
    solver = endless_solver(kind, **options)
    with interrupted_once_it_runs(solver), pytest.raises(KeyboardInterrupt):
        solver.advance(10**12)
    assert solver.status == -1
    assert solver.advance(3)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("on_interrupt", ["raise", "return"])
def test_interrupts_that_numba_hands_on_as_system_errors_are_interrupts(on_interrupt, many):
    """It does so where one comes while it makes a pair into Python objects."""

    @njit
    def fun(x):
        total = 0.0
        for i in range(3000):
            total += math.sin(x[0] + i)
        return 1e-9 * total + (x * x).sum(), 2.0 * x

    fun(np.ones(2))
    options = {**ENDLESS, "lr": 1e-9, "compile": False, "on_interrupt": on_interrupt}
    ending = pytest.raises(KeyboardInterrupt) if on_interrupt == "raise" else nullcontext()
    timer = threading.Timer(0.1, signal.pthread_kill, (threading.get_ident(), signal.SIGINT))
    timer.start()
    with ending:
        if many:
            ends = fastopt.minimize_many(
                fun, np.ones((3, 2)), method="gd", jac=True, options=options
            )
        else:
            ends = fastopt.minimize(fun, np.ones(2), method="gd", jac=True, options=options)
        assert np.all(ends.status == 7)
    timer.join()


@pytest.mark.parametrize("known", [False, True])
def test_the_first_evaluation_of_machine_code_can_be_interrupted(known):
    """Between two differences, even if what was solved before took no time at all."""

    @njit
    def fun(x, rounds, calls):
        calls[0] += 1
        total = 0.0
        for i in range(rounds.size):
            total += math.sin(i * x[0])
        return 1e-9 * total + x.sum()

    n, calls = 20_000, np.zeros(1)
    options = {**ENDLESS, "compile": True}
    if known:
        short = (np.ones(1), calls)
        fastopt.minimize(fun, np.ones(3), short, "gd", options={**options, "maxiter": 3})
        calls[0] = 0
    solver = fastopt.Solver(fun, np.ones(n), (np.ones(100_000), calls), "gd", options=options)

    def interrupt():
        while calls[0] < 2:
            time.sleep(0.001)
        _thread.interrupt_main()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        solver.run()
    thread.join()
    assert 2 <= calls[0] < n


@KINDS
@WATCHERS
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")
def test_interrupt_takes_effect_within_a_fifth_of_a_second(callback, options, kind):
    """Counted in the processor's time, so that a busy machine changes nothing."""
    allowed = 0.1
    solver = endless_solver(kind, **options)
    solver.advance()
    handler = signal.signal(signal.SIGVTALRM, signal.default_int_handler)
    try:
        start = time.process_time()
        signal.setitimer(signal.ITIMER_VIRTUAL, allowed)
        with pytest.raises(KeyboardInterrupt):
            solver.run(callback)
        late = time.process_time() - start - allowed
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, handler)
    assert late < 0.2


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("on_interrupt", ["raise", "return"])
def test_sigint_ends_a_process_that_solves(on_interrupt):
    program = textwrap.dedent(
        f"""
        import numpy as np, fastopt
        calls = iter(range(10**12))
        def endless(x):
            if next(calls) == 100:
                print("running", flush=True)
            return float(x @ x), np.ones(2)
        options = {{"lr": 0.0, "maxiter": np.inf, "on_interrupt": {on_interrupt!r}}}
        solver = fastopt.Solver(endless, [1.0, 2.0], method="gd", jac=True, options=options)
        try:
            print(solver.run().status, flush=True)
        except KeyboardInterrupt:
            print("KeyboardInterrupt", solver.nit > 0, flush=True)
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "running\n"
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert output == {"raise": "KeyboardInterrupt True\n", "return": "7\n"}[on_interrupt]
    assert process.returncode == 0
