"""Each rule's step, by its name: found in the table, callable from the user's own @njit code."""

import doctest
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from numba import njit

import fastopt.rules
from fastopt.rules import steps
from fastopt.rules.table import RULES

NAMES = pytest.mark.parametrize("name", RULES)
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def test_every_row_has_its_name_and_its_type():
    names = {f"{row.identifier}_step" for row in RULES.values()}
    assert set(fastopt.rules.__all__) == names
    assert names <= set(dir(fastopt.rules))
    assert set(fastopt.rules.__annotations__) == names


@NAMES
def test_step_by_name_is_the_one_that_is_compiled_and_kept(name):
    assert getattr(fastopt.rules, f"{RULES[name].identifier}_step") is steps.njit_step(name)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"module 'fastopt\.rules' has no attribute 'adma_st"):
        _ = fastopt.rules.adma_step


@NAMES
def test_docstring_describes_the_row_and_its_example_holds(name):
    row = RULES[name]
    step = getattr(fastopt.rules, f"{RULES[name].identifier}_step")
    assert step.__name__ == f"{row.identifier}_step"
    assert row.reference in step.__doc__
    assert all(each.name in step.__doc__ for each in row.hyperparameters)
    (example,) = doctest.DocTestFinder(recurse=False).find(step, name, globs={})
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0


@DTYPES
@NAMES
def test_loop_in_njit_code_has_the_bits_of_the_loop_in_python(name, dtype):
    row = RULES[name]
    step = getattr(fastopt.rules, f"{RULES[name].identifier}_step")
    target = np.random.default_rng(0).standard_normal(1003).astype(dtype)

    def train(target, slots, hyperparameters):
        x = np.zeros_like(target)
        for t in range(1, 21):
            step(x, x - target, slots, hyperparameters, t)
        return x

    def run(function):
        slots = np.zeros((row.slots, target.size), dtype)
        return np.vstack([function(target, slots, row.defaults), slots])

    compiled = run(njit(train))
    assert compiled.dtype == dtype
    assert np.any(compiled)
    assert np.array_equal(compiled, run(train))


TRAINING = """
    import numpy as np
    from numba import njit
    from fastopt.rules import adam_step, gd_step

    @njit(cache=True)
    def train(target, lr):
        x = np.zeros_like(target)
        slots, none = np.zeros((2, x.size)), np.zeros((0, x.size))
        for t in range(1, 51):
            adam_step(x, x - target, slots, (lr, 0.9, 0.999, 1e-8), t)
            gd_step(x, x - target, none, (lr,), t)
        return x

    print(train(np.linspace(-1.0, 1.0, 9), 0.05).tobytes().hex())
    print(sum(train.stats.cache_hits.values()))
    print(train.py_func(np.linspace(-1.0, 1.0, 9), 0.05).tobytes().hex())
"""


def test_cached_function_that_calls_steps_is_right_in_the_next_process(tmp_path):
    program = tmp_path / "training.py"
    program.write_text(textwrap.dedent(TRAINING), encoding="utf-8")

    def run():
        command = [sys.executable, str(program)]
        finished = subprocess.run(command, capture_output=True, text=True, check=True)
        assert not finished.stderr
        return finished.stdout.split()

    first, second = run(), run()
    assert (first[1], second[1]) == ("0", "1")
    assert len({first[0], first[2], second[0], second[2]}) == 1
