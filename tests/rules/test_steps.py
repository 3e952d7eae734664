"""From a scalar rule to a step: every form of it computes the same bits, in its own dtype."""

import ctypes
import doctest
import functools
import itertools
import math
import pickle
import re

import numpy as np
import pytest
from numba import float32, njit, types

import fastopt.rules._arguments
import fastopt.rules._unroll
from fastopt.core._jit import RULE
from fastopt.rules import steps
from fastopt.rules.table import RULES, Hyperparameter, Rule

DTYPES = [np.float32, np.float64]
NAMES = pytest.mark.parametrize("name", RULES)


@RULE
def three_slots(x, grad, a, b, c, lr, decay):
    a += decay * (grad - a)
    b += decay * (grad * grad - b)
    c = max(b, c)
    return x - lr * a / math.sqrt(c), a, b, c


@RULE
def four_slots(x, grad, a, b, c, d, lr, decay):
    a += decay * (grad - a)
    b += decay * (a - b)
    c += decay * (b - c)
    d += decay * (c - d)
    return x - lr * d, a, b, c, d


@RULE
def mix(a, b, decay):
    return a + decay * (b - a), b + decay * (a - b)


@RULE
def mix_4_times(a, b, decay):
    return mix(*mix(*mix(*mix(a, b, decay), decay), decay), decay)


@RULE
def long_rule(x, grad, a, b, lr, decay):
    """More arithmetic than a compiler inlines unasked."""
    a, b = mix_4_times(*mix_4_times(a + grad, b, decay), decay)
    a, b = mix_4_times(*mix_4_times(a, b, decay), decay)
    a, b = mix_4_times(*mix_4_times(a, b, decay), decay)
    return x - lr * a / math.sqrt(abs(b)), a, b


@RULE
def pass_on(t, lr, decay):
    return lr, decay


def toy(name, slot_names):
    hyperparameters = (
        Hyperparameter("lr", 0.1, 0.0, math.inf, "step length"),
        Hyperparameter("decay", 0.25, 0.0, 1.0, "decay rate"),
    )
    return Rule(name, tuple(slot_names), hyperparameters, "a test", __name__, name, "pass_on")


TOYS = [toy("three_slots", "abc"), toy("four_slots", "abcd"), toy("long_rule", "ab")]
ROWS = [*RULES.values(), *TOYS]
ALL_ROWS = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


def functions(row):
    if row in TOYS:
        return globals()[row.function], pass_on
    return steps.rule_functions(row.name)


def body(row):
    return steps.make_step(*functions(row), row.slots, len(row.hyperparameters))


def compiled(row):
    """The step, compiled here and now: code from the cache cannot be inspected."""
    return njit(nogil=True)(body(row))


@functools.cache
def usable(row):
    return compiled(row) if row in TOYS else steps.njit_step(row.name)


def problem(row, n, dtype, seed=0):
    """Parameters, a few gradients, and slots at zero."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=n).astype(dtype)
    return x, generator.normal(size=(5, n)).astype(dtype), np.zeros((row.slots, n), dtype)


def run(step, row, n, dtype):
    x, grads, slots = problem(row, n, dtype)
    for t, grad in enumerate(grads, start=1):
        step(x, grad, slots, row.defaults, t)
    return np.vstack([x, slots])


def call_c(step, x, grad, slots, hyperparameters, t):
    prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4, *[ctypes.c_int64] * 2)
    numbers = np.array(hyperparameters, float)
    arrays = (x, grad, slots, numbers)
    prototype(step.address)(*[array.ctypes.data for array in arrays], t, x.size)


# 1, then lengths around a vector register's, then one with a remainder.
@pytest.mark.parametrize("n", [0, 1, 3, 4, 8, 1003])
@pytest.mark.parametrize("dtype", DTYPES)
@ALL_ROWS
def test_compiled_step_has_the_bits_of_the_scalar_function_in_python(row, dtype, n):
    scalar, coefficients = functions(row)
    x, grads, slots = problem(row, n, dtype)
    for t, grad in enumerate(grads, start=1):
        shared = [dtype(value) for value in coefficients(t, *row.defaults)]
        for i in range(n):
            x[i], *slots[:, i] = scalar(x[i], grad[i], *slots[:, i], *shared)
    assert np.array_equal(run(usable(row), row, n, dtype), np.vstack([x, slots]))


@pytest.mark.parametrize("n", [0, 1, 8, 1003])
@NAMES
def test_c_step_has_the_bits_of_the_step_over_arrays(name, n):
    row = RULES[name]
    c_step = steps.c_step(name)
    from_c = run(lambda *arguments: call_c(c_step, *arguments), row, n, np.float64)
    assert np.array_equal(from_c, run(steps.njit_step(name), row, n, np.float64))


@ALL_ROWS
def test_step_runs_without_being_compiled(row):
    """What NUMBA_DISABLE_JIT=1 makes of it, for someone who steps through a training loop."""
    step = usable(row)
    for dtype in DTYPES:
        assert np.array_equal(run(body(row), row, 9, dtype), run(step, row, 9, dtype))


@NAMES
def test_scalar_function_has_the_same_bits_in_njit_code_and_in_python(name):
    row = RULES[name]
    scalar, coefficients = steps.rule_functions(name)

    @njit
    def in_njit(t, x, grad, slots, hyperparameters):
        return scalar(x, grad, *slots, *coefficients(t, *hyperparameters))

    for t, seed in itertools.product([1, 2, 1000, 10**9], range(20)):
        x, grad, *slots = np.random.default_rng(seed).random(2 + row.slots).tolist()
        if slots:
            expected = scalar(x, grad, *slots, *coefficients(t, *row.defaults))
            assert in_njit(t, x, grad, tuple(slots), row.defaults) == expected
        else:
            expected = scalar(x, grad, *coefficients(t, *row.defaults))
            assert in_njit(t, x, grad, (), row.defaults) == expected


@pytest.mark.parametrize("dtype", DTYPES)
@NAMES
def test_layout_and_form_of_the_arguments_do_not_change_the_bits(name, dtype):
    row = RULES[name]
    step = steps.njit_step(name)
    expected = run(step, row, 50, dtype)

    def strided(x, grad, slots, hyperparameters, t):
        """Every other entry of larger arrays, a read-only gradient, hyperparameters as an array."""
        wide_x, wide_slots = np.zeros(2 * x.size, dtype), np.zeros((x.size, row.slots), dtype)
        wide_x[::2], wide_slots[:] = x, slots.T
        grad.flags.writeable = False
        step(wide_x[::2], grad, wide_slots.T, np.array(hyperparameters), np.int32(t))
        x[:], slots[:] = wide_x[::2], wide_slots.T
        assert not wide_x[1::2].any()

    assert np.array_equal(run(strided, row, 50, dtype), expected)


def test_hyperparameters_may_mix_integers_and_floats():
    x, reference, slots = np.ones(3), np.ones(3), np.zeros((2, 3))
    steps.njit_step("adam")(x, np.ones(3), slots.copy(), (1, 0, np.float64(0.5), 1), 1)
    steps.njit_step("adam")(reference, np.ones(3), slots, (1.0, 0.0, 0.5, 1.0), 1)
    assert np.array_equal(x, reference)


def test_gradient_and_hyperparameters_are_left_alone():
    grad, hyperparameters = np.ones(4), np.array(RULES["adam"].defaults)
    before = grad.copy(), hyperparameters.copy()
    steps.njit_step("adam")(np.ones(4), grad, np.zeros((2, 4)), hyperparameters, 1)
    call_c(steps.c_step("adam"), np.ones(4), grad, np.zeros((2, 4)), hyperparameters, 1)
    assert np.array_equal(grad, before[0])
    assert np.array_equal(hyperparameters, before[1])


@pytest.mark.parametrize("dtype", DTYPES)
@ALL_ROWS
def test_loop_is_vectorised(row, dtype):
    """With any number of slots; the compiler gives up where it cannot tell the arrays apart."""
    step = compiled(row)
    run(step, row, 8, dtype)
    (code,) = step.inspect_llvm().values()
    scalar = "double" if dtype is np.float64 else "float"
    assert re.search(rf"fmul <\d+ x {scalar}>", code)
    if "sqrt" in functions(row)[0].__code__.co_names:
        assert re.search(rf"call <\d+ x {scalar}> @llvm.sqrt", code)


@ALL_ROWS
def test_step_holds_its_loop_and_its_rule(row):
    """However long the rule: a loop that calls it for each entry is not vectorised."""
    step = compiled(row)
    run(step, row, 8, np.float64)
    (code,) = step.inspect_llvm().values()
    for function in (steps.update, *functions(row)):
        # Inlined everywhere, it is no longer among the functions of the module.
        mangled = f"{len(function.__name__)}{function.__name__}B"
        assert not re.search(rf"^define .*@\w*{mangled}", code, re.MULTILINE)


@ALL_ROWS
def test_float32_loop_converts_nothing(row):
    step = compiled(row)
    run(step, row, 8, np.float32)
    (code,) = step.inspect_llvm().values()
    assert "fpext" not in code
    coefficients = functions(row)[1](1, *row.defaults)
    # Each coefficient is rounded to float32 once, before the loop.
    assert len(re.findall(r"fptrunc (?:double|<)", code)) <= len(coefficients)


@ALL_ROWS
def test_scalar_function_of_float32_holds_no_double(row):
    scalar, coefficients = functions(row)
    arguments = [float32] * (2 + row.slots + len(coefficients(1, *row.defaults)))
    # The wrapper for Python takes doubles, and is not the point.
    function = njit(tuple(arguments), error_model="numpy", no_cpython_wrapper=True)(scalar)
    (signature,) = function.nopython_signatures
    assert signature.return_type == types.UniTuple(float32, 1 + row.slots)
    (code,) = function.inspect_llvm().values()
    assert "float" in code
    assert "double" not in code


def test_division_by_zero_is_not_an_exception():
    x = np.zeros(2)
    steps.njit_step("adam")(x, np.array([0.0, 1.0]), np.zeros((2, 2)), (0.1, 0.9, 0.999, 0.0), 1)
    assert np.isnan(x[0])
    assert x[1] == pytest.approx(-0.1)


@pytest.mark.parametrize("look_up", [steps.c_step, steps.njit_step, steps.rule_functions])
def test_unknown_rule_is_named(look_up):
    with pytest.raises(ValueError, match=r"`name` must be one of gd, adam.*, got 'adma'"):
        look_up("adma")


@NAMES
def test_compiled_once_and_kept(name):
    assert steps.c_step(name) is steps.c_step(name)
    assert steps.c_step(name).address != 0
    assert steps.njit_step(name) is steps.njit_step(name)


@NAMES
def test_functions_are_pickled_by_reference(name):
    for function in steps.rule_functions(name):
        assert pickle.loads(pickle.dumps(function)) is function


def test_step_pickles():
    step = pickle.loads(pickle.dumps(steps.njit_step("adam")))
    expected = run(steps.njit_step("adam"), RULES["adam"], 9, np.float64)
    assert np.array_equal(run(step, RULES["adam"], 9, np.float64), expected)


GOOD = {
    "x": np.ones(3),
    "grad": np.ones(3),
    "slots": np.zeros((2, 3)),
    "hyperparameters": RULES["adam"].defaults,
    "t": 1,
}
READ_ONLY = np.ones(3)
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("x", np.ones(3, int), TypeError),
        ("x", np.ones((3, 1)), TypeError),
        ("x", np.ones(3, complex), TypeError),
        ("x", READ_ONLY, TypeError),
        ("x", 1.0, TypeError),
        ("grad", np.ones(3, np.float32), TypeError),
        ("grad", np.ones(3, int), TypeError),
        ("grad", np.ones((3, 1)), TypeError),
        ("grad", np.ones(2), ValueError),
        ("grad", np.ones(4), ValueError),
        ("slots", np.zeros((2, 3), np.float32), TypeError),
        ("slots", np.zeros(6), TypeError),
        ("slots", np.zeros((1, 3)), ValueError),
        ("slots", np.zeros((3, 3)), ValueError),
        ("slots", np.zeros((2, 2)), ValueError),
        ("hyperparameters", (0.1, 0.9, 0.999), TypeError),
        ("hyperparameters", (0.1, 0.9, 0.999, 1e-8, 0.0), TypeError),
        ("hyperparameters", (0.1, 0.9, 0.999, None), TypeError),
        ("hyperparameters", 0.1, TypeError),
        ("hyperparameters", np.ones(3), ValueError),
        ("hyperparameters", np.ones((1, 4)), TypeError),
        ("hyperparameters", np.ones(4, complex), TypeError),
        ("t", 0, ValueError),
        ("t", -1, ValueError),
        ("t", 1.0, TypeError),
    ],
)
def test_bad_argument_is_named_and_nothing_is_changed(argument, value, error):
    arguments = {**GOOD, argument: value}
    before = [np.copy(arguments[name]) for name in ("x", "slots")]
    for step in (steps.njit_step("adam"), body(RULES["adam"])):
        with pytest.raises(error, match=f"^`{argument}` must .*, got "):
            step(*arguments.values())
    for name, copy in zip(("x", "slots"), before, strict=True):
        assert np.array_equal(arguments[name], copy)


def test_bad_type_inside_the_users_njit_code_is_named():
    step = steps.njit_step("adam")

    @njit
    def train(x, grad, slots, hyperparameters):
        step(x, grad, slots, hyperparameters, 1)

    with pytest.raises(TypeError, match="`grad` must be a 1-D array of float64 as `x` is"):
        train(np.ones(3), np.ones(3, np.float32), np.zeros((2, 3)), RULES["adam"].defaults)


@pytest.mark.parametrize("module", [steps, fastopt.rules._arguments, fastopt.rules._unroll])
def test_docstring_examples_hold(module):
    assert doctest.testmod(module).failed == 0
