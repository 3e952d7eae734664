"""How long the tests of this folder go on looking.

Plain ``pytest`` gives each of them a few examples, the same ones every time. With
``--fuzz-seconds=60`` each goes on for so long with new ones, which the seed in pytest's header
brings back: with ``--fuzz-seed`` after a crash, when Hypothesis cannot say what led to it.
"""

import faulthandler
import itertools
import random
import time

import hypothesis
import pytest
from hypothesis.stateful import run_state_machine_as_test

# None of the calls should take a second. What hangs ends the run, and says where.
HANGING = 300.0


def pytest_addoption(parser):
    group = parser.getgroup("fuzz")
    group.addoption("--fuzz-seconds", type=float, default=0.0, help="how long each test looks")
    group.addoption(
        "--fuzz-seed", type=int, default=random.randrange(2**32), help="by default another one"
    )


def pytest_report_header(config):
    seconds, seed = config.getoption("--fuzz-seconds"), config.getoption("--fuzz-seed")
    return f"fuzz: {seconds:g} s each, --fuzz-seed={seed}" if seconds else None


def seeds(config):
    """As long as there is time; None, which is the profile's choice, where none is asked for."""
    seconds = config.getoption("--fuzz-seconds")
    if not seconds:
        yield None
        return
    end = time.monotonic() + seconds
    for seed in itertools.count(config.getoption("--fuzz-seed")):
        faulthandler.dump_traceback_later(HANGING, exit=True)
        yield seed
        if time.monotonic() > end:
            return


@pytest.fixture
def explore(request):
    """What runs a state machine."""

    def run(machine):
        for seed in seeds(request.config):
            run_state_machine_as_test(machine if seed is None else hypothesis.seed(seed)(machine))

    return run


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Tests of single calls, again and again."""
    test = pyfuncitem.obj
    if not hypothesis.is_hypothesis_test(test) or not pyfuncitem.config.getoption("--fuzz-seconds"):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    for seed in seeds(pyfuncitem.config):
        hypothesis.seed(seed)(test)(**arguments)
    return True


@pytest.fixture(autouse=True)
def hanging_is_failing():
    faulthandler.dump_traceback_later(HANGING, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
