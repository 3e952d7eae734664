"""From a scalar rule to a step: every form of it computes the same bits, in its own dtype."""

import ctypes
import functools
import itertools
import math
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
from numba import float32, njit, types

from fastopt.core._jit import RULE
from fastopt.rules import steps
from fastopt.rules._precision import in_double, in_own_precision
from fastopt.rules.table import FLAVORS, RULES, Hyperparameter, Rule

DTYPES = [np.float32, np.float64]


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
# Flavors that differ in their defaults alone are one form.
FORMS = {
    (row.name, row.coefficients, row.single): row
    for flavors in FLAVORS.values()
    for row in reversed(flavors.values())
}.values()


def label(row):
    return f"{row.name}-{row.flavor}"


ALL_FORMS = pytest.mark.parametrize("row", FORMS, ids=label)
ALL_ROWS = pytest.mark.parametrize("row", [*FORMS, *TOYS], ids=label)


def functions(row):
    if row in TOYS:
        return globals()[row.function], pass_on
    return steps.rule_functions(row.name, row.flavor)


def body(row):
    number = in_own_precision if row.single else in_double
    return steps.make_step(*functions(row), number, row.slots, len(row.hyperparameters))


@functools.cache
def code_of(row, dtype):
    """The step's LLVM code, compiled here and now: code from the cache cannot be inspected."""
    step = njit(nogil=True)(body(row))
    run(step, row, 8, dtype)
    (code,) = step.inspect_llvm().values()
    return code


@functools.cache
def usable(row):
    return njit(body(row)) if row in TOYS else steps.njit_step(row.name, row.flavor)


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
    prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4, *[ctypes.c_int64] * 3)
    numbers = np.array(hyperparameters, float)
    addresses = [array.ctypes.data for array in (x, grad, slots, numbers)]
    prototype(step.address)(*addresses, t, x.size, slots.shape[1])


# 1, then lengths around a vector register's, then one with a remainder.
@pytest.mark.parametrize("n", [0, 1, 3, 4, 8, 1003])
@pytest.mark.parametrize("dtype", DTYPES)
@ALL_ROWS
def test_compiled_step_has_the_bits_of_the_scalar_function_in_python(row, dtype, n):
    scalar, coefficients = functions(row)
    x, grads, slots = problem(row, n, dtype)
    for t, grad in enumerate(grads, start=1):
        number = dtype(t) if row.single else float(t)
        shared = [dtype(value) for value in coefficients(number, *row.defaults)]
        for i in range(n):
            x[i], *slots[:, i] = scalar(x[i], grad[i], *slots[:, i], *shared)
    assert np.array_equal(run(usable(row), row, n, dtype), np.vstack([x, slots]))


@pytest.mark.parametrize("n", [0, 1, 8, 1003])
@pytest.mark.parametrize("dtype", DTYPES)
@ALL_FORMS
def test_c_step_has_the_bits_of_the_step_over_arrays(row, dtype, n):
    c_step = steps.c_step(row.name, row.flavor, dtype)
    from_c = run(lambda *arguments: call_c(c_step, *arguments), row, n, dtype)
    assert np.array_equal(from_c, run(usable(row), row, n, dtype))


@ALL_FORMS
def test_c_step_of_pieces_is_that_of_the_whole(row):
    """Slots lie as far apart as those of the whole vector, however short the piece."""
    c_step = steps.c_step(row.name, row.flavor)

    def in_pieces(x, grad, slots, hyperparameters, t):
        for piece in (slice(0, 5), slice(5, 40), slice(40, 50)):
            call_c(c_step, x[piece], grad[piece], slots[:, piece], hyperparameters, t)

    def call_c(step, x, grad, slots, hyperparameters, t):
        prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4, *[ctypes.c_int64] * 3)
        numbers = np.array(hyperparameters, float)
        addresses = [array.ctypes.data for array in (x, grad, slots, numbers)]
        prototype(step.address)(*addresses, t, x.size, 50)

    assert np.array_equal(run(in_pieces, row, 50, float), run(usable(row), row, 50, float))


@ALL_ROWS
def test_step_runs_without_being_compiled(row):
    """What NUMBA_DISABLE_JIT=1 makes of it, for someone who steps through a training loop."""
    step = usable(row)
    for dtype in DTYPES:
        assert np.array_equal(run(body(row), row, 9, dtype), run(step, row, 9, dtype))


@ALL_FORMS
def test_scalar_function_has_the_same_bits_in_njit_code_and_in_python(row):
    scalar, coefficients = functions(row)

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
@ALL_FORMS
def test_layout_and_form_of_the_arguments_do_not_change_the_bits(row, dtype):
    step = usable(row)
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
    code = code_of(row, dtype)
    scalar = "double" if dtype is np.float64 else "float"
    assert re.search(rf"fmul <\d+ x {scalar}>", code)
    if "sqrt" in functions(row)[0].__code__.co_names:
        assert re.search(rf"call <\d+ x {scalar}> @llvm.sqrt", code)


@ALL_ROWS
def test_step_holds_its_loop_and_its_rule(row):
    """However long the rule: a loop that calls it for each entry is not vectorised."""
    code = code_of(row, np.float64)
    for function in (steps.update, *functions(row)):
        # Inlined everywhere, it is no longer among the functions of the module.
        mangled = f"{len(function.__name__)}{function.__name__}B"
        assert not re.search(rf"^define .*@\w*{mangled}", code, re.MULTILINE)


@ALL_ROWS
def test_float32_loop_converts_nothing(row):
    # Bias corrections in float32, before the loop, convert the number of the step.
    code = code_of(replace(row, single=False), np.float32)
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
    with pytest.raises(ValueError, match=r"`name` must be one of gd, .*adam.*, got 'adma'"):
        look_up("adma")
    with pytest.raises(ValueError, match=r"`flavor` must be one of .*torch.* for adam, got 'jax'"):
        look_up("adam", "jax")


@ALL_FORMS
def test_compiled_once_and_kept(row):
    chosen = row.name, row.flavor
    assert steps.c_step(*chosen) is steps.c_step(*chosen)
    assert steps.c_step(*chosen).address != 0
    assert steps.njit_step(*chosen) is steps.njit_step(*chosen)


def test_flavors_that_differ_in_defaults_alone_share_their_code():
    assert steps.c_step("adam", "torch") is steps.c_step("adam")
    assert steps.c_step("adam", "keras") is not steps.c_step("adam")


@ALL_FORMS
def test_functions_are_pickled_by_reference(row):
    for function in functions(row):
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
