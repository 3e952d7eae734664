"""How rules are compiled and kept: found by the next process, dropped when a source changes."""

import doctest
import json
import os
import pickle
import subprocess
import sys

import numba
import pytest

from fastopt.core import _jit

RULE_MODULE = """
from fastopt.core._jit import RULE
from toy_factor import factor

@RULE
def toy(x, grad, lr):
    return (x - factor(lr) * grad,)

@RULE
def toy_coefficients(t, lr):
    return (lr,)
"""

FACTOR_MODULE = """
from fastopt.core._jit import RULE

@RULE
def factor(lr):
    return lr + lr
"""

# Adding a rule is a module and a row; then one step by each compiled form, and whether its code was
# found in the cache.
SCRIPT = """
import ctypes, json, math, os
import numpy as np
from fastopt.rules import steps
from fastopt.rules.table import FLAVORS, Hyperparameter, Rule

hyperparameters = (Hyperparameter("lr", 0.5, 0.0, math.inf, "step length"),)
toy = Rule("toy", (), hyperparameters, "a test", "toy", "toy", "toy_coefficients")
FLAVORS["toy"] = {"textbook": toy}

report = {}
for name in ("adam", "toy"):
    rule = FLAVORS[name]["textbook"]
    x, y, grad, slots = np.ones(2), np.ones(2), np.ones(2), np.zeros((rule.slots, 2))
    numbers = np.array(rule.defaults)
    c_step, step = steps.c_step(name), steps.njit_step(name)
    step(x, grad, slots.copy(), rule.defaults, 1)
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4, *[ctypes.c_int64] * 3)(c_step.address)
    call(y.ctypes.data, grad.ctypes.data, slots.ctypes.data, numbers.ctypes.data, 1, 2, 2)
    assert np.array_equal(x, y)
    interpreted = os.environ.get("NUMBA_DISABLE_JIT")
    hits = interpreted or [c_step.cache_hits, sum(step.stats.cache_hits.values())]
    report[name] = (x[0], hits)
print(json.dumps(report))
"""


@pytest.fixture
def toy_process(tmp_path):
    """Run SCRIPT in a process of its own; its rule and its cache are in `tmp_path`."""
    (tmp_path / "toy.py").write_text(RULE_MODULE)
    (tmp_path / "toy_factor.py").write_text(FACTOR_MODULE)
    environment = {
        **os.environ,
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
        # A source edited twice in a second, to the same length, would be taken from its .pyc.
        "PYTHONDONTWRITEBYTECODE": "1",
    }

    def run(**variables):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**environment, **variables},
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
        )
        return json.loads(done.stdout)

    return run


def test_second_process_finds_the_code_in_the_cache(toy_process, tmp_path):
    first = toy_process()
    files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cache/*/*")}
    second = toy_process()
    assert [hits for _, hits in first.values()] == [[0, 0], [0, 0]]
    assert [hits for _, hits in second.values()] == [[1, 1], [1, 1]]
    assert [x for x, _ in first.values()] == [x for x, _ in second.values()]
    # Two forms of two rules, each an index and its code; none was written again.
    assert len(files) == 8
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("cache/*/*")} == files


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [("toy.py", "x - factor", "x + factor"), ("toy_factor.py", "lr + lr", "lr - lr")],
    ids=["rule", "function it calls"],
)
def test_edited_source_is_compiled_anew(toy_process, tmp_path, file, old, new):
    before = toy_process()
    path = tmp_path / file
    status = path.stat()
    path.write_text(path.read_text().replace(old, new))
    # Neither size nor time tells.
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = toy_process()
    assert before["toy"] == [0.0, [0, 0]]
    assert after["toy"] == [2.0 if file == "toy.py" else 1.0, [0, 0]]
    assert after["adam"][1] == [1, 1]


def test_rules_run_in_the_interpreter_where_numba_is_told_not_to_compile(toy_process, tmp_path):
    expected = toy_process()
    found = toy_process(NUMBA_DISABLE_JIT="1")
    assert {name: x for name, (x, _) in found.items()} == {
        name: x for name, (x, _) in expected.items()
    }


@pytest.mark.parametrize("failure", [RuntimeError, OSError])
def test_compiles_without_a_cache_where_none_can_be_written(monkeypatch, failure):
    asked = []

    def refuse(function):
        asked.append(function)
        raise failure("no folder to write to")

    monkeypatch.setattr("numba.core.dispatcher.FunctionCache", refuse)
    monkeypatch.setattr("numba.core.ccallback.FunctionCache", refuse)

    def double(x):
        return x + x

    signature = numba.float64(numba.float64)
    assert _jit.compile_step(double)(4.0) == 8.0
    assert _jit.compile_c_function(signature, double).ctypes(4.0) == 8.0
    assert len(asked) == 2


def test_an_error_in_the_function_is_not_taken_for_a_missing_cache():
    def wrong(x):
        return x.no_such_attribute

    with pytest.raises(numba.TypingError, match="no_such_attribute"):
        _jit.compile_c_function(numba.float64(numba.float64), wrong)


def test_siblings_and_other_sources_have_other_cache_names():
    def make(part):
        def step(x):
            return part(x)

        return step

    names = set()
    for part in (abs_of, _jit.RULE):
        step = make(part)
        _jit.own_cache_file(step, part)
        names.add(step.__qualname__)
    assert len(names) == 2


def abs_of(x):
    return abs(x)


def test_digest_does_not_depend_on_the_order_and_falls_back_on_byte_code():
    assert _jit.source_digest(abs_of, _jit.RULE) == _jit.source_digest(_jit.RULE, abs_of)
    digests = set()
    for body in ("x + x", "x - x", "x + 1", "x + 2"):
        scope = {"__name__": "typed_in"}
        exec(compile(f"def function(x): return {body}", "<typed in>", "exec"), scope)
        digests.add(_jit.source_digest(scope["function"]))
    assert len(digests) == 4


def test_rule_remains_the_plain_function_that_it_was():
    def plain(x):
        return x

    assert _jit.RULE(plain) is plain
    assert pickle.loads(pickle.dumps(_jit.RULE(abs_of))) is abs_of


def test_docstring_examples_hold():
    result = doctest.testmod(_jit)
    assert result.attempted > 0
    assert result.failed == 0
